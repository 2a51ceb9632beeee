"""Reads texts as lines of JSON, prints those that CPython does not parse, and why.

`parses.py` alone takes any one function; `parses.py SELECTOR ARGUMENTS SLOT…` a method of that name that a message with so many arguments
fits, and that names no other slots of self.
"""

import ast
import json
import sys
import warnings


def main():
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        text = json.loads(line)
        try:
            (function,) = ast.parse(text).body
            if len(sys.argv) > 1:
                narrow(function, sys.argv[1], int(sys.argv[2]), set(sys.argv[3:]))
        except Exception as error:
            print(json.dumps({"why": str(error), "text": text}))


def narrow(function, selector, arguments, slots):
    found = function.args
    names = found.args
    assert function.name == selector, "another name"
    assert names[0].arg == "self", "no self"
    assert not (found.vararg or found.kwarg or found.kwonlyargs or found.posonlyargs), "starred parameters"
    assert len(names) - 1 - len(found.defaults) <= arguments <= len(names) - 1, "another number of arguments"
    marks = 0
    for node in ast.walk(function):
        if isinstance(node, ast.Attribute):
            of_self = isinstance(node.value, ast.Name) and node.value.id == "self"
            marks += of_self and node.attr == "_p_changed"
            assert not of_self or node.attr in slots | {"_p_changed"}, f"self.{node.attr}"
            assert of_self or not node.attr.startswith("_"), node.attr
        assert not isinstance(node, (ast.Import, ast.ClassDef, ast.With, ast.Yield, ast.Await, ast.Global)), node
        if isinstance(node, ast.Name):
            assert node.id == "_" or not node.id.startswith("_"), node.id
            assert node.id != "self" or isinstance(node.ctx, ast.Load), "self is bound"
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute) and node.targets[0].attr == "_p_changed":
            assert isinstance(node.value, ast.Constant) and node.value.value is True, "the marker"
            marks -= 1
    assert marks == 0, "the marker is read"


main()
