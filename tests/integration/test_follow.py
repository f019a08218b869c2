#!/usr/bin/env python3
"""A reader that follows while another process appends, seals, uploads and evicts."""

import signal
import threading
import time

from varvetest import *

ROUNDS = 10 if QUICK else 40


def test_a_follower_sees_every_record_once_in_order(d):
    store = os.path.join(d, "s")
    silent("init", store)
    lines = [b"%d %s\n" % (i, b"x" * (i % 97)) for i in range(ROUNDS * 500)]
    silent("append", store, "a", "-o", "segment.bytes=16KiB", stdin=b"".join(lines[:500]))
    silent("tier", store, "a", "--seal", "--evict")
    reader = start("read", store, "a", "--follow", "-n", len(lines), stdin=subprocess.DEVNULL)
    seen = []
    drain = threading.Thread(target=lambda: seen.append(reader.stdout.read()))
    drain.start()
    for i in range(1, ROUNDS):
        silent("append", store, "a", stdin=b"".join(lines[i * 500:(i + 1) * 500]))
        if i % 3 == 0:
            silent("tier", store, "a", "--seal", *(["--evict"] if i % 2 else []))
    drain.join(timeout=120)
    assert not drain.is_alive(), "the follower did not come to the end"
    assert reader.wait(timeout=30) == 0, reader.stderr.read()
    assert seen[0] == b"".join(lines)


def test_a_follower_gets_a_line_at_once(d):
    store = os.path.join(d, "s")
    silent("init", store)
    writer = start("append", store, "a", "--print-offsets", bufsize=0)
    writer.stdin.write(b"first\n")
    assert writer.stdout.readline() == b"0\n"  # not kept for a fuller batch
    reader = start("read", store, "a", "--follow", "--json", stdin=subprocess.DEVNULL, bufsize=0)
    assert json.loads(reader.stdout.readline())["value"] == "first"
    for i in range(1, 20):
        writer.stdin.write(b"line %d\n" % i)
        assert writer.stdout.readline() == b"%d\n" % i
        assert json.loads(reader.stdout.readline())["offset"] == i
    writer.stdin.close()
    assert writer.wait(timeout=30) == 0
    reader.send_signal(signal.SIGTERM)
    assert reader.wait(timeout=30) == 0, "SIGTERM ends a follower cleanly"


def test_a_follower_of_a_log_that_was_never_appended_to_waits(d):
    store = os.path.join(d, "s")
    silent("init", store)
    silent("create", store, "a")
    assert read(store, "a") == b""
    reader = start("read", store, "a", "--follow", "-n", 2, stdin=subprocess.DEVNULL, bufsize=0)
    time.sleep(0.3)
    assert reader.poll() is None, reader.stderr.read()
    silent("append", store, "a", stdin=b"first\n")
    assert reader.stdout.readline() == b"first\n"
    silent("append", store, "a", stdin=b"second\n")
    assert reader.stdout.readline() == b"second\n"
    assert reader.wait(timeout=30) == 0


def test_a_closed_output_ends_reading(d):
    store = os.path.join(d, "s")
    silent("init", store)
    silent("append", store, "a", stdin=b"".join(b"%d\n" % i for i in range(200000)))
    for follow in ([], ["--follow"]):
        reader = start("read", store, "a", *follow, stdin=subprocess.DEVNULL)
        assert reader.stdout.readline() == b"0\n"
        reader.stdout.close()
        assert reader.wait(timeout=30) == 0, reader.stderr.read()
    # Also one that has caught up and waits.
    reader = start("read", store, "a", "--follow", "--from", "end", stdin=subprocess.DEVNULL)
    reader.stdout.close()
    assert reader.wait(timeout=30) == 0, reader.stderr.read()


def test_an_interrupted_append_keeps_whole_lines_and_closes(d):
    store = os.path.join(d, "s")
    silent("init", store)
    writer = start("append", store, "a", "--linger", "1h", bufsize=0)
    writer.stdin.write(b"one\ntwo\nhalf of thr")
    time.sleep(1)
    writer.send_signal(signal.SIGINT)
    assert writer.wait(timeout=30) == 128 + signal.SIGINT
    assert read(store, "a") == b"one\ntwo\n"
    run("verify", store, "--deep")


main()
