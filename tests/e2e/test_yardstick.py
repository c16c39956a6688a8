"""What scripts/bench compares the agent with: `floor` makes the agent's requests, or its figures
say nothing."""

import contextlib
import json
import re

import pytest
from support.agents import Agent
from support.fake_service import FakeService
from support.processes import BUILD, Process, wrapper
from support.raw_target import text
from support.requestors import V2
from support.v2 import WithCryptography

FLOOR = BUILD / "bench-floor"
pytestmark = pytest.mark.skipif(not FLOOR.exists() or bool(wrapper()),
                                reason="ordinary builds are measured, and `make bench` makes floor")

KEY = bytes(range(32))
OWN = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=127\.0\.0\.1:)\d+")


def head(headers):
    """As they stand, but for ids and ports."""
    return [(name, OWN.sub("…", value)) for name, value in headers]


def shape(value):
    """Of JSON: the names and the sizes of what differs from run to run."""
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return len(value) if isinstance(value, str) else type(value)


def requests_of(start, raw):
    """Those for one command of scripts/bench: to the target, the receive that brought it, its
    status."""
    with contextlib.closing(FakeService()) as service:
        service.agent_id, service.org, service.token = "bench-agent", "bench", "bench-token"
        url = raw.url(text("{}", headers=["Content-Type: application/json"]))
        payload = {"method": "POST", "url": url, "body": {"mode": "raw", "raw": "x" * 1024},
                   "headers": {"accept": "application/json", "content-type": "application/json"}}
        with start(service):
            service.send(WithCryptography.encrypt(KEY, payload), action=V2)
        [target] = raw.requests(url)
        [status] = [call for call in service.calls_to("status") if "/commands/" in call.path]
        return target, service.first_long_poll(), status


@pytest.fixture
def pair(raw, tmp_path):
    """The requests of floor and of the agent."""
    authorities = tmp_path / "none.pem"
    authorities.write_text("")

    @contextlib.contextmanager
    def floor(service):
        # scripts/bench has the service decide how many come at once, whatever max says.
        process = Process([FLOOR, "--service", service.url, "--ca-file", authorities,
                           "--key", KEY.hex(), "--batch", "100"])
        try:
            yield
        finally:
            process.stop()

    @contextlib.contextmanager
    def agent(service):
        started = Agent(service.settings(SECURE_COMMAND_KEY=KEY.hex())).start()
        try:
            yield
        finally:
            started.close()

    return requests_of(floor, raw), requests_of(agent, raw)


def test_floor_makes_the_requests_that_the_agent_makes(pair):
    floor, agent = pair
    for kind, ours, theirs in zip(("target", "receive", "status"), floor, agent):
        assert head(ours.headers) == head(theirs.headers), kind
    assert floor[0].line.split()[::2] == agent[0].line.split()[::2], "method and version"
    assert floor[0].body == agent[0].body
    assert floor[1].path == agent[1].path and floor[2].path == agent[2].path


def test_floor_says_of_a_command_what_the_agent_says(pair):
    (_, receive, status), (_, agent_receive, agent_status) = pair
    assert receive.body == agent_receive.body
    assert shape(status.body) == shape(agent_status.body), json.dumps(status.body)
