"""Cases: processor time, throughput, latency, calls, and what size and waiting cost."""

from drivers import relays
from drivers.figures import Figure, by_round, per_command, per_second, ratio
from drivers.place import KIB
from drivers.processes import BUILD

ALL_SHARE = "service, target and the program that is measured share the processors"

# What keeping commands and answers costs, in the least way there is (tests/bench/keep.h).
KEEPS_BYTES = "floor that keeps (file)"
KEEPS_ROWS = "floor that keeps (SQLite)"


TURN_SECONDS = 0.4


def keeping(kind):
    return lambda place, url: relays.floor(place, url, keep=kind)


class Case:
    """round() measures each compared program once, one after the other; figures(rounds) makes
    the rows. rounds and quick_rounds are at most so many of what was asked for."""
    together = ALL_SHARE
    rounds = quick_rounds = None
    is_quick = True  # part of --quick
    needs = ()  # what else is to be built

    def __init__(self, place):
        self.place = place

    def count(self, full, quick):
        return quick if self.place.quick else full

    def service(self, service):
        place = self.place
        return {"url": place.nginx.url("1k"), "key": place.key, "body_bytes": KIB, **service}

    def relay(self, start, **service):
        return relays.relayed(self.place, start, **self.service(service))

    def relay_in_turns(self, starts, **service):
        return relays.in_turns(self.place, starts, TURN_SECONDS, **self.service(service))


class Cpu(Case):
    name = "cpu"
    title = "V2 of 1 KiB both ways, TLS to the service, batches of 10, up to 256 under way"

    def round(self):
        count = self.count(20000, 2000)
        # 256 is MAX_IN_FLIGHT: to the agent the queue never runs dry.
        service = {"window": 256, "warm": 500, "count": count}
        return {"limit": relays.limit(self.place, self.place.nginx.url("1k"), 10, 500, count),
                **self.relay_in_turns({"floor": relays.floor, KEEPS_ROWS: keeping("sqlite"),
                                       "agent": relays.agent}, **service)}

    def figures(self, rounds):
        def cpu(name, who):
            return Figure(name, "µs", by_round(rounds, who, per_command("cpu_us")))

        def speed(name, who, **goal):
            return Figure(name, "/s", by_round(rounds, who, per_second), **goal)
        floor, keeper, agent = (cpu(f"{who}: CPU per command", who)
                                for who in ("floor", KEEPS_ROWS, "agent"))
        floor_speed = speed("floor: commands", "floor")
        agent_speed = speed("agent: commands (best round)", "agent", goal=("least", 8000),
                            best=True)
        return [
            cpu("limit: CPU per GET", "limit"), floor, keeper, agent,
            ratio("agent / floor, CPU", agent, floor, ("most", 1.4)),
            ratio(f"{KEEPS_ROWS} / floor, CPU", keeper, floor),
            ratio(f"agent / {KEEPS_ROWS}, CPU", agent, keeper),
            speed("limit: GETs", "limit"), floor_speed,
            speed(f"{KEEPS_ROWS}: commands", KEEPS_ROWS), agent_speed,
            ratio("agent / floor, commands per second", agent_speed, floor_speed, ("least", 0.7)),
        ]


class Latency(Case):
    name = "latency"
    title = "one command at a time, from its creation to its status, over a direct request"

    def round(self):
        count = self.count(3000, 200)
        service = {"window": 1, "batch": 1, "warm": 50, "count": count}
        return {"direct": relays.limit(self.place, self.place.nginx.url("1k"), 1, 50, count, KIB),
                "floor": self.relay(relays.floor, **service),
                KEEPS_BYTES: self.relay(keeping("file"), **service),
                KEEPS_ROWS: self.relay(keeping("sqlite"), **service),
                "agent": self.relay(relays.agent, **service),
                "agent, JOURNAL_SYNC=normal": self.relay(
                    lambda place, url: relays.agent(place, url, JOURNAL_SYNC="normal"), **service)}

    def figures(self, rounds):
        def took(who, part):
            return by_round(rounds, who, lambda figures: figures["latency_us"][part] / 1000)

        def added(who, part):
            return [a - b for a, b in zip(took(who, part), took("direct", part))]
        return [
            Figure("direct request, p50", "ms", took("direct", "p50")),
            Figure("direct request, p99", "ms", took("direct", "p99")),
            Figure("floor: added, p50", "ms", added("floor", "p50")),
            Figure("floor: added, p99", "ms", added("floor", "p99")),
            # What two syncs, one after the other, take at least on this disk.
            Figure(f"{KEEPS_BYTES}: added, p50", "ms", added(KEEPS_BYTES, "p50")),
            Figure(f"{KEEPS_ROWS}: added, p50", "ms", added(KEEPS_ROWS, "p50")),
            Figure("agent: added, p50", "ms", added("agent", "p50"), ("most", 0.5)),
            Figure("agent: added, p99", "ms", added("agent", "p99"), ("most", 3)),
            # Without the disk's two syncs: what is left is the agent's own.
            Figure("agent, JOURNAL_SYNC=normal: added, p50", "ms",
                   added("agent, JOURNAL_SYNC=normal", "p50")),
        ]


def calls_per_command(figures):
    calls = figures["calls"]
    return sum(calls[kind] for kind in ("receive", "status", "extend", "upload", "other")) / \
        figures["commands"]


class Calls(Case):
    name = "calls"
    title = "calls of the service for each command"
    quick_rounds = 2
    WAYS = {"one at a time": {"window": 1, "batch": 1},
            "batches of 10": {"window": 10, "batch": 10},
            # As command-service: whatever is there, as soon as it is there.
            "64 in flight": {"window": 64, "batch": 100, "whole": 0}}
    GOALS = {"one at a time": 1 + 2 / 1, "batches of 10": 1 + 2 / 10, "64 in flight": 0.25}

    def round(self):
        count = self.count(3000, 300)
        return {way: self.relay(relays.agent, warm=100, count=count, **service)
                for way, service in self.WAYS.items()}

    def figures(self, rounds):
        return [Figure(f"calls per command, {way}", "", by_round(rounds, way, calls_per_command),
                       ("most", self.GOALS[way]), is_ratio=True) for way in self.WAYS]


class Beside(Case):
    name = "beside"
    title = "four other commands at a time while one of 10 MiB and one with an answer of 10 MiB " \
        "take turns"
    rounds, quick_rounds = 3, 1
    LARGE_BODY = {"plain": 8700 * KIB, "V2": 6500 * KIB}  # makes a command of just under 10 MiB

    def round(self):
        nginx = self.place.nginx
        service = {"window": 4, "batch": 10, "whole": 0, "warm": 50, "seconds": 300}
        out = {"alone": self.relay(relays.agent, count=self.count(2000, 200), **service)}
        service["count"] = self.count(600, 80)
        for kind, size in self.LARGE_BODY.items():
            large = {"key": self.place.key if kind == "V2" else None, "large_bytes": size,
                     "large_post_url": nginx.url("1k"), "large_get_url": nginx.url("10m.json")}
            for who, start in (("agent", relays.agent), ("floor", relays.floor)):
                out[f"{who} {kind}"] = self.relay(start, **service, **large)
        return out

    def figures(self, rounds):
        def took(who, part):
            return by_round(rounds, who, lambda figures: figures["latency_us"][part] / 1000)

        def large(who):
            return by_round(rounds, who, lambda figures: figures["large"] / (figures["us"] / 1e6))
        out = [Figure("others alone, p99", "ms", took("alone", "p99"))]
        for kind in self.LARGE_BODY:
            out += [
                Figure(f"floor: others beside {kind}, p99", "ms", took(f"floor {kind}", "p99")),
                Figure(f"agent: others beside {kind}, p50", "ms", took(f"agent {kind}", "p50")),
                Figure(f"agent: others beside {kind}, p99", "ms", took(f"agent {kind}", "p99"),
                       ("most", 60)),
                Figure(f"floor: large ones meanwhile, {kind}", "/s", large(f"floor {kind}")),
                Figure(f"agent: large ones meanwhile, {kind}", "/s", large(f"agent {kind}"))]
        return out


class Waiting(Case):
    name = "waiting"
    title = "50 and 5,000 commands wait on a target that answers 2,000 a second"
    rounds, quick_rounds = 5, 1

    def round(self):
        count = self.count(6000, 1000)
        url = self.place.nginx.url("slow")
        return {str(waiting): self.relay(relays.agent, url=url, window=waiting, warm=warm,
                                         count=count)
                for waiting, warm in ((50, 200), (5000, 3000))}

    def figures(self, rounds):
        few, many = (Figure(f"CPU per finished command, {name} wait", "µs",
                            by_round(rounds, key, per_command("cpu_us")))
                     for key, name in (("50", "50"), ("5000", "5,000")))
        return [
            few, many, ratio("CPU with 5,000 that wait / with 50", many, few, ("most", 1.3)),
            Figure("finished, 50 wait", "/s", by_round(rounds, "50", per_second)),
            Figure("finished, 5,000 wait", "/s", by_round(rounds, "5000", per_second)),
        ]


class Size(Case):
    name = "size"
    is_quick = False
    title = "how the cost grows with the size of body and answer, V2"
    rounds, quick_rounds = 3, 1
    SIZES = ((KIB, 10, 64, 4000), (10 * KIB, 10, 64, 2000), (100 * KIB, 10, 32, 600),
             (700 * KIB, 4, 8, 100))

    def round(self):
        out = {}
        for size, batch, window, count in self.SIZES:
            count = self.count(count, count // 10)
            service = {"url": self.place.nginx.large_file(size), "body_bytes": size,
                       "batch": batch, "window": window, "warm": window, "count": count}
            out[f"floor {size}"] = self.relay(relays.floor, **service)
            out[f"agent {size}"] = self.relay(relays.agent, **service)
        return out

    def figures(self, rounds):
        def further(who):
            """From the smallest to 100 KiB, which still goes in one piece."""
            small, large = (by_round(rounds, f"{who} {size}", per_command("cpu_us"))
                            for size in (KIB, 100 * KIB))
            return [(b - a) / 99 for a, b in zip(small, large)]
        figures = [Figure("floor: CPU for each further KiB both ways", "µs", further("floor")),
                   Figure("agent: CPU for each further KiB both ways", "µs", further("agent"))]
        for size, *_ in self.SIZES:
            name = f"{size // KIB:,} KiB both ways"
            floor, agent = (Figure(f"{who}: CPU per command, {name}", "µs",
                                   by_round(rounds, f"{who} {size}", per_command("cpu_us")))
                            for who in ("floor", "agent"))
            figures += [floor, agent, ratio(f"agent / floor, CPU, {name}", agent, floor)]
        return figures


class Journal(Case):
    name = "journal"
    title = "the journal (JOURNAL_SYNC=full) and none (a build that can do without), 64 in flight"
    quick_rounds = 2
    needs = (["BENCH=1", "build/bench/relay-agent"],)

    def round(self):
        def agent(**settings):
            return lambda place, url: relays.agent(
                place, url, program=BUILD / "bench/relay-agent", **settings)
        none, normal, full = (agent(RELAY_BENCH_NO_JOURNAL=1), agent(JOURNAL_SYNC="normal"), agent())
        service = {"warm": 500, "count": self.count(20000, 2000)}
        return {
            **self.relay_in_turns({"none": none, "normal": normal, "full": full}, window=64,
                                  **service),
            **self.relay_in_turns({"none, 256 in flight": none, "full, 256 in flight": full},
                                  window=256, **service)}

    def figures(self, rounds):
        speed = {who: Figure(f"commands, journal {who}", "/s", by_round(rounds, who, per_second))
                 for who in rounds[0]}
        cpu = [Figure(f"CPU per command, journal {who}", "µs",
                      by_round(rounds, who, per_command("cpu_us"))) for who in rounds[0]]
        return [*speed.values(), *cpu,
                ratio("journal full / none, commands per second", speed["full"], speed["none"],
                      ("least", 0.7)),
                ratio("journal full / none, 256 in flight", speed["full, 256 in flight"],
                      speed["none, 256 in flight"])]


CASES = [Cpu, Latency, Calls, Beside, Waiting, Size, Journal]
