"""A figure beside its rival, and how rows are shown."""

import datetime

SMALLER_IS_BETTER = ("ms", "s", "µs", "bytes", "MiB")


def row(name, value, unit, rival, rival_is, target, note=""):
    """One figure. `rival` is what it is compared with, in the same unit and the same run; `target` is the bound for the value.

    A value of None was not measured, and `note` says why. A target of None bounds nothing: the figure is there to be seen.
    """
    ratio = value / rival if value is not None and rival else None
    met = None
    if value is not None and target is not None:
        met = value <= target if unit in SMALLER_IS_BETTER else value >= target
    return {
        "name": name,
        "value": rounded(value),
        "unit": unit,
        "rival": rounded(rival),
        "rival_is": rival_is,
        "ratio": None if ratio is None else round(ratio, 2),
        "target": rounded(target),
        "met": met,
        "note": note,
    }


def rounded(number):
    if number is None:
        return None
    return round(number, 4) if abs(number) < 100 else round(number, 1)


def text(rows):
    width = max((len(line["name"]) for line in rows), default=0)
    lines = [f"{'name':{width}} {'value':>10} {'unit':14} {'rival':>10} {'ratio':>7} {'target':>10}  met  rival is"]
    for line in rows:
        value, rival, ratio, target = (shown(line[key]) for key in ("value", "rival", "ratio", "target"))
        met = {True: "yes", False: "NO", None: "-"}[line["met"]]
        about = "; ".join(words for words in (line["rival_is"], line["note"]) if words)
        lines.append(
            f"{line['name']:{width}} {value:>10} {line['unit']:14} {rival:>10} {ratio:>7} {target:>10}  {met:3}  {about}"
        )
    return "\n".join(lines)


HEAD = """# Performance

Made by `./scripts/bench --update docs/performance.md`, which measures all figures, or those that are named, and leaves the others as they are; not
edited by hand. Medians on a shared two-core machine: the ratios to rivals measured in the same run say more than the single figures.

| figure | value | rival or floor, in the same run | ratio | target | met | measured |
|---|---|---|---|---|---|---|
"""


def markdown(rows, former=""):
    """The document of these rows and of those of the former one that are not measured anew."""
    table, notes = {}, {}
    for line in former.splitlines():
        if line.startswith("| ") and not line.startswith("| figure |"):
            cells = line.strip("| ").split(" | ")
            table[cells[0]] = "| " + " | ".join([*cells, "earlier"][:7]) + " |"
        elif line.startswith("- "):
            notes[line[2:].partition(":")[0]] = line
    order = list(table)
    for before, line in zip([None, *rows], rows):
        name = line["name"]
        if name in table and line["value"] is None:
            continue  # what cannot be measured here was measured elsewhere
        if name not in table:
            order.insert(order.index(before["name"]) + 1 if before else len(order), name)
        value, ratio, target = (shown(line[key]) for key in ("value", "ratio", "target"))
        rival = "-" if line["rival"] is None else f"{line['rival']} ({line['rival_is']})"
        met = {True: "yes", False: "**no**", None: "-"}[line["met"]]
        table[name] = f"| {name} | {value} {line['unit']} | {rival} | {ratio} | {target} | {met} | {datetime.date.today()} |"
        notes.pop(name, None)
        if line["note"]:
            notes[name] = f"- {name}: {line['note']}."
    text = HEAD + "\n".join(table[name] for name in order) + "\n"
    told = [notes[name] for name in order if name in notes]
    return text + ("\n" + "\n".join(told) + "\n" if told else "")


def shown(number):
    return "-" if number is None else str(number)
