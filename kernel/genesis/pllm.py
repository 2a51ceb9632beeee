"""The cognitive core as an object: which model thinks, and how it is asked."""
parents = [ref("traits")]
model = "seed"
quantisation = "none"
adapters = []
temperature = 0.0
correction_temperature = 0.4
max_tokens = 256
first_candidates = 16
candidates = 16
escalated_candidates = 1
candidate_temperature = 0.8
candidate_tokens = 96
grammar = "method"


def consult(self, pillar, question):
    for known in self.pillars:
        if known["name"] == pillar:
            return {
                "persona": self.persona,
                "adapter": self.adapter,
                "system": self.voice + "\n\n" + known["prompt"],
                "prompt": question,
            }
    raise ValueError(self.persona + " has no pillar " + pillar)
