"""Takes the brief, learns what the model can do, and chooses the workflow."""
parents = []
state_name = "idle"


def _process_synthesis_(self, event, payload):
    if event == "enter" and self.abilities is None:
        return {"do": "abilities"}
    declared = None
    if event == "able":
        if not payload["ok"]:
            return self.fail(payload["reason"], payload["message"], False)
        declared = payload["abilities"]
    self.able = self.abilities_of(declared)
    workflow = self.choose_workflow(self.brief["kind"], self.able)
    if workflow is None:
        return self.fail("not_understood", "no workflow of workflows.order is for a " + self.brief["kind"] + " and for what the model can do", False)
    self.workflow = workflow
    self.covenant = workflow.covenant
    self._p_changed = True
    return self.advance()
