"""Tokens per second beside llama.cpp, on the same weights in the same GGUF files, two threads each, by turns."""

import os
import subprocess
import sys
import time
from statistics import median

from programs import CACHE, PROGRAMS, ROOT, rival
from rows import row
from works import Works

NAMES = ["inference"]
REQUIREMENTS = "inference.txt"
THREADS = 2
# Of each: what its figures must reach, as a part of the rival's: decode, prefill.
MODELS = {
    "seed-q8_0": (1.0, 0.8),
    "135m-q8_0": (0.7, None),
    "1b-q4_k": (0.95, 0.7),
    "1b-q8_0": (0.95, 0.7),
}
FIRST_TOKEN_MS = 150.0


def measure(wanted, quick):
    if "inference" not in wanted:
        return []
    rows = [first_token(3 if quick else 7)]
    folder = CACHE / "models"
    made = subprocess.run(rival("models.py", folder, *MODELS, names=REQUIREMENTS), stdout=sys.stderr, check=False)
    if made.returncode != 0:
        sys.exit("the models of the benchmark could not be written")
    for name, targets in MODELS.items():
        rows += by_turns(name, folder / f"{name}.gguf", targets, 3 if quick else 5)
    return rows


def by_turns(name, model, targets, rounds):
    ours = [str(PROGRAMS / "inference-worker"), "--measure", "--turns", "--threads", str(THREADS), "--model", str(model)]
    theirs = rival("inference.py", model, THREADS, names=REQUIREMENTS)
    with Works(ours) as us, Works(theirs) as them:
        # The first round of either side is warming up.
        taken = [(us.do("round"), them.do("round")) for _ in range(rounds + 1)][1:]
    rows = []
    for kind, target in zip(("decode", "prefill"), targets, strict=True):
        figure = median(ours[f"{kind}_tokens_per_second"] for ours, _ in taken)
        ways = taken[0][1].keys()
        best, way = max((median(theirs[way][kind] for _, theirs in taken), way) for way in ways)
        bound = None if target is None else target * best
        label = f"{name.replace('-', '_')}_{kind}"
        rows.append(row(label, figure, "tokens/s", best, f"llama.cpp, {way}", bound))
    return rows


def first_token(rounds):
    """From the start of the program to the first text of the seed model."""
    prompt = "<|covenant|>state lives in slots; a change ends with self._p_changed = True\n<|receiver|>#12\n"
    prompt += "<|slots|>lantern:bool\n<|parents|>traits\n<|message|>toggle_lantern()\n<|method|>"
    command = [str(PROGRAMS / "inference-worker"), "generate", "--model", str(ROOT / "inference-worker/seed/model")]
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        with subprocess.Popen(
            [*command, "--prompt", prompt],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(os.environ, RUST_LOG="off"),
        ) as process:
            first = os.read(process.stdout.fileno(), 4)
            times.append((time.perf_counter() - begun) * 1000)
            text = first + process.stdout.read()
        if not text.startswith(b"def toggle_lantern(self)"):
            sys.exit(f"the seed model wrote {text!r}: this measured nothing")
    return row("seed_first_token", median(times), "ms", None, "", FIRST_TOKEN_MS)
