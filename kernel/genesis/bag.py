"""The prototype of a bag: how often it holds what. Additions merge; `distinct` answers each different item once, in order."""
parents = [ref("traits")]


def add(self, item, times=1):
    if not isinstance(times, int) or times < 1:
        raise ValueError("an item is added once or more often")
    primitive("add", self, item, times)
    self._p_changed = True


def remove(self, item):
    times = self[item]
    if times > 1:
        self[item] = times - 1
    else:
        del self[item]
    self._p_changed = True


def count(self, item):
    return primitive("entry", self, item, 0)


def distinct(self):
    return primitive("keys", self)


def size(self):
    return sum(primitive("values", self))
