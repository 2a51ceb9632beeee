"""The list of English words: read once out of Python's own documentation text, kept in words.txt.

`python words.py` rewrites words.txt from the `pydoc` topics and the docstrings of the standard
library of the interpreter that runs it; the kept file is what the corpus uses, so the corpus does
not depend on the interpreter's version.
"""

import collections
import pathlib
import re
import sysconfig

PATH = pathlib.Path(__file__).with_name("words.txt")


def gather():
    """Every lower-case word of 3 to 10 letters seen at least three times in the standard library."""
    seen = collections.Counter()
    root = pathlib.Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        if "site-packages" in path.parts or "test" in path.parts or "idle_test" in path.parts:
            continue
        for word in re.findall(r"(?<![A-Za-z])[a-z]{3,10}(?![A-Za-z])", path.read_text(errors="replace")):
            if re.search(r"[aeiouy]", word) and not re.search(r"(.)\1\1", word):
                seen[word] += 1
    return sorted(word for word, times in seen.items() if times >= 3)


def load():
    """The kept words."""
    return PATH.read_text().split()


if __name__ == "__main__":
    words = gather()
    PATH.write_text("\n".join(words) + "\n")
    print(len(words), "words")
