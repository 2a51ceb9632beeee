"""Methods that no row of the grammar makes: references and lists of them, methods sent, loops, texts that go round."""

import vocabulary
from expression import Leaf, Said
from grammar import WORDS
from method import RAISE, Method, ends, fails, nothing
from place import Place
from sentence import asked, wondered


def tell(writer):
    """A method of a random story."""
    story = writer.rng.choices([story for story, _ in STORIES], [weight for _, weight in STORIES])[0]
    writer.grammar.phrases.clear()
    family, plan, wish, changes, hint = story(writer, writer.rng, writer.grammar, writer.sentence)
    made = Method(family, plan, writer.sentence.finish(wish), writer.grammar, changes)
    made.phrases.append((Hint(), hint[0], hint[1]))
    return made


class Hint:
    """Stands for a row where a selector is made."""

    kind = "story"


def changed(*lines):
    """Lines of a change."""
    return [*lines, "self._p_changed = True"]


def told(writer, text, **places):
    """One of several phrasings, with names in it."""
    return writer.choose(text).format(**{name: Said(place if hasattr(place, "say") else Leaf(place), writer.sentence) for name, place in places.items()})


def group(writer, kind="num"):
    """A slot with a list of objects, and a slot that each of them has."""
    items = writer.world.slot("refs")
    return items, writer.world.attribute(kind)


def of_all(writer, rng, made, sentence):
    """A number out of all objects of a list."""
    items, slot = group(writer)
    a, n = items.code, slot.path
    fields = lambda s: [getattr(item, n) for item in s[items.path]]
    which = rng.choice(("sum", "sum", "list", "average", "largest", "smallest"))
    if which == "sum":
        wish = asked(rng, told(writer, "the sum of the {n:b} of {a}|the {n:b} of all {a:b} together|the total of the {n:b} of {a}|what the {n:b} of {a} make{n:s} together|the {n:b} of {a}, added up|the {n:b} of all {a:b}, summed|the {n:b} of all {a:b} in total|the total {n:b} of {a}|the combined {n:b} of {a}|the grand total of the {n:b} over all {a:b}|the sum, over all {a:b}, of their {n:b}|the sum of what {a} have as {n:b}|the {n:b} of every {a:1}, all added together|the result of adding up the {n:b} of each of {a}|what one gets by adding up the {n:b} of {a}|what {a} have in {n:b} altogether|how much comes out when the {n:b} of every {a:1} {n:are} added up|how much {a} have in {n:b}, all of them taken together|everything that {a} have as {n:b}, added together", a=items, n=slot))
        plan = [([f"return sum([item.{n} for item in {a}])"], ends(lambda s: sum(fields(s)[::-1]) if all(isinstance(v, int) for v in fields(s)) else sum(fields(s))))]
    elif which == "list":
        wish = asked(rng, told(writer, "the {n:b} of each of {a}, as a list|a list of the {n:b} of {a}|for each of {a} its {n:b}, in their order|the {n:b} of every {a:1}, in a list|a list with the {n:b} of each {a:1}|a list that holds the {n:b} of every one of {a}, in the same order|the list made by taking the {n:b} of each {a:1}|what each of {a} has as {n:b}, as a list|what {a} have as {n:b}, listed in their order|which {n:b} {a} have, as a list in their order|{a}, each replaced by its {n:b}|{a} mapped to their {n:b}, as a list|the {n:b} of all {a:b}, one after the other, as a list|the {n:b} of {a}, collected in a list|a list, as long as {a}, of the {n:b} of each|the {n:b} of the first of {a}, of the second, and so on, as a list|one list of what {a} have as {n:b}, one entry for each {a:1}|instead of {a} a list of their {n:b}", a=items, n=slot))
        plan = [([f"return [item.{n} for item in {a}]"], ends(fields))]
    else:
        code = {"average": f"sum([item.{n} for item in {a}]) / len({a})", "largest": f"max([item.{n} for item in {a}])", "smallest": f"min([item.{n} for item in {a}])"}[which]
        value = {"average": lambda v: sum(v) / len(v), "largest": lambda v: sorted(v)[-1], "smallest": lambda v: sorted(v)[0]}[which]
        edge, word = rng.choice((("None", "none"), ("0", "0")))
        wish = asked(rng, told(writer, f"the {which} of the {{n:b}} of {{a}}|the {which} {{n:b}} of {{a}}|the {which} {{n:b}} that {{a}} have|the {which} of all the {{n:b}} of {{a}}|the {which} {{n:b}} among {{a}}|the {which} {{n:b}} over all {{a:b}}|the {which} {{n:b}} in the whole of {{a}}|the {which} of what {{a}} have as {{n:b}}|the {which} of the numbers that {{a}} have as {{n:b}}|the {which} value of the {{n:b}} over all {{a:b}}|the {which} out of the {{n:b}} of every {{a:1}}|the {which}, taken over {{a}}, of the {{n:b}}|the {which} of the {{n:b}} that {{a}} have|what the {which} {{n:b}} of {{a}} {{n:are}}|what the {which} {{n:b}} of all {{a:b}} come{{n:s}} to|how large the {which} {{n:b}} of {{a}} {{n:are}}|which number is the {which} of the {{n:b}} of {{a}}", a=items, n=slot)) + told(writer, f", {word} when there are none|; {word} without {{a:b}}|; when there are no {{a:b}} {word}|, or {word} if there are none|; {word} if there are no {{a:b}}|; answer {word} when there are none of {{a}}|, but {word} when {{a}} are empty|; if {{a}} are empty, answer {word}|; with no {{a:b}}, it is {word}|; {word} in case there are none|, and {word} for no {{a:b}} at all|; should there be no {{a:b}}, answer {word}|; as long as there are none, {word}|; it is {word} when nothing is in {{a}}|, {word} being the answer when there are none|; {word} unless there is at least one {{a:1}}|; no {{a:b}}, then {word}|; when there are no {{a:b}} to look at, the answer is {word}", a=items)
        plan = [([f"if not {a}:", f"    return {edge}", f"return {code}"], ends(lambda s: value(fields(s)) if fields(s) else None if edge == "None" else 0))]
    return "objects", plan, wish, False, (f"{which} of {{n}} of {{a}}", {"a": Leaf(items), "n": Leaf(slot)})


def those(writer, rng, made, sentence):
    """Those objects of a list whose slot is such and such."""
    kind = rng.choice(("num", "num", "text", "bool"))
    items, slot = group(writer, kind)
    a, n = items.code, slot.path
    if kind == "bool":
        code, said, holds = f"item.{n}", told(writer, "that the {n:b} is true|whose {n:b} is true|that {n:on}|that {n:b} is set|that {n:b} is on|that the {n:b} is not false|where {n:on}|where {n:b} is true|with {n:b} on|with {n:b} at true|having {n:b} set|marked as {n:b}|flagged as {n:b}|whose {n:b} flag is set", n=slot).replace("that ", "for which ", 1) if rng.random() < 0.3 else told(writer, "whose {n:b} is true|with the {n:b} set|where {n:on}|where {n:b} is true|for which {n:on}|for which {n:b} is true|whose {n:b} is set|whose {n:b} is on|whose {n:b} says yes|whose {n:b} flag is set|with {n:b} on|with {n:b} being true|with a true {n:b}|having {n:b} set to true|marked as {n:b}|flagged as {n:b}|in which {n:on}", n=slot), lambda s: lambda item: getattr(item, n)
        if rng.random() < 0.4:
            code, said, holds = f"not item.{n}", told(writer, "whose {n:b} is false|with the {n:b} not set|where {n:off}|where {n:b} is false|for which {n:off}|for which {n:b} is false|whose {n:b} is not true|whose {n:b} is not set|whose {n:b} is off|whose {n:b} says no|whose {n:b} flag is not set|with {n:b} off|with {n:b} being false|with a false {n:b}|having {n:b} set to false|not marked as {n:b}|in which {n:off}", n=slot), lambda s: lambda item: getattr(item, n) is False
    else:
        value = made.leaf(kind)
        sign, words, act = rng.choice(((">", "more than|above|greater than|over|larger than|higher than|bigger than|in excess of|beyond|strictly more than|strictly above|strictly greater than|anything above|anything over", lambda x, y: y < x), ("<", "less than|below|smaller than|under|lower than|beneath|short of|strictly less than|strictly below|strictly smaller than|anything less than|anything below|anything under", lambda x, y: y > x), (">=", "at least|not less than|no less than|not below|not under|no smaller than|not smaller than|no lower than|not lower than|at or above|equal to or more than|more than or equal to|greater than or equal to", lambda x, y: not x < y), ("<=", "at most|not more than|no more than|not above|not over|no larger than|not larger than|no higher than|no greater than|up to|at or below|equal to or less than|less than or equal to", lambda x, y: not x > y), ("==", "exactly|equal to|precisely|exactly equal to|the same as|identical to|at exactly|at precisely|no other than|none other than|neither more nor less than|neither above nor below", lambda x, y: not x != y))) if kind == "num" else ("==", "||||the same as|exactly|equal to|identical to|precisely|no other than|none other than|exactly the same as|the very same as", lambda x, y: not x != y)
        said = told(writer, "whose {n:b} {n:are} W {v}|with a {n:b} W {v}|that have W {v} as {n:b}|where the {n:b} {n:are} W {v}|where {n:b} {n:are} W {v}|for which the {n:b} {n:are} W {v}|for which {n:b} {n:are} W {v}|in which the {n:b} {n:are} W {v}|of which the {n:b} {n:are} W {v}|whose own {n:b} {n:are} W {v}|whose {n:b} turn{n:s} out to be W {v}|whose {n:b} happen{n:s} to be W {v}|with {n:b} W {v}|with the {n:b} W {v}|having a {n:b} W {v}|with the {n:b} being W {v}|having {n:b} W {v}|whose value of {n:b} is W {v}" if kind == "num" and sign in "<=>=" else "whose {n:b} {n:are} W {v}|with {v} as {n:b}|where the {n:b} {n:are} W {v}|where {n:b} {n:are} W {v}|for which the {n:b} {n:are} W {v}|in which the {n:b} {n:are} W {v}|of which the {n:b} {n:are} W {v}|whose {n:b} happen{n:s} to be W {v}|whose {n:b} turn{n:s} out to be W {v}|whose {n:b} read{n:s} {v}|whose {n:b} equal{n:s} {v}|whose {n:b} and {v} are equal|whose {n:b} {n:are} no different from {v}|with a {n:b} of {v}|with {v} for {n:b}|having {v} as {n:b}", n=slot, v=value).replace("W ", writer.choose(words) + " ").replace("  ", " ")
        holds = lambda s: lambda item: act(getattr(item, n), value.value(s))
        writer.world.name_parameters()
        code = f"item.{n} {sign} {value.code():5}"
    kept = lambda s: [item for item in s[items.path] if holds(s)(item)]
    which = rng.choice(("count", "count", "list", "first", "first", "any", "all", "names", "sum"))
    if which in ("names", "sum"):
        other = writer.world.attribute("text" if which == "names" else "num")
    if which == "count":
        wish = told(writer, f"answer how many of {{a}} there are {said}|answer how many {{a:b}} there are {said}|answer the number of {{a:b}} {said}|tell how many {{a:b}} it has {said}|how many {{a:b}} are there {said}?|out of all {{a:b}}, how many are there {said}?|could you count the {{a:b}} {said}?|count the {{a:b}} {said}|count those of {{a}} {said}|of {{a}}, count the ones {said}|the count of {{a:b}} {said}|give the number of those of {{a}} {said}|return the count of {{a:b}} {said}|I want to know how many {{a:b}} there are {said}|say how many {{a:b}} {said} there are|among {{a}}, tell how many there are {said}|go through {{a}} and count those {said}; the answer is the count|the {{a:b}} {said} are counted, and their number is the answer|work out how many of {{a}} are ones {said}", a=items)
        plan = [([f"return len([item for item in {a} if {code}])"], ends(lambda s: sum(1 for _ in kept(s))))]
    elif which == "list":
        wish = told(writer, f"answer those of {{a}} {said}|answer the {{a:b}} {said}, in their order|answer all {{a:b}} {said}|return a list of the {{a:b}} {said}|give all of {{a}} {said}, in the same order|which of {{a}} are ones {said}? answer them as a list|of {{a}}, answer only the ones {said}|pick out the {{a:b}} {said} and answer them|collect the {{a:b}} {said} in a list|only the {{a:b}} {said}, as a list|the list of those of {{a}} {said}|show me all {{a:b}} {said}|filter {{a}}: answer just those {said}|I need the {{a:b}} {said}, as a list|go through {{a}} and answer a list of those {said}|from {{a}}, select those {said} and answer them; nothing changes|the answer is a list of the {{a:b}} {said}, in their order|may I have a list of those of {{a}} {said}?", a=items)
        plan = [([f"return [item for item in {a} if {code}]"], ends(kept))]
    elif which == "first":
        wish = told(writer, f"answer the first of {{a}} {said}, none without one|answer the first {{a:1}} {said}; none when there is no such one|find the first of {{a}} {said}, or none|find the first {{a:1}} {said} and answer it, none if there is none|return the first of {{a}} {said}; none if nothing fits|the first {{a:1}} {said}, or none if there is none|go through {{a}} in order and answer the first one {said}; none if there is no such {{a:1}}|which is the first of {{a}} {said}? answer none if there is none|look for the first {{a:1}} {said} and give it back, or none when there is none|of {{a}}, answer the first one {said}, none if not one is like that|if there is no {{a:1}} {said}, answer none; otherwise the first such one|answer none unless there are {{a:b}} {said}; if there are, answer the first of them|among {{a}}, take the first one {said} and answer it; without such a one, none|the first one of {{a}} {said} is the answer; it is none when there is no such {{a:1}}|hand back the first {{a:1}} {said}, else none|when there are {{a:b}} {said}, answer the first of them, else none|is there any {{a:1}} {said}? answer the first one, and none if there is not|I am looking for the first of {{a}} {said}; should there be none, answer none", a=items)
        plan = [([f"for item in {a}:", f"    if {code}:", "        return item", "return None"], ends(lambda s: next(iter(kept(s)), None)))]
    elif which == "any":
        wish = wondered(rng, told(writer, f"there is any of {{a}} {said}|there is a {{a:1}} {said}|there is at least one {{a:1}} {said}|there is at least one of {{a}} {said}|there is even one {{a:1}} {said}|there are any {{a:b}} {said}|there are {{a:b}} {said}|at least one of {{a}} is one {said}|any of {{a}} is one {said}|any {{a:1}} is one {said}|some of {{a}} are ones {said}|one or more of {{a}} are ones {said}|among {{a}} there is one {said}|{{a}} include one {said}|it has any {{a:b}} {said}|one finds among {{a}} any {said}|the number of {{a:b}} {said} is not 0", a=items))
        plan = [([f"return any({code} for item in {a})"], ends(lambda s: len(kept(s)) > 0))]
    elif which == "all":
        wish = wondered(rng, told(writer, f"all {{a:b}} are ones {said}|there is none of {{a}} but those {said}|every {{a:1}} is one {said}|each of {{a}} is one {said}|every one of {{a}} is one {said}|each and every {{a:1}} is one {said}|all of {{a}} are ones {said}|{{a}} are all ones {said}|{{a}} are, without exception, ones {said}|{{a}} consist only of ones {said}|none of {{a}} is anything but one {said}|there is no {{a:1}} but those {said}|there is not one of {{a}} except those {said}|there are no {{a:b}} other than those {said}|only {{a:b}} {said} are among {{a}}|one finds among {{a}} none but those {said}", a=items))
        plan = [([f"return all({code} for item in {a})"], ends(lambda s: len(kept(s)) == len(s[items.path])))]
    elif which == "names":
        wish = asked(rng, told(writer, f"the {{o:b}} of those of {{a}} {said}, as a list|a list of the {{o:b}} of the {{a:b}} {said}|the {{o:b}} of every {{a:1}} {said}, as a list|a list with the {{o:b}} of each {{a:1}} {said}|the list of the {{o:b}} of all {{a:b}} {said}|what the {{a:b}} {said} have as {{o:b}}, as a list|which {{o:b}} the {{a:b}} {said} have, as a list|one {{o:b}} for each {{a:1}} {said}, in a list|the {{o:b}} of only those {{a:b}} {said}, in their order, as a list|a list: for each {{a:1}} {said} its {{o:b}}|the {{a:b}} {said}, each replaced by its {{o:b}}|a list that holds the {{o:b}} of the {{a:b}} {said} and of no others|the {{o:b}} of each one of {{a}} {said}, collected in a list|what those of {{a}} {said} have as {{o:b}}, listed in their order|all {{a:b}} {said}, but of each its {{o:b}} alone, as a list", a=items, o=other))
        plan = [([f"return [item.{other.path} for item in {a} if {code}]"], ends(lambda s: [getattr(item, other.path) for item in kept(s)]))]
    else:
        wish = asked(rng, told(writer, f"the sum of the {{o:b}} of those of {{a}} {said}|the {{o:b}} of the {{a:b}} {said}, added up|the total {{o:b}} of the {{a:b}} {said}|the total of the {{o:b}} of all {{a:b}} {said}|the combined {{o:b}} of those of {{a}} {said}|the sum of what those of {{a}} {said} have as {{o:b}}|the sum, over the {{a:b}} {said}, of their {{o:b}}|the sum of the {{o:b}} of only the {{a:b}} {said}|the {{o:b}} of every {{a:1}} {said}, all added together|the {{o:b}} of those {{a:b}} {said} in total|the result of adding up the {{o:b}} of each {{a:1}} {said}|how much the {{o:b}} of the {{a:b}} {said} make{{o:s}} together|what the {{a:b}} {said} have in {{o:b}} altogether|what the {{o:b}} of the {{a:b}} {said} come{{o:s}} to in all|what one gets by adding up the {{o:b}} of the {{a:b}} {said}", a=items, o=other))
        plan = [([f"return sum([item.{other.path} for item in {a} if {code}])"], ends(lambda s: sum(getattr(item, other.path) for item in kept(s))))]
    return "objects", plan, wish, False, (f"{which} {{a}} with {{n}}", {"a": Leaf(items), "n": Leaf(slot)})


def best(writer, rng, made, sentence):
    """The object of a list with the most or the least of something."""
    items, slot = group(writer)
    a, n = items.code, slot.path
    which, end = rng.choice((("max", "most|largest|highest|greatest|biggest|maximum|maximal|very largest|very highest"), ("min", "least|smallest|lowest|minimum|minimal|littlest|very smallest|very lowest")))
    word = writer.choose(end)
    answer = rng.choice(("object", "object", "text"))
    tail = told(writer, ", the first of several; none without {a:b}|; none if there are none|, none when there are no {a:b}|; none when there are no {a:b} at all|, or none if there are none|; if there are no {a:b}, answer none|; if several tie, the first of them; none without any|, taking the first when several are alike; none if there are no {a:b}|; with no {a:b} at all, none|; of equals the first one, and none when there are none|; the answer is none when {a} are empty|; should there be no {a:b}, none|, and none in case there are none|; among equals the earliest one; none for no {a:b}|; none unless there is at least one {a:1}|; when {a} are empty, none is the answer|; none as long as there are none|. if there is not even one {a:1}, answer none", a=items)
    pick = lambda s: next(item for item in s[items.path] if getattr(item, n) == sorted((getattr(i, n) for i in s[items.path]), reverse=which == "max")[0])
    code = f"{which}({a}, key=lambda item: item.{n})"
    if answer == "object":
        wish = told(writer, f"answer the one of {{a}} with the {word} {{n:b}}|answer the {{a:1}} with the {word} {{n:b}}|answer which of {{a}} has the {word} {{n:b}}|find the {{a:1}} with the {word} {{n:b}} and answer it|return the {{a:1}} that has the {word} {{n:b}}|tell which {{a:1}} has the {word} {{n:b}}|tell me which one of {{a}} it is that has the {word} {{n:b}}|of all {{a:b}}, answer the one that has the {word} {{n:b}}|pick the {{a:1}} that has the {word} {{n:b}}|select from {{a}} the one with the {word} {{n:b}}|the {{a:1}} with the {word} {{n:b}} is what I want|the wanted {{a:1}} is the one with the {word} {{n:b}}|give me the one of {{a}} that has the {word} {{n:b}}|among {{a}}, find the one with the {word} {{n:b}}|look through {{a}} and hand back the one with the {word} {{n:b}}|the answer is the {{a:1}} that has the {word} {{n:b}} of all|compare {{a}} by their {{n:b}} and answer the one with the {word} {{n:b}}|I would like to have the {{a:1}} with the {word} {{n:b}}", a=items, n=slot) + tail
        plan = [([f"if not {a}:", "    return None", f"return {code}"], ends(lambda s: pick(s) if s[items.path] else None))]
    else:
        other = writer.world.attribute("text")
        wish = told(writer, f"answer the {{o:b}} of the one of {{a}} with the {word} {{n:b}}|answer the {{o:b}} of the {{a:1}} that has the {word} {{n:b}}|find the {{a:1}} with the {word} {{n:b}} and answer its {{o:b}}|return the {{o:b}} of the {{a:1}} with the {word} {{n:b}}|tell the {{o:b}} of the one of {{a}} that has the {word} {{n:b}}|of all {{a:b}}, take the one that has the {word} {{n:b}} and answer its {{o:b}}|answer what the {{a:1}} with the {word} {{n:b}} has as {{o:b}}|say which {{o:b}} the {{a:1}} with the {word} {{n:b}} has|the {{o:b}} of the {{a:1}} with the {word} {{n:b}} is what I want|the {{o:b}} of the one of {{a}} that has the {word} {{n:b}} of all|among {{a}}, look for the one with the {word} {{n:b}}; answer its {{o:b}}|give me the {{o:b}} of whichever of {{a}} has the {word} {{n:b}}|compare {{a}} by their {{n:b}} and answer the {{o:b}} of the one with the {word} {{n:b}}|I need the {{o:b}} of the {{a:1}} that has the {word} {{n:b}}|the answer is the {{o:b}} that belongs to the {{a:1}} with the {word} {{n:b}}", a=items, n=slot, o=other) + tail
        plan = [([f"if not {a}:", "    return None", f"return {code}.{other.path}"], ends(lambda s: getattr(pick(s), other.path) if s[items.path] else None))]
    return "objects", plan, wish, False, (f"{word} {{n}} of {{a}}", {"a": Leaf(items), "n": Leaf(slot)})


def each(writer, rng, made, sentence):
    """Every object of a list is changed."""
    kind = rng.choice(("num", "num", "bool", "text"))
    items, slot = group(writer, kind)
    a, n = items.code, slot.path
    if kind == "num":
        value = made.leaf("num")
        which = rng.choice(("add", "add", "take", "set", "zero"))
    else:
        value, which = (made.argument("text") if kind == "text" else None), {"bool": rng.choice(("true", "false")), "text": "set"}[kind]
    writer.world.name_parameters()
    code = value.code() if value else ""
    new, wish = {
        "add": (f"item.{n} + {code:6}" if value else "", "add {v} to the {n:b} of each of {a}|the {n:b} of all {a:b} grow{n:s} by {v}|raise the {n:b} of every {a:1} by {v}|increase the {n:b} of every {a:1} by {v}|every {a:1} gains {v} in {n:b}|for each of {a}, add {v} to its {n:b}|go through {a} and raise the {n:b} of each by {v}|the {n:b} of each {a:1} {n:are} raised by {v}|the {n:b} of each of {a} become{n:s} larger by {v}|let the {n:b} of all {a:b} go up by {v}|all {a:b} have their {n:b} increased by {v}|{v} {v:are} added to the {n:b} of each of {a}|put {v} on top of the {n:b} of each of {a}|by {v}, raise the {n:b} of all {a:b}|each of {a}: {n:b} plus {v}|could you add {v} to the {n:b} of all {a:b}?|each of {a} has its {n:b} go up by {v}"),
        "take": (f"item.{n} - {code:6}" if value else "", "take {v} off the {n:b} of each of {a}|the {n:b} of all {a:b} fall{n:s} by {v}|lower the {n:b} of every {a:1} by {v}|subtract {v} from the {n:b} of every {a:1}|reduce the {n:b} of all {a:b} by {v}|decrease the {n:b} of each {a:1} by {v}|every {a:1} loses {v} in {n:b}|for each of {a}, take {v} away from its {n:b}|go through {a} and lower the {n:b} of each by {v}|the {n:b} of each {a:1} {n:are} lowered by {v}|the {n:b} of each of {a} become{n:s} smaller by {v}|let the {n:b} of all {a:b} go down by {v}|all {a:b} have their {n:b} reduced by {v}|{v} {v:are} taken off the {n:b} of each of {a}|by {v}, lower the {n:b} of all {a:b}|each of {a}: {n:b} minus {v}|could you take {v} off the {n:b} of all {a:b}?"),
        "set": (code, "the {n:b} of each of {a} become{n:s} {v}|set the {n:b} of every {a:1} to {v}|{v} become{v:s} the {n:b} of all {a:b}|let the {n:b} of every {a:1} be {v}|give every {a:1} {v} as {n:b}|assign {v} to the {n:b} of each of {a}|all {a:b} get {v} as their {n:b}|from now on, the {n:b} of all {a:b} {n:are} {v}|for each of {a}, set its {n:b} to {v}|whatever {n:they} {n:was} before, the {n:b} of every {a:1} {n:are} {v} from now on|change the {n:b} of all {a:b} to {v}|{v} {v:are} to be the {n:b} of each {a:1}|overwrite the {n:b} of each of {a} with {v}|store {v} as the {n:b} of every {a:1}|replace the {n:b} of each of {a} by {v}|the {n:b} of every {a:1} {n:are} set to {v}|each of {a}: {n:b} = {v}|would you set the {n:b} of all {a:b} to {v}?"),
        "zero": ("0", "the {n:b} of each of {a} become{n:s} 0|set the {n:b} of every {a:1} back to 0|all {a:b} begin again with a {n:b} of 0|set the {n:b} of all {a:b} to zero|reset the {n:b} of every {a:1} to 0|let the {n:b} of every {a:1} be 0|for each of {a}, put its {n:b} back to 0|bring the {n:b} of all {a:b} to 0|the {n:b} of every {a:1} {n:are} set to 0|from now on, the {n:b} of all {a:b} {n:are} 0|all {a:b} start over with 0 as {n:b}|all {a:b} get 0 as their {n:b}|give every {a:1} 0 as {n:b}|whatever {n:they} {n:was} before, the {n:b} of each of {a} {n:are} zero from now on|put the {n:b} of each {a:1} at 0|replace the {n:b} of each of {a} by 0|each of {a}: {n:b} = 0|could you put the {n:b} of all {a:b} back to zero?"),
        "true": ("True", "the {n:b} of each of {a} becomes true|set the {n:b} of every {a:1}|turn the {n:b} on for all {a:b}|set the {n:b} of every {a:1} to true|let the {n:b} of every {a:1} be true|for each of {a}, set its {n:b} to true|mark all {a:b} as {n:b}|mark each {a:1} as {n:b}|flag every one of {a} as {n:b}|the {n:b} of all {a:b} is set to true|the {n:b} of all {a:b} is true from now on|for each of {a}, {n:on} from now on|all {a:b} get true as their {n:b}|whatever it was before, the {n:b} of every {a:1} is true from now on|switch on the {n:b} of each of {a}|go through {a} and make the {n:b} of each true|each of {a}: {n:b} = true|would you set the {n:b} of all {a:b} to true?"),
        "false": ("False", "the {n:b} of each of {a} becomes false|turn the {n:b} off for all {a:b}|set the {n:b} of every {a:1} to false|let the {n:b} of every {a:1} be false|for each of {a}, set its {n:b} to false|mark all {a:b} as not {n:b}|mark each {a:1} as not {n:b}|the {n:b} of all {a:b} is set to false|the {n:b} of all {a:b} is false from now on|for each of {a}, {n:off} from now on|all {a:b} get false as their {n:b}|whatever it was before, the {n:b} of every {a:1} is false from now on|switch off the {n:b} of each of {a}|clear the {n:b} of every {a:1}|go through {a} and make the {n:b} of each false|each of {a}: {n:b} = false|would you set the {n:b} of all {a:b} to false?"),
    }[which]
    act = {"add": lambda v, e: e + v, "take": lambda v, e: -(e - v), "set": lambda v, e: e, "zero": lambda v, e: 0, "true": lambda v, e: True, "false": lambda v, e: False}[which]

    def effect(s):
        for item in s[items.path]:
            setattr(item, n, act(getattr(item, n), value.value(s) if value else None))

    return "objects", [(changed(f"for item in {a}:", f"    item.{n} = {new}"), effect)], told(writer, wish, a=items, n=slot, **({"v": value} if value else {})), True, (f"{which} {{n}} of {{a}}", {"a": Leaf(items), "n": Leaf(slot)})


def member(writer, rng, made, sentence):
    """An object comes into a list or leaves it."""
    items = writer.world.slot("refs")
    slot = writer.world.attribute(rng.choice(("text", "num")))
    other = made.argument("ref", (items.one().split(" ")[-1],) if rng.random() < 0.6 else ())
    a, x = items.code, items.path
    writer.world.others["1"] = []
    count = None
    which = rng.choice(("add", "unless", "error", "remove", "has"))
    if which in ("add", "unless", "error") and rng.random() < 0.3:
        count = made.slot("num")
    writer.world.name_parameters()
    o = other.code()
    more = [f"{count.code()} = {count.code()} + 1"] if count else []
    tail = told(writer, ", and count one more on {c}|; {c} grow{c:s} by one|, and add one to {c}|, and increase {c} by one|, and {c} grow{c:s} by one|, and {c} {c:go} up by one|, and let {c} be one more than before|, and let {c} grow by one|; {c} rise{c:s} by one|; add 1 to {c}|; count up {c} by one|; one more on {c}|; also raise {c} by one|; {c} {c:are} one more then|; besides, {c} grow{c:s} by 1", c=count) if count else ""

    def add(s):
        s[x] = [*s[x], s.arguments[0]]
        if count:
            s[count.place.path] = 1 + s[count.place.path]

    inside = lambda s: any(item is s.arguments[0] for item in s[x])
    if which == "add":
        wish, plan = told(writer, "put {o} at the end of {a}|{o} is one more of {a} from now on|add {o} to {a}|take {o} in, at the end of {a}|append {o} to {a}|{o} is appended to {a}|{o} joins {a}, at the end|{o} goes to the end of {a}|{o} comes last among {a} from now on|let {o} be the last of {a}|make {o} the last of {a}|at the end of {a}, add {o}|add {o} as another {a:1}, at the end|extend {a} by {o}|enter {o} as the last of {a}|{a} gain{a:s} {o} as the last one|put {o} in with {a}, behind all the others|there is one more {a:1} from now on, at the end: {o}|attach {o} to the end of {a}", a=items, o=other) + tail, [(changed(f"{a} = {a} + [{o}]", *more), add)]
    elif which == "unless":
        wish, plan = told(writer, "put {o} at the end of {a}T, unless it is among them already|when {o} is not among {a}, add it at their endT|add {o} to {a}T, but only when it is not there yet|add {o} to {a}T, if it is not one of them yet|if {o} is not one of {a} yet, append itT|unless {o} is among {a} already, put it at their endT|only if {o} is missing from {a}, add it at the endT|{o} is added to {a}T, unless it is there already|append {o} to {a}T; nothing happens when it is among them already|append {o} to {a}T. nothing changes if it is one of them already|make sure that {o} is one of {a}: if it is not, add it at the endT|let {o} join {a} at the endT, provided that it is not among them|when {a} do not hold {o} yet, they get it as the last oneT|is {o} missing from {a}? then put it at their endT|should {o} not be among {a}, append itT; otherwise leave all as it is|{a} take{a:s} in {o} at the endT, as long as it is not one of them|do nothing if {o} is among {a}; otherwise add it at the endT|if {o} is one of {a}, leave everything alone, and if not, append itT", a=items, o=other).replace("T", tail, 1), [(["if " + f"{o} not in {a}:", *("    " + line for line in changed(f"{a} = {a} + [{o}]", *more))], lambda s: None if inside(s) else add(s))]
    elif which == "error":
        wish, plan = told(writer, "put {o} at the end of {a}T; an error when it is among them already|add {o} to {a}T. It fails when it is there already|append {o} to {a}T, but raise an error if it is one of them already|raise an error if {o} is among {a} already; otherwise add it at their endT|if {o} is one of {a} already, fail; else put it at the endT|it is an error when {o} is among {a}; if not, append itT|add {o} at the end of {a}T. an error is raised when it is there already|{o} is added to {a}T, and it is an error if it was among them before|put {o} at the end of {a}T; it must not be one of them already, that is an error|unless {o} is among {a}, add it at the endT; otherwise raise an error|{o} joins {a} at the endT; refuse with an error when it is one of them already|only when {o} is not yet one of {a}, append itT; else raise an error|let {o} be the last of {a}T, and fail if it is among them before that|first check that {o} is not among {a}, with an error if it is; then append itT|is {o} among {a} already? then raise an error; if not, add it at the endT|should {o} be one of {a}, that is an error; in any other case put it at the endT", a=items, o=other).replace("T", tail, 1), [([f"if {o} in {a}:", f"    {RAISE}"], lambda s: fails(s) if inside(s) else None), (changed(f"{a} = {a} + [{o}]", *more), add)]
    elif which == "remove":
        def remove(s):
            s[x] = [item for item in s[x] if item is not s.arguments[0]]
        wish, plan = told(writer, "{o} is none of {a} any more|take {o} out of {a}|remove {o} from {a}|{o} leaves {a}|drop {o} from {a}|delete {o} from {a}|strike {o} from {a}|throw {o} out of {a}|{o} is taken out of {a}|{o} is no longer among {a}|from {a}, remove {o}|keep all of {a} but {o}|let {o} no longer be one of {a}|{a} lose{a:s} {o}, if it is one of them|{a} are to be without {o} from now on|if {o} is among {a}, take it out|when {o} is one of {a}, it goes|could you take {o} out of {a}?", a=items, o=other), [(changed(f"{a} = [item for item in {a} if item != {o}]"), remove)]
    else:
        return "objects", [([f"return {o} in {a}"], ends(inside))], wondered(rng, told(writer, "{o} is one of {a}|{o} is among {a}|{a} have {o} among them|{o} can be found among {a}|{o} is there among {a}|{o} belongs to {a}|{o} is contained in {a}|{o} is a member of {a}|{o} is in {a}|{o} counts among {a}|{o} appears in {a}|one of {a} is {o}|any of {a} is {o}|{a} include{a:s} {o}|{a} contain{a:s} {o}|{a} hold{a:s} {o}|{a} {a:has} {o} in them|there is {o} among {a}", a=items, o=other)), False, ("has {a}", {"a": Leaf(items)})
    writer.world.joins = items  # at times the argument is one of them already
    return "objects", plan, wish, True, (f"{which} to {{a}}", {"a": Leaf(items)})


def refer(writer, rng, made, sentence):
    """A reference is set, or read when it is there."""
    link = writer.world.slot("ref")
    x = link.path
    if rng.random() < 0.5:
        other = made.argument("ref")
        writer.world.others["1"] = []
        count = made.slot("num") if rng.random() < 0.4 else None
        writer.world.name_parameters()
        wish = told(writer, "{l} is {o} from now on|{o} becomes {l}|take {o} as {l}|set {l} to {o}|let {l} be {o}|make {o} {l}|{o} is {l} from now on|from now on, {l} is {o}|store {o} as {l}|keep {o} as {l}|remember {o} as {l}|use {o} as {l} from now on|assign {o} to {l}|replace {l} by {o}|{o} takes the place of {l}|{l} is set to {o}|{l} changes to {o}|as {l}, take {o}|whatever {l} was, it is {o} from now on", l=link, o=other) + (told(writer, ", and count one more on {c}|; {c} grow{c:s} by one|, and add one to {c}|, and increase {c} by one|, and {c} grow{c:s} by one|, and {c} {c:go} up by one|, and let {c} be one more than before|, and let {c} grow by one|; {c} rise{c:s} by one|; add 1 to {c}|; count up {c} by one|; one more on {c}|; also raise {c} by one|; {c} {c:are} one more then|; besides, {c} grow{c:s} by 1", c=count) if count else "")

        def effect(s):
            s[x] = s.arguments[0]
            if count:
                s[count.place.path] = 1 + s[count.place.path]
        before = rng.random() < 0.25
        lines = changed(f"{link.code} = other", *([f"{count.code()} = {count.code()} + 1"] if count else []))
        if before:
            cell = {}
            return "objects", [(["before = " + link.code], lambda s: cell.update(v=s[x])), (lines, effect), (["return before"], ends(lambda s: cell["v"]))], wish + told(writer, "; answer which it was before|; answer the old {l:b}|; answer the {l:b} of before|, and answer the previous {l:b}|; return what {l} was before|, and give back the former {l:b}|; the answer is the old {l:b}|; tell which {l:b} it had before|, and hand back the {l:b} that it replaces|; what {l} was until then is the answer|; answer which {l:b} there was until then|, with the previous {l:b} as the answer|; report which one was {l} before that|, and tell me which {l:b} that takes the place of|; but answer the {l:b} that was there before", l=link), True, ("set {l}", {"l": Leaf(link)})
        return "objects", [(lines, effect)], wish, True, ("set {l}", {"l": Leaf(link)})
    writer.world.holder = link
    slot = None
    for _ in range(20):
        slot = writer.world.slot(rng.choice(("text", "num", "text", "bool")))
        if slot.owner is link:
            break
    else:
        raise LookupError("no slot of the other object")
    writer.world.holder = None
    writer.world.nullable = link
    word, said, value = rng.choice((("None", "none", None), ('""', "an empty text", ""), ("0", "0", 0))) if slot.kind != "bool" else ("False", "false", False)
    wish = asked(rng, told(writer, "{s}|{s}|{s}|{s}|{s}|what {s:is}|what {s:is} now|what {s:is} at the moment|what is kept as {s}|what is held as {s}|what can be read as {s}|the value of {s}|the current value of {s}", s=slot)) + told(writer, f", {said} when there is no {{l:b}}|; {said} without {{l:b}}|; when {{l}} is none answer {said}|, or {said} if there is no {{l:b}}|; {said} if there is no such {{l:b}}|; if {{l}} is none, {said}|; if there is no {{l:b}}, answer {said}|; without {{l:b}} it is {said}|, but {said} as long as {{l}} is none|; answer {said} when {{l}} is missing|; should {{l}} be none, answer {said}|; {said} in case there is no {{l:b}}|, and {said} when it has no {{l:b}}|; the answer is {said} when there is no {{l:b}}|; {said} unless there is some {{l:b}}|, {said} being the answer without {{l:b}}|; with no {{l:b}} there, {said}|; no {{l:b}}, then {said}", l=link)
    holds = lambda s: getattr(s[x], slot.path.rpartition(".")[2]) if s[x] is not None else value
    return "objects", [([f"if {link.code} is None:", f"    return {word}", f"return {slot.code}"], ends(holds))], wish, False, ("{s}", {"s": Leaf(slot)})


def send(writer, rng, made, sentence):
    """A method of another object, or of the receiver, is sent."""
    world = writer.world
    own = rng.random() < 0.4
    number = rng.random() < 0.5
    verb = writer.verbs()
    if own:
        slot = made.slot("num")
        world.sends.append(("self", verb, (lambda thing, *rest: getattr(thing, slot.place.path) + sum(rest))))
        factor = made.leaf("num")
        world.name_parameters()
        form = rng.choice(("times", "plus", "is"))
        name = verb.replace("_", " ")
        if form == "times":
            wish, code, value = asked(rng, told(writer, f"what {name} answers, times {{f}}|{{f}} times the answer of {name}|the own {name} multiplied by {{f}}|{{f}} times what {name} answers|what {name} answers, multiplied by {{f}}|what sending {name} to itself gives, times {{f}}|what the own {name} gives, times {{f}}|what comes back from {name}, times {{f}}|what one gets when the answer of {name} is multiplied by {{f}}|how much {{f}} times the answer of {name} makes|the answer of {name}, times {{f}}|the answer of {name} multiplied by {{f}}|the result of {name} times {{f}}|the outcome of {name} multiplied by {{f}}|the product of {{f}} and what {name} answers|the product of the own {name} and {{f}}|{{f}} multiplied by the result of {name}", f=factor)), f"self.{verb}() * {factor.code():7}", lambda s: factor.value(s) * s[slot.place.path]
        elif form == "plus":
            wish, code, value = asked(rng, told(writer, f"what {name} answers, with {{f}} added|the answer of {name} plus {{f}}|the own {name} and {{f}} together|{{f}} plus what {name} answers|{{f}} more than what {name} answers|what {name} answers plus {{f}}|what {name} answers, increased by {{f}}|what sending {name} to itself gives, plus {{f}}|what comes back from {name}, with {{f}} on top|what one gets when {{f}} {{f:are}} added to the answer of {name}|how much the answer of {name} and {{f}} make together|the answer of {name} with {{f}} added to it|the result of {name} plus {{f}}|the own {name} with {{f}} on top|the sum of what {name} answers and {{f}}|the sum of {{f}} and the result of {name}|the total of the own {name} and {{f}}", f=factor)), f"self.{verb}() + {factor.code():6}", lambda s: factor.value(s) + s[slot.place.path]
        else:
            wish, code, value = wondered(rng, told(writer, f"what {name} answers is more than {{f}}|the answer of {name} is above {{f}}|{name} answers more than {{f}}|{name} answers something above {{f}}|what {name} answers exceeds {{f}}|what {name} answers lies above {{f}}|what comes back from {name} is over {{f}}|the answer of {name} is greater than {{f}}|the answer of {name} is larger than {{f}}|the result of {name} is more than {{f}}|the result of {name} exceeds {{f}}|the own {name} is above {{f}}|the own {name} gives more than {{f}}|{{f}} {{f:are}} less than what {name} answers|{{f}} {{f:are}} exceeded by the answer of {name}|sending {name} to itself gives more than {{f}}|more than {{f}} comes back from {name}", f=factor)), f"self.{verb}() > {factor.code():5}", lambda s: factor.value(s) < s[slot.place.path]
        return "delegation", [([f"return {code}"], ends(value))], wish, False, ("{x} " + form, {"x": slot})
    link = world.slot("ref")
    path = f"{link.path}.{'_'.join(world.fresh('num')[0])}"
    target = Place("num", path, f"{link.code}.{path.partition('.')[2]}", path.partition(".")[2].split("_"))
    target.owner = link
    world.others[link.path] = [target]
    world.kinds[path] = "int"
    slot_name = path.partition(".")[2]
    sign = rng.choice((1, -1))

    def sent(thing, *rest):
        setattr(thing, slot_name, getattr(thing, slot_name) + sign * (rest[0] if rest else 1))
        thing.__dict__["_p_changed"] = True
        return getattr(thing, slot_name)

    world.sends.append((link.path, verb, sent))
    argument = made.argument("whole") if number else None
    world.name_parameters()
    name = verb.replace("_", " ")
    code = f"{link.code}.{verb}({argument.code() if argument else ''})"
    count = made.slot("num") if rng.random() < 0.35 else None
    given, passing, by = (writer.choose(text) if argument else "" for text in (" with {a}| with {a}| with {a} along|, with {a} as what it gets|, giving it {a}|, passing {a}|, {a} being passed along|, handing over {a}", ", with {a}|, with {a}|, passing {a}|, using {a}|, handing over {a}|, {a} going along with it", " by {a}| by {a}| with {a}|, with {a}|, using {a}|, passing {a}"))
    wish = told(writer, f"send {name} to {{l}}{given}|{{l}} is to {name}{passing}|let {{l}} {name}{by}|have {{l}} {name}{by}|make {{l}} {name}{given}|tell {{l}} to {name}{passing}|ask {{l}} to {name}{given}|call {name} on {{l}}{given}|invoke {name} on {{l}}{passing}|run {name} of {{l}}{given}|use {name} of {{l}}{passing}|{name} is sent to {{l}}{given}|{{l}} is sent {name}{given}|{{l}} receives {name}{passing}|{{l}} should {name}{by}|the message {name} goes to {{l}}{given}|to {{l}}, send {name}{given}", l=link, **({"a": argument} if argument else {}))
    if count:
        wish += told(writer, ", and count one more on {c}|; {c} grow{c:s} by one|, and add one to {c}|, and increase {c} by one|, and {c} grow{c:s} by one|, and {c} {c:go} up by one|, and let {c} be one more than before|, and let {c} grow by one|; {c} rise{c:s} by one|; add 1 to {c}|; count up {c} by one|; one more on {c}|; also raise {c} by one|; {c} {c:are} one more then|; besides, {c} grow{c:s} by 1", c=count)

    cell = {}

    def effect(s):
        s[path] = s[path] + sign * (s.arguments[0] if argument else 1)
        cell["v"] = s[path]
        if count:
            s[count.place.path] = 1 + s[count.place.path]

    more = [f"{count.code()} = {count.code()} + 1"] if count else []
    if rng.random() < 0.6:
        wish += rng.choice(("; answer what it answers", ", and answer its answer", ", and answer what that answers", "; the answer is what it answers", ", and return what comes back", "; give back what it returns", ", and hand back its answer", "; answer with whatever it answers", ", and pass on its answer", "; its answer is the answer here, too", "; what comes back is the answer", ", and return the result of that", "; report what it answers", ", and give its answer back", ", and tell me what it answers"))
        return "objects", [(changed(f"answer = {code}", *more) + ["return answer"], lambda s: (effect(s), ends(lambda s: cell["v"])(s)))], wish, True, (name + " {l}", {"l": Leaf(link)})
    return "objects", [(changed(code, *more), effect)], wish, True, (name + " {l}", {"l": Leaf(link)})


def parent(writer, rng, made, sentence):
    """The own value beside that of the parent."""
    slot = writer.world.slot("num")
    writer.world.parent.append(slot)
    x = slot.path
    up = lambda s: getattr(s.things["parents[0]"], x)
    which = rng.choice(("more", "same", "sum", "back"))
    if which == "back":
        def effect(s):
            s[x] = up(s)
        return "delegation", [(changed(f"self.{x} = self.parents[0].{x}"), effect)], told(writer, "{x} become{x:s} what the parent has as {x:b}|go back to the parent's {x:b}|take over the {x:b} of the parent|set {x} to the parent's {x:b}|set {x} to that of the parent|{x} {x:are} set to what the parent has|{x} {x:are} to be the same as the parent's from now on|let {x} be what the parent has as {x:b}|copy the {x:b} of the parent|reset {x} to what the parent has|replace {x} by the {x:b} of the parent|fetch {x} from the parent|use the {x:b} of the parent as the own {x:b}|take the parent's {x:b} in place of the own {x:b}|the parent's {x:b} become{x:s} the own {x:b}|whatever {x} {x:was}, {x:they} become{x:s} the parent's|whatever the parent has as {x:b}, take it over|would you take over the {x:b} of the parent?", x=slot), True, ("parent {x}", {"x": Leaf(slot)})
    said, code, value = {"more": ("how much more the own {x:b} {x:are} than the parent's|the own {x:b} less that of the parent|how much the own {x:b} exceed{x:s} the parent's|how much greater the own {x:b} {x:are} than that of the parent|how far the own {x:b} {x:are} above that of the parent|how much has to be added to the parent's {x:b} to get the own|what remains of the own {x:b} after taking off the parent's|what is left when the parent's {x:b} {x:are} subtracted from the own|what the receiver has in {x:b} beyond the parent|the own {x:b} minus the parent's|the own {x:b} minus that of the parent|the own {x:b} with the parent's taken off|the own {x:b} reduced by that of the parent|the receiver's {x:b} less the parent's|the parent's {x:b} subtracted from the own {x:b}|the excess of the own {x:b} over the parent's", f"self.{x} - self.parents[0].{x}", lambda s: -(up(s) - s[x])),
                         "sum": ("the own {x:b} and that of the parent together|the sum of the own {x:b} and the parent's|the own {x:b} plus the parent's|the own {x:b} with the parent's added|the parent's {x:b} and the own, added up|the parent's {x:b} added to the own {x:b}|the total of the own {x:b} and that of the parent|the sum of the {x:b} of the parent and the own|the joint {x:b} of the receiver and its parent|the {x:b} of the receiver and of its parent, summed|how much the own {x:b} and the parent's make together|how much the receiver and its parent have in {x:b} altogether|what the own {x:b} and that of the parent add up to|what one gets by adding the parent's {x:b} to the own|the combined {x:b} of parent and receiver", f"self.{x} + self.parents[0].{x}", lambda s: up(s) + s[x]),
                         "same": ("the own {x:b} {x:are} the same as the parent's|the parent has the same {x:b}|the own {x:b} equal{x:s} the parent's|the own {x:b} {x:are} equal to that of the parent|the own {x:b} {x:are} just what the parent has|the own {x:b} {x:are} no different from the parent's|the own {x:b} and the parent's are equal|the own {x:b} and that of the parent agree|the parent's {x:b} {x:are} the same as the own|the parent's {x:b} equal{x:s} the receiver's|the receiver has the same {x:b} as the parent|the receiver and its parent have the same {x:b}|the receiver does not differ from its parent in {x:b}|both have the same {x:b}, the receiver and its parent|there is no difference between the own {x:b} and the parent's", f"self.{x} == self.parents[0].{x}", lambda s: not s[x] != up(s))}[which]
    wish = told(writer, said, x=slot)
    return "delegation", [([f"return {code}"], ends(value))], (wondered if which == "same" else asked)(rng, wish), False, (which + " {x} than parent", {"x": Leaf(slot)})


def cycle(writer, rng, made, sentence):
    """A text that goes round."""
    slot = writer.world.slot("text")
    words = []
    while len(words) < rng.choice((2, 3, 3, 4)):
        word = made.constant("text").held
        if word not in words:
            words.append(word)
    pairs = list(zip(words, words[1:] + words[:1]))
    slot.domain = words
    q = rng.choice(('"', "", ""))
    steps = [f"from {q}{a}{q} to {q}{b}{q}" for a, b in pairs]
    wish = told(writer, "{x} go{x:es} S|{x} change{x:s} S|move {x} on: S|{x} pass{x:es} S|{x} move{x:s} on, S|{x} step{x:s} on: S|{x} {x:are} changed S|{x} {x:are} moved on: S|{x} {x:go} round: S|{x} take{x:s} the next step: S|let {x} go S|switch {x} S|turn {x} S|advance {x}: S|rotate {x}, S|make {x} go one on, S|one step on for {x}: S|depending on what {x:is} now, change {x:them} S", x=slot).replace("S", ", ".join(steps[:-1]) + " and " + steps[-1])
    order = ", ".join(f'"{a}": "{b}"' for a, b in pairs)
    following = dict(pairs)

    def effect(s):
        s[slot.path] = following[s[slot.path]]

    lines = changed("order = {" + order + "}", f"{slot.code} = order[{slot.code}]")
    return "change", [(lines, effect)], wish, True, ("{x} goes on", {"x": Leaf(slot)})


def running(writer, rng, made, sentence):
    """Loops over a list of numbers, of texts or of pairs."""
    which = rng.choice(("sums", "differences", "second", "tally", "group", "up", "most", "longest run"))
    if which in ("tally", "group"):
        items = writer.world.slot("texts")
        a, x = items.code, items.path
        if which == "tally":
            wish = asked(rng, told(writer, "a map from each of {a} to how often it is there|how often each of {a} is there, as a map|a map that tells for each of {a} how often it occurs|a map with the number of times that each of {a} is there|a map in which every one of {a} stands with its count|a map whose keys are {a} and whose values say how often each occurs|a map: each of {a}, and under it how many times it is there|a tally of {a}, as a map from each to its count|each of {a} with its number of occurrences, as a map|the counts of the different {a:b}, as a map|the frequency of each of {a}, as a map|{a} counted, as a map from each to how many times it is there|how many times each of {a} occurs, as a map|how often every one of {a} appears, in a map|how many of each there are among {a}, as a map|which of {a} is there how many times, as a map", a=items))
            return "map", [(["counts = {}", f"for item in {a}:", "    counts[item] = counts.get(item, 0) + 1", "return counts"], ends(lambda s: {v: sum(1 for w in s[x] if w == v) for v in s[x]}))], wish, False, ("tally {a}", {"a": Leaf(items)})
        by, words, key = rng.choice((("item[:1]", "their first letter|the letter with which they begin|the letter that they begin with|the letter at their beginning|the letter that comes first in them|their first character|their initial letter|their leading letter|the first of their letters|the letter that they start with|the letter in front", lambda v: v[:1]), ("len(item)", "their length|how long they are", len)))
        if by == "len(item)":
            raise LookupError("keys that are texts alone")
        letter = writer.choose(words)
        wish = asked(rng, told(writer, f"{{a}} grouped by {letter}: a map from it to the list of those|{{a}} grouped by {letter}, as a map from it to a list|{{a}} put into lists by {letter}: a map from it to its list|{{a}} put together by {letter}, as a map of lists|{{a}} divided up by {letter}, as a map from it to the list of those|{{a}} classified by {letter}: a map with a list for each|a map of {{a}} by {letter}, with a list of those for each|a map that puts {{a}} under {letter}, as a list for each|a map of lists, with {{a}} under {letter}|a map from {letter} to the list of those of {{a}} that have it|a grouping of {{a}} by {letter}: a map with the list of those under each|which of {{a}} go together by {letter}: a map from it to the list of those|how {{a}} are grouped by {letter}, as a map from it to the list|the groups of {{a}} by {letter}, as a map of lists", a=items))
        def grouped(s):
            made = {}
            for v in s[x]:
                made[key(v)] = [w for w in s[x] if key(w) == key(v)]
            return made
        return "map", [(["groups = {}", f"for item in {a}:", f"    groups[{by}] = groups.get({by}, []) + [item]", "return groups"], ends(grouped))], wish, False, ("group {a}", {"a": Leaf(items)})
    items = writer.world.slot("wholes")
    a, x = items.code, items.path
    hint = (which + " of {a}", {"a": Leaf(items)})
    if which == "sums":
        wish = asked(rng, told(writer, "a list of the sums of {a} up to each place|for each place of {a} the sum up to there, as a list|the running sums of {a}|the cumulative sums of {a}|the running totals of {a}, as a list|the partial sums of {a}, in order|the totals so far at each of {a}, as a list|the sums of the first one, the first two, the first three and so on of {a}, as a list|the list of totals that one has while adding up {a} one by one|a list of running totals over {a}|the list of {a}, each replaced by the sum of all up to it, itself included|a list that has at each place the sum of {a} up to and including that place|{a} added up step by step, as a list of the sums so far|{a}, each with all before it added|how the sum of {a} develops from place to place, as a list|what {a} add up to at each place, as a list|what the sum is after each of {a}, as a list", a=items))
        return "list", [(["total = 0", "sums = []", f"for item in {a}:", "    total = total + item", "    sums = sums + [total]", "return sums"], ends(lambda s: [sum(s[x][:i + 1]) for i in range(len(s[x]))]))], wish, False, hint
    if which == "differences":
        wish = asked(rng, told(writer, "the differences between neighbours of {a}, each less the one before it|how much larger each of {a} is than the one before it, as a list|the steps from each of {a} to the next|the changes from each of {a} to the next, as a list|the increases from one of {a} to the next, in a list, negative where they fall|the list of successive differences of {a}, the later minus the earlier|the next less the present one, for all neighbours among {a}, as a list|each of {a} from the second on, less its predecessor, as a list|each of {a} but the first, minus the one before it, as a list|a list of the steps between neighbours of {a}, each the later less the earlier|a list of how far {a} go up from one to the next|a list of what has to be added to each of {a} to get the next|how {a} change from each to the next, as a list of differences|how much more each of {a} is than its predecessor, from the second on, as a list|what each of {a} adds to the one before it, in order, as a list|what one gets by taking each of {a} off the one after it, as a list", a=items))
        return "list", [([f"return [after - item for item, after in zip({a}, {a}[1:])]"], ends(lambda s: [s[x][i] - s[x][i - 1] for i in range(1, len(s[x]))]))], wish, False, hint
    if which == "second":
        word, code = rng.choice((("largest", "[-2]"), ("smallest", "[1]")))
        wish = asked(rng, told(writer, f"the second {word} of {{a}}, equal ones counted once|the {word} but one of the different {{a:b}}|the second {word} of the different {{a:b}}|the second {word} of the distinct {{a:b}}|the second {word} among {{a}}, with equal ones taken as one|the second {word} of {{a}}, each value counted only once|the second {word} value of {{a}}, doubles ignored|the {word} but one of {{a}}, not counting the same twice|the {word} but one of {{a}} without repetitions|the {word} of {{a}} after leaving out every one that equals the {word}|the one next to the {word} among the distinct {{a:b}}|the one in second place among the distinct {{a:b}}, the {word} being first|which of {{a}} is the second {word} when equal ones count once|which one comes right after the {word} among the different {{a:b}}|what comes second among {{a}} when the {word} comes first and equal ones count once", a=items)) + told(writer, "; none when there are fewer than two|, none without two different ones|; none if there are not two different ones|, or none if there is no such one|; none if all are equal or there are none|; if there are fewer than two different ones, none|; without a second one, none|, none when there is no second one|; answer none if there is no second one|; it is none unless there are two different ones|, none as long as there are fewer than two|; should all be equal, or should there be none, answer none|, and none in case there are fewer than two different ones|; when there are not at least two different ones, answer none", a=items)
        value = lambda s: sorted(set(s[x]))[-2 if word == "largest" else 1] if len(set(s[x])) > 1 else None
        return "list", [([f"items = sorted(set({a}))", "if len(items) < 2:", "    return None", f"return items{code}"], ends(value))], wish, False, hint
    if which == "up":
        wish = wondered(rng, told(writer, "each of {a} is larger than the one before it|{a} grow from each to the next|every one of {a} is above its predecessor|{a} are in strictly ascending order|{a} are strictly increasing|{a} strictly increase from one to the next|{a} get larger and larger|{a} rise with every step|{a} go up all the way, without two equal neighbours|{a} only ever grow, and never stay the same|each of {a} but the first is greater than the previous one|each of {a} exceeds the one right before it|none of {a} is less than or equal to the one before it|not one of {a} fails to be above the one before it|from each of {a} to the next there is an increase|whenever one of {a} follows another, it is the larger one|there is a rise from every one of {a} to the next", a=items))
        return "truth", [([f"return all(item < after for item, after in zip({a}, {a}[1:]))"], ends(lambda s: all(s[x][i - 1] < s[x][i] for i in range(1, len(s[x])))))], wish, False, hint
    if which == "most":
        other = writer.world.slot("texts")
        wish = asked(rng, told(writer, "the one of {b} at the place where {a} are largest|which of {b} has the largest of {a} at its place|the one of {b} that stands where the largest of {a} stands|the one of {b} at the same place as the largest of {a}|the one of {b} that goes with the largest of {a}|the one of {b} with the largest {a:1} at its place|the one among {b} whose place is that of the largest of {a}|the {b:1} at the position of the maximum of {a}|the {b:1} that belongs to the largest of {a}, place by place|the {b:1} with the same index as the largest {a:1}|the {b:1} that stands beside the largest {a:1}, both counted by place|which of {b} stands at the place of the largest of {a}|which {b:1} comes at the place where {a} are highest|which {b:1} goes with the maximum of {a}, by their places|what {b} hold at the place where {a} are largest", a=items, b=other)) + writer.choose("; none when either is empty or they are not equally many|, none if one of them is empty or they differ in number|; if they are not of the same length or are empty, none|; answer none when there is nothing in them or their lengths differ|, or none when the two are not equally long or have nothing in them|; when their lengths are not the same, or there are none, answer none|; it is none unless both are equally long and not empty|; none for lists that are empty or of different length|; should the lists be empty or differ in length, none|, none without any, and none when one list is longer than the other|; unequal lengths or empty lists: none|; if either list is empty or one is the longer, answer none")
        def value(s):
            return s[other.path][s[x].index(sorted(s[x])[-1])] if s[x] and len(s[x]) == len(s[other.path]) else None
        return "list", [([f"if not {a} or len({a}) != len({other.code}):", "    return None", f"return {other.code}[{a}.index(max({a}))]"], ends(value))], wish, False, hint
    wish = asked(rng, told(writer, "how many of {a} are equal to the one before them|how often one of {a} equals its predecessor|how many of {a} are the same as their predecessor|how many of {a} are followed at once by an equal one|how many of {a} repeat the one right before them|how many pairs of equal neighbours there are among {a}|how many times {a} do not change from one to the next|how often two neighbours among {a} are equal|how often {a} stay the same from one to the next|how often one of {a} is just what the one before it is|the number of {a:b} that equal the one before|the number of pairs of equal neighbours in {a}|the number of steps in {a} that change nothing|the count of places at which {a} have the same as at the place before", a=items))
    return "list", [([f"return len([item for item, after in zip({a}, {a}[1:]) if item == after])"], ends(lambda s: sum(1 for i in range(1, len(s[x])) if s[x][i] == s[x][i - 1])))], wish, False, hint


def mapped(writer, rng, made, sentence):
    """Entries of a map: found, taken, moved."""
    which = rng.choice(("take", "take", "key of", "first below", "move", "share", "use up"))
    items = writer.world.slot("map")
    a, x = items.code, items.path
    hint = (which + " {a}", {"a": Leaf(items)})
    if which == "first below":
        value = made.leaf("num")
        writer.world.name_parameters()
        wish = asked(rng, told(writer, "the first key of {a} whose value is less than {v}|the first key under which less than {v} stands in {a}|the first key of {a} with a value below {v}|the first key in {a} that has less than {v} under it|the first key of {a} to have a value under {v}|the first of the keys of {a} whose value is smaller than {v}|the key of the first entry of {a} with a value smaller than {v}|the key of the first entry in {a} that falls short of {v}|the key that comes first in {a} among those with a value below {v}|the earliest key of {a} whose value lies below {v}|the first key of {a}, in their order, whose value does not reach {v}|which key of {a} is the first with a value below {v}|which is the first key in {a} to have less than {v}|what the first key of {a} is under which there is less than {v}|under which key of {a} there is less than {v}, the first of several", a=items, v=value)) + rng.choice((", none when there is none", "; none without such a one", ", or none if there is none", "; none if there is no such key", "; answer none when there is no such key", "; if no key is like that, none", "; without such a key, none", ", none in case there is none", "; none when no value is that low", ", and none if no entry fits", "; should there be none, answer none", "; it is none when nothing fits", ", none being the answer when there is none", "; no such key, then none"))
        return "map", [([f"for key, value in {a}.items():", f"    if value < {value.code():5}:", "        return key", "return None"], ends(lambda s: next((k for k in s[x] if value.value(s) > s[x][k]), None)))], wish, False, hint
    if which == "key of":
        value = made.argument("whole")
        writer.world.name_parameters()
        wish = asked(rng, told(writer, "the first key under which {v} stands in {a}|under which key of {a} {v} stands, the first of several|the first key of {a} whose value is {v}|the first key of {a} with {v} as its value|the first key in {a} that has {v} under it|the first of the keys of {a} that stand for {v}|the key of the first entry of {a} whose value equals {v}|the key that {v} {v:has} in {a}, the first of several|the key in {a} that leads to {v}, the first if there are more|the key that comes first in {a} among those with {v} as value|which key of {a} has {v} as its value, the first of several|which key of {a} is the first to have {v} under it|which key belongs to {v} in {a}, the first one if there are several|where in {a} {v} stands, that is, under which key first|under which key one finds {v} in {a} first", a=items, v=value)) + rng.choice((", none when there is none", "; none when it stands nowhere", ", or none if there is none", "; none if there is no such key", "; answer none when there is no such key", "; if no entry has that value, none", "; without such a key, none", ", none in case there is none", "; none when it is not among the values", ", and none if no entry fits", "; should it not be there, answer none", "; if it is nowhere, none", "; it is none when it cannot be found", "; no such key, then none"))
        return "map", [([f"for key, value in {a}.items():", f"    if value == {value.code()}:", "        return key", "return None"], ends(lambda s: next((k for k in s[x] if s[x][k] == value.value(s)), None)))], wish, False, hint
    key = made.argument("text")
    if which == "take":
        edge = rng.choice(("None", "raise"))
        writer.world.name_parameters()
        k = key.code()
        wish = told(writer, "take {k} out of {a} and answer what stood under it|remove the entry of {k} from {a}; answer its value|the entry of {k} leaves {a}: answer it|drop the entry under {k} from {a} and return its value|take the entry of {k} away from {a} and give back what it held|pop {k} from {a} and answer its value|delete {k} from {a}; the answer is what stood under it|remove {k} from {a} and hand back what was kept there|strike {k} from {a} and tell what its value was|the key {k} leaves {a}; answer its value|{a} lose{a:s} the entry of {k}, and its value is the answer|{a} give{a:s} up {k}: answer what stood under it|what stands under {k} in {a} is taken out and answered|from {a}, take out the entry of {k}, and answer its value|get the value of {k} from {a}, and remove the entry|answer the value under {k} in {a} and take the entry out|let the entry of {k} go from {a}, and answer the value that it had", a=items, k=key) + (rng.choice((", none when it is not there", "; when it is not there, answer none and change nothing", ", or none if there is no such entry", "; if it is not there, answer none", "; answer none when there is no such key, and leave all as it is", "; without such an entry, none", "; none if it is missing", ", none without such a key", "; should the key be missing, answer none", "; none when nothing stands there", "; if there is nothing under it, answer none and leave everything be", ", and none in case the key is not there", "; no such key, then none and no change", "; it is none if there is no entry for it")) if edge == "None" else rng.choice(("; raise an error if it is not there", "; it fails without such an entry", "; it is an error when there is no such entry", ", and fail if it is not there", "; an error when it is missing", ", but raise an error without such a key", "; if there is no such entry, raise an error", "; fail when no such key is there", "; a missing key is an error", ", or raise an error if there is none", "; when nothing stands there, that is an error", "; should the key not be there, raise an error", "; refuse with an error if there is no such key", "; the key must be there, or else it is an error")))

        def effect(s):
            name = s.arguments[0]
            if name not in s[x]:
                return fails(s) if edge == "raise" else ends(lambda s: None)(s)
            held = s[x][name]
            s[x] = {n: v for n, v in s[x].items() if n != name}
            return ends(lambda s: held)(s)
        return "map", [([f"if {k} not in {a}:", f"    {RAISE}" if edge == "raise" else "    return None", f"entries = dict({a})", f"item = entries.pop({k})", f"{a} = entries", "self._p_changed = True", "return item"], effect)], wish, True, hint
    if which == "move":
        second = made.argument("text")
        writer.world.name_parameters()
        k, m = key.code(), second.code()
        wish = told(writer, "what stands under {k} in {a} goes under {m}|give the entry of {k} in {a} the key {m}|rename the key {k} of {a} to {m}|move the entry of {k} in {a} to {m}|move what stands under {k} in {a} to the key {m}|in {a}, put what stands under {k} under {m} instead|in {a}, change the key {k} to {m}|let the entry of {k} in {a} go under {m} from now on|the entry of {k} in {a} gets {m} as its key|the entry under {k} in {a} moves to {m}|the value of {k} in {a} stands under {m} from now on, and no longer under {k}|the key {k} of {a} becomes {m}, with the same value|the key {k} of {a} is renamed to {m}|take the entry of {k} in {a} and file it under {m} instead|replace the key {k} of {a} by {m}|{m} takes the place of {k} as a key of {a}, with its value|what {a} {a:has} under {k} is kept under {m} instead", a=items, k=key, m=second) + rng.choice(("; raise an error if it is not there", ", and fail when there is no such entry", "; it is an error if there is no such entry", ", or raise an error if there is nothing to move", "; fail if there is no entry to move", "; an error when it is missing", "; if that entry is not there, raise an error", ", but raise an error if no such entry is there", "; without such an entry, raise an error", "; with nothing to move, that is an error", "; should there be no such entry, fail with an error", ", with an error if the entry is not there", "; refuse with an error if there is no such entry", "; the entry must be there, or else it is an error"))

        def effect(s):
            one, other = s.arguments
            if one not in s[x]:
                fails(s)
            held = dict(s[x])
            value = held.pop(one)
            held[other] = value
            s[x] = held
        return "map", [([f"if {k} not in {a}:", f"    {RAISE}"], nothing), (changed(f"entries = dict({a})", f"entries[{m}] = entries.pop({k})", f"{a} = entries"), effect)], wish, True, hint
    if which == "share":
        writer.world.name_parameters()
        k = key.code()
        wish = asked(rng, told(writer, "what per cent of all values of {a} stand under {k}|the share of {k} in the sum of {a}, in per cent|what share of the sum of {a} stands under {k}, in per cent|what part of the total of {a} belongs to {k}, as a percentage|what percentage of the sum of {a} {k} makes up|which percentage of the sum of {a} is under {k}|how many per cent of the total of {a} are under {k}|how much of the sum of {a} is under {k}, in per cent|how large the share of {k} in the sum of all values of {a} is, in per cent|the percentage of the sum of {a} that stands under {k}|the percentage that {k} has in the total of {a}|the value of {k} in {a} as a percentage of the sum of all values|the value under {k} in {a}, in per cent of the total|the share, in per cent, of {k} in the total of {a}|the part of the sum of {a} that {k} has, in per cent", a=items, k=key)) + writer.choose("; 0 when it is not there or the sum is 0|, 0 if it is not there or the sum is 0|; 0 without such a key or with a sum of 0|; if the sum is 0 or there is no such key, 0|; answer 0 when the key is missing or the sum is zero|, or 0 when there is no such key or the sum is 0|; it is 0 for a missing key and for a sum of 0|; when the total is 0, or the key is not there, 0|; a missing key or a sum of 0 gives 0|; should the key be missing or the sum be 0, answer 0|, 0 in case the sum is 0 or the key is not there|; 0 for a key that is not there, and 0 when the total is 0")
        def value(s):
            total = sum(s[x].values())
            return s[x].get(s.arguments[0], 0) * 100 / total if total else 0
        return "map", [([f"total = sum({a}.values())", "if total == 0:", "    return 0", f"return {a}.get({k}, 0) * 100 / total"], ends(value))], wish, False, hint
    amount = made.argument("whole")
    writer.world.name_parameters()
    k, n = key.code(), amount.code()
    wish = told(writer, "take {n} off what {a} {a:has} under {k}|{a} shrink{a:s} by {n} for {k}|lower {a} of {k} by {n}|subtract {n} from what stands under {k} in {a}|subtract {n} from the value of {k} in {a}|reduce the entry of {k} in {a} by {n}|reduce what {a} {a:has} under {k} by {n}|take {n} away from the entry of {k} in {a}|use up {n} of what {a} {a:has} under {k}|in {a}, lower the value under {k} by {n}|in {a}, the entry of {k} goes down by {n}|the value of {k} in {a} falls by {n}|the entry of {k} in {a} loses {n}|what stands under {k} in {a} becomes less by {n}|let the value under {k} in {a} sink by {n}|{n} {n:are} taken off the value under {k} in {a}|there {n:are} {n} less under {k} in {a} from now on", a=items, k=key, n=amount) + rng.choice(("; raise an error when less is there", "; fail if there is not so much, 0 for a key that is not there", ", but raise an error when less than that is there", ", and fail if it does not have so much", "; it is an error if less than that stands there", "; when less than that is there, raise an error", "; if there is not enough, raise an error; a key that is not there counts as 0", ", but fail when there is less than that", "; an error if there is less, and a missing key has 0", "; refuse with an error if what is there is not enough", "; there must be at least as much, or it is an error", "; should there be less, raise an error", "; fail if that is more than is there, which is 0 for a missing key", ", or raise an error when not so much is there", "; not enough there is an error, and a key that is missing has 0"))

    def effect(s):
        name, count = s.arguments
        if s[x].get(name, 0) < count:
            fails(s)
        s[x] = {**s[x], name: s[x].get(name, 0) - count}
    return "map", [([f"if {a}.get({k}, 0) < {n}:", f"    {RAISE}"], nothing), (changed(f"entries = dict({a})", f"entries[{k}] = entries.get({k}, 0) - {n}", f"{a} = entries"), effect)], wish, True, hint


def checked(writer, rng, made, sentence):
    """Whether a text has a form."""
    slot = writer.world.slot("text") if rng.random() < 0.6 else None
    node = Leaf(slot) if slot else made.argument("text")
    writer.world.name_parameters()
    c = node.code()
    which = rng.choice(("letters", "code", "words", "mail", "digits", "capital"))
    n, m = rng.choice((2, 3, 4)), rng.choice((2, 3, 4))
    mark = rng.choice("-/.:")
    samples = {"letters": ["abc", "abcd", "Ab", "x1", ""], "code": ["A" * n + mark + "7" * m, "B" * n + mark + "12345"[:m], "A" * n + "7" * m, "ab" + mark + "1"], "words": ["a b", "ab", "a b c", ""], "mail": ["a@b.c", "ab", "@b", "a@b"], "digits": ["1" * n, "12345", "a" * n, ""], "capital": ["Ab", "ab", "A", "bA"]}[which]
    node.place.domain = samples
    name = told(writer, "{x}", x=node)
    if which == "letters":
        return "text", [([f"return len({c}) >= {n} and {c}.isalpha()"], ends(lambda s: sum(1 for _ in node.value(s)) >= n and all(ch.isalpha() for ch in node.value(s)) and bool(node.value(s))))], wondered(rng, writer.choose(f"{name} has at least {n} characters, letters alone|{name} consists of letters alone, at least {n} of them|{name} is made of letters only and has {n} of them or more|{name} is {n} or more letters and nothing else|{name} has only letters, and not fewer than {n}|{name} is at least {n} letters long and has nothing but letters|{name} contains nothing but letters and has a length of at least {n}|{name} is no shorter than {n} characters and is all letters|{name} has a length of {n} or more, with letters and no other characters|there are at least {n} characters in {name}, and all of them are letters|every character of {name} is a letter and there are {n} of them or more|nothing but letters is in {name}, and at least {n} of them|at least {n} letters and no other characters make up {name}")), False, ("valid {x}", {"x": node})
    if which == "code":
        def value(s):
            v = node.value(s)
            head, found, tail = v[:n], v[n:n + 1], v[n + 1:]
            return len(head) == n and head.isupper() and head.isalpha() and found == mark and len(tail) == m and tail.isdigit()
        return "text", [([f"return len({c}) == {n + m + 1} and {c}[:{n}].isalpha() and {c}[:{n}].isupper() and {c}[{n}] == \"{mark}\" and {c}[{n + 1}:].isdigit()"], ends(value))], wondered(rng, writer.choose(f"{name} is {n} capital letters, a Q and {m} digits|{name} is made up of exactly {n} capital letters followed by a Q and {m} digits|{name} is written as {n} capital letters and {m} digits, with a Q in between and nothing more|{name} is a code of {n} capital letters and {m} digits with a Q between|{name} consists of {n} capital letters, a Q and {m} digits, in that order|{name} begins with {n} capitals, goes on with a Q and ends with {m} digits, and has nothing else|{name} has the form of {n} capital letters, then Q, then {m} digits|{name} has {n} capitals first, a Q next, {m} digits last, and nothing more|{name} reads like this: {n} capitals, one Q, {m} digits|{name} looks like {n} capital letters, a Q and {m} digits, and no more|{name} matches the pattern of {n} capital letters, Q and {m} digits|{n} capital letters, a Q and {m} digits are all that {name} has, in this order|first {n} capital letters, then a Q, then {m} digits make up {name}").replace("Q", f"\"{mark}\"")), False, ("valid {x}", {"x": node})
    if which == "words":
        return "text", [([f"return len({c}.split()) == {n}"], ends(lambda s: len([w for w in node.value(s).split(" ") if w]) == n))], wondered(rng, told(writer, "{x} has exactly N words|{x} consists of N words|{x} is exactly N words long|{x} is made up of N words, no more and no fewer|{x} has N words in all|{x} holds neither more nor fewer than N words|{x} comes to just N words|{x} is N words and nothing else|there are exactly N words in {x}|the number of words in {x} is N|the words of {x} are N in number|exactly N words make up {x}|one counts exactly N words in {x}|it takes N words to make {x}", x=node).replace("N", str(n))), False, ("words {x}", {"x": node})
    if which == "mail":
        def value(s):
            head, _, tail = node.value(s).partition("@")
            return head != "" and "." in tail
        return "text", [([f"head, mark, tail = {c}.partition(\"@\")", "return head != \"\" and \".\" in tail"], ends(value))], wondered(rng, writer.choose(f"{name} has something before an at sign and a point somewhere after it|{name} has at least one character in front of an at sign and a dot anywhere after it|{name} holds an at sign that does not come first, with a point somewhere behind it|{name} is something, then an at sign, then a text with a point in it|{name} looks like an address: something, an at sign, and after it a point somewhere|{name} splits at an at sign into a part that is not empty and one with a point in it|there is something before an at sign in {name}, and a point somewhere after it|an at sign stands in {name}, not at the beginning, and some point follows it|an at sign in {name} has something in front of it and a point somewhere behind|the part of {name} before an at sign is not empty and the part after it has a point|something stands before an at sign in {name}, and there is a dot later on|in {name} there is something, an at sign, and later a point")), False, ("address {x}", {"x": node})
    if which == "digits":
        return "text", [([f"return len({c}) == {n} and {c}.isdigit()"], ends(lambda s: sum(1 for _ in node.value(s)) == n and all(ch.isdigit() for ch in node.value(s))))], wondered(rng, told(writer, "{x} is exactly N digits|{x} consists of N digits and nothing else|{x} is N digits long and has only digits|{x} is made up of N digits, no more and no fewer|{x} is just N digits|{x} is a text of exactly N digits|{x} has exactly N characters, all of them digits|{x} has N digits and no other characters|{x} has a length of N and contains digits alone|{x} contains N digits, neither more nor less, and nothing else|there are N digits in {x} and nothing more|N digits are all that {x} has|exactly N digits make up {x}|every character of {x} is a digit, and there are N of them|nothing but digits is in {x}, exactly N of them", x=node).replace("N", str(n))), False, ("digits {x}", {"x": node})
    return "text", [([f"return {c}[:1].isupper()"], ends(lambda s: any(ch.isupper() for ch in node.value(s)[:1])))], wondered(rng, told(writer, "{x} begins with a capital|the first letter of {x} is a capital|{x} begins with an upper-case letter|{x} starts with a capital letter|{x} opens with a capital|{x} has a capital letter at its beginning|{x} has its first letter in upper case|{x} is written with a capital in front|the first letter of {x} is in upper case|the first character of {x} is an upper-case letter|the letter with which {x} begins is a capital|a capital letter stands at the beginning of {x}|what {x} begins with is a capital letter|there is a capital at the front of {x}|at the front of {x} there is a capital letter", x=node)), False, ("capital {x}", {"x": node})


def two(writer, rng, made, sentence):
    """Two objects become each other's, or one takes over what the other has."""
    which = rng.choice(("mutual", "mutual", "take over", "same"))
    if which == "mutual":
        link = writer.world.slot("ref")
        other = made.argument("ref")
        path = "1." + link.path
        twin = Place("ref", path, f"other.{link.path}", link.words)
        twin.owner = other.place
        writer.world.others["1"] = []
        writer.world.name_parameters()
        writer.world.free = link.path
        n = link.path
        guard = rng.random() < 0.5
        wish = told(writer, "the receiver and {o} are each other's {l:b} from now on|{o} becomes {l}, and the receiver that of {o}|{l} is {o}, and the {l:b} of {o} is the receiver|make {o} {l}, and the receiver the {l:b} of {o}|set {l} to {o} and the {l:b} of {o} to the receiver|take {o} as {l}, and let {o} take the receiver as its {l:b}|let the receiver and {o} be each other's {l:b}|link the receiver and {o}: each is the other's {l:b}|join the receiver and {o} as each other's {l:b}|{o} and the receiver get each other as {l:b}|{o} is to be {l}, and the receiver is to be the {l:b} of {o}|from now on the receiver has {o} as {l:b}, and {o} has the receiver as {l:b}|each of the two, the receiver and {o}, becomes the {l:b} of the other|the receiver becomes the {l:b} of {o}, as {o} becomes that of the receiver|both ways: {l} is {o}, and the {l:b} of {o} is the receiver|as {l}, take {o}, and as the {l:b} of {o}, the receiver|store {o} as {l} and the receiver as the {l:b} of {o}", l=link, o=other)

        def effect(s):
            if guard and (s[n] is not None or getattr(s.arguments[0], n) is not None):
                fails(s)
            s[n] = s.arguments[0]
            setattr(s.arguments[0], n, s.things["self"])
        plan = []
        if guard:
            wish += told(writer, "; raise an error when either has a {l:b} already|. It fails when one of the two has a {l:b}|; an error if either of them has a {l:b} already|, but raise an error if one of them has a {l:b} already|. that is an error when either has a {l:b} already|; fail if the one or the other has a {l:b} already|, provided that neither has a {l:b} yet; otherwise raise an error|; both must be without a {l:b}, or it is an error|; if one of them has a {l:b} already, raise an error|. raise an error unless both are without a {l:b}|; it is an error for either to have a {l:b} before that|, failing when either already has a {l:b}|; should one of the two have a {l:b} already, refuse with an error|; when the {l:b} of either is not none, raise an error|. neither may have a {l:b} yet, or else raise an error|; does either have a {l:b} already? then raise an error", l=link)
            plan.append(([f"if self.{n} is not None or other.{n} is not None:", f"    {RAISE}"], nothing))
        return "objects", [*plan, (changed(f"self.{n} = other", f"other.{n} = self"), effect)], wish, True, ("be {l}", {"l": Leaf(link)})
    kind = rng.choice(("texts", "num", "text", "nums"))
    slot = writer.world.slot(kind)
    other = made.argument("ref")
    n = slot.path
    twin = Place(kind, "1." + n, "other." + n, slot.words, slot.many)
    twin.owner = other.place
    writer.world.others["1"] = [twin]
    writer.world.kinds["1." + n] = writer.world.kinds[n]
    writer.world.name_parameters()
    held = lambda s: getattr(s.things["1"], n)
    if which == "same":
        wish = wondered(rng, told(writer, "the own {x:b} and that of {o} are the same|{o} has the same {x:b}|the receiver and {o} have equal {x:b}|the own {x:b} {x:are} the same as the {x:b} of {o}|the own {x:b} equal{x:s} the {x:b} of {o}|the own {x:b} {x:are} identical to the {x:b} of {o}|the own {x:b} and that of {o} agree|the {x:b} of {o} {x:are} the same as the own {x:b}|the {x:b} of {o} {x:are} no different from the own {x:b}|the receiver has the same {x:b} as {o}|the receiver has its {x:b} in common with {o}|the receiver and {o} agree in {x:b}|both the receiver and {o} have the same {x:b}|{o} has just the {x:b} that the receiver has|{o} does not differ from the receiver in {x:b}|there is no difference between the own {x:b} and that of {o}|what {o} has as {x:b} is what the receiver has, too", x=slot, o=other))
        return "objects", [([f"return self.{n} == other.{n}"], ends(lambda s: not s[n] != held(s)))], wish, False, ("same {x} as", {"x": Leaf(slot)})
    flag = made.slot("bool") if rng.random() < 0.4 else None
    wish = told(writer, "take the {x:b} of {o} over|the own {x:b} become{x:s} that of {o}|copy the {x:b} of {o}; it stays as it is there|set the own {x:b} to the {x:b} of {o}|let the own {x:b} be that of {o}|adopt the {x:b} of {o}|replace the own {x:b} by that of {o}|overwrite the own {x:b} with that of {o}|use the {x:b} of {o} as the own {x:b}|get the {x:b} from {o}, which keeps its own|have the same {x:b} as {o} from now on|copy over what {o} has as {x:b}|from {o}, take over the {x:b}|whatever {o} has as {x:b}, take it as the own {x:b}|the receiver gets the {x:b} that {o} has|the own {x:b} {x:are} set to what {o} has as {x:b}|the {x:b} of {o} {x:are} copied to the receiver|the receiver takes on the {x:b} of {o}", x=slot, o=other)
    if flag:
        wish += told(writer, ", and {f:on} then|; {f:on} from then on|, and from now on {f:on}|, and after that {f:on}|, and then {f:on}|, and {f:on} from now on|, and see to it that {f:on}|, and let it be so that {f:on}|; after that, {f:on}|; afterwards {f:on}|; also, {f:on} from now on|; from that moment on, {f:on}|; as of then, {f:on}|; make it so that {f:on}|; and it is to be so that {f:on}", f=flag)

    def effect(s):
        s[n] = list(held(s)) if isinstance(held(s), list) else held(s)
        if flag:
            s[flag.place.path] = True
    code = f"list(other.{n})" if kind in ("texts", "nums") else f"other.{n}"
    return "objects", [(changed(f"self.{n} = {code}", *([f"{flag.code()} = True"] if flag else [])), effect)], wish, True, ("take {x} of", {"x": Leaf(slot)})


def dropped(writer, rng, made, sentence):
    """Only those items of a list that pass a filter are kept; how many went."""
    source = made.slot(rng.choice(("nums", "texts", "wholes")))
    node = made.filtered(source)
    many, short = node.predicate(sentence)
    a, x = source.code(), source.place.path
    writer.world.name_parameters()
    keeps = rng.random() < 0.5
    which = rng.choice(("silent", "silent", "count", "those"))
    condition = node.condition()
    lines = [f"kept = {node.code()}" if keeps else f"kept = [item for item in {a} if not {'(' + condition + ')' if ' and ' in condition else condition}]"]
    wish = told(writer, "only those of {a} that P are kept|keep only the {a:b} that P|all {a:b} but those that P go|keep those of {a} that P and drop the rest|retain the {a:b} that P, and no others|drop all {a:b} except those that P|throw away all of {a} other than those that P|reduce {a} to the ones that P|cut {a} down to those that P|filter {a} so that only those that P are left|let only those of {a} stay that P|leave in {a} nothing but the ones that P|of {a}, only those that P remain|the {a:b} that P stay, and the others go|every {a:1} goes that is not one of those that P|{a} become{a:s} a list of just those that P|from now on {a} hold{a:s} only those that P|remove all {a:b} but the ones that P" if keeps else "those of {a} that P go|drop the {a:b} that P|take all {a:b} that P away|remove those of {a} that P|throw out those of {a} that P|delete from {a} all those that P|discard the {a:b} that P|get rid of the {a:b} that P|let go of those of {a} that P|clear {a} of those that P|keep all {a:b} but those that P|from {a}, strike those that P|{a} lose{a:s} those that P|all {a:b} that P are removed|the {a:b} that P are dropped, and the rest stays|the {a:b} that P leave, the others stay as they are|any of {a} that P are taken out|no {a:b} that P are to stay|if there are {a:b} that P, take them out", a=source).replace("P", many)
    passes = node.passes
    split = lambda s: ([v for v in s[x] if passes(s)(v) == keeps], [v for v in s[x] if passes(s)(v) != keeps])
    if which == "silent":
        lines = changed(f"{a} = {lines[0].removeprefix('kept = ')}")
        tail = None
    elif which == "count":
        lines += changed(f"count = len({a}) - len(kept)", f"{a} = kept") + ["return count"]
        wish += rng.choice(("; answer how many went", ", and answer how many were dropped", "; answer the number of those that went", "; the answer is the number that was dropped", ", answering how many that were", "; return how many had to go", ", and tell how many are gone", "; report the count of those dropped", ", and give the number of those that were dropped", "; how many went is the answer", ", and say how many were lost", "; answer by how many there are fewer then", ", with the number of those dropped as the answer", "; count those that go and answer the count", ", and return the number of those removed"))
        tail = len
    else:
        lines = [lines[0], f"gone = [item for item in {a} if item not in kept]", *changed(f"{a} = kept"), "return gone"]
        wish += rng.choice(("; answer those that went", ", and answer a list of those that went", "; the answer is a list of those that were dropped", ", and return the ones that went, as a list", "; give back those that had to go", ", and hand back a list of what was dropped", "; return the dropped ones in their order", ", answering a list of those that are gone", "; answer the ones that were taken out, as a list", ", and tell which ones went", "; what went is the answer, as a list", ", with those dropped as the answer, in a list", "; answer which ones were dropped", ", and give a list of the ones that are no longer there"))
        tail = list

    def effect(s):
        kept, gone = split(s)
        s[x] = kept
        if tail:
            return ends(lambda s: tail(gone))(s)
    return "change", [(lines, effect)], wish, True, ("keep {a}" if keeps else "drop {a}", {"a": source})


def spelled(writer, rng, made, sentence):
    """A text whose pieces are told one after the other."""
    def piece():
        """What is told, what stands in the text (when all arguments have their names), its value."""
        chance = rng.random()
        if chance < 0.14 and not writer.world.sends:
            verb, held = writer.verbs(), made.slot("text")
            writer.world.sends.append(("self", verb, lambda thing: getattr(thing, held.place.path)))
            return rng.choice(("what N answers", "the answer of N", "the own N", "what N gives", "what N returns", "what comes back from N", "what the own N answers", "what sending N gives", "whatever N answers", "the result of N", "the outcome of N", "the text that N answers", "the answer that N gives")).replace("N", verb.replace("_", " ")), lambda: "{self." + verb + "()}", held.value
        node = made.argument(rng.choice(("text", "text", "whole"))) if chance < 0.3 and len(writer.world.arguments) < 2 else made.slot(rng.choice(("text", "text", "num")))
        told.append(node)
        said, form = node.say(sentence), rng.random()
        if node.kind == "text" and form < 0.1:
            return rng.choice(("the first letter of N", "the first letter of N", "the first letter of N", "the first character of N", "the initial letter of N", "the leading letter of N", "the letter at the beginning of N", "the letter that N begins with", "the letter with which N starts", "only the first letter of N", "just the first letter of N", "the first letter alone of N", "the first letter in N")).replace("N", said), lambda: "{" + node.code() + "[:1]}", lambda s: node.value(s)[:1]
        if node.kind == "text" and form < 0.18:
            return rng.choice(("N in capitals", "N in capital letters", "N in upper case", "N in upper-case letters", "N in block capitals", "N all in capitals", "N written in capitals", "N written in capital letters", "N set in capitals", "N spelled in capitals", "N with all its letters capital", "N put into capitals", "N turned to upper case")).replace("N", said), lambda: "{" + node.code() + ".upper()}", lambda s: "".join(c.upper() for c in node.value(s))
        return said, lambda: "{" + node.code() + "}", node.value

    def between():
        """The same of what is the same each time."""
        mark, words = rng.choice((((", "), "a comma and a space|a comma, a space|a comma with a space after it|a comma followed by a space|a comma plus a space|a comma and one space|a comma and then a space|a comma and a blank|a comma with a space behind"), (" ", "a space|a space|a space|one space|a single space|a blank|just a space|an empty space|a blank space"), (" ", "a space"), (": ", "a colon and a space|a colon, a space|a colon with a space after it|a colon followed by a space|a colon plus a space|a colon and one space|a colon and then a space|a colon and a blank|a colon with a space behind"), (",", "a comma|a comma|one comma|a single comma|just a comma|a plain comma|a comma alone|a comma without a space|a comma and no space"), (":", "a colon|a colon|one colon|a single colon|just a colon|a plain colon|a colon alone|a colon without a space|a colon and no space"), ("-", "a hyphen|a hyphen|one hyphen|a single hyphen|just a hyphen|a plain hyphen|a hyphen alone|a hyphen without spaces|a minus sign|a dash"), ("/", "a slash|a slash|one slash|a single slash|just a slash|a plain slash|a slash alone|a forward slash|a slash without spaces"),
                                  ("; ", "a semicolon and a space|a semicolon, a space|a semicolon with a space after it|a semicolon followed by a space|a semicolon plus a space|a semicolon and one space|a semicolon and then a space|a semicolon and a blank|a semicolon with a space behind"), (" - ", "a hyphen with spaces around it|a hyphen between two spaces|a hyphen with a space on each side|a hyphen with a space before and after it|a hyphen that has a space on both sides|a space, a hyphen and a space|a space, a hyphen, a space|a dash with spaces around it|a hyphen between spaces|a hyphen set off by spaces"), (". ", "a point and a space|a point, a space|a point with a space after it|a point followed by a space|a point plus a space|a full stop and a space|a full stop, a space|a dot and a space|a dot followed by a space|a period and a space"), (None, ""), (None, ""), (None, "")))
        if mark is None:
            word = rng.choice(WORDS + vocabulary.VERBS)
            mark = rng.choice((f" {word} ", f" {word} ", f" {word}: ", " = ", f" {word} the ", f", {word} ", " & "))
        return f'"{mark}"' if not words or rng.random() < 0.25 else writer.choose(words), lambda: mark, None

    told = []
    pieces = [piece()]
    for _ in range(rng.choice((1, 1, 1, 2))):
        pieces += [between(), piece()]
    chance = rng.random()
    if chance < 0.2:
        mark, words = rng.choice(((".", "a point|a full stop|a dot|a period|a final point|one point|a single dot|a closing full stop"), ("!", "an exclamation mark|an exclamation mark|an exclamation point|one exclamation mark|a single exclamation mark|a final exclamation mark|a closing exclamation mark"), ("?", "a question mark|a question mark|one question mark|a single question mark|a final question mark|a closing question mark"), (" " + rng.choice(vocabulary.UNITS), ""), ("%", "a per cent sign|a percent sign|the per cent sign|the sign for per cent|one per cent sign|a single percent sign|a final per cent sign")))
        pieces.append((writer.choose(words) or f'"{mark}"', lambda: mark, None))
    elif chance < 0.3:
        word = rng.choice(WORDS).capitalize()
        pieces.insert(0, (f'"{word} "', lambda: f"{word} ", None))
    writer.world.name_parameters()
    texts = [text() for _, text, _ in pieces]
    if len({text for text in texts if "{" in text}) < sum("{" in text for text in texts):
        raise LookupError("a piece twice")
    said = [called for called, _, _ in pieces]
    if len(said) == 3 and rng.random() < 0.3:
        wish = rng.choice(("{0} and {2} with {1} between", "{0} and {2}, with {1} between them", "{0}, then {1}, then {2}", "{0} and {2}, {1} between the two", "{0} and {2}, with {1} in the middle", "{0} and {2}, separated by {1}", "{0} and {2}, joined by {1}", "{0} and {2}, held apart by {1}", "{0}, followed by {1} and {2}", "{0} followed by {1} followed by {2}", "{0}, {1} and {2}, in this order", "{0}, after that {1}, and at the end {2}", "{0} with {2} behind it and {1} between", "a text made of {0}, {1} and {2}", "one text of {0}, then {1}, then {2}", "a line with {0}, {1} and {2}", "first {0}, then {1}, then {2}")).format(*said)
    else:
        wish = ", ".join(said[:-1]) + rng.choice((" and ", ", and ", ", then ", " and then ", ", and then ", ", followed by ", ", after that ", ", and after that ", ", and finally ", ", and at the end ", ", and last ", ", and behind it ", " and at last ")) + said[-1]
    whole = lambda s: "".join(str(value(s)) if value else text for (_, _, value), text in zip(pieces, texts))
    hint = rng.choice(("{a} line", "{a} text", "{a} with {b}", "{a} and {b}", "describe {a}", "{b} of {a}", "line", "label of {a}"))
    return "text", [(['return f"' + "".join(texts) + '"'], ends(whole))], asked(rng, wish), False, (hint, {"a": told[0], "b": told[-1]} if told else {})


STORIES = ((spelled, 2), (of_all, 2), (those, 3), (best, 1.5), (each, 1.5), (member, 2), (refer, 2), (send, 1.6), (parent, 1), (cycle, 1), (running, 2), (mapped, 2.4), (checked, 1.4), (two, 1.6), (dropped, 1.6))
