"""Draws page and picture of structure and layout, and lets nothing pass that the kernel's check refuses, or the auditor."""
parents = []
state_name = "assembling"
persona = ref("personas.alfred")
role = "auditor"


def _process_synthesis_(self, event, payload):
    if event == "enter":
        receiver = self.brief["receiver"]
        if self.drawn_by and "review" in self.workflow.needs:
            self.note_drawer()
        sections = self.views.sections(receiver, self.structure, self.layout)
        about = self.about()
        self.html = self.views.page.drawn(receiver, sections, self.layout, about)
        self.svg = self.views.picture.drawn(receiver, sections, self.layout, about)
        self._p_changed = True
        return {"do": "check_view", "html": self.html, "svg": self.svg}
    if event == "checked":
        if not payload["ok"]:
            return self.fail("view_refused", "the view is not safe to show: " + payload["message"], True)
        if self.is_redrawn or "review" not in self.workflow.needs:
            return self.advance()
        return self.asking_review(self.covenant.verdict_question(self))
    if event == "inferred":
        return self.reviewed(payload)
    if self.review["verdict"] == "pass":
        return self.advance()
    return self.fail("review_refused", self.words_of_refusal(), True)


def about(self):
    brief = self.brief
    id = primitive("object_id", brief["receiver"])
    what = "object " + id if brief["name"] == id else brief["name"] + " · object " + id
    if brief["chain"]:
        what = what + " · delegates to " + ", ".join(brief["chain"])
    way = self.workflows.name_of(self.workflow)
    if self.drawn_by:
        notes = ["Thought by " + ", ".join(self.drawn_by) + " in the workflow " + way + "; drawn and checked by the system" + (", again with the data of now." if self.is_redrawn else ".")]
    else:
        notes = ["Drawn by the workflow " + way + ": no model took part."]
    left_out = self.views.left_out(self.facts, self.structure)
    if left_out:
        notes.append("Not shown: " + ", ".join(left_out[:12]) + (" and " + str(len(left_out) - 12) + " more" if len(left_out) > 12 else ""))
    return {"what": what, "notes": notes}
