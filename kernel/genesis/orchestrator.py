"""Turns a mission brief into a cycle that thinks about it."""
parents = [ref("pllm"), ref("traits")]
thoughts_at_once = 8
token_budget = 20000
seconds_budget = 600
corrections = 2
narrowing = True
cycle_prototype = ref("cycle")
states = ref("states")


def begin_thought(self, brief):
    cycle = primitive("child", self.cycle_prototype)
    cycle.brief = brief
    cycle.synthesis_state = self.states.idle
    cycle.parents = [self.states.idle, self.cycle_prototype]
    self._p_changed = True
    return cycle
