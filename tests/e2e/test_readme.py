"""Every command in the README is run, as printed but for ports, tokens and paths."""

import re
import shlex
import subprocess

from service_fixtures import CommandService
from support.agents import Agent
from support.processes import BUILD, PATIENCE, ROOT, Run, clean_environment, wrapper

# Run by other tests, or by what runs this one.
ELSEWHERE = {
    "scripts/demo": "test_demo.py",
    "scripts/test": "runs this test",
    "scripts/bootstrap build": "scripts/test runs it first",
    "make": "scripts/test runs it first",
}


def readme():
    return (ROOT / "README.md").read_text(encoding="utf-8")


def indented_commands():
    text = readme().replace("\\\n", " ")
    return [" ".join(line.split()) for line in re.findall(r"^    (\S.*)$", text, re.M)
            if not line.startswith(" ")]


def python_block():
    return re.search(r"```python\n(.*?)```", readme(), re.S).group(1)


def words_of(command, program):
    words = shlex.split(command)
    assert words[0] == "build/" + program
    return words[1:]


def exported(command, values):
    """The variables of an `export` line; those printed as … come from values."""
    pairs = (word.split("=", 1) for word in shlex.split(command)[1:])
    return {name: values[name] if value == "…" or name in values else value
            for name, value in pairs}


def run_service(words, cwd):
    return subprocess.run([*wrapper(), str(BUILD / "command-service"), *words], check=True, cwd=cwd,
                          env=clean_environment(), capture_output=True, text=True,
                          timeout=PATIENCE).stdout


def test_the_readmes_commands_relay_a_request(httpbin, tmp_path):
    commands = [command for command in indented_commands() if command not in ELSEWHERE]
    serve, requestors, agents, start, start_secrets, relay, ask, send = (
        commands[0], commands[1], commands[2], *commands[3:5], commands[5], *commands[6:8])
    assert commands[8:] == ["docker run -e COMMAND_SERVICE_URL=https://commands.example.com "
                            "-e AGENT_ID=lab-1 -e ORG_SLUG=acme -e AUTH_TOKEN=… "
                            "-e SECURE_COMMAND_KEY=… relay-agent"], "test_container.py has it"
    assert words_of(serve, "command-service") == [
        "serve", "--listen", "127.0.0.1:8080", "--db", "commands.db"]
    service = CommandService(db=tmp_path / "commands.db")
    service.start()
    try:
        tokens = [run_service(words_of(line, "command-service"), tmp_path).strip()
                  for line in (requestors, agents)]
        key = Run(["keygen"]).out.strip()
        settings = exported(start, {"COMMAND_SERVICE_URL": service.url})
        settings.update(exported(start_secrets, {"AUTH_TOKEN": tokens[1],
                                                 "SECURE_COMMAND_KEY": key}))
        agent = Agent(settings, words_of(relay, "relay-agent")).start()
        try:
            asker = exported(ask, {"COMMAND_SERVICE_URL": service.url, "AUTH_TOKEN": tokens[0]})
            words = [word.replace("http://127.0.0.1:8081/", httpbin.url("/get"))
                     for word in words_of(send, "relay-agent")]
            answer = Run(words, env=asker)
            assert answer.out.startswith("HTTP 200\n") and '"url"' in answer.out, answer.all
            run_python(asker, key, httpbin.url("/get?sealed=1"))
        finally:
            agent.close()
    finally:
        service.close()


def run_python(asker, key, target):
    env = clean_environment({**asker, "SECURE_COMMAND_KEY": key, "TARGET_URL": target})
    done = subprocess.run(["/usr/bin/python3", "-c", python_block()], env=env, check=False,
                          capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert '"statusCode":200' in done.stdout and "sealed" in done.stdout


def test_the_settings_page_is_what_the_program_prints():
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page.endswith("\n\n" + Run(["settings"]).out)


def test_every_page_that_the_readme_links_is_there():
    for link in re.findall(r"\]\(([^)#]+)\)", readme()):
        assert (ROOT / link).exists(), link
