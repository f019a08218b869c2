#!/usr/bin/env python3
"""A bit flipped in each kind of file in turn: found, named, mended where another copy holds the truth, never served.

Each look at a damaged store is a process of its own. What it prints must be the log from its beginning: all of
it (exit 0), or what lies in front of the damage (exit 5, and the message names a file or a key).
"""

import os
import random
import shutil
import threading
import time

from varvetest import *

LINES = 1500  # hot and cold alike: 500 cold only, 500 in both tiers, 500 hot only


def lines(first, count):
    return b"".join(b"%06d %s\n" % (i, b"x" * (i % 97)) for i in range(first, first + count))


class Tiers:
    """A store whose log `web` has segments that are cold only, in both tiers, and hot only."""

    def __init__(self, d, name="s"):
        self.store, self.data = os.path.join(d, name), lines(0, LINES)
        silent("init", self.store)
        for part, how in ((0, ["--seal", "--evict"]), (1, ["--seal"]), (2, None)):
            silent("append", self.store, "web", "-o", "segment.bytes=4096", stdin=lines(part * 500, 500))
            if how:
                silent("tier", self.store, *how)
        assert read(self.store, "web") == self.data
        info = ls(self.store, "web")
        self.end, self.segments = info["end_offset"], info["segments"]
        assert {s["tier"] for s in self.segments} == {"cold", "both", "hot"}, self.segments
        self.hot = hot_dir(self.store, "web")
        self.bucket = os.path.join(self.store, "cold", "logs", "web", "@")

    def log_path(self, tier, which=0):
        """A segment file that lies in `tier`: both, or hot (sealed)."""
        at = [s for s in self.segments if s["tier"] == tier][which]["base_offset"]
        return os.path.join(self.hot, "%020d.log" % at)

    def object_path(self, tier, which=0):
        """As the manifest names it: what was replaced lies on as an orphan."""
        at = [s for s in self.segments if s["tier"] == tier][which]["base_offset"]
        now = next(s for s in ls(self.store, "web")["segments"] if s["base_offset"] == at)
        return os.path.join(self.store, "cold", now["object_key"])

    def read_is_honest(self, names=()):
        """Exit 0 and every byte, or exit 5, a prefix, and one of `names` in the message. True: every byte."""
        out, err = run("read", self.store, "web", expect=None)
        code_ok = (out == self.data)
        if not code_ok:
            assert self.data.startswith(out), "served what was not written"
            assert any(n in err for n in names), (names, err)
        return code_ok

    def verify(self, *args, expect=OK):
        return run("verify", self.store, *args, expect=expect)


def sample(size, count, seed=1):
    """Positions: all of a small file, else its edges and a fixed random choice."""
    if size <= count:
        return range(size)
    rng = random.Random(seed)
    edge = min(16, count // 4)
    return sorted({*range(edge), *range(size - edge, size), *(rng.randrange(size) for _ in range(count))})


def flipped(path, count, seed=1):
    """Yields after each flip of one bit of the file, and puts it right again."""
    keep = open(path, "rb").read()
    rng = random.Random(seed)
    for pos in sample(len(keep), QUICK and count // 8 or count, seed):
        flip(path, pos, 1 << rng.randrange(8))
        yield pos
        with open(path, "r+b") as f:
            f.write(keep)


def damaged(t, path, count, expect=CORRUPT, served=None, names=None):
    """Each flip is found by verify --deep, which names the file, and never served."""
    name = os.path.basename(path)
    for pos in flipped(path, count):
        whole = t.read_is_honest(names or [name])
        assert served is None or whole == served, (path, pos, whole)
        out, err = t.verify("--deep", expect=None)
        assert (name.encode() in out) or (name in err), (path, pos, out, err)
    t.verify("--deep")


def mended(t, path, positions, name=None):
    """Each flip is mended by verify --repair; what follows is clean, and the log is all there."""
    name = name or os.path.basename(path)
    for pos in positions:
        flip(path, pos)
        out, err = t.verify("--deep", "--repair")
        assert name.encode() in out or name in err, (path, pos, out, err)
        t.verify("--deep")
        assert read(t.store, "web") == t.data
        if not os.path.exists(path):
            return


def test_a_segment_in_both_tiers(d):
    t = Tiers(d)
    path = t.log_path("both", 2)
    damaged(t, path, 200, served=True)
    mended(t, path, [700])
    assert not os.path.exists(path)  # served cold from now on


def test_a_segment_that_is_only_hot(d):
    t = Tiers(d)
    damaged(t, t.log_path("hot", 1), 200)
    # Nothing else holds it: said, left as it is, and what lies in front of it is read.
    path = t.log_path("hot", 1)
    flip(path, 800)
    out, err = run("verify", t.store, "--deep", "--repair", expect=CORRUPT)
    assert os.path.basename(path).encode() in out or os.path.basename(path) in err
    assert not t.read_is_honest([os.path.basename(path)])
    flip(path, 800)
    t.verify("--deep")


def test_an_active_segment(d):
    t = Tiers(d)
    path = hot_segments(t.store, "web")[-1]
    damaged(t, path, 100)


def test_a_sparse_index(d):
    t = Tiers(d)
    for tier in ("both", "hot"):
        path = t.log_path(tier, 1).replace(".log", ".index")
        damaged(t, path, 200, served=True)
        mended(t, path, range(0, os.path.getsize(path), 9))


def test_the_checkpoint_and_published(d):
    t = Tiers(d)
    # The rest of `published` is zeros, and counters that only tell that something is new.
    summed = {"checkpoint": range(64), "published": [*range(28), *range(136, 232)]}
    for name, positions in summed.items():
        path = os.path.join(t.hot, name)
        for pos in flipped(path, 240):
            assert t.read_is_honest(), pos
            if pos in positions:
                out, _ = t.verify(expect=CORRUPT)
                assert name.encode() in out, (name, pos, out)
        mended(t, path, list(positions)[::30])


def test_the_local_root(d):
    t = Tiers(d)
    path = os.path.join(t.hot, "root")
    damaged(t, path, 200, served=True)
    mended(t, path, sample(os.path.getsize(path), 20))


def test_the_root_in_the_bucket(d):
    t = Tiers(d)
    path = os.path.join(t.bucket, "root")
    damaged(t, path, 200, served=True)
    mended(t, path, sample(os.path.getsize(path), 20))


def test_an_object_that_is_only_cold(d):
    t = Tiers(d)
    path = t.object_path("cold", 2)
    for pos in flipped(path, 400):
        empty_cache(t.store)
        t.read_is_honest([os.path.basename(path)])
        out, err = t.verify("--deep", expect=CORRUPT)
        assert os.path.basename(path).encode() in out, (pos, out, err)


def test_an_object_that_is_hot_too(d):
    t = Tiers(d)
    path = t.object_path("both", 2)
    damaged(t, path, 200, served=True)
    for pos in (10, 300, -200, -3):
        path = t.object_path("both", 2)
        flip(path, pos)
        out, err = t.verify("--deep", "--repair")
        assert os.path.basename(path).encode() in out
        t.verify("--deep")


main()
