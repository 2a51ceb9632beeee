"""The root of delegation: what every object can do."""
parents = []


def object_id(self):
    return primitive("object_id", self)


def slot_names(self):
    return primitive("slot_names", self)


def clone(self):
    return primitive("clone", self)


def child(self):
    return primitive("child", self)


def get_slot(self, name):
    return primitive("get_slot", self, name, None)


def set_slot(self, name, value):
    primitive("set_slot", self, name, value)
    self._p_changed = True
    return value


def remove_slot(self, name):
    primitive("remove_slot", self, name)
    self._p_changed = True


def mirror(self):
    slots = {}
    for name, kind, holder in primitive("all_slots", self):
        slots[name] = {"kind": kind, "holder": holder}
    return {"object": self, "slots": slots, "chain": primitive("chain", self)}


def does_not_understand(self, selector, arguments):
    return {"mission": {"receiver": self, "selector": selector, "arguments": arguments}}
