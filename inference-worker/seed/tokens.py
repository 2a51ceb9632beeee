"""The tokenizer: byte-level BPE whose pieces never join letters with anything else.

A word is cut the same way wherever it stands, so copying a name is copying tokens: letters, single
digits, `_`, a newline with its indent and runs of other signs are pieces of their own; a capital
starts a new piece, and a plural's last `s` is split from its word.

`python tokens.py` trains it on the first two shards and writes model/tokenizer.json.
"""

import json
import pathlib

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

PATH = pathlib.Path(__file__).with_name("model") / "tokenizer.json"
SPECIAL = ["<|pad|>", "<|end|>", "<|refuse|>", "<|covenant|>", "<|receiver|>", "<|slots|>", "<|parents|>", "<|message|>", "<|method|>"]
PAD, END, REFUSE, METHOD = 0, 1, 2, 8
VOCABULARY = 2048
# The phrase of the covenant and three pieces of code that always stand together come first.
PIECES = (
    r"state lives in slots; a change ends with |self\.|_p_changed|"
    r"[A-Z]?[a-z]{2,}(?=s(?![a-z]))|s(?![a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]|_|\n *|[^A-Za-z0-9_\n]+"
)


def train(texts):
    """A tokenizer trained on texts."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PIECES), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def load():
    """The kept tokenizer."""
    return Tokenizer.from_file(str(PATH))


if __name__ == "__main__":
    import corpus

    texts = []
    for number in range(2):
        for line in (corpus.WORK / "shards" / f"{number:04}.jsonl").open():
            prompt, completion, *_ = json.loads(line)
            texts.append(prompt + completion)
    tokenizer = train(texts)
    PATH.parent.mkdir(exist_ok=True)
    tokenizer.save(str(PATH))
    encoded = tokenizer.encode_batch(texts[:5000])
    assert all(tokenizer.decode(e.ids, skip_special_tokens=False) == t for e, t in zip(encoded, texts))
    print(tokenizer.get_vocab_size(), "tokens; average length", sum(len(e.ids) for e in encoded) / 5000)
    print(encoded[0].tokens)
