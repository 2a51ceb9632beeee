"""The grammar: fills the holes of the tables' rows, with slots, arguments, constants and one another."""

import hashlib
import re

import changes
import names
import phrasing
import readings
import vocabulary
from expression import Constant, Leaf, Made, code, coded, spoken

phrasing.extend()
NUMERIC = ("num", "whole", "whole1", "count", "small", "size", "days", "at", "moon", "frac")
MARKS = ("-", ",", ";", ":", "/", ".", "@", "=", " ", "_", "+", "#")
JOINS = (", ", "-", " ", "; ", "/", ",", " and ", "", " + ", ". ")
FACTORS = ((12, "inches", "foot"), (100, "cents", "euro"), (60, "minutes", "hour"), (60, "seconds", "minute"), (7, "days", "week"), (1000, "grams", "kilo"), (24, "hours", "day"),
           (1000, "metres", "kilometre"), (2.54, "centimetres", "inch"), (0.3048, "metres", "foot"), (1.609, "kilometres", "mile"), (4.2, "kilojoules", "calorie"), (3.785, "litres", "gallon"),
           (0.4536, "kilos", "pound"), (28.35, "grams", "ounce"), (3, "feet", "yard"), (10, "millimetres", "centimetre"), (3600, "seconds", "hour"), (20, "sheets", "pack"), (6, "bottles", "box"))
WORDS = "at of for from in by with and or to after before worth about over under No. near than until on page room since item".split()
# A wide kind and what it may stand for.
WIDE = {"items": ("texts", "texts", "nums"), "scalars": ("texts", "texts", "nums"), "ordered": ("nums", "texts"), "maps": ("map", "tmap"), "any": ("num", "num", "text", "text", "whole", "date", "texts"),
        "speak": ("text", "text", "num"), "swap": ("num", "text", "text", "texts"), "nullable": ("text", "num"), "settable": ("num", "num", "num", "text", "text", "text", "texts", "nums", "date", "clock")}


def is_held_out(row, phrase):
    """Whether a phrasing is kept for the evaluation."""
    return len(row.phrases) > 3 and hashlib.sha256(f"{row.key}|{phrase}".encode()).digest()[0] < 18


def is_composition_held_out(rows):
    """Whether a composition of several rows is kept for the evaluation."""
    keys = sorted({row.key for row in rows})
    return len(keys) > 1 and hashlib.sha256("|".join(keys).encode()).digest()[0] < 15


class Grammar:
    """Draws expressions and changes into one world."""

    def __init__(self, rng, world, unseen=False):
        self.rng, self.world, self.unseen = rng, world, unseen
        self.used = []  # slots of this method, for another mention
        self.rows = []
        self.phrases = []  # (row, phrase), for the selector
        self.nesting = 0.25

    def pick(self, rows):
        """A row by weight."""
        return self.rng.choices(rows, [row.weight for row in rows])[0]

    def phrase(self, row):
        """A phrasing of a row, of the wanted side of the split."""
        fitting = [p for p in row.phrases if is_held_out(row, p) == self.unseen] or row.phrases
        return self.rng.choice(fitting)

    def slot(self, kind, avoid=()):
        """A slot of a kind: at times one that the method uses already."""
        rng = self.rng
        kind = rng.choice(WIDE[kind]) if kind in WIDE else kind
        known = [place for place in self.used if place.kind == kind and place not in avoid]
        if known and rng.random() < 0.3:
            return Leaf(rng.choice(known))
        made = self.world.slot(kind)
        self.used.append(made)
        return Leaf(made)

    def argument(self, kind, words=()):
        """A new argument."""
        if len(self.world.arguments) >= 3:
            raise LookupError("three arguments are enough")
        return Leaf(self.world.argument(kind, words))

    def constant(self, kind):
        """A constant of a kind."""
        rng = self.rng
        if kind in NUMERIC:
            return Constant({"whole1": rng.choice((2, 3, 4, 5, 6, 7, 8, 10, 12)), "size": rng.randint(1, 5), "days": rng.choice((1, 7, 10, 14, 30, rng.randint(1, 60)))}.get(
                kind, rng.choice((1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 50, 100)) if rng.random() < 0.8 else rng.randint(0, 30)))
        if kind in ("text", "text1"):
            return Constant(rng.choice(vocabulary.WORDS_OF_TEXTS) if rng.random() < 0.7 else rng.choice(vocabulary.PEOPLE) if rng.random() < 0.4 else names.pick_word(rng))
        return self.slot(kind)

    def leaf(self, kind, avoid=(), words=()):
        """A slot, an argument or a constant."""
        rng = self.rng
        if kind in WIDE:
            kind = rng.choice(WIDE[kind])
        chance = rng.random()
        if chance < 0.47 and len(self.world.arguments) < 2:
            return self.argument(kind, words if words and rng.random() < 0.5 else ())
        if chance < 0.75 or kind not in NUMERIC + ("text", "text1"):
            return self.slot(kind, avoid)
        return self.constant(kind)

    def hole(self, sign, kind, filled, row, depth):
        """What stands in a hole."""
        rng = self.rng
        avoid = [node.place for node in filled.values() if isinstance(node, Leaf)]
        first = next(iter(filled.values()), None)
        words = ()
        if kind == "element":
            owner = first.place
            kind = {"texts": "text", "nums": "num", "dates": "date", "wholes": "whole"}[owner.kind]
            if kind == "num" and self.world.kinds[owner.path] == "list[int]":
                kind = "whole"
            words = (owner.one().split(" ")[-1],)
        elif kind in ("same", "same_x"):
            kind = first.kind
        if sign == "=" or sign == "!":
            if kind == "factor":
                raise LookupError("no slot for a factor")
            return self.slot(kind, avoid)
        if sign == "?":
            return self.argument("whole" if kind == "num" and rng.random() < 0.5 else kind, words)
        if sign == "#":
            special = {"mark": lambda: Constant(rng.choice(MARKS)), "join": lambda: Constant(rng.choice(JOINS)), "digits": lambda: Constant(rng.choice((1, 1, 2, 2, 3))), "step": lambda: Constant(rng.choice((2, 3, 4))),
                       "width": lambda: Constant(rng.choice((2, 3, 4, 5))), "wide": lambda: Constant(rng.choice((6, 8, 10, 12))), "factor": lambda: Constant(2)}
            return special[kind]() if kind in special else self.constant(kind)
        if kind == "leaf":
            return self.leaf(row.item, avoid)
        if kind in ("low", "edge"):
            return Constant(0) if rng.random() < 0.65 else self.slot("num", avoid) if rng.random() < 0.6 else Constant(rng.choice((1, 5, 10)))
        if kind == "high":
            return self.slot("num", avoid) if rng.random() < 0.6 else Constant(rng.choice((10, 20, 50, 100, 60, 99)))
        if kind == "step":
            return Constant(rng.choice((2, 3, 4, 5, 7, 10, 12, 24, 60))) if rng.random() < 0.6 else self.slot("whole1", avoid)
        if kind == "frac":
            if rng.random() < 0.35:
                return self.slot("frac", avoid)
            return self.made([r for r in readings.NUMBERS if " / " in r.code and "round" not in r.code], depth - 1)
        if kind in ("iter", "found"):
            return self.iterable(depth)
        if kind in ("size", "whole1", "days", "small") and rng.random() < 0.5:
            return self.constant(kind)
        if depth > 0 and rng.random() < self.nesting and kind in ("num", "text", "texts", "nums", "settable", "date", "bool"):
            wanted = rng.choice(WIDE[kind]) if kind in WIDE else kind
            rows = BY_KIND.get(wanted)
            if rows:
                return self.made(rows, depth - 1)
        if kind == "bool":
            return self.made(BY_KIND["bool"], depth - 1)
        return self.leaf(kind, avoid, words)

    def iterable(self, depth):
        """Numbers that are gone through: the values of a map, or those items of a list that a filter lets pass."""
        rng = self.rng
        if rng.random() < 0.3:
            return self.made([row for row in readings.LISTS if row.kind == "view"], 0)
        return self.filtered(self.slot("wholes" if rng.random() < 0.4 else "nums"))

    def filtered(self, source, kind=None):
        """Those items of a list that a filter lets pass."""
        row = self.filter_row(source)
        phrase = self.phrase(row)
        return Filtered(row, phrase, self.fill(row, 0, {}), source, self.rng)

    def filter_row(self, source):
        """A filter for the items of a list."""
        kinds = {"texts": ("text",), "flags": ("bool",), "wholes": ("num", "whole"), "nums": ("num", "whole") if self.world.kinds[source.place.path] == "list[int]" else ("num",)}[source.kind]
        row = self.pick([row for row in readings.FILTERS if row.kind in kinds])
        row.item = {"num": "num", "whole": "whole", "text": "text1", "bool": "bool"}[row.kind]
        self.rows.append(row)
        return row

    def fill(self, row, depth, filled):
        """The holes of a row."""
        late = [hole for hole in row.holes if hole[2] == "same_e"]
        for name, sign, kind in [hole for hole in row.holes if hole not in late]:
            filled[name] = self.hole(sign, kind, filled, row, depth)
        for name, sign, kind in late:  # a slot of the kind of what it is set to
            node = filled["e"]
            wanted = node.kind if hasattr(node, "kind") else "text" if isinstance(node.held, str) else "num"
            wanted = {"wholes": "nums", "text1": "text", "any": "text", "element": "text", "items": "texts", "view": "nums"}.get(wanted, "num" if wanted in NUMERIC else wanted)
            filled[name] = self.slot(wanted, [leaf.place for leaf in node.leaves()])
        return {name: filled[name] for name, _, _ in row.holes}

    def made(self, rows, depth):
        """An expression of one of some rows."""
        row = self.pick(rows)
        holes = self.fill(row, depth, {})
        self.rows.append(row)
        phrase = self.phrase(row)
        self.phrases.append((row, phrase, holes))
        more = {}
        if hasattr(row, "unit"):
            factor, unit, one = self.rng.choice(FACTORS)
            holes["b"] = Constant(factor)
            more = {"w": unit if "*" in row.code else vocabulary.plural(one).replace("foots", "feet"), "v": one}
        if hasattr(row, "joint") and not hasattr(row, "word"):
            more["m"] = self.rng.choice((" - ", "-", "/", " / ", " at ", " of ", " = ", "@", ".", " x ", " & ", " - ", "_", " + ", ": ", " in "))
        if hasattr(row, "word"):
            more["w"] = self.rng.choice(WORDS if hasattr(row, "joint") else vocabulary.THINGS + vocabulary.UNITS)
        if hasattr(row, "sentence"):
            more["n"] = " ".join(holes["a"].place.words)
        return Special(row, holes, phrase, **more) if more else Made(row, holes, phrase)

    def reading(self, kinds, depth=1):
        """An expression of one of some kinds."""
        return self.made([row for kind in kinds for row in BY_KIND[kind]], depth)

    def change(self, rows=None):
        """A row of the changes with its holes filled: (row, phrase, holes)."""
        row = self.pick(rows or changes.ALL)
        self.rows.append(row)
        holes = self.fill(row, 1, {})
        phrase = self.phrase(row)
        self.phrases.append((row, phrase, holes))
        return row, phrase, holes


class Special(Made):
    """An expression whose row has words of its own: a unit, a mark, a word in the text."""

    def value(self, state):
        told = super().value(state)
        if "m" in self.more:
            return self.more["m"].join(told)
        if hasattr(self.row, "sentence"):
            return "The " + self.more["n"] + " is " + told + "."
        if "w" in self.more and hasattr(self.row, "word"):
            if hasattr(self.row, "joint"):
                return " ".join((told[0], self.more["w"], told[1]))
            return told + " " + self.more["w"] if hasattr(self.row, "after") else self.more["w"] + " " + told
        return told


class Filtered:
    """Those items of a list that a filter lets pass."""

    many, kind, bound = True, "nums", None  # bound: the local name that holds it already

    def __init__(self, row, phrase, holes, source, rng):
        self.row, self.phrase, self.holes, self.source = row, phrase, holes, source
        self.form = rng.choice(("those of {a} that {p}", "those {b} that {p}", "the {b} that {p}", "all {b} that {p}", "the {b} {s}", "those of {a} {s}", "{a} that {p}"))

    def predicate(self, sentence, many=True):
        """The filter as the end of a clause: (`are above 3`, `above 3` when it can stand alone)."""
        said = spoken(self.phrase, self.holes, sentence)
        short = said[1:] if said.startswith(("=above", "=below", "=over", "=under")) else None
        if said.startswith("="):
            return ("are " if many else "is ") + said[1:], short
        said = said if many else re.sub(r"(?<=[sxzo])~|(?<=[cs]h)~", "es", said)
        return said.replace("have^", "have" if many else "has").replace("~", "" if many else "s"), short

    def say(self, sentence):
        whole = sentence.name(self.source.place)
        long, short = self.predicate(sentence)
        return self.form.format(a=whole, b=sentence.name(self.source.place, "b"), p=long, s=short or f"that {long}")

    def condition(self):
        """The filter's code over `item`."""
        return coded(self.row.code, self.holes)

    def passes(self, state):
        """What the filter lets pass, as a function."""
        others = [node.value(state) for node in self.holes.values()]
        return lambda item: self.row.meaning(item, *others)

    def code(self):
        if self.bound:
            return code(self.bound)
        return code(f"[item for item in {self.source.code()} if {self.condition()}]")

    def value(self, state):
        passes = self.passes(state)
        return [item for item in self.source.value(state) if passes(item)]

    def leaves(self):
        yield self.source
        for node in self.holes.values():
            yield from node.leaves()


BY_KIND = {}
for _row in readings.ALL:
    BY_KIND.setdefault(_row.kind, []).append(_row)
