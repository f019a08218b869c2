#!/usr/bin/env python3
"""Ceph RGW as tests use it, and its scripts."""

import os

import server_claims as claims
import s3servers
from varvetest import main


def test_objects(_):
    claims.objects_come_back(s3servers.shared("rgw"))


def test_conditions(_):
    claims.if_none_match_lets_one_through(s3servers.shared("rgw"))


def test_users(_):
    claims.wrong_keys_and_hashes_are_refused(s3servers.shared("rgw"))
    claims.read_only_user_cannot_write(s3servers.shared("rgw"))


def test_versions_and_lock(_):
    claims.versions_are_kept(s3servers.shared("rgw"))
    claims.object_lock_is_there(s3servers.shared("rgw"))


def test_uploads(_):
    claims.unfinished_uploads_are_seen(s3servers.shared("rgw"))


def test_requests_are_counted(_):
    claims.requests_are_counted(s3servers.shared("rgw"), "GET")


def test_tls_and_virtual_hosts(_):
    claims.virtual_hosts_work(s3servers.shared("rgw"))
    claims.tls_needs_the_ca(s3servers.shared("rgw"))


def test_pause(_):
    claims.pause_and_resume(s3servers.shared("rgw"))


def test_stop_and_a_new_start(scratch):
    """What was in it is gone; the ports are the same."""
    with s3servers.rgw(scratch) as s3:
        bucket = s3.bucket()
        claims.stop_leaves_nothing_behind(s3)
        s3.start()
        assert bucket not in s3.client().buckets()
        s3.kill()
        assert claims.refuses_connections(s3)


def test_killed_test(scratch):
    s3servers.need("rgw")
    claims.dies_with_a_killed_test("rgw", scratch)


def test_scripts(scratch):
    s3servers.need("rgw")
    directory = os.path.join(scratch, "it's here")
    claims.scripts_start_and_stop("rgw", directory)
    claims.scripts_know_strangers("rgw", directory)
    claims.scripts_keep_off_other_directories("rgw", scratch, "minio")


if __name__ == "__main__":
    main()
