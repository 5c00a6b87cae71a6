"""Reads the command line and starts what it names."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rtcstack import __version__
from rtcstack.tools import demo

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m rtcstack ARGUMENTS`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="rtcstack", description="WebRTC data channels in Python.")
    parser.add_argument("--version", action="version", version=f"rtcstack {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    command = commands.add_parser("demo", help="connect two peers in this process and let them greet")
    command.set_defaults(run=demo.run)
    return int(parser.parse_args(arguments).run())


if __name__ == "__main__":
    sys.exit(main())
