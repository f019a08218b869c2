/*
 * Every I/O call of a life of a set failing in turn, once and from then on: open, append, seal,
 * read, evict, close. Whatever happens, what was acknowledged is there when the set is opened
 * again, no descriptor stays open, and nothing is served that was not appended.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/support_hot.h"

struct life {
    int64_t acknowledged; /* end offset */
    int64_t evicted;      /* asked for up to here */
};

static void live(struct support_env *e, const struct hot_set_options *options, struct life *life)
{
    struct hot_set *set = NULL;
    struct varve_error err;
    struct hot_range range;
    int64_t next;
    if (hot_set_open(&e->env, support_tmpdir_path(e->dir, "log"), options, &set, NULL, &err) < 0)
        return;
    for (int i = 0; i < 6; i++) {
        for (int k = 0; k < 3; k++) {
            hot_set_range(set, &range);
            if (support_hot_append(set, 5, 100, &err) == 0)
                life->acknowledged = range.end + 5;
        }
        hot_set_seal(set, &err);
        hot_set_tick(set, &next, &err);
    }
    hot_set_range(set, &range);
    life->evicted = range.floor + 20;
    hot_set_evict(set, life->evicted, NULL, NULL, &err);
    if (support_hot_append(set, 5, 100, &err) == 0) {
        hot_set_range(set, &range);
        life->acknowledged = range.end;
    }
    hot_set_close(set);
}

static void check(struct support_env *e, const struct hot_set_options *options,
                  const struct life *life)
{
    struct hot_recovery recovery;
    struct hot_range range;
    struct varve_error err;
    struct hot_set *set = support_hot_open(e, options, &recovery);
    hot_set_range(set, &range);
    assert_true(range.end >= life->acknowledged);
    assert_true(range.floor <= life->evicted);
    assert_int_equal(support_hot_read(set, range.floor), range.end);
    assert_int_equal(support_hot_append(set, 5, 100, &err), 0);
    assert_int_equal(support_hot_read(set, range.floor), range.end + 5);
    hot_set_close(set);
    assert_int_equal(support_io_open_count(e->io), 0);
}

static void each_call_fails(struct support_env *e, enum hot_durability durability, int sys_errno,
                            bool keep, size_t torn_size)
{
    struct hot_set_options options = support_hot_options();
    options.durability = durability;
    options.flush_ms = 0;
    support_io_set_tracing(e->io, false);
    support_logger_expect(e->logger, "");
    for (uint64_t nth = 1;; nth++) {
        struct life life = {0};
        struct support_io_fault fault = {.call = SUPPORT_IO_ANY,
                                         .nth = nth,
                                         .sys_errno = sys_errno,
                                         .keep = keep,
                                         .torn_size = torn_size};
        assert_int_equal(base_tree_remove(&base_io_posix, support_tmpdir_path(e->dir, "log"), NULL),
                         0);
        support_io_fail(e->io, &fault);
        live(e, &options, &life);
        bool hit = support_io_failed(e->io) > 0;
        support_io_fail(e->io, NULL);
        check(e, &options, &life);
        /* Opening what is there already, failing likewise. */
        support_io_fail(e->io, &fault);
        live(e, &options, &life);
        support_io_fail(e->io, NULL);
        check(e, &options, &life);
        if (!hit)
            break;
    }
}

static void each_call_fails_once_in_fsync_mode(void **state)
{
    each_call_fails(*state, HOT_DURABILITY_FSYNC, EIO, false, 0);
}

static void each_call_fails_once_in_os_mode(void **state)
{
    each_call_fails(*state, HOT_DURABILITY_OS, EIO, false, 0);
}

static void the_disk_is_full_from_some_call_on(void **state)
{
    each_call_fails(*state, HOT_DURABILITY_FSYNC, ENOSPC, true, 0);
    each_call_fails(*state, HOT_DURABILITY_OS, ENOSPC, true, 70);
}

static void the_machine_stops_within_some_write(void **state)
{
    each_call_fails(*state, HOT_DURABILITY_FSYNC, EIO, true, 33);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, support_env_setup, support_env_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_call_fails_once_in_fsync_mode),
        TEST(each_call_fails_once_in_os_mode),
        TEST(the_disk_is_full_from_some_call_on),
        TEST(the_machine_stops_within_some_write),
    };
    return cmocka_run_group_tests_name("hot_nth", tests, NULL, NULL);
}
