"""Will ask the facets of a plan; until the composite mind is there it passes the brief on."""
parents = []
state_name = "delegating"
persona = ref("personas.brick")
transitions = ["synthesizing", "failed"]


def _process_synthesis_(self, event, payload):
    return self.transition_to("synthesizing")
