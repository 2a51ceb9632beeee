"""Turns a mission brief into a cycle that thinks about it. `abilities` is a list where the model's own card is not to decide what it can do;
`assumed_abilities` are those of a model of which nothing is said."""
parents = [ref("pllm"), ref("traits")]
thoughts_at_once = 8
token_budget = 40000
seconds_budget = 600
corrections = 6
narrowing = True
least_confidence = None
least_votes = 1
least_agreement = 0.0
abilities = None
assumed_abilities = ["method", "plan", "answer", "review", "wish", "correct"]
is_conversing = True
escalates = True
cycle_prototype = ref("cycle")
states = ref("states")
workflows = ref("workflows")
personas = ref("personas")
views = ref("views")
memory_manager = ref("memory_manager")


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
        if workflow is not None and workflow.kind == kind and self.lacking(workflow, able) == []:
            return workflow
    return None


def lacking(self, workflow, able):
    # What the model cannot do, or the mission has not, of what a workflow needs.
    found = [need for need in workflow.needs if need not in able]
    if primitive("get_slot", workflow, "is_of_wishes", False) and not self.is_wished():
        found.append("a wish with words and an example")
    return found


def named_workflow(self, name, kind, able):
    workflow = primitive("get_slot", self.workflows, name, None)
    if primitive("kind", workflow) != "ref" or primitive("get_slot", workflow, "kind", None) is None:
        return None, "there is no workflow " + name
    if workflow.kind != kind:
        return None, "the workflow " + name + " is for a " + workflow.kind + ", not for a " + kind
    lacking = self.lacking(workflow, able)
    if lacking:
        return None, "the model cannot do what the workflow " + name + " needs: " + ", ".join(lacking)
    return workflow, None


def abilities_of(self, declared):
    if self.abilities is not None:
        return self.abilities
    if declared is None:
        declared = self.assumed_abilities
    return declared + ["adapter " + name for name in self.adapter_names()]


def adapter_names(self):
    adapters = primitive("get_slot", self.memory_manager, "adapters", None)
    if adapters is None:
        return []
    return [name for name in primitive("slot_names", adapters) if name not in ("parents", "comment")]
