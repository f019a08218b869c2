/*
 * A reader over the cold tier of one log: whole batches in order, across blocks and objects.
 *
 * It stands in one decoded block and holds references to those it has asked for ahead, in order.
 * After a seek there is no window: the first block is demanded alone, so that a random read costs
 * one request of one block. Each time the reader walks from a block into the next one the window
 * grows fourfold, from one block up to its share of the budget, and one flight fills it: few
 * requests, and soon large ones. A full window is kept filled by flights of a quarter of it, or as
 * large as a range may be, so that several run in parallel, in this object and in those that
 * follow. Windows are of stored bytes: these are what travels.
 *
 * INVARIANTS
 *   R1  Batches touch: each begins at the offset where the one before it ended (I1, I8).
 *   R2  What is ahead follows the current block without a hole, so that taking the first of them is
 *       always right.
 *   R3  Failures of read-ahead are not seen: what it did not bring is demanded (F3 of flight.c).
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "cold/fetch_private.h"
#include "record/iterator.h"

#define AHEAD_MAX 2048
#define WINDOW_GROWTH 4
#define RANDOM_BLOCKS 2 /* a window up to that many blocks is still a short read: cache it */
#define FLIGHTS_PER_WINDOW 4

struct ahead {
    struct cold_block *block;
    struct cold_table *table; /* holds a reference */
    size_t index;
};

struct cold_reader {
    struct cold_fetch *fetch;
    struct index_manifest *manifest;
    struct cold_source source;
    int64_t offset; /* the next batch returned holds it */

    struct cold_table *table; /* of the block the reader stands in, or stood in last */
    size_t index;
    struct cold_block *block;
    size_t pos;        /* in its raw bytes: the next batch */
    int64_t at_offset; /* the offset that batch must begin with */

    uint64_t window;       /* stored bytes to have ahead; 0 after a seek */
    uint64_t window_share; /* what it may grow to */
    uint64_t last_stored_size;
    struct ahead ahead[AHEAD_MAX]; /* a ring */
    size_t ahead_first;
    size_t ahead_count;
    uint64_t ahead_bytes;
    struct index_entry next_entry; /* the object behind the last one ahead, once looked up */
    bool next_known;
};

int cold_reader_new(struct cold_fetch *fetch, struct index_manifest *manifest,
                    const struct cold_source *source, struct cold_reader **ret,
                    struct varve_error *err)
{
    struct cold_reader *r = calloc(1, sizeof(*r));

    if (!r)
        return base_fail(err, VARVE_E_NO_MEMORY, "open a cold reader: out of memory");
    r->fetch = fetch;
    r->manifest = manifest;
    r->source = *source;
    r->offset = -1; /* nowhere, until a seek */
    base_mutex_lock(&fetch->lock);
    fetch->readers++;
    base_mutex_unlock(&fetch->lock);
    *ret = r;
    return 0;
}

static struct ahead *ahead_at(struct cold_reader *r, size_t i)
{
    return &r->ahead[(r->ahead_first + i) % AHEAD_MAX];
}

/* Gives up what was asked for ahead; what has not begun yet never will. */
static void ahead_cancel(struct cold_reader *r)
{
    for (size_t i = 0; i < r->ahead_count; i++) {
        struct ahead *a = ahead_at(r, i);

        cold_flight_release(r->fetch, a->block);
        cold_table_unref(a->table);
    }
    r->ahead_count = 0;
    r->ahead_bytes = 0;
    r->next_known = false;
}

static void block_leave(struct cold_reader *r)
{
    if (r->block)
        r->last_stored_size = r->block->info.stored_size;
    r->block = cold_flight_release(r->fetch, r->block);
}

struct cold_reader *cold_reader_free(struct cold_reader *reader)
{
    if (!reader)
        return NULL;
    ahead_cancel(reader);
    block_leave(reader);
    cold_table_unref(reader->table);
    base_mutex_lock(&reader->fetch->lock);
    reader->fetch->readers--;
    base_mutex_unlock(&reader->fetch->lock);
    free(reader);
    return NULL;
}

int64_t cold_reader_offset(const struct cold_reader *reader)
{
    return reader->offset;
}

/* 0 inside [log start, n); VARVE_E_END at n; VARVE_E_OUT_OF_RANGE elsewhere. */
static int offset_check(struct cold_reader *r, int64_t offset, struct varve_error *err)
{
    struct index_root_pin *pin = NULL;
    const struct index_root *root = NULL;
    int64_t start, end;
    int rc = index_manifest_pin(r->manifest, &pin, &root, err);

    if (rc < 0)
        return rc;
    start = root->start_offset;
    end = root->end_offset;
    index_manifest_unpin(pin);
    if (offset == end)
        return base_fail(err, VARVE_E_END, "offset %" PRId64 " is the end of the cold tier",
                         offset);
    if (offset < start || offset > end)
        return base_fail(err, VARVE_E_OUT_OF_RANGE,
                         "offset %" PRId64 " is outside of the cold tier, %" PRId64 "..%" PRId64,
                         offset, start, end);
    return 0;
}

static void block_enter(struct cold_reader *r, struct cold_block *block)
{
    r->block = block;
    r->pos = 0;
    r->at_offset = block->info.first_offset;
}

/* The offset behind block `index` of a table. */
static int64_t block_end_offset(const struct cold_table *table, size_t index)
{
    struct cold_block_info next;

    if (index + 1 == table->view.block_count)
        return table->view.info.end_offset;
    cold_table_block(&table->view, index + 1, &next);
    return next.first_offset;
}

int cold_reader_seek(struct cold_reader *reader, int64_t offset, struct varve_error *err)
{
    int rc = offset_check(reader, offset, err);

    if (rc == VARVE_E_END)
        return base_fail(err, VARVE_E_OUT_OF_RANGE,
                         "offset %" PRId64 " is the end of the cold tier", offset);
    if (rc < 0)
        return rc;
    if (offset == reader->offset) /* where it stands: what is ahead stays right */
        return 0;
    ahead_cancel(reader);
    reader->window = 0;
    if (reader->block && (offset < reader->block->info.first_offset ||
                          offset >= block_end_offset(reader->table, reader->index)))
        block_leave(reader);
    else if (reader->block && offset < reader->at_offset)
        block_enter(reader, reader->block);
    reader->offset = offset;
    return 0;
}

/* Called when the reader has walked through a whole block. */
static void window_grow(struct cold_reader *r)
{
    struct cold_fetch *f = r->fetch;

    base_mutex_lock(&f->lock);
    r->window_share = f->window_max / (f->readers > 0 ? f->readers : 1);
    base_mutex_unlock(&f->lock);
    r->window = r->window > 0 ? r->window * WINDOW_GROWTH : r->last_stored_size;
    if (r->window > r->window_share)
        r->window = r->window_share;
}

static bool read_is_short(const struct cold_reader *r)
{
    return r->window <= RANDOM_BLOCKS * r->last_stored_size;
}

/*
 * Where read-ahead goes on: the block behind the last one ahead, maybe in the next object. The
 * table is returned with a reference. False: not now (its table is on its way), or there is none.
 */
static bool ahead_next(struct cold_reader *r, int64_t stop_offset, struct cold_table **ret_table,
                       size_t *ret_index)
{
    struct cold_table *table = r->table;
    size_t index = r->index;
    int64_t end;

    if (r->ahead_count > 0) {
        table = ahead_at(r, r->ahead_count - 1)->table;
        index = ahead_at(r, r->ahead_count - 1)->index;
    }
    if (index + 1 < table->view.block_count) {
        *ret_table = cold_table_ref(table);
        *ret_index = index + 1;
        return true;
    }
    end = table->view.info.end_offset;
    if (end >= stop_offset)
        return false;
    if (!r->next_known || r->next_entry.base_offset != end) {
        if (index_manifest_find_offset(r->manifest, end, &r->next_entry, NULL) < 0 ||
            r->next_entry.base_offset != end)
            return false;
        r->next_known = true;
    }
    /* Twice: a pool without threads, and a quick one, have it by then. */
    *ret_table = cold_table_ahead(r->fetch, &r->source, &r->next_entry);
    if (!*ret_table)
        *ret_table = cold_table_ahead(r->fetch, &r->source, &r->next_entry);
    *ret_index = 0;
    return *ret_table != NULL;
}

static void ahead_push(struct cold_reader *r, struct cold_table *table, size_t index,
                       struct cold_block *block)
{
    *ahead_at(r, r->ahead_count) = (struct ahead){
        .block = block,
        .table = cold_table_ref(table),
        .index = index,
    };
    r->ahead_count++;
    r->ahead_bytes += block->info.stored_size;
}

/*
 * How large the next flight is; 0: none now. It is started when there is room for a whole one: else
 * a full window would be filled up block by block, in as many requests.
 */
static uint64_t flight_bytes_next(const struct cold_reader *r)
{
    uint64_t bytes = r->window / FLIGHTS_PER_WINDOW;

    if (r->window == 0 || r->ahead_count + FLIGHT_BLOCKS_MAX > AHEAD_MAX)
        return 0;
    if (bytes > r->fetch->range_bytes_max)
        bytes = r->fetch->range_bytes_max;
    if (r->ahead_count > 0 && r->ahead_bytes + bytes > r->window)
        return 0;
    if (r->window < r->window_share && r->window > r->ahead_bytes) /* it grows */
        return r->window - r->ahead_bytes;
    return bytes > 0 ? bytes : 1;
}

/* Keeps the window filled with flights. */
static void ahead_extend(struct cold_reader *r, int64_t stop_offset)
{
    struct cold_block *blocks[FLIGHT_BLOCKS_MAX];
    uint64_t flight_bytes;

    while ((flight_bytes = flight_bytes_next(r)) > 0) {
        struct cold_table *table = NULL;
        struct cold_block_info info;
        size_t index = 0, count = 0;

        if (!ahead_next(r, stop_offset, &table, &index))
            return;
        cold_table_block(&table->view, index, &info);
        if (info.first_offset < stop_offset &&
            (r->ahead_count == 0 || r->ahead_bytes + info.stored_size <= r->window))
            count = cold_flight_start(r->fetch, table, index, flight_bytes, stop_offset,
                                      read_is_short(r), blocks);
        for (size_t i = 0; i < count; i++)
            ahead_push(r, table, index + i, blocks[i]);
        cold_table_unref(table);
        if (count == 0)
            return;
    }
}

/* Takes the first block ahead (R2). False: there is none, or it failed (R3). */
static bool ahead_take(struct cold_reader *r, int64_t stop_offset)
{
    struct ahead a;

    if (r->ahead_count == 0)
        return false;
    a = *ahead_at(r, 0);
    r->ahead_first = (r->ahead_first + 1) % AHEAD_MAX;
    r->ahead_count--;
    r->ahead_bytes -= a.block->info.stored_size;
    cold_table_unref(r->table);
    r->table = a.table;
    r->index = a.index;
    ahead_extend(r, stop_offset);
    if (cold_flight_wait(r->fetch, a.block, NULL) < 0) {
        cold_flight_release(r->fetch, a.block);
        return false;
    }
    block_enter(r, a.block);
    return true;
}

/* Makes r->table the one of the object that holds r->offset. */
static int table_locate(struct cold_reader *r, struct varve_error *err)
{
    struct cold_table *table = NULL;
    struct index_entry entry;
    int rc;

    if (r->table && r->offset >= r->table->view.info.base_offset &&
        r->offset < r->table->view.info.end_offset)
        return 0;
    rc = offset_check(r, r->offset, err);
    if (rc < 0)
        return rc;
    rc = index_manifest_find_offset(r->manifest, r->offset, &entry, err);
    if (rc < 0)
        return rc;
    rc = cold_fetch_table(r->fetch, &r->source, &entry, &table, err);
    if (rc < 0)
        return rc;
    cold_table_unref(r->table);
    r->table = table;
    return 0;
}

/* Asks for the block that holds r->offset, and waits for it. */
static int block_demand(struct cold_reader *r, struct varve_error *err)
{
    struct cold_block *block = NULL;
    int rc = table_locate(r, err);

    if (rc < 0)
        return rc;
    r->index = cold_table_find_offset(&r->table->view, r->offset);
    rc = cold_flight_get(r->fetch, r->table, r->index, read_is_short(r), &block, err);
    if (rc < 0)
        return rc;
    block_enter(r, block);
    return 0;
}

/* Gets the block that holds r->offset. */
static int block_open(struct cold_reader *r, int64_t stop_offset, struct varve_error *err)
{
    if (!ahead_take(r, stop_offset)) {
        int rc = block_demand(r, err);

        if (rc < 0) { /* what is ahead follows a block that we do not have: R2 */
            ahead_cancel(r);
            r->window = 0;
            /* The manifest is asked anew: a repair may have put another object in its place. */
            r->table = cold_table_unref(r->table);
            return rc;
        }
        ahead_extend(r, stop_offset);
    }
    assert(r->block->info.first_offset <= r->offset);
    return 0;
}

/* The batch at r->pos; R1. The block's CRC32C covers the batch's: that is not computed again. */
static int batch_decode(struct cold_reader *r, struct record_batch *ret, struct varve_error *err)
{
    size_t size = r->block->info.raw_size;
    struct record_batch batch;
    int rc = record_batch_decode(r->block->raw.data + r->pos, size - r->pos, &batch, err);

    if (rc < 0)
        return base_error_context(err, rc, "object %s: block %zu", r->table->key, r->index);
    if (batch.base_offset != r->at_offset)
        return base_fail(err, VARVE_E_CORRUPT,
                         "object %s: block %zu: a batch begins at offset %" PRId64 ", not %" PRId64,
                         r->table->key, r->index, batch.base_offset, r->at_offset);
    *ret = batch;
    return 0;
}

int cold_reader_next(struct cold_reader *reader, int64_t stop_offset, const void **ret_data,
                     struct record_batch *ret, struct varve_error *err)
{
    struct cold_reader *r = reader;
    struct record_batch batch;
    int rc;

    if (r->block && r->pos == r->block->info.raw_size) {
        int64_t end = block_end_offset(r->table, r->index);

        if (r->at_offset != end)
            return base_fail(err, VARVE_E_CORRUPT,
                             "object %s: block %zu ends at offset %" PRId64 ", not %" PRId64,
                             r->table->key, r->index, r->at_offset, end);
        block_leave(r);
        window_grow(r);
    }
    if (!r->block && (rc = block_open(r, stop_offset, err)) < 0)
        return rc;
    for (;;) {
        if (r->pos == r->block->info.raw_size)
            return base_fail(err, VARVE_E_CORRUPT,
                             "object %s: block %zu does not hold offset %" PRId64, r->table->key,
                             r->index, r->offset);
        rc = batch_decode(r, &batch, err);
        if (rc < 0)
            return rc;
        if (batch.last_offset >= r->offset)
            break;
        r->pos += batch.size;
        r->at_offset = batch.last_offset + 1;
    }
    *ret_data = r->block->raw.data + r->pos;
    *ret = batch;
    r->pos += batch.size;
    r->at_offset = r->offset = batch.last_offset + 1;
    return 0;
}

struct time_search {
    struct cold_fetch *fetch;
    struct record_iterator *iterator;
    int64_t timestamp;
    int64_t min_offset;
    int64_t max_offset;
    size_t decompressed_max;
    int64_t found_offset;
    int64_t found_timestamp;
};

/* 0: found; VARVE_E_NOT_FOUND: not in this batch. */
static int batch_find_time(struct time_search *s, const void *data,
                           const struct record_batch *batch, struct varve_error *err)
{
    struct varve_record record;
    int rc = record_iterator_start(s->iterator, data, batch, s->decompressed_max, err);

    if (rc < 0)
        return rc;
    while ((rc = record_iterator_next(s->iterator, &record, err)) == 0) {
        if (record.offset >= s->max_offset)
            break;
        if (record.offset >= s->min_offset && record.timestamp >= s->timestamp) {
            s->found_offset = record.offset;
            s->found_timestamp = record.timestamp;
            return 0;
        }
    }
    return rc < 0 && rc != VARVE_E_END ? rc : VARVE_E_NOT_FOUND;
}

static int block_find_time(struct time_search *s, const struct cold_block *block,
                           struct varve_error *err)
{
    const uint8_t *raw = block->raw.data;
    size_t size = block->info.raw_size;
    struct record_batch batch;

    for (size_t pos = 0; pos < size; pos += batch.size) {
        int rc = record_batch_decode(raw + pos, size - pos, &batch, err);

        if (rc < 0)
            return rc;
        if (batch.last_offset < s->min_offset || batch.max_timestamp < s->timestamp)
            continue;
        rc = batch_find_time(s, raw + pos, &batch, err);
        if (rc != VARVE_E_NOT_FOUND)
            return rc;
    }
    return VARVE_E_NOT_FOUND;
}

static int table_find_time(struct time_search *s, struct cold_table *table, struct varve_error *err)
{
    int rc = VARVE_E_NOT_FOUND;

    for (size_t i = 0; rc == VARVE_E_NOT_FOUND &&
                       cold_table_find_time(&table->view, i, s->timestamp, s->min_offset, &i);
         i++) {
        struct cold_block *block = NULL;
        struct cold_block_info info;

        cold_table_block(&table->view, i, &info);
        if (info.first_offset >= s->max_offset)
            break;
        rc = cold_flight_get(s->fetch, table, i, true, &block, err);
        if (rc < 0)
            return rc;
        rc = block_find_time(s, block, err);
        cold_flight_release(s->fetch, block);
        if (rc < 0 && rc != VARVE_E_NOT_FOUND)
            return base_error_context(err, rc, "object %s: block %zu", table->key, i);
    }
    return rc;
}

/* Objects that may hold a match, one after the other. A candidate whose maximum lies below
 * min_offset inside it has none: the search goes on behind it. */
static int manifest_find_time(struct time_search *s, struct index_manifest *manifest,
                              const struct cold_source *source, struct varve_error *err)
{
    int64_t from = s->min_offset;
    int rc = VARVE_E_NOT_FOUND;

    while (rc == VARVE_E_NOT_FOUND) {
        struct cold_table *table = NULL;
        struct index_entry entry;

        rc = index_manifest_find_time(manifest, s->timestamp, from, &entry, err);
        if (rc < 0)
            return rc;
        if (entry.base_offset >= s->max_offset)
            return VARVE_E_NOT_FOUND;
        rc = cold_fetch_table(s->fetch, source, &entry, &table, err);
        if (rc < 0)
            return rc;
        rc = table_find_time(s, table, err);
        cold_table_unref(table);
        from = entry.end_offset;
    }
    return rc;
}

int cold_reader_find_time(struct cold_fetch *fetch, struct index_manifest *manifest,
                          const struct cold_source *source, int64_t timestamp, int64_t min_offset,
                          int64_t max_offset, size_t decompressed_max, int64_t *ret_offset,
                          int64_t *ret_timestamp, struct varve_error *err)
{
    struct time_search s = {.fetch = fetch,
                            .timestamp = timestamp,
                            .min_offset = min_offset,
                            .max_offset = max_offset,
                            .decompressed_max = decompressed_max};
    int rc = record_iterator_new(&s.iterator, err);

    if (rc < 0)
        return rc;
    rc = manifest_find_time(&s, manifest, source, err);
    record_iterator_free(s.iterator);
    if (rc == VARVE_E_NOT_FOUND)
        return base_fail(err, VARVE_E_NOT_FOUND,
                         "no record at or after time %" PRId64 " in the cold tier", timestamp);
    if (rc < 0)
        return rc;
    *ret_offset = s.found_offset;
    *ret_timestamp = s.found_timestamp;
    return 0;
}
