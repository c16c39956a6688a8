"""test_chaos.py on TDP's queues: the agent dies, the line breaks and the queues misbehave at
random moments. CHAOS_SEED=7 CHAOS_COMMANDS=… CHAOS_SECONDS=… repeat a run."""

import gzip
import json
import os
import random
import threading
import time

import pytest

from support.chaos import check_all, choose_command, payload_of
from support.sqs_gate import error, half_answer, reset, slow
from support.tcp_proxy import TcpProxy
from support.tdp_site import TdpSite

SEED = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 30)))
COMMANDS = int(os.environ.get("CHAOS_COMMANDS", 150))
SECONDS = float(os.environ.get("CHAOS_SECONDS", 12))
TROUBLE = [None, error(500, "InternalError"), error(400, "ThrottlingException"),
           error(400, "ExpiredTokenException"), half_answer, reset, slow(0.2)]
VISIBLE_AGAIN_SECONDS = 3

pytest_plugins = ["tdp_plugin"]


class TdpChaos(TdpSite):
    """One agent after the other on the same journal, and a bad line to the queues."""

    def __init__(self, emulator, **settings):
        self.random = random.Random(SEED)
        super().__init__(emulator, VisibilityTimeout=VISIBLE_AGAIN_SECONDS)
        self.gate.lease_seconds = VISIBLE_AGAIN_SECONDS
        self.line = TcpProxy(("127.0.0.1", self.gate.server.server_port))
        self.gate.host = f"127.0.0.1:{self.line.port}"
        self.create_queues()
        self.one = self.start(POLL_WAIT_SECONDS=5, **settings)
        self.events = {"agent killed": 0, "line cut": 0, "line slow": 0, "trouble": 0}

    def kill_agent(self):
        self.one.kill()
        self.one.start()
        self.events["agent killed"] += 1

    def cut_line(self):
        self.line.cut(with_reset=self.random.random() < 0.5)
        self.events["line cut"] += 1

    def slow_line(self):
        self.line.pause = self.random.choice([0, 0.02, 0.2])
        self.events["line slow"] += 1

    def make_trouble(self):
        fault = self.random.choice(TROUBLE)
        self.gate.trouble = lambda operation: fault
        self.events["trouble"] += 1

    def step(self):
        self.random.choices([self.kill_agent, self.cut_line, self.slow_line, self.make_trouble],
                            [6, 3, 2, 4])[0]()

    def end(self):
        self.line.pause = 0
        self.gate.trouble = None

    def close(self):
        self.line.close()
        super().close()

    # what check_all wants of a requestor

    def wait(self, command_id):
        """The end that the platform has seen. It may have come twice, but as one."""
        self.inbox.wait_for(lambda: self.ends(command_id))
        ends = self.ends(command_id)
        assert all(end == ends[0] for end in ends), ends
        return ends[0]

    def stored_answer(self, end):
        if end["responseBodyDelivery"] == "embedded":
            return end["body"]
        return json.loads(gzip.decompress(self.queues.object(end["commandId"])[1]))


@pytest.mark.timing
@pytest.mark.parametrize("ack", ["journal", "done"])
def test_nothing_is_lost_or_done_twice_whatever_happens_to_the_queues(emulator, raw, ack):
    print(f"CHAOS_SEED={SEED}")
    chaos = TdpChaos(emulator, SQS_ACK=ack)
    chooser = random.Random(SEED)
    sent = {}

    def send_all():
        for number in range(COMMANDS):
            chosen = choose_command(chooser, raw, number)
            command = chaos.command(payload_of(chosen), action=chosen.action)
            command["responseBodyUploadUrl"] = chaos.queues.object_url(
                command["commandId"], chaos.gate.host)
            sent[command["commandId"]] = chosen
            chaos.put(command)
            time.sleep(chooser.random() * SECONDS / COMMANDS)

    sender = threading.Thread(target=send_all)
    sender.start()
    try:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(chaos.random.random() * 0.3)
            chaos.step()
        sender.join(120)
        assert not sender.is_alive() and len(sent) == COMMANDS
        chaos.end()
        interrupted = check_all(chaos, sent, raw, "fail")
        chaos.wait_empty()
        print(chaos.events, f"{interrupted} interrupted", dict(chaos.gate.count()))
    finally:
        sender.join(120)
        chaos.end()
        chaos.close()
