"""Lets nothing pass that the guard refuses or that fails its trial."""
parents = []
state_name = "validating"
persona = ref("personas.alfred")
transitions = ["complete", "failed"]


def _process_synthesis_(self, event, payload):
    if event == "enter":
        return {"do": "guard", "source": self.artifact}
    if event == "guarded":
        if not payload["ok"]:
            first = payload["findings"][0]
            return self.fail("guard_refused", "the guard refused it: line " + str(first["line"]) + ": " + first["message"], True)
        return {"do": "trial", "source": self.artifact}
    if not payload["ok"]:
        return self.fail(payload["reason"], "its trial failed: " + payload["message"], True)
    return self.transition_to("complete")
