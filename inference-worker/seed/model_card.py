"""The model card: model/MODEL_CARD.md, written anew from evaluation.json, training.jsonl and model.json.

The numbers come from those files alone; only the two sections of prose below are written by hand.
"""

import json
import pathlib

import fixed
import rules
import tokens
from evaluate import FOLDER, UNSEEN
from model import CONFIG

HERE = pathlib.Path(__file__).parent


HISTORY = (
    "- One run with six resumptions, the corpus changed between them (shards 0-2 without the words that change nothing; from 6 on plainer names; from 7 on more sentences; "
    "8 and 9 with a third of refusals; from 11 on marks). At step 1938 the peak rate was halved, from 2420 on the first token of a completion counts 8 times (2939 to 3298: 16 times), "
    "and from 3298 on a linear probe after the fourth layer, thrown away afterwards, must tell which parts of the selector name which slot. At step 5013 the rate had come to zero; "
    "it was raised once more, to a third, and led to zero over eleven minutes on shards 17 and 18, which dwell on what follows from a slot's kind.",
    "- From the last step of that, 5597, it went on from a rate of 0.87 to zero over 117 minutes of idle time on shards 22 to 39, which dwell on sentences over a whole object: "
    "answerable cases rose from 86.9 % to the share below, refusals from 53.3 %. The shares before are those of an average of steps 5013 and 5597 on another draw (`report-2`).",
)


def lines():
    """The card, line by line."""
    told = json.loads((FOLDER / "model.json").read_text())
    result = json.loads((HERE / "evaluation.json").read_text())
    log = [json.loads(line) for line in (HERE / "training.jsonl").open()]
    table = result["families"]
    yield "# seed\n"
    yield (f"A small Llama, trained from nothing for BAT OS: {told['parameters']:,} parameters, {CONFIG['num_hidden_layers']} layers of width "
           f"{CONFIG['hidden_size']}, {CONFIG['num_attention_heads']} heads, vocabulary {told['vocabulary']}, embedding and head not tied, kept in {told['precision']}. "
           "It reads one fixed form of prompt and writes one Python method or a refusal. It knows nothing else.\n")
    yield "## How it was made\n"
    yield (f"- Text: written by the rules in this folder, {len(rules.RULES)} rules with {sum(len(r.phrases) + len(r.bare) for r in rules.RULES)} phrases and six special families; "
           "every completion was run on a random object and held to a separately written effect before it counted. Single English words come from Python's own documentation; no other text, no other model.")
    yield f"- Seen: {told['examples']:,} cases, {told['tokens']:,} tokens, {told['step']:,} steps, loss on the completion (and, late, the probe below)."
    yield from HISTORY
    yield f"- Time: {told['seconds'] / 60:.0f} minutes on two shared CPU cores, in bf16 autocast; Muon for the layers, AdamW for the rest; the rate falls to zero at the end."
    yield f"- Last loss in the log: {log[-1]['loss']} at step {log[-1]['step']} (rate {log[-1]['rate']}).\n"
    yield "## Scores\n"
    yield (f"Drawn with the source `{result['seed']}`, which training does not use. Slot names have at least one word that stands nowhere in training text. "
           f"Each answer is decoded greedily and run twelve times on hidden random inputs. Wrongly refused: {result['wrongly refused']}.\n")
    if result["model"]["files"] != told["files"]:
        yield "**These scores were taken on other weights than those in this folder.**\n"
    yield "| family | n | right | share | 95 % interval (Wilson) | word for word | wrong and plausible |\n| --- | --- | --- | --- | --- | --- | --- |"
    for family, row in sorted(table.items(), key=lambda item: (item[0].isupper(), item[0])):
        yield f"| {family} | {row['n']} | {row['pass']} | {row['pass'] / max(1, row['n']):.1%} | {row['low']:.3f} – {row['high']:.3f} | {row['exact']} | {row['plausible']} |"
    yield (f"\nThe families are drawn about evenly, not as often as they are asked for. `unseen phrasing` has {len(UNSEEN)} phrasings that stand nowhere in the corpus. "
           "A refusal is right when the model refuses; its reason is not judged. `wrong and plausible` counts the wrong answers that a check without running would let through: "
           "Python, the right name and number of parameters, and no slot but those of the prompt. The other wrong answers such a check stops.\n")
    yield "## Where it is weak\n"
    weak = sorted((r["pass"] / r["n"], f) for f, r in table.items() if not f.isupper() and r["n"])
    yield "- The lowest families: " + ", ".join(f"{f} {share:.0%}" for share, f in weak[:6]) + "."
    yield "- The evaluation's names are made in the way of the training names, only of other words; its kinds, distractors and phrases come from the same generator."
    yield "- It knows English only as far as the phrases of the rules go; another wording is often refused, or taken for a near one."
    yield "- It has seen no loops, no conditions but those of its rules, no more than nine slots beside the target, and one covenant, always the same: it does not read the covenant.\n"
    yield "## Some failures\n"
    for failure in result["failures"][:8]:
        shown = failure["prompt"].split("<|slots|>")[1].split("<|method|>")[0].strip()
        yield f"{failure['family']} ({failure['why']}):\n```\n{shown}\nwanted {failure['wanted']}\ngot    {failure['got']}\n```"


if __name__ == "__main__":
    (FOLDER / "MODEL_CARD.md").write_text("\n".join(lines()) + "\n")
