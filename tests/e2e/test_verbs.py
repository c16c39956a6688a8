"""The command line of the agent besides `run`."""

import json
import re
import uuid

import pytest

from conftest import KEY, OLD_KEY
from support.processes import Run
from support.raw_target import Hang, text
from support.requestors import LEGACY, V2, failure_in, headers_named, timestamp
from support.v2 import WithCryptography, WithPyCryptodome, b64, opened

VERBS = ("run", "exec", "send", "keygen", "encrypt", "decrypt", "settings", "version")


# -- help and usage -----------------------------------------------------------------

@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb_says_how_to_use_it_with_an_example(verb):
    run = Run([verb, "--help"])
    assert (run.code, run.err) == (0, "")
    assert f"relay-agent {verb}" in run.out or f"relay-agent [{verb}]" in run.out
    assert re.search(r"^Examples?:\n.*relay-agent", run.out, re.MULTILINE | re.DOTALL)


def test_help_lists_the_verbs():
    for words in (["--help"], ["-h"]):
        run = Run(words)
        assert (run.code, run.err) == (0, "")
        for verb in VERBS:
            assert re.search(rf"^\s+{verb}\b", run.out, re.MULTILINE), verb


def test_the_version_is_printed():
    for words in (["version"], ["--version"]):
        run = Run(words)
        assert run.code == 0 and run.err == ""
        assert re.fullmatch(r"relay-agent \d+\.\d+\.\d+\n", run.out)


def test_an_unknown_verb_is_a_usage_error_with_a_hint():
    run = Run(["decrpyt"])
    assert (run.code, run.out) == (2, "")
    assert '"decrpyt"' in run.err and "decrypt" in run.err and "--help" in run.err


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_option_is_a_usage_error_with_a_hint(verb):
    env = {"COMMAND_SERVICE_URL": "http://127.0.0.1:9", "AGENT_ID": "a", "ORG_SLUG": "o",
           "AUTH_TOKEN": "t", "SECURE_COMMAND_KEY": KEY.hex()}
    run = Run([verb, "--no-such-option"], env)
    assert (run.code, run.out) == (2, "")
    assert "--no-such-option" in run.err
    assert "--help" in run.err


@pytest.mark.parametrize("words", [["exec"], ["exec", "a", "b"], ["keygen", "x"], ["version", "x"],
                                   ["settings", "x"], ["send"]])
def test_missing_or_additional_words_are_a_usage_error(words):
    run = Run(words, {"COMMAND_SERVICE_URL": "http://127.0.0.1:9", "AGENT_ID": "a",
                      "ORG_SLUG": "o", "AUTH_TOKEN": "t"})
    assert (run.code, run.out) == (2, "")
    assert "--help" in run.err


# -- exec ---------------------------------------------------------------------------

def execute(document, code=0, words=("exec", "-"), **env):
    run = Run(words, env, json.dumps(document))
    assert run.code == code, run.all
    assert run.out.endswith("\n") and run.out.count("\n") == 1
    return json.loads(run.out)


def command(payload, **fields):
    return {"commandId": str(uuid.uuid4()), "targetId": "me", "createdAt": timestamp(),
            "expiresAt": timestamp(60), "action": LEGACY, "body": payload, **fields}


def test_exec_runs_a_payload_from_standard_input(raw):
    url = raw.url(text("hello", headers=["X: y"]))
    answer = execute({"method": "post", "url": url, "body": {"mode": "raw", "raw": "r"}})
    assert (answer["statusCode"], answer["body"]) == (200, "hello")
    assert headers_named(answer, "x") == ["y"]
    assert raw.only(url).body == b"r"


def test_exec_runs_a_payload_from_a_file(raw, tmp_path):
    path = tmp_path / "payload.json"
    path.write_text(json.dumps({"method": "GET", "url": raw.url(text("from a file"))}))
    assert execute(None, words=("exec", path))["body"] == "from a file"


def test_exec_runs_a_whole_command(raw):
    payload = {"method": "GET", "url": raw.url(text("a command"))}
    assert execute(command(payload), AGENT_ID="me")["body"] == "a command"


def test_exec_opens_and_locks_a_v2_command(raw):
    payload = {"method": "GET", "url": raw.url(text("sealed"))}
    sealed = WithCryptography.encrypt(KEY, payload)
    answer = execute(command(sealed, action=V2), AGENT_ID="me", SECURE_COMMAND_KEY=b64(KEY))
    assert WithCryptography.decrypt(KEY, answer)["body"] == "sealed"


def test_exec_ends_with_1_and_the_answer_when_it_is_no_success(raw, refusing_port):
    answer = execute({"method": "GET", "url": raw.url(text("no", "404 Not Found"))}, 1)
    assert answer["statusCode"] == 404
    answer = execute({"method": "GET", "url": f"http://127.0.0.1:{refusing_port}/"}, 1)
    assert failure_in(answer)["code"] == "ECONNREFUSED"
    assert execute({"method": "GET"}, 1)["code"] == "INVALID_PAYLOAD"
    assert execute(command({}, action="Nothing"), 1, AGENT_ID="me")["code"] == "UNKNOWN_ACTION"
    assert execute(command({}, expiresAt=timestamp(-1)), 1, AGENT_ID="me")["code"] == "EXPIRED"
    assert execute(command({}, targetId="you"), 1, AGENT_ID="me")["code"] == "WRONG_TARGET"


def test_exec_keeps_to_the_settings(raw):
    answer = execute({"method": "GET", "url": raw.url(Hang())}, 1, REQUEST_TIMEOUT_MS=2000)
    assert failure_in(answer)["message"].endswith("timeout of 2000ms exceeded")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"method": "GET"} x', b'{"url": "\xff"}'])
def test_exec_of_what_is_no_json_object_says_so(content):
    run = Run(["exec", "-"], stdin=content)
    assert (run.code, run.out) == (1, "")
    assert run.err.startswith("relay-agent") and len(run.err.splitlines()) == 1


def test_exec_of_a_missing_file_says_so(tmp_path):
    run = Run(["exec", tmp_path / "missing.json"])
    assert (run.code, run.out) == (1, "")
    assert "missing.json" in run.err


# -- keys and envelopes -------------------------------------------------------------

def test_keygen_prints_a_new_key_each_time_that_can_be_used():
    keys = {Run(["keygen"]).out for _ in range(2)}
    assert len(keys) == 2
    assert all(re.fullmatch(r"[0-9a-f]{64}\n", key) for key in keys)
    run = Run(["encrypt"], {"SECURE_COMMAND_KEY": keys.pop().strip()}, "{}")
    assert run.code == 0


PAYLOAD = {"method": "POST", "url": "http://lab/ä", "body": {"mode": "raw", "raw": "\0\"东京"}}


@pytest.mark.parametrize("words", [["encrypt"], ["encrypt", "-"]])
def test_encrypt_seals_what_other_libraries_open(words):
    run = Run(words, {"SECURE_COMMAND_KEY": KEY.hex()}, json.dumps(PAYLOAD))
    assert (run.code, run.err) == (0, "")
    sealed = json.loads(run.out)
    nonce, _, tag = opened(sealed)
    assert (len(nonce), len(tag)) == (12, 16)
    assert WithCryptography.decrypt(KEY, sealed) == PAYLOAD
    assert WithPyCryptodome.decrypt(KEY, sealed) == PAYLOAD


@pytest.mark.parametrize("library", [WithCryptography, WithPyCryptodome])
def test_decrypt_opens_what_other_libraries_sealed(library, tmp_path):
    path = tmp_path / "envelope.json"
    path.write_text(json.dumps(library.encrypt(KEY, PAYLOAD)))
    run = Run(["decrypt", path], {"SECURE_COMMAND_KEY": b64(KEY)})
    assert (run.code, run.err) == (0, "")
    assert json.loads(run.out) == PAYLOAD


def test_encrypt_and_decrypt_undo_each_other_byte_for_byte():
    plain = '{ "a" :  [1.0, "\\u00e4"] }'
    env = {"SECURE_COMMAND_KEY": KEY.hex()}
    assert Run(["decrypt"], env, Run(["encrypt"], env, plain).out).out == plain + "\n"


def test_decrypt_tries_the_previous_key():
    sealed = json.dumps(WithCryptography.encrypt(OLD_KEY, PAYLOAD))
    env = {"SECURE_COMMAND_KEY": KEY.hex(), "SECURE_COMMAND_KEY_PREVIOUS": OLD_KEY.hex()}
    assert json.loads(Run(["decrypt"], env, sealed).out) == PAYLOAD


def test_decrypt_with_another_key_fails_and_shows_nothing():
    sealed = json.dumps(WithCryptography.encrypt(OLD_KEY, PAYLOAD))
    run = Run(["decrypt"], {"SECURE_COMMAND_KEY": KEY.hex()}, sealed)
    assert (run.code, run.out) == (1, "")
    assert KEY.hex() not in run.err and run.err != ""


def test_encrypt_without_a_key_is_a_wrong_setting():
    run = Run(["encrypt"], stdin="{}")
    assert (run.code, run.out) == (78, "")
    assert "SECURE_COMMAND_KEY" in run.err and "missing" in run.err


def test_encrypt_of_what_is_no_json_says_so():
    run = Run(["encrypt"], {"SECURE_COMMAND_KEY": KEY.hex()}, "not json")
    assert (run.code, run.out) == (1, "")
    assert "JSON" in run.err
