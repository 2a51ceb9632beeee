"""What a model wrote to wishes of scenarios that it had not seen, and what was wrong: its own mistakes, for it to learn to correct.

`python attempts.py FILE …` asks the kept model for methods to the wishes of scenarios, and keeps those that fail an example in
written/attempts.jsonl, under the slots' own names: {"wish": hash of the wish, "attempts": [lines of a method, …]}.
"""

import argparse
import collections
import functools
import hashlib
import json
import pathlib
import random
import signal

import scenario as scenarios

FILE = scenarios.FOLDER / "attempts.jsonl"


def key(wish):
    """How a wish is called in the file."""
    return hashlib.sha256(wish.encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=1)
def load():
    """The failed attempts at each wish."""
    if not FILE.exists():
        return {}
    found = {}
    for row in map(json.loads, FILE.read_text().splitlines()):
        found.setdefault(row["wish"], []).extend(row["attempts"])
    return found


@functools.lru_cache(maxsize=2)
def attempted(held_out):
    """The scenarios of one side of the split with failed attempts, each with the wish that they failed at."""
    return [(scenario, wish) for scenario in scenarios.load(held_out) for wish in scenario.wishes if key(wish) in load()]


def failed(evaluate, tokenizer, model, drawer, scenario, wish, count, generator):
    """The bodies that a model writes to a wish and that fail an example, the most frequent first."""
    import wishes

    for _ in range(20):
        try:
            case = drawer.scenario_case(scenario, wish)
            break
        except (LookupError, NameError, wishes.Rejected):
            continue
    else:
        return []
    shown = evaluate.runs(case, [state for state, _ in case.shown], [asked for _, asked in case.shown])
    written = collections.Counter(tokenizer.decode(ids, skip_special_tokens=False) for ids in evaluate.decode(model, tokenizer.encode(case.prompt()).ids, count, 1.0, generator=generator, most=120))
    out = []
    for text, _ in written.most_common():
        source = text.removesuffix(evaluate.END)
        why = evaluate.judged(shown, text)
        if text.startswith(evaluate.REFUSE) or not text.endswith(evaluate.END) or why in ("", "TimeoutError", "RecursionError", "TypeError"):
            continue
        try:
            wishes.compiled(source, case.selector)
        except Exception:  # whatever is no method of that name
            continue
        out.append([line[4:] for line in source.rstrip("\n").split("\n")[1:]])
    return out[:6]


def main():
    """Asks the model and keeps what failed."""
    import evaluate
    import written
    from wishes import Drawer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    parser.add_argument("--each", type=int, default=8, help="answers to each wish")
    parser.add_argument("--wishes", type=int, default=2, help="wishes of each scenario")
    parser.add_argument("--into", type=pathlib.Path, default=FILE)
    asked = parser.parse_args()
    signal.signal(signal.SIGALRM, evaluate.alarmed)
    written.RENAMED = 0.0
    evaluate.torch.set_num_threads(1)
    generator = evaluate.torch.Generator().manual_seed(1)
    model, tokenizer, drawer = evaluate.load(), evaluate.tokens.load(), Drawer(random.Random("attempts"))
    with asked.into.open("a") as out:
        for path in asked.files:
            for _, scenario in scenarios.read(path)[0]:
                for wish in scenario.wishes[:asked.wishes]:
                    made = failed(evaluate, tokenizer, model, drawer, scenario, wish, asked.each, generator)
                    if made:
                        out.write(json.dumps({"wish": key(wish), "attempts": made}, ensure_ascii=False) + "\n")
                        out.flush()


if __name__ == "__main__":
    main()
