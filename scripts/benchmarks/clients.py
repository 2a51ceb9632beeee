"""Eight clients at once over a socket: the real steward, kernel and method-workers, against ZODB behind ZeroMQ and msgpack."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from statistics import median

from home import Home
from programs import bench_programs, rival
from quiet import quiet_rounds
from rows import row
from works import Stores

NAMES = ["durable_sends", "read_only_sends"]

CLIENTS = 8
# Requests of one client on their way, as a client library has them that does not wait for each reply.
IN_FLIGHT = 16
OBJECTS = 10_000
SETTLING_S = 0.7
# Name, selector, arguments, times the rival that are wanted, threads of the rival's server at which it does most of these.
KINDS = [
    ("durable_sends", "count_up", [1], 10, 4),
    ("read_only_sends", "look", [], 5, 2),
]


def measure(wanted, quick):
    rows = []
    with ExitStack() as stack:
        stores = Stores()
        stack.callback(stores.remove)
        # No message here is thought about: a model would only take memory.
        home = Home(model="/nonexistent")
        stack.callback(home.remove)
        ours = System(home)
        plain = stack.enter_context(Rival(1))
        works = stack.enter_context(stores.empty())
        for name, selector, arguments, times, threads in KINDS:
            if name in wanted:
                with Rival(threads) as best:
                    rows.append(bench_sends(works, ours, plain, best, (name, selector, arguments, times), quick))
    return rows


def bench_sends(works, ours, plain, best, kind, quick):
    name, selector, arguments, times = kind
    seconds = 0.4 if quick else 1.0
    sides = [lambda side=side: side.send(selector, arguments, seconds) for side in (ours, best, plain)]
    for side in sides:
        side()
    if name == "durable_sends":
        quiet = quiet_rounds(works, sides, *((7, 9) if quick else (25, 150)))
        taken, disk = quiet.sides, f"; {quiet.note}"
    else:
        rounds = [[side() for side in sides] for _ in range(5 if quick else 15)]
        taken, disk = list(zip(*rounds, strict=True)), ""
    value, bound, lone = (median(figures["answered"] / figures["seconds"] for figures in side) for side in taken)
    cost, cost_there, _ = (median(figures["client_processor_seconds"] / figures["seconds"] for figures in side) for side in taken)
    rival_is = f"ZODB behind ZeroMQ and msgpack, {best.threads} server threads ({lone:,.0f} with one)"
    note = (
        f"{CLIENTS} clients with {IN_FLIGHT} requests in flight each, {OBJECTS:,} objects; the load itself takes "
        f"{cost:.0%} of a core here, {cost_there:.0%} there{disk}"
    )
    return row(f"{name}_of_{CLIENTS}", value, "sends/s", bound, rival_is, times * bound, note)


class System:
    """Our side: a running home with objects that delegate to one that has the methods."""

    def __init__(self, home):
        self.home = home
        self.home.batos("up")
        self.home.make_counter()
        made = self._clients("make", "bench", OBJECTS)
        self.objects = (made["first"], made["last"])

    def send(self, selector, arguments, seconds):
        figures = self._clients("send", selector, CLIENTS, IN_FLIGHT, seconds, *self.objects, *arguments)
        # What the kernel puts off (its index) must not be written while the rival works.
        time.sleep(SETTLING_S)
        return figures

    def _clients(self, *arguments):
        return run([bench_programs()["clients"], self.home.socket(), *map(str, arguments)])


class Rival:
    """The other side: one server process with a FileStorage."""

    def __init__(self, threads):
        self.threads = threads
        self.folder = tempfile.mkdtemp(prefix="batos-bench-", dir=os.environ.get("BATOS_BENCH_DIR"))
        self.endpoint = f"ipc://{self.folder}/socket"
        command = rival("server.py", self.folder, self.endpoint, OBJECTS, threads)
        self.server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        if self.server.stdout.readline().strip() != "ready":
            sys.exit("the rival's server did not start")

    def send(self, selector, arguments, seconds):
        return run(rival("clients.py", self.endpoint, selector, CLIENTS, IN_FLIGHT, seconds, OBJECTS, *arguments))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.kill()
        self.server.wait()
        self.server.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed")
    return json.loads(done.stdout)
