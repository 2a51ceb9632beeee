"""Cases with a wish: a message, what is wanted in a sentence and examples, and the method that does it.

`Drawer(rng).draw()` makes a case that has been run: the method against the effect of the grammar, on objects of its own each time.
"""

import datetime
import math
import re

import barred
import cases
import grammar
import names
import scenario as scenarios
import stories
import trial
import values
import vocabulary
import written
from method import Writer
from world import World

COVENANT = "state lives in slots; a change ends with self._p_changed = True"
DROPPED = set("the a an is are it of to in at on and or that which what when with as by for so be its them they there any one other own given text number from now then out "
              "answer this not no how many much whether".split())
RUNS = 6
FAMILIES, WEIGHTS = ("reading", "change", "guarded", "two", "three", "either", "story", "written"), (28, 15, 20, 16, 8, 7, 13, 600)


class Rejected(Exception):
    """Why a drawn case does not count."""


class Disagrees(Exception):
    """A method that does not do what the grammar means: a fault of the tables."""


def permit(text, source=""):
    """Rejected when a text, or a method in it, may not stand in the corpus."""
    why = barred.reason(text, source)
    if why:
        raise Rejected(why)


class Case:
    """A message with a wish, its prompt and what the model must write."""

    def __init__(self, **held):
        self.__dict__.update(held)
        self.flaw = self.attempt = None

    def prompt(self):
        """The prompt, byte for byte as the kernel renders it."""
        lines = [f"<|covenant|>{COVENANT}", f"<|receiver|>{self.receiver}", f"<|slots|>{' '.join(self.slots)}", f"<|parents|>{self.parents}"]
        if self.others:
            lines.append(f"<|others|>{' '.join(self.others)}")
        lines.append(f"<|message|>{self.selector}({', '.join(self.arguments)})")
        if self.wish:
            lines.append(f"<|wish|>{self.wish}")
        lines += [f"<|example|>{example}" for example in self.examples]
        if self.flaw:
            lines.append(f"<|flaw|>{self.flaw}")
        if self.attempt:
            lines.append(f"<|attempt|>{self.attempt.rstrip()}")
        return "\n".join(lines) + "\n<|method|>"

    def completion(self):
        """What the model must write."""
        return (self.source if self.refusal is None else "<|refuse|>" + self.refusal) + "<|end|>"


def marks(case):
    """Where the wish names a slot, and of which kind that is: (start, end, class) as in `cases.marks`; class 1 is a slot that is not there."""
    prompt, out = case.prompt(), []
    start = prompt.index("<|wish|>") + len("<|wish|>")
    end = prompt.index("\n", start)
    kinds = dict(slot.rpartition(":")[::2] for slot in case.slots)
    for place in getattr(case, "named", ()):
        for said in sorted({place.bare(), place.one()}):
            for found in re.finditer(rf"(?<![A-Za-z]){re.escape(said)}(?![A-Za-z])", prompt[start:end], re.IGNORECASE):
                out.append((start + found.start(), start + found.end(), cases.KINDS.index(kinds[place.path]) + 2 if place.path in kinds else 1))
    return out


def image_kind(value):
    """The kind of a value as the image says it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, list):
        kinds = {image_kind(item) for item in value}
        return f"list[{kinds.pop()}]" if len(kinds) == 1 and kinds <= {"bool", "int", "float", "text"} else "list"
    return {int: "int", float: "float", str: "text", dict: "map"}.get(type(value), "ref")


SPACE = {**trial.ALLOWED, "math": math, "datetime": datetime, "ValueError": ValueError, "frozenset": frozenset, "divmod": divmod, "pow": pow, "map": map, "filter": filter}


def slots_of_others(world, state, slots):
    """The slots of the objects that the receiver's slots and the arguments hold, in the order of the receiver's slots."""
    order = [slot.partition(":")[0] for slot in slots]
    starts = sorted((path for path in world.others if not path.isdigit()), key=order.index) + [slot.path + "[0]" for slot in world.slots if slot.kind == "refs" and slot.path + "[0]" in state.things]
    found = []
    for start in starts + sorted(path for path in state.things if path.isdigit()):
        found += [f"{start}.{name}:{image_kind(value)}" for name, value in vars(state.things[start]).items() if name not in ("_path", "_p_changed") and not callable(value)]
    return found[:16]


def compiled(source, selector):
    """The function of a source."""
    space = {"__builtins__": SPACE, "math": math, "datetime": datetime}
    exec(compile(source, "<method>", "exec"), space)
    return space[selector]


class Outcome:
    """What a send did: its answer, whether it raised and what, the slots afterwards, whether a change was declared."""

    def __init__(self, method, state):
        after = state.copy()
        receiver = after.things["self"]
        self.raised, self.answer = None, None
        try:
            self.answer = values.plain(method(receiver, *after.arguments))
        except Exception as error:  # whatever a method raises
            self.raised = error
        declared = [vars(thing).pop("_p_changed", False) for thing in after.things.values()]
        self.declared = True in declared  # for the whole activation, whoever says so
        self.after = after.told() if self.raised is None else state.told()


class Wanted:
    """What a send should do, by the effect."""

    def __init__(self, effect, state):
        after = state.copy()
        answer, fails = effect(after)
        self.fails, self.answer = fails, values.plain(answer)
        self.after = state.told() if fails else after.told()


def difference(outcome, wanted, before):
    """How an outcome differs from what is wanted, as the kernel says it; empty when it does not."""
    if wanted.fails:
        return "" if outcome.raised is not None else f"answers {values.written(outcome.answer)}, and should fail"
    if outcome.raised is not None:
        error = f"raises {type(outcome.raised).__name__}: {outcome.raised}"
        return error[:150] + (", and should answer" + (f" {values.written(wanted.answer)}" if wanted.answer is not ANY else ""))
    if wanted.answer is not ANY and not values.alike(outcome.answer, wanted.answer):
        return f"answers {values.written(outcome.answer)}, not {values.written(wanted.answer)}"
    for path, value in wanted.after.items():
        if path not in outcome.after:
            return f"{path} is gone, and should be {values.written(value)}"
        if not values.alike(outcome.after[path], value):
            return f"{path} is {values.written(outcome.after[path])}, not {values.written(value)}"
    for path, value in outcome.after.items():
        if path not in wanted.after:
            return f"{path} is {values.written(value)}, and should not be there"
        if not values.alike(value, before.get(path)) and not outcome.declared:
            return f"{path} changes without self._p_changed = True"
    return ""


ANY = object()


class Drawer:
    """Draws cases from one random source, on one side of the splits."""

    def __init__(self, rng, held=False, unseen=False, composed=None):
        """`held`: with held-out names; `unseen`: in held-out phrasings; `composed`: whether compositions are of the held-out ones."""
        self.rng, self.held, self.unseen, self.composed = rng, held, unseen, composed

    def draw(self, family=None):
        """A case that has been run."""
        while True:
            try:
                return self.attempt(family)
            except (LookupError, Rejected):
                continue

    def attempt(self, family=None, scenario=None):
        """A case, or an exception that says why this draw does not count."""
        rng = self.rng
        # A phrasing or a composition of the other side is one of the grammar's.
        weights = WEIGHTS if not self.unseen and self.composed is None else WEIGHTS[:-1] + (0,)
        make = family or rng.choices(FAMILIES, weights)[0]
        if make == "written":
            return self.scenario_case(scenario or rng.choice(scenarios.drawn(self.held)))
        self.world = world = World(rng, self.held)
        if make != "story" and rng.random() < 0.13:
            world.holder = world.slot("ref") if rng.random() < 0.7 else world.argument("ref")
        self.writer = writer = Writer(rng, world, self.unseen)
        if make == "reading":
            method = writer.reading(depth=1)
        elif make == "story":
            method = stories.tell(writer)
        elif make == "either":
            method = writer.either()
        else:
            steps, guarded = {"change": (1, False), "guarded": (1, True), "two": (2, None), "three": (3, None)}[make]
            method = writer.changing(steps, guarded)
        if world.holder is not None and (not world.others or world.holder.path.startswith("argument") and world.holder not in world.arguments):
            raise Rejected("an object that nothing is told of")
        rows = {row.key for row in method.rows}
        if len(method.rows) > 1 and grammar.is_composition_held_out(method.rows) != bool(self.composed) and not (self.held and self.composed is None):
            raise Rejected("a composition of the other side")
        if len(method.wish) > 400:
            raise Rejected("a wish that is too long")
        world.distract()
        return self.case(method, rows)

    def scenario_case(self, scenario, wish=None):
        """A case of a scenario."""
        self.world = world = written.WrittenWorld(self.rng, scenario, wish or self.rng.choice(scenario.wishes), self.held)
        self.writer = Writer(self.rng, world, self.unseen)
        method = written.WrittenMethod(world, compiled)
        self.writer.sentence.places = world.called_by_name()
        world.distract()
        return self.case(method, set())

    def case(self, method, rows):
        """The case of a method: its message, examples and prompt."""
        rng, world = self.rng, self.world
        self.fix_paths(world)
        used = self.places(method)
        selector = self.selector(method, used)
        source = method.source(selector)
        function = compiled(source, selector)
        states = [world.draw() for _ in range(RUNS)]
        told = [self.run(method, function, state) for state in states]
        moved = [n for n, (outcome, wanted) in enumerate(told) if not wanted.fails and (wanted.after != states[n].told() if method.changes else True)]
        if method.changes and not moved:
            raise Rejected("nothing is ever changed")
        if not method.changes and len({values.written(wanted.answer) for _, wanted in told if not wanted.fails}) < 2:
            raise Rejected("always the same answer")
        full = [n for n in moved if all(getattr(states[n].things["self"], slot.path) not in ([], {}, "") for slot in world.slots)]
        if not full and any(slot.kind == "refs" for slot in world.slots):
            raise Rejected("a list of no objects")
        chosen = rng.choice(full if full and (rng.random() < 0.9 or any(slot.kind == "refs" for slot in world.slots)) else moved)
        base, asked = states[chosen], self.asked(method, told[chosen][1])
        if any(isinstance(value, values.Thing) and not value._path.isdigit() for value in base.arguments):
            raise Rejected("a message with an object that the examples tell of")
        receiver = base.things["self"]
        kinds = {name: image_kind(value) for name, value in vars(receiver).items() if name not in ("_path", "_p_changed", "parents") and not callable(value)}
        slots = [f"{slot.path}:{kinds[slot.path]}" for slot in world.slots if slot.path in kinds]
        rng.shuffle(slots)
        self.order = [slot.partition(":")[0] for slot in slots]
        given = rng.choices(("all", "used", "new"), (70, 12, 18))[0]
        if world.nullable is not None and getattr(receiver, world.nullable.path) is None:
            raise Rejected("nothing to refer to")
        shown, kept = [self.example(base, asked, base, given, used)], [(base, asked)]
        count = rng.choices((0, 1, 2, 3), (4, 46, 46, 4))[0]
        for _ in range(8):
            if len(shown) >= count:
                break
            state = self.another(base, used)
            asked = self.asked(method, self.run(method, function, state)[1])
            text = self.example(state, asked, base, given, used)
            outcome = text.partition(" -> ")[2]
            if text not in shown and (outcome != shown[0].partition(" -> ")[2] or rng.random() < 0.4):
                shown.append(text)
                kept.append((state, asked))
        # What is longer than 200 characters is checked but not shown.
        pairs = [(text, pair) for text, pair in list(zip(shown, kept))[:count] if len(text) <= 200]
        if len(pairs) < min(count, 1) and rng.random() < 0.6:
            raise Rejected("a long example")
        shown, kept = [text for text, _ in pairs], [pair for _, pair in pairs]
        slots += [f"{selector}:method" for path, selector, _ in world.sends if path == "self"]
        if rng.random() < 0.12:
            slots.append(f"{'_'.join(self.verb_words())}:method")
        case = Case(family=method.family, selector=selector, arguments=[image_kind(value) for value in base.arguments], slots=slots, others=slots_of_others(world, base, slots), wish=method.wish, examples=shown, source=source,
                    refusal=None, receiver=f"#{rng.randint(1, 9999)}" if rng.random() < 0.8 else "_".join(self.verb_words()[:1]), parents=self.parents(), method=method, base=base, states=states, rows=rows)
        case.named = [slot for slot in world.slots if slot in self.writer.sentence.places]
        case.shown = kept
        permit(case.prompt().split("<|receiver|>")[1] + case.completion(), source)
        return case

    def run(self, method, function, state):
        """A run of the method held to the effect."""
        outcome = Outcome(function, state)
        wanted = self.effect(method, state)
        if not wanted.fails and outcome.raised is not None:
            raise Rejected(f"not total: {type(outcome.raised).__name__}")
        why = difference(outcome, wanted, state.told())
        if why:
            raise Disagrees(f"{why}\n{method.wish}\n{method.source('tried')}")
        return outcome, wanted

    def example(self, state, asked, base, style, used):
        """An example in the normal form, which gives all data slots, those that the method uses, or those that are not as in the base."""
        before, usual = state.told(), base.told()
        if style == "all":
            given = [path for path in [*self.order, *(path for path in before if path not in self.order)] if not self.refers(before[path]) or before[path] != usual.get(path)]
        else:
            given = [path for path in before if (path in used and style == "used") or before[path] != usual.get(path)]
        text = " ".join(f"{path}={values.written(before[path])}" for path in given)
        text += (" " if text else "") + "(" + ", ".join(values.written(value) for value in state.arguments) + ") -> "
        if asked.fails:
            return text + "!"
        text += "_" if asked.answer is ANY else values.written(asked.answer)
        after = [f"{path}={values.written(value)}" for path, value in asked.after.items() if value != before.get(path) or type(value) is not type(before.get(path))]
        return text + ("; " + " ".join(after) if after else "")

    @staticmethod
    def refers(value):
        """Whether a value is a reference or a list of them."""
        return isinstance(value, str) and value.startswith("@") or isinstance(value, list) and bool(value) and isinstance(value[0], str) and value[0].startswith("@")

    @staticmethod
    def effect(method, state):
        """What the method is meant to do."""
        try:
            return Wanted(method.effect, state)
        except (TypeError, ZeroDivisionError, IndexError, AttributeError, OverflowError) as error:
            raise Rejected(f"no effect: {type(error).__name__}") from error

    def wanted(self, method, state):
        """What an example asks for."""
        return self.asked(method, self.effect(method, state))

    def asked(self, method, wanted):
        """What an example asks for of what the effect does: any answer where the method tells none."""
        if method.changes and not self.answers(method):
            wanted.answer = ANY
        return wanted

    @staticmethod
    def answers(method):
        """Whether the method tells what it answers."""
        return any(line.strip().startswith("return") and line.strip() != "return None" for lines, _ in method.plan for line in lines)

    def places(self, method):
        """The paths that a method's code has in it."""
        read = set(re.findall(r"\.(\w+)", "\n".join(line for lines, _ in method.plan for line in lines)))
        return {slot.path for group in (self.world.slots, *self.world.others.values()) for slot in group if slot.path.rpartition(".")[2] in read}

    def another(self, base, used):
        """A state like another, some of what the method uses drawn anew."""
        rng, state = self.rng, base.copy()
        fresh = self.world.draw()
        if self.world.whole and rng.random() < 0.8:
            return fresh  # a way through the method that its check takes
        both = base.told().keys() & fresh.told().keys()
        references = {slot.path for slot in self.world.slots if slot.kind in ("ref", "refs")}
        paths = [path for path in both if path in used and path not in references or "[" in path]
        chosen = rng.sample(sorted(paths), min(len(paths), rng.choice((0, 1, 1, 2)))) if paths else []
        for path in chosen:
            state[path] = fresh[path]
        world, receiver = self.world, state.things["self"]
        if world.nullable is not None and rng.random() < 0.5:
            setattr(receiver, world.nullable.path, None)
        if world.free is not None and rng.random() < 0.6:
            one, other = rng.sample((receiver, state.arguments[0]), 2)
            setattr(one, world.free, other)
        if world.joins is not None and getattr(receiver, world.joins.path) and rng.random() < 0.5:
            state.arguments[0] = rng.choice(getattr(receiver, world.joins.path))
        for at, place in enumerate(self.world.arguments):
            if place.kind != "ref" and (rng.random() < 0.6 or not chosen):
                state.arguments[at] = fresh.arguments[at]
        return state

    def fix_paths(self, world):
        """Paths of the slots of arguments begin with the argument's number."""
        for place in list(world.arguments):
            old = place.path
            if old in world.others:
                number = str(world.arguments.index(place) + 1)
                slots = world.others.pop(old)
                world.others[number] = slots
                for slot in slots:
                    kind = world.kinds.pop(slot.path)
                    slot.path = f"{number}.{'_'.join(slot.words)}"
                    world.kinds[slot.path] = kind

    def verb_words(self):
        """A selector that tells little: a verb, and at times what it is about."""
        rng, v = self.rng, vocabulary
        words = [rng.choice(v.VERBS)]
        chance = rng.random()
        if chance < 0.45:
            words.append(rng.choice(v.THINGS))
        elif chance < 0.6:
            words += [rng.choice(v.MATTERS)]
        elif chance < 0.7:
            words += [rng.choice(v.QUALITIES), rng.choice(v.THINGS)]
        return words

    def selector(self, method, used):
        """The message's name: out of the phrase and the slots' names, or one that tells little."""
        rng = self.rng
        for _ in range(40):
            chance = rng.random()
            words = None
            if chance < 0.62 and method.selectors:
                words = rng.choice(method.selectors).split("_")
            elif chance < 0.62 and method.phrases:
                row, phrase, holes = method.phrases[0] if method.changes else method.phrases[-1]
                phrase = phrase.split(",")[0].split(";")[0]
                phrase = re.sub(r"\{(\w+):(is|are|has|was|s|es|s1|is1|go|they|them)\}", lambda f: {"is": "{" + f[1] + "}"}.get(f[2], ""), phrase)
                said = re.sub(r"\{(\w+)(?::(\w+))?\}", lambda f: f" {self.part(holes.get(f[1]), f[2])} ", phrase)
                words = [w for w in re.findall(r"[a-z]+", said.lower()) if w not in DROPPED or rng.random() < 0.15]
                if not method.changes and row.kind == "bool" and rng.random() < 0.7:
                    words = ["is", *words]
                words = words[:rng.choice((3, 4, 5, 6))]
            elif chance < 0.75:
                places = [slot for slot in self.world.slots if slot.path in used]
                if places:
                    slot = rng.choice(places)
                    words = [rng.choice(vocabulary.VERBS if method.changes else ["get", "tell", "find", "show", "current", "compute", "what"]), *(slot.words if rng.random() < 0.6 else slot.one().split())]
            else:
                words = self.verb_words()
            selector = "_".join(words or ())
            if selector.isidentifier() and selector not in names.BARRED and not any(slot.path == selector for slot in self.world.slots) and selector not in SPACE and selector not in ("wishes", "parents") and len(selector) <= 48 and not selector.endswith("_") and (words[-1] not in ("and", "the", "a", "or")):
                return selector
        raise Rejected("no selector")

    def part(self, node, form):
        """What a hole adds to a selector."""
        place = getattr(node, "place", None)
        if place is None or place in self.world.arguments:
            return ""
        words = " ".join(place.words) if self.rng.random() < 0.7 else place.words[-1]
        return words if form != "1" and self.rng.random() < 0.8 else " ".join(vocabulary.singular(w) for w in words.split(" "))

    def parents(self):
        """The delegation chain."""
        rng = self.rng
        chain = [rng.choice(vocabulary.THINGS) for _ in range(rng.choice((0, 0, 0, 1, 1, 2)))]
        return " ".join([*chain, "traits"])
