"""One measurement: a program that relays (the agent, or floor), a service, and the target."""

import contextlib
import shutil
import signal
import time

from drivers.processes import BUILD, PATIENCE, Failure, Process, Talker


def canned(place, *, url, key, body_bytes=0, batch=10, window=64, warm=0, count=0, **more):
    """The canned service, before it gives its first command."""
    words = [BUILD / "bench-canned", "--tls-cert", place.identity.certificate_file,
             "--tls-key", place.identity.key_file, "--url", url, "--body-bytes", body_bytes,
             "--batch", batch, "--window", window, "--warm", warm, "--count", count]
    if key:
        words += ["--key", key]
    for name, value in more.items():
        words += ["--" + name.replace("_", "-"), value]
    service = Talker(words, place.new_folder("canned") / "log")
    try:
        service.port = service.hear("port")["port"]
    except BaseException:
        service.stop()
        raise
    service.url = f"https://127.0.0.1:{service.port}"
    return service


def agent_settings(place, service_url, state, **more):
    return {"COMMAND_SERVICE_URL": service_url, "AGENT_ID": "bench-agent", "ORG_SLUG": "bench",
            "AUTH_TOKEN": "bench-token", "SECURE_COMMAND_KEY": place.key, "STATE_DIR": state,
            "CA_FILE": place.ca.certificate_file, **more}


@contextlib.contextmanager
def agent(place, service_url, program=BUILD / "relay-agent", **settings):
    """The agent with its defaults; its log (JSON lines at info) goes to a file."""
    folder = place.new_folder("agent")
    process = Process([program, "run"], folder / "log",
                      agent_settings(place, service_url, folder / "state", **settings))
    try:
        with process:
            yield process
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def floor(place, service_url, batch=10, token="bench-token", keep=None):
    """Plain commands and encrypted ones: it knows them by the key's fields. What it keeps, as a
    "file" or in "sqlite", it has before it goes on, as the agent's journal."""
    folder = place.new_folder("floor")
    process = Process([BUILD / "bench-floor", "--service", service_url, "--ca-file",
                       place.ca.certificate_file, "--key", place.key, "--batch", batch,
                       "--token", token] + (["--keep", keep, "--folder", folder] if keep else []),
                      folder / "log")
    try:
        with process:
            yield process
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check(figures, who):
    """A figure of something that went wrong is none."""
    if figures["not_success"] or figures["unknown"]:
        raise Failure(f"{who}: {figures['not_success']} commands did not succeed, "
                      f"{figures['unknown']} statuses were for nothing that was given")


def relayed(place, start, seconds=PATIENCE, before=None, at_warm=None, meanwhile=None, after=None,
            **service):
    """Runs so many commands through what start(place, url) starts; the service's figures.
    before(process) looks at it when it is idle, at_warm(process) when measuring begins,
    meanwhile(process) a few times a second, after(process, service, figures) at the end."""
    with canned(place, **service) as talker, start(place, talker.url) as process:
        talker.hear("poll", [process])
        if before:
            before(process)
        talker.tell(f"watch {process.pid}")
        if at_warm:
            talker.hear("warm", [process], seconds)
            at_warm(process)
        figures = talker.hear("done", [process], seconds, meanwhile)
        check(figures, process.command[0])
        if after:
            after(process, talker, figures)
        return figures


MAX_SECONDS = 4 * PATIENCE  # of a round in turns, in which up to three wait for each other


class Runner:
    """One of several that take turns: a service and the program that it measures."""

    def __init__(self, talker, process):
        self.talker, self.process = talker, process
        self.is_warm = False
        self.figures = None
        self.paused_s = 0  # of the time that is measured
        self.stopped_at = None
        self.deadline = time.monotonic() + MAX_SECONDS
        talker.hear("poll", [process])
        self.stand_still()
        talker.tell(f"watch {process.pid}")

    def signal(self, number):
        for process in (self.process, self.talker):
            process.popen.send_signal(number)

    def stand_still(self):
        self.signal(signal.SIGSTOP)
        self.stopped_at = time.monotonic()

    def go_on(self, seconds):
        """Runs so long, or until it has done all."""
        if self.is_warm:
            self.paused_s += time.monotonic() - self.stopped_at
        self.signal(signal.SIGCONT)
        until = time.monotonic() + seconds
        if not self.is_warm:
            self.talker.hear("warm", [self.process])
            self.is_warm = True
        left = max(0, until - time.monotonic())
        if self.talker.has_said(left, [self.process], self.deadline):
            self.figures = self.talker.hear("done", [self.process])
            self.figures["us"] -= self.paused_s * 1e6
            check(self.figures, self.process.command[0])
        self.stand_still()


def in_turns(place, starts, seconds, **service):
    """Runs the same through each of starts, a name and a start as for relayed(). One goes on for so
    many seconds while the others stand still, then the next: whatever the machine does meanwhile,
    it does to all of them. The figures of each, of its own turns."""
    with contextlib.ExitStack() as stack:
        runners = {}
        for name, start in starts.items():
            talker = stack.enter_context(canned(place, **service))
            process = stack.enter_context(start(place, talker.url))
            runners[name] = Runner(talker, process)
        while waiting := [runner for runner in runners.values() if runner.figures is None]:
            for runner in waiting:
                runner.go_on(seconds)
        return {name: runner.figures for name, runner in runners.items()}


def limit(place, url, concurrency, warm, count, body_bytes=0):
    words = [BUILD / "bench-limit", "--url", url, "--concurrency", concurrency, "--warm", warm,
             "--count", count, "--body-bytes", body_bytes]
    with Talker(words, place.new_folder("limit") / "log") as process:
        return process.hear("done")
