"""Says why, whether a correcting round makes sense, or a round of a larger model (docs/backends.md), and what it should know. The kernel bounds how many there are."""
parents = []
state_name = "failed"


def _process_synthesis_(self, event, payload):
    return {
        "do": "doom",
        "reason": self.failure["reason"],
        "message": self.failure["message"],
        "correct": self.failure["correct"] and self.may_correct(),
        "escalate": self.escalates and not self.brief["escalated"] and self.failure["reason"] != "bad_example",
        "flaw": self.failure["flaw"],
        "flawed": self.failure["flawed"],
        "tried": self.brief["tried"] + self.tried,
        "held": {"asked": self.before()["asked"] + self.asked, "passed": self.held or self.passed_untried()},
    }


def may_correct(self):
    # Where examples tell what came of a round, others are worth their tokens; else a method that passes late is hardly the one that is meant.
    most = primitive("get_slot", self.covenant, "blind_corrections", 2)
    if self.checks() and "wish" in self.able:
        most = primitive("get_slot", self.covenant, "corrections", most)
    return most is None or self.brief["rounds_before"] < most


def passed_untried(self):
    # This round may have ended before it came to them.
    return [one for one in self.before()["passed"] if one["source"] not in self.tried]
