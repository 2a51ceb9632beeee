"""The batches of the shards; with workers, these make a shard and its tokens while the model learns from those before."""

import functools
import json
import multiprocessing

import batching
import corpus
import tokens

LONGEST = 480  # a longer case is left out
AHEAD = 2  # shards of each worker


class Shards:
    """The encoded cases of the shards, asked for in their order."""

    def __init__(self, workers=0):
        self.workers = workers
        self.pool = multiprocessing.get_context("spawn").Pool(workers) if workers else None
        self.coming = {}

    def rows(self, number):
        """The cases of a shard: (ids, marks), two lists of numbers each."""
        if self.pool is None:
            return encoded(number)
        for ahead in range(number, number + AHEAD * self.workers):
            if ahead not in self.coming:
                self.coming[ahead] = self.pool.apply_async(encoded, (ahead,))
        return self.coming.pop(number).get()


@functools.cache
def tokenizer():
    """The tokenizer of this process."""
    return tokens.load()


def encoded(number):
    """The cases of one shard, but for those that are too long."""
    rows = [json.loads(line) for line in corpus.ready(number).open()]
    made = []
    for e, row in zip(tokenizer().encode_batch([row[0] + row[1] for row in rows]), rows):
        if len(e.ids) > LONGEST:
            continue
        marks = [-1] * len(e.ids)
        for start, end, kind in row[3]:
            for place, (a, b) in enumerate(e.offsets):
                if a >= start and b <= end and b > a:
                    marks[place] = kind
        made.append((e.ids, marks))
    return made


def batches(rows, rng, most, share=0.1, processes=1):
    """The batches of encoded cases: (ids, weights, marks), each (B, T) of `most` tokens or fewer, of like length, in a random order.

    Those that `processes` processes take at once are of like length too, or the shorter would wait for the longer at every step.
    """
    rng.shuffle(rows)
    groups = batching.by_length(rows, lambda pair: len(pair[0]), most)
    steps = [groups[at:at + processes] for at in range(0, len(groups), processes)]
    rng.shuffle(steps)
    for group in (group for step in steps if len(step) == processes for group in step):
        ids = batching.padded([ids for ids, _ in group])
        marks = batching.padded([marks for _, marks in group], -1)
        written = ((ids == tokens.METHOD).cumsum(1) > 0) & (ids != tokens.METHOD) & (ids != tokens.PAD)
        # What an example says follows from the wish: to foresee it is to have understood it.
        told = ((ids == tokens.EXAMPLE).cumsum(1) > 0) & (ids != tokens.EXAMPLE) & ((ids == tokens.FLAW).cumsum(1) + (ids == tokens.METHOD).cumsum(1) == 0) & (ids != tokens.PAD)
        yield ids, written.float() + share * told.float(), marks
