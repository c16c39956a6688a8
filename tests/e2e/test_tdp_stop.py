"""A stop while the queue answers: what it has given is kept, and nothing more is asked for."""

import json
import signal
import socket
import threading

import pytest

from support.agents import Agent
from support.journals import Journal
from support.processes import PATIENCE
from support.raw_target import text
from support.sqs_gate import error

pytest_plugins = ["tdp_plugin"]


class Halves:
    """The second half of an answer comes when the test says so."""

    def __init__(self, made_up=None):
        self.made_up = made_up
        self.is_half_out = threading.Event()
        self.is_released = threading.Event()

    def __call__(self, gate, handler, forward):
        status, content = self.made_up or forward(send=False)
        handler.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:len(content) // 2])
        self.is_half_out.set()
        assert self.is_released.wait(PATIENCE)
        handler.wfile.write(content[len(content) // 2:])
        return status


def stop_amid(tdp, *receives):
    """The agent's stop while it has half of the last receive's answer."""
    *_, halves = receives
    tdp.gate.faults = {"ReceiveMessage": list(receives)}
    agent = tdp.start(LOG_LEVEL="debug", DRAIN_SECONDS=30)
    assert halves.is_half_out.wait(PATIENCE)
    agent.process.signal(signal.SIGTERM)
    agent.process.wait_for(lambda line: "is coming and is waited for" in line)
    halves.is_released.set()
    assert agent.process.wait() == 0, agent.log
    return agent


def test_messages_that_are_coming_are_kept_by_a_stop_and_made_once(tdp_site, raw):
    tdp = tdp_site(VisibilityTimeout=600)
    url = raw.url(text("once"))
    command_id = tdp.submit({"method": "POST", "url": url})
    agent = stop_amid(tdp, Halves())
    assert Journal(agent).state_of(command_id) == "received" and not raw.requests(url)
    assert tdp.gate.count()["DeleteMessageBatch"] == 1  # the queue may forget it
    following = Agent(agent.settings).start()
    assert tdp.wait_end(command_id)["status"] == "SUCCESS"
    assert len(raw.requests(url)) == 1
    following.stop()


@pytest.mark.parametrize("made_up", [
    (200, b"{}"),
    (403, json.dumps({"__type": "com.amazonaws.sqs#ExpiredTokenException"}).encode())],
    ids=["nothing", "other keys are wanted"])
def test_an_answer_that_brings_nothing_is_the_last_of_a_stop(tdp_site, made_up):
    tdp = tdp_site()
    first = error(200, "none of it")  # the first receive is another kind: it does not wait
    agent = stop_amid(tdp, first, Halves(made_up))
    assert tdp.gate.count()["ReceiveMessage"] == 2
    assert "stopped: 0 commands were relayed" in agent.log
