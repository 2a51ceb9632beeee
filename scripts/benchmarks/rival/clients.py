"""Many clients of server.py from one thread: the same load as tests/benches/clients.rs.

    clients.py ENDPOINT SELECTOR CLIENTS IN_FLIGHT SECONDS OBJECTS ARGUMENT...

Requests are packed before the time begins, all but their sequence number, so that this side costs as little as it can.
"""

import json
import random
import sys
import time

import msgpack
import zmq

PREPARED = 65_536


def main():
    endpoint, selector, clients, in_flight, seconds, objects, *arguments = sys.argv[1:]
    clients, in_flight, seconds, objects = int(clients), int(in_flight), float(seconds), int(objects)
    arguments = [int(argument) for argument in arguments]
    requests = [msgpack.packb([index, random.randrange(objects), selector, arguments]) for index in range(PREPARED)]
    context = zmq.Context()
    poller = zmq.Poller()
    sockets = []
    for _ in range(clients):
        socket = context.socket(zmq.DEALER)
        socket.connect(endpoint)
        poller.register(socket, zmq.POLLIN)
        sockets.append(socket)
    used = time.process_time()
    begun = time.perf_counter()
    sent = answered = 0
    for socket in sockets:
        for _ in range(in_flight):
            # ZeroMQ's REQ and REP put an empty frame between envelope and body; a server with threads wants it.
            socket.send_multipart([b"", requests[sent % PREPARED]])
            sent += 1
    while answered < sent:
        for socket, _ in poller.poll():
            while True:
                try:
                    reply = socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                if not msgpack.unpackb(reply[-1])[1]:
                    sys.exit("a fault")
                answered += 1
                if time.perf_counter() - begun < seconds:
                    socket.send_multipart([b"", requests[sent % PREPARED]])
                    sent += 1
    figures = {
        "answered": answered,
        "seconds": time.perf_counter() - begun,
        "clients": clients,
        "in_flight": in_flight,
        "client_processor_seconds": time.process_time() - used,
    }
    print(json.dumps(figures))


main()
