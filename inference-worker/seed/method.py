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
            there = self.choose("when there are none such|when there is none|without any such|when there are no such ones|if there are none|if there is no such one|when there is no such one|with none such|with no such ones|in case there are none|should there be none|when none is like that|if none of them is like that|when not a single one is like that|when nothing of the kind is there|if nothing fits|when nothing fits|when none are found|if none is found|when no such one is found|as long as there are none such|whenever there are none such|given that there are none|when that leaves none|if that leaves nothing|for want of any such|without a single such one")
            node.bound = "items"
        elif isinstance(node, Made):  # the values of a map
            inner = node.holes["a"]
            test, is_there = f"not {inner.code()}", lambda s, inner=inner: bool(inner.value(s))
            there = self.choose("when there are none|when {a:is} empty|without entries|if {a:is} empty|when there are no entries|if there are no entries|without any entries|without any entries in {a}|with no entries|with no entries in {a}|with {a} empty|when {a} {a:has} no entries|if {a} {a:has} no entries|when there is nothing in {a}|if {a} hold{a:s} nothing|when {a} contain{a:s} nothing|should {a} be empty|should there be no entries|in case {a:is} empty|in case there are none|as long as {a:is} empty|whenever {a:is} empty|while there are no entries|if there is not a single entry|when no entries are there|given that {a:is} empty").format(a=Said(inner, sentence))
        elif node.kind in NUMERIC:
            if not isinstance(node, Leaf):
                return None
            test, is_there = f"{node.code():5} == 0", lambda s, node=node: node.value(s) != 0
            there = self.choose("when {a:is} 0|when {a:is} zero|with {a} at 0|if {a:is} 0|if {a:is} zero|in case {a:is} 0|in case {a:is} zero|should {a} be 0|should {a} be zero|when {a} equal{a:s} 0|if {a} equal{a:s} zero|when {a} {a:has} the value 0|when {a} come{a:s} to 0|if {a} amount{a:s} to 0|when {a} stand{a:s} at 0|as long as {a:is} 0|while {a:is} zero|whenever {a:is} 0|given that {a:is} 0|with {a} at zero|with {a} equal to 0|with 0 for {a}|for {a} being 0|when {a:is} exactly 0|if {a} happen{a:s} to be 0|where {a:is} 0").format(a=Said(node, sentence))
        else:
            test, is_there = f"not {node.code()}", lambda s, node=node: bool(node.value(s))
            if node.kind == "text":
                there = self.choose("when {a:is} empty|for an empty text|when it is empty|if {a:is} empty|in case {a:is} empty|should {a} be empty|with {a} empty|with an empty text|when the text is empty|if the text is empty|when {a} {a:has} no characters|if {a} {a:has} not a single character|when {a:is} the empty text|if {a} equal{a:s} the empty text|when there is nothing in {a}|if there is nothing in {a}|with nothing in {a}|when {a} hold{a:s} no text|when nothing stands in {a}|if {a} contain{a:s} nothing|for no text at all|without any text in {a}|as long as {a:is} empty|whenever {a:is} empty|given that {a:is} empty|when {a} {a:has} a length of 0|where {a:is} empty").format(a=Said(node, sentence))
            else:
                there = self.choose("when there are none|when there are no {a:b}|without {a:b}|when {a:is} empty|when there is none|with no {a:b}|if there are no {a:b}|if there are none|in case there are none|in case there are no {a:b}|should there be none|should there be no {a:b}|when {a} {a:are} without entries|if {a:is} empty|in case {a:is} empty|with {a} empty|without any {a:b}|without a single {a:1}|when there is not a single {a:1}|if there is not one {a:1}|if there aren't any|when there aren't any {a:b}|as long as there are no {a:b}|whenever there are no {a:b}|while there are none|given no {a:b}|for want of {a:b}|when there is nothing in {a}|if {a} hold{a:s} nothing|when {a} {a:has} nothing in {a:them}|where there are no {a:b}").format(a=Said(node, sentence))
        if self.rng.random() < 0.16:
            entries.append(([f"if {test}:", f"    {RAISE}"], lambda s: None if is_there(s) else fails(s)))
            clause = self.choose("raise an error {t}|an error {t}|it fails {t}|fail {t}|{t} raise an error|{t}, raise an error|{t} it fails|{t}, it is an error|{t}, that is an error|it is an error {t}|throw an error {t}|{t}, throw an error|fail with an error {t}|{t}, fail with an error|an error is raised {t}|{t} an error is raised|this fails {t}|stop with an error {t}|refuse with an error {t}|complain with an error {t}|there is to be an error {t}|give an error {t}").format(t=there)
            return entries, clause
        words = {"bool": ("False", "False", "True"), "text": ("None", '""'), "date": ("None",), "element": ("None",), "items": ("None", "[]")}.get(kind, ("None", "0", "0"))
        word = self.rng.choice(words)
        said, value = EDGE[word]
        entries.append(([f"if {test}:", f"    return {word}"], lambda s: None if is_there(s) else ends(value)(s)))
        clause = self.choose("{v} {t}|{v} {t}|{v} {t}|{v} {t}|{t} {v}|{t} it is {v}|{t} answer {v}|{t} answer {v}|{t} answer {v}|answer {v} {t}|answer {v} {t}|answer {v} {t}|{t}, {v}|{t}: {v}|{t}, it is {v}|{t}, that is {v}|it is {v} {t}|that is {v} {t}|return {v} {t}|{t} return {v}|{t}, return {v}|give {v} {t}|{t}, give back {v}|{t}, say {v}|say {v} {t}|just {v} {t}|{t}, just {v}|the answer is {v} {t}|{v} is the answer {t}|{t}, {v} is answered|{t}, the result is {v}|let it be {v} {t}|{v} comes back {t}|we get {v} {t}|it should be {v} {t}").format(v=said, t=there)
        if kind == "bool":
            clause = self.choose("{t} it is {v}|{t} it is {v}|{t} that is {v}|{t} that is {v}|{t} answer {v}|{t} answer {v}|{t} answer {v}|{t}, it is {v}|{t}, that is {v}|{t} this is {v}|{t} that counts as {v}|{t}, it counts as {v}|{t}, return {v}|{t} return {v}|{t}, say {v}|{t}: {v}|{t}, {v}|{t}, {v} comes back|answer {v} {t}|return {v} {t}|{v} {t}|it is {v} {t}|that is {v} {t}|it counts as {v} {t}|the answer is {v} {t}|{v} is the answer {t}|take it as {v} {t}").format(v=said, t=there)
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
            main += self.choose("; nothing changes|, and leave everything as it is|; they themselves stay as they are|, as a list|; change nothing|, and change nothing|, without changing anything|; nothing is changed by that|; do not change anything|; this changes nothing|; leave everything alone|, in a list|, given as a list|, as a new list|, all in a list|; everything stays as it is|; the original stays the same|, leaving all as it was|; they are only read, not changed")
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
                text += self.choose(", |, |; |; |; |. |. |, but |; but |. But |, and |; and |. And |; however, |. However, |; one exception: |. Note: |; exception: |. Exception: |. Special case: |. Edge case: ") + clause if not text.endswith(".") else " " + capital(clause)
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
            main = rng.choice(("answer", "answer", "answer", "answer", "tell", "tell", "give", "say", "report", "return", "give back", "hand back", "tell me", "show", "show me", "find", "find out", "work out", "determine", "compute", "answer with", "let me know", "please tell me", "please answer", "I want to know", "I need to know", "I would like to know", "the answer is", "calculate", "what is wanted is")) + " " + of("how many of {a} {p}|how many {b} {p}|the number of {b} that {p}|how many of the {b} there {p}|the count of {b} {s}|how many {b} there are that {p}|how many of the {b} {p}|how many among {a} {p}|how many in {a} {p}|how many items of {a} {p}|how many entries of {a} {p}|how many {b} there are which {p}|how many there are among {a} that {p}|how many there are of {a} that {p}|how many {b} can be counted that {p}|what number of {b} {p}|the number of {b} {s}|the number of the {b} that {p}|the number of those of {a} that {p}|the number of those among {a} that {p}|the number of all {b} that {p}|the count of the {b} that {p}|the count of those of {a} which {p}|how often {a} have one that {q}|how often one of {a} {q}|in how many cases one of {a} {q}|for how many of {a} it holds that they {p}|for how many {b} it is true that they {p}|how many {b} are such that they {p}|the size of the group of {b} that {p}|the tally of {b} that {p}|how great the number of {b} that {p} is|how many remain of {a} when only those that {p} are counted").replace("there are are", "there are")
            plan = [([f"return len({node.code()})"], ends(lambda s: sum(1 for _ in kept(s))))]
        elif which == "list":
            main = asked(rng, node.say(sentence)) + rng.choice(("", "", "", "", "", "", "", "", ", in their order", ", as a list", ", in the order in which they stand", ", in the same order", ", in the order they have", ", in the order they come in", ", in their old order", ", in the original order", ", with their order kept", ", their order unchanged", ", without changing their order", ", from first to last", ", in a list", ", as a new list", ", as a list in the same order", ", in a list that keeps their order", ", ordered as they are", ", one after the other as they stand"))
            plan = [([f"return {node.code()}"], ends(kept))]
        elif which == "any":
            main = wondered(rng, of("any of {a} {q}|at least one {o} {q}|one of {a} {q}|there is any {o} that {q}|at least one of {a} {q}|some {o} {q}|any {o} {q}|one or more of {a} {p}|one or more {b} {p}|any one of {a} {q}|there is at least one {o} that {q}|there is some {o} that {q}|there is one among {a} that {q}|there is one of {a} that {q}|there is any of {a} which {q}|there are any {b} that {p}|there are {b} that {p}|among {a} there is one that {q}|among {a} at least one {q}|{a} have at least one that {q}|{a} contain one that {q}|{a} include any that {q}|in {a} there is something that {q}|even one of {a} {q}|even a single {o} {q}|at the least one of {a} {q}|it is true of at least one {o} that it {q}|some one of {a} {q}|one can find one of {a} that {q}"))
            plan = [([f"return any({condition} for item in {code})"], ends(lambda s: len(kept(s)) > 0))]
        elif which == "all":
            main = wondered(rng, of("all {b} {p}|every one of {a} {q}|each {o} {q}|all of {a} {p}|every {o} {q}|each of {a} {q}|each one of {a} {q}|every single {o} {q}|every single one of {a} {q}|all the {b} {p}|{a} all {p}|{a} without exception {p}|{a} one and all {p}|each and every {o} {q}|each and every one of {a} {q}|{a} {p}, all of them|every item of {a} {q}|every entry of {a} {q}|everything in {a} {q}|it holds for each of {a} that it {q}|it is true of every {o} that it {q}|it is so for all {b} that they {p}|all of {a} {p} without exception|whichever of {a} one takes {q}|whichever {o} you take {q}|no matter which of {a} you take, it {q}|the {b} all {p}|all of the {b} {p}"))
            if rng.random() < 0.4:
                main += rng.choice(("; without any it is true", "; with none of them that is true", ", true when there are none", "; when there are none, it is true", "; if there are none, that is true", "; for an empty list that is true", "; an empty list counts as true", "; with nothing in the list, answer true", ", and true when there are none", ", also true when there are none", ", or true if there are none at all", ", and with none there at all it is true", "; in case there are none, say true", "; true if the list is empty", "; when the list is empty, that is true", "; if there is nothing to look at, it is true", "; it is true as well when there are none", "; as long as there are none, it is true"))
            plan = [([f"return all({condition} for item in {code})"], ends(lambda s: len(kept(s)) == len(source.value(s))))]
        elif which == "not":
            main = wondered(rng, of("none of {a} {q}|no {o} {q}|not one of {a} {q}|not one {o} {q}|not a single {o} {q}|not a single one of {a} {q}|no {b} {p}|none of the {b} {q}|none of all the {b} {q}|not even one of {a} {q}|not even one {o} {q}|none at all of {a} {q}|none among {a} {q}|nothing in {a} {q}|there is no {o} that {q}|there is not one {o} that {q}|there is none among {a} that {q}|there is none of {a} that {q}|there are no {b} that {p}|there isn't any {o} that {q}|there aren't any {b} that {p}|{a} have none that {q}|{a} contain nothing that {q}|{a} include no {o} that {q}|it is true of no {o} that it {q}|it is false for every {o} that it {q}|it is not so for any of {a} that it {q}|{a} are without one that {q}"))
            plan = [([f"return not any({condition} for item in {code})"], ends(lambda s: not kept(s)))]
        elif which in ("first", "last"):
            end = rng.choice(("None", "None", "None", "raise"))
            main = asked(rng, of(f"the {which} of {{a}} that {{q}}|the {which} {{o}} that {{q}}|the {which} one of {{a}} that {{q}}|the {which} one among {{a}} that {{q}}|the {which} one in {{a}} that {{q}}|the {which} one of {{a}} which {{q}}|the {which} of those of {{a}} that {{p}}|the {which} of those {{b}} that {{p}}|the {which} of the {{b}} that {{p}}|the {which} of all {{b}} that {{p}}|the {which} {{o}} of all that {{p}}|the {which} item of {{a}} that {{q}}|the {which} entry of {{a}} that {{q}}|the {which} item in {{a}} which {{q}}|the {which} {{o}} which {{q}}|the {which} {{o}} in the list that {{q}}|the {which} among the {{b}} that {{p}}|the {which} one out of those of {{a}} that {{p}}|what comes {which} among those of {{a}} that {{p}}|what the {which} {{o}} is that {{q}}|which {{o}} is the {which} that {{q}}|which of {{a}} is the {which} that {{q}}|which one of {{a}} is the {which} that {{q}}|which of those {{b}} that {{p}} comes {which}|the one that stands {which} among the {{b}} that {{p}}|the one of {{a}} that {{q}} and comes {which} of all such")) + (rng.choice((", none when there is none", "; none when there is no such one", "; without such a one answer none", ", or none when there is none", ", and none if there is none", ", or none if there is no such one", ", or else none", ", else none", ", and none when no such one is there", "; none if there is none", "; none if none is found", "; if there is none, answer none", "; if there is no such one, it is none", "; when there is none, the answer is none", "; when nothing fits, answer none", "; answer none when nothing fits", "; answer none if there is no such one", "; return none if nothing is found", "; should there be none, answer none", "; in case there is none, say none", "; otherwise none", "; with no such one it is none", "; failing that, none")) if end == "None" else rng.choice(("; raise an error without such a one", "; raise an error if there is none", "; raise an error if none is found", "; it fails when there is none", "; it fails if there is no such one", "; fail when nothing fits", "; when there is none, raise an error", "; if there is no such one, raise an error", "; if there is none, that is an error", "; it is an error when there is none", "; an error when there is no such one", ", and an error when there is none", "; throw an error if nothing fits", "; should there be none, raise an error", "; in case there is none, fail with an error", "; otherwise raise an error", "; an error is raised when no such one is there", "; with no such one it fails")))
            through = code if which == "first" else f"reversed({code})"
            at = 0 if which == "first" else -1
            plan = [([f"for item in {through}:", f"    if {condition}:", "        return item", RAISE if end == "raise" else "return None"],
                     lambda s: ends(lambda s: kept(s)[at] if kept(s) else None)(s) if kept(s) or end == "None" else fails(s))]
        elif which == "sum":
            main = asked(rng, of("the sum of those of {a} that {p}|the sum of the {b} that {p}|the total of those {b} that {p}|all {b} {s} added up|the sum of all {b} that {p}|the sum of those {b} that {p}|the sum over the {b} that {p}|the sum over those of {a} that {p}|the sum total of the {b} that {p}|the total of the {b} that {p}|the total of those of {a} that {p}|the total of all those of {a} that {p}|those of {a} that {p}, added up|the {b} that {p}, all added together|those {b} that {p} summed up|all of {a} that {p}, summed|what those of {a} that {p} add up to|what the {b} that {p} come to together|what all {b} that {p} sum to|what you get when you add up the {b} that {p}|what comes out when those of {a} that {p} are added|how much those of {a} that {p} make together|how much all {b} that {p} make in all|how much the {b} that {p} add up to|how much the {b} that {p} amount to in all|the result of adding up the {b} that {p}|the result of adding those of {a} that {p}|the {b} {s}, added to one another"))
            plan = [([f"return sum({node.code()})"], ends(lambda s: sum(kept(s))))]
        elif which == "percent":
            main = asked(rng, of("what per cent of {a} {p}|how many per cent of {a} {p}|what percentage of {a} {p}|what per cent of the {b} {p}|how many per cent of the {b} {p}|which percentage of {a} {p}|the percentage of {a} that {p}|the percentage of the {b} that {p}|the percentage of {b} that {p}|the per cent of {a} that {p}|the share of {a} that {p}, in per cent|the share of the {b} that {p}, as a percentage|the part of {a} that {p}, in per cent|the portion of {a} that {p}, in per cent of all|the fraction of {a} that {p}, multiplied by 100|the number of {b} that {p}, in per cent of all {b}|how large a share of {a} {p}, in per cent|how large a part of {a} {p}, as a percentage|how many of {a} {p}, in per cent of all of them|how many of {a} {p}, as a percentage|what share of {a} {p}, in per cent|what share of {a} {p}, with 100 for all of them|what part of {a} {p}, in per cent|how great the percentage of {b} that {p} is|how high the share of {b} that {p} is, in per cent")) + rng.choice((", 0 when there are none", "; without any it is 0", ", 0 for no " + bare, ", 0 without " + bare, "; 0 if there are no " + bare, "; with no " + bare + " it is 0", "; when there are no " + bare + ", answer 0", ", or 0 without any " + bare, ", or 0 when there are none", ", and 0 when there are none", ", 0 if there are none at all", ", and 0 for an empty list", "; 0 for an empty list", "; 0 if the list is empty", "; when there are none at all, it is 0", "; if there are none, answer 0", "; answer 0 when there are none", "; in case there are none, it is 0", "; the answer is 0 if there are none", "; should there be none, say 0", "; with nothing in the list, 0"))
            plan = [([f"if not {code}:", "    return 0", f"return len({node.code()}) * 100 / len({code})"], ends(lambda s: len(kept(s)) / len(source.value(s)) * 100 if source.value(s) else 0))]
        elif which == "split":
            main = asked(rng, of("a list of two lists: those of {a} that {p}, and the others|two lists in a list, first the {b} that {p}, then the rest|a list of two lists: the {b} that {p}, and the rest|a list of two lists: first those of {a} that {p}, then all others|a list of two lists, the first with the {b} that {p}, the second with the others|a list of two lists, one of those {b} that {p} and one of the remaining ones|a list with two lists in it, those of {a} that {p} and the remaining ones|a list with two lists in it: in the first the {b} that {p}, in the second those left over|two lists in one list: those of {a} that {p}, then those that do not belong there|two lists, together in a list: the {b} that {p} and the other {b}|two lists in a list, those of {a} that {p} first and what is left of them second|{a} split into two lists in a list, those that {p} and the others|{a} split in two, as a list of two lists: those that {p} come first, the rest second|{a} parted into a list of two lists, those that {p} before all others|{a} divided up into a list with two lists, first those that {p}, then those for which that is not so|{a} sorted into two lists in a list: those that {p} in the one, the rest in the other that follows|a pair of lists, itself a list: those of {a} that {p}, and all the rest|one list holding two: a list of the {b} that {p}, followed by a list of the others|a list of the {b} that {p} and a list of the others, both in one list|a list whose first item is the list of the {b} that {p} and whose second is the list of the rest")) + rng.choice(("", "", "", "", "", "", ", each in their order", ", each in the same order", ", each in the order they have", ", both in their order", ", both in the original order", ", with the order kept in each", ", in each of them the order stays", ", the order in both unchanged", ", each keeping its order", ", the items of each in their old order", ", without changing the order within each"))
            plan = [([f"return [{node.code()}, [item for item in {code} if not {'(' + condition + ')' if ' and ' in condition else condition}]]"], ends(lambda s: [kept(s), [item for item in source.value(s) if not passes(s)(item)]]))]
        elif which == "choice":
            value = made.constant("num")
            main = asked(rng, of("{a}, with |{a} with |{a}, but with |{a}, only with |{a} as a list, with |{a} in their order, with |{a} as they are, but with |the list of {a}, with |a list of {a} with |a list of {a}, but with |a copy of {a} with |a copy of {a} that has |a list like {a}, but with |the same list as {a}, but with |a new list, {a} with |{a}, though with |what {a} would be with ") + value.say(sentence) + of(" in the place of each that {q}| in the place of every one that {q}| in place of each that {q}| in place of each one that {q}| in place of every {o} that {q}| in place of those that {p}| instead of each that {q}| instead of every {o} that {q}| instead of those that {p}| put in for each that {q}| put in the place of each {o} that {q}| wherever one {q}| at every place where one {q}| standing in for each one that {q}| for every one that {q}| substituted for each that {q}| substituted for those that {p}| where one {q}| taking the place of each {o} that {q}"))
            plan = [([f"return [{value.code()} if {condition} else item for item in {code}]"], ends(lambda s: [value.held if passes(s)(item) else item for item in source.value(s)]))]
        else:
            main = asked(rng, of("the places of those of {a} that {p}, counted from 0|at which places of {a} there is one that {q}, counted from 0, as a list|the places of the {b} that {p}, counted from 0|the places of all {b} that {p}, counting from 0|the places of the {b} that {p}, the first place being 0|the places in {a} of those that {p}, with 0 for the first place|the places, counted from 0, of those of {a} that {p}|the positions of those of {a} that {p}, counted from 0|the positions of the {b} that {p}, beginning with 0|the positions, starting from 0, of all {b} that {p}|the indices of those of {a} that {p}, counted from 0|the indices of the {b} that {p}, the first index being 0|the zero-based indices of all {b} that {p}|the zero-based positions of those of {a} that {p}|a list of the places, counted from 0, where {a} have one that {q}|a list of the places of those {b} that {p}, counted from 0|a list of the indices of the {b} that {p}, with 0 for the first|the list of all positions in {a}, from 0 on, where one {q}|which places of {a} have one that {q}, counted from 0, as a list|which places in {a}, counted from 0, hold one that {q}, as a list|what places, counted from 0, those of {a} that {p} stand at, as a list|where in {a} there is one that {q}, as a list of places counted from 0|where among {a} those that {p} stand, as a list of places beginning at 0|the numbers of the places at which {a} have one that {q}, counted from 0"))
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
            clause = rng.choice((*[node.say(sentence)] * 3, "there is too little of {x}", "there is not so much of {x}", "{x:is} less than {e}", "{e} {e:is1} more than {x}", "there is not enough", "there is not enough", "{x:is} not enough", "{x:is} not enough for {e}", "{x:is} insufficient", "{x:is} too little for {e}", "{x:is} below {e}", "{x:is} smaller than {e}", "{x:is} lower than {e}", "{x:is} under {e}", "{x} fall{x:s} short of {e}", "{x} fail{x:s} to reach {e}", "{x} cannot cover {e}", "{x} cannot supply {e}", "{e:is} greater than {x}", "{e:is} above {x}", "{e:is} larger than {x}", "{e:is} too much for {x}", "{e} exceed{e:s} {x}", "there is not enough of {x}", "there is not that much", "there is not that much of {x}", "there is less than {e} in {x}", "there is less of {x} than {e}", "too little of {x} is there", "more is asked for than {x} can give", "more is to go than there is of {x}")).format(x=Said(x, sentence), e=Said(e, sentence))
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
        text = self.choose("{a} or {b}|{a} or {b}|{a} or {b}|{a} or {b}|{a} or when {b}|either {a} or {b}|either {a} or {b}|{a}, or {b}|{a} or else {b}|{a} or also {b}|{a} or it is so that {b}|{a} or it is the case that {b}|{a} or it holds that {b}|either {a}, or {b}|either {a} or else {b}|it is so that {a} or that {b}|it is the case that {a} or that {b}|it holds that {a} or that {b}|{a} or {b} or both|{a} or {b}, or both|{a} and/or {b}|{a} or alternatively {b}|{a} or otherwise {b}|one of two things is so, {a} or {b}|at least one is so, {a} or {b}|{a} or, failing that, {b}" if word == "or" else "{a} and {b}|{a} and {b}|{a} and {b}|{a} and {b}|both {a} and {b}|both {a} and {b}|{a}, and {b} as well|{a}, and {b}|{a} and also {b}|{a}, and also {b}|{a}, and {b} too|{a} and {b} at once|{a} and {b}, both of them|{a} and at the same time {b}|{a} and besides {b}|{a} and moreover {b}|{a} and on top of that {b}|{a} and in addition {b}|{a} and likewise {b}|{a} and it is also so that {b}|{a} and it is the case that {b}|{a} and it holds that {b}|it is so that {a} and that {b}|it holds that {a} and that {b}|it is the case both that {a} and that {b}|not only {a} but also {b}|two things are so, {a} and {b}")
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
            there = self.choose("{a:is} 0|{a:is} zero|{a:is} at 0|{a:is} at zero|{a:is} exactly 0|{a:is} equal to 0|{a:is} equal to zero|{a} equal{a:s} 0|{a} equal{a:s} zero|{a} {a:has} the value 0|{a} {a:has} a value of 0|{a} come{a:s} to 0|{a} amount{a:s} to 0|{a} stand{a:s} at 0|{a} happen{a:s} to be 0" if needed.kind in NUMERIC else "there are none|{a:is} empty|there are no {a:b}|{a:is} found empty|{a} happen{a:s} to be empty|{a} {a:has} nothing in {a:them}|{a} {a:has} no content|{a} {a:has} a length of 0|{a} {a:has} length 0|{a:is} of length 0|{a} hold{a:s} nothing|{a} contain{a:s} nothing|the length of {a} is 0|nothing is in {a}|nothing is left in {a}|nothing stands in {a}|there is nothing in {a}|there is nothing left in {a}|there is nothing there")
            there = there.format(a=Said(needed, sentence))
            is_there = (lambda s: needed.value(s) != 0) if needed.kind in NUMERIC else (lambda s: bool(needed.value(s)))
            guard = {"nothing": (["    return None"], ends(lambda s: None)), "none": (["    return None"], ends(lambda s: None)), "raise": ([f"    {RAISE}"], fails)}[style]
            before.append((lambda: [f"if {needed.code():5} == 0:" if needed.kind in NUMERIC else f"if not {needed.code()}:", *guard[0]], lambda s: None if is_there(s) else guard[1](s)))
            clause = {"nothing": self.choose("when {t}, nothing changes|nothing happens when {t}|when {t}, do nothing|when {t}, nothing happens|when {t}, change nothing|when {t}, there is nothing to do|when {t}, everything stays as it is|when {t}, leave everything as it is|when {t}, this has no effect|if {t}, nothing changes|if {t}, do nothing|if {t}, nothing happens|in case {t}, nothing is done|should it be that {t}, do nothing|whenever {t}, nothing happens|as long as {t}, nothing changes|nothing changes when {t}|nothing changes if {t}|nothing is done when {t}|do nothing when {t}|do nothing if {t}|change nothing if {t}|leave everything as it is if {t}|this does nothing when {t}|it does nothing if {t}"), "none": self.choose("when {t}, answer none and change nothing|none when {t}|when {t}, answer none|when {t}, the answer is none|when {t}, change nothing and answer none|when {t}, return none|when {t}, just answer none|if {t}, answer none|if {t}, answer none and change nothing|if {t}, it is none|in case {t}, answer none|in case {t}, nothing changes and none is answered|should it be that {t}, answer none|whenever {t}, answer none and leave everything as it is|as long as {t}, answer none|answer none when {t}|answer none if {t}|return none if {t}|give back none when {t}|the answer is none when {t}|it is none if {t}|none if {t}|change nothing and answer none when {t}"), "raise": self.choose("raise an error when {t}|it fails when {t}|when {t}, raise an error|raise an error if {t}|raise an error in case {t}|fail when {t}|fail with an error if {t}|stop with an error if {t}|refuse with an error when {t}|throw an error when {t}|it is an error when {t}|it is an error if {t}|it fails with an error if {t}|this is an error when {t}|this fails when {t}|an error when {t}|an error is raised when {t}|when {t}, it fails|when {t}, that is an error|when {t}, there is an error|when {t}, fail with an error|when {t}, throw an error and change nothing|if {t}, raise an error|if {t}, it fails|in case {t}, raise an error|whenever {t}, an error is raised|should it be that {t}, raise an error")}[style].format(t=there)
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
            main = self.told(main, self.choose("answer it|answer which it was|and answer it|answer what was taken|give it back|answer what was removed|answer what was taken away|answer what was taken out|answer what has been taken away|answer what came out|answer the one that was taken|answer the one that was removed|answer the one taken away|answer the removed one|answer which one was taken|answer which one it was|answer with the one that was removed|return it|return the removed one|return what was taken away|return the one that was taken out|give back what was taken|give back the one that was removed|hand it back|hand back what was removed|report which one it was|tell which one was taken away|tell me what it was|the answer is what was taken|the answer is the one that was removed|let the answer be the one taken out|what was taken is the answer"))
        elif kind < 0.18 and x is not None:
            tail.append((lambda: [f"return {x.code()}"], ends(lambda s: x.value(s))))
            main = self.told(main, self.choose("answer {x}|answer {x} then|answer what {x} {x:are} then|answer the new {x:b}|then answer {x}|answer {x} after that|answer {x} afterwards|answer {x} as {x:they} {x:are} then|answer {x} as {x:they} {x:are} now|answer {x} as {x:they} {x:are} after that|answer what {x} {x:are} now|answer what {x} {x:are} after the change|answer what {x} {x:has} become|answer with {x}|answer with the new {x:b}|after that, answer {x}|afterwards answer {x}|then return {x}|return {x}|return the new {x:b}|return {x} after the change|give back {x}|give back {x} as {x:they} {x:are} now|give back the new {x:b}|hand back {x} then|tell what {x} {x:are} then|tell me {x} as {x:they} {x:are} then|report the new {x:b}|show me what {x} {x:are} now|the answer is {x} then|the answer is the new {x:b}|let the answer be {x}|the new {x:b} {x:are} the answer").format(x=Said(x, sentence)))
        elif kind < 0.26 and x is not None:
            cell = {}
            first.append((lambda: [f"before = {x.code()}"], lambda s: cell.update(v=x.value(s))))
            tail.append((lambda: ["return before"], ends(lambda s: cell["v"])))
            main = self.told(main, self.choose("answer what {x} {x:was} before|answer the old {x:b}|answer {x} as {x:they} {x:was} before|answer what {x} {x:was} before that|answer what {x} {x:was} before the change|answer what {x} {x:was} until then|answer what {x} {x:was} at first|answer what {x} {x:was} to begin with|answer what {x} had been|answer what {x} had been before|answer what {x} used to be|answer {x} as {x:they} {x:was} before the change|answer {x} as {x:they} used to be|answer {x} from before|answer the {x:b} from before|answer the {x:b} from before the change|answer the previous {x:b}|answer the former {x:b}|answer the earlier {x:b}|answer the old {x:b}, not the new|answer with the old {x:b}|return the old {x:b}|return the previous {x:b}|return what {x} {x:was} before|return what {x} used to be|give back the old {x:b}|give back what {x} {x:was} before|hand back the previous {x:b}|tell what {x} {x:was} before|report the former {x:b}|the answer is the old {x:b}|the answer is what {x} {x:was} before|let the answer be the old {x:b}").format(x=Said(x, sentence)))
        elif kind < 0.34 and x is not None and x.kind in ("nums", "texts", "map", "dates"):
            tail.append((lambda: [f"return len({x.code()})"], ends(lambda s: sum(1 for _ in x.value(s)))))
            main = self.told(main, self.choose("answer how many there are then|answer how many {x:b} there are then|answer their number|answer how many there are after that|answer how many there are now|answer how many of them there are then|answer how many of them there are now|answer how many {x:b} there are now|answer how many {x:b} there are after that|answer how many {x:b} that makes|answer how many entries {x} {x:has} then|answer how many entries {x} {x:has} now|answer their new number|answer the number of {x:b}|answer the number of {x:b} then|answer the new number of {x:b}|answer the number of entries in {x}|answer the count of {x:b} after that|answer with the number of {x:b}|return how many there are then|return how many {x:b} there are now|return the number of {x:b}|return their count|give back their number|give back how many {x:b} there are then|tell how many {x:b} there are then|tell me how many of them there are now|say how many there are in the end|report the new number of {x:b}|count {x} and answer that|the answer is how many {x:b} there are then|the answer is their number|let the answer be the number of {x:b}").format(x=Said(x, sentence)))
        elif kind < 0.4:
            node = made.reading(("num", "bool", "text"), 0)
            if any(True for _ in self.needs(node)):
                raise LookupError("an edge in an answer")
            said = node.say(sentence)
            if node.kind == "bool":
                said = "whether " + said
            tail.append((lambda: [f"return {node.code()}"], ends(node.value)))
            main = self.told(main, self.choose("answer |answer |answer |answer |answer |return |give back |hand back |tell |tell me |say |report |show |answer with |find out and answer |then answer |afterwards answer |after that, answer |please answer |let me know |the answer is |what is answered is |I want to know ") + said)
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
            usual = self.choose("{0}, and {1}|{0} and {1}|{0}; {1}|{0}, then {1}|{0}; then {1}|{0}. {2}|{0}; and {1}|{0}. And {1}|{0}, and also {1}|{0}; also, {1}|{0}. Also, {1}|{0}, and then {1}|{0} and then {1}|{0}; and then {1}|{0}. Then {1}|{0}; after that {1}|{0}; afterwards {1}|{0}; next, {1}|{0}, and besides {1}|{0}. Besides, {1}|{0}; in addition, {1}|{0}. In addition, {1}|{0}, and on top of that {1}|{0}; and finally {1}|{0}; at the same time, {1}|both of these: {0}, and {1}|do two things: {0}; {1}|first {0}; then {1}|first {0}. {2} after that")
        else:
            usual = self.choose("{0}, {1}, and {2}|{0}; {1}; {2}|{0}, {1}; then {2}|{0}. {3}, and {2}|{0}, {1} and {2}|{0}; {1}; and {2}|{0}; {1}, and {2}|{0}, and {1}; {2}|{0}. {3}. Then {2}|{0}. Then {1}. {4}|{0}; then {1}; then {2}|{0}, then {1}; and {2}|{0} and {1}; then {2}|{0}, and {1}. {4}|{0}; {1}. Also, {2}|{0}. Also, {1}. And {2}|{0}, and also {1}, and also {2}|{0}; besides, {1}; and {2}|{0}; {1}; finally, {2}|{0}, {1}, and in addition {2}|{0}; after that {1}; after that {2}|all of these: {0}, {1}, and {2}|do three things: {0}; {1}; {2}|first {0}; second, {1}; third, {2}")
        capitals = [capital(clause) for clause in clauses[1:]]
        frame = self.rng.choice(FRAMES["two" if len(clauses) == 2 else "three"]) if self.rng.random() < 0.5 else usual
        return frame.format(*clauses, *capitals)

    def ended(self, main, clause):
        """A clause after the main one, or before it."""
        rng = self.rng
        if clause.startswith("when ") and ", " in clause and rng.random() < 0.25:
            return f"{clause}; else {main}"
        return main + rng.choice(("; ", "; ", "; ", ". ", ". ", ", but ", ", but ", "; but ", ". But ", ", and ", "; and ", ". And ", ", yet ", "; yet ", "; however, ", ". However, ", ". Note: ", "; note: ", "; exception: ", ". One exception: ", "; still, ")) + clause if rng.random() < 0.7 else main + ". " + capital(clause)

    def told(self, main, clause):
        """An answer's clause at the end."""
        neutral = ", and |, and |, and |; |; |; | and | and |. |. |; and |. And |, "
        more = "" if "then" in clause or "after" in clause else "|, then |; then |. Then |, and then |. After that, |; after that, |; afterwards |. Afterwards |, and afterwards |. Finally, |, and finally |, and also |; also, |. Also, |. Besides, |; in addition, |. In addition, |. Now "
        return main + self.choose(neutral + more) + clause.removeprefix("and ")

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
                wish = rng.choice(("answer {a} when {x:is} below {l}, {c} when {x:they} {x:are} above, and {b} at {l}", "{a} below {l}, {b} at {l} and {c} above: answer which of them holds for {x}", "answer {b} when {x:is} {l}, {a} when {x:they} {x:are} less and {c} when {x:they} {x:are} more", "answer {a} if {x:is} less than {l}, {b} if {x:they} {x:are} exactly {l} and {c} if {x:they} {x:are} more", "{a} when {x:is} under {l}, {b} when {x:they} {x:are} exactly {l}, {c} otherwise", "if {x:is} smaller than {l}, answer {a}; if {x:they} {x:are} larger, answer {c}; otherwise answer {b}", "depending on whether {x:is} below, at or above {l}, answer {a}, {b} or {c}", "compare {x} with {l} and answer {a} for less, {b} for the same and {c} for more", "return {c} for {x} above {l}, {a} for {x} below {l} and {b} otherwise", "say {a} as long as {x:is} below {l}, {b} at exactly {l}, and {c} beyond that", "when {x} equal{x:s} {l}, the answer is {b}; below that it is {a}, above that {c}", "which of three is it: {a} if {x:is} below {l}, {b} if {x:they} {x:are} {l}, {c} if {x:they} {x:are} above {l}?", "tell where {x} stand{x:s} compared with {l}: {a} is below, {b} is exactly there, {c} is above", "{b} if {x:is} exactly {l}; if not, {a} when {x:they} {x:are} lower and {c} when {x:they} {x:are} higher", "what comes back is {c} when {x:is} greater than {l}, {a} when {x:they} {x:are} smaller than {l}, and {b} when {x:they} {x:are} neither", "I want {a} when {x:is} less than {l}, {c} when {x:they} {x:are} greater than {l}, and else {b}", "give {a} under {l}, {b} at {l} and {c} over {l}, going by {x}", "with {x} below {l} it is {a}, with {x} at {l} it is {b}, and with {x} above {l} it is {c}", "answer {b} unless {x:is} below {l}, then {a}, or above {l}, then {c}")).format(a=a, b=b, c=c, x=name, l=low)
                lines = [f"if {x.code()} < {low}:", f"    return {words[0].code()}", f"if {x.code()} > {low}:", f"    return {words[2].code()}", f"return {words[1].code()}"]
            else:
                wish = rng.choice(("answer {a} when {x:is} below {l}, {c} when {x:they} {x:are} above {h}, else {b}", "answer {a} for {x} under {l}, {b} from {l} to {h} and {c} beyond", "{x:is} {a} below {l}, {c} above {h} and {b} between: answer which", "answer {a} if {x:is} less than {l}, {c} if {x:they} {x:are} more than {h}, and {b} if {x:they} {x:are} from {l} to {h}", "{a} when {x:is} under {l}, {c} when {x:they} {x:are} over {h}, {b} otherwise", "if {x:is} smaller than {l}, answer {a}; if {x:they} {x:are} larger than {h}, answer {c}; otherwise answer {b}", "answer {b} as long as {x:is} between {l} and {h}, both included, {a} when {x:they} {x:are} lower and {c} when {x:they} {x:are} higher", "below {l}, {x:is} {a}, and above {h}, {c}; from {l} to {h} it is {b}: answer which", "return {c} for {x} above {h}, {a} for {x} below {l} and {b} otherwise", "say {a} while {x:is} below {l}, {b} from {l} up to {h}, and {c} beyond {h}", "answer one of three: {a} for {x} below {l}, {b} for {l} to {h}, {c} for more than {h}", "answer {b} unless {x:is} below {l}, then {a}, or above {h}, then {c}", "give back {a} when {x:is} less than {l}; give back {c} when {x:they} {x:are} greater than {h}; give back {b} in any other case", "the answer is {a} with {x} under {l}, {b} with {x} from {l} to {h}, and {c} with {x} over {h}", "tell in which range {x} lie{x:s}: {a} below {l}, {b} from {l} to {h} inclusive, {c} above {h}", "I want {b} when {x:is} at least {l} and at most {h}, {a} when {x:they} {x:are} less and {c} when {x:they} {x:are} more", "which is it: {a} if {x:is} below {l}, {c} if {x:they} {x:are} above {h}, or {b} if neither?", "what comes back is {c} once {x:is} over {h}, {a} if {x:they} {x:are} under {l}, and else {b}", "going by {x}, answer {a} up to but without {l}, {b} from there to {h} and {c} after that")).format(a=a, b=b, c=c, x=name, l=low, h=high)
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
