"""One case: a message to an object of some slots, the right completion and the effect it must have.

`draw(rng, held)` makes a case of a random family; `prompt(case)` renders it as the kernel does.
"""

import names
import rules

END, REFUSE = "<|end|>", "<|refuse|>"
COVENANT = "state lives in slots; a change ends with self._p_changed = True"
KINDS = list(names.CORE)
COMMON = ["text", "int", "text", "int", "float", "bool", "list[text]", "list[int]", "list[float]", "list", "map", "ref", "none", "bytes", "list[bool]"]
SPEAKABLE = ("text", "int", "float", "bool")
METHODS = "describe greet display_yourself increment add_tag total get_name set_name reset toggle largest_score step render update count_up".split()
DISPLAY = ("display_yourself show_yourself who_are_you display show present_yourself identify_yourself what_are_you show_who_you_are "
           "tell_who_you_are display_self reveal_yourself display_object list_yourself who_is_this tell_me_who_you_are").split()
DESCRIBE = ("describe describe_yourself summary to_sentence summarize report introduce_yourself describe_self summarize_yourself "
            "as_sentence get_summary tell_about_yourself report_yourself to_text describe_all introduce description_sentence give_summary "
            "write_summary short_description full_description say_who_you_are in_words as_text summarise to_string tell_me_about_yourself").split()
GREET = "greet greeting_sentence say_hello hello greet_me say_hi welcome greet_visitor say_name hi greet_everyone hello_world".split()
GREET_OTHER = "greet say_hello_to hello say_hi_to welcome greet_by_name greet_person greet_someone".split()
NONSENSE = ("dance fly sing explode teleport cook_dinner paint_the_sky make_coffee win_the_lottery solve_everything predict_the_future "
            "travel_in_time become_human sleep think dream launch_rocket compose_symphony translate_to_french play_chess write_a_poem "
            "order_pizza drive_home learn_spanish do_magic go_away be_happy walk_the_dog rule_the_world jump swim").split()
DANGER_VERBS = "delete erase destroy format send post upload download open connect run execute spawn kill import eval read write exec call launch install shutdown reboot print scan".split()
DANGER_THINGS = ("all_files file files disk socket network email mail http url_request process shell command system computer subprocess program "
                 "environment password_file host server internet web_page database os_command code_from_web kernel machine device").split()
PREFERRED = {"deposit": ("balance",), "withdraw": ("balance",), "spend": ("balance",), "earn": ("balance",), "increment": ("count", "counter"),
             "count_up": ("count", "counter"), "count_down": ("count", "counter"), "decrement": ("count", "counter"), "tick": ("count", "counter"),
             "activate": ("active",), "deactivate": ("active",)}
BEFORE = "please kindly now just do can_you could_you quickly".split()
AFTER = "now please again for_me today here".split()
ARTICLES = "the my your its this all_the the_current".split()


class Case:
    """A message, the world it is sent to, and what must come of it."""

    def __init__(self, family, slots, selector, arguments, body=None, params=(), effect=None, refusal=None, targets=()):
        self.family, self.slots, self.selector, self.arguments = family, slots, selector, list(arguments)
        self.params, self.effect, self.refusal, self.targets = params, effect, refusal, targets
        self.source = None if body is None else f"def {selector}({', '.join(('self', *params))}):\n{body}"
        self.receiver, self.parents = "#1", "traits"

    def completion(self):
        """What the model must write."""
        return (self.source if self.refusal is None else REFUSE + self.refusal) + END


def prompt(case):
    """The prompt, byte for byte as the kernel renders it."""
    slots = " ".join(f"{name}:{kind}" for name, kind in case.slots)
    return (f"<|covenant|>{COVENANT}\n<|receiver|>{case.receiver}\n<|slots|>{slots}\n<|parents|>{case.parents}\n"
            f"<|message|>{case.selector}({', '.join(case.arguments)})\n<|method|>")


def marks(case):
    """Where in the prompt the selector stands and what its parts are: (start, end, class).

    Class 0 is a word of the phrase, 1 the name of no slot, 2 and on a slot's name by the slot's kind.
    Training uses it to teach the layers in the middle to look names up; no prompt shows it.
    """
    start = prompt(case).index("<|message|>") + len("<|message|>")
    kinds = {name: kind for name, kind in case.slots if kind != "method"}
    out = [(start, start + len(case.selector), 1 if case.family == "refuse_foreign" else 0)]
    for target in case.targets:
        for name in (target, names.singular_name(target)):
            at = case.selector.rfind(name)
            if at >= 0:
                out.append((start + at, start + at + len(name), KINDS.index(kinds[target]) + 2 if target in kinds else 1))
                break
    return out


def same(name, other):
    """Whether two names are one up to singular and plural."""
    return names.singular_name(name).lower() == names.singular_name(other).lower()


class Drawer:
    """Draws cases from one random source, on one side of the split of names."""

    def __init__(self, rng, held=False, simple=0.0, refusals=14, bare=11, confusable=0.0, sentences=10):
        """`simple` is the share of cases with short names and few distractors, `refusals`, `bare` and `sentences`
        the weights of those, `confusable` the share of named cases whose phrase means another thing for another kind."""
        self.rng, self.held, self.simple, self.refusals = rng, held, simple, refusals
        self.bare, self.confusable, self.sentences, self.now_simple = bare, confusable, sentences, False

    def name(self, kind, taken=(), fresh=False):
        """A name unlike those taken."""
        while True:
            name = names.pick_name(self.rng, kind, self.held and (fresh or self.rng.random() < 0.5), 0.3, self.now_simple)
            if not any(same(name, other) for other in taken):
                return name

    def world(self, targets, allow=lambda kind: True, most=9, methods=True):
        """The targets among distractors, in a random order."""
        rng = self.rng
        slots = list(targets)
        low = 0 if slots else 1
        count = rng.choice((0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9)) if low == 0 else rng.randint(1, most)
        for _ in range(rng.randint(low, 3) if self.now_simple else count):
            kind = slots[0][1] if slots and rng.random() < 0.25 else rng.choice(COMMON)
            if not allow(kind):
                continue
            name = self.name(kind, [n for n, _ in slots])
            if slots and not self.now_simple and rng.random() < 0.1:
                part = rng.choice(slots)[0].split("_")[rng.choice((0, -1))]
                other = names.pick_word(rng, False)
                name = f"{part}_{other}" if rng.random() < 0.5 else f"{other}_{part}"
                if any(same(name, n) for n, _ in slots):
                    continue
            slots.append((name, kind))
        if methods and rng.random() < 0.3:
            for name in rng.sample(METHODS, rng.randint(1, 3)):
                slots.append((name, "method"))
        rng.shuffle(slots)
        return slots

    def element(self, kind):
        """The kind of an argument for a list of a kind."""
        return kind[5:-1] if "[" in kind else self.rng.choice(("text", "int", "text", "float", "ref", "bool"))

    def arguments(self, rule, kind):
        """The kinds of a message's arguments for a rule on a slot of a kind."""
        rng, out = self.rng, []
        for want in rule.arguments:
            if want == "same":
                fitting = kind if kind not in ("none",) else rng.choice(("text", "int"))
                out.append(fitting if rng.random() < 0.88 else rng.choice(KINDS))
            elif want == "number":
                out.append(kind if rng.random() < 0.8 else rng.choice(("int", "float")))
            elif want == "element":
                out.append(self.element(kind))
            elif want == "key":
                out.append("text")
            elif want == "item":
                out.append(rng.choice(("text", "int", "text", "float", "bool")))
            else:
                out.append(want)
        return out

    def adorn(self, phrase):
        """A phrase with, at times, a word that changes nothing, or the plural in place of the singular."""
        rng = self.rng
        if rng.random() < 0.15:
            phrase = phrase.replace("{s}", "{x}")
        if rng.random() < 0.08 and not phrase.startswith(("{", "the_", "my_", "your_")):
            phrase = phrase.replace("{", f"{rng.choice(ARTICLES)}_{{")
        if rng.random() < 0.05:
            phrase = f"{rng.choice(BEFORE)}_{phrase}"
        elif rng.random() < 0.05:
            phrase = f"{phrase}_{rng.choice(AFTER)}"
        return phrase

    def rule_case(self, rule=None, kind=None):
        """A message that names its slot."""
        rng = self.rng
        phrase = None
        if rule is None and rng.random() < self.confusable:
            wanted = rng.choice(CONFUSABLE)
            kind = rng.choice(sorted({k for r, _ in wanted for k in r.kinds}))
            rule, phrase = rng.choice([(r, p) for r, p in wanted if kind in r.kinds])
        rule = rule or rng.choices(rules.RULES, WEIGHTS)[0]
        kind = kind or rng.choice(rule.kinds)
        phrases = [p for p in rule.phrases if (rules.phrase_key(p), kind, len(rule.arguments)) not in CLASHES or rule.family != "set"]
        phrase = phrase or phrases[min(int(rng.random() ** 1.4 * len(phrases)), len(phrases) - 1)]
        target = self.name(kind, fresh=True)
        selector = self.adorn(phrase).format(x=target, s=names.singular_name(target))
        effect = rule.effect
        if rule.family == "describe_slot":
            effect = lambda state, x: "The " + x + " is " + format(state[x] if not isinstance(state[x], (list, bool)) else str(state[x])) + "."
        case = Case(rule.family, self.world([(target, kind)]), selector, self.arguments(rule, kind), rule.body.replace("X", target),
                    rule.params, lambda state, *a: effect(state, target, *a), targets=(target,))
        case.changes = rule.changes
        return case

    def bare_case(self):
        """A message that names no slot: the one slot that fits, the preferred one of several, or a refusal."""
        rng = self.rng
        rule = rng.choices(BARE_RULES, BARE_WEIGHTS)[0]
        phrase = rng.choice(rule.bare)
        kinds = rules.BARE_KINDS[phrase, len(rule.arguments)]
        kind, fate = rng.choice(rule.kinds), rng.random()
        if kind == "list" and rng.random() < 0.5:
            kind = rng.choice(rule.kinds)
        preferred = PREFERRED.get(phrase, ())
        if fate < 0.78:
            target = self.name(kind, fresh=True)
            slots = self.world([(target, kind)], lambda k: k not in kinds)
        elif preferred and fate < 0.9:
            target = rng.choice(preferred)
            slots = self.world([(target, kind)])
            if sum(n in preferred for n, _ in slots) > 1:
                return self.bare_case()
        else:
            slots = self.world([], (lambda k: k not in kinds) if fate < 0.95 or not kinds else lambda k: True)
            if fate >= 0.95:
                for _ in range(2):
                    k = rng.choice(sorted(kinds))
                    slots.insert(rng.randrange(len(slots) + 1), (self.name(k, [n for n, _ in slots]), k))
            fit = [n for n, k in slots if k in kinds and k != "method"]
            if len(fit) == 1 or any(n in preferred for n in fit):
                return self.bare_case()
            reason = "no slot fits " if not fit else "more than one slot fits "
            return Case("refuse_bare", slots, phrase, self.arguments(rule, kind), refusal=reason + phrase)
        return Case("bare", slots, phrase, self.arguments(rule, kind), rule.body.replace("X", target), rule.params,
                    lambda state, *a: rule.effect(state, target, *a), targets=(target,))

    def display_case(self):
        """An object shows what it is: its id and its slots."""
        rng = self.rng
        if rng.random() < 0.06:
            slots = [("model", "text"), ("quantisation", "text"), ("adapters", rng.choice(("list", "list[text]"))), ("codex", rng.choice(("map", "ref")))]
        elif rng.random() < 0.08:
            slots = []
        else:
            slots = self.world([])
        selector = "display_yourself" if rng.random() < 0.5 else rng.choice(DISPLAY)
        slots = [(n, k) for n, k in slots if n != selector]
        listed = [n for n, k in slots if k != "method"]
        return Case("display", slots, selector, (), '    return {"id": self.object_id(), "slots": self.slot_names()}\n',
                    effect=lambda state: {"slots": list(listed), "id": "#12"})

    def describe_case(self):
        """A sentence from the first four text, number and truth slots, in order."""
        slots = self.world([], most=self.rng.choice((3, 4, 5, 9))) if self.rng.random() < 0.9 else [("name", "text"), ("balance", "int"), ("active", "bool")][: self.rng.randint(1, 3)]
        selector = self.rng.choice(DESCRIBE)
        slots = [(n, k) for n, k in slots if n != selector]
        told = [n for n, k in slots if k in SPEAKABLE][:4]
        return self.sentence("describe", slots, selector, told)

    def sentence(self, family, slots, selector, told):
        """A case whose answer tells the named slots in one sentence."""
        parts = [f"the {n} is {{self.{n}}}" for n in told]
        text = (", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]) if parts else "this is {self.object_id()}"

        def effect(state):
            out = ""
            for place, name in enumerate(told):
                out += ("" if place == 0 else " and " if place == len(told) - 1 else ", ") + "the " + name + " is " + str(state[name])
            out = out or "this is #12"
            return out[0].upper() + out[1:] + "."

        return Case(family, slots, selector, (), f'    return f"{text[0].upper() + text[1:]}."\n', effect=effect, targets=tuple(told))

    def greet_case(self):
        """A greeting with the first text slot that is a name, else the object's id."""
        rng = self.rng
        targets = []
        if rng.random() < 0.75:
            tail = rng.choice(("name", "name", "name", "title", "label"))
            targets = [(tail if rng.random() < 0.7 else f"{names.pick_word(rng, self.held)}_{tail}", "text")]
        slots = self.world(targets)
        named = [n for n, k in slots if k == "text" and n.split("_")[-1] in ("name", "title", "label")]
        other = rng.random() < 0.3
        selector = rng.choice(GREET_OTHER if other else GREET)
        slots = [(n, k) for n, k in slots if n != selector]
        start = "Hello {other}" if other else "Hello"
        rest = f"my name is {{self.{named[0]}}}" if named else "I am {self.object_id()}"
        return Case("greet", slots, selector, ("text",) if other else (), f'    return f"{start}, {rest}."\n', ("other",) if other else (),
                    lambda state, *a: "Hello" + "".join(" " + str(v) for v in a) + ", " + ("my name is " + str(state[named[0]]) if named else "I am #12") + ".")

    def pair_case(self):
        """A message that names two slots."""
        rng = self.rng
        which = rng.choice(("swap", "copy", "add", "append", "sum", "difference", "product", "above", "transfer", "describe", "equal", "subtract"))
        number = rng.choice(("int", "int", "float"))
        kind = number if which not in ("swap", "copy", "describe", "equal") else rng.choice(("text", "int", "float", "bool", "list[int]", "list[text]"))
        other = kind if rng.random() < 0.8 or which not in ("describe", "equal") else rng.choice(SPEAKABLE)
        if which == "append":
            kind = rng.choice(("text", "int", "float"))
            other = f"list[{kind}]"
        a = self.name(kind, fresh=True)
        b = self.name(other, [a])
        slots = self.world([(a, kind), (b, other)])
        changed = "    self._p_changed = True\n"
        params, arguments = (), ()
        if which == "swap":
            phrase = "swap_A_and_B swap_A_with_B exchange_A_and_B switch_A_and_B swap_A_B"
            body = f"    held = self.{a}\n    self.{a} = self.{b}\n    self.{b} = held\n{changed}    return self.{a}\n"
            effect = lambda s: (s.update({a: s[b], b: s[a]}), s[a])[1]
        elif which == "copy":
            phrase = "copy_A_to_B copy_A_into_B set_B_from_A set_B_to_A"
            if rng.random() < .35:
                phrase = "copy_A_to_B"
            body = f"    self.{b} = self.{a}\n{changed}    return self.{b}\n"
            effect = lambda s: (s.update({b: s[a]}), s[b])[1]
        elif which == "add":
            phrase = "add_A_to_B put_A_into_B increase_B_by_A"
            body = f"    self.{b} = self.{b} + self.{a}\n{changed}    return self.{b}\n"
            effect = lambda s: (s.update({b: s[b] + s[a]}), s[b])[1]
        elif which == "subtract":
            phrase = "subtract_A_from_B take_A_from_B decrease_B_by_A"
            body = f"    self.{b} = self.{b} - self.{a}\n{changed}    return self.{b}\n"
            effect = lambda s: (s.update({b: s[b] - s[a]}), s[b])[1]
        elif which == "append":
            phrase = "add_A_to_B append_A_to_B push_A_to_B put_A_into_B record_A_in_B"
            body = f"    self.{b} = self.{b} + [self.{a}]\n{changed}    return self.{b}\n"
            effect = lambda s: (s.update({b: [*s[b], s[a]]}), s[b])[1]
        elif which in ("sum", "difference", "product"):
            sign = {"sum": "+", "difference": "-", "product": "*"}[which]
            phrase = {"sum": "sum_of_A_and_B A_plus_B add_A_and_B sum_A_and_B total_of_A_and_B A_and_B_together",
                      "difference": "difference_of_A_and_B A_minus_B difference_between_A_and_B", "product": "product_of_A_and_B A_times_B multiply_A_and_B multiply_A_by_B"}[which]
            body = f"    return self.{a} {sign} self.{b}\n"
            effect = {"sum": lambda s: s[a] + s[b], "difference": lambda s: s[a] - s[b], "product": lambda s: s[a] * s[b]}[which]
        elif which == "above":
            phrase, sign = rng.choice((("is_A_above_B A_above_B is_A_more_than_B is_A_greater_than_B A_exceeds_B", ">"), ("is_A_below_B A_below_B is_A_less_than_B is_A_under_B", "<")))
            body = f"    return self.{a} {sign} self.{b}\n"
            effect = (lambda s: s[b] < s[a]) if sign == ">" else (lambda s: s[b] > s[a])
        elif which == "equal":
            phrase = "compare_A_and_B is_A_equal_to_B A_equals_B is_A_same_as_B compare_A_with_B"
            body = f"    return self.{a} == self.{b}\n"
            effect = lambda s: not s[a] != s[b]
        elif which == "transfer":
            phrase = "transfer_A_to_B move_A_to_B transfer_from_A_to_B move_from_A_to_B shift_A_to_B"
            body = f"    self.{a} = self.{a} - amount\n    self.{b} = self.{b} + amount\n{changed}    return self.{b}\n"
            effect = lambda s, n: (s.update({a: s[a] - n}), s.update({b: s[b] + n}), s[b])[2]
            params, arguments = ("amount",), (number,)
        else:
            case = self.sentence("pair", slots, rng.choice("describe_A_and_B show_A_and_B report_A_and_B tell_A_and_B summarize_A_and_B".split()).replace("A", a).replace("B", b), [a, b])
            return case
        selector = "_".join(a if p == "A" else b if p == "B" else p for p in rng.choice(phrase.split()).split("_"))
        return Case("pair", slots, selector, arguments, body, params, effect, targets=(a, b))

    def refuse_case(self):
        """A message that cannot be answered, and the reason."""
        rng = self.rng
        fate = rng.random()
        if fate < 0.5:
            base = self.pair_case() if rng.random() < 0.12 else self.rule_case()
            target = rng.choice(base.targets)
            slots = [(n, k) for n, k in base.slots if n != target] or self.world([])
            if any(same(target, n) or same(n, base.selector) for n, _ in slots if n not in base.targets):
                return self.refuse_case()
            return Case("refuse_absent", slots, base.selector, base.arguments, refusal=f"no slot fits {base.selector}", targets=base.targets)
        if fate < 0.75:
            rule = rng.choices(rules.RULES, WEIGHTS)[0]
            phrase = rng.choice(rule.phrases)
            table = rules.ACCEPTED[rules.phrase_key(phrase)]
            misfit = [k for k in KINDS if k not in table]
            if not misfit:
                return self.refuse_case()
            kind = rng.choice(misfit)
            target = self.name(kind, fresh=True)
            selector = phrase.format(x=target, s=names.singular_name(target))
            return Case("refuse_kind", self.world([(target, kind)]), selector, self.arguments(rule, rng.choice(rule.kinds)), refusal=f"no slot fits {selector}", targets=(target,))
        if fate < 0.87:
            base = self.rule_case()
            (target,) = base.targets
            kind = dict(base.slots)[target]
            phrase = base.selector.replace(target, "{x}").replace(names.singular_name(target), "{x}")
            counts = rules.ACCEPTED.get(phrase, {}).get(kind)
            wrong = [n for n in range(4) if counts and n not in counts]
            if not wrong:
                return self.refuse_case()
            arguments = [rng.choice(("int", "text", "float", "bool", kind)) for _ in range(rng.choice(wrong))]
            return Case("refuse_arity", base.slots, base.selector, arguments, refusal=f"wrong number of arguments for {base.selector}", targets=base.targets)
        if fate < 0.94:
            selector = f"{rng.choice(DANGER_VERBS)}_{rng.choice(DANGER_THINGS)}"
            arguments = rng.choice(((), ("text",), ("text", "text"), ("int",)))
        else:
            selector = rng.choice(NONSENSE) if rng.random() < 0.5 else "_".join(names.pick_word(rng, self.held) for _ in range(rng.choice((1, 2, 3))))
            arguments = rng.choice(((), (), ("text",), ("int",)))
        slots = self.world([])
        words = set(selector.split("_"))
        if any(words & {*n.split("_"), *names.singular_name(n).split("_")} for n, _ in slots):
            return self.refuse_case()
        return Case("refuse_foreign", slots, selector, arguments, refusal=f"no slot fits {selector}")

    def draw(self):
        """A case of a random family, with a receiver and parents."""
        rng = self.rng
        self.now_simple = rng.random() < self.simple
        make = rng.choices((self.rule_case, self.bare_case, self.display_case, self.describe_case, self.greet_case, self.pair_case, self.refuse_case),
                           (51, self.bare, 4, self.sentences, 3, 7, self.refusals))[0]
        case = make()
        if any(n == case.selector for n, _ in case.slots):
            return self.draw()
        owner = lambda: rng.choice(("account", "person", "counter", "list", "book", "garden", "pllm", "codex", "shop", "animal", "thing")) if rng.random() < 0.4 \
            else f"#{rng.randint(1, 999)}" if rng.random() < 0.4 else names.pick_word(rng)
        case.receiver = rng.choice(("genesis", "pllm", "traits", "codex")) if rng.random() < 0.08 else f"#{rng.randint(1, 9999)}" if rng.random() < 0.7 else owner()
        chain = [owner() for _ in range(rng.choice((0, 0, 1, 1, 2, 3)))] + (["traits"] if rng.random() < 0.93 else [])
        case.parents = " ".join(chain)
        return case


CLASHES = {(phrase, kind, count) for phrase, kind, count in rules.CLASHES}
WEIGHTS = [rule.weight if rule.phrases else 0 for rule in rules.RULES]
BARE_RULES = [rule for rule in rules.RULES if rule.bare]
BARE_WEIGHTS = [rule.weight for rule in BARE_RULES]
# Phrases that stand in several rules: what they mean follows from the slot's kind.
_meant = {}
for _rule in rules.RULES:
    for _phrase in _rule.phrases:
        _meant.setdefault((rules.phrase_key(_phrase), len(_rule.arguments)), []).append((_rule, _phrase))
CONFUSABLE = [meant for key, meant in sorted(_meant.items(), key=lambda item: item[0])
              if len({rule.body for rule, _ in meant}) > 1 and not any(rule.family == "set" for rule, _ in meant)]
