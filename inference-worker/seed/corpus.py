"""The corpus: shards of cases, each run and checked before it counts.

`python corpus.py --shards 20` writes work/shards/NNNN.jsonl of 20 000 cases each; shard N depends on
nothing but the seed and N.
"""

import argparse
import collections
import json
import os
import pathlib
import random

import cases
import trial

WORK = pathlib.Path(__file__).with_name("work")
SEED = 20_000


def shard(number, size=20_000):
    """The cases of one shard as (prompt, completion, family, marks), and how many were rejected."""
    rng = random.Random(f"bat-seed-{SEED}-{number}")
    # Three shards of the middle show what an absent slot is, on simple cases.
    if number >= 22:  # sentences over a whole object, the weakest family until then
        drawer = cases.Drawer(rng, simple=0.4, refusals=24, bare=18, confusable=0.3, sentences=22)
    elif number >= 17:  # the last ones dwell on what follows from a slot's kind
        drawer = cases.Drawer(rng, simple=0.4, refusals=22, bare=24, confusable=0.5)
    else:
        drawer = cases.Drawer(rng, simple=0.6, refusals=40) if number in (8, 9, 10) else cases.Drawer(rng, simple=0.3, refusals=22)
    rejected = collections.Counter()
    out = []
    while len(out) < size:
        case = drawer.draw()
        if case.refusal is None:
            good, why = trial.holds(case, case.source, rng, rounds=2)
            if not good:
                rejected[case.family + ": " + why[:60]] += 1
                continue
        out.append((cases.prompt(case), case.completion(), case.family, cases.marks(case)))
    return out, rejected


def write(number):
    """Write one shard, in one step."""
    made, rejected = shard(number)
    folder = WORK / "shards"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:04}.jsonl"
    part = path.with_suffix(f".{os.getpid()}.part")  # processes of one training may write the same shard
    with part.open("w") as file:
        for row in made:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    part.rename(path)
    return made, rejected


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--shards", type=int, default=1)
    asked = parser.parse_args()
    for number in range(asked.first, asked.first + asked.shards):
        made, rejected = write(number)
        print(number, dict(collections.Counter(family for _, _, family, _ in made)), "rejected", sum(rejected.values()), rejected.most_common(6), flush=True)
