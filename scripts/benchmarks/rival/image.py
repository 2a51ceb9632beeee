"""ZODB's FileStorage under the works of kernel/benches/image.rs: a work a line from standard input, one line of JSON each.

    image.py FOLDER

The works and the answers are described there. What differs: transactions come one at a time, since FileStorage makes each
durable by itself, and `reads` begins with turning every object into a ghost: it then costs one load each, the least it can.
"""

import json
import os
import random
import sys
import time

import BTrees.LOBTree
import transaction
import ZODB
import ZODB.FileStorage

from objects import Node, body

# As many as our image keeps decoded.
CACHED_OBJECTS = 100_000
MADE_AT_ONCE = 1_000


class Bench:
    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.path = os.path.join(folder, "zodb.fs")
        self.database = None
        self.connection = None
        # Every object, in a list, so that a transaction pays for no search.
        self.objects = None

    def work(self, name, *numbers):
        if name == "make":
            return numbers[0], self.make(*numbers)
        if name == "open":
            return 1, timed(self.open)
        if name == "close":
            return 1, timed(self.close)
        if name == "transactions":
            return numbers[0], self.transactions(*numbers)
        if name == "reads":
            return numbers[0], self.reads(*numbers)
        if name == "touch":
            return self.touch()
        sys.exit(f"there is no work {name}")

    def make(self, objects):
        begun = time.perf_counter()
        self.connect()
        tree = self.connection.root()["objects"] = BTrees.LOBTree.LOBTree()
        for number in range(1, objects + 1):
            tree[number] = Node(number)
            if number % MADE_AT_ONCE == 0:
                transaction.commit()
                self.connection.cacheGC()
        transaction.commit()
        self.close()
        return time.perf_counter() - begun

    def connect(self):
        self.database = ZODB.DB(ZODB.FileStorage.FileStorage(self.path), cache_size=CACHED_OBJECTS)
        self.connection = self.database.open()

    def open(self):
        self.connect()
        tree = self.connection.root()["objects"]
        _ = tree[tree.minKey()].body

    def close(self):
        self.connection.close()
        self.database.close()
        self.objects = None

    def every_object(self):
        if self.objects is None:
            self.objects = list(self.connection.root()["objects"].values())
        return self.objects

    def transactions(self, count, width, _waiting):
        objects = self.every_object()
        for node in objects:
            node._p_activate()
        numbers = [random.randrange(1 << 60) for _ in range(count * width)]
        chosen = [random.choice(objects) for _ in numbers]
        begun = time.perf_counter()
        for first in range(0, len(numbers), width):
            for index in range(first, first + width):
                chosen[index].body = body(numbers[index])
            transaction.commit()
        return time.perf_counter() - begun

    def reads(self, count):
        objects = random.sample(self.every_object(), count)
        self.connection.cacheMinimize()
        begun = time.perf_counter()
        for node in objects:
            _ = node.body
        return time.perf_counter() - begun

    def touch(self):
        begun = time.perf_counter()
        count = 0
        for node in self.connection.root()["objects"].values():
            _ = node.body
            count += 1
            if count % MADE_AT_ONCE == 0:
                self.connection.cacheGC()
        return count, time.perf_counter() - begun


def timed(work):
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def proc_number(path, name):
    with open(path) as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name))


def main():
    bench = Bench(sys.argv[1])
    for line in sys.stdin:
        name, *numbers = line.split()
        count, seconds = bench.work(name, *map(int, numbers))
        answer = {
            "work": name,
            "count": count,
            "seconds": seconds,
            "write_bytes": proc_number("/proc/self/io", "write_bytes:"),
            "anonymous_kib": proc_number("/proc/self/status", "RssAnon:"),
            "resident_kib": proc_number("/proc/self/status", "VmRSS:"),
        }
        print(json.dumps(answer), flush=True)


main()
