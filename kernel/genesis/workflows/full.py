"""The whole cycle, for a model that follows instructions."""
parents = [ref("traits")]
kind = "method"
needs = ["method", "plan", "answer", "review"]
covenant = ref("covenant.conversation")
most_facets = 8
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
