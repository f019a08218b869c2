/*
 * The whole life of a log (make a store and a log, append, upload, evict, read, trim, close, open
 * again, go on) with its Nth I/O call failing, then with its Nth allocation failing, for every N.
 * Whatever fails: nothing leaks, and what was acknowledged is there when everything works again.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/alloc.h"
#include "tests/support/support_log.h"

#define NTH_MAX 20000 /* more than there are calls */
#define BATCH_RECORDS 5

/* What the log has promised so far. */
struct promised {
    int64_t end;   /* acknowledged: all below is there */
    int64_t tried; /* an append up to here may or may not have happened */
    int64_t start; /* trimmed up to here */
    int64_t trimming;
    bool store; /* the store has been made */
    bool log;
};

struct life {
    const struct base_env *env;
    const char *path;
    struct varve_store_options options;
    struct promised promised;
    struct varve_store *store;
    struct varve_log *log;
    struct varve_error err;
};

static int life_append(struct life *l, int batches)
{
    struct varve_batch *batch = NULL;
    int rc = varve_batch_new(VARVE_CODEC_LZ4, 0, 65536, &batch, &l->err);

    for (int i = 0; rc == 0 && i < batches; i++) {
        int64_t base = -1;
        varve_batch_clear(batch);
        for (int k = 0; rc == 0 && k < BATCH_RECORDS; k++) {
            struct support_log_record buf;
            struct varve_record record;
            support_log_record(l->promised.end + k, &buf, &record);
            rc = varve_batch_add(batch, &record, &l->err);
        }
        if (rc < 0)
            break;
        l->promised.tried = l->promised.end + BATCH_RECORDS;
        rc = varve_log_append(l->log, batch, &base, &l->err);
        if (rc == 0) {
            assert_int_equal(base, l->promised.end);
            l->promised.end = l->promised.tried;
        }
    }
    varve_batch_free(batch);
    return rc;
}

static int life_tier(struct life *l, bool seal, bool evict)
{
    struct varve_tier_options o = {.size = sizeof(o), .seal = seal, .evict = evict};

    return varve_log_tier(l->log, &o, &l->err);
}

static int life_read(struct life *l)
{
    struct varve_reader *reader = NULL;
    struct varve_record record;
    int64_t next = l->promised.start;
    int rc = varve_reader_open(l->log, NULL, &reader, &l->err);

    while (rc == 0 && next < l->promised.end) {
        rc = varve_reader_next(reader, 0, &record, &l->err);
        if (rc == 0)
            assert_true(support_log_record_is(&record, next));
        next += rc == 0;
    }
    varve_reader_close(reader);
    return rc;
}

static int life_find_time(struct life *l)
{
    int64_t offset = -1, want = l->promised.start + 7;
    int rc = varve_log_find_time(l->log, SUPPORT_LOG_TIME + want, &offset, NULL, &l->err);

    if (rc == 0)
        assert_int_equal(offset, want);
    return rc;
}

static int life_trim(struct life *l, int64_t offset)
{
    int rc;

    l->promised.trimming = offset;
    rc = varve_log_trim(l->log, offset, &l->err);
    if (rc == 0)
        l->promised.start = offset;
    return rc;
}

static int life_open(struct life *l)
{
    struct varve_log_options o = {.size = sizeof(o), .durability = VARVE_DURABILITY_FSYNC};
    int rc = log_store_open_env(l->env, l->path, &l->options, &l->store, &l->err);

    return rc < 0 ? rc : varve_log_open(l->store, "a", &o, &l->log, &l->err);
}

static void life_close(struct life *l)
{
    l->log = varve_log_close(l->log);
    l->store = varve_store_close(l->store);
}

static int life_create(struct life *l)
{
    static const struct varve_option options[] = {{"segment.bytes", "4096"},
                                                  {"cold.block.bytes", "4096"},
                                                  {"index.interval.bytes", "512"},
                                                  {"file.delete.delay.ms", "0"}};
    int rc = log_store_create_env(l->env, l->path, &l->options, &l->err);

    if (rc < 0)
        return rc;
    l->promised.store = true;
    rc = log_store_open_env(l->env, l->path, &l->options, &l->store, &l->err);
    if (rc == 0)
        rc = varve_log_create(l->store, "a", options, 4, &l->err);
    if (rc == 0)
        l->promised.log = true;
    l->store = varve_store_close(l->store);
    return rc;
}

static int life_first_half(struct life *l)
{
    int rc = life_open(l);

    if (rc == 0)
        rc = life_append(l, 14);
    if (rc == 0)
        rc = life_tier(l, false, false);
    if (rc == 0)
        rc = life_append(l, 3);
    if (rc == 0)
        rc = life_tier(l, true, true);
    if (rc == 0)
        rc = life_append(l, 3);
    if (rc == 0)
        rc = life_read(l);
    if (rc == 0)
        rc = life_find_time(l);
    return rc;
}

static int life_second_half(struct life *l)
{
    struct varve_option change = {"retention.ms", "-1"};
    int rc = life_open(l);

    if (rc == 0)
        rc = life_read(l);
    if (rc == 0)
        rc = life_trim(l, 37);
    if (rc == 0)
        rc = varve_log_configure(l->log, &change, 1, &l->err);
    if (rc == 0)
        rc = life_append(l, 5);
    if (rc == 0)
        rc = life_tier(l, true, true);
    if (rc == 0)
        rc = life_find_time(l);
    if (rc == 0)
        rc = varve_log_sync(l->log, &l->err);
    return rc;
}

/* Stops at the first failure. */
static int life_live(struct life *l)
{
    int rc = life_create(l);

    if (rc == 0)
        rc = life_first_half(l);
    life_close(l);
    if (rc == 0)
        rc = life_second_half(l);
    life_close(l);
    if (rc < 0)
        assert_true(l->err.code == rc && l->err.msg[0] != '\0');
    return rc;
}

static void finding(void *ctx, const struct varve_finding *f)
{
    if (f->problem)
        fprintf(stderr, "after call %llu: %s: %s: %s\n", (unsigned long long)*(uint64_t *)ctx,
                f->kind, f->where, f->text);
}

/* Everything works again: what was promised is there, whole, and goes on. */
static void life_check(struct life *l, uint64_t nth)
{
    struct promised *p = &l->promised;
    struct varve_verify_options verify = {
        .size = sizeof(verify), .deep = true, .found = finding, .ctx = &nth};
    int rc;

    if (!p->store) {
        rc = log_store_create_env(l->env, l->path, &l->options, &l->err);
        if (rc != VARVE_E_EXISTS)
            support_succeeds(rc, &l->err);
    }
    if (!p->log) {
        support_succeeds(log_store_open_env(l->env, l->path, &l->options, &l->store, &l->err),
                         &l->err);
        rc = varve_log_create(l->store, "a", NULL, 0, &l->err);
        if (rc != VARVE_E_EXISTS) /* the reply was lost, it had been made */
            support_succeeds(rc, &l->err);
        l->store = varve_store_close(l->store);
    }
    rc = life_open(l);
    if (rc < 0)
        fail_msg("call %llu failed, then opening: %s", (unsigned long long)nth, l->err.msg);
    struct varve_log_info info = support_log_info(l->log);
    if (info.end_offset != p->end && info.end_offset != p->tried)
        fail_msg("call %llu: acknowledged to %lld, tried to %lld, ends at %lld",
                 (unsigned long long)nth, (long long)p->end, (long long)p->tried,
                 (long long)info.end_offset);
    assert_true(info.start_offset == p->start || info.start_offset == p->trimming);
    assert_true(info.hot_start <= info.cold_end); /* I1 */
    p->end = p->tried = info.end_offset;
    p->start = info.start_offset;
    support_succeeds(varve_log_verify(l->log, &verify, &l->err), &l->err);
    assert_int_equal(verify.problems, 0);
    support_succeeds(life_read(l), &l->err);
    support_succeeds(life_append(l, 2), &l->err);
    support_succeeds(life_tier(l, true, true), &l->err);
    support_succeeds(life_read(l), &l->err);
    life_close(l);
}

/* ---- the seams ---- */

static int no_sync(void *ctx, int fd)
{
    (void)ctx;
    (void)fd;
    return 0;
}

/* The system's calls, but nothing waits for a disk: no machine stops in these tests. */
static const struct base_io *quick_io(void)
{
    static struct base_io io;

    io = base_io_posix;
    io.fdatasync = no_sync;
    io.fsync = no_sync;
    return &io;
}

static struct support_env *quick_env(void)
{
    struct support_env *e = support_env_new("nth");

    support_io_free(e->io);
    e->io = support_io_new(quick_io());
    support_io_set_tracing(e->io, false);
    e->env.io = support_io_seam(e->io);
    return e;
}

/* ---- I/O ---- */

/* One life in a fresh directory. False: it made fewer calls than nth. */
static bool life_with_fault(const struct support_io_fault *fault)
{
    struct support_env *e = quick_env();
    struct life l = {
        .env = &e->env, .path = support_store_path(e, NULL), .options = support_store_options(e)};
    int rc;

    l.options.cache_bytes = -1;
    support_io_fail(e->io, fault);
    rc = life_live(&l);
    bool hit = support_io_failed(e->io) > 0;
    support_io_fail(e->io, NULL);
    if (support_io_open_count(e->io) != 0)
        fail_msg("call %llu: %zu descriptors are open", (unsigned long long)fault->nth,
                 support_io_open_count(e->io));
    if (!hit)
        support_succeeds(rc, &l.err);
    life_check(&l, fault->nth);
    assert_int_equal(support_io_open_count(e->io), 0);
    support_env_free(e);
    return hit;
}

static void any_io_call_may_fail_once(void **state)
{
    struct support_io_fault fault = {.call = SUPPORT_IO_ANY, .nth = 1, .sys_errno = EIO};

    (void)state;
    while (life_with_fault(&fault))
        assert_true(++fault.nth < NTH_MAX);
    assert_true(fault.nth > 300);
}

/* As when the machine stops there, but for what it had acknowledged. */
static void any_io_call_may_be_the_last_that_works(void **state)
{
    struct support_io_fault fault = {
        .call = SUPPORT_IO_ANY, .nth = 1, .sys_errno = EIO, .keep = true, .torn_size = 70};

    (void)state;
    while (life_with_fault(&fault))
        assert_true((fault.nth += 2) < NTH_MAX);
}

static void the_disk_may_be_full_at_any_write(void **state)
{
    struct support_io_fault fault = {
        .call = SUPPORT_IO_PWRITEV, .nth = 1, .sys_errno = ENOSPC, .keep = true, .torn_size = 30};

    (void)state;
    while (life_with_fault(&fault))
        assert_true(++fault.nth < NTH_MAX);
}

/* Those that SUPPORT_IO_ANY leaves out. */
static void closing_and_looking_may_fail_too(void **state)
{
    static const enum support_io_call calls[] = {SUPPORT_IO_CLOSE, SUPPORT_IO_FSTAT};

    (void)state;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        struct support_io_fault fault = {.call = calls[i], .nth = 1, .sys_errno = EIO};
        while (life_with_fault(&fault))
            assert_true(++fault.nth < NTH_MAX);
    }
}

/* ---- memory ---- */

static bool life_without_memory(uint64_t nth, bool keep)
{
    struct support_env *e = quick_env();
    struct life l = {
        .env = &e->env, .path = support_store_path(e, NULL), .options = support_store_options(e)};
    uint64_t count;
    int rc;

    /* the seams for tests need memory themselves */
    e->env.io = quick_io();
    l.options.message = NULL;
    l.options.cache_bytes = -1;
    support_alloc_fail(nth, keep);
    rc = life_live(&l);
    count = support_alloc_stop();
    if (count < nth)
        support_succeeds(rc, &l.err);
    life_check(&l, nth);
    support_env_free(e);
    return count >= nth;
}

static void any_allocation_may_fail_once(void **state)
{
    uint64_t nth = 1;

    (void)state;
    while (life_without_memory(nth, false))
        assert_true(++nth < NTH_MAX);
    assert_true(nth > 300);
}

static void memory_may_be_out_from_any_allocation_on(void **state)
{
    uint64_t nth = 1;

    (void)state;
    while (life_without_memory(nth, true))
        assert_true((nth += 3) < NTH_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_io_call_may_fail_once),
        cmocka_unit_test(any_io_call_may_be_the_last_that_works),
        cmocka_unit_test(the_disk_may_be_full_at_any_write),
        cmocka_unit_test(closing_and_looking_may_fail_too),
        cmocka_unit_test(any_allocation_may_fail_once),
        cmocka_unit_test(memory_may_be_out_from_any_allocation_on),
    };

    return cmocka_run_group_tests_name("log_nth", tests, NULL, NULL);
}
