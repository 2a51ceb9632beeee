"""BABS brings what is known; then the facets answer, all at the same time, each with its persona's own adapter."""
parents = []
state_name = "delegating"
persona = ref("personas.babs")


def _process_synthesis_(self, event, payload):
    if event == "enter" and self.covenant.is_reading and self.plan["retrievals"]:
        return {"do": "retrieve", "queries": self.plan["retrievals"]}
    if event == "retrieved":
        self.found = payload["found"]
        self._p_changed = True
    names = self.covenant.facet_names(self)
    if event != "inferred_all":
        asks = [self.asking(self.covenant.facet_asked(self, name), self.covenant.answer_tokens) for name in names]
        if not asks:
            return self.advance()
        return {"do": "infer_all", "asks": asks}
    partials = []
    for name, answer in zip(names, payload["answers"]):
        if not answer["ok"]:
            return self.fail(answer["reason"], name + " did not answer: " + answer["message"], False)
        partials.append({"facet": name, "answer": answer["text"]})
    self.partials = partials
    self._p_changed = True
    return self.advance()
