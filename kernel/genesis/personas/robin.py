"""The empathetic heart: resonance, tone, the final weave."""
parents = [ref("pllm"), ref("traits")]
persona = "ROBIN"
