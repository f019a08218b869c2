/* Retention, trims, and deletion after the grace period. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/error.h"
#include "tests/support/support_tiering.h"

#define DAY INT64_C(86400000)

static void step_ok(struct support_tiering *r)
{
    int64_t next;
    struct varve_error err = {0};
    int rc = tiering_log_step(r->t, &next, &err);

    if (rc < 0)
        print_error("%s\n", err.msg);
    assert_int_equal(rc, 0);
}

static struct index_root root_of(struct support_tiering *r)
{
    struct index_root root;

    support_tiering_root(r, &root);
    return root;
}

/* A step, after which the log begins there. */
static void step_begins(struct support_tiering *r, int64_t start_offset)
{
    step_ok(r);
    assert_int_equal(root_of(r).start_offset, start_offset);
}

/* Appends one segment whose records are of `timestamp`, and seals it; its end. */
static int64_t segment_add(struct support_tiering *r, int64_t timestamp)
{
    assert_int_equal(support_tiering_append(r, 2000, timestamp, true, NULL), 0);
    assert_int_equal(hot_set_seal(r->hot, NULL), 0);
    return r->end;
}

static void retention_by_time_stops_at_the_first_segment_that_stays(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    int64_t now = e->clock.wall_ms, first;

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    first = segment_add(&r, now - 10 * DAY);
    segment_add(&r, now + 300 * DAY); /* an outlier far ahead holds what comes after it */
    segment_add(&r, now - 10 * DAY);
    support_tiering_run_ok(&r, false, true);
    assert_int_equal(root_of(&r).start_offset, 0);
    r.policy.retention_ms = 5 * DAY;
    tiering_log_set_policy(r.t, &r.policy);
    step_begins(&r, first);
    assert_int_equal(r.events[TIERING_TRIMMED], 1);
    step_ok(&r);
    assert_int_equal(r.events[TIERING_TRIMMED], 1);
    support_tiering_check(&r);
    support_clock_advance_ms(&e->clock, 400 * DAY);
    step_begins(&r, r.end);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void retention_is_due_when_the_oldest_comes_of_age(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    int64_t now = e->clock.wall_ms, next;

    support_tiering_init(&r, e);
    r.policy.retention_ms = 10000;
    support_tiering_open_ok(&r);
    segment_add(&r, now);
    assert_int_equal(tiering_log_step(r.t, &next, NULL), 0);
    assert_int_equal(next, now + 10001);
    support_clock_advance_ms(&e->clock, 10000);
    step_begins(&r, 0);
    support_clock_advance_ms(&e->clock, 1);
    step_begins(&r, r.end);
    support_tiering_deinit(&r);
}

static void retention_by_bytes_counts_each_byte_once(void **state)
{
    struct support_tiering r;
    uint64_t kept = 0;

    support_tiering_init(&r, *state);
    support_tiering_open_ok(&r);
    for (int i = 0; i < 10; i++)
        segment_add(&r, 1);
    support_tiering_run_ok(&r, false, false); /* all of it lies in both tiers now */
    size_t one = r.batches[0].size;
    r.policy.retention_bytes = (int64_t)(one * 4 + one / 2);
    tiering_log_set_policy(r.t, &r.policy);
    step_ok(&r);
    for (size_t i = 0; i < r.batch_count; i++)
        if (r.batches[i].base_offset >= root_of(&r).start_offset)
            kept += r.batches[i].size;
    assert_int_equal(kept, one * 5); /* at least the limit stays, and not a segment more */
    segment_add(&r, 1);              /* what is only local counts too */
    step_begins(&r, 18);
    step_ok(&r);
    assert_int_equal(root_of(&r).start_offset, 18); /* what was cut and not yet deleted does not */
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static int fail_all_puts(void *ctx, enum cold_op op, const char *key, bool after)
{
    size_t size = strlen(key);

    (void)ctx;
    return !after && op == COLD_OP_PUT && size > 4 && strcmp(key + size - 4, ".zst") == 0
               ? VARVE_E_STORE
               : 0;
}

static void retention_never_deletes_what_was_not_uploaded(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct tiering_run run = {0};

    support_tiering_init(&r, e);
    r.policy.retention_ms = 1000;
    r.policy.retention_bytes = 0;
    support_tiering_open_ok(&r);
    r.faulty.fault = fail_all_puts;
    segment_add(&r, 1);
    segment_add(&r, 1);
    assert_int_equal(tiering_log_run(r.t, &run, NULL), VARVE_E_STORE);
    support_clock_advance_ms(&e->clock, DAY);
    support_tiering_step(&r);
    assert_int_equal(root_of(&r).start_offset, 0); /* I5 */
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void retention_that_wins_deletes_what_was_not_uploaded(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct hot_range range;
    int64_t next;

    support_tiering_init(&r, e);
    r.policy.retention_bytes = 3000;
    r.policy.retention_wins = true;
    r.policy.upload_age_warn_ms = -1;
    support_tiering_open_ok(&r);
    for (int i = 0; i < 4; i++)
        segment_add(&r, 1);
    r.faulty.fault = fail_all_puts;
    assert_int_equal(tiering_log_step(r.t, &next, NULL), VARVE_E_STORE);
    hot_set_range(r.hot, &range);
    assert_int_equal(root_of(&r).start_offset, 6);
    assert_int_equal(range.floor, 6);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

/* Trims. */

static void a_trim_below_the_start_does_nothing_and_above_the_end_is_refused(void **state)
{
    struct support_tiering r;
    struct varve_error err = {0};

    support_tiering_init(&r, *state);
    support_tiering_open_ok(&r);
    segment_add(&r, 1);
    assert_int_equal(tiering_log_trim(r.t, 4, &err), VARVE_E_OUT_OF_RANGE);
    assert_non_null(strstr(err.msg, "orders/0"));
    assert_int_equal(tiering_log_trim(r.t, 0, NULL), 0);
    assert_int_equal(atomic_load(&r.faulty.root_puts), 0);
    support_tiering_deinit(&r);
}

static void a_trim_inside_the_cold_tier_keeps_the_segment_it_cuts(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct index_entry entry;
    unsigned orphans;

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    for (int i = 0; i < 4; i++)
        segment_add(&r, 1);
    support_tiering_run_ok(&r, false, true);
    assert_int_equal(tiering_log_trim(r.t, 7, NULL), 0);
    assert_int_equal(root_of(&r).start_offset, 7);
    assert_int_equal(root_of(&r).end_offset, 12);
    assert_int_equal(support_tiering_entry(&r, 6, &entry), VARVE_E_OUT_OF_RANGE);
    assert_int_equal(support_tiering_entry(&r, 7, &entry), 0);
    assert_int_equal(entry.base_offset, 6);
    support_tiering_check(&r);
    /* the objects wait for the grace period to end */
    assert_int_equal(support_tiering_objects(&r, NULL), 4);
    support_clock_advance_ms(&e->clock, 59999);
    step_ok(&r);
    assert_int_equal(support_tiering_objects(&r, NULL), 4);
    support_clock_advance_ms(&e->clock, 1);
    step_ok(&r);
    assert_int_equal(support_tiering_objects(&r, &orphans), 2);
    assert_int_equal(orphans, 0);
    assert_int_equal(root_of(&r).deleted_to, 7);
    assert_int_equal(r.events[TIERING_DELETED], 1);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void a_trim_beyond_n_moves_n_along(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct hot_range range;

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    segment_add(&r, 1);
    support_tiering_run_ok(&r, false, false);
    segment_add(&r, 1);
    segment_add(&r, 1);
    assert_int_equal(tiering_log_trim(r.t, 6, NULL), 0);
    assert_int_equal(root_of(&r).start_offset, 6);
    assert_int_equal(root_of(&r).end_offset, 6);
    hot_set_range(r.hot, &range);
    assert_int_equal(range.floor, 6); /* local segments wholly below are gone */
    support_tiering_check(&r);
    support_tiering_run_ok(&r, false, false);
    assert_int_equal(root_of(&r).end_offset, 9);
    support_tiering_check(&r);
    support_clock_advance_ms(&e->clock, 60000);
    step_ok(&r);
    assert_int_equal(support_tiering_objects(&r, NULL), 1);
    support_tiering_close(&r);
    support_tiering_open_ok(&r);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void a_trim_into_a_segment_that_is_only_local_uploads_it_whole(void **state)
{
    struct support_tiering r;
    struct index_entry entry;

    support_tiering_init(&r, *state);
    support_tiering_open_ok(&r);
    segment_add(&r, 1);
    support_tiering_run_ok(&r, false, false);
    segment_add(&r, 1);
    segment_add(&r, 1);
    assert_int_equal(tiering_log_trim(r.t, 7, NULL), 0); /* inside the third */
    support_tiering_check(&r);
    support_tiering_run_ok(&r, false, true);
    assert_int_equal(root_of(&r).start_offset, 7);
    assert_int_equal(root_of(&r).end_offset, 9);
    assert_int_equal(support_tiering_entry(&r, 7, &entry), 0);
    assert_int_equal(entry.base_offset, 6);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void a_trim_into_the_active_segment_goes_on_from_there(void **state)
{
    struct support_tiering r;

    support_tiering_init(&r, *state);
    support_tiering_open_ok(&r);
    assert_int_equal(support_tiering_append(&r, 500, 1, false, NULL), 0);
    assert_int_equal(support_tiering_append(&r, 500, 1, false, NULL), 0);
    assert_int_equal(tiering_log_trim(r.t, r.end, NULL), 0);
    assert_int_equal(root_of(&r).end_offset, r.end);
    support_tiering_check(&r);
    assert_int_equal(support_tiering_append(&r, 500, 1, false, NULL), 0);
    support_tiering_run_ok(&r, true, true);
    assert_int_equal(root_of(&r).end_offset, r.end);
    support_tiering_check(&r);
    support_tiering_close(&r);
    support_tiering_open_ok(&r);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

/* The root of an earlier trim arrives in front of the later one's, which failed for it. */
static void a_trim_is_tried_again_when_an_earlier_root_comes_in_between(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct varve_error err = {0};

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    for (int i = 0; i < 3; i++)
        segment_add(&r, 1);
    support_tiering_run_ok(&r, false, false);
    support_tiering_close(&r);
    r.faults = "put(*/root):late=1s@1";
    support_tiering_open_ok(&r);
    assert_int_equal(tiering_log_trim(r.t, 2, &err), VARVE_E_STORE);
    assert_int_equal(tiering_log_trim(r.t, 0, &err),
                     0); /* asks for the root, which is the old one */
    assert_int_equal(root_of(&r).start_offset, 0);
    support_clock_advance_ms(&e->clock, 1000);
    int rc = tiering_log_trim(r.t, 4, &err);
    if (rc < 0)
        print_error("%s\n", err.msg);
    assert_int_equal(rc, 0);
    assert_int_equal(root_of(&r).start_offset, 4);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

/* A trim that comes while the segments it cuts are being uploaded. */
struct trimmer {
    struct support_tiering *r;
    int64_t to;
};

static int trim_in_between(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct trimmer *w = ctx;
    size_t size = strlen(key);

    if (op == COLD_OP_PUT && after && w->to > 0 && strcmp(key + size - 4, ".zst") == 0) {
        int64_t to = w->to;

        w->to = 0;
        assert_int_equal(tiering_log_trim(w->r->t, to, NULL), 0);
    }
    return 0;
}

static void uploads_that_a_trim_overtakes_are_discarded(void **state)
{
    struct support_tiering r;
    struct trimmer trimmer = {.r = &r, .to = 6};
    unsigned orphans;

    support_tiering_init(&r, *state);
    support_tiering_open_ok(&r);
    for (int i = 0; i < 4; i++)
        segment_add(&r, 1);
    r.faulty.fault = trim_in_between;
    r.faulty.ctx = &trimmer;
    support_tiering_run_ok(&r, false, false);
    assert_int_equal(root_of(&r).start_offset, 6); /* I1 */
    assert_int_equal(root_of(&r).end_offset, 12);
    assert_int_equal(support_tiering_objects(&r, &orphans), 2);
    assert_int_equal(orphans, 0);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void many_objects_are_deleted_in_few_requests(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct cold_stats before, after;
    int64_t next;

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    for (int i = 0; i < 150; i++)
        segment_add(&r, 1);
    support_tiering_run_ok(&r, false, true);
    assert_int_equal(tiering_log_trim(r.t, r.end, NULL), 0);
    support_clock_advance_ms(&e->clock, 60000);
    cold_store_stats(r.store, &before);
    atomic_store(&r.faulty.root_puts, 0);
    assert_int_equal(tiering_log_step(r.t, &next, NULL), 0);
    cold_store_stats(r.store, &after);
    assert_int_equal(after.requests[COLD_OP_DELETE] - before.requests[COLD_OP_DELETE], 1);
    assert_int_equal(atomic_load(&r.faulty.root_puts), 1);
    assert_int_equal(support_tiering_objects(&r, NULL), 0);
    support_tiering_deinit(&r);
}

/* The edges. */

static void retention_of_no_time_takes_all_but_this_very_millisecond(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    int64_t now = e->clock.wall_ms, past, next;

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    past = segment_add(&r, now - 1);
    segment_add(&r, now);
    segment_add(&r, now + 5000); /* a producer whose clock is ahead */
    support_tiering_run_ok(&r, false, true);
    r.policy.retention_ms = 0;
    tiering_log_set_policy(r.t, &r.policy);
    assert_int_equal(tiering_log_step(r.t, &next, NULL), 0);
    assert_int_equal(root_of(&r).start_offset, past);
    assert_int_equal(next, now + 1);
    support_clock_advance_ms(&e->clock, 1);
    assert_int_equal(tiering_log_step(r.t, &next, NULL), 0);
    assert_int_equal(root_of(&r).start_offset, 6);
    assert_int_equal(next, now + 5001);
    support_clock_advance_ms(&e->clock, 4999);
    step_begins(&r, 6);
    support_clock_advance_ms(&e->clock, 1);
    step_begins(&r, r.end);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void retention_waits_while_the_clock_is_set_back(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    int64_t now = e->clock.wall_ms, next;

    support_tiering_init(&r, e);
    r.policy.retention_ms = 1000;
    support_tiering_open_ok(&r);
    segment_add(&r, now);
    support_tiering_run_ok(&r, false, true);
    support_clock_set_wall_ms(&e->clock, now - 10 * DAY);
    assert_int_equal(tiering_log_step(r.t, &next, NULL), 0);
    assert_true(next > now - 10 * DAY);
    assert_int_equal(root_of(&r).start_offset, 0);
    support_clock_set_wall_ms(&e->clock, now + 1001);
    step_begins(&r, r.end);
    support_tiering_deinit(&r);
}

static void records_without_a_time_are_as_old_as_their_append(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;

    support_tiering_init(&r, e);
    r.policy.retention_ms = 1000;
    support_tiering_open_ok(&r);
    segment_add(&r, -1);
    support_tiering_run_ok(&r, false, true);
    support_clock_advance_ms(&e->clock, 1000);
    step_begins(&r, 0);
    support_clock_advance_ms(&e->clock, 1);
    step_begins(&r, r.end);
    support_tiering_deinit(&r);
}

static void a_time_at_the_end_of_all_time_is_never_due(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    int64_t next;

    support_tiering_init(&r, e);
    r.policy.retention_ms = INT64_MAX;
    support_tiering_open_ok(&r);
    segment_add(&r, 0);
    segment_add(&r, INT64_MAX);
    support_tiering_run_ok(&r, false, true);
    assert_int_equal(tiering_log_step(r.t, &next, NULL), 0);
    assert_true(next > e->clock.wall_ms);
    assert_int_equal(root_of(&r).start_offset, 0);
    r.policy.retention_ms = 0;
    tiering_log_set_policy(r.t, &r.policy);
    assert_int_equal(tiering_log_step(r.t, &next, NULL), 0);
    assert_true(next > e->clock.wall_ms);
    assert_int_equal(root_of(&r).start_offset, 3);
    support_tiering_deinit(&r);
}

/* "At least the limit stays": a segment goes when what is left is the limit, to the byte. */
static void retention_by_bytes_is_exact_to_the_byte(void **state)
{
    struct support_tiering r;
    size_t one;

    support_tiering_init(&r, *state);
    support_tiering_open_ok(&r);
    for (int i = 0; i < 4; i++)
        segment_add(&r, 1);
    support_tiering_run_ok(&r, false, true);
    one = r.batches[0].size;
    r.policy.retention_bytes = (int64_t)one * 4;
    tiering_log_set_policy(r.t, &r.policy);
    step_begins(&r, 0);
    r.policy.retention_bytes = (int64_t)one * 3 + 1;
    tiering_log_set_policy(r.t, &r.policy);
    step_begins(&r, 0);
    r.policy.retention_bytes = (int64_t)one * 3;
    tiering_log_set_policy(r.t, &r.policy);
    step_begins(&r, 3);
    r.policy.retention_bytes = INT64_MAX;
    tiering_log_set_policy(r.t, &r.policy);
    step_begins(&r, 3);
    r.policy.retention_bytes = -1;
    tiering_log_set_policy(r.t, &r.policy);
    step_begins(&r, 3);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void retention_of_no_bytes_leaves_what_is_not_sealed(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    int64_t sealed;

    support_tiering_init(&r, e);
    r.policy.retention_bytes = 0;
    r.policy.retention_ms = 0;
    support_tiering_open_ok(&r);
    step_ok(&r); /* nothing is there at all */
    assert_int_equal(root_of(&r).start_offset, 0);
    sealed = segment_add(&r, 1);
    assert_int_equal(support_tiering_append(&r, 2000, 1, true, NULL), 0);
    support_clock_advance_ms(&e->clock, 1);
    support_tiering_run_ok(&r, false, true);
    step_ok(&r);
    assert_int_equal(root_of(&r).start_offset, sealed); /* the active segment stays */
    support_tiering_check(&r);
    support_tiering_run_ok(&r, true, true);
    step_ok(&r);
    assert_int_equal(root_of(&r).start_offset, r.end); /* and an empty one after it */
    step_begins(&r, r.end);
    assert_int_equal(support_tiering_append(&r, 2000, 1, true, NULL), 0);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void either_limit_is_enough(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    int64_t now = e->clock.wall_ms, next;
    size_t one;

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    segment_add(&r, now);            /* goes for the bytes */
    segment_add(&r, now - 10 * DAY); /* for its age */
    segment_add(&r, now);            /* stays for both */
    segment_add(&r, now - 10 * DAY); /* stays behind it */
    support_tiering_run_ok(&r, false, true);
    one = r.batches[0].size;
    r.policy.retention_ms = DAY;
    r.policy.retention_bytes = (int64_t)one * 3;
    tiering_log_set_policy(r.t, &r.policy);
    assert_int_equal(tiering_log_step(r.t, &next, NULL), 0);
    assert_int_equal(root_of(&r).start_offset, 6);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

/* Passes time while a root is on its way. */
static int slow_root(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct support_tiering *r = ctx;

    if (op == COLD_OP_PUT && !after && strstr(key, "/root"))
        support_clock_advance_ms(&r->e->clock, 90000);
    return 0;
}

/* The grace was over before the root was there, and readers had none (349687 of the simulation). */
static void grace_begins_when_the_root_is_there(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;

    support_tiering_init(&r, e);
    r.policy.delete_delay_ms = 60000;
    support_tiering_open_ok(&r);
    for (int i = 0; i < 4; i++)
        segment_add(&r, 1);
    support_tiering_run_ok(&r, false, true);
    r.faulty.fault = slow_root;
    r.faulty.ctx = &r;
    assert_int_equal(tiering_log_trim(r.t, 6, NULL), 0);
    r.faulty.fault = NULL;
    step_ok(&r);
    assert_int_equal(support_tiering_objects(&r, NULL), 4);
    support_clock_advance_ms(&e->clock, 59999);
    step_ok(&r);
    assert_int_equal(support_tiering_objects(&r, NULL), 4);
    support_clock_advance_ms(&e->clock, 1);
    step_ok(&r);
    assert_int_equal(support_tiering_objects(&r, NULL), 2);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

/* What was cut off went at once when its grace was the longest there is. */
static void a_grace_without_end_deletes_nothing(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    int64_t next;

    support_tiering_init(&r, e);
    r.policy.delete_delay_ms = INT64_MAX;
    support_tiering_open_ok(&r);
    for (int i = 0; i < 4; i++)
        segment_add(&r, 1);
    support_tiering_run_ok(&r, false, true);
    assert_int_equal(tiering_log_trim(r.t, 6, NULL), 0);
    assert_int_equal(tiering_log_step(r.t, &next, NULL), 0);
    assert_true(next > e->clock.wall_ms);
    assert_int_equal(root_of(&r).deleted_to, 0);
    assert_int_equal(support_tiering_objects(&r, NULL), 4);
    support_clock_advance_ms(&e->clock, 1000 * DAY);
    step_ok(&r);
    assert_int_equal(support_tiering_objects(&r, NULL), 4);
    support_tiering_deinit(&r);
}

/* It was due at once, again and again: the step never rested. */
static void local_retention_without_end_is_never_due(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct hot_range range;
    int64_t next;

    support_tiering_init(&r, e);
    r.policy.local_retention_bytes = -1;
    r.policy.local_retention_ms = INT64_MAX;
    support_tiering_open_ok(&r);
    segment_add(&r, 1);
    support_tiering_run_ok(&r, false, false);
    assert_int_equal(tiering_log_step(r.t, &next, NULL), 0);
    assert_true(next > e->clock.wall_ms);
    hot_set_range(r.hot, &range);
    assert_int_equal(range.floor, 0);
    support_tiering_deinit(&r);
}

static void local_retention_is_exact_too(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct hot_range range;
    int64_t next, now = e->clock.wall_ms;

    support_tiering_init(&r, e);
    r.policy.local_retention_bytes = -1;
    r.policy.local_retention_ms = 1000;
    support_tiering_open_ok(&r);
    segment_add(&r, now - 10 * DAY); /* the time of the append counts */
    segment_add(&r, now);
    support_tiering_run_ok(&r, false, false);
    assert_int_equal(tiering_log_step(r.t, &next, NULL), 0);
    assert_int_equal(next, now + 1000);
    support_clock_advance_ms(&e->clock, 999);
    step_ok(&r);
    hot_set_range(r.hot, &range);
    assert_int_equal(range.floor, 0);
    r.policy.local_retention_ms = -1;
    r.policy.local_retention_bytes = (int64_t)r.batches[0].size + 1;
    tiering_log_set_policy(r.t, &r.policy);
    step_ok(&r);
    hot_set_range(r.hot, &range);
    assert_int_equal(range.floor, 0);
    r.policy.local_retention_bytes--;
    tiering_log_set_policy(r.t, &r.policy);
    step_ok(&r);
    hot_set_range(r.hot, &range);
    assert_int_equal(range.floor, 3);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(retention_by_time_stops_at_the_first_segment_that_stays),
        support_env_test(retention_is_due_when_the_oldest_comes_of_age),
        support_env_test(retention_by_bytes_counts_each_byte_once),
        support_env_test(retention_never_deletes_what_was_not_uploaded),
        support_env_test(retention_that_wins_deletes_what_was_not_uploaded),
        support_env_test(a_trim_below_the_start_does_nothing_and_above_the_end_is_refused),
        support_env_test(a_trim_inside_the_cold_tier_keeps_the_segment_it_cuts),
        support_env_test(a_trim_beyond_n_moves_n_along),
        support_env_test(a_trim_into_a_segment_that_is_only_local_uploads_it_whole),
        support_env_test(a_trim_into_the_active_segment_goes_on_from_there),
        support_env_test(a_trim_is_tried_again_when_an_earlier_root_comes_in_between),
        support_env_test(uploads_that_a_trim_overtakes_are_discarded),
        support_env_test(many_objects_are_deleted_in_few_requests),
        support_env_test(retention_of_no_time_takes_all_but_this_very_millisecond),
        support_env_test(retention_waits_while_the_clock_is_set_back),
        support_env_test(records_without_a_time_are_as_old_as_their_append),
        support_env_test(a_time_at_the_end_of_all_time_is_never_due),
        support_env_test(retention_by_bytes_is_exact_to_the_byte),
        support_env_test(retention_of_no_bytes_leaves_what_is_not_sealed),
        support_env_test(either_limit_is_enough),
        support_env_test(grace_begins_when_the_root_is_there),
        support_env_test(a_grace_without_end_deletes_nothing),
        support_env_test(local_retention_without_end_is_never_due),
        support_env_test(local_retention_is_exact_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
