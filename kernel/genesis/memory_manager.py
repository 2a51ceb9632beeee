"""Holds the adapters that were imported: the slot `adapters`, made by the first, names the newest generation of each."""
parents = [ref("traits")]
active_expert = None
