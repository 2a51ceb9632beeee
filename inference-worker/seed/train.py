"""The training: reads shards in order, and writes a checkpoint and a usable model/ every few minutes.

`python train.py --minutes 80 --processes 2` begins on two cores, `python train.py --minutes 20 --device cuda --size shipped --workers 14 --batch 65536` on a
GPU beside sixteen; `--from model` begins with the weights of a kept model, such as the one that ships, and with
the shards after those that it has seen; `--resume` goes on from work2/checkpoint.pt, with any number of processes (with another one the shard is begun anew), each of one thread: on a machine shared with builds, processes that meet once a step
stand far better than threads that meet in every product. The learning rate depends only on the share of the minutes that is spent: a short
warm-up, a plateau, and a linear way to zero, so a run is always annealed when its time is up.
"""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

import safetensors.torch
import torch
import torch.distributed as distributed

import cases
import corpus
import feed
import tokens
from model import SIZES, Seed, config_of
from tokens import FOLDER

STATE = corpus.WORK / "checkpoint.pt"
LOG = corpus.WORK / "training.jsonl"
NOTES = ("step", "tokens", "examples", "seconds")  # what a card tells of the training


def add_up(numbers):
    """Puts the sum over the processes in the place of each one's own numbers."""
    if distributed.get_world_size() > 1:
        distributed.all_reduce(numbers)


def orthogonal(g):
    """Newton-Schulz: (N, rows, columns) with rows <= columns to nearly orthogonal matrices."""
    x = g.bfloat16()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.float()


class Muon(torch.optim.Optimizer):
    """Muon for the matrices of the layers: momentum made orthogonal, all matrices of a shape at once.

    Every process makes its share of the matrices orthogonal, and gets the others' from them.
    """

    def __init__(self, weights, lr=0.02, momentum=0.95, decay=0.01):
        super().__init__(weights, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self):
        """One step."""
        for group in self.param_groups:
            shapes = {}
            for weight in group["params"]:
                shapes.setdefault(tuple(sorted(weight.shape)), []).append(weight)
            for shape, weights in shapes.items():
                moved = []
                for weight in weights:
                    held = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                    held.lerp_(weight.grad, 1 - group["momentum"])
                    update = weight.grad.lerp(held, group["momentum"])
                    moved.append(update if weight.shape[0] <= weight.shape[1] else update.T)
                own = list(range(distributed.get_rank(), len(moved), distributed.get_world_size()))
                updates = torch.zeros(len(moved), *moved[0].shape, device=moved[0].device)
                if own:
                    updates[own] = orthogonal(torch.stack([moved[at] for at in own]))
                add_up(updates)
                for weight, update in zip(weights, updates):
                    update = update if weight.shape[0] <= weight.shape[1] else update.T
                    weight.mul_(1 - group["lr"] * group["decay"])
                    weight.add_(update, alpha=-group["lr"] * max(1, weight.shape[0] / weight.shape[1]) ** 0.5)


def schedule(share):
    """The factor of the learning rate at a share of the time."""
    return min(1.0, 0.1 + share / 0.015, max(0.0, (1 - share) / 0.6))


def replace(path, write):
    """Write a file under another name and move it into place."""
    part = path.with_name(path.name + ".part")
    write(part)
    os.replace(part, path)


def export(model, notes):
    """Write model/: weights in bf16, config.json, and model.json with the hashes of all."""
    weights = {name: weight.detach().bfloat16().cpu().contiguous() for name, weight in model.state_dict().items()}
    replace(FOLDER / "model.safetensors", lambda p: safetensors.torch.save_file(weights, str(p), {"format": "pt"}))
    os.chmod(FOLDER / "model.safetensors", 0o644)
    replace(FOLDER / "config.json", lambda p: p.write_text(json.dumps(model.config, indent=2) + "\n"))
    files = {}
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        data = (FOLDER / name).read_bytes()
        files[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    told = {"name": "seed", "abilities": ["method", "wish", "correct"], "parameters": sum(w.numel() for w in model.parameters()), "vocabulary": model.config["vocab_size"], "precision": "bf16", **notes, "files": files}
    replace(FOLDER / "model.json", lambda p: p.write_text(json.dumps(told, indent=2) + "\n"))


def work(rank, asked):
    """One process of the training: all do the same but for their share of the batches."""
    torch.set_num_threads(asked.threads)
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(20)
    device = torch.device(asked.device)
    distributed.init_process_group("gloo", init_method=f"file://{asked.meeting}", rank=rank, world_size=asked.processes, timeout=datetime.timedelta(hours=2))
    shards = feed.Shards(asked.workers)
    # A training that is resumed wrote its configuration at its first checkpoint.
    model = Seed(config_of(FOLDER) if asked.resume else config_of(asked.kept) if asked.kept else SIZES[asked.size]).to(device)
    if not asked.plain:
        model.stream, model.misses = (torch.compile(part, dynamic=True) for part in (model.stream, model.misses))
    lookup = torch.nn.Linear(model.config["hidden_size"], len(cases.KINDS) + 2).to(device)
    weights = list(model.parameters()) + list(lookup.parameters())
    layers = [w for n, w in model.named_parameters() if ".layers." in n and w.dim() == 2]
    others = [w for n, w in model.named_parameters() if not (".layers." in n and w.dim() == 2)]
    base = [asked.muon, asked.adam, asked.adam]
    optimisers = [Muon(layers, lr=base[0]), torch.optim.AdamW(others, lr=base[1], betas=(0.9, 0.95), weight_decay=0.0),
                  torch.optim.AdamW(lookup.parameters(), lr=base[2], weight_decay=0.0)]
    done = {"step": 0, "tokens": 0, "examples": 0, "seconds": 0.0, "earlier": 0.0, "shard": 0, "batch": 0, "processes": asked.processes}
    if asked.kept and not asked.resume:
        kept = safetensors.torch.load_file(str(asked.kept / "model.safetensors"))
        model.load_state_dict({name: weight.float() for name, weight in kept.items()})
        told = json.loads((asked.kept / "model.json").read_text())
        done.update({name: told[name] for name in ("step", "tokens", "examples")})
        # The rate goes by the seconds of this run alone.
        done["earlier"] = told["seconds"]
        done["shard"] = told["examples"] // corpus.SIZE + 1
    if asked.resume:
        state = torch.load(STATE, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        for optimiser, held in zip(optimisers, state["optimisers"]):
            optimiser.load_state_dict(held)
        done.update(state["done"])  # an earlier program kept less
        if done["processes"] != asked.processes:
            done.update(batch=0, processes=asked.processes)
    budget, start, before = asked.minutes * 60, time.time(), done["seconds"]
    saved, shown, losses, firsts, lookups, share = start, start, [], [], [], before / budget

    def keep():
        done["seconds"] = before + time.time() - start
        replace(STATE, lambda p: torch.save({"model": model.state_dict(), "optimisers": [o.state_dict() for o in optimisers], "done": done}, p))
        export(model, {key: round(done[key]) for key in ("step", "tokens", "examples")} | {"seconds": round(done["earlier"] + done["seconds"])})

    while True:
        # Shards that are not there yet are made at the same time, one by each process.
        if not asked.workers and not corpus.shard_path(done["shard"]).exists():
            corpus.ready(done["shard"] + rank)
        distributed.barrier()
        made = list(feed.batches(shards.rows(done["shard"]), random.Random(done["shard"]), asked.batch, asked.told, asked.processes))
        for place in range(done["batch"], len(made) - asked.processes + 1, asked.processes):
            ids, counting, marks = (part.to(device) for part in made[place + rank])
            for optimiser, lr in zip(optimisers, base):
                optimiser.param_groups[0]["lr"] = lr * schedule(share)
            # 1. The gradient of this process's batch.
            with torch.autocast(device.type, torch.bfloat16):
                loss, plain, opening, told = model.loss(ids, counting, asked.first, marks, lookup)
            loss.backward()
            # 2. The mean over the processes; time, loss and counts travel with it.
            now = time.time()
            side = torch.tensor([(before + now - start) / budget, plain.item(), opening.item(), told.item(), float((ids != tokens.PAD).sum()), float(len(ids))], device=device)
            # A batch in which no name is marked leaves the lookup without a gradient.
            flat = torch.cat([(torch.zeros_like(w) if w.grad is None else w.grad).flatten() for w in weights] + [side])
            add_up(flat)
            flat /= asked.processes
            for weight, grad in zip(weights, flat[:-6].split([w.numel() for w in weights])):
                weight.grad = grad.view_as(weight).clone()
            share, mean = flat[-6].item(), flat[-5].item()
            firsts.append(flat[-4].item())
            lookups.append(flat[-3].item())
            # 3. The same step everywhere.
            torch.nn.utils.clip_grad_norm_(weights[:-2], 1.0)
            for optimiser in optimisers:
                optimiser.step()
                optimiser.zero_grad(set_to_none=True)
            done["step"] += 1
            done["tokens"] += round(flat[-2].item() * asked.processes)
            done["examples"] += round(flat[-1].item() * asked.processes)
            done["batch"] = place + asked.processes
            losses.append(mean)
            if rank == 0 and now - shown > 20:
                line = {"step": done["step"], "loss": round(sum(losses) / len(losses), 5), "first": round(sum(firsts) / len(firsts), 5), "lookup": round(sum(lookups) / len(lookups), 5), "tokens": done["tokens"], "examples": done["examples"],
                        "shard": done["shard"], "seconds": round(before + now - start), "rate": round(schedule(share), 4), "processes": asked.processes}
                print(json.dumps(line), flush=True)
                if not asked.trial:
                    with LOG.open("a") as log:
                        log.write(json.dumps(line) + "\n")
                shown, losses, firsts, lookups = now, [], [], []
            if share >= 1:
                if rank == 0 and not asked.trial:
                    keep()
                distributed.barrier()
                return
            if rank == 0 and now - saved > asked.every * 60 and not asked.trial:
                keep()
                saved = now
        done["shard"] += 1
        done["batch"] = 0


def main():
    """Train until the minutes are over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=80, help="of the whole run, those before a resumption counted in")
    parser.add_argument("--processes", type=int, default=1, help="of a CPU, one for each core")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--size", default="small", choices=SIZES, help="of a model that begins anew")
    parser.add_argument("--workers", type=int, default=0, help="processes that make shards and their tokens ahead of the one that trains; a GPU needs a dozen")
    parser.add_argument("--batch", type=int, default=3072, metavar="TOKENS", help="of each process in a step; a GPU is not filled by less than 65536")
    parser.add_argument("--every", type=float, default=5, help="minutes between checkpoints")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--from", dest="kept", type=pathlib.Path, metavar="FOLDER", help="of a kept model to begin with; its tokenizer is taken, too")
    parser.add_argument("--muon", type=float, default=0.02)
    parser.add_argument("--adam", type=float, default=0.003)
    parser.add_argument("--first", type=float, default=4.0, help="weight of a completion's first token")
    parser.add_argument("--told", type=float, default=0.1, help="weight of a token of the examples, that of a completion being 1")
    parser.add_argument("--plain", action="store_true", help="without the compiler of torch, which wants g++; half as fast")
    parser.add_argument("--trial", action="store_true", help="keep nothing")
    asked = parser.parse_args()
    if asked.processes > 1 and (asked.workers or asked.device == "cuda"):
        parser.error("--workers and --device cuda are for one process: --processes 1")
    # Each shape of a batch is a product of its own to oneDNN, which would keep a thousand of them: gigabytes.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")
    if asked.kept and not asked.resume and asked.kept.resolve() != FOLDER.resolve():
        FOLDER.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(asked.kept / "tokenizer.json", FOLDER / "tokenizer.json")
    # Whoever ends this process ends the others with it: they are its daemons, and those end where it ends in order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as folder:
        asked.meeting = f"{folder}/meeting"
        if asked.processes == 1:
            work(0, asked)
        else:
            torch.multiprocessing.spawn(work, (asked,), nprocs=asked.processes, daemon=True)


if __name__ == "__main__":
    main()
