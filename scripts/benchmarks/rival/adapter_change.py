"""PEFT changes its adapter: `adapter_change.py FOLDER`; prints the milliseconds of `set_adapter` (both loaded) and of `load_adapter`, as JSON.

FOLDER is an adapter for the 135 M shape of models.py. Run by an interpreter that has torch, transformers and peft.
"""

import json
import statistics
import sys
import time

# This file is called as what it imports.
sys.path.pop(0)

import torch
from peft import PeftModel
from transformers import LlamaConfig, LlamaForCausalLM

CHANGES = 10


def main():
    torch.set_num_threads(2)
    sizes = dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3)
    base = LlamaForCausalLM(LlamaConfig(vocab_size=49152, tie_word_embeddings=True, **sizes))
    model = PeftModel.from_pretrained(base, sys.argv[1], adapter_name="a").eval()
    loads = [timed(lambda at=at: model.load_adapter(sys.argv[1], adapter_name=f"b{at}")) for at in range(3)]
    changes = [timed(lambda at=at: model.set_adapter("ab"[at % 2] + "0" * (at % 2))) for at in range(CHANGES)]
    print(json.dumps({"set_adapter_ms": statistics.median(changes), "load_adapter_ms": statistics.median(loads)}))


def timed(work):
    begun = time.perf_counter()
    work()
    return (time.perf_counter() - begun) * 1000


main()
