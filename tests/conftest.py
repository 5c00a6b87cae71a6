"""Fixtures that every test folder shares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("rtcstack", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("rtcstack")

CAPTURES = Path(__file__).parent / "captures"


@pytest.fixture(scope="session")
def peer_captures() -> dict[str, dict[str, Any]]:
    """Name of a capture file ("chromium", "ipv6/pion", ...) -> its content, see captures/peers/README.md."""
    folder = CAPTURES / "peers"
    return {
        path.relative_to(folder).with_suffix("").as_posix(): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.json"))
    }
