"""Measures; see scripts/bench --help."""

import argparse
import json
import signal
import subprocess
import sys
import time

from drivers import cases_life, cases_service, cases_speed, document
from drivers.figures import table
from drivers.place import Place
from drivers.processes import BUILD, ROOT, Failure

REPORT = BUILD / "bench.json"
SLOW_SYNC_MS = 0.5  # five times what the goals were set with
CASES = [*cases_speed.CASES, *cases_life.CASES, *cases_service.CASES]


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Builds release binaries, measures the agent beside "
        "`limit` and `floor`, prints a table and writes build/bench.json.")
    parser.add_argument("--quick", action="store_true", help="smaller counts, under a minute")
    parser.add_argument("--only", action="append", default=[], metavar="CASE",
                        help="this case (repeatable; --list names them)")
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison (default: 5)")
    parser.add_argument("--soak", type=int, metavar="COUNT",
                        help="commands of the long run (default: 20,000; the goal: 1,000,000)")
    parser.add_argument("--check", action="store_true",
                        help="exit 1 when a ratio is worse than twice its goal")
    parser.add_argument("--keep", action="store_true",
                        help="other cases keep their last figures in build/bench.json")
    parser.add_argument("--markdown", action="store_true",
                        help="measure nothing: renew the tables of docs/performance.md from the "
                        "last run's build/bench.json")
    parser.add_argument("--list", action="store_true", help="name the cases")
    options = parser.parse_args()
    known = {case.name for case in CASES}
    unknown = sorted(set(options.only) - known)
    if unknown or options.rounds < 1:
        parser.error(f"no such case: {', '.join(unknown)} (--list names them; one for each --only)"
                     if unknown else "--rounds is too small")
    return options


def build(cases):
    """Its messages go to standard error: the table alone is standard output."""
    for words in [["bench"], *(words for case in cases for words in case.needs)]:
        done = subprocess.run(["make", "-s", "-j2", *words], cwd=ROOT, check=False,
                              stdout=sys.stderr)
        if done.returncode != 0:
            raise Failure("the build failed")


def measure(place, case):
    rounds = min(place.options.rounds, case.rounds or place.options.rounds)
    if place.quick:
        rounds = min(rounds, case.quick_rounds or rounds)
    print(f"\n== {case.name}: {case.title}\n   ({case.together})", flush=True)
    started = time.monotonic()
    done = []
    for _ in range(rounds):
        done.append(case.round())
        print(".", end="", flush=True, file=sys.stderr)
    print(file=sys.stderr)
    figures = case.figures(done)
    print(table(figures))
    print(f"   {len(done)} rounds, {time.monotonic() - started:.0f} s", flush=True)
    return figures


def measure_all(place, chosen):
    results, failures = {}, []
    for case in chosen:
        try:
            results[case.name] = measure(place, case(place))
        except Failure as failure:
            failures.append(f"{case.name}: {failure}")
            print(f"   FAILED: {failure}", flush=True)
    return results, failures


def excuse(machine, results):
    """The agent waits for the disk and `floor` does not: where a sync is slow, the ratio of their
    throughputs is the disk's figure."""
    if machine["sync_ms"] <= SLOW_SYNC_MS:
        return
    for figures in results.values():
        for figure in figures:
            if figure.is_ratio and figure.is_least and figure.goal:
                figure.is_excused = True
                print(f"not checked, because a sync takes {machine['sync_ms']} ms: {figure.name}")


def write_report(options, machine, results, failures):
    cases = {}
    if options.keep and REPORT.exists():
        cases = json.loads(REPORT.read_text())["cases"]
    for case in CASES:
        if case.name in results:
            cases[case.name] = {"title": case.title, "together": case.together,
                                "quick": options.quick, "load": machine["load"],
                                "sync_ms": machine["sync_ms"],
                                "figures": [figure.json() for figure in results[case.name]]}
    report = {"machine": machine, "failures": failures,
              "cases": {case.name: cases[case.name] for case in CASES if case.name in cases}}
    REPORT.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


def check(results):
    """Only ratios, and only by twice their goal: the machine's speed changes by that much."""
    bad = [figure for figures in results.values() for figure in figures
           if not figure.passes_check()]
    for figure in bad:
        print(f"worse than twice its goal: {figure.name}")
    return bad


def main():
    options = parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops what it started, as Ctrl-C
    if options.list:
        for case in CASES:
            print(f"{case.name:10} {case.title}{'' if case.is_quick else ' (not in --quick)'}")
        return 0
    if options.markdown:
        print(f"written from {REPORT.name}: {document.refresh(REPORT)}")
        return 0
    started = time.monotonic()
    chosen = [case for case in CASES if case.name in options.only or
              (not options.only and (case.is_quick or not options.quick))]
    build(chosen)
    place = Place(options)
    try:
        machine = place.machine()
        print("{cores} cores ({cpu}), Linux {kernel}, {filesystem}; a write of 4 KiB and its sync "
              "take {sync_ms} ms; load before: {load}".format(**machine), flush=True)
        results, failures = measure_all(place, chosen)
    finally:
        place.close()
    excuse(machine, results)
    write_report(options, machine, results, failures)
    bad = check(results)
    print(f"\n{time.monotonic() - started:.0f} s; figures: build/bench.json")
    return 1 if failures or (options.check and bad) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failed:
        sys.exit(f"scripts/bench: {failed}")
    except KeyboardInterrupt:
        sys.exit("scripts/bench: interrupted")
