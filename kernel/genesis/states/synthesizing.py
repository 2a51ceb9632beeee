"""Asks the model for the method, in the words of the workflow's covenant: for one, or for several, of which those count that most agree with.
Where no example tells them apart, the others are second opinions on the first."""
parents = []
state_name = "synthesizing"
persona = ref("personas.robin")
role = "weaver"


def _process_synthesis_(self, event, payload):
    if event == "enter":
        return self.covenant.method_ask(self)
    answers = [payload]
    self.asked = 1
    known = []
    is_known = False
    if event == "inferred_all":
        answers = payload["answers"]
        if not self.checks():
            # One question in several orders of slots: the first answer counts, unless another tells that it is a guess.
            guess = self.guess_in(answers)
            if guess is not None:
                told = "the model only guesses which slots are meant: " + guess + "; a wish that names them, or an example, decides (batos wish)"
                return self.fail("unsure", told, False)
            answers = answers[:1]
        known = self.brief["tried"]
        self.asked = len(answers)
    sources = []
    votes = {}
    failures = []
    for answer in answers:
        if not answer["ok"]:
            failures.append((answer["reason"], answer["message"], False))
            continue
        text = self.covenant.method_in(answer["text"])
        if text.startswith("<|refuse|>"):
            self.refusals = self.refusals + 1
            failures.append(("refused", "the model refused: " + text[len("<|refuse|>"):].strip(), self.doubts_refusals()))
        elif answer["finish"] != "stop":
            failures.append(("unfinished", "the model did not finish its method", True))
        elif self.is_unsure(answer):
            failures.append(("unsure", self.unsure_words(answer), False))
        elif text in known:
            is_known = True
        else:
            votes[text] = votes.get(text, 0) + 1
            if votes[text] == 1:
                sources.append(text)
    for one in self.before()["passed"]:
        votes[one["source"]] = votes.get(one["source"], 0) + one["votes"]
        if one["source"] not in sources:
            sources.append(one["source"])
    if not sources:
        if is_known:
            message = "the model wrote only what had failed before: " + self.brief["flaw"]
            return self.fail_leaving("repeated", message, True, self.brief["flaw"], self.brief["flawed"])
        reason, message, correct = failures[0]
        return self.fail(reason, message, correct)
    self.votes = votes
    self.artifact = sources[0]
    self.waiting = sources[1:]
    self._p_changed = True
    return self.advance()


def guess_in(self, answers):
    texts = [self.covenant.method_in(answer["text"]) for answer in answers if answer["ok"]]
    if len(texts) < len(answers) or texts[0].startswith("<|refuse|>"):
        return None
    return self.covenant.guess_in(self.brief, texts)


def doubts_refusals(self):
    # A refusal is believed at once only where the selector names no slot and no example can tell better; else a second opinion is asked for.
    named = self.covenant.names_a_slot(self.brief["receiver"], self.brief["selector"])
    return named or (self.brief["round"] == 1 and self.checks())


def is_unsure(self, answer):
    least = self.least_confidence
    return least is not None and answer["confidence"] is not None and answer["confidence"] < least


def unsure_words(self, answer):
    told = "the model is not sure of its method: the mean log-probability of its tokens is " + str(round(answer["confidence"], 3))
    return told + ", and orchestrator.least_confidence is " + str(self.least_confidence)
