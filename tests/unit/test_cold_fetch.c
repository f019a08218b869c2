/*
 * Reading from the cold tier over a store in memory that counts, holds back, and damages what it
 * gives.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/thread.h"
#include "cold/fetch.h"
#include "index/edit.h"
#include "tests/support/alloc.h"
#include "tests/support/env.h"
#include "tests/support/support_object.h"

#define LOG_NAME "orders/0"
#define OBJECTS_MAX 8
#define T0 1431900000000
#define BLOCK_BYTES 4096
#define DECOMPRESSED_MAX (1 << 20)
#define NO_STOP INT64_MAX

/* ---- a store in memory ---- */

struct memory {
    struct base_mutex lock; /* protects all but `objects` */
    struct base_cond changed;
    struct {
        char *key;
        const struct base_buffer *data;
    } objects[OBJECTS_MAX];
    unsigned held;    /* calls that wait at the gate */
    bool gate_closed; /* gets wait until it opens */
    bool unreachable;
    bool no_such_key;
    unsigned failing; /* that many gets fail, then they work again */
    size_t largest_get;
    size_t truncate_to; /* not 0: every object ends there */
    bool local;
};

static void memory_close(void *self)
{
    (void)self;
}

static void memory_caps(void *self, struct cold_caps *ret)
{
    struct memory *m = self;

    *ret = (struct cold_caps){.conditional_put = true, .local = m->local, .parallel = 8};
}

static int memory_get(void *self, const char *key, uint64_t pos, size_t size, void *buf,
                      struct varve_error *err)
{
    struct memory *m = self;
    const struct base_buffer *data = NULL;
    int rc = 0;

    for (size_t i = 0; i < OBJECTS_MAX && m->objects[i].key; i++)
        if (strcmp(m->objects[i].key, key) == 0)
            data = m->objects[i].data;
    base_mutex_lock(&m->lock);
    m->held++;
    base_cond_broadcast(&m->changed);
    while (m->gate_closed)
        base_cond_wait(&m->changed, &m->lock);
    m->held--;
    if (size > m->largest_get)
        m->largest_get = size;
    if (m->unreachable || m->failing > 0) {
        m->failing -= m->failing > 0;
        rc = base_fail_retriable(err, VARVE_E_STORE, "get %s: unreachable", key);
    } else if (!data || m->no_such_key) {
        rc = base_fail(err, VARVE_E_NOT_FOUND, "get %s: no such key", key);
    } else if (pos + size > data->size || (m->truncate_to > 0 && pos + size > m->truncate_to)) {
        rc = base_fail(err, VARVE_E_CORRUPT, "get %s: short object", key);
    }
    base_mutex_unlock(&m->lock);
    if (rc == 0)
        memcpy(buf, data->data + pos, size);
    return rc;
}

static const struct cold_store_ops memory_ops = {
    .name = "memory", .close = memory_close, .caps = memory_caps, .get = memory_get};

/* ---- a log of several objects, its manifest, and a fetcher ---- */

struct setup {
    unsigned objects;
    unsigned batches; /* in each object */
    unsigned threads; /* of the pool */
    uint64_t readahead_bytes_max;
    uint64_t blocks_cache_bytes;
    uint64_t tables_cache_bytes;
    bool local;
    bool noise;
};

struct world {
    struct support_env *env;
    struct memory memory;
    struct cold_store *store;
    struct support_object objects[OBJECTS_MAX];
    size_t object_count;
    struct index_manifest *manifest;
    struct base_pool *pool;
    struct cold_cache *blocks;
    struct cold_cache *tables;
    struct cold_fetch *fetch;
    struct cold_source source;
    struct cold_reader *reader;
};

static void manifest_make(struct world *w)
{
    struct base_id owner = support_id(77);
    struct index_edit *edit = NULL;
    const struct index_edit_page *pages;
    const void *root;
    size_t root_size, page_count;
    const char *dir = support_tmpdir_path(w->env->dir, "manifest");
    struct index_manifest_options options = {0};

    assert_int_equal(base_dir_create(w->env->env.io, dir, false, NULL), 0);
    assert_int_equal(index_manifest_open(&w->env->env, dir, LOG_NAME, &options, &w->manifest, NULL),
                     0);
    assert_int_equal(index_edit_new_log(LOG_NAME, &w->source.log_id, &owner, 0, T0, &edit, NULL),
                     0);
    for (size_t i = 0; i < w->object_count; i++)
        assert_int_equal(index_edit_add(edit, &w->objects[i].entry, NULL), 0);
    assert_int_equal(
        index_edit_finish(edit, w->env->env.random, &root, &root_size, &pages, &page_count, NULL),
        0);
    assert_int_equal(
        index_manifest_install(w->manifest, root, root_size, pages, page_count, false, NULL), 0);
    index_edit_free(edit);
}

/* Ten records a batch, one batch about 1.3 KiB: three batches a block. Times ascend with offsets
 * but for each 16th batch, which is dated far ahead. */
static void objects_make(struct world *w, const struct setup *s)
{
    const uint8_t *previous = NULL;
    int64_t offset = 0;

    for (size_t i = 0; i < s->objects; i++) {
        struct support_object *o = &w->objects[i];
        struct base_id attempt = support_id(100 + i);

        support_object_init(o, LOG_NAME, &w->source.log_id, offset);
        for (unsigned b = 0; b < s->batches; b++)
            support_object_batch(
                o, 10, 100, T0 + o->next_offset * 1000 + (b % 16 == 15 ? 1000000000 : 0), s->noise);
        support_object_finish(o, BLOCK_BYTES, 1, &attempt, previous);
        previous = o->entry.chain_hash;
        offset = o->next_offset;
        assert_int_equal(index_key_object(LOG_NAME, &w->source.log_id, &o->entry,
                                          &w->memory.objects[i].key, NULL),
                         0);
        w->memory.objects[i].data = &o->object;
    }
    w->object_count = s->objects;
}

static void fetch_open(struct world *w, const struct setup *s)
{
    struct cold_fetch_options options = {.readahead_bytes_max = s->readahead_bytes_max};
    const char *dir = support_tmpdir_path(w->env->dir, "cache");

    assert_int_equal(base_dir_create(w->env->env.io, dir, false, NULL), 0);
    assert_int_equal(base_pool_new(s->threads, "fetch", &w->pool, NULL), 0);
    assert_int_equal(
        cold_cache_open(&w->env->env, dir, "blocks", s->blocks_cache_bytes, 1024, &w->blocks, NULL),
        0);
    assert_int_equal(
        cold_cache_open(&w->env->env, dir, "tables", s->tables_cache_bytes, 1024, &w->tables, NULL),
        0);
    options.pool = w->pool;
    options.blocks = w->blocks;
    options.tables = w->tables;
    assert_int_equal(cold_fetch_new(&w->env->env, w->store, &options, &w->fetch, NULL), 0);
    assert_int_equal(cold_reader_new(w->fetch, w->manifest, &w->source, &w->reader, NULL), 0);
}

static void fetch_close(struct world *w)
{
    w->reader = cold_reader_free(w->reader);
    w->fetch = cold_fetch_free(w->fetch);
    w->blocks = cold_cache_close(w->blocks);
    w->tables = cold_cache_close(w->tables);
    w->pool = base_pool_free(w->pool);
}

static struct world *world_new(const struct setup *s)
{
    struct world *w = calloc(1, sizeof(*w));

    assert_non_null(w);
    w->env = support_env_new("cold-fetch");
    w->source = (struct cold_source){.log_name = LOG_NAME, .log_id = support_id(1)};
    base_mutex_init(&w->memory.lock);
    base_cond_init(&w->memory.changed);
    w->memory.local = s->local;
    assert_int_equal(
        cold_store_new(&w->env->env, "memory:", &memory_ops, &w->memory, false, &w->store, NULL),
        0);
    objects_make(w, s);
    manifest_make(w);
    fetch_open(w, s);
    return w;
}

static void world_free(struct world *w)
{
    fetch_close(w);
    index_manifest_close(w->manifest);
    cold_store_close(w->store);
    for (size_t i = 0; i < w->object_count; i++) {
        support_object_deinit(&w->objects[i]);
        free(w->memory.objects[i].key);
    }
    base_cond_deinit(&w->memory.changed);
    base_mutex_deinit(&w->memory.lock);
    support_env_free(w->env);
    free(w);
}

static uint64_t gets(struct world *w)
{
    struct cold_stats stats;

    cold_store_stats(w->store, &stats);
    return stats.requests[COLD_OP_GET];
}

static int64_t log_end(const struct world *w)
{
    return w->objects[w->object_count - 1].next_offset;
}

/* What the log holds from `offset` on: the bytes of the batch that holds it. */
static const uint8_t *expected_batch(const struct world *w, int64_t offset, size_t *ret_size)
{
    for (size_t i = 0; i < w->object_count; i++) {
        const struct base_buffer *segment = &w->objects[i].segment;
        struct record_batch batch;

        if (offset >= w->objects[i].next_offset)
            continue;
        for (size_t pos = 0; pos < segment->size; pos += batch.size) {
            assert_int_equal(
                record_batch_decode(segment->data + pos, segment->size - pos, &batch, NULL), 0);
            if (batch.last_offset >= offset) {
                *ret_size = batch.size;
                return segment->data + pos;
            }
        }
    }
    fail();
    return NULL;
}

static void read_one(struct world *w, struct cold_reader *reader, int64_t offset)
{
    struct record_batch batch;
    struct varve_error err = {0};
    const void *data = NULL;
    size_t size = 0;
    const uint8_t *expected = expected_batch(w, offset, &size);
    int rc = cold_reader_next(reader, NO_STOP, &data, &batch, &err);

    if (rc < 0)
        fail_msg("offset %lld: %s", (long long)offset, err.msg);
    assert_int_equal(batch.size, size);
    assert_memory_equal(data, expected, size);
}

static void read_to_end(struct world *w, struct cold_reader *reader)
{
    int64_t offset = cold_reader_offset(reader);
    struct record_batch batch;
    const void *data;

    for (; offset < log_end(w); offset = cold_reader_offset(reader))
        read_one(w, reader, offset);
    assert_int_equal(cold_reader_next(reader, NO_STOP, &data, &batch, NULL), VARVE_E_END);
}

/* ---- tests ---- */

static const struct setup plain = {.objects = 3,
                                   .batches = 60,
                                   .threads = 2,
                                   .readahead_bytes_max = 1 << 20,
                                   .blocks_cache_bytes = 1 << 20,
                                   .tables_cache_bytes = 1 << 20};

static void a_log_reads_back_across_objects(void **state)
{
    (void)state;
    for (unsigned threads = 0; threads < 4; threads++) {
        for (unsigned variant = 0; variant < 8; variant++) {
            struct setup s = plain;
            struct world *w;

            s.threads = threads;
            s.local = variant & 1;
            s.noise = variant & 2;
            if (variant & 4)
                s.readahead_bytes_max = s.blocks_cache_bytes = s.tables_cache_bytes = 0;
            w = world_new(&s);
            assert_int_equal(cold_reader_seek(w->reader, 0, NULL), 0);
            read_to_end(w, w->reader);
            assert_int_equal(cold_reader_seek(w->reader, 7, NULL), 0);
            read_to_end(w, w->reader);
            world_free(w);
        }
    }
}

static void every_offset_can_be_sought(void **state)
{
    struct world *w = world_new(&plain);

    (void)state;
    for (int64_t i = 0; i < log_end(w); i++) {
        int64_t offset = i * 7919 % log_end(w);

        assert_int_equal(cold_reader_seek(w->reader, offset, NULL), 0);
        assert_int_equal(cold_reader_offset(w->reader), offset);
        read_one(w, w->reader, offset);
        if (i % 5 == 0 && cold_reader_offset(w->reader) < log_end(w))
            read_one(w, w->reader, cold_reader_offset(w->reader));
    }
    world_free(w);
}

static void seeking_outside_is_a_condition(void **state)
{
    struct world *w = world_new(&plain);
    struct varve_error err = {0};
    struct record_batch batch = {.size = 5};
    const void *data = "kept", *before = data;

    (void)state;
    assert_int_equal(cold_reader_seek(w->reader, log_end(w), &err), VARVE_E_OUT_OF_RANGE);
    assert_int_equal(cold_reader_seek(w->reader, log_end(w) + 1, &err), VARVE_E_OUT_OF_RANGE);
    assert_non_null(strstr(err.msg, "outside of the cold tier"));
    assert_int_equal(cold_reader_seek(w->reader, -1, &err), VARVE_E_OUT_OF_RANGE);
    assert_int_equal(cold_reader_seek(w->reader, log_end(w) - 1, NULL), 0);
    read_one(w, w->reader, log_end(w) - 1);
    assert_int_equal(cold_reader_next(w->reader, NO_STOP, &data, &batch, &err), VARVE_E_END);
    assert_ptr_equal(data, before);
    assert_int_equal(batch.size, 5);
    world_free(w);
}

static void a_random_read_is_one_request_of_one_block(void **state)
{
    struct world *w = world_new(&plain);
    struct cold_table *table = NULL;
    struct cold_fetch_stats stats;
    int64_t offset = 333;

    (void)state;
    assert_int_equal(cold_fetch_table(w->fetch, &w->source, &w->objects[0].entry, &table, NULL), 0);
    assert_int_equal(gets(w), 1);
    cold_table_unref(table);
    w->memory.largest_get = 0;
    assert_int_equal(cold_reader_seek(w->reader, offset, NULL), 0);
    read_one(w, w->reader, offset);
    assert_int_equal(gets(w), 2);
    assert_true(w->memory.largest_get <= BLOCK_BYTES);
    /* Read again, by another reader of another fetcher: from the cache file, table and block. */
    fetch_close(w);
    fetch_open(w, &plain);
    assert_int_equal(cold_reader_seek(w->reader, offset, NULL), 0);
    read_one(w, w->reader, offset);
    assert_int_equal(gets(w), 2);
    cold_fetch_stats(w->fetch, &stats);
    assert_int_equal(stats.block_hits, 1);
    assert_int_equal(stats.table_hits, 1);
    assert_int_equal(stats.block_fetches, 0);
    assert_int_equal(stats.table_fetches, 0);
    world_free(w);
}

static void a_kept_table_is_never_fetched(void **state)
{
    struct world *w = world_new(&plain);
    const struct support_object *o = &w->objects[0];

    (void)state;
    cold_fetch_keep_table(w->fetch, &o->entry.attempt, o->object.data + o->entry.index_pos,
                          o->entry.table_size);
    assert_int_equal(cold_reader_seek(w->reader, 5, NULL), 0);
    read_one(w, w->reader, 5);
    assert_int_equal(gets(w), 1);
    world_free(w);
}

static void sequential_reading_asks_in_few_large_ranges(void **state)
{
    struct setup s = plain;
    struct world *w;
    struct cold_fetch_stats stats;

    (void)state;
    s.batches = 600; /* 200 blocks an object */
    w = world_new(&s);
    assert_int_equal(cold_reader_seek(w->reader, 0, NULL), 0);
    read_to_end(w, w->reader);
    cold_fetch_stats(w->fetch, &stats);
    assert_int_equal(stats.block_fetches, 600); /* each block once */
    assert_int_equal(stats.table_fetches, 3);
    assert_int_equal(stats.ranges + stats.table_fetches, gets(w));
    assert_true(stats.ranges < 100);
    world_free(w);
}

static void without_a_budget_nothing_is_read_ahead(void **state)
{
    struct setup s = plain;
    struct world *w;
    struct cold_fetch_stats stats;

    (void)state;
    s.readahead_bytes_max = 0;
    w = world_new(&s);
    assert_int_equal(cold_reader_seek(w->reader, 0, NULL), 0);
    read_to_end(w, w->reader);
    cold_fetch_stats(w->fetch, &stats);
    assert_int_equal(stats.ranges, 60);
    assert_int_equal(stats.block_fetches, 60);
    world_free(w);
}

static void nothing_at_or_above_the_stop_offset_is_read_ahead(void **state)
{
    struct setup s = plain;
    struct world *w;
    struct cold_fetch_stats stats;
    struct record_batch batch;
    const void *data;

    (void)state;
    s.threads = 0; /* what is asked for is fetched at once */
    w = world_new(&s);
    assert_int_equal(cold_reader_seek(w->reader, 0, NULL), 0);
    while (cold_reader_offset(w->reader) < 300)
        assert_int_equal(cold_reader_next(w->reader, 300, &data, &batch, NULL), 0);
    cold_fetch_stats(w->fetch, &stats);
    assert_int_equal(stats.block_fetches, 10); /* 30 records a block */
    world_free(w);
}

static void read_ahead_crosses_into_the_next_object(void **state)
{
    struct setup s = plain;
    struct world *w;
    struct cold_fetch_stats stats;

    (void)state;
    s.threads = 0;
    w = world_new(&s);
    assert_int_equal(cold_reader_seek(w->reader, 0, NULL), 0);
    while (cold_reader_offset(w->reader) < 590)
        read_one(w, w->reader, cold_reader_offset(w->reader));
    cold_fetch_stats(w->fetch, &stats);
    assert_true(stats.block_fetches > 20); /* the first object has 20 */
    assert_true(stats.table_fetches > 1);
    world_free(w);
}

struct alike {
    struct world *w;
    struct base_thread *thread;
    int64_t offset;
};

static void read_alike(void *arg)
{
    struct alike *a = arg;
    struct cold_reader *reader = NULL;
    struct record_batch batch;
    const void *data;

    if (cold_reader_new(a->w->fetch, a->w->manifest, &a->w->source, &reader, NULL) < 0 ||
        cold_reader_seek(reader, a->offset, NULL) < 0 ||
        cold_reader_next(reader, NO_STOP, &data, &batch, NULL) < 0 ||
        batch.base_offset > a->offset || batch.last_offset < a->offset)
        abort();
    cold_reader_free(reader);
}

static void one_flight_serves_all_who_want_the_block(void **state)
{
    struct world *w = world_new(&plain);
    struct alike threads[8];
    struct cold_fetch_stats stats;

    (void)state;
    w->memory.gate_closed = true;
    for (size_t i = 0; i < 8; i++) {
        threads[i] = (struct alike){.w = w, .offset = 30 + (int64_t)i};
        assert_int_equal(
            base_thread_start(&threads[i].thread, "alike", read_alike, &threads[i], NULL), 0);
    }
    base_mutex_lock(&w->memory.lock);
    while (w->memory.held == 0)
        base_cond_wait(&w->memory.changed, &w->memory.lock);
    assert_int_equal(w->memory.held, 1);
    w->memory.gate_closed = false;
    base_cond_broadcast(&w->memory.changed);
    base_mutex_unlock(&w->memory.lock);
    for (size_t i = 0; i < 8; i++)
        base_thread_join(threads[i].thread);
    assert_int_equal(gets(w), 2); /* the table, the block */
    cold_fetch_stats(w->fetch, &stats);
    assert_int_equal(stats.block_fetches, 1);
    assert_int_equal(stats.block_hits, 7);
    world_free(w);
}

static void read_whole(void *arg)
{
    struct alike *a = arg;
    struct cold_reader *reader = NULL;
    struct record_batch batch;
    const void *data;
    int64_t expected = a->offset;

    if (cold_reader_new(a->w->fetch, a->w->manifest, &a->w->source, &reader, NULL) < 0 ||
        cold_reader_seek(reader, a->offset, NULL) < 0)
        abort();
    while (cold_reader_next(reader, NO_STOP, &data, &batch, NULL) == 0) {
        if (batch.base_offset != expected)
            abort();
        expected = batch.last_offset + 1;
        if (expected % 400 == 0 && expected < log_end(a->w) && /* now and then it jumps */
            (cold_reader_seek(reader, expected / 2, NULL) < 0 ||
             cold_reader_seek(reader, expected, NULL) < 0))
            abort();
    }
    if (expected != log_end(a->w))
        abort();
    cold_reader_free(reader);
}

static void many_readers_share_one_fetcher(void **state)
{
    struct setup s = plain;
    struct world *w;
    struct alike threads[6];

    (void)state;
    s.readahead_bytes_max = 64 * 1024; /* too little for all: some demand, some read ahead */
    s.batches = 120;
    w = world_new(&s);
    for (size_t i = 0; i < 6; i++) {
        threads[i] = (struct alike){.w = w, .offset = (int64_t)i / 2 * 10};
        assert_int_equal(
            base_thread_start(&threads[i].thread, "whole", read_whole, &threads[i], NULL), 0);
    }
    for (size_t i = 0; i < 6; i++)
        base_thread_join(threads[i].thread);
    world_free(w);
}

static void freeing_a_reader_gives_up_what_it_asked_for(void **state)
{
    struct setup s = plain;
    struct world *w;
    uint64_t requests;

    (void)state;
    s.batches = 600;
    s.threads = 1;
    w = world_new(&s);
    assert_int_equal(cold_reader_seek(w->reader, 0, NULL), 0);
    while (cold_reader_offset(w->reader) < 900)
        read_one(w, w->reader, cold_reader_offset(w->reader));
    base_mutex_lock(&w->memory.lock);
    w->memory.gate_closed = true;
    base_mutex_unlock(&w->memory.lock);
    /* At the gate waits one flight of the pool's at most; the others have not begun. */
    w->reader = cold_reader_free(w->reader);
    requests = gets(w);
    base_mutex_lock(&w->memory.lock);
    w->memory.gate_closed = false;
    base_cond_broadcast(&w->memory.changed);
    base_mutex_unlock(&w->memory.lock);
    w->fetch =
        cold_fetch_free(w->fetch); /* waits for the pool's jobs; asserts that nothing lives */
    assert_true(gets(w) <= requests + 1);
    world_free(w);
}

static void a_seek_elsewhere_ends_the_window(void **state)
{
    struct setup s = plain;
    struct world *w;
    struct cold_fetch_stats before, after;

    (void)state;
    s.threads = 0;
    s.batches = 600;
    w = world_new(&s);
    assert_int_equal(cold_reader_seek(w->reader, 0, NULL), 0);
    while (cold_reader_offset(w->reader) < 300)
        read_one(w, w->reader, cold_reader_offset(w->reader));
    cold_fetch_stats(w->fetch, &before);
    assert_int_equal(cold_reader_seek(w->reader, 5900, NULL), 0);
    read_one(w, w->reader, 5900);
    cold_fetch_stats(w->fetch, &after);
    assert_int_equal(after.block_fetches, before.block_fetches + 1);
    assert_int_equal(cold_reader_seek(w->reader, 5901, NULL), 0); /* in the same block: nothing */
    read_one(w, w->reader, 5901);
    cold_fetch_stats(w->fetch, &before);
    assert_int_equal(after.block_fetches, before.block_fetches);
    world_free(w);
}

static void a_missing_object_is_damage_and_is_named(void **state)
{
    struct world *w = world_new(&plain);
    struct varve_error err = {0};
    struct record_batch batch;
    const void *data;

    (void)state;
    w->memory.no_such_key = true;
    assert_int_equal(cold_reader_seek(w->reader, 0, NULL), 0);
    assert_int_equal(cold_reader_next(w->reader, NO_STOP, &data, &batch, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "is missing from the store"));
    assert_non_null(strstr(err.msg, w->memory.objects[0].key + strlen("logs/")));
    assert_false(err.retriable);
    w->memory.no_such_key = false;
    read_to_end(w, w->reader);
    world_free(w);
}

static void an_unreachable_store_is_retriable_and_reading_goes_on_afterwards(void **state)
{
    struct world *w = world_new(&plain);
    struct varve_error err = {0};
    struct record_batch batch;
    const void *data;

    (void)state;
    assert_int_equal(cold_reader_seek(w->reader, 0, NULL), 0);
    while (cold_reader_offset(w->reader) < 100)
        read_one(w, w->reader, cold_reader_offset(w->reader));
    base_mutex_lock(&w->memory.lock);
    w->memory.unreachable = true;
    base_mutex_unlock(&w->memory.lock);
    while (cold_reader_next(w->reader, NO_STOP, &data, &batch, &err) == 0)
        continue;
    assert_int_equal(err.code, VARVE_E_STORE);
    assert_true(err.retriable);
    base_mutex_lock(&w->memory.lock);
    w->memory.unreachable = false;
    base_mutex_unlock(&w->memory.lock);
    read_to_end(w, w->reader);
    world_free(w);
}

static void a_failure_of_read_ahead_is_not_the_readers(void **state)
{
    (void)state;
    for (unsigned failing = 1; failing < 4; failing++) {
        struct setup s = plain;
        struct world *w;

        s.threads = 0; /* the flights that fail are those started by the next call */
        w = world_new(&s);
        assert_int_equal(cold_reader_seek(w->reader, 0, NULL), 0);
        while (cold_reader_offset(w->reader) < 40)
            read_one(w, w->reader, cold_reader_offset(w->reader));
        w->memory.failing = 1;
        read_to_end(w, w->reader);
        assert_int_equal(w->memory.failing, 0);
        world_free(w);
    }
}

static void a_damaged_stored_block_is_named(void **state)
{
    struct setup s = plain;
    struct world *w = world_new(&s);
    struct varve_error err = {0};
    struct cold_table_view t;
    struct cold_block_info info;
    struct record_batch batch;
    const void *data;
    uint8_t *object = w->objects[0].object.data;
    int rc = 0;

    (void)state;
    assert_int_equal(cold_table_decode(object + w->objects[0].entry.index_pos,
                                       w->objects[0].entry.table_size, &t, NULL),
                     0);
    cold_table_block(&t, 7, &info);
    object[info.pos + 20] ^= 4;
    assert_int_equal(cold_reader_seek(w->reader, 0, NULL), 0);
    while ((rc = cold_reader_next(w->reader, NO_STOP, &data, &batch, &err)) == 0)
        assert_true(batch.last_offset < info.first_offset);
    assert_int_equal(rc, VARVE_E_CORRUPT);
    assert_int_equal(cold_reader_offset(w->reader), info.first_offset);
    assert_non_null(strstr(err.msg, "block 7"));
    assert_non_null(strstr(err.msg, w->memory.objects[0].key));
    object[info.pos + 20] ^= 4;
    read_to_end(w, w->reader);
    world_free(w);
}

static void a_short_object_is_damage(void **state)
{
    struct world *w = world_new(&plain);
    struct varve_error err = {0};
    struct record_batch batch;
    const void *data;

    (void)state;
    w->memory.truncate_to = 100;
    assert_int_equal(cold_reader_seek(w->reader, 0, NULL), 0);
    assert_int_equal(cold_reader_next(w->reader, NO_STOP, &data, &batch, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, w->memory.objects[0].key));
    world_free(w);
}

static void an_object_that_is_another_than_the_manifest_says_is_damage(void **state)
{
    struct setup s = plain;
    struct world *w = world_new(&s);
    struct varve_error err = {0};
    struct cold_table *table = NULL;
    struct index_entry entry = w->objects[0].entry;

    (void)state;
    entry.segment_size++;
    assert_int_equal(cold_fetch_table(w->fetch, &w->source, &entry, &table, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "is not the one the manifest describes"));
    assert_null(table);
    entry.flags = INDEX_ENTRY_ENCRYPTED;
    assert_int_equal(cold_fetch_table(w->fetch, &w->source, &entry, &table, &err),
                     VARVE_E_UNSUPPORTED);
    world_free(w);
}

/* Damage that the cache itself cannot see: well-formed values with other bytes. */
static void a_wrong_cache_entry_is_dropped_and_fetched_again(void **state)
{
    struct world *w = world_new(&plain);
    struct cold_cache_key key = {.id = w->objects[0].entry.attempt};
    struct cold_fetch_stats stats;
    uint8_t *junk;
    struct cold_table_view t;
    struct cold_block_info info;

    (void)state;
    assert_int_equal(cold_table_decode(w->objects[0].object.data + w->objects[0].entry.index_pos,
                                       w->objects[0].entry.table_size, &t, NULL),
                     0);
    cold_table_block(&t, 0, &info);
    junk = calloc(1, w->objects[0].entry.table_size + info.stored_size);
    assert_non_null(junk);
    cold_cache_put(w->blocks, &key, junk, info.stored_size);
    cold_cache_put(w->tables, &key, junk, w->objects[0].entry.table_size);
    key.index = 1;
    cold_cache_put(w->blocks, &key, junk, 17); /* and one of another size */
    assert_int_equal(cold_reader_seek(w->reader, 0, NULL), 0);
    read_one(w, w->reader, 0);
    assert_int_equal(gets(w), 2);
    assert_int_equal(cold_reader_seek(w->reader, 30, NULL), 0);
    read_one(w, w->reader, 30);
    assert_int_equal(gets(w), 3);
    cold_fetch_stats(w->fetch, &stats);
    assert_int_equal(stats.repaired, 3);
    fetch_close(w);
    fetch_open(w, &plain);
    assert_int_equal(cold_reader_seek(w->reader, 0, NULL), 0);
    read_one(w, w->reader, 0);
    assert_int_equal(gets(w), 3); /* what was fetched again is cached */
    free(junk);
    world_free(w);
}

static void a_replay_leaves_the_cache_file_to_random_reads(void **state)
{
    struct setup s = plain;
    struct world *w;
    struct cold_cache_stats stats;

    (void)state;
    s.batches = 600;
    w = world_new(&s);
    assert_int_equal(cold_reader_seek(w->reader, 0, NULL), 0);
    read_to_end(w, w->reader);
    cold_cache_stats(w->blocks, &stats);
    assert_true(stats.puts <= 8); /* the beginning: it might have been a short read */
    world_free(w);
}

/* The first record at or after min_offset with that time, looked for in the segments themselves. */
static bool find_by_hand(const struct world *w, int64_t timestamp, int64_t min_offset,
                         int64_t max_offset, int64_t *ret_offset, int64_t *ret_timestamp)
{
    for (int64_t offset = min_offset; offset < max_offset && offset < log_end(w); offset++) {
        size_t size;
        struct record_batch batch;
        const uint8_t *data = expected_batch(w, offset, &size);

        assert_int_equal(record_batch_decode(data, size, &batch, NULL), 0);
        if (batch.base_timestamp + (offset - batch.base_offset) >= timestamp) {
            *ret_offset = offset;
            *ret_timestamp = batch.base_timestamp + (offset - batch.base_offset);
            return true;
        }
    }
    return false;
}

static void times_are_found_as_a_scan_would(void **state)
{
    struct world *w = world_new(&plain);
    static const int64_t min_offsets[] = {0, 5, 155, 160, 161, 750, 1500, 1790, 1800};

    (void)state;
    for (size_t m = 0; m < sizeof(min_offsets) / sizeof(min_offsets[0]); m++) {
        for (int64_t t = -100000; t < 3000000; t += 61543) {
            for (int64_t max_offset = 900; max_offset <= 1800; max_offset += 450) {
                int64_t expected = -1, expected_time = -1, offset = -7, time = -7;
                bool there =
                    find_by_hand(w, T0 + t, min_offsets[m], max_offset, &expected, &expected_time);
                int rc =
                    cold_reader_find_time(w->fetch, w->manifest, &w->source, T0 + t, min_offsets[m],
                                          max_offset, DECOMPRESSED_MAX, &offset, &time, NULL);

                assert_int_equal(rc, there ? 0 : VARVE_E_NOT_FOUND);
                assert_int_equal(offset, there ? expected : -7);
                assert_int_equal(time, there ? expected_time : -7);
            }
        }
    }
    world_free(w);
}

static void finding_a_time_and_reading_there_is_one_request(void **state)
{
    struct setup s = plain;
    struct world *w;
    struct cold_table *table = NULL;
    int64_t offset = -1, time = -1;

    (void)state;
    s.blocks_cache_bytes = 0;
    w = world_new(&s);
    assert_int_equal(cold_fetch_table(w->fetch, &w->source, &w->objects[0].entry, &table, NULL), 0);
    cold_table_unref(table);
    assert_int_equal(cold_reader_find_time(w->fetch, w->manifest, &w->source, T0 + 100000, 0,
                                           INT64_MAX, DECOMPRESSED_MAX, &offset, &time, NULL),
                     0);
    assert_int_equal(offset, 100);
    assert_int_equal(cold_reader_seek(w->reader, offset, NULL), 0);
    read_one(w, w->reader, offset);
    assert_int_equal(gets(w), 2);
    world_free(w);
}

/* Reads a few blocks far apart and a run of them. A call that fails for want of memory is made
 * again. Returns how many failed; asserts only after the allocator works again. */
static int read_with_little_memory(struct world *w, int *ret_wrong)
{
    struct cold_reader *reader = NULL;
    struct varve_error err = {0};
    int failed = 0, rc;

    *ret_wrong = 0;
    while ((rc = cold_reader_new(w->fetch, w->manifest, &w->source, &reader, &err)) < 0 &&
           failed < 2)
        failed++;
    for (int64_t at = 700; rc == 0 && at < log_end(w); at += 500) {
        while (failed < 3 && (rc = cold_reader_seek(reader, at, &err)) < 0)
            failed++;
        for (int i = 0; rc == 0 && i < 20 && cold_reader_offset(reader) < log_end(w); i++) {
            struct record_batch batch;
            const void *data = NULL;
            int64_t offset = cold_reader_offset(reader);

            while (failed < 3 && (rc = cold_reader_next(reader, NO_STOP, &data, &batch, &err)) < 0)
                failed++;
            if (rc == 0)
                *ret_wrong += batch.base_offset != offset;
        }
    }
    *ret_wrong += rc < 0 || (failed > 0 && err.code != VARVE_E_NO_MEMORY);
    cold_reader_free(reader);
    return failed;
}

static void each_allocation_may_fail_once(void **state)
{
    struct setup s = plain;
    uint64_t count = 1;
    int seen = 0;

    (void)state;
    s.threads = 0;
    s.blocks_cache_bytes = s.tables_cache_bytes = 0; /* the I/O wrapper allocates too */
    for (uint64_t nth = 1; nth <= count; nth++) {
        struct world *w = world_new(&s);
        int failed, wrong;

        support_alloc_fail(nth, false);
        failed = read_with_little_memory(w, &wrong);
        count = support_alloc_stop();
        assert_int_equal(wrong, 0);
        assert_in_range(failed, 0, 1);
        seen += failed;
        world_free(w); /* asserts that nothing is left alive */
    }
    assert_true(seen > 5);
}

static void after_a_repair_the_new_object_is_read(void **state)
{
    struct world *w = world_new(&plain);
    struct support_object *o = &w->objects[0];
    struct base_id attempt = support_id(999);
    struct index_edit *edit = NULL;
    const struct index_edit_page *pages;
    const void *root, *data;
    size_t root_size, page_count;
    struct record_batch batch;

    (void)state;
    assert_int_equal(cold_reader_seek(w->reader, 0, NULL), 0);
    read_one(w, w->reader, 0);
    /* The object of the manifest goes; the same segment comes again under another attempt. */
    free(w->memory.objects[0].key);
    base_buffer_clear(&o->object);
    support_object_finish(o, BLOCK_BYTES, 1, &attempt, NULL);
    assert_int_equal(
        index_key_object(LOG_NAME, &w->source.log_id, &o->entry, &w->memory.objects[0].key, NULL),
        0);
    while (cold_reader_next(w->reader, NO_STOP, &data, &batch, NULL) == 0)
        continue;
    assert_int_equal(index_edit_new(w->manifest, &edit, NULL), 0);
    assert_int_equal(index_edit_replace(edit, &o->entry, NULL), 0);
    assert_int_equal(
        index_edit_finish(edit, w->env->env.random, &root, &root_size, &pages, &page_count, NULL),
        0);
    assert_int_equal(
        index_manifest_install(w->manifest, root, root_size, pages, page_count, false, NULL), 0);
    index_edit_free(edit);
    read_to_end(w, w->reader);
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_reads_back_across_objects),
        cmocka_unit_test(every_offset_can_be_sought),
        cmocka_unit_test(seeking_outside_is_a_condition),
        cmocka_unit_test(a_random_read_is_one_request_of_one_block),
        cmocka_unit_test(a_kept_table_is_never_fetched),
        cmocka_unit_test(sequential_reading_asks_in_few_large_ranges),
        cmocka_unit_test(without_a_budget_nothing_is_read_ahead),
        cmocka_unit_test(nothing_at_or_above_the_stop_offset_is_read_ahead),
        cmocka_unit_test(read_ahead_crosses_into_the_next_object),
        cmocka_unit_test(one_flight_serves_all_who_want_the_block),
        cmocka_unit_test(many_readers_share_one_fetcher),
        cmocka_unit_test(freeing_a_reader_gives_up_what_it_asked_for),
        cmocka_unit_test(a_seek_elsewhere_ends_the_window),
        cmocka_unit_test(a_missing_object_is_damage_and_is_named),
        cmocka_unit_test(an_unreachable_store_is_retriable_and_reading_goes_on_afterwards),
        cmocka_unit_test(a_failure_of_read_ahead_is_not_the_readers),
        cmocka_unit_test(a_damaged_stored_block_is_named),
        cmocka_unit_test(a_short_object_is_damage),
        cmocka_unit_test(an_object_that_is_another_than_the_manifest_says_is_damage),
        cmocka_unit_test(a_wrong_cache_entry_is_dropped_and_fetched_again),
        cmocka_unit_test(a_replay_leaves_the_cache_file_to_random_reads),
        cmocka_unit_test(times_are_found_as_a_scan_would),
        cmocka_unit_test(each_allocation_may_fail_once),
        cmocka_unit_test(after_a_repair_the_new_object_is_read),
        cmocka_unit_test(finding_a_time_and_reading_there_is_one_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
