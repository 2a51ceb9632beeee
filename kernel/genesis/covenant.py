"""The architectural covenant prompt (M12): what the model is told. Change it here and the next thought is asked differently.

The seed model was trained on exactly this form; see inference-worker/seed/README.md.
"""
parents = [ref("traits")]
rule = "state lives in slots; a change ends with self._p_changed = True"
max_slots = 24


def render(self, brief):
    receiver = brief["receiver"]
    slots = []
    for name, kind, holder in primitive("all_slots", receiver):
        inherited = holder != receiver
        hidden = name == "parents" or primitive("object_id", holder) == "#2" or (inherited and name == "comment")
        if not hidden and len(slots) < self.max_slots:
            slots.append(name + ":" + kind)
    lines = [
        "<|covenant|>" + self.rule,
        "<|receiver|>" + primitive("object_id", receiver),
        "<|slots|>" + " ".join(slots),
        "<|parents|>" + " ".join(brief["chain"]),
        "<|message|>" + brief["selector"] + "(" + ", ".join(brief["argument_kinds"]) + ")",
    ]
    return "\n".join(lines) + "\n<|method|>"
