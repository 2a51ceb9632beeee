"""Takes the brief, learns what the model can do, and chooses the workflow."""
parents = []
state_name = "idle"


def _process_synthesis_(self, event, payload):
    declared = None
    if self.brief["escalated"]:
        # Of the model of a server nothing is known.
        self.able = self.assumed_abilities
    else:
        if event == "enter" and self.abilities is None and not self.needs_nothing():
            return {"do": "abilities"}
        if event == "able":
            # Without a model there may still be a way that needs none.
            declared = payload["abilities"] if payload["ok"] else []
        self.able = self.abilities_of(declared)
    named = self.brief["workflow"]
    if named is None:
        workflow = self.choose_workflow(self.brief["kind"], self.able)
        flaw = "no workflow of workflows.order is for a " + self.brief["kind"] + " and for what the model can do"
    else:
        workflow, flaw = self.named_workflow(named, self.brief["kind"], self.able)
    if workflow is None:
        if event == "able" and not payload["ok"]:
            return self.fail(payload["reason"], payload["message"], False)
        return self.fail("not_understood", flaw, False)
    self.workflow = workflow
    self.covenant = workflow.covenant
    self._p_changed = True
    return self.advance()


def needs_nothing(self):
    workflow = primitive("get_slot", self.workflows, str(self.brief["workflow"]), None)
    return primitive("kind", workflow) == "ref" and primitive("get_slot", workflow, "needs", None) == []
