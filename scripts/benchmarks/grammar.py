"""What it costs to hold the seed model to the grammar of a method: masks, tokens per second beside the same without, methods per second."""

from statistics import median

from programs import PROGRAMS, ROOT
from rows import row
from works import Works

NAMES = ["inference"]
THREADS = 2
MASK_US = 50.0
# What may be lost of the tokens per second.
LOSS = 0.02


def measure(wanted, quick):
    if "inference" not in wanted:
        return []
    command = [str(PROGRAMS / "inference-worker"), "--measure", "--grammars", "--turns", "--threads", str(THREADS)]
    with Works([*command, "--model", str(ROOT / "inference-worker/seed/model")]) as works:
        taken = [works.do("round") for _ in range(3 if quick else 15)]
    of = {key: median(figures[key] for figures in taken) for key in taken[0]}
    without = "the same texts without a grammar"
    step, top_p, whole = "tokens_per_second", "top_p_tokens_per_second", "methods_per_second"
    return [
        row("grammar_mask_p50", of["mask_p50_us"], "µs", None, "", MASK_US),
        row("grammar_mask_p99", of["mask_p99_us"], "µs", None, "", None),
        row("grammar_compile", of["compile_p50_us"] / 1000, "ms", None, "", None),
        row("grammar_decode", of[f"grammar_{step}"], "tokens/s", of[f"free_{step}"], without, (1 - LOSS) * of[f"free_{step}"]),
        row("grammar_decode_top_p", of[f"grammar_{top_p}"], "tokens/s", of[f"free_{top_p}"], without, (1 - LOSS) * of[f"free_{top_p}"]),
        row("grammar_methods", of[f"grammar_{whole}"], "methods/s", of[f"free_{whole}"], f"{without}; forced tokens in one pass", None),
    ]
