"""The objects of a case: the receiver's slots, other objects that it refers to, and the message's arguments."""

import copy

import names
import vocabulary
import place as places
import sentence
import values
from place import Place
from values import Sent, Thing, plain


class World:
    """The places of one case, drawn as they are needed."""

    def __init__(self, rng, held=False):
        self.rng, self.held = rng, held
        self.slots, self.arguments, self.others = [], [], {}  # others: path of an object -> its slots
        self.attributes = []  # slots of the objects in a list
        self.kinds = {}  # path -> kind of the image
        self.sends = []  # (path of an object, selector, what its method does)
        self.free = None  # a reference that receiver and argument may have to each other
        self.parent = []  # slots that the first parent holds itself
        self.joins = None  # a slot with objects, of which an argument is one at times
        self.nullable = None  # a reference that is none at times
        self.whole = False  # whether another state is mostly one drawn as a whole
        self.holder = None  # the place of an object whose slots are drawn as well

    def taken(self, besides=None):
        """The words of all names but that of one slot."""
        return {word for slot in self.slots if slot is not besides for word in (*slot.words, vocabulary.singular(slot.words[-1]))}

    def fresh(self, kind):
        """New words for a name, and whether they are in the plural."""
        taken = self.taken()
        for _ in range(60):
            words, many = places.name_words(self.rng, kind, self.held and self.rng.random() < 0.7)
            if places.usable(words) and not taken & {*words, vocabulary.singular(words[-1])}:
                return words, many
        raise LookupError("no fresh name")

    def alike(self, kind):
        """Words of a name that shares one with a slot: `lower frame` beside `upper frame`, `kettle weight` beside `kettle empty`; None at most times."""
        rng = self.rng
        known = [slot for slot in self.slots if len(slot.words) == 2 and slot.kind not in ("ref", "refs")]
        if not known or self.holder is not None or rng.random() > 0.25:
            return None
        other = rng.choice(known)
        if other.kind == kind and kind != "bool" and rng.random() < 0.7:
            first = rng.choice(vocabulary.QUALITIES) if rng.random() < 0.5 else rng.choice(vocabulary.THINGS) if rng.random() < 0.6 else names.pick_word(rng, self.held and rng.random() < 0.7)
            words, many = [first, other.words[1]], other.many
        else:
            words, many = self.fresh(kind)
            words = [other.words[0], words[-1]]
        taken = self.taken(other)
        new = words[0] if words[1] == other.words[1] else words[1]
        if taken & {*words, vocabulary.singular(words[-1])} or {new, vocabulary.singular(new)} & {*other.words, vocabulary.singular(other.words[-1])} or not places.usable(words):
            return None
        if other.short and other.words[-1] == words[-1] or other.unitless and other.words[0] == words[0]:
            return None
        return words, many

    def slot(self, kind):
        """A new slot: of the receiver, or of the object that it refers to."""
        rng = self.rng
        words, many = self.alike(kind) or self.fresh(kind)
        name = "_".join(words)
        if self.holder is not None and kind not in ("ref", "refs") and rng.random() < 0.5:
            holder = self.holder
            twin = [slot for slot in self.slots if slot.kind == kind and slot.owner is None]
            if twin and rng.random() < 0.5:
                words, many = twin[0].words, twin[0].many
                name = "_".join(words)
            if any(slot.words == words for slot in self.others.get(holder.path, ())):
                return self.slot(kind)
            made = Place(kind, f"{holder.path}.{name}", f"{holder.code}.{name}", words, many)
            made.owner = holder
            self.others.setdefault(holder.path, []).append(made)
        else:
            made = Place(kind, name, f"self.{name}", words, many)
            self.slots.append(made)
        self.kinds[made.path] = rng.choice(places.KINDS[kind])
        return made

    def attribute(self, kind):
        """A slot that every object in a list has."""
        words, many = self.fresh(kind)
        made = Place(kind, "_".join(words), "_".join(words), words, many)
        self.attributes.append(made)
        self.kinds[made.path] = self.rng.choice(places.KINDS[kind])
        return made

    def argument(self, kind, words=()):
        """A new argument of the message."""
        made = Place(kind, f"argument {len(self.arguments) + 1}", "?", list(words))
        made.many = kind in ("nums", "texts", "map")
        self.arguments.append(made)
        self.kinds[made.path] = self.rng.choice(places.KINDS[kind])
        return made

    def may_shorten(self, place, at=-1):
        """Whether no other slot has the word by which a place is to be called alone."""
        last = vocabulary.singular(place.words[at])
        return not any(last in (*other.words, vocabulary.singular(other.words[at])) for group in (self.slots, self.attributes, *self.others.values()) for other in group if other is not place)

    def name_parameters(self):
        """Gives the arguments their canonical names: by kind when all differ, else by place."""
        groups = {"number": "number", "text": "text", "day": "text", "time": "text", "truth value": "flag", "list": "values", "map": "pairs", "object": "other"}
        called = [groups[sentence.SORTS[place.kind]] for place in self.arguments]
        if len(set(called)) < len(called):
            called = list(sentence.ORDINALS[:len(called)])
        for place, name in zip(self.arguments, called):
            for group in self.others.values():
                for slot in group:
                    if slot.owner is place:
                        slot.code = f"{name}.{'_'.join(slot.words)}"
            place.code = name
        return called

    def distract(self):
        """Slots that the sentence does not tell of."""
        rng = self.rng
        for _ in range(rng.choice((0, 1, 1, 1, 1, 2, 2, 3))):
            kind = rng.choice(self.slots).kind if self.slots and rng.random() < 0.35 else rng.choice(("text", "num", "bool", "texts", "nums", "text", "num", "map", "date"))
            if kind in ("ref", "refs"):
                continue
            holder, self.holder = self.holder, None
            try:
                made = self.slot(kind)
            except LookupError:
                break
            finally:
                self.holder = holder
            # At times it shares a word with a slot that is told of.
            if rng.random() < 0.15 and len(self.slots) > 1:
                other = rng.choice(self.slots[:-1])
                words = [other.words[0], *made.words[1:]] if len(made.words) > 1 else [other.words[0], *made.words]
                if places.usable(words) and all(slot.words != words for slot in self.slots) and not any(slot.short and slot.words[-1] in words or slot.unitless and slot.words[0] in words for slot in self.slots) and kind != "bool":
                    made.words, name = words, "_".join(words)
                    self.kinds[name] = self.kinds.pop(made.path)
                    made.path, made.code = name, f"self.{name}"

    def draw(self):
        """Objects and arguments with random values, as a State."""
        rng = self.rng
        state = State(self)
        receiver = Thing("self")
        state.things["self"] = receiver
        arguments = []
        for place in self.arguments:
            arguments.append(Thing(str(self.arguments.index(place) + 1)) if place.kind == "ref" else self.value(place))
        state.arguments = arguments
        for slot in self.slots:
            if slot.kind == "ref":
                setattr(receiver, slot.path, Thing(slot.path))
            elif slot.kind == "refs":
                setattr(receiver, slot.path, [self.member(slot, at) for at in range(rng.choice((0, 1, 2, 2, 3)))])
            else:
                setattr(receiver, slot.path, self.value(slot))
        for path, slots in self.others.items():
            other = arguments[int(path) - 1] if path.isdigit() else getattr(receiver, path)
            state.things[path] = other
            for slot in slots:
                setattr(other, slot.path.rpartition(".")[2], self.value(slot))
        for slot in self.slots:
            if slot.kind == "refs":
                for member in getattr(receiver, slot.path):
                    state.things[member._path] = member
        for place, value in zip(self.arguments, arguments):
            if place.kind == "ref":
                state.things[value._path] = value
        if self.joins is not None and getattr(receiver, self.joins.path) and rng.random() < 0.35:
            arguments[0] = rng.choice(getattr(receiver, self.joins.path))
            state.things.pop("1", None)
        if self.nullable is not None and rng.random() < 0.3:
            setattr(receiver, self.nullable.path, None)
        if self.free is not None:  # a reference of receiver and argument that is mostly none
            for thing, other in ((receiver, arguments[0]), (arguments[0], receiver)):
                setattr(thing, self.free, other if rng.random() < 0.2 else None)
        for slot in self.parent:
            if not hasattr(receiver, "parents"):
                receiver.parents = [Thing("parents[0]")]
                state.things["parents[0]"] = receiver.parents[0]
            setattr(receiver.parents[0], slot.path, values.value(rng, slot.kind, self.kinds[slot.path]))
        for path, selector, act in self.sends:
            thing = state.things[path]
            setattr(thing, selector, Sent(act, thing))
        return state

    def member(self, slot, at):
        """An object of a list."""
        made = Thing(f"{slot.path}[{at}]")
        for attribute in self.attributes:
            setattr(made, attribute.path, self.value(attribute))
        return made

    def value(self, place):
        """A random value for a place."""
        return self.rng.choice(place.domain) if place.domain else values.value(self.rng, place.kind, self.kinds[place.path])


def copied(value, known):
    """A copy of a value, with each object copied once."""
    if isinstance(value, list):
        return [copied(item, known) for item in value]
    if isinstance(value, dict):
        return {key: copied(item, known) for key, item in value.items()}
    if not isinstance(value, Thing):
        return value
    if id(value) not in known:
        known[id(value)] = made = Thing(value._path)
        for name, held in vars(value).items():
            setattr(made, name, Sent(held.act, made) if isinstance(held, Sent) else copied(held, known))
    return known[id(value)]


class State:
    """What all objects of a case hold at one moment."""

    def __init__(self, world):
        self.world, self.things, self.arguments = world, {}, []

    def __getitem__(self, path):
        if path.startswith("argument "):
            return self.arguments[int(path[9:]) - 1]
        thing, name = self.holder(path)
        return getattr(thing, name)

    def __setitem__(self, path, value):
        thing, name = self.holder(path)
        setattr(thing, name, value)

    def holder(self, path):
        """The object and the slot of a path."""
        start, _, name = path.rpartition(".")
        return self.things[start or "self"], name

    def copy(self):
        """The same once more, with objects of its own."""
        made = copy.copy(self)
        known = {}
        made.arguments = [copied(value, known) for value in self.arguments]
        made.things = {path: copied(thing, known) for path, thing in self.things.items()}
        return made

    def told(self):
        """Every slot as {path: value}, references as texts."""
        made = {}
        for start, thing in self.things.items():
            for name, value in vars(thing).items():
                if name not in ("_path", "_p_changed", "parents") and not isinstance(value, Sent):
                    made[name if start == "self" else f"{start}.{name}"] = plain(value)
        return made
