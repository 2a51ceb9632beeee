"""The personas' adapters: trains LoRA matrices on the kept model for the work of one persona, and measures what they are better at.

`python adapt.py brick --minutes 6` trains, and writes adapters/brick as PEFT's `save_pretrained` does, which is what `batos adapter import`
reads. `python adapt.py --measure --each 100 --json adapters/measured.json` asks the kept model with each adapter and without on names, phrasings
and scenarios that no training holds. LoRA: <https://arxiv.org/abs/2106.09685>.
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

import evaluate
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
    """The hash of the model that an adapter belongs to."""
    return hashlib.sha256((tokens.FOLDER / "model.safetensors").read_bytes()).hexdigest()


def save(made, name, notes):
    """Writes adapter_config.json and adapter_model.safetensors."""
    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    weights = {f"{path}.lora_{half}.weight": getattr(one, half).detach().bfloat16().contiguous() for path, one in made.items() for half in "AB"}
    safetensors.torch.save_file(weights, str(folder / "adapter_model.safetensors"), {"format": "pt"})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA, "target_modules": [name for names in PRODUCTS.values() for name in names], "bias": "none", "inference_mode": True}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "training.json").write_text(json.dumps({"persona": name, "base_sha256": base_hash(), **notes}, indent=2) + "\n")


def load(name):
    """The kept model with an adapter."""
    model = evaluate.load()
    held = safetensors.torch.load_file(str(FOLDER / name / "adapter_model.safetensors"))
    for path, one in adapt(model).items():
        one.A.data, one.B.data = held[f"{path}.lora_A.weight"].float(), held[f"{path}.lora_B.weight"].float()
    return model.eval()


def batches(name, tokenizer, rng):
    """Batches without end: (ids, weights)."""
    drawer = wishes.Drawer(rng)
    while True:
        rows = []
        for prompt, completion, _, _ in (persona.draw(name, drawer) for _ in range(160)):
            head, tail = tokenizer.encode(prompt).ids, tokenizer.encode(completion).ids
            if len(head) + len(tail) <= LONGEST:
                rows.append((head, tail))
        rows.sort(key=lambda row: len(row[0]) + len(row[1]))
        groups, group = [], []
        for row in rows:
            if group and (len(group) + 1) * (len(row[0]) + len(row[1])) > BATCH_TOKENS:
                groups.append(group)
                group = []
            group.append(row)
        groups.append(group)
        rng.shuffle(groups)
        for group in groups:
            T = max(len(head) + len(tail) for head, tail in group)
            ids = torch.tensor([head + tail + [tokens.PAD] * (T - len(head) - len(tail)) for head, tail in group])
            weights = torch.tensor([[0.0] * len(head) + [1.0] * len(tail) + [0.0] * (T - len(head) - len(tail)) for head, tail in group])
            yield ids, weights


def train(name, minutes, rate, threads):
    """Trains one adapter for some minutes; the rate falls to zero in a cosine."""
    torch.set_num_threads(threads)
    torch.manual_seed(7)
    model, tokenizer = evaluate.load(), tokens.load()
    made = adapt(model)
    weights = [half for one in made.values() for half in (one.A, one.B)]
    optimiser = torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    start, shown, step, seen, losses = time.time(), time.time(), 0, 0, []
    for ids, counting in batches(name, tokenizer, random.Random(f"adapter-{name}")):
        share = (time.time() - start) / (minutes * 60)
        if share >= 1:
            break
        optimiser.param_groups[0]["lr"] = rate * min(1, 0.1 + share / 0.03) * 0.5 * (1 + math.cos(math.pi * share))
        with torch.autocast("cpu", torch.bfloat16):
            loss, plain, _, _ = model.loss(ids, counting, 1.0)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        step, seen = step + 1, seen + len(ids)
        losses.append(plain.item())
        if time.time() - shown > 20:
            print(json.dumps({"persona": name, "step": step, "examples": seen, "loss": round(sum(losses) / len(losses), 4), "seconds": round(time.time() - start)}), flush=True)
            shown, last, losses = time.time(), losses, []
    save(made, name, {"steps": step, "examples": seen, "seconds": round(time.time() - start), "loss": round(sum(losses or last) / len(losses or last), 4)})


# What is measured. Each measure: the bare seed, asked as it knows, and the persona, on the same cases.


def written(model, tokenizer, prompt, most=200):
    """The greedy completion, without its end; None when it does not end."""
    text = tokenizer.decode(evaluate.decode(model, tokenizer.encode(prompt).ids, most=most)[0], skip_special_tokens=False)
    return text.removesuffix(evaluate.END) if text.endswith(evaluate.END) else None


def parsed(text):
    """The JSON of a text; None when it is none."""
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return None


def touched(source):
    """What a source touches; None when it is no method."""
    try:
        return persona.Touched(source)
    except (TypeError, SyntaxError, AttributeError, IndexError):
        return None


def facets(plan):
    """The archetype of a plan and whom it asks beside it."""
    return plan["archetype"], sorted(one["facet"] for one in plan["facets"])


def likelihood(model, tokenizer, prompt, completion):
    """The mean log-probability of a completion."""
    head, tail = tokenizer.encode(prompt).ids, tokenizer.encode(completion).ids
    with torch.no_grad():
        scores = torch.log_softmax(model.lm_head(model.stream(torch.tensor([head + tail]))[0, len(head) - 1:-1]), -1)
    return scores[range(len(tail)), tail].mean().item()


def measure(each, names):
    """The table: {persona: {measure: [bare, with the adapter, cases]}}."""
    tokenizer, bare = tokens.load(), evaluate.load()
    table = {}
    models = {name: load(name) for name in persona.NAMES if (FOLDER / name / "adapter_model.safetensors").exists()}
    for name in names:
        rng = random.Random(f"persona-hidden-{name}")
        drawer = wishes.Drawer(rng, held=True)
        rows = [persona.draw(name, drawer) for _ in range(each)]
        counts = {}

        def count(what, without, having):
            row = counts.setdefault(what, [0, 0, 0])
            row[0] += bool(without)
            row[1] += bool(having)
            row[2] += 1

        scores = []
        for prompt, completion, case, more in rows:
            if name in ("brick", "babs"):
                source = written(bare, tokenizer, case.prompt())
                of, right = touched(source), persona.Touched(case.source)
                answer = written(models[name], tokenizer, prompt)
                if name == "brick":
                    plain = parsed(written(bare, tokenizer, prompt))
                    made = parsed(answer)
                    count("a plan by the schema", persona.is_plan(plain), persona.is_plan(made))
                    count("the right archetype and facets", persona.is_plan(plain) and facets(plain) == facets(persona.plan(case.source)), persona.is_plan(made) and facets(made) == facets(persona.plan(case.source)))
                    count("the same, where the bare seed's plan is read off its method", of and facets(persona.plan(source)) == facets(persona.plan(case.source)), persona.is_plan(made) and facets(made) == facets(persona.plan(case.source)))
                else:
                    said = {part.split(" ")[0]: set(part.split(" ")[1:]) for part in (answer or "").split("; ")}
                    wanted = {part.split(" ")[0]: set(part.split(" ")[1:]) for part in right.told().split("; ")}
                    read_off = {part.split(" ")[0]: set(part.split(" ")[1:]) for part in (of.told() if of else "").split("; ")}
                    for what in ("reads", "changes", "sends"):
                        count(f"what it {what}, exactly", read_off.get(what) == wanted[what], said.get(what) == wanted[what])
                    count("all three", read_off == wanted, said == wanted)
            elif name == "robin":
                states = [drawer.world.draw() for _ in range(0)]
                partial = written(models["babs"], tokenizer, persona.ask_babs(case)) or "" if "babs" in models else persona.Touched(case.source).told()
                check = evaluate.runs(case, case.states, [drawer.wanted(case.method, state) for state in case.states])
                judged = lambda text: text is not None and not evaluate.judged(check, text + evaluate.END)
                count("methods right, out of what BABS answers", judged(written(bare, tokenizer, case.prompt())), judged(written(models[name], tokenizer, persona.ask_robin(case, partial))))
                truth = persona.ask_robin(case, persona.Touched(case.source).told())
                count("methods right, out of what is touched in truth", judged(written(bare, tokenizer, truth)), judged(written(models[name], tokenizer, truth)))
            else:
                source, good = more
                made = parsed(written(models[name], tokenizer, prompt))
                count("a verdict by the schema", persona.is_verdict(parsed(written(bare, tokenizer, prompt))), persona.is_verdict(made))
                scores.append((likelihood(bare, tokenizer, case.prompt(), source), good, persona.is_verdict(made) and (made["verdict"] == "pass") == good))
        if scores:
            # The bare seed has no verdicts: it passes what it holds likely enough, by the bound that is best on these very cases.
            bounds = sorted(score for score, _, _ in scores)
            best = max(sum((score >= bound) == good for score, good, _ in scores) for bound in bounds)
            counts["right verdicts; bare: the best bound of likelihood"] = [best, sum(right for _, _, right in scores), len(scores)]
        table[name] = counts
        for what, (without, having, n) in counts.items():
            print(f"{name:7} {what:60} bare {without / n:6.1%}  persona {having / n:6.1%}  of {n}", flush=True)
    return table


def main():
    """Trains one, or measures all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("persona", nargs="*", choices=[*persona.NAMES, []])
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument("--json", type=pathlib.Path)
    asked = parser.parse_args()
    signal.signal(signal.SIGALRM, evaluate.alarmed)
    if not asked.measure:
        for name in asked.persona:
            train(name, asked.minutes, asked.rate, asked.threads)
        return
    torch.set_num_threads(asked.threads)
    table = measure(asked.each, asked.persona or persona.NAMES)
    if asked.json:
        asked.json.write_text(json.dumps({"base_sha256": base_hash(), "table": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
