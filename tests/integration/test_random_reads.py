#!/usr/bin/env python3
"""Ten thousand random reads of a tiered log equal those of an untiered copy."""

import random

import coldtier
from varvetest import *

COUNT = 1000 if QUICK else 10000


def records(count, seed):
    """Envelopes with times out of order, and single ones dated far ahead."""
    rng = random.Random(seed)
    now, rows = 1431857103000, []
    for i in range(count):
        now += rng.randrange(0, 2000)
        at = now - (rng.randrange(0, 600000) if rng.random() < 0.2 else 0)
        if rng.random() < 0.0005 or i == 17:
            at = now + rng.randrange(1, 30) * 86400000
        rows.append(json.dumps({"timestamp": at, "value": "record %d %x" % (i, rng.getrandbits(rng.randrange(8, 800)))}))
    return ("\n".join(rows) + "\n").encode()


def compare(d):
    done = subprocess.run([os.environ["RANDOM_READS"], os.path.join(d, "tiered"), "a", os.path.join(d, "plain"), "a",
                           str(COUNT)], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def test_random_reads_of_half_evicted_logs_equal_those_of_an_untiered_copy(d):
    tiered, plain = os.path.join(d, "tiered"), os.path.join(d, "plain")
    first, second = records(20000, 1), records(20000, 2)
    for store, size in ((tiered, "256KiB"), (plain, "256MiB")):
        coldtier.init(store)
        silent("append", store, "a", "--format", "envelope", "-o", "segment.bytes=" + size, stdin=first)
    silent("tier", tiered, "--seal", "--evict")
    for store in (tiered, plain):
        silent("append", store, "a", "--format", "envelope", stdin=second)
    info = ls(tiered, "a")
    assert info["cold_end"] >= 20000 and info["hot_bytes"] > 0
    assert ls(plain, "a")["cold_segments"] == 0
    assert read(tiered, "a", "--json") == read(plain, "a", "--json")
    compare(d)
    # The same offsets in both, whatever the segments' borders: the early outlier goes, then half of all.
    for before in (18, 20500):
        for store in (tiered, plain):
            silent("trim", store, "a", "--before", before)
        assert read(tiered, "a", "--json") == read(plain, "a", "--json")
        compare(d)
    silent("tier", tiered, "--seal", "--evict")
    compare(d)


if __name__ == "__main__":
    main()
