"""The ways to think, by name. The first of `order` that is for the mission's kind and asks nothing of the model that it cannot do is taken.

They can be cloned, changed, compared (`batos workflow compare`), adopted and dropped while the system runs."""
parents = [ref("traits")]
order = ["full", "short", "adapted", "view", "view_plain"]
full = ref("workflows.full")
adapted = ref("workflows.adapted")
short = ref("workflows.short")
view = ref("workflows.view")
view_plain = ref("workflows.view_plain")
orchestrator = ref("orchestrator")


def name_of(self, workflow):
    for name in primitive("slot_names", self):
        if primitive("get_slot", self, name, None) == workflow:
            return name
    return primitive("object_id", workflow)


def names(self):
    return [name for name in primitive("slot_names", self) if name != "parents" and self.is_workflow(primitive("get_slot", self, name, None))]


def is_workflow(self, value):
    return primitive("kind", value) == "ref" and primitive("get_slot", value, "transitions", None) is not None


def named(self, name):
    if name not in self.names():
        raise ValueError("there is no workflow " + str(name) + "; there are " + ", ".join(self.names()))
    return primitive("get_slot", self, name, None)


def listing(self):
    places = self.order + [name for name in self.names() if name not in self.order]
    return [
        {
            "name": name,
            "kind": self.named(name).kind,
            "place": self.order.index(name) + 1 if name in self.order else None,
            "needs": self.named(name).needs,
            "states": list(self.named(name).states),
        }
        for name in places
        if name in self.names()
    ]


def description(self, name):
    workflow = self.named(name)
    return {
        "name": name,
        "object": primitive("object_id", workflow),
        "comment": primitive("get_slot", workflow, "comment", None),
        "kind": workflow.kind,
        "needs": workflow.needs,
        "archetype": primitive("get_slot", workflow, "archetype", None),
        "states": [
            {"name": state, "object": primitive("object_id", workflow.states[state]), "persona": self.persona_in(workflow, workflow.states[state]), "next": workflow.transitions.get(state, [])}
            for state in workflow.states
        ],
    }


def persona_in(self, workflow, state):
    archetype = primitive("get_slot", workflow, "archetype", None)
    role = primitive("get_slot", state, "role", None)
    station = primitive("get_slot", state, "station", None)
    for row in self.orchestrator.dynamics:
        if row["archetype"] == archetype and role is not None:
            return row[role].upper()
        if row["archetype"] == archetype and station is not None and row["facets"]:
            return row["facets"][min(station, len(row["facets"]) - 1)].split(".")[0].upper()
    persona = primitive("get_slot", state, "persona", None)
    return "orchestrator" if persona is None else persona.persona


def clone_as(self, name, copy):
    if primitive("has_slot", self, copy):
        raise ValueError("workflows has a slot " + copy + " already; choose another name")
    made = primitive("clone", self.named(name))
    primitive("set_slot", self, copy, made)
    self._p_changed = True
    return made


def adopt(self, name):
    self.named(name)
    self.order = [name] + [other for other in self.order if other != name]
    self._p_changed = True
    return self.order


def drop(self, name):
    workflow = self.named(name)
    rivals = [other for other in self.names() if other != name and self.named(other).kind == workflow.kind]
    if not rivals:
        raise ValueError(name + " is the last workflow for a " + workflow.kind + "; make another first")
    ordered = [other for other in self.order if other in self.names() and self.named(other).kind == workflow.kind]
    if name in ordered and ordered[0] == name:
        raise ValueError(name + " is in use: it is the first for a " + workflow.kind + "; adopt another first, such as " + rivals[0])
    if name in ordered and not any(all(need in workflow.needs for need in self.named(other).needs) for other in ordered if other != name):
        raise ValueError(name + " is in use: no other of workflows.order does for a " + workflow.kind + " with what it needs")
    self.order = [other for other in self.order if other != name]
    primitive("remove_slot", self, name)
    self._p_changed = True
    return self.order
