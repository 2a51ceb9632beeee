"""Lets nothing pass that the guard refuses, that fails its trial or an example of the wish, or that the auditor refuses. Of several candidates
the first that passes counts."""
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
        return {"do": "trial", "source": self.artifact}
    if event == "tried":
        if not payload["ok"]:
            if payload["reason"] == "bad_example":
                return self.fail("bad_example", "an example of the wish makes no sense: " + payload["message"], False)
            return self.refuse(payload["reason"], "its trial failed: " + payload["message"], payload["flaw"], payload["met"])
        if "review" not in self.workflow.needs:
            return self.advance()
        return self.asking_review(self.covenant.review_question(self, payload))
    if event == "inferred":
        return self.reviewed(payload)
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
    if self.waiting:
        self.artifact = self.waiting[0]
        self.waiting = self.waiting[1:]
        self._p_changed = True
        return {"do": "guard", "source": self.artifact}
    best = self.best
    return self.fail_leaving(best["reason"], best["message"], True, best["flaw"], best["source"])
