"""What the personas are asked about a mission, and what they should answer: BRICK a plan, BABS what is touched, ROBIN the method out of
that, ALFRED a verdict, or data that keeps to its schema (mending.py).

All read the prompt of the method, with another end. A right answer follows from the case: from its method's syntax tree, from its effect.
"""

import ast
import json

import flaws
import mending
import refusals
import wishes

NAMES = ("brick", "babs", "robin", "alfred")
ARCHETYPES = ("technical deconstruction", "factual inquiry", "care and meaning")
FACETS = ("brick.parts", "brick.limits", "babs.dependencies")
# Of ALFRED's cases so many are data to be mended.
MENDED = 0.25
PASS = {"verdict": "pass", "reason": "it does what the wish says"}
REFUSE = {"verdict": "refuse", "reason": "it does not do what the wish says"}
# Of the cases of BABS and ROBIN so many are wishes that cannot be carried out.
REFUSED = 0.08
# Of the cases of ROBIN so many have an answer of BABS that is not right, as hers are (adapters/measured.json).
ERRS = 0.4
NOTHING = "reads nothing; changes nothing; sends nothing"


class Touched:
    """What a method has to do with: paths that it reads, that it changes, methods that it sends, how it refuses."""

    def __init__(self, source):
        method = ast.parse(source).body[0]
        self.arguments = [argument.arg for argument in method.args.args[1:]]
        self.reads, self.changes, self.sends = [], [], []
        called = {id(node.func) for node in ast.walk(method) if isinstance(node, ast.Call)}
        inner = {id(node.value) for node in ast.walk(method) if isinstance(node, ast.Attribute) and not (id(node) in called and self.is_plain(node))}
        for node in sorted((node for node in ast.walk(method) if isinstance(node, ast.Attribute)), key=lambda node: (node.lineno, node.col_offset)):
            path = self.path(node)
            if path is None or path == "_p_changed" or id(node) in inner:
                continue
            kept = self.changes if isinstance(node.ctx, ast.Store) else self.sends if id(node) in called and not self.is_plain(node) else self.reads
            if id(node) in called and self.is_plain(node):  # self.notes.count(…): the slot is read
                path = path.rpartition(".")[0]
            if path and path != "each" and not path.isdigit() and path not in kept:
                kept.append(path)
        ends = [node for node in ast.walk(method) if isinstance(node, ast.If)]
        self.fails = any(isinstance(node, ast.Raise) for node in ast.walk(method))
        self.answers_false = any(isinstance(inner, ast.Return) and isinstance(inner.value, ast.Constant) and inner.value.value is False for node in ends for inner in node.body)
        self.is_held_back = bool(ends)
        self.writes_text = any(isinstance(node, ast.JoinedStr) or isinstance(node, ast.Attribute) and id(node) in called and node.attr in ("join", "title", "upper", "lower", "capitalize", "replace") for node in ast.walk(method))

    def path(self, node):
        """`self.lower.depth` as `lower.depth`, `item.watts` as `each.watts`, an argument's slot as `1.score`; None for what is no slot."""
        names = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            node = node.value
        if isinstance(node, ast.Subscript) and names:
            start = self.path(node.value)
            return f"{start}.{'.'.join(names)}" if start else None
        if not isinstance(node, ast.Name):
            return None
        if node.id == "self":
            return ".".join(names)
        if node.id == "item":
            return "each." + ".".join(names)
        return f"{self.arguments.index(node.id) + 1}." + ".".join(names) if node.id in self.arguments else None

    def is_plain(self, node):
        """Whether what is called is a method of a text, list or map, and no slot."""
        if isinstance(node.value, ast.Name):
            return node.value.id != "self" and (node.attr in PLAIN or node.value.id not in (*self.arguments, "item"))
        return node.attr in PLAIN or not isinstance(node.value, (ast.Attribute, ast.Subscript))

    def told(self):
        """One line of it."""
        return "; ".join(f"{word} {' '.join(paths) or 'nothing'}" for word, paths in (("reads", self.reads), ("changes", self.changes), ("sends", self.sends)))


PLAIN = {name for kind in (str, list, dict, int, float) for name in dir(kind)} | {"weekday", "isoformat", "fromisoformat", "timedelta"}


def plan(source):
    """The plan of a method: the archetype, whom else to ask what, what to look up."""
    of = Touched(source)
    archetype = ARCHETYPES[0] if of.changes or of.sends else ARCHETYPES[2] if of.writes_text else ARCHETYPES[1]
    facets = []
    if len(of.changes) > 1:
        facets.append({"facet": "brick.parts", "question": f"In which order do {' and '.join(of.changes[:2])} change?"})
    if of.is_held_back:
        facets.append({"facet": "brick.limits", "question": "When does it fail?" if of.fails else "When is the answer false?" if of.answers_false else "What is the other case?"})
    if of.sends:
        facets.append({"facet": "babs.dependencies", "question": f"What does {of.sends[0].rpartition('.')[2]} answer?"})
    about = (of.changes + of.reads + of.sends + [""])[0].rpartition(".")[2].replace("_", " ")
    return {"archetype": archetype, "facets": facets, "retrievals": [about] if about else []}


def is_plan(value):
    """Whether a value is a plan by the schema of `covenant.adapted`."""
    return (isinstance(value, dict) and set(value) == {"archetype", "facets", "retrievals"} and value["archetype"] in ARCHETYPES and isinstance(value["facets"], list) and isinstance(value["retrievals"], list)
            and all(isinstance(one, dict) and set(one) == {"facet", "question"} and one["facet"] in FACETS and isinstance(one["question"], str) and one["question"] for one in value["facets"])
            and all(isinstance(one, str) and one for one in value["retrievals"]))


def is_verdict(value):
    """Whether a value is a verdict by the schema of reviews."""
    return isinstance(value, dict) and set(value) == {"verdict", "reason"} and value["verdict"] in ("pass", "refuse") and isinstance(value["reason"], str) and bool(value["reason"])


def head(case):
    """The prompt up to its last mark."""
    return case.prompt().removesuffix("<|method|>")


def ask_brick(case):
    """The prompt for a plan."""
    return head(case) + "<|covenant|>"


def ask_babs(case):
    """The prompt for what is touched."""
    return head(case) + "<|slots|>"


def ask_robin(case, partial):
    """The prompt for the method, with what BABS answered."""
    return head(case) + f"<|attempt|>{partial}\n<|method|>"


def ask_alfred(case, source):
    """The prompt for a verdict on a method that passed its examples."""
    return head(case) + f"<|attempt|>{source.rstrip()}\n<|flaw|>"


def misread(rng, case):
    """A method that was made wrong, or what an earlier seed wrote."""
    return flaws.misread(rng, case) if case.family == "written" and flaws.is_attempted(case) and rng.random() < 0.5 else flaws.wrong(rng, case)


def flawed(drawer, case):
    """A wrong method that passes the examples that are shown."""
    rng = drawer.rng
    states = [*case.states, *(drawer.world.draw() for _ in range(6))]
    wanted = [drawer.wanted(case.method, state) for state in states]
    for _ in range(12):
        try:
            source = misread(rng, case)
            wishes.permit(source, source)
            function = wishes.compiled(source, case.selector)
            if any(flaws.fault(function, state, asked) for state, asked in case.shown):
                continue
            if any(flaws.fault(function, state, asked) for state, asked in zip(states, wanted)):
                return source
        except (wishes.Rejected, SyntaxError, KeyError):
            continue
    raise wishes.Rejected("nothing wrong that the examples let pass")


def refused(name, drawer):
    """A wish that cannot be carried out: nothing is touched, and ROBIN refuses."""
    case = refusals.refusal(drawer)
    wishes.permit(case.prompt().split("<|receiver|>")[1] + case.completion())
    if name == "babs":
        return ask_babs(case), NOTHING + "<|end|>", case, None
    return ask_robin(case, NOTHING), case.completion(), case, None


def verdict(drawer, is_right):
    """A verdict of ALFRED on a method that passes its examples, and is right or wrong."""
    case = drawer.attempt()
    if not case.shown:
        raise wishes.Rejected("no example to pass")
    source = case.source if is_right else flawed(drawer, case)
    return ask_alfred(case, source), json.dumps(PASS if is_right else REFUSE) + "<|end|>", case, (source, is_right)


def woven(drawer):
    """The method, out of what BABS says, who errs at times."""
    case = drawer.attempt()
    right = partial = Touched(case.source).told()
    for _ in range(8 if drawer.rng.random() < ERRS else 0):
        try:
            partial = Touched(misread(drawer.rng, case)).told()
        except (wishes.Rejected, SyntaxError):
            continue
        if partial != right:
            break
    return ask_robin(case, partial), case.source + "<|end|>", case, None


def drawn(name, drawer):
    """What draws cases of a persona's work: each (prompt, completion, case, what else belongs to it)."""
    chance = drawer.rng.random()
    if name == "alfred" and chance < MENDED:
        data = mending.Mending(drawer.rng, drawer.held)
        return lambda: (data.prompt(), data.completion(), data, None)
    if name == "alfred":
        is_right = drawer.rng.random() < 0.5
        return lambda: verdict(drawer, is_right)
    if name == "brick":
        return lambda: planned(drawer)
    if chance < REFUSED:
        return lambda: refused(name, drawer)
    return (lambda: touching(drawer)) if name == "babs" else (lambda: woven(drawer))


def planned(drawer):
    """The plan of a method."""
    case = drawer.attempt()
    return ask_brick(case), json.dumps(plan(case.source), ensure_ascii=False) + "<|end|>", case, None


def touching(drawer):
    """What a method touches."""
    case = drawer.attempt()
    return ask_babs(case), Touched(case.source).told() + "<|end|>", case, None


def draw(name, drawer):
    """A case of a persona's work; what is rejected is drawn again, of the same kind."""
    draws = drawn(name, drawer)
    while True:
        try:
            return draws()
        except (LookupError, wishes.Rejected, wishes.Disagrees):
            continue
