"""The corpus: what is drawn is checked, the same each time, and no held-out word is in it."""

import random
import unittest

import cases
import corpus
import names
import rules
import trial


class Corpus(unittest.TestCase):
    """Small shards, made anew."""

    def test_a_shard_is_the_same_each_time(self):
        first, _ = corpus.shard(3, size=60)
        second, _ = corpus.shard(3, size=60)
        self.assertEqual(first, second)
        other, _ = corpus.shard(4, size=60)
        self.assertNotEqual(first, other)

    def test_every_family_is_drawn_and_almost_none_is_rejected(self):
        made, rejected = corpus.shard(22, size=1_500)
        families = {family for _, _, family, _ in made}
        wanted = {rule.family for rule in rules.RULES if rule.phrases and rule.weight > 0}
        missing = wanted - families
        self.assertLessEqual(len(missing), len(wanted) // 10, missing)
        self.assertTrue({"bare", "describe", "display", "pair", "refuse_absent"} <= families)
        self.assertLess(sum(rejected.values()), 15, rejected)

    def test_marks_lie_on_the_selector(self):
        made, _ = corpus.shard(22, size=200)
        for prompt, _, _, marks in made:
            begin = prompt.index("<|message|>") + len("<|message|>")
            end = prompt.index("\n", begin)
            for start, stop, _ in marks:
                self.assertTrue(begin <= start < stop <= end, (prompt, marks))


class Trial(unittest.TestCase):
    """A wrong method is told from a right one by running it."""

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


class Split(unittest.TestCase):
    """Names in training text and names kept for the evaluation have no word in common where it counts."""

    def test_training_draws_no_held_out_word(self):
        held = set()
        rng = random.Random(2)
        for _ in range(3_000):
            held.update(word for word in names.pick_name(rng, "int", True, 0.3, False).split("_") if names.held_out(word))
        self.assertGreater(len(held), 50)
        for _ in range(3_000):
            words = names.pick_name(rng, "int", False, 0.3, False).split("_")
            self.assertFalse(held & set(words), words)


if __name__ == "__main__":
    unittest.main()
