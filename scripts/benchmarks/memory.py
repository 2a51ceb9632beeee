"""Fractal memory: how well it finds (Cranfield), how fast (a million vectors, a hundred thousand chunks), how fast and small it indexes.

Cranfield's files (cran.all.1400, cran.qry, cranqrel; Glasgow's IR group gives them away) are looked for in BATOS_BENCH_CRANFIELD; they are
in no package, so without that folder its rows are left out. The rivals index the same texts in the same run: zope.index, the text index of
ZODB's world, and sentence-transformers (an interpreter that has it: BATOS_BENCH_TORCH; else PyPI, 5 GB).
"""

import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from home import Home
from programs import CACHE, ROOT, bench_programs, rival
from rows import row
from works import warn_of_memory

NAMES = ["cranfield", "vector_scan", "hybrid_query", "indexing", "indexing_with_vectors"]
INTERPRETER = "BATOS_BENCH_TORCH"
COLLECTION = "BATOS_BENCH_CRANFIELD"
# Measured elsewhere on the same collection: BM25 with stemming, and it with LSA in convex combination.
BM25 = (0.391, 0.315)
WITH_LSA = (0.436, 0.356)
TO_REACH = (0.44, 0.36)
DEPTH = 100


def measure(wanted, quick):
    found = []
    if "cranfield" in wanted:
        found += cranfield()
    if "vector_scan" in wanted:
        found += vector_scan(100_000 if quick else 1_000_000)
    if "hybrid_query" in wanted:
        found += hybrid_query(20_000 if quick else 100_000)
    if "indexing" in wanted:
        found += indexing(4_000 if quick else 20_000)
    if "indexing_with_vectors" in wanted:
        found += indexing_with_vectors(200 if quick else 1_000)
    return found


def with_encoder():
    """A home whose encoder is all-MiniLM-L6-v2; None when it cannot be fetched."""
    kept = CACHE / "embedder"
    fetch = [str(ROOT / "scripts/embedding-model"), str(kept)]
    if not (kept / "models/all-minilm-l6-v2").exists() and subprocess.run(fetch, stdout=sys.stderr, check=False).returncode:
        return None
    home = Home()
    os.symlink(kept / "models", Path(home.path) / "models")
    home.batos("up")
    deadline = time.monotonic() + 120
    while not home.batos("memory", "stats")["encoder"]:
        if time.monotonic() > deadline:
            sys.exit("the encoder does not answer")
        time.sleep(0.2)
    return home


def cranfield():
    folder = os.environ.get(COLLECTION)
    if not folder:
        return [row("cranfield_ndcg_10", None, "", None, "", None, f"{COLLECTION} names no folder with the collection")]
    documents, queries, judged = collection(Path(folder))
    rows = []
    for name, make in (("cranfield", with_encoder), ("cranfield_text_only", text_home)):
        home = make()
        if home is None:
            rows.append(row(f"{name}_ndcg_10", None, "", None, "", None, "the encoder cannot be fetched (PyPI)"))
            continue
        try:
            connection = home.attach()
            for number, text in documents.items():
                connection.call("memory_add", source=str(number), text=text)
            runs = {query: ranked(connection, text) for query, text in queries.items()}
        finally:
            home.remove()
        ndcg, average = evaluated(runs, judged)
        with_vectors = name == "cranfield"
        targets = TO_REACH if with_vectors else (None, None)
        rivals = WITH_LSA if with_vectors else BM25
        is_what = "BM25 convex with LSA, measured elsewhere" if with_vectors else "BM25 stemmed, measured elsewhere"
        rows.append(row(f"{name}_ndcg_10", ndcg, "", rivals[0], is_what, targets[0], f"{len(documents)} documents, {len(runs)} queries; the search was tuned on these and on CISI"))
        rows.append(row(f"{name}_map", average, "", rivals[1], is_what, targets[1]))
    return rows


def text_home():
    home = Home()
    home.batos("up")
    return home


def ranked(connection, question):
    seen = []
    for hit in connection.call("memory_search", question=question, k=DEPTH)["hits"]:
        number = int(hit["source"])
        if number not in seen:
            seen.append(number)
    return seen


def collection(folder):
    def fields(name):
        text = (folder / name).read_text(encoding="latin-1")
        for part in re.split(r"^\.I ", text, flags=re.M)[1:]:
            number, rest = part.split("\n", 1)
            yield int(number), dict(re.findall(r"^\.([TABW])\n(.*?)(?=^\.[TABW]\n|\Z)", rest, flags=re.M | re.S))

    # The text of a document begins with its title.
    documents = {number: f.get("W", "").strip() or f.get("T", "").strip() or "empty" for number, f in fields("cran.all.1400")}
    # Judgements count the queries; their own numbers have gaps.
    queries = {at: " ".join(f["W"].split()) for at, (_, f) in enumerate(fields("cran.qry"), 1)}
    judged = {}
    for line in (folder / "cranqrel").read_text().splitlines():
        words = line.split()
        if len(words) >= 3:
            # 1 is the best grade, 4 the least, -1 and 5 none, as the collection's readme has it.
            judged.setdefault(int(words[0]), {})[int(words[1])] = int(words[2])
    return documents, {query: text for query, text in queries.items() if query in judged}, judged


def evaluated(runs, judged):
    """nDCG at 10 and mean average precision, relevance taken as yes or no: every judged document but those of no interest."""
    ndcg, precision = [], []
    for query, run in runs.items():
        relevant = {number for number, grade in judged[query].items() if 1 <= grade <= 4}
        if not relevant:
            continue
        gain = sum(1 / math.log2(place + 2) for place, number in enumerate(run[:10]) if number in relevant)
        ndcg.append(gain / sum(1 / math.log2(place + 2) for place in range(min(10, len(relevant)))))
        hits, total = 0, 0.0
        for place, number in enumerate(run, 1):
            if number in relevant:
                hits += 1
                total += hits / place
        precision.append(total / len(relevant))
    return sum(ndcg) / len(ndcg), sum(precision) / len(precision)


def bench(work):
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="memory-", dir=os.environ.get("BATOS_BENCH_DIR", CACHE)) as folder:
        warn_of_memory(folder)
        done = subprocess.run([bench_programs()["memory"], folder, work], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"memory {work}: {done.stderr}")
    return json.loads(done.stdout)


def vector_scan(count):
    figures = bench(f"vectors {count} 60")
    note = f"{count:,} vectors of 384 numbers in groups, out of the index, on one thread; the pages are warm"
    return [
        row("vector_scan_p50", median(figures["ms"]), "ms", None, "", 20 if count == 1_000_000 else None, note),
        row("vector_scan_recall", figures["recall"], "", None, "", 1.0, "of the ten that a look at every kept vector finds"),
        row("vector_scan_recall_f32", figures["recall_f32"], "", None, "", 0.99, "of the ten that unrounded numbers find"),
        row("vector_bytes", figures["bytes"], "bytes", None, "", 450, "of the index, for each"),
    ]


def hybrid_query(count):
    figures = bench(f"hybrid {count} 100")
    ms = sorted(figures["ms"])
    note = f"{count:,} chunks of 120 words, questions of six; the encoding of the question is not in it"
    ratio = figures["terms_bytes"] / figures["text_bytes"]
    return [
        row("hybrid_query_p50", median(ms), "ms", None, "", 10, note),
        row("hybrid_query_p99", ms[int(len(ms) * 0.99)], "ms", None, "", 30),
        row("terms_to_text", ratio, "bytes", None, "", 1.0, "bytes of the index for each byte of text"),
    ]


def texts(count):
    """Paragraphs of the standard library's sources and of this repository: real text that every machine has."""
    found, seen = [], set()
    files = [*sorted((ROOT / "docs").glob("*.md")), *sorted(Path(os.__file__).parent.rglob("*.py"))]
    for path in files:
        for part in re.split(r"\n\s*\n", path.read_text(encoding="utf-8", errors="replace")):
            text = " ".join(part.split())
            if 200 <= len(text) <= 1_200 and text not in seen:
                seen.add(text)
                found.append(text)
                if len(found) == count:
                    return found
    return found


def written(folder, paragraphs):
    path = Path(folder) / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in paragraphs))
    return path


def indexed(home, path):
    begun = time.perf_counter()
    added = home.batos("memory", "add", str(path))
    return added, time.perf_counter() - begun


def indexing(count):
    paragraphs = texts(count)
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, paragraphs)
        home = text_home()
        try:
            added, seconds = indexed(home, path)
        finally:
            home.remove()
        # Beside our own store, so that both are on one disk.
        with tempfile.TemporaryDirectory(prefix="zodb-", dir=os.environ.get("BATOS_BENCH_DIR")) as store:
            in_memory, durable = (len(paragraphs) / theirs(path, *where) for where in ((), (Path(store) / "index.fs",)))
    ours = len(paragraphs) / seconds
    note = f"{len(paragraphs):,} paragraphs, {added['known']} of them known before"
    return [
        row("indexing", ours, "chunks/s", in_memory, "zope.index, OkapiIndex, in memory", 5 * in_memory, f"{note}; ours durable"),
        row("indexing_to_durable", ours, "chunks/s", durable, "the same in ZODB FileStorage, committed as often as ours", None, note),
    ]


def theirs(path, *store):
    """The seconds that zope.index takes."""
    done = subprocess.run(rival("memory.py", path, *store, names="memory.txt"), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["seconds"]


def indexing_with_vectors(count):
    paragraphs = texts(count)
    home = with_encoder()
    if home is None:
        return [row("indexing_with_vectors", None, "chunks/s", None, "", None, "the encoder cannot be fetched (PyPI)")]
    with tempfile.TemporaryDirectory() as folder:
        path = written(folder, paragraphs)
        try:
            added, seconds = indexed(home, path)
        finally:
            home.remove()
        lines = Path(folder) / "texts.txt"
        lines.write_text("".join(f"{text}\n" for text in paragraphs))
        program = [str(Path(__file__).parent / "rival/embeddings.py"), str(CACHE / "embedder/models/all-minilm-l6-v2"), str(lines), "32", "2"]
        interpreter = os.environ.get(INTERPRETER)
        command = [interpreter, "-B", *program] if interpreter else rival(*program, names="embeddings.txt")
        done = subprocess.run(command, input="round\nround\n", capture_output=True, text=True, check=True)
    other = json.loads(done.stdout.splitlines()[-1])["texts_per_second"]
    note = f"{len(paragraphs):,} paragraphs, {added['vectors']} vectors; ours finds, cuts and keeps them, too"
    return [row("indexing_with_vectors", len(paragraphs) / seconds, "chunks/s", other, "sentence-transformers, encoding alone", other, note)]
