/*
 * The figures of an object store across a wire: upload, cold read, seek. Everything is done below a
 * prefix of its own, which is emptied at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/error.h"
#include "base/text.h"
#include "bench/bench.h"
#include "cold/fetch.h"
#include "cold/store.h"
#include "log/store.h"

#define GIB (1024.0 * 1024 * 1024)
#define SEEKS 200
#define SEEK_SLACK_MS 1.0
#define GETS_PER_GIB_MAX 150.0
#define SINGLE_REQUESTS_PER_GIB 20.0
#define SINGLE_BYTES (40.0 * 1024 * 1024) /* of objects that this is asked of */
#define SMALL_REQUESTS 2.0                /* of each smaller one */
#define PART_REQUESTS_MORE 3.0            /* an object, beside its parts */
#define MEMORY_MAX_MIB 256.0
#define RATE_SLACK 0.05
#define COPY_BYTES (8 * 1024 * 1024)

struct remote {
    struct bench *b;
    struct bench_data data;
    struct bench_bare *bare;
    char *url; /* of the prefix that is ours */
    char dir[400];
    char store[450];
    char logs[500];
    struct bench_engine engine;
    /* The objects that the engine has made, and copies of them. */
    char **keys;
    size_t key_count;
    struct bench_files copies;
    uint64_t stored; /* bytes of all */
    /* Whole frames in ranges as large as the engine's, and each frame by itself. */
    struct bench_range *ranges, *frames;
    size_t range_count, frame_count;
};

/* ---- the store's side ---- */

static int add_key(void *arg, const char *key, const struct cold_meta *meta)
{
    struct remote *t = arg;
    size_t n = strlen(key);
    char **keys;

    if (n < 4 || strcmp(key + n - 4, ".zst") != 0)
        return 0;
    keys = realloc(t->keys, (t->key_count + 1) * sizeof(*keys));
    if (!keys)
        return VARVE_E_NO_MEMORY;
    t->keys = keys;
    t->keys[t->key_count] = strdup(key);
    if (!t->keys[t->key_count])
        return VARVE_E_NO_MEMORY;
    t->key_count++;
    t->stored += meta->size;
    return 0;
}

static int delete_one(void *arg, const char *key, const struct cold_meta *meta)
{
    struct cold_store *store = arg;

    (void)meta;
    return cold_store_delete(store, &key, 1, NULL);
}

static int empty(struct remote *t, struct varve_error *err)
{
    return cold_store_list_all(t->engine.store->segments, "", delete_one, t->engine.store->segments,
                               err);
}

static int copy_object(struct remote *t, size_t i, struct varve_error *err)
{
    struct cold_store *store = t->engine.store->segments;
    struct cold_meta meta;
    char path[600];
    void *buf = malloc(COPY_BYTES);
    int fd, r = cold_store_head(store, t->keys[i], &meta, err);

    snprintf(path, sizeof(path), "%s/copy-%06zu.zst", t->dir, i);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (!buf || fd < 0)
        r = base_fail_errno(err, errno, "open %s", path);
    for (uint64_t pos = 0; r == 0 && pos < meta.size; pos += COPY_BYTES) {
        size_t n = meta.size - pos < COPY_BYTES ? (size_t)(meta.size - pos) : COPY_BYTES;

        r = cold_store_get(store, t->keys[i], pos, n, buf, err);
        if (r == 0 && write(fd, buf, n) != (ssize_t)n)
            r = base_fail_errno(err, errno, "write %s", path);
    }
    if (fd >= 0)
        close(fd);
    free(buf);
    return r;
}

static int range_add(struct bench_range **list, size_t *count, struct bench_range range,
                     struct varve_error *err)
{
    struct bench_range *more = realloc(*list, (*count + 1) * sizeof(*more));

    if (!more)
        return base_fail(err, VARVE_E_NO_MEMORY, "out of memory");
    *list = more;
    more[(*count)++] = range;
    return 0;
}

/* Notes the frames of one copied object, those that hold records. */
static int frames_find(struct remote *t, size_t i, struct varve_error *err)
{
    size_t room = 4 * 1024 * 1024, have = 0;
    uint8_t *buf = malloc(room);
    int fd = open(t->copies.paths[i], O_RDONLY | O_CLOEXEC), r = 0;
    struct bench_range range = {.object = i};
    uint64_t pos = 0;

    if (!buf || fd < 0)
        r = base_fail_errno(err, errno, "open %s", t->copies.paths[i]);
    while (r == 0) {
        ssize_t n = pread(fd, buf, room, (off_t)pos);
        size_t size;

        if (n <= 4)
            break;
        have = (size_t)n;
        size = ZSTD_findFrameCompressedSize(buf, have);
        if (ZSTD_isError(size) || (base_get_le32(buf) & 0xfffffff0u) == ZSTD_MAGIC_SKIPPABLE_START)
            break; /* the index: no frame of records follows */
        r = range_add(&t->frames, &t->frame_count, (struct bench_range){i, pos, size}, err);
        if (r == 0 && range.size > 0 && range.size + size > COLD_RANGE_BYTES_MAX) {
            r = range_add(&t->ranges, &t->range_count, range, err);
            range = (struct bench_range){.object = i, .pos = pos};
        }
        range.size += size;
        pos += size;
    }
    if (r == 0 && range.size > 0)
        r = range_add(&t->ranges, &t->range_count, range, err);
    if (fd >= 0)
        close(fd);
    free(buf);
    return r;
}

static int objects_copy(struct remote *t, struct varve_error *err)
{
    int r = cold_store_list_all(t->engine.store->segments, "logs/", add_key, t, err);

    for (size_t i = 0; r == 0 && i < t->key_count; i++)
        r = copy_object(t, i, err);
    if (r == 0)
        r = bench_files_find(t->dir, ".zst", &t->copies, err);
    if (r == 0 && t->copies.count != t->key_count)
        r = base_fail(err, VARVE_E_FAILED, "%zu objects, %zu copies", t->key_count,
                      t->copies.count);
    for (size_t i = 0; r == 0 && i < t->key_count; i++)
        r = frames_find(t, i, err);
    return r;
}

static void objects_forget(struct remote *t)
{
    for (size_t i = 0; i < t->key_count; i++)
        free(t->keys[i]);
    free(t->keys);
    free(t->ranges);
    free(t->frames);
    bench_files_free(&t->copies);
    t->keys = NULL;
    t->ranges = t->frames = NULL;
    t->key_count = t->range_count = t->frame_count = 0;
    t->stored = 0;
}

static uint64_t requests(const struct cold_stats *stats)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < COLD_OP_COUNT; i++)
        sum += stats->requests[i];
    return sum;
}

/* ---- upload ---- */

struct uploads {
    struct bench_line put;        /* beside a bare PUT of the same stored bytes */
    struct bench_line compressed; /* beside reading, hashing, compressing and a bare PUT */
    uint64_t requests;            /* of the last round */
    uint64_t parts;
};

/* A store in a fresh directory, all of the records in it sealed; nothing uploaded. */
static int fill(struct remote *t, struct varve_error *err)
{
    struct bench_engine_options options = {.dir = t->store,
                                           .threads = t->b->threads,
                                           .cold_url = t->url,
                                           .segment = t->b->segment,
                                           .rate = t->b->rate};
    struct bench_time seconds;
    int r = bench_scratch_make(t->b->dir, "remote", t->dir, sizeof(t->dir), err);

    if (r < 0) {
        t->dir[0] = 0;
        return r;
    }
    snprintf(t->store, sizeof(t->store), "%s/store", t->dir);
    snprintf(t->logs, sizeof(t->logs), "%s/logs", t->store);
    r = bench_engine_open(&options, &t->engine, err);
    if (r == 0)
        r = bench_engine_append(&t->engine, &t->data, (uint64_t)t->b->bytes, &seconds, err);
    if (r == 0)
        r = varve_log_sync(t->engine.log, err);
    return r == 0 ? varve_log_seal(t->engine.log, err) : r;
}

static void unfill(struct remote *t)
{
    struct varve_error err = {0};

    if (t->engine.store && empty(t, &err) < 0)
        fprintf(stderr, "varve: bench: %s is not emptied: %s\n", t->url, err.msg);
    bench_engine_close(&t->engine);
    objects_forget(t);
    if (t->dir[0])
        bench_scratch_remove(t->dir);
    t->dir[0] = 0;
}

static int upload_round(struct remote *t, struct uploads *u, bool limits, struct varve_error *err)
{
    struct bench_time engine, limit;
    struct cold_stats before, after;
    uint64_t sent;
    int r = fill(t, err);

    if (r < 0)
        return r;
    cold_store_stats(t->engine.store->segments, &before);
    r = bench_engine_tier(&t->engine, &engine, err);
    cold_store_stats(t->engine.store->segments, &after);
    u->requests = requests(&after) - requests(&before);
    u->parts = after.requests[COLD_OP_PART] - before.requests[COLD_OP_PART];
    if (r == 0)
        r = objects_copy(t, err);
    if (r < 0 || !limits)
        return r;
    r = bench_bare_put(t->bare, "limit", &t->copies, &limit, &sent, err);
    if (r == 0)
        bench_line_add(&u->put, (double)t->stored, &engine, &limit);
    if (r == 0)
        r = bench_limit_tier(t->logs, t->dir, t->b->parallel, bench_bare_sink, t->bare, &limit,
                             err);
    if (r == 0)
        bench_line_add(&u->compressed, (double)t->b->bytes, &engine, &limit);
    return r;
}

static void upload_requests(struct remote *t, const struct uploads *u)
{
    double gib = (double)t->stored / GIB, objects = (double)t->key_count, bound;
    const char *why;
    char text[100];

    if (u->parts) {
        bound = ((double)u->parts + PART_REQUESTS_MORE * objects) / gib;
        why = "the parts and 3 an object";
    } else if ((double)t->stored / objects >= SINGLE_BYTES) {
        bound = SINGLE_REQUESTS_PER_GIB;
        why = "a PUT each";
    } else {
        bound = SMALL_REQUESTS * objects / gib;
        why = "2 for so small ones";
    }
    snprintf(text, sizeof(text), "%.0f objects, %.1f MiB each, %s", objects, gib * 1024 / objects,
             why);
    bench_print_value(t->b, "upload requests", t->data.name, (double)u->requests / gib,
                      "per GiB stored", text, bound);
}

/* ---- cold read ---- */

/* Before the limit has run for the first time: its memory is not the engine's. */
static int read_memory(struct remote *t, double *ret_mib, struct varve_error *err)
{
    struct bench_memory *memory = bench_memory_start();
    struct bench_time seconds;
    uint64_t bytes;
    int r = bench_engine_read(&t->engine, &seconds, &bytes, err);

    if (r == 0)
        r = bench_engine_read(&t->engine, &seconds, &bytes, err);
    *ret_mib = (double)bench_memory_stop(memory) / (1024 * 1024);
    return r;
}

static int read_rounds(struct remote *t, struct varve_error *err)
{
    struct varve_tier_options evict = {.size = sizeof(evict), .evict = true};
    struct bench_line line = {.what = "cold read",
                              .data = t->data.name,
                              .limit = "parallel GET, decompress",
                              .bound = 0.8};
    struct cold_stats before, after;
    uint64_t gets = 0;
    double memory = 0;
    int r = varve_log_tier(t->engine.log, &evict, err);

    if (r == 0)
        r = read_memory(t, &memory, err);
    for (unsigned i = 0; r == 0 && i <= t->b->rounds; i++) {
        struct bench_time engine, limit;
        uint64_t bytes = 0, limit_bytes = 0;

        cold_store_stats(t->engine.store->segments, &before);
        r = bench_engine_read(&t->engine, &engine, &bytes, err);
        cold_store_stats(t->engine.store->segments, &after);
        gets = after.requests[COLD_OP_GET] - before.requests[COLD_OP_GET];
        if (r == 0)
            r = bench_bare_read(t->bare, t->keys, t->ranges, t->range_count, &limit, &limit_bytes,
                                err);
        if (r == 0 && bytes != limit_bytes)
            r = base_fail(err, VARVE_E_FAILED,
                          "the engine read %" PRIu64 " bytes, its limit %" PRIu64, bytes,
                          limit_bytes);
        if (r == 0 && i > 0) /* the first warms both */
            bench_line_add(&line, (double)bytes, &engine, &limit);
    }
    if (r < 0)
        return r;
    bench_print_line(t->b, &line);
    bench_print_value(t->b, "cold read GETs", t->data.name,
                      (double)gets / ((double)t->stored / GIB), "per GiB stored", "read ahead",
                      GETS_PER_GIB_MAX);
    bench_print_value(t->b, "cold read memory", t->data.name, memory, "MiB", "private, resident",
                      MEMORY_MAX_MIB);
    return 0;
}

/* ---- seek ---- */

/* The first record at an offset, by a reader of its own. */
static int seek_engine(struct remote *t, int64_t offset, double *ret_seconds,
                       struct varve_error *err)
{
    struct varve_reader_options options = {
        .size = sizeof(options), .from = VARVE_FROM_OFFSET, .offset = offset};
    struct varve_reader *reader = NULL;
    struct varve_record record;
    struct bench_time start = bench_time_now();
    int r = varve_reader_open(t->engine.log, &options, &reader, err);

    if (r == 0)
        r = varve_reader_next(reader, 0, &record, err);
    *ret_seconds = bench_time_since(start).wall;
    if (r == 0 && record.offset != offset)
        r = base_fail(err, VARVE_E_FAILED, "seek to %" PRId64 " gave %" PRId64, offset,
                      record.offset);
    varve_reader_close(reader);
    return r;
}

/* Blocks that nothing has read since eviction: the first GET of each, by engine and limit in
 * turns. */
static int seek_pairs(struct remote *t, struct varve_error *err)
{
    double engine[SEEKS], limit[SEEKS];
    struct cold_stats before, after;
    struct varve_log_info info = {.size = sizeof(info)};
    uint64_t largest = 0;
    char text[100];
    double raw;
    int r = varve_log_info(t->engine.log, &info, err);

    if (r < 0)
        return r;
    if (t->frame_count < (size_t)2 * SEEKS)
        return base_fail(err, VARVE_E_INVALID, "seek: %zu blocks are too few: give a larger --size",
                         t->frame_count);
    for (size_t i = 0; i < t->frame_count; i++)
        largest = t->frames[i].size > largest ? t->frames[i].size : largest;
    cold_store_stats(t->engine.store->segments, &before);
    for (size_t i = 0; r == 0 && i < SEEKS; i++) {
        const struct bench_range *f = &t->frames[i * t->frame_count / SEEKS];

        r = seek_engine(t, (int64_t)((double)info.end_offset * ((double)i + 0.5) / SEEKS),
                        &engine[i], err);
        if (r == 0)
            r = bench_bare_get(t->bare, t->keys[f->object], f->pos, f->size, &limit[i], err);
    }
    cold_store_stats(t->engine.store->segments, &after);
    if (r < 0)
        return r;
    raw = bench_median(limit, SEEKS) * 1000;
    snprintf(text, sizeof(text), "the raw GET's %.2f ms and 1 ms", raw);
    bench_print_value(t->b, "seek, first record", t->data.name, bench_median(engine, SEEKS) * 1000,
                      "ms", text, raw + SEEK_SLACK_MS);
    bench_print_value(t->b, "seek GETs", t->data.name,
                      (double)(after.requests[COLD_OP_GET] - before.requests[COLD_OP_GET]) / SEEKS,
                      "each", "one request", 1);
    bench_print_value(t->b, "seek bytes", t->data.name,
                      (double)(after.bytes_received - before.bytes_received) / SEEKS / 1024,
                      "KiB each", "one block", (double)largest / 1024);
    return 0;
}

/* ---- all of one kind of data ---- */

static int rate_round(struct remote *t, struct varve_error *err)
{
    struct bench_time seconds;
    double rate;
    int r = fill(t, err);

    if (r == 0)
        r = bench_engine_tier(&t->engine, &seconds, err);
    if (r == 0)
        r = cold_store_list_all(t->engine.store->segments, "logs/", add_key, t, err);
    if (r < 0)
        return r;
    rate = (double)t->stored / seconds.wall / (double)t->b->rate;
    bench_print_value(t->b, "upload rate", t->data.name, rate, "of the limit", "the limit",
                      1 + RATE_SLACK);
    if (rate < 1 - RATE_SLACK) {
        fprintf(stderr, "varve: bench: uploads were slower than the limit\n");
        t->b->below = true;
    }
    return 0;
}

static int figures(struct remote *t, struct varve_error *err)
{
    struct bench *b = t->b;
    struct uploads u = {
        .put = {.what = "upload",
                .data = t->data.name,
                .limit = "parallel PUT of the same bytes",
                .bound = 0.8},
        .compressed = {.what = "upload, raw bytes",
                       .data = t->data.name,
                       .limit = "SHA-256, zstd, parallel PUT",
                       .bound = 0.8},
    };
    bool upload = bench_wanted(b, u.put.what);
    unsigned rounds = upload ? b->rounds : 1;
    int r = 0;

    for (unsigned i = 0; r == 0 && i < rounds; i++) {
        if (i > 0)
            unfill(t);
        r = upload_round(t, &u, upload, err);
    }
    if (r == 0 && upload) {
        /* What compresses well takes longer to compress than to send: then the other limit holds.
         */
        if (t->stored * 2 < (uint64_t)b->bytes)
            u.put.bound = 0;
        bench_print_line(b, &u.put);
        bench_print_line(b, &u.compressed);
        upload_requests(t, &u);
    }
    if (r == 0 && bench_wanted(b, "cold read"))
        r = read_rounds(t, err);
    else if (r == 0 && bench_wanted(b, "seek")) {
        struct varve_tier_options evict = {.size = sizeof(evict), .evict = true};
        r = varve_log_tier(t->engine.log, &evict, err);
    }
    if (r == 0 && bench_wanted(b, "seek"))
        r = seek_pairs(t, err);
    return r;
}

void bench_remote(struct bench *b, bool random)
{
    struct remote t = {.b = b};
    struct varve_error err = {0};
    const char *query = strchr(b->cold_url, '?');
    size_t size = query ? (size_t)(query - b->cold_url) : strlen(b->cold_url);
    int r;

    while (size > 0 && b->cold_url[size - 1] == '/')
        size--;
    r = base_format(&t.url, &err, "%.*s/varve-bench-%ld-%d%s", (int)size, b->cold_url,
                    (long)getpid(), random, query ? query : "");
    if (r == 0)
        r = !random && b->input ? bench_data_read(&t.data, b->input, &err)
                                : bench_data_make(&t.data, random, &err);
    if (r == 0)
        r = bench_bare_new(t.url, b->parallel, &t.bare, &err);
    if (r == 0)
        r = b->rate ? rate_round(&t, &err) : figures(&t, &err);
    unfill(&t);
    bench_bare_free(t.bare);
    bench_data_free(&t.data);
    free(t.url);
    if (r < 0)
        bench_fail(b, "of the cold tier", &err);
}
