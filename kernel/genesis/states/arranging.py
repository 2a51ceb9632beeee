"""The third facet of the archetype's row, ROBIN by the codex, lays the structure out: order, stress, names."""
parents = []
state_name = "arranging"
persona = ref("personas.robin")
station = 2


def _process_synthesis_(self, event, payload):
    if event == "enter":
        if not self.structure["groups"]:
            self.layout = self.views.plain_layout(self.structure, self.brief["name"])
            self._p_changed = True
            return self.advance()
        return self.asking_json(self.asked_at(self.synthesis_state.station, self.covenant.layout_question(self)), self.covenant.layout_tokens, self.covenant.layout_schema(self))
    if not payload["ok"]:
        return self.fail(payload["reason"], "there is no layout: " + payload["message"], payload["reason"] == "schema")
    flaw = self.views.flaw_of_layout(self.structure, payload["value"])
    if flaw is not None:
        return self.fail("schema", "the layout is not of the structure: " + flaw, True)
    self.layout = payload["value"]
    self.note_drawer()
    self._p_changed = True
    return self.advance()
