"""The average of two kept models: `python average.py EARLIER LATER 0.6` writes model/ with that share of LATER."""

import json
import pathlib
import sys

import safetensors.torch

from model import Seed, config_of
from train import NOTES, export

if __name__ == "__main__":
    earlier, later, share = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), float(sys.argv[3])
    a, b = (safetensors.torch.load_file(str(folder / "model.safetensors")) for folder in (earlier, later))
    model = Seed(config_of(later))
    model.load_state_dict({name: (1 - share) * a[name].float() + share * b[name].float() for name in a})
    before, told = (json.loads((folder / "model.json").read_text()) for folder in (earlier, later))
    shares = {str(before["step"]): round(1 - share, 6), str(told["step"]): share}
    export(model, {name: told[name] for name in NOTES} | {"average": shares})
