"""Turns a mission brief into a cycle that thinks about it. `abilities` is a list where the model's own card is not to decide what it can do;
`assumed_abilities` are those of a model of which nothing is said."""
parents = [ref("pllm"), ref("traits")]
thoughts_at_once = 8
token_budget = 20000
seconds_budget = 600
corrections = 2
narrowing = True
least_confidence = None
least_agreement = 0.1
abilities = None
assumed_abilities = ["method", "plan", "answer", "review", "wish", "correct"]
is_conversing = True
cycle_prototype = ref("cycle")
states = ref("states")
workflows = ref("workflows")
personas = ref("personas")
views = ref("views")


def begin_thought(self, brief):
    cycle = primitive("child", self.cycle_prototype)
    cycle.brief = brief
    cycle.synthesis_state = self.states.idle
    cycle.parents = [self.states.idle, self.cycle_prototype]
    self._p_changed = True
    return cycle


def choose_workflow(self, kind, able):
    for name in self.workflows.order:
        workflow = primitive("get_slot", self.workflows, name, None)
        if workflow is not None and workflow.kind == kind and all(need in able for need in workflow.needs):
            return workflow
    return None


def named_workflow(self, name, kind, able):
    workflow = primitive("get_slot", self.workflows, name, None)
    if primitive("kind", workflow) != "ref" or primitive("get_slot", workflow, "kind", None) is None:
        return None, "there is no workflow " + name
    if workflow.kind != kind:
        return None, "the workflow " + name + " is for a " + workflow.kind + ", not for a " + kind
    lacking = [need for need in workflow.needs if need not in able]
    if lacking:
        return None, "the model cannot do what the workflow " + name + " needs: " + ", ".join(lacking)
    return workflow, None


def abilities_of(self, declared):
    if self.abilities is not None:
        return self.abilities
    if declared is not None:
        return declared
    return self.assumed_abilities
