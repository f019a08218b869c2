/* The helpers of tests/support that decide whether other tests can be believed. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/env.h"
#include "tests/support/file.h"
#include "tests/support/support_hot.h"
#include "tests/support/support_log.h"
#include "tests/support/support_tiering.h"
#include "tests/support/tiny.h"

static void a_replaced_file_leaves_its_steps_in_order(void **state)
{
    struct support_env *e = *state;
    const char *path = support_tmpdir_path(e->dir, "f");
    const struct support_io_step *created, *written, *synced, *renamed, *directory;
    struct varve_error err;

    assert_int_equal(base_file_replace(e->env.io, path, "abc", 3, true, &err), 0);
    created = support_io_trace_find(e->io, 0, SUPPORT_IO_OPEN, "f.tmp", NULL);
    written = support_io_trace_find(e->io, 0, SUPPORT_IO_PWRITEV, "f.tmp", NULL);
    synced = support_io_trace_find(e->io, 0, SUPPORT_IO_FDATASYNC, "f.tmp", NULL);
    renamed = support_io_trace_find(e->io, 0, SUPPORT_IO_RENAME, path, NULL);
    directory = support_io_trace_find(e->io, 0, SUPPORT_IO_FSYNC, NULL, NULL);
    assert_true(created->created);
    assert_int_equal(written->size, 3);
    assert_int_equal(written->pos, 0);
    assert_true(support_io_before(created, written));
    assert_true(support_io_before(written, synced));
    assert_true(support_io_before(synced, renamed));
    assert_true(support_io_before(renamed, directory));
    assert_false(support_io_before(renamed, synced));
    assert_string_equal(renamed->to, path);
    assert_string_equal(directory->path, support_tmpdir_root(e->dir));
    assert_int_equal(support_io_open_count(e->io), 0);
    assert_int_equal(support_io_count(e->io, SUPPORT_IO_CLOSE), 2);
}

static void a_fault_hits_the_nth_match_alone_unless_it_keeps_on(void **state)
{
    struct support_env *e = *state;
    const char *a = support_tmpdir_path(e->dir, "a");
    const char *b = support_tmpdir_path(e->dir, "b");
    struct support_io_fault fault = {
        .call = SUPPORT_IO_PWRITEV, .path = "/a", .nth = 2, .sys_errno = EIO};
    const struct base_io *io = e->env.io;
    struct varve_error err;

    support_io_fail(e->io, &fault);
    assert_int_equal(base_file_replace(io, a, "x", 1, false, &err), 0);
    assert_int_equal(base_file_replace(io, b, "x", 1, false, &err), 0);
    assert_int_equal(base_file_replace(io, b, "x", 1, false, &err), 0);
    assert_int_equal(base_file_replace(io, a, "x", 1, false, &err), VARVE_E_IO);
    assert_int_equal(base_file_replace(io, a, "x", 1, false, &err), 0);
    assert_int_equal(support_io_failed(e->io), 1);
    fault.keep = true;
    support_io_fail(e->io, &fault);
    assert_int_equal(base_file_replace(io, a, "x", 1, false, &err), 0);
    assert_int_equal(base_file_replace(io, a, "x", 1, false, &err), VARVE_E_IO);
    assert_int_equal(base_file_replace(io, a, "x", 1, false, &err), VARVE_E_IO);
    support_io_fail(e->io, NULL);
    assert_int_equal(base_file_replace(io, a, "x", 1, false, &err), 0);
}

static void a_torn_write_leaves_its_first_bytes(void **state)
{
    struct support_env *e = *state;
    const char *path = support_tmpdir_path(e->dir, "f");
    const struct support_io_fault fault = {
        .call = SUPPORT_IO_ANY, .path = "f", .nth = 2, .sys_errno = EIO, .torn_size = 4};
    struct iovec iov[] = {{.iov_base = "abc", .iov_len = 3}, {.iov_base = "def", .iov_len = 3}};
    const struct base_io *io = e->env.io;
    struct varve_error err;
    int fd;

    support_io_fail(e->io, &fault);
    fd = io->open(io->ctx, path, O_RDWR | O_CREAT, 0666);
    assert_true(fd >= 0);
    assert_int_equal(base_io_pwritev_full(io, fd, iov, 2, 0, path, &err), VARVE_E_IO);
    assert_int_equal(io->close(io->ctx, fd), 0);
    assert_int_equal(support_file_size(path), 4);
}

static void a_close_that_fails_has_closed(void **state)
{
    struct support_env *e = *state;
    const char *path = support_tmpdir_path(e->dir, "f");
    const struct support_io_fault fault = {.call = SUPPORT_IO_CLOSE, .nth = 1, .sys_errno = EIO};
    struct varve_error err;

    support_io_fail(e->io, &fault);
    assert_int_equal(base_file_replace(e->env.io, path, "abc", 3, false, &err), VARVE_E_IO);
    assert_int_equal(support_io_open_count(e->io), 0);
    assert_false(support_file_exists(path));
}

static void the_clock_moves_when_told(void **state)
{
    struct support_clock c;

    (void)state;
    support_clock_init(&c, 5000);
    assert_int_equal(c.seam.wall_ms(c.seam.ctx), 5000);
    assert_int_equal(c.seam.mono_ns(c.seam.ctx), 1000000000);
    c.seam.sleep_ns(c.seam.ctx, 2500000);
    c.seam.sleep_ns(c.seam.ctx, 500000);
    assert_int_equal(c.seam.wall_ms(c.seam.ctx), 5003);
    assert_int_equal(c.seam.mono_ns(c.seam.ctx), 1003000000);
    support_clock_set_wall_ms(&c, 7);
    assert_int_equal(c.seam.wall_ms(c.seam.ctx), 7);
}

static void the_same_seed_gives_the_same_bytes(void **state)
{
    struct support_random a, b, other;
    uint8_t bytes_a[11], bytes_b[11];

    (void)state;
    support_random_init(&a, 1);
    support_random_init(&b, 1);
    support_random_init(&other, 2);
    a.seam.fill(a.seam.ctx, bytes_a, sizeof(bytes_a));
    b.seam.fill(b.seam.ctx, bytes_b, sizeof(bytes_b));
    assert_memory_equal(bytes_a, bytes_b, sizeof(bytes_a));
    other.seam.fill(other.seam.ctx, bytes_b, sizeof(bytes_b));
    assert_memory_not_equal(bytes_a, bytes_b, sizeof(bytes_a));
}

static void an_unexpected_error_line_is_found(void **state)
{
    struct support_env *e = *state;

    base_log(&e->env.logger, BASE_LOG_INFO, "all is well");
    support_logger_check(e->logger);
    base_log(&e->env.logger, BASE_LOG_ERROR, "upload %d failed", 7);
    assert_string_equal(support_logger_unexpected(e->logger), "upload 7 failed");
    assert_int_equal(support_logger_count(e->logger, BASE_LOG_ERROR, "upload"), 1);
    assert_int_equal(support_logger_count(e->logger, -1, ""), 2);
    support_logger_expect(e->logger, "upload 7");
    assert_null(support_logger_unexpected(e->logger));
}

/* Makes a log as if the variable were `tiny`, appends 50 kB and tells how it lies. */
static struct varve_log_info log_of_run(struct support_env *e, const char *tiny, const char *config)
{
    const char *before = getenv("VARVE_TEST_TINY");
    char *kept = before ? strdup(before) : NULL;
    struct varve_store *store;
    struct varve_log *log;
    struct varve_log_info info;

    assert_int_equal(setenv("VARVE_TEST_TINY", tiny, 1), 0);
    store = support_store_open(e, NULL);
    log = support_log_open(store, tiny[0] ? "tiny" : "ordinary", config);
    support_log_append(log, 100, 5);
    assert_int_equal(support_log_read(log, 0), 500);
    info = support_log_info(log);
    varve_log_close(log);
    varve_store_close(store);
    if (kept)
        setenv("VARVE_TEST_TINY", kept, 1);
    else
        unsetenv("VARVE_TEST_TINY");
    free(kept);
    return info;
}

static void a_tiny_run_makes_many_segments_and_evicts_them(void **state)
{
    struct varve_log_info ordinary = log_of_run(*state, "", NULL);
    struct varve_log_info tiny = log_of_run(*state, "1", NULL);

    assert_int_equal(ordinary.hot_segments, 1);
    assert_int_equal(ordinary.cold_segments, 0);
    assert_true(tiny.cold_segments > 10);
    assert_int_equal(tiny.hot_start, tiny.cold_end);
    assert_int_equal(tiny.hot_segments, 1); /* the active one */
}

static void in_a_tiny_run_what_a_test_has_chosen_stays(void **state)
{
    struct varve_log_info info = log_of_run(*state, "1", SUPPORT_LOG_UNTIERED);

    assert_int_equal(info.hot_segments, 1);
    assert_int_equal(info.cold_segments, 0);
}

/* `meson test --setup tiny` says so here, and ./check looks for it. */
static void sets_and_tiering_of_this_run_are_as_it_says(void **state)
{
    struct support_tiering r;

    support_tiering_init(&r, *state);
    assert_int_equal(support_hot_options().segment_bytes, support_tiny() ? 4096 : 65536);
    assert_int_equal(r.hot_options.segment_bytes, support_tiny() ? 4096 : 16384);
    assert_int_equal(r.policy.local_retention_bytes, support_tiny() ? 0 : -1);
    print_message("this run is %s\n", support_tiny() ? "tiny" : "ordinary");
    support_tiering_deinit(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(a_replaced_file_leaves_its_steps_in_order),
        support_env_test(a_fault_hits_the_nth_match_alone_unless_it_keeps_on),
        support_env_test(a_torn_write_leaves_its_first_bytes),
        support_env_test(a_close_that_fails_has_closed),
        cmocka_unit_test(the_clock_moves_when_told),
        cmocka_unit_test(the_same_seed_gives_the_same_bytes),
        support_env_test(an_unexpected_error_line_is_found),
        support_env_test(a_tiny_run_makes_many_segments_and_evicts_them),
        support_env_test(in_a_tiny_run_what_a_test_has_chosen_stays),
        support_env_test(sets_and_tiering_of_this_run_are_as_it_says),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
