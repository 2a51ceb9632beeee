"""Straight to the method, for a model that can write methods and nothing else, as the shipped seed model. Guard and trial are the same."""
parents = [ref("traits")]
kind = "method"
needs = ["method"]
covenant = ref("covenant")
states = {
    "idle": ref("states.idle"),
    "synthesizing": ref("states.synthesizing"),
    "validating": ref("states.validating"),
    "complete": ref("states.complete"),
    "failed": ref("states.failed"),
}
transitions = {
    "idle": ["synthesizing", "failed"],
    "synthesizing": ["validating", "failed"],
    "validating": ["complete", "failed"],
    "complete": [],
    "failed": [],
}
