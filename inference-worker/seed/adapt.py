"""The personas' adapters: trains LoRA matrices on the kept model for the work of one persona.

`python adapt.py brick --minutes 6` trains, and writes adapters/brick as PEFT's `save_pretrained` does, which is what `batos adapter import`
reads. measures.py tells what they are better at. LoRA: <https://arxiv.org/abs/2106.09685>.
"""

import argparse
import hashlib
import json
import math
import pathlib
import random
import signal
import time

import safetensors.torch
import torch
from torch import nn

import batching
import evaluate
import grow
import persona
import tokens
import wishes

FOLDER = pathlib.Path(__file__).with_name("adapters")
RANK, ALPHA = 16, 32
PRODUCTS = {"self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"), "mlp": ("gate_proj", "up_proj", "down_proj")}
BATCH_TOKENS, LONGEST = 3072, 560


class Adapted(nn.Module):
    """A product W·x with s·B·(A·x) added."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.A = nn.Parameter(torch.empty(RANK, base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, RANK))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def forward(self, x):
        """(…, in) to (…, out)."""
        return self.base(x) + (x @ self.A.T) @ self.B.T * (ALPHA / RANK)


def adapt(model):
    """Puts an adapter on each product of a model, and answers them by their names."""
    for weight in model.parameters():
        weight.requires_grad_(False)
    made = {}
    for number, layer in enumerate(model.model.layers):
        for part, names in PRODUCTS.items():
            for name in names:
                adapted = Adapted(getattr(getattr(layer, part), name))
                setattr(getattr(layer, part), name, adapted)
                made[f"base_model.model.model.layers.{number}.{part}.{name}"] = adapted
    return made


def base_hash():
    """The hash of the model that is loaded now, which an adapter belongs to."""
    return hashlib.sha256((tokens.FOLDER / "model.safetensors").read_bytes()).hexdigest()


def save(made, name, base, notes):
    """Writes adapter_config.json, adapter_model.safetensors, and training.json with the hash of the base."""
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"{path}.lora_{half}.weight": getattr(one, half).detach().bfloat16().cpu().contiguous() for path, one in made.items() for half in "AB"}
    safetensors.torch.save_file(weights, str(folder / "adapter_model.safetensors"), {"format": "pt"})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA, "target_modules": [name for names in PRODUCTS.values() for name in names], "bias": "none", "inference_mode": True,
              "base_model_name_or_path": "seed", "revision": f"sha256:{base}"}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "training.json").write_text(json.dumps({"persona": name, "base_sha256": base, **notes}, indent=2) + "\n")


def load(name):
    """The kept model with an adapter; refused when it is another model's."""
    told = json.loads((FOLDER / name / "training.json").read_text())
    if told["base_sha256"] != base_hash():
        raise SystemExit(f"{FOLDER / name} was trained on other weights than those in {tokens.FOLDER}; train it anew")
    model = evaluate.load()
    take(adapt(model), name)
    return model.eval()


def take(made, name):
    """Puts the numbers of a saved adapter into a model's adapters; one of the model before it was grown (grow.py) grows with it."""
    held = safetensors.torch.load_file(str(FOLDER / name / "adapter_model.safetensors"))
    if len(held) == len(made):  # two matrices each, for half of the layers
        held = grow.grown(held)
    for path, one in made.items():
        one.A.data, one.B.data = held[f"{path}.lora_A.weight"].float(), held[f"{path}.lora_B.weight"].float()


def batches(name, tokenizer, rng):
    """Batches without end: (ids, weights)."""
    drawer = wishes.Drawer(rng)
    while True:
        drawn = [persona.draw(name, drawer) for _ in range(160)]
        rows = [(tokenizer.encode(prompt).ids, tokenizer.encode(completion).ids) for prompt, completion, _, _ in drawn]
        rows = [(head, tail) for head, tail in rows if len(head) + len(tail) <= LONGEST]
        groups = batching.by_length(rows, lambda row: len(row[0]) + len(row[1]), BATCH_TOKENS)
        rng.shuffle(groups)
        for group in groups:
            yield batching.padded([head + tail for head, tail in group]), batching.padded([[0.0] * len(head) + [1.0] * len(tail) for head, tail in group], 0.0)


def train(name, minutes, rate, threads, goes_on, device):
    """Trains one adapter for some minutes, or goes on with the one that is there; the rate falls to zero in a cosine."""
    torch.set_num_threads(threads)
    torch.manual_seed(7)
    base, model, tokenizer = base_hash(), evaluate.load(), tokens.load()
    made = adapt(model)
    before = {"examples": 0}
    if goes_on:
        # One that belongs to the weights which these went on from is a better beginning than none.
        before = json.loads((FOLDER / name / "training.json").read_text())
        take(made, name)
    model.to(device)
    model.stream, model.misses = (torch.compile(part, dynamic=True) for part in (model.stream, model.misses))
    weights = [half for one in made.values() for half in (one.A, one.B)]
    optimiser = torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    start, shown, step, seen, losses, last = time.time(), time.time(), 0, 0, [], []
    for ids, counting in batches(name, tokenizer, random.Random(f"adapter-{name}-{before['examples']}")):
        share = (time.time() - start) / (minutes * 60)
        if share >= 1:
            break
        optimiser.param_groups[0]["lr"] = rate * min(1, 0.1 + share / 0.03) * 0.5 * (1 + math.cos(math.pi * share))
        with torch.autocast(device, torch.bfloat16):
            loss, plain, _, _ = model.loss(ids.to(device), counting.to(device), 1.0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        step, seen = step + 1, seen + len(ids)
        losses.append(plain.item())
        if time.time() - shown > 20:
            print(json.dumps({"persona": name, "step": step, "examples": seen, "loss": round(sum(losses) / len(losses), 4), "seconds": round(time.time() - start)}), flush=True)
            shown, last, losses = time.time(), losses, []
    last = losses or last
    done = {"steps": step, "examples": seen, "seconds": round(time.time() - start)}
    begun = {"begun_with": before} if goes_on else {}
    save(made, name, base, done | {"loss": round(sum(last) / len(last), 4)} | begun)


def main():
    """Trains those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("persona", nargs="+", choices=persona.NAMES)
    parser.add_argument("--minutes", type=float, default=6, help="of each")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--resume", action="store_true", help="go on with the adapters that are there, those of earlier weights too")
    asked = parser.parse_args()
    signal.signal(signal.SIGALRM, evaluate.alarmed)
    for name in asked.persona:
        train(name, asked.minutes, asked.rate, asked.threads, asked.resume, asked.device)


if __name__ == "__main__":
    main()
