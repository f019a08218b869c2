/* Durability: what is synced before what is shown, group commit, and failed syncs. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/thread.h"
#include "hot/internal.h"
#include "tests/support/file.h"
#include "tests/support/support_hot.h"

#define THREADS 16
#define APPENDS 40
#define SHARED_SEGMENT (32 * 1024) /* room for a batch of each thread */

static struct hot_set_options fsync_options(void)
{
    struct hot_set_options options = support_hot_options();
    options.durability = HOT_DURABILITY_FSYNC;
    return options;
}

static void an_append_is_synced_and_its_directory_entry_too_before_it_returns(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = fsync_options();
    struct varve_error err;
    const struct support_io_step *made, *created, *written, *synced, *dir;
    size_t at;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_append(set, 10, 100, &err), 0);

    made = support_io_trace_find(e->io, 0, SUPPORT_IO_MKDIR, "/log", NULL);
    assert_non_null(made);
    dir = support_io_trace_find(e->io, 0, SUPPORT_IO_FSYNC, NULL, NULL);
    assert_true(support_io_before(made, dir));
    assert_string_equal(dir->path, support_tmpdir_root(e->dir));
    created = support_io_trace_find(e->io, 0, SUPPORT_IO_OPEN, "0.log", &at);
    assert_true(created->created);
    written = support_io_trace_find(e->io, at, SUPPORT_IO_PWRITEV, "0.log", NULL);
    synced = support_io_trace_find(e->io, at, SUPPORT_IO_FDATASYNC, "0.log", NULL);
    dir = support_io_trace_find(e->io, at, SUPPORT_IO_FSYNC, "/log", NULL);
    assert_true(support_io_before(created, dir)); /* I11 */
    assert_true(support_io_before(written, synced));

    struct hot_range range;
    hot_set_range(set, &range);
    assert_int_equal(range.synced, 10);
    assert_int_equal(hot_set_seal(set, &err), 0);
    support_io_reset(e->io);
    assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
    /* The new segment's name as well. */
    assert_non_null(support_io_trace_find(e->io, 0, SUPPORT_IO_FSYNC, "/log", NULL));
    support_io_reset(e->io);
    assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
    assert_int_equal(support_io_count(e->io, SUPPORT_IO_FSYNC), 0);
    assert_int_equal(support_io_count(e->io, SUPPORT_IO_FDATASYNC), 1);
    assert_int_equal(support_io_count(e->io, SUPPORT_IO_PWRITEV), 1);
    hot_set_close(set);
}

struct held {
    struct hot_set *set;
    struct hot_range seen;
};

static void look_at_the_range_while_syncing(void *arg, enum support_io_call call, const char *path)
{
    struct held *held = arg;
    if (call == SUPPORT_IO_FDATASYNC && strstr(path, ".log"))
        hot_set_range(held->set, &held->seen);
}

static void nothing_is_visible_before_it_is_durable(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = fsync_options();
    struct varve_error err;
    struct held held = {.set = support_hot_open(e, &options, NULL), .seen = {.end = -1}};
    support_io_set_hook(e->io, look_at_the_range_while_syncing, &held);
    assert_int_equal(support_hot_append(held.set, 10, 100, &err), 0);
    assert_int_equal(held.seen.end, 0);
    assert_int_equal(support_hot_append(held.set, 10, 100, &err), 0);
    assert_int_equal(held.seen.end, 10);
    assert_int_equal(held.seen.synced, 10);
    support_io_set_hook(e->io, NULL, NULL);
    hot_set_close(held.set);
}

struct appender {
    struct hot_set *set;
    struct base_thread *thread;
    int64_t offsets[APPENDS];
    int failures;
};

static void append_run(void *arg)
{
    struct appender *a = arg;
    struct hot_append append;
    void *batch = support_hot_batch(0, 5, 200, &append);
    for (int i = 0; i < APPENDS; i++) {
        struct varve_error err;
        struct hot_range range;
        if (hot_set_append(a->set, &append, 1, 0, &a->offsets[i], &err) != 0) {
            a->failures++;
            continue;
        }
        hot_set_range(a->set, &range);
        if (range.end < a->offsets[i] + 5 || range.synced < a->offsets[i] + 5)
            a->failures++;
    }
    free(batch);
}

/* Holds the first sync until every thread writes its first batch: however fast the disk is, all
 * that are written by then share the next one. */
struct first_sync {
    struct support_io *io;
    atomic_bool held;
    atomic_int syncs; /* of segments */
};

static void hold_the_first_sync(void *arg, enum support_io_call call, const char *path)
{
    struct first_sync *first = arg;
    if (call != SUPPORT_IO_FDATASYNC || !strstr(path, ".log"))
        return;
    atomic_fetch_add(&first->syncs, 1);
    if (atomic_exchange(&first->held, true))
        return;
    while (support_io_count(first->io, SUPPORT_IO_PWRITEV) < THREADS)
        sched_yield();
}

static void many_threads_share_syncs_and_each_batch_has_its_own_offsets(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = fsync_options();
    options.segment_bytes = SHARED_SEGMENT; /* a roll would wait for the sync that is held */
    struct varve_error err;
    static struct appender appenders[THREADS];
    static bool seen[THREADS * APPENDS];
    memset(appenders, 0, sizeof(appenders));
    memset(seen, 0, sizeof(seen));
    support_io_set_tracing(e->io, false);
    struct hot_set *set = support_hot_open(e, &options, NULL);
    support_io_reset(e->io);
    struct first_sync first = {.io = e->io};
    support_io_set_hook(e->io, hold_the_first_sync, &first);
    for (int i = 0; i < THREADS; i++) {
        appenders[i].set = set;
        assert_int_equal(
            base_thread_start(&appenders[i].thread, "append", append_run, &appenders[i], &err), 0);
    }
    for (int i = 0; i < THREADS; i++)
        base_thread_join(appenders[i].thread);
    support_io_set_hook(e->io, NULL, NULL);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(appenders[i].failures, 0);
        for (int k = 0; k < APPENDS; k++) {
            int64_t n = appenders[i].offsets[k];
            assert_true(n % 5 == 0 && n / 5 < THREADS * APPENDS && !seen[n / 5]);
            assert_true(k == 0 || n > appenders[i].offsets[k - 1]);
            seen[n / 5] = true;
        }
    }
    struct hot_range range;
    hot_set_range(set, &range);
    assert_int_equal(range.end, 5 * THREADS * APPENDS);
    assert_true(range.segments > 5);
    /* Each covers what no other has; the second one all first batches, but for the first that it
     * waited for and the last, which may have been under way. */
    assert_in_range(atomic_load(&first.syncs), 1, THREADS * APPENDS - (THREADS - 3));
    for (int64_t base = 0; base < range.end;) {
        struct hot_segment *segment;
        struct hot_segment_info info;
        assert_int_equal(hot_segment_find(set, base, false, &segment, &err), 0);
        assert_int_equal(hot_segment_verify(segment, &err), 0);
        assert_int_equal(hot_segment_info(segment, &info, &err), 0);
        hot_segment_unref(segment);
        base = info.end_offset;
    }
    hot_set_close(set);
}

static atomic_bool reading;

static void reader_run(void *arg)
{
    struct hot_set *set = arg;
    struct hot_reader *reader;
    struct record_batch batch;
    const void *data;
    struct varve_error err;
    int64_t next = 0;
    if (hot_reader_new(set, &reader, &err) != 0)
        return;
    while (next < 5 * THREADS * APPENDS) {
        int rc = hot_reader_next(reader, &data, &batch, &err);
        if (rc == VARVE_E_END)
            rc = hot_set_wait(set, next, INT64_C(20000000000), &err);
        else if (rc == 0 && batch.base_offset == next)
            next = batch.last_offset + 1;
        else
            rc = VARVE_E_CORRUPT;
        if (rc < 0)
            break;
    }
    hot_reader_free(reader);
    if (next == 5 * THREADS * APPENDS)
        atomic_store(&reading, true);
}

static void evict_run(void *arg)
{
    struct hot_set *set = arg;
    struct hot_range range = {0};
    struct varve_error err;
    int64_t next;
    while (range.end < 5 * THREADS * APPENDS) {
        hot_set_wait(set, range.end, 100000000, NULL);
        hot_set_range(set, &range);
        hot_set_tick(set, &next, &err);
    }
}

static void readers_follow_while_threads_append_roll_and_tick(void **state)
{
    struct support_env *e = *state;
    for (int mode = 0; mode < 2; mode++) {
        struct hot_set_options options = fsync_options();
        options.durability = mode ? HOT_DURABILITY_OS : HOT_DURABILITY_FSYNC;
        options.flush_ms = 0;
        options.start_offset = 0;
        static struct appender appenders[4];
        struct base_thread *reader, *ticker;
        struct varve_error err;
        memset(appenders, 0, sizeof(appenders));
        support_io_set_tracing(e->io, false);
        struct hot_set *set = support_hot_open(e, &options, NULL);
        struct hot_set_options read_options = options;
        read_options.read_only = true;
        struct hot_set *follower = support_hot_open(e, &read_options, NULL);
        atomic_store(&reading, false);
        assert_int_equal(
            base_thread_start(&reader, "read", reader_run, mode ? set : follower, &err), 0);
        assert_int_equal(base_thread_start(&ticker, "tick", evict_run, set, &err), 0);
        for (int round = 0; round < THREADS; round += 4) {
            for (int i = 0; i < 4; i++) {
                appenders[i].set = set;
                assert_int_equal(base_thread_start(&appenders[i].thread, "append", append_run,
                                                   &appenders[i], &err),
                                 0);
            }
            for (int i = 0; i < 4; i++)
                base_thread_join(appenders[i].thread);
        }
        base_thread_join(ticker);
        base_thread_join(reader);
        assert_true(atomic_load(&reading));
        if (!mode) {
            for (int i = 0; i < 4; i++)
                assert_int_equal(appenders[i].failures, 0);
        }
        hot_set_close(follower);
        assert_int_equal(hot_set_reset(set, 0, &err), 0);
        hot_set_close(set);
    }
}

static void after_a_failed_sync_nothing_is_appended_or_shown_until_opened_again(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = fsync_options();
    struct varve_error err;
    struct hot_range range;
    int64_t next;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    support_logger_expect(e->logger, "fdatasync");
    assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
    struct support_io_fault fault = {
        .call = SUPPORT_IO_FDATASYNC, .path = ".log", .nth = 1, .sys_errno = EIO};
    support_io_fail(e->io, &fault);
    assert_int_equal(support_hot_append(set, 10, 100, &err), VARVE_E_FAILED);
    assert_int_equal(err.sys_errno, EIO);
    assert_non_null(strstr(err.msg, "fdatasync"));
    support_io_fail(e->io, NULL);
    support_io_reset(e->io);
    assert_int_equal(support_hot_append(set, 10, 100, &err), VARVE_E_FAILED);
    assert_int_equal(hot_set_sync(set, &err), VARVE_E_FAILED);
    assert_int_equal(hot_set_seal(set, &err), VARVE_E_FAILED);
    assert_int_equal(hot_set_tick(set, &next, &err), VARVE_E_FAILED);
    assert_int_equal(support_io_count(e->io, SUPPORT_IO_FDATASYNC), 0); /* never tried again */
    hot_set_range(set, &range);
    assert_int_equal(range.end, 10);
    assert_int_equal(range.synced, 10);
    assert_int_equal(support_hot_read(set, 0), 10);
    options.read_only = true;
    struct hot_set *follower = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_read(follower, 0), 10);
    hot_set_close(follower);
    hot_set_close(set);

    options.read_only = false;
    struct hot_recovery recovery;
    set = support_hot_open(e, &options, &recovery);
    assert_true(recovery.unclean);
    assert_true(recovery.scanned_bytes > 0);
    hot_set_range(set, &range);
    assert_true(range.end >= 10);
    assert_int_equal(support_hot_read(set, 0), range.end);
    assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
    hot_set_close(set);
}

static void os_mode_syncs_on_the_interval_and_then_writes_a_checkpoint(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    struct hot_range range;
    int64_t next;
    options.flush_ms = 500;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
    hot_set_range(set, &range);
    assert_int_equal(range.end, 10);
    assert_int_equal(range.synced, 0);
    assert_int_equal(hot_set_tick(set, &next, &err), 0);
    assert_int_equal(next, SUPPORT_ENV_WALL_MS + 500);
    support_io_reset(e->io);
    support_clock_advance_ms(&e->clock, HOT_CHECKPOINT_MS);
    assert_int_equal(hot_set_tick(set, &next, &err), 0);
    hot_set_range(set, &range);
    assert_int_equal(range.synced, 10);
    const struct support_io_step *synced =
        support_io_trace_find(e->io, 0, SUPPORT_IO_FDATASYNC, "0.log", NULL);
    const struct support_io_step *vouched =
        support_io_trace_find(e->io, 0, SUPPORT_IO_RENAME, "checkpoint", NULL);
    assert_true(support_io_before(synced, vouched)); /* K1 */
    /* A segment sealed in between is synced too. */
    assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
    assert_int_equal(hot_set_seal(set, &err), 0);
    support_io_reset(e->io);
    assert_int_equal(hot_set_tick(set, &next, &err), 0);
    assert_int_equal(support_io_count(e->io, SUPPORT_IO_FDATASYNC), 3); /* two, and checkpoint */
    hot_set_range(set, &range);
    assert_int_equal(range.synced, 20);
    hot_set_close(set);
}

static void append_while_syncing(void *arg, enum support_io_call call, const char *path)
{
    struct held *held = arg;
    if (call == SUPPORT_IO_FDATASYNC && strstr(path, ".log"))
        assert_int_equal(support_hot_append(held->set, 10, 100, NULL), 0);
}

static void a_checkpoint_does_not_vouch_for_what_came_while_the_sync_was_under_way(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_checkpoint checkpoint;
    struct hot_range range;
    size_t size;
    int64_t next;
    options.flush_ms = 500;
    struct held held = {.set = support_hot_open(e, &options, NULL)};
    assert_int_equal(support_hot_append(held.set, 10, 100, NULL), 0);
    int64_t synced_bytes = support_file_size(support_hot_path(e, 0, "log"));
    support_clock_advance_ms(&e->clock, HOT_CHECKPOINT_MS);
    support_io_set_hook(e->io, append_while_syncing, &held);
    assert_int_equal(hot_set_tick(held.set, &next, NULL), 0);
    support_io_set_hook(e->io, NULL, NULL);
    hot_set_range(held.set, &range);
    assert_int_equal(range.end, 20);
    assert_int_equal(range.synced, 10);
    uint8_t *data = support_file_read(support_tmpdir_path(e->dir, "log/checkpoint"), &size);
    assert_int_equal(hot_checkpoint_decode(data, size, &checkpoint, NULL), 0);
    free(data);
    assert_int_equal(checkpoint.point.end_offset, 10); /* K1 */
    assert_int_equal(checkpoint.point.size, synced_bytes);
    hot_set_close(held.set);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, support_env_setup, support_env_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_append_is_synced_and_its_directory_entry_too_before_it_returns),
        TEST(nothing_is_visible_before_it_is_durable),
        TEST(many_threads_share_syncs_and_each_batch_has_its_own_offsets),
        TEST(readers_follow_while_threads_append_roll_and_tick),
        TEST(after_a_failed_sync_nothing_is_appended_or_shown_until_opened_again),
        TEST(os_mode_syncs_on_the_interval_and_then_writes_a_checkpoint),
        TEST(a_checkpoint_does_not_vouch_for_what_came_while_the_sync_was_under_way),
    };
    return cmocka_run_group_tests_name("hot_commit", tests, NULL, NULL);
}
