"""The steward as clients see it: how long they wait while one kernel takes over from another, and after a kernel was killed."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median, quantiles

from home import Home
from programs import PROGRAMS
from rows import row
from system import fdatasync_ms

NAMES = ["handover", "kernel_kill"]

CLIENTS = 4
WANTED_PER_SECOND = 500
# Well above what is wanted, and far from all that the machine can do.
PACED_PER_SECOND = 2_000
# A kernel that was ready for two seconds is started again without a longer pause than the first.
BETWEEN_KILLS_S = 2.3
PATIENCE_S = 30
CONFIGURATION = "[handover]\nprobation_ms = 100\n"
COUNT_UP = "def count_up(self, amount):\n    self.count = self.count + amount\n    self._p_changed = True\n    return self.count\n"


def measure(wanted, quick):
    found = []
    home = Home(model="/nonexistent")
    try:
        Path(home.path, "steward.toml").write_text(CONFIGURATION)
        home.batos("up")
        home.batos("new", "traits", "count=0", "--name", "bench")
        home.define("bench", COUNT_UP)
        if "handover" in wanted:
            rounds = 15 if quick else 60
            found += bench_handover(home, "handover_pause", PACED_PER_SECOND, rounds)
            found += bench_handover(home, "handover_pause_flat_out", 0, rounds)
        if "kernel_kill" in wanted:
            found += bench_kill(home, 5 if quick else 15)
    finally:
        home.remove()
    return found


class Load:
    """Clients that ask all the time, each an object of its own; 0 a second: as fast as they are answered."""

    def __init__(self, home, name, per_second=0):
        self.clients = []
        for index in range(CLIENTS):
            home.batos("new", "bench", "count=0", "--name", f"{name}{index}")
            command = [sys.executable, "-B", str(Path(__file__).with_name("steady.py")), home.socket(), f"{name}{index}"]
            command += [os.urandom(16).hex(), str(per_second / CLIENTS)]
            self.clients.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        time.sleep(0.5)

    def end(self):
        """When each request of each client began and ended."""
        histories = []
        for client in self.clients:
            client.stdin.close()
        for client in self.clients:
            text = client.stdout.read()
            if client.wait() != 0:
                sys.exit("a request failed: this measured nothing")
            histories.append([tuple(map(float, line.split())) for line in text.splitlines()])
        return histories


def bench_handover(home, name, per_second, rounds):
    kernel, digest = copy_of_kernel(home)
    load = Load(home, name, per_second)
    floors, spans = [], []
    for number in range(rounds):
        floors.append(fdatasync_ms(home.path, 40))
        steps = handed_over(home, kernel, digest, f"{name}-{number}")
        # From the moment when the old kernel stops listening until the new one serves.
        spans.append((steps["yield"]["begun"] / 1000, steps["promote"]["ended"] / 1000))
    histories = load.end()
    floor = median(floors)
    pauses = [1000 * longest_wait(histories, begun, ended) for begun, ended in spans]
    note = f"{rounds} handovers under {rate(histories):.0f} requests/s of {CLIENTS} clients, 0 failed; F is the floor"
    if not per_second:
        note += "; the clients take what the processors have, so each step waits for its turn"
    if rate(histories) < WANTED_PER_SECOND:
        note += f"; less than the {WANTED_PER_SECOND} requests/s that are wanted"
    fdatasync = "fdatasync of 400 appended bytes (F)"
    percentile = quantiles(pauses, n=100, method="inclusive")[98]
    middle, most = (3 * floor + 5, 6 * floor + 40) if per_second else (None, None)
    return [
        row(f"{name}_p50", median(pauses), "ms", floor, fdatasync, middle, note),
        row(f"{name}_p99", percentile, "ms", floor, fdatasync, most),
    ]


def bench_kill(home, rounds):
    load = Load(home, "killed")
    kills = []
    for _ in range(rounds):
        time.sleep(BETWEEN_KILLS_S)
        kernel = home.batos("status")["kernel"]["pid"]
        kills.append(time.time())
        os.kill(kernel, signal.SIGKILL)
    time.sleep(BETWEEN_KILLS_S)
    histories = load.end()
    # The first client that is answered by the next kernel: its request was under way, or began later.
    answered = [min(next(ended for _, ended in history if ended > killed + 0.002) for history in histories) for killed in kills]
    times = [1000 * (back - killed) for back, killed in zip(answered, kills, strict=True)]
    note = f"{rounds} kills under {rate(histories):.0f} requests/s, 0 lost or doubled; longest {max(times):.0f} ms"
    return [row("kernel_killed_to_first_answer", median(times), "ms", None, "", 350, note)]


def copy_of_kernel(home):
    """The kernel without what only a debugger reads, and its digest."""
    path = os.path.join(home.path, "new-kernel")
    if shutil.which("strip"):
        subprocess.run(["strip", "-o", path, str(PROGRAMS / "kernel")], check=True)
    else:
        shutil.copy(PROGRAMS / "kernel", path)
    return path, hashlib.sha256(Path(path).read_bytes()).hexdigest()


def handed_over(home, kernel, digest, name):
    """The steps of one handover by their names."""
    instruction = {"schema": 1, "id": name, "target": {"kind": "kernel", "path": kernel, "sha256": digest}}
    inbox = Path(home.path, "channel/inbox")
    (inbox / f".{name}").write_text(json.dumps(instruction))
    (inbox / f".{name}").rename(inbox / f"{name}.json")
    result = Path(home.path, f"channel/results/{name}.result.json")
    begun = time.monotonic()
    while not result.exists():
        if time.monotonic() - begun > PATIENCE_S:
            sys.exit(f"no result of {name} after {PATIENCE_S} s")
        time.sleep(0.01)
    document = json.loads(result.read_text())
    if document["outcome"] != "applied":
        sys.exit(f"{name}: {document}")
    return {step["step"]: step for step in document["steps"]}


def longest_wait(histories, begun, ended):
    """Of the requests that were under way at some time in a span."""
    return max(till - since for history in histories for since, till in history if since <= ended and till >= begun)


def rate(histories):
    """Requests a second."""
    asked = sum(len(history) for history in histories)
    return asked / (max(history[-1][1] for history in histories) - min(history[0][0] for history in histories))
