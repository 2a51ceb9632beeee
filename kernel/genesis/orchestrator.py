"""Turns a mission brief into a cycle that thinks about it. `abilities` is a list where the model's own card is not to decide what it can do;
`assumed_abilities` are those of a model of which nothing is said."""
parents = [ref("pllm"), ref("traits")]
thoughts_at_once = 8
token_budget = 20000
seconds_budget = 600
corrections = 2
narrowing = True
abilities = None
assumed_abilities = ["method", "plan", "answer", "review"]
is_conversing = True
cycle_prototype = ref("cycle")
states = ref("states")
workflows = ref("workflows")
personas = ref("personas")


def begin_thought(self, brief):
    cycle = primitive("child", self.cycle_prototype)
    cycle.brief = brief
    cycle.synthesis_state = self.states.idle
    cycle.parents = [self.states.idle, self.cycle_prototype]
    self._p_changed = True
    return cycle


def choose_workflow(self, kind, declared):
    able = self.abilities
    if able is None:
        able = declared
    if able is None:
        able = self.assumed_abilities
    for name in self.workflows.order:
        workflow = primitive("get_slot", self.workflows, name, None)
        if workflow is not None and workflow.kind == kind and all(need in able for need in workflow.needs):
            return workflow
    return None
