"""The power-cut replay behind ./scripts/powercut: what a disk may hold after a cut, opened by the real kernel.

The workload (`kernel exercise`) runs under the recorder. From its trace states are built: everything synced before the cut is there;
of what was written since the last sync of a file any sectors (512 bytes) may be there or not, whole or in part; a file's length goes
with the writes that are there; of names (made, renamed, removed) since the last sync of their folder the first few are there, in their
order. Each state is opened by `kernel verify`, and must hold every transaction that was acknowledged before the cut, with the chain
hash that it has in the whole image, and every send that a branch was said to hold, unless the branch was being ended; one that was
committed or dropped does not come back. With --second the recovery itself is recorded and cut again. Standard library only.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SECTOR = 512
NOT_TAKEN = {"lock", "lock.mdb"}  # flock and shared memory: nothing that survives a cut matters in them


class Disk:
    """What is durable, and what was done since: files by number, names by folder."""

    def __init__(self, root):
        self.root = root
        self.files = {}  # number -> bytearray, durable
        self.pending = {}  # number -> [(kind, offset, data)]
        self.current = {root: None}  # path -> number, or None for a folder, as the program sees it
        self.durable = {root: None}
        self.names = {}  # folder -> [operation on names], not durable
        self.count = 0

    def copy_of_start(self, folder):
        """Begins with what lies in a folder already, all of it durable."""
        for path in sorted(Path(folder).rglob("*")):
            name = self.root + str(path)[len(str(folder)):]
            if path.is_dir():
                self.current[name] = self.durable[name] = None
            else:
                self.count += 1
                self.files[self.count] = bytearray(path.read_bytes())
                self.current[name] = self.durable[name] = self.count

    def do(self, kind, path, number, data, dropped):
        """One call of the program."""
        if kind == "c":
            self.count += 1
            self.files[self.count] = bytearray()
            self.name(path, ("set", path, self.count))
        elif kind == "m":
            self.name(path, ("set", path, None))
        elif kind in "ud":
            self.name(path, ("gone", path))
        elif kind == "r":
            new = data.decode()
            file = self.current.get(path)
            if os.path.dirname(path) == os.path.dirname(new) or file is None:
                self.name(path, ("move", path, new))
                self.follow(path, new)
            else:  # each folder must be synced for its part
                self.name(new, ("set", new, file))
                self.name(path, ("gone", path))
        elif path in self.current and self.current[path] is not None:
            file = self.current[path]
            if kind in "wt":
                self.pending.setdefault(file, []).append((kind, number, data))
            elif kind == "y" and not dropped(path):
                self.sync_sectors(file, number, len(data))
            elif kind == "s" and not dropped(path):
                content = self.files[file]
                for done in self.pending.pop(file, []):
                    apply(content, *done)
        elif kind == "s" and path in self.current and not dropped(path + "/"):
            for operation in self.names.pop(path, []):
                rename(self.durable, operation)

    def sync_sectors(self, file, offset, length):
        """The sectors of a range are durable; what else was written stays pending."""
        begin, end = offset // SECTOR * SECTOR, -(-(offset + length) // SECTOR) * SECTOR
        left = []
        for kind, at, data in self.pending.pop(file, []):
            first, last = max(at, begin), min(at + len(data), end)
            if kind == "t" or first >= last:
                left.append((kind, at, data))
                continue
            apply(self.files[file], kind, first, data[first - at:last - at])
            for piece_at, piece in ((at, data[:first - at]), (last, data[last - at:])):
                if piece:
                    left.append((kind, piece_at, piece))
        self.pending[file] = left

    def follow(self, old, new):
        """What is pending in a folder goes with it when it is renamed; what was pending in one that it replaces is gone."""
        moved = lambda path: new + path[len(old):] if (path + "/").startswith(old + "/") else path
        kept = {folder: done for folder, done in self.names.items() if not (folder + "/").startswith(new + "/")}
        self.names = {
            moved(folder): [tuple(map(moved, part)) if part[0] == "move" else (part[0], moved(part[1]), *part[2:]) for part in done]
            if moved(folder) != folder
            else done
            for folder, done in kept.items()
        }

    def name(self, path, operation):
        """An operation on a name; the folder that must be synced is the one of the first path."""
        rename(self.current, operation)
        self.names.setdefault(os.path.dirname(path), []).append(operation)

    def state(self, rng):
        """One thing that the disk may hold now: path -> content, or None for a folder."""
        names = dict(self.durable)
        for operations in self.names.values():
            for operation in operations[: pick(rng, len(operations))]:
                rename(names, operation)
        out = {}
        for path, file in names.items():
            parts = path[len(self.root):].split("/")
            if any(self.root + "/".join(parts[:n]) not in names for n in range(1, len(parts))):
                continue  # in a folder that is not there
            out[path] = None if file is None else self.content(file, rng)
        return out

    def content(self, file, rng):
        """A file's durable bytes with some of what was written since."""
        content = bytearray(self.files[file])
        done = self.pending.get(file, [])
        fate = rng.random()
        if fate < 0.25:
            done = done[: pick(rng, len(done))]
        elif fate < 0.85:
            done = [part for one in done for part in torn(one, rng, rng.choice((0.02, 0.5, 0.9, 0.98)))]
        for one in done if fate >= 0.1 else []:
            apply(content, *one)
        return bytes(content)


def pick(rng, count):
    """None, all, or some of a count."""
    return rng.choice((0, count, rng.randint(0, count)))


def torn(one, rng, kept):
    """The sectors of one write that reached the disk; a change of length did or did not."""
    kind, offset, data = one
    if kind == "t":
        if rng.random() < kept:
            yield one
        return
    at = 0
    while at < len(data):
        length = min(SECTOR - (offset + at) % SECTOR, len(data) - at)
        if rng.random() < kept:
            yield kind, offset + at, data[at:at + length]
        at += length


def apply(content, kind, offset, data):
    """A write or a change of length."""
    if kind == "t":
        if offset < len(content):
            del content[offset:]
        else:
            content.extend(bytes(offset - len(content)))
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset:offset + len(data)] = data


def rename(names, operation):
    """An operation on names; one on what is not there does nothing."""
    if operation[0] == "set":
        names[operation[1]] = operation[2]
    elif operation[0] == "gone":
        names.pop(operation[1], None)
    elif operation[1] in names:
        old, new = operation[1:]
        for path in [path for path in names if path == new or path.startswith(new + "/")]:
            del names[path]
        for path in [path for path in names if path == old or path.startswith(old + "/")]:
            names[new + path[len(old):]] = names.pop(path)


def records(trace):
    """(kind, path, number, data) of a trace."""
    data, at = Path(trace).read_bytes(), 0
    while at < len(data):
        kind, length = chr(data[at]), struct.unpack_from("=I", data, at + 1)[0]
        path = data[at + 5:at + 5 + length].decode()
        number, size = struct.unpack_from("=QI", data, at + 5 + length)
        begin = at + 17 + length
        yield kind, path, number, data[begin:begin + size]
        at = begin + size


def record(asked, folder, trace, *command):
    """Runs the kernel under the recorder."""
    environment = dict(os.environ, LD_PRELOAD=asked.recorder, POWERCUT_FOLDER=str(folder), POWERCUT_TRACE=str(trace), RUST_LOG="error")
    return subprocess.run([asked.kernel, *command], env=environment, capture_output=True, text=True, check=False)


def verify(asked, folder, *more):
    """The kernel's own word on an image."""
    command = [asked.kernel, "verify", "--json", "--image", str(folder), *more]
    return said(subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ, RUST_LOG="error")))


def said(done):
    """What a verification printed, or that it could not open the image."""
    try:
        return json.loads(done.stdout)
    except ValueError:
        return {"ok": False, "last": -1, "chain": "", "branches": {}, "faults": [{"where": "open", "what": done.stderr.strip()[-300:]}]}


def write(state, root, folder):
    """Puts a state into a folder."""
    for path, content in sorted(state.items()):
        to = folder + path[len(root):]
        if content is None:
            os.makedirs(to, exist_ok=True)
        elif os.path.basename(to) not in NOT_TAKEN:
            with open(to, "wb") as file:
                file.write(content)


class Replay:
    """One recording and the states made of it."""

    def __init__(self, asked, work, seed):
        self.asked, self.work, self.seed = asked, work, seed
        self.packs = (seed // asked.each) % 2 == 0 if asked.packs is None else asked.packs
        self.branches = (seed // asked.each) % 3 != 0 if asked.branches is None else asked.branches
        self.bad, self.tried, self.same = [], 0, 0
        self.seen = set()

    def run(self, states):
        """Records a workload, cuts it `states` times."""
        image, trace, kept = self.work / "image", self.work / "trace", self.work / "whole"
        image.mkdir(parents=True)
        command = ["exercise", "--image", str(image), "--transactions", str(self.asked.transactions), "--seed", str(self.seed)]
        done = record(self.asked, image, trace, *command, *(["--packs"] if self.packs else []), *(["--branches"] if self.branches else []))
        if done.returncode != 0:
            sys.exit(f"the workload failed: {done.stderr}")
        shutil.copytree(image, kept)
        self.chains = verify(self.asked, kept, "--chains")["chains"]
        events = list(records(trace))
        lines = [line.split() for kind, _, _, data in events if kind == "a" for line in data.decode().splitlines()]
        self.committed = {line[1]: int(line[3]) for line in lines if line[0] == "branch" and line[2] == "committed"}
        self.cut_all(events, str(image), None, states, 0)

    def cut_all(self, events, root, start, states, known):
        """Cuts a trace at random places; each state is judged."""
        rng = random.Random(f"{self.seed}-{known}-{states}")
        places = sorted(rng.choices(range(1, len(events) + 1), k=states))
        disk, acknowledged, at, branches = Disk(root), known, 0, {}
        if start:
            disk.copy_of_start(start)
        dropped = lambda path: bool(self.asked.drop_sync) and self.asked.drop_sync in path[len(root):]
        with ThreadPoolExecutor(self.asked.jobs) as pool:
            waiting = []
            for place in places:
                while at < place:
                    kind, path, number, data = events[at]
                    if kind == "a":
                        for word, *rest in map(str.split, data.decode().splitlines()):
                            if word == "acknowledged":
                                acknowledged = max(acknowledged, int(rest[0]))
                            elif word == "branch" and rest[1] == "holds":
                                branches[rest[0]] = ("holds", int(rest[2]))
                            elif word == "branch" and rest[1] in ("ending", "gone"):
                                branches[rest[0]] = (rest[1], 0)
                    else:
                        disk.do(kind, path, number, data, dropped)
                    at += 1
                state = disk.state(rng)
                mark = hashlib.blake2b(repr(sorted((p, c and hashlib.blake2b(c).digest()) for p, c in state.items())).encode() + f"{acknowledged} {branches}".encode()).digest()
                self.tried += 1
                if mark in self.seen:
                    self.same += 1
                    continue
                self.seen.add(mark)
                waiting.append(pool.submit(self.judge, state, root, (acknowledged, dict(branches)), f"seed {self.seed}{', packs' if self.packs else ''}{', branches' if self.branches else ''}, call {place} of {len(events)}", self.tried))
                if len(waiting) >= 8 * self.asked.jobs:
                    waiting.pop(0).result()
                if self.tried % 500 == 0:
                    print(f"  {self.tried} states, {len(self.bad)} bad", file=sys.stderr, flush=True)
            for one in waiting:
                one.result()

    def judge(self, state, root, acknowledged, name, number):
        """Opens a state and compares."""
        folder = str(self.work / f"state-{number}")
        os.makedirs(folder)
        write(state, root, folder)
        second = self.asked.second and number % 10 == 0
        before = folder + ".before"
        if second:
            shutil.copytree(folder, before)
        if second:
            trace = folder + ".trace"
            first = said(record(self.asked, folder, trace, "verify", "--json", "--image", folder))
            self.again(trace, folder, before, acknowledged, first["last"], name)
        else:
            self.compare(verify(self.asked, folder), acknowledged, name)
        for left in (folder, before):
            shutil.rmtree(left, ignore_errors=True)

    def again(self, trace, folder, before, acknowledged, history, name):
        """A second cut, during the recovery from the first, which found the history until the transaction `history`."""
        events = [event for event in records(trace) if "/verify" not in event[1][len(folder):]]
        rng = random.Random(name)
        disk = Disk(folder)
        disk.copy_of_start(before)
        for kind, path, number, data in events[: rng.randint(0, len(events))]:
            if kind != "a":
                disk.do(kind, path, number, data, lambda _: False)
        again = folder + ".again"
        os.makedirs(again)
        write(disk.state(rng), folder, again)
        self.compare(verify(self.asked, again), acknowledged, name + ", and again during its recovery", history)
        shutil.rmtree(again, ignore_errors=True)
        os.remove(trace)

    def strange(self, found, told, history):
        """A branch that lacks what it was said to hold, or that should not be there."""
        for branch, (word, sends) in told.items():
            held = found["branches"].get(branch)
            if word == "holds" and (held is None or held < sends):
                return f"lost: a branch held {sends} sends, now {held}"
            if word == "gone" and held is not None:
                return "a branch that was gone is there again"
            if word == "ending" and held is not None and history >= self.committed.get(branch, history + 1):
                return "a branch that is committed is there, too"
        return None

    def compare(self, found, told, name, history=None):
        """Judges what the kernel said. A recovery writes a transaction of its own: what follows `history` is not the recording's."""
        acknowledged, branches = told
        last, wrong = found["last"], None
        recorded = last if history is None else min(last, history)
        if not found["ok"]:
            wrong = f"faults: {found['faults'][:2]}"
        elif last < acknowledged:
            wrong = f"lost: {acknowledged} was acknowledged, the log ends at {last}"
        elif 0 < last == recorded and str(last) in self.chains and self.chains[str(last)] != found["chain"]:
            wrong = f"another history at {last}"
        elif strange := self.strange(found, branches, recorded):
            wrong = strange
        if wrong:
            self.bad.append(f"{name}: {wrong}")
            print(f"  {self.bad[-1]}", file=sys.stderr, flush=True)


def main():
    """Replays, says the verdict; exit status 1 when anything was lost or wrong."""
    parser = argparse.ArgumentParser(prog="powercut", description="Cuts the power of an image's disk, many times, and opens what is left.")
    parser.add_argument("states", nargs="?", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--transactions", type=int, default=150, help="of each recorded workload")
    parser.add_argument("--each", type=int, default=500, help="states of one recording")
    parser.add_argument("--drop-sync", metavar="PART", help="ignore syncs of paths that contain this, to see the replay go red")
    parser.add_argument("--no-second", dest="second", action="store_false", help="do not cut recoveries again")
    parser.add_argument("--packs", action=argparse.BooleanOptionalAction, help="contents and packs in the workload; default in every second one")
    parser.add_argument("--branches", action=argparse.BooleanOptionalAction, help="branches in the workload; default in two of three")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--recorder", required=True)
    asked = parser.parse_args()
    begun, tried, same, bad = time.time(), 0, 0, []
    base = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else os.environ.get("TMPDIR", "/tmp")) / f"powercut-{os.getpid()}"
    try:
        while tried < asked.states:
            replay = Replay(asked, base / str(tried), asked.seed + tried)
            replay.run(min(asked.each, asked.states - tried))
            tried, same, bad = tried + replay.tried, same + replay.same, bad + replay.bad
            shutil.rmtree(replay.work)
            print(f"  {tried} of {asked.states} states, {len(bad)} bad, {tried / (time.time() - begun):.0f} states/s", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    for line in bad[:20]:
        print(line)
    print(f"{tried} states ({same} twice), {len(bad)} lost or wrong, seed {asked.seed}, {time.time() - begun:.0f} s")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
