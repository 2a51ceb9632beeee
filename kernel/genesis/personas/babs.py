"""The grounding agent: facts, retrieval, dependencies."""
parents = [ref("pllm"), ref("traits")]
persona = "BABS"
