"""A kept model with twice its layers: `python grow.py KEPT` writes model/, which says what KEPT says.

Behind each layer stands a copy of it whose two outputs are zero, so it adds nothing until it is trained: `python train.py --from work2/model`.
"""

import json
import pathlib
import sys

import safetensors.torch
import torch

from model import Seed, config_of
from tokens import FOLDER
from train import NOTES, export

# Of a layer, what adds to the stream; of an adapter's products, what adds to the layer's own.
OUTPUTS = ("self_attn.o_proj.weight", "mlp.down_proj.weight")
ADAPTER_OUTPUT = ".lora_B.weight"


def grown(weights):
    """The weights of a model with twice the layers, or of an adapter to it."""
    out = {}
    for name, weight in weights.items():
        head, found, tail = name.partition("model.layers.")
        if not found:
            out[name] = weight
            continue
        number, _, rest = tail.partition(".")
        adds = rest in OUTPUTS or rest.endswith(ADAPTER_OUTPUT)
        out[f"{head}{found}{2 * int(number)}.{rest}"] = weight
        out[f"{head}{found}{2 * int(number) + 1}.{rest}"] = torch.zeros_like(weight) if adds else weight.clone()
    return out


def main(kept):
    """Writes model/ from a kept model."""
    config = config_of(kept)
    weights = {name: weight.float() for name, weight in safetensors.torch.load_file(str(kept / "model.safetensors")).items()}
    before, model = Seed(config), Seed({**config, "num_hidden_layers": 2 * config["num_hidden_layers"]})
    before.load_state_dict(weights)
    model.load_state_dict(grown(weights))
    ids = torch.arange(config["vocab_size"]).view(16, -1)
    if not torch.equal(before.stream(ids), model.stream(ids)):
        raise SystemExit("the grown model does not say what the kept one says")
    told = json.loads((kept / "model.json").read_text())
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "tokenizer.json").write_bytes((kept / "tokenizer.json").read_bytes())
    export(model, {name: told[name] for name in NOTES})


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
