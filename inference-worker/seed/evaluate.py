"""The evaluation: the model answers messages with names, phrasings and compositions that training never holds, and what it wrote is run.

`python evaluate.py --each 8` draws so many cases of every family with a random source that training does not use. A method is right
when it does on twelve states that no example shows what the case's effect does. `greedy` is the first answer; `best` is the first of it
and of `--samples` more, drawn at temperature 0.8, that passes the examples of the prompt, as the kernel chooses; `wrong` counts those
chosen that are wrong all the same. `--json FILE` keeps the result.
"""

import argparse
import collections
import json
import math
import pathlib
import random
import signal

import safetensors.torch
import torch

import cases
import fixed
import flaws
import refusals
import tokens
import trial
import wishes
from model import Seed, config_of
from tokens import FOLDER

END, REFUSE = "<|end|>", "<|refuse|>"
FAMILIES = ("num", "truth", "text", "list", "filter", "map", "date", "objects", "delegation", "change", "guarded", "either", "steps 2", "steps 3", "slot", "written")


class Asked:
    """One case of the evaluation: its prompt, the right answer, and how an answer is judged."""

    def __init__(self, family, prompt, completion, refused, shown, hidden):
        self.family, self.prompt, self.completion, self.refused = family, prompt, completion, refused
        self.shown, self.hidden = shown, hidden  # source -> why it fails; empty when it passes


def runs(case, states, wanted):
    """A check of a source on states."""
    def check(source):
        try:
            function = wishes.compiled(source, case.selector)
        except Exception as error:  # whatever is no method of that name
            return type(error).__name__
        for state, asked in zip(states, wanted):
            why = wishes.difference(wishes.Outcome(function, state), asked, state.told())
            if why:
                return why
        return ""
    return check


def wish(drawer, family, make=None, flawed=False):
    """A case with a wish."""
    while True:
        try:
            case = drawer.attempt(make)
            if drawer.held and not fixed.is_new(case):
                continue
            states = [drawer.world.draw() for _ in range(12)]
            wanted = [drawer.wanted(case.method, state) for state in states]
            if flawed:
                case = flaws.correction(drawer.rng, case)
            break
        except (LookupError, wishes.Rejected, wishes.Disagrees):
            continue
    shown = runs(case, [state for state, _ in case.shown], [asked for _, asked in case.shown])
    return Asked(family or case.family, case.prompt(), case.completion(), False, shown, runs(case, states, wanted))


def refused(drawer):
    """A case that is to be refused."""
    while True:
        try:
            case = refusals.refusal(drawer)
            return Asked("refuse", case.prompt(), case.completion(), True, lambda source: "", lambda source: "")
        except (LookupError, wishes.Rejected, wishes.Disagrees):
            continue


def plain(drawer, number):
    """A message without a wish, of held-out names."""
    while True:
        case = drawer.draw()
        new = [bool(fixed.strange(name)) for name in (case.targets or [n for n, _ in case.slots])]
        if case.refusal is None and new and any(new) and trial.holds(case, case.source, random.Random(number))[0]:
            check = lambda source: "" if trial.holds(case, source, random.Random(number), rounds=12)[0] else "another effect"
            return Asked("without a wish", cases.prompt(case), case.completion(), False, lambda source: "", check)
        if case.refusal is not None and case.family != "refuse_absent":
            return Asked("refuse without a wish", cases.prompt(case), case.completion(), True, lambda source: "", lambda source: "")


def draw(each, seed, written=0, trained=False):
    """The cases of the evaluation; with `written`, so many scenarios alone, and with `trained` those that the training draws of."""
    rng = random.Random(f"bat-hidden-{seed}")
    held = wishes.Drawer(rng, held=not trained)
    if written:
        return [wish(held, None, "written") for _ in range(written)]
    out, counts = [], collections.Counter()
    while sum(counts[name] < each for name in FAMILIES):
        case = wish(held, None)
        if counts[case.family] < each:
            counts[case.family] += 1
            out.append(case)
    unseen, composed = wishes.Drawer(rng, held=True, unseen=True), wishes.Drawer(rng, held=True, composed=True)
    old = cases.Drawer(rng, held=True)
    for number in range(2 * each):
        out += [wish(unseen, "unseen phrasing"), wish(composed, "unseen composition", rng.choice(("two", "guarded", "reading"))), wish(held, "correct", None, True), refused(held), plain(old, number)]
    return out


def load(folder=FOLDER):
    """The kept model."""
    model = Seed(config_of(folder))
    model.load_state_dict({k: v.float() for k, v in safetensors.torch.load_file(str(folder / "model.safetensors")).items()})
    return model.eval()


@torch.no_grad()
def decode(model, ids, count=1, temperature=0.0, most=160, generator=None):
    """Completions of a prompt's ids: greedy at temperature 0, else `count` samples."""
    past = [[] for _ in model.model.layers]
    scores = model.lm_head(model.stream(torch.tensor([ids]), past)[0, -1]).expand(count, -1)
    for held in past:
        held[:] = [part.expand(count, -1, -1, -1) for part in held]
    out, done = [[] for _ in range(count)], [False] * count
    for _ in range(most):
        chosen = scores.argmax(-1) if temperature == 0 else torch.multinomial(torch.softmax(scores / temperature, -1), 1, generator=generator)[:, 0]
        for number, token in enumerate(chosen.tolist()):
            if not done[number]:
                out[number].append(token)
                done[number] = token == tokens.END
        if all(done) or len(ids) + len(out[0]) > 1000:
            break
        scores = model.lm_head(model.stream(chosen[:, None], past)[:, -1])
    return out


@torch.no_grad()
def greedy(model, tokenizer, drawn):
    """The greedy completions of many cases. One whose right completion is the greedy one is found by one pass over both."""
    made = [None] * len(drawn)
    rows = sorted(((number, tokenizer.encode(case.prompt).ids, tokenizer.encode(case.completion).ids) for number, case in enumerate(drawn)), key=lambda row: len(row[1]) + len(row[2]))
    for first in range(0, len(rows), 16):
        group = rows[first:first + 16]
        T = max(len(p) + len(c) for _, p, c in group)
        best = model.lm_head(model.stream(torch.tensor([p + c + [tokens.PAD] * (T - len(p) - len(c)) for _, p, c in group]))).argmax(-1)
        for (number, p, c), row in zip(group, best):
            right = row[len(p) - 1:len(p) + len(c) - 1].tolist() == c
            made[number] = drawn[number].completion if right else tokenizer.decode(decode(model, p)[0], skip_special_tokens=False)
    return made


def judged(check, text):
    """Why a completion fails a check; empty when it passes."""
    if not text.endswith(END):
        return "no end"
    if text.startswith(REFUSE):
        return "refused"
    signal.alarm(2)
    try:
        return check(text.removesuffix(END))
    except BaseException as error:  # the alarm and whatever else a wrong method causes
        return type(error).__name__
    finally:
        signal.alarm(0)


def wilson(good, n, z=1.96):
    """The Wilson interval of a share, 95 %."""
    if n == 0:
        return 0.0, 1.0
    p, d = good / n, 1 + z * z / n
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / d
    centre = (p + z * z / (2 * n)) / d
    return max(0.0, centre - half), min(1.0, centre + half)


def alarmed(*_):
    """Stop a method that runs too long."""
    raise TimeoutError("too long")


def main():
    """Draw, complete, judge, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--each", type=int, default=8)
    parser.add_argument("--written", type=int, default=0, metavar="N", help="N cases of scenarios alone: what tells most of two models")
    parser.add_argument("--trained", action="store_true", help="with --written: of the scenarios that training holds; as few right as of the others means that more training is missing, and not more scenarios")
    parser.add_argument("--samples", type=int, default=8, help="answers drawn when the greedy one fails an example; 0: none")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--failures", type=int, default=0, help="how many failures to print")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    if asked.trained and not asked.written:
        parser.error("--trained goes with --written")
    torch.set_num_threads(asked.threads)
    signal.signal(signal.SIGALRM, alarmed)
    model, tokenizer = load(), tokens.load()
    generator = torch.Generator().manual_seed(1)
    table, failures = {}, []
    drawn = draw(asked.each, asked.seed, asked.written, asked.trained)
    for case, text in zip(drawn, greedy(model, tokenizer, drawn)):
        row = table.setdefault(case.family, {"n": 0, "greedy": 0, "best": 0, "wrong": 0})
        row["n"] += 1
        if case.refused:
            good = text.startswith(REFUSE)
            row["greedy"] += good
            row["best"] += good
            continue
        row["greedy"] += not judged(case.hidden, text)
        chosen = text if not judged(case.shown, text) else None
        if chosen is None and asked.samples:
            some = decode(model, tokenizer.encode(case.prompt).ids, asked.samples, 0.8, generator=generator)
            texts = dict.fromkeys(tokenizer.decode(ids, skip_special_tokens=False) for ids in some)
            chosen = next((text for text in texts if not judged(case.shown, text)), None)
        why = judged(case.hidden, chosen) if chosen else judged(case.hidden, text)
        row["best"] += chosen is not None and not why
        row["wrong"] += chosen is not None and bool(why)
        if why:
            failures.append({"family": case.family, "prompt": case.prompt, "wanted": case.completion, "got": chosen or text, "why": why})
    for family, row in sorted(table.items()):
        low, high = wilson(row["best"], row["n"])
        print(f"{family:22} n {row['n']:4}  greedy {row['greedy'] / row['n']:6.1%}  best {row['best'] / row['n']:6.1%}  ({low:.0%} to {high:.0%})  wrong {row['wrong'] / row['n']:6.1%}")
    doable = [row for family, row in table.items() if "refuse" not in family]
    n = sum(row["n"] for row in doable)
    print(f"{'all that can be done':22} n {n:4}  greedy {sum(row['greedy'] for row in doable) / n:6.1%}  best {sum(row['best'] for row in doable) / n:6.1%}  wrong {sum(row['wrong'] for row in doable) / n:6.1%}")
    for failure in failures[:asked.failures]:
        print("---", failure["family"], failure["why"], failure["prompt"].split("<|receiver|>")[1], "wanted:", failure["wanted"], "got:", failure["got"], sep="\n")
    if asked.json:
        told = {key: json.loads((FOLDER / "model.json").read_text()).get(key) for key in ("step", "tokens", "examples", "seconds")}
        asked.json.write_text(json.dumps({"model": told, "table": table, "failures": failures[:200]}, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
