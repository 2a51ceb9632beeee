"""A view of an object without a model: every data slot in its order. The view says so itself."""
parents = [ref("traits")]
kind = "view"
needs = []
covenant = ref("covenant.view")
states = {
    "idle": ref("states.idle"),
    "deriving": ref("states.deriving"),
    "assembling": ref("states.assembling"),
    "shown": ref("states.shown"),
    "failed": ref("states.failed"),
}
transitions = {
    "idle": ["deriving", "failed"],
    "deriving": ["assembling", "failed"],
    "assembling": ["shown", "failed"],
    "shown": [],
    "failed": [],
}
