"""The fixed words: all that stand in phrases, kinds and lists of the corpus whatever the names are.

A word of the held-out tenth that stands here is seen in training text, so it does not count as held
out; evaluation and scan leave it out alike.
"""

import pathlib
import re

import cases
import names
import rules
import vocabulary

WORDS = set()
for _rule in rules.RULES:
    WORDS.update(re.findall(r"[a-z]+", " ".join(_rule.phrases + _rule.bare) + " " + _rule.body + " " + " ".join(_rule.params)))
for _list in (cases.DISPLAY, cases.DESCRIBE, cases.GREET, cases.GREET_OTHER, cases.NONSENSE, cases.DANGER_VERBS, cases.DANGER_THINGS, cases.METHODS, cases.KINDS, cases.BEFORE, cases.AFTER, cases.ARTICLES):
    WORDS.update(re.findall(r"[a-z]+", " ".join(_list)))
WORDS.update("genesis pllm traits codex account person counter list book garden shop animal thing exchange switch copy swap transfer move shift difference product "
             "plus minus together between exceeds compare with equals state lives in slots change ends refuse self none int float text bytes wrong number arguments more than one fits".split())
# Whatever stands in the tables and texts of the cases with a wish.
for _file in "changes place grammar method readings refusals sentence stories vocabulary wishes tokens flaws".split():
    WORDS.update(re.findall(r"[a-z]+", pathlib.Path(__file__).with_name(_file + ".py").read_text().lower()))
_HERE = pathlib.Path(__file__).parent
for _file in sorted([*_HERE.glob("written/*.txt"), *_HERE.glob("phrasings/*.txt"), _HERE / "frames.txt"]):
    WORDS.update(re.findall(r"[a-z]+", _file.read_text().lower()))


def parts(name):
    """The words of a name, humps of capitals taken apart."""
    return [part.lower() for part in re.findall(r"[A-Z]?[a-z]+", name)]


def strange(name):
    """The words of a name that never stand in training text."""
    return [part for part in parts(name) if names.held_out(part) and names.held_out(vocabulary.singular(part)) and part not in WORDS and names.singular(part) not in WORDS and names.plural(part) not in WORDS]


def is_new(case):
    """Whether a case with held-out names has one that stands nowhere in the training text: a hash alone may hold out a word that does."""
    return any(strange(slot.partition(":")[0]) for slot in (*case.slots, *case.others))
