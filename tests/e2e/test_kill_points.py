"""The agent stops itself with SIGKILL at each named point of a command's way (the KILL=1 build): what
is on disk then, what the next start does, and the one terminal status."""

import collections
import json
import signal

import pytest

from support.agents import Agent
from support.journals import Journal
from support.processes import ROOT
from support.raw_target import Gate, answer, text

KILL_BUILD = ROOT / "build" / "kill"

# When the agent has died: the state on disk, the requests that the target has had, the statuses
# that the source has had. After the next life: how each method ended (None: well) and how many
# requests the target has had in all.
Point = collections.namedtuple("Point", "state requests statuses post get")
End = collections.namedtuple("End", "code requests")
POINTS = {
    # The source was not told that it was taken: it delivers it again, and says so.
    "after-receive": Point(None, 0, 0, End("INTERRUPTED", 0), End(None, 1)),
    # It was only waiting: nothing can have happened.
    "after-journal": Point("received", 0, 0, End(None, 1), End(None, 1)),
    "before-first-byte": Point("executing", 0, 0, End("INTERRUPTED", 0), End(None, 1)),
    "after-answer": Point("executing", 1, 0, End("INTERRUPTED", 1), End(None, 2)),
    "after-journal-of-answer": Point("done", 1, 0, End(None, 1), End(None, 1)),
    # The source has it, and gets the same once more.
    "after-post": Point("done", 1, 1, End(None, 1), End(None, 1)),
    "before-row-marked": Point("done", 1, 1, End(None, 1), End(None, 1)),
}


def die_at(fake, raw, point, payload):
    """An agent that has died there with this command: agent, command id."""
    agent = Agent(fake.settings(POLL_WAIT_SECONDS=1, RELAY_KILL_POINT=point,
                                MAX_IN_FLIGHT_PER_HOST=1), build=KILL_BUILD).start()
    if point == "after-journal":  # what can be executed at once is never only journaled
        occupied = raw.url(Gate(answer()))
        fake.give({"method": "GET", "url": occupied})
        raw.wait_for(occupied)
    command_id = fake.give(payload)
    assert agent.process.wait() == -signal.SIGKILL
    return agent, command_id


def wait_for_end(fake, command_id, count):
    """The last status of that command, once so many have come."""
    def statuses():
        found = [update for update in fake.updates if update["commandId"] == command_id]
        return found if len(found) >= count else None
    found = fake.wait_for(statuses)
    assert all((each["status"], each["body"]) == (found[0]["status"], found[0]["body"])
               for each in found), "one terminal status, however often it is told"
    return found[-1]


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("point", POINTS)
def test_a_command_ends_once_wherever_the_agent_dies(fake, raw, point, method):
    expected = POINTS[point]
    url = raw.url(text("done"))
    payload = {"method": method, "url": url}
    agent, command_id = die_at(fake, raw, point, payload)
    journal = Journal(agent)
    assert journal.state_of(command_id) == expected.state
    assert journal.listing().get(command_id, [None])[0] == expected.state
    assert len(raw.requests(url)) == expected.requests
    assert len([u for u in fake.updates if u["commandId"] == command_id]) == expected.statuses
    if expected.state is None:
        fake.give(payload, commandId=command_id, attempt=2)

    following = Agent({**agent.settings, "RELAY_KILL_POINT": None,
                       "MAX_IN_FLIGHT_PER_HOST": 10}).start()
    update = wait_for_end(fake, command_id, expected.statuses + 1)
    end = expected.post if method == "POST" else expected.get
    if end.code:
        assert update["status"] == "FAILURE"
        assert json.loads(update["body"]["body"])["code"] == end.code
    else:
        assert update["status"] == "SUCCESS" and update["body"]["body"] == "done"
    assert len(raw.requests(url)) == end.requests
    journal.wait_for_state(command_id, "posted")
    held = 2 if point == "after-journal" else expected.state is not None
    assert (f"{int(held)} commands of the journal go on" in following.log) == bool(held)
    following.kill()
