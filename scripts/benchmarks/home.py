"""A running system in a temporary home, and a conversation with it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile

from programs import PROGRAMS, ROOT


class Home:
    """A system in a temporary home."""

    def __init__(self, model=ROOT / "inference-worker/seed/model"):
        self.path = tempfile.mkdtemp(prefix="batos-bench-", dir=os.environ.get("BATOS_BENCH_DIR"))
        self.environment = dict(os.environ, BATOS_SEED=str(model))

    def batos(self, *arguments):
        command = [str(PROGRAMS / "batos"), "--home", self.path, "--json", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if not done.stdout.strip():
            sys.exit(f"{' '.join(command)} printed nothing: {done.stderr}")
        document = json.loads(done.stdout)
        if not document.get("ok"):
            sys.exit(f"{' '.join(command)}: {document}")
        return document

    def define(self, name, source):
        """Puts a method into an object of that name."""
        with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
            file.write(source)
            file.flush()
            self.batos("define", name, file.name)

    def make_counter(self):
        """An object `bench` with a writing and a reading method, put there by hand."""
        self.batos("new", "traits", "count=0", "--name", "bench")
        count_up = "def count_up(self, amount):\n    self.count = self.count + amount\n    self._p_changed = True\n"
        self.define("bench", count_up + "    return self.count\n")
        self.define("bench", "def look(self):\n    return self.count\n")

    def socket(self):
        return os.path.join(self.path, "run/kernel.sock")

    def attach(self):
        return Connection(self.socket())

    def remove(self):
        subprocess.run([str(PROGRAMS / "batos"), "--home", self.path, "--json", "down"], capture_output=True, check=False)
        shutil.rmtree(self.path, ignore_errors=True)


class Connection:
    """A JSON-RPC conversation."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def call(self, method, **parameters):
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        reply = json.loads(self.file.readline())
        if "error" in reply:
            sys.exit(f"{method} {parameters}: {reply['error']['message']}")
        return reply["result"]
