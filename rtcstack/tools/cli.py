"""Reads the command line and starts what it names."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rtcstack import __version__
from rtcstack.errors import InvalidParameter
from rtcstack.tools import demo, doctor, play, signaling

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `python -m rtcstack ARGUMENTS`; returns the exit code."""
    parser = argparse.ArgumentParser(prog="rtcstack", description="WebRTC data channels in Python.")
    parser.add_argument("--version", action="version", version=f"rtcstack {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    command = commands.add_parser("demo", help="connect two peers in this process and let them greet")
    command.set_defaults(run=lambda chosen: demo.run())
    command = commands.add_parser(
        "doctor", help="examine this machine, its network, and STUN and TURN servers"
    )
    command.add_argument("--stun", metavar="URL", action="append", default=[], help="may be repeated")
    command.add_argument("--turn", metavar="URL", action="append", default=[], help="may be repeated")
    command.add_argument("--username", default="", help="for the TURN servers")
    command.add_argument("--credential", default="", help="for the TURN servers")
    command.add_argument("--json", action="store_true", help="report for programs")
    command.set_defaults(run=_run_doctor)
    command = commands.add_parser("signaling", help="run a signaling server that Godot's clients know, too")
    signaling.add_arguments(command)
    command.set_defaults(run=signaling.run)
    command = commands.add_parser("play", help="start a server, a web page and a bot, and say where")
    play.add_arguments(command)
    command.set_defaults(run=play.run)
    chosen = parser.parse_args(arguments)
    try:
        return int(chosen.run(chosen))
    except InvalidParameter as error:
        parser.error(str(error))
    except ModuleNotFoundError as error:
        if error.name not in ("websockets", "redis"):
            raise
        parser.error(str(error))


def _run_doctor(chosen: argparse.Namespace) -> int:
    servers = doctor.read_servers(chosen.stun, chosen.turn, chosen.username, chosen.credential)
    return doctor.run(servers, as_json=chosen.json)


if __name__ == "__main__":
    sys.exit(main())
