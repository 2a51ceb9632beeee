"""The benchmarks behind ./scripts/bench: real programs, stores and homes of their own, medians of several runs.

A row has: name, value, unit, rival (what the figure is compared with, in the same unit and the same run), rival_is, ratio
(value / rival), target (the bound for the value, computed from the rival where the target is relative), met, note.
"""

import argparse
import json
import pathlib
import sys
import traceback

import adapters
import channel
import clients
import embeddings
import grammar
import image
import inference
import memory
import methods
import mind
import rows
import steward
import system

PARTS = [system, inference, adapters, embeddings, grammar, image, clients, methods, steward, channel, mind, memory]
NAMES = list(dict.fromkeys(name for part in PARTS for name in part.NAMES))
GROUPS = {
    "inference": [*inference.NAMES, *adapters.NAMES, *embeddings.NAMES],
    "image": [*image.NAMES, *clients.NAMES, *methods.NAMES],
    "memory": [*memory.NAMES],
    "steward": [*steward.NAMES, *channel.NAMES],
    "mind": [*mind.NAMES],
}


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    known = [*NAMES, *GROUPS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"among {', '.join(known)}; default all")
    parser.add_argument("--quick", action="store_true", help="fewer runs")
    parser.add_argument("--update", type=pathlib.Path, metavar="FILE", help="put the figures into this table, docs/performance.md, and leave its others")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in known]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    wanted = {single for name in arguments.names or NAMES for single in GROUPS.get(name, [name])}
    found, broken = measured(wanted, arguments.quick)
    if arguments.json:
        print(json.dumps({"rows": found}, ensure_ascii=False))
    else:
        print(rows.text(found))
    if arguments.update:
        # Written at once when all is measured: another run may have added to it meanwhile.
        former = arguments.update.read_text() if arguments.update.exists() else ""
        arguments.update.write_text(rows.markdown(found, former))
    if broken:
        sys.exit(f"not measured, see above: {', '.join(broken)}")


def measured(wanted, quick):
    """The rows of all parts, and the names of those that broke: an hour of figures is not lost for one of them."""
    found, broken = [], []
    for part in PARTS:
        names = wanted.intersection(part.NAMES)
        if not names:
            continue
        try:
            found += part.measure(wanted, quick)
        except (Exception, SystemExit) as error:
            if isinstance(error, SystemExit):
                print(error, file=sys.stderr)
            else:
                traceback.print_exc()
            broken += [name for name in part.NAMES if name in names]
    return found, broken


main()
