"""What the system's own objects were given, and by which genesis: so that a newer one changes nothing that a person changed. `objects` are they by
their names, `given` is a digest for each of their slots, `offered` the genesis that was brought in last (docs/mind.md)."""
parents = [ref("traits")]
objects = {}
given = {}
offered = ""
