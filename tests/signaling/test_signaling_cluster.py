"""Several servers as one: lobbies span them, one may die, and the broker may forget everything."""

from __future__ import annotations

import json
import random

import pytest
from rooms_support import Cluster, Heard

from rtcstack.signaling.links import Links
from rtcstack.signaling.lobbies import Close
from rtcstack.signaling.messages import Kind, Message


def meet(cluster: Cluster, *, is_mesh: bool = True, resume: str | None = None) -> tuple[int, int, int, str]:
    """A host at A, a guest at B: both peers, the guest's id, and the lobby."""
    host, lobby = cluster["A"].host(is_mesh=is_mesh, resume=resume)
    cluster.settle()
    guest, guest_id = join(cluster, "B", lobby, resume)
    assert cluster["A"].take(host) == [("PEER_CONNECT", guest_id, "")]
    return host, guest, guest_id, lobby


def join(cluster: Cluster, server: str, lobby: str, resume: str | None = None) -> tuple[int, int]:
    peer = cluster[server].connect()
    cluster[server].say(peer, Message(Kind.JOIN, 0, lobby, resume))
    cluster.settle()
    heard = cluster[server].take(peer)
    assert heard[0][0] == "ID", heard
    assert heard[-1] == ("JOIN", 0, lobby)
    return peer, heard[0][1]


def relay(cluster: Cluster, server: str, peer: int, message: Message) -> None:
    cluster[server].say(peer, message)
    cluster.settle()


def test_a_lobby_spans_two_servers() -> None:
    cluster = Cluster()
    host, guest, guest_id, lobby = meet(cluster)
    third, third_id = join(cluster, "B", lobby)
    assert cluster["B"].take(guest) == [("PEER_CONNECT", third_id, "")]
    relay(cluster, "B", guest, Message(Kind.OFFER, 1, "to the host"))
    relay(cluster, "A", host, Message(Kind.ANSWER, guest_id, "from the host"))
    relay(cluster, "B", third, Message(Kind.OFFER, guest_id, "beside"))
    assert cluster["A"].take(host)[1:] == [("OFFER", guest_id, "to the host")]
    assert cluster["B"].take(guest) == [("ANSWER", 1, "from the host"), ("OFFER", third_id, "beside")]
    cluster["B"].go(third)
    cluster.settle()
    assert cluster["B"].take(guest) == cluster["A"].take(host) == [("PEER_DISCONNECT", third_id, "")]


def test_the_rules_hold_across_servers() -> None:
    cluster = Cluster()
    host, guest, _, lobby = meet(cluster)
    rude, _ = join(cluster, "B", lobby)
    relay(cluster, "B", rude, Message(Kind.SEAL))
    assert cluster["B"].take(rude) == [Close(4000, "Only host can seal the lobby")]
    cluster["B"].take(guest)
    relay(cluster, "A", host, Message(Kind.SEAL))
    assert cluster["B"].take(guest) == [("SEAL", 0, "")]
    cluster.wait(10.5)
    assert cluster["B"].take(guest) == [Close(1000, "Seal complete")]
    assert cluster["B"].rooms.peer_count == 0
    assert cluster.directory == {}


def test_a_lobby_that_no_server_has_does_not_exist() -> None:
    cluster = Cluster()
    peer = cluster["B"].connect()
    relay(cluster, "B", peer, Message(Kind.JOIN, 0, "nope"))
    assert cluster["B"].take(peer) == [Close(4000, "Lobby does not exists")]


def test_a_host_that_leaves_closes_members_elsewhere() -> None:
    cluster = Cluster()
    host, guest, _, _ = meet(cluster)
    cluster["A"].go(host)
    cluster.settle()
    assert cluster["B"].take(guest) == [Close(4000, "Room host has disconnected")]


def test_a_server_that_dies_takes_only_its_own_clients_with_it() -> None:
    cluster = Cluster(3)
    host, _, guest_id, lobby = meet(cluster)
    third, _ = join(cluster, "C", lobby)
    cluster["A"].take(host)
    cluster.dead.add("B")
    cluster.wait(7)
    assert cluster["A"].take(host) == []
    cluster.wait(3)
    assert cluster["A"].take(host) == cluster["C"].take(third) == [("PEER_DISCONNECT", guest_id, "")]
    relay(cluster, "C", third, Message(Kind.OFFER, 1, "on we go"))
    assert cluster["A"].take(host)[0][2] == "on we go"
    assert cluster["A"].rooms.linked_servers == ("C",)


def test_a_host_s_server_that_dies_closes_the_lobby_s_members() -> None:
    cluster = Cluster()
    _, guest, _, _ = meet(cluster)
    bystander, _ = cluster["B"].host()
    cluster.dead.add("A")
    cluster.wait(10)
    assert cluster["B"].take(guest) == [Close(4000, "Room host has disconnected")]
    assert cluster["B"].take(bystander) == []


def test_a_server_that_stops_says_so_at_once() -> None:
    cluster = Cluster()
    host, guest, guest_id, _ = meet(cluster)
    cluster["B"].rooms.close_all(Close(1001, "Server is shutting down"), cluster["B"].now)
    cluster.settle()
    assert cluster["B"].take(guest) == [Close(1001, "Server is shutting down")]
    assert cluster["A"].take(host) == [("PEER_DISCONNECT", guest_id, "")]


def test_a_member_of_a_dead_server_comes_back_through_another_one() -> None:
    cluster = Cluster(3)
    host, guest, guest_id, lobby = meet(cluster, resume="")
    ticket = cluster["B"].tickets[guest]
    cluster.dead.add("B")
    again, again_id = join(cluster, "C", lobby, ticket)
    assert again_id == guest_id
    cluster.wait(60)
    assert cluster["A"].take(host) == []
    relay(cluster, "A", host, Message(Kind.OFFER, guest_id, "still there"))
    assert cluster["C"].take(again) == [("OFFER", 1, "still there")]


@pytest.mark.parametrize("seconds", [0.5, 5, 60])
def test_a_broker_that_was_away_has_cost_nothing(seconds: float) -> None:
    """Local members go on meanwhile; what was said across servers arrives when the broker is back."""
    cluster = Cluster()
    host, guest, guest_id, lobby = meet(cluster)
    cluster.is_up = False
    relay(cluster, "B", guest, Message(Kind.OFFER, 1, "first"))
    relay(cluster, "A", host, Message(Kind.CANDIDATE, guest_id, "second"))
    if seconds < 8:
        cluster.wait(seconds)
        cluster.come_back()
        cluster.wait(2)
        assert cluster["A"].take(host) == [("OFFER", guest_id, "first")]
        assert cluster["B"].take(guest) == [("CANDIDATE", 1, "second")]
        _, _ = join(cluster, "B", lobby)
    else:
        # Longer than anybody can be told from dead.
        cluster.wait(seconds)
        assert cluster["A"].take(host) == [("PEER_DISCONNECT", guest_id, "")]
        assert cluster["B"].take(guest) == [Close(4000, "Room host has disconnected")]
        cluster.come_back()
        _, _ = join(cluster, "B", lobby)


def test_while_the_broker_is_away_a_lobby_elsewhere_is_a_clear_close() -> None:
    cluster = Cluster()
    _, _, _, lobby = meet(cluster)
    cluster.is_up = False
    peer = cluster["B"].connect()
    relay(cluster, "B", peer, Message(Kind.JOIN, 0, lobby))
    assert cluster["B"].take(peer) == [Close(4000, "Server error, lobby not found")]
    local, local_lobby = cluster["B"].host()
    join(cluster, "B", local_lobby)
    assert cluster["B"].take(local)[0][0] == "PEER_CONNECT"


def test_a_server_taken_for_dead_that_lives_starts_over() -> None:
    """The loser of a split hears a reset, closes what was lost, and both can meet again."""
    cluster = Cluster()
    host, guest, guest_id, lobby = meet(cluster)
    frozen = cluster.tables["B"]
    cluster.dead.add("B")  # it hangs
    cluster.wait(10)
    assert cluster["A"].take(host) == [("PEER_DISCONNECT", guest_id, "")]
    cluster.dead.clear()
    frozen.rooms.receive(guest, Message(Kind.OFFER, 1, "hello?").write(), frozen.now)
    cluster.settle()
    assert frozen.take(guest) == [Close(4000, "Room host has disconnected")]
    assert cluster["A"].take(host) == []
    join(cluster, "B", lobby)


# -- links alone -----------------------------------------------------------------------------------


class Pair:
    """Two servers' links, and a broker between them that drops what `loses` says."""

    def __init__(self) -> None:
        self.now = 0.0
        counter = iter(range(1, 1000))
        self.ends = {name: Links(lambda n: next(counter).to_bytes(n, "big")) for name in "AB"}
        self.heard: dict[str, list[object]] = {"A": [], "B": []}
        self.loses = lambda _: False

    def turn(self, seconds: float = 0.0) -> None:
        self.now += seconds
        for name, other in ("AB", "BA", "AB"):
            for server, frame in self.ends[name].take_frames(self.now):
                assert server == other
                if not self.loses(frame):
                    self.heard[other] += self.ends[other].receive(name, frame, self.now)


def test_bodies_arrive_once_and_in_order_whatever_is_lost() -> None:
    pair = Pair()
    dice = random.Random(7)
    pair.loses = lambda _: dice.random() < 0.3
    for number in range(300):
        pair.ends["A"].send("B", [number], pair.now)
        pair.ends["B"].send("A", [-number], pair.now)
        pair.turn(0.05)
    pair.loses = lambda _: False
    for _ in range(20):
        pair.turn(0.1)
    assert pair.heard["B"] == [[number] for number in range(300)]
    assert pair.heard["A"] == [[-number] for number in range(300)]
    assert pair.ends["A"].take_dead() == []


def test_an_idle_link_costs_a_frame_each_two_seconds_and_each_side() -> None:
    pair = Pair()
    pair.ends["A"].send("B", ["x"], 0)
    frames: list[str] = []
    pair.loses = lambda frame: frames.append(frame) is not None
    for _ in range(1000):
        pair.turn(0.1)
    assert 95 <= len(frames) <= 110


def test_too_much_without_an_acknowledgement_is_the_end() -> None:
    links = Links(lambda n: bytes(n))
    for number in range(20_001):
        links.send("B", [number], 0)
    assert links.take_dead() == ["B"]


@pytest.mark.parametrize(
    "frame",
    ["", "x", "[]", "null", "{}", '{"from":1}', '{"from":"b","to":null,"seq":"1","ack":0,"bodies":[]}',
     '{"from":"b","to":null,"seq":1,"ack":0,"bodies":{}}', '{"reset":"?"}', '{"reset":[]}', "[" * 50_000],
)  # fmt: skip
def test_what_is_no_frame_is_dropped(frame: str) -> None:
    links = Links(lambda n: bytes(n))
    assert links.receive("B", frame, 0) == []


def test_a_frame_s_acknowledgement_of_what_was_never_sent_does_no_harm() -> None:
    links = Links(lambda n: bytes(n))
    frame = {"from": "b", "to": None, "seq": 1, "ack": 99, "bodies": [["x"]]}
    assert links.receive("B", json.dumps(frame), 0) == [["x"]]
    links.send("B", ["y"], 0)
    ((server, written),) = links.take_frames(0)
    assert server == "B"
    assert json.loads(written)["bodies"] == [["y"]]


@pytest.mark.parametrize(
    "body",
    [[], ["says"], ["says", "1", "x"], ["tell", 1, 2], ["close", 1, "a", "b"], ["left"], "x", None, [[]],
     ["says", 1, "garbage"], ["tell", 99, "{}"]],
)  # fmt: skip
def test_bodies_that_mean_nothing_are_dropped(body: object) -> None:
    cluster = Cluster()
    host, _, _, _ = meet(cluster)
    frame = {"from": "x", "to": None, "seq": 1, "ack": 0, "bodies": [body]}
    cluster["A"].rooms.receive_frame("X", json.dumps(frame), cluster["A"].now)
    cluster["A"].collect()
    nothing: list[Heard] = []
    assert cluster["A"].take(host) == nothing
