/* Uploading, committing and evicting: what is sealed reaches the bucket, in one root write, whole.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/thread.h"
#include "index/fold.h"
#include "tests/support/file.h"
#include "tests/support/support_tiering.h"

static int64_t committed(struct support_tiering *r)
{
    struct index_root root;

    support_tiering_root(r, &root);
    return root.end_offset;
}

static void round_trip(struct support_env *e, unsigned threads)
{
    struct support_tiering r;
    struct tiering_run run = {.seal = true, .evict = true};
    struct hot_range range;
    struct cold_stats stats;

    support_tiering_init(&r, e);
    r.threads = threads;
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 5);
    assert_int_equal(tiering_log_run(r.t, &run, NULL), 0);
    assert_true(run.uploaded_segments >= 5);
    assert_int_equal(run.evicted_segments, run.uploaded_segments);
    assert_int_equal(run.uploaded_bytes, r.bytes.size);
    assert_int_equal(run.evicted_bytes, r.bytes.size);
    assert_true(run.stored_bytes > 0);
    assert_int_equal(committed(&r), r.end);
    hot_set_range(r.hot, &range);
    assert_int_equal(range.bytes, 0);
    assert_int_equal(range.floor, r.end);
    support_tiering_check(&r);
    assert_int_equal(r.events[TIERING_UPLOADED], run.uploaded_segments);
    assert_int_equal(r.events[TIERING_SEALED], run.uploaded_segments);
    assert_int_equal(r.events[TIERING_EVICTED], run.uploaded_segments);
    cold_store_stats(r.store, &stats);
    /* one put a segment and one of the root; nothing was asked afterwards (I2) */
    assert_int_equal(stats.requests[COLD_OP_PUT], run.uploaded_segments + 1);
    assert_int_equal(stats.requests[COLD_OP_HEAD], 0);
    support_tiering_close(&r);
    support_tiering_open_ok(&r);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void what_is_appended_is_read_back_from_the_cold_tier(void **state)
{
    round_trip(*state, 0);
}

static void what_is_appended_is_read_back_with_worker_threads(void **state)
{
    round_trip(*state, 2);
}

static void a_reader_finds_everything_in_the_cold_tier_without_fetching_a_table(void **state)
{
    struct support_tiering r;
    struct cold_reader *reader;
    struct cold_source source = {.log_name = "orders/0"};
    struct cold_fetch_stats stats;
    struct index_root root;
    size_t seen = 0;
    int rc;

    support_tiering_init(&r, *state);
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 3);
    support_tiering_run_ok(&r, true, true);
    support_tiering_root(&r, &root);
    source.log_id = root.log_id;
    assert_int_equal(cold_reader_new(r.fetch, r.manifest, &source, &reader, NULL), 0);
    assert_int_equal(cold_reader_seek(reader, 0, NULL), 0);
    for (;;) {
        struct record_batch batch;
        const void *data;

        rc = cold_reader_next(reader, INT64_MAX, &data, &batch, NULL);
        if (rc < 0)
            break;
        assert_true(seen < r.batch_count);
        assert_int_equal(batch.size, r.batches[seen].size);
        assert_memory_equal(data, r.bytes.data + r.batches[seen].pos, batch.size);
        seen++;
    }
    assert_int_equal(rc, VARVE_E_END);
    assert_int_equal(seen, r.batch_count);
    cold_fetch_stats(r.fetch, &stats);
    assert_int_equal(stats.table_fetches, 0);
    cold_reader_free(reader);
    support_tiering_deinit(&r);
}

static void many_segments_are_committed_in_one_root_write(void **state)
{
    struct support_tiering r;

    support_tiering_init(&r, *state);
    r.threads = 2;
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 60);
    r.faulty.root_puts = 0;
    assert_int_equal(support_tiering_step(&r), 0);
    assert_int_equal(r.faulty.root_puts, 1);
    assert_int_equal(r.events[TIERING_UPLOADED], 60);
    support_tiering_fill(&r, 70);
    r.faulty.root_puts = 0;
    support_tiering_run_ok(&r, false, false);
    assert_int_equal(r.faulty.root_puts, 2); /* at most 64 a write */
    assert_int_equal(r.events[TIERING_UPLOADED], 130);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

/* Holds the fifth object until a root is written; time goes by until then. */
struct holding {
    struct support_tiering *r;
    atomic_uint objects;
    atomic_bool seen; /* the root was written while the object was on its way */
};

static int hold_the_fifth(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct holding *h = ctx;
    const atomic_int *root_puts = &h->r->faulty.root_puts;
    unsigned n;

    (void)key;
    if (after || op != COLD_OP_PUT || atomic_load(root_puts) > 0)
        return 0;
    n = atomic_fetch_add(&h->objects, 1) + 1;
    if (n >= 5)
        support_clock_advance_ms(&h->r->e->clock, 1000);
    for (unsigned ms = 0; n == 5 && ms < 10000 && !atomic_load(root_puts); ms++)
        base_clock_system.sleep_ns(base_clock_system.ctx, 1000000);
    if (n == 5)
        atomic_store(&h->seen, atomic_load(root_puts) > 0);
    return 0;
}

static void what_is_stored_is_committed_while_more_is_sent(void **state)
{
    struct support_tiering r;
    struct holding h = {.r = &r};

    support_tiering_init(&r, *state);
    r.threads = 2;
    r.remote = true;
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 14);
    r.faulty.root_puts = 0;
    r.faulty.fault = hold_the_fifth;
    r.faulty.ctx = &h;
    assert_int_equal(support_tiering_step(&r), 0);
    assert_true(h.seen);
    assert_int_equal(r.faulty.root_puts, 2); /* and that of the batch's end */
    assert_int_equal(r.events[TIERING_UPLOADED], 14);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void the_active_segment_is_not_uploaded(void **state)
{
    struct support_tiering r;

    support_tiering_init(&r, *state);
    support_tiering_open_ok(&r);
    assert_int_equal(support_tiering_append(&r, 100, 1, false, NULL), 0);
    support_tiering_run_ok(&r, false, false);
    assert_int_equal(committed(&r), 0);
    assert_int_equal(r.faulty.root_puts, 0);
    support_tiering_run_ok(&r, true, false);
    assert_int_equal(committed(&r), r.end);
    support_tiering_deinit(&r);
}

static void large_segments_go_by_multipart(struct support_env *e, unsigned threads)
{
    struct support_tiering r;
    struct cold_stats stats;

    support_tiering_init(&r, e);
    r.threads = threads;
    r.hot_options.segment_bytes = 13 * 1024 * 1024;
    r.policy.block_bytes = 1024 * 1024;
    support_tiering_open_ok(&r);
    while (r.bytes.size < 12u * 1024 * 1024)
        assert_int_equal(support_tiering_append(&r, 60000, 7, true, NULL), 0);
    support_tiering_run_ok(&r, true, true);
    cold_store_stats(r.store, &stats);
    assert_int_equal(stats.requests[COLD_OP_PART], 3);
    assert_int_equal(committed(&r), r.end);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void a_large_segment_goes_by_multipart(void **state)
{
    large_segments_go_by_multipart(*state, 0);
}

static void a_large_segment_goes_by_multipart_with_threads(void **state)
{
    large_segments_go_by_multipart(*state, 2);
}

static void a_batch_larger_than_a_block_is_a_block_of_its_own(void **state)
{
    struct support_tiering r;
    struct index_entry entry;
    struct cold_source source = {.log_name = "orders/0"};
    struct cold_table *table;
    struct index_root root;

    support_tiering_init(&r, *state);
    r.threads = 2;
    r.hot_options.segment_bytes = 1024 * 1024;
    support_tiering_open_ok(&r);
    assert_int_equal(support_tiering_append(&r, 200, 5, true, NULL), 0);
    assert_int_equal(support_tiering_append(&r, 300000, 9, true, NULL), 0);
    assert_int_equal(support_tiering_append(&r, 200, 3, true, NULL), 0);
    support_tiering_run_ok(&r, true, true);
    support_tiering_check(&r);
    support_tiering_root(&r, &root);
    source.log_id = root.log_id;
    assert_int_equal(support_tiering_entry(&r, 0, &entry), 0);
    assert_int_equal(entry.max_timestamp, 9);
    assert_int_equal(entry.first_timestamp, 5);
    assert_int_equal(cold_fetch_table(r.fetch, &source, &entry, &table, NULL), 0);
    assert_int_equal(cold_table_view(table)->block_count, 3);
    cold_table_unref(table);
    support_tiering_deinit(&r);
}

/* A store that fails: nothing is skipped (I4). */

struct failing {
    int code;
    unsigned left; /* puts of segments that still fail */
    bool after;
    char of[24]; /* only keys with this in them */
};

static bool is_segment(const char *key)
{
    size_t size = strlen(key);

    return size > 4 && strcmp(key + size - 4, ".zst") == 0;
}

static int fail_segment_puts(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct failing *f = ctx;

    if (op != COLD_OP_PUT || !is_segment(key) || f->after != after || f->left == 0)
        return 0;
    if (!strstr(key, f->of))
        return 0;
    f->left--;
    return f->code;
}

static void a_failed_upload_is_tried_again_and_nothing_is_skipped(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct failing failing = {.code = VARVE_E_STORE, .left = 3};
    struct tiering_status status;
    int64_t next = 0;

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    r.faulty.fault = fail_segment_puts;
    r.faulty.ctx = &failing;
    support_tiering_fill(&r, 4);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(tiering_log_step(r.t, &next, NULL), VARVE_E_STORE);
        tiering_log_status(r.t, &status);
        assert_int_equal(status.failures, i);
        assert_int_equal(status.last_error.code, VARVE_E_STORE);
        assert_int_equal(status.pending_segments, 4);
        assert_true(next >= e->clock.wall_ms + 100 && next <= e->clock.wall_ms + 15000);
        support_clock_advance_ms(&e->clock, next - e->clock.wall_ms);
        assert_int_equal(committed(&r), 0);
        support_tiering_check(&r);
    }
    /* said once, and once more that it is over */
    assert_int_equal(support_logger_count(e->logger, BASE_LOG_WARNING, "tried again"), 1);
    assert_int_equal(tiering_log_step(r.t, &next, NULL), 0);
    assert_int_equal(support_logger_count(e->logger, BASE_LOG_INFO, "works again"), 1);
    tiering_log_status(r.t, &status);
    assert_int_equal(status.failures, 0);
    assert_int_equal(status.pending_segments, 0);
    assert_int_equal(r.events[TIERING_UPLOADED], 4);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

/* Also after what does not pass by itself: memory comes back, and people put things right. */
static void an_upload_is_tried_again_after_any_error(void **state)
{
    static const char *const faults[] = {"put(*.zst):error=no_memory", "put(*.zst):error=denied",
                                         "put(*.zst):error=broken", "put(*.zst):error=corrupt",
                                         "put(*.zst):error=no_space"};
    struct support_env *e = *state;
    struct support_tiering r;
    struct tiering_status status;
    int64_t next = 0;

    support_tiering_init(&r, e);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        r.faults = faults[i];
        support_tiering_open_ok(&r);
        support_tiering_fill(&r, 1);
        for (unsigned tries = 1; tries <= 3; tries++) {
            assert_true(tiering_log_step(r.t, &next, NULL) < 0);
            tiering_log_status(r.t, &status);
            assert_int_equal(status.failures, tries);
            assert_true(next <= e->clock.wall_ms + 15000);
            support_clock_advance_ms(&e->clock, next - e->clock.wall_ms);
        }
        support_tiering_close(&r);
    }
    r.faults = NULL;
    support_tiering_open_ok(&r);
    support_tiering_run_ok(&r, false, false);
    assert_int_equal(r.events[TIERING_UPLOADED], 5);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void no_request_is_made_before_the_backoff_is_over(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct failing failing = {.code = VARVE_E_NO_MEMORY, .left = 1};
    struct cold_stats before, after;
    int64_t next;

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    r.faulty.fault = fail_segment_puts;
    r.faulty.ctx = &failing;
    support_tiering_fill(&r, 1);
    assert_int_equal(tiering_log_step(r.t, &next, NULL), VARVE_E_NO_MEMORY);
    cold_store_stats(r.store, &before);
    assert_int_equal(tiering_log_step(r.t, &next, NULL), 0);
    cold_store_stats(r.store, &after);
    assert_memory_equal(&before, &after, sizeof(before));
    support_clock_advance_ms(&e->clock, 15000);
    assert_int_equal(tiering_log_step(r.t, &next, NULL), 0);
    assert_int_equal(r.events[TIERING_UPLOADED], 1);
    support_tiering_deinit(&r);
}

static void a_hole_in_what_was_uploaded_is_never_committed(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct failing failing = {.code = VARVE_E_STORE, .left = 1};
    struct hot_segment *first;
    struct hot_segment_info info;

    support_tiering_init(&r, e);
    r.threads = 2; /* the third may be on its way when the second fails */
    support_tiering_open_ok(&r);
    r.faulty.fault = fail_segment_puts;
    r.faulty.ctx = &failing;
    support_tiering_fill(&r, 4);
    assert_int_equal(hot_segment_find(r.hot, 0, false, &first, NULL), 0);
    hot_segment_extent(first, &info);
    hot_segment_unref(first);
    /* Named, since of two senders that of the second may come first. */
    snprintf(failing.of, sizeof(failing.of), "/%020lld-", (long long)info.end_offset);
    assert_int_equal(support_tiering_step(&r), VARVE_E_STORE);
    assert_int_equal(r.events[TIERING_UPLOADED], 1); /* the first, and not the third */
    support_tiering_check(&r);
    support_clock_advance_ms(&e->clock, 15000);
    assert_int_equal(support_tiering_step(&r), 0);
    assert_int_equal(r.events[TIERING_UPLOADED], 4);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void a_lost_reply_to_a_put_costs_an_orphan_and_no_data(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct failing failing = {.code = VARVE_E_STORE, .left = 1, .after = true};
    struct tiering_collect collect = {.share_max = 1};
    unsigned orphans;

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    r.faulty.fault = fail_segment_puts;
    r.faulty.ctx = &failing;
    support_tiering_fill(&r, 2);
    assert_int_equal(support_tiering_step(&r), VARVE_E_STORE);
    support_clock_advance_ms(&e->clock, 15000);
    assert_int_equal(support_tiering_step(&r), 0);
    support_tiering_check(&r);
    support_tiering_objects(&r, &orphans);
    assert_int_equal(orphans, 1);
    assert_int_equal(tiering_log_collect(r.t, &collect, NULL), 0);
    assert_int_equal(collect.orphans, 1);
    assert_int_equal(support_tiering_objects(&r, &orphans), 2);
    assert_int_equal(orphans, 0);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static int lose_root_reply(void *ctx, enum cold_op op, const char *key, bool after)
{
    unsigned *left = ctx;
    size_t size = strlen(key);

    /* the put, and the reading back that follows it */
    if ((op != COLD_OP_PUT && op != COLD_OP_GET) || size < 5 ||
        strcmp(key + size - 5, "/root") != 0 || *left == 0 || (op == COLD_OP_PUT) != after)
        return 0;
    (*left)--;
    return VARVE_E_STORE;
}

static void a_lost_reply_to_the_root_write_is_not_a_defeat(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    unsigned left = 2;

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    r.faulty.fault = lose_root_reply;
    r.faulty.ctx = &left;
    support_tiering_fill(&r, 3);
    assert_int_equal(support_tiering_step(&r), VARVE_E_STORE);
    assert_int_equal(committed(&r), 0);
    support_clock_advance_ms(&e->clock, 15000);
    r.faulty.root_puts = 0;
    assert_int_equal(support_tiering_step(&r), 0); /* I7 */
    assert_int_equal(r.faulty.root_puts, 0);       /* it was there already */
    assert_int_equal(r.events[TIERING_UPLOADED], 3);
    support_tiering_check(&r);
    unsigned orphans;
    assert_int_equal(support_tiering_objects(&r, &orphans), 3);
    assert_int_equal(orphans, 0);
    support_tiering_deinit(&r);
}

/* Damage. */

static void a_damaged_segment_stalls_the_log_and_is_named(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct varve_error err = {0};
    struct tiering_run run = {0};
    struct hot_segment *segment;
    struct hot_segment_info info;
    char path[512];

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 3);
    assert_int_equal(hot_segment_find(r.hot, 0, false, &segment, NULL), 0);
    assert_int_equal(hot_segment_info(segment, &info, NULL), 0);
    hot_segment_unref(segment);
    assert_int_equal(hot_segment_find(r.hot, info.end_offset, false, &segment, NULL), 0);
    snprintf(path, sizeof(path), "%s", hot_segment_path(segment));
    hot_segment_unref(segment);
    support_file_flip(path, 100, 1);
    assert_int_equal(tiering_log_run(r.t, &run, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, strrchr(path, '/') + 1));
    assert_int_equal(committed(&r), info.end_offset); /* what came before it is safe */
    assert_int_equal(r.events[TIERING_UPLOADED], 1);
    assert_int_equal(r.events[TIERING_STALLED], 1);
    assert_int_equal(tiering_log_run(r.t, &run, &err), VARVE_E_CORRUPT); /* I4: never skipped */
    support_file_flip(path, 100, 1);
    assert_int_equal(tiering_log_run(r.t, &run, &err), 0);
    assert_int_equal(r.events[TIERING_UPLOADED], 3);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

/* Of nothing else there is a sum before the upload: it went into the bucket. */
static void a_flipped_leader_epoch_is_not_uploaded(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct varve_error err = {0};
    struct tiering_run run = {0};
    char path[600];

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 2);
    snprintf(path, sizeof(path), "%s/hot/%020d.log", r.local_path, 0);
    support_file_flip(path, 15, 4);
    assert_int_equal(tiering_log_run(r.t, &run, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "leader epoch"));
    assert_int_equal(committed(&r), 0);
    support_file_flip(path, 15, 4);
    assert_int_equal(tiering_log_run(r.t, &run, &err), 0);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

/* Opens the log anew with a bit flipped in its first batch, whose times are not known then. */
static void damage_first(struct support_tiering *r)
{
    char path[600];

    support_tiering_close(r);
    snprintf(path, sizeof(path), "%s/hot/%020d.log", r->local_path, 0);
    support_file_flip(path, 100, 1);
    support_tiering_open_ok(r);
}

/* The walk over what waits ended at it, and nothing seemed to wait. */
static void a_damaged_segment_shows_as_lag(void **state)
{
    struct support_tiering r;
    struct tiering_status status;

    support_tiering_init(&r, *state);
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 3);
    damage_first(&r);
    assert_int_equal(support_tiering_step(&r), VARVE_E_CORRUPT);
    tiering_log_status(r.t, &status);
    assert_int_equal(status.pending_segments, 3);
    assert_true(status.oldest_pending_ms > 0);
    support_tiering_deinit(&r);
}

/* Eviction wanted the times of its records, and stopped at it for good. */
static void a_damaged_segment_that_is_committed_is_evicted(void **state)
{
    struct support_tiering r;
    struct tiering_run run = {.evict = true};
    struct hot_range range;

    support_tiering_init(&r, *state);
    r.policy.local_retention_bytes = -1;
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 3);
    assert_int_equal(support_tiering_step(&r), 0);
    damage_first(&r);
    assert_int_equal(tiering_log_run(r.t, &run, NULL), 0);
    hot_set_range(r.hot, &range);
    assert_int_equal(range.floor, committed(&r));
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

/* It returned VARVE_E_CORRUPT for the segment, and spoke of the full disk. */
static void a_step_with_two_failures_tells_of_the_one_it_returns(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct varve_error err = {0};
    int64_t next;

    support_tiering_init(&r, e);
    r.hot_options.flush_ms = 1000;
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 1);
    damage_first(&r);
    assert_int_equal(support_tiering_append(&r, 100, 1, false, NULL), 0);
    support_clock_advance_ms(&e->clock, 700000);
    support_io_fail(
        e->io,
        &(struct support_io_fault){
            .call = SUPPORT_IO_OPEN, .path = ".tmp", .nth = 1, .sys_errno = ENOSPC, .keep = true});
    assert_int_equal(tiering_log_step(r.t, &next, &err), VARVE_E_CORRUPT);
    assert_int_equal(err.code, VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "00000000000000000000.log"));
    support_io_fail(e->io, NULL);
    support_tiering_deinit(&r);
}

static void the_watchdog_reports_segments_that_wait_too_long(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct failing failing = {.code = VARVE_E_STORE, .left = 1000};
    struct tiering_status status;

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    r.faulty.fault = fail_segment_puts;
    r.faulty.ctx = &failing;
    support_tiering_fill(&r, 1);
    assert_int_equal(support_tiering_step(&r), VARVE_E_STORE);
    assert_int_equal(r.events[TIERING_STALLED], 0);
    support_clock_advance_ms(&e->clock, 700000);
    support_tiering_step(&r);
    support_clock_advance_ms(&e->clock, 700000);
    support_tiering_step(&r);
    assert_int_equal(r.events[TIERING_STALLED], 1);
    tiering_log_status(r.t, &status);
    assert_int_equal(status.oldest_pending_ms, 1400000);
    failing.left = 0;
    support_clock_advance_ms(&e->clock, 15000);
    assert_int_equal(support_tiering_step(&r), 0);
    tiering_log_status(r.t, &status);
    assert_int_equal(status.failures, 0);
    support_tiering_deinit(&r);
}

/* Eviction. */

static void eviction_goes_by_the_clock_of_the_append(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct hot_range range;
    int64_t next;

    support_tiering_init(&r, e);
    r.policy.local_retention_ms = 1000;
    r.policy.local_retention_bytes = -1;
    support_tiering_open_ok(&r);
    /* records of long ago, appended now: a backfill stays for its time */
    while (r.events[TIERING_SEALED] == 0) {
        assert_int_equal(support_tiering_append(&r, 1500, 1000, false, NULL), 0);
        assert_int_equal(tiering_log_step(r.t, &next, NULL), 0);
    }
    assert_int_equal(r.events[TIERING_UPLOADED], 1);
    assert_int_equal(r.events[TIERING_EVICTED], 0);
    support_clock_advance_ms(&e->clock, 999);
    assert_int_equal(tiering_log_step(r.t, &next, NULL), 0);
    assert_int_equal(r.events[TIERING_EVICTED], 0);
    assert_int_equal(next, e->clock.wall_ms + 1);
    support_clock_advance_ms(&e->clock, 1);
    assert_int_equal(tiering_log_step(r.t, &next, NULL), 0);
    assert_int_equal(r.events[TIERING_EVICTED], 1);
    hot_set_range(r.hot, &range);
    assert_int_equal(range.floor, committed(&r));
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void eviction_by_bytes_keeps_at_least_that_much(void **state)
{
    struct support_tiering r;
    struct hot_range range;
    int64_t kept;

    support_tiering_init(&r, *state);
    r.policy.local_retention_bytes = kept = 5 * r.hot_options.segment_bytes / 2;
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 10);
    assert_int_equal(support_tiering_step(&r), 0);
    hot_set_range(r.hot, &range);
    assert_true((int64_t)range.bytes >= kept);
    assert_true((int64_t)range.bytes < kept + r.hot_options.segment_bytes);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

static void nothing_is_evicted_before_it_is_committed(void **state)
{
    struct support_tiering r;
    struct failing failing = {.code = VARVE_E_STORE, .left = 1000};
    struct tiering_run run = {.evict = true};
    struct hot_range range;

    support_tiering_init(&r, *state);
    r.policy.local_retention_ms = 0;
    r.policy.local_retention_bytes = 0;
    support_tiering_open_ok(&r);
    r.faulty.fault = fail_segment_puts;
    r.faulty.ctx = &failing;
    support_tiering_fill(&r, 3);
    assert_int_equal(tiering_log_run(r.t, &run, NULL), VARVE_E_STORE);
    assert_int_equal(support_tiering_step(&r), 0);
    hot_set_range(r.hot, &range);
    assert_int_equal(range.floor, 0); /* I3 */
    support_tiering_deinit(&r);
}

static void a_pinned_segment_stays_and_goes_later(void **state)
{
    struct support_tiering r;
    struct hot_segment *segment;
    struct hot_segment_info info;
    struct hot_range range;

    support_tiering_init(&r, *state);
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 3);
    assert_int_equal(hot_segment_find(r.hot, 0, false, &segment, NULL), 0);
    assert_int_equal(hot_segment_info(segment, &info, NULL), 0);
    hot_segment_unref(segment);
    assert_int_equal(hot_segment_find(r.hot, info.end_offset, true, &segment, NULL), 0);
    support_tiering_run_ok(&r, true, true);
    hot_set_range(r.hot, &range);
    assert_int_equal(range.floor, info.end_offset);
    assert_int_equal(r.events[TIERING_EVICTED], 1);
    hot_segment_unref(segment);
    support_tiering_run_ok(&r, true, true);
    hot_set_range(r.hot, &range);
    assert_int_equal(range.floor, r.end);
    support_tiering_deinit(&r);
}

/* Order: the object is durable before the root, the root before the local file goes. */
static void objects_before_the_root_and_the_root_before_unlinking(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    const struct support_io_step *object, *root, *local, *unlinked, *synced, *written;
    size_t i;

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 1);
    support_io_reset(e->io);
    support_tiering_run_ok(&r, false, true);
    synced = support_io_trace_find(e->io, 0, SUPPORT_IO_FDATASYNC, "/hot/", NULL);
    object = support_io_trace_find(e->io, 0, SUPPORT_IO_LINK, ".zst", NULL);
    if (!object)
        object = support_io_trace_find(e->io, 0, SUPPORT_IO_RENAME, ".zst", NULL);
    assert_non_null(object);
    root = support_io_trace_find(e->io, 0, SUPPORT_IO_RENAME, "/@/root", NULL);
    assert_non_null(root);
    local = support_io_trace_find(e->io, 0, SUPPORT_IO_RENAME, "manifest/root", &i);
    assert_non_null(local);
    unlinked = support_io_trace_find(e->io, 0, SUPPORT_IO_UNLINK, "00000000.log", NULL);
    assert_non_null(unlinked);
    assert_non_null(synced);
    assert_true(support_io_before(object, root));
    assert_true(support_io_before(synced, root));
    assert_true(support_io_before(root, local));
    /* what the local root's name stands for is synced before it gets the name, and the name before
     * anything goes */
    written = support_io_trace_find(e->io, 0, SUPPORT_IO_FDATASYNC, "manifest/root", NULL);
    assert_non_null(written);
    assert_true(support_io_before(written, local));
    const struct support_io_step *dir =
        support_io_trace_find(e->io, i, SUPPORT_IO_FSYNC, "manifest", NULL);
    assert_non_null(dir);
    assert_true(support_io_before(dir, unlinked));
    support_tiering_deinit(&r);
}

static void a_damaged_object_is_replaced_from_the_hot_copy(void **state)
{
    struct support_env *e = *state;
    struct support_tiering r;
    struct index_entry before, after;
    struct tiering_collect collect = {.share_max = 1};
    unsigned orphans;

    support_tiering_init(&r, e);
    r.threads = 2;
    r.policy.local_retention_bytes = -1;
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 3);
    support_tiering_run_ok(&r, false, false);
    assert_int_equal(support_tiering_entry(&r, 0, &before), 0);
    assert_int_equal(support_tiering_entry(&r, before.end_offset, &before), 0);
    assert_int_equal(tiering_log_replace(r.t, before.base_offset, NULL), 0);
    assert_int_equal(support_tiering_entry(&r, before.base_offset, &after), 0);
    assert_memory_not_equal(&before.attempt, &after.attempt, sizeof(before.attempt));
    support_tiering_check(&r);
    support_tiering_objects(&r, &orphans);
    assert_int_equal(orphans, 1);
    assert_int_equal(tiering_log_collect(r.t, &collect, NULL), 0);
    assert_int_equal(collect.orphans, 1);
    support_tiering_check(&r);
    assert_int_equal(tiering_log_replace(r.t, before.base_offset + 1, NULL), VARVE_E_NOT_FOUND);
    support_tiering_run_ok(&r, true, true);
    assert_int_equal(tiering_log_replace(r.t, before.base_offset, NULL), VARVE_E_NOT_FOUND);
    support_tiering_deinit(&r);
}

/* A disk that both tiers share, in units of its own: a hot segment has 6, an object 4, and a root
 * needs 1 beside the one it replaces. */
#define DISK_SEGMENT 6
#define DISK_OBJECT 4
#define DISK_ROOT 1

struct shared_disk {
    struct support_tiering *r;
    int size;
    int objects;
    int held; /* back, for when there is no room */
    unsigned asked;
    unsigned asked_for_root;
};

static int disk_room(const struct shared_disk *d)
{
    struct hot_range range;

    hot_set_range(d->r->hot, &range);
    return d->size - d->held - d->objects * DISK_OBJECT - (int)range.segments * DISK_SEGMENT;
}

static int put_on_disk(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct shared_disk *d = ctx;

    if (op != COLD_OP_PUT)
        return 0;
    if (!is_segment(key))
        return !after && disk_room(d) < DISK_ROOT ? VARVE_E_NO_SPACE : 0;
    if (after)
        d->objects++;
    return !after && disk_room(d) < DISK_OBJECT ? VARVE_E_NO_SPACE : 0;
}

static bool give_disk(void *ctx, uint64_t keep)
{
    struct shared_disk *d = ctx;
    int left = keep > 0 ? DISK_ROOT : 0, given = d->held - left;

    d->asked++;
    d->asked_for_root += keep == 0;
    if (given <= 0)
        return false;
    d->held = left;
    return true;
}

/* Six sealed segments and the active one on a disk with `room` left and `held` held back. */
static int run_on_disk(struct support_env *e, struct shared_disk *d, int room, int held,
                       uint64_t room_held, bool evict)
{
    struct support_tiering r;
    struct tiering_run run = {.seal = true,
                              .evict = evict,
                              .give_room = give_disk,
                              .give_room_ctx = d,
                              .room_held = room_held};
    struct hot_range range;
    int rc;

    support_tiering_init(&r, e);
    r.policy.local_retention_bytes = -1;
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 6);
    *d = (struct shared_disk){.r = &r, .held = held};
    hot_set_range(r.hot, &range);
    /* Sealing makes one more, empty: no units, but it is counted. */
    d->size = held + room + ((int)range.segments + 1) * DISK_SEGMENT;
    r.faulty.fault = put_on_disk;
    r.faulty.ctx = d;
    rc = tiering_log_run(r.t, &run, NULL);
    hot_set_range(r.hot, &range);
    assert_int_equal(range.floor == range.end, rc == 0 && evict);
    r.faulty.fault = NULL;
    support_tiering_check(&r);
    d->r = NULL;
    support_tiering_deinit(&r);
    return rc;
}

static void a_full_disk_is_worked_off_from_room_for_one_object_and_a_root(void **state)
{
    struct shared_disk d;

    assert_int_equal(run_on_disk(*state, &d, DISK_OBJECT + DISK_ROOT, 0, 0, true), 0);
    assert_int_equal(d.objects, 7);
    assert_int_equal(d.asked, 0);
}

static void a_batch_that_filled_the_disk_has_its_root_written_with_what_is_held(void **state)
{
    struct shared_disk d;

    assert_int_equal(run_on_disk(*state, &d, 2 * DISK_OBJECT, DISK_ROOT, UINT64_MAX, true), 0);
    assert_int_equal(d.objects, 7);
    assert_true(d.asked_for_root > 0);
    assert_int_equal(d.held, 0);
}

static void without_any_room_what_is_held_serves_one_object_after_the_other(void **state)
{
    struct shared_disk d;

    assert_int_equal(run_on_disk(*state, &d, 0, DISK_OBJECT + DISK_ROOT, UINT64_MAX, true), 0);
    assert_int_equal(d.objects, 7);
    assert_int_equal(d.asked,
                     2); /* the first object, then its root; evicting has made room since */
    assert_int_equal(d.asked_for_root, 1);
}

static void what_cannot_be_worked_off_ends_and_is_whole(void **state)
{
    struct shared_disk d;

    assert_int_equal(run_on_disk(*state, &d, DISK_OBJECT - 1, DISK_ROOT, UINT64_MAX, true),
                     VARVE_E_NO_SPACE);
    assert_int_equal(d.objects, 0);
    assert_int_equal(d.held, DISK_ROOT);
}

/* Two objects on their way at once: the first finds no room once the second has taken it. */
struct race {
    struct base_mutex lock;
    struct base_cond changed;
    bool second_stored;
    bool first_failed;
};

static int second_is_faster(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct race *race = ctx;
    int rc = 0;

    if (op != COLD_OP_PUT || !is_segment(key))
        return 0;
    base_mutex_lock(&race->lock);
    if (!strstr(key, "/00000000000000000000-")) {
        race->second_stored = race->second_stored || after;
        base_cond_broadcast(&race->changed);
    } else if (!race->first_failed) {
        while (!race->second_stored)
            base_cond_wait(&race->changed, &race->lock);
        race->first_failed = true;
        rc = VARVE_E_NO_SPACE;
    }
    base_mutex_unlock(&race->lock);
    return rc;
}

static void an_object_stored_behind_one_that_found_no_room_gives_its_room_back(void **state)
{
    struct support_tiering r;
    struct race race = {0};
    struct tiering_run run = {.seal = true, .evict = true};
    unsigned orphans;

    base_mutex_init(&race.lock);
    base_cond_init(&race.changed);
    support_tiering_init(&r, *state);
    r.threads = 2;
    support_tiering_open_ok(&r);
    r.faulty.fault = second_is_faster;
    r.faulty.ctx = &race;
    support_tiering_fill(&r, 4);
    assert_int_equal(support_tiering_step(&r), VARVE_E_NO_SPACE);
    assert_true(race.second_stored);
    assert_int_equal(committed(&r), 0);
    assert_int_equal(support_tiering_objects(&r, &orphans), 0);
    assert_int_equal(tiering_log_run(r.t, &run, NULL), 0);
    assert_int_equal(run.uploaded_segments, run.evicted_segments);
    support_tiering_objects(&r, &orphans);
    assert_int_equal(orphans, 0);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
    base_cond_deinit(&race.changed);
    base_mutex_deinit(&race.lock);
}

/* Nothing would come of it but a disk that is fuller. */
static void a_run_that_does_not_evict_is_given_nothing(void **state)
{
    struct shared_disk d;

    assert_int_equal(run_on_disk(*state, &d, 2 * DISK_OBJECT + DISK_ROOT, 100, UINT64_MAX, false),
                     VARVE_E_NO_SPACE);
    assert_int_equal(d.objects, 2);
    assert_int_equal(d.asked, 0);
    assert_int_equal(d.held, 100);
}

static int pages_away(void *ctx, enum cold_op op, const char *key, bool after)
{
    unsigned *asked = ctx;

    if (after || op != COLD_OP_GET || !strstr(key, "/page-"))
        return 0;
    ++*asked;
    return VARVE_E_STORE;
}

/* The root had arrived and could not be kept here; when it was read back, the page that names the
 * object could not be read, and the object was deleted as one that no root names. */
static void an_object_is_not_deleted_while_nobody_can_say_whether_the_root_names_it(void **state)
{
    static const struct index_fold fold = {1, 1, 2};
    struct support_env *e = *state;
    struct support_tiering r;
    struct tiering_run run = {.seal = true};
    unsigned asked = 0, orphans;

    e->env.fold = &fold;
    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 3);
    support_io_fail(e->io, &(struct support_io_fault){.call = SUPPORT_IO_OPEN,
                                                      .path = "manifest/page-0",
                                                      .nth = 1,
                                                      .sys_errno = ENOSPC,
                                                      .keep = true});
    r.faulty.fault = pages_away;
    r.faulty.ctx = &asked;
    (void)tiering_log_run(r.t, &run, NULL); /* the first try to keep the root, or */
    (void)tiering_log_run(r.t, &run, NULL); /* the one that reads it back fails */
    support_io_fail(e->io, NULL);
    assert_true(asked > 0);
    r.faulty.fault = NULL;
    support_tiering_run_ok(&r, true, false);
    (void)support_tiering_objects(&r, &orphans);
    assert_int_equal(orphans, 0);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(what_is_appended_is_read_back_from_the_cold_tier),
        support_env_test(what_is_appended_is_read_back_with_worker_threads),
        support_env_test(a_reader_finds_everything_in_the_cold_tier_without_fetching_a_table),
        support_env_test(many_segments_are_committed_in_one_root_write),
        support_env_test(what_is_stored_is_committed_while_more_is_sent),
        support_env_test(the_active_segment_is_not_uploaded),
        support_env_test(a_large_segment_goes_by_multipart),
        support_env_test(a_large_segment_goes_by_multipart_with_threads),
        support_env_test(a_batch_larger_than_a_block_is_a_block_of_its_own),
        support_env_test(a_failed_upload_is_tried_again_and_nothing_is_skipped),
        support_env_test(an_upload_is_tried_again_after_any_error),
        support_env_test(no_request_is_made_before_the_backoff_is_over),
        support_env_test(a_hole_in_what_was_uploaded_is_never_committed),
        support_env_test(a_lost_reply_to_a_put_costs_an_orphan_and_no_data),
        support_env_test(a_lost_reply_to_the_root_write_is_not_a_defeat),
        support_env_test(a_damaged_segment_stalls_the_log_and_is_named),
        support_env_test(a_flipped_leader_epoch_is_not_uploaded),
        support_env_test(a_damaged_segment_shows_as_lag),
        support_env_test(a_damaged_segment_that_is_committed_is_evicted),
        support_env_test(a_step_with_two_failures_tells_of_the_one_it_returns),
        support_env_test(the_watchdog_reports_segments_that_wait_too_long),
        support_env_test(eviction_goes_by_the_clock_of_the_append),
        support_env_test(eviction_by_bytes_keeps_at_least_that_much),
        support_env_test(nothing_is_evicted_before_it_is_committed),
        support_env_test(a_pinned_segment_stays_and_goes_later),
        support_env_test(objects_before_the_root_and_the_root_before_unlinking),
        support_env_test(a_damaged_object_is_replaced_from_the_hot_copy),
        support_env_test(a_full_disk_is_worked_off_from_room_for_one_object_and_a_root),
        support_env_test(a_batch_that_filled_the_disk_has_its_root_written_with_what_is_held),
        support_env_test(without_any_room_what_is_held_serves_one_object_after_the_other),
        support_env_test(what_cannot_be_worked_off_ends_and_is_whole),
        support_env_test(an_object_stored_behind_one_that_found_no_room_gives_its_room_back),
        support_env_test(a_run_that_does_not_evict_is_given_nothing),
        support_env_test(an_object_is_not_deleted_while_nobody_can_say_whether_the_root_names_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
