"""The first facet of the archetype's row, BABS by the codex, says what a person needs to see, with what is known; facets after the third are asked
at the same time. Where an earlier view still fits the object, it is only drawn again."""
parents = []
state_name = "gathering"
persona = ref("personas.babs")
station = 0


def _process_synthesis_(self, event, payload):
    if event == "enter":
        if self.archetype() is None:
            return self.fail("not_understood", "orchestrator.dynamics has no row " + self.workflow.archetype, False)
        self.facts = self.views.facts(self.brief["receiver"])
        self._p_changed = True
        if self.takes_up(self.views.record_of(self.brief["receiver"])):
            return self.transition_to("assembling")
        return {"do": "retrieve", "queries": self.covenant.retrievals(self)}
    if event == "retrieved":
        self.found = payload["found"]
        self._p_changed = True
        asks = [self.asking(self.asked_at(station, self.covenant.gather_question(self)), self.covenant.answer_tokens) for station in self.askers()]
        return {"do": "infer_all", "asks": asks}
    partials = []
    for station, answer in zip(self.askers(), payload["answers"]):
        name = self.facet_at(station)
        if not answer["ok"]:
            return self.fail(answer["reason"], name + " did not answer: " + answer["message"], False)
        partials.append({"facet": name, "answer": answer["text"]})
    self.partials = partials
    self.drawn_by = [self.thinker.persona]
    self._p_changed = True
    return self.advance()


def takes_up(self, record):
    # What was thought of this object once still fits it: only the drawing is done again.
    if record is None or self.brief["arguments"] == [True] or record.workflow != self.workflows.name_of(self.workflow):
        return False
    if self.views.flaw_of_structure(self.facts, record.structure) or self.views.flaw_of_layout(record.structure, record.layout):
        return False
    self.structure = record.structure
    self.layout = record.layout
    self.drawn_by = record.drawn_by
    self.is_redrawn = True
    self._p_changed = True
    return True


def askers(self):
    return [0] + list(range(3, len(self.archetype()["facets"])))
