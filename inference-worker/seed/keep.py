"""The trained model becomes the one that ships: `python keep.py` copies the folder it was written to, its log and its evaluation over the kept ones."""

import pathlib
import shutil

import corpus
from tokens import FOLDER

HERE = pathlib.Path(__file__).parent

if __name__ == "__main__":
    for name in ("model.safetensors", "config.json", "tokenizer.json", "model.json", "MODEL_CARD.md", "loss.svg", "coverage.svg"):
        shutil.copyfile(FOLDER / name, HERE / "model" / name)
    for name in ("training.jsonl", "evaluation.json"):
        shutil.copyfile(corpus.WORK / name, HERE / name)
