/*
 * The fetcher: its life, its recycled buffers and its counters. Tables are in table.c, blocks in
 * flight.c, the reader in reader.c.
 */
#include "cold/fetch.h"

#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "cold/fetch_private.h"

#define BUFFER_UNIT (64 * 1024) /* capacities are multiples, so that blocks of like size share */

int cold_fetch_new(const struct base_env *env, struct cold_store *store,
                   const struct cold_fetch_options *options, struct cold_fetch **ret,
                   struct varve_error *err)
{
    struct cold_fetch *f = calloc(1, sizeof(*f));
    struct cold_caps caps;

    if (!f)
        return base_fail(err, VARVE_E_NO_MEMORY, "open the cold tier: out of memory");
    f->env = env;
    f->store = store;
    f->options = *options;
    cold_store_caps(store, &caps);
    f->async = caps.async;
    f->range_bytes_max = caps.local ? LOCAL_RANGE_BYTES_MAX : COLD_RANGE_BYTES_MAX;
    f->raw_max = options->readahead_bytes_max / RAW_SHARE;
    f->stored_max = options->readahead_bytes_max - f->raw_max;
    f->window_max =
        caps.local && f->stored_max > LOCAL_WINDOW_BYTES ? LOCAL_WINDOW_BYTES : f->stored_max;
    f->decoder_count = options->pool ? base_pool_threads(options->pool) : 0;
    if (f->decoder_count > DECODERS_MAX)
        f->decoder_count = DECODERS_MAX;
    for (unsigned i = 0; i < f->decoder_count; i++) {
        f->decoders[i].fetch = f;
        f->decoders[i].job =
            (struct base_job){.run = cold_flight_decode_run, .priority = PRIORITY_READ_AHEAD};
    }
    for (unsigned i = 0; i < KEEPING_MAX; i++) {
        f->keeping[i].fetch = f;
        f->keeping[i].job =
            (struct base_job){.run = cold_flight_keep_run, .priority = PRIORITY_KEEP};
    }
    base_mutex_init(&f->lock);
    base_cond_init(&f->changed);
    *ret = f;
    return 0;
}

struct cold_fetch *cold_fetch_free(struct cold_fetch *fetch)
{
    if (!fetch)
        return NULL;
    base_mutex_lock(&fetch->lock);
    while (fetch->jobs > 0) /* cancelled ones too: the pool still holds them */
        base_cond_wait(&fetch->changed, &fetch->lock);
    base_mutex_unlock(&fetch->lock);
    cold_flight_forget_recent(fetch);
    cold_table_forget_all(fetch);
    assert(fetch->readers == 0 && fetch->stored_bytes == 0 && fetch->raw_bytes == 0);
    for (size_t i = 0; i < fetch->buffer_count; i++)
        free(fetch->buffers[i].data);
    for (size_t i = 0; i < fetch->decompressor_count; i++)
        cold_decompressor_free(fetch->decompressors[i]);
    base_cond_deinit(&fetch->changed);
    base_mutex_deinit(&fetch->lock);
    free(fetch);
    return NULL;
}

int cold_fetch_range(struct cold_fetch *fetch, const char *key, uint64_t pos, size_t size,
                     void *buf, struct varve_error *err)
{
    struct varve_error local;
    int rc;

    if (!err)
        err = &local;
    rc = cold_store_get(fetch->store, key, pos, size, buf, err);
    return rc == VARVE_E_NOT_FOUND ? cold_fetch_missing(key, err) : rc;
}

/* I8: the manifest names it, the store answers that it is gone. */
int cold_fetch_missing(const char *key, struct varve_error *err)
{
    return base_fail(err, VARVE_E_CORRUPT, "object %s is missing from the store", key);
}

bool cold_buffer_take(struct cold_fetch *fetch, size_t size, struct cold_buffer *ret)
{
    struct cold_buffer taken = {0};
    size_t best = BUFFERS_MAX;

    base_mutex_lock(&fetch->lock);
    /* Newest first, so that memory still in the processor's caches is used again. */
    for (size_t i = fetch->buffer_count; i-- > 0;) {
        size_t capacity = fetch->buffers[i].capacity;

        if (capacity >= size && (best == BUFFERS_MAX || capacity < fetch->buffers[best].capacity))
            best = i;
    }
    if (best < BUFFERS_MAX && fetch->buffers[best].capacity / 2 <= size + BUFFER_UNIT) {
        taken = fetch->buffers[best];
        fetch->buffer_bytes -= taken.capacity;
        fetch->buffer_count--;
        for (size_t i = best; i < fetch->buffer_count; i++)
            fetch->buffers[i] = fetch->buffers[i + 1];
    }
    base_mutex_unlock(&fetch->lock);
    if (!taken.data) {
        taken.capacity = (size + BUFFER_UNIT - 1) / BUFFER_UNIT * BUFFER_UNIT;
        taken.data = malloc(taken.capacity);
        if (!taken.data)
            return false;
    }
    *ret = taken;
    return true;
}

void cold_buffer_give_locked(struct cold_fetch *fetch, struct cold_buffer *buffer)
{
    uint64_t bytes = fetch->buffer_bytes + buffer->capacity;

    if (!buffer->data)
        return;
    /* Free and used bytes together stay under the budget. */
    if (fetch->buffer_count < BUFFERS_MAX &&
        (bytes <= BUFFERS_BYTES_MIN ||
         bytes + fetch->stored_bytes + fetch->raw_bytes <= fetch->options.readahead_bytes_max)) {
        fetch->buffers[fetch->buffer_count++] = *buffer;
        fetch->buffer_bytes += buffer->capacity;
    } else {
        free(buffer->data);
    }
    *buffer = (struct cold_buffer){0};
}

void cold_buffer_give(struct cold_fetch *fetch, struct cold_buffer *buffer)
{
    base_mutex_lock(&fetch->lock);
    cold_buffer_give_locked(fetch, buffer);
    base_mutex_unlock(&fetch->lock);
}

struct cold_decompressor *cold_decompressor_take(struct cold_fetch *fetch)
{
    struct cold_decompressor *d = NULL;

    base_mutex_lock(&fetch->lock);
    if (fetch->decompressor_count > 0)
        d = fetch->decompressors[--fetch->decompressor_count];
    base_mutex_unlock(&fetch->lock);
    return d ? d : cold_decompressor_new();
}

void cold_decompressor_give(struct cold_fetch *fetch, struct cold_decompressor *d)
{
    base_mutex_lock(&fetch->lock);
    if (fetch->decompressor_count < DECOMPRESSORS_MAX) {
        fetch->decompressors[fetch->decompressor_count++] = d;
        d = NULL;
    }
    base_mutex_unlock(&fetch->lock);
    cold_decompressor_free(d);
}

void cold_fetch_stats(struct cold_fetch *fetch, struct cold_fetch_stats *ret)
{
    base_mutex_lock(&fetch->lock);
    *ret = fetch->stats;
    base_mutex_unlock(&fetch->lock);
}
