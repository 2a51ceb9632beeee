"""A method body and a delegated read inside one worker, hot, against persistent objects of a ZODB connection.

Our figures come from the bench programs of the method-worker, when it has some: `cargo bench -p method-worker` prints one JSON
document on a line of its own, with the keys of FIGURES in nanoseconds. Each figure is a turn of a loop, loop included.
"""

import json
import subprocess
import sys

from programs import ROOT, rival
from rows import row

NAMES = ["method_body", "delegated_read"]

FIGURES = {
    "method_body": ("call_2_reads_2_writes_ns", 0.8, "persistent.Persistent in a ZODB connection"),
    "delegated_read": ("delegated_read_ns", 0.4, "__getattr__ along two persistent parents"),
}


def measure(wanted, quick):
    count, rounds = (100_000, 5) if quick else (1_000_000, 7)
    ours, absent = our_figures()
    done = subprocess.run(rival("methods.py", count, rounds), stdout=subprocess.PIPE, text=True, check=True)
    theirs = json.loads(done.stdout)
    rows = []
    for name in NAMES:
        if name not in wanted:
            continue
        key, target, rival_is = FIGURES[name]
        value = ours.get(key)
        note = absent or ("" if value is not None else f"skipped: the method-worker's bench printed no {key}")
        rows.append(row(name, None if value is None else value / 1000, "µs", theirs[key] / 1000, rival_is, target, note))
    return rows


def our_figures():
    """The figures, and why there are none."""
    if not any((ROOT / "method-worker/benches").glob("**/*.rs")):
        return {}, "skipped: the method-worker has no bench program yet"
    command = ["cargo", "bench", "--quiet", "--locked", "--package", "method-worker", "--bench=*"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit("the method-worker's bench failed")
    figures = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            figures |= json.loads(line)
    return figures, ""
