"""Cases: memory, start, idleness, TLS connections, and a long run."""

import subprocess
import time

from drivers import relays
from drivers.cases_speed import Case
from drivers.figures import Figure, by_round, per_command
from drivers.place import KIB, MIB
from drivers.processes import BUILD, Failure, environment

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
MB = 1e6


def rss(process, key="VmRSS"):
    """In bytes, as the kernel counts kB."""
    return process.status(key) * 1024


class Memory(Case):
    name = "memory"
    title = "resident memory of the agent"
    rounds, quick_rounds = 3, 1
    COMMAND_BODY = 6 * MIB  # sealed and in base64 it is a command of just under 10 MB
    ANSWER = 100 * MIB

    def idle_then(self, settings=None, **service):
        """Memory when it is idle, and its peak when the commands have ended, in bytes."""
        seen = {"connections": 0}

        def start(place, url):
            return relays.agent(place, url, **(settings or {}))

        def after(process, talker, figures):
            seen.update(peak=rss(process, "VmHWM"), after=rss(process))

        def before(process):
            seen["idle"] = rss(process)

        def meanwhile(process):
            seen["connections"] = max(seen["connections"], process.descriptors()[0])
        seen["figures"] = relays.relayed(self.place, start, before=before, meanwhile=meanwhile,
                                         after=after, **{"key": self.place.key, **service})
        return seen

    def round(self):
        nginx = self.place.nginx
        one = {"window": 1, "batch": 1, "count": 1}
        answer = nginx.large_file(self.ANSWER)
        return {
            "many": self.idle_then({"MAX_IN_FLIGHT": 1000, "MAX_IN_FLIGHT_PER_HOST": 1000},
                                   url=nginx.url("together"), body_bytes=10 * KIB, window=1000,
                                   batch=100, whole=0, warm=0, count=1500),
            "plain": self.idle_then(url=answer, **{**one, "key": None}),
            "V2": self.idle_then(url=answer, **one),
            "command": self.idle_then(url=nginx.url("1k"), body_bytes=self.COMMAND_BODY, **one),
        }

    def figures(self, rounds):
        def growth(who):
            return by_round(rounds, who, lambda seen: (seen["peak"] - seen["idle"]) / MB)

        def speed(who):
            return by_round(rounds, who, lambda seen: self.ANSWER / MB /
                            (seen["figures"]["us"] / 1e6))
        return [
            Figure("idle after the first poll over TLS", "MB",
                   by_round(rounds, "V2", lambda seen: seen["idle"] / MB), ("most", 14)),
            Figure("1,000 in flight of 10 KiB both ways, peak", "MB",
                   by_round(rounds, "many", lambda seen: seen["peak"] / MB), ("most", 64)),
            Figure("  connections that it had then", "",
                   by_round(rounds, "many", lambda seen: seen["connections"])),
            Figure("answer of 100 MiB, plain, above idle", "MB", growth("plain"), ("most", 24)),
            Figure("answer of 100 MiB, V2, above idle", "MB", growth("V2"), ("most", 24)),
            Figure("command of 10 MB, V2, above idle", "MB", growth("command"), ("most", 24)),
            Figure("answer of 100 MiB, plain", "MB/s", speed("plain")),
            Figure("answer of 100 MiB, V2", "MB/s", speed("V2")),
        ]


class Start(Case):
    name = "start"
    title = "from exec to the first poll at the service, TLS handshake included"
    WAYS = {"one CA file": ("SSL_CERT_FILE", 25), "the system's roots": (None, 60),
            "the system's roots as one file": (BUNDLE, 60)}

    def start(self, roots):
        place = self.place
        folder = place.new_folder("start")
        own = place.ca.certificate_file
        with relays.canned(place, url=place.nginx.url("1k"), key=place.key) as talker, \
                open(folder / "log", "ab") as log:
            settings = relays.agent_settings(place, talker.url, folder / "state")
            if roots == "SSL_CERT_FILE":
                settings.update(SSL_CERT_FILE=own, CA_FILE=None)
            elif roots:
                settings.update(SSL_CERT_FILE=roots)
            # Nothing between fork and exec, so that the driver's own cost stays out.
            began = time.monotonic_ns() // 1000
            process = subprocess.Popen([BUILD / "relay-agent", "run"], stdin=subprocess.DEVNULL,
                                       stdout=log, stderr=log, env=environment(settings))
            try:
                polled = talker.hear("poll")["us"]
                cpu = time.clock_gettime(~process.pid << 3 | 2)
            finally:
                process.terminate()
                process.wait()
        return {"ms": (polled - began) / 1000, "cpu_ms": cpu * 1000}

    def round(self):
        return {way: self.start(roots) for way, (roots, _) in self.WAYS.items()}

    def figures(self, rounds):
        out = []
        for way, (_, goal) in self.WAYS.items():
            out += [Figure(f"first poll, {way}", "ms",
                           by_round(rounds, way, lambda seen: seen["ms"]), ("most", goal)),
                    Figure(f"  CPU until then, {way}", "ms",
                           by_round(rounds, way, lambda seen: seen["cpu_ms"]))]
        return out


class Tls(Case):
    name = "tls"
    title = "a command on a new TLS connection (full handshake) and on a kept one"
    quick_rounds = 2
    WAYS = {"the system's roots": {}, "the system's roots as one file": {"SSL_CERT_FILE": BUNDLE}}

    def round(self):
        out = {}
        for way, settings in self.WAYS.items():
            def start(place, url, settings=settings):
                return relays.agent(place, url, **settings)
            for path in ("once", "1k"):
                out[f"{path}, {way}"] = self.relay(
                    start, url=self.place.nginx.url(path, tls=True), window=20, warm=50,
                    count=self.count(1000, 200))
        return out

    def figures(self, rounds):
        def cpu(path, way):
            return by_round(rounds, f"{path}, {way}", per_command("cpu_us"))
        return [Figure(f"CPU per TLS connection, {way}", "ms",
                       [(new - kept) / 1000 for new, kept in zip(cpu("once", way), cpu("1k", way))],
                       ("most", 2)) for way in self.WAYS]


class Idle(Case):
    name = "idle"
    title = "nothing to do: the poll is held by the service"
    rounds, quick_rounds = 1, 1

    def round(self):
        place = self.place
        seconds = self.count(60, 3)
        with relays.canned(place, url=place.nginx.url("1k"), key=place.key) as talker, \
                relays.agent(place, talker.url) as process:
            talker.hear("poll", [process])
            time.sleep(0.5)  # what a start leaves to do is not idleness
            began = time.monotonic()
            wakeups, cpu = process.wakeups(), process.cpu_seconds()
            time.sleep(seconds)  # this is what is measured
            took = time.monotonic() - began
            return {"agent": {"wakeups": (process.wakeups() - wakeups) / took,
                              "cpu": (process.cpu_seconds() - cpu) / took * 1e6,
                              "rss": rss(process)}}

    def figures(self, rounds):
        return [Figure("wake-ups when idle", "/s", by_round(rounds, "agent", lambda seen: seen["wakeups"]),
                       ("most", 1)),
                Figure("CPU when idle", "µs/s", by_round(rounds, "agent", lambda seen: seen["cpu"]))]


class StuckWatch:
    """Ends a long run whose process has stopped working: it would only end by its time limit."""
    SECONDS, CPU_SECONDS = 60, 0.1

    def __init__(self):
        self.since, self.cpu = time.monotonic(), 0.0

    def __call__(self, process):
        cpu, now = process.cpu_seconds(), time.monotonic()
        if cpu - self.cpu > self.CPU_SECONDS:
            self.since, self.cpu = now, cpu
        elif now - self.since > self.SECONDS:
            raise Failure(f"no work for {self.SECONDS} s, the log ends with: {process.said()}")


class Soak(Case):
    name = "soak"
    is_quick = False
    title = "what many commands leave behind (--soak says how many)"
    rounds, quick_rounds = 1, 1

    def __init__(self, place):
        super().__init__(place)
        self.commands = place.options.soak or self.count(20000, 3000)
        self.title = f"what {self.commands:,} commands leave behind"

    def round(self):
        seen = {}

        def look(process, when):
            seen[f"rss {when}"] = rss(process)
            seen[f"peak {when}"] = rss(process, "VmHWM")
            seen[f"connections {when}"], seen[f"others {when}"] = process.descriptors()
            seen[f"cpu {when}"] = process.cpu_seconds()

        def after(process, talker, figures):
            look(process, "after")
            talker.hear("drained", [process])
        # The first commands fill what is kept: connections, handles, the journal's cache.
        warm = max(2000, self.commands // 20)
        seen["figures"] = self.relay(
            relays.agent, window=256, warm=warm, count=self.commands,
            at_warm=lambda process: look(process, "before"), meanwhile=StuckWatch(), after=after,
            seconds=120 + self.commands // 500)
        return {"agent": seen}

    def figures(self, rounds):
        def drift(key, unit):
            return by_round(rounds, "agent", lambda seen: (seen[f"{key} after"] -
                                                           seen[f"{key} before"]) / unit)
        return [Figure("commands", "", [self.commands]),
                Figure("RSS drift", "MB", drift("rss", MB), ("most", 1)),
                # Connections to the target are kept, up to MAX_IN_FLIGHT_PER_HOST of them.
                Figure("descriptors more than before, connections aside", "", drift("others", 1),
                       ("most", 0)),
                Figure("connections kept at the end", "", by_round(
                    rounds, "agent", lambda seen: seen["connections after"])),
                Figure("peak of RSS above that at the beginning", "MB", by_round(
                    rounds, "agent", lambda seen: (seen["peak after"] - seen["rss before"]) / MB)),
                Figure("RSS at the end", "MB",
                       by_round(rounds, "agent", lambda seen: seen["rss after"] / MB)),
                Figure("CPU per command", "µs", by_round(
                    rounds, "agent", lambda seen: per_command("cpu_us")(seen["figures"])))]


CASES = [Memory, Start, Tls, Idle, Soak]
