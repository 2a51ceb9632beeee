"""Figures that count on a machine where others write too.

A disk that somebody else keeps busy takes many times as long for the same sync, and changes its mood within a second. So the
sides work by turns, shortly, the floor (one fdatasync for each overwrite of a few bytes) is measured before and after each
turn, and only turns count around which it was not slow.
"""

import time
from statistics import median, quantiles

# Fewer quiet turns of a side than this decide nothing.
ENOUGH = 5
PATIENCE = 3
SYNCS = 40
# About what the record of one rewritten object takes in the log.
SYNCED_BYTES = 400


class Quiet:
    """Figures of quiet turns: one list a side, in the order of the sides."""

    def __init__(self, taken):
        floors = [floor for round_floors, _ in taken for floor in round_floors]
        bound = quantiles(floors, n=10)[-1] / 2
        every = list(zip(*(figures for _, figures in taken), strict=True))
        quiet = [
            [figures[side] for floors, figures in taken if min(floors[side], floors[side + 1]) >= bound]
            for side in range(len(every))
        ]
        self.count = min(len(side) for side in quiet)
        self.is_enough = self.count >= ENOUGH
        self.sides = quiet if self.is_enough else every
        self.floor = median(floor for floor in floors if floor >= bound or not self.is_enough)
        self.note = f"the disk ({self.floor:,.0f} syncs/s) was quiet around {self.count} of {len(taken)} turns"
        if not self.is_enough:
            self.note += ", so all count"


def quiet_rounds(works, sides, wanted, seconds):
    """Lets `sides` (calls that answer a figure) work by turns until `wanted` turns of each were quiet or the time is over.

    It takes up to PATIENCE times as long while the quiet turns are not enough. `works` is our bench program, which measures
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
