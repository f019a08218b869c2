"""What the integration tests share: running the command, a scratch directory, one function per claim.

A test file defines functions that begin with `test_`, each taking a fresh directory, and calls main().

The tiny run (`meson test --setup tiny`, which sets VARVE_TEST_TINY) is the same tests once more with tiny segments and
tiering forced on: a log that run() or start() makes gets TINY_OPTIONS where the test has not chosen them itself, and what
run() has appended to such a log is tiered at once.
"""

import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

# meson test sets these; by hand the scripts take what is in build/.
ROOT = os.environ.setdefault("SOURCE_ROOT", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
VARVE = os.environ.setdefault("VARVE", os.path.join(ROOT, "build/tools/varve"))
os.environ.setdefault("RANDOM_READS", os.path.join(ROOT, "build/tests/integration/random_reads"))
os.environ.setdefault("EXAMPLE", os.path.join(ROOT, "build/docs/example"))
os.environ.setdefault("LIBVARVE", os.path.join(ROOT, "build/libvarve.so"))
QUICK = bool(os.environ.get("VARVE_QUICK"))  # sanitized builds: fewer rounds

TINY = bool(os.environ.get("VARVE_TEST_TINY"))
TINY_OPTIONS = {"segment.bytes": "4KiB", "cold.block.bytes": "4KiB", "index.interval.bytes": "512",
                "local.retention.bytes": "0"}
# For a test that looks at local copies, or tiers by itself.
LOCAL = ("-o", "local.retention.bytes=-1")

OK, FAILURE, USAGE, NOT_FOUND, BUSY, CORRUPT, RETRIABLE, NO_SPACE = range(8)


class Skip(Exception):
    """Why this test cannot run here."""


tiny_logs = set()  # (store, log) that command() has made tiny, and that evict at once


def command(*args, env=None):
    """`varve ARGS` as a list; in the tiny run with TINY_OPTIONS that `args` do not name, where this makes a log."""
    words = [str(a) for a in args]
    if TINY and makes_a_log(words, env):
        chosen = {w.partition("=")[0] for w in words}
        added = {name: value for name, value in TINY_OPTIONS.items() if name not in chosen}
        if "local.retention.bytes" in added:
            tiny_logs.add((words[1], words[2]))
        for pair in added.items():
            words += "-o", "%s=%s" % pair
    return [VARVE, *words]


def makes_a_log(words, env):
    """`create STORE LOG`, or `append STORE LOG` where neither tier knows the log."""
    if len(words) < 3 or words[0] not in ("create", "append") or words[2].startswith("-") or not os.path.isdir(words[1]):
        return False
    if words[0] == "create":
        return True
    if os.path.isdir(hot_dir(words[1], words[2])):
        return False
    seen = subprocess.run([VARVE, "config", *words[1:3]], capture_output=True, timeout=300, env=env)
    return seen.returncode == NOT_FOUND


def tier_if_tiny(args, env):
    """What was appended to a log of the tiny run goes to the cold tier, but for the active segment."""
    words = [str(a) for a in args[:3]]
    if words[0] == "append" and tuple(words[1:]) in tiny_logs:
        done = subprocess.run([VARVE, "tier", *words[1:]], capture_output=True, timeout=300, env=env)
        assert done.returncode in (OK, BUSY, RETRIABLE), done.stderr.decode(errors="replace")


def run(*args, stdin=b"", expect=OK, cwd=None, prefix=(), env=None):
    """Runs `varve ARGS`; returns (stdout, stderr text). `expect` is the exit code, None: any; `env` adds variables."""
    env = dict(os.environ, **env) if env else None
    done = subprocess.run([*prefix, *command(*args, env=env)], input=stdin, capture_output=True, cwd=cwd, timeout=300, env=env)
    if done.returncode == OK:
        tier_if_tiny(args, env)
    err = done.stderr.decode(errors="replace")
    if "Sanitizer" in err:
        raise AssertionError(err)
    if expect is not None and done.returncode != expect:
        raise AssertionError("varve %s: exit %d, expected %d\n%s" % (
            " ".join(map(str, args)), done.returncode, expect, err))
    return done.stdout, err


def silent(*args, **kwargs):
    """Runs, and expects not a byte on either output."""
    out, err = run(*args, **kwargs)
    assert out == b"" and err == "", (args, out[:200], err)


def refused(code, *args, naming=(), **kwargs):
    """Runs, expects this exit code, and each of `naming` in the message."""
    out, err = run(*args, expect=code, **kwargs)
    assert err.startswith("varve: "), err
    for word in [naming] if isinstance(naming, str) else naming:
        assert word in err, "%r is not in: %s" % (word, err)
    return err


def start(*args, **kwargs):
    """Starts `varve ARGS` with pipes; the caller ends it."""
    return subprocess.Popen(command(*args, env=kwargs.get("env")), stdin=kwargs.pop("stdin", subprocess.PIPE),
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs)


def ls(store, log=None):
    """`varve ls --json`, decoded."""
    return json.loads(run("ls", store, *([log] if log else []), "--json")[0])


def read(store, log, *args):
    return run("read", store, log, *args)[0]


def stats(err):
    """The object that --stats --json put on stderr."""
    return json.loads(err.strip().splitlines()[-1])


def objects(store):
    """Paths of all segment objects in the store's own cold directory, in offset order."""
    found = []
    for folder, _, names in os.walk(os.path.join(store, "cold")):
        found += [os.path.join(folder, n) for n in names if n.endswith(".zst")]
    return sorted(found, key=os.path.basename)


def hot_dir(store, log):
    return os.path.join(store, "logs", log, "@")


def hot_segments(store, log):
    """Paths of the log's segment files that hold anything, in offset order."""
    folder = hot_dir(store, log)
    names = sorted(n for n in os.listdir(folder) if n.endswith(".log"))
    return [os.path.join(folder, n) for n in names if os.path.getsize(os.path.join(folder, n))]


def empty_cache(store):
    shutil.rmtree(os.path.join(store, "cache"), ignore_errors=True)


def move_cold(store, url):
    """From now on this URL is the store's cold tier (docs/operations.md, "Moving a store")."""
    path = os.path.join(store, "varve-store")
    with open(path, encoding="utf-8") as f:
        text = re.sub(r"^cold = .*$", lambda _: "cold = " + url, f.read(), flags=re.M)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    crc = re.search("the bytes give ([0-9a-f]{8})", run("config", store, expect=None)[1]).group(1)
    with open(path, "w", encoding="utf-8") as f:
        f.write(re.sub(r"^crc32c = .*$", "crc32c = " + crc, text, flags=re.M))


def is_stopped(pid):
    for path in glob.glob("/proc/%d/task/*/stat" % pid):
        try:
            with open(path, encoding="utf-8", errors="replace") as f:
                state = f.read().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue  # that thread has ended
        if state not in "TZX":
            return False
    return True


def halt(*pids):
    """SIGSTOP, until each of their threads stands still: those that are late can go on answering for a while."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    until = time.monotonic() + 60
    while not all(map(is_stopped, pids)):
        assert time.monotonic() < until, "a minute after SIGSTOP some of %s still run" % (pids,)
        time.sleep(0.005)


def flip(path, pos, mask=0x01):
    """Flips bits of the byte at `pos` (negative: from the end)."""
    with open(path, "r+b") as f:
        size = os.fstat(f.fileno()).st_size
        f.seek(pos if pos >= 0 else size + pos)
        byte = f.read(1)[0]
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte ^ mask]))


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def need(command):
    if not shutil.which(command):
        raise Skip("%s is not installed" % command)


def certificate(d, name="127.0.0.1"):
    need("openssl")
    subject = "IP:127.0.0.1" if name == "127.0.0.1" else "DNS:" + name
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", d + "/key.pem", "-out",
                    d + "/cert.pem", "-days", "2", "-subj", "/CN=" + name, "-addext", "subjectAltName=" + subject],
                   check=True, capture_output=True)
    return "--tls-cert", d + "/cert.pem", "--tls-key", d + "/key.pem"


def main():
    """Runs every test_ function of the calling script, or those named on its command line."""
    module = sys.modules["__main__"]
    run_tests({n: getattr(module, n) for n in sys.argv[1:] or vars(module) if n.startswith("test_")})


def run_tests(tests):
    """Runs functions by their names, each with a scratch directory, and says what came of it."""
    failed, skipped = [], 0
    for name, function in tests.items():
        scratch = tempfile.mkdtemp(prefix="varve-")
        try:
            function(scratch)
            print("ok", name, flush=True)
        except Skip as why:
            skipped += 1
            print("skipped", name + ":", why, flush=True)
        except Exception:
            print(traceback.format_exc(limit=-6))
            failed.append(name)
            print("FAILED", name, flush=True)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    if failed:
        sys.exit("failed: " + " ".join(failed))
    if skipped == len(tests):
        sys.exit(77)
