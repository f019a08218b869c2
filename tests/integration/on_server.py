#!/usr/bin/env python3
"""What the embedded default is tested with, on a real S3 server: on_server.py minio|rgw [SCRIPT.TEST...]

The same functions as in the scripts that are named here, with buckets as their cold tiers (coldtier.py) and one server
for all of them. Each script says which variables make it do more: `VARVE_OUTAGE_SECONDS=120 on_server.py minio
test_outage.test_appends_go_on_while_the_cold_tier_is_away`. VARVE_KILLS, VARVE_UPLOAD_KILLS and VARVE_RACES say how many (8, 6 and 5 unless set); VARVE_QUICK= (empty)
does as many reads and rounds as on a directory.
"""

import os
import sys

os.environ.setdefault("VARVE_QUICK", "1")
os.environ.setdefault("VARVE_KILLS", "8")
os.environ.setdefault("VARVE_RACES", "5")
os.environ.setdefault("VARVE_OUTAGE_BYTES", "20e6")

import coldtier  # noqa: E402
import s3servers  # noqa: E402
import test_follow  # noqa: E402
import test_kill9  # noqa: E402
import test_lost  # noqa: E402
import test_outage  # noqa: E402
import test_owner  # noqa: E402
import test_random_reads  # noqa: E402
import test_tiers  # noqa: E402
import test_upload_kill  # noqa: E402
from varvetest import run_tests  # noqa: E402

# What is about the files of the dir driver, or does not touch the cold tier.
NOT_HERE = {
    test_tiers: {"test_a_cold_tier_elsewhere_holds_the_objects", "test_a_random_cold_read_is_one_read_of_the_object_by_strace",
                 "test_options_are_shown_and_changed"},
    test_random_reads: set(),
    test_follow: {name for name in vars(test_follow) if name != "test_a_follower_sees_every_record_once_in_order"},
    test_kill9: {"test_no_offset_is_printed_before_the_sync_that_covers_it"},
    test_outage: set(),
    test_lost: {"test_a_tenth_of_all_replies_lost_on_the_wire"},
    test_upload_kill: {"test_a_limit_of_20_MB_a_second_holds_within_5_percent",
                       "test_a_damaged_journal_costs_nothing_but_the_resumption"},
    test_owner: {"test_a_holder_whose_store_is_away_blocks_and_goes_on", "test_settings_of_a_store_are_shown_and_changed"},
}


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in s3servers.SERVERS:
        sys.exit(__doc__)
    tests = {"%s.%s" % (module.__name__, name): function for module, left_out in NOT_HERE.items()
             for name, function in vars(module).items() if name.startswith("test_") and name not in left_out}
    wanted = sys.argv[2:] or tests
    run_tests({"%s on %s" % (name, sys.argv[1]): on(sys.argv[1], tests[name]) for name in wanted})


def on(name, function):
    def test(d):
        coldtier.use(s3servers.shared(name))
        function(d)

    return test


if __name__ == "__main__":
    main()
