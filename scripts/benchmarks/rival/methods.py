"""Nanoseconds of a method body and of a delegated read on persistent objects of an open ZODB connection, hot."""

import json
import statistics
import sys
import timeit

import transaction
import ZODB
import ZODB.MappingStorage

from objects import Child, Pair


def nanoseconds(work, count, rounds):
    return statistics.median(timeit.repeat(work, number=count, repeat=rounds)) / count * 1e9


def main():
    count, rounds = int(sys.argv[1]), int(sys.argv[2])
    root = ZODB.DB(ZODB.MappingStorage.MappingStorage()).open().root()
    root["pair"] = pair = Pair()
    root["child"] = child = Child(pair)
    transaction.commit()
    pair.swap()
    child._p_activate()

    def read():
        return child.a

    def nothing():
        return None

    # What calling a Python function costs by itself is no part of a read.
    empty = nanoseconds(nothing, count, rounds)
    figures = {
        "method_body_ns": nanoseconds(pair.swap, count, rounds),
        "delegated_read_ns": nanoseconds(read, count, rounds) - empty,
    }
    print(json.dumps(figures))


main()
