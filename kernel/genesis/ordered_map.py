"""The prototype of a map that may grow large: entries of its own, kept in key order and never rewritten as a whole.

`map[key]`, `key in map`, `len(map)`, `del map[key]` and `for key in map` work in methods; keys are numbers, texts, bytes, times,
objects and lists of them. Ranges begin with `start` and end before `end`; they are read while they are iterated over.
"""
parents = [ref("traits")]


def put(self, key, value):
    self[key] = value
    self._p_changed = True


def get(self, key, default=None):
    return primitive("entry", self, key, default)


def remove(self, key):
    value = self[key]
    del self[key]
    self._p_changed = True
    return value


def keys(self, start=None, end=None, limit=None, descending=False):
    return primitive("keys", self, start, end, limit, descending)


def values(self, start=None, end=None, limit=None, descending=False):
    return primitive("values", self, start, end, limit, descending)


def items(self, start=None, end=None, limit=None, descending=False):
    return primitive("items", self, start, end, limit, descending)


def between(self, start, end, limit=None):
    return primitive("items", self, start, end, limit)


def prefix(self, text, limit=None):
    return primitive("prefix", self, text, limit)


def first(self):
    return primitive("first", self)


def last(self):
    return primitive("last", self)


def size(self):
    return len(self)
