"""What tests rely on in a real server and in the harness around it, whichever server it is.

test_server_minio.py and test_server_rgw.py make these claims of theirs.
"""

import os
import select
import signal
import ssl
import subprocess
import sys

import varvetest
from s3client import Client, S3Error
from s3servers import s3process


def status_of(call, *args, **kwargs):
    """Returns the HTTP status of an S3Error that must come."""
    try:
        call(*args, **kwargs)
    except S3Error as e:
        return e.status
    raise AssertionError("%s%r was let through" % (call.__name__, args))


def gone(pids):
    """Whether none of these processes exists any more."""
    return all(s3process.process_start(pid) is None for pid in pids)


def refuses_connections(s3):
    return s3process.http_status(s3.endpoint + "/", s3.ca_file) is None


def objects_come_back(s3):
    """A bucket; put, list in pages, get, ranges, head, delete; keys that need quoting."""
    client, bucket = s3.client(), s3.bucket()
    assert bucket in client.buckets()
    keys = ["a/b c+d=e&f", "a/\N{LATIN SMALL LETTER E WITH ACUTE}/~x", "a/logs/orders/0/@/root", "z"]
    for n, key in enumerate(keys):
        client.put(bucket, key, b"0123456789" * n)
    assert client.keys(bucket) == sorted(keys, key=str.encode)
    assert client.keys(bucket, "a/") == sorted(keys[:3], key=str.encode)
    assert [o.size for o in client.list(bucket, page_size=1)] == [10 * keys.index(k) for k in client.keys(bucket)]
    assert client.get(bucket, keys[3]) == b"0123456789" * 3
    assert client.get(bucket, keys[3], 5, 11) == b"5678901"
    assert client.head(bucket, keys[1])["content-length"] == "10"
    assert client.head(bucket, "none") is None
    assert status_of(client.get, bucket, "none") == 404
    client.delete(bucket, keys[0])
    assert client.keys(bucket, "a/b") == []
    client.empty(bucket)
    client.delete_bucket(bucket)
    assert bucket not in client.buckets()


def if_none_match_lets_one_through(s3):
    client, bucket = s3.client(), s3.bucket()
    once = {"if-none-match": "*"}
    etag = client.put(bucket, "root", b"first", once)
    assert status_of(client.put, bucket, "root", b"second", once) == 412
    assert client.get(bucket, "root") == b"first"
    assert client.list(bucket)[0].etag.strip('"') == etag.strip('"')


def wrong_keys_and_hashes_are_refused(s3):
    bucket = s3.bucket()
    wrong = dict(s3.env, AWS_SECRET_ACCESS_KEY="wrong")
    assert status_of(s3.client(wrong).keys, bucket) == 403
    assert status_of(Client(s3.endpoint, "NOBODY", "nothing", ca_file=s3.ca_file).keys, bucket) == 403
    client = s3.client()
    sign = client.sign
    # The hash of other bytes than those that are sent.
    client.sign = lambda method, path, query, headers, body, service: sign(method, path, query, headers, b"x", service)
    assert status_of(client.put, bucket, "k", b"y") in (400, 403)
    assert s3.client().keys(bucket) == []


def read_only_user_cannot_write(s3):
    bucket = s3.bucket()
    s3.client().put(bucket, "k", b"data")
    reader = s3.client(s3.read_only())
    assert reader.get(bucket, "k") == b"data"
    assert reader.keys(bucket) == ["k"]
    assert status_of(reader.put, bucket, "k", b"other") == 403
    assert status_of(reader.delete, bucket, "k") == 403
    assert s3.client().get(bucket, "k") == b"data"
    s3.read_only()  # and again: the same one


def versions_are_kept(s3):
    client, bucket = s3.client(), s3.bucket(versioned=True)
    assert client.versioning(bucket) == "Enabled"
    client.put(bucket, "k", b"1")
    client.put(bucket, "k", b"2")
    client.delete(bucket, "k")
    assert client.keys(bucket) == []
    found = client.versions(bucket)
    assert [v.deleted for v in found] == [True, False, False] and found[0].latest, found
    client.empty(bucket)
    assert client.versions(bucket) == []
    assert client.versioning(s3.bucket()) == ""


def object_lock_is_there(s3):
    client, bucket = s3.client(), s3.bucket(object_lock=True)
    answer = client.must("GET", bucket, query={"object-lock": ""})
    assert answer.text("ObjectLockEnabled") == "Enabled", answer.body
    assert client.versioning(bucket) == "Enabled"


def unfinished_uploads_are_seen(s3):
    client, bucket = s3.client(), s3.bucket()
    upload = client.create_upload(bucket, "big/one")
    etag = client.upload_part(bucket, "big/one", upload, 1, bytes(5 << 20))
    assert client.parts(bucket, "big/one", upload) == [(1, 5 << 20)] and etag
    assert [tuple(u) for u in client.uploads(bucket, "big/one")] == [("big/one", upload)]
    assert client.keys(bucket) == []
    client.abort_upload(bucket, "big/one", upload)
    assert client.uploads(bucket, "big/one") == []


def requests_are_counted(s3, get_name):
    client, bucket = s3.client(), s3.bucket()
    client.put(bucket, "k", b"data")
    before = s3.request_counts()
    for _ in range(3):
        client.get(bucket, "k")
    after = s3.request_counts()
    assert after.get(get_name, 0) - before.get(get_name, 0) == 3, (before, after)


def tls_needs_the_ca(s3):
    client, bucket = s3.client(tls=True), s3.bucket()
    client.put(bucket, "k", b"data")
    assert s3.client(tls=True, vhost=True).get(bucket, "k") == b"data"
    stranger = Client(s3.tls_endpoint, s3.env["AWS_ACCESS_KEY_ID"], s3.env["AWS_SECRET_ACCESS_KEY"])
    try:
        stranger.get(bucket, "k")
    except ssl.SSLCertVerificationError:
        return
    raise AssertionError("a server whose CA nobody knows was trusted")


def virtual_hosts_work(s3):
    bucket = s3.bucket()
    s3.client(vhost=True).put(bucket, "a/k", b"data")
    assert s3.client().get(bucket, "a/k") == b"data"
    assert s3.client(vhost=True).keys(bucket) == ["a/k"]


def pause_and_resume(s3):
    """A paused server answers nothing, and is the same afterwards."""
    client, bucket = s3.client(), s3.bucket()
    s3.pause()
    try:
        client.request("GET", bucket, timeout=0.5)
    except TimeoutError:
        pass
    else:
        raise AssertionError("a paused server answered")
    finally:
        s3.resume()
    assert client.keys(bucket) == []


def stop_leaves_nothing_behind(s3):
    pids = s3.pids()
    assert pids and not gone(pids) and s3.is_running()
    s3.stop()
    assert gone(pids) and not s3.is_running() and s3.pids() == []
    assert refuses_connections(s3)
    s3.stop()  # and again: nothing to do


def dies_with_a_killed_test(name, scratch):
    """kill -9 of a test that has a server leaves no server."""
    code = ("import sys, s3servers\n"
            "with s3servers.SERVERS[sys.argv[1]](sys.argv[2]) as s3:\n"
            "    print(*s3.pids(), flush=True)\n"
            "    sys.stdin.read()\n")
    child = subprocess.Popen([sys.executable, "-c", code, name, scratch], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, cwd=os.path.dirname(os.path.abspath(__file__)))
    try:
        pids = [int(word) for word in child.stdout.readline().split()]
        assert pids and not gone(pids), pids
        waiting = [os.pidfd_open(pid) for pid in pids]
        child.send_signal(signal.SIGKILL)
        for fd in waiting:
            assert select.select([fd], [], [], 20)[0], "a server outlived its test"
            os.close(fd)
        assert gone(pids)
    finally:
        child.kill()
        child.communicate()


def script(name, *args, expect=0, **env):
    """Runs one of tools/servers, with these variables in its environment; returns (stdout, stderr)."""
    done = subprocess.run([sys.executable, os.path.join(varvetest.ROOT, "tools/servers", name), *args],
                          env=dict(os.environ, **env), capture_output=True, text=True, timeout=600)
    assert done.returncode == expect, (name, done.returncode, done.stdout, done.stderr)
    return done.stdout, done.stderr


def scripts_start_and_stop(name, directory):
    """NAME-up DIR prints what a shell can source, twice the same; NAME-down DIR stops it, twice."""
    out, _ = script(name + "-up", directory)
    try:
        shell = 'set -eu; eval "$1"; echo "$S3_SERVER:$S3_PID_FILE:$S3_ENDPOINT"'
        seen = subprocess.run(["sh", "-c", shell, "sh", out], capture_output=True, text=True, check=True).stdout
        before, _, endpoint = seen.strip().partition("/pids:")
        assert before == "%s:%s" % (name, directory), seen
        assert s3process.http_status(endpoint + "/") in (200, 403), seen
        assert os.stat(os.path.join(directory, "server.env")).st_mode & 0o077 == 0
        again, _ = script(name + "-up", directory, "--export")
        assert again == "".join("export %s\n" % line for line in out.splitlines()), (out, again)
        with open(os.path.join(directory, "pids"), encoding="utf-8") as f:
            pids = [int(line.split()[0]) for line in f]
        assert pids and not gone(pids)
    finally:
        script(name + "-down", directory)
    assert gone(pids)
    script(name + "-down", directory)
    script(name + "-down", os.path.join(directory, "none"))
    return out


def scripts_keep_off_other_directories(name, directory, other):
    """One that somebody else uses, be it another server, is neither taken nor touched."""
    theirs = os.path.join(directory, "theirs")
    os.makedirs(os.path.join(theirs, "log"))
    _, err = script(name + "-up", theirs, expect=1)
    assert "is not empty" in err, err
    script(name + "-down", theirs)
    assert os.listdir(theirs) == ["log"]
    with open(os.path.join(theirs, "s3server"), "w", encoding="utf-8") as f:
        f.write(other + "\n")
    for command in ("-up", "-down"):
        _, err = script(name + command, theirs, expect=1)
        assert "is the directory of a server '%s'" % other in err, err
    assert sorted(os.listdir(theirs)) == ["log", "s3server"]


def scripts_know_strangers(name, directory):
    """A pid that has been given to another process since is left alone."""
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        with open(os.path.join(directory, "pids"), "w", encoding="utf-8") as f:
            f.write("%d %d sleep\n" % (stranger.pid, s3process.process_start(stranger.pid) - 1))
        script(name + "-down", directory)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
