"""The average of two kept models: `python average.py EARLIER LATER 0.6` writes model/ with that share of LATER."""

import hashlib
import json
import os
import pathlib
import sys

import safetensors.torch

from tokens import FOLDER
from train import replace

if __name__ == "__main__":
    earlier, later, share = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), float(sys.argv[3])
    a, b = (safetensors.torch.load_file(str(folder / "model.safetensors")) for folder in (earlier, later))
    weights = {name: ((1 - share) * a[name].float() + share * b[name].float()).bfloat16() for name in a}
    replace(FOLDER / "model.safetensors", lambda p: safetensors.torch.save_file(weights, str(p), {"format": "pt"}))
    os.chmod(FOLDER / "model.safetensors", 0o644)
    told = json.loads((later / "model.json").read_text())
    told["average"] = {str(json.loads((folder / "model.json").read_text())["step"]): part for folder, part in ((earlier, round(1 - share, 6)), (later, share))}
    for name in told["files"]:
        data = (FOLDER / name).read_bytes()
        told["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    told["files"] = told.pop("files")
    replace(FOLDER / "model.json", lambda p: p.write_text(json.dumps(told, indent=2) + "\n"))
