"""The client over real WebSockets, beside a server in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from server_support import ServerThread
from websockets.sync.server import ServerConnection, serve

import rtcstack
from rtcstack.errors import InvalidParameter, InvalidState
from rtcstack.signaling import Client
from rtcstack.signaling.membership import State
from rtcstack.signaling.wire import Wire


@pytest.fixture
def server() -> Iterator[ServerThread]:
    thread = ServerThread()
    yield thread
    thread.stop()


def poll_until(clients: list[Client], is_done: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not is_done():
        assert time.monotonic() < until, clients
        rtcstack.poll(clients, 0.1)


def record(client: Client) -> list[tuple[object, ...]]:
    """List the signals that a client emits."""
    told: list[tuple[object, ...]] = []
    for name in ("connected", "lobby_joined", "peer_connected", "peer_disconnected", "offer_received",
                 "answer_received", "candidate_received", "lobby_sealed", "disconnected", "reconnecting",
                 "reconnected"):  # fmt: skip
        getattr(client, name).connect(lambda *arguments, name=name: told.append((name, *arguments)))
    return told


def test_two_clients_meet_and_exchange_everything(server: ServerThread) -> None:
    a = Client(server.url)
    told_a = record(a)
    poll_until([a], lambda: a.state is State.JOINED and told_a)
    lobby = str(told_a[-1][1])
    b = Client(server.url, lobby)
    told_b = record(b)
    poll_until([a, b], lambda: b.state is State.JOINED and len(told_a) == 3)
    b.send_offer(1, "o")
    b.send_candidate(1, "0", 0, "candidate:x")
    poll_until([a, b], lambda: len(told_a) == 5)
    a.send_answer(b.id, "a")
    a.seal_lobby()
    poll_until([a, b], lambda: a.is_sealed and b.is_sealed)
    b.close()
    poll_until([a, b], lambda: told_b[-1] == ("disconnected",))
    assert told_a == [
        ("connected", 1, True),
        ("lobby_joined", lobby),
        ("peer_connected", b.id),
        ("offer_received", b.id, "o"),
        ("candidate_received", b.id, "0", 0, "candidate:x"),
        ("lobby_sealed",),
    ]
    assert told_b == [
        ("connected", b.id, True),
        ("peer_connected", 1),
        ("lobby_joined", lobby),
        ("answer_received", 1, "a"),
        ("lobby_sealed",),
        ("disconnected",),
    ]
    a.close()


def test_a_cut_connection_comes_back_and_nobody_else_notices(server: ServerThread) -> None:
    a = Client(server.url)
    told_a = record(a)
    poll_until([a], lambda: len(told_a) == 2)
    b = Client(server.url, str(told_a[-1][1]))
    told_b = record(b)
    poll_until([a, b], lambda: len(told_a) == len(told_b) == 3)
    server.cut()
    poll_until([a, b], lambda: told_a[-1] == told_b[-1] == ("reconnected",))
    assert [event[0] for event in told_a[3:]] == ["reconnecting", "reconnected"]
    assert [event[0] for event in told_b[3:]] == ["reconnecting", "reconnected"]
    a.send_offer(b.id, "after")
    poll_until([a, b], lambda: told_b[-1] == ("offer_received", 1, "after"))
    a.close(), b.close()


def test_why_it_ended_is_said() -> None:
    client = Client("ws://127.0.0.1:9")
    told = record(client)
    poll_until([client], lambda: client.state is State.ENDED and told)
    assert told == [("disconnected",)]
    assert "ws://127.0.0.1:9 cannot be reached" in client.close_reason


def test_a_lobby_that_is_none_and_a_token_that_is_missing_are_said() -> None:
    server = ServerThread(tokens=("secret",))
    stranger, guest = Client(server.url, "x"), Client(server.url + "?token=secret", "nope")
    poll_until([stranger, guest], lambda: stranger.state is guest.state is State.ENDED)
    assert "HTTP 401" in stranger.close_reason
    assert (guest.close_code, guest.close_reason) == (4000, "Lobby does not exists")
    server.stop()


def test_a_server_that_talks_while_nobody_polls_has_to_wait() -> None:
    def talk(connection: ServerConnection) -> None:
        for number in range(2000):
            connection.send(str(number))

    enough = threading.Semaphore(0)
    with serve(talk, "127.0.0.1", 0) as talker:
        thread = threading.Thread(target=talker.serve_forever)
        thread.start()
        wire = Wire(f"ws://127.0.0.1:{talker.socket.getsockname()[1]}", {}, enough.release)
        heard: list[tuple[object, ...]] = []
        while not heard or heard[-1][0] != "closed":
            for _ in range(200 if len(heard) < 1000 else 1):
                assert enough.acquire(timeout=60)
            taken = wire.take()
            assert len(taken) <= 257
            heard += taken
        talker.shutdown()
        thread.join()
    assert heard[:2] == [("opened",), ("text", "0")]
    assert heard[-2:] == [("text", "1999"), ("closed", 1000, "")]
    assert len(heard) == 2002


def test_misuse_is_said_at_once() -> None:
    client = Client()
    with pytest.raises(InvalidParameter, match="no ws:// or wss:// URL"):
        client.connect_to_url("http://x")
    with pytest.raises(InvalidState, match="not connected"):
        client.seal_lobby()
    with pytest.raises(InvalidState, match="no server is known"):
        client.join_lobby("x")
    client.poll()
    client.close()
    assert client.state is State.IDLE


def test_joining_another_lobby_leaves_the_first(server: ServerThread) -> None:
    client = Client(server.url)
    told = record(client)
    poll_until([client], lambda: len(told) == 2)
    first = told[-1][1]
    client.join_lobby("")
    poll_until([client], lambda: len(told) == 4)
    assert told[-1][1] != first
    client.close()
