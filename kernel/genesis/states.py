"""The states of a thought, by name."""
parents = [ref("traits")]
idle = ref("states.idle")
decomposing = ref("states.decomposing")
delegating = ref("states.delegating")
synthesizing = ref("states.synthesizing")
validating = ref("states.validating")
complete = ref("states.complete")
failed = ref("states.failed")
