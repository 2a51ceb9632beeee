"""Where documents will be indexed and searched. Fractal memory comes with a later version."""
parents = [ref("traits")]
