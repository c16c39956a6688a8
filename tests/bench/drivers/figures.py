"""Figures, their goals, and how they are written down."""

import statistics


class Figure:
    """One row: a value for each round, and what it should be.

    goal is (sense, value): "most" or "least". What counts is the median, or with best=True
    the best round. A ratio is what --check looks at, because it does not depend on how fast
    the machine is at the moment."""

    def __init__(self, name, unit, values, goal=None, is_ratio=False, best=False):
        self.name, self.unit = name, unit
        self.values = [float(value) for value in values]
        self.goal, self.is_ratio, self.use_best = goal, is_ratio, best
        self.of_bests = None
        self.is_excused = False  # says more about this machine than about the program

    @property
    def is_least(self):
        """Whether more is better."""
        return self.goal[0] == "least" if self.goal else self.unit == "/s"

    @property
    def best(self):
        if self.of_bests is not None:
            return self.of_bests
        return max(self.values) if self.is_least else min(self.values)

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def spread(self):
        """From the lowest to the highest, in parts of the median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0

    @property
    def counts(self):
        return self.best if self.use_best else self.median

    def holds(self):
        return self.goal is None or self.reaches(self.counts, self.goal[1])

    def reaches(self, value, wanted):
        return value >= wanted if self.is_least else value <= wanted

    def passes_check(self):
        """Not worse than twice the goal, by the median or by the best: other work on a machine
        only ever makes a ratio worse."""
        if self.goal is None or not self.is_ratio or self.is_excused:
            return True
        twice = self.goal[1] / 2 if self.is_least else self.goal[1] * 2
        return self.reaches(self.median, twice) or self.reaches(self.best, twice)

    def verdict(self):
        if self.goal is None:
            return ""
        return "ok" if self.holds() else "MISSED"

    def goal_text(self):
        if self.goal is None:
            return ""
        sense, value = self.goal
        return f"{'≥' if sense == 'least' else '≤'} {number(value)}"

    def json(self):
        return {"name": self.name, "unit": self.unit, "best": self.best, "median": self.median,
                "spread": round(self.spread, 4), "rounds": self.values, "goal": self.goal,
                "is_ratio": self.is_ratio, "counts": self.counts, "holds": self.holds(),
                "is_checked": self.is_ratio and self.goal is not None,
                "passes_check": self.passes_check(), "cells": cells(self)}


def number(value):
    """Three digits that matter, thousands with a comma."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if value == int(value):
        return f"{value:.0f}"
    return f"{value:.3g}"


HEADINGS = ("what", "unit", "best", "median", "spread", "goal", "")


def cells(figure):
    spread = f"{figure.spread * 100:.0f} %" if len(figure.values) > 1 else ""
    return (figure.name, figure.unit, number(figure.best), number(figure.median), spread,
            figure.goal_text(), figure.verdict())


def table(figures):
    rows = [HEADINGS, *(cells(figure) for figure in figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    return "\n".join("  ".join(
        cell.ljust(width) if i in (0, 1, 5, 6) else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows)


def by_round(rounds, who, value):
    """value(figures of that contestant) for each round."""
    return [value(one[who]) for one in rounds]


def per_command(key):
    return lambda figures: figures[key] / figures["commands"]


def per_second(figures):
    return figures["commands"] / (figures["us"] / 1e6)


def ratio(name, over, under, goal=None):
    """over / under of the same rounds; its best is that of the two best ones, since a low ratio
    may as well come from a round in which the other one was disturbed."""
    figure = Figure(name, "", [a / b for a, b in zip(over.values, under.values)], goal,
                    is_ratio=True)
    figure.of_bests = over.best / under.best
    return figure
