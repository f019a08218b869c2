#!/usr/bin/env python3
"""That the tiny run (varvetest.py) really makes tiny segments, objects and evictions, and the ordinary run does not."""

import varvetest
from make_log import make
from varvetest import *


def tiers(d, tiny, *options):
    """What `ls` says of a log made in a tiny run or in an ordinary one, by one append alone; without the list of segments."""
    store, before = os.path.join(d, "tiny" if tiny else "ordinary"), varvetest.TINY
    varvetest.TINY = tiny
    try:
        silent("init", store)
        silent("append", store, "a", *options, stdin=make("apache", 2000))
        assert read(store, "a") == make("apache", 2000)
    finally:
        varvetest.TINY = before
    return {key: value for key, value in ls(store, "a").items() if not isinstance(value, list)}


def test_a_log_is_one_hot_segment_and_in_a_tiny_run_many_cold_ones(d):
    info, tiny = tiers(d, False), tiers(d, True)
    assert (info["hot_segments"], info["cold_segments"]) == (1, 0), info
    assert tiny["hot_segments"] == 1 and tiny["cold_segments"] >= 20, tiny  # the active one, and all others
    assert tiny["hot_start"] == tiny["cold_end"] > 0, tiny  # nothing is in both
    print("segments, objects: %d, 0 in an ordinary run; %d, %d in a tiny one" % (
        info["hot_segments"], tiny["hot_segments"] + tiny["cold_segments"], len(objects(os.path.join(d, "tiny")))))


def test_what_a_test_has_chosen_stays_in_a_tiny_run(d):
    info = tiers(d, True, "-o", "segment.bytes=64KiB", *LOCAL)
    assert info["cold_segments"] < 10 and info["hot_start"] == 0, info
    config = json.loads(run("config", os.path.join(d, "tiny"), "a", "--json")[0])
    assert config["segment.bytes"]["value"] == "65536" and config["local.retention.bytes"]["value"] == "-1", config
    assert config["cold.block.bytes"]["value"] == "4096", config


def test_a_log_that_is_there_already_is_appended_to_as_it_is(d):
    store = os.path.join(d, "tiny")
    tiers(d, True, "-o", "segment.bytes=64KiB")
    before, varvetest.TINY = varvetest.TINY, True
    try:
        silent("append", store, "a", stdin=b"more\n")
        silent("append", store, "a", "-o", "segment.bytes=64KiB", stdin=b"more\n")
    finally:
        varvetest.TINY = before
    assert read(store, "a").endswith(b"more\nmore\n")


def test_this_run_is_tiny(d):
    if not TINY:
        raise Skip("it is the ordinary run")


if __name__ == "__main__":
    main()
