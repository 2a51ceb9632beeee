"""Functions of the standard library as `ast.unparse` writes them, each a line of JSON: every N-th of those that fit a method's size.

`functions.py N`. Those fit that a method of the guard's could be as long and as deep as: 64 KiB, 400 lines, blocks 12 deep.
"""

import ast
import json
import pathlib
import sys
import sysconfig
import warnings

MOST_LINES = 400
MOST_BYTES = 64 << 10
MOST_DEPTH = 12


def main():
    every = int(sys.argv[1])
    warnings.simplefilter("ignore")
    root = pathlib.Path(sysconfig.get_paths()["stdlib"])
    count = 0
    for path in sorted(root.rglob("*.py")):
        if {"site-packages", "dist-packages"} & set(path.parts):
            continue
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue  # what is there to test parsers
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                text = ast.unparse(node) if count % every == 0 else ""
                if fits(text):
                    count += 1
                    if (count - 1) % every == 0:
                        print(json.dumps(text))


def fits(text):
    lines = text.splitlines()
    deepest = max((len(line) - len(line.lstrip(" ")) for line in lines), default=0) // 4
    return len(lines) <= MOST_LINES and len(text.encode()) <= MOST_BYTES and deepest <= MOST_DEPTH


main()
