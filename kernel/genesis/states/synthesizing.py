"""Asks the model for the method."""
parents = []
state_name = "synthesizing"
persona = ref("personas.robin")
transitions = ["validating", "failed"]


def _process_synthesis_(self, event, payload):
    if event == "enter":
        round = self.brief["round"]
        temperature = self.temperature
        if round > 1:
            temperature = self.correction_temperature
        return {
            "do": "infer",
            "prompt": self.covenant.render(self.brief),
            "max_tokens": self.max_tokens,
            "temperature": temperature,
            "seed": round,
            "grammar": self.grammar,
            "refusal": "<|refuse|>",
        }
    if not payload["ok"]:
        return self.fail(payload["reason"], payload["message"], False)
    text = payload["text"]
    if text.startswith("<|refuse|>"):
        # A refusal is believed at once only where the selector names no slot; else a second opinion is asked for.
        named = self.covenant.names_a_slot(self.brief["receiver"], self.brief["selector"])
        return self.fail("refused", "the model refused: " + text[len("<|refuse|>"):].strip(), named)
    if payload["finish"] != "stop":
        return self.fail("unfinished", "the model did not finish its method", True)
    self.artifact = text
    self._p_changed = True
    return self.transition_to("validating")
