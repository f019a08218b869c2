#include "tests/support/support_tiering.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/text.h"
#include "cold/dir.h"
#include "record/builder.h"
#include "tests/support/tiny.h"

#define OBJECT_SIZE_MAX (256u * 1024 * 1024)

#define must(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static void must_ok(int rc, const struct varve_error *err, const char *what)
{
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s (%s)\n", what, err->msg, varve_error_name(rc));
    abort();
}

/* Asked by the faulty driver around each request. */
static int on_request(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct support_faulty *f = ctx;
    size_t size = strlen(key);

    if (op == COLD_OP_PUT && !after && size > 5 && strcmp(key + size - 5, "/root") == 0)
        atomic_fetch_add(&f->root_puts, 1);
    return f->fault ? f->fault(f->ctx, op, key, after) : 0;
}

/* Opening and closing. */

static void on_event(void *ctx, const struct tiering_event *event)
{
    struct support_tiering *r = ctx;

    atomic_fetch_add(&r->events[event->kind], 1);
    r->last_event_end[event->kind] = event->end_offset;
}

/* The dir driver, as a store that requests travel to. */

static void remote_caps(void *self, struct cold_caps *ret)
{
    cold_dir_ops.caps(self, ret);
    ret->local = false;
    ret->part_size = SUPPORT_TIERING_PART_BYTES;
    ret->parallel = 4;
    ret->parts_max = 0; /* no limit, or parts would be larger */
}

static int open_remote(struct support_tiering *r, const struct cold_store_options *options,
                       struct varve_error *err)
{
    static struct cold_store_ops ops;
    struct cold_dir *dir;
    int rc = cold_dir_open(&r->e->env, r->cold_path, r->cold_path, options, &dir, err);

    if (rc < 0)
        return rc;
    ops = cold_dir_ops;
    ops.caps = remote_caps;
    rc = cold_store_new(&r->e->env, r->cold_path, &ops, dir, false, &r->faulty.under, err);
    if (rc < 0)
        cold_dir_close(dir);
    return rc;
}

static int open_store(struct support_tiering *r, bool create, struct varve_error *err)
{
    struct cold_store_options options = {.create = create};
    int rc = r->remote ? open_remote(r, &options, err)
                       : cold_store_open(&r->e->env, r->cold_path, &options, &r->faulty.under, err);

    if (rc < 0)
        return rc;
    r->faulty.hook = (struct cold_faulty_hook){on_request, &r->faulty};
    rc = cold_faulty_new(&r->e->env, r->cold_path, r->faulty.under, r->faults, r->seed,
                         &r->faulty.hook, false, &r->store, err);
    if (rc < 0)
        r->faulty.under = cold_store_close(r->faulty.under);
    return rc;
}

static int open_manifest(struct support_tiering *r, struct varve_error *err)
{
    struct index_manifest_options options = {.loader = &r->loader.loader, .ignore_damaged = true};
    struct base_id none = {0};
    char *dir;
    int rc = base_format(&dir, err, "%s/manifest", r->local_path);

    if (rc < 0)
        return rc;
    cold_manifest_loader_init(&r->loader, r->store, r->log_name, &none);
    rc = base_dir_create(r->e->env.io, dir, false, err);
    if (rc == 0)
        rc = index_manifest_open(&r->e->env, dir, r->log_name, &options, &r->manifest, err);
    free(dir);
    return rc;
}

static void init_settings(struct support_tiering *r, struct support_env *e)
{
    *r = (struct support_tiering){
        .e = e,
        .log_name = "orders/0",
        .hot_options = {.durability = HOT_DURABILITY_OS,
                        .segment_bytes = support_tiny() ? SUPPORT_TINY_SEGMENT_BYTES : 16384,
                        .segment_ms = -1,
                        .flush_ms = -1,
                        .index_interval_bytes = 1024},
        .policy = {.retention_ms = -1,
                   .retention_bytes = -1,
                   .local_retention_ms = -1,
                   .local_retention_bytes = support_tiny() ? 0 : -1,
                   .delete_delay_ms = 60000,
                   .block_bytes = 4096,
                   .compression_level = 1,
                   .index_interval_bytes = 1024,
                   .upload_age_warn_ms = 600000},
    };
    r->store_id = base_id_new(&e->random.seam);
    base_buffer_init(&r->bytes);
}

void support_tiering_init(struct support_tiering *r, struct support_env *e)
{
    struct varve_error err = {0};
    struct base_id log_id;

    init_settings(r, e);
    log_id = base_id_new(&e->random.seam);
    r->cold_path = support_tmpdir_path(e->dir, "cold");
    r->local_path = support_tmpdir_path(e->dir, "local");
    must_ok(open_store(r, true, &err), &err, "open the store");
    must_ok(open_manifest(r, &err), &err, "open the manifest");
    must_ok(tiering_log_create(&e->env, r->store, r->manifest, r->log_name, &log_id, &r->store_id,
                               "", 0, &err),
            &err, "create");
    r->manifest = index_manifest_close(r->manifest);
    r->store = cold_store_close(r->store);
}

void support_tiering_init_other(struct support_tiering *r, const struct support_tiering *first,
                                const char *local_name)
{
    init_settings(r, first->e);
    r->cold_path = first->cold_path;
    r->local_path = support_tmpdir_path(first->e->dir, "%s", local_name);
}

void support_tiering_deinit(struct support_tiering *r)
{
    support_tiering_close(r);
    base_buffer_deinit(&r->bytes);
    free(r->batches);
}

void support_tiering_remove(struct support_tiering *r)
{
    support_tiering_deinit(r);
    assert_int_equal(base_tree_remove(&base_io_posix, r->cold_path, NULL), 0);
    assert_int_equal(base_tree_remove(&base_io_posix, r->local_path, NULL), 0);
}

static int open_hot(struct support_tiering *r, struct varve_error *err)
{
    struct hot_recovery recovery;
    struct index_root root;
    char *dir;
    int rc = base_format(&dir, err, "%s/hot", r->local_path);

    if (rc < 0)
        return rc;
    support_tiering_root(r, &root);
    r->loader.log_id = root.log_id;
    r->hot_options.start_offset = root.end_offset;
    rc = hot_set_open(&r->e->env, dir, &r->hot_options, &r->hot, &recovery, err);
    free(dir);
    return rc;
}

static int open_caches(struct support_tiering *r, struct varve_error *err)
{
    struct cold_fetch_options options = {0};
    int rc = base_pool_new(r->threads, "test", &r->pool, err);

    if (rc == 0)
        rc = cold_cache_open(&r->e->env, r->local_path, "blocks", 0, 4096, &r->blocks, err);
    if (rc == 0)
        rc = cold_cache_open(&r->e->env, r->local_path, "tables", 1024 * 1024, 4096, &r->tables,
                             err);
    options.pool = r->pool;
    options.blocks = r->blocks;
    options.tables = r->tables;
    if (rc == 0)
        rc = cold_fetch_new(&r->e->env, r->store, &options, &r->fetch, err);
    return rc;
}

static int open_all(struct support_tiering *r, struct varve_error *err)
{
    struct tiering_log_options options = {.log_name = r->log_name};
    char *divergent = NULL, *journal = NULL, *hot = NULL;
    int rc = base_dir_create(r->e->env.io, r->local_path, false, err);

    if (rc == 0)
        rc = open_store(r, false, err);
    if (rc == 0)
        rc = open_manifest(r, err);
    if (rc == 0)
        rc = open_caches(r, err);
    if (rc < 0)
        return rc;
    options.store_id = r->store_id;
    options.manifest = r->manifest;
    options.segments = options.meta = r->store;
    options.fetch = r->fetch;
    options.pool = r->pool;
    options.rate = r->rate;
    options.policy = r->policy;
    options.event = on_event;
    options.event_ctx = r;
    options.set_aside = r->set_aside;
    rc = base_format(&journal, err, "%s/uploads", r->local_path);
    if (rc == 0)
        rc = base_format(&hot, err, "%s/hot", r->local_path);
    if (rc == 0)
        rc = base_format(&divergent, err, "%s/divergent", r->local_path);
    options.journal_path = journal;
    options.hot_dir = hot;
    options.divergent_dir = divergent;
    if (rc == 0)
        rc = tiering_log_open(&r->e->env, &options, r->take_over, &r->t, err);
    if (rc == 0)
        rc = open_hot(r, err);
    if (rc == 0)
        rc = tiering_log_attach(r->t, r->hot, divergent, err);
    free(hot);
    free(divergent);
    free(journal);
    return rc;
}

int support_tiering_open(struct support_tiering *r, struct varve_error *err)
{
    int rc = open_all(r, err);

    if (rc < 0)
        support_tiering_crash(r);
    atomic_store(&r->faulty.root_puts, 0);
    return rc;
}

void support_tiering_open_ok(struct support_tiering *r)
{
    struct varve_error err = {0};

    if (support_tiering_open(r, &err) < 0)
        fail_msg("%s", err.msg);
}

void support_tiering_run_ok(struct support_tiering *r, bool seal, bool evict)
{
    struct tiering_run run = {.seal = seal, .evict = evict};
    struct varve_error err = {0};

    if (tiering_log_run(r->t, &run, &err) < 0)
        fail_msg("%s", err.msg);
}

static void close_rest(struct support_tiering *r)
{
    r->t = tiering_log_close(r->t);
    r->fetch = cold_fetch_free(r->fetch);
    r->blocks = cold_cache_close(r->blocks);
    r->tables = cold_cache_close(r->tables);
    r->pool = base_pool_free(r->pool);
    r->manifest = index_manifest_close(r->manifest);
    r->store = cold_store_close(r->store);
}

void support_tiering_close(struct support_tiering *r)
{
    r->t = tiering_log_close(r->t);
    r->hot = hot_set_close(r->hot);
    close_rest(r);
}

void support_tiering_crash(struct support_tiering *r)
{
    r->t = tiering_log_close(r->t);
    r->hot = hot_set_abandon(r->hot);
    close_rest(r);
}

/* Appending. */

static void model_add(struct support_tiering *r, const void *data, size_t size, int64_t base,
                      int64_t end, int64_t timestamp)
{
    uint8_t *copy;

    r->batches = realloc(r->batches, (r->batch_count + 1) * sizeof(*r->batches));
    must(r->batches);
    r->batches[r->batch_count++] = (struct support_tiering_batch){
        .base_offset = base,
        .end_offset = end,
        .max_timestamp = timestamp,
        .pos = r->bytes.size,
        .size = size,
    };
    copy = base_buffer_extend(&r->bytes, size);
    must(copy);
    memcpy(copy, data, size);
    record_batch_assign(copy, base, (int32_t)tiering_log_epoch(r->t));
    r->end = end;
}

int support_tiering_append(struct support_tiering *r, size_t size, int64_t timestamp, bool noise,
                           struct varve_error *err)
{
    struct varve_batch *batch;
    const void *data;
    uint8_t *value = calloc(1, size + 1);
    struct record_batch header;
    struct hot_append append;
    size_t encoded;
    int64_t base;
    int rc;

    must(value);
    for (size_t i = 0; i < size; i++)
        value[i] = noise ? (uint8_t)support_random_u64(&r->e->random)
                         : (uint8_t)("abcdefgh"[i % 8] + (i / 64 + r->batch_count) % 8);
    must(varve_batch_new(VARVE_CODEC_NONE, 0, 2 * size + 4096, &batch, NULL) == 0);
    for (int i = 0; i < 3; i++) {
        struct varve_record record = {.timestamp = timestamp,
                                      .value = value + (size_t)i * (size / 3),
                                      .value_size = size / 3};

        must(varve_batch_add(batch, &record, NULL) == 0);
    }
    must(record_builder_encode(batch, &data, &encoded, NULL) == 0);
    must(record_batch_decode(data, encoded, &header, NULL) == 0);
    append = (struct hot_append){.data = data,
                                 .size = encoded,
                                 .record_count = header.record_count,
                                 .max_timestamp = timestamp,
                                 .first_timestamp = timestamp};
    rc = hot_set_append(r->hot, &append, 1, (int32_t)tiering_log_epoch(r->t), &base, err);
    if (rc == 0)
        model_add(r, data, encoded, base, base + 3, timestamp);
    varve_batch_free(batch);
    free(value);
    return rc;
}

static size_t sealed_count(struct support_tiering *r)
{
    struct hot_range range;

    hot_set_range(r->hot, &range);
    return range.segments;
}

void support_tiering_fill(struct support_tiering *r, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        size_t before = sealed_count(r);
        struct varve_error err = {0};

        while (sealed_count(r) == before)
            must_ok(support_tiering_append(r, 1500, atomic_load(&r->e->clock.wall_ms), i % 2 == 1,
                                           &err),
                    &err, "append");
    }
}

/* Looking. */

static int count_upload(void *arg, const char *key, const struct cold_upload *upload,
                        int64_t started)
{
    (void)key;
    (void)upload;
    (void)started;
    ++*(unsigned *)arg;
    return 0;
}

void support_tiering_verify(struct support_tiering *r, struct tiering_verify *ret)
{
    *ret = (struct tiering_verify){
        .log_name = r->log_name,
        .hot = r->hot,
        .manifest = r->manifest,
        .segments = r->store,
        .meta = r->store,
        .tiering = r->t,
        .manifest_dir = support_tmpdir_path(r->e->dir, "local/manifest"),
        .caches = {r->blocks, r->tables},
    };
}

unsigned support_tiering_unfinished(struct support_tiering *r)
{
    struct varve_error err = {0};
    unsigned count = 0;

    must_ok(cold_store_upload_list(r->faulty.under, "", count_upload, &count, &err), &err,
            "list uploads");
    return count;
}

void support_tiering_root(struct support_tiering *r, struct index_root *ret)
{
    struct index_root_pin *pin;
    const struct index_root *root;

    must(index_manifest_pin(r->manifest, &pin, &root, NULL) == 0);
    *ret = *root;
    index_manifest_unpin(pin);
}

int support_tiering_entry(struct support_tiering *r, int64_t offset, struct index_entry *ret)
{
    return index_manifest_find_offset(r->manifest, offset, ret, NULL);
}

int support_tiering_step(struct support_tiering *r)
{
    int64_t next;

    return tiering_log_step(r->t, &next, NULL);
}

/* The model's bytes of [base, end), which must be whole batches. */
static const uint8_t *model_bytes(struct support_tiering *r, int64_t base, int64_t end,
                                  size_t *ret_size)
{
    const uint8_t *from = NULL;

    *ret_size = 0;
    for (size_t i = 0; i < r->batch_count; i++) {
        const struct support_tiering_batch *b = &r->batches[i];

        if (b->base_offset < base || b->end_offset > end)
            continue;
        if (!from) {
            must(b->base_offset == base);
            from = r->bytes.data + b->pos;
        }
        *ret_size += b->size;
    }
    must(from);
    return from;
}

struct check {
    struct support_tiering *r;
    int64_t at;
    bool has_chain;
    uint8_t chain[BASE_SHA256_SIZE];
    struct index_root root;
    unsigned objects;
};

static void check_object(struct support_tiering *r, const struct index_root *root,
                         const struct index_entry *e)
{
    struct varve_error err = {0};
    char *key;
    void *data;
    uint8_t *raw;
    size_t size, expected_size, got;
    const uint8_t *expected;
    struct cold_etag etag;

    must(index_key_object(r->log_name, &root->log_id, e, &key, NULL) == 0);
    must_ok(cold_store_read(r->faulty.under, key, OBJECT_SIZE_MAX, &data, &size, &etag, &err), &err,
            "read an object that the root names");
    must(size == e->object_size);
    must(base_crc32c(0, data, size) == e->object_crc32c);
    expected = model_bytes(r, e->base_offset, e->end_offset, &expected_size);
    must(expected_size == e->segment_size);
    raw = malloc(expected_size + 1);
    must(raw);
    got = ZSTD_decompress(raw, expected_size + 1, data, size);
    must(!ZSTD_isError(got) && got == expected_size && memcmp(raw, expected, got) == 0);
    free(raw);
    free(data);
    free(key);
}

static int check_entry(void *arg, const struct index_entry *e, struct varve_error *err)
{
    struct check *c = arg;

    (void)err;
    must(c->at < 0 ? e->base_offset <= c->root.start_offset : e->base_offset == c->at); /* I1 */
    c->at = e->end_offset;
    if (c->has_chain) {
        uint8_t chain[BASE_SHA256_SIZE];

        must(index_chain_hash(c->chain, e->segment_sha256, e->base_offset, e->end_offset, chain) ==
             0);
        must(memcmp(chain, e->chain_hash, sizeof(chain)) == 0);
    }
    c->has_chain = true;
    memcpy(c->chain, e->chain_hash, sizeof(c->chain));
    check_object(c->r, &c->root, e);
    return 0;
}

static void check_hot(struct support_tiering *r)
{
    struct hot_range range;
    int64_t at;

    hot_set_range(r->hot, &range);
    must(range.end == r->end);
    for (at = range.floor; at < range.end;) {
        struct hot_segment *segment;
        struct hot_segment_info info;
        const uint8_t *expected;
        uint8_t *data;
        size_t size, got;

        must(hot_segment_find(r->hot, at, false, &segment, NULL) == 0);
        must(hot_segment_info(segment, &info, NULL) == 0);
        expected = model_bytes(r, info.base_offset, info.end_offset, &size);
        data = malloc(size);
        must(data && size == info.size);
        must(hot_segment_read(segment, data, size, 0, &got, NULL) == 0);
        must(got == size && memcmp(data, expected, size) == 0);
        free(data);
        hot_segment_unref(segment);
        at = info.end_offset;
    }
}

void support_tiering_check(struct support_tiering *r)
{
    struct check c = {.r = r, .at = -1};
    struct varve_error err = {0};
    struct hot_range range;

    support_tiering_root(r, &c.root);
    must_ok(index_manifest_each(r->manifest, c.root.start_offset, check_entry, &c, &err), &err,
            "walk the entries");
    must(c.at < 0 ? c.root.start_offset == c.root.end_offset : c.at == c.root.end_offset);
    hot_set_range(r->hot, &range);
    must(range.floor <= c.root.end_offset && c.root.end_offset <= range.end); /* I1 */
    check_hot(r);
}

struct named {
    struct base_id *ids;
    size_t count;
    unsigned objects;
    unsigned orphans;
};

static void named_add(struct named *n, const struct base_id *id)
{
    n->ids = realloc(n->ids, (n->count + 1) * sizeof(*n->ids));
    must(n->ids);
    n->ids[n->count++] = *id;
}

static int visit_entry(void *arg, const struct index_entry *e, struct varve_error *err)
{
    (void)err;
    named_add(arg, &e->attempt);
    return 0;
}

static int visit_ref(void *arg, const struct index_ref *ref, struct varve_error *err)
{
    (void)err;
    named_add(arg, &ref->attempt);
    return 0;
}

static int visit_key(void *arg, const char *key, const struct cold_meta *meta)
{
    struct named *n = arg;
    struct index_key_parts parts;
    bool found = false;

    (void)meta;
    if (!index_key_parse(key, &parts))
        return 0;
    n->objects++;
    for (size_t i = 0; i < n->count; i++)
        found = found || base_id_equal(&n->ids[i], &parts.attempt);
    if (!found)
        n->orphans++;
    return 0;
}

unsigned support_tiering_objects(struct support_tiering *r, unsigned *ret_orphans)
{
    struct named n = {0};
    struct index_root root;
    char *prefix;

    support_tiering_root(r, &root);
    must(index_manifest_each(r->manifest, root.deleted_to, visit_entry, &n, NULL) == 0);
    must(index_manifest_each_ref(r->manifest, visit_ref, &n, NULL) == 0);
    must(index_key_prefix(r->log_name, &root.log_id, &prefix, NULL) == 0);
    must(cold_store_list_all(r->faulty.under, prefix, visit_key, &n, NULL) == 0);
    free(prefix);
    free(n.ids);
    if (ret_orphans)
        *ret_orphans = n.orphans;
    return n.objects;
}
