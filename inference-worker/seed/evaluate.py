"""The evaluation: the model answers messages about held-out names, and what it wrote is run.

`python evaluate.py --each 20` draws 20 cases of every family with a random source that training does
not use; each answer is run with hidden random inputs and held to the case's effect. `--json FILE`
keeps the result. Decoding is greedy. A prompt whose right completion is the greedy one is found by one
pass over prompt and completion; every other is decoded token by token.
"""

import argparse
import ast
import collections
import json
import math
import os
import pathlib
import random
import signal

import safetensors.torch
import torch

import cases
import fixed
import names
import rules
import tokens
import trial
from model import Seed

FOLDER = pathlib.Path(os.environ.get("SEED_MODEL") or pathlib.Path(__file__).with_name("model"))
# Phrasings that stand nowhere in the corpus, with the rule's family they belong to.
UNSEEN = (
    "read:grab_{x} read:would_like_{x} read:hand_over_{x} read:which_{x} set:set_up_{x} set:put_new_{x} set:reassign_{x} set:let_{x}_become "
    "toggle:flip_over_{x} toggle:make_{x}_flip turn_on:power_on_{x} turn_off:power_off_{x} increase:add_up_to_{x} "
    "increase:augment_{x}_by increase:add_this_to_{x} increase:push_up_{x}_by decrease:take_off_{x} decrease:diminish_{x}_by decrease:subtract_this_from_{x} "
    "count_up:raise_{x}_by_one count_up:increase_{x}_once count_down:lower_{x}_by_one "
    "append:attach_{s} append:append_new_{s} append:register_{s} append:add_extra_{s} remove:strike_{s} remove:get_rid_of_{s} remove:dismiss_{s} "
    "clear:remove_every_{s} clear:throw_away_all_{x} length:tell_number_of_{x} length:what_is_the_number_of_{x} length:give_{x}_count "
    "first:show_me_the_first_{s} first:very_first_{s} last:very_last_{s} last:tell_last_{s} sum:sum_of_all_{x} sum:what_is_the_total_of_{x} sum:total_of_all_{x} "
    "largest:largest_of_all_{x} largest:the_highest_{s} largest:largest_number_in_{x} smallest:the_lowest_{s} smallest:smallest_of_all_{x} smallest:smallest_number_in_{x} "
    "average:average_of_all_{x} average:the_average_{s} sorted:{x}_sorted_list contains:holds_{s} contains:is_there_{s} "
    "reset:put_{x}_to_zero scale:{x}_doubled_up"
).split()


def unseen_case(drawer):
    """A case whose phrase is not in the corpus."""
    family, phrase = drawer.rng.choice(UNSEEN).split(":")
    assert rules.phrase_key(phrase) not in rules.ACCEPTED, phrase
    wanted = {"increase", "decrease", "append", "remove", "contains", "set"}
    for rule in rules.RULES:
        if rule.family == family and (family not in wanted or len(rule.arguments) == 1) and not ("double" in phrase and "2" not in rule.body) and rule.phrases:
            break
    kept, rule.phrases = rule.phrases, [phrase]
    kind = "bool" if family == "toggle" else drawer.rng.choice(rule.kinds)
    case = drawer.rule_case(rule, kind)
    rule.phrases = kept
    case.family = "unseen phrasing"
    return case


def draw(each, seed):
    """Up to `each` cases of every family, all with held-out names."""
    rng = random.Random(f"bat-hidden-{seed}")
    drawer = cases.Drawer(rng, held=True)
    out, counts, tries = [], collections.Counter(), 0
    while tries < each * 1500:
        tries += 1
        case = drawer.draw() if counts["unseen phrasing"] >= 2 * each or rng.random() < 0.7 else unseen_case(drawer)
        limit = each * (2 if case.family in ("unseen phrasing", "display", "bare", "describe") else 1)
        if counts[case.family] >= limit:
            continue
        new = [bool(fixed.strange(name)) for name in (case.targets or [n for n, _ in case.slots])]
        if new and not (all(new) if case.family not in ("pair", "describe", "display", "greet", "bare") and not case.refusal else any(new)):
            continue
        if case.refusal is None and not trial.holds(case, case.source, random.Random(tries))[0]:
            continue
        counts[case.family] += 1
        out.append(case)
    return out


def load(folder=FOLDER):
    """The kept model."""
    model = Seed()
    model.load_state_dict({k: v.float() for k, v in safetensors.torch.load_file(str(folder / "model.safetensors")).items()})
    return model.eval()


@torch.no_grad()
def decode(model, ids, most=160):
    """The greedy completion of a prompt's ids."""
    past, fed, out = [[] for _ in model.model.layers], torch.tensor([ids]), []
    while len(out) < most:
        token = int(model.lm_head(model.stream(fed, past)[0, -1]).argmax())
        out.append(token)
        if token == tokens.END:
            break
        fed = torch.tensor([[token]])
    return out


@torch.no_grad()
def complete(model, tokenizer, drawn):
    """The greedy completions of many cases: (text, whether it is the canonical one)."""
    made = [None] * len(drawn)
    rows = []
    for number, case in enumerate(drawn):
        start = tokenizer.encode(cases.prompt(case)).ids
        rows.append((number, start, tokenizer.encode(case.completion()).ids))
    rows.sort(key=lambda row: len(row[1]) + len(row[2]))
    for first in range(0, len(rows), 16):
        group = rows[first:first + 16]
        T = max(len(p) + len(c) for _, p, c in group)
        ids = torch.tensor([p + c + [tokens.PAD] * (T - len(p) - len(c)) for _, p, c in group])
        best = model.lm_head(model.stream(ids)).argmax(-1)
        for (number, p, c), row in zip(group, best):
            right = row[len(p) - 1:len(p) + len(c) - 1].tolist() == c
            made[number] = (drawn[number].completion(), True) if right else (tokenizer.decode(decode(model, p), skip_special_tokens=False), False)
    return made


def judge(case, text):
    """Whether a completion is right, and why not."""
    if not text.endswith(cases.END):
        return False, "no end"
    text = text.removesuffix(cases.END)
    refused = text.startswith(cases.REFUSE)
    if case.refusal is not None:
        return (True, "") if refused else (False, "answered instead of refusing")
    if refused:
        return False, "refused"
    signal.alarm(2)
    try:
        return trial.holds(case, text, random.Random(case.selector), rounds=12)
    except BaseException as error:  # the alarm and whatever else a wrong method causes
        return False, type(error).__name__
    finally:
        signal.alarm(0)


def plausible(case, text):
    """Whether a check without running would let the text through: Python, the right name and number of
    parameters, and no slot but those of the prompt."""
    try:
        (made,) = ast.parse(text.removesuffix(cases.END)).body
        slots = {name for name, _ in case.slots} | {"_p_changed", "object_id", "slot_names"}
        touched = {node.attr for node in ast.walk(made) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"}
        return made.name == case.selector and len(made.args.args) == len(case.arguments) + 1 and touched <= slots
    except (SyntaxError, ValueError, AttributeError):
        return False


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
    parser.add_argument("--seed", default="1")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--failures", type=int, default=0, help="how many failures to print")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    signal.signal(signal.SIGALRM, alarmed)
    model, tokenizer = load(), tokens.load()
    drawn = draw(asked.each, asked.seed)
    table, failures = {}, []
    for case, (text, exact) in zip(drawn, complete(model, tokenizer, drawn)):
        good, why = judge(case, text)
        row = table.setdefault(case.family, {"n": 0, "pass": 0, "exact": 0, "plausible": 0})
        row["n"] += 1
        row["pass"] += good
        row["exact"] += exact
        row["plausible"] += not good and plausible(case, text)
        if not good:
            failures.append({"family": case.family, "prompt": cases.prompt(case), "wanted": case.completion(), "got": text, "why": why})
    answerable = [r for f, r in table.items() if not f.startswith("refuse") and f != "unseen phrasing"]
    refusals = [r for f, r in table.items() if f.startswith("refuse")]
    for name, group in (("ALL ANSWERABLE", answerable), ("ALL REFUSALS", refusals)):
        table[name] = {key: sum(row[key] for row in group) for key in ("n", "pass", "exact", "plausible")}
    print(f"{'family':<18}{'n':>5}{'pass':>6}  {'share':>6}  95 % interval   exact  wrong and plausible")
    for family, row in sorted(table.items(), key=lambda item: (item[0].isupper(), item[0])):
        row["low"], row["high"] = (round(v, 4) for v in wilson(row["pass"], row["n"]))
        print(f"{family:<18}{row['n']:>5}{row['pass']:>6}  {row['pass'] / max(1, row['n']):6.1%}  {row['low']:.3f} - {row['high']:.3f}  {row['exact']:>5}  {row['plausible']:>5}")
    for failure in failures[:asked.failures]:
        print("-----", failure["family"], "|", failure["why"], "\n" + failure["prompt"].split("<|slots|>")[1] + "\nWANTED " + failure["wanted"] + "\nGOT " + failure["got"])
    if asked.json:
        asked.json.write_text(json.dumps({"seed": asked.seed, "each": asked.each, "model": json.loads((FOLDER / "model.json").read_text()),
                                          "wrongly refused": sum(f["why"] == "refused" for f in failures), "families": table, "failures": failures}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
