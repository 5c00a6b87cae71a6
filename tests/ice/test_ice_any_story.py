"""Whatever happens in whatever order, agents stay sane, and a restart on a working link connects them."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from ice_link import A4, A6, Z4, Z6, Link

from rtcstack.errors import InvalidState
from rtcstack.ice import Agent, IceState, Options

MAPPED = ("203.0.113.7", 4242)
RELAYED = ("203.0.113.200", 60000)
CONNECTED = (IceState.CONNECTED, IceState.COMPLETED)

ACTIONS = ["run", "lose", "heal", "offer", "answer", "restart", "abandon"]
ACTIONS += ["remove", "add", "relay", "end", "heard"]

actions = st.lists(
    st.tuples(
        st.sampled_from(ACTIONS),
        st.booleans(),
        st.floats(0.0, 1.0),
    ),
    max_size=30,
)


def act(link: Link, action: str, first: bool, amount: float) -> None:
    agent, other = (link.a, link.z) if first else (link.z, link.a)
    address = ((A4, A6) if first else (Z4, Z6))[amount < 0.5]
    if action == "run":
        link.run(amount**2 * 50)
    elif action == "lose":
        link.filter = lambda packet: link.random.random() < amount
    elif action == "heal":
        link.filter = lambda packet: True
    elif action == "restart":
        agent.restart()
    elif action == "offer":
        link.describe(agent, candidates=amount < 0.7)
    elif action == "answer":
        link.describe(agent)
        link.describe(other)
    elif action == "abandon":
        agent.abandon_restart()
    elif action == "remove":
        agent.remove_local(address)
    elif action == "end":
        agent.end_of_local_candidates()
    elif action == "heard":
        agent.heard(link.now)
    else:
        try:
            if action == "add":
                agent.add_local_address(address)
                agent.add_reflexive(address, (MAPPED[0], MAPPED[1] + first))
            else:
                agent.add_relayed((RELAYED[0], RELAYED[1] + first), MAPPED)
        except InvalidState:
            return


def check(agent: Agent, now: float) -> None:
    assert agent.deadline >= now or agent.deadline == math.inf
    report = agent.report()
    if agent.selected is None:
        assert agent.state not in CONNECTED
    else:
        assert agent.state not in (IceState.NEW, IceState.FAILED, IceState.CLOSED)
        bases = {each.transport_address for each in agent.local_candidates}
        assert agent.selected.local_address in bases
        assert agent.is_valid(agent.selected.local_address, agent.selected.remote_address)
    assert bool(agent.failure_reason) is (agent.state is IceState.FAILED)
    assert sum(pair.is_selected for pair in report.pairs) <= 1
    priorities = [each.priority for each in agent.local_candidates if each.type != "prflx"]
    assert len(set(priorities)) == len(priorities)


@settings(max_examples=60, deadline=None)
@given(actions, st.integers(0, 3))
def test_any_story_ends_well(actions: list[tuple[str, bool, float]], seed: int) -> None:
    link = Link(seed=seed, addresses=([A4, A6], [Z4, Z6]), options=Options(max_pairs=5))
    link.connect()
    for action in actions:
        act(link, *action)
        link.run(0.0)
        check(link.a, link.now)
        check(link.z, link.now)
    link.filter = lambda packet: True
    for agent, address in ((link.a, A4), (link.z, Z4)):
        agent.restart()
        agent.add_local_address(address)
    link.connect()
    link.run(15.0)
    check(link.a, link.now)
    assert link.a.state is link.z.state is IceState.COMPLETED
    assert link.a.selected is not None
    assert link.z.selected is not None
    assert link.a.selected.remote_address == link.z.selected.local_address
    assert link.a.controlling is not link.z.controlling
