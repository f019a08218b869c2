#!/usr/bin/env python3
"""A disk that loses what was not synced: ext4 on a loop device, shut down under a writer by EXT4_IOC_SHUTDOWN
without its journal being flushed, then mounted again. Every acknowledged record is there, in order, and verify is
clean. Needs root, loop devices and ext4 of the kernel; elsewhere it is skipped.

VARVE_KILLS is the number of shutdowns (default 25).
"""

import fcntl
import random
import struct
import threading
import time

from test_kill9 import KILLS, OPTIONS, end, feed, line, numbered
from varvetest import *

EXT4_IOC_SHUTDOWN = 0x8004587D  # include/uapi/linux/ext4.h: _IOR('X', 125, __u32)
NOLOGFLUSH = 2
IMAGE_BYTES = 128 << 20


def tried(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


class Disk:
    def __init__(self, d):
        self.image, self.top = os.path.join(d, "image"), os.path.join(d, "disk")
        os.mkdir(self.top)
        need("mkfs.ext4")
        if os.geteuid() != 0:
            raise Skip("only root may mount")
        with open(self.image, "wb") as f:
            f.truncate(IMAGE_BYTES)
        made = tried("mkfs.ext4", "-q", "-F", self.image)
        assert made.returncode == 0, made.stderr
        mounted = self.try_mount()
        if mounted.returncode:
            raise Skip("a loop device cannot be mounted here: " + mounted.stderr.strip())

    def try_mount(self):
        # Nothing is written back by the clock: what is not synced stays in memory.
        return tried("mount", "-t", "ext4", "-o", "loop,commit=3600", self.image, self.top)

    def mount(self):
        mounted = self.try_mount()
        assert mounted.returncode == 0, mounted.stderr

    def unmount(self):
        for _ in range(50):  # whoever has just died may still be closing
            gone = tried("umount", self.top)
            if gone.returncode == 0:
                return
            time.sleep(0.1)
        raise AssertionError(gone.stderr)

    def cut_power(self):
        fd = os.open(self.top, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, EXT4_IOC_SHUTDOWN, struct.pack("I", NOLOGFLUSH))
        finally:
            os.close(fd)


def run_until_power_is_lost(disk, store, first, seconds):
    """Starts an append of lines `first`.., takes its disk away; returns how many were acknowledged
    before."""
    writer = start("append", store, "a", "--durability", "fsync", "--print-offsets", *OPTIONS)
    acknowledged = []
    drain = threading.Thread(target=lambda: acknowledged.extend(writer.stdout))
    feeder = threading.Thread(target=feed, args=(writer, first))
    drain.start()
    feeder.start()
    time.sleep(seconds)  # at no particular moment
    # What is told from here on does not count: an fdatasync that is under way may return 0 and have written nothing,
    # as a loop of write and fdatasync without varve shows, too (Linux 6.18).
    count = len(acknowledged)
    disk.cut_power()
    end(writer, feeder, drain)
    return numbered(acknowledged[:count], first)


def test_nothing_acknowledged_is_lost_with_the_power(d):
    disk = Disk(d)
    try:
        rounds(disk, d)
    finally:
        if os.path.ismount(disk.top):
            disk.unmount()


def rounds(disk, d):
    store = os.path.join(disk.top, "s")
    run("init", store, "--cold", "file://" + os.path.join(d, "cold"))  # the bucket has power of its own
    rng = random.Random(4)
    end, acknowledged_in_all, lost_in_all = 0, 0, 0
    os.sync()
    for round_ in range(KILLS):
        count = run_until_power_is_lost(disk, store, end, rng.choice([0.05, 0.2, 0.5]) * rng.random() + 0.05)
        acknowledged_in_all += count
        size = sum(os.path.getsize(p) for p in hot_segments(store, "a")) if os.path.exists(hot_dir(store, "a")) else 0
        disk.unmount()
        disk.mount()
        if not os.path.exists(hot_dir(store, "a")) or "a" not in [l["log"] for l in ls(store)["logs"]]:
            assert count == 0  # lost before the log was there
            continue
        lost_in_all += size != sum(os.path.getsize(p) for p in hot_segments(store, "a"))
        run("append", store, "a", *OPTIONS)  # recovers
        after = ls(store, "a")["end_offset"]
        assert after >= end + count, "round %d: %d acknowledged, the log ends at %d" % (round_, end + count, after)
        out, err = run("verify", store, "--deep", expect=None)
        assert b"clean" in out, "round %d: %s%s" % (round_, out.decode(), err)
        end = after
    print("%d records acknowledged, %d rounds lost bytes" % (acknowledged_in_all, lost_in_all))
    assert acknowledged_in_all > 0
    everything = read(store, "a").splitlines(keepends=True)
    assert everything == [line(i) for i in range(end)]
    silent("tier", store, "--seal", "--evict")
    assert read(store, "a") == b"".join(everything)


if __name__ == "__main__":
    main()
