"""The rival's objects: as large as ours, with methods that do what ours do."""

import persistent


class Node(persistent.Persistent):
    """One attribute of 300 bytes."""

    def __init__(self, number):
        self.body = body(number)


class Counter(persistent.Persistent):
    """What the sends over a socket go to."""

    def __init__(self):
        self.count = 0
        self.body = "x" * 300

    def count_up(self, amount):
        self.count = self.count + amount
        return self.count

    def look(self):
        return self.count


class Pair(persistent.Persistent):
    """What the bench of our method-worker calls hot (method-worker/benches/hot.rs)."""

    def __init__(self):
        self.a = 0
        self.b = 0
        self.far = 7

    def step(self):
        self.a = self.a + 1
        self.b = self.b + self.a


class Child(persistent.Persistent):
    """Delegates what it lacks to its parent."""

    def __init__(self, parent):
        self.parent = parent

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.parent, name)


def body(number):
    return f"{number:0300}"
