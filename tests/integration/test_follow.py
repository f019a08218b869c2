#!/usr/bin/env python3
"""A reader that follows while another process appends, seals, uploads and evicts."""

import fcntl
import signal
import struct
import threading
import time

import coldtier
from varvetest import *

ROUNDS = 10 if QUICK else 40


def test_a_follower_sees_every_record_once_in_order(d):
    store = os.path.join(d, "s")
    coldtier.init(store)
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


def read_with_a_writer_stuck_in_recovery(d, alive):
    store = os.path.join(d, "alive" if alive else "dead")
    silent("init", store)
    data = b"".join(b"%d %s\n" % (i, b"x" * 80) for i in range(20000))
    silent("append", store, "a", "-o", "segment.bytes=8KiB", "-o", "local.retention.bytes=1GiB", stdin=data)
    reader = start("read", store, "a", stdin=subprocess.DEVNULL, bufsize=0)
    head = reader.stdout.read(1)  # it has its view of the local files, and waits for us to take more
    silent("tier", store, "--seal", "--evict")
    # As a process that was killed after evicting leaves it to the next one, which has just begun.
    with open(os.path.join(hot_dir(store, "a"), "published"), "r+b") as f:
        if alive:
            fcntl.flock(f, fcntl.LOCK_EX)
        page = bytearray(f.read(4096))
        page[128:136] = struct.pack("<Q", struct.unpack("<Q", page[128:136])[0] + 2)
        page[136:144] = struct.pack("<Q", 1)
        page[224:232] = struct.pack("<Q", crc32c(page[136:224]))
        f.seek(0)
        f.write(page)
        f.flush()
        rest, err = reader.communicate(timeout=60)
    assert reader.returncode == 0, err
    assert head + rest == data


def test_a_reader_goes_cold_while_a_writer_that_recovers_says_nothing_yet(d):
    read_with_a_writer_stuck_in_recovery(d, alive=True)


def test_a_reader_looks_at_the_files_when_a_writer_died_in_recovery(d):
    read_with_a_writer_stuck_in_recovery(d, alive=False)


def test_a_reader_of_a_log_that_is_deleted_under_it_is_told_so(d):
    store = os.path.join(d, "s")
    silent("init", store)
    data = b"".join(b"%d %s\n" % (i, b"x" * 80) for i in range(20000))
    run("append", store, "a", "-o", "segment.bytes=8KiB", "-o", "file.delete.delay.ms=0", stdin=data)
    silent("tier", store, "--seal", "--evict")
    reader = start("read", store, "a", stdin=subprocess.DEVNULL, bufsize=0)
    head = reader.stdout.read(1)
    run("delete", store, "a")
    rest, err = reader.communicate(timeout=60)
    assert reader.returncode == NOT_FOUND and b"deleted" in err, (reader.returncode, err)
    assert data.startswith(head + rest)


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


if __name__ == "__main__":
    main()
