"""Cases of the scenarios: one of the wishes, other names for what it calls by name, other values; the method is run for what the
examples say.

`python written.py [FILE …]` holds scenarios to their own checks.
"""

import functools
import pathlib
import random
import re
import sys

import barred
import place as places
import scenario as scenarios
import values
import vocabulary
from method import RAISE, Method
from place import Place
from scenario import BRACES
from values import Thing
from world import World

# How often a slot that a wish calls by its name is called otherwise, and how often a state is drawn without a check's.
RENAMED, FREE = 0.45, 0.25


class WrittenWorld(World):
    """The objects of a scenario, some of their slots called otherwise."""

    def __init__(self, rng, scenario, wish, held=False):
        super().__init__(rng, held)
        self.scenario, self.wish, self.paths, self.by_path, self.words = scenario, wish, {}, {}, {}
        self.meant = [scenario.meant(said) for said in BRACES.findall(wish)]
        named = {slot.name for slot, _ in self.meant}
        # Those of the receiver first: others stand on them.
        for slot in sorted(scenario.slots, key=lambda slot: slot.start != ""):
            self.add(slot, slot.name in named)
        for at, (kind, domain) in enumerate(scenario.takes):
            made = self.argument(kind)
            made.domain = domain
            self.kinds[made.path] = self.kind_in_checks(kind, [check.arguments[at] for check in scenario.checks if at < len(check.arguments)])
        self.name_parameters()
        self.whole = not self.others and not any(slot.kind in ("ref", "refs") for slot in self.slots)

    def add(self, slot, may_rename):
        """A slot as a place."""
        rng = self.rng
        many = vocabulary.singular(slot.name.rpartition("_")[2]) != slot.name.rpartition("_")[2]
        if slot.name not in self.words:  # slots of several objects that have one name keep having one
            words = rng.choice(slot.called).split("_")
            if may_rename and slot.kind not in ("ref", "refs") and rng.random() < RENAMED:
                words = self.renamed(slot.kind, many) or words
            self.words[slot.name] = words
        words = self.words[slot.name]
        name = "_".join(words)
        start = self.paths.get(slot.start.removesuffix("[]"), slot.start.removesuffix("[]"))
        kind = self.kind_in_checks(slot.kind, [value for check in self.scenario.checks for path, value in check.given.items() if re.sub(r"\[\d+\]", "[]", path) == slot.path])
        if slot.start.endswith("[]"):
            made = Place(slot.kind, name, name, words, many)
            self.attributes.append(made)
        elif slot.start:
            made = Place(slot.kind, f"{start}.{name}", "?", words, many)
            self.others.setdefault(start, []).append(made)
        else:
            made = Place(slot.kind, name, f"self.{name}", words, many)
            self.slots.append(made)
        made.domain = slot.domain
        self.kinds[made.path] = kind
        self.paths[slot.path] = made.path
        made.short = len(words) > 1 and any(other is slot and form.startswith("short") for other, form in self.meant)

    def called_by_name(self):
        """The receiver's slots that the wish calls by their names."""
        paths = {self.paths[slot.path] for slot, _ in self.meant}
        return [slot for slot in self.slots if slot.path in paths]

    def renamed(self, kind, many):
        """Words of another name in the same number; None when there is none."""
        # Neither a slot's word nor one that the wish says of something else.
        taken = self.taken() | {word for slot in self.scenario.slots for name in slot.called for word in name.split("_")} | set(re.findall("[a-z]+", self.wish.lower()))
        taken |= {vocabulary.singular(word) for word in taken}
        for _ in range(30):
            words, plural = places.name_words(self.rng, kind, self.held and self.rng.random() < 0.7)
            if plural == many and places.usable(words) and not taken & {*words, vocabulary.singular(words[-1])}:
                return words
        return None

    @staticmethod
    def kind_in_checks(kind, held):
        """The kind of the image: numbers are whole when all checks' are."""
        wanted = places.KINDS[kind]
        flat = [number for value in held for number in (value if isinstance(value, list) else [value])]
        return next((name for name in wanted if "float" in name), wanted[0]) if any(isinstance(number, float) for number in flat) else wanted[0]

    def place_of(self, path):
        """The place that a path of a state leads to."""
        if not self.by_path:
            self.by_path = {place.path: place for group in (self.slots, self.attributes, *self.others.values()) for place in group}
        return self.by_path.get(path) or self.by_path.get(path.rpartition(".")[2] if "[" in path else path)

    def renamed_path(self, path):
        """A check's path with the names of this world."""
        plain = re.sub(r"\[\d+\]", "[]", path)
        if plain not in self.paths:
            raise ValueError(f"no slot {path}")
        start, _, _ = path.rpartition(".")
        list_name, bracket, index = start.partition("[")
        return f"{self.paths[list_name]}[{index}.{self.paths[plain]}" if bracket else self.paths[plain]

    def stated(self, check):
        """The state of a check."""
        state = super().draw()
        receiver = state.things["self"]
        for slot in self.scenario.slots:
            if slot.kind == "refs":
                made = next(place for place in self.slots if place.path == self.paths[slot.path])
                count = max([0, *(int(found[1]) + 1 for path in check.given if (found := re.match(re.escape(slot.path) + r"\[(\d+)\]\.", path)))])
                for path in [path for path in state.things if path.startswith(made.path + "[")]:
                    del state.things[path]
                members = [self.member(made, at) for at in range(count)]
                setattr(receiver, made.path, members)
                state.things.update({member._path: member for member in members})
        for path, value in check.given.items():
            state[self.renamed_path(path)] = value
        if len(check.arguments) != len(self.arguments):
            raise ValueError(f"{len(check.arguments)} arguments, not {len(self.arguments)}")
        for at, value in enumerate(check.arguments):
            if isinstance(value, str) and value.startswith("@") and self.arguments[at].kind == "ref":
                thing = self.thing(state, value)
                if value != f"@{at + 1}":
                    state.things.pop(str(at + 1), None)
                state.arguments[at] = thing
            else:
                state.arguments[at] = value
        return state

    def resolved(self, state, value):
        """A value with the objects that its texts such as "@lamps[0]" mean."""
        if isinstance(value, list):
            return [self.resolved(state, item) for item in value]
        return self.thing(state, value) if isinstance(value, str) and value.startswith("@") else value

    def thing(self, state, said):
        """The object that a text such as "@lamps[0]" means."""
        path, bracket, index = said[1:].partition("[")
        path = self.paths.get(path, path) + bracket + index
        if path not in state.things:
            raise ValueError(f"no object {said}")
        return state.things[path]

    def draw(self):
        if not self.scenario.checks or self.rng.random() < FREE:
            return super().draw()
        state = self.stated(self.rng.choice(self.scenario.checks))
        self.vary(state)
        return state

    def vary(self, state):
        """Other texts in the place of the same ones throughout, and some other numbers, days and truth values."""
        rng, known = self.rng, {}
        rename = rng.random() < 0.6

        def other(kind, held, domain):
            if domain is not None:
                return rng.choice(domain) if rng.random() < 0.25 else held
            if isinstance(held, bool):
                return held if rng.random() < 0.8 else not held
            if isinstance(held, (int, float)):
                chance = rng.random()
                if chance < 0.6 or kind == "moon":
                    return held
                if chance < 0.75 and kind not in values.LIMITS:
                    return held + rng.choice((-1, 1))
                return values.value(rng, kind if kind not in ("nums", "wholes", "map") else "whole", "int" if isinstance(held, int) else "float")
            if isinstance(held, str):
                if kind in ("date", "dates", "clock"):
                    return held if rng.random() < 0.6 else values.value(rng, kind.removesuffix("s"), "text")
                if not rename or not held.isalpha() or self.is_literal(held):
                    return held
                if held not in known:
                    known[held] = rng.choice(vocabulary.PEOPLE if held[0].isupper() else vocabulary.WORDS_OF_TEXTS)
                return known[held]
            if isinstance(held, list):
                return [other(kind, value, None) for value in held]
            if isinstance(held, dict):
                return {other("text", key, None): other(kind, value, None) for key, value in held.items()}
            return held

        for path in state.told():
            place = self.place_of(path)
            if place is not None and place.kind not in ("ref", "refs"):
                state[path] = other(place.kind, state[path], place.domain)
        for at, place in enumerate(self.arguments):
            if place.kind != "ref":
                state.arguments[at] = other(place.kind, state.arguments[at], place.domain)

    def is_literal(self, text):
        """Whether the method or a wish has a text in it."""
        return any(text in line for line in (*self.scenario.lines, *self.scenario.wishes))


class WrittenMethod(Method):
    """The method of a scenario in the names of its world; its effect is the method itself, since the checks are what it is held to."""

    def __init__(self, world, compiled):
        scenario, self.world = world.scenario, world
        self.renamed = renamed = functools.partial(in_names, {slot.name: world.paths[slot.path].rpartition(".")[2] for slot in scenario.slots})
        for path, selector, parameters, lines in scenario.methods:
            source = f"def {selector}({', '.join(['self', *parameters])}):\n" + "\n".join(map(renamed, lines)) + "\n"
            world.sends.append((world.paths.get(path, path), selector, compiled(source, selector)))
        self.family, self.rows, self.phrases, self.changes, self.selectors = "written", [], [], scenario.changes, scenario.selectors
        self.plan = [([renamed(line) for line in scenario.lines], None)]
        self.wish = told(world)
        self.function = compiled(self.source("method"), "method")

    def effect(self, state):
        try:
            return self.function(state.things["self"], *state.arguments), False
        except ValueError as error:
            if str(error) == "not allowed":
                return None, True
            raise TypeError(str(error)) from error
        except KeyError as error:
            raise TypeError(str(error)) from error


def in_names(called, line):
    """A line of code with the names that slots have here."""
    return re.sub(r"(?<=\.)[a-z]\w*\b(?!\()", lambda found: called.get(found[0], found[0]), line)


def told(world):
    """The wish in the names of its world."""
    def said(found):
        slot, form = world.scenario.meant(found[1])
        *head, last = world.paths[slot.path].rpartition(".")[2].split("_")
        if form.endswith("one"):
            last = vocabulary.singular(last)
        text = last if form.startswith("short") else " ".join([*head, last])
        return text.capitalize() if found[1][:1].isupper() else text

    text = BRACES.sub(said, world.wish)
    text = text if text.endswith((".", "?", "!")) else text + "."
    return re.sub(r"(^|[.?!] )([a-z])", lambda found: found[1] + found[2].upper(), text)


def misses(scenario, rng):
    """What is wrong with a scenario by its own checks."""
    import wishes  # it draws scenarios itself

    for name in (*scenario.selectors, *(name for slot in scenario.slots for name in slot.called)):
        if barred.is_name_barred(name):
            yield f"a name that is kept for another purpose: {name}"
    for check in scenario.checks:
        # No case is drawn with it, but the file has it.
        if why := barred.reason(check.text):
            yield f"{why}: check {check.text}"
    for wish in scenario.wishes:
        # As it stands in the file: under another name its six words in a row are no longer known.
        if why := barred.reason(re.sub("[{}]", "", wish)):
            yield f"{why}: {wish}"
        world = WrittenWorld(rng, scenario, wish)
        if scenario.refusal is not None:
            continue
        try:
            method = WrittenMethod(world, wishes.compiled)
        except (SyntaxError, IndentationError) as error:
            yield f"no Python: {error}"
            return
        if world.scenario.changes != any(re.search(r"self\.\w+(?:\.\w+)? = |item\.\w+ = |other\.\w+ = ", line) for line in scenario.lines if "_p_changed" not in line):
            yield "a change without self._p_changed = True, or that without a change"
        for line in scenario.lines:
            if line.strip().startswith("raise") and line.strip() != RAISE:
                yield f"raise is always {RAISE}"
            if re.search(r"[+\-*/]= ", line):
                yield f"no augmented assignment: {line.strip()}"
        for check in scenario.checks:
            try:
                state = world.stated(check)
                missing = {slot.path for slot in scenario.slots if slot.kind not in ("ref", "refs") and "[]" not in slot.path} - check.given.keys()
                if missing:
                    raise ValueError(f"{', '.join(sorted(missing))} is not given")
                outcome = wishes.Outcome(method.function, state)
                answer = world.resolved(state, check.answer)
                wanted = wishes.Wanted(lambda s: (answer, check.fails), state)
                before = state.told()
                after = {} if check.fails else check.after
                wanted.after = {**before, **{world.renamed_path(path): values.plain(world.resolved(state, value)) for path, value in after.items()}}
                if check.any:
                    wanted.answer = wishes.ANY
                why = wishes.difference(outcome, wanted, before)
                if outcome.raised is not None and check.fails and str(outcome.raised) != "not allowed":
                    why = f"raises {type(outcome.raised).__name__}: {outcome.raised}"
                if why:
                    yield f"check {check.text}\n      {why}"
            except (ValueError, AttributeError, KeyError, IndexError, TypeError) as error:
                yield f"check {check.text}\n      {error}"


def faults(scenario, rng):
    """What is wrong with a scenario: with its checks, or with its method on other values."""
    import refusals
    import wishes

    yield from misses(scenario, rng)
    tried, rejected = 0, {}
    drawer = wishes.Drawer(rng)
    while tried < 12 and sum(rejected.values()) < 60:
        try:
            if scenario.refusal is None:
                drawer.attempt("written", scenario)
            else:
                refusals.told(drawer, scenario)
            tried += 1
        except (LookupError, NameError, wishes.Rejected) as error:
            rejected[str(error)] = rejected.get(str(error), 0) + 1
    if tried < 12:
        why = max(rejected, key=rejected.get)
        said = {"a barred name": "a name or word of it is kept for another purpose: use other words for slots, selectors and the things in the wishes",
                "barred words": "six words in a row are kept for another purpose: say it otherwise", "a barred method": "this very method is kept for another purpose: change it a little"}.get(why, why)
        yield f"mostly rejected: {said}"


def main(paths):
    """Holds the scenarios of files to their checks."""
    rng, count, bad = random.Random(1), 0, 0
    for path in map(pathlib.Path, paths):
        found, wrong = scenarios.read(path)
        for number, block, error in wrong:
            print(f"{path.name} block {number} ({block.strip().splitlines()[0][:60]}): {error}")
        bad += len(wrong)
        for number, scenario in found:
            count += 1
            why = list(dict.fromkeys(faults(scenario, rng)))
            if why:
                bad += 1
                print(f"{path.name} block {number} ({scenario.selectors[0]}):")
                for line in why[:4]:
                    print(f"   {line}")
        count += len(wrong)
    print(f"{count - bad} of {count} scenarios hold")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or sorted(scenarios.FOLDER.glob("*.txt"))))
