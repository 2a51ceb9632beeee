"""The whole cycle for the shipped seed model, once its personas' adapters are imported under their names (docs/adapters.md): BRICK plans, BABS says
what is touched, ROBIN weaves, ALFRED judges what guard and trial let pass. They were trained on wishes with words and an example."""
parents = [ref("traits")]
kind = "method"
needs = ["method", "wish", "adapter BRICK", "adapter BABS", "adapter ROBIN", "adapter ALFRED"]
covenant = ref("covenant.adapted")
is_of_wishes = True
states = {
    "idle": ref("states.idle"),
    "decomposing": ref("states.decomposing"),
    "delegating": ref("states.delegating"),
    "synthesizing": ref("states.synthesizing"),
    "validating": ref("states.validating"),
    "complete": ref("states.complete"),
    "failed": ref("states.failed"),
}
transitions = {
    "idle": ["decomposing", "failed"],
    "decomposing": ["delegating", "failed"],
    "delegating": ["synthesizing", "failed"],
    "synthesizing": ["validating", "failed"],
    "validating": ["complete", "failed"],
    "complete": [],
    "failed": [],
}
