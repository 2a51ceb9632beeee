"""Programs that work line by line, ours and the rival's, and the stores that they work on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from programs import CACHE, bench_programs, rival


class Works:
    """A running program that does a work a line (kernel/benches/image.rs says which) and answers by a line of JSON."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.stdout.close()
        if self.process.wait() != 0:
            sys.exit(f"{' '.join(self.process.args)} failed")

    def do(self, *work):
        self.begin(*work)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{' '.join(self.process.args)}: no answer to {work}")
        return json.loads(line)

    def begin(self, *work):
        """Asks for a work whose answer nobody waits for."""
        self.process.stdin.write(" ".join(map(str, work)) + "\n")
        self.process.stdin.flush()

    def kill(self):
        """kill -9, wherever it is."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def written_bytes(self):
        with open(f"/proc/{self.process.pid}/io") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("write_bytes:"))


class Stores:
    """Filled folders of both sides by number of objects, each made when it is first asked for and kept until the end."""

    def __init__(self):
        CACHE.mkdir(parents=True, exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix="stores-", dir=os.environ.get("BATOS_BENCH_DIR", CACHE)))
        warn_of_memory(self.folder)

    def ours(self, objects):
        return self._works([bench_programs()["image"]], "ours", objects)

    def zodb(self, objects):
        return self._works(rival("image.py"), "zodb", objects)

    def empty(self):
        """Our program on an empty folder: for its floor."""
        return Works([bench_programs()["image"], str(self.folder / "empty")])

    def _works(self, program, side, objects):
        command = [*program, str(self.folder / f"{side}-{objects}")]
        if not Path(command[-1]).exists():
            with Works(command) as works:
                works.do("make", objects)
        return Works(command)

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def warn_of_memory(folder):
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=False).stdout.strip()
    if kind in ("tmpfs", "ramfs"):
        print(f"{folder} is in memory: nothing there is durable; set BATOS_BENCH_DIR to a folder of a disk", file=sys.stderr)
