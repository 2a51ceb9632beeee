"""A client that asks all the time: `steady.py SOCKET OBJECT CLIENT PER_SECOND`, until standard input ends. Then it prints when each
answered request began and ended, a line each, in seconds since 1970. With 0 it asks as fast as it is answered.

It speaks JSON-RPC as any program would: a lost connection is made again, and the request repeated under its id. What fails ends it.
"""

import json
import socket
import sys
import threading
import time


class Connection:
    def __init__(self, path):
        self.path = path
        self.file = None

    def exchange(self, line):
        """The reply to a line, from whichever kernel gives one."""
        while True:
            try:
                if self.file is None:
                    stream = socket.socket(socket.AF_UNIX)
                    stream.connect(self.path)
                    self.file = stream.makefile("rwb")
                self.file.write(line)
                self.file.flush()
                reply = self.file.readline()
                if reply.endswith(b"\n"):
                    return reply
            except OSError:
                pass
            self.close()

    def close(self):
        """A file whose buffer cannot be written any more says so once more when it is closed."""
        try:
            if self.file is not None:
                self.file.close()
        except OSError:
            pass
        self.file = None


def main():
    path, name, client = sys.argv[1:4]
    pause = 1 / float(sys.argv[4]) if float(sys.argv[4]) else 0
    is_over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), is_over.set()), daemon=True).start()
    connection = Connection(path)
    asked = []
    sequence = 0
    due = time.time()
    while not is_over.is_set():
        # Requests that fell due during a wait are left out: nobody asks twice at once.
        due = max(due + pause, time.time())
        if pause:
            time.sleep(max(0, due - time.time()))
        sequence += 1
        parameters = {"receiver": name, "selector": "count_up", "arguments": [1], "client": client, "sequence": sequence}
        request = {"jsonrpc": "2.0", "id": sequence, "method": "send", "params": parameters}
        line = json.dumps(request).encode() + b"\n"
        begun = time.time()
        reply = json.loads(connection.exchange(line))
        asked.append((begun, time.time()))
        # Its object is its own, so a request that is lost or done twice shows at once.
        if reply.get("result", {}).get("result") != sequence:
            sys.exit(f"request {sequence} of {name}: {reply}")
    for begun, ended in asked:
        print(f"{begun:.6f} {ended:.6f}")


main()
