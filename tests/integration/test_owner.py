#!/usr/bin/env python3
"""One writer: races of whole processes for a log, being replaced, what becomes of the loser's tail.

VARVE_RACES: rounds of each race, 100 unless set.
"""

import random
import re
import selectors
import signal
import time

import coldtier
from varvetest import *

RACES = int(os.environ.get("VARVE_RACES", "10" if QUICK else "100"))
CHECK_MS = 200


def stores(d, count, *options, cold=None):
    """Stores on one cold tier, a new one unless given: the first makes it, the others adopt it."""
    url, made = (cold or coldtier.new(d)).url, []
    for i in range(count):
        made.append(os.path.join(d, "s%d-%08x" % (i, random.getrandbits(32))))
        run("init", made[-1], "--cold", url, *(["--adopt"] if i else []), *options)
    return made


def race(d, *commands, stdin=b"x\n"):
    """Starts all in the same instant: each waits in open(2) of one FIFO. Returns [(exit code, stdout, stderr)]."""
    gate = os.path.join(d, "gate-%08x" % random.getrandbits(32))
    os.mkfifo(gate)
    running = []
    for words in commands:
        script = 'exec 3<"$0"; exec 3<&-; exec "$@"'
        running.append(subprocess.Popen(["sh", "-c", script, gate, *command(*words)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    time.sleep(0.01)  # they are in open(2) by now, most of the time; late ones find the gate open
    with open(gate, "w"):
        ended = []
        for p in running:
            out, err = p.communicate(stdin, timeout=120)
            ended.append((p.returncode, out, err.decode(errors="replace")))
    os.unlink(gate)
    for _, _, err in ended:
        assert "Sanitizer" not in err, err
    return ended


def judge(ended, code, naming):
    """Exactly one of them ended well; the others with this code and message. Returns who won."""
    winners = [i for i, e in enumerate(ended) if e[0] == OK]
    assert len(winners) == 1, ended
    for i, (rc, out, err) in enumerate(ended):
        if i not in winners:
            assert rc == code and out == b"", (rc, out, err)
            assert re.search(naming, err), err
    return winners[0]


class Appender:
    """An append that is fed line by line and whose acknowledgements are read as they come."""

    def __init__(self, store, log, *options):
        self.p = start("append", store, log, "--print-offsets", *options)
        self.acked = []
        self.buffer = b""
        self.ended = False
        os.set_blocking(self.p.stdout.fileno(), False)

    def send(self, line):
        try:
            self.p.stdin.write(line + b"\n")
            self.p.stdin.flush()
        except BrokenPipeError:
            self.ended = True

    def poll(self, seconds=0.0):
        """Takes what was acknowledged; waits at most so long for the first of it."""
        deadline = time.monotonic() + seconds
        while True:
            got = self.p.stdout.read()
            if got:
                self.buffer += got
                lines = self.buffer.split(b"\n")
                self.buffer = lines.pop()
                self.acked += [int(x) for x in lines]
                return True
            if got == b"" or time.monotonic() >= deadline:
                self.ended = self.ended or got == b""
                return False
            time.sleep(0.002)

    def acknowledged(self, line, seconds=30):
        """Sends a line and waits until it is acknowledged; its offset, or None when the process has ended."""
        count = len(self.acked)
        self.send(line)
        deadline = time.monotonic() + seconds
        while len(self.acked) == count and not self.ended:
            assert time.monotonic() < deadline, "no acknowledgement"
            self.poll(0.05)
        return self.acked[count] if len(self.acked) > count else None

    def end(self, timeout=60):
        """Closes its input and waits; (exit code, stderr)."""
        os.set_blocking(self.p.stdout.fileno(), True)
        try:
            self.p.stdin.close()
        except BrokenPipeError:
            pass
        rest = self.buffer + self.p.stdout.read()
        self.acked += [int(x) for x in rest.split()]
        err = self.p.stderr.read().decode(errors="replace")
        return self.p.wait(timeout), err


# ---- races ----

def test_of_two_that_claim_a_cold_tier_one_gets_it(d):
    for i in range(max(RACES // 5, 2)):
        url = coldtier.new(d).url
        ended = race(d, *(["init", os.path.join(d, "i%d-%d" % (i, k)), "--cold", url] for k in range(2)))
        judge(ended, FAILURE, "belongs to another store")


def test_of_two_that_make_a_log_one_does(d):
    made = stores(d, 2)
    for i in range(RACES):
        ended = race(d, *(["create", s, "log/%d" % i] for s in made))
        winner = judge(ended, FAILURE, "a log of that name (is|has just been made) in")
        run("append", made[winner], "log/%d" % i, stdin=b"mine\n")
        refused(BUSY, "append", made[1 - winner], "log/%d" % i, stdin=b"not mine\n", naming="owned by another store")


def test_of_two_first_writers_one_acknowledges(d):
    """The issue's case: both start in the same instant, the log is not there yet."""
    made = stores(d, 2)
    for i in range(RACES):
        log = "log/%d" % i
        ended = race(d, *(["append", s, log, "--print-offsets", "--durability", "fsync"] for s in made))
        winner = judge(ended, BUSY, "owned by another store, [0-9a-f]{32} \\(epoch 0\\)")
        assert ended[winner][1] == b"0\n", ended
        run("tier", made[winner], log, "--seal")
        assert read(made[winner], log) == b"x\n"
        assert ls(made[winner], log)["owned"]


def test_of_two_that_take_over_one_stays_the_owner(d):
    """The one that was first may be taken over in its turn; then it is fenced, and its tail is set aside."""
    made = stores(d, 3, "-o", "owner.check.ms=%d" % CHECK_MS)
    for i in range(max(RACES // 5, 2)):
        log = "log/%d" % i
        run("append", made[2], log, stdin=b"first\n")
        run("tier", made[2], log, "--seal")
        ended = race(d, *(["trim", s, log, "--before", "0", "--take-over"] for s in made[:2]))
        won = [k for k, e in enumerate(ended) if e[0] == OK]
        assert won, ended
        for rc, _, err in ended:
            assert rc in (OK, BUSY), (rc, err)
            assert rc == OK or re.search("was first|has taken it over|owned by another", err), err
        # Exactly one of the three owns it now.
        owners = []
        for s in made:
            out, err = run("append", s, log, stdin=b"more\n", expect=None)
            owners += [s] if not err else []
            assert not err or "owned by another store" in err, err
        assert len(owners) == 1 and owners[0] in [made[k] for k in won], (owners, ended)
        assert read(owners[0], log) == b"first\nmore\n"


def test_lost_replies_fence_nobody(d):
    """I7: the write happened and its answer never came, or came as a lost condition against oneself."""
    for i in range(max(RACES // 10, 3)):
        cold, made = coldtier.new(d), []
        for k in range(2):
            made.append(os.path.join(d, "f%d-%d" % (i, k)))
            run("init", made[k], "-o", "lease.ms=500", *(["--adopt"] if k else []), "--cold",
                coldtier.faulty(cold, "put(*/root):lost@1/3,put(*/root):twice@1/3,put(leases/*):lost@1/3,put(leases/*):twice@1/3",
                       100 * i + k))
        ended = race(d, *(["append", s, "web", "--print-offsets"] for s in made))
        owner = judge(ended, BUSY, "owned by another store")
        for n in range(1, 9):
            other = made[1 - owner]
            refused(BUSY, "append", other, "web", stdin=b"no\n", naming="owned by another store")
            out, err = run("append", made[owner], "web", "--print-offsets", stdin=b"y%d\n" % n)
            assert out == b"%d\n" % n and "taken" not in err, (out, err)
            run("config", made[owner], "web", "flush.ms=%d" % n)  # a root write
            run("tier", made[owner], "web", "--seal")
            assert ls(made[owner], "web")["epoch"] == n - 1
            run("trim", other, "web", "--before", "0", "--take-over")
            owner = 1 - owner
            assert ls(made[owner], "web")["epoch"] == n  # once, whatever was lost
        assert read(made[owner], "web") == b"x\n" + b"".join(b"y%d\n" % n for n in range(1, 9))
        assert not any(ls(s, "web")["divergent_segments"] for s in made)
        assert json.loads(run("verify", made[owner], "--json")[0])["problems"] == 0


# ---- default mode: being replaced ----

def test_a_replaced_writer_stops_at_its_next_look_and_its_tail_is_set_aside(d):
    cold = coldtier.new(d)
    old, new = stores(d, 2, "-o", "owner.check.ms=%d" % CHECK_MS, cold=cold)
    run("append", old, "web", stdin=b"shared\n")
    run("tier", old, "web", "--seal")
    a = Appender(old, "web", "--durability", "fsync")
    assert a.acknowledged(b"old 1") == 1
    out, err = run("append", new, "web", "--take-over", "--print-offsets", stdin=b"new 1\n")
    assert out == b"1\n" and "taken over from another store" in err, (out, err)
    taken = time.monotonic()
    n = 2
    while not a.ended and a.acknowledged(b"old %d" % n) is not None:
        n += 1
        time.sleep(0.02)
        assert time.monotonic() - taken < 30, "it did not stop"
    stopped = time.monotonic() - taken
    rc, err = a.end()
    assert rc == BUSY, (rc, err)
    assert re.search("store [0-9a-f]{32} has taken it over \\(epoch 1; ours was 0\\)", err), err
    assert stopped < 10, stopped
    lost = a.acked  # all of them: none was uploaded before the take-over
    assert lost == list(range(1, n)), (lost, n)

    run("append", new, "web", stdin=b"new 2\n")
    run("tier", new, "web", "--seal")
    err = refused(BUSY, "append", old, "web", stdin=b"no\n", naming=["owned by another store", "epoch 1", "last wrote"])
    assert "offsets 1 to %d were written here" % n in err and "not part of the log" in err, err
    # In neither tier's log, wherever it is read, and in no file of either tier.
    for segment in hot_segments(old, "web") + hot_segments(new, "web"):
        with open(segment, "rb") as f:
            assert b"old " not in f.read(), segment
    if shutil.which("zstd"):
        for key in cold.keys(".zst"):
            segment = subprocess.run(["zstd", "-dcq"], input=cold.get(key), stdout=subprocess.PIPE, check=True).stdout
            assert b"old " not in segment, key
    whole = b"shared\nnew 1\nnew 2\n"
    assert read(new, "web") == whole
    assert read(old, "web") == whole
    listed = ls(old, "web")
    assert not listed["owned"] and listed["divergent_segments"] == len(listed["divergent"]) > 0, listed
    assert min(x["first_offset"] for x in listed["divergent"]) == 1
    assert max(x["end_offset"] for x in listed["divergent"]) == n
    text = run("ls", old, "web")[0].decode()
    assert "divergent: offsets 1 to" in text and "owned by another store" in text, text
    assert ls(new, "web")["divergent_segments"] == 0
    found = json.loads(run("verify", old, "--json")[0])
    assert found["problems"] == 0 and [f for f in found["findings"] if f["kind"] == "divergent"], found
    assert "set aside" in run("verify", old)[0].decode()
    dumped = b"".join(run("dump", "-r", x["path"])[0] for x in listed["divergent"])
    for k in range(1, n):
        assert b'"old %d"' % k in dumped, dumped
    # The way back: what should have been in the log is appended again, as it is.
    for x in sorted(listed["divergent"], key=lambda x: x["first_offset"]):
        run("append", new, "web", "--format", "raw", x["path"])
    assert read(new, "web") == whole + b"".join(b"old %d\n" % k for k in range(1, n))
    run("verify", new, "--deep")

    # Taking it back: nothing new is set aside, what was stays.
    run("tier", new, "web", "--seal")
    run("append", old, "web", "--take-over", stdin=b"back\n")
    assert read(old, "web").endswith(b"back\n")
    assert ls(old, "web")["divergent"] == listed["divergent"]
    refused(BUSY, "trim", new, "web", "--before", "end", naming="epoch 2")


def test_every_changing_command_is_refused_and_takes_over_when_told(d):
    commands = [
        ["append", "web"], ["tier", "web"], ["tier"], ["trim", "web", "--before", "0"],
        ["config", "web", "flush.ms=500"], ["verify", "web", "--repair"], ["verify", "--repair"],
        ["delete", "web"],
    ]
    made = stores(d, 2)
    run("create", made[0], "web", "-o", "file.delete.delay.ms=0")
    owner = 0
    for command, *rest in commands:
        other = made[1 - owner]
        epoch = ls(made[owner], "web")["epoch"]
        refused(BUSY, command, other, *rest, naming=["owned by another store", "--take-over"])
        run("append", made[owner], "web")  # nothing has changed for the owner
        assert ls(made[owner], "web")["epoch"] == epoch
        run(command, other, *rest, "--take-over")
        owner = 1 - owner
        if command != "delete":
            assert ls(made[owner], "web")["owned"]
    refused(USAGE, "verify", made[0], "--take-over", naming="--repair")


# ---- lease mode ----

def lease_ms():
    """Long enough that it has not run out before another command has begun, on a busy machine too."""
    return 6000 if coldtier.on_server() else 2500


def test_a_paused_writer_that_wakes_after_a_takeover_acknowledges_nothing(d):
    rounds = 3 if QUICK else 6
    for i in range(rounds):
        old, new = stores(d, 2, "-o", "lease.ms=%d" % lease_ms())
        a = Appender(old, "web", "--durability", ["os", "fsync"][i % 2])
        sent = [b"first"]
        assert a.acknowledged(sent[0]) == 0
        pause = time.monotonic() + random.uniform(0, 1.0)
        while time.monotonic() < pause:  # it may be in the middle of anything when it is stopped
            sent.append(b"old %d" % len(sent))
            a.send(sent[-1])
            a.poll(0.003)
        halt(a.p.pid)
        stopped = time.monotonic()
        for _ in range(20):  # these wait in its pipe
            a.send(b"late")
        time.sleep(0.2)
        while a.poll():
            pass
        acked = len(a.acked)
        out, err = run("append", new, "web", "--take-over", "--print-offsets", stdin=b"new\n")
        waited = time.monotonic() - stopped
        assert "for the lease of store" in err and "taken over" in err, err
        assert waited > lease_ms() / 1000 * 0.6, waited  # it had been renewed a third ago at most
        uploaded = int(out)  # by the old one; 0 where its segments are not tiny
        assert uploaded <= len(sent), (out, len(sent))
        assert not a.poll()
        a.p.send_signal(signal.SIGCONT)
        rc, err = a.end()
        assert rc == BUSY, (rc, err)
        assert re.search("was ended by store [0-9a-f]{32}", err), err
        assert len(a.acked) == acked, (acked, a.acked)
        whole = b"".join(line + b"\n" for line in sent[:uploaded]) + b"new\n"
        assert read(new, "web") == whole
        run("tier", new, "web", "--seal")
        refused(BUSY, "append", old, "web", naming="owned by another store")
        assert read(old, "web") == whole
        assert ls(old, "web")["divergent_segments"] > 0 or acked <= uploaded


def test_a_living_holder_is_not_taken_over_and_a_clean_close_needs_no_wait(d):
    old, new = stores(d, 2, "-o", "lease.ms=%d" % lease_ms())
    a = Appender(old, "web")
    assert a.acknowledged(b"one") == 0
    err = refused(BUSY, "append", new, "web", "--take-over", stdin=b"no\n",
                  naming=["in lease mode", "process %d (varve)" % a.p.pid, "end that process first"])
    assert "owned by another store" not in err, err
    assert a.acknowledged(b"two") == 1  # it has not noticed
    rc, err = a.end()
    assert rc == OK and a.acked == [0, 1], (rc, err)
    out, err = run("append", new, "web", "--take-over", "--print-offsets", stdin=b"new\n")
    assert "for the lease" not in err, err  # it did not wait


def test_a_copy_of_a_store_is_refused_while_the_original_lives(d):
    s = stores(d, 1, "-o", "lease.ms=%d" % lease_ms())[0]
    a = Appender(s, "web")
    assert a.acknowledged(b"one") == 0
    shutil.copytree(s, s + "-copy")
    refused(BUSY, "append", s + "-copy", "web", stdin=b"no\n", naming="process %d (varve)" % a.p.pid)
    assert a.acknowledged(b"two") == 1
    assert a.end()[0] == OK


def test_a_killed_holder_starts_again_at_once_and_is_waited_for_by_others(d):
    old, new = stores(d, 2, "-o", "lease.ms=%d" % lease_ms())
    for k in range(2):
        a = Appender(old, "web", "--durability", "fsync")
        assert a.acknowledged(b"line") == k  # the first one's lease is still running
        a.p.kill()
        a.p.wait()
    began = time.monotonic()
    err = run("append", new, "web", "--take-over", stdin=b"new\n")[1]
    assert "for the lease of store" in err, err
    assert time.monotonic() - began >= lease_ms() / 1000 * 0.6
    for s in (old, new):
        assert json.loads(run("config", s, "--json")[0])["lease.ms"]["value"] == str(lease_ms())


def test_a_holder_whose_store_is_away_blocks_and_goes_on(d):
    if coldtier.on_server():
        raise Skip("it moves the cold tier's directory away")
    s = os.path.join(d, "s")
    run("init", s, "-o", "lease.ms=600")
    a = Appender(s, "web")
    assert a.acknowledged(b"one") == 0
    os.rename(os.path.join(s, "cold"), os.path.join(s, "away"))
    time.sleep(0.7)  # the lease runs out; appends wait for it
    a.send(b"two")
    time.sleep(0.2)
    a.poll()
    assert a.acked == [0], a.acked
    os.rename(os.path.join(s, "away"), os.path.join(s, "cold"))
    assert a.acknowledged(b"three") is not None
    while len(a.acked) < 3:
        a.poll(0.1)
    os.rename(os.path.join(s, "cold"), os.path.join(s, "away"))
    time.sleep(0.7)
    a.send(b"four")
    rc, err = a.end()
    assert rc == RETRIABLE and "could not be confirmed" in err, (rc, err)
    os.rename(os.path.join(s, "away"), os.path.join(s, "cold"))
    assert a.acked == [0, 1, 2]
    assert read(s, "web") == b"one\ntwo\nthree\n"


def test_settings_of_a_store_are_shown_and_changed(d):
    s = os.path.join(d, "s")
    refused(USAGE, "init", s, "-o", "owner.check.ms=1", naming="owner.check.ms")
    refused(USAGE, "init", s, "-o", "id=1", naming="no setting id")
    assert not os.path.exists(s)
    run("init", s, "-o", "owner.check.ms=30s")
    shown = json.loads(run("config", s, "--json")[0])
    assert shown["owner.check.ms"] == {"value": "30000", "default": False}, shown
    silent("config", s, "owner.check.ms=5s")
    silent("config", s, "-o", "cache.bytes=1MiB")
    text = run("config", s)[0].decode()
    assert "* owner.check.ms = 5000\n" in text and "* cache.bytes = 1048576\n" in text, text
    refused(USAGE, "config", s, "owner.check.ms=soon", naming="owner.check.ms=soon")
    run("create", s, "web")
    run("config", s, "web", "flush.ms=7")  # a log's, still


if __name__ == "__main__":
    main()
