"""The prototype of a thought. Its synthesis_state is a state object, which is also its first parent:
`_process_synthesis_` is delegated to it, and changing the pointer changes what the message means."""
parents = [ref("orchestrator")]
brief = None
artifact = None
synthesis_state = ref("states.idle")
covenant = ref("covenant")


def transition_to(self, name):
    if name not in self.synthesis_state.transitions:
        raise ValueError("no transition from " + self.synthesis_state.state_name + " to " + name)
    state = primitive("get_slot", self.states, name, None)
    self.synthesis_state = state
    self.parents = [state, self.cycle_prototype]
    self._p_changed = True
    return {"do": "continue"}


def fail(self, reason, message, correct):
    self.failure = {"reason": reason, "message": message, "correct": correct}
    self._p_changed = True
    return self.transition_to("failed")
