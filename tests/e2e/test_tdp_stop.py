"""A stop while the queue answers: what it has given is kept, and nothing more is asked for."""

import json
import signal
import socket
import threading
import time

import pytest

from support.agents import Agent
from support.journals import Journal
from support.processes import PATIENCE
from support.raw_target import Slow, answer, text
from support.sqs_gate import error, slow

pytest_plugins = ["tdp_plugin"]


class Halves:
    """The second part of an answer comes when the test says so; 0: of its body nothing before."""

    def __init__(self, made_up=None, share=0.5):
        self.made_up = made_up
        self.share = share
        self.is_half_out = threading.Event()
        self.is_released = threading.Event()
        self.released_at = None

    def __call__(self, gate, handler, forward):
        status, content = self.made_up or forward(send=False)
        handler.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        cut = int(len(content) * self.share)
        handler.wfile.write(content[:cut])
        self.is_half_out.set()
        assert self.is_released.wait(PATIENCE)
        handler.wfile.write(content[cut:])
        return status


def stop_amid(tdp, *receives):
    """The agent's stop while it has half of the last receive's answer."""
    *_, halves = receives
    tdp.gate.faults["ReceiveMessage"] = list(receives)
    agent = tdp.start(LOG_LEVEL="debug", DRAIN_SECONDS=30)
    assert halves.is_half_out.wait(PATIENCE)
    agent.process.signal(signal.SIGTERM)
    agent.process.wait_for(lambda line: "is coming and is waited for" in line)
    halves.released_at = time.monotonic()
    halves.is_released.set()
    assert agent.process.wait() == 0, agent.log
    return agent


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("share", [0, 0.5])
def test_messages_that_are_coming_are_kept_by_a_stop_and_made_once(tdp_site, raw, count, share):
    """The queue may forget them before the agent is gone, however long that takes it."""
    tdp = tdp_site(VisibilityTimeout=600)
    url = raw.url(*[text("once")] * count)
    ids = [tdp.submit({"method": "POST", "url": url}) for _ in range(count)]
    tdp.gate.faults["DeleteMessageBatch"] = [slow(0.5)]
    halves = Halves(share=share)
    agent = stop_amid(tdp, halves)
    assert time.monotonic() - halves.released_at >= 0.5  # it has waited for the queue's word
    assert not raw.requests(url)
    assert {Journal(agent).state_of(command_id) for command_id in ids} == {"received"}
    tdp.wait_empty()
    assert tdp.platform.calls_to("status", "PUT")[-1].body["statusSetting"] == "STOPPED"
    following = Agent(agent.settings).start()
    for command_id in ids:
        assert tdp.wait_end(command_id)["status"] == "SUCCESS"
    assert len(raw.requests(url)) == count
    following.stop()


def test_messages_of_which_some_are_not_read_yet_are_kept_by_a_stop(tdp_site, raw):
    """Each is so much work that one turn of the agent's loop reads one."""
    tdp = tdp_site(VisibilityTimeout=600)
    junk = json.dumps([{}] * 80000, separators=(",", ":"))
    url = raw.url(*[text("once")] * 10)
    commands = [tdp.command({"method": "POST", "url": url}) for _ in range(10)]
    for command in commands:
        tdp.put(f'{{"junk":{junk},{json.dumps(command)[1:]}')
    is_out = threading.Event()

    def whole(gate, handler, forward):
        status = forward()
        is_out.set()
        return status

    tdp.gate.faults["ReceiveMessage"] = [whole]
    agent = tdp.start(DRAIN_SECONDS=30)
    assert is_out.wait(PATIENCE)
    tdp.inbox.wait_for(lambda: tdp.inbox.messages)  # of the first one, while others are not read
    agent.process.signal(signal.SIGTERM)
    assert agent.process.wait() == 0, agent.log
    tdp.wait_empty()
    following = Agent(agent.settings).start()
    for command in commands:
        assert tdp.wait_end(command["commandId"])["status"] == "SUCCESS"
    assert len(raw.requests(url)) == 10
    following.stop()


def test_a_queue_that_is_gone_at_a_stop_keeps_no_answer_from_the_other_one(tdp_site, raw):
    tdp = tdp_site(VisibilityTimeout=600)
    url = raw.url(Slow(1, answer(body=b"made")))
    command_id = tdp.submit({"method": "POST", "url": url})
    gone = json.dumps({"__type": "com.amazonaws.sqs#QueueDoesNotExist"}).encode()
    agent = stop_amid(tdp, slow(0), Halves((400, gone)))
    assert tdp.wait_end(command_id)["status"] == "SUCCESS"
    assert "1 answers not posted" not in agent.log


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
