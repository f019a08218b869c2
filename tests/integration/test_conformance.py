#!/usr/bin/env python3
"""The conformance suite of cold/store.h (tests/unit/test_cold_conformance.c) over real servers, plain and made to fail."""

import os
import re
import subprocess

import fakes3client
import s3servers
from varvetest import ROOT, Skip, main

CONFORMANCE = os.environ.setdefault("CONFORMANCE", os.path.join(ROOT, "build/tests/unit/test_cold_conformance"))
os.environ.setdefault("VARVE_PLUGIN_DIR", os.path.join(ROOT, "build/cold/libs3"))

# What a caller gets through that repeats retriable failures and finds out what lost replies have left in doubt.
FAULTS = ("seed=11&faults=all:delay=0-1@1/8,all:error@1/12,put+complete:conflict@1/12,get:cut@1/8,"
          "all:lost@1/12,put+complete+delete:lost@1/4")


def faulty(url):
    return "faulty+%s&%s" % (url, FAULTS)


def conform(env, url, skipped=()):
    """Runs the suite; only what the driver's caps deny may be skipped."""
    plain = url[len("faulty+"):-len("&" + FAULTS)] if url.startswith("faulty+") else url
    done = subprocess.run([CONFORMANCE], timeout=540, env=dict(os.environ, **env, VARVE_TEST_COLD_URL=url,
                                                               VARVE_TEST_COLD_PROBE_URL=plain),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode(errors="replace")
    missing = re.search(r"unknown scheme '\w+'|the driver cannot be loaded", text)
    if missing:
        raise Skip("this build has no such driver: " + missing.group())
    assert done.returncode == 0, text
    found = set(re.findall(r"\[  SKIPPED \] (\w+)$", text, re.M))
    assert found == set(skipped), (found, text)


# What is not asked of a driver, and why.
ALWAYS_WELL = {"a_condition_that_a_store_cannot_keep_is_unsupported"}  # it keeps them
FAULTY = {"requests_and_bytes_are_counted"}  # there are more requests than calls
NO_COMPLETE = {"a_conditional_complete_loses_to_an_object", "of_racing_completes_exactly_one_wins"}
NO_CONDITIONS = NO_COMPLETE | {"if_absent_and_if_match_decide", "of_racing_threads_exactly_one_wins",
                               "racing_processes_lose_no_update_and_win_once", "requests_and_bytes_are_counted"}
UNFENCED = NO_CONDITIONS - {"if_absent_and_if_match_decide"} | ALWAYS_WELL


def libs3(s3, bucket, prefix, more=""):
    return "libs3://%s/%s?endpoint=%s&path_style=1%s" % (bucket, prefix, s3.endpoint, more)


def test_s3_on_minio(_):
    s3 = s3servers.shared("minio")
    conform(s3.env, s3.url(s3.bucket(), "conformance"), ALWAYS_WELL)


def test_s3_on_minio_through_faults(_):
    s3 = s3servers.shared("minio")
    conform(s3.env, faulty(s3.url(s3.bucket(), "conformance")), ALWAYS_WELL | FAULTY)


def on_the_fake(change):
    """The fake has conditions on everything, as AWS has."""
    with fakes3client.Server("--bucket", "conformance") as server:
        keys = server.client()
        env = {"AWS_ACCESS_KEY_ID": keys.key, "AWS_SECRET_ACCESS_KEY": keys.secret, "AWS_REGION": keys.region}
        url = "s3://conformance/test?endpoint=http://127.0.0.1:%d&region=%s&path_style=1" % (server.port, keys.region)
        conform(env, change(url), ALWAYS_WELL | (FAULTY if change is faulty else set()))


def test_s3_on_the_fake(_):
    on_the_fake(str)


def test_s3_on_the_fake_through_faults(_):
    on_the_fake(faulty)


def test_s3_on_rgw(_):
    s3 = s3servers.shared("rgw")
    conform(s3.env, s3.url(s3.bucket(), "conformance"), ALWAYS_WELL | NO_COMPLETE)


def test_s3_on_rgw_through_faults(_):
    s3 = s3servers.shared("rgw")
    conform(s3.env, faulty(s3.url(s3.bucket(), "conformance")), ALWAYS_WELL | NO_COMPLETE | FAULTY)


def test_libs3_on_rgw(_):
    s3 = s3servers.shared("rgw")
    conform(s3.env, libs3(s3, s3.bucket(), "con/formance"), NO_CONDITIONS)


def test_libs3_on_rgw_without_fencing(_):
    s3 = s3servers.shared("rgw")
    conform(s3.env, libs3(s3, s3.bucket(), "conformance", "&fencing=none"), UNFENCED)


def test_libs3_on_rgw_through_faults(_):
    s3 = s3servers.shared("rgw")
    conform(s3.env, faulty(libs3(s3, s3.bucket(), "conformance", "&fencing=none")), UNFENCED)


if __name__ == "__main__":
    main()
