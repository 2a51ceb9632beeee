"""Data that breaks its JSON Schema, what a validator says of it, and the data as it should be: ALFRED's work beside verdicts.

There is one right answer: a number goes to the bound that it broke, a text to its first characters or to the spelling of the schema's list, a list to its
first items, each once; a number in quotes loses them, a text without gets them; what is missing has its default, what nobody asked for goes.
"""

import json

import names
import vocabulary


class Mending:
    """Data to be mended: `schema`, `broken`, `errors` (lines), `mended`."""

    def __init__(self, rng, held=False):
        self.rng, self.held = rng, held
        fields, used = {}, set()
        for _ in range(rng.randint(1, 4)):
            make = rng.choice((self.whole, self.text, self.choice, self.truth, self.listed))
            name, *field = make(used)
            used.add(name)
            fields[name] = field
        self.schema = {"type": "object", "properties": {name: rule for name, (rule, _, _) in fields.items()}, "required": list(fields), "additionalProperties": False}
        self.mended = {name: good for name, (_, good, _) in fields.items()}
        self.broken, self.errors = dict(self.mended), []
        for name in rng.sample(list(fields), min(len(fields), rng.choice((1, 1, 2)))):
            self.spoil(name, *fields[name])
        if rng.random() < 0.15:
            name = self.name("int", used)
            self.broken[name] = rng.randint(0, 99)
            self.errors.append(f"Additional properties are not allowed ('{name}' was unexpected)")

    def name(self, kind, used):
        """A name that is not used yet."""
        while True:
            name = names.pick_name(self.rng, kind, held=self.held)
            if name not in used:
                return name

    # Each makes a field: its name, its rule, a good value, and (a value that breaks the rule, what it should be, what is said).

    def whole(self, used):
        """A whole number within bounds."""
        rng = self.rng
        low = rng.choice((0, 0, 0, 1, -10, -40))
        high = low + rng.choice((5, 10, 12, 23, 40, 59, 100, 365, 500))
        rule, good = {"type": "integer", "minimum": low, "maximum": high}, rng.randint(low, high)
        below, above = low - rng.randint(1, 30), high + rng.randint(1, 90)
        wrong = rng.choice(((below, low, f"{below} is less than the minimum of {low}"), (above, high, f"{above} is greater than the maximum of {high}"), (str(good), good, f'"{good}" is not of type "integer"')))
        return self.name("int", used), rule, good, wrong

    def text(self, used):
        """A text of so many characters at most."""
        rng = self.rng
        words = " ".join(rng.sample(vocabulary.WORDS_OF_TEXTS, 4))
        most = rng.randint(4, 12)
        good = words[:rng.randint(2, most)].rstrip()
        number = rng.randint(1, 9999)
        wrong = rng.choice(((words, words[:most], f"{json.dumps(words)} is longer than {most} characters"), (number, str(number), f'{number} is not of type "string"')))
        return self.name("text", used), {"type": "string", "maxLength": most}, good, wrong

    def choice(self, used):
        """One word of a few."""
        rng = self.rng
        words = rng.sample(vocabulary.STATES, rng.randint(2, 4))
        good = rng.choice(words)
        said = rng.choice((good.upper(), good.capitalize(), f" {good}", f"{good} "))
        told = ", ".join(json.dumps(word) for word in words[:-1]) + " or " + json.dumps(words[-1])
        return self.name("text", used), {"enum": words}, good, (said, good, f"{json.dumps(said)} is not one of {told}")

    def truth(self, used):
        """True or false."""
        good = self.rng.random() < 0.5
        said = self.rng.choice((json.dumps(json.dumps(good)), str(int(good))))
        return self.name("bool", used), {"type": "boolean"}, good, (json.loads(said), good, f'{said} is not of type "boolean"')

    def listed(self, used):
        """A list of so many words at most, each once."""
        rng = self.rng
        most = rng.randint(2, 4)
        words = rng.sample(vocabulary.WORDS_OF_TEXTS, most + 2)
        good = words[:rng.randint(1, most)]
        twice = [*good, rng.choice(good)]
        wrong = (words, words[:most], f"{json.dumps(words)} has more than {most} items") if rng.random() < 0.5 or len(twice) > most else (twice, good, f"{json.dumps(twice)} has non-unique elements")
        return self.name("list[text]", used), {"type": "array", "items": {"type": "string"}, "maxItems": most, "uniqueItems": True}, good, wrong

    def spoil(self, name, rule, good, wrong):
        """Breaks a field, or leaves it out where the rule has a default."""
        if self.rng.random() < 0.2:
            rule["default"] = good
            del self.broken[name]
            self.errors.append(f'"{name}" is a required property')
            return
        self.broken[name], self.mended[name], said = wrong
        self.errors.append(f"{name}: {said}")

    def prompt(self):
        """The prompt for the data as it should be."""
        return f"<|covenant|>{written(self.schema)}\n<|attempt|>{written(self.broken)}\n<|flaw|>{'; '.join(self.errors)}\n<|attempt|>"

    def completion(self):
        """The data as it should be."""
        return written(self.mended) + "<|end|>"


def written(value):
    """The JSON of a value."""
    return json.dumps(value, ensure_ascii=False)


def breaks(schema, data):
    """The names of the fields that do not keep to a schema of this form."""
    found = [name for name in schema["required"] if name not in data] + [name for name in data if name not in schema["properties"]]
    for name, rule in schema["properties"].items():
        if name in data and not keeps(rule, data[name]):
            found.append(name)
    return found


def keeps(rule, value):
    """Whether a value keeps to the rule of its field."""
    kinds = {"integer": int, "string": str, "boolean": bool, "array": list}
    if "type" in rule and (not isinstance(value, kinds[rule["type"]]) or isinstance(value, bool) and rule["type"] == "integer"):
        return False
    if "enum" in rule and value not in rule["enum"]:
        return False
    if isinstance(value, list) and (len(value) > rule["maxItems"] or len(set(value)) < len(value)):
        return False
    if isinstance(value, str) and len(value) > rule.get("maxLength", len(value)):
        return False
    return not (isinstance(value, int) and not isinstance(value, bool)) or rule["minimum"] <= value <= rule["maximum"]
