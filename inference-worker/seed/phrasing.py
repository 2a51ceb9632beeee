"""More phrasings for the rows of the grammar's tables, written by hand, one file a table (the notation is in phrasings/README.md).

`python phrasing.py [FILE …]` says what does not fit its row.
"""

import pathlib
import re
import string
import sys

import barred
import changes
import readings

FOLDER = pathlib.Path(__file__).with_name("phrasings")
TABLES = {f"{module.__name__}-{name.lower()}": getattr(module, name) for module, names in ((readings, "NUMBERS TRUTHS LISTS MAPS TEXTS FILTERS"), (changes, "NUMBERS SET TRUTHS LISTS MAPS TEXTS DATES")) for name in names.split()}
AGREEING = {"", "is", "are", "is1", "s", "s1", "es", "go", "they", "them", "has", "was"}
NAMING = {"b", "1"}  # of what has a name: a slot or an argument
TRUTH = {"state", "unstate", "on", "off", "flag"}


def head(row):
    """How a row is called in a file."""
    holes = " ".join("".join(hole) for hole in row.holes)
    return f"{row.kind} {row.code} | {holes}".replace("\n", "\\n").strip()


ROWS = {head(row): row for table in TABLES.values() for row in table}


def misfit(row, phrase):
    """Why a phrasing does not fit its row; empty when it does."""
    signs = {name: (sign, kind) for name, sign, kind in row.holes}
    own = {name for present in row.phrases for name in names(present)} - signs.keys()  # words of the row that are no holes
    said = set()
    try:
        parts = list(string.Formatter().parse(phrase))
    except ValueError as error:
        return str(error)
    for _, name, form, _ in parts:
        if name is None:
            continue
        said.add(name)
        if name not in signs:
            if name not in own or form:
                return f"no hole {{{name}}}"
        elif form in NAMING and signs[name][0] not in "=!?":
            return f"{{{name}:{form}}} of what may have no name"
        elif form in TRUTH and signs[name][1] != "bool":
            return f"{{{name}:{form}}} of what is no truth value"
        elif form not in AGREEING | NAMING | TRUTH:
            return f"no form {{{name}:{form}}}"
    named = {name for _, name, form, _ in parts if name in signs and form in {"", "is"} | NAMING | TRUTH}
    if missing := signs.keys() - named:
        return f"{{{min(missing)}}} is not said"
    if phrase != phrase.strip() or "|" in phrase or phrase.endswith((".", ",", ";", "!", "?")) or re.match("[A-Z]", phrase):
        return "a phrasing is a part of a sentence: no capital at its beginning, no mark at its end"
    if row in TABLES["readings-filters"] and not re.match(r"=|\w+[~^]|can|cannot", phrase):
        return "the verb of a filter has ~ or ^, or its complement begins with ="
    return barred.reason(re.sub(r"[{}~^=]|:\w+", "", phrase)) or ""


def names(phrase):
    """The names in a phrasing's braces."""
    return {name for _, name, _, _ in string.Formatter().parse(phrase) if name is not None}


def read(path):
    """The phrasings of a file: (number of the line, row or None, phrasing)."""
    row = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("row: "):
            row = ROWS.get(line[5:].strip())
            if row is None:
                yield number, None, line
        elif line.strip() and not line.startswith("#"):
            yield number, row, line.strip()


def extend():
    """The rows get the phrasings of the files."""
    for path in sorted(FOLDER.glob("*.txt")):
        for number, row, phrase in read(path):
            why = "no row" if row is None else misfit(row, phrase)
            if why:
                raise ValueError(f"{path.name} line {number}: {why}")
            if phrase not in row.phrases:
                row.phrases.append(phrase)


def main(paths):
    """Says what does not fit."""
    count = bad = 0
    for path in map(pathlib.Path, paths):
        for number, row, phrase in read(path):
            count += 1
            why = "no row of that name" if row is None else misfit(row, phrase)
            if why:
                bad += 1
                print(f"{path.name} line {number}: {why}: {phrase}")
    print(f"{count - bad} of {count} phrasings fit")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or sorted(FOLDER.glob("*.txt"))))
