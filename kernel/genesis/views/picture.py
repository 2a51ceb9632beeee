"""Draws a view as one picture of SVG, for places where a page does not fit: what is long is cut, and what was cut is counted."""
parents = [ref("traits")]
views = ref("views")
width = 760
margin = 32
most_lines = 8
most_rows = 12
most_columns = 5
most_height = 12000
style = """
:root{--paper:#fbfaf7;--card:#ffffff;--ink:#1f2328;--soft:#5d6570;--rule:#e3e1da;--accent:#475a73}
.moss{--accent:#4a6b3f}.clay{--accent:#a1502f}.sky{--accent:#1f6fa8}.plum{--accent:#7b3f77}
@media (prefers-color-scheme:dark){:root{--paper:#14171b;--card:#1c2026;--ink:#e8e6e1;--soft:#9aa3ad;--rule:#2e343c;--accent:#9db3d1}
.moss{--accent:#a5c995}.clay{--accent:#e9a183}.sky{--accent:#7fc0ec}.plum{--accent:#d39bcf}}
text{font-family:ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;font-size:14px;fill:#1f2328;fill:var(--ink)}
.paper{fill:#fbfaf7;fill:var(--paper)}.card{fill:#ffffff;fill:var(--card);stroke:#e3e1da;stroke:var(--rule)}.mark{fill:#475a73;fill:var(--accent)}
.title{font-size:26px;font-weight:700}.lead{font-size:16px}.head{font-size:12px;font-weight:600;fill:#5d6570;fill:var(--soft)}
.label{font-size:13px;font-weight:600;fill:#475a73;fill:var(--accent)}.big{font-size:20px;font-weight:600}.soft{font-size:12px;fill:#5d6570;fill:var(--soft)}
.grid{stroke:#e3e1da;stroke:var(--rule);stroke-width:1}.tick{font-size:11px;fill:#5d6570;fill:var(--soft)}
.line{fill:none;stroke:#475a73;stroke:var(--accent);stroke-width:2;stroke-linejoin:round}.area{fill:#475a73;fill:var(--accent);opacity:.12}.dot,.bar{fill:#475a73;fill:var(--accent)}
"""


def drawn(self, object, sections, layout, about):
    pen = {"y": self.margin, "out": []}
    self.header(pen, layout, about)
    for section in sections:
        self.section(pen, section)
    if not any(section["items"] for section in sections):
        self.write(pen, "This object has no slots of its own to show.", "soft", self.margin, 96, 1, 20)
    pen["y"] = pen["y"] + 8
    for note in about["notes"]:
        self.write(pen, note, "soft", self.margin, 100, 3, 16)
    height = int(pen["y"] + self.margin - 8)
    accent = layout["accent"] if layout["accent"] in self.views.accents else self.views.accents[0]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {height}" width="{self.width}" height="{height}" class="{accent}" role="img">\n'
        + "<title>" + self.views.escaped(layout["title"]) + "</title>\n<style>" + self.style + "</style>\n"
        + f'<rect class="paper" x="0" y="0" width="{self.width}" height="{height}"/>\n' + "".join(pen["out"]) + "</svg>\n"
    )


def header(self, pen, layout, about):
    begun = pen["y"]
    x = self.margin + 16
    pen["y"] = pen["y"] + 12
    self.write(pen, about["what"], "soft", x, 100, 2, 16)
    pen["y"] = pen["y"] + 16
    self.write(pen, layout["title"], "title", x, 46, 2, 32)
    if layout["lead"]:
        self.write(pen, layout["lead"], "lead", x, 78, 4, 22)
    pen["out"].append(f'<rect class="mark" x="{self.margin}" y="{begun}" width="4" height="{pen["y"] - begun - 12}" rx="2"/>\n')
    pen["y"] = pen["y"] + 16


def section(self, pen, section):
    if not section["items"]:
        return
    self.write(pen, section["name"].upper(), "head", self.margin, 90, 1, 20)
    for item in section["items"]:
        if pen["y"] > self.most_height:
            self.write(pen, "… and more, which the page shows", "soft", self.margin, 90, 1, 20)
            return
        at = len(pen["out"])
        begun = pen["y"] - 4
        pen["y"] = pen["y"] + 18
        self.item(pen, item)
        pen["y"] = pen["y"] - 4
        card = f'<rect class="card" x="{self.margin}" y="{begun}" width="{self.width - 2 * self.margin}" height="{pen["y"] - begun}" rx="8"/>\n'
        pen["out"].insert(at, card)
        pen["y"] = pen["y"] + 12
    pen["y"] = pen["y"] + 16


def item(self, pen, item):
    value = item["value"]
    display = item["display"]
    left = self.margin + 16
    right = left + 190
    if display in ("chart", "table"):
        self.write(pen, item["label"], "label", left, 80, 1, 22)
        if display == "chart":
            return self.charted(pen, item, left)
        return self.table(pen, value, left)
    begun = pen["y"]
    self.write(pen, item["label"], "label", left, 24, 2, 20)
    ended = pen["y"]
    pen["y"] = begun
    if display in ("number", "flag"):
        self.write(pen, self.views.brief(value), "big", right, 40, 2, 26)
    elif isinstance(value, list) and value:
        self.rows(pen, [str(at + 1) + ".  " + self.views.brief(each) for at, each in enumerate(value[:self.most_rows])], len(value), right)
    elif isinstance(value, dict) and value:
        of = item["of"] if item["of"] is not None else len(value)
        self.rows(pen, [self.views.brief(key) + ":  " + self.views.brief(value[key]) for key in list(value)[:self.most_rows]], of, right)
    else:
        words = "empty" if value in ("", [], {}) else self.views.brief(value)
        self.write(pen, words, "soft" if value is None or words == "empty" else "ink", right, 58, self.most_lines, 20)
    pen["y"] = max(pen["y"], ended)


def rows(self, pen, rows, count, x):
    for row in rows:
        self.write(pen, row, "ink", x, 58, 2, 20)
    if count > len(rows):
        self.write(pen, "and " + self.views.number(count - len(rows)) + " more of " + self.views.number(count), "soft", x, 58, 1, 20)


def charted(self, pen, item, x):
    value = item["value"]
    labels = []
    if isinstance(value, dict):
        labels = [self.views.brief(key) for key in value]
        value = list(value.values())
    inner = self.views.chart.drawn(value, labels, item["chart"], self.width - 2 * x, 160)
    pen["out"].append(f'<g transform="translate({x} {pen["y"] - 14})">' + inner + "</g>\n")
    pen["y"] = pen["y"] + 166
    self.write(pen, self.views.chart.legend(value), "soft", x, 100, 2, 16)
    pen["y"] = pen["y"] + 4


def table(self, pen, rows, x):
    columns = self.views.columns(rows)
    shown = columns[:self.most_columns]
    wide = (self.width - 2 * x) // len(shown)
    fits = wide // 8 - 1
    for row in [None] + rows[:self.most_rows]:
        cells = []
        for at, column in enumerate(shown):
            name = column if isinstance(column, str) else str(column + 1)
            words = name if row is None else self.views.brief(self.views.page.of_row(row, column))
            line = self.views.escaped(self.lines(words, fits, 1)[0])
            cells.append(f'<text class="{"soft" if row is None else "ink"}" x="{x + at * wide}" y="{pen["y"]}">{line}</text>')
        pen["out"].append("".join(cells) + "\n")
        pen["y"] = pen["y"] + 20
    notes = []
    if len(rows) > self.most_rows:
        notes.append("and " + self.views.number(len(rows) - self.most_rows) + " more of " + self.views.counted(len(rows), "row"))
    if len(columns) > len(shown):
        notes.append(self.views.counted(len(columns) - len(shown), "more column"))
    if notes:
        self.write(pen, "; ".join(notes), "soft", x, 90, 1, 18)


def write(self, pen, words, kind, x, columns, most, step):
    for line in self.lines(words, columns, most):
        pen["out"].append(f'<text class="{kind}" x="{x}" y="{pen["y"]}">{self.views.escaped(line)}</text>\n')
        pen["y"] = pen["y"] + step


def lines(self, text, columns, most):
    lines = []
    line = ""
    width = 0
    for word in self.pieces(text[:columns * most * 2], columns):
        if word == "\n" or width + self.width_of(word) > columns and line:
            lines.append(line.rstrip())
            line = ""
            width = 0
        if word != "\n" and (line or word != " "):
            line = line + word
            width = width + self.width_of(word)
    lines.append(line.rstrip())
    if len(lines) > most or len(text) > columns * most * 2:
        lines = lines[:most]
        lines[-1] = lines[-1][:max(columns - 2, 1)] + " …"
    return lines


def pieces(self, text, columns):
    pieces = []
    word = ""
    for character in text.replace("\t", " "):
        if character in " \n":
            if word:
                pieces.append(word)
            pieces.append(character)
            word = ""
        elif self.width_of(word) + 2 > columns or ord(character) >= 0x2E80:
            if word:
                pieces.append(word)
            word = character
        else:
            word = word + character
    return pieces + [word] if word else pieces


def width_of(self, word):
    return sum([2 if ord(character) >= 0x1100 else 1 for character in word])
