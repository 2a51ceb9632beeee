"""The architectural covenant prompt (M12): what the model is told. Change it here and the next thought is asked differently.

The seed model was trained on exactly this form; see inference-worker/seed/README.md. Where the selector names slots, only these
are shown in the first round: a small model is easily led astray by the others. Later rounds show all.
"""
parents = [ref("traits")]
rule = "state lives in slots; a change ends with self._p_changed = True"
max_slots = 24
max_methods = 4
conversation = ref("covenant.conversation")


def method_ask(self, cycle):
    return {
        "do": "infer",
        "persona": cycle.thinker.persona,
        "prompt": self.render(cycle.brief),
        "max_tokens": cycle.max_tokens,
        "temperature": cycle.temperature_now(),
        "seed": cycle.brief["round"],
        "grammar": "method",
        "refusal": "<|refuse|>",
    }


def method_in(self, text):
    return text


def render(self, brief):
    receiver = brief["receiver"]
    lines = [
        "<|covenant|>" + self.rule,
        "<|receiver|>" + primitive("object_id", receiver),
        "<|slots|>" + " ".join(self.visible_slots(receiver, brief["selector"], brief["round"])),
        "<|parents|>" + " ".join(brief["chain"]),
        "<|message|>" + brief["selector"] + "(" + ", ".join(brief["argument_kinds"]) + ")",
    ]
    return "\n".join(lines) + "\n<|method|>"


def visible_slots(self, receiver, selector, round):
    data = []
    methods = []
    named = []
    for name, kind, holder in primitive("all_slots", receiver):
        inherited = holder != receiver
        if name == "parents" or primitive("object_id", holder) == "#2" or (inherited and name == "comment"):
            continue
        if kind == "method":
            methods.append(name + ":" + kind)
            continue
        data.append(name + ":" + kind)
        if self.is_named(name, selector):
            named.append(name + ":" + kind)
    if named and round == 1:
        return named[:self.max_slots]
    return data[:self.max_slots] + methods[:self.max_methods]


def names_a_slot(self, receiver, selector):
    return any(
        kind != "method" and self.is_named(name, selector)
        for name, kind, holder in primitive("all_slots", receiver)
    )


def is_named(self, name, selector):
    forms = [name, name + "s", name + "es"]
    if name.endswith("s"):
        forms.append(name[:-1])
    if name.endswith("es"):
        forms.append(name[:-2])
    if name.endswith("ies"):
        forms.append(name[:-3] + "y")
    if name.endswith("y"):
        forms.append(name[:-1] + "ies")
    return any("_" + form + "_" in "_" + selector + "_" for form in forms)
