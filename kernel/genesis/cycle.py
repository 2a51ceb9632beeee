"""The prototype of a thought. Its synthesis_state is a state object, which is also its first parent:
`_process_synthesis_` is delegated to it, and changing the pointer changes what the message means."""
parents = [ref("orchestrator")]
brief = None
workflow = ref("workflows.full")
covenant = ref("covenant")
synthesis_state = ref("states.idle")
thinker = None
plan = None
found = []
partials = []
artifact = None
review = None
facts = []
structure = None
layout = None
html = ""
svg = ""
drawn_by = []
is_redrawn = False
able = []
votes = {}
refusals = 0
asked = 0
waiting = []
passed = []
agreed = None
held = []
max_held = 8
tried = []
best = None
max_attempt_characters = 10000


def advance(self):
    return self.transition_to(self.workflow.transitions[self.synthesis_state.state_name][0])


def transition_to(self, name):
    state = self.workflow.states[name]
    self.synthesis_state = state
    self.thinker = self.thinker_in(state)
    self.parents = [state, self.cycle_prototype]
    self._p_changed = True
    return {"do": "continue"}


def fail(self, reason, message, correct):
    return self.fail_leaving(reason, message, correct, None, "")


def fail_leaving(self, reason, message, correct, flaw, flawed):
    self.failure = {"reason": reason, "message": message, "correct": correct, "flaw": flaw, "flawed": flawed}
    self._p_changed = True
    return self.transition_to("failed")


def thinker_in(self, state):
    role = primitive("get_slot", state, "role", None)
    station = primitive("get_slot", state, "station", None)
    row = self.archetype()
    if station is not None and row is not None:
        return primitive("get_slot", self.personas, self.facet_at(station).split(".")[0], None)
    if role is not None and row is not None:
        return primitive("get_slot", self.personas, row[role], None)
    return primitive("get_slot", state, "persona", None)


def archetype(self):
    name = primitive("get_slot", self.workflow, "archetype", None)
    if self.plan is not None:
        name = self.plan["archetype"]
    for row in self.dynamics:
        if row["archetype"] == name:
            return row
    return None


def facet_at(self, station):
    row = self.archetype()
    if not row["facets"]:
        return row["lead"]
    return row["facets"][min(station, len(row["facets"]) - 1)]


def asked_at(self, station, question):
    name, dot, pillar = self.facet_at(station).partition(".")
    persona = primitive("get_slot", self.personas, name, None)
    if not pillar:
        return self.covenant.question(persona, question, [])
    return primitive("send", persona, "invoke_" + pillar + "_facet", [question])


def facets(self):
    planned = {asked["facet"]: asked["question"] for asked in self.plan["facets"]}
    names = self.archetype()["facets"] + [name for name in planned]
    chosen = [name for at, name in enumerate(names) if name not in names[:at]]
    return [(name, planned.get(name)) for name in chosen[:self.workflow.most_facets]]


def temperature_now(self):
    if self.brief["round"] > 1 and not self.brief["escalated"]:
        return self.correction_temperature
    return self.temperature


def checks(self):
    wish = self.brief["wish"]
    return wish is not None and any(not example.endswith("-> _") for example in wish["examples"])


def before(self):
    # How many answers earlier rounds of the same model were asked for, and what passed that too few agreed in, with its votes. A server's few are
    # not counted among a small model's many.
    if self.brief["held"] is None or (self.brief["escalated"] and self.brief["rounds_before"] == 0):
        return {"asked": 0, "passed": []}
    return self.brief["held"]


def is_voted(self):
    # One answer alone cannot agree with another, unless one of an earlier round passed.
    return self.asked > 1 or self.before()["passed"] != []


def is_wished(self):
    wish = self.brief["wish"]
    return self.checks() and wish["intent"] is not None and wish["intent"] != ""


def corrects(self):
    return "correct" in self.able and self.brief["flawed"] != ""


def by_turns(self, ask, ways):
    # Where examples can tell candidates apart, many are asked for at once, by turns in different ways: each a map of what it has instead of the
    # ask's own. One reads the wish otherwise than another, and was not written to pass where that passes. The first of each greedily, where no
    # earlier round asked so (`is_new` of the way): the same answer to the same question is no second vote.
    wanted = self.candidates
    if self.brief["round"] == 1:
        wanted = self.first_candidates
    if self.brief["escalated"]:
        wanted = self.escalated_candidates
    count = min(wanted, self.brief["tokens_left"] // self.candidate_tokens, 16)
    if not self.checks() or count < 2:
        return ask
    asks = []
    for at in range(count):
        one = dict(ask)
        way = ways[at % len(ways)]
        one.update({key: way[key] for key in way if key != "is_new"})
        one["seed"] = self.brief["round"] * 1000 + at
        one["temperature"] = self.candidate_temperature
        if self.brief["round"] == 1:
            is_new = way.get("is_new", True)
        elif at == 0:
            # What was wrong is new, and where no wish is shown the second round shows slots that the first did not.
            is_new = self.corrects() or (self.brief["round"] == 2 and "wish" not in self.able)
        else:
            is_new = way.get("is_new", False)
        if is_new and at < len(ways):
            one["temperature"] = self.temperature
        asks.append(one)
    return {"do": "infer_all", "asks": asks}


def asking(self, asked, max_tokens):
    ask = {
        "do": "infer",
        "persona": asked["persona"],
        "adapter": asked["adapter"],
        "max_tokens": max_tokens,
        "temperature": self.temperature_now(),
        "seed": self.brief["round"],
    }
    if asked["system"] is None:
        ask["prompt"] = asked["prompt"]
    elif self.is_conversing:
        ask["system"] = asked["system"]
        ask["prompt"] = asked["prompt"]
    else:
        ask["prompt"] = asked["system"] + "\n\n" + asked["prompt"] + "\n\n"
    return ask


def asking_json(self, asked, max_tokens, schema):
    ask = self.asking(asked, max_tokens)
    ask["grammar"] = {"json_schema": schema}
    return ask


def asking_review(self, asked):
    return self.asking_json(asked, self.covenant.review_tokens, self.covenant.review_schema)


def is_reviewed(self):
    return "review" in self.workflow.needs or "adapter ALFRED" in self.workflow.needs


def note_drawer(self):
    if self.thinker.persona not in self.drawn_by:
        self.drawn_by = self.drawn_by + [self.thinker.persona]
        self._p_changed = True


def reviewed(self, payload):
    if not payload["ok"]:
        return self.fail(payload["reason"], "there is no review: " + payload["message"], payload["reason"] == "schema")
    self.review = payload["value"]
    self._p_changed = True
    return {"do": "verdict", "ok": self.review["verdict"] == "pass", "message": "review: " + self.review["reason"]}


def words_of_refusal(self):
    return self.thinker.persona + " refused it: " + self.review["reason"]
