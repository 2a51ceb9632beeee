"""Describes which model and adapters are loaded. Adapters come with a later version."""
parents = [ref("traits")]
active_expert = None
