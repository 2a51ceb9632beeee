"""How the shipped seed model is asked through its personas' adapters (inference-worker/seed/README.md): for a plan, for what is touched, for the
method out of that, for a verdict. All read the prompt of the method with another end; no words of the codex come into it."""
parents = [ref("covenant")]
plan_tokens = 200
answer_tokens = 96
review_tokens = 48
corrections = 2
is_reading = False
plan_mark = "<|covenant|>"
touched_mark = "<|slots|>"
attempt_mark = "<|attempt|>"
method_mark = "<|method|>"
verdict_mark = "<|flaw|>"
archetypes = ["technical deconstruction", "factual inquiry", "care and meaning"]
planned = ["brick.parts", "brick.limits", "babs.dependencies"]
conversation = ref("covenant.conversation")
review_schema = {
    "type": "object",
    "properties": {"verdict": {"enum": ["pass", "refuse"]}, "reason": {"type": "string", "minLength": 1, "maxLength": 100}},
    "required": ["verdict", "reason"],
    "additionalProperties": False,
}


def plan_question(self, cycle):
    return self.question(cycle.personas.brick, self.head(cycle) + self.plan_mark)


def plan_schema(self, cycle):
    words = self.conversation
    facet = words.object_schema({"facet": {"enum": self.planned}, "question": words.text_schema(1, 200)})
    return words.object_schema({
        "archetype": {"enum": self.archetypes},
        "facets": {"type": "array", "items": facet, "maxItems": len(self.planned)},
        "retrievals": {"type": "array", "items": words.text_schema(1, 100), "maxItems": 1},
    })


def facet_names(self, cycle):
    # BABS was trained on one question: what the method will have to do with.
    return ["babs.touched"]


def facet_asked(self, cycle, name):
    return self.question(cycle.personas.babs, self.head(cycle) + self.touched_mark)


def method_ask(self, cycle):
    # By turns the model writes it as if nobody had said anything, ROBIN weaves it out of what BABS said, and the model has the words alone.
    brief = cycle.brief
    answer = cycle.partials[0]["answer"].split("\n")[0]
    woven = self.question(cycle.personas.robin, self.head(cycle) + self.attempt_mark + self.plain(answer) + "\n" + self.method_mark)
    ways = [{}, {"prompt": woven["prompt"], "persona": woven["persona"], "adapter": woven["adapter"]}]
    words = self.render_words(brief, cycle.able)
    if words is not None:
        ways.append({"prompt": words})
    return cycle.by_turns(self.asking_method(cycle), ways)


def review_question(self, cycle, tried):
    return self.question(cycle.personas.alfred, self.head(cycle) + self.attempt_mark + self.plain(cycle.artifact.rstrip()) + "\n" + self.verdict_mark)


def question(self, persona, prompt):
    # The adapter has the persona's name, whatever the codex says: no other was trained on these prompts.
    return {"persona": persona.persona, "adapter": persona.persona, "system": None, "prompt": prompt}


def head(self, cycle):
    # What was wrong with an attempt is told to the bare model: no persona was trained on it.
    brief = dict(cycle.brief)
    brief["flawed"] = ""
    prompt = self.render(brief, cycle.able)
    return prompt[:len(prompt) - len(self.method_mark)]
