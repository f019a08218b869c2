#!/usr/bin/env python3
"""A log through both tiers: append, tier, evict, read back from wherever it lies."""

import os
import shutil
import subprocess
import time

import coldtier
from make_log import make
from varvetest import *


def tiered(d, kind, lines, *options, log="web"):
    """A store with one log of `kind`, all of it cold. Returns (store, its cold tier, input)."""
    store, data = os.path.join(d, "s"), make(kind, lines)
    source = os.path.join(d, "input")
    with open(source, "wb") as f:
        f.write(data)
    how = ["--time-format", "apache"] if kind == "apache" else ["--format", "jsonl"]
    cold = coldtier.init(store)
    silent("append", store, log, source, *how, *options)
    silent("tier", store, "--seal", "--evict")
    return store, cold, data


def test_an_access_log_comes_back_from_the_cold_tier(d):
    store, cold, data = tiered(d, "apache", 10000)
    assert read(store, "web") == data
    info = ls(store, "web")
    assert info["hot_bytes"] == 0 and info["cold_end"] == info["end_offset"] == 10000
    assert {s["tier"] for s in info["segments"]} == {"cold"}
    assert info["segments"][0]["first_timestamp"] // 1000 in range(1431857103 - 60, 1431857110)
    assert not hot_segments(store, "web")


def test_json_lines_come_back_and_have_their_times(d):
    store, cold, data = tiered(d, "jsonl", 2000)
    assert read(store, "web") == data
    for line in (0, 999, 1999):
        text = data.splitlines()[line]
        stamp = json.loads(text)["timestamp"]
        out = json.loads(read(store, "web", "--from", line, "-n", 1, "--json"))
        assert out["timestamp"] == stamp and out["value"].encode() == text
        # Times ascend here, so this is the first record at or after its own time.
        assert read(store, "web", "--from", "@%d" % stamp, "-n", 1) == text + b"\n"


def test_without_the_cold_directory_reading_fails_retriably_and_works_when_it_is_back(d):
    store, cold, data = tiered(d, "apache", 3000)
    with cold.away():
        empty_cache(store)
        out, err = run("read", store, "web", expect=RETRIABLE)
        assert out == b"" and "run it again" in err
    assert read(store, "web") == data


def test_a_cold_tier_elsewhere_holds_the_objects(d):
    store, cold = os.path.join(d, "s"), os.path.join(d, "archive")
    silent("init", store, "--cold", "file://" + cold)
    silent("append", store, "a/0", stdin=b"one\ntwo\n")
    silent("tier", store, "a/0", "--seal", "--evict")
    assert not os.path.exists(os.path.join(store, "cold"))
    assert any(n.endswith(".zst") for _, _, names in os.walk(cold) for n in names)
    assert read(store, "a/0") == b"one\ntwo\n"


def test_an_adopted_log_is_read_before_anything_of_it_is_local(d):
    one, two, cold = os.path.join(d, "one"), os.path.join(d, "two"), coldtier.new(d).url
    silent("init", one, "--cold", cold)
    silent("append", one, "a", stdin=b"one\ntwo\n")
    silent("tier", one, "--seal")
    silent("init", two, "--cold", cold, "--adopt")
    assert read(two, "a") == b"one\ntwo\n"
    assert read(two, "a", "--from", 1, "--follow", "-n", 1) == b"two\n"
    assert read(two, "a", "--from", "end") == b""


def fetched(cold, d):
    """Copies of all segment objects; their paths, in offset order."""
    paths = [os.path.join(d, os.path.basename(key)) for key in cold.keys(".zst")]
    for key, path in zip(cold.keys(".zst"), paths):
        with open(path, "wb") as f:
            f.write(cold.get(key))
    return paths


def test_objects_are_zst_files_whose_content_is_the_segments(d):
    need("zstd")
    store, source = os.path.join(d, "s"), os.path.join(d, "input")
    with open(source, "wb") as f:
        f.write(make("apache", 10000))
    cold = coldtier.init(store)
    silent("append", store, "web", source, "--time-format", "apache", "-o", "segment.bytes=65536", *LOCAL)
    silent("tier", store, "--seal")
    segments = b"".join(open(p, "rb").read() for p in hot_segments(store, "web"))
    silent("tier", store, "--seal", "--evict")
    found = fetched(cold, d)
    assert len(found) > 20
    for path in found:
        subprocess.run(["zstd", "-lq", path], check=True, capture_output=True)
    assert subprocess.run(["zstd", "-dc", *found], check=True, capture_output=True).stdout == segments
    assert not hot_segments(store, "web")


def test_objects_have_a_frame_for_every_two_mebibytes_at_least(d):
    need("zstd")
    store, cold, data = tiered(d, "apache", 50000, "-o", "segment.bytes=64MiB", "-o", "cold.block.bytes=1MiB")
    assert len(data) > 6 << 20
    for path in fetched(cold, d):
        text = subprocess.run(["zstd", "-lv", path], check=True, capture_output=True, text=True).stdout
        values = dict(l.split(":", 1) for l in text.splitlines() if ":" in l)
        frames = int(next(v for k, v in values.items() if "Zstandard Frames" in k))
        size = int(next(v for k, v in values.items() if "Decompressed Size" in k).split("(")[1].split()[0])
        assert frames >= size / (2 << 20), (frames, size)


def test_one_read_crosses_the_border_of_the_tiers(d):
    store, cold, data = tiered(d, "apache", 5000, "-o", "segment.bytes=65536", *LOCAL)
    more = make("apache", 5000, seed=2)
    silent("append", store, "web", "--time-format", "apache", stdin=more)
    info = ls(store, "web")
    assert info["cold_end"] >= 5000 and info["hot_bytes"] > 0
    assert read(store, "web") == data + more
    lines = (data + more).splitlines(keepends=True)
    assert read(store, "web", "--from", 4990, "--to", 5010) == b"".join(lines[4990:5010])
    assert read(store, "web", "--from", 4990, "-n", 20) == b"".join(lines[4990:5010])
    silent("tier", store)
    assert {s["tier"] for s in ls(store, "web")["segments"]} >= {"cold", "both"}
    assert read(store, "web") == data + more


def test_a_random_cold_read_is_one_request_of_one_block(d):
    store, cold, _ = tiered(d, "apache", 50000)
    largest = 1 << 20
    for offset in (0, 17, 25000, 49999):
        empty_cache_blocks(store)
        before = coldtier.gets()
        _, err = run("read", store, "web", "--from", offset, "-n", 1, "--stats", "--json")
        assert before is None or coldtier.gets() - before == 1
        s = stats(err)
        assert s["cold_get_requests"] == 1, s
        assert s["cold_bytes_received"] <= largest, s
        assert s["cold_head_requests"] == s["cold_list_requests"] == s["cold_put_requests"] == 0, s


def empty_cache_blocks(store):
    """The block cache only: block tables are kept by the machine that uploaded."""
    for name in os.listdir(os.path.join(store, "cache")):
        if name.startswith("blocks"):
            os.unlink(os.path.join(store, "cache", name))


def test_a_random_cold_read_is_one_read_of_the_object_by_strace(d):
    need("strace")
    if QUICK:
        raise Skip("strace and sanitizers do not go together")
    store, cold, _ = tiered(d, "apache", 50000)
    empty_cache_blocks(store)
    trace = os.path.join(d, "trace")
    probe = subprocess.run(["strace", "-o", trace, "true"], capture_output=True)
    if probe.returncode != 0:
        raise Skip("strace may not trace here")
    run("read", store, "web", "--from", 25000, "-n", 1,
        prefix=["strace", "-f", "-y", "-o", trace, "-e", "trace=read,pread64,preadv,readv"])
    reads = [l for l in open(trace, errors="replace") if ".zst>" in l and "= 0" not in l.split(")")[-1]]
    assert len(reads) == 1, reads


def test_a_reader_from_the_bucket_url_needs_no_store(d):
    store, cold, data = tiered(d, "apache", 2000)
    assert read(cold.url, "web") == data
    assert ls(cold.url)["logs"][0]["end_offset"] == 2000
    assert ls(cold.url, "web")["hot_bytes"] == 0
    run("verify", cold.url, "--deep")
    refused(FAILURE, "append", cold.url, "web", stdin=b"no\n")


def test_a_trim_moves_the_start_and_what_is_left_stays(d):
    store, cold, data = tiered(d, "apache", 5000, "-o", "segment.bytes=65536")
    lines = data.splitlines(keepends=True)
    silent("trim", store, "web", "--before", 1234)
    assert ls(store, "web")["start_offset"] == 1234
    assert read(store, "web") == b"".join(lines[1234:])
    refused(NOT_FOUND, "read", store, "web", "--from", 1233)
    silent("trim", store, "web", "--before", 100)  # never moves down
    assert ls(store, "web")["start_offset"] == 1234
    silent("trim", store, "web", "--before", "end")
    assert read(store, "web") == b""
    silent("append", store, "web", stdin=b"after\n")
    assert read(store, "web") == b"after\n"
    assert json.loads(read(store, "web", "--json"))["offset"] == 5000
    run("verify", store, "--deep")


def test_verify_is_clean_all_along(d):
    store, cold, _ = tiered(d, "apache", 5000, "-o", "segment.bytes=65536")
    run("verify", store)
    run("verify", store, "--deep")
    out = json.loads(run("verify", store, "web", "--deep", "--json")[0])
    assert out["problems"] == 0, out
    run("verify", store, "--deep", "--repair")


def test_orphans_of_a_killed_upload_are_counted_and_removed_by_repair(d):
    store, cold, data = tiered(d, "apache", 5000, "-o", "segment.bytes=65536")
    found = cold.keys(".zst")
    orphan = found[3][:-36] + "0123456789abcdef0123456789abcdef.zst"
    cold.put(orphan, cold.get(found[3]))
    assert b": clean, 1 orphan (-v lists them)" in run("verify", store)[0]
    assert os.path.basename(orphan).encode() in run("verify", store, "-v")[0]
    run("verify", store, "--repair")
    assert cold.keys(".zst") == found
    assert run("verify", store)[0].endswith(b"clean\n")
    assert read(store, "web") == data


def test_orphans_that_are_most_of_a_log_are_removed_only_when_told(d):
    store, cold, data = tiered(d, "apache", 2000, "-o", "segment.bytes=65536")
    found = cold.keys(".zst")
    for key in found:
        cold.put(key[:-36] + "0123456789abcdef0123456789abcdef.zst", cold.get(key))
    out = run("verify", store, "--repair", "-v")[0].decode()
    assert "deleted only when told to" in out, out
    assert len(cold.keys(".zst")) == 2 * len(found)
    refused(USAGE, "verify", store, "--all-orphans", naming="--repair")
    run("verify", store, "--repair", "--all-orphans")
    assert cold.keys(".zst") == found
    assert read(store, "web") == data


def test_a_deleted_log_is_gone_and_can_be_made_anew(d):
    store, cold, _ = tiered(d, "apache", 2000, "-o", "file.delete.delay.ms=0")
    silent("delete", store, "web")
    refused(NOT_FOUND, "read", store, "web", naming="web")
    assert ls(store)["logs"] == []
    assert not cold.keys(".zst")
    silent("append", store, "web", stdin=b"new\n")
    assert read(store, "web") == b"new\n"


def test_options_are_shown_and_changed(d):
    store = os.path.join(d, "s")
    silent("init", store)
    silent("create", store, "a", "-o", "segment.bytes=1MiB", "-o", "retention.ms=7d")
    options = json.loads(run("config", store, "a", "--json")[0])
    assert options["segment.bytes"] == {"value": "1048576", "default": False}
    assert options["retention.bytes"]["default"]
    silent("config", store, "a", "segment.bytes=2MiB", "-o", "retention.ms=-1")
    options = json.loads(run("config", store, "a", "--json")[0])
    assert options["segment.bytes"]["value"] == "2097152" and options["retention.ms"]["value"] == "-1"
    text = run("config", store, "a")[0].decode()
    assert "* segment.bytes = 2097152\n" in text


def test_full_segments_are_uploaded_while_the_writer_goes_on(d):
    store = os.path.join(d, "s")
    coldtier.init(store)
    silent("create", store, "web", "-o", "segment.bytes=4096")
    writer = start("append", store, "web", "--print-offsets", bufsize=0)
    ends = set()
    for i in range(4):  # not only what was there when the tierer first looked
        for _ in range(20):
            writer.stdin.write(b"x" * 1000 + b"\n")
            writer.stdout.readline()
        until = time.monotonic() + 20  # far below the tierer's own minute
        while ls(store, "web")["cold_end"] < 20 * i + 16 and time.monotonic() < until:
            time.sleep(0.02)
        ends.add(ls(store, "web")["cold_end"])
    writer.communicate()
    assert writer.returncode == 0 and len(ends) == 4 and max(ends) >= 76, ends


if __name__ == "__main__":
    main()
