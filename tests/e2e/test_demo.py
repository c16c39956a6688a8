"""scripts/demo is what a newcomer sees first: it must work, be quick, and leave nothing behind."""

import os
import pathlib
import re
import signal
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = 10

# It takes the programs of build/, whatever tree is under test: once, in the plain run.
pytestmark = pytest.mark.timing

# What was asked, the command's status, the HTTP status.
OUTCOMES = [
    ("GET", "SUCCESS", "200"),
    ("POST raw JSON", "SUCCESS", "200"),
    ("POST formdata with a file", "SUCCESS", "200"),
    ("POST urlencoded", "SUCCESS", "200"),
    ("PUT", "SUCCESS", "200"),
    ("PATCH", "SUCCESS", "200"),
    ("DELETE", "SUCCESS", "200"),
    ("HEAD", "SUCCESS", "200"),
    ("OPTIONS", "SUCCESS", "200"),
    ("POST encrypted (V2)", "SUCCESS", "200"),
    ("GET to a closed port", "FAILURE", "-"),
    ("GET that is answered 404", "FAILURE", "404"),
    ("GET slower than its timeout", "FAILURE", "-"),
    ("an action the agent has not", "REJECTED", "-"),
]
LINE = re.compile(r"^(.+?) +(SUCCESS|FAILURE|REJECTED) +(\d+|-) +\d+ ms  \S", re.MULTILINE)


def demo(folder, *words, **options):
    # Settings of the caller's shell are not the demo's, and a proxy would not find it.
    env = dict(os.environ, TMPDIR=str(folder), AGENT_ID="another", HTTP_PROXY="http://127.0.0.1:9")
    # Who runs the tests in the background has SIGINT ignored, and that is inherited.
    return subprocess.Popen(["scripts/demo", *words], cwd=ROOT, env=env, text=True,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, **options)


def processes_of(folder):
    """Whoever has the demo's folder in the environment or on the command line."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            texts = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() + b"/relay-demo." in texts:
            found.append(int(process.name))
    return found


def assert_nothing_is_left(folder):
    assert processes_of(folder) == []
    assert list(folder.iterdir()) == []


def test_the_demo_shows_every_outcome_quickly_and_leaves_nothing_behind(tmp_path):
    began = time.monotonic()
    run = demo(tmp_path)
    output, _ = run.communicate(timeout=60)
    took = time.monotonic() - began
    assert run.returncode == 0, output
    assert LINE.findall(output) == OUTCOMES
    assert took < SECONDS
    assert_nothing_is_left(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_is_interrupted_leaves_nothing_behind(tmp_path, number):
    run = demo(tmp_path)
    for line in run.stdout:
        if line.startswith("GET "):
            break
    assert len(processes_of(tmp_path)) >= 4
    run.send_signal(number)
    run.communicate(timeout=60)
    assert run.returncode == 128 + number
    assert_nothing_is_left(tmp_path)


def test_a_kept_demo_answers_what_is_pasted_and_is_stopped_by_its_line(tmp_path):
    run = demo(tmp_path, "--keep")
    output, _ = run.communicate(timeout=60)
    try:
        assert run.returncode == 0, output
        pasted = "\n".join(re.findall(r"^    (.*)$", output, re.MULTILINE))
        assert pasted.count("build/relay-agent send") == 2
        answer = subprocess.run(["bash", "-ec", pasted], cwd=ROOT, capture_output=True, text=True,
                                timeout=60)
        assert answer.returncode == 0, answer.stderr
        assert re.match(r"HTTP\S* 200", answer.stdout)
        assert "balance 3: 12.0042 g" in answer.stdout
        assert "hello" in answer.stdout
    finally:
        stop = re.search(r"^stop: (.*)$", output, re.MULTILINE).group(1)
        subprocess.run(["bash", "-ec", stop], cwd=ROOT, check=True)
        deadline = time.monotonic() + 10
        while processes_of(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.02)
    assert_nothing_is_left(tmp_path)
