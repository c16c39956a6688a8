"""commands.md 1 and 2: which commands are taken up, and what their action means."""

import json

import pytest

from support.raw_target import Hang, text
from support.requestors import (LEGACY, PLAIN, answered, failed, failure_in, rejected, timestamp)

BOTH_DATE_FORMS = ("2126-11-21T04:00:16.123Z", "2126-11-21T04:00:16.123456+00:00")
NO_DATES = ("yesterday", "", "2126-13-41T04:00:16Z", "2126-11-21", 1, True, {})


@pytest.fixture
def sender(fake, fake_agent):
    fake_agent()
    return fake


def get(url, **fields):
    return {"method": "GET", "url": url, **fields}


def assert_refused(update, code, message=None):
    assert update["status"] == "REJECTED"
    assert set(update["body"]) == {"message", "code"}
    assert update["body"]["code"] == code
    assert message in (None, update["body"]["message"])


def test_a_command_for_another_agent_is_rejected_and_not_executed(sender, raw):
    url = raw.url()
    assert_refused(sender.send(get(url), targetId="somebody-else"), "WRONG_TARGET")
    assert raw.requests(url) == []


def test_a_command_that_names_no_agent_is_accepted(sender, raw):
    update = sender.send(get(raw.url(text("for anybody"))), without=["targetId"])
    assert update["status"] == "SUCCESS"
    assert update["body"]["body"] == "for anybody"


def test_a_command_past_its_expiry_is_rejected_and_never_executed(sender, raw):
    url = raw.url()
    assert_refused(sender.send(get(url), expiresAt=timestamp(-1)), "EXPIRED")
    assert raw.requests(url) == []


def test_a_command_without_expiry_does_not_expire(sender, raw):
    update = sender.send(get(raw.url()), without=["expiresAt"], createdAt=timestamp(-10 ** 8))
    assert update["status"] == "SUCCESS"


@pytest.mark.parametrize("date", BOTH_DATE_FORMS)
def test_both_forms_of_dates_are_read(sender, raw, date):
    assert sender.send(get(raw.url()), expiresAt=date, createdAt=date)["status"] == "SUCCESS"
    past = date.replace("2126", "2001")
    assert_refused(sender.send(get(raw.url()), expiresAt=past, createdAt=past), "EXPIRED")


def test_an_expiry_with_an_offset_means_the_moment_it_names(sender, raw):
    an_hour_ago = timestamp(-3600)[:-1]
    assert sender.send(get(raw.url()), expiresAt=an_hour_ago + "-02:00")["status"] == "SUCCESS"
    assert_refused(sender.send(get(raw.url()), expiresAt=timestamp(3600)[:-1] + "+02:00"),
                   "EXPIRED")


def test_an_unreadable_expiry_is_an_invalid_command(sender, raw):
    url = raw.url()
    for date in NO_DATES:
        update = sender.send(get(url), expiresAt=date)
        assert_refused(update, "INVALID_COMMAND")
        assert "expiresAt" in update["body"]["message"]
    assert raw.requests(url) == []


def test_an_unreadable_creation_date_is_an_invalid_command(sender, raw):
    update = sender.send(get(raw.url()), createdAt="yesterday")
    assert_refused(update, "INVALID_COMMAND")
    assert "createdAt" in update["body"]["message"]


def test_wrong_types_in_a_command_are_an_invalid_command(sender, raw):
    for field, value in (("action", 1), ("targetId", 7), ("action", None)):
        assert_refused(sender.send(get(raw.url()), **{field: value}), "INVALID_COMMAND")


def test_of_what_is_endless_a_message_shows_the_beginning(sender, raw):
    ending = "\u00e9" * 35000
    assert_refused(sender.send(get(raw.url()), action="x" + ending), "UNKNOWN_ACTION",
                   "Unknown command action: x" + "\u00e9" * 99 + "…")
    update = sender.send(get(raw.url()), targetId=ending[:300])
    assert_refused(update, "WRONG_TARGET")
    assert f'the agent "{ending[:100]}…", this one' in update["body"]["message"]
    update = sender.send(get(raw.url()), expiresAt="2001-01-01T00:00:00." + "1" * 70000 + "Z")
    assert_refused(update, "EXPIRED")
    assert "2001-01-01T00:00:00.111" in update["body"]["message"]


def test_a_command_without_a_payload_has_an_invalid_payload(sender):
    assert_refused(sender.send(without=["body"]), "INVALID_PAYLOAD")
    for payload in (None, [], "GET /", 4):
        assert_refused(sender.send(payload), "INVALID_PAYLOAD")


def test_a_status_message_has_the_fields_of_the_contract(sender, raw):
    update = sender.send(get(raw.url()))
    assert {"commandId", "status", "body", "createdAt"} <= set(update)
    assert update["createdAt"].endswith("Z") and len(update["createdAt"]) == 24
    for earlier in sender.updates[:-1]:
        assert earlier["status"] == "PROCESSING" and "body" not in earlier


STRANGE = {
    "nested deeply": "[" * 60 + "]" * 60, "nested too deeply": "[" * 5000 + "]" * 5000,
    "a large number": "123456789012345678901234567890", "a huge number": "1e999",
    "half a character": '"\\ud800"', "a NUL": '"\\u0000"', "a repeated key": '{"a": 1, "a": 2}'}


@pytest.mark.parametrize("strange", STRANGE)
def test_no_strange_command_blocks_the_ones_behind_it(site, raw, strange):
    requestor = site.start().requestor
    url = raw.url()
    command = json.dumps({"targetId": requestor.target_id, "action": PLAIN,
                          "expiresAt": timestamp(600), "payload": {"strange": 0, **get(url)}})
    body = command.replace('"strange": 0', f'"strange": {STRANGE[strange]}').encode()
    status, record = requestor.call("POST", "/v1/commands", body)
    if status == 200:
        assert requestor.wait(record["id"], 10)["status"] in ("SUCCESS", "REJECTED")
    else:
        assert status == 400, record
    assert answered(requestor.send(get(raw.url(text("next")))))["body"] == "next"


@pytest.mark.timing
def test_a_command_that_expires_while_it_waits_for_its_place_is_never_executed(
        fake, fake_agent, raw):
    fake_agent(MAX_IN_FLIGHT_PER_HOST=1, DRAIN_SECONDS=0)
    slow, late = raw.url(Hang()), raw.url()
    fake.give(get(slow, timeout=1500))
    raw.wait_for(slow)
    assert_refused(fake.send(get(late), expiresAt=timestamp(1)), "EXPIRED")
    assert raw.requests(late) == []


# -- referenced bodies --------------------------------------------------------------

def refer(sender, path, status=200, document=b""):
    sender.documents[path] = (status, document)
    return {"without": ["body"], "bodyDelivery": "referenced", "bodyUrl": sender.url + path}


def assert_unavailable(update):
    assert update["status"] == "FAILURE"
    error = failure_in(update["body"])
    assert error["code"] == "BODY_UNAVAILABLE"
    return error["message"]


def test_a_referenced_payload_is_fetched_and_used(sender, raw):
    url = raw.url(text("by reference"))
    payload = {"method": "POST", "url": url, "body": {"mode": "raw", "raw": "x" * 300000}}
    update = sender.send(**refer(sender, "/payload", document=json.dumps(payload).encode()))
    assert update["status"] == "SUCCESS"
    assert raw.only(url).body == b"x" * 300000


def test_no_credentials_of_ours_go_to_the_place_of_a_referenced_payload(sender, raw):
    document = json.dumps(get(raw.url())).encode()
    sender.send(**refer(sender, "/bare", document=document))
    (call,) = sender.calls_to("bare")
    assert call.method == "GET"
    sent = repr(call.headers).lower()
    assert "ts-auth-token" not in sent and "authorization" not in sent
    assert sender.token not in sent and "x-org-slug" not in sent


def test_the_payload_of_an_expired_or_foreign_command_is_not_even_fetched(sender, raw):
    document = json.dumps(get(raw.url())).encode()
    for code, fields in (("EXPIRED", {"expiresAt": timestamp(-1)}), ("WRONG_TARGET", {"targetId": "x"})):
        assert_refused(sender.send(**refer(sender, "/unwanted", document=document), **fields), code)
    assert sender.calls_to("unwanted") == []


def test_a_referenced_payload_that_is_not_there_is_a_failure(sender):
    message = assert_unavailable(sender.send(**refer(sender, "/missing", 404)))
    assert "404" in message


def test_a_referenced_payload_that_is_not_json_is_a_failure(sender):
    assert_unavailable(sender.send(**refer(sender, "/page", document=b"<html>")))
    assert_unavailable(sender.send(**refer(sender, "/cut", document=b'{"method": "GET"')))


def test_a_referenced_payload_behind_a_closed_port_is_a_failure(sender, refusing_port):
    message = assert_unavailable(sender.send(without=["body"], bodyDelivery="referenced",
                                             bodyUrl=f"http://127.0.0.1:{refusing_port}/"))
    assert "ECONNREFUSED" in message


def test_a_referenced_payload_is_fetched_over_http_only(sender, tmp_path, raw):
    payload = tmp_path / "payload.json"
    payload.write_text(json.dumps(get(raw.url())))
    update = sender.send(without=["body"], bodyDelivery="referenced", bodyUrl=f"file://{payload}")
    assert update["status"] in ("FAILURE", "REJECTED")


def test_an_invalid_referenced_payload_is_rejected(sender):
    assert_refused(sender.send(**refer(sender, "/wrong", document=b'{"method": "GET"}')),
                   "INVALID_PAYLOAD")


def test_a_referenced_command_without_an_url_is_an_invalid_command(sender):
    assert_refused(sender.send(without=["body"], bodyDelivery="referenced"), "INVALID_COMMAND")


# -- actions ------------------------------------------------------------------------

@pytest.mark.parametrize("action", [LEGACY, PLAIN])
def test_a_plain_action_relays_a_request(requestor, raw, action):
    assert answered(requestor.send(get(raw.url(text("hello"))), action))["body"] == "hello"


@pytest.mark.parametrize("action", ["TetraScience.Connector.nothing", "", PLAIN.lower(),
                                    PLAIN + ".V3"])
def test_an_unknown_action_is_rejected_by_its_name(sender, raw, action):
    url = raw.url()
    assert_refused(sender.send(get(url), action=action), "UNKNOWN_ACTION",
                   f"Unknown command action: {action}")
    assert raw.requests(url) == []


def test_an_unknown_action_is_rejected_through_the_service_too(requestor):
    reason = rejected(requestor.send({"any": "thing"}, "Nobody.Knows.This"))
    assert reason == {"message": "Unknown command action: Nobody.Knows.This",
                      "code": "UNKNOWN_ACTION"}


def test_the_legacy_action_always_has_the_default_timeout(site, raw):
    requestor = site.start(REQUEST_TIMEOUT_MS=400).requestor
    slow = get(raw.url(Hang()), timeout=60000)
    assert "timeout of 400ms exceeded" in failed(requestor.send(slow, LEGACY))["message"]
    quick = get(raw.url(Hang()), timeout=200)
    assert "timeout of 400ms exceeded" in failed(requestor.send(quick, LEGACY))["message"]
    assert "timeout of 200ms exceeded" in failed(requestor.send(quick, PLAIN))["message"]
