"""Says why, and whether a correcting round makes sense. The kernel bounds how many there are."""
parents = []
state_name = "failed"


def _process_synthesis_(self, event, payload):
    return {
        "do": "doom",
        "reason": self.failure["reason"],
        "message": self.failure["message"],
        "correct": self.failure["correct"],
    }
