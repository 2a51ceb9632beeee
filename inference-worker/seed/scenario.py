"""The scenarios of `written/*.txt`: wishes in people's own words, the method, and checks worked out by hand (the notation is in written/README.md)."""

import functools
import hashlib
import json
import math
import pathlib
import re

import names
import place as places
import vocabulary

FOLDER = pathlib.Path(__file__).with_name("written")
NAME = re.compile(r"[a-z][a-z0-9_]*")
BRACES = re.compile(r"\{([^{}]*)\}")
KIND = re.compile(r"([a-z]+1?)(?:\(([^()]*)\))?")
PART = re.compile(r"(.*?):([a-z]+1?(?:\([^()]*\))?)(?:\s+|$)")
METHOD = re.compile(r"(?:([a-z_0-9]+)\.)?([a-z][a-z0-9_]*)\(([^()]*)\)")
GIVEN = re.compile(r"([a-z0-9_.\[\]]+)=")
DECODE = json.JSONDecoder()
# A method of so few characters is drawn so many times as often as one of 200.
SHORT = ((40, 6), (80, 5), (120, 3), (200, 2), (math.inf, 1))
# Why a wish cannot be carried out, and how the model says it.
REFUSALS = {"absent": "no slot fits {}", "ambiguous": "more than one slot fits {}", "outside": "nothing in the image does {}", "unclear": "the wish does not say what {} is to do"}


class Slot:
    """A slot of a scenario: where it stands, its possible names, its kind."""

    def __init__(self, start, called, kind, domain):
        self.start, self.called, self.kind, self.domain = start, called, kind, domain
        self.name = called[0]
        self.path = f"{start}.{self.name}" if start else self.name

    def forms(self):
        """What a wish may call it between braces: {words: form}."""
        bare = self.name.replace("_", " ")
        *head, last = bare.split(" ")
        one = " ".join([*head, vocabulary.singular(last)])
        return {vocabulary.singular(last): "short one", last: "short", one: "one", bare: "bare"}


class Check:
    """A check: what slots hold before, the arguments, the answer or a failure, what slots hold after."""

    def __init__(self, text):
        self.text, self.given, self.after = text, {}, {}
        at = self.assigned(0, self.given)
        if not text.startswith("(", at):
            raise ValueError(f"no arguments in brackets: {text[at:at + 30]!r}")
        at, self.arguments = at + 1, []
        while not text.startswith(")", at):
            value, at = DECODE.raw_decode(text, at)
            self.arguments.append(value)
            at = spaced(text, at + 1 if text.startswith(",", at) else at)
        at = spaced(text, at + 1)
        if not text.startswith("->", at):
            raise ValueError(f"no -> after the arguments: {text[at:at + 30]!r}")
        at = spaced(text, at + 2)
        self.fails, self.any = text.startswith("!", at), text.startswith("_", at)
        self.answer, at = (None, at + 1) if self.fails or self.any else DECODE.raw_decode(text, at)
        at = spaced(text, at)
        if text.startswith(";", at):
            at = self.assigned(spaced(text, at + 1), self.after)
        if text[at:]:
            raise ValueError(f"what is this: {text[at:at + 30]!r}")

    def assigned(self, at, into):
        """Reads SLOT=JSON as often as there is one."""
        while found := GIVEN.match(self.text, at):
            into[found[1]], at = DECODE.raw_decode(self.text, found.end())
            at = spaced(self.text, at)
        return at


def spaced(text, at):
    """The place after white space."""
    while at < len(text) and text[at] == " ":
        at += 1
    return at


class Scenario:
    """One block of a file."""

    def __init__(self, block):
        self.selectors, self.slots, self.takes, self.wishes, self.lines, self.checks, self.methods = [], [], [], [], [], [], []
        self.refusal = None
        for line in block.split("\n"):
            key, _, rest = line.partition(":")
            if line.startswith("    "):
                self.lines.append(line[4:].rstrip())
            elif line.startswith(">"):
                self.methods[-1][-1].append(line[1:].rstrip())
            elif key == "method":
                found = METHOD.fullmatch(rest.strip())
                if not found:
                    raise ValueError(f"no method: {rest}")
                self.methods.append((found[1] or "self", found[2], [name.strip() for name in found[3].split(",") if name.strip()], []))
            elif key == "selectors":
                self.selectors = [word.strip() for word in rest.split(",") if word.strip()]
            elif key == "slots":
                self.slots = [self.slot(text, kind) for text, kind in PART.findall(rest.strip())]
                if len(self.slots) != len(re.findall(r"\S+:[a-z]", rest)):
                    raise ValueError(f"slots that cannot be read: {rest}")
            elif key == "takes":
                self.takes = [kind_of(text) for text in re.findall(r"[a-z]+1?(?:\([^()]*\))?", rest)]
            elif key == "wish":
                self.wishes.append(rest.strip())
            elif key == "refuse":
                self.refusal = rest.strip()
            elif key == "check":
                self.checks.append(Check(rest.strip()))
            elif line.strip() not in ("", "code:"):
                raise ValueError(f"no such line: {line[:60]!r}")
        if self.refusal is None and not (self.selectors and self.wishes and self.lines and self.checks):
            raise ValueError("selectors, wishes, method and checks are wanted")
        if self.refusal is not None and (self.refusal not in REFUSALS or not (self.selectors and self.wishes) or self.lines or self.checks):
            raise ValueError(f"what is to be refused has selectors, wishes, no method, no check, and a reason: {', '.join(REFUSALS)}")
        for name in self.selectors:
            if not NAME.fullmatch(name) or name in names.BARRED:
                raise ValueError(f"no selector: {name}")
        self.changes = any("_p_changed" in line for line in self.lines)
        self.places = {}
        for slot in self.slots:
            for words, form in slot.forms().items():
                self.places.setdefault(words, []).append((slot, form))
        for wish in self.wishes:
            if len(wish) > 300:
                raise ValueError(f"a wish of more than 300 characters: {wish[:40]!r}")
            for said in BRACES.findall(wish):
                self.meant(said)

    @staticmethod
    def slot(text, kind):
        """A slot of its notation."""
        start, _, called = text.strip().rpartition(".")
        called = called.split("/")
        for name in called:
            if not NAME.fullmatch(name):
                raise ValueError(f"no name of a slot: {name!r}")
        return Slot(start, called, *kind_of(kind))

    def meant(self, said):
        """The slot and the form that words between braces mean: a whole name comes before a last word."""
        found = self.places.get(said.lower(), [])
        found = [(slot, form) for slot, form in found if not form.startswith("short")] or found
        if len({slot.name for slot, _ in found}) != 1:
            raise ValueError(f"{{{said}}} names {'several slots' if found else 'no slot'}")
        return found[0]

    def is_held_out(self):
        """Whether it is kept for the evaluation."""
        return hashlib.sha256(self.wishes[0].encode()).digest()[0] < 18


def kind_of(text):
    """A kind and what its values are restricted to, None when they are not."""
    found = KIND.fullmatch(text.strip())
    if not found or found[1] not in places.KINDS:
        raise ValueError(f"no kind: {text}")
    kind, inner = found.groups()
    if inner is None:
        return kind, None
    low, dots, high = inner.partition("..")
    return kind, list(range(int(low), int(high) + 1)) if dots else [part.strip() if kind.startswith("text") else int(part) for part in inner.split(",")]


def read(path):
    """The scenarios of a file, and what is wrong with the others: (number of the block, block, error)."""
    found, wrong = [], []
    for number, block in enumerate(re.split(r"^---\s*$", path.read_text(), flags=re.M), 1):
        if block.strip():
            try:
                found.append((number, Scenario(block)))
            except (ValueError, IndexError) as error:
                wrong.append((number, block, str(error)))
    return found, wrong


@functools.lru_cache(maxsize=2)
def drawn(held_out):
    """Those that cases are drawn of, each as often as `weight` says."""
    newest = set((FOLDER / "newest").read_text().split())
    if strange := sorted(name for name in newest if not (FOLDER / name).exists()):
        raise ValueError(f"written/newest names {strange[0]}, which is not there")
    return [scenario for scenario in load(held_out) for _ in range(weight(scenario, () if held_out else newest))]


def weight(scenario, newest):
    """How many times as often as the rarest: what is asked most is short, and a model that goes on training has not seen the newest files."""
    length = sum(len(line.strip()) for line in scenario.lines)
    short = next(times for most, times in SHORT if length < most)
    return short * (2 if scenario.file in newest else 1)


@functools.lru_cache(maxsize=4)
def load(held_out, refused=False):
    """The scenarios of one side of the split: those with a method, or those that are to be refused."""
    made = []
    for path in sorted(FOLDER.glob("*.txt")):
        found, wrong = read(path)
        if wrong:
            raise ValueError(f"{path.name} block {wrong[0][0]}: {wrong[0][2]}")
        for _, scenario in found:
            scenario.file = path.name
        made += [scenario for _, scenario in found]
    return [scenario for scenario in made if scenario.is_held_out() == held_out and (scenario.refusal is not None) == refused]
