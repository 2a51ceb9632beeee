"""Names of slots: one to three words, split by hash into words for training and words held out.

A word belongs to the held-out tenth when the hash of its singular says so; the everyday words in
`CORE` are always for training. A held-out name has at least one held-out word, so a name of the
training text never contains one.
"""

import functools
import hashlib
import keyword

import words

CORE = {
    "text": "name title label model quantisation city email colour author status message motto owner mood language country street address nickname surname greeting version path topic description species brand role comment first_name last_name".split(),
    "int": "balance count counter age total level points year quantity stock lives steps visits score size width height rank amount distance speed energy coins price credits floor limit position health".split(),
    "float": "balance price weight temperature rating ratio height width speed length radius rate cost volume humidity latitude share".split(),
    "bool": "active enabled open visible locked done ready online running hidden public alive closed finished paused light power valid".split(),
    "list[text]": "tags names items words lines authors colours keywords labels adapters members friends tasks notes cities titles messages guests books".split(),
    "list[int]": "scores numbers points values marks ages years counts sizes grades steps levels results readings".split(),
    "list[float]": "prices weights ratings temperatures readings samples costs rates lengths measurements amounts".split(),
    "list[bool]": "flags answers votes checks switches marks".split(),
    "list": "items adapters children entries events tags scores members history queue things values".split(),
    "map": "notes codex settings options phonebook stock index table attributes ages prices codes".split(),
    "ref": "parent owner child friend next_one partner room home leader account".split(),
    "none": "value nothing answer result last_error note content".split(),
    "bytes": "data payload picture blob digest key content signature".split(),
}
CORE_WORDS = {part for group in CORE.values() for name in group for part in name.split("_")}
ONSETS = "b bl br c ch cl cr d dr f fl fr g gl gr h j k kl kr l m n p pl pr qu r s sc sh sk sl sm sn sp st str t th tr tw v w wh y z zh".split()
VOWELS = "a e i o u a e i o u ai au ea ee ie oa oo ou y".split()
CODAS = ["", "", "", ""] + "b ck d ff ft g k l ll lt m mp n nd ng nk nt p r rb rd rk rm rn rt sh sk st t th x z zz b g".split()
# Words of selectors and of the language that would make a name ambiguous.
BARRED = set(keyword.kwlist) | set(
    "self and or not of to in by the is it at on off up down from into with for none true false int float "
    "bool list dict tuple set map text bytes ref method get read show fetch put add sum max min len abs "
    "item value amount key other held items entries first last has largest smallest average yourself".split()
)


def singular(word):
    """The word without its plural ending, by the one rule that the corpus uses."""
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        return word[:-1]
    return word


def plural(word):
    """The plural of a word, by the same rule."""
    if word.endswith("s"):
        return word
    if word.endswith("y") and len(word) > 2 and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


@functools.lru_cache(maxsize=None)
def held_out(word):
    """Whether a single word belongs to the held-out tenth."""
    stem = singular(word.lower())
    if stem in CORE_WORDS or plural(stem) in CORE_WORDS or word in CORE_WORDS:
        return False
    return hashlib.sha256(stem.encode()).digest()[0] < 26


@functools.lru_cache(maxsize=1)
def english():
    """The English words, as (for training, held out)."""
    usable = [word for word in words.load() if word not in BARRED and not word.endswith(("ie", "ies", "xes"))]
    return [w for w in usable if not held_out(w)], [w for w in usable if held_out(w)]


def invent(rng):
    """A pseudo-word of one to three syllables."""
    length = rng.choice((1, 1, 2, 2, 2, 2, 2, 2, 3))
    word = "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + (rng.choice(CODAS) if rng.random() < 0.6 else "") for _ in range(length))
    return word


def pick_word(rng, held=False):
    """One word, English or invented, of the wanted side of the split."""
    if rng.random() < 0.6:
        return rng.choice(english()[1 if held else 0])
    while True:
        word = invent(rng)
        if len(word) > 2 and not word.endswith("ie") and word not in BARRED and held_out(word) == held:
            return word


def pick_name(rng, kind, held=False, core=0.3, simple=False):
    """A slot name for a kind; lists are mostly plural. A held-out name has a held-out word."""
    if not held and rng.random() < core:
        return rng.choice(CORE.get(kind, CORE["text"]))
    count = 1 if simple else rng.choices((1, 2, 3), (66, 30, 4))[0]
    parts = [pick_word(rng) for _ in range(count)]
    if held:
        parts[rng.randrange(count)] = pick_word(rng, held=True)
    if kind.startswith("list") and rng.random() < 0.8:
        parts[-1] = plural(parts[-1])
    if count > 1 and rng.random() < 0.02:
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    return "_".join(parts)


def singular_name(name):
    """A slot name with its last word in the singular."""
    head, mark, tail = name.rpartition("_")
    return head + mark + singular(tail)
