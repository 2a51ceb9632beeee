"""BABS brings what is known; then the facets answer, all at the same time, each with its persona's own adapter."""
parents = []
state_name = "delegating"
persona = ref("personas.babs")


def _process_synthesis_(self, event, payload):
    if event == "enter" and self.plan["retrievals"]:
        return {"do": "retrieve", "queries": self.plan["retrievals"]}
    if event == "retrieved":
        self.found = payload["found"]
        self._p_changed = True
    if event != "inferred_all":
        asks = [self.asking(self.facet_question(name, question), self.covenant.answer_tokens) for name, question in self.facets()]
        if not asks:
            return self.advance()
        return {"do": "infer_all", "asks": asks}
    partials = []
    for (name, question), answer in zip(self.facets(), payload["answers"]):
        if not answer["ok"]:
            return self.fail(answer["reason"], name + " did not answer: " + answer["message"], False)
        partials.append({"facet": name, "answer": answer["text"]})
    self.partials = partials
    self._p_changed = True
    return self.advance()


def facet_question(self, name, question):
    persona, pillar = name.split(".")
    asked = self.covenant.facet_question(self, question)
    return primitive("send", primitive("get_slot", self.personas, persona, None), "invoke_" + pillar + "_facet", [asked])
