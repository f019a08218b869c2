/*
 * The reader: one walk over a log, whichever tier holds the next batch.
 *
 * It stands in one of three places: nowhere (it was just opened, sought, or its tier let go of it),
 * in the hot tier, in the cold tier. From nowhere it looks at the hot tier first and at the cold
 * one second; while it reads cold it changes over to hot as soon as the hot tier holds its offset.
 * A hot copy that is damaged is passed over as long as the cold tier holds the same offsets. Errors
 * leave it standing where it stood, so that the same call may be made again.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "cold/fetch.h"
#include "hot/reader.h"
#include "log/log.h"
#include "record/iterator.h"

#define READER_DECOMPRESSED_MAX (256u * 1024 * 1024) /* of one batch */
#define READER_WAIT_SLICE_NS INT64_C(50000000)       /* how soon an interrupt is noticed */
#define READER_MOVES_MAX                                                                           \
    16 /* changes of place within one call before it is an error (I8: never a loop) */

/* The first wait for a writer that recovers the log; each is twice the one before, 16 s in all. */
#define READER_RECOVERING_NS INT64_C(1000000)

#define READER_TIMEOUT_MS_MAX INT64_C(3155760000000) /* a century: for ever */

enum reader_place { READER_NOWHERE, READER_HOT, READER_COLD };

struct varve_reader {
    struct varve_log *log;
    bool control;
    _Atomic bool interrupted; /* set by any thread; relaxed, it orders nothing */
    int64_t offset;           /* of the next record */
    enum reader_place place;
    int64_t hot_damaged_to; /* below this offset the hot copy is not used */
    /* The floor of a local view whose files had gone: not believed while it is the same. While a
     * writer recovers, it publishes nothing new. -1: none. */
    int64_t hot_stale_floor;
    struct hot_reader *hot; /* NULL when nothing is local */
    struct cold_reader *cold;
    uint64_t cold_generation; /* of the root when it was last placed in the cold tier */

    struct record_iterator *records;
    bool in_batch; /* `records` stands in a batch */
    int64_t batch_end;
};

int varve_reader_seek(struct varve_reader *r, int64_t offset, struct varve_error *err)
{
    int64_t floor, end;
    int rc = log_refresh(r->log, false, err);

    if (rc < 0)
        return rc;
    log_range(r->log, &floor, &end);
    if (offset > end && !r->log->tiering) {
        rc = log_refresh(r->log, true, err);
        if (rc < 0)
            return rc;
        log_range(r->log, &floor, &end);
    }
    if (offset < log_start(r->log) || offset > end)
        return base_fail(err, VARVE_E_OUT_OF_RANGE,
                         "log %s: offset %" PRId64 " is outside [%" PRId64 ", %" PRId64 "]",
                         r->log->name, offset, log_start(r->log), end);
    r->offset = offset;
    r->place = READER_NOWHERE;
    r->in_batch = false;
    return 0;
}

static int reader_start(struct varve_reader *r, const struct varve_reader_options *o,
                        struct varve_error *err)
{
    int64_t floor, end, offset;
    int rc = log_refresh(r->log, true, err);

    if (rc < 0)
        return rc;
    log_range(r->log, &floor, &end);
    switch (o->from) {
    case VARVE_FROM_START:
        offset = log_start(r->log);
        break;
    case VARVE_FROM_END:
        offset = end;
        break;
    case VARVE_FROM_OFFSET:
        offset = o->offset;
        break;
    case VARVE_FROM_TIME:
        rc = varve_log_find_time(r->log, o->timestamp, &offset, NULL, err);
        if (rc == VARVE_E_NOT_FOUND)
            offset = end;
        else if (rc < 0)
            return rc;
        break;
    default:
        return base_fail(err, VARVE_E_INVALID, "a reader cannot begin at %d", (int)o->from);
    }
    return varve_reader_seek(r, offset, err);
}

int varve_reader_open(struct varve_log *log, const struct varve_reader_options *options,
                      struct varve_reader **ret, struct varve_error *err)
{
    struct varve_reader_options o;
    struct varve_reader *r = calloc(1, sizeof(*r));
    int rc = 0;

    if (!r)
        return base_fail(err, VARVE_E_NO_MEMORY, "read %s: out of memory", log->name);
    log_options_copy(&o, sizeof(o), options);
    r->log = log;
    r->control = o.control;
    r->hot_damaged_to = -1;
    r->hot_stale_floor = -1;
    if (log->hot)
        rc = hot_reader_new(log->hot, &r->hot, err);
    if (rc == 0)
        rc = cold_reader_new(log->store->fetch, log->manifest, &log->source, &r->cold, err);
    if (rc == 0)
        rc = record_iterator_new(&r->records, err);
    if (rc == 0)
        rc = reader_start(r, &o, err);
    if (rc < 0) {
        varve_reader_close(r);
        return base_error_context(err, rc, "read %s", log->name);
    }
    *ret = r;
    return 0;
}

struct varve_reader *varve_reader_close(struct varve_reader *r)
{
    if (!r)
        return NULL;
    hot_reader_free(r->hot);
    cold_reader_free(r->cold);
    record_iterator_free(r->records);
    free(r);
    return NULL;
}

int64_t varve_reader_offset(const struct varve_reader *r)
{
    return r->offset;
}

void varve_reader_interrupt(struct varve_reader *r)
{
    atomic_store_explicit(&r->interrupted, true, memory_order_relaxed);
}

/* ---- finding the tier ---- */

/* Retention and trims take a prefix: a reader below the new start goes on at it. */
static void reader_skip_trimmed(struct varve_reader *r)
{
    int64_t start = log_start(r->log);

    if (r->offset < start) {
        r->offset = start;
        r->place = READER_NOWHERE;
    }
}

/*
 * A log that is adopted, or created and never appended to, has a directory without segments: its
 * range says nothing then, not even where the log ends.
 */
static bool hot_empty(const struct varve_reader *r)
{
    struct hot_range range;

    if (!r->hot)
        return true;
    hot_set_range(r->log->hot, &range);
    return range.segments == 0;
}

static bool hot_usable(const struct varve_reader *r)
{
    return r->offset >= r->hot_damaged_to && !hot_empty(r);
}

static bool hot_holds(const struct varve_reader *r)
{
    struct hot_range range;

    if (!hot_usable(r))
        return false;
    hot_set_range(r->log->hot, &range);
    return r->offset >= range.floor && range.floor != r->hot_stale_floor;
}

/* What was found in one tier is no verdict while the other cannot be asked (I8). */
static int unasked(const struct varve_error *why, const struct varve_error *found,
                   struct varve_error *err)
{
    if (why->retriable)
        return base_fail_retriable(err, why->code, "%s; %s", why->msg, found->msg);
    return base_fail(err, why->code, "%s; %s", why->msg, found->msg);
}

/*
 * The hot copy of r->offset cannot be read. VARVE_E_OUT_OF_RANGE: the cold tier holds it, look
 * again; otherwise it is the only one, or nobody can say now whether it is.
 */
static int hot_damaged(struct varve_reader *r, int rc, struct varve_error *err)
{
    uint64_t before = log_generation(r->log);
    struct varve_error why = {0}, found = {0};
    struct index_entry entry;

    if (err)
        found = *err;
    r->place = READER_NOWHERE; /* the next call reads it again, and not what it has */
    int cold = index_manifest_find_offset(r->log->manifest, r->offset, &entry, &why);
    if (cold < 0) {
        /* Trimmed since, perhaps, and with it what the old root names (I5): look again. */
        if (log_refresh(r->log, true, NULL) == 0 && log_generation(r->log) != before)
            return VARVE_E_OUT_OF_RANGE;
        return cold == VARVE_E_OUT_OF_RANGE || cold == VARVE_E_CORRUPT ? rc
                                                                       : unasked(&why, &found, err);
    }
    base_log(&r->log->store->env.logger, BASE_LOG_WARNING,
             "log %s: local copy of offsets %" PRId64 "..%" PRId64
             " is damaged, reading the cold tier instead (repair: varve verify --repair): %s",
             r->log->name, entry.base_offset, entry.end_offset - 1, found.msg);
    r->hot_damaged_to = entry.end_offset;
    return VARVE_E_OUT_OF_RANGE;
}

/*
 * Chooses the tier for r->offset. VARVE_E_END: it is the end of the log. VARVE_E_OUT_OF_RANGE:
 * neither tier holds it as far as this process sees (it may see too little: the caller refreshes
 * and asks again).
 */
static int reader_place(struct varve_reader *r, struct varve_error *err)
{
    struct hot_range range;
    int64_t floor, end;
    int rc;

    if (hot_usable(r)) {
        rc = hot_reader_seek(r->hot, r->offset, err);
        if (rc == 0)
            r->place = READER_HOT;
        if (rc == VARVE_E_CORRUPT || rc == VARVE_E_IO) /* its index is gone, too */
            return hot_damaged(r, rc, err);
        if (rc != VARVE_E_OUT_OF_RANGE)
            return rc;
        hot_set_range(r->log->hot, &range);
        if (r->offset >= range.floor && r->offset < range.end)
            r->hot_stale_floor = range.floor;
    }
    r->cold_generation = log_generation(r->log);
    rc = cold_reader_seek(r->cold, r->offset, err);
    if (rc == 0)
        r->place = READER_COLD;
    if (rc != VARVE_E_OUT_OF_RANGE)
        return rc;
    log_range(r->log, &floor, &end);
    if (r->offset == end && hot_empty(r))
        return VARVE_E_END;
    return base_fail(err, VARVE_E_OUT_OF_RANGE, "offset %" PRId64 " is in neither tier", r->offset);
}

/* ---- one batch ---- */

static void count_batch(struct varve_reader *r, uint32_t size)
{
    struct varve_store *s = r->log->store;
    bool hot = r->place == READER_HOT;

    atomic_fetch_add_explicit(hot ? &s->hot_batches : &s->cold_batches, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(hot ? &s->hot_bytes : &s->cold_bytes, size, memory_order_relaxed);
}

static int hot_step(struct varve_reader *r, const void **ret_data, struct record_batch *ret,
                    struct varve_error *err)
{
    int rc = hot_reader_next(r->hot, ret_data, ret, err);

    if (rc == VARVE_E_OUT_OF_RANGE) { /* evicted under it */
        r->place = READER_NOWHERE;
        return VARVE_E_OUT_OF_RANGE;
    }
    return rc == VARVE_E_CORRUPT || rc == VARVE_E_IO ? hot_damaged(r, rc, err) : rc;
}

/*
 * The cold copy of r->offset is damaged or missing, as far as this process knows the manifest. A
 * newer root may have trimmed it, or name a copy that replaced it: then VARVE_E_OUT_OF_RANGE says
 * to look again. While the root cannot be read nobody knows. Otherwise it is what it
 * is (I8).
 */
static int cold_damaged(struct varve_reader *r, int rc, struct varve_error *err)
{
    struct cold_reader *fresh = NULL;
    uint64_t before = r->cold_generation;
    struct varve_error why = {0}, found = {0};

    if (err)
        found = *err;
    if (log_refresh(r->log, true, &why) < 0) {
        if (log_is_deleted(r->log, err))
            return VARVE_E_NOT_FOUND;
        return unasked(&why, &found, err);
    }
    if (log_generation(r->log) == before)
        return log_is_deleted(r->log, err) ? VARVE_E_NOT_FOUND : rc;
    if (cold_reader_new(r->log->store->fetch, r->log->manifest, &r->log->source, &fresh, NULL) < 0)
        return rc;
    cold_reader_free(r->cold); /* it holds on to the old object's table */
    r->cold = fresh;
    r->place = READER_NOWHERE;
    return VARVE_E_OUT_OF_RANGE;
}

static int cold_step(struct varve_reader *r, const void **ret_data, struct record_batch *ret,
                     struct varve_error *err)
{
    int64_t floor, end;
    int rc;

    if (hot_holds(r)) { /* caught up: local reads cost nothing */
        r->place = READER_NOWHERE;
        return VARVE_E_OUT_OF_RANGE;
    }
    log_range(r->log, &floor, &end);
    if (r->hot_damaged_to > floor)
        floor = r->hot_damaged_to;
    rc = cold_reader_next(r->cold, floor, ret_data, ret, err);
    if (rc == VARVE_E_END || rc == VARVE_E_OUT_OF_RANGE) {
        r->place = READER_NOWHERE;
        return VARVE_E_OUT_OF_RANGE;
    }
    return rc == VARVE_E_CORRUPT ? cold_damaged(r, rc, err) : rc;
}

static int reader_nowhere(struct varve_reader *r, struct varve_error *err)
{
    struct hot_range range = {0};
    int64_t cold_end = 0;

    if (r->log->hot && hot_set_recovering(r->log->hot))
        return base_fail_retriable(err, VARVE_E_BUSY,
                                   "log %s: offset %" PRId64
                                   " is not to be seen while another process recovers the log",
                                   r->log->name, r->offset);
    if (r->log->hot)
        hot_set_range(r->log->hot, &range);
    (void)log_cold_end(r->log, &cold_end, NULL);
    /* Both tiers are whole, and end below: what was read up to here was set aside (I13). */
    if (r->offset > range.end && r->offset > cold_end)
        return base_fail(err, VARVE_E_OUT_OF_RANGE,
                         "log %s: offset %" PRId64 " is above the end, %" PRId64
                         ": another store has taken the log over, and what was written here since "
                         "is no part of it",
                         r->log->name, r->offset, range.end > cold_end ? range.end : cold_end);
    return base_fail(err, VARVE_E_CORRUPT,
                     "log %s: offset %" PRId64
                     " is in neither tier although the log should hold it: cold %" PRId64
                     " to %" PRId64 ", hot %" PRId64 " to %" PRId64 " (see varve verify)",
                     r->log->name, r->offset, log_start(r->log), cold_end, range.floor, range.end);
}

/*
 * The batch that holds r->offset, from wherever it lies. VARVE_E_END at the visible end. Every
 * change of place is counted: a log whose tiers leave a hole between them is an error and not a
 * loop (I1, I8).
 */
static int reader_batch(struct varve_reader *r, const void **ret_data, struct record_batch *ret,
                        struct varve_error *err)
{
    const struct base_clock *clock = r->log->store->env.clock;
    struct varve_error local;
    int rc = 0;

    if (!err)
        err = &local;
    for (unsigned move = 0; move < READER_MOVES_MAX; move++) {
        reader_skip_trimmed(r);
        rc = r->place == READER_NOWHERE ? reader_place(r, err) : 0;
        if (rc == 0)
            rc = r->place == READER_HOT ? hot_step(r, ret_data, ret, err)
                                        : cold_step(r, ret_data, ret, err);
        if (rc != VARVE_E_OUT_OF_RANGE)
            break;
        if (move > 1 && r->log->hot && hot_set_recovering(r->log->hot))
            clock->sleep_ns(clock->ctx, READER_RECOVERING_NS << (move - 2));
        rc = log_refresh(r->log, move > 0, err);
        if (rc < 0)
            break;
        rc = VARVE_E_OUT_OF_RANGE;
    }
    if (rc == VARVE_E_OUT_OF_RANGE)
        return reader_nowhere(r, err);
    if (rc == 0)
        count_batch(r, ret->size);
    return rc;
}

/* ---- waiting ---- */

/* Waits a slice for more than r->offset. 0: look again; VARVE_E_END: the time is over. */
static int reader_wait(struct varve_reader *r, int64_t deadline_ns, struct varve_error *err)
{
    const struct base_clock *clock = r->log->store->env.clock;
    int64_t left = READER_WAIT_SLICE_NS;
    int rc;

    if (atomic_load_explicit(&r->interrupted, memory_order_relaxed))
        return base_fail(err, VARVE_E_CANCELLED, "read %s: interrupted", r->log->name);
    if (deadline_ns >= 0) {
        left = deadline_ns - clock->mono_ns(clock->ctx);
        if (left <= 0)
            return VARVE_E_END;
        if (left > READER_WAIT_SLICE_NS)
            left = READER_WAIT_SLICE_NS;
    }
    if (!r->hot) {
        clock->sleep_ns(clock->ctx, left);
        return log_refresh(r->log, false, err);
    }
    rc = hot_set_wait(r->log->hot, r->offset, left, err);
    if (rc < 0 && rc != VARVE_E_TIMEOUT)
        return rc;
    return log_refresh(r->log, false, err);
}

static int64_t reader_deadline(const struct varve_reader *r, int64_t timeout_ms)
{
    const struct base_clock *clock = r->log->store->env.clock;

    if (timeout_ms < 0 || timeout_ms > READER_TIMEOUT_MS_MAX)
        return -1;
    return clock->mono_ns(clock->ctx) + timeout_ms * 1000000;
}

/* reader_batch, waiting at the end, control batches left out. Moves r->offset only past those. */
static int reader_batch_wait(struct varve_reader *r, int64_t timeout_ms, const void **ret_data,
                             struct record_batch *ret, struct varve_error *err)
{
    int64_t deadline = 0;
    bool waiting = false;

    for (;;) {
        int rc;
        if (atomic_load_explicit(&r->interrupted, memory_order_relaxed))
            return base_fail(err, VARVE_E_CANCELLED, "read %s: interrupted", r->log->name);
        rc = reader_batch(r, ret_data, ret, err);
        if (rc == 0 && ret->control && !r->control) {
            r->offset = ret->last_offset + 1;
            continue;
        }
        if (rc != VARVE_E_END)
            return rc;
        if (timeout_ms == 0)
            return base_fail(err, VARVE_E_END, "log %s: nothing at offset %" PRId64 " yet",
                             r->log->name, r->offset);
        if (!waiting) {
            deadline = reader_deadline(r, timeout_ms);
            waiting = true;
        }
        rc = reader_wait(r, deadline, err);
        if (rc == VARVE_E_END)
            return base_fail(err, VARVE_E_END, "log %s: nothing at offset %" PRId64 " yet",
                             r->log->name, r->offset);
        if (rc < 0)
            return rc;
    }
}

int varve_reader_next_batch(struct varve_reader *r, int64_t timeout_ms,
                            struct varve_batch_view *ret, struct varve_error *err)
{
    struct record_batch b;
    const void *data;
    int rc;

    r->in_batch = false;
    rc = reader_batch_wait(r, timeout_ms, &data, &b, err);
    if (rc < 0)
        return rc;
    r->offset = b.last_offset + 1;
    *ret = (struct varve_batch_view){
        .data = data,
        .size = b.size,
        .base_offset = b.base_offset,
        .last_offset = b.last_offset,
        .max_timestamp = b.max_timestamp,
        .record_count = (size_t)b.record_count,
    };
    return 0;
}

int varve_reader_next(struct varve_reader *r, int64_t timeout_ms, struct varve_record *ret,
                      struct varve_error *err)
{
    for (;;) {
        struct record_batch b;
        struct varve_record record;
        const void *data;
        int rc;

        while (r->in_batch) {
            if (atomic_load_explicit(&r->interrupted, memory_order_relaxed))
                return base_fail(err, VARVE_E_CANCELLED, "read %s: interrupted", r->log->name);
            rc = record_iterator_next(r->records, &record, err);
            if (rc == VARVE_E_END) {
                r->in_batch = false;
                r->offset = r->batch_end;
                break;
            }
            if (rc < 0) {
                r->in_batch = false;
                r->place = READER_NOWHERE;
                return log_context(r->log, rc, err);
            }
            if (record.offset >= r->offset && record.offset >= log_start(r->log)) {
                r->offset = record.offset + 1;
                *ret = record;
                return 0;
            }
        }
        rc = reader_batch_wait(r, timeout_ms, &data, &b, err);
        if (rc < 0)
            return rc;
        rc = record_iterator_start(r->records, data, &b, READER_DECOMPRESSED_MAX, err);
        if (rc < 0) {
            r->place = READER_NOWHERE;
            return log_context(r->log, rc, err);
        }
        r->in_batch = true;
        r->batch_end = b.last_offset + 1;
    }
}

/* ---- seek by time ---- */

/* One look at both tiers, cold below `border`, hot from there on. */
static int find_time_once(struct varve_log *log, int64_t timestamp, int64_t border,
                          int64_t *ret_offset, int64_t *ret_timestamp, struct varve_error *err)
{
    int64_t start = log_start(log);
    int rc = VARVE_E_NOT_FOUND;

    if (start < border)
        rc = cold_reader_find_time(log->store->fetch, log->manifest, &log->source, timestamp, start,
                                   border, READER_DECOMPRESSED_MAX, ret_offset, ret_timestamp, err);
    if (rc == VARVE_E_NOT_FOUND && log->hot)
        rc = hot_reader_find_time(log->hot, timestamp, start > border ? start : border,
                                  READER_DECOMPRESSED_MAX, ret_offset, ret_timestamp, err);
    return rc;
}

/* Is there news that a failed look may have missed: a trim, a replaced object, an eviction? */
static bool find_time_news(struct varve_log *log, int64_t floor, uint64_t generation)
{
    int64_t floor_now, end;

    if (log_refresh(log, true, NULL) < 0)
        return false;
    log_range(log, &floor_now, &end);
    return floor_now != floor || log_generation(log) != generation;
}

int varve_log_find_time(struct varve_log *log, int64_t timestamp, int64_t *ret_offset,
                        int64_t *ret_timestamp, struct varve_error *err)
{
    int64_t offset = 0, found = 0, cold_end;
    int rc = log_refresh(log, false, err);

    for (unsigned i = 0; rc == 0 && i < READER_MOVES_MAX; i++) {
        uint64_t generation = log_generation(log);
        int64_t floor, floor_after, end;

        log_range(log, &floor, &end);
        rc = find_time_once(log, timestamp, floor, &offset, &found, err);
        if ((rc == VARVE_E_CORRUPT || rc == VARVE_E_IO || rc == VARVE_E_BUSY) && log->hot &&
            log_cold_end(log, &cold_end, NULL) == 0 && cold_end > floor) {
            /* A local copy that is damaged, or gone before its writer could say so, is passed over
             * where the cold tier holds the same offsets. */
            struct varve_error second = {0};
            /* A store that cannot be asked makes no damage (I8), and damage is where it is. */
            rc = find_time_once(log, timestamp, cold_end, &offset, &found, &second);
            if (rc < 0 && err)
                *err = second;
        }
        log_range(log, &floor_after, &end);
        /* The floor may rise between the two looks (eviction): records moved from the one tier to
         * the other. Or the answer was trimmed meanwhile. Then we look again. */
        bool moved = floor_after != floor || (rc == 0 && offset < log_start(log));
        if (rc == 0 && !moved)
            break;
        if (rc == VARVE_E_STORE || rc == VARVE_E_NO_MEMORY)
            break;
        if (!find_time_news(log, floor, generation) && !moved)
            break;
        rc = 0;
    }
    if (rc == VARVE_E_NOT_FOUND)
        return base_fail(err, VARVE_E_NOT_FOUND, "log %s: no record at or after timestamp %" PRId64,
                         log->name, timestamp);
    if (rc < 0)
        return log_context(log, rc, err);
    *ret_offset = offset;
    if (ret_timestamp)
        *ret_timestamp = found;
    return 0;
}
