#!/usr/bin/env python3
"""A bit flipped in each kind of file in turn: found, named, mended where another copy holds the truth, never served.

Each look at a damaged store is a process of its own. What it prints must be the log from its beginning: all of
it (exit 0), or what lies in front of the damage (exit 5, and the message names a file or a key).
"""

import json
import os
import random
import shutil
import subprocess
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
            silent("append", self.store, "web", "-o", "segment.bytes=4096", *LOCAL, stdin=lines(part * 500, 500))
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


def cache_file(t, kind):
    return os.path.join(t.store, "cache", kind + "-0")


def test_the_caches(d):
    t = Tiers(d)
    for kind in ("blocks", "tables"):
        path = cache_file(t, kind)
        # Fresh for each flip: what a look drops, a later one does not see.
        for pos in [*range(0, 64, 7), *range(4096, 4096 + 48 * 2, 5), None]:
            empty_cache(t.store)
            assert read(t.store, "web") == t.data
            if pos is None:
                with open(path, "rb") as f:
                    keep = f.read(1 << 24)
                pos = next(i for i in range(8192, len(keep)) if keep[i])
            flip(path, pos, 4)
            out, err = t.verify("--deep", expect=None)
            assert os.path.basename(path) in err + out.decode(), (path, pos, out, err)
            assert read(t.store, "web") == t.data
            t.verify("--deep", "--repair")
            t.verify("--deep")


def test_the_settings_of_the_store(d):
    t = Tiers(d)
    path = os.path.join(t.store, "varve-store")
    for pos in flipped(path, 1000):
        out, err = run("read", t.store, "web", expect=None)
        assert out == b"" and t.store in err, (pos, out[:80], err)
        out, err = t.verify(expect=None)
        assert b"clean" not in out and t.store in err, (pos, out, err)
    t.verify("--deep")


def test_whose_the_bucket_is(d):
    t = Tiers(d)
    path = os.path.join(t.store, "cold", "varve-store")
    damaged(t, path, 20, served=True)
    mended(t, path, [3, 30])
    os.unlink(path)
    t.verify(expect=CORRUPT)
    t.verify("--repair")
    t.verify()


def test_both_copies_damaged_in_different_places_are_both_kept(d):
    t = Tiers(d)
    hot, cold = t.log_path("both", 2), t.object_path("both", 2)
    flip(hot, os.path.getsize(hot) - 5)
    flip(cold, 30)
    out, err = t.verify("--repair", "--deep", expect=CORRUPT)
    for path in (hot, cold):
        assert os.path.exists(path)
        assert os.path.basename(path).encode() in out + err.encode()
    flip(hot, os.path.getsize(hot) - 5)
    t.verify("--repair", "--deep")  # the object, from the hot copy
    assert read(t.store, "web") == t.data


def test_a_hot_segment_is_not_given_up_for_an_object_that_was_not_read(d):
    t = Tiers(d)
    hot, cold = t.log_path("both", 2), t.object_path("both", 1)
    flip(hot, 20)
    flip(cold, 30)  # of a segment before it, which would go with it; without --deep nobody looks there
    t.verify("--repair", expect=CORRUPT)
    assert os.path.exists(hot) and os.path.exists(t.log_path("both", 1))
    t.verify("--repair", "--deep")  # now the object is read, and mended first
    t.verify("--deep")
    assert read(t.store, "web") == t.data


def test_missing_hot_segments(d):
    for tier, which in (("both", 0), ("both", 2), ("both", -1), ("hot", 1)):
        t = Tiers(d, "s%s%d" % (tier, which))
        path = t.log_path(tier, which)
        os.rename(path, os.path.join(d, "away"))
        out, err = t.verify("--deep", expect=None)
        if tier == "hot":
            assert not t.read_is_honest(["%020d" % 0, t.hot, os.path.basename(path), "varve verify"])
            t.verify("--deep", expect=CORRUPT)
            t.verify("--deep", "--repair", expect=CORRUPT)
            os.rename(os.path.join(d, "away"), path)
        else:
            assert t.read_is_honest(), (tier, which)
            t.verify("--deep", "--repair")
        t.verify("--deep")
        assert read(t.store, "web") == t.data


def test_a_segment_damaged_before_a_crash_is_mended_after_it(d):
    t = Tiers(d)
    writer = start("append", t.store, "web", "--print-offsets", bufsize=0)
    writer.stdin.write(b"more\n")
    writer.stdout.readline()
    writer.kill()
    writer.wait()
    for stdio in (writer.stdin, writer.stdout, writer.stderr):
        stdio.close()
    os.unlink(os.path.join(t.hot, "checkpoint"))
    path = t.log_path("both", 2)
    flip(path, 100)
    assert read(t.store, "web") == t.data + b"more\n"
    out, err = t.verify("--deep", "--repair")
    assert os.path.basename(path).encode() in out + err.encode()
    t.verify("--deep")
    assert read(t.store, "web") == t.data + b"more\n"


def test_orphans_and_foreign_files_are_notes(d):
    t = Tiers(d)
    folder, name = os.path.split(t.object_path("cold", 0))
    stray = "%020d-%020d-%s" % (7, 9, name.split("-", 2)[2])
    shutil.copy(os.path.join(folder, name), os.path.join(folder, stray))
    open(os.path.join(folder, "notes.txt"), "w").close()
    out, _ = t.verify("--deep", "-v")
    assert stray.encode() in out and b"notes.txt" in out and b"orphan" in out, out
    out, _ = t.verify("--json")
    findings = json.loads(out)["findings"]
    assert {f["kind"] for f in findings} == {"orphan"} and not any(f["problem"] for f in findings), findings


def test_an_object_in_the_place_of_another_is_altered_history(d):
    t = Tiers(d)
    a, b = t.object_path("cold", 1), t.object_path("cold", 2)
    keep = open(a, "rb").read()
    shutil.copy(b, a)
    empty_cache(t.store)
    t.read_is_honest([os.path.basename(a)])
    out, _ = t.verify(expect=CORRUPT)
    assert os.path.basename(a).encode() in out
    os.unlink(a)
    empty_cache(t.store)
    assert not t.read_is_honest([os.path.basename(a)])
    out, _ = t.verify(expect=CORRUPT)
    assert b"missing" in out and os.path.basename(a).encode() in out
    with open(a, "wb") as f:
        f.write(keep)
    t.verify("--deep")


def test_a_page(d):
    """1,200 segments: the root has a page of a thousand."""
    store = os.path.join(d, "s")
    silent("init", store)
    data = b"".join(b"%06d %s\n" % (i, b"y" * 3000) for i in range(2400))
    silent("append", store, "web", "-o", "segment.bytes=4096", stdin=data)
    silent("tier", store, "--seal", "--evict")
    bucket = os.path.join(store, "cold", "logs", "web", "@")
    pages = [os.path.join(f, n) for f, _, names in os.walk(bucket) for n in names if n.startswith("page-")]
    assert pages, "fewer segments than fit a root"
    for remote in pages[:1]:
        name = os.path.basename(remote)
        local = os.path.join(hot_dir(store, "web"), name)
        for path, other in ((local, remote), (remote, local)):
            for pos in (0, 9, 17, 40, 100, 5000, -1):
                flip(path, pos)
                assert read(store, "web") == data
                out, err = run("verify", store, expect=CORRUPT)
                assert name.encode() in out, (out, err)
                out, err = run("verify", store, "--repair")
                assert name in out.decode() + err, (out, err)
                run("verify", store)
            os.unlink(path)
            assert read(store, "web") == data
            if path == remote:
                out, _ = run("verify", store, expect=CORRUPT)
                assert b"missing" in out and name.encode() in out
            run("verify", store, "--repair")
            run("verify", store)
        run("verify", store, "--repair")
        for path in (local, remote):
            if os.path.exists(path):
                flip(path, 3000)
        empty_cache(store)
        out, err = run("read", store, "web", expect=CORRUPT)
        assert data.startswith(out) and name in err, err


def test_verify_beside_a_live_writer_is_clean(d):
    store = os.path.join(d, "s")
    silent("init", store)
    silent("create", store, "web", "-o", "segment.bytes=16384", "-o", "local.retention.bytes=65536",
           "-o", "retention.bytes=262144")
    writer = start("append", store, "web", "--durability", "os", stdin=subprocess.PIPE)
    ended = threading.Event()

    def feed():
        i = 0
        while not ended.is_set():
            try:
                writer.stdin.write(lines(i, 100))
                writer.stdin.flush()
            except BrokenPipeError:
                break
            i += 100
            time.sleep(0.01)

    feeder = threading.Thread(target=feed)
    feeder.start()
    seen, i, until = set(), 0, time.monotonic() + 60  # roots are written now and then, for many segments
    try:
        while i < (10 if QUICK else 50) or (len(seen) < 4 and time.monotonic() < until):
            i += 1
            out, err = run("verify", store, "--deep", "--json", expect=None)
            found = json.loads(out) if out else {"problems": -1}
            assert found["problems"] == 0 and err == "", (i, out, err)
            seen.add(ls(store, "web")["cold_end"])
    finally:
        ended.set()
        feeder.join()
        _, err = writer.communicate(timeout=60)
    assert writer.returncode == 0, err
    assert len(seen) >= 4, seen  # it did tier meanwhile
    run("verify", store, "--deep")


main()
