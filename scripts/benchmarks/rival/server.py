"""Methods of persistent objects over a socket, in the shape of the original system: ZODB behind ZeroMQ and msgpack.

    server.py FOLDER ENDPOINT OBJECTS [THREADS]

A request is [sequence, object, selector, arguments], a reply [sequence, true, result]. Each message is one transaction, made
durable by FileStorage before its reply leaves. More than one thread shares the work over connections of their own.
"""

import os
import sys
import threading

import msgpack
import transaction
import zmq
import ZODB
import ZODB.FileStorage
import ZODB.POSException

from objects import Counter


def serve(database, socket):
    """Answers for ever. A conflict is tried again, as ours is."""
    manager = transaction.TransactionManager()
    connection = database.open(transaction_manager=manager)
    objects = connection.root()["objects"]
    while True:
        *envelope, request = socket.recv_multipart()
        sequence, number, selector, arguments = msgpack.unpackb(request)
        while True:
            try:
                result = getattr(objects[number], selector)(*arguments)
                manager.commit()
                break
            except ZODB.POSException.ConflictError:
                manager.abort()
        socket.send_multipart([*envelope, msgpack.packb([sequence, True, result])])


def make(database, count):
    connection = database.open()
    # A plain list would be rewritten as a whole, a tree searched: this is one pickle that only holds references.
    connection.root()["objects"] = [Counter() for _ in range(count)]
    transaction.commit()
    connection.close()


def main():
    folder, endpoint, count, *threads = sys.argv[1:]
    threads = int(threads[0]) if threads else 1
    os.makedirs(folder, exist_ok=True)
    storage = ZODB.FileStorage.FileStorage(os.path.join(folder, "zodb.fs"))
    database = ZODB.DB(storage, cache_size=2 * int(count), pool_size=threads)
    make(database, int(count))
    context = zmq.Context()
    front = context.socket(zmq.ROUTER)
    front.bind(endpoint)
    print("ready", flush=True)
    if threads == 1:
        serve(database, front)
    back = context.socket(zmq.DEALER)
    back.bind("inproc://threads")
    for _ in range(threads):
        socket = context.socket(zmq.REP)
        socket.connect("inproc://threads")
        threading.Thread(target=serve, args=(database, socket), daemon=True).start()
    zmq.proxy(front, back)


main()
