"""The scan: looks for held-out words in every training shard; exit status 1 when one is found."""

import json
import re
import sys

import corpus
import fixed

NAMES = re.compile(r"<\|(?:receiver|slots|parents|others|message)\|>(.*)\n")

if __name__ == "__main__":
    found, lines, seen = {}, 0, set()
    for path in sorted((corpus.WORK / "shards").glob("*.jsonl")):
        for line in path.open():
            prompt, completion, *_ = json.loads(line)
            lines += 1
            # The names: sentences tell of these alone, and the values of examples are no names.
            for word in fixed.parts(" ".join(NAMES.findall(prompt)) + " " + (completion if "<|wish|>" not in prompt else "")):
                if word not in seen:
                    seen.add(word)
                    if fixed.strange(word):
                        found[word] = path.name
    print(lines, "cases,", len(seen), "different words,", len(found), "of them held out", sorted(found)[:20])
    sys.exit(1 if found else 0)
