"""What the personas are better at with their adapters: the kept model, asked with each adapter and without, on names and scenarios
that no training holds.

`python measures.py --each 100 --json adapters/measured.json` prints a row for each measure. The bare seed is asked as it knows how to be asked:
for a plan and for what is touched, these are read off the method that it writes; for a verdict, it passes what it holds likely enough.
"""

import argparse
import json
import pathlib
import random
import signal

import torch

import adapt
import evaluate
import fixed
import persona
import tokens
import wishes


class Table:
    """The measures of one persona: {measure: [right without, right with the adapter, cases]}."""

    def __init__(self):
        self.rows = {}

    def count(self, what, bare, adapted):
        """Adds one case."""
        row = self.rows.setdefault(what, [0, 0, 0])
        row[0] += bool(bare)
        row[1] += bool(adapted)
        row[2] += 1


class Writer:
    """A model, with an adapter or bare."""

    def __init__(self, model, tokenizer):
        self.model, self.tokenizer = model, tokenizer

    def write(self, prompt, most=200):
        """The greedy completion without its end; None when it does not end."""
        text = self.tokenizer.decode(evaluate.decode(self.model, self.tokenizer.encode(prompt).ids, most=most)[0], skip_special_tokens=False)
        return text.removesuffix(evaluate.END) if text.endswith(evaluate.END) else None

    def likelihood(self, prompt, completion):
        """The mean log-probability of a completion."""
        head, tail = self.tokenizer.encode(prompt).ids, self.tokenizer.encode(completion).ids
        with torch.no_grad():
            scores = torch.log_softmax(self.model.lm_head(self.model.stream(torch.tensor([head + tail]))[0, len(head) - 1:-1]), -1)
        return scores[range(len(tail)), tail].mean().item()


def parsed(text):
    """The JSON of a text; None when it is none."""
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return None


def touched(source):
    """What a source touches; None when it is no method."""
    try:
        return persona.Touched(source)
    except (TypeError, SyntaxError, AttributeError, IndexError):
        return None


def chosen(plan):
    """The archetype of a plan and whom it asks beside it; None when it is no plan."""
    return (plan["archetype"], sorted(one["facet"] for one in plan["facets"])) if persona.is_plan(plan) else None


def parts(text):
    """`reads a b; changes a` as {"reads": {"a", "b"}, "changes": {"a"}}."""
    found = (part.split(" ") for part in (text or "").split("; "))
    return {words[0]: set(words[1:]) for words in found}


def brick(table, cases, bare, adapted, _):
    """Plans."""
    for prompt, _, case, _ in cases:
        wanted = chosen(persona.plan(case.source))
        plan, plain = chosen(parsed(adapted.write(prompt))), chosen(parsed(bare.write(prompt)))
        source = bare.write(case.prompt())
        table.count("a plan by the schema", plain, plan)
        table.count("the right archetype and facets", plain == wanted, plan == wanted)
        table.count("the same; bare: read off the method that it writes", touched(source) and chosen(persona.plan(source)) == wanted, plan == wanted)


def babs(table, cases, bare, adapted, _):
    """What is touched."""
    for prompt, _, case, _ in cases:
        if case.refusal is not None:
            table.count("nothing, of what cannot be carried out; bare: it refuses", (bare.write(case.prompt()) or "").startswith(evaluate.REFUSE), adapted.write(prompt) == persona.NOTHING)
            continue
        wanted, said = parts(persona.Touched(case.source).told()), parts(adapted.write(prompt))
        of = touched(bare.write(case.prompt()))
        read_off = parts(of and of.told())
        for what in wanted:
            table.count(f"what it {what}, exactly; bare: read off its method", read_off.get(what) == wanted[what], said.get(what) == wanted[what])
        table.count("all three", read_off == wanted, said == wanted)


def robin(table, cases, bare, adapted, grounding):
    """Methods, woven out of what BABS answers."""
    def judged(writer, prompt):
        source = writer.write(prompt)
        return source is not None and not evaluate.judged(check, source + evaluate.END)

    for prompt, _, case, check in cases:
        if case.refusal is not None:
            table.count("refusals of what cannot be carried out", *((writer.write(asked) or "").startswith(evaluate.REFUSE) for writer, asked in ((bare, case.prompt()), (adapted, prompt))))
            continue
        if grounding is not None:
            said = grounding.write(persona.ask_babs(case)) or ""
            table.count("methods right, out of what BABS answers; bare: of the wish", judged(bare, case.prompt()), judged(adapted, persona.ask_robin(case, said)))
        truth = persona.ask_robin(case, persona.Touched(case.source).told())
        table.count("methods right, out of what is touched in truth", judged(bare, truth), judged(adapted, truth))


def alfred(table, cases, bare, adapted, _):
    """Verdicts on methods that pass the examples, and data that is mended."""
    scores = []
    for prompt, completion, case, judged in cases:
        if judged is None:
            wanted = parsed(completion.removesuffix(evaluate.END))
            table.count("data as its schema and what is said of it want it", parsed(bare.write(prompt)) == wanted, parsed(adapted.write(prompt)) == wanted)
            continue
        source, good = judged
        plain, said = parsed(bare.write(prompt)), parsed(adapted.write(prompt))
        table.count("a verdict by the schema", persona.is_verdict(plain), persona.is_verdict(said))
        scores.append((bare.likelihood(case.prompt(), source), good, persona.is_verdict(said) and (said["verdict"] == "pass") == good))
    bound = max((score for score, _, _ in scores), key=lambda bound: sum((score >= bound) == good for score, good, _ in scores))
    for score, good, right in scores:
        table.count("right verdicts; bare: by the bound of likelihood that is best on these very cases", (score >= bound) == good, right)
        table.count(f"the same, of {'right' if good else 'wrong'} methods", (score >= bound) == good, right)


MEASURES = {"brick": brick, "babs": babs, "robin": robin, "alfred": alfred}


def drawn(name, each):
    """Cases that no training holds; those of ROBIN with a check of a source."""
    drawer = wishes.Drawer(random.Random(f"persona-hidden-{name}"), held=True)
    found = 0
    while found < each:
        prompt, completion, case, more = persona.draw(name, drawer)
        if isinstance(case, wishes.Case) and not fixed.is_new(case):
            continue
        found += 1
        if name == "robin" and case.refusal is None:
            states = [drawer.world.draw() for _ in range(12)]
            more = evaluate.runs(case, states, [drawer.wanted(case.method, state) for state in states])
        yield prompt, completion, case, more


def main():
    """Measures those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("persona", nargs="*", help="of " + ", ".join(persona.NAMES) + "; without any, all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument("--json", type=pathlib.Path)
    asked = parser.parse_args()
    unknown = set(asked.persona) - set(persona.NAMES)
    if unknown:
        parser.error(f"there is no persona {', '.join(sorted(unknown))}; there are {', '.join(persona.NAMES)}")
    signal.signal(signal.SIGALRM, evaluate.alarmed)
    torch.set_num_threads(asked.threads)
    tokenizer = tokens.load()
    adapted = {name: Writer(adapt.load(name), tokenizer) for name in persona.NAMES if (adapt.FOLDER / name / "adapter_model.safetensors").exists()}
    bare = Writer(evaluate.load(), tokenizer)
    tables = {}
    for name in asked.persona or persona.NAMES:
        if name not in adapted:
            parser.error(f"{adapt.FOLDER / name} holds no adapter; `python adapt.py {name}` trains one")
        table = Table()
        MEASURES[name](table, drawn(name, asked.each), bare, adapted[name], adapted.get("babs"))
        tables[name] = table.rows
        for what, (without, having, n) in table.rows.items():
            print(f"{name:7} {what:84} bare {without / n:6.1%}  adapted {having / n:6.1%}  of {n}", flush=True)
    if asked.json:
        asked.json.write_text(json.dumps({"base_sha256": adapt.base_hash(), "table": tables}, indent=1) + "\n")


if __name__ == "__main__":
    main()
