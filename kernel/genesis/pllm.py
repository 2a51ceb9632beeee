"""The cognitive core as an object: which model thinks, and how it is asked."""
parents = [ref("traits")]
model = "seed"
quantisation = "none"
adapters = []
temperature = 0.0
correction_temperature = 0.4
max_tokens = 256
