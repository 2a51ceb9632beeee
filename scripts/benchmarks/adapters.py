"""What adapters cost: decoding with one, changing it, a thousand of them, eight at once beside llama.cpp. Sides work by turns.

BATOS_PEFT_PYTHON may name an interpreter with torch, transformers and peft; then PEFT changes its adapter beside ours.
"""

import json
import os
import subprocess
import sys
from statistics import median

from inference import REQUIREMENTS, THREADS
from programs import CACHE, PROGRAMS, RIVAL, rival
from rows import row
from works import Works

NAMES = ["adapters"]
# A loss of 3 %, throughput flat within 5 %, a change within a millisecond, twice what serialises.
KEPT = 0.97
FLAT = 0.95
CHANGE_MS = 1.0
TOGETHER = 2.0
# Of each model, the adapters whose loss is bounded, and those that are only shown: at rank 64 on every product an adapter has over
# 4 % of the bytes of a model in eight bits, even in eight bits itself, and decoding is reading.
LOSSES = {
    "1b-q8_0": (["1b-r8-qv", "1b-r16-qv", "1b-r64-qv", "1b-r8-all", "1b-r16-all"], ["1b-r64-all"]),
    "1b-q4_k": (["1b-r8-qv", "1b-r16-qv", "1b-r64-qv"], ["1b-r8-all"]),
}
SERVED = "135m-q8_0"
SERVED_ADAPTER = "135m-r8-qv"
FEW, MANY = 5, 1000


def measure(wanted, quick):
    if "adapters" not in wanted:
        return []
    folder = CACHE / "models"
    adapters = {name for bounded, shown in LOSSES.values() for name in bounded + shown} | {SERVED_ADAPTER}
    for program, names in (("models.py", [*LOSSES, SERVED]), ("adapters.py", sorted(adapters))):
        made = subprocess.run(rival(program, folder, *names, names=REQUIREMENTS), stdout=sys.stderr, check=False)
        if made.returncode != 0:
            sys.exit("the models or adapters of the benchmark could not be written")
    rows = []
    for model, (bounded, shown) in LOSSES.items():
        rows += losses(folder, model, bounded, shown, 3 if quick else 5)
    return rows + served(folder, 3 if quick else 5)


def ours(folder, model, names, *more):
    command = [str(PROGRAMS / "inference-worker"), "--measure", "--turns", "--threads", str(THREADS)]
    command += ["--model", str(folder / f"{model}.gguf"), *more]
    return Works(command + [word for name in names for word in ("--adapter", str(folder / name))])


def theirs(folder, model, names):
    return Works(rival("adapted.py", folder / f"{model}.gguf", THREADS, *[folder / f"{name}.gguf" for name in names], names=REQUIREMENTS))


def losses(folder, model, bounded, shown, rounds):
    """Tokens per second with an adapter, as a part of those without: ours by turns of one token, llama.cpp's by turns of one round."""
    names = bounded + shown
    rows = []
    with ours(folder, model, names) as us, theirs(folder, model, names) as them:
        for number, name in enumerate(names, 1):
            kept, lost = [], []
            for _ in range(rounds + 1):
                kept.append(us.do("kept", number)["kept"])
                before, after = (them.do("round", at)["decode"] for at in (0, number))
                lost.append(after / before)
            label = f"{model.replace('-', '_')}_with_{name.split('-', 1)[1].replace('-', '_')}"
            target = KEPT if name in bounded else None
            rows.append(row(label, median(kept[1:]), "of decode", median(lost[1:]), "llama.cpp with it, of its own", target))
    return rows


def served(folder, rounds):
    rows = []
    with ours(folder, SERVED, [SERVED_ADAPTER], "--adapters-hot-mib", "32", "--adapters-warm-mib", "4096") as us:
        change = us.do("change")
        rival_ms, about = peft(folder)
        rows.append(row("adapter_change_warm", change["change_us"] / 1000, "ms", rival_ms, about, CHANGE_MS))
        taken = [[us.do("serve", count, 96, 8)["tokens_per_second"] for count in (FEW, MANY)] for _ in range(rounds + 1)][1:]
        few, many = (median(figures) for figures in zip(*taken, strict=True))
        note = f"8 requests at a time, each with one of {MANY}, most of them warm; a part of the figure with {FEW}"
        rows.append(row("throughput_1000_adapters", median(b / a for a, b in taken), "of 5", None, note, FLAT))
        rows.append(row("throughput_5_adapters", few, "tokens/s", None, f"with {MANY}: {many:.1f}", None))
        with theirs(folder, SERVED, [SERVED_ADAPTER] * 8) as them:
            both = [(us.do("serve", 8, 8, 8), them.do("serve", 8)) for _ in range(rounds + 1)][1:]
        mine, other = (median(side["tokens_per_second"] for side in sides) for sides in zip(*both, strict=True))
        rows.append(row("eight_adapters_at_once", mine, "tokens/s", other, "llama.cpp, one after the other", TOGETHER * other))
    return rows


def peft(folder):
    """Milliseconds that PEFT takes to change its adapter, where there is one."""
    python = os.environ.get("BATOS_PEFT_PYTHON")
    if python is None:
        return None, ""
    program = RIVAL / "adapter_change.py"
    done = subprocess.run([python, "-B", str(program), str(folder / SERVED_ADAPTER)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        sys.exit(f"{python} cannot run {program}: it needs torch, transformers and peft")
    found = json.loads(done.stdout.splitlines()[-1])
    return found["set_adapter_ms"], f"PEFT set_adapter; its load_adapter {found['load_adapter_ms']:.0f} ms"
