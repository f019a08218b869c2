#!/usr/bin/env python3
"""kill -9 of an appending process: every acknowledged record is there, in order, and verify is clean.

VARVE_KILLS is the number of kills (default 25). A killed process leaves the page cache behind, so the order
of syncs is checked under strace besides: no offset is printed before the fdatasync that covers it.
"""

import random
import re
import threading
import time

import coldtier
from varvetest import *

KILLS = int(os.environ.get("VARVE_KILLS", "25"))
# The tiny run has smaller ones.
OPTIONS = [] if TINY else ["-o", "segment.bytes=64KiB", "-o", "local.retention.bytes=128KiB"]


def line(i):
    return b"%09d %s\n" % (i, b"abcdefghij"[:i % 11] * (i % 13))


def feed(writer, first):
    """Lines from number `first` on, until the process is gone."""
    rng = random.Random(first)
    try:
        while True:
            count = rng.choice([1, 1, 3, 50, 400])
            writer.stdin.write(b"".join(line(i) for i in range(first, first + count)))
            writer.stdin.flush()
            first += count
    except (BrokenPipeError, ValueError, OSError):
        pass


def end(writer, *threads):
    """Kills it, and waits for those who feed and drain it."""
    writer.kill()
    writer.wait()
    for thread in threads:
        thread.join()
    try:
        writer.stdin.close()
    except OSError:
        pass
    errors = writer.stderr.read().decode()
    assert "Sanitizer" not in errors, errors


def numbered(acknowledged, first):
    """That the offsets printed are those from `first` on; returns how many."""
    numbers = [int(n) for n in acknowledged]
    assert numbers == list(range(first, first + len(numbers))), "offsets %r..." % numbers[:5]
    return len(numbers)


def run_until_killed(store, first, seconds, wait_for_one, wait_for_tier=False):
    """Starts an append of lines `first`.., kills it, with `wait_for_one` not before one line was
    acknowledged, with `wait_for_tier` not before a segment is in the cold tier; returns how many
    lines were acknowledged."""
    writer = start("append", store, "a", "--durability", "fsync", "--print-offsets", *OPTIONS)
    acknowledged = []
    any_acknowledged = threading.Event()

    def drain_output():
        head = writer.stdout.readline()
        any_acknowledged.set()
        acknowledged.extend((head + writer.stdout.read()).split(b"\n")[:-1])

    drain = threading.Thread(target=drain_output)
    feeder = threading.Thread(target=feed, args=(writer, first))
    drain.start()
    feeder.start()
    if wait_for_one or wait_for_tier:
        any_acknowledged.wait(60)
    deadline = time.monotonic() + 60
    while wait_for_tier and time.monotonic() < deadline and ls(store, "a")["cold_segments"] == 0:
        time.sleep(0.05)
    time.sleep(seconds)
    end(writer, feeder, drain)
    return numbered(acknowledged, first)


def test_nothing_acknowledged_is_lost(d):
    store = os.path.join(d, "s")
    coldtier.init(store)
    rng = random.Random(9)
    end, acknowledged_in_all = 0, 0
    for round_ in range(KILLS):
        count = run_until_killed(store, end, rng.choice([0.02, 0.1, 0.3]) * rng.random() + 0.01,
                                 round_ % 3 == 0, round_ == KILLS // 2)
        acknowledged_in_all += count
        if not os.path.exists(hot_dir(store, "a")) or "a" not in [l["log"] for l in ls(store)["logs"]]:
            assert count == 0  # killed before the log was there
            continue
        # As a reader beside nobody sees it, before anything recovers it.
        before = read(store, "a", "--from", end).splitlines(keepends=True)
        assert len(before) >= count, "round %d: %d acknowledged, %d there" % (round_, count, len(before))
        assert before == [line(i) for i in range(end, end + len(before))], "round %d" % round_
        # As recovery leaves it.
        run("append", store, "a", *OPTIONS)
        after = ls(store, "a")["end_offset"]
        assert after >= end + count, "round %d: %d acknowledged, the log ends at %d" % (round_, end + count, after)
        out, err = run("verify", store, "--deep", expect=None)
        assert b"clean" in out, "round %d: %s%s" % (round_, out.decode(), err)
        end = after
    assert acknowledged_in_all > 0
    everything = read(store, "a").splitlines(keepends=True)
    assert everything == [line(i) for i in range(end)]
    assert ls(store, "a")["cold_segments"] > 0, "tiering ran beside it"
    silent("tier", store, "--seal", "--evict")
    assert read(store, "a") == b"".join(everything)


CALL = re.compile(r"^(\d+) +(\w+)\((.*?)\) += (-?\d+)")


def trace_of(path):
    """(process, name, arguments, result) of each call, resumed calls joined, in the order they ended."""
    begun = {}
    for text in open(path, errors="replace"):
        m = re.match(r"^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$", text)
        if m:
            begun[m.group(1)] = (m.group(2), m.group(3))
            continue
        m = re.match(r"^(\d+) +<\.\.\. (\w+) resumed>(.*?)\) += (-?\d+)", text)
        if m and m.group(1) in begun:
            name, args = begun.pop(m.group(1))
            yield m.group(1), name, args + m.group(3), int(m.group(4))
            continue
        m = CALL.match(text)
        if m:
            yield m.group(1), m.group(2), m.group(3), int(m.group(4))


def test_no_offset_is_printed_before_the_sync_that_covers_it(d):
    need("strace")
    if QUICK:
        raise Skip("strace and sanitizers do not go together")
    store, trace = os.path.join(d, "s"), os.path.join(d, "trace")
    if subprocess.run(["strace", "-o", trace, "true"], capture_output=True).returncode:
        raise Skip("strace may not trace here")
    silent("init", store)
    run("append", store, "a", "--durability", "fsync", "--print-offsets", "--batch", "1KiB", *OPTIONS,
        stdin=b"".join(line(i) for i in range(3000)),
        prefix=["strace", "-f", "-y", "-s", "64", "-o", trace, "-e",
                "trace=write,pwrite64,pwritev,pwritev2,writev,fdatasync,fsync,openat,rename,renameat,renameat2"])
    dirty, directory_synced, folder = set(), set(), hot_dir(store, "a")
    created, printed = set(), 0
    for _, name, args, result in trace_of(trace):
        if result < 0:
            continue
        at = re.search(r"<([^>]*)>", args)
        path = at.group(1) if at else ""
        if name == "openat" and "O_CREAT" in args:
            target = re.search(r'"([^"]*\.log)"', args)
            if target:
                created.add(os.path.basename(target.group(1)))
        elif name in ("pwrite64", "pwritev", "pwritev2", "writev", "write") and path.endswith(".log"):
            dirty.add(path)
        elif name in ("fdatasync", "fsync"):
            dirty.discard(path)
            if os.path.realpath(path) == os.path.realpath(folder):
                directory_synced |= created
        if name == "write" and args.startswith("1<"):
            printed += 1
            assert not dirty, "offsets were printed while %s was not synced" % dirty
            assert created <= directory_synced, "the names %s were not synced yet" % (created - directory_synced)
    assert printed > 100, "%d prints were seen" % printed
    assert len(created) > 1, "no segment was rolled"


if __name__ == "__main__":
    main()
