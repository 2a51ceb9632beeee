"""Methods made of the grammar: what one answers, what one changes, under which conditions, and the sentence that tells it."""

import grammar
import readings
import vocabulary
from expression import Constant, Joint, Leaf, Made, Said, coded, spoken
from frames import FRAMES
from grammar import Filtered, Grammar, NUMERIC
from sentence import Sentence, asked, capital, wondered


class Failed(Exception):
    """What a method raises that is to fail."""


class Answered(Exception):
    """The end of a method in the effect: its answer."""

    def __init__(self, value):
        super().__init__()
        self.value = value


RAISE = 'raise ValueError("not allowed")'


class Method:
    """A method: lines of code, an effect on a state, and a wish.

    `plan` is a list of (lines, effect): an effect changes the state, or ends with Answered or Failed.
    """

    selectors = ()  # names of the message that somebody thought of

    def __init__(self, family, plan, wish, made, changes):
        self.family, self.plan, self.wish, self.changes = family, plan, wish, changes
        self.world, self.rows, self.phrases = made.world, made.rows, made.phrases

    def source(self, selector):
        """The method's source."""
        parameters = ", ".join(["self", *(place.code for place in self.world.arguments)])
        body = "\n".join("    " + line for lines, _ in self.plan for line in lines)
        return f"def {selector}({parameters}):\n{body}\n"

    def effect(self, state):
        """Runs the effect: (answer, whether it fails)."""
        try:
            for _, act in self.plan:
                act(state)
        except Answered as end:
            return end.value, False
        except Failed:
            return None, True
        return None, False


def ends(value):
    """An effect that answers."""
    def act(state):
        raise Answered(value(state))
    return act


def fails(state):
    """An effect that fails."""
    raise Failed


def nothing(state):
    """An effect that does nothing."""


EDGE = {"None": ("none", lambda s: None), "0": ("0", lambda s: 0), '""': ("an empty text", lambda s: ""), "False": ("false", lambda s: False), "True": ("true", lambda s: True), "[]": ("an empty list", lambda s: [])}


class Writer:
    """Makes the methods of one world."""

    def __init__(self, rng, world, unseen=False):
        self.rng, self.world = rng, world
        self.grammar = Grammar(rng, world, unseen)
        self.sentence = Sentence(rng, world)

    def choose(self, text):
        """One of several, separated by bars."""
        return self.rng.choice(text.split("|"))

    def verbs(self):
        """The selector of a method that is there already."""
        return self.rng.choice(vocabulary.VERBS) + (("_" + self.rng.choice(vocabulary.THINGS)) if self.rng.random() < 0.7 else "_it")

    # What must not be empty or zero.

    def needs(self, node):
        """The parts of a tree that must not be empty or zero."""
        if isinstance(node, Made):
            needed = node.holes[node.row.need] if node.row.need else None
            if isinstance(needed, Constant) and not needed.held or isinstance(needed, Made) and needed.kind != "view":
                raise LookupError("a need that no clause tells")
            if needed is not None and not isinstance(needed, Constant):
                yield needed
            for hole in node.holes.values():
                yield from self.needs(hole)

    def edge(self, needed, kind):
        """What is answered at an edge: (word in code, plan entries, clause)."""
        node, sentence = needed, self.sentence
        entries = []
        if isinstance(node, Filtered):
            entries.append(([f"items = {node.code()}"], nothing))
            test, is_there = "not items", lambda s, node=node: bool(node.value(s))
            there = self.choose("when there are none such|when there is none|without any such")
            node.bound = "items"
        elif isinstance(node, Made):  # the values of a map
            inner = node.holes["a"]
            test, is_there = f"not {inner.code()}", lambda s, inner=inner: bool(inner.value(s))
            there = self.choose("when there are none|when {a} is empty|without entries").format(a=Said(inner, sentence))
        elif node.kind in NUMERIC:
            if not isinstance(node, Leaf):
                return None
            test, is_there = f"{node.code():5} == 0", lambda s, node=node: node.value(s) != 0
            there = self.choose("when {a:is} 0|when {a:is} zero|with {a} at 0").format(a=Said(node, sentence))
        else:
            test, is_there = f"not {node.code()}", lambda s, node=node: bool(node.value(s))
            if node.kind == "text":
                there = self.choose("when {a:is} empty|for an empty text|when it is empty").format(a=Said(node, sentence))
            else:
                there = self.choose("when there are none|when there are no {a:b}|without {a:b}|when {a} are empty|when there is none|with no {a:b}").format(a=Said(node, sentence))
        if self.rng.random() < 0.16:
            entries.append(([f"if {test}:", f"    {RAISE}"], lambda s: None if is_there(s) else fails(s)))
            clause = self.choose("raise an error {t}|an error {t}|it fails {t}|fail {t}").format(t=there)
            return entries, clause
        words = {"bool": ("False", "False", "True"), "text": ("None", '""'), "date": ("None",), "element": ("None",), "items": ("None", "[]")}.get(kind, ("None", "0", "0"))
        word = self.rng.choice(words)
        said, value = EDGE[word]
        entries.append(([f"if {test}:", f"    return {word}"], lambda s: None if is_there(s) else ends(value)(s)))
        clause = self.choose("{v} {t}|{v} {t}|{t} {v}|{t} it is {v}|{t} answer {v}|answer {v} {t}").format(v=said, t=there)
        if kind == "bool":
            clause = self.choose("{t} it is {v}|{t} that is {v}|{t} answer {v}").format(v=said, t=there)
        return entries, clause

    # Methods that only answer.

    def reading(self, kind=None, depth=1):
        """A method that answers an expression."""
        rng, made, sentence = self.rng, self.grammar, self.sentence
        if kind is None and rng.random() < 0.2:
            return self.filtered()
        kind = kind or rng.choices(("num", "bool", "text", "nums", "texts", "items", "map", "tmap", "element", "any", "date", "dates", "clock", "slot"), (30, 21, 17, 4, 5, 7, 3.5, .6, 4, 3, 4, 1.2, .9, 4.5))[0]
        if kind == "slot":
            node = made.slot(rng.choice(("num", "text", "bool", "nums", "texts", "map", "date")))
        else:
            node = made.reading((kind,), depth)
        said = node.say(sentence)
        self.world.name_parameters()
        entries, edges = [], []
        for needed in self.needs(node):
            made_edge = self.edge(needed, kind)
            if made_edge is None:
                raise LookupError("a divisor that is no slot")
            entries += made_edge[0]
            edges.append(made_edge[1])
        if len(edges) > 1:
            raise LookupError("two edges")
        entries.append(([f"return {node.code()}"], ends(node.value)))
        main = wondered(rng, said) if kind == "bool" else asked(rng, said)
        if kind == "bool" and isinstance(node, Leaf):
            main = wondered(rng, sentence.state(node, "state"))
        if kind in ("nums", "texts", "items") and rng.random() < 0.15:
            main += self.choose("; nothing changes|, and leave everything as it is|; they themselves stay as they are|, as a list")
        wish = self.joined(main, edges)
        return Method({"bool": "truth", "items": "list", "nums": "list", "texts": "list", "tmap": "map", "any": "map", "dates": "date", "clock": "date", "element": "list"}.get(kind, kind), entries, wish, made, False)

    def joined(self, main, clauses):
        """A sentence and what is told of its edges, in one of several orders."""
        text = main
        for clause in clauses:
            if text.endswith("?"):
                text = text + " " + capital(clause) + "."
            elif self.rng.random() < 0.12 and clause.split(" ")[0] in ("when", "with", "without", "for"):
                head, _, rest = clause.partition(" answer ")
                text = f"{head}, answer {rest}; else {text}" if rest else f"{text}; {clause}"
            else:
                text += self.choose(", |; |; |. ") + clause if not text.endswith(".") else " " + capital(clause)
        return self.sentence.finish(text)

    def filtered(self):
        """A method over those items of a list that a filter lets pass."""
        rng, made, sentence = self.rng, self.grammar, self.sentence
        source = made.slot(rng.choice(("nums", "wholes", "texts", "nums", "texts", "flags")))
        node = made.filtered(source)
        which = rng.choice(("count", "count", "count", "list", "list", "any", "all", "first", "last", "sum", "split", "choice", "places", "percent", "not"))
        if which in ("sum", "choice") and source.kind not in ("nums", "wholes"):
            which = "count"
        if source.kind == "flags" and which not in ("count", "any", "all", "places", "percent"):
            which = "count"
        whole, bare, one = sentence.name(source.place), sentence.name(source.place, "b"), sentence.name(source.place, "o")
        many, short = node.predicate(sentence)
        single, _ = node.predicate(sentence, False)
        self.world.name_parameters()
        condition, code = node.condition(), source.code()
        kept = node.value
        passes = node.passes
        of = lambda text: rng.choice(text.split("|")).format(a=whole, b=bare, o=one, p=many, q=single, s=short or "that " + many)
        if which == "count":
            main = rng.choice(("answer", "answer", "tell", "give")) + " " + of("how many of {a} {p}|how many {b} {p}|the number of {b} that {p}|how many of the {b} there {p}|the count of {b} {s}|how many {b} there are that {p}").replace("there are are", "there are")
            plan = [([f"return len({node.code()})"], ends(lambda s: sum(1 for _ in kept(s))))]
        elif which == "list":
            main = asked(rng, node.say(sentence)) + rng.choice(("", "", ", in their order", ", as a list", ", in the order in which they stand"))
            plan = [([f"return {node.code()}"], ends(kept))]
        elif which == "any":
            main = wondered(rng, of("any of {a} {q}|at least one {o} {q}|one of {a} {q}|there is any {o} that {q}"))
            plan = [([f"return any({condition} for item in {code})"], ends(lambda s: len(kept(s)) > 0))]
        elif which == "all":
            main = wondered(rng, of("all {b} {p}|every one of {a} {q}|each {o} {q}|all of {a} {p}"))
            if rng.random() < 0.4:
                main += rng.choice(("; without any it is true", "; with none of them that is true", ", true when there are none"))
            plan = [([f"return all({condition} for item in {code})"], ends(lambda s: len(kept(s)) == len(source.value(s))))]
        elif which == "not":
            main = wondered(rng, of("none of {a} {q}|no {o} {q}|not one of {a} {q}"))
            plan = [([f"return not any({condition} for item in {code})"], ends(lambda s: not kept(s)))]
        elif which in ("first", "last"):
            end = rng.choice(("None", "None", "None", "raise"))
            main = asked(rng, of(f"the {which} of {{a}} that {{q}}|the {which} {{o}} that {{q}}")) + (rng.choice((", none when there is none", "; none when there is no such one", "; without such a one answer none")) if end == "None" else "; raise an error without such a one")
            through = code if which == "first" else f"reversed({code})"
            at = 0 if which == "first" else -1
            plan = [([f"for item in {through}:", f"    if {condition}:", "        return item", RAISE if end == "raise" else "return None"],
                     lambda s: ends(lambda s: kept(s)[at] if kept(s) else None)(s) if kept(s) or end == "None" else fails(s))]
        elif which == "sum":
            main = asked(rng, of("the sum of those of {a} that {p}|the sum of the {b} that {p}|the total of those {b} that {p}|all {b} {s} added up"))
            plan = [([f"return sum({node.code()})"], ends(lambda s: sum(kept(s))))]
        elif which == "percent":
            main = asked(rng, of("what per cent of {a} {p}|how many per cent of {a} {p}")) + rng.choice((", 0 when there are none", "; without any it is 0", ", 0 for no " + bare))
            plan = [([f"if not {code}:", "    return 0", f"return len({node.code()}) * 100 / len({code})"], ends(lambda s: len(kept(s)) / len(source.value(s)) * 100 if source.value(s) else 0))]
        elif which == "split":
            main = asked(rng, of("a list of two lists: those of {a} that {p}, and the others|two lists in a list, first the {b} that {p}, then the rest")) + rng.choice(("", ", each in their order"))
            plan = [([f"return [{node.code()}, [item for item in {code} if not {'(' + condition + ')' if ' and ' in condition else condition}]]"], ends(lambda s: [kept(s), [item for item in source.value(s) if not passes(s)(item)]]))]
        elif which == "choice":
            value = made.constant("num")
            main = asked(rng, of("{a}, with ") + value.say(sentence) + of(" in the place of each that {q}"))
            plan = [([f"return [{value.code()} if {condition} else item for item in {code}]"], ends(lambda s: [value.held if passes(s)(item) else item for item in source.value(s)]))]
        else:
            main = asked(rng, of("the places of those of {a} that {p}, counted from 0|at which places of {a} there is one that {q}, counted from 0, as a list"))
            plan = [([f"return [place for place, item in enumerate({code}) if {condition}]"], ends(lambda s: [at for at, item in enumerate(source.value(s)) if passes(s)(item)]))]
        made.phrases.append((node.row, {"count": "count {a} where", "list": "{a} that pass", "any": "any {a}", "all": "all {a}", "not": "no {a}", "first": "first {a} where", "last": "last {a} where", "sum": "sum of {a} where", "percent": "percent of {a}", "split": "split {a}", "choice": "{a} with", "places": "places of {a}"}[which], {"a": source}))
        return Method("filter", plan, sentence.finish(main), made, False)

    # Methods that change.

    def step(self, rows=None):
        """One change: (clause, lines, effect, row, holes)."""
        row, phrase, holes = self.grammar.change(rows)
        said = spoken(phrase, holes, self.sentence)
        written = [holes[name].place for name in row.written]
        if len(row.lines) > 1 and any(leaf.place in written for name, node in holes.items() if name not in row.written for leaf in node.leaves()):
            raise LookupError("a value that changes on the way")
        if row.need or any(True for node in holes.values() for _ in self.needs(node)):
            needed = [holes[row.need]] if row.need else [n for node in holes.values() for n in self.needs(node)]
            if len(needed) != 1 or not isinstance(needed[0], Leaf):
                raise LookupError("a need that no clause tells")
            need = needed[0]
        else:
            need = None

        def lines():
            return [coded(line, holes) for line in row.lines]

        def act(state):
            new = row.meaning(*(node.value(state) for node in holes.values()))
            if len(row.written) == 1:
                new = (new,)
            for name, value in zip(row.written, new):
                state[holes[name].place.path] = value

        return said, lines, act, row, holes, need

    def condition(self, holes, row):
        """A condition about what is changed: (node, clause)."""
        rng, made, sentence = self.rng, self.grammar, self.sentence
        x, e = holes.get("x"), holes.get("e")
        if "- {e" in "".join(row.lines) and isinstance(e, Leaf) and rng.random() < 0.55:
            more = next(r for r in readings.TRUTHS if r.code == "{a:5} > {b:5}")
            node = Made(more, {"a": e, "b": x}, rng.choice(more.phrases))
            clause = rng.choice((node.say(sentence), "there is too little of {x}", "{x} do{x:es} not suffice", "there is not so much of {x}", "{x:is} less than {e}", "{e} {e:is1} more than {x}", "there is not enough")).format(x=Said(x, sentence), e=Said(e, sentence))
            return node, clause
        chance = rng.random()
        places = [node for node in holes.values() if isinstance(node, Leaf)]
        for _ in range(30):
            if chance < 0.2:
                rows = [r for r in readings.TRUTHS if r.code in ("{a}", "not {a:3}")]
                filled = {}
            else:
                about = rng.choice(places)
                rows = [r for r in readings.TRUTHS if r.holes and r.holes[0][2] in self.kinds_of(about.kind) and not r.need and r.code not in ("{a}", "not {a:3}")]
                filled = {"a": about}
                second = [r for r in readings.TRUTHS if r.code in ("{b:5} in {a:5}", "{b:5} not in {a:5}") and isinstance(e, Leaf) and about is x and r.holes[0][2] in self.kinds_of(x.kind) and r.holes[1][2] == "element"]
                if second and rng.random() < 0.4:
                    rows, filled = second, {"a": x, "b": e}
            if not rows:
                chance = 0
                continue
            chosen = made.pick(rows)
            holes_made = dict(filled)
            for name, sign, kind in chosen.holes:
                if name not in holes_made:
                    holes_made[name] = made.hole(sign, kind, holes_made, chosen, 0)
            made.rows.append(chosen)
            node = Made(chosen, {name: holes_made[name] for name, _, _ in chosen.holes}, made.phrase(chosen))
            return node, node.say(sentence)
        raise LookupError("no condition")

    def both(self, word, node, said, parts):
        """A condition and another one: (node, clause)."""
        part = self.rng.choice(parts)
        other, told = self.condition(part[4], part[3])
        if other.code() == node.code() or {leaf.place for leaf in other.leaves()} == {leaf.place for leaf in node.leaves()}:
            raise LookupError("twice the same")
        text = self.choose("{a} or {b}|{a} or {b}|{a} or when {b}|either {a} or {b}" if word == "or" else "{a} and {b}|{a} and {b}|both {a} and {b}|{a}, and {b} as well")
        return Joint(word, node, other), text.format(a=said, b=told)

    @staticmethod
    def kinds_of(kind):
        """The wide kinds that a kind belongs to, and itself."""
        made = {kind} | {wide for wide, members in grammar.WIDE.items() if kind in members}
        return made | ({"num"} if kind in NUMERIC else set())

    def changing(self, steps=1, guarded=None):
        """A method of one to three changes, with a guard and an answer or without."""
        rng, made, sentence = self.rng, self.grammar, self.sentence
        parts = [self.step() for _ in range(steps)]
        written = [id(part[4][name].place) for part in parts for name in part[3].written]
        if len(set(written)) < len(written) or sum(part[5] is not None for part in parts) > 1:
            raise LookupError("one slot changed twice")
        needed = next((part[5] for part in parts if part[5] is not None), None)
        clauses = [part[0] for part in parts]
        main = self.sequence(clauses)
        before, first = [], []  # plan entries before the changes
        style = None
        if needed is not None:
            gives = any(part[3].gives for part in parts)
            style = "raise" if needed.kind in NUMERIC else rng.choice(("none", "none", "raise") if gives else ("nothing", "raise"))
            there = "{a:is} 0" if needed.kind in NUMERIC else self.choose("there are none|{a:is} empty|there are no {a:b}")
            there = there.format(a=Said(needed, sentence))
            is_there = (lambda s: needed.value(s) != 0) if needed.kind in NUMERIC else (lambda s: bool(needed.value(s)))
            guard = {"nothing": (["    return None"], ends(lambda s: None)), "none": (["    return None"], ends(lambda s: None)), "raise": ([f"    {RAISE}"], fails)}[style]
            before.append((lambda: [f"if {needed.code():5} == 0:" if needed.kind in NUMERIC else f"if not {needed.code()}:", *guard[0]], lambda s: None if is_there(s) else guard[1](s)))
            clause = {"nothing": self.choose("when {t}, nothing changes|nothing happens when {t}|when {t}, do nothing"), "none": self.choose("when {t}, answer none and change nothing|none when {t}"), "raise": self.choose("raise an error when {t}|it fails when {t}|when {t}, raise an error")}[style].format(t=there)
            main = self.ended(main, clause)
        elif guarded or (guarded is None and rng.random() < 0.4):
            main, style, entry = self.guarded(main, parts)
            before.append(entry)
        answer = None
        row, holes = parts[0][3], parts[0][4]
        x = holes[row.written[0]] if row.written else None
        pops = next((part for part in parts if part[3].gives), None)
        kind = rng.random()
        tail = []
        if style == "false":
            tail.append((lambda: ["return True"], ends(lambda s: True)))
        elif pops and (style == "none" or kind < 0.7):
            code, template = pops[3].gives
            source = pops[4]["x"]
            cell = {}
            first.append((lambda: [f"item = {template.format(x=source.code())}"], lambda s: cell.update(v=source.value(s)[0 if "[0]" in code else -1])))
            tail.append((lambda: ["return item"], ends(lambda s: cell["v"])))
            main = self.told(main, self.choose("answer it|answer which it was|and answer it|answer what was taken|give it back"))
        elif kind < 0.18 and x is not None:
            tail.append((lambda: [f"return {x.code()}"], ends(lambda s: x.value(s))))
            main = self.told(main, self.choose("answer {x}|answer {x} then|answer what {x} {x:are} then|answer the new {x:b}|then answer {x}").format(x=Said(x, sentence)))
        elif kind < 0.26 and x is not None:
            cell = {}
            first.append((lambda: [f"before = {x.code()}"], lambda s: cell.update(v=x.value(s))))
            tail.append((lambda: ["return before"], ends(lambda s: cell["v"])))
            main = self.told(main, self.choose("answer what {x} {x:was} before|answer the old {x:b}|answer {x} as {x:they} {x:was} before").format(x=Said(x, sentence)))
        elif kind < 0.34 and x is not None and x.kind in ("nums", "texts", "map", "dates"):
            tail.append((lambda: [f"return len({x.code()})"], ends(lambda s: sum(1 for _ in x.value(s)))))
            main = self.told(main, self.choose("answer how many there are then|answer how many {x:b} there are then|answer their number").format(x=Said(x, sentence)))
        elif kind < 0.4:
            node = made.reading(("num", "bool", "text"), 0)
            if any(True for _ in self.needs(node)):
                raise LookupError("an edge in an answer")
            said = node.say(sentence)
            if node.kind == "bool":
                said = "whether " + said
            tail.append((lambda: [f"return {node.code()}"], ends(node.value)))
            main = self.told(main, "answer " + said)
        self.world.name_parameters()
        made_lines = [line for part in parts for line in part[1]()]
        wrap = style == "wrap"
        indent = "    " if wrap else ""
        body = [f"{indent}{line}" for line in (*(l for lines, _ in first for l in lines()), *made_lines, "self._p_changed = True")]
        acts = [act for _, act in first] + [part[2] for part in parts]

        def act(state):
            for one in acts:
                one(state)

        if wrap:
            holds = before[0][1]
            body = before[0][0]() + body
            plan = [(body, lambda s: act(s) if holds(s) else None)]
            if tail and tail[0][0]() in (["return item"], ["return before"]):
                raise LookupError("an answer that a branch knows")
        else:
            plan = [(lines(), effect) for lines, effect in before] + [(body, act)]
        plan += [(lines(), effect) for lines, effect in tail]
        family = "change" if steps == 1 and not before else "guarded" if steps == 1 else f"steps {steps}"
        return Method(family, plan, sentence.finish(main), made, True)

    def sequence(self, clauses):
        """Clauses in their order."""
        if len(clauses) == 1:
            return clauses[0]
        if len(clauses) == 2:
            usual = self.choose("{0}, and {1}|{0} and {1}|{0}; {1}|{0}, then {1}|{0}; then {1}|{0}. {2}")
        else:
            usual = self.choose("{0}, {1}, and {2}|{0}; {1}; {2}|{0}, {1}; then {2}|{0}. {3}, and {2}")
        capitals = [capital(clause) for clause in clauses[1:]]
        frame = self.rng.choice(FRAMES["two" if len(clauses) == 2 else "three"]) if self.rng.random() < 0.5 else usual
        return frame.format(*clauses, *capitals)

    def ended(self, main, clause):
        """A clause after the main one, or before it."""
        rng = self.rng
        if clause.startswith("when ") and ", " in clause and rng.random() < 0.25:
            return f"{clause}; else {main}"
        return main + rng.choice(("; ", "; ", ". ", ", but ")) + clause if rng.random() < 0.7 else main + ". " + capital(clause)

    def told(self, main, clause):
        """An answer's clause at the end."""
        return main + self.choose(", and |; |; | and |. ") + (clause.removeprefix("and "))

    def guarded(self, main, parts):
        """A guard before the changes: (sentence, style, plan entry)."""
        rng = self.rng
        node, said = self.condition(parts[0][4], parts[0][3])
        style = rng.choice(("raise", "raise", "raise", "false", "false", "nothing", "wrap", "wrap", "unless raise", "unless false"))
        if rng.random() < 0.24:
            # What forbids a change is mostly one of two, what allows it mostly both.
            node, said = self.both("and" if (style == "wrap" or style.startswith("unless")) == (rng.random() < 0.85) else "or", node, said, parts)
        elif style.startswith("unless") and "not " in node.row.code:
            raise LookupError("not not")
        holds = node.value
        if style == "raise":
            text = rng.choice(["{m}; raise an error when {c}", "{m}. When {c}, raise an error", "when {c}, raise an error; else {m}", "{m}, but fail when {c}", "{m}; it fails when {c}", "{m}; when {c}, it is an error", "if {c}, raise an error. {M}", "{m}. An error when {c}", "{m}, but raise an error if {c}", *FRAMES["raise"]])
            entry = (lambda: [f"if {node.code()}:", f"    {RAISE}"], lambda s: fails(s) if holds(s) else None)
        elif style == "unless raise":
            text = rng.choice(["only when {c} {m}, else raise an error", "{m}; raise an error unless {c}", "{m}, but only when {c}; else it fails", "when {c}, {m}; else raise an error", "{m} if {c}, and raise an error if not", *FRAMES["unless-raise"]])
            entry = (lambda: [f"if not {node.code():4}:", f"    {RAISE}"], lambda s: None if holds(s) else fails(s))
        elif style == "false":
            text = rng.choice(["{m} and answer true; when {c}, answer false and change nothing", "when {c}, change nothing and answer false; else {m} and answer true", "{m}; answer true. When {c}, answer false instead", "{m}, answering true, but when {c}, answer false", *FRAMES["false"]])
            entry = (lambda: [f"if {node.code()}:", "    return False"], lambda s: ends(lambda s: False)(s) if holds(s) else None)
        elif style == "unless false":
            style, text = "false", rng.choice(["when {c}, {m} and answer true; otherwise answer false and change nothing", "while {c}, {m} and answer true; otherwise answer false", "if {c}, {m} and answer true; if not, answer false", "{m} and answer true, but only when {c}; else answer false", *FRAMES["unless-false"]])
            entry = (lambda: [f"if not {node.code():4}:", "    return False"], lambda s: None if holds(s) else ends(lambda s: False)(s))
        elif style == "nothing":
            text = rng.choice(["{m}; when {c}, nothing changes", "{m}, but not when {c}", "unless {c}, {m}", "{m}, except when {c}", "when {c}, do nothing; else {m}", "{m}; nothing happens when {c}", *FRAMES["nothing"]])
            entry = (lambda: [f"if {node.code()}:", "    return None"], lambda s: ends(lambda s: None)(s) if holds(s) else None)
        else:
            text = rng.choice(["when {c}, {m}", "{m} when {c}", "if {c}, {m}", "{m}, but only when {c}", "only while {c}, {m}", "{m} if {c}; else nothing changes", "when {c}, {m}; otherwise leave everything as it is", *FRAMES["wrap"]])
            entry = (lambda: [f"if {node.code()}:"], holds)
        text = text.format(m=main, M=capital(main), c=said)
        return text, style.replace("unless ", ""), entry

    def either(self):
        """A method of two branches."""
        rng, made, sentence = self.rng, self.grammar, self.sentence
        if rng.random() < 0.45:  # an answer that depends
            node = made.reading(("bool",), 0)
            if any(True for _ in self.needs(node)):
                raise LookupError("an edge in a condition")
            said = node.say(sentence)
            kind = rng.choice(("text", "text", "num"))
            one, other = made.constant(kind) if rng.random() < 0.6 else made.slot(kind), made.constant(kind) if rng.random() < 0.6 else made.slot(kind)
            text = rng.choice(["answer {a} when {c}, else {b}", "answer {a} if {c}, and {b} if not", "when {c}, answer {a}; else answer {b}", "{a} when {c}, {b} otherwise", "answer {a} while {c}, otherwise {b}", *FRAMES["either-answer"]])
            wish = text.format(a=one.say(sentence), b=other.say(sentence), c=said)
            if wish.startswith(('"', "the")) and rng.random() < 0.5:
                wish = "answer " + wish
            self.world.name_parameters()
            plan = [([f"if {node.code()}:", f"    return {one.code()}", f"return {other.code()}"], lambda s: ends(one.value if node.value(s) else other.value)(s))]
            return Method("either", plan, sentence.finish(wish), made, False)
        if rng.random() < 0.35:  # three texts by a number
            x = made.slot("num")
            low, high = sorted(rng.sample((0, 0, 5, 10, 20, 50, 100), 2)) if rng.random() < 0.6 else (0, 0)
            words = [made.constant("text") for _ in range(3)]
            a, b, c = (word.say(sentence) for word in words)
            name = Said(x, sentence)
            self.world.name_parameters()
            if low == high:
                wish = rng.choice(("answer {a} when {x:is} below {l}, {c} when {x:they} {x:are} above, and {b} at {l}", "{a} below {l}, {b} at {l} and {c} above: answer which of them holds for {x}", "answer {b} when {x:is} {l}, {a} when {x:they} {x:are} less and {c} when {x:they} {x:are} more")).format(a=a, b=b, c=c, x=name, l=low)
                lines = [f"if {x.code()} < {low}:", f"    return {words[0].code()}", f"if {x.code()} > {low}:", f"    return {words[2].code()}", f"return {words[1].code()}"]
            else:
                wish = rng.choice(("answer {a} when {x:is} below {l}, {c} when {x:they} {x:are} above {h}, else {b}", "answer {a} for {x} under {l}, {b} from {l} to {h} and {c} beyond", "{x:is} {a} below {l}, {c} above {h} and {b} between: answer which")).format(a=a, b=b, c=c, x=name, l=low, h=high)
                lines = [f"if {x.code()} < {low}:", f"    return {words[0].code()}", f"if {x.code()} > {high}:", f"    return {words[2].code()}", f"return {words[1].code()}"]
            plan = [(lines, lambda s: ends(lambda s: words[0 if x.value(s) < low else 2 if x.value(s) > high else 1].held)(s))]
            return Method("either", plan, sentence.finish(wish), made, False)
        one = self.step()
        other = self.step()
        if one[5] or other[5]:
            raise LookupError("a need in a branch")
        node, said = self.condition(one[4], one[3])
        wish = rng.choice(["when {c}, {a}; else {b}", "if {c}, {a}, otherwise {b}", "{a} when {c}, and {b} when not", "when {c}, {a}. Otherwise {b}", *FRAMES["either-change"]]).format(c=said, a=one[0], b=other[0], A=capital(one[0]), B=capital(other[0]))
        self.world.name_parameters()
        lines = [f"if {node.code()}:", *("    " + line for line in one[1]()), "else:", *("    " + line for line in other[1]()), "self._p_changed = True"]
        plan = [(lines, lambda s: (one if node.value(s) else other)[2](s))]
        return Method("steps 2", plan, sentence.finish(wish), made, True)
