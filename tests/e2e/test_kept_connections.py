"""Connections that are kept for the next request: the agent lives on well when they end."""

import contextlib
import itertools
import os
import re
import ssl

import pytest

from support.agents import Agent
from support.raw_target import Close, Gate, Hang, RawTarget, answer, text
from support.requestors import failure_in

MANY = 100


@pytest.fixture(params=["http", "https"])
def target(request, certificates):
    """Its connections are those of one agent."""
    context = None
    if request.param == "https":
        good = certificates.shown["good"]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(good.certificate_file, good.key_file)
    with contextlib.closing(RawTarget(context)) as target:
        yield target


@pytest.fixture
def agent(fake_agent, certificates):
    return fake_agent(MAX_IN_FLIGHT=2 * MANY, MAX_IN_FLIGHT_PER_HOST=MANY,
                      CA_FILE=certificates.ca.certificate_file)


def post(url, **fields):
    return {"method": "POST", "url": url, "body": {"mode": "raw", "raw": "x"}, **fields}


def descriptors(agent):
    return len(os.listdir(f"/proc/{agent.process.popen.pid}/fd"))


# An agent that spins takes four seconds of four long polls; under a checker an idle one takes some.
SPIN = 4 if os.environ.get("RELAY_WRAPPER") else 1


def cpu_seconds(agent):
    with open(f"/proc/{agent.process.popen.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for_long_polls(fake, count):
    """Each takes a second of an agent that has nothing to do."""
    fake.wait_for_receives(len(fake.calls_to("receive")) + count)


def use_at_once(fake, target, count=MANY):
    """So many commands on as many connections; each arrives at the target exactly once."""
    gate = Gate(answer(body=b"open"))
    url = target.url(gate)
    ids = [fake.give(post(f"{url}?n={number}")) for number in range(count)]
    target.wait_for(url, count)
    gate.open.set()
    ends = [fake.wait_end(command_id) for command_id in ids]
    assert {end["body"]["body"] for end in ends} == {"open"}
    sent = [request.line.split("n=")[1].split(" ")[0] for request in target.requests(url)]
    assert sorted(map(int, sent)) == list(range(count))
    return {request.connection for request in target.requests(url)}


ENDS = pytest.mark.parametrize("how", [
    {}, {"with_notice": True}, {"with_reset": True},
    {"last_words": answer("408 Request Timeout", ["Connection: close"])}],
    ids=["closed", "with notice", "reset", "with last words"])


@ENDS
def test_a_connection_that_ends_between_requests_is_not_used_again(fake, agent, target, how):
    for _ in range(5):
        url = target.url(text("once"))
        assert fake.send(post(url))["body"]["body"] == "once"
        assert fake.send(post(url))["body"]["body"] == "once"
        assert len({request.connection for request in target.requests(url)}) == 1
        assert len(target.requests(url)) == 2
        target.hang_up(**how)


@ENDS
def test_many_connections_that_end_at_once_cost_nothing_and_are_made_anew(
        fake, agent, target, how):
    wait_for_long_polls(fake, 1)
    before = descriptors(agent)
    assert len(use_at_once(fake, target)) == MANY
    wait_for_long_polls(fake, 1)
    assert descriptors(agent) >= before + MANY
    busy = cpu_seconds(agent)
    target.hang_up(**how)
    wait_for_long_polls(fake, 4)
    assert cpu_seconds(agent) - busy < SPIN / 2
    # libcurl looks for dead connections when it needs one, but not twice a second.
    assert descriptors(agent) < before + 10
    assert len(use_at_once(fake, target)) == MANY
    agent.stop()


def test_connections_that_stay_are_used_again_after_others_have_ended(fake, agent, target):
    with contextlib.closing(RawTarget()) as other:
        use_at_once(fake, other)
        kept = use_at_once(fake, target)
        for _ in range(3):
            other.hang_up()
            assert use_at_once(fake, target) == kept
            use_at_once(fake, other)


def test_sockets_of_all_kinds_take_each_others_numbers(fake, agent, target, silent_port):
    """Connections that are kept, that are given up while they connect or while they wait for an
    answer, and the pairs through which libcurl's resolver speaks."""
    silent = target.url(Hang())
    codes = {}
    names = (f"http://nobody-{number}.invalid/" for number in itertools.count())
    for _ in range(4):
        use_at_once(fake, target, 20)
        for _ in range(10):
            codes[fake.give(post(silent, timeout=300))] = "ECONNABORTED"
            codes[fake.give(post(next(names), timeout=10000))] = "ENOTFOUND"
            codes[fake.give(post(f"http://127.0.0.1:{silent_port}/", timeout=300))] = "ETIMEDOUT"
        for command_id in codes:
            fake.wait_end(command_id)
        for _ in range(10):
            codes[fake.give(post(next(names), timeout=10000))] = "ENOTFOUND"
        use_at_once(fake, target, 20)
        target.hang_up()
    assert codes == {command_id: failure_in(fake.wait_end(command_id)["body"])["code"]
                     for command_id in codes}


def as_sent(request):
    """Without what is drawn for each form."""
    boundary = re.search(b"boundary=([^\r]+)", request.raw)
    return request.raw.replace(boundary[1], b"B") if boundary else request.raw


def test_a_request_is_the_same_whatever_its_handle_was_used_for_before(fake, raw):
    """The agent keeps libcurl's handles as they are where it can: each kind after each other one,
    at once, on the handle that has just become free."""
    raw_body = {"mode": "raw", "raw": "{}"}
    form = {"mode": "formdata", "formdata": [{"key": "k", "value": "v"}]}
    with_user = raw.url().replace("://", "://user:secret@")
    payloads = [
        post(raw.url()), post(raw.url(Close())), post(raw.url(), timeout=30000),
        {"method": "GET", "url": raw.url()}, {"method": "GET", "url": raw.url(), "body": raw_body},
        {"method": "HEAD", "url": raw.url()}, {"method": "HEAD", "url": raw.url(), "body": raw_body},
        {"method": "DELETE", "url": raw.url()}, {"method": "PUT", "url": raw.url()},
        {"method": "PATCH", "url": raw.url(), "body": form},
        {"method": "OPTIONS", "url": with_user}, {"method": "POST", "url": with_user, "body": form},
        {"method": "PUT", "url": raw.url(), "body": {"mode": "raw", "raw": "x" * 200000}},
        {"method": "GET", "url": raw.url(), "headers": {"Host": "another", "X-Tag": "y"}}]
    ids = [fake.give(payload) for pair in itertools.product(payloads, payloads) for payload in pair]
    agent = Agent(fake.settings(MAX_IN_FLIGHT_PER_HOST=1)).start()
    for command_id in ids:
        fake.wait_end(command_id)
    for payload in payloads:
        of_kind = [request for request in raw.requests(payload["url"].replace("user:secret@", ""))
                   if request.line.startswith(payload["method"] + " ")]
        assert len(of_kind) == 2 * len(payloads)
        assert len(set(map(as_sent, of_kind))) == 1, payload
    agent.stop()


def test_a_certificate_that_was_ignored_is_checked_on_the_same_handle(fake, certificates):
    """Commands in turn, each on the handle of the one before."""
    shown = certificates.shown["self-signed"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate_file, shown.key_file)
    with contextlib.closing(RawTarget(context)) as target:
        url = target.url(text("ignored"))
        ids = [fake.give(post(url, ignore_tls_certificate=number % 2 == 0)) for number in range(20)]
        agent = Agent(fake.settings(MAX_IN_FLIGHT_PER_HOST=1)).start()
        ends = [fake.wait_end(command_id)["status"] for command_id in ids]
        agent.stop()
        assert ends == ["SUCCESS", "FAILURE"] * 10
        assert len(target.requests(url)) == 10
