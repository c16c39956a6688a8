"""What the agent logs: one line a command, and nothing that it must not."""

import json
import os
import re
import subprocess

import pytest

from conftest import KEY, one_pair
from support.processes import Run, agent_command, clean_environment
from support.raw_target import answer, text
from support.requestors import V2, answered
from support.v2 import WithCryptography

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def text_relay(session_service, defaults):
    with one_pair(session_service, {**defaults, "LOG_FORMAT": "text"}) as pair:
        yield pair


@pytest.fixture(scope="module")
def debug_relay(session_service, defaults):
    with one_pair(session_service, {**defaults, "LOG_LEVEL": "debug"}) as pair:
        yield pair


def event(relay, payload, **options):
    """The record and the one line of a command."""
    record = relay.requestor.send(payload, **options)
    return record, relay.agent.event_of(record["id"])


def test_a_command_leaves_one_line_with_everything_one_wants_to_know(relay, raw):
    url = raw.url(text("12345"), tail="/a/b") + "?q=1"
    record, line = event(relay, {"method": "post", "url": url,
                                 "body": {"mode": "raw", "raw": "x" * 1000}})
    request = raw.only(url)
    assert TIME.fullmatch(line.pop("time"))
    assert 0 <= line.pop("ms") < 10000
    # Of the bodies, or with their heads.
    assert line.pop("bytes_in") in (5, len(answer(body=b"12345")))
    assert line.pop("bytes_out") in (1000, len(request.raw))
    assert line == {
        "level": "info", "message": "command", "id": record["id"],
        "action": "TetraScience.Connector.http.Request", "method": "POST", "scheme": "http",
        "host": "127.0.0.1", "port": raw.port, "path": url.split(str(raw.port))[1].split("?")[0],
        "status": "SUCCESS", "code": 200, "attempt": 1}


def test_a_failure_names_its_code(relay, raw, refusing_port):
    _, line = event(relay, {"method": "GET", "url": f"http://127.0.0.1:{refusing_port}/x"})
    assert (line["status"], line["code"], line["port"]) == ("FAILURE", "ECONNREFUSED", refusing_port)
    _, line = event(relay, {"method": "GET", "url": raw.url(text("", "503 Later"))})
    assert (line["status"], line["code"]) == ("FAILURE", 503)


def test_a_rejection_leaves_one_line_too(relay):
    _, line = event(relay, {"method": "GET", "url": "file:///etc/passwd"})
    assert (line["status"], line["code"]) == ("REJECTED", "INVALID_PAYLOAD")
    _, line = event(relay, {}, action="No.Such.Action")
    assert (line["status"], line["code"]) == ("REJECTED", "UNKNOWN_ACTION")
    assert line["action"] == "No.Such.Action"


def test_an_encrypted_command_leaves_the_same_line(relay, raw):
    payload = {"method": "GET", "url": raw.url(text(), tail="/sealed")}
    record = relay.requestor.send(WithCryptography.encrypt(KEY, payload), V2)
    line = relay.agent.event_of(record["id"])
    assert line["path"].endswith("/sealed")
    assert line["status"] == "SUCCESS"


def test_text_lines_say_the_same(text_relay, raw):
    url = raw.url(text(), tail="/as/text")
    record = text_relay.requestor.send({"method": "GET", "url": url + "?secret=1"})
    line = text_relay.agent.process.wait_for(lambda line: record["id"] in line)
    when, level, rest = line.split(None, 2)
    assert TIME.fullmatch(when) and level.lower() == "info"
    words = dict(word.split("=", 1) for word in rest.split() if "=" in word)
    assert words["id"] == record["id"]
    assert (words["method"], words["status"], words["code"]) == ("GET", "SUCCESS", "200")
    assert (words["host"], words["port"]) == ("127.0.0.1", str(raw.port))
    assert words["path"].endswith("/as/text") and words["attempt"] == "1"
    assert {"ms", "bytes_in", "bytes_out", "action", "scheme"} <= set(words)


@pytest.mark.parametrize("relay_name", ["relay", "text_relay", "debug_relay"])
def test_nothing_secret_or_private_is_logged(request, relay_name, raw, refusing_port):
    relay = request.getfixturevalue(relay_name)
    marks = [f"private-{number}-mark" for number in range(12)]
    url = raw.url(text(marks[0], headers=[f"X-Answer: {marks[1]}", f"Set-Cookie: s={marks[2]}"]))
    payload = {
        "method": "POST",
        "url": url.replace("://", f"://{marks[3]}:{marks[4]}@") + f"?q={marks[5]}#{marks[6]}",
        "headers": {"Authorization": f"Bearer {marks[7]}", "X-Any": marks[8]},
        "body": {"mode": "raw", "raw": marks[9]}}
    record = relay.requestor.send(payload)
    answered(record)
    sealed = relay.requestor.send(WithCryptography.encrypt(KEY, payload), V2)
    for closed in (payload["url"].replace(str(raw.port), str(refusing_port)),
                   f"http://{marks[3]}:{marks[4]}@/?{marks[5]}", f"ftp://{marks[3]}@h/?{marks[5]}"):
        relay.requestor.send({**payload, "url": closed})
    redirect = raw.url(text("", "302 F", [f"Location: {url}?again={marks[10]}"]))
    relay.requestor.send({**payload, "url": f"{redirect}?{marks[11]}"})
    relay.agent.process.wait_for(lambda line: sealed["id"] in line)
    log = relay.agent.log
    for mark in marks + [KEY.hex(), relay.agent.settings["AUTH_TOKEN"], relay.requestor.token]:
        assert mark not in log, [line for line in log.splitlines() if mark in line]


NEWLINES = ["\n", "\r\n", "\r", "\u2028", "\u0085", "\x1b[2K", "\"}\n{\"level\":\"error\"", "\\"]


@pytest.mark.parametrize("relay_name", ["relay", "text_relay"])
@pytest.mark.parametrize("trick", NEWLINES)
def test_no_line_can_be_forged_by_an_action(request, relay_name, trick):
    relay = request.getfixturevalue(relay_name)
    relay.agent.process.wait_for(lambda line: "connected" in line)
    before = len(relay.agent.process.lines)
    forged = f"x{trick}2126-11-21T00:00:00.000Z error forged id=1"
    record = relay.requestor.send({"method": "GET", "url": "http://127.0.0.1/"}, forged)
    assert record["status"] == "REJECTED"
    assert record["responseBody"]["message"] == f"Unknown command action: {forged}"
    relay.agent.process.wait_for(lambda line: record["id"] in line)
    assert_no_forgery(relay, relay_name, before)


@pytest.mark.parametrize("relay_name", ["relay", "text_relay"])
def test_no_line_can_be_forged_by_a_path(request, relay_name, raw):
    relay = request.getfixturevalue(relay_name)
    relay.agent.process.wait_for(lambda line: "connected" in line)
    before = len(relay.agent.process.lines)
    for path in ("/%0A2126-11-21 forged id=1", "/a\nforged id=1", '/" forged id=1', "/x status=FAILURE",
                 "/\u2028forged id=1", "/%22,%22status%22:%22forged%22"):
        record = relay.requestor.send({"method": "GET", "url": raw.url() + path})
        relay.agent.process.wait_for(lambda line: record["id"] in line)
    assert_no_forgery(relay, relay_name, before)


def assert_no_forgery(relay, relay_name, before):
    for line in relay.agent.process.lines[before:]:
        assert all(char.isprintable() for char in line), line
        if relay_name == "text_relay":
            assert TIME.match(line), line
            outside = "".join(re.sub(r'\\.', "", line).split('"')[::2])
            assert outside.count(" id=") == 1 and outside.count(" status=") == 1, line
        else:
            parsed = json.loads(line, object_pairs_hook=list)
            assert len(dict(parsed)) == len(parsed), "a key stands twice"
            assert dict(parsed)["level"] == "info"


def test_a_very_long_path_or_action_leaves_a_bounded_line(relay, raw):
    record, _ = event(relay, {"method": "GET", "url": raw.url() + "/" + "x" * 20000})
    (line,) = [line for line in relay.agent.process.lines if record["id"] in line]
    assert len(line) < 4096
    record, line = event(relay, {}, action="\0".join("y" * 100).replace("\0", "\x01"))
    assert record["status"] == "REJECTED" and len(json.dumps(line)) < 4096


def test_at_most_half_a_megabyte_is_logged_for_1000_commands(relay, raw):
    url = raw.url(text())
    relay.agent.process.wait_for(lambda line: "connected" in line)
    before = len(relay.agent.process.lines)
    records = relay.requestor.send_all([{"method": "GET", "url": url}] * 100)
    relay.agent.process.wait_for(lambda line: records[-1]["id"] in line)
    lines = relay.agent.process.lines[before:]
    assert len(lines) == 100
    assert sum(len(line) + 1 for line in lines) <= 50_000


def test_an_idle_agent_logs_nothing(fake, fake_agent):
    agent = fake_agent()
    fake.wait_for_receives(3)
    before = len(agent.process.lines)
    fake.wait_for_receives(5)
    assert len(agent.process.lines) == before


def test_a_level_of_warn_leaves_out_the_commands(site, raw):
    agent, requestor = site.start(LOG_LEVEL="warn")
    answered(requestor.send({"method": "GET", "url": raw.url()}))
    agent.stop()
    assert agent.log == ""


def test_lines_are_text_on_a_terminal_and_json_otherwise(fake, tmp_path):
    terminal, its_end = os.openpty()
    agent = subprocess.Popen(agent_command("run"), env=clean_environment(fake.settings(STATE_DIR=tmp_path)),
                             stdin=subprocess.DEVNULL, stderr=its_end)
    os.close(its_end)
    try:
        first = os.read(terminal, 4096).decode().splitlines()[0]
        fake.wait_for_receives(1)
    finally:
        agent.terminate()
        while agent.poll() is None:
            drain(terminal)
        os.close(terminal)
    assert agent.returncode == 0
    assert TIME.match(first) and " info " in first


def drain(terminal):
    """A terminal whose other end is gone answers with an error."""
    try:
        os.read(terminal, 4096)
    except OSError:
        pass


def test_answers_of_verbs_go_to_standard_output_and_logs_to_standard_error(raw):
    run = Run(["exec", "-"], {"LOG_FORMAT": "json"},
              json.dumps({"method": "GET", "url": raw.url(text("plain"))}))
    assert json.loads(run.out)["body"] == "plain"
    for line in run.err.splitlines():
        json.loads(line)
