"""Expressions: trees that say themselves in English, write themselves in Python and have a meaning of their own.

The meaning is computed from Python functions that stand beside the code in the tables and are written apart from it, so what a method
answers is held to something that is not that method.
"""


class Code(str):
    """Python with its binding strength: `{x:6}` in a template puts brackets around what binds weaker than 6."""

    strength = 9

    def __format__(self, least):
        return f"({self})" if least and self.strength < int(least) else str(self)


def code(text, strength=9):
    """Python with a binding strength: 9 name or call, 7 power and minus, 6 product, 5 sum, 4 comparison, 3 not, 2 and, 1 or, 0 choice."""
    made = Code(text)
    made.strength = strength
    return made


# Verbs, endings and pronouns that agree with a node: in the singular and in the plural.
AGREE = {"is1": ("is", "are"), "are": ("is", "are"), "s1": ("s", ""), "s": ("s", ""), "es": ("es", ""), "go": ("goes", "go"), "they": ("it", "they"), "them": ("it", "them"),
         "has": ("has", "have"), "was": ("was", "were")}


class Said:
    """What a node is called in a sentence: `{x}` the whole, `{x:b}` without article, `{x:1}` in the singular, and verbs that agree with it."""

    def __init__(self, node, sentence):
        self.node, self.sentence = node, sentence

    def __format__(self, form):
        if form in AGREE:
            one, many = AGREE[form]
            return many if self.node.many else one
        if form in ("state", "unstate", "on", "off", "flag"):
            return self.sentence.state(self.node, form)
        if form == "b":
            return self.sentence.name(self.node.place, "b")
        if form == "1":
            return self.sentence.name(self.node.place, "o")
        said = self.node.say(self.sentence)
        return f"{said} {self:are}" if form == "is" else said


def spoken(phrase, holes, sentence, **more):
    """A phrase with its holes said; `more` are words that are no nodes."""
    return phrase.format(**{name: Said(node, sentence) for name, node in holes.items()}, **more)


def coded(template, holes, **more):
    """A template of code with its holes written."""
    return template.format(**{name: node.code() for name, node in holes.items()}, **more)


class Leaf:
    """A slot or an argument."""

    row = None

    def __init__(self, place):
        self.place, self.kind, self.many = place, place.kind, place.many

    def say(self, sentence):
        return sentence.name(self.place)

    def code(self):
        return code(self.place.code)

    def value(self, state):
        return state[self.place.path]

    def leaves(self):
        yield self


# How a sentence calls a mark when it does not write it.
MARKS = {"-": "a hyphen", ",": "a comma", ";": "a semicolon", ":": "a colon", "/": "a slash", ".": "a point", "@": "an at sign", "=": "an equals sign", " ": "a space",
         "_": "an underscore", "+": "a plus sign", ", ": "a comma and a space", "; ": "a semicolon and a space", " and ": "the word and with spaces around it"}


class Constant:
    """A number or a text that stands in the sentence."""

    row, many = None, False

    def __init__(self, value):
        self.held = value

    def say(self, sentence):
        if isinstance(self.held, str):
            return MARKS[self.held] if self.held in MARKS and sentence.rng.random() < 0.5 else f'"{self.held}"'
        if isinstance(self.held, int) and 1 <= self.held <= 10 and sentence.rng.random() < 0.2:
            return "one two three four five six seven eight nine ten".split()[self.held - 1]
        return str(self.held)

    def code(self):
        if isinstance(self.held, str):
            return code('"' + self.held + '"')
        return code(str(self.held), 9 if self.held >= 0 else 7)

    def value(self, state):
        return self.held

    def leaves(self):
        return iter(())


class Made:
    """A row of the tables with its holes filled; `more` are words of its own, which are no nodes."""

    many = False

    def __init__(self, row, holes, phrase, **more):
        self.row, self.holes, self.phrase, self.more = row, holes, phrase, more
        self.kind = row.kind

    def say(self, sentence):
        return spoken(self.phrase, self.holes, sentence, **self.more)

    def code(self):
        return code(coded(self.row.code, self.holes, **self.more), self.row.strength)

    def value(self, state):
        return self.row.meaning(*(node.value(state) for node in self.holes.values()))

    def leaves(self):
        for node in self.holes.values():
            yield from node.leaves()

    def rows(self):
        """The rows of this tree, for the split of compositions."""
        yield self.row
        for node in self.holes.values():
            if isinstance(node, Made):
                yield from node.rows()


class Joint:
    """Two conditions in one."""

    kind, many = "bool", False

    def __init__(self, word, one, other):
        self.word, self.one, self.other, self.row = word, one, other, None

    def say(self, sentence):
        raise NotImplementedError("each half is said for itself")

    def code(self):
        strength = {"or": 1, "and": 2}[self.word]
        return code(f"{self.one.code():{strength}} {self.word} {self.other.code():{strength}}", strength)

    def value(self, state):
        return (any if self.word == "or" else all)((self.one.value(state), self.other.value(state)))

    def leaves(self):
        yield from self.one.leaves()
        yield from self.other.leaves()


class Row:
    """A production: its kind, its code, what it is called, its holes and its meaning.

    `holes` is `a:nums b=num c!text d?num e#num`: `:` anything of the kind, `!` a slot, `=` a slot that is written, `?` an argument,
    `#` a constant. `need` names the hole that must not be empty or zero.
    """

    def __init__(self, kind, code, phrases, holes, meaning, strength=9, need="", weight=1.0, **more):
        self.kind, self.code, self.meaning, self.strength, self.need, self.weight = kind, code, meaning, strength, need, weight
        self.phrases = [phrase.strip() for phrase in phrases.split("|")]
        self.holes = [parse(hole) for hole in holes.split()]
        self.key = f"{kind} {code}"
        self.__dict__.update(more)


def parse(hole):
    """`a:nums` as (a, :, nums)."""
    for sign in ":!=?#":
        if sign in hole:
            name, kind = hole.split(sign)
            return name, sign, kind
    raise ValueError(f"no hole: {hole}")
