"""The prototype of a queue: first in, first out. Pushes merge; of two that pop at once one is carried out again, so that no element
comes out twice."""
parents = [ref("traits")]


def push(self, value):
    primitive("append", self, value)
    self._p_changed = True


def pop(self):
    first = primitive("first", self)
    if first is None:
        raise IndexError("the queue is empty")
    del self[first[0]]
    self._p_changed = True
    return first[1]


def peek(self):
    first = primitive("first", self)
    if first is None:
        raise IndexError("the queue is empty")
    return first[1]


def size(self):
    return len(self)
