"""Keeps the view: an object that the receiver's `view_record` refers to. Everything commits as one."""
parents = []
state_name = "shown"


def _process_synthesis_(self, event, payload):
    receiver = self.brief["receiver"]
    view = self.view_of(receiver)
    view.title = self.layout["title"]
    view.html = self.html
    view.svg = self.svg
    view.structure = self.structure
    view.layout = self.layout
    view.workflow = self.workflows.name_of(self.workflow)
    view.drawn_by = self.drawn_by
    view.entries = len(receiver)
    # The record has them now.
    self.html = ""
    self.svg = ""
    self._p_changed = True
    return {"do": "keep", "view": view}


def view_of(self, receiver):
    view = self.views.record_of(receiver)
    if view is None:
        view = primitive("child", self.views.view)
        view.of = receiver
        receiver.view_record = view
        self._p_changed = True
    return view
