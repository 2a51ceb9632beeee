"""How a model that speaks is asked: for the plan, by the facets, for the method, for the verdict. Change it here and the next thought is
asked differently. Names and kinds of slots are told, never what stands in them."""
parents = [ref("covenant")]
guardian = ref("personas.alfred")
plan_tokens = 512
answer_tokens = 256
method_tokens = 768
review_tokens = 192
most_retrievals = 4
corrections = 2
is_reading = True
most_schema = 1000
guidance = [
    "State lives in slots: self.name reads a slot, self.name = value writes it. Only slots that are listed exist.",
    "A method that changes anything ends every changing path with self._p_changed = True.",
    "No imports, no print, no files, no names that begin with an underscore.",
    "Answer with plain data: None, numbers, texts, lists, maps with text keys, or objects.",
]
marks = ["<|", "</s>", "<s>", "<<SYS>>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]"]
example_words = "It must do what these examples say, each `slots before (arguments) -> answer; slots after`, where `_` is any answer, `!` says that it must raise an exception, and every other slot stays as it is:"
plan_task = "Plan how the method will be written. Choose the archetype that fits. Name the facets that are to be asked beside those of the archetype, each with one question. Name what should be looked up, or nothing. Answer with JSON alone."
method_task = "Weave the answers into one Python method that carries the message out. Answer with its source alone, beginning with `def`."
review_task = "This method passed the guard and a trial run. Judge whether it does what the message asks. Answer with JSON alone: verdict pass or refuse, and the reason in one sentence."
review_schema = {
    "type": "object",
    "properties": {"verdict": {"enum": ["pass", "refuse"]}, "reason": {"type": "string", "minLength": 1, "maxLength": 400}},
    "required": ["verdict", "reason"],
    "additionalProperties": False,
}


def plan_question(self, cycle):
    rows = [row["archetype"] + ": " + ", ".join(row["facets"]) + "; on demand " + ", ".join(row["on_demand"]) for row in cycle.dynamics]
    return self.question(cycle.thinker, self.plan_task, [self.brief_in_words(cycle.brief), "Archetypes and their facets:\n" + self.listed(rows)])


def plan_schema(self, cycle):
    facets = [name + "." + pillar["name"] for name in primitive("slot_names", cycle.personas) if name not in ("parents", "comment") for pillar in primitive("get_slot", cycle.personas, name, None).pillars]
    facet = self.object_schema({"facet": {"enum": facets}, "question": self.text_schema(1, 400)})
    return self.object_schema({
        "archetype": {"enum": [row["archetype"] for row in cycle.dynamics]},
        "facets": {"type": "array", "items": facet, "maxItems": cycle.workflow.most_facets},
        "retrievals": {"type": "array", "items": self.text_schema(1, 200), "maxItems": self.most_retrievals},
    })


def facet_names(self, cycle):
    return [name for name, question in cycle.facets()]


def facet_asked(self, cycle, name):
    persona, pillar = name.split(".")
    question = self.facet_question(cycle, dict(cycle.facets())[name])
    return primitive("send", primitive("get_slot", cycle.personas, persona, None), "invoke_" + pillar + "_facet", [question])


def facet_question(self, cycle, question):
    parts = [self.brief_in_words(cycle.brief)] + self.found_in_words(cycle)
    if question is not None:
        parts.append("Asked of you: " + question)
    return self.joined(parts)


def method_ask(self, cycle):
    parts = [self.brief_in_words(cycle.brief)] + self.found_in_words(cycle) + self.partials_in_words(cycle)
    ask = cycle.asking(self.question(cycle.thinker, self.method_task, parts), self.method_tokens)
    ask["grammar"] = cycle.grammar
    ask["confidence"] = True
    return cycle.by_turns(ask, [{}])


def method_in(self, text):
    text = text.strip()
    if text.startswith("```"):
        text = text[text.find("\n") + 1:]
    if text.endswith("```"):
        text = text[:-3]
    return text.strip() + "\n"


def review_question(self, cycle, tried):
    changed = "nothing"
    if tried["writes"]:
        changed = ", ".join(tried["writes"])
    parts = [self.brief_in_words(cycle.brief), "The method:\n" + cycle.artifact, "In its trial it changed: " + changed]
    return self.question(cycle.thinker, self.review_task, parts)


def question(self, persona, task, parts):
    return {
        "persona": persona.persona,
        "adapter": persona.adapter,
        "system": persona.mission + "\n" + persona.voice,
        "prompt": self.joined(parts + [task]),
    }


def joined(self, parts):
    return self.plain("\n\n".join(parts))


def found_in_words(self, cycle):
    return ["What is known:\n" + self.listed(cycle.found)] if cycle.found else []


def partials_in_words(self, cycle):
    return [partial["facet"] + " says:\n" + partial["answer"] for partial in cycle.partials]


def brief_in_words(self, brief):
    receiver = brief["receiver"]
    head = "def " + brief["selector"] + "(" + ", ".join(["self"] + ["a" + str(at + 1) for at in range(len(brief["arguments"]))]) + "):"
    lines = [
        "Object " + primitive("object_id", receiver) + " was sent the message " + brief["selector"] + "(" + ", ".join(brief["argument_kinds"]) + ") and has no method for it.",
        "The method begins: " + head,
        "Its slots, with their kinds: " + ", ".join(self.visible_slots(receiver, brief["selector"], 2)),
        "It delegates to: " + ", ".join(brief["chain"]),
    ] + self.bounds(brief) + self.guidance
    wish = brief["wish"]
    if wish is not None:
        others = self.others(brief)
        if others:
            lines.append("Slots of objects that it knows: " + ", ".join(others))
        if wish["intent"]:
            lines.append("What is wanted of it: " + wish["intent"])
        shown = self.shown_examples(wish)
        if shown:
            lines.append(self.example_words)
            lines += ["    " + example for example in shown]
    if brief["flaw"] is not None:
        lines.append("An earlier attempt failed: " + brief["flaw"])
        if brief["flawed"]:
            lines.append("What was written then:\n" + brief["flawed"])
    return "\n".join(lines)


def bounds(self, brief):
    # The data covenants that hold for the receiver; a transaction that breaks one is refused as a whole.
    kin = [brief["name"], primitive("object_id", brief["receiver"])] + brief["chain"]
    told = []
    for covenant in primitive("get_slot", self.guardian, "covenants", []):
        for bind in covenant["binds"]:
            if bind.endswith("[]"):
                prototype = bind[:-2]
                what = "each of its entries"
            else:
                prototype, dot, slot = bind.rpartition(".")
                what = "the slot " + slot
            if prototype in kin:
                told.append("- " + what + ": " + covenant["name"] + ", " + covenant["schema"][:self.most_schema])
    if told:
        told = ["What it holds is bound by JSON Schemas; a change that breaks one fails as a whole:"] + told
    return told


def listed(self, items):
    return "\n".join("- " + str(item) for item in items)


def object_schema(self, properties):
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def text_schema(self, least, most):
    return {"type": "string", "minLength": least, "maxLength": most}
