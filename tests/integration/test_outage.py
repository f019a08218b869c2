#!/usr/bin/env python3
"""The cold tier goes away while 20 MB/s are being appended: appends go on undisturbed, `varve ls` shows the lag, uploads
resume by themselves, and at the end both tiers verify.

VARVE_OUTAGE_SECONDS: how long it is away, 6 unless set. VARVE_OUTAGE_BYTES: appended in a second, 20 MB unless set.
"""

import hashlib
import random
import threading
import time

import coldtier
from varvetest import *

SECONDS = float(os.environ.get("VARVE_OUTAGE_SECONDS", "4" if QUICK else "6"))
RATE = float(os.environ.get("VARVE_OUTAGE_BYTES", "4e6" if QUICK else "20e6"))
LINE = 1000
CHUNK = 50  # lines that are sent at once: less than a batch
SEGMENT = 8 << 20 if RATE > 10e6 else 1 << 20


def chunks():
    """Lines that compress about as access logs do; a few seconds' worth, none like the other."""
    rng = random.Random(1)
    words = [("%x" % rng.getrandbits(28)).encode() for _ in range(40)]
    made = []
    for _ in range(160):
        lines = (b" ".join(rng.choices(words, k=LINE // 6)) for _ in range(CHUNK))
        made.append(b"".join(line[:LINE - 1] + b"\n" for line in lines))
    return made


class Appender(threading.Thread):
    """Appends at a pace, one chunk after the other; each is acknowledged before the next is sent."""

    def __init__(self, store, log):
        super().__init__(daemon=True)
        self.p = start("append", store, log, "--print-offsets", "-v")
        self.chunks = chunks()
        self.sums = hashlib.sha256()
        self.bytes = 0
        self.offsets = 0
        self.done = []  # (when it was acknowledged, seconds that took)
        self.asked_to_stop = threading.Event()
        self.failure = None
        self.errors = []
        self.reader = threading.Thread(target=self.read_errors, daemon=True)
        self.reader.start()

    def read_errors(self):
        for line in self.p.stderr:
            self.errors.append(line.decode(errors="replace").rstrip())

    def run(self):
        try:
            due = time.monotonic()
            while not self.asked_to_stop.is_set():
                for chunk in self.chunks:
                    wait = due - time.monotonic()
                    if wait > 0 and self.asked_to_stop.wait(wait):
                        break
                    self.append(chunk)
                    # What a busy machine has delayed is made up for, a little.
                    due = max(due + len(chunk) / RATE, time.monotonic() - 0.5)
        except Exception as e:
            self.failure = e

    def append(self, chunk):
        began = time.monotonic()
        self.p.stdin.write(chunk)
        self.p.stdin.flush()
        want = CHUNK
        while want > 0:
            line = self.p.stdout.readline()
            if line != b"%d\n" % self.offsets:
                raise AssertionError("acknowledged was %r instead of offset %d" % (line, self.offsets))
            self.offsets += 1
            want -= 1
        now = time.monotonic()
        self.done.append((now, now - began))
        self.sums.update(chunk)
        self.bytes += len(chunk)

    def check(self):
        if self.failure:
            raise AssertionError("%s; %s" % (self.failure, "\n".join(self.errors)))
        assert self.is_alive() or self.asked_to_stop.is_set()

    def stop(self):
        """No more is sent; the process stays."""
        self.asked_to_stop.set()
        self.join(60)
        self.check()

    def end(self):
        self.p.stdin.close()
        rest = self.p.stdout.read()
        rc = self.p.wait(120)
        self.reader.join(10)
        assert rc == OK and rest == b"", (rc, rest, self.errors)

    def between(self, began, ended):
        """What a stretch of time was like."""
        took = sorted(t for when, t in self.done if began < when <= ended)
        assert took, "nothing was appended"
        return {"MB/s": len(took) * CHUNK * LINE / (ended - began) / 1e6, "median": took[len(took) // 2] * 1000,
                "p99": took[len(took) * 99 // 100] * 1000, "max": took[-1] * 1000}


def said(name, m):
    print("%-9s %5.1f MB/s; append of %d KB: median %.2f ms, p99 %.2f, max %.1f" % (
        name, m["MB/s"], CHUNK * LINE // 1000, m["median"], m["p99"], m["max"]), flush=True)


def wait_until(what, seconds, why, appender):
    deadline = time.monotonic() + seconds
    while not what():
        appender.check()
        assert time.monotonic() < deadline, why + "\n" + "\n".join(appender.errors)
        time.sleep(0.1)  # another process's state: nothing tells of it


def live_through(d, cold, gone):
    """`gone`: a context in which the cold tier cannot be reached."""
    store = os.path.join(d, "s")
    run("init", store, "--cold", cold.url)
    run("create", store, "web", "-o", "segment.bytes=%d" % SEGMENT)
    a = Appender(store, "web")
    a.start()
    wait_until(lambda: ls(store, "web")["cold_end"] > 0, 60, "nothing is uploaded", a)
    marks = [time.monotonic()]
    time.sleep(min(max(SECONDS / 2, 2), 15))
    marks.append(time.monotonic())
    a.check()
    with gone:
        marks.append(time.monotonic())
        first = ls(store)["logs"][0]
        looks, look_seconds = [], []
        for _ in range(4):
            time.sleep(SECONDS / 4)
            began = time.monotonic()
            looks.append(ls(store)["logs"][0])
            look_seconds.append(time.monotonic() - began)
            a.check()
        marks.append(time.monotonic())
        text = run("ls", store, "web")[0].decode().splitlines()[-1]
        table = run("ls", store)[0].decode().splitlines()[1]
    marks.append(time.monotonic())
    wait_until(lambda: ls(store)["logs"][0]["pending_bytes"] <= 2 * SEGMENT, 60 + 3 * SECONDS,
               "uploads did not catch up", a)
    marks.append(time.monotonic())
    a.stop()
    wait_until(lambda: ls(store)["logs"][0]["pending_bytes"] == 0, 60 + SECONDS, "uploads did not end", a)
    last = ls(store)["logs"][0]
    a.end()

    before, away, catching = (a.between(marks[i], marks[i + 1]) for i in (0, 2, 4))
    for name, m in (("before", before), ("away", away), ("after", catching)):
        said(name, m)
    print("away for %.1f s; then %d bytes waited, the oldest for %d ms; uploaded %.1f s after it was back" % (
        marks[3] - marks[2], looks[-1]["pending_bytes"], looks[-1]["pending_age_ms"], marks[5] - marks[4]))
    print("\n".join([text, table] + a.errors), flush=True)

    # Appends went on undisturbed: none waited for the cold tier, which would have taken seconds.
    assert away["MB/s"] > 0.9 * before["MB/s"], (before, away)
    assert away["p99"] < max(3 * before["p99"], 100), (before, away)
    assert away["max"] < min(2000, SECONDS * 500), (before, away)
    # The lag is shown, at once, for as long as it lasts.
    assert max(look_seconds) < 3, look_seconds
    for one, next_one in zip([first] + looks, looks):
        assert next_one["pending_bytes"] > one["pending_bytes"] and next_one["end_offset"] > one["end_offset"]
    assert looks[0]["cold_end"] == looks[-1]["cold_end"] < looks[-1]["end_offset"]
    assert looks[-1]["pending_age_ms"] > 750 * SECONDS - 1000, looks[-1]["pending_age_ms"]
    assert re.search(r"recovery point: offset %d; [\d,]+ records are local only, for \d+[\ddhms ]+; \S+ wait to be uploaded" %
                     looks[-1]["cold_end"], text), text
    assert re.search(r"^web +both .* \d+[\ddhms ]+$", table), table
    told = "\n".join(a.errors)
    assert "error:" not in told, told
    if SECONDS > 60 or not coldtier.on_server():  # the client of S3 tries by itself for half a minute
        assert "tiering failed and is tried again" in told and "tiering works again after" in told, told
    # All is there, in both tiers and once.
    assert last["end_offset"] == a.offsets and last["start_offset"] == 0, last
    run("tier", store, "--seal")
    assert "clean" in run("verify", store, "web", "--deep")[0].decode()
    assert ls(store, "web")["cold_end"] == a.offsets
    assert hashlib.sha256(read(store, "web")).digest() == a.sums.digest()
    assert cold.uploads() == []


def test_appends_go_on_while_the_cold_tier_is_away(d):
    cold = coldtier.new(d)
    live_through(d, cold, cold.away())


def test_appends_go_on_while_the_cold_tier_answers_nothing(d):
    cold = coldtier.new(d)
    live_through(d, cold, cold.silent())


def test_a_writer_does_not_wait_long_for_a_cold_tier_that_answers_nothing(d):
    """What is appended is acknowledged here; twice the time of a request, 40 s, passed before it could be."""
    cold = coldtier.new(d)
    store = os.path.join(d, "s")
    run("init", store, "--cold", cold.url)
    run("create", store, "web")
    with cold.silent():
        began = time.monotonic()
        err = run("append", store, "web", stdin=b"one\ntwo\n")[1]
        took = time.monotonic() - began
    assert "opened by its local manifest alone" in err, err
    assert took < 15, took
    run("tier", store, "--seal")
    assert ls(store, "web")["cold_end"] == 2 and read(store, "web") == b"one\ntwo\n"


if __name__ == "__main__":
    main()
