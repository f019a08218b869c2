/* The reserve: made within its limits, given in order, taken back; and a run that lives on it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/file.h"
#include "tests/support/support_log.h"

#define KIB 1024
#define MIB (1024 * 1024)

/* Blocks that the file has, as the disk counts them. */
static uint64_t blocks_of(const char *path)
{
    struct stat st;

    return stat(path, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

static struct varve_store *open_with(struct support_env *e, int64_t reserve_bytes)
{
    struct varve_store_options options = support_store_options(e);

    options.reserve_bytes = reserve_bytes;
    return support_store_open(e, &options);
}

static void it_holds_blocks_from_the_first_open_for_writing_on(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    struct varve_store *store = open_with(e, 512 * KIB);

    assert_true(blocks_of(support_store_path(e, "reserve")) >= 512 * KIB);
    assert_int_equal(log_reserve_held(&store->reserve, UINT64_MAX), 512 * KIB);
    varve_store_close(store);
    assert_true(blocks_of(support_store_path(e, "reserve")) >= 512 * KIB);

    assert_int_equal(unlink(support_store_path(e, "reserve")), 0);
    options.read_only = true;
    varve_store_close(support_store_open(e, &options));
    assert_false(support_file_exists(support_store_path(e, "reserve")));
}

static void it_can_be_declined(void **state)
{
    struct support_env *e = *state;

    varve_store_close(open_with(e, 64 * KIB));
    assert_true(support_file_exists(support_store_path(e, "reserve")));
    varve_store_close(open_with(e, -1));
    assert_false(support_file_exists(support_store_path(e, "reserve")));
}

/* A disk of any size, over the system's calls. */
struct disk {
    struct base_io io;
    uint64_t free_bytes;
    uint64_t total;
};

static int disk_free(void *ctx, const char *path, uint64_t *ret_free, uint64_t *ret_total)
{
    const struct disk *d = ctx;

    (void)path;
    *ret_free = d->free_bytes;
    *ret_total = d->total;
    return 0;
}

/* Only disk_free looks at ctx; the system's calls ignore it. */
static void disk_init(struct disk *d, uint64_t free_bytes, uint64_t total)
{
    d->io = base_io_posix;
    d->io.ctx = d;
    d->io.disk_free = disk_free;
    d->free_bytes = free_bytes;
    d->total = total;
}

static uint64_t held_on(struct support_env *e, struct disk *d, struct log_reserve *r,
                        struct cold_store *segments)
{
    struct base_env env = e->env;

    env.io = &d->io;
    log_reserve_init(r, &env);
    log_reserve_open(r, support_store_path(e, NULL), segments, 0, NULL, NULL);
    return r->held;
}

static void it_takes_no_more_than_its_shares_of_the_disk_and_of_what_is_free(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = open_with(e, -1);
    static const struct {
        int64_t free_bytes, total, held;
    } cases[] = {
        {INT64_C(1) << 40, INT64_C(1) << 40, LOG_RESERVE_OBJECT_BYTES + LOG_RESERVE_ROOT_BYTES},
        {64 * MIB, INT64_C(1) << 40, 16 * MIB},
        {64 * MIB, 64 * MIB, 4 * MIB},
        {10 * KIB, 64 * MIB, 0},
        {0, 64 * MIB, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct log_reserve r;
        struct disk d;

        disk_init(&d, (uint64_t)cases[i].free_bytes, (uint64_t)cases[i].total);
        assert_int_equal(held_on(e, &d, &r, store->segments), cases[i].held);
        log_reserve_deinit(&r);
        unlink(support_store_path(e, "reserve"));
    }
    varve_store_close(store);
}

static void it_keeps_what_a_root_needs_until_a_root_asks(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = open_with(e, -1);
    struct log_reserve r;
    struct disk d;

    disk_init(&d, 64 * MIB, 64 * MIB);
    assert_int_equal(held_on(e, &d, &r, store->segments), 4 * MIB);
    assert_true(log_reserve_give(&r, 50000));
    assert_int_equal(log_reserve_held(&r, UINT64_MAX), 53248); /* whole pages */
    assert_int_equal(log_reserve_held(&r, 1000), UINT64_MAX);  /* so much has room anyway */
    assert_false(log_reserve_give(&r, 50000));
    assert_true(log_reserve_give(&r, 0));
    assert_int_equal(log_reserve_held(&r, UINT64_MAX), 0);
    assert_false(log_reserve_give(&r, 0));
    assert_int_equal(blocks_of(support_store_path(e, "reserve")), 0);

    d.free_bytes = LOG_RESERVE_SLACK_BYTES;
    log_reserve_refill(&r);
    assert_int_equal(log_reserve_held(&r, UINT64_MAX), 0);
    d.free_bytes = MIB;
    log_reserve_refill(&r);
    assert_int_equal(log_reserve_held(&r, UINT64_MAX), MIB - LOG_RESERVE_SLACK_BYTES);
    d.free_bytes = 64 * MIB;
    log_reserve_refill(&r);
    assert_int_equal(log_reserve_held(&r, UINT64_MAX), 4 * MIB);
    d.total = d.free_bytes = INT64_C(1) << 40; /* nothing was given: nothing more is taken */
    log_reserve_refill(&r);
    assert_int_equal(log_reserve_held(&r, UINT64_MAX), 4 * MIB);
    log_reserve_deinit(&r);
    varve_store_close(store);
}

static void a_file_system_that_cannot_allocate_has_none(void **state)
{
    struct support_env *e = *state;
    struct support_io_fault fault = {.call = SUPPORT_IO_FALLOCATE,
                                     .path = "reserve",
                                     .nth = 1,
                                     .sys_errno = EOPNOTSUPP,
                                     .keep = true};
    struct varve_store *store;

    support_io_fail(e->io, &fault);
    store = open_with(e, 512 * KIB);
    assert_true(support_io_failed(e->io) > 0);
    support_io_fail(e->io, NULL);
    assert_int_equal(log_reserve_held(&store->reserve, UINT64_MAX), 0);
    assert_false(log_reserve_give(&store->reserve, 4096) &&
                 log_reserve_give(&store->reserve, 4096));
    varve_store_close(store);
}

static void the_caches_go_first(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = open_with(e, 512 * KIB);
    struct varve_log *log = support_log_open(store, "a", "segment.bytes=16384");

    support_log_append(log, 100, 10);
    support_log_tier(log, true, true);
    assert_int_equal(support_log_read(log, 0), 1000);
    assert_true(blocks_of(support_store_path(e, "cache/blocks-0")) > 0);
    assert_true(log_reserve_give(&store->reserve, 4096));
    assert_int_equal(log_reserve_held(&store->reserve, UINT64_MAX), 512 * KIB);
    assert_int_equal(blocks_of(support_store_path(e, "cache/blocks-0")), 0);
    assert_int_equal(blocks_of(support_store_path(e, "cache/tables-0")), 0);
    /* Reading goes on without, and what it would have kept takes no room again. */
    assert_int_equal(support_log_read(log, 0), 1000);
    assert_int_equal(support_log_read(log, 500), 1000);
    assert_int_equal(blocks_of(support_store_path(e, "cache/blocks-0")), 0);
    assert_true(log_reserve_give(&store->reserve, 4096));
    assert_int_equal(log_reserve_held(&store->reserve, UINT64_MAX), 4096);
    varve_log_close(log);
    varve_store_close(store);
    store = open_with(e, 512 * KIB); /* the next opening makes the cache anew */
    assert_true(blocks_of(support_store_path(e, "cache/blocks-0")) > 0);
    varve_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(it_holds_blocks_from_the_first_open_for_writing_on),
        support_env_test(it_can_be_declined),
        support_env_test(it_takes_no_more_than_its_shares_of_the_disk_and_of_what_is_free),
        support_env_test(it_keeps_what_a_root_needs_until_a_root_asks),
        support_env_test(a_file_system_that_cannot_allocate_has_none),
        support_env_test(the_caches_go_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
