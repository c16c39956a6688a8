"""The agent's life: what it says to a service, trouble with the service, and how it stops."""

import contextlib
import datetime
import json
import re
import signal
import socket
import ssl
import time

import pytest

from conftest import Site
from support.agents import Agent
from support.fake_service import (FakeService, half_an_answer, no_answer, not_json, wrong)
from support.processes import PATIENCE
from support.raw_target import Gate, Hang, RawTarget, Slow, answer, text
from support.requestors import PLAIN, Requestor, answered

RECEIVE = "/v1/agents/fake-agent/commands/receive"
STATUS = "/v1/agents/fake-agent/commands/status"


def get(url, **fields):
    return {"method": "GET", "url": url, **fields}


def header(call, name):
    return [value for each, value in call.headers if each.lower() == name]


# -- what is said to a service ------------------------------------------------------

def test_a_receive_names_its_limits_and_carries_token_and_org(fake, fake_agent):
    fake_agent(MAX_IN_FLIGHT=7)
    call = fake.first_long_poll()
    assert (call.method, call.path) == ("POST", RECEIVE)
    assert set(call.body) == {"max", "waitSeconds", "leaseSeconds"}
    assert call.body["waitSeconds"] == 1
    assert call.body["max"] >= 1
    assert call.body["leaseSeconds"] >= 10
    assert header(call, "ts-auth-token") == ["fake-token"]
    assert header(call, "x-org-slug") == ["fake-org"]
    assert header(call, "content-type") == ["application/json"]


def test_an_idle_agent_makes_one_long_poll_after_the_other(fake, fake_agent):
    agent = fake_agent()
    first = fake.first_long_poll()
    begun = fake.calls_to("receive").index(first)
    fake.wait_for_receives(begun + 3)
    agent.stop()
    first, second, third = [call.at for call in fake.calls_to("receive")][begun:begun + 3]
    assert second - first >= 0.9 and third - second >= 0.9


def test_the_agents_id_is_one_segment_of_the_path(fake):
    agent = Agent(fake.settings(AGENT_ID="lab?a#b%c", POLL_WAIT_SECONDS=1)).start()
    fake.wait_for_receives(1)
    agent.stop()
    assert fake.calls_to("receive")[0].path.lower() == "/v1/agents/lab%3fa%23b%25c/commands/receive"


def test_a_service_url_may_have_a_path_of_its_own(fake):
    agent = Agent(fake.settings(COMMAND_SERVICE_URL=fake.url + "/relay/", POLL_WAIT_SECONDS=1))
    agent.start()
    fake.wait_for_receives(1)
    agent.stop()
    assert fake.calls_to("receive")[0].path == "/relay" + RECEIVE


def test_a_terminal_status_names_command_receipt_status_body_and_time(fake, fake_agent, raw):
    fake_agent()
    update = fake.send(get(raw.url(text("hello"))))
    assert set(update) - {"targetId"} == {"commandId", "receipt", "status", "body", "createdAt"}
    assert update["receipt"] == "receipt-of-" + update["commandId"]
    assert update["status"] == "SUCCESS"
    assert update["body"]["body"] == "hello"
    when = datetime.datetime.strptime(update["createdAt"], "%Y-%m-%dT%H:%M:%S.%f%z")
    assert abs((datetime.datetime.now(datetime.timezone.utc) - when).total_seconds()) < 60
    (post,) = [call for call in fake.calls_to("status") if call.path == STATUS]
    assert post.method == "POST" and list(post.body) == ["updates"]
    assert header(post, "ts-auth-token") == ["fake-token"]
    assert header(post, "x-org-slug") == ["fake-org"]


def test_answers_that_are_ready_together_are_posted_together(fake, fake_agent, raw):
    fake_agent()
    gate = Gate(answer(body=b"open"))
    url = raw.url(gate)
    ids = [fake.give(get(url)) for _ in range(20)]
    raw.wait_for(url, 20)
    gate.open.set()
    for command_id in ids:
        fake.wait_end(command_id)
    posts = [call for call in fake.calls_to("status") if call.path == STATUS]
    assert len(posts) <= 15, len(posts)


def refuses_client_certificates(certificates):
    """A TLS server that asks for one, and trusts none that the tests have."""
    good, stranger = certificates.shown["good"], certificates.shown["self-signed"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(good.certificate_file, good.key_file)
    context.load_verify_locations(stranger.certificate_file)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def test_an_agent_shows_its_client_certificate_to_the_service_alone(certificates):
    """Service and targets use the same handles."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    good = certificates.shown["good"]
    context.load_cert_chain(good.certificate_file, good.key_file)
    context.load_verify_locations(certificates.ca.certificate_file)
    context.verify_mode = ssl.CERT_REQUIRED
    service = FakeService(context)
    agent = Agent(service.settings(
        CA_FILE=certificates.ca.certificate_file, POLL_WAIT_SECONDS=1,
        CLIENT_CERT_FILE=certificates.client.certificate_file,
        CLIENT_KEY_FILE=certificates.client.key_file)).start()
    try:
        for _ in range(10):
            with contextlib.closing(RawTarget(refuses_client_certificates(certificates))) as target:
                assert service.send(get(target.url()))["status"] == "SUCCESS"
        agent.stop()
    finally:
        agent.close()
        service.close()


def test_proxies_of_the_environment_are_for_the_service_not_for_targets(fake, raw, other_raw):
    agent = Agent(fake.settings(HTTP_PROXY=f"http://127.0.0.1:{other_raw.port}", POLL_WAIT_SECONDS=1,
                                NO_PROXY="127.0.0.1", ALL_PROXY=f"http://127.0.0.1:{other_raw.port}",
                                http_proxy=f"http://127.0.0.1:{other_raw.port}")).start()
    try:
        assert fake.send(get(raw.url()))["status"] == "SUCCESS"
    finally:
        agent.stop()


def test_a_target_proxy_is_used_for_targets(fake, raw):
    proxied = raw.url(text("through the proxy"))
    agent = Agent(fake.settings(TARGET_PROXY=f"http://127.0.0.1:{raw.port}", POLL_WAIT_SECONDS=1))
    agent.start()
    try:
        # The raw target takes an absolute request line for its own path.
        update = fake.send(get(proxied))
    finally:
        agent.stop()
    assert update["status"] == "SUCCESS", update
    request = raw.only(proxied)
    assert request.line == f"GET {proxied} HTTP/1.1"
    assert len(header(request, "user-agent")) == 1


def test_a_proxy_is_told_who_asks_for_a_tunnel(fake):
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(PATIENCE)
        agent = Agent(fake.settings(TARGET_PROXY=f"http://127.0.0.1:{proxy.getsockname()[1]}"))
        agent.start()
        fake.give(get("https://lims.example/"))
        connection, _ = proxy.accept()
        with connection, connection.makefile("rb") as stream:
            head = [line.strip().decode() for line in iter(stream.readline, b"\r\n")]
        agent.stop()
    assert head[0] == "CONNECT lims.example:443 HTTP/1.1"
    assert [line for line in head if re.fullmatch(r"User-Agent: relay-agent/[\d.]+", line)]


# -- trouble with the service -------------------------------------------------------

FAULTS = {
    "429 at once": wrong(429, {"Retry-After": "0"}),
    "500": wrong(500), "503": wrong(503), "404": wrong(404), "a redirect": wrong(302),
    "half an answer": half_an_answer, "no answer": no_answer, "not JSON": not_json,
    "another document": wrong(200, content=b'{"hello": []}'),
    "an array": wrong(200, content=b"[]"), "null": wrong(200, content=b"null"),
    "commands of another kind": wrong(200, content=b'{"commands": {}}'),
}


@pytest.mark.timing
@pytest.mark.parametrize("fault", ["500", "503", "half an answer", "no answer", "not JSON", "404",
                                   "another document", "an array", "null", "a redirect",
                                   "commands of another kind"])
def test_after_a_bad_receive_the_agent_goes_on_by_itself(fake, fake_agent, raw, fault):
    fake.faults[:] = [FAULTS[fault]]
    agent = fake_agent()
    assert fake.send(get(raw.url()))["status"] == "SUCCESS"
    assert agent.process.is_running()
    first, second = [call.at for call in fake.calls_to("receive")][:2]
    assert second - first <= 3


@pytest.mark.timing
@pytest.mark.parametrize("fault", ["500", "no answer"])
def test_a_lasting_fault_brings_few_calls(fake, fake_agent, fault):
    fake.faults[:] = [FAULTS[fault]] * 10000
    agent = fake_agent()
    fake.wait_for_receives(1)
    assert not fake.stopping.wait(3)
    agent.stop()
    # Full jitter from 0.5 s on, doubling: about 3 to 5 in 3 s; a busy loop makes thousands.
    assert len(fake.calls_to("receive")) <= 14
    assert agent.log.count("\n") < 20, agent.log


@pytest.mark.timing
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(fake, fake_agent, status):
    fake.faults[:] = [wrong(status, {"Retry-After": "3"})]
    fake_agent()
    fake.wait_for_receives(2)
    first, second = [call.at for call in fake.calls_to("receive")][:2]
    assert second - first >= 2.9


@pytest.mark.timing
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_is_tried_again_at_the_slow_end_with_one_line(fake, fake_agent, status):
    fake.faults[:] = [wrong(status)] * 100
    agent = fake_agent()
    fake.wait_for_receives(1)
    agent.process.wait_for(lambda line: f"HTTP status {status}" in line)
    assert not fake.stopping.wait(2)
    agent.stop()
    assert len(fake.calls_to("receive")) <= 2
    lines = [line for line in agent.log.splitlines() if f"HTTP status {status}" in line]
    assert len(lines) == 1, agent.log


def test_a_command_that_nobody_could_answer_does_not_stop_the_others(fake, fake_agent, raw):
    agent = fake_agent()
    for strange in ({"without": ["commandId"]}, {"commandId": 5}, {"commandId": None}):
        fake.give(get(raw.url()), **strange)
    assert fake.send(get(raw.url()))["status"] == "SUCCESS"
    assert agent.process.is_running()


def test_what_cannot_be_answered_for_its_length_does_not_stop_the_others(fake, fake_agent, raw):
    agent = fake_agent()
    fake.give(get(raw.url()), commandId="I" * 3000000, receipt="r")
    fake.give(get(raw.url()), receipt="R" * 3000000)
    ids = [letter * 1024 for letter in "abc"]
    for command_id in ids:
        assert fake.send(get(raw.url()), commandId=command_id)["status"] == "SUCCESS"
    assert fake.send(get(raw.url()), receipt="r" * 16000)["receipt"] == "r" * 16000
    end = fake.send(get(raw.url()), targetId="T" * 3000000)
    assert end["status"] == "REJECTED" and "targetId: longer" in json.dumps(end["body"]), end
    assert "T" * 9 not in json.dumps(end)
    dropped = [line for line in agent.log.splitlines() if " is dropped: " in line]
    assert [len(line) < 1000 for line in dropped] == [True, True], agent.log
    assert any("III" in line for line in dropped) and any("receipt: " in line for line in dropped)


def test_of_a_receive_that_brings_too_much_a_hundred_are_taken(fake, fake_agent, raw):
    agent = fake_agent(MAX_IN_FLIGHT=4)
    url = raw.url()
    fake.give_together([{"commandId": f"c-{number}", "action": PLAIN, "body": get(url)}
                        for number in range(250)])
    fake.wait_for(lambda: len(fake.updates) >= 100)
    assert fake.send(get(raw.url()))["status"] == "SUCCESS"
    ended = {update["commandId"] for update in fake.updates}
    assert {f"c-{number}" for number in range(100)} < ended
    assert len(ended) == 101 and len(raw.requests(url)) == 100
    lines = [line for line in agent.log.splitlines() if "left to their leases" in line]
    assert len(lines) == 1 and "the last 150 " in lines[0], agent.log


def test_an_answer_to_a_post_may_be_as_long_as_its_ids_make_it(fake, fake_agent, raw):
    """As of a service that writes everything beyond ASCII as an escape, six bytes for two."""
    fake_agent(MAX_IN_FLIGHT=500, MAX_IN_FLIGHT_PER_HOST=500)
    gate = Gate(answer(body=b"ok"))
    url = raw.url(gate)
    ids = [f"{number:04}" + "\u00e9" * 510 for number in range(450)]
    for at in range(0, len(ids), 90):
        fake.give_together([{"commandId": each, "action": PLAIN, "body": get(url, timeout=60000)}
                            for each in ids[at:at + 90]])
    raw.wait_for(url, len(ids))
    fake.status_faults = [wrong(503)]  # what is ready meanwhile goes together
    gate.open.set()
    fake.wait_for(lambda: {update["commandId"] for update in fake.updates} >= set(ids))
    fake.send(get(raw.url()))  # with what would have to be posted again
    assert len(fake.updates) == len(ids) + 1


@pytest.mark.parametrize("fault", ["500", "503", "half an answer", "no answer", "not JSON",
                                   "429 at once"])
def test_a_status_that_could_not_be_posted_is_posted_again(fake, fake_agent, raw, fault):
    fake.status_faults[:] = [FAULTS[fault]]
    url = raw.url(text("once"))
    fake_agent()
    update = fake.send(get(url))
    assert update["body"]["body"] == "once"
    raw.only(url)
    posts = [call for call in fake.calls_to("status") if call.path == STATUS]
    assert len(posts) == 2
    assert posts[0].body == posts[1].body


def test_the_same_command_delivered_twice_at_once_is_executed_once(fake, fake_agent, raw):
    gate = Gate(answer(body=b"open"))
    url = raw.url(gate)
    fake_agent()
    command_id = fake.give(get(url))
    raw.wait_for(url)
    fake.give(get(url), commandId=command_id)
    other = fake.give(get(raw.url(text("behind it"))))
    fake.wait_end(other)
    gate.open.set()
    fake.wait_end(command_id)
    raw.only(url)


def test_an_agent_started_before_its_service_connects_once_it_is_there(own_service, raw):
    own_service.start()
    settings = {"COMMAND_SERVICE_URL": own_service.url, "AGENT_ID": "early", "ORG_SLUG": "acme",
                "AUTH_TOKEN": own_service.create_token("agent", "acme", "early"),
                "POLL_WAIT_SECONDS": 1}
    token = own_service.create_token("requestor", "acme")
    own_service.stop()
    agent = Agent(settings).start()
    try:
        agent.process.wait_for(lambda line: "ECONNREFUSED" in line)
        own_service.start()
        requestor = Requestor(own_service.url, "acme", token, "early")
        assert answered(requestor.send(get(raw.url(text("at last")))))["body"] == "at last"
        assert agent.log.count("ECONNREFUSED") <= 2, agent.log
    finally:
        agent.stop()


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_restart_of_the_service_is_survived_with_commands_under_way(own_service, raw, end):
    own_service.start()
    site = Site(own_service, {"POLL_WAIT_SECONDS": 1})
    agent, requestor = site.start()
    gate = Gate(answer(body=b"survived"))
    url = raw.url(gate)
    try:
        record = requestor.submit(get(url))
        raw.wait_for(url)
        getattr(own_service, end)()
        gate.open.set()
        own_service.start()
        assert answered(requestor.wait(record["id"]))["body"] == "survived"
        assert answered(requestor.send(get(raw.url(text("next")))))["body"] == "next"
        raw.only(url)
        agent.stop()
    finally:
        site.close()


# -- stopping -----------------------------------------------------------------------

@pytest.mark.timing
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_agent_stops_at_once_with_0(fake, fake_agent, number):
    agent = fake_agent()
    fake.wait_for_receives(1)
    begun = time.monotonic()
    agent.process.signal(number)
    assert agent.process.wait() == 0
    assert time.monotonic() - begun < 0.5


def test_commands_under_way_end_and_are_posted_before_the_agent_stops(site, raw):
    agent, requestor = site.start()
    gate = Gate(answer(body=b"done"))
    url = raw.url(gate)
    ids = [requestor.submit(get(url))["id"] for _ in range(8)]
    raw.wait_for(url, 8)
    agent.process.signal(signal.SIGTERM)
    gate.open.set()
    assert agent.process.wait() == 0
    for command_id in ids:
        assert answered(requestor.wait(command_id))["body"] == "done"


def test_no_new_command_is_taken_while_stopping(fake, fake_agent, raw):
    gate = Gate(answer(body=b"done"))
    url = raw.url(gate)
    agent = fake_agent()
    under_way = fake.give(get(url))
    raw.wait_for(url)
    fake.wait_for_receives(2)  # the poll that follows is under way, and will be given up
    agent.process.signal(signal.SIGTERM)
    agent.process.wait_for(lambda line: "stopping" in line)
    calls = len(fake.calls_to("receive"))
    late = raw.url()
    fake.give(get(late))
    assert not fake.stopping.wait(1.5)
    gate.open.set()
    assert agent.process.wait() == 0
    assert fake.wait_end(under_way)["status"] == "SUCCESS"
    assert len(fake.calls_to("receive")) == calls
    assert raw.requests(late) == []


@pytest.mark.timing
def test_what_takes_longer_than_the_drain_is_left(fake, fake_agent, raw):
    url = raw.url(Hang())
    agent = fake_agent(DRAIN_SECONDS=1)
    fake.give(get(url))
    raw.wait_for(url)
    begun = time.monotonic()
    agent.process.signal(signal.SIGTERM)
    agent.process.wait()
    assert 0.9 <= time.monotonic() - begun < 2
    assert fake.updates == []


@pytest.mark.timing
def test_a_second_signal_stops_at_once(fake, fake_agent, raw):
    url = raw.url(Hang())
    agent = fake_agent()
    fake.give(get(url))
    raw.wait_for(url)
    agent.process.signal(signal.SIGTERM)
    agent.process.wait_for(lambda line: "stopping" in line)
    begun = time.monotonic()
    agent.process.signal(signal.SIGTERM)
    agent.process.wait()
    assert time.monotonic() - begun < 0.5


@pytest.mark.timing
def test_32_commands_of_2_seconds_are_all_posted_within_4_seconds_of_sigterm(site, raw):
    agent, requestor = site.start()
    url = raw.url(Slow(2, answer(body=b"slow")))
    ids = [requestor.submit(get(url))["id"] for _ in range(32)]
    raw.wait_for(url, 32)
    begun = time.monotonic()
    agent.process.signal(signal.SIGTERM)
    assert agent.process.wait() == 0
    assert time.monotonic() - begun < 4
    assert [answered(requestor.wait(each))["body"] for each in ids] == ["slow"] * 32
