"""Renews the tables of docs/performance.md from the last run's figures."""

import json

from drivers.processes import ROOT, Failure

DOCUMENT = ROOT / "docs/performance.md"
BEGIN, END = "<!-- begin: scripts/bench --markdown -->", "<!-- end -->"


def rows(heads, lines):
    out = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    return "\n".join(out + ["| " + " | ".join(line) + " |" for line in lines])


def with_unit(value, unit):
    return f"{value} {unit}".strip()


def goal_row(case, figure):
    name, unit, best, median, spread, goal, verdict = figure["cells"]
    counts = best if figure["counts"] == figure["best"] != figure["median"] else median
    return (case, name.strip(), with_unit(goal, unit), with_unit(counts, unit), spread,
            "" if verdict == "ok" else "**missed**")


def goals(report):
    lines = [goal_row(name, figure) for name, case in report["cases"].items()
             for figure in case["figures"] if figure["goal"]]
    return rows(("case", "what", "goal", "measured", "spread", ""), lines)


def case_table(case):
    lines = [(name.strip(), with_unit(median, unit), with_unit(best, unit), spread)
             for name, unit, best, median, spread, *_ in
             (figure["cells"] for figure in case["figures"])]
    return rows(("", "median", "best", "spread"), lines)


def refresh(report_file):
    """Writes the part of the document between the marks; what it was written into."""
    try:
        report = json.loads(report_file.read_text())
        text = DOCUMENT.read_text()
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}; run scripts/bench first")
    if BEGIN not in text or END not in text:
        raise Failure(f"{DOCUMENT.name} has no place for the tables ({BEGIN} … {END})")
    machine = report["machine"]
    parts = [
        "Measured on {cores} cores ({cpu}) with {memory_gb} GB, Linux {kernel}, {filesystem}. Each "
        "table says which load other work made before its run, and how long a write of 4 KiB with "
        "its sync took.".format(**machine),
        "### Goals", goals(report),
        "### Everything that was measured"]
    for name, case in report["cases"].items():
        quick = "; `--quick`: small counts" if case["quick"] else ""
        around = f"load {case['load']}, sync {case['sync_ms']} ms{quick}"
        parts += [f"**{name}**: {case['title']} ({case['together']}; {around}).",
                  case_table(case)]
    head, rest = text.split(BEGIN, 1)
    tail = rest.split(END, 1)[1]
    DOCUMENT.write_text(head + BEGIN + "\n\n" + "\n\n".join(parts) + "\n\n" + END + tail)
    return DOCUMENT.relative_to(ROOT)
