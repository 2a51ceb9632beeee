"""Asks the model for the method, in the words of the workflow's covenant."""
parents = []
state_name = "synthesizing"
persona = ref("personas.robin")
role = "weaver"


def _process_synthesis_(self, event, payload):
    if event == "enter":
        return self.covenant.method_ask(self)
    if not payload["ok"]:
        return self.fail(payload["reason"], payload["message"], False)
    text = self.covenant.method_in(payload["text"])
    if text.startswith("<|refuse|>"):
        # A refusal is believed at once only where the selector names no slot; else a second opinion is asked for.
        named = self.covenant.names_a_slot(self.brief["receiver"], self.brief["selector"])
        return self.fail("refused", "the model refused: " + text[len("<|refuse|>"):].strip(), named)
    if payload["finish"] != "stop":
        return self.fail("unfinished", "the model did not finish its method", True)
    self.artifact = text
    self._p_changed = True
    return self.advance()
