"""The first object that a person talks to."""
parents = [ref("pllm"), ref("traits")]
