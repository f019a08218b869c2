/*
 * The whole life of a log (make a store and a log, append, upload, evict, read, trim, close, open
 * again, go on, and each other operation of include/varve) with its Nth I/O call failing, then its
 * Nth request to the object store, then its Nth allocation, for every N; and each fifth one
 * with a bucket for its cold tier, where what was asked for may have happened when memory to learn
 * of it is lacking. Whatever fails: nothing leaks, and what was acknowledged is there when
 * everything works again.
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

#include "cold/faulty.h"
#include "cold/s3.h"
#include "record/builder.h"
#include "tests/support/alloc.h"
#include "tests/support/fakes3.h"
#include "tests/support/support_log.h"

#define NTH_MAX 20000 /* more than there are calls */
#define BATCH_RECORDS 5
#define BUCKET_STEP 5           /* each life with a bucket takes some ten times as long */
#define BUCKET_DELAY_DIVISOR 40 /* of the delays between two requests of a call */

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
    bool others; /* not the long life, but the operations that it does without */
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

static const struct varve_option small[] = {{"segment.bytes", "4096"},
                                            {"cold.block.bytes", "4096"},
                                            {"index.interval.bytes", "512"},
                                            {"file.delete.delay.ms", "0"}};

static int life_create(struct life *l)
{
    int rc = log_store_create_env(l->env, l->path, &l->options, &l->err);

    if (rc < 0)
        return rc;
    l->promised.store = true;
    rc = log_store_open_env(l->env, l->path, &l->options, &l->store, &l->err);
    if (rc == 0)
        rc = varve_log_create(l->store, "a", small, 4, &l->err);
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

/* ---- the operations that are left ---- */

/* One record by itself, then a batch that a client has encoded. */
static int life_append_otherwise(struct life *l)
{
    struct varve_batch *batch = NULL;
    struct support_log_record buf;
    struct varve_record record;
    const void *data;
    size_t size;
    int64_t base = -1;
    int rc;

    support_log_record(l->promised.end, &buf, &record);
    l->promised.tried = l->promised.end + 1;
    rc = varve_log_append_record(l->log, &record, &base, &l->err);
    if (rc < 0)
        return rc;
    assert_int_equal(base, l->promised.end);
    l->promised.end = l->promised.tried;
    support_log_record(l->promised.end, &buf, &record);
    rc = varve_batch_new(VARVE_CODEC_ZSTD, 0, 65536, &batch, &l->err);
    if (rc == 0)
        rc = varve_batch_add(batch, &record, &l->err);
    if (rc == 0)
        rc = record_builder_encode(batch, &data, &size, &l->err);
    if (rc == 0) {
        l->promised.tried = l->promised.end + 1;
        rc = varve_log_append_encoded(l->log, data, size, &base, &l->err);
    }
    if (rc == 0)
        l->promised.end = l->promised.tried;
    varve_batch_free(batch);
    return rc;
}

static int see_option(void *ctx, const char *name, const char *value, bool is_default)
{
    (void)is_default;
    assert_true(name[0] && value);
    ++*(int *)ctx;
    return 0;
}

static int see_log(void *ctx, const char *name)
{
    assert_true(strcmp(name, "a") == 0 || strcmp(name, "b") == 0);
    ++*(int *)ctx;
    return 0;
}

static int see_segment(void *ctx, const struct varve_segment_info *info)
{
    (void)info;
    ++*(int *)ctx;
    return 0;
}

static int see_divergent(void *ctx, const struct varve_divergent_info *d)
{
    (void)ctx;
    (void)d;
    fail_msg("a tail was moved aside in a log with one writer");
    return 0;
}

/* What is asked of store and log. */
static int life_look(struct life *l)
{
    struct varve_log_info info = {.size = sizeof(info)};
    struct varve_store_stats stats = {.size = sizeof(stats)};
    /* Not deep: that reads the whole cache file, in some thousand calls. */
    struct varve_verify_options verify = {.size = sizeof(verify)};
    int seen = 0, rc = varve_log_info(l->log, &info, &l->err);

    if (rc == 0)
        assert_true(info.end_offset == l->promised.end || info.end_offset == l->promised.tried);
    if (rc == 0)
        rc = varve_log_each_segment(l->log, see_segment, &seen, &l->err);
    if (rc == 0)
        rc = varve_log_each_divergent(l->log, see_divergent, NULL, &l->err);
    if (rc == 0)
        rc = varve_log_each_option(l->log, see_option, &seen, &l->err);
    if (rc == 0)
        rc = varve_store_each_option(l->store, see_option, &seen, &l->err);
    if (rc == 0)
        rc = varve_store_each_log(l->store, see_log, &seen, &l->err);
    if (rc == 0)
        rc = varve_log_verify(l->log, &verify, &l->err);
    varve_store_stats(l->store, &stats);
    return rc;
}

/* By batches, and after a seek. */
static int life_read_batches(struct life *l)
{
    struct varve_reader *reader = NULL;
    struct varve_batch_view batch;
    struct varve_record record;
    int64_t middle = (l->promised.start + l->promised.end) / 2;
    int rc = varve_reader_open(l->log, NULL, &reader, &l->err);

    if (rc == 0)
        rc = varve_reader_next_batch(reader, 0, &batch, &l->err);
    if (rc == 0)
        rc = varve_reader_seek(reader, middle, &l->err);
    if (rc == 0)
        rc = varve_reader_next(reader, 0, &record, &l->err);
    if (rc == 0)
        assert_true(support_log_record_is(&record, middle));
    varve_reader_close(reader);
    return rc;
}

/* A log beside it, which comes and goes. */
static int life_of_another(struct life *l)
{
    struct varve_log_options o = {.size = sizeof(o), .durability = VARVE_DURABILITY_FSYNC};
    struct varve_tier_options tier = {.size = sizeof(tier), .seal = true, .evict = true};
    struct support_log_record buf;
    struct varve_record record;
    struct varve_log *log = NULL;
    int rc = varve_log_create(l->store, "b", small, 4, &l->err);

    if (rc == 0)
        rc = varve_log_open(l->store, "b", &o, &log, &l->err);
    support_log_record(0, &buf, &record);
    if (rc == 0)
        rc = varve_log_append_record(log, &record, NULL, &l->err);
    if (rc == 0)
        rc = varve_log_tier(log, &tier, &l->err);
    varve_log_close(log);
    return rc < 0 ? rc : varve_log_delete(l->store, "b", &l->err);
}

static int life_others(struct life *l)
{
    struct varve_option change = {"upload.bytes.per.second", "0"};
    int rc = life_open(l);

    if (rc == 0)
        rc = life_append(l, 3);
    if (rc == 0)
        rc = life_tier(l, true, true);
    if (rc == 0)
        rc = life_append_otherwise(l);
    if (rc == 0)
        rc = varve_log_seal(l->log, &l->err);
    if (rc == 0)
        rc = life_append(l, 1);
    if (rc == 0)
        rc = life_look(l);
    if (rc == 0)
        rc = life_read_batches(l);
    if (rc == 0)
        rc = varve_store_configure(l->store, &change, 1, &l->err);
    if (rc == 0)
        rc = life_of_another(l);
    return rc;
}

/* Stops at the first failure. */
static int life_live(struct life *l)
{
    int rc = life_create(l);

    if (rc == 0)
        rc = l->others ? life_others(l) : life_first_half(l);
    life_close(l);
    if (rc == 0 && !l->others)
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
static bool life_with_fault(const struct support_io_fault *fault, bool others)
{
    struct support_env *e = quick_env();
    struct life l = {.env = &e->env,
                     .path = support_store_path(e, NULL),
                     .options = support_store_options(e),
                     .others = others};
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
    while (life_with_fault(&fault, false))
        assert_true(++fault.nth < NTH_MAX);
    assert_true(fault.nth > 300);
}

/* As when the machine stops there, but for what it had acknowledged. */
static void any_io_call_of_the_other_operations_may_fail_once(void **state)
{
    struct support_io_fault fault = {.call = SUPPORT_IO_ANY, .nth = 1, .sys_errno = EIO};

    (void)state;
    while (life_with_fault(&fault, true))
        assert_true(++fault.nth < NTH_MAX);
    assert_true(fault.nth > 200);
}

static void any_io_call_may_be_the_last_that_works(void **state)
{
    struct support_io_fault fault = {
        .call = SUPPORT_IO_ANY, .nth = 1, .sys_errno = EIO, .keep = true, .torn_size = 70};

    (void)state;
    while (life_with_fault(&fault, false))
        assert_true((fault.nth += 2) < NTH_MAX);
}

static void the_disk_may_be_full_at_any_write(void **state)
{
    struct support_io_fault fault = {
        .call = SUPPORT_IO_PWRITEV, .nth = 1, .sys_errno = ENOSPC, .keep = true, .torn_size = 30};

    (void)state;
    while (life_with_fault(&fault, false))
        assert_true(++fault.nth < NTH_MAX);
}

/* Those that SUPPORT_IO_ANY leaves out. */
static void closing_and_looking_may_fail_too(void **state)
{
    static const enum support_io_call calls[] = {SUPPORT_IO_CLOSE, SUPPORT_IO_FSTAT};

    (void)state;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        struct support_io_fault fault = {.call = calls[i], .nth = 1, .sys_errno = EIO};
        while (life_with_fault(&fault, false))
            assert_true(++fault.nth < NTH_MAX);
    }
}

/* ---- requests to the object store ---- */

/* The Nth request of all stores that the engine opens fails. */
struct request_fault {
    struct cold_opener opener;
    struct cold_faulty_hook hook;
    struct base_env env; /* of the stores under it: without an opener */
    _Atomic uint64_t count;
    uint64_t nth;
    bool lost; /* it is carried out, and its reply is lost */
    bool keep; /* those after it fail, too */
};

static int request_fails(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct request_fault *f = ctx;
    uint64_t number;

    (void)op;
    (void)key;
    if (after != f->lost)
        return 0;
    number = ++f->count;
    return number == f->nth || (f->keep && number > f->nth) ? VARVE_E_STORE : 0;
}

static int faulty_open(void *ctx, const struct base_env *env, const char *url,
                       const struct cold_store_options *options, struct cold_store **ret,
                       struct varve_error *err)
{
    struct request_fault *f = ctx;
    struct cold_store *under;
    int rc = cold_store_open(&f->env, url, options, &under, err);

    (void)env;
    if (rc == 0)
        rc = cold_faulty_new(&f->env, url, under, NULL, 1, &f->hook, options->read_only, ret, err);
    return rc;
}

static bool life_with_request_fault(uint64_t nth, bool lost, bool keep, bool others)
{
    struct support_env *e = quick_env();
    struct request_fault f = {.env = e->env, .nth = nth, .lost = lost, .keep = keep};
    struct life l = {.env = &e->env,
                     .path = support_store_path(e, NULL),
                     .options = support_store_options(e),
                     .others = others};
    bool hit;
    int rc;

    l.options.cache_bytes = -1;
    l.options.message = NULL; /* what could not be uploaded or collected is said */
    f.hook = (struct cold_faulty_hook){.fault = request_fails, .ctx = &f};
    f.opener = (struct cold_opener){.open = faulty_open, .ctx = &f};
    e->env.cold = &f.opener;
    rc = life_live(&l);
    hit = f.count >= nth;
    f.nth = UINT64_MAX;
    assert_int_equal(support_io_open_count(e->io), 0);
    if (!hit)
        support_succeeds(rc, &l.err);
    life_check(&l, nth);
    assert_int_equal(support_io_open_count(e->io), 0);
    support_env_free(e);
    return hit;
}

static void any_request_may_fail_once(void **state)
{
    (void)state;
    for (int others = 0; others <= 1; others++) {
        uint64_t nth = 1;

        while (life_with_request_fault(nth, false, false, others))
            assert_true(++nth < NTH_MAX);
        assert_true(nth > 15);
    }
}

static void any_reply_may_be_lost(void **state)
{
    (void)state;
    for (int others = 0; others <= 1; others++) {
        uint64_t nth = 1;

        while (life_with_request_fault(nth, true, false, others))
            assert_true(++nth < NTH_MAX);
        assert_true(nth > 15);
    }
}

static void the_store_may_be_away_from_any_request_on(void **state)
{
    (void)state;
    for (int others = 0; others <= 1; others++) {
        uint64_t nth = 1;

        while (life_with_request_fault(nth, false, true, others))
            assert_true(++nth < NTH_MAX);
        assert_true(nth > 15);
    }
}

/* ---- memory ---- */

/* `cold` opens the object stores; NULL: they are directories. */
static bool life_without_memory(uint64_t nth, bool keep, bool others,
                                const struct cold_opener *cold)
{
    struct support_env *e = quick_env();
    struct life l = {.env = &e->env,
                     .path = support_store_path(e, NULL),
                     .options = support_store_options(e),
                     .others = others};
    uint64_t count;
    int rc;

    /* the seams for tests need memory themselves */
    e->env.io = quick_io();
    e->env.cold = cold;
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
    while (life_without_memory(nth, false, false, NULL))
        assert_true(++nth < NTH_MAX);
    assert_true(nth > 300);
}

static void any_allocation_of_the_other_operations_may_fail_once(void **state)
{
    uint64_t nth = 1;

    (void)state;
    while (life_without_memory(nth, false, true, NULL))
        assert_true(++nth < NTH_MAX);
    assert_true(nth > 200);
}

static void memory_may_be_out_from_any_allocation_on(void **state)
{
    uint64_t nth = 1;

    (void)state;
    while (life_without_memory(nth, true, false, NULL))
        assert_true((nth += 3) < NTH_MAX);
}

/* ---- memory, with a bucket ---- */

struct bucket {
    struct cold_opener opener;
    struct base_env env;
    struct support_fakes3 *server;
    unsigned lives; /* each has a prefix of its own */
};

/* In the place of the client that an open has made, one that waits less. */
static int quicken(struct cold_s3 *s, const struct cold_url *url, struct varve_error *err)
{
    struct s3_client_options options = {.delay_divisor = BUCKET_DELAY_DIVISOR};

    s->client = s3_client_free(s->client);
    s->caps.probed = false; /* nothing is to be found out of it */
    options.endpoint.endpoint = cold_url_query(url, "endpoint");
    options.endpoint.bucket = url->host;
    options.transport = s3_transport_http(s->http);
    options.keys = s3_keys_source(s->source);
    return s3_client_new(s->env, &options, &s->client, err);
}

static int bucket_open(void *ctx, const struct base_env *env, const char *url,
                       const struct cold_store_options *options, struct cold_store **ret,
                       struct varve_error *err)
{
    struct bucket *b = ctx;
    struct cold_url *parsed;
    struct cold_s3 *s = NULL;
    char text[128];
    int rc;

    (void)env;
    (void)url;
    snprintf(text, sizeof(text), "s3://nth/life-%u?endpoint=http://127.0.0.1:%u", b->lives,
             support_fakes3_port(b->server));
    rc = cold_url_parse(text, &parsed, err);
    if (rc < 0)
        return rc;
    rc = cold_s3_open(&b->env, parsed, options, &s, err);
    if (rc == 0)
        rc = quicken(s, parsed, err);
    if (rc == 0)
        rc = cold_store_new(&b->env, text, &cold_s3_ops, s, options->read_only, ret, err);
    if (rc < 0)
        cold_s3_close(s);
    cold_url_free(parsed);
    return rc;
}

static void lives_with_a_bucket(struct bucket *b, bool keep, bool others, unsigned step)
{
    uint64_t nth = 1 + (uint64_t)others;

    for (b->lives++; life_without_memory(nth, keep, others, &b->opener); b->lives++)
        assert_true((nth += step) < NTH_MAX);
    assert_true(nth > 500);
}

static void an_allocation_may_fail_with_a_bucket(void **state)
{
    static const char *const args[] = {"--bucket", "nth", NULL};
    struct bucket b = {.opener = {.open = bucket_open, .ctx = &b}};

    (void)state;
    setenv("AWS_ACCESS_KEY_ID", "varve", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "varve-secret", 1);
    base_env_init(&b.env);
    b.server = support_fakes3_start(FAKES3_PROGRAM, args);
    for (int others = 0; others <= 1; others++) {
        lives_with_a_bucket(&b, false, others, BUCKET_STEP);
        lives_with_a_bucket(&b, true, others, 3 * BUCKET_STEP);
    }
    support_fakes3_stop(b.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_io_call_may_fail_once),
        cmocka_unit_test(any_io_call_of_the_other_operations_may_fail_once),
        cmocka_unit_test(any_io_call_may_be_the_last_that_works),
        cmocka_unit_test(the_disk_may_be_full_at_any_write),
        cmocka_unit_test(closing_and_looking_may_fail_too),
        cmocka_unit_test(any_request_may_fail_once),
        cmocka_unit_test(any_reply_may_be_lost),
        cmocka_unit_test(the_store_may_be_away_from_any_request_on),
        cmocka_unit_test(any_allocation_may_fail_once),
        cmocka_unit_test(any_allocation_of_the_other_operations_may_fail_once),
        cmocka_unit_test(memory_may_be_out_from_any_allocation_on),
        cmocka_unit_test(an_allocation_may_fail_with_a_bucket),
    };

    return cmocka_run_group_tests_name("log_nth", tests, NULL, NULL);
}
