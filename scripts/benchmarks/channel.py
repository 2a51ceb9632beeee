"""The upgrade channel: from a rename into the inbox to the claim, and what a steward costs that has nothing to do."""

import json
import os
import time
from pathlib import Path
from statistics import quantiles

from home import Home
from rows import row
from system import fdatasync_ms

NAMES = ["claim", "steward_memory", "steward_wakeups"]

IDLE_S = 20


def measure(wanted, quick):
    found = []
    home = Home(model="/nonexistent")
    try:
        home.batos("up")
        steward = home.batos("status")["steward"]["pid"]
        if "claim" in wanted:
            found.append(bench_claim(home, 100 if quick else 500))
        if wanted.intersection(["steward_memory", "steward_wakeups"]):
            found += bench_idle(steward, 5 if quick else IDLE_S)
    finally:
        home.remove()
    return found


def bench_claim(home, rounds):
    """An instruction that is refused, as its program does not exist: what is measured ends before."""
    inbox = Path(home.path, "channel/inbox")
    results = Path(home.path, "channel/results")
    spans, floors = [], []
    for number in range(rounds):
        name = f"bench-{number}"
        target = {"kind": "kernel", "path": "/nonexistent", "digest": "blake3:" + "0" * 64}
        document = {"schema": 2, "id": name, "created": int(time.time()), "target": target}
        aside = inbox / f".{name}"
        aside.write_text(json.dumps(document))
        begun = time.perf_counter()
        os.rename(aside, inbox / f"{name}.json")
        while (inbox / f"{name}.json").exists():
            pass
        spans.append((time.perf_counter() - begun) * 1000)
        while not (results / f"{name}.result.json").exists():
            time.sleep(0.001)
        if number % 20 == 0:
            floors.append(fdatasync_ms(home.path, 10))
    p99 = quantiles(spans, n=100)[98]
    note = f"rename into the inbox to claimed, p99 of {rounds}; p50 {sorted(spans)[rounds // 2]:.2f} ms"
    return row("claim", p99, "ms", sorted(floors)[len(floors) // 2], "fdatasync", 50, note)


def bench_idle(steward, seconds):
    time.sleep(6)
    before = switches(steward)
    time.sleep(seconds)
    woken = (switches(steward) - before) / seconds
    status = Path(f"/proc/{steward}/status").read_text()
    resident = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024
    return [
        row("steward_memory", resident, "MiB", None, "", 12, "resident, idle"),
        row("steward_wakeups", woken, "1/s", None, "", None, "voluntary switches of all threads, idle: a look at the inbox every 5 s and a question to each plank every 10 s, of some switches each"),
    ]


def switches(pid):
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches"):
                total += int(line.split()[1])
    return total
