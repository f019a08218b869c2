#!/usr/bin/env python3
"""A bit flipped in each kind of file: found, named, repaired where there is another copy, never served."""

from make_log import make
from varvetest import *

SEGMENT = "segment.bytes=64KiB"


def store_with(d, *, evict, lines=3000):
    """A store with a log in small segments: cold only, or (not evicted) in both tiers."""
    store, data = os.path.join(d, "s"), make("apache", lines)
    silent("init", store)
    silent("append", store, "a", "--time-format", "apache", "-o", SEGMENT, *LOCAL, stdin=data)
    silent("tier", store, "--seal", *(["--evict"] if evict else []))
    return store, data


def never_wrong(store, data, log="a"):
    """Reads all: what comes is a prefix of the truth, and less than all of it is an error."""
    out, err = run("read", store, log, expect=None)
    assert data.startswith(out)
    if out != data:
        assert err.startswith("varve: "), err
    return out == data


def found(store, name, *options):
    """Expects verify to find problems, one of which names the file."""
    out, err = run("verify", store, "--deep", *options, expect=CORRUPT)
    assert name in out.decode() + err, (name, out.decode(), err)


def positions(path):
    """Places all over a file, the first and the last byte among them."""
    size = os.path.getsize(path)
    return sorted({0, 5, 17, 61, size // 3, size // 2, size - 30, size - 1} & set(range(size)))


def test_a_flipped_bit_in_an_object_that_is_the_only_copy(d):
    store, data = store_with(d, evict=True)
    path = objects(store)[2]
    for pos in positions(path):
        flip(path, pos)
        empty_cache(store)
        never_wrong(store, data)
        found(store, os.path.basename(path))
        flip(path, pos)
    empty_cache(store)
    assert read(store, "a") == data
    run("verify", store, "--deep")


def test_a_read_of_a_damaged_object_names_it(d):
    store, data = store_with(d, evict=True)
    path = objects(store)[2]
    flip(path, 1000)
    empty_cache(store)
    out, err = run("read", store, "a", expect=CORRUPT)
    assert os.path.basename(path) in err and data.startswith(out) and len(out) < len(data)


def test_a_missing_object_is_named_and_never_skipped(d):
    store, data = store_with(d, evict=True)
    path = objects(store)[2]
    os.rename(path, os.path.join(d, "away"))
    empty_cache(store)
    out, err = run("read", store, "a", expect=CORRUPT)
    assert os.path.basename(path) in err and data.startswith(out)
    found(store, os.path.basename(path))


def test_an_object_is_mended_from_the_local_copy(d):
    store, data = store_with(d, evict=False)
    for damage in ("flip", "cut", "remove"):
        # Not by listing: what was replaced stays as an orphan until it is collected.
        path = os.path.join(store, "cold", ls(store, "a")["segments"][1]["object_key"])
        if damage == "flip":
            flip(path, 500)
        elif damage == "cut":
            os.truncate(path, os.path.getsize(path) - 10)
        else:
            os.unlink(path)
        assert never_wrong(store, data)
        found(store, os.path.basename(path))
        out, _ = run("verify", store, "--deep", "--repair")
        assert b"repaired" in out, (damage, out)
        run("verify", store, "--deep")
    silent("tier", store, "--seal", "--evict")
    empty_cache(store)
    assert read(store, "a") == data


def test_a_hot_segment_is_replaced_by_the_cold_copy(d):
    store, data = store_with(d, evict=False)
    path = hot_segments(store, "a")[1]
    for pos in (0, 8, 16, 20, 70, os.path.getsize(path) - 1):
        flip(path, pos)
        never_wrong(store, data)
        found(store, os.path.basename(path))
        flip(path, pos)
    flip(path, 100)
    out, _ = run("verify", store, "--deep", "--repair")
    assert b"repaired" in out, out
    run("verify", store, "--deep")
    assert read(store, "a") == data


def test_a_hot_segment_that_is_the_only_copy_is_reported_and_not_served(d):
    store, data = os.path.join(d, "s"), make("apache", 3000)
    silent("init", store)
    silent("create", store, "a", "-o", SEGMENT)
    # Without its directory the cold tier takes nothing, however long the append takes.
    cold = os.path.join(store, "cold")
    os.rename(cold, cold + ".away")
    run("append", store, "a", "--time-format", "apache", stdin=data)
    os.rename(cold + ".away", cold)
    path = hot_segments(store, "a")[1]
    flip(path, 5000)
    assert not never_wrong(store, data)
    found(store, os.path.basename(path))
    flip(path, 5000)
    assert read(store, "a") == data


def test_a_sparse_index_is_rebuilt(d):
    store, data = store_with(d, evict=False)
    index = hot_segments(store, "a")[1].replace(".log", ".index")
    for pos in positions(index):
        flip(index, pos)
        assert never_wrong(store, data)
        assert read(store, "a", "--from", 700, "-n", 3) == b"".join(data.splitlines(keepends=True)[700:703])
        run("verify", store, "--deep", "--repair")
        run("verify", store, "--deep")
    os.unlink(index)
    assert never_wrong(store, data)
    run("verify", store, "--deep", "--repair")


def test_the_local_root_is_fetched_again(d):
    store, data = store_with(d, evict=True)
    root = os.path.join(hot_dir(store, "a"), "root")
    for pos in positions(root):
        flip(root, pos)
        assert never_wrong(store, data)
        run("verify", store, "--deep", "--repair")
        run("verify", store, "--deep")
    os.unlink(root)
    silent("append", store, "a", stdin=b"more\n")
    assert read(store, "a") == data + b"more\n"


def test_the_buckets_root_is_stored_again(d):
    store, data = store_with(d, evict=True)
    root = os.path.join(store, "cold/logs/a/@/root")
    for pos in positions(root)[:4]:
        flip(root, pos)
        assert never_wrong(store, data)
        found(store, "root")
        run("verify", store, "--deep", "--repair")
        run("verify", store, "--deep")
    assert read(store, "a") == data


def test_a_damaged_cache_is_a_miss(d):
    store, data = store_with(d, evict=True)
    assert read(store, "a") == data
    cache = os.path.join(store, "cache")
    for name in os.listdir(cache):
        path = os.path.join(cache, name)
        with open(path, "r+b") as f:
            size = os.fstat(f.fileno()).st_size
            for pos in list(range(0, min(size, 1 << 20), 997)):
                f.seek(pos)
                byte = f.read(1)
                if byte:
                    f.seek(pos)
                    f.write(bytes([byte[0] ^ 4]))
    assert read(store, "a") == data
    assert read(store, "a") == data


def test_the_stores_settings_are_checked(d):
    store, data = store_with(d, evict=True, lines=100)
    path = os.path.join(store, "varve-store")
    for pos in positions(path):
        flip(path, pos)
        run("read", store, "a", expect=None)
        out, err = run("append", store, "a", stdin=b"x\n", expect=None)
        assert err.startswith("varve: ") and "varve-store" in err or store in err, err
        flip(path, pos)
    assert read(store, "a") == data


def test_a_torn_tail_is_cut_off_and_said(d):
    store = os.path.join(d, "s")
    silent("init", store)
    writer = start("append", store, "a", "--print-offsets", bufsize=0)
    writer.stdin.write(b"one\n")
    assert writer.stdout.readline() == b"0\n"
    writer.kill()
    writer.wait()
    path = hot_segments(store, "a")[-1]
    with open(path, "ab") as f:
        f.write(b"\0\0\0\0\0\0\0\1half a batch")
    assert read(store, "a") == b"one\n"
    run("verify", store, "--deep")
    out, err = run("append", store, "a", stdin=b"two\n")
    assert "torn" in err or "truncat" in err or "cut" in err, err
    assert read(store, "a") == b"one\ntwo\n"
    run("verify", store, "--deep")


main()
