"""The memory: its entries are the documents that were indexed, by their sources. What is found says where it stands, and why."""
parents = [ref("traits")]


def index_document(self, text, source=None, meta=None):
    document = primitive("index_document", text, source, meta)
    self._p_changed = True
    return document


def search(self, query, k=10, filter=None, at=None):
    return primitive("search", query, k, filter, at)
