"""llama.cpp with adapters: `adapted.py MODEL THREADS ADAPTER…`; a line of input is a work, answered by a line of JSON.

    round 0         tokens per second of text by the model alone
    round N         the same with the Nth adapter
    serve K         K requests, each with an adapter of its own, one after the other: it decodes a batch with one set of adapters, and
                    its server lets requests with another set wait
"""

import ctypes
import json
import statistics
import sys
import time

from llama_cpp import llama_cpp as llama

TEXT_TOKENS = 32
PROMPT_TOKENS = 8
ROUND_S = 0.2


@llama.llama_log_callback
def quiet(_level, _text, _data):
    pass


def main():
    path, threads, *names = sys.argv[1:]
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    llama.llama_backend_init()
    model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
    parameters = llama.llama_context_default_params()
    parameters.n_ctx = parameters.n_batch = parameters.n_ubatch = 512
    parameters.n_threads = parameters.n_threads_batch = int(threads)
    parameters.flash_attn_type = 0
    context = llama.llama_init_from_model(model, parameters)
    adapters = [llama.llama_adapter_lora_init(model, name.encode()) for name in names]
    if not context or not all(adapters):
        sys.exit("llama.cpp cannot load the model or an adapter")
    vocabulary = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
    for line in sys.stdin:
        word, number = line.split()
        number = int(number)
        if word == "round":
            choose(context, adapters[number - 1] if number else None)
            figure = {"decode": rounds(context, vocabulary)}
        else:
            figure = {"tokens_per_second": serve(context, vocabulary, adapters, number)}
        print(json.dumps(figure), flush=True)


def choose(context, adapter):
    found = [] if adapter is None else [adapter]
    array = (llama.llama_adapter_lora_p_ctypes * len(found))(*found)
    scales = (ctypes.c_float * len(found))(*[1.0] * len(found))
    if llama.llama_set_adapters_lora(context, array, len(found), scales) != 0:
        sys.exit("llama.cpp cannot use the adapter")


def rounds(context, vocabulary):
    begun = time.perf_counter()
    figures = []
    while not figures or time.perf_counter() - begun < ROUND_S:
        figures.append(TEXT_TOKENS / text(context, vocabulary))
    return statistics.median(figures)


def text(context, vocabulary):
    """The seconds that a text takes behind its prompt."""
    llama.llama_memory_clear(llama.llama_get_memory(context), True)
    decode(context, [at * 7 % vocabulary for at in range(PROMPT_TOKENS)])
    begun = time.perf_counter()
    for at in range(TEXT_TOKENS):
        decode(context, [at * 11 % vocabulary])
    return time.perf_counter() - begun


def serve(context, vocabulary, adapters, count):
    begun = time.perf_counter()
    for request in range(count):
        choose(context, adapters[request % len(adapters)])
        text(context, vocabulary)
    return count * TEXT_TOKENS / (time.perf_counter() - begun)


def decode(context, tokens):
    array = (llama.llama_token * len(tokens))(*tokens)
    if llama.llama_decode(context, llama.llama_batch_get_one(array, len(tokens))) != 0:
        sys.exit("llama.cpp failed")
    # Waits until they are there.
    llama.llama_get_logits_ith(context, -1)


main()
