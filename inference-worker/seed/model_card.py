"""The model card: MODEL_CARD.md beside the trained model, from its evaluation.json, the training's log and model.json.

`python evaluate.py --each 40 --json work2/evaluation.json && python model_card.py`. The numbers come from those files alone.
"""

import json
import pathlib
import re

import adapt
import attempts
import changes
import corpus
import plot
import readings
import scenario
import stories
from evaluate import wilson
from model import config_of
from tokens import FOLDER

BENCH = pathlib.Path(__file__).resolve().parents[2] / "docs" / "dnu-results.md"


def rows_of(text):
    """The rows of the first table of a text, as lists of cells."""
    table = re.search(r"(?:^\|.*\n)+", text, re.M)[0]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.split("\n") if row and not row.startswith("| ---")]


def bench():
    """What DNU-Bench says of the model, from docs/dnu-results.md; coverage.svg beside the card."""
    text = BENCH.read_text()
    section = lambda title: text.split(f"## {title}\n")[1].split("\n## ")[0]
    yield "## DNU-Bench, test part\n"
    yield "The model in the real system: asked, guarded, tried, installed, and held to examples that it was not shown (`docs/dnu-results.md`, `docs/dnu.md`).\n"
    head, *rows = rows_of(section("Test part"))
    kept = [head.index(name) for name in ("family", "tasks", "pass@1", "95 % interval", "installed", "of them wrong")]
    for number, row in enumerate([head, *rows]):
        yield "| " + " | ".join(row[at] for at in kept) + " |" + ("\n" + "| --- " * len(kept) + "|" if number == 0 else "")
    yield "\n## Accuracy against coverage\n"
    yield "The development part by how many of its answers must agree (docs/wishes.md). Coverage: tasks of which a method was installed; accuracy: how many of those are right.\n"
    yield "| must agree | right | installed and wrong | coverage | accuracy |\n| --- | --- | --- | --- | --- |"
    points = []
    for share, right, wrong, _, refused in rows_of(section("Accuracy against coverage"))[1:]:
        good, tasks, all_tasks = int(right.split(" of ")[0]), right, int(right.split(" of ")[1]) + int(refused.split(" of ")[1])
        installed = good + int(wrong)
        points.append((100 * installed / all_tasks, 100 * good / installed))
        yield f"| {share} | {tasks} | {wrong} | {points[-1][0]:.1f} % | {points[-1][1]:.1f} % |"
    (FOLDER / "coverage.svg").write_text(plot.line(sorted(points), "tasks of which a method was installed, %", "of those right, %", dots=True))
    yield "\n![accuracy against coverage](coverage.svg)\n"


def lines():
    """The card, line by line."""
    told, config = json.loads((FOLDER / "model.json").read_text()), config_of(FOLDER)
    result = json.loads((corpus.WORK / "evaluation.json").read_text())
    log = [json.loads(line) for line in (corpus.WORK / "training.jsonl").open()]
    rows = readings.ALL + readings.FILTERS + changes.ALL
    yield "# seed\n"
    yield (f"A small Llama, trained from nothing for BAT OS: {told['parameters']:,} parameters, {config['num_hidden_layers']} layers of width "
           f"{config['hidden_size']}, {config['num_attention_heads']} heads, vocabulary {told['vocabulary']}, the embedding as head, kept in {told['precision']}. "
           "It reads one fixed form of prompt and writes one Python method or a refusal. It knows nothing else.\n")
    yield "## How it was made\n"
    yield (f"- Text: written by the grammar in this folder, {len(rows)} productions with {sum(len(row.phrases) for row in rows)} phrasings, {len(stories.STORIES)} stories, and the rules for messages without a wish; "
           "every method was run and held to a meaning written apart from it before it counted.")
    known = scenario.load(False)
    yield (f"- And {len(known):,} scenarios with {sum(len(one.wishes) for one in known):,} wishes in people's own words (`written/`), which language models wrote for it without a look at the bench; "
           "each method is held to its checks; "
           f"{len(scenario.load(False, refused=True)):,} more that are to be refused, and to {len(attempts.load()):,} wishes what an earlier seed wrote and got wrong, as corrections.")
    yield f"- Seen: {told['examples']:,} cases, {told['tokens']:,} tokens, {told['step']:,} steps; loss on the completion, and with a small weight on the examples."
    yield f"- Time: {told['seconds'] / 60:.0f} minutes on two shared CPU cores, in bf16 autocast; Muon for the layers, AdamW for the rest; the rate falls to zero at the end."
    yield f"- Last loss in the log: {log[-1]['loss']} at step {log[-1]['step']} (rate {log[-1]['rate']}).\n"
    (FOLDER / "loss.svg").write_text(plot.line([(row["tokens"] / 1e6, row["loss"]) for row in log if row["loss"] < 1], "million tokens", "loss, from where it is below 1"))
    yield "![loss by tokens](loss.svg)\n"
    yield "It jumps where a phase of training begins with a high rate again, and where text was added.\n"
    yield from bench()
    yield "## Scores\n"
    yield ("Names with words, phrasings and compositions that stand nowhere in training text. A method is right when it does what it should on twelve states that no example shows. "
           "`best`: the first of the greedy answer and of eight more that passes the examples of the prompt; `wrong`: such a one that is wrong all the same.\n")
    if result["model"]["step"] != told["step"]:
        yield "**These scores were taken on other weights than those in this folder.**\n"
    yield "| family | n | greedy | best | 95 % interval (Wilson) | wrong |\n| --- | --- | --- | --- | --- | --- |"
    for family, row in sorted(result["table"].items()):
        low, high = wilson(row["best"], row["n"])
        yield f"| {family} | {row['n']} | {row['greedy'] / row['n']:.1%} | {row['best'] / row['n']:.1%} | {low:.3f} – {high:.3f} | {row['wrong'] / row['n']:.1%} |"
    yield "\nThe families are drawn about evenly, not as often as they are asked for. A refusal is right when the model refuses; its reason is not judged.\n"
    measured = adapt.FOLDER / "measured.json"
    if measured.exists():
        held = json.loads(measured.read_text())
        yield "## The personas\n"
        yield ("Their adapters (`adapters/`, LoRA of rank " + f"{adapt.RANK}) beside the bare seed, on the same cases with names and scenarios kept out; greedy, without a grammar. "
               "What the bare seed has no answer for is read off the method that it writes, or told by how likely it holds the method.\n")
        if held["base_sha256"] != told["files"]["model.safetensors"]["sha256"]:
            yield "**These were measured on other weights than those in this folder.**\n"
        yield "| persona | what | bare seed | persona | cases |\n| --- | --- | --- | --- | --- |"
        for name, counts in held["table"].items():
            for what, (without, having, n) in counts.items():
                yield f"| {name.upper()} | {what} | {without / n:.1%} | {having / n:.1%} | {n} |"
        yield ""
    yield "## Where it is weak\n"
    weak = sorted((row["best"] / row["n"], family) for family, row in result["table"].items())
    yield "- The lowest families: " + ", ".join(f"{family} {share:.0%}" for share, family in weak[:6]) + "."
    yield "- The sentences of this evaluation come from the same grammar and the same writers as those of the training; what others write is wider. `docs/dnu-results.md` has the figures for that."
    yield "- One covenant, always the same: it does not read it. It sees kinds of slots and what the examples give, no other values.\n"
    yield "## Some failures\n"
    for failure in result["failures"][:8]:
        shown = failure["prompt"].split("<|slots|>")[1].split("<|method|>")[0].strip()
        yield f"{failure['family']} ({failure['why']}):\n```\n{shown}\nwanted {failure['wanted']}\ngot    {failure['got']}\n```"


if __name__ == "__main__":
    (FOLDER / "MODEL_CARD.md").write_text("\n".join(lines()) + "\n")
