#!/usr/bin/env python3
"""The command line: formats byte for byte, times, options, help, completion and man pages."""

import fcntl
import pty
import re
import struct
import termios
import time

from make_log import make
from varvetest import *

COMMANDS = ["append", "bench", "config", "create", "delete", "dump", "init", "ls", "read", "tier", "trim", "verify"]


def store_with(d, data=b"", *options):
    store = os.path.join(d, "s")
    if not os.path.exists(store):
        silent("init", store)
    silent("append", store, "a", *options, stdin=data)
    return store


def test_lines_keep_every_byte(d):
    odd = b"".join(bytes([i]) for i in range(256) if i != 10)
    data = b"\n\nplain\r\n\r\n" + odd + b"\n" + b"\0\0\n" + b"x" * 100000 + b"\n" + "\u00e9\u20ac".encode() + b"\n\n"
    store = store_with(d, data, "-o", "segment.bytes=1MiB")
    assert read(store, "a") == data


def test_a_last_line_without_newline_is_read_back_with_one(d):
    store = store_with(d, b"one\ntwo")
    assert read(store, "a") == b"one\ntwo\n"
    silent("append", store, "a", stdin=b"")
    assert ls(store, "a")["end_offset"] == 2


def test_large_input_in_small_pieces_is_the_same(d):
    store = os.path.join(d, "s")
    silent("init", store)
    data = make("apache", 3000)
    writer = start("append", store, "a")
    for i in range(0, len(data), 3000):
        writer.stdin.write(data[i:i + 3000])
        writer.stdin.flush()
    writer.stdin.close()
    assert writer.wait(timeout=60) == 0
    assert read(store, "a") == data


def test_files_are_appended_in_order_and_dash_is_standard_input(d):
    store = os.path.join(d, "s")
    silent("init", store)
    for name in ("x", "y"):
        open(os.path.join(d, name), "w").write(name * 3 + "\n")
    silent("append", store, "a", "x", "-", "y", cwd=d, stdin=b"middle\n")
    assert read(store, "a") == b"xxx\nmiddle\nyyy\n"


def test_keys_and_values(d):
    data = b"k1\tv1\nno key\n\tempty key\nk2\tv\twith tab\n"
    store = store_with(d, data, "--format", "kv")
    assert read(store, "a", "--format", "kv") == data
    rows = [json.loads(l) for l in read(store, "a", "--json").splitlines()]
    assert [r["key"] for r in rows] == ["k1", None, "", "k2"]
    assert rows[3]["value"] == "v\twith tab"
    silent("append", store, "b", "--format", "kv", "--key-separator", "::", stdin=b"a::b::c\n")
    assert json.loads(read(store, "b", "--json"))["key"] == "a"
    assert read(store, "b", "--format", "kv", "--key-separator", "=") == b"a=b::c\n"


def test_envelopes_go_round(d):
    rows = [{"timestamp": 5, "key": "k", "value": "v\n\u00e9\0\"", "headers": [{"name": "h", "value": None}]},
            {"timestamp": 6, "key": None, "value": None}, {"timestamp": 7, "key_base64": "/w==", "value": ""}]
    store = store_with(d, "".join(json.dumps(r) + "\n" for r in rows).encode(), "--format", "envelope")
    text = read(store, "a", "--json")
    assert read(store, "a", "--format", "envelope") == text
    back = [json.loads(l) for l in text.splitlines()]
    assert [r["timestamp"] for r in back] == [5, 6, 7]
    assert back[0]["value"] == rows[0]["value"] and back[0]["headers"] == rows[0]["headers"]
    assert back[1]["value"] is None and back[2]["key_base64"] == "/w==" and back[2]["value"] == ""
    silent("append", store, "b", "--format", "envelope", stdin=text)
    assert read(store, "b", "--json") == text


def test_raw_batches_go_round(d):
    store = store_with(d, make("apache", 2000), "--time-format", "apache", *LOCAL)
    raw = read(store, "a", "--format", "raw")
    assert raw == b"".join(open(p, "rb").read() for p in hot_segments(store, "a"))
    silent("append", store, "b", "--format", "raw", stdin=raw)
    assert read(store, "b", "--format", "raw") == raw
    assert read(store, "b", "--json") == read(store, "a", "--json")
    bad = bytearray(raw)
    bad[-1] ^= 1
    refused(CORRUPT, "append", store, "c", "--format", "raw", stdin=bytes(bad), naming=["standard input", "byte"])
    refused(CORRUPT, "append", store, "d", "--format", "raw", stdin=raw[:-1], naming="ends inside")
    refused(CORRUPT, "append", store, "e", "--format", "raw", stdin=b"not a batch at all", naming="byte 0")


def test_places_in_a_log(d):
    store = store_with(d, make("apache", 1000), "--time-format", "apache")
    lines = read(store, "a").splitlines(keepends=True)
    rows = [json.loads(l) for l in read(store, "a", "--json").splitlines()]
    assert read(store, "a", "--from", "end") == b""
    assert read(store, "a", "--from", 990) == b"".join(lines[990:])
    assert read(store, "a", "--from", "start", "--to", 3) == b"".join(lines[:3])
    assert read(store, "a", "--from", 5, "--to", 5) == b""
    assert read(store, "a", "--from", 7, "--to", 5) == b""
    assert read(store, "a", "-n", 0) == b""
    assert read(store, "a", "-n", "2", "--from", 1000) == b""
    at = rows[500]["timestamp"]
    first = next(i for i, r in enumerate(rows) if r["timestamp"] >= at)
    iso = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at // 1000))
    assert read(store, "a", "--from", "@" + iso) == b"".join(lines[first:])
    assert read(store, "a", "--to", "@" + iso) == b"".join(lines[:first])
    assert read(store, "a", "--from", "@2038-01-01") == b""
    refused(NOT_FOUND, "read", store, "a", "--from", 1001, naming="1001")


def test_times_that_cannot_be_parsed_are_the_previous_ones_and_counted(d):
    data = b"# header\n2015-05-17 10:05:03 a\n  continued\n2015-05-17 10:05:04 b\nmore\n"
    store = os.path.join(d, "s")
    silent("init", store)
    out, err = run("append", store, "a", "--time-format", "iso8601", stdin=data)
    assert out == b"" and "3 of 5 records" in err, err
    stamps = [json.loads(l)["timestamp"] for l in read(store, "a", "--json").splitlines()]
    assert stamps == [1431857103000] * 3 + [1431857104000] * 2, stamps
    assert read(store, "a") == data


def test_offsets_are_printed_as_they_are_acknowledged(d):
    store = os.path.join(d, "s")
    silent("init", store)
    out, _ = run("append", store, "a", "--print-offsets", "--durability", "fsync", stdin=b"x\n" * 5000)
    assert out == b"".join(b"%d\n" % i for i in range(5000))
    out, _ = run("append", store, "a", "--json", stdin=b"y\nz\n")
    assert json.loads(out) == {"records": 2, "bytes": 4, "unparsed_times": 0, "first_offset": 5000, "last_offset": 5001}


def test_compression_types_read_back(d):
    data = make("apache", 2000)
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        store = os.path.join(d, "s")
        if not os.path.exists(store):
            silent("init", store)
        silent("append", store, codec, "-o", "compression.type=" + codec, "-o", "segment.bytes=1MiB", *LOCAL, stdin=data)
        assert read(store, codec) == data
    sizes = {l["log"]: l["hot_bytes"] for l in ls(store)["logs"]}
    assert sizes["zstd"] < sizes["none"] / 2, sizes


def test_ls_fits_80_columns_without_colours_in_a_pipe(d):
    store = store_with(d, make("apache", 3000), "--time-format", "apache", "-o", "segment.bytes=64KiB", *LOCAL)
    silent("tier", store)
    silent("append", store, "topic/with/a/rather/long/name/0", stdin=b"x\n")
    for args in ([], ["a"]):
        text = run("ls", store, *args)[0].decode()
        assert "\033" not in text
        assert all(len(l) <= 80 for l in text.splitlines()), text
    assert "both" in text and "hot*" in text


def on_terminal(*args, **env):
    """What `varve ARGS` prints when both outputs are a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    child = subprocess.Popen([VARVE, *map(str, args)], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
                             env={**os.environ, "TERM": "xterm", "LC_ALL": "C.UTF-8", **env})
    os.close(theirs)
    out = b""
    try:
        while piece := os.read(ours, 65536):
            out += piece
    except OSError:
        pass  # how a terminal ends
    os.close(ours)
    assert child.wait(timeout=60) == 0, out
    return out.decode()


def test_a_terminal_gets_colours_and_progress_bars(d):
    store = store_with(d, make("apache", 3000), "--time-format", "apache", "-o", "segment.bytes=64KiB", *LOCAL)
    colours = re.compile(r"\033\[[0-9;]*m")
    bar = on_terminal("tier", store, "--seal")
    assert "[" in bar and "%" in bar and bar.endswith("\r\033[K"), repr(bar)
    assert "%" not in on_terminal("tier", store, "--seal", "--quiet")
    for args in (["ls", store], ["ls", store, "a"]):
        text = on_terminal(*args)
        assert colours.search(text)
        assert all(len(l) <= 80 for l in colours.sub("", text).splitlines()), text
        assert not colours.search(on_terminal(*args, NO_COLOR="1"))
    assert "\u2592" in on_terminal("ls", store, "a", NO_COLOR="1")
    assert "\u2592" not in on_terminal("ls", store, "a", LC_ALL="C")


def test_stats_name_each_tier(d):
    store = store_with(d, b"x\n")
    assert all(w in run("read", store, "a", "--stats")[1] for w in ("hot", "cold", "store", "cache"))
    s = stats(run("read", store, "a", "--stats", "--json")[1])
    assert s["hot_batches_read"] == 1 and s["cold_get_requests"] == 0


def test_dump_knows_every_kind_of_file(d):
    store = store_with(d, make("apache", 3000), "--time-format", "apache", "-o", "segment.bytes=64KiB", *LOCAL)
    silent("tier", store, "--seal")
    silent("tier", store)
    run("read", store, "a")
    kinds = {}
    for base, _, names in os.walk(store):
        for name in names:
            path = os.path.join(base, name)
            if name == "lock" or os.path.getsize(path) == 0:
                continue
            out, _ = run("dump", path)
            kinds[out.decode().split(": ", 1)[1].split("\n")[0].split(" ")[0].rstrip(":")] = path
    assert {"segment", "sparse", "checkpoint", "published", "cache", "settings", "root", "reserve"} <= set(kinds), kinds
    text = run("dump", "--records", hot_segments(store, "a")[0])[0].decode()
    assert text.count(" value ") > 100 and "GET /" in text
    assert "block 0" in run("dump", objects(store)[0])[0].decode()
    zeros = os.path.join(d, "zeros")  # what a crash may leave of a segment is not taken for the reserve
    open(zeros, "wb").write(bytes(8192))
    refused(CORRUPT, "dump", zeros, naming=zeros)
    junk = os.path.join(d, "junk")
    open(junk, "wb").write(b"something else entirely")
    refused(CORRUPT, "dump", junk, naming=junk)
    flip(hot_segments(store, "a")[0], 200)
    refused(CORRUPT, "dump", hot_segments(store, "a")[0], naming="pos 0")


def test_dump_reads_the_golden_file_of_each_format(d):
    data = os.path.join(os.environ["SOURCE_ROOT"], "tests/data")
    for name, kind in [("object-v1.zst", "segment object"), ("settings-v1.txt", "settings"),
                       ("hot/checkpoint-v1.bin", "checkpoint"), ("hot/published-v1.bin", "published"),
                       ("index/root-v1.bin", "root"), ("index/page-entries-v1.bin", "level 0"),
                       ("index/page-references-v1.bin", "level 1"), ("index/sparse-v1.bin", "sparse"),
                       ("record/batch-java-zstd.bin", "zstd")]:
        assert kind in run("dump", os.path.join(data, name))[0].decode(), name


def test_every_command_has_help_completion_and_a_man_page(d):
    root = os.environ["SOURCE_ROOT"]
    table = run("--help")[0].decode()
    bash = run("--completion", "bash")[0].decode()
    zsh = run("--completion", "zsh")[0].decode()
    main_page = open(os.path.join(root, "docs/man/varve.1")).read()
    for command in COMMANDS:
        assert re.search(r"^  %s " % command, table, re.M), command
        page = open(os.path.join(root, "docs/man/varve-%s.1" % command)).read().replace("\\-", "-")
        assert "varve-%s" % command in main_page.replace("\\-", "-"), command
        text = run(command, "--help")[0].decode()
        assert text.startswith("usage: varve %s" % command)
        assert all(len(l) <= 100 for l in text.splitlines()), text
        for option in re.findall(r"--([a-z-]+)", text):
            assert "--" + option in page, "varve-%s.1 lacks --%s" % (command, option)
            assert "--" + option in bash and "--" + option in zsh
    script = os.path.join(d, "completion")
    open(script, "w").write(bash)
    if shutil.which("bash"):
        done = subprocess.run(["bash", "-c", ". %s; COMP_WORDS=(varve read s log --fo) COMP_CWORD=4; _varve; "
                               "echo ${COMPREPLY[@]}" % script], capture_output=True, text=True)
        assert done.stdout.split() == ["--follow", "--format"], done
    assert run("--version")[0].startswith(b"varve 0.")


main()
