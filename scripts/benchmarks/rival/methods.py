"""Nanoseconds of a method body and of a delegated read on persistent objects of an open ZODB connection, hot, loop included."""

import json
import statistics
import sys
import timeit

import transaction
import ZODB
import ZODB.MappingStorage

from objects import Child, Pair


def main():
    count, rounds = int(sys.argv[1]), int(sys.argv[2])
    root = ZODB.DB(ZODB.MappingStorage.MappingStorage()).open().root()
    root["pair"] = pair = Pair()
    root["child"] = child = Child(Child(pair))
    transaction.commit()
    pair.step()
    if child.far != 7:
        sys.exit("nothing was delegated")

    def nanoseconds(statement):
        times = timeit.repeat(statement, "pair, child = found", number=count, repeat=rounds, globals={"found": (pair, child)})
        return statistics.median(times) / count * 1e9

    print(json.dumps({"call_2_reads_2_writes_ns": nanoseconds("pair.step()"), "delegated_read_ns": nanoseconds("child.far")}))


main()
