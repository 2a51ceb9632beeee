"""The second facet of the archetype's row, BRICK by the codex, says which slots are shown, in which groups and as what."""
parents = []
state_name = "structuring"
persona = ref("personas.brick")
station = 1


def _process_synthesis_(self, event, payload):
    if event == "enter":
        if not self.facts:
            self.structure = {"groups": []}
            self._p_changed = True
            return self.advance()
        return self.asking_json(self.asked_at(self.synthesis_state.station, self.covenant.structure_question(self)), self.covenant.structure_tokens, self.covenant.structure_schema(self))
    if not payload["ok"]:
        return self.fail(payload["reason"], "there is no structure: " + payload["message"], payload["reason"] == "schema")
    flaw = self.views.flaw_of_structure(self.facts, payload["value"])
    if flaw is not None:
        return self.fail("schema", "the structure is none of this object: " + flaw, True)
    self.structure = payload["value"]
    self.note_drawer()
    self._p_changed = True
    return self.advance()
