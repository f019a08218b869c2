#!/usr/bin/env python3
"""Wrong use: each is refused by name, with the right exit code, and loses nothing."""

import contextlib
import random

from make_log import make
from varvetest import *


def store_with(d, data=b"one\ntwo\n", *options):
    store = os.path.join(d, "s")
    silent("init", store)
    silent("append", store, "a", *options, stdin=data)
    return store


def test_options_that_do_not_exist_or_cannot_be(d):
    store = store_with(d)
    for args, naming in [
        (["append", store, "a", "--formt", "kv"], "--formt"),
        (["append", store, "a", "-x"], "-x"),
        (["append", store, "a", "--format", "xml"], ["--format", "xml"]),
        (["append", store, "a", "--format"], ["--format", "value"]),
        (["append", store, "a", "--durability", "maybe"], ["--durability", "maybe"]),
        (["append", store, "a", "--batch", "-5"], ["--batch", "-5"]),
        (["append", store, "a", "--batch", "64 K"], ["--batch", "64 K"]),
        (["append", store, "a", "--linger", "soon"], ["--linger", "soon"]),
        (["append", store, "a", "--time-format", "nginx"], ["--time-format", "nginx"]),
        (["append", store, "a", "--time-field", "x"], ["--time-field", "jsonl"]),
        (["append", store, "a", "--print-offsets=yes"], ["--print-offsets", "no value"]),
        (["append", store, "a", "-o", "segment.bytes"], ["segment.bytes", "name=value"]),
        (["append", store, "new", "-o", "segment.byts=5"], "segment.byts"),
        (["append", store, "new", "-o", "segment.bytes=5"], "segment.bytes"),
        (["append", store, "a", "-o", "segment.bytes=128KiB"], ["segment.bytes", "varve config"]),
        (["create", store, "new", "-o", "retention.ms=never"], ["retention.ms", "never"]),
        (["config", store, "a", "compression.type=rar"], ["compression.type", "rar"]),
        (["read", store, "a", "-n", "-1"], ["--count", "-1"]),
        (["read", store, "a", "-n", "99999999999999999999"], "--count"),
        (["read", store, "a", "--from", "yesterday"], ["--from", "yesterday"]),
        (["read", store, "a", "--from", "@2015-13-01"], ["--from", "@2015-13-01"]),
        (["read", store, "a", "--json", "--format", "raw"], ["--json", "raw"]),
        (["trim", store, "a"], "--before"),
        (["read", store], "LOG"),
        (["read", store, "a", "b"], "\"b\""),
        (["init"], "STORE"),
    ]:
        err = refused(USAGE, *args, naming=naming, stdin=b"")
        assert "varve %s --help" % args[0] in err or "varve config" in err or "option" in err, err
    out, err = run("frobnicate", expect=USAGE)
    assert "frobnicate" in err
    run(expect=USAGE)
    assert read(store, "a") == b"one\ntwo\n"
    assert [l["log"] for l in ls(store)["logs"]] == ["a"]


def test_log_names_that_cannot_be(d):
    store = store_with(d)
    for name in ["", "a" * 250, "..", "a/../b", ".", "a//b", "/a", "a/", "a@b", "@", "a\nb", "a\x7fb", "a\\b",
                 b"\xff\xfe"]:
        for command in ("create", "append"):
            run(command, store, os.fsdecode(name) if isinstance(name, bytes) else name, stdin=b"x\n",
                expect=None)
            code = subprocess.run([VARVE, command, store, name], input=b"x\n", capture_output=True)
            assert code.returncode in (USAGE, FAILURE), (name, code)
            assert code.stderr.startswith(b"varve: "), (name, code.stderr)
    silent("create", store, "a" * 249)
    silent("create", store, "\u00e9/\u20ac/0")
    assert len(ls(store)["logs"]) == 3


def test_things_that_are_not_there(d):
    store = store_with(d)
    nowhere = os.path.join(d, "nowhere")
    for command in (["read", nowhere, "a"], ["append", nowhere, "a"], ["ls", nowhere], ["tier", nowhere],
                    ["verify", nowhere], ["dump", nowhere], ["config", nowhere, "a"], ["delete", nowhere, "a"]):
        refused(NOT_FOUND, *command, naming=nowhere)
    assert not os.path.exists(nowhere)
    for command in (["read", store, "b"], ["ls", store, "b"], ["tier", store, "b"], ["verify", store, "b"],
                    ["config", store, "b"], ["trim", store, "b", "--before", "1"], ["delete", store, "b"]):
        refused(NOT_FOUND, *command, naming="b")
    refused(NOT_FOUND, "append", store, "a", os.path.join(d, "no-file"), naming="no-file")
    refused(FAILURE, "append", store, "a", d, naming="directory")
    refused(NOT_FOUND, "read", store, "a", "--from", 3, naming="3")
    assert read(store, "a") == b"one\ntwo\n"


def test_directories_that_are_no_store(d):
    plain = os.path.join(d, "plain")
    os.mkdir(plain)
    open(os.path.join(plain, "file"), "w").write("mine\n")
    for command in (["ls", plain], ["append", plain, "a"], ["read", plain, "a"], ["tier", plain]):
        refused(USAGE, *command, naming=[plain, "store"], stdin=b"x\n")
    refused(FAILURE, "init", plain, naming=plain)
    assert os.listdir(plain) == ["file"]
    store = store_with(d)
    refused(FAILURE, "init", store, naming=store)
    assert read(store, "a") == b"one\ntwo\n"
    other = os.path.join(d, "other")
    refused(FAILURE, "init", other, "--cold", "file://" + os.path.join(store, "cold"), naming="--adopt")
    refused(USAGE, "init", os.path.join(d, "third"), "--cold", "ftp://x/y", naming="ftp")


def test_a_store_of_a_newer_format(d):
    store = store_with(d)
    path = os.path.join(store, "varve-store")
    text = open(path, "rb").read()
    lines = text.split(b"\n")
    lines[0] = b"varve-store 999"
    body = b"\n".join(lines[:-2]) + b"\n"
    open(path, "wb").write(body + b"crc32c = %08x\n" % crc32c(body))
    for command in (["read", store, "a"], ["append", store, "a"], ["ls", store], ["verify", store]):
        refused(FAILURE, *command, naming=["999"], stdin=b"x\n")
    open(path, "wb").write(text)
    assert read(store, "a") == b"one\ntwo\n"


def test_a_second_writer(d):
    store = store_with(d)
    writer = start("append", store, "a", "--print-offsets", bufsize=0)
    writer.stdin.write(b"three\n")
    assert writer.stdout.readline() == b"2\n"
    for command in (["append", store, "a"], ["create", store, "b"], ["tier", store], ["config", store, "a", "segment.ms=1h"],
                    ["trim", store, "a", "--before", "1"], ["delete", store, "a"], ["verify", store, "--repair"]):
        refused(BUSY, *command, naming=[str(writer.pid)], stdin=b"x\n")
    assert read(store, "a") == b"one\ntwo\nthree\n"  # reading goes on beside it
    run("verify", store)
    assert len(ls(store)["logs"]) == 1
    writer.stdin.write(b"four\n")
    writer.stdin.close()
    assert writer.wait(timeout=30) == 0
    assert read(store, "a") == b"one\ntwo\nthree\nfour\n"


def test_another_stores_log(d):
    one, two, cold = os.path.join(d, "one"), os.path.join(d, "two"), "file://" + os.path.join(d, "cold")
    silent("init", one, "--cold", cold)
    silent("append", one, "a", stdin=b"one\n")
    silent("tier", one, "--seal")
    silent("init", two, "--cold", cold, "--adopt")
    refused(BUSY, "append", two, "a", stdin=b"x\n", naming=["a", "--take-over"])
    out, err = run("append", two, "a", "--take-over", stdin=b"two\n")
    assert "taken over" in err
    assert read(two, "a") == b"one\ntwo\n"
    silent("append", one, "b", stdin=b"still mine\n")
    out, err = run("append", one, "a", stdin=b"late\n", expect=BUSY)
    assert read(two, "a") == b"one\ntwo\n"


def test_a_record_over_the_limit(d):
    store = store_with(d, b"one\ntwo\n", "-o", "max.message.bytes=100KiB", "-o", "segment.bytes=1MiB")
    big = b"x" * 200000
    err = refused(FAILURE, "append", store, "a", stdin=b"three\n" + big + b"\nnever\n",
                  naming=["standard input", "line 2", "max.message.bytes"])
    assert "up to line 1" in err
    assert read(store, "a") == b"one\ntwo\nthree\n"
    # A line of exactly the limit is a line; the record around it is not within it.
    refused(FAILURE, "append", store, "a", stdin=b"y" * 102400 + b"\n", naming="line 1")
    silent("append", store, "a", stdin=b"y" * 102000 + b"\nlast\n")
    assert read(store, "a") == b"one\ntwo\nthree\n" + b"y" * 102000 + b"\nlast\n"


def test_a_batch_size_nobody_gave_is_within_a_small_max_message_bytes(d):
    store = os.path.join(d, "s")
    silent("init", store)
    silent("create", store, "a", "-o", "max.message.bytes=2KiB")
    data = b"".join(b"%d %s\n" % (i, b"x" * (i % 100)) for i in range(1000))
    silent("append", store, "a", stdin=data)
    assert read(store, "a") == data
    refused(USAGE, "append", store, "a", "--batch", "4KiB", naming=["--batch", "max.message.bytes"], stdin=b"x\n")


def test_a_full_disk(d):
    mountpoint = os.path.join(d, "small")
    os.mkdir(mountpoint)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mountpoint], capture_output=True).returncode:
        raise Skip("mounting a tmpfs is not allowed here")
    try:
        store, cold = os.path.join(mountpoint, "s"), os.path.join(d, "cold")
        silent("init", store, "--cold", "file://" + cold)
        run("append", store, "a", "-o", "segment.bytes=256KiB", stdin=b"first\n")  # says that it has no cache
        filler = os.path.join(mountpoint, "filler")
        try:
            with open(filler, "wb", buffering=0) as f:
                while f.write(b"\0" * 65536):
                    pass
        except OSError:
            pass
        data = b"".join(b"%d %s\n" % (i, b"z" * 400) for i in range(20000))
        out, err = run("append", store, "a", "--print-offsets", stdin=data, expect=NO_SPACE)
        assert "space" in err.lower(), err
        acknowledged = [int(l) for l in out.split()]
        kept = read(store, "a")  # reads go on
        lines = [b"first\n"] + data.splitlines(keepends=True)
        assert kept == b"".join(lines[:len(kept.splitlines())])
        assert len(kept.splitlines()) >= 1 + len(acknowledged)
        os.unlink(filler)
        run("append", store, "a", stdin=b"room again\n")
        assert read(store, "a") == kept + b"room again\n"
        run("verify", store, "--deep")
    finally:
        subprocess.run(["umount", mountpoint], capture_output=True)


def noise_lines(count):
    rng = random.Random(1)
    return b"".join(b"%d %s\n" % (i, rng.randbytes(150).hex().encode()) for i in range(count))


@contextlib.contextmanager
def small_disk(d, size):
    mountpoint = os.path.join(d, "small")
    os.makedirs(mountpoint, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=" + size, "tmpfs", mountpoint],
                      capture_output=True).returncode:
        raise Skip("mounting a tmpfs is not allowed here")
    try:
        yield mountpoint
    finally:
        subprocess.run(["umount", mountpoint], capture_output=True)


def disk_free(path):
    st = os.statvfs(path)
    return st.f_bavail * st.f_frsize


def leave_free(mountpoint, size):
    with open(os.path.join(mountpoint, "filler"), "wb") as f:
        f.write(bytes(disk_free(mountpoint) - size))
    assert disk_free(mountpoint) <= size


def worked_off(store, data):
    """One run moves all to the cold tier and ends well; then there is room again."""
    run("tier", store, "--seal", "--evict")
    info = ls(store, "a")
    assert info["hot_bytes"] == 0 and info["cold_end"] == info["end_offset"], info
    run("append", store, "a", stdin=b"room again\n")
    assert read(store, "a") == data + b"room again\n"
    run("verify", store, "--deep")


def test_a_disk_that_both_tiers_have_filled_is_worked_off(d):
    # The writer's own tierer has uploaded some of it meanwhile, committed or not: all of that is on the disk.
    with small_disk(d, "6m") as mountpoint:
        store = os.path.join(mountpoint, "s")
        silent("init", store)
        data = noise_lines(30000)
        out, err = run("append", store, "a", "-o", "segment.bytes=256KiB", "--print-offsets", stdin=data, expect=NO_SPACE)
        assert store in err and "space" in err.lower(), err
        kept = len(out.split())
        lines = data.splitlines(keepends=True)
        assert read(store, "a") == b"".join(lines[:kept])  # reads go on
        worked_off(store, b"".join(lines[:kept]))


def full_store(mountpoint, lines, free, reserve="kept"):
    """Nothing is uploaded yet, and `free` bytes are left. `reserve`: "kept", "lost", or "refused" for good."""
    store = os.path.join(mountpoint, "s")
    silent("init", store)
    silent("create", store, "a", "-o", "segment.bytes=256KiB")
    away = os.path.join(mountpoint, "away")
    os.rename(os.path.join(store, "cold"), away)
    run("append", store, "a", stdin=lines)
    os.rename(away, os.path.join(store, "cold"))
    if reserve != "kept":
        os.unlink(os.path.join(store, "reserve"))
    if reserve == "refused":
        os.mkdir(os.path.join(store, "reserve"))
    leave_free(mountpoint, free)
    return store


def test_a_disk_without_a_byte_left_is_worked_off_with_what_was_held_back(d):
    data = noise_lines(4000)
    for free in (0, 4096, 60000, 144 * 1024, 148 * 1024, 152 * 1024, 300 * 1024):
        with small_disk(d, "6m") as mountpoint:
            store = full_store(mountpoint, data, free)
            held = os.stat(os.path.join(store, "reserve")).st_blocks * 512
            assert held > 300 * 1024, held
            worked_off(store, data)
            # And for the next time it is held back again.
            assert os.stat(os.path.join(store, "reserve")).st_blocks * 512 == held


def test_room_for_one_object_and_its_root_is_enough(d):
    # Objects are of up to 150 KiB, a root of a page in the bucket and one here, beside the old ones. Two objects sent
    # at once each lack the room that the other has taken; a batch of them can leave none for its root.
    data = noise_lines(4000)
    for reserve in ("lost", "refused"):
        for free in (196, 216, 296, 304, 350, 440, 456):
            with small_disk(d, "6m") as mountpoint:
                worked_off(full_store(mountpoint, data, free * 1024, reserve), data)


def test_where_not_even_one_object_has_room_nothing_is_lost(d):
    data = noise_lines(2000)
    with small_disk(d, "6m") as mountpoint:
        store = full_store(mountpoint, data, 40 * 1024, "refused")
        refused(NO_SPACE, "tier", store, "--seal", "--evict", naming=[store, "the disk is full"])
        assert read(store, "a") == data
        os.unlink(os.path.join(mountpoint, "filler"))
        worked_off(store, data)


def test_output_that_cannot_be_written(d):
    store = store_with(d, make("apache", 20000))
    if not os.path.exists("/dev/full"):
        raise Skip("no /dev/full")
    with open("/dev/full", "wb") as full:
        done = subprocess.run([VARVE, "read", store, "a"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == NO_SPACE and b"standard output" in done.stderr, done


main()
