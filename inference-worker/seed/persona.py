"""What the personas are asked about a mission, and what they should answer: BRICK a plan, BABS what is touched, ROBIN the method out of
that, ALFRED a verdict.

All read the prompt of the method, with another end. A right answer follows from the case: from its method's syntax tree, from its effect.
"""

import ast
import json

import flaws
import wishes

NAMES = ("brick", "babs", "robin", "alfred")
ARCHETYPES = ("technical deconstruction", "factual inquiry", "care and meaning")
FACETS = ("brick.parts", "brick.limits", "babs.dependencies")
PASS = {"verdict": "pass", "reason": "it does what the wish says"}


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
        self.writes_text = any(isinstance(node, ast.JoinedStr) or isinstance(node, ast.Attribute) and node.attr in ("join", "title", "upper", "lower", "capitalize", "replace") for node in ast.walk(method))

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
        return node.attr in PLAIN or not (isinstance(node.value, ast.Name) and node.value.id == "self" or isinstance(node.value, ast.Attribute) or isinstance(node.value, ast.Name) and node.value.id in self.arguments)

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
    """Whether a value is a plan by the schema of `covenant.conversation`."""
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


def flawed(drawer, case):
    """(a wrong method that passes the examples that are shown, where it goes wrong)."""
    rng = drawer.rng
    states = [*case.states, *(drawer.world.draw() for _ in range(6))]
    wanted = [drawer.wanted(case.method, state) for state in states]
    for _ in range(12):
        try:
            source = flaws.misread(rng, case) if case.family == "written" and flaws.is_attempted(case) and rng.random() < 0.5 else flaws.wrong(rng, case)
            function = flaws.bounded(wishes.compiled(source, case.selector))
            if any(wishes.difference(wishes.Outcome(function, state), asked, state.told()) for state, asked in case.shown):
                continue
            for state, asked in zip(states, wanted):
                why = wishes.difference(wishes.Outcome(function, state), asked, state.told())
                if why:
                    return source, why
        except (wishes.Rejected, SyntaxError, KeyError, RecursionError):
            continue
    raise wishes.Rejected("nothing wrong that the examples let pass")


def asked(name, drawer):
    """A case of a persona's work: (prompt, completion, case, what else belongs to it)."""
    rng = drawer.rng
    case = drawer.attempt()
    if name == "brick":
        return ask_brick(case), json.dumps(plan(case.source)) + "<|end|>", case, None
    told = Touched(case.source).told()
    if name == "babs":
        return ask_babs(case), told + "<|end|>", case, None
    if name == "robin":
        partial = told
        if rng.random() < 0.2:  # BABS errs at times
            try:
                partial = Touched(flaws.wrong(rng, case)).told()
            except (wishes.Rejected, SyntaxError):
                pass
        return ask_robin(case, partial), case.source + "<|end|>", case, None
    if not case.shown:
        raise wishes.Rejected("no example to pass")
    if rng.random() < 0.5:
        return ask_alfred(case, case.source), json.dumps(PASS) + "<|end|>", case, (case.source, True)
    source, why = flawed(drawer, case)
    return ask_alfred(case, source), json.dumps({"verdict": "refuse", "reason": why[:80]}) + "<|end|>", case, (source, False)


def draw(name, drawer):
    """The same, whatever is rejected."""
    while True:
        try:
            return asked(name, drawer)
        except (LookupError, wishes.Rejected, wishes.Disagrees):
            continue
