"""Rounds that count on a machine where others write too.

A disk that somebody else keeps busy takes many times as long for the same sync, and changes its mood within a second. So the
sides work by turns in short rounds, the floor (one fdatasync for each overwrite of a few bytes) is measured before and after
each of them, and only rounds count in which it was never slow.
"""

import time
from statistics import median, quantiles

# Fewer quiet rounds than this decide nothing.
ENOUGH = 5
PATIENCE = 3
SYNCS = 40
# About what the record of one rewritten object takes in the log.
SYNCED_BYTES = 400


class Quiet:
    """Figures of quiet rounds: one list a side, in the order of the sides."""

    def __init__(self, taken):
        floors = [floor for round_floors, _ in taken for floor in round_floors]
        usual = quantiles(floors, n=10)[-1]
        quiet = [figures for round_floors, figures in taken if min(round_floors) >= usual / 2]
        self.is_enough = len(quiet) >= ENOUGH
        self.count = len(quiet)
        counted = quiet if self.is_enough else [figures for _, figures in taken]
        self.sides = list(zip(*counted, strict=True))
        self.floor = median(floor for floor in floors if floor >= usual / 2 or not self.is_enough)
        self.note = f"the disk ({self.floor:,.0f} syncs/s) was quiet in {len(quiet)} of {len(taken)} rounds"
        if not self.is_enough:
            self.note += ", so all count"


def quiet_rounds(works, sides, wanted, seconds):
    """Lets `sides` (calls that answer a figure) work by turns until `wanted` rounds were quiet or the time is over.

    It takes up to PATIENCE times as long while the quiet rounds are not enough. `works` is our bench program, which measures
    the floor.
    """
    taken = []
    begun = time.monotonic()
    while True:
        floors, figures = [floor(works)], []
        for side in sides:
            figures.append(side())
            floors.append(floor(works))
        taken.append((floors, figures))
        quiet = Quiet(taken)
        allowed = seconds if quiet.is_enough else PATIENCE * seconds
        if quiet.count >= wanted or time.monotonic() - begun >= allowed:
            return quiet


def floor(works):
    """Syncs a second."""
    figures = works.do("floor", SYNCS, SYNCED_BYTES)
    return figures["count"] / figures["seconds"]
