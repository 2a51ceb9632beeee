"""The steward: integrity, validation, efficiency, guardian of the covenants."""
parents = [ref("pllm"), ref("traits")]
persona = "ALFRED"
