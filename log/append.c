/*
 * Appending: what the engine adds to a batch is two header fields and an offset; the rest is the
 * caller's bytes, checked and written as they came.
 */
#include <stdlib.h>

#include "base/error.h"
#include "log/log.h"
#include "record/builder.h"

#define APPEND_DECOMPRESSED_MAX                                                                    \
    (256u * 1024 * 1024) /* of one batch; bounds what a foreign one can make us hold */

static int append_allowed(struct varve_log *log, struct varve_error *err)
{
    if (!log->tiering)
        return log_store_check_writable(log->store, err);
    if (tiering_log_fenced(log->tiering)) /* I6: a writer that met a higher epoch stops at once */
        return tiering_log_check(log->tiering, err);
    return log->store->lease ? tiering_lease_wait(log->store->lease, err) : 0;
}

/*
 * In lease mode, behind the write and the sync and in front of the acknowledgement: the process may
 * have been stopped in between for any time (I6). What is refused here is in the log all the same
 * unless the log was taken over, so it is not to be sent again blindly: not retriable.
 */
static int append_confirm(struct varve_log *log, struct varve_error *err)
{
    int r;

    if (!log->store->lease)
        return 0;
    r = tiering_log_check(log->tiering, err);
    if (r == 0)
        r = tiering_lease_wait(log->store->lease,
                               err); /* last: nothing may come behind the clock */
    if (r < 0) {
        if (err)
            err->retriable = false;
        return base_error_context(err, r, "written, but not acknowledged");
    }
    return 0;
}

/* A segment that an append has sealed is uploaded now, not when the tierer next looks by itself.
 * One of the appenders that see the roll tells; nobody waits. */
static void append_wake_tierer(struct varve_log *log)
{
    uint64_t rolls = hot_set_rolls(log->hot);

    if (log->store->scheduler &&
        atomic_load_explicit(&log->rolls_seen, memory_order_relaxed) != rolls &&
        atomic_exchange_explicit(&log->rolls_seen, rolls, memory_order_relaxed) != rolls)
        tiering_scheduler_kick(log->store->scheduler, log->tiering);
}

static int append_checked(struct varve_log *log, const void *data, const struct record_batch *b,
                          int64_t *ret_base_offset, struct varve_error *err)
{
    const struct hot_append append = {
        .data = data,
        .size = b->size,
        .record_count = b->record_count,
        .max_timestamp = b->max_timestamp,
        .first_timestamp = b->base_timestamp,
    };
    int64_t base = 0;
    int r;

    if (b->size > atomic_load_explicit(&log->batch_bytes_max, memory_order_relaxed))
        return base_fail(err, VARVE_E_TOO_LARGE,
                         "a batch of %u bytes is above max.message.bytes (%zu)", b->size,
                         atomic_load_explicit(&log->batch_bytes_max, memory_order_relaxed));
    r = hot_set_append(log->hot, &append, 1, (int32_t)tiering_log_epoch(log->tiering), &base, err);
    if (r < 0)
        return r;
    append_wake_tierer(log);
    atomic_fetch_add_explicit(&log->store->appended_batches, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&log->store->appended_bytes, b->size, memory_order_relaxed);
    r = append_confirm(log, err);
    if (r == 0 && ret_base_offset)
        *ret_base_offset = base;
    return r;
}

int varve_log_append(struct varve_log *log, struct varve_batch *batch, int64_t *ret_base_offset,
                     struct varve_error *err)
{
    struct record_batch b;
    const void *data;
    size_t size;
    int r = append_allowed(log, err);

    if (r == 0)
        r = record_builder_encode(batch, &data, &size, err);
    if (r == 0)
        r = record_batch_decode(data, size, &b, err);
    if (r == 0)
        r = append_checked(log, data, &b, ret_base_offset, err);
    return r < 0 ? base_error_context(err, r, "append to %s", log->name) : 0;
}

int varve_log_append_encoded(struct varve_log *log, const void *data, size_t size,
                             int64_t *ret_base_offset, struct varve_error *err)
{
    struct record_batch b;
    int r = append_allowed(log, err);

    if (r == 0)
        r = record_batch_validate(data, size, APPEND_DECOMPRESSED_MAX, &b, err);
    if (r == 0 && b.size != size)
        r = base_fail(err, VARVE_E_CORRUPT, "%zu bytes follow the batch of %u bytes", size - b.size,
                      b.size);
    if (r == 0)
        r = append_checked(log, data, &b, ret_base_offset, err);
    return r < 0 ? base_error_context(err, r, "append to %s", log->name) : 0;
}

int varve_log_append_record(struct varve_log *log, const struct varve_record *record,
                            int64_t *ret_offset, struct varve_error *err)
{
    struct varve_batch *batch = NULL;
    enum varve_codec codec;
    int level;
    int r;

    base_mutex_lock(&log->config_mutex);
    codec = log_config_codec(&log->config, &level);
    base_mutex_unlock(&log->config_mutex);
    r = varve_batch_new(codec, level,
                        atomic_load_explicit(&log->batch_bytes_max, memory_order_relaxed), &batch,
                        err);
    if (r == 0)
        r = varve_batch_add(batch, record, err);
    if (r < 0) {
        varve_batch_free(batch);
        return base_error_context(err, r, "append to %s", log->name);
    }
    r = varve_log_append(log, batch, ret_offset, err);
    varve_batch_free(batch);
    return r;
}

int varve_log_sync(struct varve_log *log, struct varve_error *err)
{
    int r = log_store_check_writable(log->store, err);

    if (r == 0)
        r = hot_set_sync(log->hot, err);
    if (r == 0)
        r = tiering_log_check(log->tiering, err);
    if (r == 0)
        r = append_confirm(log, err);
    return r < 0 ? log_context(log, r, err) : 0;
}

int varve_log_seal(struct varve_log *log, struct varve_error *err)
{
    int r = log_store_check_writable(log->store, err);

    if (r == 0)
        r = hot_set_seal(log->hot, err);
    if (r == 0 && log->store->scheduler)
        tiering_scheduler_kick(log->store->scheduler, log->tiering);
    return r < 0 ? log_context(log, r, err) : 0;
}
