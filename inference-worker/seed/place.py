"""A place where a value stands: a slot of the receiver or of another object, or an argument; with its names in code and sentence."""

import names
import vocabulary


class Place:
    """A slot or an argument that a method reads or writes.

    `kind` is the generator's kind (below), `path` the name in examples, `code` the name in the method,
    `words` the words of the name in their order, `many` whether they are in the plural.
    """

    def __init__(self, kind, path, code, words, many=False):
        self.kind, self.path, self.code, self.words, self.many = kind, path, code, words, many
        self.owner = None  # the place of the object that holds it, when it is not the receiver
        self.short = False  # whether the sentence says its last word alone
        self.unitless = False  # whether the sentence leaves its unit out
        self.domain = None  # what the sentence says of its values: a list of texts, or (low, high)

    def bare(self):
        """`river levels`, without an article."""
        return " ".join(self.words[-1:] if self.short else self.words[:-1] if self.unitless else self.words)

    def one(self):
        """`river level`, in the singular."""
        words = self.words[-1:] if self.short else self.words[:-1] if self.unitless else self.words
        if self.many and words[-1] in vocabulary.PARTICIPLES and len(words) > 1:
            return " ".join([*words[:-2], vocabulary.singular(words[-2]), words[-1]])
        return " ".join([*words[:-1], vocabulary.singular(words[-1])]) if self.many else " ".join(words)


# The kinds of the generator, each with the kinds of the image that it is drawn as.
KINDS = {
    "num": ("int", "int", "int", "float"), "whole": ("int",), "text": ("text",), "bool": ("bool",), "nums": ("list[int]", "list[int]", "list[float]"),
    "wholes": ("list[int]",), "texts": ("list[text]",), "flags": ("list[bool]",), "map": ("map",), "tmap": ("map",), "lmap": ("map",), "date": ("text",),
    "dates": ("list[text]",), "clock": ("text",), "ref": ("ref",), "refs": ("list",), "whole1": ("int",), "count": ("int",), "small": ("int",),
    "size": ("int",), "days": ("int",), "at": ("int",), "text1": ("text",), "mmap": ("map",), "moon": ("int",), "month": ("text",), "frac": ("float",),
}


def name_words(rng, kind, held):
    """The words of a new name for a kind, and whether they are in the plural."""
    v, chance = vocabulary, rng.random()
    thing = rng.choice(v.THINGS)
    other = rng.choice(v.THINGS) if rng.random() < 0.6 else rng.choice(v.QUALITIES)
    many = kind in ("nums", "wholes", "texts", "flags", "map", "tmap", "lmap", "mmap", "dates", "refs")
    if kind == "bool":
        words = [thing, rng.choice(v.STATES)] if chance < 0.6 else [rng.choice(v.STATES)]
    elif kind in ("num", "whole", "whole1", "count", "small", "size", "days", "moon", "frac"):
        if chance < 0.4:
            words = [thing if rng.random() < 0.7 else other, rng.choice(v.MEASURES)]
        elif chance < 0.5:
            words = [rng.choice(v.MEASURES)]
        elif chance < 0.62:
            words = [rng.choice(v.TALLIES), rng.choice(v.PARTICIPLES)]
            many = True
        elif chance < 0.7:
            words = [rng.choice(v.TALLIES)] if rng.random() < 0.6 else [other, rng.choice(v.TALLIES)]
            many = True
        elif chance < 0.8:
            words = [thing, rng.choice(v.UNITS)]
        else:
            words = [other, thing]
    elif kind in ("text", "text1", "month"):
        words = [thing, rng.choice(v.TEXTS)] if chance < 0.6 else [rng.choice(v.TEXTS)] if chance < 0.75 else [other, thing]
    elif kind == "date":
        words = [rng.choice(v.DATES if rng.random() < 0.6 else v.THINGS), rng.choice(("day", "date"))]
    elif kind == "clock":
        words = [rng.choice(v.CLOCKS if rng.random() < 0.6 else v.THINGS), rng.choice(("clock", "time", "hour"))]
    elif kind == "dates":
        words = [thing, rng.choice(("days", "dates"))]
    elif kind in ("nums", "wholes"):
        last = vocabulary.plural(rng.choice(v.MEASURES)) if chance < 0.45 else rng.choice(v.TALLIES) if chance < 0.6 else rng.choice(v.UNITS) if chance < 0.7 else vocabulary.plural(thing)
        words = [other, last] if rng.random() < 0.75 else [last]
    elif kind in ("map", "tmap", "lmap", "mmap"):
        last = vocabulary.plural(rng.choice(v.MEASURES if kind == "map" else v.TEXTS if kind == "tmap" else v.THINGS)) if chance < 0.7 else vocabulary.plural(thing)
        words = [other, last] if rng.random() < 0.8 else [last]
    elif kind == "ref":
        words = [other, thing] if chance < 0.6 else [thing]
    else:
        last = vocabulary.plural(rng.choice(v.TEXTS)) if chance < 0.4 else vocabulary.plural(thing)
        words = [other, last] if rng.random() < 0.75 else [last]
    # A word of a very large vocabulary in the place of one of these: names are to be copied, not known.
    chance = rng.random()
    if held or chance < 0.34:
        at = rng.randrange(len(words)) if kind not in ("bool",) or len(words) == 1 else 0
        word = names.pick_word(rng, held)
        words[at] = vocabulary.plural(word) if many and at == len(words) - 1 and words[at].endswith("s") else word
    return words, many


def usable(words):
    """Whether words may stand together as the name of a slot."""
    name = "_".join(words)
    if len(set(words)) < len(words) or name in names.BARRED or name in ("parents", "wishes") or any(word in names.BARRED for word in words[:1]) and len(words) == 1:
        return False
    return name.isidentifier() and not vocabulary.barred.is_name_barred(name)
