#!/usr/bin/env python3
"""The scripts that start servers, where there is no server: what they say, what they leave; how MinIO is built.

The Go of these tests is a stub that writes down how it was called, and makes a `minio` that only says its name.
"""

import os
import stat
import threading

import varvetest
from s3servers import s3minio, s3process
from server_claims import script
from varvetest import main

STUB = """#!/bin/sh
if [ "$1" = env ]; then echo go%s; exit; fi
echo "$@" >>"$STUB_CALLS"
test -z "$STUB_FAILS" || { echo "go: downloading x"; echo "no such module"; exit 1; }
mkdir -p "$GOBIN" "$GOMODCACHE/x" && printf '#!/bin/sh\\necho stub\\n' >"$GOBIN/minio" && chmod +x "$GOBIN/minio"
"""


def stub_go(scratch, version):
    """Returns the environment in which this is the only Go."""
    path = os.path.join(scratch, "path")
    os.makedirs(path)
    with open(os.path.join(path, "go"), "w", encoding="ascii") as f:
        f.write(STUB % version)
    os.chmod(f.name, 0o755)
    for tool in ("sh", "mkdir", "chmod"):
        os.symlink(varvetest.shutil.which(tool), os.path.join(path, tool))
    return {"PATH": path, "XDG_CACHE_HOME": os.path.join(scratch, "cache"), "STUB_FAILS": "",
            "STUB_CALLS": os.path.join(scratch, "calls")}


def calls(env):
    with open(env["STUB_CALLS"], encoding="ascii") as f:
        return f.read().splitlines()


def test_absence_is_said_by_name(scratch):
    directory = os.path.join(scratch, "absent")
    for name, what in (("minio", "no minio on PATH, and no go"), ("rgw", "not installed: ceph-common ceph-mon")):
        out, err = script(name + "-up", directory, expect=77, PATH="/none", XDG_CACHE_HOME=scratch)
        assert out == "" and err.startswith("%s: cannot be had here: %s" % (name, what)), err
        assert not os.path.exists(directory)


def test_a_program_that_only_has_the_name_is_said_to_be_none(scratch):
    """It was taken for MinIO, and each test that wanted one ended in a traceback."""
    program = os.path.join(scratch, "minio")
    for text, what in (("no program\n", "does not run: "), ("#!/bin/sh\necho mc\n", "is not MinIO: --version says 'mc'")):
        with open(program, "w", encoding="ascii") as f:
            f.write(text)
        os.chmod(program, 0o755)
        out, err = script("minio-up", "--binary", expect=77, PATH=scratch + ":/usr/bin:/bin", XDG_CACHE_HOME=scratch)
        assert out == "" and err.startswith("minio: cannot be had here: %s %s" % (program, what)), err


def test_an_old_go_is_not_asked_to_build(scratch):
    env = stub_go(scratch, "1.19.8")
    _, err = script("minio-up", "--binary", expect=77, **env)
    assert "is go1.19.8 where 1.24 is needed" in err, err
    assert not os.path.exists(env["STUB_CALLS"])


def test_minio_is_built_once(scratch):
    """Also when two ask at the same time; nothing but the program stays in the cache."""
    env = stub_go(scratch, "1.24.0")
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(script("minio-up", "--binary", **env)[0]))
               for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    binary = os.path.join(env["XDG_CACHE_HOME"], "varve/bin/minio-" + s3minio.MINIO_VERSION)
    assert answers == [binary + "\n"] * 2, answers
    assert os.stat(binary).st_mode & stat.S_IXUSR
    called, = calls(env)
    assert called.endswith(" github.com/minio/minio@" + s3minio.MINIO_VERSION), called
    left = os.listdir(os.path.dirname(binary))
    assert sorted(left) == sorted([os.path.basename(binary), "minio-build.log", "minio.lock"]), left


def test_a_failed_build_says_why(scratch):
    env = dict(stub_go(scratch, "1.26.1"), STUB_FAILS="1")
    out, err = script("minio-up", "--binary", expect=77, **env)
    assert out == "" and "no such module" in err and "downloading x" not in err, err


def test_what_does_not_start_is_a_failure_with_its_log(scratch):
    """And not a reason to skip."""
    env = stub_go(scratch, "1.24.0")
    directory = os.path.join(scratch, "d")
    out, err = script("minio-up", directory, expect=1, **env)
    assert out == "" and "minio ended with status 0" in err and "stub" in err, err
    assert not os.path.exists(os.path.join(directory, "pids"))
    assert not os.path.exists(os.path.join(directory, "server.env"))


def test_ports_are_free_and_never_ephemeral(_):
    ports = s3process.free_ports(20)
    assert len(set(ports)) == 20
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
        low = int(f.read().split()[0])
    assert low < s3process.PORT_MIN or all(p < low for p in ports), ports
    with s3process.socket.socket() as s:
        s.bind(("127.0.0.1", ports[0]))
        s.listen()
        assert not s3process.port_is_free(ports[0])
    assert s3process.port_is_free(ports[0])


if __name__ == "__main__":
    main()
