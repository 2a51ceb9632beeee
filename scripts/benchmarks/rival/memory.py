"""zope.index, the text index of ZODB's world, in memory: `memory.py FILE`; each line of FILE is a JSON document with a `text`.

The lexicon does what ours does but stemming, which it has not: words, lower case, no stop words; the index is the one with Okapi's weights.
"""

import json
import sys
import time

from zope.index.text.lexicon import CaseNormalizer, Lexicon, Splitter, StopWordRemover
from zope.index.text.okapiindex import OkapiIndex
from zope.index.text.textindex import TextIndex


def main():
    with open(sys.argv[1], encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    lexicon = Lexicon(Splitter(), CaseNormalizer(), StopWordRemover())
    index = TextIndex(lexicon, OkapiIndex(lexicon))
    begun = time.perf_counter()
    for number, text in enumerate(texts):
        index.index_doc(number, text)
    print(json.dumps({"seconds": time.perf_counter() - begun, "documents": index.documentCount()}))


main()
