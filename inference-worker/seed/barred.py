"""What the corpus must not hold: the names, sentences and methods of the test part of DNU-Bench, known by their hashes alone.

`scripts/dnu-scan --bar inference-worker/seed/barred.txt` writes the hashes; the generator never reads the tasks. What a name, a run of
words and a method's tree are is said by that script, which looks for them in the end result, too.
"""

import functools
import importlib.machinery
import importlib.util
import pathlib
import re
import sys

FOLDER = pathlib.Path(__file__).parent
HASHES = frozenset((FOLDER / "barred.txt").read_text().split())


def _scan():
    """The scan as a module."""
    path = FOLDER.parent.parent / "scripts/dnu-scan"
    loader = importlib.machinery.SourceFileLoader("dnu_scan", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("dnu_scan", loader))
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # no cache beside the script
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = kept
    return module


SCAN = _scan()


@functools.lru_cache(maxsize=200_000)
def is_name_barred(name):
    """Whether an identifier or a word is one that a test task is about."""
    return SCAN.bar("name", name) in HASHES


def is_method_barred(source):
    """Whether a method's tree, with or without the names of slots, is that of a test task."""
    known = {}
    plain = re.sub(r"(?<=\bself\.)[A-Za-z]\w*", lambda found: known.setdefault(found[0], f"s{len(known)}"), source)
    return is_shape_barred("def method" + plain[plain.index("("):])


@functools.lru_cache(maxsize=100_000)
def is_shape_barred(source):
    """The same for a method whose slots have names without meaning: names of test tasks stand in no method anyway."""
    return any(SCAN.bar("method", tree) in HASHES for pair in SCAN.trees(source) for tree in pair)


def reason(text, source=""):
    """Why a text, and a method in it, may not stand in the corpus; empty when it may."""
    for name in SCAN.NAME.findall(text):
        if is_name_barred(name):
            return "a barred name"
    for run in SCAN.runs(text):
        if SCAN.bar("words", run) in HASHES:
            return "barred words"
    return "a barred method" if source and is_method_barred(source) else ""
