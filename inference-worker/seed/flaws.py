"""Correction cases: a right method made wrong in one place, or what a model once wrote to the same wish; what the trial says of it, and the right method again."""

import re
import sys

import attempts
import vocabulary
from wishes import Outcome, Rejected, compiled, difference

SWAPS = ((" > ", " >= "), (" >= ", " > "), (" < ", " <= "), (" <= ", " < "), (" > ", " < "), (" < ", " > "), (" == ", " != "), (" + ", " - "), (" - ", " + "), (" * ", " + "), (" / ", " // "), (" // ", " / "),
         ("[0]", "[1]"), ("[-1]", "[0]"), ("[0]", "[-1]"), ("[1:]", "[:-1]"), ("[:-1]", "[1:]"), ("max(", "min("), ("min(", "max("), ("sum(", "len("), ("len(", "sum("), (" and ", " or "), (" or ", " and "),
         ("not ", ""), (" in ", " not in "), (" not in ", " in "), ("return None", "return 0"), ("return 0", "return None"), ("return False", "return True"), ("return True", "return False"), ("sorted(", "list("),
         (".upper()", ".lower()"), (".startswith(", ".endswith("), (" + 1", " + 2"), (" - 1", ""), ("= True", "= False"), ("[:", "["), (", 0)", ")"), (".values()", ""), ("any(", "all("), ("all(", "any("),
         ("first", "second"), ("second", "first"), ("return False", RAISES := 'raise ValueError("not allowed")'), (RAISES, "return False"), (RAISES, "return None"))


def wrong(rng, case):
    """A source that differs from the right one in one place."""
    source, chance = case.source, rng.random()
    head, _, body = source.partition("\n")
    lines = body.rstrip("\n").split("\n")
    if chance < 0.25:  # another slot
        names = [slot.partition(":") for slot in case.slots if not slot.endswith(":method")]
        used = [(name, kind) for name, _, kind in names if re.search(rf"self\.{name}\b", body)]
        others = [(name, kind) for name, _, kind in names if (name, kind) not in used or len(used) > 1]
        if used and others:
            name, _ = rng.choice(used)
            other, _ = rng.choice(others)
            if rng.random() < 0.5:
                return head + "\n" + re.sub(rf"self\.{name}\b", f"self.{other}", body)
            places = list(re.finditer(rf"self\.{name}\b", body))
            at = rng.choice(places)
            return head + "\n" + body[:at.start()] + f"self.{other}" + body[at.end():]
    if chance < 0.37 and len(lines) > 2:  # without a guard
        at = [n for n, line in enumerate(lines[:-1]) if line.startswith("    if ") and lines[n + 1].startswith("        ") and (n + 2 >= len(lines) or not lines[n + 2].startswith("        ")) and n + 2 < len(lines)]
        if at:
            n = rng.choice(at)
            kept = lines[n + 1].strip().startswith(("return", "raise"))
            return "\n".join([head, *lines[:n], *([] if kept else [lines[n + 1][4:]]), *lines[n + 2:]]) + "\n"
    if chance < 0.47 and len(lines) > 2:  # a step left out
        at = [n for n, line in enumerate(lines) if line.startswith("    self.") and "_p_changed" not in line and not lines[n - 1].strip().startswith("entries")]
        if len(at) > 1:
            n = rng.choice(at)
            return "\n".join([head, *lines[:n], *lines[n + 1:]]) + "\n"
    if chance < 0.53:  # a number next to the right one
        found = list(re.finditer(r"(?<![\w.\"])\d+(?![\w.\"])", body))
        if found:
            at = rng.choice(found)
            return head + "\n" + body[:at.start()] + str(max(0, int(at[0]) + rng.choice((-1, 1)))) + body[at.end():]
    if chance < 0.58 and "    self._p_changed = True\n" in body:
        return head + "\n" + body.replace("    self._p_changed = True\n", "", 1)
    if chance < 0.66:  # something much simpler
        names = [slot.partition(":")[0] for slot in case.slots if not slot.endswith(":method")]
        if names:
            return f"{head}\n    return self.{rng.choice(names)}\n"
    fitting = [(old, new) for old, new in SWAPS if old in body]
    if not fitting:
        raise Rejected("nothing to make wrong")
    old, new = rng.choice(fitting)
    places = [found.start() for found in re.finditer(re.escape(old), body)]
    at = rng.choice(places)
    return head + "\n" + body[:at] + new + body[at + len(old):]


def unknown(rng, case):
    """The case with an attempt that names a slot that is not there, as the guard says it."""
    names = [slot.partition(":")[0] for slot in case.slots if not slot.endswith(":method") and re.search(rf"self\.{slot.partition(':')[0]}\b", case.source)]
    if not names:
        raise Rejected("no slot is named")
    name = rng.choice(names)
    parts = name.split("_")
    other = rng.choice([name + "s", name.removesuffix("s"), parts[-1], parts[0], "_".join(parts[::-1]), f"{rng.choice(vocabulary.QUALITIES)}_{parts[-1]}"])
    if any(slot.partition(":")[0] == other for slot in case.slots) or other == name:
        raise Rejected("a slot that is there")
    case.attempt = re.sub(rf"self\.{name}\b", f"self.{other}", case.source)
    line = next(number for number, line in enumerate(case.attempt.split("\n"), 1) if f"self.{other}" in line)
    case.flaw, case.family = f"line {line}: the receiver has no slot {other}; use one that it has", "correct"
    return case


MOST_LINES = 2000


class TooLong(Exception):
    """A method that does not end."""


def bounded(function):
    """The function, which is stopped after so many lines: what is wrong may never end, as one that adds to the list that it goes through."""
    def run(*arguments):
        left = MOST_LINES

        def count(frame, event, value):
            nonlocal left
            left -= 1
            if left < 0:
                raise TooLong
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            return function(*arguments)
        finally:
            sys.settrace(before)
    return run


def fault(function, state, wanted):
    """Why a method is wrong in a state, empty when it is right; Rejected when that cannot be told."""
    try:
        outcome = Outcome(bounded(function), state)
        if isinstance(outcome.raised, TooLong):
            raise Rejected("an attempt that does not end")
        return difference(outcome, wanted, state.told())
    except (RecursionError, TypeError) as error:
        raise Rejected("a map in itself, or an answer that no image can hold") from error


def is_attempted(case):
    """Whether a model failed at the case's wish once."""
    return attempts.key(case.method.world.wish) in attempts.load()


def misread(rng, case):
    """What a model once wrote to the case's wish, in the names of this case."""
    body = rng.choice(attempts.load()[attempts.key(case.method.world.wish)])
    source = "\n".join([case.source.partition("\n")[0], *("    " + case.method.renamed(line) for line in body)]) + "\n"
    known = {slot.partition(":")[0] for slot in case.slots}
    if not set(re.findall(r"self\.(\w+)", source)) <= known | {"_p_changed"}:
        raise Rejected("an attempt with a slot that is not there")
    return source


def correction(rng, case):
    """The case with a flawed attempt and what the trial says of it; Rejected when the attempt passes."""
    is_misread = case.family == "written" and is_attempted(case) and rng.random() < 0.85
    if not is_misread and rng.random() < 0.1:
        return unknown(rng, case)
    attempt = misread(rng, case) if is_misread else wrong(rng, case)
    if attempt == case.source:
        raise Rejected("not wrong")
    try:
        function = compiled(attempt, case.selector)
    except (SyntaxError, KeyError) as error:
        raise Rejected("no Python") from error
    for number, (state, wanted) in enumerate(case.shown, 1):
        why = fault(function, state, wanted)
        if why:
            case.flaw = f"example {number}: {why}"[:200]
            case.attempt = attempt
            case.family = "correct"
            if len(attempt) > 700:
                raise Rejected("a long attempt")
            return case
    raise Rejected("an attempt that passes")
