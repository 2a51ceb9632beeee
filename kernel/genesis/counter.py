"""The prototype of a number that many count on at once: additions merge and never conflict, and so they answer nothing."""
parents = [ref("traits")]


def increment(self):
    primitive("add", self, "value", 1)
    self._p_changed = True


def decrement(self):
    primitive("add", self, "value", -1)
    self._p_changed = True


def add(self, amount):
    primitive("add", self, "value", amount)
    self._p_changed = True


def value(self):
    return primitive("entry", self, "value", 0)
