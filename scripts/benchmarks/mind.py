"""The machine of thought without a model: a scripted one answers at once (tests/benches/mind.rs)."""

import json
import os
import subprocess
import sys

from programs import bench_programs
from rows import row

NAMES = ["thought_overhead", "guard", "trial", "trial_with_examples", "thoughts_at_once"]


def measure(wanted, quick):
    done = subprocess.run([bench_programs()["mind"], "40" if quick else "200"], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit("the bench of the mind failed")
    told = json.loads(done.stdout)
    found = [
        row("thought_overhead", told["cycle_p50_ms"], "ms", None, "", 25,
            f"a whole cycle each 150 ms, 7 requests to a model that answers at once, p50 of {told['thoughts']}; p99 {told['cycle_p99_ms']:.1f} ms"),
        row("guard", told["guard_p50_ms"], "ms", None, "", 1, "a method of 50 lines, p50 of 1,000"),
        row("trial", told["trial_p99_ms"], "ms", None, "", 10, "p99, in whole milliseconds, as the stream of consciousness tells it"),
        row("trial_with_examples", told["trial_examples_p99_ms"], "ms", None, "", 10, "p99, with the three examples of a wish"),
        row("thoughts_at_once", told["busy_p99_ms"], "ms", told["idle_p99_ms"], "the same sends when nothing else goes on", 2 * told["idle_p99_ms"],
            f"p99 of {told['busy_sends']} sends of a known method while {told['at_once']} thoughts go on; the slowest thought {told['slowest_thought_ms']:.0f} ms, "
            f"{os.cpu_count()} processors"),
    ]
    return [line for line in found if line["name"] in wanted]
