"""The trial: a method's source is run on a small object with random values and held to the effect."""

import copy

NAMES = (
    "len sum min max sorted abs round str int float bool list dict tuple set enumerate zip range any all reversed isinstance"
).split()
ALLOWED = {name: __builtins__[name] if isinstance(__builtins__, dict) else getattr(__builtins__, name) for name in NAMES}
TEXTS = ["", "Ada", "blue sky", "x", "héllo", "42"]


def value(rng, kind):
    """A random value of a kind; lists, texts and maps are at times empty."""
    if kind.startswith("list"):
        inner = kind[5:-1] or "int"
        return [value(rng, inner) for _ in range(rng.choice((0, 1, 2, 3, 5)))]
    if kind == "int":
        return rng.choice((0, 1, -3, rng.randint(-50, 50), rng.randint(0, 1000)))
    if kind == "float":
        return rng.choice((0.5, -1.25, rng.randint(-400, 400) / 8))
    if kind == "bool":
        return rng.random() < 0.5
    if kind == "map":
        return {rng.choice(TEXTS): rng.randint(0, 9) for _ in range(rng.randint(0, 3))}
    if kind == "bytes":
        return bytes(rng.randint(0, 255) for _ in range(rng.randint(0, 4)))
    if kind == "none":
        return None
    return f"#{rng.randint(1, 99)}" if kind == "ref" else rng.choice(TEXTS)


class Thing:
    """The object under trial."""

    def object_id(self):
        """The id of the object under trial."""
        return "#12"

    def slot_names(self):
        """The names of its slots."""
        return [name for name in self.__dict__ if name != "_p_changed"]


def alike(a, b):
    """Equal in value and in type, lists and maps included; sums of floats up to rounding."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or abs(a - b) <= max(1e-9 * max(abs(a), abs(b)), 1e-12) < float("inf")
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[k], b[k]) for k in a)
    return a == b


def compiled(source, selector):
    """The function of a source, or None when it is no function of that name."""
    space = {"__builtins__": ALLOWED}
    exec(compile(source, "<method>", "exec"), space)
    return space.get(selector)


def holds(case, source, rng, rounds=4):
    """Whether the source has the effect of the case in every round; a reason for False is the second item."""
    try:
        method = compiled(source, case.selector)
        if method is None or method.__code__.co_argcount != len(case.arguments) + 1:
            return False, "not the function asked for"
        for _ in range(rounds):
            state = {name: value(rng, kind) for name, kind in case.slots if kind != "method"}
            arguments = [value(rng, kind) for kind in case.arguments]
            for place, kind in enumerate(case.arguments):  # often an item that is there
                if case.targets and rng.random() < 0.5:
                    inside = state.get(case.targets[0])
                    if isinstance(inside, (list, dict)) and inside:
                        arguments[0] = rng.choice(list(inside))
                    elif not isinstance(inside, (list, dict)) and case.family == "compare" and inside is not None:
                        arguments[0] = inside
            thing = Thing()
            thing.__dict__.update(copy.deepcopy(state))
            wanted_state = copy.deepcopy(state)
            wanted = case.effect(wanted_state, *copy.deepcopy(arguments))
            got = method(thing, *arguments)
            after = dict(thing.__dict__)
            told = after.pop("_p_changed", False)
            if not alike(got, wanted):
                return False, f"answers {got!r}, not {wanted!r}"
            if list(after) != list(wanted_state) or not alike(after, wanted_state):
                return False, "another state"
            if not alike(wanted_state, state) and told is not True:
                return False, "the change is not told"
    except Exception as error:  # whatever a wrong method raises is a failed trial
        return False, f"{type(error).__name__}: {error}"
    return True, ""
