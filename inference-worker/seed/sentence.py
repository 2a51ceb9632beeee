"""The sentence of a method: what it calls each place, and how clauses are put together."""

import re

import vocabulary
from frames import FRAMES

SORTS = {"num": "number", "whole": "number", "whole1": "number", "count": "number", "small": "number", "size": "number", "days": "number", "at": "number",
         "frac": "number", "moon": "number", "month": "text", "text": "text", "text1": "text", "date": "day", "clock": "time", "bool": "truth value", "nums": "list", "texts": "list",
         "wholes": "list", "flags": "list", "dates": "list", "map": "map", "tmap": "map", "ref": "object"}
ROLES = {"number": ("amount", "number", "value", "count"), "text": ("name", "word", "text"), "day": ("date", "day"), "time": ("time of day",),
         "truth value": ("flag", "truth value"), "list": ("list",), "map": ("map",), "object": ("one", "object", "other")}
MARK = re.compile("\x01(\\d+)([nbo])\x02")
ORDINALS = ("first", "second", "third")


class Sentence:
    """What is said of one method."""

    def __init__(self, rng, world):
        self.rng, self.world, self.called, self.places = rng, world, {}, []

    def name(self, place, form="n"):
        """A mark for the place's name: what it is called is known when all places are. `b` is the bare name, `o` the singular."""
        if place not in self.places:
            self.places.append(place)
        return f"\x01{self.places.index(place)}{form}\x02"

    def finish(self, text):
        """The text with all names in it, each sentence with a capital."""
        while "\x01" in text:
            text = MARK.sub(lambda found: self._called(self.places[int(found[1])], found[2]), text)
        text = re.sub(r"\?[,;] (\w)", lambda found: "? " + found[1].upper(), text.strip())
        text = text if text.endswith((".", "?", "!")) else text + "."
        return re.sub(r"(^|[.?!] )([a-z])", lambda found: found[1] + found[2].upper(), text)

    def _called(self, place, form):
        """What a place is called."""
        if form != "n":
            self._called(place, "n")
            return place.bare() if form == "b" else place.one()
        if id(place) not in self.called:
            self.called[id(place)] = self._argument(place) if place in self.world.arguments else self._slot(place)
        return self.called[id(place)]

    def _slot(self, place):
        rng = self.rng
        chance = rng.random()
        if len(place.words) > 1 and chance < 0.13 and place.kind != "bool" and self.world.may_shorten(place):
            place.short = True
        if len(place.words) > 1 and place.words[-1] in vocabulary.UNITS and not place.short and rng.random() < 0.35 and self.world.may_shorten(place, 0):
            place.unitless = True
        bare = place.bare()
        if self._has_twin(place) and rng.random() < 0.35:
            return f"the {place.words[0]} {'ones' if place.many else 'one'}"
        if place.owner is not None:
            holder = self._called(place.owner, "n")
            return f"{holder}'s {bare}" if rng.random() < 0.5 and not holder.endswith("s") else f"the {bare} of {holder}"
        if len(place.words) == 2 and not place.short and not place.unitless and place.words[0] in vocabulary.THINGS and rng.random() < 0.1:
            return f"the {place.words[0]}'s {place.words[1]}"
        chance = rng.random()
        if self.world.others and chance < 0.35:
            return rng.choice(("the own {}", "its own {}", "the receiver's {}")).format(bare)
        if chance < 0.86:
            return f"the {bare}"
        return f"its {bare}" if chance < 0.97 else f"the {bare} of it"

    def _has_twin(self, place):
        """Whether a slot that was told of just before differs in its first word alone: `the upper frame` and `the lower one`."""
        told = [other for other in self.places if id(other) in self.called and other is not place]
        return place.owner is None and len(place.words) == 2 and not place.short and not place.unitless and bool(told) and told[-1].words[1:] == place.words[1:] and told[-1].owner is None and not told[-1].short and not told[-1].unitless

    def _argument(self, place):
        rng, arguments = self.rng, self.world.arguments
        sort = SORTS[place.kind]
        alike = [other for other in arguments if SORTS[other.kind] == sort]
        if len(arguments) > 1 and (len(alike) > 1 or rng.random() < 0.3):
            noun = sort if len(alike) == len(arguments) and rng.random() < 0.6 else "argument"
            return f"the {ORDINALS[arguments.index(place)]} {noun}"
        if place.words and rng.random() < 0.75:
            return f"the given {' '.join(place.words)}"
        chance = rng.random()
        if chance < 0.6:
            return f"the given {sort}"
        if chance < 0.8:
            return f"the given {rng.choice(ROLES[sort])}"
        if chance < 0.9:
            return f"the {sort} given" if rng.random() < 0.5 else "the argument"
        if sort == "object" or chance < 0.93:
            return f"the given {sort}"
        return f"the given {rng.choice(vocabulary.MEASURES if sort == 'number' else vocabulary.TEXTS if sort == 'text' else ROLES[sort])}"

    def state(self, node, form):
        """A truth value as a clause: `the pump is running`, `the pump is not running`."""
        if node.row is None and not isinstance(getattr(node, "place", None), type(None)):
            place = node.place
            if place in self.world.arguments:
                said = self.name(place)
                return {"state": f"{said} is true", "unstate": f"{said} is false", "flag": said, "on": f"{said} is true", "off": f"{said} is not true"}[form]
            *head, last = place.words
            if form == "flag":
                said = " ".join(head)
                return self.rng.choice((self.name(place), self.name(place), f"the {said}'s state", f"whether the {said} is {last}", f"the state of the {said}")) if head else f"the {last} flag" if self.rng.random() < 0.5 else f"whether it is {last}"
            if place.owner is not None:
                holder = self.name(place.owner)
                subject = f"{holder}'s {' '.join(head)}" if head else holder
            else:
                subject = f"the {' '.join(head)}" if head else "it"
            return f"{subject} is {last}" if form in ("state", "on") else f"{subject} is not {last}"
        said = node.say(self)
        return said if form in ("state", "on", "flag") else f"it is not so that {said}"


def capital(text):
    """The text with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def is_clause(said):
    """Whether what is asked for begins like a question."""
    return said.split(" ")[0] in ("how", "what", "which", "where", "whether", "when", "at", "in", "for", "under", "of") and said.split(" ")[0] not in ("at", "of")


def asked(rng, said):
    """A sentence that asks for a value."""
    if rng.random() < 0.4:
        return rng.choice(FRAMES["asked-clause" if is_clause(said) else "asked"]).format(v=said, V=said)
    chance = rng.random()
    if is_clause(said):
        return f"answer {said}" if chance < 0.7 else f"tell {said}" if chance < 0.85 else f"{said}?" if chance < 0.93 and said.startswith("how many") else f"say {said}"
    if chance < 0.62:
        return f"answer {said}"
    return rng.choice(("tell {}", "give {}", "give back {}", "return {}", "what is {}?", "{}", "the answer is {}", "find {}", "{}, please", "show {}", "the wanted answer: {}")).format(said)


def wondered(rng, said):
    """A sentence that asks whether something is so."""
    if rng.random() < 0.4:
        return rng.choice(FRAMES["wondered"]).format(c=said, C=said)
    if rng.random() < 0.68:
        return f"answer whether {said}"
    return rng.choice(("tell whether {}", "true when {}, else false", "say whether {}", "check whether {}", "whether {}", "find out whether {}", "answer true when {}, else false", "is it so that {}?", "return whether {}")).format(said)
