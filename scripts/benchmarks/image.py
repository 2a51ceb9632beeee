"""The image in one process, against ZODB's FileStorage in another: objects of 300 bytes, both sides and the floor by turns."""

import os
import random
import time
from statistics import median

from quiet import SYNCED_BYTES, quiet_rounds
from rows import row
from works import Stores

NAMES = ["durable_transaction", "transaction_of_64", "cold_read", "reopen", "bytes_written", "image_memory"]

SMALL = 10_000
MIDDLE = 100_000
LARGE = 1_000_000
LARGEST = 10_000_000

# Transactions that wait at the same time where the committer may group them.
WAITING = 64
# What an image may keep in memory whatever its size: 100,000 decoded objects of about 1 KiB, and what an empty one needs.
MEMORY_MIB = 160
PAGES = "the page cache is warm, the object caches are empty"


def measure(wanted, quick):
    stores = Stores()
    rows = []
    try:
        if "durable_transaction" in wanted:
            rows += bench_transaction(stores, quick)
        if "transaction_of_64" in wanted:
            rows += bench_wide_transaction(stores, quick)
        if "cold_read" in wanted:
            rows += bench_cold_read(stores, quick)
        if "bytes_written" in wanted:
            rows += bench_bytes(stores, quick)
        if "reopen" in wanted:
            rows += bench_reopen(stores, quick)
        if "image_memory" in wanted:
            rows += bench_memory(stores, quick)
    finally:
        stores.remove()
    return rows


def bench_transaction(stores, quick):
    """One client that waits for each of its transactions."""
    with stores.ours(SMALL) as image, stores.zodb(SMALL) as other:
        quiet, put_off = by_turns(image, other, 100, 1, (40, 12) if quick else (200, 60))
    value, rival = rate_with(quiet.sides[0], put_off), median(quiet.sides[1])
    floor_is = f"one fdatasync for each {SYNCED_BYTES} bytes that overwrite zeros"
    return [
        row("durable_transaction", value, "transactions/s", rival, "ZODB FileStorage", 1.6 * rival, quiet.note),
        row("durable_transaction_to_floor", value, "transactions/s", quiet.floor, floor_is, 0.75 * quiet.floor),
    ]


def bench_wide_transaction(stores, quick):
    with stores.ours(SMALL) as image, stores.zodb(SMALL) as other:
        quiet, put_off = by_turns(image, other, 20, 64, (20, 8) if quick else (100, 40))
    value, rival = rate_with(quiet.sides[0], put_off), median(quiet.sides[1])
    return [row("transaction_of_64", value, "transactions/s", rival, "ZODB FileStorage", 10 * rival, quiet.note)]


def by_turns(image, other, count, width, effort):
    """Rates of both sides, and the seconds a transaction that our side put off until it was closed (its index)."""
    for side in (image, other):
        side.do("open")
        side.do("transactions", count, width, 1)
    done = 0

    def ours():
        nonlocal done
        done += count
        return rate(image.do("transactions", count, width, 1))

    quiet = quiet_rounds(image, [ours, lambda: rate(other.do("transactions", count, width, 1))], *effort)
    other.do("close")
    return quiet, image.do("close")["seconds"] / done


def rate_with(rates, put_off):
    """The median rate when each transaction also takes what it put off."""
    return 1 / (1 / median(rates) + put_off)


def bench_cold_read(stores, quick):
    rounds, count = (5, 20_000) if quick else (11, 50_000)
    ours, zodb = [], []
    with stores.ours(MIDDLE) as image, stores.zodb(MIDDLE) as other:
        other.do("open")
        for _ in range(rounds):
            image.do("open")
            ours.append(rate(image.do("reads", count)))
            image.do("close")
            zodb.append(rate(other.do("reads", count)))
    rival = median(zodb)
    note = f"of {MIDDLE:,} objects; {PAGES}"
    return [row("cold_read", median(ours), "reads/s", rival, "ZODB loading a ghost", 5 * rival, note)]


def bench_bytes(stores, quick):
    """The least of some rounds: what else the machine writes can only add to the device's count."""
    rounds, count, lone = (2, 20_000, 2_000) if quick else (5, 40_000, 20_000)
    with stores.ours(SMALL) as image, stores.zodb(SMALL) as other:
        grouped = [written(stores, image, count, WAITING) for _ in range(rounds)]
        alone = [written(stores, image, lone, 1) for _ in range(2)]
        zodb = [written(stores, other, 2_000, 1) for _ in range(2)]
    pages = "write_bytes of /proc/self/io counts a whole folio for each dirtied byte"
    rows = []
    for name, sides, target, note in (
        ("bytes_written", grouped, 1024, f"{WAITING} transactions wait at a time, index included; {pages}"),
        ("bytes_written_alone", alone, None, f"each waits for its own sync, index included; {pages}"),
    ):
        value, rival = (min(side[0] for side in figures) for figures in (sides, zodb))
        rows.append(row(name, value, "bytes", rival, "ZODB, one transaction a sync", target, note))
        value, rival = (min(side[1] for side in figures) for figures in (sides, zodb))
        note = "sectors that the device wrote, the file system's journal included, others' writes too"
        rows.append(row(f"{name}_to_device", value, "bytes", rival, "ZODB, one transaction a sync", target, note))
    return rows


def written(stores, works, count, waiting):
    """Bytes a transaction, by the process' own account and by the device's, from an open store to a closed one."""
    works.do("open")
    # What the store's making left to write must not count.
    os.sync()
    process, device = works.written_bytes(), device_bytes(stores.folder)
    works.do("transactions", count, 1, waiting)
    works.do("close")
    process = works.written_bytes() - process
    os.sync()
    return process / count, (device_bytes(stores.folder) - device) / count


def device_bytes(folder):
    number = os.stat(folder).st_dev
    try:
        with open(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat") as file:
            return int(file.read().split()[6]) * 512
    except FileNotFoundError:
        return 0


def bench_reopen(stores, quick):
    """kill -9 under full load, then a new process opens the store and reads one object."""
    rounds = 3 if quick else 5
    sizes = (SMALL, MIDDLE, LARGE) if quick else (SMALL, MIDDLE, LARGE, LARGEST)
    rows, times = [], []
    for size in sizes:
        value = median(killed_and_opened(lambda size=size: stores.ours(size), WAITING) for _ in range(rounds))
        times.append(value)
        rival = None
        # Making and loading the rival's larger stores takes minutes.
        if size <= (MIDDLE if quick else LARGE):
            rival = median(killed_and_opened(lambda size=size: stores.zodb(size), 1) for _ in range(rounds))
        rows.append(
            row(f"reopen_{size}", value, "ms", rival, "ZODB FileStorage", 100, f"{size:,} objects, after kill -9 under load")
        )
    smallest, biggest = times[0], times[-1]
    rows.append(row("reopen_flatness", biggest, "ms", smallest, f"with {SMALL:,} objects", 2 * smallest + 10))
    return rows


def killed_and_opened(store, waiting):
    works = store()
    works.do("open")
    before = works.written_bytes()
    works.begin("transactions", 1_000_000 if waiting > 1 else 100_000, 1, waiting)
    while works.written_bytes() == before and works.process.poll() is None:
        time.sleep(0.01)
    time.sleep(random.uniform(0.3, 1.2))
    works.kill()
    with store() as works:
        milliseconds = works.do("open")["seconds"] * 1000
        works.do("close")
    return milliseconds


def bench_memory(stores, quick):
    rows = []
    for size in (LARGE,) if quick else (LARGE, LARGEST):
        ours = touched(stores.ours(size))
        rival = touched(stores.zodb(size))["anonymous_kib"] / 1024 if size == LARGE and not quick else None
        mapped = (ours["resident_kib"] - ours["anonymous_kib"]) / 1024
        note = (
            f"every one of {size:,} objects read once; besides {mapped:.0f} MiB of mapped pages, which the system can take back"
        )
        value = ours["anonymous_kib"] / 1024
        rows.append(row(f"memory_{size}", value, "MiB", rival, "ZODB with as many cached objects", MEMORY_MIB, note))
    return rows


def touched(works):
    with works:
        works.do("open")
        figures = works.do("touch")
        works.do("close")
    return figures


def rate(figures):
    return figures["count"] / figures["seconds"]
