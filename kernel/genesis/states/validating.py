"""Lets nothing pass that the guard refuses, that fails its trial or an example of the wish, or that the auditor refuses. Of several candidates
all are tried, with other values as well; what most of the model's answers agree in is taken, if they are enough."""
parents = []
state_name = "validating"
persona = ref("personas.alfred")
role = "auditor"


def _process_synthesis_(self, event, payload):
    if event == "enter":
        return {"do": "guard", "source": self.artifact}
    if event == "guarded":
        if not payload["ok"]:
            first = payload["findings"][0]
            found = "line " + str(first["line"]) + ": " + first["message"]
            return self.refuse("guard_refused", "the guard refused it: " + found, found, -1)
        return {"do": "trial", "source": self.artifact, "probe": self.is_voted()}
    if event == "tried":
        if not payload["ok"]:
            if payload["reason"] == "bad_example":
                return self.fail("bad_example", "an example of the wish makes no sense: " + payload["message"], False)
            return self.refuse(payload["reason"], "its trial failed: " + payload["message"], payload["flaw"], payload["met"])
        if not self.is_voted():
            return self.accept(payload)
        self.passed = self.passed + [{"source": self.artifact, "trial": payload}]
        self._p_changed = True
        return self.next_candidate()
    if event == "inferred":
        return self.reviewed(payload)
    if self.review is None:
        return self.accept(self.agreed)
    if self.review["verdict"] == "pass":
        return self.advance()
    refused = self.words_of_refusal()
    return self.refuse("review_refused", refused, refused, 1000)


def refuse(self, reason, message, flaw, met):
    # On to the next candidate; after the last one the round fails, and leaves the one that met most examples to be corrected.
    source = self.artifact
    if len(source) > self.max_attempt_characters:
        source = ""
    self.tried = self.tried + [source]
    if self.best is None or met > self.best["met"]:
        self.best = {"reason": reason, "message": message, "flaw": flaw, "met": met, "source": source}
    self._p_changed = True
    return self.next_candidate()


def next_candidate(self):
    if self.waiting:
        self.artifact = self.waiting[0]
        self.waiting = self.waiting[1:]
        self._p_changed = True
        return {"do": "guard", "source": self.artifact}
    if self.passed:
        return self.agree()
    best = self.best
    return self.fail_leaving(best["reason"], best["message"], True, best["flaw"], best["source"])


def agree(self):
    # Candidates that behave the same are one answer, with all the votes of their texts; the first of equally many wins.
    votes = {}
    for one in self.passed:
        behaviour = one["trial"]["behaviour"]
        votes[behaviour] = votes.get(behaviour, 0) + self.votes[one["source"]]
    most = max(votes.values())
    if self.refusals > most:
        return self.fail("refused", "the model refused in " + str(self.refusals) + " of " + str(self.asked) + " answers", False)
    asked = self.before()["asked"] + self.asked
    if most < self.least_votes or most / asked < self.least_agreement:
        self.held = self.one_of_each(votes)
        told = "only " + str(most) + " of " + str(asked) + " answers of the model agree in what the method does; orchestrator.least_votes is "
        return self.fail("unsure", told + str(self.least_votes) + ", least_agreement " + str(self.least_agreement), True)
    chosen = [one for one in self.passed if votes[one["trial"]["behaviour"]] == most][0]
    self.artifact = chosen["source"]
    # Should the auditor refuse it, the others are left.
    self.passed = [one for one in self.passed if one["trial"]["behaviour"] != chosen["trial"]["behaviour"]]
    self.agreed = chosen["trial"]
    self.review = None
    self._p_changed = True
    return {"do": "verdict", "ok": True, "message": "agreement: " + str(most) + " of " + str(asked) + " answers do the same"}


def one_of_each(self, votes):
    # For the next round: of each behaviour the first source, with all its votes, the most agreed in first.
    firsts = {}
    for one in self.passed:
        firsts.setdefault(one["trial"]["behaviour"], one["source"])
    most = sorted(firsts, key=lambda behaviour: -votes[behaviour])[:self.max_held]
    return [{"source": firsts[behaviour], "votes": votes[behaviour]} for behaviour in most]


def accept(self, trial):
    if not self.is_reviewed():
        return self.advance()
    return self.asking_review(self.covenant.review_question(self, trial))
