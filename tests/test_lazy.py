"""What `import rtcstack` brings with it, and what it leaves until it is needed."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import subprocess
import sys

import pytest

HEAVY = {
    "OpenSSL",
    "asyncio",
    "concurrent.futures",
    "cryptography",
    "ctypes",
    "ifaddr",
    "logging.config",
    "multiprocessing",
    "ssl",
    "subprocess",
    "unittest",
    "websockets",
    "zeroconf",
}

LAZY_PACKAGES = ("rtcstack", "rtcstack.dtls")


def modules_after(*statements: str) -> list[set[str]]:
    """Run statements in a new process; tell which modules are loaded after each."""
    program = "import json, sys; seen = []\n" + "\n".join(
        f"{statement}\nseen.append(list(sys.modules))" for statement in statements
    )
    command = [sys.executable, "-c", program + "\nprint(json.dumps(seen))"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [set(names) for names in json.loads(done.stdout)]


def test_nothing_heavy_is_imported_before_it_is_needed():
    bare, named, connecting = modules_after(
        "import rtcstack",
        "peer = rtcstack.PeerConnection(); channel = peer.create_data_channel('a')",
        "peer.create_offer()",
    )
    assert {name for name in bare if name.startswith("rtcstack")} == {"rtcstack", "rtcstack.lazy"}
    assert not bare & HEAVY
    assert not named & HEAVY
    assert {"OpenSSL", "cryptography", "ifaddr"} <= connecting
    assert not connecting & {"asyncio", "ssl", "zeroconf"}


@pytest.mark.parametrize("package", LAZY_PACKAGES)
def test_a_lazy_package_gives_type_checkers_and_programs_the_same_names(package: str):
    module = importlib.import_module(package)
    branch = next(node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.If))
    for_checkers = {
        (statement.module, alias.name)
        for statement in branch.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    (table,) = (node for node in ast.walk(branch) if isinstance(node, ast.Dict))
    for_programs = {(home, name) for home, names in ast.literal_eval(table).items() for name in names}
    assert for_programs == for_checkers
    assert {name for _, name in for_programs} <= set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None


@pytest.mark.parametrize("package", LAZY_PACKAGES)
def test_a_name_that_is_not_there_is_named(package: str):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Peerconnection'"):
        importlib.import_module(package).Peerconnection  # noqa: B018
