"""The benchmarks behind ./scripts/bench: real programs in a temporary home, medians of several runs.

Standard library only. Each row: name, value, unit, rival (what the figure is compared with, in the same unit and the same run),
ratio (value / rival), target (the bound for the value, computed from the rival where the target is relative), met.
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "target/release"
NAMES = ["durable_send", "read_only_send", "start", "first_act", "inference"]


class Home:
    """A system in a temporary home."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="batos-bench-", dir=os.environ.get("BATOS_BENCH_DIR"))
        self.environment = dict(os.environ, BATOS_SEED=str(ROOT / "inference-worker/seed/model"))

    def batos(self, *arguments):
        command = [str(PROGRAMS / "batos"), "--home", self.path, "--json", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if not done.stdout.strip():
            sys.exit(f"{' '.join(command)} printed nothing: {done.stderr}")
        document = json.loads(done.stdout)
        if not document.get("ok"):
            sys.exit(f"{' '.join(command)}: {document}")
        return document

    def attach(self):
        return Connection(os.path.join(self.path, "run/kernel.sock"))

    def remove(self):
        subprocess.run([str(PROGRAMS / "batos"), "--home", self.path, "--json", "down"], capture_output=True, check=False)
        shutil.rmtree(self.path, ignore_errors=True)


class Connection:
    """A JSON-RPC conversation."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def call(self, method, **parameters):
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        reply = json.loads(self.file.readline())
        if "error" in reply:
            sys.exit(f"{method} {parameters}: {reply['error']['message']}")
        return reply["result"]


def timed(work, rounds):
    """Median milliseconds of a call."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def fdatasync_ms(folder, rounds):
    """What the disk asks for making 400 appended bytes durable: the floor of a commit."""
    path = os.path.join(folder, "fdatasync")
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    block = b"x" * 400

    def append():
        os.write(file, block)
        os.fdatasync(file)

    median = timed(append, rounds)
    os.close(file)
    os.unlink(path)
    return median


def row(name, value, unit, rival, rival_is, target):
    ratio = value / rival if rival else None
    return {
        "name": name,
        "value": round(value, 4),
        "unit": unit,
        "rival": None if rival is None else round(rival, 4),
        "rival_is": rival_is,
        "ratio": None if ratio is None else round(ratio, 2),
        "target": round(target, 4),
        "met": value <= target if unit in ("ms", "s") else value >= target,
    }


def counter(home):
    """An object with a writing and a reading method, put there by hand."""
    home.batos("new", "traits", "count=0", "--name", "bench")
    for source in (
        "def count_up(self, amount):\n    self.count = self.count + amount\n    self._p_changed = True\n    return self.count\n",
        "def look(self):\n    return self.count\n",
    ):
        with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
            file.write(source)
            file.flush()
            home.batos("define", "bench", file.name)
    return home.attach()


def bench_sends(quick, wanted):
    rows = []
    home = Home()
    try:
        home.batos("up")
        connection = counter(home)
        rounds = 200 if quick else 1000

        def write():
            connection.call("send", receiver="bench", selector="count_up", arguments=[1])

        def look():
            connection.call("send", receiver="bench", selector="look", arguments=[])

        timed(write, 50)
        timed(look, 50)
        if "durable_send" in wanted:
            # Floor and figure by turns, so that a disk that changes its mood changes both.
            floors, figures = [], []
            for _ in range(5):
                floors.append(fdatasync_ms(home.path, rounds // 5))
                figures.append(timed(write, rounds // 5))
            floor = statistics.median(floors)
            figure = statistics.median(figures)
            rows.append(row("durable_send_p50", figure, "ms", floor, "fdatasync of 400 appended bytes", 4 * floor + 0.5))
        if "read_only_send" in wanted:
            floor = echo_ms(home.path, rounds)
            rows.append(row("read_only_send_p50", timed(look, rounds), "ms", floor, "an echo over a local socket", 0.3))
    finally:
        home.remove()
    return rows


def echo_ms(folder, rounds):
    """One line there and back over a local socket between two processes: the floor of any request."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        file = theirs.makefile("rb")
        for line in file:
            theirs.sendall(line)
        os._exit(0)
    theirs.close()
    file = ours.makefile("rb")

    def echo():
        ours.sendall(b"x" * 100 + b"\n")
        file.readline()

    median = timed(echo, rounds)
    file.close()
    ours.close()
    os.waitpid(child, 0)
    return median


def bench_start(quick):
    home = Home()
    try:
        home.batos("up")
        counter(home)
        python = timed(lambda: subprocess.run(["/usr/bin/python3", "-c", "pass"], check=True), 3)
        times = []
        for _ in range(3 if quick else 7):
            home.batos("down")
            begun = time.perf_counter()
            home.batos("up")
            home.batos("send", "bench", "look")
            times.append(time.perf_counter() - begun)
        return [row("up_to_first_answer", statistics.median(times), "s", python / 1000, "starting a Python interpreter", 1.5)]
    finally:
        home.remove()


def bench_first_act(quick):
    times = []
    for _ in range(1 if quick else 5):
        home = Home()
        try:
            home.batos("up")
            begun = time.perf_counter()
            document = home.batos("send", "genesis", "display_yourself")
            times.append(time.perf_counter() - begun)
            if document["thought"] is None:
                sys.exit("display_yourself was understood without a thought: this measured nothing")
            again = home.batos("send", "genesis", "display_yourself")
            if again["thought"] is not None:
                sys.exit("the second display_yourself thought again")
        finally:
            home.remove()
    return [row("display_yourself_on_an_empty_image", statistics.median(times), "s", None, "", 10.0)]


def bench_inference():
    command = [str(PROGRAMS / "inference-worker"), "--measure", "--model", str(ROOT / "inference-worker/seed/model")]
    figures = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ, RUST_LOG="off")).stdout)
    return [
        row("seed_decode", figures["decode_tokens_per_second"], "tokens/s", None, "", 100.0),
        row("seed_prefill", figures["prefill_tokens_per_second"], "tokens/s", None, "", 500.0),
    ]


def markdown(rows):
    lines = [
        "# Performance",
        "",
        "Made by `./scripts/bench --markdown > docs/performance.md`; not edited by hand. Medians on a shared two-core machine: the",
        "ratios to rivals measured in the same run say more than the single figures.",
        "",
        "| figure | value | rival or floor, in the same run | ratio | target | met |",
        "|---|---|---|---|---|---|",
    ]
    for line in rows:
        rival = "-" if line["rival"] is None else f"{line['rival']} ({line['rival_is']})"
        ratio = "-" if line["ratio"] is None else line["ratio"]
        met = "yes" if line["met"] else "**no**"
        lines.append(f"| {line['name']} | {line['value']} {line['unit']} | {rival} | {ratio} | {line['target']} | {met} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"among {', '.join(NAMES)}; default all")
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--markdown", action="store_true", help="the table of docs/performance.md")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    wanted = arguments.names or NAMES
    rows = []
    if "durable_send" in wanted or "read_only_send" in wanted:
        rows += bench_sends(arguments.quick, wanted)
    if "start" in wanted:
        rows += bench_start(arguments.quick)
    if "first_act" in wanted:
        rows += bench_first_act(arguments.quick)
    if "inference" in wanted:
        rows += bench_inference()
    if arguments.json:
        print(json.dumps({"rows": rows}))
        return
    if arguments.markdown:
        print(markdown(rows))
        return
    print(f"{'name':36} {'value':>10} {'unit':9} {'rival':>9} {'ratio':>7} {'target':>9}  met  rival is")
    for line in rows:
        rival = "-" if line["rival"] is None else line["rival"]
        ratio = "-" if line["ratio"] is None else line["ratio"]
        met = "yes" if line["met"] else "NO"
        print(f"{line['name']:36} {line['value']:>10} {line['unit']:9} {rival:>9} {ratio:>7} {line['target']:>9}  {met:3}  {line['rival_is']}")


main()
