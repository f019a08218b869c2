/*
 * A machine that stops at each of the durable steps of a tiering run in turn: every I/O call from
 * the Nth on fails, then everything is opened afresh. Whatever N: nothing appended is missing,
 * nothing committed is, and what is left over in the bucket is collected (I1 to I5, I10).
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/error.h"
#include "tests/support/support_tiering.h"

#define CRASHES_MAX 2000

static int64_t start_of(struct support_tiering *r)
{
    struct index_root root;

    support_tiering_root(r, &root);
    return root.start_offset;
}

/* After the crash: opens, checks, tiers to the end, collects, checks again. */
static void recover(struct support_tiering *r)
{
    struct tiering_run run = {.seal = true, .evict = true};
    struct tiering_collect collect = {.share_max = 1};
    struct varve_error err = {0};
    struct index_root root;
    unsigned orphans;
    int rc;

    support_tiering_open_ok(r);
    support_tiering_check(r);
    rc = tiering_log_run(r->t, &run, &err);
    if (rc < 0)
        print_error("%s\n", err.msg);
    assert_int_equal(rc, 0);
    support_tiering_check(r);
    support_tiering_root(r, &root);
    assert_int_equal(root.end_offset, r->end);
    rc = tiering_log_collect(r->t, &collect, &err);
    if (rc < 0)
        print_error("%s\n", err.msg);
    assert_int_equal(rc, 0);
    support_tiering_objects(r, &orphans);
    assert_int_equal(orphans, 0);
    assert_int_equal(support_tiering_unfinished(r), 0);
    support_tiering_check(r);
}

/* Runs `work` with all I/O failing from the Nth call on; false when it made fewer calls. */
static bool crash_at(struct support_tiering *r, uint64_t nth,
                     void (*work)(struct support_tiering *r))
{
    struct support_io_fault fault = {
        .call = SUPPORT_IO_ANY, .nth = nth, .sys_errno = EIO, .keep = true, .torn_size = 100};
    bool hit;

    support_io_fail(r->e->io, &fault);
    work(r);
    hit = support_io_failed(r->e->io) > 0;
    support_tiering_crash(r);
    support_io_fail(r->e->io, NULL);
    return hit;
}

static void tier_and_evict(struct support_tiering *r)
{
    struct tiering_run run = {.evict = true};

    (void)tiering_log_run(r->t, &run, NULL);
}

static void trim_half(struct support_tiering *r)
{
    (void)tiering_log_trim(r->t, start_of(r) + (r->end - start_of(r)) / 2, NULL);
}

static void delete_cut(struct support_tiering *r)
{
    int64_t next;

    support_clock_advance_ms(&r->e->clock, 70000);
    (void)tiering_log_step(r->t, &next, NULL);
}

static void crash_everywhere(struct support_env *e, bool remote, unsigned threads, unsigned stride,
                             void (*work)(struct support_tiering *r))
{
    uint64_t nth = 1;
    bool hit = true;

    /* The logger keeps what a machine that stops complains of. */
    support_logger_expect(e->logger, "");
    while (hit) {
        struct support_tiering r;

        support_tiering_init(&r, e);
        r.threads = threads;
        r.remote = remote;
        support_tiering_open_ok(&r);
        support_tiering_fill(&r, 2);
        struct tiering_run run = {.evict = false};
        assert_int_equal(tiering_log_run(r.t, &run, NULL), 0);
        if (work == delete_cut)
            assert_int_equal(tiering_log_trim(r.t, r.end / 2, NULL), 0);
        support_tiering_fill(&r, 2);
        hit = crash_at(&r, nth, work);
        recover(&r);
        support_tiering_remove(&r);
        nth += stride;
        assert_true(nth < CRASHES_MAX);
    }
    assert_true(nth > 20); /* it did hit something */
    print_message("%u calls\n", (unsigned)nth);
}

static void stopping_at_any_step_of_upload_and_eviction_loses_nothing(void **state)
{
    crash_everywhere(*state, false, 0, 1, tier_and_evict);
}

static void stopping_at_any_step_of_multipart_loses_nothing_and_leaves_nothing(void **state)
{
    crash_everywhere(*state, true, 0, 1, tier_and_evict);
    crash_everywhere(*state, true, 2, 7, tier_and_evict);
}

static void stopping_with_threads_loses_nothing(void **state)
{
    crash_everywhere(*state, false, 2, 5, tier_and_evict);
}

static void stopping_at_any_step_of_a_trim_loses_nothing(void **state)
{
    crash_everywhere(*state, false, 0, 1, trim_half);
}

static void stopping_at_any_step_of_deletion_loses_nothing(void **state)
{
    crash_everywhere(*state, false, 0, 1, delete_cut);
}

/* The process stops between two requests: each of them, and each reply. */
struct stop {
    unsigned left;
    bool stopped;
};

static int stop_requests(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct stop *s = ctx;

    (void)op;
    (void)key;
    (void)after;
    if (s->left == 0) {
        s->stopped = true;
        return VARVE_E_STORE;
    }
    s->left--;
    return 0;
}

static void losing_the_store_at_any_request(struct support_env *e, bool remote)
{
    for (unsigned n = 0;; n++) {
        struct support_tiering r;
        struct stop stop = {.left = n};

        support_tiering_init(&r, e);
        r.remote = remote;
        support_tiering_open_ok(&r);
        r.policy.local_retention_ms = 0;
        support_tiering_fill(&r, 3);
        r.faulty.fault = stop_requests;
        r.faulty.ctx = &stop;
        tier_and_evict(&r);
        support_tiering_check(&r);
        support_tiering_crash(&r);
        r.faulty.fault = NULL;
        recover(&r);
        support_tiering_remove(&r);
        if (!stop.stopped)
            break;
        assert_true(n < 200);
    }
}

static void losing_the_store_at_any_request_loses_nothing(void **state)
{
    losing_the_store_at_any_request(*state, false);
}

static void losing_the_store_at_any_request_of_multipart_leaves_nothing(void **state)
{
    losing_the_store_at_any_request(*state, true);
}

static void the_local_manifest_can_be_thrown_away(void **state)
{
    struct support_tiering r;

    support_tiering_init(&r, *state);
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 3);
    tier_and_evict(&r);
    support_tiering_crash(&r);
    assert_int_equal(
        base_tree_remove(&base_io_posix, support_tmpdir_path(r.e->dir, "local/manifest"), NULL), 0);
    recover(&r);
    support_tiering_deinit(&r);
}

static void the_whole_local_disk_can_be_lost(void **state)
{
    struct support_tiering r;
    struct tiering_run run = {.seal = true};

    support_tiering_init(&r, *state);
    support_tiering_open_ok(&r);
    support_tiering_fill(&r, 3);
    assert_int_equal(tiering_log_run(r.t, &run, NULL), 0);
    support_tiering_crash(&r);
    assert_int_equal(base_tree_remove(&base_io_posix, r.local_path, NULL), 0);
    support_tiering_open_ok(&r);
    support_tiering_check(&r);
    assert_int_equal(support_tiering_append(&r, 100, 1, false, NULL), 0); /* goes on at n */
    support_tiering_crash(&r);
    recover(&r);
    support_tiering_deinit(&r);
}

static int store_is_away(void *ctx, enum cold_op op, const char *key, bool after)
{
    (void)ctx;
    (void)op;
    (void)key;
    return after ? 0 : VARVE_E_STORE;
}

/* What a loss of power may do: the segments whose names no fsync of their directory has covered are
 * not there afterwards. */
static void lose_unsynced_names(struct support_tiering *r)
{
    const struct support_io_step *made;
    size_t i = 0;

    while ((made = support_io_trace_find(r->e->io, i, SUPPORT_IO_OPEN, ".log", &i))) {
        bool synced = false;

        for (size_t k = i++; k < support_io_trace_size(r->e->io) && !synced; k++) {
            const struct support_io_step *step = support_io_trace_at(r->e->io, k);

            synced = step->call == SUPPORT_IO_FSYNC && support_io_before(made, step) &&
                     strcmp(step->path + strlen(step->path) - 4, "/hot") == 0;
        }
        if (made->created && !synced)
            (void)unlink(made->path);
    }
}

/* n was the end of a segment whose successor's name was lost. A writer that opened without its
 * bucket went on writing in it, and what it sealed never continued n. */
static void a_committed_segment_is_not_written_on_after_a_loss_of_power(void **state)
{
    struct support_env *e = *state;
    struct support_io_fault fault = {
        .call = SUPPORT_IO_ANY, .path = "root.tmp", .nth = 1, .sys_errno = EIO, .keep = true};
    struct tiering_run run = {.seal = true};
    struct support_tiering r;
    struct index_root root;

    support_tiering_init(&r, e);
    support_tiering_open_ok(&r);
    assert_int_equal(support_tiering_append(&r, 900, 1, false, NULL), 0);
    assert_int_equal(hot_set_sync(r.hot, NULL), 0);
    support_io_fail(e->io, &fault);
    support_logger_expect(e->logger, "");
    assert_int_equal(tiering_log_run(r.t, &run, NULL), VARVE_E_IO);
    support_tiering_crash(&r);
    support_io_fail(e->io, NULL);
    lose_unsynced_names(&r);
    r.faulty.fault = store_is_away; /* so that it opens with the local root, whose n is 0 */
    support_tiering_open_ok(&r);
    assert_int_equal(support_tiering_append(&r, 900, 2, false, NULL), 0);
    r.faulty.fault = NULL;
    support_tiering_run_ok(&r, true, false);
    support_tiering_root(&r, &root);
    assert_int_equal(root.end_offset, r.end);
    support_tiering_check(&r);
    support_tiering_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(a_committed_segment_is_not_written_on_after_a_loss_of_power),
        support_env_test(stopping_at_any_step_of_upload_and_eviction_loses_nothing),
        support_env_test(stopping_at_any_step_of_multipart_loses_nothing_and_leaves_nothing),
        support_env_test(stopping_with_threads_loses_nothing),
        support_env_test(stopping_at_any_step_of_a_trim_loses_nothing),
        support_env_test(stopping_at_any_step_of_deletion_loses_nothing),
        support_env_test(losing_the_store_at_any_request_loses_nothing),
        support_env_test(losing_the_store_at_any_request_of_multipart_leaves_nothing),
        support_env_test(the_local_manifest_can_be_thrown_away),
        support_env_test(the_whole_local_disk_can_be_lost),
    };

    /* Thousands of syncs, and no power is ever cut: memory will do. */
    if (access("/dev/shm", W_OK | X_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
