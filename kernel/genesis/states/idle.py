"""Takes the brief and begins the thought. A brief that needs no plan goes straight to synthesis."""
parents = []
state_name = "idle"
transitions = ["decomposing", "synthesizing", "failed"]


def _process_synthesis_(self, event, payload):
    return self.transition_to("synthesizing")
