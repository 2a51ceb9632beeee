"""The whole system as one client sees it: sends, start, the first act."""

import os
import socket
import statistics
import subprocess
import sys
import time

from home import Home
from rows import row

NAMES = ["durable_send", "read_only_send", "start", "first_act"]


def measure(wanted, quick):
    rows = []
    if "durable_send" in wanted or "read_only_send" in wanted:
        rows += bench_sends(quick, wanted)
    if "start" in wanted:
        rows += bench_start(quick)
    if "first_act" in wanted:
        rows += bench_first_act(quick)
    return rows


def bench_sends(quick, wanted):
    rows = []
    home = Home()
    try:
        home.batos("up")
        home.make_counter()
        connection = home.attach()
        rounds = 200 if quick else 1000

        def write():
            connection.call("send", receiver="bench", selector="count_up", arguments=[1])

        def look():
            connection.call("send", receiver="bench", selector="look", arguments=[])

        timed(write, 50)
        timed(look, 50)
        if "durable_send" in wanted:
            # Floor and figure by turns, so that a disk that changes its mood changes both.
            floors, figures = [], []
            for _ in range(5):
                floors.append(fdatasync_ms(home.path, rounds // 5))
                figures.append(timed(write, rounds // 5))
            floor = statistics.median(floors)
            figure = statistics.median(figures)
            rows.append(row("durable_send_p50", figure, "ms", floor, "fdatasync of 400 appended bytes", 4 * floor + 0.5))
        if "read_only_send" in wanted:
            floor = echo_ms(rounds)
            rows.append(row("read_only_send_p50", timed(look, rounds), "ms", floor, "an echo over a local socket", 0.3))
    finally:
        home.remove()
    return rows


def bench_start(quick):
    home = Home()
    try:
        home.batos("up")
        home.make_counter()
        python = timed(lambda: subprocess.run(["/usr/bin/python3", "-c", "pass"], check=True), 3)
        times = []
        for _ in range(3 if quick else 7):
            home.batos("down")
            begun = time.perf_counter()
            home.batos("up")
            home.batos("send", "bench", "look")
            times.append(time.perf_counter() - begun)
        return [row("up_to_first_answer", statistics.median(times), "s", python / 1000, "starting a Python interpreter", 1.5)]
    finally:
        home.remove()


def bench_first_act(quick):
    times = []
    for _ in range(1 if quick else 5):
        home = Home()
        try:
            home.batos("up")
            begun = time.perf_counter()
            document = home.batos("send", "genesis", "display_yourself")
            times.append(time.perf_counter() - begun)
            if document["thought"] is None:
                sys.exit("display_yourself was understood without a thought: this measured nothing")
            again = home.batos("send", "genesis", "display_yourself")
            if again["thought"] is not None:
                sys.exit("the second display_yourself thought again")
        finally:
            home.remove()
    return [row("display_yourself_on_an_empty_image", statistics.median(times), "s", None, "", 10.0)]


def timed(work, rounds):
    """Median milliseconds of a call."""
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def fdatasync_ms(folder, rounds):
    """What the disk asks for making 400 appended bytes durable: the floor of a commit."""
    path = os.path.join(folder, "fdatasync")
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    block = b"x" * 400

    def append():
        os.write(file, block)
        os.fdatasync(file)

    median = timed(append, rounds)
    os.close(file)
    os.unlink(path)
    return median


def echo_ms(rounds):
    """One line there and back over a local socket between two processes: the floor of any request."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        file = theirs.makefile("rb")
        for line in file:
            theirs.sendall(line)
        os._exit(0)
    theirs.close()
    file = ours.makefile("rb")

    def echo():
        ours.sendall(b"x" * 100 + b"\n")
        file.readline()

    median = timed(echo, rounds)
    file.close()
    ours.close()
    os.waitpid(child, 0)
    return median
