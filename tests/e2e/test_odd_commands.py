"""Commands whose JSON is too deep or takes too much memory: answered, and nothing is made of them."""

import json

import pytest

from support.agents import Agent
from support.fake_service import FakeService
from support.raw_target import text
from support.requestors import PLAIN, timestamp

pytest_plugins = ["tdp_plugin"]
MANY = "[" + ",".join(["{}"] * 700000) + "]"  # 2 MB, and half a gigabyte of values


def command_text(url, junk, command_id="odd"):
    """Its id stands behind what is wrong with it."""
    command = {"targetId": FakeService.agent_id, "action": PLAIN, "createdAt": timestamp(),
               "expiresAt": timestamp(600), "bodyDelivery": "embedded", "attempt": 1,
               "body": {"method": "POST", "url": url}}
    members = json.dumps(command)[1:-1]
    return f'{{{members},"junk":{junk},"receipt":"r","commandId":"{command_id}"}}'


@pytest.mark.timing  # a checker of memory takes too long for that
def test_a_command_with_too_many_values_is_rejected_and_the_one_beside_it_made(fake, raw):
    url = raw.url(text("made"))
    answer = f'{{"commands":[{command_text(url, MANY)},{command_text(url, 1, "good")}]}}'
    fake.faults.append(lambda handler: handler.reply(200, answer.encode()))
    agent = Agent(fake.settings()).start()
    assert fake.wait_end("good")["status"] == "SUCCESS"
    end = fake.wait_end("odd")
    assert end["status"] == "REJECTED"
    reason = end["body"]
    assert reason["code"] == "INVALID_COMMAND" and "bytes of memory" in reason["message"]
    assert len(raw.requests(url)) == 1
    agent.stop()


DEEP = ["[" * 70 + "]" * 70, '{"a":' * 70 + "1" + "}" * 70, '["]",' * 70 + '"[[\\""' + "]" * 70]


@pytest.mark.parametrize("junk", DEEP)
def test_a_command_that_is_nested_too_deeply_is_rejected_and_those_beside_it_made(fake, raw, junk):
    url = raw.url(text("made"))
    commands = [command_text(url, 1, "before"), command_text(url, junk),
                command_text(url, 1, "behind")]
    answer = f'{{"commands":[{",".join(commands)}]}}'
    fake.faults.append(lambda handler: handler.reply(200, answer.encode()))
    agent = Agent(fake.settings()).start()
    assert {fake.wait_end("before")["status"], fake.wait_end("behind")["status"]} == {"SUCCESS"}
    end = fake.wait_end("odd")
    assert end["status"] == "REJECTED"
    assert end["body"]["code"] == "INVALID_COMMAND"
    assert "nested too deeply" in end["body"]["message"]
    assert len(raw.requests(url)) == 2
    agent.stop()


@pytest.mark.parametrize("junk", DEEP)
def test_a_message_that_is_nested_too_deeply_is_rejected(tdp_site, raw, junk):
    tdp = tdp_site()
    url = raw.url()
    body = command_text(url, junk).replace(FakeService.agent_id, tdp.platform.agent_id)
    tdp.put(body)
    agent = tdp.start()
    end = tdp.wait_end("odd")
    assert end["status"] == "REJECTED" and "nested too deeply" in json.dumps(end)
    tdp.wait_empty()
    assert not raw.requests(url)
    agent.stop()
