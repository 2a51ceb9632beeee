"""The corpus: what is drawn is checked, the same each time, and no held-out word is in it."""

import ast
import builtins
import collections
import hashlib
import json
import os
import pathlib
import random
import re
import string
import subprocess
import symtable
import sys
import unittest

import attempts
import barred
import cases
import changes
import corpus
import fixed
import flaws
import frames
import grammar
import names
import mending
import persona
import phrasing
import readings
import refusals
import rules
import scenario as scenarios
import trial
import values
import vocabulary
import wishes
import written
from expression import code

EXAMPLE = re.compile(r"(?P<given>.*?)(?:^| )?\((?P<arguments>.*)\) -> (?P<outcome>.+)")


def drawn(count, seed=9, family=None, **sides):
    """Cases with a wish."""
    drawer = wishes.Drawer(random.Random(seed), **sides)
    return drawer, [drawer.draw(family) for _ in range(count)]


class Corpus(unittest.TestCase):
    """Small shards, made anew."""

    def test_a_shard_is_the_same_each_time(self):
        first, _ = corpus.shard(3, size=60)
        second, _ = corpus.shard(3, size=60)
        self.assertEqual(first, second)
        other, _ = corpus.shard(4, size=60)
        self.assertNotEqual(first, other)

    def test_a_shard_does_not_hang_on_the_order_of_sets(self):
        def printed(hash_seed):
            """The rows of a shard that marks plural and singular of one name, drawn by a process whose texts hash in a way of their own."""
            return subprocess.run([sys.executable, "-B", "-c", "import corpus; print(*corpus.shard(4, size=60)[0], sep='\\n')"], cwd=pathlib.Path(__file__).parent,
                                  env={**os.environ, "PYTHONHASHSEED": hash_seed}, check=True, capture_output=True, text=True).stdout

        self.assertEqual(printed("1"), printed("2"))

    def test_whatever_fills_a_hole_stays_whole(self):
        weak, whole = "p if q else r", "(p if q else r)"
        for row in [row for module in (readings, changes) for table in vars(module).values() if isinstance(table, list) for row in table]:
            for hole in [name for name, sign, _ in row.holes if sign == ":"]:
                with self.subTest(row.code, hole=hole):
                    filled = lambda text, strength: row.code.format_map(collections.defaultdict(lambda: code("other"), {hole: code(text, strength)}))
                    self.assertEqual(ast.dump(ast.parse(filled(weak, 0))), ast.dump(ast.parse(filled(whole, 9))))

    def test_every_kind_of_case_is_drawn(self):
        made, rejected = corpus.shard(22, size=900)
        families = {family for _, _, family, _ in made}
        # Not "slot": one case in five hundred, so whether it is among these is chance.
        wanted = {"num", "truth", "text", "list", "filter", "map", "date", "objects", "change", "guarded", "either", "steps 2", "steps 3", "written", "refuse", "correct", "bare"}
        self.assertFalse(wanted - families, wanted - families)
        with_wish = sum("<|wish|>" in prompt for prompt, _, _, _ in made) / len(made)
        self.assertTrue(0.85 < with_wish < 0.95, with_wish)
        wished = [prompt for prompt, completion, _, _ in made if "<|wish|>" in prompt and "<|attempt|>" not in prompt and refusals.CONTRADICTION not in completion]
        alone = sum("<|example|>" not in prompt for prompt in wished) / len(wished)
        self.assertTrue(0.3 < alone < 0.5, alone)
        self.assertGreater(len({completion.partition("):")[2] for _, completion, _, _ in made}), 700)

    def test_every_method_is_the_same_written_by_nobody(self):
        made, _ = corpus.shard(23, size=300)
        for prompt, completion, _, _ in made:
            if completion.startswith("def "):
                tree = ast.parse(completion.removesuffix("<|end|>"))
                (method,) = tree.body
                selector = re.search(r"<\|message\|>(\w+)\(", prompt)[1]
                self.assertEqual(method.name, selector)
                slots = {slot.partition(":")[0] for slot in re.search(r"<\|slots\|>(.*)\n", prompt)[1].split(" ")}
                for node in ast.walk(method):
                    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                        self.assertIn(node.attr, slots | {"_p_changed", "object_id", "slot_names", "parents"}, prompt)

    def test_marks_lie_on_names(self):
        made, _ = corpus.shard(22, size=200)
        for prompt, _, _, marks in made:
            lines = [(found.start(), found.end()) for found in re.finditer(r"<\|(?:message|wish)\|>.*", prompt)]
            for start, stop, _ in marks:
                self.assertTrue(any(begin <= start < stop <= end for begin, end in lines), (prompt, marks))


class Written(unittest.TestCase):
    """What was written one by one."""

    def test_every_scenario_holds_its_checks(self):
        rng = random.Random(4)
        for path in sorted(scenarios.FOLDER.glob("*.txt")):
            found, wrong = scenarios.read(path)
            self.assertEqual(wrong, [], path.name)
            for number, scenario in found:
                self.assertEqual(list(written.misses(scenario, rng)), [], f"{path.name} block {number}")

    def test_a_check_can_fail(self):
        block = (scenarios.FOLDER / "README.md").read_text().split("```\n")[1].split("\n---\n")[0]
        right = scenarios.Scenario(block)
        self.assertEqual(list(written.misses(right, random.Random(1))), [])
        wrong = scenarios.Scenario(block.replace("beer_left=18", "beer_left=19"))
        self.assertIn("is 18, not 19", "".join(written.misses(wrong, random.Random(1))))
        for bad in (block.replace("{beer left}", "{beer lost}"), block.replace("litres_left:num", "litres_left:number"), block.replace("-> !", "!"), block.replace("takes", "take")):
            with self.assertRaises(ValueError, msg=bad):
                scenarios.Scenario(bad)

    def test_a_slot_is_called_alike_in_wish_and_method(self):
        drawer, some = drawn(120, family="written")
        renamed = 0
        for case in some:
            world = case.method.world
            for said in scenarios.BRACES.findall(world.wish):
                slot, _ = world.scenario.meant(said)
                name = world.paths[slot.path].rpartition(".")[2]
                renamed += name not in slot.called
                self.assertIn(vocabulary.singular(name.rpartition("_")[2])[:2], case.wish.lower())
                if re.search(rf"\b{slot.name}\b", "\n".join(world.scenario.lines)):
                    self.assertIn(name, case.source)
        self.assertGreater(renamed, 40)

    def test_what_is_kept_for_the_evaluation_is_never_drawn(self):
        kept, others = scenarios.load(True), scenarios.load(False)
        self.assertGreater(len(kept), len(others) // 25)
        _, some = drawn(60, family="written")
        self.assertFalse({id(case.method.world.scenario) for case in some} & {id(scenario) for scenario in kept})
        _, some = drawn(20, family="written", held=True)
        self.assertTrue({id(case.method.world.scenario) for case in some} <= {id(scenario) for scenario in kept})


class Wishes(unittest.TestCase):
    """A case with a wish: prompt, examples and effect belong together."""

    def test_a_prompt_has_its_lines_in_order(self):
        order = ["covenant", "receiver", "slots", "parents", "others", "message", "wish", "example", "flaw", "attempt", "method"]
        _, some = drawn(80)
        for case in some:
            marks = re.findall(r"<\|(\w+)\|>", case.prompt())
            self.assertEqual(marks, sorted(marks, key=order.index), case.prompt())
            self.assertLessEqual(len(case.wish), 400)
            self.assertLessEqual(marks.count("example"), 3)
            self.assertNotIn("\x01", case.prompt())
            self.assertNotRegex(case.wish, r"[{}]\w*:|\{\w\}")

    def test_examples_are_in_the_normal_form_and_the_method_passes_them(self):
        _, some = drawn(80)
        for case in some:
            function = wishes.compiled(case.source, case.selector)
            for text, (state, wanted) in zip(case.examples, case.shown):
                self.assertLessEqual(len(text), 200)
                self.assertRegex(text, EXAMPLE)
                self.assertEqual(wishes.difference(wishes.Outcome(function, state), wanted, state.told()), "")
                self.assertEqual(text.endswith(" -> !"), wanted.fails)

    def test_a_method_that_does_nothing_passes_no_change(self):
        _, some = drawn(60, family="change")
        for case in some:
            self.assertTrue(case.method.changes)
            lazy = wishes.compiled(f"def {case.selector}(self, *arguments):\n    return None\n", case.selector)
            found = [wishes.difference(wishes.Outcome(lazy, state), wishes.Wanted(case.method.effect, state), state.told()) for state in case.states]
            self.assertTrue(any(found), case.source)

    def test_meaning_and_code_agree_in_every_row(self):
        seen = set()
        for seed in range(6):
            drawer = wishes.Drawer(random.Random(seed))
            for _ in range(330):
                try:
                    case = drawer.attempt(("reading", "change", "guarded")[_ % 3])
                    seen |= case.rows
                except (LookupError, wishes.Rejected):
                    continue  # wishes.Disagrees is what must not come
        rows = {row.key for row in readings.ALL + changes.ALL}
        self.assertGreater(len(rows & seen), 0.8 * len(rows), sorted(rows - seen))

    def test_numbers_are_alike_as_the_kernel_has_them(self):
        self.assertTrue(values.alike(5, 5.0))
        self.assertTrue(values.alike(0.1 + 0.2, 0.3))
        self.assertFalse(values.alike(True, 1))
        self.assertFalse(values.alike([1], [1, 2]))

    def test_a_flaw_is_true_of_its_attempt(self):
        drawer, made = wishes.Drawer(random.Random(4)), 0
        while made < 25:
            try:
                case = flaws.correction(drawer.rng, drawer.draw())
            except wishes.Rejected:
                continue
            made += 1
            self.assertNotEqual(case.attempt, case.source)
            if case.flaw.startswith("line "):
                continue
            function = wishes.compiled(case.attempt, case.selector)
            number = int(re.match(r"example (\d):", case.flaw)[1])
            state, wanted = case.shown[number - 1]
            self.assertIn(wishes.difference(wishes.Outcome(function, state), wanted, state.told())[:100], case.flaw)

    def test_a_refusal_has_no_method(self):
        drawer, made = wishes.Drawer(random.Random(5)), []
        while len(made) < 40:
            try:
                made.append(refusals.refusal(drawer))
            except (wishes.Rejected, LookupError):
                continue
        self.assertTrue(all(case.completion().startswith("<|refuse|>") for case in made))
        self.assertGreater(len({case.refusal.partition(" slot")[0] for case in made}), 1)


class Trial(unittest.TestCase):
    """Without a wish: a wrong method is told from a right one by running it."""

    def case(self, family):
        rng = random.Random(5)
        drawer = cases.Drawer(rng)
        while True:
            case = drawer.draw()
            if case.family == family:
                return case

    def test_the_canonical_source_holds(self):
        for family in ("toggle", "append", "describe", "set"):
            case = self.case(family)
            good, why = trial.holds(case, case.source, random.Random(1), rounds=5)
            self.assertTrue(good, (family, why))

    def test_a_source_that_changes_nothing_does_not_hold(self):
        case = self.case("toggle")
        lazy = f"def {case.selector}(self):\n    return True\n"
        good, why = trial.holds(case, lazy, random.Random(1), rounds=5)
        self.assertFalse(good)
        self.assertTrue(why)

    def test_almost_none_is_rejected(self):
        rng = random.Random(8)
        drawer = cases.Drawer(rng)
        drawn = [drawer.draw() for _ in range(300)]
        wrong = [case.family for case in drawn if case.refusal is None and not trial.holds(case, case.source, rng, rounds=2)[0]]
        self.assertLess(len(wrong), 6, wrong)
        self.assertTrue({rule.family for rule in rules.RULES if rule.weight > 1.9 and rule.phrases} <= {case.family for case in drawn} | {"smallest", "average", "sum", "length"})


class Split(unittest.TestCase):
    """What is kept for the evaluation is not in training text."""

    def test_training_draws_no_held_out_word(self):
        held = set()
        rng = random.Random(2)
        for _ in range(3_000):
            held.update(word for word in names.pick_name(rng, "int", True, 0.3, False).split("_") if names.held_out(word))
        self.assertGreater(len(held), 50)
        for _ in range(3_000):
            words = names.pick_name(rng, "int", False, 0.3, False).split("_")
            self.assertFalse(held & set(words), words)

    def test_slots_of_wishes_have_no_held_out_word(self):
        _, some = drawn(120)
        for case in some:
            for slot in case.slots:
                if not slot.endswith(":method"):
                    self.assertFalse(fixed.strange(slot.partition(":")[0]), slot)

    def test_held_out_cases_have_held_out_names(self):
        _, some = drawn(40, held=True)
        new = [any(names.held_out(word) for slot in case.slots for word in slot.partition(":")[0].split("_")) for case in some]
        self.assertGreater(sum(new), 30)

    def test_held_out_phrasings_and_compositions_are_not_drawn(self):
        kept = [(row, phrase) for row in readings.ALL + changes.ALL for phrase in row.phrases if grammar.is_held_out(row, phrase)]
        self.assertGreater(len(kept), 30)
        drawer = wishes.Drawer(random.Random(6))
        for _ in range(60):
            case = drawer.draw()
            for row, phrase, _ in case.method.phrases:
                if hasattr(row, "phrases"):
                    self.assertFalse(grammar.is_held_out(row, phrase), phrase)
            self.assertFalse(grammar.is_composition_held_out(case.method.rows))


class Phrasings(unittest.TestCase):
    """What was written for the rows of the tables, and around them."""

    def test_each_fits_its_row(self):
        for path in sorted(phrasing.FOLDER.glob("*.txt")):
            for number, row, phrase in phrasing.read(path):
                self.assertIsNotNone(row, f"{path.name} line {number}: {phrase}")
                self.assertEqual(phrasing.misfit(row, phrase), "", f"{path.name} line {number}: {phrase}")

    def test_a_phrasing_that_leaves_a_hole_out_does_not_fit(self):
        row = next(row for row in changes.NUMBERS if row.code == "{x} = {x} + {e:6}")
        self.assertEqual(phrasing.misfit(row, "add {e} to {x}"), "")
        for wrong in ("add {e}", "add {e} to {y}", "Add {e} to {x}", "add {e} to {x}.", "add {e:b} to {x}", "add {e} to {x:state}"):
            self.assertNotEqual(phrasing.misfit(row, wrong), "", wrong)

    def test_a_frame_says_each_of_its_parts(self):
        parts = {"raise": "mc", "unless-raise": "mc", "false": "mc", "unless-false": "mc", "nothing": "mc", "wrap": "mc", "either-change": "abc", "either-answer": "abc", "asked": "v", "asked-clause": "v", "wondered": "c", "two": "01", "three": "012"}
        self.assertEqual(set(frames.FRAMES), set(parts))
        capitals = {"2": "1", "3": "1", "4": "2"}
        for name, made in frames.FRAMES.items():
            for frame in made:
                said = [field for _, field, _, _ in string.Formatter().parse(frame) if field]
                own = [capitals.get(field, field) if name == "three" and field in "34" or name == "two" and field == "2" else field.lower() for field in said]
                self.assertEqual(sorted(own), sorted(parts[name]), f"{name}: {frame}")


class Attempts(unittest.TestCase):
    """What an earlier model wrote."""

    def test_a_correction_shows_an_attempt_that_fails_its_example(self):
        drawer, found = wishes.Drawer(random.Random(8)), 0
        for scenario, wish in random.Random(2).sample(attempts.attempted(False), 120):
            try:
                case = flaws.correction(drawer.rng, drawer.scenario_case(scenario, wish))
            except (LookupError, wishes.Rejected):
                continue
            found += 1
            self.assertIn("<|attempt|>" + case.attempt.rstrip(), case.prompt())
            function = wishes.compiled(case.attempt, case.selector)
            shown = [wishes.difference(wishes.Outcome(function, state), asked, state.told()) for state, asked in case.shown]
            if not case.flaw.startswith("line "):
                self.assertTrue(any(shown), case.prompt())
            whole = wishes.compiled(case.source, case.selector)
            self.assertFalse(any(wishes.difference(wishes.Outcome(whole, state), asked, state.told()) for state, asked in case.shown))
        self.assertGreater(found, 40)

    def test_what_does_not_end_is_stopped(self):
        function = flaws.bounded(wishes.compiled("def run(self, items):\n    for item in items:\n        items.append(item)\n", "run"))
        with self.assertRaises(flaws.TooLong):
            function(None, [1])
        self.assertEqual(flaws.bounded(sum)([1, 2]), 3)
        endless = wishes.compiled("def run(self, *given):\n    while True:\n        pass\n", "run")
        case = wishes.Drawer(random.Random(9)).draw("written")
        with self.assertRaisesRegex(wishes.Rejected, "does not end"):
            flaws.fault(endless, *case.shown[0])


class Personas(unittest.TestCase):
    """What the personas are asked, and what they should answer."""

    def test_what_a_method_touches(self):
        source = """def move_over(self, first, number):
    if self.gate.is_shut or number > self.stock.get(first, 0):
        raise ValueError("not allowed")
    self.lower.depth = self.lower.depth + number
    for item in self.lamps:
        item.watts = 0
    self._p_changed = True
    return self.describe() + self.gate.name_it(number)
"""
        touched = persona.Touched(source)
        self.assertEqual(touched.told(), "reads gate.is_shut stock lower.depth lamps; changes lower.depth each.watts; sends describe gate.name_it")
        self.assertTrue(touched.fails and touched.is_held_back and not touched.answers_false)
        plan = persona.plan(source)
        self.assertTrue(persona.is_plan(plan))
        self.assertEqual((plan["archetype"], [one["facet"] for one in plan["facets"]]), ("technical deconstruction", ["brick.parts", "brick.limits", "babs.dependencies"]))
        named = persona.Touched("def tell(self, other):\n    return self.lamps[0].light() + self.count() + str(self.title) + other.name.upper()\n")
        self.assertEqual((named.told(), named.writes_text), ("reads lamps title 1.name; changes nothing; sends lamps.light count", True))
        self.assertFalse(persona.Touched("def tell(self):\n    return self.title\n").writes_text)
        reads = persona.plan("def tell(self):\n    return self.notes.count(3)\n")
        self.assertEqual((reads["archetype"], reads["facets"], reads["retrievals"]), ("factual inquiry", [], ["notes"]))

    def test_the_adapters_that_ship_belong_to_the_model_that_ships(self):
        here = pathlib.Path(__file__).parent
        weights = hashlib.sha256((here / "model" / "model.safetensors").read_bytes()).hexdigest()
        for name in persona.NAMES:
            folder = here / "adapters" / name
            self.assertEqual(json.loads((folder / "training.json").read_text())["base_sha256"], weights, f"train {name} anew: python adapt.py {name}")
            self.assertEqual(json.loads((folder / "adapter_config.json").read_text())["revision"], f"sha256:{weights}")
        self.assertEqual(json.loads((here / "adapters" / "measured.json").read_text())["base_sha256"], weights)

    def test_an_answer_follows_from_its_case(self):
        drawer = wishes.Drawer(random.Random(12))
        for _ in range(40):
            prompt, completion, case, _ = persona.draw("brick", drawer)
            self.assertTrue(prompt.endswith("<|covenant|>") and persona.is_plan(json.loads(completion.removesuffix("<|end|>"))), prompt)
            prompt, completion, case, _ = persona.draw("babs", drawer)
            if case.refusal is not None:
                self.assertEqual(completion, persona.NOTHING + "<|end|>")
            else:
                self.assertEqual(completion.split("; ")[1], "changes " + (" ".join(persona.Touched(case.source).changes) or "nothing"))
            prompt, completion, case, _ = persona.draw("robin", drawer)
            self.assertTrue(completion.startswith("<|refuse|>" if case.refusal is not None else f"def {case.selector}(") and "\n<|attempt|>reads " in prompt)

    def test_what_is_to_be_refused_passes_its_examples_and_is_wrong(self):
        drawer, kinds = wishes.Drawer(random.Random(13)), collections.Counter()
        for _ in range(30):
            prompt, completion, case, judged = persona.draw("alfred", drawer)
            if judged is None:
                continue
            source, good = judged
            function = wishes.compiled(source, case.selector)
            self.assertFalse(any(wishes.difference(wishes.Outcome(function, state), asked, state.told()) for state, asked in case.shown), prompt)
            said = json.loads(completion.removesuffix("<|end|>"))
            self.assertTrue(persona.is_verdict(said) and (said["verdict"] == "pass") == good == (source == case.source))
            kinds[good] += 1
        self.assertGreater(min(kinds.values()), 5)

    def test_data_is_broken_where_it_is_said_and_mended_by_its_schema(self):
        for number in range(400):
            data = mending.Mending(random.Random(number), held=number % 2 == 0)
            self.assertEqual(mending.breaks(data.schema, data.mended), [], data.prompt())
            broken = mending.breaks(data.schema, data.broken)
            self.assertEqual(len(broken), len(data.errors), data.prompt())
            for name in broken:
                self.assertTrue(any(name in error for error in data.errors), data.prompt())


class Barred(unittest.TestCase):
    """What the test part of the bench is about is known by hashes, and not drawn."""

    def test_the_hashes_are_those_of_the_scan(self):
        name, words = barred.SCAN.bar("name", "a_name"), barred.SCAN.bar("words", "one two three four five six")
        kept, barred.HASHES = barred.HASHES, frozenset((name, words))
        barred.is_name_barred.cache_clear()
        try:
            self.assertEqual(barred.reason("x a_name y"), "a barred name")
            self.assertEqual(barred.reason("zero one Two, three four five six"), "barred words")
            self.assertEqual(barred.reason("one two three four five"), "")
        finally:
            barred.HASHES = kept
            barred.is_name_barred.cache_clear()

    def test_a_shape_is_barred_whatever_its_slots_are_called(self):
        ((_, shape),) = barred.SCAN.trees("def m(self, n):\n    self.a = self.b + n\n")
        kept, barred.HASHES = barred.HASHES, frozenset((barred.SCAN.bar("method", shape),))
        barred.is_shape_barred.cache_clear()
        try:
            self.assertTrue(barred.is_method_barred("def other(self, k):\n    self.x = self.y + k\n"))
            self.assertFalse(barred.is_method_barred("def other(self, k):\n    self.x = self.x + k\n"))
        finally:
            barred.HASHES = kept
            barred.is_shape_barred.cache_clear()


class Programs(unittest.TestCase):
    """What needs torch is not run here; that it names nothing that is not there can be told."""

    def test_every_name_is_one_that_its_file_knows(self):
        for path in sorted(pathlib.Path(__file__).parent.glob("*.py")):
            table = symtable.symtable(path.read_text(), path.name, "exec")
            known = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()} | set(dir(builtins)) | {"__file__", "__builtins__"}
            inner = list(table.get_children())
            while inner:
                scope = inner.pop()
                inner += scope.get_children()
                strange = [symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global() and symbol.get_name() not in known]
                self.assertEqual(strange, [], f"{path.name}, {scope.get_name()}")


if __name__ == "__main__":
    unittest.main()
