"""Structure and layout of a view where no model takes part: all data slots, in their order."""
parents = []
state_name = "deriving"


def _process_synthesis_(self, event, payload):
    self.facts = self.views.facts(self.brief["receiver"])
    self.structure = self.views.plain_structure(self.facts)
    self.layout = self.views.plain_layout(self.structure, self.brief["name"])
    self._p_changed = True
    return self.advance()
