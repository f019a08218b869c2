#!/usr/bin/env python3
"""The command over cold tiers that are made to fail (cold/faulty.h): what is retriable is got through by running it
again, and what is damaged is found, never passed on."""

import os
import subprocess

from varvetest import CORRUPT, OK, RETRIABLE, command, empty_cache, main, refused, run

LINES = b"".join(b"line %d of the log\n" % i for i in range(60000))


def until_ok(*args, stdin=b"", done_before=None):
    """Runs it until it works; every failure in between must say that it may be tried again. `done_before`: what is said
    where the try before was carried out and nobody could learn of it."""
    for tries in range(200):
        done = subprocess.run(command(*args), input=stdin, capture_output=True, timeout=300, check=False)
        if done.returncode == OK:
            return done.stdout
        if tries > 0 and done_before and done_before in done.stderr.decode():
            return b""
        assert done.returncode == RETRIABLE, (args, done.returncode, done.stderr.decode())
    raise AssertionError("%r never worked: %s" % (args, done.stderr.decode()))


def filled(scratch, faults, name="store"):
    """A store whose log has been tiered and evicted through a cold tier without faults, which then get them."""
    store, cold = os.path.join(scratch, name), os.path.join(scratch, name + ".cold")
    run("init", store, "--cold", "file://" + cold)
    run("create", store, "orders/0", "-o", "segment.bytes=256k")
    run("append", store, "orders/0", stdin=LINES)
    run("tier", store, "--seal", "--evict")
    other = os.path.join(scratch, name + ".reader")
    run("init", other, "--cold", "faulty+file://%s?faults=%s" % (cold, faults), "--adopt")
    return other


def test_lost_replies_and_errors_lose_nothing(scratch):
    store = os.path.join(scratch, "store")
    cold = os.path.join(scratch, "cold")
    until_ok("init", store, "--cold", "faulty+file://%s?faults=all:error@1/20,put+complete+delete:lost@1/6,"
             "put(*/root):twice@1/4,get:cut@1/12" % cold)
    until_ok("create", store, "orders/0", "-o", "segment.bytes=256k", done_before="a log of that name is in")
    until_ok("append", store, "orders/0", stdin=LINES)
    until_ok("tier", store, "--seal", "--evict")
    empty_cache(store)
    assert until_ok("read", store, "orders/0") == LINES


def test_flipped_bits_are_found(scratch):
    store = filled(scratch, "get(*.zst):flip", "flip")
    refused(CORRUPT, "read", store, "orders/0", naming=".zst")


if __name__ == "__main__":
    main()
