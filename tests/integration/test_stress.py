#!/usr/bin/env python3
"""One writer that is killed and restarted, tiering, trims and retention, readers and verify beside it.

Every record is a function of its offset, so the model is small: where the log starts, and how far it was
acknowledged. VARVE_STRESS_SECONDS is how long it goes on (default 20, in rounds of about five seconds, each with
options of its own), VARVE_STRESS_SEED makes the choices come again (not the timing).
"""

import random
import threading
import time

from varvetest import *

SECONDS = float(os.environ.get("VARVE_STRESS_SECONDS", "8" if QUICK else "20"))
SEED = int(os.environ.get("VARVE_STRESS_SEED", time.time_ns() % 1000000))
ROUND_SECONDS = 5
BASE_MS = 1431857103000


def time_of(offset):
    """Out of order within 500 ms, and one in about 300 a day to ten ahead."""
    h = (offset * 2654435761) & 0xFFFFFFFF
    ahead = (1 + h % 10) * 86400000 if (h >> 8) % 307 == 0 else 0
    return BASE_MS + offset * 10 + h % 500 + ahead


def value_of(offset):
    h = (offset * 40503) & 0xFFFF
    size = 0 if h % 50 == 0 else h % 300 if h % 97 else 3000
    return "%d %s" % (offset, chr(97 + h % 26) * size) if size else ""


def line_of(offset):
    return json.dumps({"timestamp": time_of(offset), "value": value_of(offset)}).encode() + b"\n"


class Model:
    """What was acknowledged. `lock` protects all of it."""

    def __init__(self):
        self.lock = threading.Lock()
        self.acknowledged = 0  # offsets below have been acknowledged
        self.written = 0  # lines below may be in the log
        self.stop = False
        self.errors = []

    def fail(self, text):
        with self.lock:
            self.errors.append(text)
            self.stop = True


def check(condition, *text):
    if not condition:
        raise AssertionError(" ".join(map(str, text)))


def check_record(record, offset):
    check(record["offset"] == offset, "offset", record["offset"], "where", offset, "was due")
    check(record["value"] == value_of(offset), "value at", offset, repr(record["value"])[:80])
    check(record["timestamp"] == time_of(offset), "timestamp at", offset, record["timestamp"])


def guarded(model, f, *args):
    def body():
        try:
            f(model, *args)
        except Exception as e:
            model.fail("%s: %s" % (f.__name__, "".join(traceback.format_exception_only(type(e), e))))
    thread = threading.Thread(target=body)
    thread.start()
    return thread


class Writer:
    """`varve append` from the model's end on, until told to end."""

    def __init__(self, model, store, rng):
        self.model, self.first, self.rng = model, model.written, rng
        args = ["--durability", rng.choice(["os", "fsync"])]
        if rng.random() < 0.5:
            args += ["--batch", rng.choice(["128", "1KiB", "4KiB"])]
        if rng.random() < 0.3:
            args += ["--linger", rng.choice(["1ms", "20ms"])]
        self.process = start("append", store, "a/0", "--format", "envelope", "--print-offsets", *args)
        self.threads = [guarded(model, self.feed), guarded(model, self.drain)]

    def feed(self, model):
        offset, pace = self.first, self.rng.choice([0, 0.001, 0.01])
        try:
            while not model.stop:
                count = self.rng.choice([1, 1, 3, 50, 400])
                with model.lock:
                    model.written = offset + count
                self.process.stdin.write(b"".join(line_of(i) for i in range(offset, offset + count)))
                self.process.stdin.flush()
                offset += count
                time.sleep(pace)
        except (BrokenPipeError, ValueError, OSError):
            pass

    def drain(self, model):
        due = self.first
        for text in self.process.stdout:
            if not text.endswith(b"\n"):
                break  # torn by the kill
            check(int(text) == due, "acknowledged", int(text), "where", due, "was due")
            due += 1
            with model.lock:
                model.acknowledged = due

    def end(self, how):
        if how == "kill":
            self.process.kill()
        elif how == "term":
            self.process.terminate()
        code = self.process.wait(timeout=60)
        for thread in self.threads:
            thread.join()
        try:
            self.process.stdin.close()
        except OSError:
            pass
        err = self.process.stderr.read().decode(errors="replace")
        check("Sanitizer" not in err, err)
        check(how == "kill" or code in (128 + 15, -15), "the writer ended with", code, err)


def follower(model, store, rng):
    """Follows from somewhere; is itself ended now and then, also while it is behind."""
    while not model.stop:
        info = ls(store, "a/0")
        start_offset, end = info["start_offset"], info["end_offset"]
        place = rng.choice(["start", "offset", "end"])
        offset = rng.randint(start_offset, max(start_offset, end)) if place == "offset" else place
        process = start("read", store, "a/0", "--follow", "--json", "--from", offset,
                        *rng.choice([[], ["--no-cache"]]), stdin=subprocess.DEVNULL)
        due, until = None, time.monotonic() + rng.random() * 4
        timer = threading.Timer(rng.random() * 4, process.terminate)
        timer.start()
        slow = rng.random() < 0.3
        for text in process.stdout:
            record = json.loads(text)
            if due is None:
                check(place != "offset" or record["offset"] == offset, "from", offset, "came", record["offset"])
                check(record["offset"] >= start_offset, "below the start", start_offset)
                due = record["offset"]
            if record["offset"] > due and record["offset"] <= ls(store, "a/0")["start_offset"]:
                due = record["offset"]  # the log start overtook it
            check_record(record, due)
            due += 1
            if slow and rng.random() < 0.01:
                time.sleep(0.02)
        code = process.wait(timeout=30)
        timer.cancel()
        err = process.stderr.read().decode(errors="replace")
        # What it was to begin with, or to read next, may have been trimmed.
        check(code == OK or code == NOT_FOUND and ls(store, "a/0")["start_offset"] > (due or start_offset)
              or code == -15 and due is None,  # before it was up and could catch the signal
              "the follower at", due, "ended with", code, err)


def seeker(model, store, rng):
    """Ranges by offset, first records by time."""
    while not model.stop:
        with model.lock:
            acknowledged = model.acknowledged
        before = ls(store, "a/0")["start_offset"]
        if acknowledged <= before:
            time.sleep(0.05)
            continue
        if rng.random() < 0.5:
            first = rng.randint(before, acknowledged - 1)
            count = rng.choice([1, 10, 1000])
            to = min(acknowledged, first + count)
            out, err = run("read", store, "a/0", "--json", "--from", first, "--to", to, expect=None)
            if ls(store, "a/0")["start_offset"] > first:
                continue
            due = first
            for text in out.splitlines():
                check_record(json.loads(text), due)
                due += 1
            check(due == to, "the range", first, to, "ended at", due, err)
        else:
            stamp = BASE_MS + rng.randint(before, acknowledged - 1) * 10 + rng.choice([0, 250, 86400000])
            out, err = run("read", store, "a/0", "--json", "--from", "@%d" % stamp, "-n", 1, expect=None)
            after = ls(store, "a/0")["start_offset"]
            expected = next((i for i in range(before, acknowledged) if time_of(i) >= stamp), None)
            if expected is None or expected < after:
                continue
            check(out, "no record at or after", stamp, "where", expected, "has", time_of(expected), err)
            check_record(json.loads(out), expected)


def verifier(model, store, rng):
    while not model.stop:
        out, err = run("verify", store, *rng.choice([[], ["--deep"]]), expect=None)
        check(b"clean" in out, "verify beside the writer:", out.decode(), err)
        time.sleep(rng.random())


def between_writers(model, store, rng):
    """What takes the writer's place for a moment."""
    info = ls(store, "a/0")
    check(info["end_offset"] >= model.acknowledged, model.acknowledged, "acknowledged, the log ends at",
          info["end_offset"])
    what = rng.choice(["nothing", "tier", "seal", "evict", "trim", "config", "killed tier"])
    if what == "tier":
        run("tier", store)
    elif what == "seal":
        run("tier", store, "a/0", "--seal")
    elif what == "evict":
        run("tier", store, "--seal", "--evict")
    elif what == "trim":
        at = rng.randint(info["start_offset"], info["end_offset"])
        run("trim", store, "a/0", "--before", at)
        check(ls(store, "a/0")["start_offset"] >= at, "trimmed before", at)
    elif what == "config":
        run("config", store, "a/0", "segment.bytes=%d" % rng.choice([4096, 16384, 65536]))
    elif what == "killed tier":
        process = start("tier", store, "--seal", "--evict", stdin=subprocess.DEVNULL)
        time.sleep(rng.random() * 0.1)
        process.kill()
        process.communicate()
    # Recovery never takes back what was seen above. It may find more: batches that the writer had written
    # when it was killed, but not yet shown. After it, where the log ends is where the next record goes.
    run("append", store, "a/0")
    after = ls(store, "a/0")["end_offset"]
    check(after >= info["end_offset"], "the log ended at", info["end_offset"], "and ends at", after)
    out = run("append", store, "a/0", "--format", "envelope", "--print-offsets", stdin=line_of(after), expect=None)
    check(out[0] == b"%d\n" % after, "the next offset is", out[0], "where", after, "was due", out[1])
    with model.lock:
        model.acknowledged = model.written = after + 1


def make_store(d, rng, number):
    store = os.path.join(d, "s%d" % number)
    options = ["segment.bytes=%d" % rng.choice([4096, 10000, 65536]), "max.message.bytes=4096",
               "cold.block.bytes=%d" % rng.choice([4096, 16384, 1 << 20]), "file.delete.delay.ms=0",
               "local.retention.bytes=%d" % rng.choice([-2, 0, 20000, 200000]),
               "compression.type=%s" % rng.choice(["none", "producer", "lz4", "zstd", "gzip", "snappy"])]
    if rng.random() < 0.3:
        options.append("retention.bytes=%d" % rng.choice([200000, 1000000]))
    if rng.random() < 0.3:
        options.append("segment.ms=%d" % rng.choice([1, 50, 500]))
    if rng.random() < 0.3:
        options.append("local.retention.ms=%d" % rng.choice([0, 100]))
    if rng.random() < 0.2:
        options.append("flush.ms=%d" % rng.choice([-1, 1]))
    silent("init", store)
    silent("create", store, "a/0", *[w for o in options for w in ("-o", o)])
    return store, options


def check_all(model, store):
    """Everything that is in the log, by one read."""
    info = ls(store, "a/0")
    due = info["start_offset"]
    for text in read(store, "a/0", "--json").splitlines():
        check_record(json.loads(text), due)
        due += 1
    check(due == info["end_offset"] >= model.acknowledged, "read up to", due, "of", info["end_offset"])


def check_bucket(store):
    """After a collection the bucket holds what the log's segments name, and nothing else."""
    named = {s["object_key"] for s in ls(store, "a/0")["segments"]}
    cold = os.path.join(store, "cold")
    found = {os.path.relpath(p, cold) for p in objects(store)}
    check(found >= named, "orphans", found - named, "missing", named - found)


def round_(d, rng, number, seconds):
    store, options = make_store(d, rng, number)
    model = Model()
    beside = [guarded(model, f, store, random.Random(rng.random())) for f in (follower, follower, seeker, verifier)]
    until = time.monotonic() + seconds
    while not model.stop and time.monotonic() < until:
        try:
            writer = Writer(model, store, rng)
            time.sleep(rng.choice([0.05, 0.3, 1]) * rng.random())
            writer.end(rng.choice(["kill", "kill", "term"]))
            between_writers(model, store, rng)
        except Exception as e:
            model.fail("writer: %s" % "".join(traceback.format_exception_only(type(e), e)))
    model.stop = True
    for thread in beside:
        thread.join()
    try:
        check(not model.errors, "\n".join(model.errors))
        silent("tier", store, "--seal", "--evict")
        check_all(model, store)
        run("verify", store, "--deep")
        silent("tier", store, "--seal", "--evict")
        check_bucket(store)
        check(not hot_segments(store, "a/0"), "hot segments after an eviction")
        empty_cache(store)
        check_all(model, store)
    except AssertionError:
        print("seed", SEED, "round", number, *options, flush=True)
        keep = os.environ.get("VARVE_STRESS_KEEP")
        if keep:
            shutil.copytree(store, os.path.join(keep, "stress-%d-%d" % (SEED, number)))
        raise
    return model.acknowledged


def test_a_log_under_everything_at_once(d):
    rng = random.Random(SEED)
    until = time.monotonic() + SECONDS
    number, records = 0, 0
    while number == 0 or time.monotonic() + ROUND_SECONDS / 2 < until:
        records += round_(d, rng, number, min(ROUND_SECONDS, SECONDS))
        shutil.rmtree(os.path.join(d, "s%d" % number))
        number += 1
    print("seed %d: %d rounds, %d records" % (SEED, number, records))
    assert records > 0


main()
