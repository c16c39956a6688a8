"""Nothing lost, nothing done twice unasked: the agent dies, its source repeats itself, its
disk fails."""

import json
import os
import pathlib
import resource
import signal
import threading
import time

import pytest

from support.agents import Agent
from support.journals import Journal
from support.processes import PATIENCE, Run
from support.raw_target import Gate, Slow, answer, text
from support.requestors import Requestor, V2
from support.v2 import WithCryptography

KEY = bytes(range(32))
REPEATABLE = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]
UNREPEATABLE = ["POST", "PATCH"]


def explanation(body):
    return json.loads(body["body"])


def again(agent, **settings):
    """The next life of an agent that is gone: the same settings, the same journal."""
    return Agent({**agent.settings, **settings}).start()


def killed_in_flight(site, raw, method, action=None, **settings):
    """An agent that died while its request was under way: agent, requestor, record, URL."""
    pair = site.start(**settings)
    url = raw.url(Gate(answer(body=b"late")), text("second"))
    payload = {"method": method, "url": url}
    record = (pair.requestor.submit(WithCryptography.encrypt(KEY, payload), V2) if action == V2
              else pair.requestor.submit(payload))
    raw.wait_for(url)
    pair.agent.kill()
    return pair.agent, pair.requestor, record, url


def wait_for_listing(agent, predicate):
    """What `relay-agent journal` prints of a running agent, once it is as hoped."""
    deadline = time.monotonic() + PATIENCE
    while True:
        listed = Run(["journal", "--state-dir", agent.settings["STATE_DIR"]]).out
        if predicate(listed):
            return listed
        assert time.monotonic() < deadline, listed


def with_next_life(agent, check, **settings):
    following = again(agent, **settings)
    try:
        following.process.wait_for(lambda line: "polls" in line)
        return check()
    finally:
        following.stop()


@pytest.mark.parametrize("method", REPEATABLE)
def test_what_may_be_repeated_runs_again_after_a_kill(site, raw, method):
    agent, requestor, record, url = killed_in_flight(site, raw, method)
    end = with_next_life(agent, lambda: requestor.wait(record["id"]))
    assert end["status"] == "SUCCESS"
    assert len(raw.requests(url)) == 2


@pytest.mark.parametrize("method", UNREPEATABLE)
def test_what_may_have_changed_something_fails_as_interrupted(site, raw, method):
    agent, requestor, record, url = killed_in_flight(site, raw, method)
    end = with_next_life(agent, lambda: requestor.wait(record["id"]))
    assert end["status"] == "FAILURE"
    assert explanation(end["responseBody"])["code"] == "INTERRUPTED"
    assert method in explanation(end["responseBody"])["message"]
    assert len(raw.requests(url)) == 1


def test_an_interrupted_sealed_command_gets_a_sealed_answer(site, raw):
    agent, requestor, record, url = killed_in_flight(site, raw, "POST", V2)
    end = with_next_life(agent, lambda: requestor.wait(record["id"]))
    assert explanation(WithCryptography.decrypt(KEY, end["responseBody"]))["code"] == "INTERRUPTED"
    assert len(raw.requests(url)) == 1


def test_retry_runs_everything_again(site, raw):
    agent, requestor, record, url = killed_in_flight(site, raw, "POST", ON_INTERRUPTED="retry")
    end = with_next_life(agent, lambda: requestor.wait(record["id"]))
    assert end["status"] == "SUCCESS" and len(raw.requests(url)) == 2


def test_fail_all_repeats_nothing(site, raw):
    agent, requestor, record, url = killed_in_flight(site, raw, "GET", ON_INTERRUPTED="fail-all")
    end = with_next_life(agent, lambda: requestor.wait(record["id"]))
    assert explanation(end["responseBody"])["code"] == "INTERRUPTED"
    assert len(raw.requests(url)) == 1


def test_answers_wait_for_the_service_across_a_kill(own_service, raw):
    own_service.start()
    settings = {"COMMAND_SERVICE_URL": own_service.url, "AGENT_ID": "a", "ORG_SLUG": "acme",
                "AUTH_TOKEN": own_service.create_token("agent", "acme", "a")}
    requestor = Requestor(own_service.url, "acme", own_service.create_token("requestor", "acme"), "a")
    agent = Agent(settings).start()
    gate = Gate(answer(body=b"x" * 300000))
    small = Gate(answer(body=b"small"))
    urls = [raw.url(gate), raw.url(small)]
    records = [requestor.submit({"method": "POST", "url": url}) for url in urls]
    for url in urls:
        raw.wait_for(url)
    own_service.kill()
    gate.open.set()
    small.open.set()
    agent.process.wait_for(lambda line: " fails: " in line)
    listed = wait_for_listing(agent, lambda text: text.count("done") == 2)
    assert all(record["id"] in listed for record in records)
    agent.kill()
    own_service.start()
    following = again(agent)
    ends = [requestor.wait(record["id"]) for record in records]
    assert [len(end["responseBody"]["body"]) for end in ends] == [300000, 5]
    following.stop()
    assert Run(["journal", "--state-dir", agent.settings["STATE_DIR"]]).out == "nothing waits\n"
    assert [len(raw.requests(url)) for url in urls] == [1, 1]


def test_a_command_delivered_five_times_is_executed_once_and_answered_each_time(fake, fake_agent, raw):
    gate = Gate(answer(body=b"once"))
    url = raw.url(gate)
    payload = {"method": "POST", "url": url}
    command_id = fake.give(payload)
    fake_agent()
    raw.wait_for(url)
    for _ in range(4):
        fake.give(payload, commandId=command_id)
    behind = fake.give({"method": "GET", "url": raw.url(text("behind them"))})
    fake.wait_end(behind)
    gate.open.set()
    fake.wait_end(command_id)

    def answers_to_it():
        return [update["body"] for update in fake.updates if update["commandId"] == command_id]
    for count in (2, 3, 4):  # deliveries after its end, one after the other
        fake.give(payload, commandId=command_id)
        fake.wait_for(lambda: len(answers_to_it()) >= count)
    answers = answers_to_it()
    assert len(answers) == 4 and all(answer == answers[0] for answer in answers) and answers[0]["body"] == "once"
    assert len(raw.requests(url)) == 1


def test_a_delivery_that_comes_while_the_answer_is_posted_is_answered_too(fake, fake_agent, raw):
    release = threading.Event()

    def held_back(handler):
        body = fake.calls_to("commands/status")[0].body
        release.wait(PATIENCE)
        handler.reply(200, json.dumps(fake.take(body)).encode())
    fake.status_faults[:] = [held_back]
    url = raw.url(text("once"))
    payload = {"method": "POST", "url": url}
    fake_agent()
    command_id = fake.give(payload, receipt="first")
    fake.wait_for(lambda: fake.calls_to("commands/status"))
    fake.give(payload, commandId=command_id, receipt="second")
    behind = fake.calls_to("receive")[-1].at
    fake.wait_for(lambda: fake.calls_to("receive")[-1].at > behind)
    release.set()
    fake.wait_for(lambda: len(fake.updates) == 2)
    assert [update["receipt"] for update in fake.updates] == ["first", "second"]
    assert fake.updates[0]["body"] == fake.updates[1]["body"]
    assert len(raw.requests(url)) == 1


def test_a_second_delivery_of_an_unknown_command_counts_as_interrupted(fake, fake_agent, raw):
    fake_agent()
    url = raw.url(text("done"))
    posted = fake.give({"method": "POST", "url": url}, attempt=2)
    assert explanation(fake.wait_end(posted)["body"])["code"] == "INTERRUPTED"
    read = fake.give({"method": "GET", "url": url}, attempt=2)
    assert fake.wait_end(read)["status"] == "SUCCESS"
    assert [request.line.split()[0] for request in raw.requests(url)] == ["GET"]


def test_a_state_directory_has_one_agent(site):
    agent = site.start().agent
    agent.process.wait_for(lambda line: "connected" in line)
    second = Run(["run"], agent.settings)
    assert second.code == 1
    assert "belongs to another agent" in second.err and agent.settings["STATE_DIR"] in second.err


def test_a_state_directory_that_cannot_be_made_stops_the_start(site, tmp_path):
    (tmp_path / "file").write_text("")
    agent = site.pair(STATE_DIR=tmp_path / "file").agent
    run = Run(["run"], agent.settings)
    assert run.code == 1 and "STATE_DIR" in run.err and str(tmp_path / "file") in run.err


@pytest.mark.parametrize("damage", ["flipped", "cut", "other"])
def test_a_damaged_journal_is_set_aside_and_never_deleted(site, raw, damage):
    pair = site.start()
    url = raw.url(text("done"))
    pair.requestor.send({"method": "GET", "url": url})
    pair.agent.stop()
    folder = pathlib.Path(pair.agent.settings["STATE_DIR"])
    database = folder / "journal.db"
    content = bytearray(database.read_bytes())
    if damage == "flipped":
        content[4096:8192] = os.urandom(4096)
        content[100:120] = os.urandom(20)
    elif damage == "cut":
        del content[5000:]
    else:
        content = bytearray(b"this is no database at all" * 400)
    database.write_bytes(content)
    following = again(pair.agent)
    following.process.wait_for(lambda line: "set aside" in line)
    assert pair.requestor.send({"method": "GET", "url": url})["status"] == "SUCCESS"
    following.stop()
    kept = [path for path in folder.iterdir() if ".damaged-" in path.name]
    assert bytes(content) in [path.read_bytes() for path in kept]


def test_what_only_waits_stays_in_the_journal_at_a_stop(site, raw):
    pair = site.start(MAX_IN_FLIGHT_PER_HOST=1, DRAIN_SECONDS=30)
    url = raw.url(Slow(0.3, answer(body=b"first")), text("later"))
    records = [pair.requestor.submit({"method": "POST", "url": url}) for _ in range(3)]
    raw.wait_for(url)
    pair.agent.process.signal(signal.SIGTERM)
    assert pair.agent.process.wait() == 0
    assert pair.requestor.wait(records[0]["id"])["responseBody"]["body"] == "first"
    assert len(raw.requests(url)) == 1
    ends = with_next_life(pair.agent, lambda: [pair.requestor.wait(r["id"]) for r in records])
    assert [end["status"] for end in ends] == ["SUCCESS"] * 3
    assert len(raw.requests(url)) == 3


def test_a_full_disk_stops_the_taking_of_commands_and_heals_by_itself(site, raw):
    pair = site.start()
    url = raw.url(text("done"))
    pair.requestor.send({"method": "GET", "url": url})
    pid = pair.agent.process.popen.pid
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    record = pair.requestor.submit({"method": "POST", "url": url})
    pair.agent.process.wait_for(lambda line: "writing the journal fails" in line)
    assert len(raw.requests(url)) == 1, "what is not stored is not executed"
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert pair.requestor.wait(record["id"])["status"] == "SUCCESS"
    pair.agent.process.wait_for(lambda line: "writing the journal works again" in line)
    assert len(raw.requests(url)) == 2


def test_the_journal_is_for_its_owner_alone(site, raw):
    pair = site.start()
    pair.requestor.send({"method": "GET", "url": raw.url(text("x" * 300000))})
    folder = pathlib.Path(pair.agent.settings["STATE_DIR"])
    for path in [*folder.glob("journal.db*"), *folder.glob("answers/*")]:
        assert path.stat().st_mode & 0o077 == 0, path
    assert len(Journal(pair.agent).states()) == 1
