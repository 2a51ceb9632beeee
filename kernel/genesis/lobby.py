"""The root of the image: its slots are the names that everybody knows."""
parents = [ref("traits")]
lobby = ref("lobby")
traits = ref("traits")
pllm = ref("pllm")
genesis = ref("genesis")
orchestrator = ref("orchestrator")
memory_manager = ref("memory_manager")
knowledge_catalog = ref("knowledge_catalog")
covenant = ref("covenant")
cycle = ref("cycle")
states = ref("states")
personas = ref("personas")
