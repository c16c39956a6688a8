"""An agent between TDP's queues and targets, and who sends commands to it."""

import itertools
import json
import uuid

from support.agents import Agent
from support.queues import Inbox, Queues
from support.requestors import PLAIN, TERMINAL, timestamp
from support.sqs_gate import SqsGate
from support.tdp_platform import TdpPlatform

KEY = bytes(range(32))
_numbers = itertools.count(1)


class TdpSite:
    """Two queues, the platform's API, a gate before the emulator, agents; and who sends
    commands."""

    def __init__(self, emulator, context=None, **attributes):
        self.emulator = emulator
        self.queues = Queues(emulator.port)
        self.platform = TdpPlatform(context)
        self.gate = SqsGate(emulator, self.platform, context)
        self.names = [f"onprem-{next(_numbers)}.fifo", f"inbound-{next(_numbers)}"]
        self.attributes = attributes
        self.agents = []
        self.sent = []
        self.create_queues()
        self.inbox = Inbox(self.queues, self.platform_url)

    def create_queues(self):
        self.source_url, self.platform_url = (
            self.queues.create(self.names[0], FifoQueue="true", **self.attributes),
            self.queues.create(self.names[1]))
        self.platform.queues = {
            "rpcSourceQueueUrl": self.gate.show(self.source_url),
            "rpcPlatformQueueUrl": self.gate.show(self.platform_url)}

    def agent(self, build=None, **settings):
        """Not started."""
        self.agents.append(Agent(self.platform.settings(
            SECURE_COMMAND_KEY=KEY.hex(), **settings), build=build))
        return self.agents[-1]

    def start(self, **settings):
        return self.agent(**settings).start()

    def put(self, text, group=None):
        """A message as it stands; its id."""
        text = text if isinstance(text, str) else json.dumps(text)
        return self.queues.call(
            "SendMessage", QueueUrl=self.source_url, MessageBody=text,
            MessageGroupId=group or str(uuid.uuid4()),
            MessageDeduplicationId=str(uuid.uuid4()))["MessageId"]

    def command(self, payload=None, without=(), **fields):
        command = {"commandId": str(uuid.uuid4()), "targetId": self.platform.agent_id,
                   "action": PLAIN, "createdAt": timestamp(), "expiresAt": timestamp(600),
                   "bodyDelivery": "embedded", "body": payload, **fields}
        return {name: value for name, value in command.items() if name not in without}

    def submit(self, payload=None, group=None, **fields):
        command = self.command(payload, **fields)
        self.put(command, group)
        return command["commandId"]

    def ends(self, command_id):
        return [message for message in self.inbox.of(command_id) if message["status"] in TERMINAL]

    def wait_end(self, command_id):
        """The terminal status message of that command, of which there is one."""
        self.inbox.wait_for(lambda: self.ends(command_id))
        ends = self.ends(command_id)
        assert len(ends) == 1, ends
        return ends[0]

    def send(self, payload=None, **options):
        return self.wait_end(self.submit(payload, **options))

    def bytes_of(self, command_id, status):
        """The message as it came, of that status."""
        found = [raw for raw, parsed in self.inbox.messages
                 if parsed["commandId"] == command_id and parsed["status"] == status]
        assert len(found) == 1, found
        return found[0]

    def wait_empty(self):
        """Until the agent has deleted everything that was sent to it."""
        def is_empty():
            return self.queues.counts(self.source_url) == (0, 0)
        self.gate.wait_for(is_empty)

    def close(self):
        for agent in self.agents:
            agent.close()
        self.inbox.close()
        self.gate.close()
        self.platform.close()
