"""A view of an object, for a model that follows instructions: requirements, structure, layout, assembly, by the personas of the archetype's row in
the dynamics matrix. Page and picture are drawn by `views`; the model writes no markup."""
parents = [ref("traits")]
kind = "view"
needs = ["plan", "answer", "review"]
archetype = "design of a view"
covenant = ref("covenant.view")
states = {
    "idle": ref("states.idle"),
    "gathering": ref("states.gathering"),
    "structuring": ref("states.structuring"),
    "arranging": ref("states.arranging"),
    "assembling": ref("states.assembling"),
    "shown": ref("states.shown"),
    "failed": ref("states.failed"),
}
transitions = {
    "idle": ["gathering", "failed"],
    "gathering": ["structuring", "assembling", "failed"],
    "structuring": ["arranging", "failed"],
    "arranging": ["assembling", "failed"],
    "assembling": ["shown", "failed"],
    "shown": [],
    "failed": [],
}
