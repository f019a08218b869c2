/* The engine's side of each benchmark, through the public API as its users drive it. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "bench/bench.h"
#include "log/store.h"

/* The system's I/O with its fdatasync calls counted: tells how many bytes a group commit covers. */
static _Atomic uint64_t sync_count;

static int counted_fdatasync(void *ctx, int fd)
{
    atomic_fetch_add_explicit(&sync_count, 1, memory_order_relaxed);
    return base_io_posix.fdatasync(ctx, fd);
}

int bench_engine_open(const struct bench_engine_options *options, struct bench_engine *ret,
                      struct varve_error *err)
{
    static struct base_io io;
    struct varve_store_options store_options = {
        .size = sizeof(store_options),
        .no_background = true,
        .threads = options->threads,
        .cold_url = options->cold_url,
        .upload_bytes_per_second = options->rate,
    };
    const struct varve_log_options log_options = {
        .size = sizeof(log_options),
        .durability = options->durability,
    };
    char segment[24];
    const struct varve_option log_settings[] = {{"flush.ms", "-1"}, {"segment.bytes", segment}};
    struct base_env env;
    struct bench_engine e = {0};
    int r;

    snprintf(segment, sizeof(segment), "%lld", (long long)options->segment);
    base_env_init(&env);
    io = base_io_posix;
    io.fdatasync = counted_fdatasync;
    env.io = &io;
    r = log_store_create_env(&env, options->dir, &store_options, err);
    if (r == 0)
        r = log_store_open_env(&env, options->dir, &store_options, &e.store, err);
    if (r == 0)
        r = varve_log_create(e.store, "bench", log_settings, options->segment ? 2 : 1, err);
    if (r == 0)
        r = varve_log_open(e.store, "bench", &log_options, &e.log, err);
    if (r < 0) {
        bench_engine_close(&e);
        return r;
    }
    *ret = e;
    return 0;
}

void bench_engine_close(struct bench_engine *e)
{
    e->log = varve_log_close(e->log);
    e->store = varve_store_close(e->store);
}

int bench_engine_append(struct bench_engine *e, const struct bench_data *d, uint64_t bytes,
                        struct bench_time *ret_time, struct varve_error *err)
{
    struct bench_time start = bench_time_now();
    uint64_t done = 0;

    for (size_t i = 0; done < bytes; i = (i + 1) % BENCH_RING_BATCHES) {
        int64_t offset;
        int r = varve_log_append_encoded(e->log, d->batches[i], d->sizes[i], &offset, err);
        if (r < 0)
            return r;
        done += d->sizes[i];
    }
    *ret_time = bench_time_since(start);
    return 0;
}

struct append_thread {
    pthread_t thread;
    struct bench_engine *engine;
    const struct bench_data *data;
    _Atomic uint64_t *left; /* bytes, shared by all threads */
    struct varve_error err;
    int result;
};

static void *append_run(void *arg)
{
    struct append_thread *t = arg;

    for (size_t i = 0; t->result == 0; i = (i + 1) % BENCH_RING_BATCHES) {
        int64_t offset;
        uint64_t size = t->data->sizes[i];
        uint64_t left = atomic_load_explicit(t->left, memory_order_relaxed);
        do {
            if (left < size)
                return NULL;
        } while (!atomic_compare_exchange_weak(t->left, &left, left - size));
        t->result = varve_log_append_encoded(t->engine->log, t->data->batches[i], (size_t)size,
                                             &offset, &t->err);
    }
    return NULL;
}

int bench_engine_append_threads(struct bench_engine *e, const struct bench_data *d, uint64_t bytes,
                                unsigned threads, struct bench_time *ret_time,
                                uint64_t *ret_commit_bytes, struct varve_error *err)
{
    struct append_thread *t = calloc(threads, sizeof(*t));
    _Atomic uint64_t left = bytes;
    uint64_t syncs = atomic_load(&sync_count);
    struct bench_time start = bench_time_now();
    unsigned started = 0;
    int r = 0;

    if (!t)
        return base_fail(err, VARVE_E_NO_MEMORY, "out of memory");
    for (; started < threads; started++) {
        t[started].engine = e;
        t[started].data = d;
        t[started].left = &left;
        if (pthread_create(&t[started].thread, NULL, append_run, &t[started]) != 0)
            break;
    }
    for (unsigned i = 0; i < started; i++) {
        pthread_join(t[i].thread, NULL);
        if (t[i].result < 0 && r == 0) {
            r = t[i].result;
            if (err)
                *err = t[i].err;
        }
    }
    *ret_time = bench_time_since(start);
    syncs = atomic_load(&sync_count) - syncs;
    *ret_commit_bytes = bytes / (syncs ? syncs : 1);
    free(t);
    return r;
}

int bench_engine_read(struct bench_engine *e, struct bench_time *ret_time, uint64_t *ret_bytes,
                      struct varve_error *err)
{
    struct varve_reader_options options = {.size = sizeof(options), .from = VARVE_FROM_START};
    struct varve_reader *reader = NULL;
    struct varve_batch_view view;
    struct bench_time start = bench_time_now();
    uint64_t bytes = 0;
    int r = varve_reader_open(e->log, &options, &reader, err);

    while (r == 0) {
        r = varve_reader_next_batch(reader, 0, &view, err);
        if (r == 0)
            bytes += view.size;
    }
    varve_reader_close(reader);
    *ret_time = bench_time_since(start);
    *ret_bytes = bytes;
    return r == VARVE_E_END ? 0 : r;
}

int bench_engine_tier(struct bench_engine *e, struct bench_time *ret_time, struct varve_error *err)
{
    struct varve_tier_options options = {.size = sizeof(options), .seal = true};
    struct bench_time start = bench_time_now();
    int r = varve_log_tier(e->log, &options, err);

    *ret_time = bench_time_since(start);
    return r;
}
