"""Values for the slots and arguments of a case, of the generator's kinds, and their form in an example."""

import json

import names
import vocabulary


LIMITS = {"whole1": (1, 12), "count": (0, 1600), "small": (0, 5), "size": (1, 5), "days": (1, 70), "at": (0, 3), "moon": (1, 12)}


class Thing:
    """An object under trial."""

    def __init__(self, path):
        self._path = path

    def __repr__(self):
        return f"@{self._path}"


class Sent:
    """A method slot of an object under trial, bound to it."""

    def __init__(self, act, thing=None):
        self.act, self.thing = act, thing

    def __call__(self, *arguments):
        return self.act(self.thing, *arguments)


def text(rng):
    """A short text: a name, a word or two, at times empty."""
    chance = rng.random()
    if chance < 0.35:
        return rng.choice(vocabulary.PEOPLE)
    if chance < 0.6:
        return rng.choice(vocabulary.WORDS_OF_TEXTS)
    if chance < 0.8:
        return rng.choice(vocabulary.WORDS_OF_TEXTS) + " " + rng.choice(vocabulary.WORDS_OF_TEXTS)
    if chance < 0.86:
        return rng.choice(vocabulary.PEOPLE) + " " + rng.choice(vocabulary.THINGS).capitalize()
    if chance < 0.93:
        return rng.choice("abcxyz")
    return "" if chance < 0.96 else names.pick_word(rng)


def number(rng, kind):
    """A number, small as a rule: edges lie close together then."""
    chance = rng.random()
    if kind == "float":
        return rng.choice((rng.randint(-8, 60) / 2, rng.randint(0, 200) / 10, rng.randint(0, 40) / 4))
    if chance < 0.55:
        return rng.randint(0, 12)
    return rng.randint(0, 60) if chance < 0.8 else rng.randint(-9, -1) if chance < 0.88 else rng.choice((0, 1, 100, 24, 365, 480, 1000, 250))


def date(rng):
    """A day as a text such as 2026-11-21."""
    return f"{rng.choice((1987, 1999, 2000, 2024, 2025, 2026, 2026, 2026))}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"


def value(rng, kind, image_kind):
    """A random value of a kind, as the image's kind."""
    if kind in ("num", "whole", "frac"):
        return number(rng, image_kind)
    if kind in LIMITS:
        return rng.randint(*LIMITS[kind])
    if kind == "text1":
        return text(rng) or "x"
    if kind == "bool":
        return rng.random() < 0.5
    if kind == "text":
        return text(rng)
    if kind == "month":
        return date(rng)[:7]
    if kind == "date":
        return date(rng)
    if kind == "clock":
        return f"{rng.randint(0, 23):02}:{rng.choice((0, 5, 15, 30, 40, 59, rng.randint(0, 59))):02}"
    size = rng.choice((0, 1, 2, 3, 3, 4, 5))
    if kind in ("nums", "wholes"):
        return [number(rng, image_kind[5:-1]) for _ in range(size)]
    if kind == "texts":
        return [text(rng) for _ in range(size)]
    if kind == "flags":
        return [rng.random() < 0.6 for _ in range(size)]
    if kind == "dates":
        return [date(rng) for _ in range(size)]
    keys = rng.sample(vocabulary.WORDS_OF_TEXTS, min(size, 4))
    if kind == "map":
        return {key: rng.randint(0, 20) for key in keys}
    if kind == "tmap":
        return {key: rng.choice(vocabulary.PEOPLE) for key in keys}
    if kind == "mmap":
        return {key: {rng.choice(vocabulary.WORDS_OF_TEXTS[:12]): rng.randint(1, 9) for _ in range(rng.randint(0, 3))} for key in keys}
    if kind == "lmap":
        return {key: [rng.choice(vocabulary.PEOPLE) for _ in range(rng.randint(0, 2))] for key in keys}
    raise ValueError(f"no values of kind {kind}")


def of_image(rng, kind):
    """A random value of a kind of the image."""
    if kind == "none":
        return None
    if kind.startswith("list"):
        inner = kind[5:-1] or "int"
        return [of_image(rng, inner) for _ in range(rng.choice((0, 1, 2, 3)) if kind == "list" else rng.choice((1, 2, 3, 3)))]
    if kind == "map":
        return value(rng, "map", "map")
    return value(rng, {"int": "num", "float": "frac", "text": "text", "bool": "bool"}[kind], kind)


def plain(value):
    """A value with references as texts, as an example writes them."""
    if isinstance(value, Thing):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def written(value):
    """A value in the normal form of an example."""
    return json.dumps(plain(value), ensure_ascii=False)


def alike(a, b):
    """Equal as the kernel compares: 5 is 5.0, true is not 1, numbers within 1e-9 of the larger one or 1e-12."""
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return a is b
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return a == b or abs(a - b) <= max(1e-9 * max(abs(a), abs(b)), 1e-12) < float("inf")
    if isinstance(a, Thing) or isinstance(b, Thing):
        return a is b
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(alike(a[k], b[k]) for k in a)
    return a == b
