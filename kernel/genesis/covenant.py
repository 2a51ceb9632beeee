"""The architectural covenant prompt (M12): what the model is told. Change it here and the next thought is asked differently.

The seed model was trained on exactly this form; see inference-worker/seed/README.md. Where the selector names slots, only these
are shown in the first round: a small model is easily led astray by the others. Later rounds show all.

A receiver may have a slot `wishes`, a map from a selector to what its method is to do, in words and with examples: that is told as
well. The seed model has learnt nothing of it.
"""
parents = [ref("traits")]
rule = "state lives in slots; a change ends with self._p_changed = True"
max_slots = 24
max_methods = 4
focus = True
conversation = ref("covenant.conversation")
view = ref("covenant.view")


def method_ask(self, cycle):
    return {
        "do": "infer",
        "persona": cycle.thinker.persona,
        "prompt": self.render(cycle.brief),
        "max_tokens": cycle.max_tokens,
        "temperature": cycle.temperature_now(),
        "seed": cycle.brief["round"],
        "grammar": cycle.grammar,
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
    wish = self.wish_for(receiver, brief["selector"])
    if wish:
        lines.append("<|wish|>" + wish)
    return "\n".join(lines) + "\n<|method|>"


def wish_for(self, receiver, selector):
    wishes = primitive("get_slot", receiver, "wishes", None)
    if isinstance(wishes, dict):
        return wishes.get(selector)
    return None


def visible_slots(self, receiver, selector, round):
    data = []
    methods = []
    named = []
    for name, kind, holder in primitive("all_slots", receiver):
        inherited = holder != receiver
        if name == "parents" or name == "wishes" or primitive("object_id", holder) == "#2" or (inherited and name == "comment"):
            continue
        if kind == "method":
            methods.append(name + ":" + kind)
            continue
        data.append(name + ":" + kind)
        if self.is_named(name, selector):
            named.append(name + ":" + kind)
    if named and round == 1 and self.focus:
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
