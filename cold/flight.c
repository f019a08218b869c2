/*
 * Blocks on their way from the store (or the cache file) to decoded memory.
 *
 * A flight is one request: a range of adjacent blocks of one object. Its blocks are listed in the
 * fetcher's hash from the start, so that whoever else wants one waits for the same flight. Its
 * life:
 *
 *   QUEUED   created; a pool's job will run it, unless somebody who waits claims it first. A flight
 *            of a store whose gets hold no thread is not queued: it is RUNNING from the start
 *   RUNNING  the request is made, by one thread or by none
 *   STORED   the stored bytes are there; each block is decoded by whichever thread takes it first:
 *            decoders go through the oldest flight in order, a reader that waits for a block takes
 *            that one
 *   OVER     every block is decoded, failed or dropped; the stored bytes are gone
 *
 * Stored bytes wait longer than decoded ones, since they are fewer: a range of 8 MiB may hold 100
 * MiB of records. So many requests can be under way while only what is read next is decoded.
 *
 * A demand is a flight of one block without a job, which the caller claims at once: a random read
 * never waits behind others' work and costs one request of one block.
 *
 * A block nobody refers to is dropped where work on it would begin; when that is true of all blocks
 * of a QUEUED flight, the flight is over and only the job's empty run remains; a request that holds
 * no thread is cancelled.
 *
 * INVARIANTS
 *   F1  A block is listed at most once, so at most one flight fetches it.
 *   F2  stored_bytes is the sum of stored sizes of flights that exist, raw_bytes that of raw sizes
 *       of blocks decoded or being decoded. Read-ahead starts only where the one stays at or below
 *       stored_max, and decodes only where the other stays at or below raw_max; demands always do.
 *   F3  A failure of read-ahead is never a reader's failure: the reader demands the block itself.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "cold/fetch_private.h"

enum flight_state { FLIGHT_QUEUED, FLIGHT_RUNNING, FLIGHT_STORED, FLIGHT_OVER };

struct cold_flight {
    struct base_job job;
    struct cold_get get; /* of a request that holds no thread */
    struct cold_fetch *fetch;
    struct cold_flight *next; /* STORED ones, in the order of their coming */
    enum flight_state state;
    bool started;        /* `get` was, and may be cancelled while RUNNING */
    unsigned refs;       /* the job, the request, and each thread at work on it */
    unsigned unfinished; /* blocks neither decoded, failed nor dropped */
    bool cached;         /* one block, from the cache file if it still has it */
    bool keep;           /* goes to the cache file */
    struct cold_table *table;
    uint64_t pos; /* in the object */
    size_t size;
    struct cold_buffer stored;
    size_t count;
    size_t undecoded;            /* no block before this one waits to be decoded */
    struct cold_block *blocks[]; /* NULL once finished */
};

static struct cold_block *block_find_locked(struct cold_fetch *f, const struct base_id *attempt,
                                            size_t index)
{
    struct cold_block *b = f->blocks[cold_fetch_slot(attempt, (uint32_t)index)];

    while (b && (b->index != index || !base_id_equal(&b->attempt, attempt)))
        b = b->next;
    return b;
}

static void block_unlist_locked(struct cold_fetch *f, struct cold_block *b)
{
    struct cold_block **at = &f->blocks[cold_fetch_slot(&b->attempt, b->index)];

    if (!b->listed)
        return;
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    b->listed = false;
}

static void block_free_locked(struct cold_fetch *f, struct cold_block *b)
{
    assert(b->refs == 0 && !b->flight);
    block_unlist_locked(f, b);
    if (b->raw.data)
        f->raw_bytes -= b->info.raw_size;
    cold_buffer_give_locked(f, &b->raw);
    free(b);
}

static void stored_push_locked(struct cold_flight *fl)
{
    struct cold_fetch *f = fl->fetch;

    if (f->stored_last)
        f->stored_last->next = fl;
    else
        f->stored = fl;
    f->stored_last = fl;
}

static void stored_remove_locked(struct cold_flight *fl)
{
    struct cold_fetch *f = fl->fetch;
    struct cold_flight **at = &f->stored, *before = NULL;

    while (*at != fl) {
        before = *at;
        at = &before->next;
    }
    *at = fl->next;
    if (f->stored_last == fl)
        f->stored_last = before;
    fl->next = NULL;
}

/* Frees what the flight no longer needs; the flight itself too when nothing refers to it. */
static void flight_settle_locked(struct cold_flight *fl)
{
    struct cold_fetch *f = fl->fetch;

    if (fl->unfinished == 0 && fl->state != FLIGHT_OVER) {
        if (fl->state == FLIGHT_STORED)
            stored_remove_locked(fl);
        fl->state = FLIGHT_OVER;
        f->stored_bytes -= fl->size;
        cold_buffer_give_locked(f, &fl->stored);
    }
    if (fl->refs > 0 || fl->unfinished > 0)
        return;
    cold_table_unref_locked(fl->table);
    free(fl);
}

/* Takes a block out of its flight: decoded, failed (`error`), or dropped because nobody wants it.
 */
static void block_finish_locked(struct cold_block *b, enum load_state state,
                                const struct varve_error *error)
{
    struct cold_flight *fl = b->flight;
    struct cold_fetch *f = fl->fetch;
    size_t i = 0;

    while (fl->blocks[i] != b)
        i++;
    fl->blocks[i] = NULL;
    fl->unfinished--;
    b->flight = NULL;
    b->state = state;
    if (error)
        b->error = *error;
    if (state == LOAD_FAILED)
        block_unlist_locked(f, b);
    if (b->refs == 0)
        block_free_locked(f, b);
}

/* Makes a listed block. NULL: out of memory. */
static struct cold_block *block_new_locked(struct cold_fetch *f, const struct cold_table *table,
                                           size_t index)
{
    struct cold_block *b = calloc(1, sizeof(*b));
    struct cold_block **slot;

    if (!b)
        return NULL;
    b->attempt = table->entry.attempt;
    b->index = (uint32_t)index;
    b->state = LOAD_WAITING;
    b->refs = 1;
    b->listed = true;
    cold_table_block(&table->view, index, &b->info);
    slot = &f->blocks[cold_fetch_slot(&b->attempt, b->index)];
    b->next = *slot;
    *slot = b;
    return b;
}

/* A QUEUED flight of blocks [index, index + count), a reference to each in `blocks`. NULL: out of
 * memory. */
static struct cold_flight *flight_new_locked(struct cold_fetch *f, struct cold_table *table,
                                             size_t index, size_t count, struct cold_block **blocks)
{
    struct cold_flight *fl = calloc(1, sizeof(*fl) + count * sizeof(fl->blocks[0]));

    if (!fl)
        return NULL;
    fl->fetch = f;
    fl->state = FLIGHT_QUEUED;
    for (fl->count = 0; fl->count < count; fl->count++) {
        struct cold_block *b = block_new_locked(f, table, index + fl->count);

        if (!b)
            break;
        b->flight = fl;
        fl->blocks[fl->count] = blocks[fl->count] = b;
        fl->size += b->info.stored_size;
    }
    if (fl->count == 0) {
        free(fl);
        return NULL;
    }
    fl->unfinished = (unsigned)fl->count;
    fl->pos = fl->blocks[0]->info.pos;
    fl->table = table;
    table->refs++;
    f->stored_bytes += fl->size;
    return fl;
}

static bool is_cached(struct cold_fetch *f, const struct cold_table *table, size_t index)
{
    struct cold_cache_key key = {.id = table->entry.attempt, .index = (uint32_t)index};

    return f->options.blocks && cold_cache_has(f->options.blocks, &key);
}

/* Takes the stored bytes from the cache file. */
static bool stored_from_cache(struct cold_flight *fl, const struct cold_cache_key *key)
{
    struct cold_fetch *f = fl->fetch;
    size_t size = 0;
    bool had = cold_cache_has(f->options.blocks, key);
    bool good =
        had &&
        cold_cache_get(f->options.blocks, key, fl->stored.data, fl->size, &size, NULL) == 0 &&
        size == fl->size;

    if (had && !good)
        cold_cache_drop(f->options.blocks, key);
    base_mutex_lock(&f->lock);
    f->stats.block_hits += good;
    f->stats.repaired += had && !good;
    base_mutex_unlock(&f->lock);
    return good;
}

static void count_range_locked(const struct cold_flight *fl, int rc)
{
    struct cold_fetch *f = fl->fetch;

    f->stats.ranges++;
    if (rc == 0) {
        f->stats.range_bytes += fl->size;
        f->stats.block_fetches += fl->count;
    }
}

static int stored_from_store(struct cold_flight *fl, struct varve_error *err)
{
    struct cold_fetch *f = fl->fetch;
    int rc = cold_fetch_range(f, fl->table->key, fl->pos, fl->size, fl->stored.data, err);

    base_mutex_lock(&f->lock);
    count_range_locked(fl, rc);
    base_mutex_unlock(&f->lock);
    return rc;
}

static int stored_reserve(struct cold_flight *fl, struct varve_error *err)
{
    if (cold_buffer_take(fl->fetch, fl->size, &fl->stored))
        return 0;
    return base_fail(err, VARVE_E_NO_MEMORY, "object %s: %zu bytes of blocks: out of memory",
                     fl->table->key, fl->size);
}

/* The request. Called without the lock by the one thread that made the flight RUNNING. */
static int flight_request(struct cold_flight *fl, const struct cold_cache_key *key,
                          struct varve_error *err)
{
    int rc = stored_reserve(fl, err);

    if (rc < 0)
        return rc;
    if (fl->cached) {
        fl->cached = stored_from_cache(fl, key);
        if (fl->cached)
            return 0;
    }
    return stored_from_store(fl, err);
}

/* RUNNING to STORED: the request is over, with rc. */
static void flight_stored_locked(struct cold_flight *fl, int rc, const struct varve_error *error)
{
    fl->state = FLIGHT_STORED;
    stored_push_locked(fl);
    for (size_t i = 0; i < fl->count; i++) {
        struct cold_block *b = fl->blocks[i];

        if (!b)
            continue;
        if (rc < 0)
            block_finish_locked(b, LOAD_FAILED, error);
        else if (b->refs == 0)
            block_finish_locked(b, LOAD_FAILED, NULL);
        else
            b->state = LOAD_STORED;
    }
    base_cond_broadcast(&fl->fetch->changed);
}

/* QUEUED to STORED. Drops the lock meanwhile. The caller holds a reference to the flight. */
static void flight_run_locked(struct cold_flight *fl)
{
    struct cold_fetch *f = fl->fetch;
    struct cold_cache_key key = {.id = fl->blocks[0]->attempt, .index = fl->blocks[0]->index};
    struct varve_error error = {0};
    int rc;

    assert(fl->state == FLIGHT_QUEUED);
    fl->state = FLIGHT_RUNNING;
    base_mutex_unlock(&f->lock);
    rc = flight_request(fl, &key, &error);
    base_mutex_lock(&f->lock);
    flight_stored_locked(fl, rc, &error);
}

static int block_decode(struct cold_flight *fl, struct cold_block *b, struct varve_error *err)
{
    struct cold_fetch *f = fl->fetch;
    const uint8_t *stored = fl->stored.data + (b->info.pos - fl->pos);
    struct cold_decompressor *d = cold_decompressor_take(f);
    struct cold_cache_key key = {.id = b->attempt, .index = b->index};
    int rc;

    if (!d || !cold_buffer_take(f, b->info.raw_size, &b->raw)) {
        if (d)
            cold_decompressor_give(f, d);
        return base_fail(err, VARVE_E_NO_MEMORY, "object %s: block %u: out of memory",
                         fl->table->key, b->index);
    }
    rc = cold_block_decompress(d, &b->info, stored, b->raw.data, err);
    if (rc == VARVE_E_CORRUPT && fl->cached) { /* the cache lied: the store knows better */
        cold_cache_drop(f->options.blocks, &key);
        base_mutex_lock(&f->lock);
        f->stats.repaired++;
        base_mutex_unlock(&f->lock);
        fl->cached = false;
        rc = stored_from_store(fl, err);
        if (rc == 0)
            rc = cold_block_decompress(d, &b->info, stored, b->raw.data, err);
    }
    cold_decompressor_give(f, d);
    if (rc < 0) {
        cold_buffer_give(f, &b->raw);
        return base_error_context(err, rc, "object %s: block %u", fl->table->key, b->index);
    }
    return 0;
}

void cold_flight_keep_run(struct base_job *job)
{
    struct cold_keeping *k =
        (struct cold_keeping *)(void *)((char *)job - offsetof(struct cold_keeping, job));
    struct cold_fetch *f = k->fetch;

    cold_cache_put(f->options.blocks, &k->key, k->stored.data, k->size);
    base_mutex_lock(&f->lock);
    cold_buffer_give_locked(f, &k->stored);
    k->busy = false;
    f->jobs--;
    base_cond_broadcast(&f->changed);
    base_mutex_unlock(&f->lock);
}

static struct cold_keeping *keeping_claim(struct cold_fetch *f)
{
    struct cold_keeping *k = NULL;

    base_mutex_lock(&f->lock);
    for (unsigned i = 0; i < KEEPING_MAX && !k; i++)
        if (!f->keeping[i].busy)
            k = &f->keeping[i];
    if (k) {
        k->busy = true;
        f->jobs++;
    }
    base_mutex_unlock(&f->lock);
    return k;
}

/*
 * Puts a block's stored bytes into the cache file. A reader that waits for a single block does not
 * wait for this, too: a job takes the flight's bytes along.
 */
static void block_keep(struct cold_flight *fl, const struct cold_block *b)
{
    struct cold_fetch *f = fl->fetch;
    struct cold_cache_key key = {.id = b->attempt, .index = b->index};
    struct cold_keeping *k = NULL;

    if (f->options.pool && fl->count == 1 && fl->stored.capacity <= KEEPING_BYTES_MAX)
        k = keeping_claim(f);
    if (!k) {
        cold_cache_put(f->options.blocks, &key, fl->stored.data + (b->info.pos - fl->pos),
                       b->info.stored_size);
        return;
    }
    k->key = key;
    k->size = b->info.stored_size;
    k->stored = fl->stored;
    fl->stored = (struct cold_buffer){0};
    base_pool_submit(f->options.pool, &k->job);
}

/* STORED to READY or FAILED. Drops the lock meanwhile. */
static void block_decode_locked(struct cold_block *b)
{
    struct cold_flight *fl = b->flight;
    struct cold_fetch *f = fl->fetch;
    struct varve_error error = {0};
    int rc;

    assert(b->state == LOAD_STORED);
    b->state = LOAD_DECODING;
    f->raw_bytes += b->info.raw_size; /* F2 */
    fl->refs++;
    base_mutex_unlock(&f->lock);
    rc = block_decode(fl, b, &error);
    if (rc == 0 && fl->keep && !fl->cached && f->options.blocks)
        block_keep(fl, b); /* the last block's end frees the stored bytes: so before */
    base_mutex_lock(&f->lock);
    if (rc < 0)
        f->raw_bytes -= b->info.raw_size;
    block_finish_locked(b, rc == 0 ? LOAD_READY : LOAD_FAILED, &error);
    fl->refs--;
    flight_settle_locked(fl);
    base_cond_broadcast(&f->changed);
}

/* The first block of a flight that waits to be decoded; NULL: none. */
static struct cold_block *flight_undecoded_locked(struct cold_flight *fl)
{
    for (; fl->undecoded < fl->count; fl->undecoded++) {
        struct cold_block *b = fl->blocks[fl->undecoded];

        if (b && b->state == LOAD_STORED)
            return b;
    }
    return NULL;
}

/* F2. A single block always fits, or a budget below its size would decode nothing ahead. */
static bool raw_fits_locked(const struct cold_fetch *f, const struct cold_block *b)
{
    return f->raw_bytes == 0 || f->raw_bytes + b->info.raw_size <= f->raw_max;
}

/* What is decoded ahead next; NULL: nothing, or the budget is used up. */
static struct cold_block *decodable_locked(struct cold_fetch *f)
{
    for (struct cold_flight *fl = f->stored; fl; fl = fl->next) {
        struct cold_block *b = flight_undecoded_locked(fl);

        if (b)
            return raw_fits_locked(f, b) ? b : NULL;
    }
    return NULL;
}

/* A decoder for work that is there, to be submitted without the lock; NULL: no work, or all are
 * busy. */
static struct base_job *decoder_claim_locked(struct cold_fetch *f)
{
    if (!decodable_locked(f))
        return NULL;
    for (unsigned i = 0; i < f->decoder_count; i++) {
        struct cold_decoder *d = &f->decoders[i];

        if (d->busy)
            continue;
        d->busy = true;
        f->jobs++;
        return &d->job;
    }
    return NULL;
}

static void decoder_submit(struct cold_fetch *f, struct base_job *job)
{
    if (job)
        base_pool_submit(f->options.pool, job);
}

void cold_flight_decode_run(struct base_job *job)
{
    struct cold_decoder *d =
        (struct cold_decoder *)(void *)((char *)job - offsetof(struct cold_decoder, job));
    struct cold_fetch *f = d->fetch;
    struct cold_block *b;

    base_mutex_lock(&f->lock);
    while ((b = decodable_locked(f)))
        block_decode_locked(b);
    d->busy = false;
    f->jobs--;
    base_cond_broadcast(&f->changed);
    base_mutex_unlock(&f->lock);
}

static void flight_job_run(struct base_job *job)
{
    struct cold_flight *fl =
        (struct cold_flight *)(void *)((char *)job - offsetof(struct cold_flight, job));
    struct cold_fetch *f = fl->fetch;
    struct cold_block *b;

    base_mutex_lock(&f->lock);
    if (fl->state == FLIGHT_QUEUED)
        flight_run_locked(fl);
    /* This flight first: its bytes are in this processor's caches. */
    while (fl->state == FLIGHT_STORED && (b = flight_undecoded_locked(fl)) && raw_fits_locked(f, b))
        block_decode_locked(b);
    fl->refs--;
    flight_settle_locked(fl);
    f->jobs--;
    base_cond_broadcast(&f->changed);
    base_mutex_unlock(&f->lock);
}

/* The request that held no thread is over. On a thread of the driver: nothing here may wait. */
static void flight_get_done(struct cold_get *get, int rc, const struct varve_error *err)
{
    struct cold_flight *fl = get->ctx;
    struct cold_fetch *f = fl->fetch;
    struct varve_error error = {0};
    struct base_job *decoder;

    if (rc == VARVE_E_NOT_FOUND)
        rc = cold_fetch_missing(get->key, &error);
    else if (rc < 0)
        error = *err;
    base_mutex_lock(&f->lock);
    count_range_locked(fl, rc);
    flight_stored_locked(fl, rc, &error);
    fl->refs--;
    flight_settle_locked(fl);
    decoder = decoder_claim_locked(f);
    f->jobs--;
    base_mutex_unlock(&f->lock);
    decoder_submit(f, decoder);
}

/* Starts the request of a RUNNING flight. The caller holds a reference, and not the lock. */
static void flight_get_start(struct cold_flight *fl)
{
    struct cold_fetch *f = fl->fetch;
    struct varve_error error = {0};
    int rc = stored_reserve(fl, &error);

    fl->get = (struct cold_get){
        .key = fl->table->key,
        .pos = fl->pos,
        .size = fl->size,
        .buf = fl->stored.data,
        .priority = PRIORITY_READ_AHEAD,
        .done = flight_get_done,
        .ctx = fl,
    };
    if (rc == 0)
        rc = cold_store_get_start(f->store, &fl->get, &error);
    base_mutex_lock(&f->lock);
    if (rc < 0) {
        flight_stored_locked(fl, rc, &error);
        fl->refs--; /* `done` will not be called */
        f->jobs--;
    } else {
        fl->started = true;
    }
    fl->refs--;
    flight_settle_locked(fl);
    base_mutex_unlock(&f->lock);
}

static int wait_locked(struct cold_fetch *f, struct cold_block *b, struct varve_error *err)
{
    for (;;) {
        struct cold_flight *fl = b->flight;

        switch (b->state) {
        case LOAD_READY:
            return 0;
        case LOAD_FAILED:
            if (err)
                *err = b->error;
            return b->error.code;
        case LOAD_STORED:
            block_decode_locked(b);
            break;
        case LOAD_WAITING:
            if (fl->state == FLIGHT_QUEUED) {
                fl->refs++;
                flight_run_locked(fl);
                fl->refs--;
                flight_settle_locked(fl);
                break;
            }
            base_cond_wait(&f->changed, &f->lock);
            break;
        case LOAD_DECODING:
            base_cond_wait(&f->changed, &f->lock);
            break;
        }
    }
}

int cold_flight_wait(struct cold_fetch *fetch, struct cold_block *block, struct varve_error *err)
{
    int rc;

    base_mutex_lock(&fetch->lock);
    rc = wait_locked(fetch, block, err);
    base_mutex_unlock(&fetch->lock);
    return rc;
}

/* Ends a flight that nobody waits for: one that nobody has begun, or a request without a thread. */
static void flight_cancel_locked(struct cold_flight *fl)
{
    for (size_t i = 0; i < fl->count; i++)
        if (fl->blocks[i] && fl->blocks[i]->refs > 0)
            return;
    if (fl->state == FLIGHT_RUNNING) {
        cold_store_get_cancel(fl->fetch->store, &fl->get);
        fl->started = false;
        return;
    }
    for (size_t i = 0; i < fl->count; i++)
        if (fl->blocks[i])
            block_finish_locked(fl->blocks[i], LOAD_FAILED, NULL);
    flight_settle_locked(fl);
}

static void release_locked(struct cold_fetch *f, struct cold_block *b)
{
    struct cold_flight *fl = b->flight;

    assert(b->refs > 0);
    if (--b->refs > 0)
        return;
    if (!fl) {
        block_free_locked(f, b);
    } else if (b->state == LOAD_STORED) {
        block_finish_locked(b, LOAD_FAILED, NULL);
        flight_settle_locked(fl);
    } else if (fl->state == FLIGHT_QUEUED || (fl->state == FLIGHT_RUNNING && fl->started)) {
        flight_cancel_locked(fl);
    } /* else whoever works on it sees that nobody wants it */
}

struct cold_block *cold_flight_release(struct cold_fetch *fetch, struct cold_block *block)
{
    struct base_job *decoder;

    if (block) {
        base_mutex_lock(&fetch->lock);
        release_locked(fetch, block);
        decoder = decoder_claim_locked(fetch);
        base_mutex_unlock(&fetch->lock);
        decoder_submit(fetch, decoder);
    }
    return NULL;
}

/* Keeps a randomly read block alive for a while: a seek by time and the read that follows it, or
 * neighbours of a record, then cost nothing more. */
static void recent_add_locked(struct cold_fetch *f, struct cold_block *b)
{
    struct cold_block *carry = b;

    if (b->info.raw_size > RECENT_RAW_MAX)
        return;
    b->refs++;
    for (size_t i = 0; i < RECENT_MAX && carry; i++) {
        struct cold_block *swap = f->recent[i];

        f->recent[i] = carry;
        carry = swap;
        if (carry == b)
            break; /* it was there already: moved to the front */
    }
    if (carry)
        release_locked(f, carry);
}

void cold_flight_forget_recent(struct cold_fetch *fetch)
{
    base_mutex_lock(&fetch->lock);
    for (size_t i = 0; i < RECENT_MAX; i++) {
        if (fetch->recent[i])
            release_locked(fetch, fetch->recent[i]);
        fetch->recent[i] = NULL;
    }
    base_mutex_unlock(&fetch->lock);
}

/*
 * A listed block, whoever listed it: waited for. False: there is none. Where a flight failed the
 * block is looked for again: meanwhile another thread may have listed it anew (F1).
 */
static bool get_listed_locked(struct cold_fetch *f, const struct cold_table *table, size_t index,
                              struct cold_block **ret)
{
    struct cold_block *b;

    while ((b = block_find_locked(f, &table->entry.attempt, index))) {
        b->refs++;
        if (wait_locked(f, b, NULL) == 0) {
            f->stats.block_hits++;
            *ret = b;
            return true;
        }
        release_locked(f, b); /* F3: another's failure is not ours */
    }
    return false;
}

/* A flight of one block for the caller alone to run. */
static int demand_locked(struct cold_fetch *f, struct cold_table *table, size_t index, bool cached,
                         bool keep, struct cold_block **ret, struct varve_error *err)
{
    struct cold_block *b = NULL;
    struct cold_flight *fl = flight_new_locked(f, table, index, 1, &b);
    int rc;

    if (!fl)
        return base_fail(err, VARVE_E_NO_MEMORY, "object %s: block %zu: out of memory", table->key,
                         index);
    fl->cached = cached;
    fl->keep = keep;
    rc = wait_locked(f, b, err);
    if (rc < 0) {
        release_locked(f, b);
        return rc;
    }
    *ret = b;
    return 0;
}

int cold_flight_get(struct cold_fetch *fetch, struct cold_table *table, size_t index, bool keep,
                    struct cold_block **ret, struct varve_error *err)
{
    struct cold_block *b = NULL;
    bool cached = is_cached(fetch, table, index);
    int rc = 0;

    base_mutex_lock(&fetch->lock);
    if (!get_listed_locked(fetch, table, index, &b))
        rc = demand_locked(fetch, table, index, cached, keep, &b, err);
    if (rc == 0 && keep)
        recent_add_locked(fetch, b);
    base_mutex_unlock(&fetch->lock);
    if (rc < 0)
        return rc;
    *ret = b;
    return 0;
}

/* How many blocks from `index` on one flight takes. */
static size_t flight_extent_locked(struct cold_fetch *f, const struct cold_table *table,
                                   size_t index, size_t cached_from, uint64_t stored_bytes,
                                   int64_t stop_offset)
{
    uint64_t stored = 0, budget = f->stored_max;
    size_t count = 0;

    budget = budget > f->stored_bytes ? budget - f->stored_bytes : 0;
    if (stored_bytes > f->range_bytes_max)
        stored_bytes = f->range_bytes_max;
    for (size_t i = index; i < table->view.block_count && count < FLIGHT_BLOCKS_MAX; i++) {
        struct cold_block_info info;

        cold_table_block(&table->view, i, &info);
        stored += info.stored_size;
        if (info.first_offset >= stop_offset || stored > budget) /* F2 */
            break;
        if (count > 0 && (stored > stored_bytes || i >= cached_from ||
                          block_find_locked(f, &table->entry.attempt, i))) /* F1 */
            break;
        count++;
    }
    return count;
}

/* The first block behind `index`, itself not in the cache, that is. */
static size_t cached_next(struct cold_fetch *f, const struct cold_table *table, size_t index)
{
    size_t i = index + 1;

    while (i < table->view.block_count && i < index + FLIGHT_BLOCKS_MAX && !is_cached(f, table, i))
        i++;
    return i;
}

size_t cold_flight_start(struct cold_fetch *fetch, struct cold_table *table, size_t index,
                         uint64_t stored_bytes, int64_t stop_offset, bool keep,
                         struct cold_block *blocks[FLIGHT_BLOCKS_MAX])
{
    bool cached = is_cached(fetch, table, index), async = fetch->async && !cached;
    size_t cached_from = cached ? index : cached_next(fetch, table, index), count;
    struct cold_flight *fl = NULL;
    struct cold_block *b;

    if (!fetch->options.pool)
        return 0;
    base_mutex_lock(&fetch->lock);
    b = block_find_locked(fetch, &table->entry.attempt, index);
    if (b) { /* alive or in flight for somebody: one more holder */
        b->refs++;
        blocks[0] = b;
        base_mutex_unlock(&fetch->lock);
        return 1;
    }
    count = flight_extent_locked(fetch, table, index, cached_from, stored_bytes, stop_offset);
    if (count > 0)
        fl = flight_new_locked(fetch, table, index, count, blocks);
    if (fl) {
        count = fl->count;
        fl->cached = cached;
        fl->keep = keep;
        fl->refs = async ? 2 : 1; /* the request and who starts it; or the job */
        fl->state = async ? FLIGHT_RUNNING : FLIGHT_QUEUED;
        fl->job = (struct base_job){.run = flight_job_run, .priority = PRIORITY_READ_AHEAD};
        fetch->jobs++;
    }
    base_mutex_unlock(&fetch->lock);
    if (!fl)
        return 0;
    if (async)
        flight_get_start(fl);
    else
        base_pool_submit(fetch->options.pool, &fl->job);
    return count;
}
