"""Lets nothing pass that the guard refuses, that fails its trial, or that the auditor refuses."""
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
            return self.fail("guard_refused", "the guard refused it: line " + str(first["line"]) + ": " + first["message"], True)
        return {"do": "trial", "source": self.artifact}
    if event == "tried":
        if not payload["ok"]:
            return self.fail(payload["reason"], "its trial failed: " + payload["message"], True)
        if "review" not in self.workflow.needs:
            return self.advance()
        return self.review_ask(payload)
    if event == "inferred":
        if not payload["ok"]:
            return self.fail(payload["reason"], "there is no review: " + payload["message"], payload["reason"] == "schema")
        self.review = payload["value"]
        self._p_changed = True
        return {"do": "verdict", "ok": self.review["verdict"] == "pass", "message": "review: " + self.review["reason"]}
    if self.review["verdict"] == "pass":
        return self.advance()
    return self.fail("review_refused", self.thinker.persona + " refused it: " + self.review["reason"], True)


def review_ask(self, tried):
    ask = self.asking(self.covenant.review_question(self, tried), self.covenant.review_tokens)
    ask["grammar"] = {"json_schema": self.covenant.review_schema}
    return ask
