"""The trained model becomes the one that ships: `python keep.py` copies work2/model, its log and its evaluation over the kept ones."""

import pathlib
import shutil

import corpus

HERE = pathlib.Path(__file__).parent

if __name__ == "__main__":
    for name in ("model.safetensors", "config.json", "tokenizer.json", "model.json", "MODEL_CARD.md"):
        shutil.copyfile(corpus.WORK / "model" / name, HERE / "model" / name)
    for name in ("training.jsonl", "evaluation.json"):
        shutil.copyfile(corpus.WORK / name, HERE / name)
