"""usage: malformed.py HOST LIBRARY SEED

Sends calls, good and bad ones, and then frames with changed bytes to a host of native libraries: it may
refuse them or end, but not crash.
"""

import random
import socket
import struct
import subprocess
import sys

GOOD = b'{"args":[7],"kwargs":{}}'
TEMPLATE = b'{"args":[{"$item":true}],"kwargs":{}}'
ARGUMENTS = [
    GOOD, b'{"args":[7],"kwargs":{"a":1}}', b'{"args":[', b"", b"{}", b"[]", b'{"kwargs":{},"args":[[[1]]]}', b"\xff",
]
ITEMS = [b"[1,2,3]", b"[1,", b"", b"[]", b'["a",{"b":[]}]x', b"[" * 5000]


def frame(kind, body):
    return struct.pack("<IB", 1 + len(body), kind) + body


def order(library):
    fields = [b"1", b"x", library.encode(), b"process", b"1", b"", b"", b"[]", b"f"]
    return frame(1, b"".join(struct.pack("<I", len(field)) + field for field in fields))


def some_frame(number):
    kind = random.choice(["call", "call", "range", "list", "cancel", "gang"])
    if kind == "call":
        return frame(2, struct.pack("<QIH", number, random.choice([0, 0, 1]), 0) + random.choice(ARGUMENTS))
    if kind == "cancel":
        return frame(4, struct.pack("<Q", random.randrange(200)))
    if kind == "gang":
        return frame(6, struct.pack("<QIII", number, 0, 1, random.randrange(3)) + GOOD)
    template = random.choice([TEMPLATE, TEMPLATE[:20], b"x"])
    head = struct.pack("<QIIB", number, 0, len(template), kind == "list") + template
    items = random.choice(ITEMS) if kind == "list" else struct.pack("<qqQ", 0, 1, random.randrange(5))
    return frame(3, head + items)


def play(host, library, changes):
    ours, theirs = socket.socketpair()
    process = subprocess.Popen([host, "x"], stdin=theirs, stderr=subprocess.PIPE)
    theirs.close()
    ours.settimeout(0.5)
    first = order(library)
    data = bytearray(first + b"".join(some_frame(number) for number in range(150)) + frame(5, b""))
    for _ in range(changes):
        # The order now and then, too.
        data[random.randrange(0 if random.random() < 0.2 else len(first), len(data))] = random.randrange(256)
    answered = 0
    try:
        while data:
            count = random.randrange(1, 3000)
            ours.sendall(data[:count])
            del data[:count]
        while True:
            more = ours.recv(1 << 16)
            if not more:
                break
            answered += len(more)
    except (BrokenPipeError, ConnectionResetError, socket.timeout):
        pass  # it ended, or waits for the rest of a frame
    ours.close()
    errors = process.stderr.read()
    status = process.wait(60)
    if status < 0 or b"Sanitizer" in errors or b"runtime error" in errors:
        sys.exit("the host crashed: status %d\n%s" % (status, errors.decode("utf-8", "replace")))
    return answered


def main():
    host, library, seed = sys.argv[1:]
    random.seed(int(seed))
    if play(host, library, 0) < 1000:
        sys.exit("the host did not answer frames without changes")
    for round_ in range(40):
        play(host, library, 1 + round_ % 6)


main()
