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
        wish = asked(rng, told(writer, "the sum of the {n:b} of {a}|the {n:b} of all {a:b} together|the total of the {n:b} of {a}|what the {n:b} of {a} make together", a=items, n=slot))
        plan = [([f"return sum([item.{n} for item in {a}])"], ends(lambda s: sum(fields(s)[::-1]) if all(isinstance(v, int) for v in fields(s)) else sum(fields(s))))]
    elif which == "list":
        wish = asked(rng, told(writer, "the {n:b} of each of {a}, as a list|a list of the {n:b} of {a}|for each of {a} its {n:b}, in their order", a=items, n=slot))
        plan = [([f"return [item.{n} for item in {a}]"], ends(fields))]
    else:
        code = {"average": f"sum([item.{n} for item in {a}]) / len({a})", "largest": f"max([item.{n} for item in {a}])", "smallest": f"min([item.{n} for item in {a}])"}[which]
        value = {"average": lambda v: sum(v) / len(v), "largest": lambda v: sorted(v)[-1], "smallest": lambda v: sorted(v)[0]}[which]
        edge, word = rng.choice((("None", "none"), ("0", "0")))
        wish = asked(rng, told(writer, f"the {which} of the {{n:b}} of {{a}}|the {which} {{n:b}} of {{a}}|the {which} {{n:b}} that {{a}} have", a=items, n=slot)) + told(writer, f", {word} when there are none|; {word} without {{a:b}}|; when there are no {{a:b}} {word}", a=items)
        plan = [([f"if not {a}:", f"    return {edge}", f"return {code}"], ends(lambda s: value(fields(s)) if fields(s) else None if edge == "None" else 0))]
    return "objects", plan, wish, False, (f"{which} of {{n}} of {{a}}", {"a": Leaf(items), "n": Leaf(slot)})


def those(writer, rng, made, sentence):
    """Those objects of a list whose slot is such and such."""
    kind = rng.choice(("num", "num", "text", "bool"))
    items, slot = group(writer, kind)
    a, n = items.code, slot.path
    if kind == "bool":
        code, said, holds = f"item.{n}", told(writer, "that {n} holds for|whose {n:b} is true", n=slot).replace("that ", "for which ", 1) if rng.random() < 0.3 else told(writer, "whose {n:b} is true|with the {n:b} set", n=slot), lambda s: lambda item: getattr(item, n)
        if rng.random() < 0.4:
            code, said, holds = f"not item.{n}", told(writer, "whose {n:b} is false|with the {n:b} not set", n=slot), lambda s: lambda item: getattr(item, n) is False
    else:
        value = made.leaf(kind)
        sign, words, act = rng.choice(((">", "more than|above|greater than|over", lambda x, y: y < x), ("<", "less than|below|smaller than|under", lambda x, y: y > x), (">=", "at least|not less than", lambda x, y: not x < y), ("<=", "at most|not more than", lambda x, y: not x > y), ("==", "exactly|equal to", lambda x, y: not x != y))) if kind == "num" else ("==", "|the same as", lambda x, y: not x != y)
        said = told(writer, "whose {n:b} is W {v}|with a {n:b} W {v}|that have W {v} as {n:b}" if kind == "num" and sign in "<=>=" else "whose {n:b} is W {v}|with {v} as {n:b}", n=slot, v=value).replace("W ", writer.choose(words) + " ").replace("  ", " ")
        holds = lambda s: lambda item: act(getattr(item, n), value.value(s))
        writer.world.name_parameters()
        code = f"item.{n} {sign} {value.code():5}"
    kept = lambda s: [item for item in s[items.path] if holds(s)(item)]
    which = rng.choice(("count", "count", "list", "first", "first", "any", "all", "names", "sum"))
    if which in ("names", "sum"):
        other = writer.world.attribute("text" if which == "names" else "num")
    if which == "count":
        wish = told(writer, f"answer how many of {{a}} there are {said}|answer how many {{a:b}} there are {said}|answer the number of {{a:b}} {said}|tell how many {{a:b}} it has {said}", a=items)
        plan = [([f"return len([item for item in {a} if {code}])"], ends(lambda s: sum(1 for _ in kept(s))))]
    elif which == "list":
        wish = told(writer, f"answer those of {{a}} {said}|answer the {{a:b}} {said}, in their order|answer all {{a:b}} {said}", a=items)
        plan = [([f"return [item for item in {a} if {code}]"], ends(kept))]
    elif which == "first":
        wish = told(writer, f"answer the first of {{a}} {said}, none without one|answer the first {{a:1}} {said}; none when there is no such one|find the first of {{a}} {said}, or none", a=items)
        plan = [([f"for item in {a}:", f"    if {code}:", "        return item", "return None"], ends(lambda s: next(iter(kept(s)), None)))]
    elif which == "any":
        wish = wondered(rng, told(writer, f"there is any of {{a}} {said}|there is a {{a:1}} {said}", a=items))
        plan = [([f"return any({code} for item in {a})"], ends(lambda s: len(kept(s)) > 0))]
    elif which == "all":
        wish = wondered(rng, told(writer, f"all {{a:b}} are ones {said}|there is none of {{a}} but those {said}", a=items))
        plan = [([f"return all({code} for item in {a})"], ends(lambda s: len(kept(s)) == len(s[items.path])))]
    elif which == "names":
        wish = asked(rng, told(writer, f"the {{o:b}} of those of {{a}} {said}, as a list|a list of the {{o:b}} of the {{a:b}} {said}", a=items, o=other))
        plan = [([f"return [item.{other.path} for item in {a} if {code}]"], ends(lambda s: [getattr(item, other.path) for item in kept(s)]))]
    else:
        wish = asked(rng, told(writer, f"the sum of the {{o:b}} of those of {{a}} {said}|the {{o:b}} of the {{a:b}} {said}, added up", a=items, o=other))
        plan = [([f"return sum([item.{other.path} for item in {a} if {code}])"], ends(lambda s: sum(getattr(item, other.path) for item in kept(s))))]
    return "objects", plan, wish, False, (f"{which} {{a}} with {{n}}", {"a": Leaf(items), "n": Leaf(slot)})


def best(writer, rng, made, sentence):
    """The object of a list with the most or the least of something."""
    items, slot = group(writer)
    a, n = items.code, slot.path
    which, end = rng.choice((("max", "most|largest|highest"), ("min", "least|smallest|lowest")))
    word = writer.choose(end)
    answer = rng.choice(("object", "object", "text"))
    tail = told(writer, ", the first of several; none without {a:b}|; none if there are none|, none when there are no {a:b}", a=items)
    pick = lambda s: next(item for item in s[items.path] if getattr(item, n) == sorted((getattr(i, n) for i in s[items.path]), reverse=which == "max")[0])
    code = f"{which}({a}, key=lambda item: item.{n})"
    if answer == "object":
        wish = told(writer, f"answer the one of {{a}} with the {word} {{n:b}}|answer the {{a:1}} with the {word} {{n:b}}|answer which of {{a}} has the {word} {{n:b}}", a=items, n=slot) + tail
        plan = [([f"if not {a}:", "    return None", f"return {code}"], ends(lambda s: pick(s) if s[items.path] else None))]
    else:
        other = writer.world.attribute("text")
        wish = told(writer, f"answer the {{o:b}} of the one of {{a}} with the {word} {{n:b}}|answer the {{o:b}} of the {{a:1}} that has the {word} {{n:b}}", a=items, n=slot, o=other) + tail
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
        "add": (f"item.{n} + {code:6}" if value else "", "add {v} to the {n:b} of each of {a}|the {n:b} of all {a:b} grows by {v}|raise the {n:b} of every {a:1} by {v}"),
        "take": (f"item.{n} - {code:6}" if value else "", "take {v} off the {n:b} of each of {a}|the {n:b} of all {a:b} falls by {v}|lower the {n:b} of every {a:1} by {v}"),
        "set": (code, "the {n:b} of each of {a} becomes {v}|set the {n:b} of every {a:1} to {v}|{v} becomes the {n:b} of all {a:b}"),
        "zero": ("0", "the {n:b} of each of {a} becomes 0|set the {n:b} of every {a:1} back to 0|all {a:b} begin again with a {n:b} of 0"),
        "true": ("True", "the {n:b} of each of {a} becomes true|set the {n:b} of every {a:1}|turn the {n:b} on for all {a:b}"),
        "false": ("False", "the {n:b} of each of {a} becomes false|turn the {n:b} off for all {a:b}|set the {n:b} of every {a:1} to false"),
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
    tail = told(writer, ", and count one more on {c}|; {c} grow{c:s} by one", c=count) if count else ""

    def add(s):
        s[x] = [*s[x], s.arguments[0]]
        if count:
            s[count.place.path] = 1 + s[count.place.path]

    inside = lambda s: any(item is s.arguments[0] for item in s[x])
    if which == "add":
        wish, plan = told(writer, "put {o} at the end of {a}|{o} is one more of {a} from now on|add {o} to {a}|take {o} in, at the end of {a}", a=items, o=other) + tail, [(changed(f"{a} = {a} + [{o}]", *more), add)]
    elif which == "unless":
        wish, plan = told(writer, "put {o} at the end of {a}T, unless it is among them already|when {o} is not among {a}, add it at their endT|add {o} to {a}T, but only when it is not there yet", a=items, o=other).replace("T", tail, 1), [(["if " + f"{o} not in {a}:", *("    " + line for line in changed(f"{a} = {a} + [{o}]", *more))], lambda s: None if inside(s) else add(s))]
    elif which == "error":
        wish, plan = told(writer, "put {o} at the end of {a}T; an error when it is among them already|add {o} to {a}T. It fails when it is there already", a=items, o=other).replace("T", tail, 1), [([f"if {o} in {a}:", f"    {RAISE}"], lambda s: fails(s) if inside(s) else None), (changed(f"{a} = {a} + [{o}]", *more), add)]
    elif which == "remove":
        def remove(s):
            s[x] = [item for item in s[x] if item is not s.arguments[0]]
        wish, plan = told(writer, "{o} is none of {a} any more|take {o} out of {a}|remove {o} from {a}", a=items, o=other), [(changed(f"{a} = [item for item in {a} if item != {o}]"), remove)]
    else:
        return "objects", [([f"return {o} in {a}"], ends(inside))], wondered(rng, told(writer, "{o} is one of {a}|{o} is among {a}|{a} have {o} among them", a=items, o=other)), False, ("has {a}", {"a": Leaf(items)})
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
        wish = told(writer, "{l} is {o} from now on|{o} becomes {l}|take {o} as {l}|set {l} to {o}", l=link, o=other) + (told(writer, ", and count one more on {c}|; {c} grow{c:s} by one", c=count) if count else "")

        def effect(s):
            s[x] = s.arguments[0]
            if count:
                s[count.place.path] = 1 + s[count.place.path]
        before = rng.random() < 0.25
        lines = changed(f"{link.code} = other", *([f"{count.code()} = {count.code()} + 1"] if count else []))
        if before:
            cell = {}
            return "objects", [(["before = " + link.code], lambda s: cell.update(v=s[x])), (lines, effect), (["return before"], ends(lambda s: cell["v"]))], wish + told(writer, "; answer which it was before|; answer the old {l:b}", l=link), True, ("set {l}", {"l": Leaf(link)})
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
    wish = asked(rng, told(writer, "{s}", s=slot)) + told(writer, f", {said} when there is no {{l:b}}|; {said} without {{l:b}}|; when {{l}} is none answer {said}", l=link)
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
            wish, code, value = asked(rng, told(writer, f"what {name} answers, times {{f}}|{{f}} times the answer of {name}|the own {name} multiplied by {{f}}", f=factor)), f"self.{verb}() * {factor.code():7}", lambda s: factor.value(s) * s[slot.place.path]
        elif form == "plus":
            wish, code, value = asked(rng, told(writer, f"what {name} answers, with {{f}} added|the answer of {name} plus {{f}}|the own {name} and {{f}} together", f=factor)), f"self.{verb}() + {factor.code():6}", lambda s: factor.value(s) + s[slot.place.path]
        else:
            wish, code, value = wondered(rng, told(writer, f"what {name} answers is more than {{f}}|the answer of {name} is above {{f}}", f=factor)), f"self.{verb}() > {factor.code():5}", lambda s: factor.value(s) < s[slot.place.path]
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
    wish = told(writer, f"send {name} to {{l}}" + (" with {a}" if argument else "") + f"|{{l}} is to {name}" + (", with {a}" if argument else "") + f"|let {{l}} {name}" + (" by {a}" if argument else ""), l=link, **({"a": argument} if argument else {}))
    if count:
        wish += told(writer, ", and count one more on {c}|; {c} grow{c:s} by one", c=count)

    cell = {}

    def effect(s):
        s[path] = s[path] + sign * (s.arguments[0] if argument else 1)
        cell["v"] = s[path]
        if count:
            s[count.place.path] = 1 + s[count.place.path]

    more = [f"{count.code()} = {count.code()} + 1"] if count else []
    if rng.random() < 0.6:
        wish += rng.choice(("; answer what it answers", ", and answer its answer", ", and answer what that answers"))
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
        return "delegation", [(changed(f"self.{x} = self.parents[0].{x}"), effect)], told(writer, "{x} become{x:s} what the parent has as {x:b}|go back to the parent's {x:b}|take over the {x:b} of the parent", x=slot), True, ("parent {x}", {"x": Leaf(slot)})
    said, code, value = {"more": ("how much more the own {x:b} is than the parent's|the own {x:b} less that of the parent", f"self.{x} - self.parents[0].{x}", lambda s: -(up(s) - s[x])),
                         "sum": ("the own {x:b} and that of the parent together|the sum of the own {x:b} and the parent's", f"self.{x} + self.parents[0].{x}", lambda s: up(s) + s[x]),
                         "same": ("the own {x:b} is the same as the parent's|the parent has the same {x:b}", f"self.{x} == self.parents[0].{x}", lambda s: not s[x] != up(s))}[which]
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
    wish = told(writer, "{x} go{x:es} S|{x} change{x:s} S|move {x} on: S", x=slot).replace("S", ", ".join(steps[:-1]) + " and " + steps[-1])
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
            wish = asked(rng, told(writer, "a map from each of {a} to how often it is there|how often each of {a} is there, as a map", a=items))
            return "map", [(["counts = {}", f"for item in {a}:", "    counts[item] = counts.get(item, 0) + 1", "return counts"], ends(lambda s: {v: sum(1 for w in s[x] if w == v) for v in s[x]}))], wish, False, ("tally {a}", {"a": Leaf(items)})
        by, words, key = rng.choice((("item[:1]", "their first letter|the letter with which they begin", lambda v: v[:1]), ("len(item)", "their length|how long they are", len)))
        if by == "len(item)":
            raise LookupError("keys that are texts alone")
        wish = asked(rng, told(writer, f"{{a}} grouped by {writer.choose(words)}: a map from it to the list of those", a=items))
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
        wish = asked(rng, told(writer, "a list of the sums of {a} up to each place|for each place of {a} the sum up to there, as a list|the running sums of {a}", a=items))
        return "list", [(["total = 0", "sums = []", f"for item in {a}:", "    total = total + item", "    sums = sums + [total]", "return sums"], ends(lambda s: [sum(s[x][:i + 1]) for i in range(len(s[x]))]))], wish, False, hint
    if which == "differences":
        wish = asked(rng, told(writer, "the differences between neighbours of {a}, each less the one before it|by how much each of {a} is more than the one before it, as a list|the steps from each of {a} to the next", a=items))
        return "list", [([f"return [after - item for item, after in zip({a}, {a}[1:])]"], ends(lambda s: [s[x][i] - s[x][i - 1] for i in range(1, len(s[x]))]))], wish, False, hint
    if which == "second":
        word, code = rng.choice((("largest", "[-2]"), ("smallest", "[1]")))
        wish = asked(rng, told(writer, f"the second {word} of {{a}}, equal ones counted once|the {word} but one of the different {{a:b}}", a=items)) + told(writer, "; none when there are fewer than two|, none without two different ones", a=items)
        value = lambda s: sorted(set(s[x]))[-2 if word == "largest" else 1] if len(set(s[x])) > 1 else None
        return "list", [([f"items = sorted(set({a}))", "if len(items) < 2:", "    return None", f"return items{code}"], ends(value))], wish, False, hint
    if which == "up":
        wish = wondered(rng, told(writer, "each of {a} is larger than the one before it|{a} grow from each to the next|every one of {a} is above its predecessor", a=items))
        return "truth", [([f"return all(item < after for item, after in zip({a}, {a}[1:]))"], ends(lambda s: all(s[x][i - 1] < s[x][i] for i in range(1, len(s[x])))))], wish, False, hint
    if which == "most":
        other = writer.world.slot("texts")
        wish = asked(rng, told(writer, "the one of {b} at the place where {a} are largest|which of {b} has the largest of {a} at its place", a=items, b=other)) + "; none when either is empty or they are not equally many"
        def value(s):
            return s[other.path][s[x].index(sorted(s[x])[-1])] if s[x] and len(s[x]) == len(s[other.path]) else None
        return "list", [([f"if not {a} or len({a}) != len({other.code}):", "    return None", f"return {other.code}[{a}.index(max({a}))]"], ends(value))], wish, False, hint
    wish = asked(rng, told(writer, "how many of {a} are equal to the one before them|how often one of {a} equals its predecessor", a=items))
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
        wish = asked(rng, told(writer, "the first key of {a} whose value is less than {v}|the first key under which less than {v} stands in {a}", a=items, v=value)) + rng.choice((", none when there is none", "; none without such a one"))
        return "map", [([f"for key, value in {a}.items():", f"    if value < {value.code():5}:", "        return key", "return None"], ends(lambda s: next((k for k in s[x] if value.value(s) > s[x][k]), None)))], wish, False, hint
    if which == "key of":
        value = made.argument("whole")
        writer.world.name_parameters()
        wish = asked(rng, told(writer, "the first key under which {v} stands in {a}|under which key of {a} {v} stands, the first of several", a=items, v=value)) + rng.choice((", none when there is none", "; none when it stands nowhere"))
        return "map", [([f"for key, value in {a}.items():", f"    if value == {value.code()}:", "        return key", "return None"], ends(lambda s: next((k for k in s[x] if s[x][k] == value.value(s)), None)))], wish, False, hint
    key = made.argument("text")
    if which == "take":
        edge = rng.choice(("None", "raise"))
        writer.world.name_parameters()
        k = key.code()
        wish = told(writer, "take {k} out of {a} and answer what stood under it|remove the entry of {k} from {a}; answer its value|the entry of {k} leaves {a}: answer it", a=items, k=key) + (rng.choice((", none when it is not there", "; when it is not there, answer none and change nothing")) if edge == "None" else rng.choice(("; raise an error if it is not there", "; it fails without such an entry")))

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
        wish = told(writer, "what stands under {k} in {a} goes under {m}|give the entry of {k} in {a} the key {m}|rename the key {k} of {a} to {m}", a=items, k=key, m=second) + rng.choice(("; raise an error if it is not there", ", and fail when there is no such entry"))

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
        wish = asked(rng, told(writer, "what per cent of all values of {a} stand under {k}|the share of {k} in the sum of {a}, in per cent", a=items, k=key)) + "; 0 when it is not there or the sum is 0"
        def value(s):
            total = sum(s[x].values())
            return s[x].get(s.arguments[0], 0) * 100 / total if total else 0
        return "map", [([f"total = sum({a}.values())", "if total == 0:", "    return 0", f"return {a}.get({k}, 0) * 100 / total"], ends(value))], wish, False, hint
    amount = made.argument("whole")
    writer.world.name_parameters()
    k, n = key.code(), amount.code()
    wish = told(writer, "take {n} off what {a} {a:has} under {k}|{a} shrink{a:s} by {n} for {k}|lower {a} of {k} by {n}", a=items, k=key, n=amount) + rng.choice(("; raise an error when less is there", "; fail if there is not so much, 0 for a key that is not there", ", but raise an error when less than that is there"))

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
        return "text", [([f"return len({c}) >= {n} and {c}.isalpha()"], ends(lambda s: sum(1 for _ in node.value(s)) >= n and all(ch.isalpha() for ch in node.value(s)) and bool(node.value(s))))], wondered(rng, f"{name} has at least {n} characters, letters alone"), False, ("valid {x}", {"x": node})
    if which == "code":
        def value(s):
            v = node.value(s)
            head, found, tail = v[:n], v[n:n + 1], v[n + 1:]
            return len(head) == n and head.isupper() and head.isalpha() and found == mark and len(tail) == m and tail.isdigit()
        return "text", [([f"return len({c}) == {n + m + 1} and {c}[:{n}].isalpha() and {c}[:{n}].isupper() and {c}[{n}] == \"{mark}\" and {c}[{n + 1}:].isdigit()"], ends(value))], wondered(rng, f"{name} is {n} capital letters, a \"{mark}\" and {m} digits"), False, ("valid {x}", {"x": node})
    if which == "words":
        return "text", [([f"return len({c}.split()) == {n}"], ends(lambda s: len([w for w in node.value(s).split(" ") if w]) == n))], wondered(rng, told(writer, "{x} has exactly N words|{x} consists of N words", x=node).replace("N", str(n))), False, ("words {x}", {"x": node})
    if which == "mail":
        def value(s):
            head, _, tail = node.value(s).partition("@")
            return head != "" and "." in tail
        return "text", [([f"head, mark, tail = {c}.partition(\"@\")", "return head != \"\" and \".\" in tail"], ends(value))], wondered(rng, f"{name} has something before an at sign and a point somewhere after it"), False, ("address {x}", {"x": node})
    if which == "digits":
        return "text", [([f"return len({c}) == {n} and {c}.isdigit()"], ends(lambda s: sum(1 for _ in node.value(s)) == n and all(ch.isdigit() for ch in node.value(s))))], wondered(rng, told(writer, "{x} is exactly N digits|{x} consists of N digits and nothing else", x=node).replace("N", str(n))), False, ("digits {x}", {"x": node})
    return "text", [([f"return {c}[:1].isupper()"], ends(lambda s: any(ch.isupper() for ch in node.value(s)[:1])))], wondered(rng, told(writer, "{x} begins with a capital|the first letter of {x} is a capital", x=node)), False, ("capital {x}", {"x": node})


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
        wish = told(writer, "the receiver and {o} are each other's {l:b} from now on|{o} becomes {l}, and the receiver that of {o}|{l} is {o}, and {l} of {o} is the receiver", l=link, o=other)

        def effect(s):
            if guard and (s[n] is not None or getattr(s.arguments[0], n) is not None):
                fails(s)
            s[n] = s.arguments[0]
            setattr(s.arguments[0], n, s.things["self"])
        plan = []
        if guard:
            wish += told(writer, "; raise an error when either has a {l:b} already|. It fails when one of the two has a {l:b}", l=link)
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
        wish = wondered(rng, told(writer, "the own {x:b} and that of {o} are the same|{o} has the same {x:b}|the receiver and {o} have equal {x:b}", x=slot, o=other))
        return "objects", [([f"return self.{n} == other.{n}"], ends(lambda s: not s[n] != held(s)))], wish, False, ("same {x} as", {"x": Leaf(slot)})
    flag = made.slot("bool") if rng.random() < 0.4 else None
    wish = told(writer, "take the {x:b} of {o} over|the own {x:b} become{x:s} that of {o}|copy the {x:b} of {o}; it stays as it is there", x=slot, o=other)
    if flag:
        wish += told(writer, ", and {f:on} then|; {f:on} from then on", f=flag)

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
    wish = told(writer, "only those of {a} that P are kept|keep only the {a:b} that P|all {a:b} but those that P go" if keeps else "those of {a} that P go|drop the {a:b} that P|take all {a:b} that P away|remove those of {a} that P", a=source).replace("P", many)
    passes = node.passes
    split = lambda s: ([v for v in s[x] if passes(s)(v) == keeps], [v for v in s[x] if passes(s)(v) != keeps])
    if which == "silent":
        lines = changed(f"{a} = {lines[0].removeprefix('kept = ')}")
        tail = None
    elif which == "count":
        lines += changed(f"count = len({a}) - len(kept)", f"{a} = kept") + ["return count"]
        wish += rng.choice(("; answer how many went", ", and answer how many were dropped", "; answer the number of those that went"))
        tail = len
    else:
        lines = [lines[0], f"gone = [item for item in {a} if item not in kept]", *changed(f"{a} = kept"), "return gone"]
        wish += rng.choice(("; answer those that went", ", and answer a list of those that went"))
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
            return rng.choice(("what N answers", "the answer of N", "the own N")).replace("N", verb.replace("_", " ")), lambda: "{self." + verb + "()}", held.value
        node = made.argument(rng.choice(("text", "text", "whole"))) if chance < 0.3 and len(writer.world.arguments) < 2 else made.slot(rng.choice(("text", "text", "num")))
        told.append(node)
        said, form = node.say(sentence), rng.random()
        if node.kind == "text" and form < 0.1:
            return f"the first letter of {said}", lambda: "{" + node.code() + "[:1]}", lambda s: node.value(s)[:1]
        if node.kind == "text" and form < 0.18:
            return rng.choice(("N in capitals", "N in capital letters")).replace("N", said), lambda: "{" + node.code() + ".upper()}", lambda s: "".join(c.upper() for c in node.value(s))
        return said, lambda: "{" + node.code() + "}", node.value

    def between():
        """The same of what is the same each time."""
        mark, words = rng.choice((((", "), "a comma and a space|a comma, a space"), (" ", "a space"), (" ", "a space"), (": ", "a colon and a space|a colon, a space"), (",", "a comma"), (":", "a colon"), ("-", "a hyphen"), ("/", "a slash"),
                                  ("; ", "a semicolon and a space"), (" - ", "a hyphen with spaces around it"), (". ", "a point and a space|a point, a space"), (None, ""), (None, ""), (None, "")))
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
        mark, words = rng.choice(((".", "a point"), ("!", "an exclamation mark"), ("?", "a question mark"), (" " + rng.choice(vocabulary.UNITS), ""), ("%", "a per cent sign")))
        pieces.append((words or f'"{mark}"', lambda: mark, None))
    elif chance < 0.3:
        word = rng.choice(WORDS).capitalize()
        pieces.insert(0, (f'"{word} "', lambda: f"{word} ", None))
    writer.world.name_parameters()
    texts = [text() for _, text, _ in pieces]
    if len({text for text in texts if "{" in text}) < sum("{" in text for text in texts):
        raise LookupError("a piece twice")
    said = [called for called, _, _ in pieces]
    if len(said) == 3 and rng.random() < 0.3:
        wish = rng.choice(("{0} and {2} with {1} between", "{0} and {2}, with {1} between them", "{0}, then {1}, then {2}")).format(*said)
    else:
        wish = ", ".join(said[:-1]) + rng.choice((" and ", ", and ", ", then ")) + said[-1]
    whole = lambda s: "".join(str(value(s)) if value else text for (_, _, value), text in zip(pieces, texts))
    hint = rng.choice(("{a} line", "{a} text", "{a} with {b}", "{a} and {b}", "describe {a}", "{b} of {a}", "line", "label of {a}"))
    return "text", [(['return f"' + "".join(texts) + '"'], ends(whole))], asked(rng, wish), False, (hint, {"a": told[0], "b": told[-1]} if told else {})


STORIES = ((spelled, 2), (of_all, 2), (those, 3), (best, 1.5), (each, 1.5), (member, 2), (refer, 2), (send, 1.6), (parent, 1), (cycle, 1), (running, 2), (mapped, 2.4), (checked, 1.4), (two, 1.6), (dropped, 1.6))
