#!/usr/bin/env python3
"""Prints how fast varve-fakes3 serves and takes big bodies: fakes3_rate.py [CONNECTIONS [RULE]]

The client is one Python process that drops what it reads, so the figures are a lower bound of the server's.
"""

import os
import selectors
import sys
import time

from fakes3client import Server

MIB = 1024 * 1024
RANGE = 8 * MIB
SECONDS = 3.0


def drive(connections, request, wanted):
    """Each connection asks again as soon as it has `wanted` bytes; returns bytes and seconds."""
    selector, block, total = selectors.DefaultSelector(), bytearray(MIB), 0
    for c in connections:
        c.connect()
        c.socket.sendall(request)
        selector.register(c.socket, selectors.EVENT_READ, [wanted])
    start = time.monotonic()
    while time.monotonic() - start < SECONDS:
        for key, _ in selector.select(1):
            n = key.fileobj.recv_into(block)
            total += n
            key.data[0] -= n
            if key.data[0] == 0:
                key.data[0] = wanted
                key.fileobj.sendall(request)
    return total, time.monotonic() - start


def processor_seconds(pid):
    fields = open("/proc/%d/stat" % pid).read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    rule = sys.argv[2] if len(sys.argv) > 2 else "latency=30ms"
    with Server("--bucket", "bkt") as s:
        c = s.client(timeout=60)
        body = os.urandom(64 * MIB)
        for checked, payload in (("MD5 and SHA-256", None), ("MD5 alone", "UNSIGNED-PAYLOAD")):
            request = c.build("PUT", "/bkt/k", body=body, payload_hash=payload)
            took = []
            for _ in range(4):
                start = time.monotonic()
                c.send(request)
                assert c.receive("PUT").status == 200
                took.append(time.monotonic() - start)
            print("PUT of 64 MiB, one connection, %s: %.0f MiB/s (the best of 4)" % (checked, 64 / min(took)))
        request = c.build("GET", "/bkt/k", headers={"range": "bytes=0-%d" % (RANGE - 1)})
        c.send(request)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += c.stream.read(1)
        assert b" 206 " in head.partition(b"\r\n")[0] and len(c.stream.read(RANGE)) == RANGE
        for rules in ((), (rule,)):
            s.faults(*rules)
            before, cpu = os.times(), processor_seconds(s.process.pid)
            total, took = drive([s.client() for _ in range(count)], request, len(head) + RANGE)
            cpu = processor_seconds(s.process.pid) - cpu
            used = os.times().user + os.times().system - before.user - before.system
            print("GET of 8 MiB ranges, %d connections, %s: %.0f MiB/s; CPU s/GiB: server %.2f, this client %.2f" % (
                count, " ".join(rules) or "no fault", total / MIB / took,
                cpu / (total / MIB / 1024), used / (total / MIB / 1024)))


if __name__ == "__main__":
    main()
