"""The root of delegation: what every object can do."""
parents = []


def object_id(self):
    return primitive("object_id", self)


def slot_names(self):
    return primitive("slot_names", self)


def clone(self):
    return primitive("clone", self)


def deep_clone(self):
    return primitive("deep_clone", self)


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


def mirror(self, object=None):
    if object is None:
        return primitive("mirror", self)
    return primitive("mirror", object)


def resend(self, *arguments):
    return primitive("resend", self, list(arguments))


def savepoint(self):
    return primitive("savepoint")


def rollback_to(self, savepoint):
    primitive("rollback_to", savepoint)


def doom(self, reason):
    primitive("doom", reason)


def does_not_understand(self, selector, arguments):
    return {"mission": {"receiver": self, "selector": selector, "arguments": arguments}}
