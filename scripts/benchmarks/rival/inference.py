"""llama.cpp on a GGUF file: `inference.py MODEL THREADS`; a line of input is a round, answered by a line of JSON.

A round is what `inference-worker --measure` does: a prompt of 256 tokens in one batch, then 32 tokens one by one, their logits
fetched; with and without flash attention, for either may be the faster one.
"""

import ctypes
import json
import statistics
import sys
import time

from llama_cpp import llama_cpp as llama

PROMPT_TOKENS = 256
TEXT_TOKENS = 32
ROUND_S = 0.2
WAYS = {"plain attention": 0, "flash attention": 1}


@llama.llama_log_callback
def quiet(_level, _text, _data):
    pass


def main():
    path, threads = sys.argv[1], int(sys.argv[2])
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
    if not model:
        sys.exit(f"llama.cpp cannot load {path}")
    contexts = {way: context(model, threads, flag) for way, flag in WAYS.items()}
    vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    for _ in sys.stdin:
        print(json.dumps({way: run(found, vocabulary) for way, found in contexts.items()}), flush=True)


def context(model, threads, flash_attention):
    parameters = llama.llama_context_default_params()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = 512
    parameters.n_threads = parameters.n_threads_batch = threads
    parameters.flash_attn_type = flash_attention
    found = llama.llama_init_from_model(model, parameters)
    if not found:
        sys.exit("llama.cpp cannot make a context")
    return found


def run(found, vocabulary):
    """Medians of a round: a small model is run again and again until its time is over."""
    begun = time.perf_counter()
    figures = [once(found, vocabulary)]
    while time.perf_counter() - begun < ROUND_S:
        figures.append(once(found, vocabulary))
    return {kind: statistics.median(figure[kind] for figure in figures) for kind in ("prefill", "decode")}


def once(found, vocabulary):
    llama.llama_memory_clear(llama.llama_get_memory(found), True)
    tokens = [position * 7 % vocabulary for position in range(PROMPT_TOKENS + TEXT_TOKENS)]
    begun = time.perf_counter()
    decode(found, tokens[:PROMPT_TOKENS])
    prefill = PROMPT_TOKENS / (time.perf_counter() - begun)
    begun = time.perf_counter()
    for token in tokens[PROMPT_TOKENS:]:
        decode(found, [token])
    return {"prefill": prefill, "decode": TEXT_TOKENS / (time.perf_counter() - begun)}


def decode(found, tokens):
    array = (llama.llama_token * len(tokens))(*tokens)
    if llama.llama_decode(found, llama.llama_batch_get_one(array, len(tokens))) != 0:
        sys.exit("llama.cpp failed")
    # Waits until they are there.
    llama.llama_get_logits_ith(found, -1)


main()
