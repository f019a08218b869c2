/*
 * Append, tier, trim and evict with each I/O call failing once, for every N: the call that fails
 * says so or is made up for, whatever was acknowledged is there, and the next try goes through
 * without opening anything again (I4).
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

#define CALLS_MAX 3000

static int work(struct support_tiering *r)
{
    struct tiering_run run = {.seal = true, .evict = true};
    int rc = 0, other;

    for (int i = 0; i < 6; i++) {
        other = support_tiering_append(r, 6000, 1, i % 2 == 1, NULL);
        rc = rc < 0 ? rc : other;
    }
    other = tiering_log_run(r->t, &run, NULL);
    rc = rc < 0 ? rc : other;
    other = tiering_log_trim(r->t, r->end / 2, NULL);
    rc = rc < 0 ? rc : other;
    support_clock_advance_ms(&r->e->clock, 70000);
    other = support_tiering_step(r);
    return rc < 0 ? rc : other;
}

/* The same once more, in the same process or in a new one, goes through. */
static void again(struct support_tiering *r, bool reopen)
{
    struct tiering_run run = {.seal = true, .evict = true};
    struct varve_error err = {0};
    struct index_root root;
    int rc;

    if (reopen) {
        support_tiering_close(r);
        rc = support_tiering_open(r, &err);
        if (rc < 0)
            print_error("open: %s\n", err.msg);
        assert_int_equal(rc, 0);
    }
    rc = tiering_log_run(r->t, &run, &err);
    if (rc < 0)
        print_error("run: %s\n", err.msg);
    assert_int_equal(rc, 0);
    support_tiering_root(r, &root);
    assert_int_equal(root.end_offset, r->end);
    support_tiering_check(r);
}

static void each_call_fails(struct support_env *e, int sys_errno, bool remote, unsigned threads)
{
    support_logger_expect(e->logger, "");
    for (uint64_t nth = 1;; nth++) {
        struct support_io_fault fault = {
            .call = SUPPORT_IO_ANY, .nth = nth, .sys_errno = sys_errno, .torn_size = 50};
        struct support_tiering r;
        struct varve_error err = {0};
        bool hit, failed;

        support_tiering_init(&r, e);
        r.threads = threads;
        r.remote = remote;
        r.hot_options.segment_bytes = 16384; /* two batches, several parts */
        assert_int_equal(support_tiering_open(&r, &err), 0);
        support_io_fail(e->io, &fault);
        (void)work(&r);
        hit = support_io_failed(e->io) > 0;
        support_io_fail(e->io, NULL);
        /* A failed sync of the hot tier is final until it is opened again (I11). */
        failed = hot_set_sync(r.hot, NULL) < 0;
        again(&r, failed);
        again(&r, true);
        support_tiering_deinit(&r);
        assert_int_equal(base_tree_remove(&base_io_posix, r.cold_path, NULL), 0);
        assert_int_equal(base_tree_remove(&base_io_posix, r.local_path, NULL), 0);
        if (!hit) {
            assert_true(nth > 50);
            break;
        }
        assert_true(nth < CALLS_MAX);
    }
}

static void each_call_fails_once_with_an_error(void **state)
{
    each_call_fails(*state, EIO, false, 0);
}

static void each_call_finds_the_disk_full_once(void **state)
{
    each_call_fails(*state, ENOSPC, false, 0);
}

static void each_call_fails_once_with_threads(void **state)
{
    each_call_fails(*state, EIO, false, 2);
}

/* Segments of several parts, and so the journal. */
static void each_call_of_multipart_fails_once(void **state)
{
    each_call_fails(*state, EIO, true, 0);
}

static void each_call_of_multipart_finds_the_disk_full_once(void **state)
{
    each_call_fails(*state, ENOSPC, true, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(each_call_fails_once_with_an_error),
        support_env_test(each_call_finds_the_disk_full_once),
        support_env_test(each_call_fails_once_with_threads),
        support_env_test(each_call_of_multipart_fails_once),
        support_env_test(each_call_of_multipart_finds_the_disk_full_once),
    };

    /* Thousands of syncs, and no power is ever cut: memory will do. */
    if (access("/dev/shm", W_OK | X_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
