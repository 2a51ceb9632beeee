"""The tokenizer: byte-level BPE whose pieces never join the letters of a name with anything else.

A word of a name is cut the same way wherever it stands, in a sentence as in code, so copying a name is copying tokens: letters, single
digits, `_`, a newline with its indent and runs of other signs are pieces of their own; a capital starts a new piece, and a plural's
last `s` is split from its word. The plain words of sentences, which hardly stand in names, take the space before them along; kinds of
slots and what always stands together in code are pieces, too.

`python tokens.py` trains it on the first two shards and writes work2/model/tokenizer.json, where the training writes its model, too.
"""

import json
import os
import pathlib
import re

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import corpus

# Where tokenizer and model lie until they are kept.
FOLDER = pathlib.Path(os.environ.get("SEED_MODEL") or corpus.WORK / "model")
PATH = FOLDER / "tokenizer.json"
SPECIAL = ["<|pad|>", "<|end|>", "<|refuse|>", "<|covenant|>", "<|receiver|>", "<|slots|>", "<|parents|>", "<|message|>", "<|method|>",
           "<|others|>", "<|wish|>", "<|example|>", "<|flaw|>", "<|attempt|>"]
PAD, END, REFUSE, METHOD, EXAMPLE, FLAW = 0, 1, 2, 8, 11, 12
VOCABULARY = 4096
KINDS = "text int float bool map ref none bytes time blob method list list[text] list[int] list[float] list[bool]".split()
# Words that sentences are made of.
PLAIN = (
    "the a an of to in by is are it its at on and or with for from as when if else than that this those them they there be not no none one two three answer answers whether "
    "how many much what which given number text argument first second third more less above below over under least most between both each every all any only but never "
    "nothing becomes become raise error fail fails false true set put take takes add keep drop go goes grows falls off out up into onto then now so such same other others "
    "own end beginning front change changes changed after before while unless until otherwise instead without within among empty list map key keys value values entry entries "
    "largest smallest highest lowest sum average total difference product letters letter characters capital capitals small words word text order alphabet twice times per cent "
    "was were has have had does do did would can cannot may already again still also too either neither nor their his her yes equal equals exactly different return tell give find "
    "show say per rest whole rounded day days year month week later earlier since minutes midnight object receiver parent joined space comma point digit digits place places counted"
).split()
# What always stands together.
TOGETHER = (
    "state lives in slots; a change ends with self._p_changed = True", "self._p_changed = True", "[item for item in self.", "item for item in ", "[item for item in ", " for item in self.", " for item in ",
    'raise ValueError("not allowed")', "datetime.datetime.fromisoformat(", "datetime.timedelta(days=", ".isoformat()[:10]", "entries = dict(self.", "items = list(self.", "(self):", "(self, ", "return None",
    "return False", "return True", "if not self.", "return self.", "if self.", " in self.", " not in self.", "key=lambda item: item.", ".items()", ".values()", "return len(", "return sum(", "sorted(self.",
    "max(self.", "min(self.", "len(self.", "sum(self.", " = self.", "def ", "return ", "if ", "else:", "self.", "_p_changed", "() -> _; ", "() -> ", ") -> _; ", ") -> ", "for item in self.",
)


def alternatives(texts):
    """A pattern of any of some texts, the longest first."""
    return "|".join(re.escape(text) for text in sorted(set(texts), key=lambda text: (-len(text), text)))


PIECES = (
    rf"(?:{alternatives(TOGETHER)})"
    rf"|:(?:{alternatives(KINDS)}) ?(?![A-Za-z_\[])"
    rf"| (?:{alternatives(PLAIN)})(?![A-Za-z_])|(?<![A-Za-z_])(?:{alternatives(PLAIN + [word.capitalize() for word in PLAIN])})(?![A-Za-z_])"
    r"|[A-Z]?[a-z]{2,}(?=s(?![a-z]))|s(?![a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]|_|\n *|[^A-Za-z0-9_\n]"
    rf"(?:(?! (?:{alternatives(PLAIN)})(?![A-Za-z_]))[^A-Za-z0-9_\n])*"
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
    texts = [tuple(json.loads(line)[:2]) for number in (0, 1) for line in corpus.ready(number).open()]
    tokenizer = train([prompt + completion for prompt, completion in texts])
    PATH.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(PATH))
    some = texts[:4000]
    prompts, completions = (tokenizer.encode_batch([row[part] for row in some]) for part in (0, 1))
    assert all(tokenizer.decode(e.ids, skip_special_tokens=False) == row[0] for e, row in zip(prompts, some))
    of = lambda encoded: sorted(len(e.ids) for e in encoded)
    told = {name: f"mean {sum(of(e)) / len(some):.1f}, median {of(e)[len(some) // 2]}, 99 % within {of(e)[int(len(some) * 0.99)]}" for name, e in (("prompts", prompts), ("completions", completions))}
    print(tokenizer.get_vocab_size(), "tokens;", told)
    print(prompts[-1].tokens, completions[-1].tokens)
