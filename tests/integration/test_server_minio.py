#!/usr/bin/env python3
"""MinIO as tests use it, and its scripts."""

import os
import re
import subprocess
import sys

import server_claims as claims
import s3servers
from varvetest import main


def test_objects(_):
    claims.objects_come_back(s3servers.shared("minio"))


def test_conditions(_):
    claims.if_none_match_lets_one_through(s3servers.shared("minio"))


def test_users(_):
    s3 = s3servers.shared("minio")
    claims.wrong_keys_and_hashes_are_refused(s3)
    claims.read_only_user_cannot_write(s3)
    bucket = s3.bucket()
    session = s3.session()
    s3.client(session).put(bucket, "k", b"data")
    del session["AWS_SESSION_TOKEN"]
    assert claims.status_of(s3.client(session).get, bucket, "k") == 403


def test_versions_and_lock(_):
    claims.versions_are_kept(s3servers.shared("minio"))
    claims.object_lock_is_there(s3servers.shared("minio"))


def test_uploads(_):
    s3 = s3servers.shared("minio")
    claims.unfinished_uploads_are_seen(s3)
    client, bucket = s3.client(), s3.bucket()
    assert s3.uploads_on_disk() == 0
    upload = client.create_upload(bucket, "k")
    assert s3.uploads_on_disk() == 1
    assert client.uploads(bucket) == [("k", upload)]
    client.empty(bucket)
    assert s3.uploads_on_disk() == 0


def test_requests_are_counted(_):
    claims.requests_are_counted(s3servers.shared("minio"), "GetObject")


def test_virtual_hosts(_):
    claims.virtual_hosts_work(s3servers.shared("minio"))


def test_tls(scratch):
    with s3servers.minio(scratch, tls=True) as s3:
        claims.tls_needs_the_ca(s3)


def test_pause(_):
    claims.pause_and_resume(s3servers.shared("minio"))


def test_outage(scratch):
    """It goes away, politely or not, and comes back on the same ports with what it had."""
    with s3servers.minio(scratch) as s3, s3servers.minio(os.path.join(scratch, "other")) as other:
        assert s3.endpoint != other.endpoint
        client, bucket = s3.client(), s3.bucket()
        client.put(bucket, "k", b"data")
        claims.stop_leaves_nothing_behind(s3)
        assert other.is_running()
        s3.start()
        assert client.get(bucket, "k") == b"data"
        client.put(bucket, "l", b"more")
        s3.kill()
        assert claims.refuses_connections(s3)
        s3.start()
        assert client.get(bucket, "l") == b"more"
        assert os.path.isdir(os.path.join(s3.data, bucket, "l"))


def test_killed_test(scratch):
    s3servers.need("minio")
    claims.dies_with_a_killed_test("minio", scratch)


def test_program_beside_a_server(_):
    """with_s3.py, which runs the C tests that want a server: environment, bucket, exit code."""
    s3servers.need("minio")
    runner = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), "with_s3.py")]
    body = 'test -n "$AWS_SECRET_ACCESS_KEY" -a -n "$S3_VERSIONED_BUCKET" && echo "$S3_URL" && exit 3'
    done = subprocess.run([*runner, "minio", "sh", "-c", body], capture_output=True, text=True, timeout=300)
    assert done.returncode == 3, done
    assert re.fullmatch(r"s3://test-\d+-1\?endpoint=http://127.0.0.1:\d+&region=us-east-1&path_style=1\n",
                        done.stdout), done
    assert subprocess.run([*runner, "none", "true"], capture_output=True).returncode == 1


def test_scripts(scratch):
    s3servers.need("minio")
    directory = os.path.join(scratch, "it's here")
    first = claims.scripts_start_and_stop("minio", directory)
    assert claims.scripts_start_and_stop("minio", directory) == first  # ports and keys are kept
    claims.scripts_know_strangers("minio", directory)
    claims.scripts_keep_off_other_directories("minio", scratch, "rgw")


if __name__ == "__main__":
    main()
