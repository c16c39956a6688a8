"""Many commands at once on one thread, and no request that nobody asked for."""

import time

import pytest

from conftest import one_pair
from support.agents import Agent
from support.journals import Journal
from support.raw_target import Close, Gate, Hang, Slow, answer, text
from support.requestors import answered, failed


def get(url, **fields):
    return {"method": "GET", "url": url, **fields}


# -- no unasked repeat --------------------------------------------------------------

def kept_alive_then_closed(requestor, raw, method, step):
    """A request on a connection that was used before and on which no answer comes."""
    url = raw.url(text("first"), step, text("a repeat"))
    payload = {"method": method, "url": url, "body": {"mode": "raw", "raw": "content"}}
    answered(requestor.send(payload))
    return url, requestor.send(payload)


@pytest.fixture(scope="module")
def lone(session_service, defaults):
    """An agent whose connections no other test uses, so that the next one is used again."""
    with one_pair(session_service, defaults) as pair:
        yield pair.requestor


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_post_whose_reused_connection_closes_is_not_sent_again(lone, raw, method):
    url, record = kept_alive_then_closed(lone, raw, method, Close())
    assert failed(record)["code"] == "ECONNRESET"
    first, second = raw.requests(url)
    assert first.connection == second.connection
    assert second.body == b"content"


def test_a_post_whose_fresh_connection_closes_is_not_sent_again(lone, raw):
    url = raw.url(Close(), text("a repeat"))
    record = lone.send({"method": "POST", "url": url})
    assert failed(record)["code"] == "ECONNRESET"
    raw.only(url)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_other_methods_may_be_sent_again_but_only_once(lone, raw, method):
    url, record = kept_alive_then_closed(lone, raw, method, Close())
    requests = raw.requests(url)
    if len(requests) == 3:
        answered(record)
    else:
        assert len(requests) == 2
        assert failed(record)["code"] == "ECONNRESET"


def test_a_500_and_a_503_are_answers_and_no_reason_to_ask_again(lone, raw):
    for status in ("500 Oops", "503 Later", "429 Slowly"):
        url = raw.url(text("no", status, ["Retry-After: 0"]), text("a repeat"))
        assert answered(lone.send(get(url)), "FAILURE")["body"] == "no"
        raw.only(url)


def test_connections_are_used_again(lone, raw):
    url = raw.url(text("same"))
    for _ in range(5):
        answered(lone.send(get(url)))
    assert len({request.connection for request in raw.requests(url)}) == 1


# -- many at once -------------------------------------------------------------------

@pytest.mark.timing
def test_64_commands_to_a_target_that_sleeps_1_s_are_done_within_2_s(site, raw):
    requestor = site.start().requestor
    answered(requestor.send(get(raw.url())))
    url = raw.url(Slow(1, answer(body=b"awake")))
    begun = time.monotonic()
    records = requestor.send_all([get(url)] * 64)
    assert time.monotonic() - begun < 2
    assert [answered(record)["body"] for record in records] == ["awake"] * 64


def test_commands_to_one_host_are_under_way_together(requestor, raw):
    gate = Gate(answer(body=b"open"))
    url = raw.url(gate)
    ids = [requestor.submit(get(url))["id"] for _ in range(64)]
    raw.wait_for(url, 64)
    gate.open.set()
    for command_id in ids:
        answered(requestor.wait(command_id))


def test_small_commands_go_ahead_of_a_large_one_that_came_with_them(site, raw):
    pair = site.pair()
    gates = [Gate(answer(body=b"open")) for _ in range(3)]
    url = raw.url(*gates)
    ids = [pair.requestor.submit({"method": "PUT", "url": url,
                                  "body": {"mode": "raw", "raw": body}})["id"]
           for body in ("large " * 100000, "small", "small too")]
    pair.agent.start()
    raw.wait_for(url, 3)
    taken = Journal(pair.agent).query("SELECT id FROM commands ORDER BY seq")
    assert [row[0] for row in taken] == [*ids[1:], ids[0]]
    for gate in gates:
        gate.open.set()
    for command_id in ids:
        answered(pair.requestor.wait(command_id))


def test_more_commands_than_a_host_may_have_all_complete(requestor, raw):
    url = raw.url(Slow(0.05, answer(body=b"done")))
    payloads = [get(f"{url}?n={number}") for number in range(300)]
    assert {answered(record)["body"] for record in requestor.send_all(payloads)} == {"done"}
    sent = [request.line.split("n=")[1].split(" ")[0] for request in raw.requests(url)]
    assert sorted(map(int, sent)) == list(range(300))


def test_no_more_commands_than_allowed_are_under_way_at_one_host(site, raw):
    requestor = site.start(MAX_IN_FLIGHT_PER_HOST=3).requestor
    gate = Gate(answer(body=b"open"))
    url = raw.url(gate)
    ids = [requestor.submit(get(url))["id"] for _ in range(9)]
    raw.wait_for(url, 3)
    # Whatever was sent before this one would have arrived before it.
    answered(requestor.send(get(raw.url().replace("127.0.0.1", "localhost"))))
    assert len(raw.requests(url)) == 3
    gate.open.set()
    for command_id in ids:
        answered(requestor.wait(command_id))


def test_no_more_commands_than_allowed_are_under_way_in_all(site, raw, other_raw):
    requestor = site.start(MAX_IN_FLIGHT=4).requestor
    gate = Gate(answer(body=b"open"))
    url, other = raw.url(gate), other_raw.url(gate)
    ids = [requestor.submit(get(each))["id"] for each in [url, other] * 5]
    raw.wait_for(url)
    other_raw.wait_for(other)
    assert len(raw.requests(url)) + len(other_raw.requests(other)) <= 4
    gate.open.set()
    for command_id in ids:
        answered(requestor.wait(command_id))


@pytest.mark.timing
@pytest.mark.parametrize("settings", [
    {}, {"MAX_IN_FLIGHT_PER_HOST": 2, "MAX_IN_FLIGHT": 8}], ids=["defaults", "small limits"])
def test_a_target_that_never_answers_does_not_delay_the_others(site, raw, other_raw, settings):
    requestor = site.start(DRAIN_SECONDS=0, **settings).requestor
    dead, fine = raw.url(Hang()), other_raw.url(text("quick"))
    answered(requestor.send(get(fine)))
    ids = [requestor.submit(get(dead, timeout=4000))["id"]
           for _ in range(100 if not settings else 12)]
    raw.wait_for(dead, settings.get("MAX_IN_FLIGHT_PER_HOST", 64))
    begun = time.monotonic()
    records = requestor.send_all([get(fine)] * 20)
    assert time.monotonic() - begun < 1.5
    assert {answered(record)["body"] for record in records} == {"quick"}
    if not settings:
        assert requestor.call("GET", f"/v1/commands/{ids[-1]}")[1]["status"] == "PROCESSING"
    else:
        for command_id in ids[:2]:
            assert failed(requestor.wait(command_id))["code"] == "ECONNABORTED"


def test_a_name_that_is_slow_to_resolve_or_a_port_that_does_not_accept_delays_nobody(
        site, raw, silent_port):
    requestor = site.start().requestor
    stuck = requestor.submit(get(f"http://127.0.0.1:{silent_port}/", timeout=30000))
    assert answered(requestor.send(get(raw.url(text("quick")))))["body"] == "quick"
    _, record = requestor.call("GET", f"/v1/commands/{stuck['id']}")
    assert record["status"] == "PROCESSING"
    site.pairs[-1].agent.kill()


def test_two_agents_of_one_id_share_its_commands_and_none_runs_twice(site, raw):
    agent, requestor = site.start()
    second = Agent({name: value for name, value in agent.settings.items()
                    if name != "STATE_DIR"}).start()
    try:
        url = raw.url(Slow(0.02, answer(body=b"done")))
        records = requestor.send_all([get(f"{url}?n={number}") for number in range(100)])
        assert {answered(record)["body"] for record in records} == {"done"}
        assert len(raw.requests(url)) == 100
        assert len({request.line for request in raw.requests(url)}) == 100
    finally:
        second.stop()
