"""The four personas, by name. Their codex and facets come with the composite mind."""
parents = [ref("traits")]
robin = ref("personas.robin")
brick = ref("personas.brick")
babs = ref("personas.babs")
alfred = ref("personas.alfred")
