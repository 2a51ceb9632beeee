"""The deconstruction engine: structure, logic, plans, code skeletons."""
parents = [ref("pllm"), ref("traits")]
persona = "BRICK"
