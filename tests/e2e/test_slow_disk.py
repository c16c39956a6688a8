"""A disk whose syncs take long: what waits for it waits, and nothing else does."""

import time

import pytest

from support.agents import Agent
from support.journals import Journal
from support.raw_target import Gate, answer, text
from support.tracer import can_trace, slow_syncs

SYNC_SECONDS = 2

pytestmark = [pytest.mark.timing,
              pytest.mark.skipif(not can_trace(), reason="strace may not trace here")]


def agent_with_one_under_way(fake, raw, url, **settings):
    """Not alone the next command is written on the other thread."""
    agent = Agent(fake.settings(POLL_WAIT_SECONDS=1, **settings)).start()
    first = fake.give({"method": "POST", "url": url})
    raw.wait_for(url)
    return agent, first


def test_polling_and_what_is_under_way_go_on_while_a_command_is_written(fake, raw):
    gate = Gate(answer(body=b"first"))
    first_url, second_url = raw.url(gate), raw.url(text("second"))
    agent, first = agent_with_one_under_way(fake, raw, first_url)
    with slow_syncs(agent, SYNC_SECONDS):
        receives = len(fake.calls_to("receive"))
        begun = time.monotonic()
        second = fake.give({"method": "POST", "url": second_url})
        fake.wait_for_receives(receives + 1)
        assert time.monotonic() - begun < SYNC_SECONDS / 2, "it was polled without waiting"
        assert not raw.requests(second_url), "its request waits for the disk"
        gate.open.set()
        assert fake.wait_end(second)["body"]["body"] == "second"
        assert time.monotonic() - begun >= 2 * SYNC_SECONDS, "command and answer, one sync each"
        assert fake.wait_end(first)["body"]["body"] == "first"
    assert len(raw.requests(first_url)) == len(raw.requests(second_url)) == 1
    agent.stop()


def test_what_was_done_is_in_the_log_while_the_disk_is_waited_for(fake, raw):
    """One that is alone is written by the loop itself."""
    gate = Gate(answer(body=b"alone"))
    agent, alone = agent_with_one_under_way(fake, raw, raw.url(gate))
    with slow_syncs(agent, SYNC_SECONDS):
        begun = time.monotonic()
        gate.open.set()
        agent.process.wait_for(lambda line: alone in line)
        assert time.monotonic() - begun < SYNC_SECONDS, agent.log
        assert fake.wait_end(alone)["body"]["body"] == "alone"
    agent.stop()


def test_what_becomes_something_else_while_it_is_written_is_written_again(fake, raw):
    """The second waits for the first's place and gets it while it is written as waiting."""
    gate, second_gate = Gate(answer(body=b"first")), Gate(answer(body=b"second"))
    url = raw.url(gate, second_gate)
    agent, first = agent_with_one_under_way(fake, raw, url, MAX_IN_FLIGHT_PER_HOST=1)
    with slow_syncs(agent, SYNC_SECONDS):
        receives = len(fake.calls_to("receive"))
        second = fake.give({"method": "POST", "url": url})
        fake.wait_for_receives(receives + 1)
        gate.open.set()
        raw.wait_for(url, 2)
        assert Journal(agent).state_of(second) == "executing", "on disk before its first byte"
        second_gate.open.set()
        ends = [fake.wait_end(first), fake.wait_end(second)]
    assert [end["body"]["body"] for end in ends] == ["first", "second"]
    assert len(raw.requests(url)) == 2
    Journal(agent).wait_for_count("posted", 2)
    agent.stop()


def test_a_death_while_the_disk_is_waited_for_repeats_and_loses_nothing(fake, raw):
    gate = Gate(answer(body=b"first"))
    first_url, second_url = raw.url(gate), raw.url(text("second"))
    agent, first = agent_with_one_under_way(fake, raw, first_url)
    with slow_syncs(agent, SYNC_SECONDS):
        receives = len(fake.calls_to("receive"))
        payload = {"method": "POST", "url": second_url}
        second = fake.give(payload)
        fake.wait_for_receives(receives + 1)
        agent.kill()
    gate.open.set()
    assert not raw.requests(second_url)
    # Its lease runs out: to the source it may have been executed.
    fake.give(payload, commandId=second, attempt=2)
    following = Agent({**agent.settings}).start()
    for command_id in (first, second):
        ends = fake.wait_for(lambda: [end["body"]["body"] for end in fake.updates
                                      if end["commandId"] == command_id])
        assert all("INTERRUPTED" in end for end in ends)
    following.stop()
    assert len(raw.requests(first_url)) == 1 and not raw.requests(second_url)
