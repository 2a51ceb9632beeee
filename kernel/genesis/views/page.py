"""Draws a view as a page of HTML: a small closed vocabulary of elements, everything that comes from slots or a model escaped, no script, nothing
that is fetched from anywhere. The kernel checks each page before it is kept (docs/views.md)."""
parents = [ref("traits")]
views = ref("views")
most_text = 4000
most_cell = 400
most_deep = 3
most_cells = 6000
most_anchors = 32
policy = "default-src 'none'; style-src 'unsafe-inline'"
style = """
:root{color-scheme:light dark;--paper:#fbfaf7;--card:#ffffff;--ink:#1f2328;--soft:#5d6570;--rule:#e3e1da;--accent:#475a73;--wash:#eef1f5}
body.moss{--accent:#4a6b3f;--wash:#eef4ea}body.clay{--accent:#a1502f;--wash:#faeee8}body.sky{--accent:#1f6fa8;--wash:#e8f2fa}body.plum{--accent:#7b3f77;--wash:#f6ecf5}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--card:#1c2026;--ink:#e8e6e1;--soft:#9aa3ad;--rule:#2e343c;--accent:#9db3d1;--wash:#242b35}
body.moss{--accent:#a5c995;--wash:#222b1f}body.clay{--accent:#e9a183;--wash:#33241d}body.sky{--accent:#7fc0ec;--wash:#1a2a36}body.plum{--accent:#d39bcf;--wash:#2f2130}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:60rem;margin:0 auto;padding:3rem 1.25rem 2rem}
header{border-left:4px solid var(--accent);padding-left:1.1rem;margin-bottom:2.2rem}
h1{font-size:2rem;line-height:1.2;margin:.1rem 0;overflow-wrap:anywhere}
.kind{margin:0;color:var(--soft);font-size:.85rem;overflow-wrap:anywhere}
.lead{margin:.5rem 0 0;font-size:1.1rem;max-width:44rem}
.group{margin-bottom:2rem}
h2{font-size:.8rem;letter-spacing:.08em;text-transform:uppercase;color:var(--soft);margin:0 0 .7rem;font-weight:600}
.items{display:flex;flex-wrap:wrap;gap:.8rem}
.item{background:var(--card);border:1px solid var(--rule);border-radius:.6rem;padding:.8rem 1rem;min-width:0;flex:1 1 100%}
.item.small{flex:1 1 11rem;max-width:100%}
.stressed .item{background:var(--wash);border-color:var(--accent)}
.stressed .number,.stressed .flag{font-size:2.1rem}
.quiet .item{background:transparent}
.quiet .number,.quiet .flag{font-size:1.05rem}
h3{margin:0 0 .25rem;font-size:.85rem;font-weight:600;color:var(--accent);overflow-wrap:anywhere}
p.value,.number,.flag{margin:0;overflow-wrap:anywhere}
.number{font-size:1.5rem;font-weight:600;font-variant-numeric:tabular-nums;line-height:1.25}
.flag{font-size:1.5rem;font-weight:600;line-height:1.25}
.text{white-space:pre-wrap}
.none,.note{color:var(--soft)}
.note{font-size:.85rem;margin:.5rem 0 0}
a{color:var(--accent);text-underline-offset:2px}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.92rem}
th{text-align:left;color:var(--soft);font-weight:600;font-size:.8rem}
th,td{padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--rule);vertical-align:top;overflow-wrap:anywhere}
tr:last-child td{border-bottom:0}
td.figure,th.figure{text-align:right;font-variant-numeric:tabular-nums}
dl{margin:0;display:grid;grid-template-columns:minmax(6rem,max-content) 1fr;gap:.25rem 1rem}
dt{color:var(--soft);overflow-wrap:anywhere}
dd{margin:0;min-width:0;overflow-wrap:anywhere}
dl dl,dd ol{margin:0;padding-left:.9rem;border-left:2px solid var(--rule)}
ol{margin:0;padding-left:1.6rem}
ol.plain{list-style:none;padding-left:0}
svg{display:block;width:100%;height:auto}
.grid{stroke:var(--rule);stroke-width:1}.tick{fill:var(--soft);font-size:11px}
.line{fill:none;stroke:var(--accent);stroke-width:2;stroke-linejoin:round}.area{fill:var(--accent);opacity:.12}.dot,.bar{fill:var(--accent)}
footer{margin-top:2.5rem;padding-top:.8rem;border-top:1px solid var(--rule);color:var(--soft);font-size:.85rem}
footer p{margin:.15rem 0;overflow-wrap:anywhere}
:target{outline:2px solid var(--accent);outline-offset:3px;border-radius:.3rem}
@media print{:root{--paper:#ffffff;--card:#ffffff;--ink:#000000;--soft:#444444;--rule:#bbbbbb}main{max-width:none;padding:0}.items{display:block}.item{break-inside:avoid;margin-bottom:.6rem}.wide{overflow:visible}}
"""


def drawn(self, object, sections, layout, about):
    ledger = {"cells": self.most_cells, "anchors": [], "self": primitive("object_id", object)}
    body = "".join([self.group(section, ledger) for section in sections if section["items"]])
    if not body:
        body = '<section class="group"><p class="none">This object has no slots of its own to show.</p></section>\n'
    accent = layout["accent"] if layout["accent"] in self.views.accents else self.views.accents[0]
    lead = '<p class="lead" dir="auto">' + self.views.escaped(layout["lead"]) + "</p>\n" if layout["lead"] else ""
    return (
        "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\"/>\n"
        + '<meta http-equiv="Content-Security-Policy" content="' + self.views.escaped(self.policy) + '"/>\n'
        + '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        + "<title>" + self.views.escaped(layout["title"]) + "</title>\n<style>" + self.style + "</style>\n</head>\n"
        + '<body class="' + accent + '">\n<main id="top">\n<header>\n<p class="kind" dir="auto">' + self.views.escaped(about["what"]) + "</p>\n"
        + '<h1 dir="auto">' + self.views.escaped(layout["title"]) + "</h1>\n" + lead + "</header>\n"
        + body + self.referred(ledger)
        + "<footer>\n" + "".join(['<p dir="auto">' + self.views.escaped(note) + "</p>\n" for note in about["notes"]]) + "</footer>\n</main>\n</body>\n</html>\n"
    )


def group(self, section, ledger):
    kinds = {"lead": "group stressed", "normal": "group", "quiet": "group quiet"}
    items = "".join([self.item(item, ledger) for item in section["items"]])
    return '<section class="' + kinds.get(section["emphasis"], "group") + '">\n<h2 dir="auto">' + self.views.escaped(section["name"]) + '</h2>\n<div class="items">\n' + items + "</div>\n</section>\n"


def item(self, item, ledger):
    value = item["value"]
    display = item["display"]
    small = display in ("number", "flag", "time", "reference") or display == "text" and (value is None or isinstance(value, str) and len(value) <= 60)
    label = '<h3 dir="auto">' + self.views.escaped(item["label"]) + "</h3>\n"
    return '<article class="item' + (" small" if small else "") + '">' + label + self.display(item, ledger) + "</article>\n"


def display(self, item, ledger):
    value = item["value"]
    display = item["display"]
    if display == "number" or display == "flag":
        return '<p class="' + display + '">' + self.views.escaped(self.views.brief(value)) + "</p>\n"
    if display == "chart":
        return self.charted(value, item)
    if display == "table":
        return self.table(value, ledger)
    if display == "list" or display == "map":
        return '<div class="value">' + self.cell(value, ledger, 0) + "</div>\n" + self.rest(item)
    return '<p class="value">' + self.leaf(value, ledger, self.most_text) + "</p>\n"


def rest(self, item):
    if item["of"] is not None and item["of"] > len(item["value"]):
        return '<p class="note">the first ' + self.views.number(len(item["value"])) + " of " + self.views.counted(item["of"], "entry").replace("entrys", "entries") + "</p>\n"
    return ""


def charted(self, value, item):
    labels = []
    values = value
    if isinstance(value, dict):
        labels = [self.views.brief(key) for key in value]
        values = list(value.values())
    legend = self.views.escaped(self.views.chart.legend(values))
    inner = self.views.chart.drawn(values, labels, item["chart"], 760, 220)
    return '<svg viewBox="0 0 760 220" role="img"><title>' + legend + "</title>" + inner + '</svg>\n<p class="note">' + legend + "</p>\n" + self.rest(item)


def table(self, rows, ledger):
    columns = self.views.columns(rows)
    shown = columns[:self.views.most_columns]
    heads = []
    body = []
    figures = [all(self.views.kind(self.of_row(row, column)) in ("number", "none") for row in rows[:self.views.most_items]) for column in shown]
    for column, is_figure in zip(shown, figures):
        name = column if isinstance(column, str) else str(column + 1)
        heads.append("<th" + (' class="figure"' if is_figure else "") + ' dir="auto">' + self.views.escaped(self.views.clipped(name, 60)) + "</th>")
    count = 0
    for row in rows[:self.views.most_items]:
        if ledger["cells"] <= 0:
            break
        count = count + 1
        body.append("<tr>" + "".join(["<td" + (' class="figure"' if is_figure else "") + ' dir="auto">' + self.cell(self.of_row(row, column), ledger, 1) + "</td>" for column, is_figure in zip(shown, figures)]) + "</tr>\n")
    notes = []
    if len(rows) > count:
        notes.append("the first " + self.views.number(count) + " of " + self.views.counted(len(rows), "row"))
    if len(columns) > len(shown):
        notes.append(self.views.counted(len(columns) - len(shown), "more column"))
    note = '<p class="note">' + self.views.escaped("; ".join(notes)) + "</p>\n" if notes else ""
    return '<div class="wide"><table><thead><tr>' + "".join(heads) + "</tr></thead>\n<tbody>\n" + "".join(body) + "</tbody></table></div>\n" + note


def of_row(self, row, column):
    if isinstance(row, dict):
        return row.get(column)
    return row[column]


def cell(self, value, ledger, depth):
    ledger["cells"] = ledger["cells"] - 1
    if isinstance(value, list) and value and depth < self.most_deep:
        return self.listed(value, ledger, depth)
    if isinstance(value, dict) and value and depth < self.most_deep:
        return self.mapped(value, ledger, depth)
    return self.leaf(value, ledger, self.most_cell)


def listed(self, items, ledger, depth):
    most = self.views.most_items if depth == 0 else 12
    out = []
    for item in items[:most]:
        if ledger["cells"] <= 0:
            break
        out.append('<li dir="auto">' + self.cell(item, ledger, depth + 1) + "</li>")
    if len(items) > len(out):
        out.append('<li class="none">and ' + self.views.number(len(items) - len(out)) + " more of " + self.views.number(len(items)) + "</li>")
    return "<ol>" + "\n".join(out) + "</ol>"


def mapped(self, pairs, ledger, depth):
    most = self.views.most_items if depth == 0 else 12
    out = []
    for key in list(pairs)[:most]:
        if ledger["cells"] <= 0:
            break
        out.append('<dt dir="auto">' + self.leaf(key, ledger, 80) + '</dt><dd dir="auto">' + self.cell(pairs[key], ledger, depth + 1) + "</dd>")
    if len(pairs) > len(out):
        out.append('<dt class="none">…</dt><dd class="none">and ' + self.views.number(len(pairs) - len(out)) + " more of " + self.views.number(len(pairs)) + "</dd>")
    return "<dl>" + "\n".join(out) + "</dl>"


def leaf(self, value, ledger, most):
    kind = self.views.kind(value)
    if kind == "ref":
        return self.anchor(value, ledger)
    if kind == "text":
        if value == "":
            return '<span class="none">empty</span>'
        return '<span class="text" dir="auto">' + self.views.escaped(self.views.clipped(value, most)) + "</span>"
    if kind == "none":
        return '<span class="none">nothing</span>'
    if kind == "list" and not value or kind == "map" and not value:
        return '<span class="none">empty</span>'
    if kind == "time":
        return "<time>" + self.views.escaped(self.views.time(value)) + "</time>"
    return self.views.escaped(self.views.brief(value))


def anchor(self, object, ledger):
    id = primitive("object_id", object)
    words = self.views.escaped(self.views.name_of(object))
    if id == ledger["self"]:
        return '<a href="#top">' + words + "</a>"
    if object not in ledger["anchors"]:
        if len(ledger["anchors"]) >= self.most_anchors:
            return "<span>" + words + "</span>"
        ledger["anchors"].append(object)
    return '<a href="#o' + id[1:] + '">' + words + "</a>"


def referred(self, ledger):
    if not ledger["anchors"]:
        return ""
    out = ['<section class="group quiet">\n<h2>Objects referred to</h2>\n<div class="items">\n']
    for object in ledger["anchors"]:
        id = primitive("object_id", object)
        out.append('<article class="item small" id="o' + id[1:] + '"><h3 dir="auto">' + self.views.escaped(self.views.name_of(object)) + '</h3><p class="value"><span class="text" dir="auto">' + self.views.escaped(self.gist(object)) + "</span></p></article>\n")
    return "".join(out) + "</div>\n</section>\n"


def gist(self, object):
    words = []
    methods = 0
    for name in primitive("slot_names", object):
        value = primitive("get_slot", object, name, None)
        if self.views.kind(value) == "method":
            methods = methods + 1
        elif name not in self.views.hidden and len(words) < 6:
            words.append(self.views.words_of(name) + ": " + self.views.clipped(self.views.brief(value), 60))
    if methods:
        words.append(self.views.counted(methods, "method"))
    if len(object):
        words.append(self.views.number(len(object)) + " entries")
    return "\n".join(words) if words else "no slots of its own"
