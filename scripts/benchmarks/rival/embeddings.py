"""sentence-transformers on a CPU: `embeddings.py MODEL FILE BATCH THREADS`; a line of input is a round, answered by a line of JSON.

A round is what `inference-worker embed --turns` does: the lines of the file in batches, one after the other. One thread is tried
beside the number that is allowed, for either may be the faster one on a machine where others work.
"""

import json
import sys
import time

import torch
from sentence_transformers import SentenceTransformer


def main():
    path, file, batch, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    model = SentenceTransformer(path, device="cpu")
    with open(file, encoding="utf-8") as lines:
        texts = lines.read().splitlines()
    for _ in sys.stdin:
        figures = [once(model, texts, batch, count) for count in {1, threads}]
        print(json.dumps({"texts_per_second": max(figures)}), flush=True)


def once(model, texts, batch, threads):
    torch.set_num_threads(threads)
    begun = time.perf_counter()
    for first in range(0, len(texts), batch):
        model.encode(texts[first : first + batch], batch_size=batch, show_progress_bar=False)
    return len(texts) / (time.perf_counter() - begun)


main()
