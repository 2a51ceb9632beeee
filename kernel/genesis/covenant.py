"""The architectural covenant prompt (M12): what the model is told. Change it here and the next thought is asked differently.

The seed model was trained on exactly this form; see inference-worker/seed/README.md. Where the selector names slots, only these
are shown in the first round: a small model is easily led astray by the others. Later rounds show all.

A wish (docs/wishes.md) is told to a model that has the ability `wish`, and what was wrong with the round before to one that has
the ability `correct`. Texts are data: none of `marks` comes into a prompt by them.

The order of slots tells nothing, and a small model still reads a wish otherwise where they stand in another one. So the first round
shows them in `first_orders` others, too, and correcting rounds in `orders` more beside the attempt. Where no example tells what came of
an answer, the first round asks in `blind_orders` others for a second opinion: a model that takes other slots then has guessed. Of
correcting rounds there are `corrections` at most (None: as many as orchestrator.corrections allows), and `blind_corrections` without examples.
"""
parents = [ref("traits")]
rule = "state lives in slots; a change ends with self._p_changed = True"
max_slots = 24
max_methods = 4
marks = ["<|"]
max_others = 16
max_examples = 3
max_example_characters = 200
max_flaw_characters = 200
focus = True
words_alone = True
first_orders = 2
orders = 3
blind_orders = 1
corrections = None
blind_corrections = 2
unseen = ["parents", "wishes", "view_record"]
conversation = ref("covenant.conversation")
adapted = ref("covenant.adapted")
view = ref("covenant.view")


def method_ask(self, cycle):
    brief = cycle.brief
    if not cycle.checks():
        return self.blind_ask(cycle)
    ways = [{}]
    round = brief["round"]
    is_wished = "wish" in cycle.able and brief["wish"] is not None
    if round == 1 or not is_wished:
        words = self.render_words(brief, cycle.able)
        if words is not None:
            ways.append({"prompt": words})
    if is_wished:
        ways += self.ways_anew(brief, cycle.able)
    return cycle.by_turns(self.asking_method(cycle), ways)


def blind_ask(self, cycle):
    # Greedily, once in each order: a difference is the order's doing.
    ask = self.asking_method(cycle)
    brief = cycle.brief
    if brief["round"] > 1 or "wish" not in cycle.able:
        return ask
    shown = self.visible_slots(brief["receiver"], brief["selector"], self.round_shown(brief, cycle.able))
    asks = [ask]
    for order in range(1, min(1 + self.blind_orders, self.number_of_orders(self.data_in(shown)))):
        anew = dict(brief)
        anew["order"] = order
        other = dict(ask)
        other["prompt"] = self.render(anew, cycle.able)
        asks.append(other)
    if len(asks) == 1:
        return ask
    return {"do": "infer_all", "asks": asks}


def guess_in(self, brief, texts):
    # Of the answers to one question in several orders of slots: how the first differs from another in the slots that it takes; None where it does not.
    # Nobody said what a message without words is to tell: a description may tell of what it likes.
    is_told = brief["wish"] is not None and brief["wish"]["intent"]
    for text in texts[1:]:
        matters = is_told or "self._p_changed" in texts[0] or "self._p_changed" in text
        if matters and self.slots_taken(text) != self.slots_taken(texts[0]):
            return self.slots_in_words(texts[0]) + ", and with the slots in another order " + self.slots_in_words(text)
    return None


def slots_taken(self, text):
    found = []
    for part in text.split("self.")[1:]:
        ends = [at for at, mark in enumerate(part) if not (mark.isalnum() or mark == "_")]
        name = part[:ends[0]] if ends else part
        if name not in found and name != "_p_changed":
            found.append(name)
    return sorted(found)


def slots_in_words(self, text):
    if text.startswith("<|refuse|>"):
        return "it refuses"
    return "it takes " + (", ".join(self.slots_taken(text)) or "no slot")


def ways_anew(self, brief, able):
    # The slots in other orders than in the rounds before.
    first = 1
    count = self.first_orders
    if brief["round"] > 1:
        first = 1 + self.first_orders + (brief["round"] - 2) * self.orders
        count = self.orders
    anew = dict(brief)
    anew["flawed"] = ""
    different = self.number_of_orders(self.data_in(self.visible_slots(brief["receiver"], brief["selector"], 2)))
    ways = []
    for order in range(first, first + count):
        anew["order"] = order
        is_new = order < different
        words = self.render_words(anew, able)
        if words is not None:
            ways.append({"prompt": words, "is_new": is_new})
        ways.append({"prompt": self.render(anew, able), "is_new": is_new})
    return ways


def asking_method(self, cycle):
    return {
        "do": "infer",
        "persona": cycle.thinker.persona,
        "prompt": self.render(cycle.brief, cycle.able),
        "max_tokens": cycle.max_tokens,
        "temperature": cycle.temperature_now(),
        "seed": cycle.brief["round"],
        "confidence": True,
        "grammar": cycle.grammar,
        "refusal": "<|refuse|>",
    }


def method_in(self, text):
    return text


def render_words(self, brief, able):
    # The words alone, where there are any: examples and what was wrong with an attempt are left out.
    if not self.words_alone or "wish" not in able or brief["wish"] is None or not brief["wish"]["intent"]:
        return None
    words = dict(brief)
    words["wish"] = {"intent": brief["wish"]["intent"], "examples": []}
    words["flawed"] = ""
    return self.render(words, able)


def render(self, brief, able=None):
    # Who asks for a brief alone, as a state that was written before wishes, gets what every model can read.
    able = able or []
    receiver = brief["receiver"]
    wish = brief["wish"] if "wish" in able else None
    slots = self.visible_slots(receiver, brief["selector"], self.round_shown(brief, able))
    slots = self.in_order(slots, brief.get("order", 0))
    lines = [
        "<|covenant|>" + self.rule,
        "<|receiver|>" + primitive("object_id", receiver),
        "<|slots|>" + " ".join(slots),
        "<|parents|>" + " ".join(brief["chain"]),
    ]
    if wish is not None:
        others = self.others_by(slots, self.others(brief))
        if others:
            lines.append("<|others|>" + " ".join(others))
    lines.append("<|message|>" + brief["selector"] + "(" + ", ".join(brief["argument_kinds"]) + ")")
    if wish is not None:
        if wish["intent"]:
            lines.append("<|wish|>" + self.plain(wish["intent"]))
        lines += ["<|example|>" + self.plain(example) for example in self.shown_examples(wish)]
    if "correct" in able and brief["flawed"]:
        lines.append("<|flaw|>" + self.plain(self.flaw_line(brief)))
        lines.append("<|attempt|>" + self.plain(brief["flawed"].rstrip()))
    return "\n".join(lines) + "\n<|method|>"


def round_shown(self, brief, able):
    # What is wanted can name slots that the selector does not.
    if "wish" in able and brief["wish"] is not None:
        return 2
    return brief["round"]


def plain(self, text):
    for mark in self.marks:
        text = text.replace(mark, mark[0] + " " + mark[1:])
    return text


def flaw_line(self, brief):
    return brief["flaw"].split("\n")[0][:self.max_flaw_characters]


def shown_examples(self, wish):
    short = [example for example in wish["examples"] if len(example) <= self.max_example_characters]
    return short[:self.max_examples]


def data_in(self, slots):
    return [slot for slot in slots if not slot.endswith(":method")]


def in_order(self, slots, order):
    # Data slots before methods, as ever. Every second order is the one before read from behind, and every two begin one slot further on; 0 is that
    # of the objects.
    data = self.data_in(slots)
    begin = order // 2 % max(1, len(data))
    data = data[begin:] + data[:begin]
    if order % 2:
        data = data[::-1]
    return data + [slot for slot in slots if slot not in data]


def number_of_orders(self, slots):
    # As many are different; later ones repeat them.
    return 2 * len(slots) if len(slots) > 2 else len(slots)


def others_by(self, slots, others):
    # In the order of the slots that lead to them, those of arguments last.
    names = [slot.split(":")[0] for slot in slots]
    places = {}
    for other in others:
        start = other.split(".")[0].split("[")[0]
        places[other] = names.index(start) if start in names else len(names)
    return sorted(others, key=lambda other: places[other])


def others(self, brief):
    receiver = brief["receiver"]
    found = []
    for name, kind, holder in primitive("all_slots", receiver):
        if self.is_hidden(name, receiver, holder):
            continue
        if kind == "ref":
            found += self.data_of(name, primitive("get_slot", receiver, name, None), receiver)
        if kind == "list":
            items = primitive("get_slot", receiver, name, None)
            firsts = [at for at, item in enumerate(items) if primitive("kind", item) == "ref"][:1]
            for at in firsts:
                found += self.data_of(name + "[" + str(at) + "]", items[at], receiver)
    for at, argument in enumerate(brief["arguments"]):
        if primitive("kind", argument) == "ref":
            found += self.data_of(str(at + 1), argument, receiver)
    return found[:self.max_others]


def data_of(self, path, other, receiver):
    if other == receiver:
        return []
    return [
        path + "." + name + ":" + kind
        for name, kind, holder in primitive("all_slots", other)
        if kind != "method" and not self.is_hidden(name, other, holder)
    ]


def is_hidden(self, name, receiver, holder):
    inherited = holder != receiver
    return name in self.unseen or primitive("object_id", holder) == "#2" or (inherited and name == "comment")


def visible_slots(self, receiver, selector, round):
    data = []
    methods = []
    named = []
    for name, kind, holder in primitive("all_slots", receiver):
        if self.is_hidden(name, receiver, holder):
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


def wish_for(self, receiver, selector):
    # Words alone, for what is no method; a mission for a method has its wish in the brief.
    wishes = primitive("get_slot", receiver, "wishes", None)
    if not isinstance(wishes, dict):
        return None
    wish = wishes.get(selector)
    if isinstance(wish, dict):
        return wish.get("intent")
    return wish


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
