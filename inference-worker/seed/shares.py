"""What a shard still teaches the kept model: the share of each family of cases in the tokens, and in the loss of the completions.

`python shares.py --shard 61` reads a shard (and makes it where it is not there); one that the training has not come to tells most. A family with far
more tokens than loss is known by heart, and its share in corpus.py and wishes.py is too large. `--held` asks for scenarios that no training draws instead, and tells
of how many the method is foreseen to the letter.
"""

import argparse
import collections
import json
import random

import torch

import batching
import corpus
import evaluate
import feed
import tokens


class Row:
    """A case and what the model makes of it: tokens in all and of the completion, the loss over these in nats, whether each was the likeliest."""

    def __init__(self, family, head, tail):
        self.family, self.head, self.tail = family, head, tail
        self.loss, self.is_foreseen = 0.0, False

    def __len__(self):
        return len(self.head) + len(self.tail)


def of_shard(number, most, encode):
    """Cases of a shard, at random."""
    rows = [json.loads(line) for line in corpus.ready(number).open()]
    return [Row(family, encode(prompt), encode(completion)) for prompt, completion, family, _ in random.Random(5).sample(rows, min(most, len(rows)))]


def held_out(most, encode):
    """Cases of scenarios that are kept for the evaluation."""
    return [Row(case.family, encode(case.prompt), encode(case.completion)) for case in evaluate.draw(0, "shares", written=most)]


@torch.no_grad()
def read(model, rows):
    """Lets the model read the rows."""
    for group in batching.by_length(rows, len, 3072):
        ids = batching.padded([row.head + row.tail for row in group])
        scores = model.lm_head(model.stream(ids[:, :-1])).log_softmax(-1)
        likeliest = scores.argmax(-1) == ids[:, 1:]
        losses = -scores.gather(-1, ids[:, 1:, None])[..., 0]
        for row, loss, hits in zip(group, losses, likeliest):
            own = slice(len(row.head) - 1, len(row) - 1)
            row.loss, row.is_foreseen = loss[own].sum().item(), bool(hits[own].all())


def line(name, rows, of):
    """One line of the table; shares are of the rows `of`."""
    tail = sum(len(row.tail) for row in rows)
    loss = sum(row.loss for row in rows)
    return (f"{name:14} {len(rows):5} cases  {sum(map(len, rows)) / sum(map(len, of)):6.1%} of the tokens  {loss / sum(row.loss for row in of):6.1%} of the loss"
            f"  {loss / tail:.4f} a token of a completion  {sum(row.is_foreseen for row in rows)} foreseen to the letter")


def main():
    """Prints the table, the family with most of the loss first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shard", type=int, default=0)
    parser.add_argument("--held", action="store_true")
    parser.add_argument("--cases", type=int, default=1500)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    encode = lambda text, tokenizer=tokens.load(): tokenizer.encode(text).ids
    rows = held_out(asked.cases, encode) if asked.held else of_shard(asked.shard, asked.cases, encode)
    rows = [row for row in rows if len(row) <= feed.LONGEST]
    read(evaluate.load(), rows)
    families = collections.defaultdict(list)
    for row in rows:
        families[row.family].append(row)
    for name, own in sorted(families.items(), key=lambda one: -sum(row.loss for row in one[1])):
        print(line(name, own, rows))
    print(line("all", rows, rows))
    rows.sort(key=lambda row: row.loss)
    print(line("easier half", rows[:len(rows) // 2], rows))


if __name__ == "__main__":
    main()
