"""How a model that speaks is asked for a view: for what is needed, for the structure, for the layout, for the verdict. Names, kinds and sizes
of slots are told, never what stands in them; what the object says of itself in `comment`, and wants of its view in `wishes`, is told too."""
parents = [ref("covenant.conversation")]
structure_tokens = 1024
layout_tokens = 1024
traits = ref("traits")
most_comment = 600
most_groups = 8
gather_task = "A person will look at this object. Say in a few sentences what they want to see first, what belongs together, and what can be left out."
structure_task = "Draw the structure of the page: groups of slots, each with a short name, and for each slot one of its displays. A slot stands in one group at most. Leave out what nobody needs. Answer with JSON alone."
layout_task = "Lay the page out: its title, one sentence that leads in (or none), an accent, the groups in the order in which they are read, how much each is stressed, and for each of its slots a label that a person understands. Every group and every slot of the structure stands in it once. Answer with JSON alone."
verdict_task = "The page was assembled of this structure and layout, and it is safe to show. Judge whether it serves the person who looks. Answer with JSON alone: verdict pass or refuse, and the reason in one sentence."
emphases = ["lead", "normal", "quiet"]
charts = ["line", "bar"]


def retrievals(self, cycle):
    words = [cycle.brief["name"]] + [cycle.views.words_of(fact["slot"]) for fact in cycle.facts[:8]]
    return ["a view of " + ", ".join(words)]


def gather_question(self, cycle):
    return self.joined([self.object_in_words(cycle)] + self.found_in_words(cycle) + [self.gather_task])


def structure_question(self, cycle):
    return self.joined([self.object_in_words(cycle)] + self.partials_in_words(cycle) + [self.structure_task])


def layout_question(self, cycle):
    return self.joined([self.object_in_words(cycle)] + self.partials_in_words(cycle) + [self.structure_in_words(cycle.structure), self.layout_task])


def verdict_question(self, cycle):
    layout = cycle.layout
    lines = ["Title: " + layout["title"], "Lead: " + layout["lead"]]
    for group in layout["groups"]:
        labels = [shown["slot"] + " as \"" + shown["label"] + "\"" for shown in group["slots"]]
        lines.append("Group " + group["name"] + ", " + group["emphasis"] + ": " + "; ".join(labels))
    parts = [self.object_in_words(cycle), self.structure_in_words(cycle.structure), "The layout:\n" + self.listed(lines)]
    return self.question(cycle.thinker, self.verdict_task, parts)


def structure_schema(self, cycle):
    facts = cycle.facts[:cycle.views.most_slots]
    displays = []
    for fact in facts:
        displays = displays + [display for display in fact["displays"] if display not in displays]
    slot = self.object_schema({"slot": {"enum": [fact["slot"] for fact in facts]}, "display": {"enum": displays}})
    group = self.object_schema({"name": self.text_schema(1, 40), "slots": {"type": "array", "items": slot, "minItems": 1, "maxItems": len(facts)}})
    return self.object_schema({"groups": {"type": "array", "items": group, "minItems": 1, "maxItems": self.most_groups}})


def layout_schema(self, cycle):
    groups = cycle.structure["groups"]
    slots = [shown["slot"] for group in groups for shown in group["slots"]]
    slot = self.object_schema({"slot": {"enum": slots}, "label": self.text_schema(1, 48), "chart": {"enum": self.charts}})
    group = self.object_schema({
        "name": {"enum": [group["name"] for group in groups]},
        "emphasis": {"enum": self.emphases},
        "slots": {"type": "array", "items": slot, "minItems": 1, "maxItems": len(slots)},
    })
    return self.object_schema({
        "title": self.text_schema(1, 80),
        "lead": self.text_schema(0, 240),
        "accent": {"enum": cycle.views.accents},
        "groups": {"type": "array", "items": group, "minItems": len(groups), "maxItems": len(groups)},
    })


def object_in_words(self, cycle):
    brief = cycle.brief
    lines = [
        "A view of the object " + brief["name"] + " is to be made: a page for a person.",
        "It delegates to: " + ", ".join(brief["chain"]),
        "Its slots, with kinds, sizes and the displays that each can have:",
    ]
    lines = lines + ["- " + self.fact_in_words(fact) for fact in cycle.facts[:cycle.views.most_slots]]
    comment = primitive("get_slot", brief["receiver"], "comment", None)
    if isinstance(comment, str) and comment != primitive("get_slot", self.traits, "comment", None):
        lines.append("What it says of itself: " + cycle.views.clipped(comment, self.most_comment))
    wish = self.wish_for(brief["receiver"], "view")
    if isinstance(wish, str):
        lines.append("What is wanted of its view: " + cycle.views.clipped(wish, self.most_comment))
    if brief["flaw"] is not None:
        lines.append("An earlier attempt failed: " + brief["flaw"])
    return "\n".join(lines)


def fact_in_words(self, fact):
    size = "" if fact["size"] is None else " of " + str(fact["size"])
    return fact["slot"] + ": " + fact["kind"] + size + ", as " + " or ".join(fact["displays"])


def structure_in_words(self, structure):
    lines = [group["name"] + ": " + ", ".join(shown["slot"] + " as " + shown["display"] for shown in group["slots"]) for group in structure["groups"]]
    return "The structure:\n" + self.listed(lines)
