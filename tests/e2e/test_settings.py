"""Settings: where they come from, what is wrong with them, and what is never shown."""

import base64

import pytest

from conftest import KEY
from support.agents import Agent
from support.processes import Run, clean_environment

SECRET = "tell-nobody-5f1c"
REQUIRED = ("COMMAND_SERVICE_URL", "AGENT_ID", "ORG_SLUG", "AUTH_TOKEN")
GOOD = {"COMMAND_SERVICE_URL": "http://127.0.0.1:9", "AGENT_ID": "a", "ORG_SLUG": "o",
        "AUTH_TOKEN": SECRET}
ENVIRONMENTS = ("COMMAND_SERVICE_URL AGENT_ID ORG_SLUG AUTH_TOKEN SECURE_COMMAND_KEY "
                "SECURE_COMMAND_KEY_PREVIOUS POLL_WAIT_SECONDS MAX_IN_FLIGHT "
                "MAX_IN_FLIGHT_PER_HOST REQUEST_TIMEOUT_MS MAX_TIMEOUT_MS MAX_RESPONSE_BYTES "
                "MAX_REDIRECTS CA_FILE CLIENT_CERT_FILE CLIENT_KEY_FILE HTTPS_PROXY HTTP_PROXY "
                "NO_PROXY TARGET_PROXY DRAIN_SECONDS LOG_LEVEL LOG_FORMAT").split()


def problems_with(words=("run",), **env):
    """What `run` says about wrong settings, a list of lines."""
    run = Run(words, {**GOOD, **env})
    assert run.code == 78, run.all
    assert run.out == ""
    assert SECRET not in run.err
    return run.err.splitlines()


def line_about(lines, *words):
    """The only line that names all of these."""
    found = [line for line in lines if all(word in line for word in words)]
    assert len(found) == 1, (words, lines)
    return found[0]


@pytest.fixture
def yaml(tmp_path):
    """Writes relay.yaml; returns the flag that names it."""
    def write(text):
        path = tmp_path / "relay.yaml"
        path.write_bytes(text.encode(errors="surrogateescape"))
        return ["--config", str(path)]
    return write


# -- wrong and missing --------------------------------------------------------------

def test_every_missing_setting_is_named_at_once_with_how_to_give_it():
    lines = problems_with(**dict.fromkeys(REQUIRED))
    for name in REQUIRED:
        line = line_about(lines, name + ":", "missing")
        assert "environment" in line and "YAML" in line
    assert "AUTH_TOKEN_FILE" in line_about(lines, "AUTH_TOKEN:")
    assert "service.agent_id" in line_about(lines, "AGENT_ID:")
    assert "https://" in line_about(lines, "COMMAND_SERVICE_URL:")


def test_an_empty_value_counts_as_missing():
    assert "missing" in line_about(problems_with(AGENT_ID=""), "AGENT_ID:")


WRONG = [
    {"COMMAND_SERVICE_URL": ("ftp://service", "http"), "AGENT_ID": ("two words", "white space"),
     "POLL_WAIT_SECONDS": ("soon", "whole number"), "MAX_IN_FLIGHT": ("0", "1 to 10000"),
     "MAX_IN_FLIGHT_PER_HOST": ("many", "1 to"), "REQUEST_TIMEOUT_MS": ("10s", "milliseconds"),
     "MAX_RESPONSE_BYTES": ("100MB", "bytes"), "MAX_REDIRECTS": ("-1", "0 to"),
     "DRAIN_SECONDS": ("x", "seconds"), "LOG_LEVEL": ("loud", "debug, info, warn, error"),
     "LOG_FORMAT": ("xml", "auto, text, json"), "CA_FILE": ("/does/not/exist", "file"),
     "HTTPS_PROXY": ("what is this", "proxy"), "SECURE_COMMAND_KEY": ("too short", "32"),
     "SECURE_COMMAND_KEY_PREVIOUS": ("x" * 31, "32")},
    {"COMMAND_SERVICE_URL": ("service.example", "http"), "POLL_WAIT_SECONDS": ("0", "1 to 60"),
     "MAX_IN_FLIGHT": ("12abc", "1 to 10000"), "AUTH_TOKEN": ("two\nlines", "line break")},
    {"COMMAND_SERVICE_URL": ("http://u:p@service/", "AUTH_TOKEN"),
     "POLL_WAIT_SECONDS": ("1.5", "whole number"),
     "MAX_IN_FLIGHT": ("99999999999999999999", "1 to 10000")},
    {"POLL_WAIT_SECONDS": ("5s", "whole number"), "MAX_IN_FLIGHT": ("10001", "1 to 10000")}]


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_each_wrong_value_is_named_with_its_source_and_what_would_be_right(wrong):
    lines = problems_with(**{name: value for name, (value, _) in wrong.items()})
    for name, (_, right) in wrong.items():
        assert right in line_about(lines, name + " (environment)"), name
    assert len([line for line in lines if "(environment)" in line]) == len(wrong)


def test_all_problems_of_all_sources_are_reported_at_once(yaml):
    words = ["run", *yaml("relay:\n  max_in_flight: lots\nlog:\n  level: 7\n"),
             "--drain-seconds", "never"]
    lines = problems_with(words, AGENT_ID=None, MAX_REDIRECTS="x", LOG_FORMAT="y")
    line_about(lines, "AGENT_ID:", "missing")
    line_about(lines, "MAX_REDIRECTS", "environment")
    line_about(lines, "LOG_FORMAT", "environment")
    line_about(lines, "relay.max_in_flight", "relay.yaml:2")
    line_about(lines, "log.level", "relay.yaml:4")
    line_about(lines, "--drain-seconds", "command line")


def test_an_unknown_yaml_key_is_an_error_that_names_the_nearest(yaml):
    lines = problems_with(["run", *yaml("service:\n  agnet_id: x\nservise:\n  url: x\nrelay:\n\n"
                                        "  max_inflight: 3\n")])
    for key, near, number in (("agnet_id", "agent_id", 2), ("servise", "service", 3),
                              ("max_inflight", "max_in_flight", 7)):
        assert near in line_about(lines, key, f"relay.yaml:{number}")


@pytest.mark.parametrize("text", [
    "service:\n  url: [\n", "relay: &a [*a]\n", "relay:\n  max_in_flight: 1\n  max_in_flight: 2\n",
    "- a\n- b\n", "service: text\n", "service:\n  url: \udcff\n"])
def test_a_broken_yaml_file_is_an_error_with_its_line(yaml, text):
    lines = problems_with(["run", *yaml(text)])
    assert "relay.yaml:" in "\n".join(lines)


def test_a_named_file_that_is_not_there_is_an_error(tmp_path):
    missing = tmp_path / "missing.yaml"
    assert str(missing) in "\n".join(problems_with(["run", "--config", str(missing)]))
    assert str(missing) in "\n".join(problems_with(RELAY_CONFIG=str(missing)))


def test_settings_that_contradict_each_other_are_an_error():
    lines = problems_with(REQUEST_TIMEOUT_MS="5000", MAX_TIMEOUT_MS="4000")
    line_about(lines, "REQUEST_TIMEOUT_MS", "MAX_TIMEOUT_MS")


# -- secrets ------------------------------------------------------------------------

def test_a_secret_and_its_file_twin_together_are_an_error(tmp_path):
    path = tmp_path / "token"
    path.write_text(SECRET)
    line_about(problems_with(AUTH_TOKEN_FILE=path), "AUTH_TOKEN", "AUTH_TOKEN_FILE")


def test_a_secret_that_cannot_be_read_or_is_empty_is_an_error(tmp_path):
    (tmp_path / "empty").write_text("")
    for path in (tmp_path / "missing", tmp_path / "empty"):
        line_about(problems_with(AUTH_TOKEN=None, AUTH_TOKEN_FILE=path), "AUTH_TOKEN_FILE",
                   "environment")


def test_a_secret_on_the_command_line_is_refused_and_not_shown():
    lines = problems_with(["run", "--auth-token", SECRET], AUTH_TOKEN=None)
    assert "environment" in line_about(lines, "AUTH_TOKEN", "command line")
    problems_with(["run", f"--secure-command-key={SECRET}"])


@pytest.mark.parametrize("key", [
    SECRET, SECRET * 3, KEY.hex()[:-1], KEY.hex() + "0", KEY.hex()[:-1] + "g",
    base64.b64encode(KEY[:31]).decode(), base64.b64encode(KEY + b"x").decode(), "=" * 44])
def test_a_key_that_is_none_stops_the_start_and_is_not_shown(tmp_path, key):
    path = tmp_path / "key"
    path.write_text(key)
    lines = problems_with(SECURE_COMMAND_KEY_FILE=path, SECURE_COMMAND_KEY_PREVIOUS=key)
    assert key not in "\n".join(lines)
    for name in ("SECURE_COMMAND_KEY_FILE", "SECURE_COMMAND_KEY_PREVIOUS"):
        line = line_about(lines, name + " (environment)")
        if len(key) in (43, 44, 64):
            assert "hexadecimal" in line or "base64" in line
        else:
            assert "32 characters" in line and "64 hex" in line and "base64" in line


VERBS = ("run", "exec", "send", "keygen", "encrypt", "decrypt", "settings", "version", "nonsense")


def test_no_verb_prints_a_secret_whatever_happens(tmp_path):
    token = tmp_path / "token"
    token.write_text(SECRET + "-file")
    secrets = {"SECURE_COMMAND_KEY": KEY.hex(), "SECURE_COMMAND_KEY_PREVIOUS": "p" * 32,
               "HTTPS_PROXY": f"http://user:{SECRET}@127.0.0.1:9", "LOG_LEVEL": "debug"}
    by_file = {"AUTH_TOKEN": None, "AUTH_TOKEN_FILE": token}
    shown = ""
    for verb in VERBS:
        env = {**GOOD, **secrets}
        shown += Run([verb, "-"], {**env, "MAX_IN_FLIGHT": "x"}).all
        shown += Run([verb, "--nonsense"], {**env, **by_file}).all
        if verb not in ("run", "nonsense"):
            shown += Run([verb, "-"], {**env, **by_file}, '{"method": "GET", "url": "x"}').all
    for secret in (SECRET, KEY.hex(), "p" * 32):
        assert secret not in shown


# -- where values come from ---------------------------------------------------------

def wait_seconds(fake, words, **env):
    agent = Agent(fake.settings(**env), words).start()
    call = fake.first_long_poll()
    agent.stop()
    return call.body["waitSeconds"]


@pytest.mark.parametrize("flag, env, file, expected", [
    (None, None, False, 20), (None, None, True, 7), (None, "5", True, 5), ("3", "5", True, 3)])
def test_command_line_beats_environment_beats_file_beats_default(
        fake, yaml, flag, env, file, expected):
    words = ["run"]
    if flag:
        words += ["--poll-wait-seconds", flag]
    if file:
        words += yaml("service:\n  poll_wait_seconds: 7\n")
    assert wait_seconds(fake, words, POLL_WAIT_SECONDS=env) == expected


def test_everything_may_come_from_the_file(fake, yaml, tmp_path):
    token = tmp_path / "token"
    token.write_text("token-from-a-file\n")
    words = yaml(f"service:\n  url: {fake.url}\n  agent_id: from-yaml\n  org: yaml-org\n"
                 f"  token_file: {token}\n  poll_wait_seconds: 2\n"
                 f"crypto:\n  key: {KEY.hex()}\nlog:\n  level: debug\n  format: text\n")
    agent = Agent({}, ["run", *words]).start()
    fake.wait_for_receives(1)
    agent.stop()
    call = fake.calls_to("receive")[0]
    assert call.path == "/v1/agents/from-yaml/commands/receive"
    headers = {name.lower(): value for name, value in call.headers}
    assert headers["ts-auth-token"] == "token-from-a-file"
    assert headers["x-org-slug"] == "yaml-org"


def test_the_file_may_be_named_by_the_environment_and_run_is_the_default_verb(fake, yaml):
    path = yaml("service:\n  poll_wait_seconds: 9\n")[1]
    assert wait_seconds(fake, [], RELAY_CONFIG=path) == 9


def test_a_token_file_is_read_without_its_last_newline(fake, tmp_path):
    path = tmp_path / "token"
    path.write_text("token from a file\n")
    agent = Agent(fake.settings(AUTH_TOKEN=None, AUTH_TOKEN_FILE=path)).start()
    fake.wait_for_receives(1)
    agent.stop()
    headers = {name.lower(): value for name, value in fake.calls_to("receive")[0].headers}
    assert headers["ts-auth-token"] == "token from a file"


def test_flags_take_their_value_with_an_equals_sign_too(fake):
    assert wait_seconds(fake, ["run", "--poll-wait-seconds=4"]) == 4
    line_about(problems_with(["run", "--agent-id"]), "--agent-id", "no value")


# -- the reference ------------------------------------------------------------------

def test_the_settings_verb_prints_a_markdown_table_of_all_settings():
    run = Run(["settings"])
    assert (run.code, run.err) == (0, "")
    rows = [line for line in run.out.splitlines() if line.startswith("|")]
    for name in ENVIRONMENTS:
        assert len([row for row in rows if row.startswith(f"| `{name}`")]) == 1, name
    assert len({row.replace("\\|", "").count("|") for row in rows}) == 1
    defaults = {"POLL_WAIT_SECONDS": "20", "MAX_IN_FLIGHT": "256", "MAX_IN_FLIGHT_PER_HOST": "64",
                "REQUEST_TIMEOUT_MS": "10000", "MAX_TIMEOUT_MS": "600000", "MAX_REDIRECTS": "20",
                "MAX_RESPONSE_BYTES": "104857600", "DRAIN_SECONDS": "8", "LOG_LEVEL": "info",
                "LOG_FORMAT": "auto"}
    for name, default in defaults.items():
        assert f"`{default}`" in line_about(rows, f"| `{name}` |")


def test_the_settings_verb_needs_no_settings_and_shows_no_values():
    run = Run(["settings"], {**GOOD, "MAX_IN_FLIGHT": "x", "AGENT_ID": "my-agent-7"})
    assert run.code == 0
    assert "my-agent-7" not in run.out and SECRET not in run.out


def test_help_of_run_lists_the_settings():
    run = Run(["run", "--help"])
    assert run.code == 0
    for name in ENVIRONMENTS:
        assert name in run.out


def test_the_environment_of_the_tests_holds_no_setting_of_the_caller():
    assert not set(ENVIRONMENTS) & set(clean_environment())
