"""BRICK takes the mission apart: which archetype it is, which facets are to be asked what, what is to be looked up."""
parents = []
state_name = "decomposing"
persona = ref("personas.brick")


def _process_synthesis_(self, event, payload):
    if event == "enter":
        return self.asking_json(self.covenant.plan_question(self), self.covenant.plan_tokens, self.covenant.plan_schema(self))
    if not payload["ok"]:
        return self.fail(payload["reason"], "there is no plan: " + payload["message"], payload["reason"] == "schema")
    self.plan = payload["value"]
    self._p_changed = True
    return self.advance()
