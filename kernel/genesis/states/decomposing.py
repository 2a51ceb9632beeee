"""Will plan with BRICK; until the composite mind is there it passes the brief on."""
parents = []
state_name = "decomposing"
persona = ref("personas.brick")
transitions = ["delegating", "failed"]


def _process_synthesis_(self, event, payload):
    return self.transition_to("delegating")
