"""Says why, whether a correcting round makes sense, or a round of a larger model (docs/backends.md), and what it should know. The kernel bounds how many there are."""
parents = []
state_name = "failed"


def _process_synthesis_(self, event, payload):
    return {
        "do": "doom",
        "reason": self.failure["reason"],
        "message": self.failure["message"],
        "correct": self.failure["correct"],
        "escalate": self.escalates and not self.brief["escalated"] and self.failure["reason"] != "bad_example",
        "flaw": self.failure["flaw"],
        "flawed": self.failure["flawed"],
        "tried": self.brief["tried"] + self.tried,
    }
