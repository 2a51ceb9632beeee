"""How objects are shown: which slots, how each can be displayed, and the order of them where no model takes part.

A structure puts slots into groups and gives each a display; a layout orders, names and stresses them. `page` draws both as HTML, `picture` as
SVG, `chart` series of numbers in either.
"""
parents = [ref("traits")]
page = ref("views.page")
picture = ref("views.picture")
chart = ref("views.chart")
view = ref("views.view")
hidden = ["parents", "comment", "wishes", "view_record"]
entries_name = "(entries)"
most_slots = 120
most_items = 100
most_columns = 8
most_bars = 40
accents = ["slate", "moss", "clay", "sky", "plum"]


def record_of(self, object):
    if "view_record" in primitive("slot_names", object):
        record = primitive("get_slot", object, "view_record", None)
        if primitive("kind", record) == "ref" and primitive("get_slot", record, "of", None) == object:
            return record
    return None


def facts(self, object):
    facts = []
    for name, kind, holder in primitive("all_slots", object):
        if kind == "method" or name in self.hidden:
            continue
        value = primitive("get_slot", object, name, None)
        facts.append({
            "slot": name,
            "kind": kind,
            "size": self.size_of(value),
            "displays": self.displays(value, kind),
            "is_inherited": holder != object,
        })
    if len(object):
        shown = self.entries_of(object)
        facts.append({
            "slot": self.entries_name,
            "kind": "entries",
            "size": len(object),
            "displays": self.displays(shown, "map"),
            "is_inherited": False,
        })
    return facts


def entries_of(self, object):
    return {key: value for key, value in primitive("items", object, None, None, self.most_items)}


def value_of(self, object, name):
    if name == self.entries_name:
        return self.entries_of(object)
    return primitive("get_slot", object, name, None)


def size_of(self, value):
    if isinstance(value, (str, list, dict, bytes)):
        return len(value)
    return None


def displays(self, value, kind):
    if isinstance(value, list):
        if self.is_series(value):
            return ["chart", "list"]
        if self.columns(value):
            return ["table", "list"]
        return ["list"]
    if isinstance(value, dict):
        if len(value) <= self.most_bars and self.is_series(list(value.values())):
            return ["map", "chart"]
        return ["map"]
    simple = {"bool": "flag", "int": "number", "float": "number", "time": "time", "ref": "reference", "bytes": "content", "blob": "content"}
    return [simple.get(kind, "text")]


def is_series(self, values):
    return len(values) > 1 and all(isinstance(value, (int, float)) and not isinstance(value, bool) and -1e300 < value < 1e300 for value in values)


def columns(self, rows):
    rows = rows[:self.most_items]
    if rows and all(isinstance(row, dict) for row in rows):
        names = []
        for row in rows:
            for name in row:
                if not isinstance(name, str):
                    return []
                if name not in names:
                    names.append(name)
        return names
    if rows and all(isinstance(row, list) and len(row) == len(rows[0]) for row in rows) and 1 < len(rows[0]) <= self.most_columns:
        return list(range(len(rows[0])))
    return []


def plain_structure(self, facts):
    groups = []
    for name, is_inherited in (("Own slots", False), ("From its prototypes", True)):
        slots = [{"slot": fact["slot"], "display": fact["displays"][0]} for fact in facts[:self.most_slots] if fact["is_inherited"] == is_inherited]
        if slots:
            groups.append({"name": name, "slots": slots})
    return {"groups": groups}


def plain_layout(self, structure, title):
    groups = [
        {
            "name": group["name"],
            "emphasis": "normal" if at == 0 else "quiet",
            "slots": [{"slot": shown["slot"], "label": self.words_of(shown["slot"]), "chart": "line"} for shown in group["slots"]],
        }
        for at, group in enumerate(structure["groups"])
    ]
    return {"title": title, "lead": "", "accent": self.accents[0], "groups": groups}


def words_of(self, name):
    return name.strip("_").replace("_", " ") or name


def flaw_of_structure(self, facts, structure):
    displays = {fact["slot"]: fact["displays"] for fact in facts[:self.most_slots]}
    names = []
    seen = []
    for group in structure["groups"]:
        if group["name"] in names:
            return "two groups are called " + group["name"]
        names.append(group["name"])
        for shown in group["slots"]:
            name = shown["slot"]
            if name not in displays:
                return "there is no slot " + name
            if name in seen:
                return "the slot " + name + " is shown twice"
            if shown["display"] not in displays[name]:
                return "the slot " + name + " cannot be displayed as " + shown["display"] + ", but as " + " or ".join(displays[name])
            seen.append(name)
    if displays and not seen:
        return "it shows no slot"
    return None


def flaw_of_layout(self, structure, layout):
    slots = {group["name"]: sorted(shown["slot"] for shown in group["slots"]) for group in structure["groups"]}
    for group in layout["groups"]:
        if group["name"] not in slots:
            return "there is no group " + group["name"] + ", or it is laid out twice"
        wanted = slots.pop(group["name"])
        if sorted(shown["slot"] for shown in group["slots"]) != wanted:
            return "the group " + group["name"] + " has the slots " + ", ".join(wanted) + ", each once"
    if slots:
        return "the layout leaves out the group " + list(slots)[0]
    return None


def sections(self, object, structure, layout):
    displays = {shown["slot"]: shown["display"] for group in structure["groups"] for shown in group["slots"]}
    return [
        {
            "name": group["name"],
            "emphasis": group["emphasis"],
            "items": [
                {
                    "slot": shown["slot"],
                    "label": shown["label"],
                    "chart": shown["chart"],
                    "display": displays[shown["slot"]],
                    "value": self.value_of(object, shown["slot"]),
                    "of": len(object) if shown["slot"] == self.entries_name else None,
                }
                for shown in group["slots"]
            ],
        }
        for group in layout["groups"]
    ]


def left_out(self, facts, structure):
    shown = [each["slot"] for group in structure["groups"] for each in group["slots"]]
    return [fact["slot"] for fact in facts if fact["slot"] not in shown]


def escaped(self, value):
    text = str(value)
    for old, new in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&#39;")):
        text = text.replace(old, new)
    if text.isprintable():
        return text
    return "".join([self.printable(character) for character in text])


def printable(self, character):
    code = ord(character)
    if character in "\n\t" or character.isprintable():
        return character
    if code < 32:
        return chr(0x2400 + code)
    if code == 127 or 0x80 <= code < 0xA0 or 0xFDD0 <= code <= 0xFDEF or code % 0x10000 >= 0xFFFE:
        return "\ufffd"
    return character


def clipped(self, text, most):
    if len(text) <= most:
        return text
    return text[:most] + "… and " + self.number(len(text) - most) + " more characters"


def number(self, value):
    if isinstance(value, float):
        text = str(value)
        if "e" in text or "n" in text:
            return text
        if len(text) > 14:
            text = f"{value:.8g}"
        return f"{value:,}" if abs(value) >= 10000 and "e" not in text else text
    if value >= 10 ** 60 or value <= -10 ** 60:
        return "a number of more than 60 digits"
    return f"{value:,}" if abs(value) >= 10000 else str(value)


def time(self, value):
    text = str(value)
    return text[:16] + " UTC" if text[17:19] == "00" else text[:19] + " UTC"


def kind(self, value):
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        return "list"
    if isinstance(value, dict):
        return "map"
    return primitive("kind", value)


def name_of(self, object):
    for slot in ("name", "title"):
        name = primitive("get_slot", object, slot, None)
        if isinstance(name, str) and 0 < len(name) <= 60:
            return name + " (" + primitive("object_id", object) + ")"
    return primitive("object_id", object)


def brief(self, value):
    kind = self.kind(value)
    if kind == "none":
        return "nothing"
    if kind == "bool":
        return "yes" if value else "no"
    if kind == "number":
        return self.number(value)
    if kind == "text":
        return value
    if kind == "time":
        return self.time(value)
    if kind == "ref":
        return self.name_of(value)
    if kind == "list":
        return self.counted(len(value), "item")
    if kind == "map":
        return self.counted(len(value), "pair")
    if kind == "bytes":
        return self.counted(len(value), "byte")
    if kind == "blob":
        return "a content of " + self.number(value.bytes) + " bytes, " + value.digest[:12] + "…"
    return "a " + kind


def counted(self, number, noun):
    return self.number(number) + " " + noun + ("" if number == 1 else "s")
