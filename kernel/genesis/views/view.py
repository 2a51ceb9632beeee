"""The prototype of what was drawn of an object: an object's slot `view_record` refers to one."""
parents = [ref("traits")]
of = None
title = ""
html = ""
svg = ""
structure = None
layout = None
workflow = ""
drawn_by = []
entries = 0
seen = ""
