"""zope.index, the text index of ZODB's world: `memory.py FILE [STORE]`; each line of FILE is a JSON document with a `text`.

In memory; with STORE in a ZODB FileStorage there, and committed as often as ours: whenever 128 KiB of text or 512 documents have come.

The lexicon does what ours does but stemming, which it has not: words, lower case, no stop words; the index is the one with Okapi's weights.
"""

import json
import sys
import time

import transaction
import ZODB
from zope.index.text.lexicon import CaseNormalizer, Lexicon, Splitter, StopWordRemover
from zope.index.text.okapiindex import OkapiIndex
from zope.index.text.textindex import TextIndex

BATCH_CHARACTERS, BATCH = 128 << 10, 512


def main():
    path, *store = sys.argv[1:]
    with open(path, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    lexicon = Lexicon(Splitter(), CaseNormalizer(), StopWordRemover())
    index = TextIndex(lexicon, OkapiIndex(lexicon))
    if store:
        root = ZODB.connection(store[0]).root
        root.index = index
        transaction.commit()
    begun = time.perf_counter()
    characters = documents = 0
    for number, text in enumerate(texts):
        index.index_doc(number, text)
        characters, documents = characters + len(text), documents + 1
        if store and (characters >= BATCH_CHARACTERS or documents == BATCH):
            transaction.commit()
            characters = documents = 0
    transaction.commit()
    print(json.dumps({"seconds": time.perf_counter() - begun, "documents": index.documentCount()}))


main()
