"""Whether a second order of slots tells a guess: the kept model answers held-out messages without examples, greedily, with the slots as they stand and read from behind.

`python orders.py --cases 120` asks for so many wishes of scenarios, refusals, and messages without a wish, each without examples. An answer is a guess when it
takes other slots where they stand otherwise, and a wish tells of them or the method changes something (`covenant.guess_in`). Slots take any name here; the kernel
holds the model to those that are there.
"""

import argparse
import collections
import random
import re
import signal

import torch

import cases
import evaluate
import tokens
import wishes

SLOTS = re.compile(r"<\|slots\|>(.*)\n")
EXAMPLE = re.compile(r"<\|example\|>.*\n")


def from_behind(prompt):
    """The prompt with its data slots in the other order; None where there is one at most."""
    slots = SLOTS.search(prompt)[1].split(" ")
    data = [slot for slot in slots if not slot.endswith(":method")]
    if len(data) < 2:
        return None
    return SLOTS.sub(lambda _: "<|slots|>" + " ".join(data[::-1] + [slot for slot in slots if slot not in data]) + "\n", prompt)


def is_guess(kind, text, other):
    """Whether the answer in the other order makes one a guess, as the covenant's guess_in tells."""
    return (kind != "no wish" or "self._p_changed" in text + other) and taken(other) != taken(text)


def taken(text):
    """The slots that a method takes, as covenant.slots_taken finds them; a refusal takes none."""
    return None if text.startswith(evaluate.REFUSE) else set(re.findall(r"self\.(\w+)", text)) - {"_p_changed"}


def drawn(count):
    """The cases, by kind."""
    rng = random.Random("bat-orders")
    held, old = wishes.Drawer(rng, held=True), cases.Drawer(rng, held=True)
    yield from (("a wish", evaluate.wish(held, None, "written")) for _ in range(count))
    yield from (("a refusal", evaluate.refused(held)) for _ in range(count))
    yield from (("no wish", evaluate.plain(old, number)) for number in range(count))


def main():
    """Asks, judges and counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=120, help="of each kind")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, evaluate.alarmed)
    model, tokenizer = evaluate.load(), tokens.load()
    answer = lambda prompt: tokenizer.decode(evaluate.decode(model, tokenizer.encode(prompt).ids)[0], skip_special_tokens=False)
    counts = collections.Counter()
    for kind, case in drawn(asked.cases):
        prompt = EXAMPLE.sub("", case.prompt)
        text = answer(prompt)
        if text.startswith(evaluate.REFUSE):
            counts[kind, "refused at once" + (", rightly" if case.refused else "")] += 1
            continue
        is_right = not case.refused and not evaluate.judged(case.hidden, text)
        other = from_behind(prompt)
        told = other is not None and is_guess(kind, text, answer(other))
        counts[kind, f"{'right' if is_right else 'wrong'}, {'a guess' if told else 'believed'}"] += 1
    for (kind, what), count in sorted(counts.items()):
        print(f"{kind:10} {what:25} {count:4}")


if __name__ == "__main__":
    main()
