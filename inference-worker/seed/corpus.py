"""The corpus: shards of cases, each run and checked before it counts.

`python corpus.py --shards 20` writes work2/shards/NNNN.jsonl of 20 000 cases each; shard N depends on nothing but the seed and N.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import time

import attempts
import cases
import flaws
import refusals
import trial
import wishes

WORK = pathlib.Path(__file__).with_name("work2")
SEED = 23_000
SIZE = 20_000
# Of a hundred cases so many are messages without a wish, refusals of a wish, corrections; the others are methods with a wish.
# The model knows these three nearly by heart; still, with 6 and 5 of the first two, fourteen million tokens made it forget four of eighteen refusals.
PLAIN, REFUSED, CORRECTED = 12, 9, 7
# Of methods and refusals with a wish so many show their words alone, as every other question of a thought does (docs/wishes.md): without examples, which are a
# third of all tokens and tell less than the words.
WORDS_ALONE = 0.35
# Of the corrections so many are of what a model wrote to a wish, and not of what was made wrong.
MISREAD = 0.6


def plain_case(drawer, rng):
    """A message without a wish, as (prompt, completion, family, marks)."""
    case = drawer.draw()
    if case.refusal is None:
        good, why = trial.holds(case, case.source, rng, rounds=2)
        if not good:
            raise wishes.Rejected(case.family + ": " + why[:60])
    prompt = cases.prompt(case)
    wishes.permit(prompt.split("<|receiver|>")[1] + case.completion())
    return prompt, case.completion(), case.family, cases.marks(case)


def wish_case(drawer, rng, chance):
    """A message with a wish, as (prompt, completion, family, marks)."""
    if chance < REFUSED:
        case = refusals.refusal(drawer)
        wishes.permit(case.prompt().split("<|receiver|>")[1] + case.completion())
    elif chance < REFUSED + CORRECTED:
        misread = attempts.attempted(drawer.held) if rng.random() < MISREAD else []
        case = flaws.correction(rng, drawer.scenario_case(*rng.choice(misread)) if misread else drawer.attempt())
        wishes.permit(case.attempt, case.attempt)
    else:
        case = drawer.attempt()
    if case.attempt is None and case.refusal != refusals.CONTRADICTION and rng.random() < WORDS_ALONE:
        case.examples = []
    return case.prompt(), case.completion(), case.family, wishes.marks(case)


def shard(number, size=SIZE):
    """The cases of one shard as (prompt, completion, family, marks), and how many were rejected."""
    rng = random.Random(f"bat-seed-{SEED}-{number}")
    plain = cases.Drawer(rng, simple=0.4, refusals=20, bare=20, confusable=0.4, sentences=14)
    drawer = wishes.Drawer(rng)
    rejected = collections.Counter()
    out = []
    while len(out) < size:
        chance = rng.random() * 100
        while True:  # what a kind of case loses by rejection is made up for by others of its kind
            try:
                out.append(plain_case(plain, rng) if chance < PLAIN else wish_case(drawer, rng, chance - PLAIN))
                break
            except (wishes.Rejected, wishes.Disagrees, LookupError) as error:
                rejected[str(error)[:60]] += 1
    return out, rejected


def shard_path(number):
    """Where a shard lies."""
    return WORK / "shards" / f"{number:04}.jsonl"


def ready(number):
    """The path of a shard, which is written when it is not there."""
    path = shard_path(number)
    if not path.exists():
        write(number)
    return path


def write(number):
    """Write one shard, in one step."""
    made, rejected = shard(number)
    path = shard_path(number)
    path.parent.mkdir(parents=True, exist_ok=True)
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
        start = time.time()
        made, rejected = write(number)
        print(number, f"{len(made) / (time.time() - start):.0f} a second", dict(collections.Counter(family for _, _, family, _ in made)), "rejected", sum(rejected.values()), rejected.most_common(6), flush=True)
