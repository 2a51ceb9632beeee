"""Installs the method; the message is sent again and everything commits as one."""
parents = []
state_name = "complete"


def _process_synthesis_(self, event, payload):
    return {"do": "install", "source": self.artifact}
