"""The ways to think, by name. The first of `order` that is for the mission's kind and asks nothing of the model that it cannot do is taken."""
parents = [ref("traits")]
order = ["full", "short"]
full = ref("workflows.full")
short = ref("workflows.short")
