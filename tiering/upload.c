/*
 * Uploading sealed segments.
 *
 * One engine serves a batch of segments. The step's thread reads a segment block by block (whole
 * batches, about policy.block_bytes; a larger batch is a block of its own), checks each batch,
 * hands the block to the pool for compression and hashes it meanwhile. Compressed blocks are taken
 * in order, described to the object builder and gathered in a sender's buffer. An object that fits
 * put_buffers of them goes by one put, a larger one by multipart, a part a buffer. Senders have
 * threads of their own, so that a slow store never holds a worker that a reader waits for (I12);
 * while they send, others are filled, if need be with the next segments. With a pool of 0 threads
 * everything happens in the calling thread.
 *
 * A multipart upload is noted in the log's journal. One that was interrupted, by an error that
 * passes or by the end of the process, is gone on with under the same attempt: the segment is read
 * and compressed again, and parts that come out as the journal has them are not sent again.
 *
 * Memory: UPLOAD_SLOTS_MAX blocks raw and compressed with a compressor each, and the buffers: two
 * for a local store (under 24 MiB with blocks of 1 MiB), UPLOAD_REMOTE_BYTES for others. A batch
 * above block_bytes needs its own size more while it passes.
 *
 * Nothing damaged is uploaded: a batch that does not check, offsets that are not dense, a size that
 * is not what was sealed stop the log's uploads with VARVE_E_CORRUPT naming the file; it is never
 * skipped (I4).
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tiering/engine.h"

#define MIB (1024 * 1024)
#define UPLOAD_WINDOW_BYTES (4 * MIB)         /* of raw blocks: fewer slots for larger blocks */
#define UPLOAD_PART_BYTES (5 * MIB)           /* of a sender's buffer, unless a store wants more */
#define UPLOAD_REMOTE_PART_BYTES (6 * MIB)    /* likewise, where requests travel */
#define UPLOAD_REMOTE_PUT_BYTES (16 * MIB)    /* objects up to this go by one put */
#define UPLOAD_REMOTE_BYTES (48 * MIB)        /* of buffers of one log's upload */
#define UPLOAD_PRIORITY 100                   /* in the pool: after all reading */
#define UPLOAD_FORGET_AGE_MS (10 * 60 * 1000) /* older segments leave the page cache behind us */
#define UPLOAD_BLOCK_BYTES_MIN 4096

void tiering_upload_free(struct tiering_upload *u)
{
    if (!u)
        return;
    free(u->key);
    free(u->parts);
    free(u->kept);
    free(u);
}

/* Blocks. */

static void slot_run(struct base_job *job)
{
    struct slot *s = (struct slot *)((char *)job - offsetof(struct slot, job));
    struct engine *e = s->engine;

    base_buffer_clear(&s->out);
    s->rc = cold_block_compress(s->compressor, e->policy.compression_level, s->raw,
                                s->info.raw_size, &s->out, &s->info, &s->err);
    base_mutex_lock(&e->lock);
    s->done = true;
    base_cond_broadcast(&e->changed);
    base_mutex_unlock(&e->lock);
}

static struct slot *slot_oldest(struct engine *e)
{
    return &e->slots[(e->slot_head + e->slot_count - e->slot_used) % e->slot_count];
}

static void slot_wait(struct engine *e, struct slot *s)
{
    base_mutex_lock(&e->lock);
    while (!s->done)
        base_cond_wait(&e->changed, &e->lock);
    base_mutex_unlock(&e->lock);
}

/* Takes the oldest block: into the body, into the builder. */
static int slot_take(struct passage *p, struct varve_error *err)
{
    struct engine *e = p->e;
    struct slot *s = slot_oldest(e);
    int rc;

    slot_wait(e, s);
    e->slot_used--;
    if (s->rc < 0) {
        if (err)
            *err = s->err;
        return s->rc;
    }
    s->info.pos = p->object_pos;
    rc = cold_object_builder_block(p->builder, &s->info, err);
    if (rc < 0)
        return rc;
    p->object_crc = base_crc32c_combine(p->object_crc, s->info.crc32c, s->info.stored_size);
    return tiering_send_add(p, s->out.data, s->out.size, s->info.crc32c, err);
}

static int slot_reserve(struct slot *s, size_t size, struct varve_error *err)
{
    uint8_t *raw;

    if (s->raw_capacity >= size)
        return 0;
    raw = realloc(s->raw, size);
    if (!raw)
        return base_fail(err, VARVE_E_NO_MEMORY, "upload: no memory for a block of %zu bytes",
                         size);
    s->raw = raw;
    s->raw_capacity = size;
    return 0;
}

/* Gives back what a batch of unusual size needed. */
static void slot_shrink(struct slot *s, size_t block_bytes)
{
    if (s->raw_capacity <= 2 * block_bytes)
        return;
    free(s->raw);
    s->raw = NULL;
    s->raw_capacity = 0;
    base_buffer_deinit(&s->out);
    base_buffer_init(&s->out);
}

static int damage(const struct passage *p, uint64_t pos, const char *what, struct varve_error *err)
{
    return base_fail(err, VARVE_E_CORRUPT, "%s at position %llu: %s", hot_segment_path(p->segment),
                     (unsigned long long)pos, what);
}

static int segment_read(const struct passage *p, uint8_t *buf, size_t size, uint64_t pos,
                        struct varve_error *err)
{
    size_t got;
    int rc = hot_segment_read(p->segment, buf, size, pos, &got, err);

    if (rc < 0)
        return rc;
    if (got != size)
        return damage(p, pos + got, "the file ends before the segment does", err);
    return 0;
}

/* Reads at least one whole batch, at most a block. */
static int block_read(const struct passage *p, struct slot *s, size_t *ret_size,
                      struct varve_error *err)
{
    uint64_t left = p->info->size - p->raw_pos;
    size_t want = left < p->e->block_bytes ? (size_t)left : p->e->block_bytes, batch;
    int rc = slot_reserve(s, want, err);

    if (rc == 0)
        rc = segment_read(p, s->raw, want, p->raw_pos, err);
    if (rc < 0)
        return rc;
    batch = want >= RECORD_BATCH_PREFIX_SIZE ? record_batch_size(s->raw) : 0;
    if (batch == 0 || batch > left)
        return damage(p, p->raw_pos, "not a whole batch", err);
    if (batch > want) {
        rc = slot_reserve(s, batch, err);
        if (rc == 0)
            rc = segment_read(p, s->raw + want, batch - want, p->raw_pos + want, err);
        if (rc < 0)
            return rc;
        want = batch;
    }
    *ret_size = want;
    return 0;
}

/* I9: a batch's CRC32C leaves its leader epoch out; the root's history says what it must be. */
static int epoch_check(struct passage *p, const struct record_batch *batch, uint64_t pos,
                       struct varve_error *err)
{
    if (batch->base_offset >= p->epoch_end) {
        struct index_root_pin *pin;
        const struct index_root *root;
        int rc = index_manifest_pin(p->e->t->o.manifest, &pin, &root, err);

        if (rc < 0)
            return rc;
        p->epoch = index_root_epoch_at(root, batch->base_offset, &p->epoch_end);
        index_manifest_unpin(pin);
    }
    if (p->epoch < 0 || batch->leader_epoch == p->epoch)
        return 0;
    return base_fail(err, VARVE_E_CORRUPT,
                     "%s at position %llu: leader epoch %d at offset %lld, which was written in "
                     "epoch %lld",
                     hot_segment_path(p->segment), (unsigned long long)pos,
                     (int)batch->leader_epoch, (long long)batch->base_offset, (long long)p->epoch);
}

static int batch_take(struct passage *p, const uint8_t *data, size_t size, uint64_t pos,
                      struct cold_block_info *block, struct varve_error *err)
{
    struct record_batch batch;
    int rc = record_batch_check(data, size, &batch, err); /* I9 */

    if (rc < 0)
        return base_error_context(err, rc, "%s at position %llu", hot_segment_path(p->segment),
                                  (unsigned long long)pos);
    if (batch.base_offset != p->offset)
        return base_fail(err, VARVE_E_CORRUPT,
                         "%s at position %llu: a batch of offset %lld where %lld must follow",
                         hot_segment_path(p->segment), (unsigned long long)pos,
                         (long long)batch.base_offset, (long long)p->offset);
    rc = epoch_check(p, &batch, pos, err);
    if (rc < 0)
        return rc;
    if (pos == 0)
        p->first_timestamp = batch.base_timestamp;
    if (batch.max_timestamp > block->max_timestamp)
        block->max_timestamp = batch.max_timestamp;
    if (batch.max_timestamp > p->max_timestamp)
        p->max_timestamp = batch.max_timestamp;
    p->offset = batch.last_offset + 1;
    return cold_object_builder_batch(p->builder, &batch, (uint32_t)pos, err);
}

/* Checks the batches that lie whole in the slot; the block is these. */
static int block_walk(struct passage *p, struct slot *s, size_t size, struct varve_error *err)
{
    size_t pos = 0;

    s->info = (struct cold_block_info){
        .first_offset = p->offset,
        .max_timestamp = INT64_MIN,
        .raw_pos = (uint32_t)p->raw_pos,
    };
    while (size - pos >= RECORD_BATCH_PREFIX_SIZE) {
        size_t batch = record_batch_size(s->raw + pos);
        int rc;

        if (batch == 0)
            return damage(p, p->raw_pos + pos, "not a batch", err);
        if (batch > size - pos)
            break;
        rc = batch_take(p, s->raw + pos, batch, p->raw_pos + pos, &s->info, err);
        if (rc < 0)
            return rc;
        pos += batch;
    }
    s->info.raw_size = (uint32_t)pos;
    return 0;
}

static int block_next(struct passage *p, struct varve_error *err)
{
    struct engine *e = p->e;
    struct slot *s = &e->slots[e->slot_head];
    size_t size = 0;
    int rc;

    if (cancelled(e))
        return base_fail(err, VARVE_E_CANCELLED, "upload interrupted");
    if (e->slot_used == e->slot_count) {
        rc = slot_take(p, err);
        if (rc < 0)
            return rc;
    }
    rc = block_read(p, s, &size, err);
    if (rc == 0)
        rc = block_walk(p, s, size, err);
    if (rc < 0)
        return rc;
    size = s->info.raw_size;
    s->done = false;
    e->slot_head = (e->slot_head + 1) % e->slot_count;
    e->slot_used++;
    base_pool_submit(e->t->o.pool, &s->job);
    base_sha256_update(e->sha, s->raw, size); /* of the slot, a worker only reads these bytes */
    p->raw_pos += size;
    return 0;
}

/* A segment. */

static void object_info(const struct passage *p, const uint8_t previous[BASE_SHA256_SIZE],
                        struct cold_object_info *ret)
{
    const struct index_entry *entry = &p->upload->entry;

    *ret = (struct cold_object_info){
        .log_name = p->e->t->log_name,
        .log_name_size = strlen(p->e->t->log_name),
        .log_id = p->e->t->log_id,
        .attempt = entry->attempt,
        .epoch = entry->epoch,
        .base_offset = entry->base_offset,
        .end_offset = entry->end_offset,
        .first_timestamp = entry->first_timestamp,
        .max_timestamp = entry->max_timestamp,
        .append_time = entry->append_time,
        .segment_size = entry->segment_size,
    };
    memcpy(ret->segment_sha256, entry->segment_sha256, BASE_SHA256_SIZE);
    memcpy(ret->previous_chain_hash, previous, BASE_SHA256_SIZE);
    memcpy(ret->chain_hash, entry->chain_hash, BASE_SHA256_SIZE);
}

/* All blocks are taken: the tail, the rest of the entry, the last request. */
static int object_finish(struct passage *p, const uint8_t previous[BASE_SHA256_SIZE],
                         struct varve_error *err)
{
    struct index_entry *entry = &p->upload->entry;
    struct cold_object_info info;
    const void *tail;
    size_t tail_size;
    uint32_t tail_crc;
    int rc;

    entry->first_timestamp = p->first_timestamp;
    entry->max_timestamp = p->max_timestamp;
    base_sha256_final(p->e->sha, entry->segment_sha256);
    rc = index_chain_hash(previous, entry->segment_sha256, entry->base_offset, entry->end_offset,
                          entry->chain_hash);
    if (rc < 0)
        return base_fail(err, rc, "upload %s: out of memory", p->upload->key);
    object_info(p, previous, &info);
    rc = cold_object_builder_finish(p->builder, &info, &tail, &tail_size, &entry->table_size,
                                    &entry->index_size, err);
    if (rc < 0)
        return rc;
    entry->index_pos = p->object_pos;
    tail_crc = base_crc32c(0, tail, tail_size);
    entry->object_crc32c = base_crc32c_combine(p->object_crc, tail_crc, tail_size);
    rc = tiering_send_add(p, tail, tail_size, tail_crc, err);
    if (rc < 0)
        return rc;
    entry->object_size = p->object_pos;
    cold_fetch_keep_table(p->e->t->o.fetch, &entry->attempt, tail, entry->table_size);
    if (!p->upload->parted) {
        tiering_send_object(p->e, p->upload);
        return 0;
    }
    return tiering_send_parts(p, true, err);
}

static int segment_pass(struct passage *p, const uint8_t previous[BASE_SHA256_SIZE],
                        struct varve_error *err)
{
    struct engine *e = p->e;
    struct tiering_run *run = e->t->run;
    int rc = 0;

    base_sha256_reset(e->sha);
    while (rc == 0 && p->raw_pos < p->info->size) {
        rc = block_next(p, err);
        if (rc == 0 && run && run->progress)
            run->progress(run->progress_ctx, e->t->run_done + p->raw_pos, e->t->run_total);
    }
    while (rc == 0 && e->slot_used > 0)
        rc = slot_take(p, err);
    if (rc == 0 && p->offset != p->info->end_offset)
        rc = base_fail(err, VARVE_E_CORRUPT, "%s: its batches end at offset %lld, not at %lld",
                       hot_segment_path(p->segment), (long long)p->offset,
                       (long long)p->info->end_offset);
    if (rc == 0)
        rc = object_finish(p, previous, err);
    /* What is left after a failure: workers still compress, senders still send. */
    while (e->slot_used > 0) {
        slot_wait(e, slot_oldest(e));
        e->slot_used--;
    }
    for (unsigned i = 0; i < e->slot_count; i++)
        slot_shrink(&e->slots[i], e->block_bytes);
    return rc;
}

/* Ends an attempt that failed. What it may have left in the bucket is found by collection (I10). */
static void upload_give_up(struct engine *e, struct tiering_upload *u,
                           const struct varve_error *why)
{
    tiering_send_drop(e);
    (void)tiering_send_wait(e, u, NULL);
    if (u->parted && !u->dispatched)
        tiering_send_abandon(e, u, why);
    base_mutex_lock(&e->lock);
    u->failed = true;
    base_mutex_unlock(&e->lock);
}

/* Sends one segment. On success its requests are under way, or over; see tiering_send_wait. */
static int upload_segment(struct engine *e, struct hot_segment *segment,
                          const struct hot_segment_info *info, struct tiering_upload *u,
                          const uint8_t previous[BASE_SHA256_SIZE], struct varve_error *err)
{
    struct passage p = {
        .e = e,
        .segment = segment,
        .info = info,
        .upload = u,
        .offset = info->base_offset,
        .epoch_end = INT64_MIN,
        .max_timestamp = INT64_MIN,
    };
    struct varve_error why = {0};
    int rc;

    if (info->size == 0 || info->size > UINT32_MAX)
        rc = damage(&p, 0, "not the size of a segment", &why);
    else
        rc = cold_object_builder_new((uint32_t)e->policy.index_interval_bytes, &p.builder, &why);
    if (rc == 0)
        rc = segment_pass(&p, previous, &why);
    cold_object_builder_free(p.builder);
    if (rc < 0) {
        why.code = rc;
        upload_give_up(e, u, &why);
        if (err)
            *err = why;
    } else if (tiering_now_ms(e->t) - info->append_time > UPLOAD_FORGET_AGE_MS)
        hot_segment_forget(segment, 0, info->size); /* I12 */
    return rc;
}

/* The engine. */

static void engine_free(struct engine *e)
{
    if (!e)
        return;
    base_pool_free(e->send_pool);
    for (unsigned i = 0; i < UPLOAD_SLOTS_MAX; i++) {
        cold_compressor_free(e->slots[i].compressor);
        free(e->slots[i].raw);
        base_buffer_deinit(&e->slots[i].out);
    }
    for (unsigned i = 0; i < UPLOAD_SENDERS_MAX; i++)
        free(e->senders[i].buf);
    base_sha256_free(e->sha);
    base_cond_deinit(&e->changed);
    base_mutex_deinit(&e->lock);
    free(e);
}

/* How large a put or a part is: as the store likes it, within our memory. */
static size_t part_bytes(const struct cold_caps *caps, size_t at_most)
{
    uint64_t size = caps->part_size;

    if (size == 0 || size > at_most)
        size = at_most;
    if (size < caps->part_size_min)
        size = caps->part_size_min;
    /* The largest segment, incompressible, must fit the number of parts. */
    if (caps->parts_max > 0 && size < (uint64_t)HOT_SEGMENT_BYTES_MAX / caps->parts_max * 2)
        size = (uint64_t)HOT_SEGMENT_BYTES_MAX / caps->parts_max * 2;
    if (caps->put_size_max > 0 && size > caps->put_size_max)
        size = caps->put_size_max;
    return (size_t)size;
}

static bool engine_allocate(struct engine *e)
{
    for (unsigned i = 0; i < e->slot_count; i++) {
        struct slot *s = &e->slots[i];

        s->engine = e;
        s->job = (struct base_job){.run = slot_run, .priority = UPLOAD_PRIORITY};
        s->compressor = cold_compressor_new();
        if (!s->compressor)
            return false;
    }
    for (unsigned i = 0; i < e->sender_count; i++) {
        struct sender *s = &e->senders[i];

        s->engine = e;
        s->job = (struct base_job){.run = tiering_send_run};
    }
    e->sha = base_sha256_new();
    return e->sha != NULL;
}

/*
 * To a local store, and without threads, two buffers (one) that keep the disk busy. To others as
 * many requests as the store bears and the memory allows: one connection does not fill a wire.
 * Under a rate limit buffers are small again, since a buffer leaves in one burst.
 */
static void engine_shape(struct engine *e, const struct cold_caps *caps, unsigned threads)
{
    bool paced = e->t->o.rate != NULL;
    size_t fit;

    e->put_buffers = 1;
    if (caps->local || threads == 0) {
        e->part_bytes = part_bytes(caps, UPLOAD_PART_BYTES);
        e->sender_count = threads == 0 ? 1 : UPLOAD_SENDERS_LOCAL;
        return;
    }
    e->part_bytes = part_bytes(caps, paced ? UPLOAD_PART_BYTES : UPLOAD_REMOTE_PART_BYTES);
    e->sender_count = caps->parallel;
    fit = UPLOAD_REMOTE_BYTES / e->part_bytes;
    if (e->sender_count > fit)
        e->sender_count = (unsigned)fit;
    if (e->sender_count > UPLOAD_SENDERS_MAX)
        e->sender_count = UPLOAD_SENDERS_MAX;
    if (e->sender_count < UPLOAD_SENDERS_LOCAL)
        e->sender_count = UPLOAD_SENDERS_LOCAL;
    fit = UPLOAD_REMOTE_PUT_BYTES;
    if (caps->put_size_max > 0 && fit > caps->put_size_max)
        fit = (size_t)caps->put_size_max;
    fit /= e->part_bytes;
    if (!paced && fit > 1)
        e->put_buffers = fit < UPLOAD_PUT_BUFFERS_MAX ? (unsigned)fit : UPLOAD_PUT_BUFFERS_MAX;
    if (e->put_buffers > e->sender_count / 2) /* while one object waits another one is sent */
        e->put_buffers = e->sender_count / 2;
}

static int engine_new(struct tiering_log *t, struct engine **ret, struct varve_error *err)
{
    struct engine *e = calloc(1, sizeof(*e));
    unsigned threads = base_pool_threads(t->o.pool);
    struct cold_caps caps;
    int rc;

    if (!e)
        return base_fail(err, VARVE_E_NO_MEMORY, "upload: out of memory");
    base_mutex_init(&e->lock);
    base_cond_init(&e->changed);
    cold_store_caps(t->o.segments, &caps);
    e->t = t;
    e->policy = tiering_policy_now(t);
    e->block_bytes = e->policy.block_bytes < UPLOAD_BLOCK_BYTES_MIN ? UPLOAD_BLOCK_BYTES_MIN
                                                                    : (size_t)e->policy.block_bytes;
    e->if_absent = caps.conditional_put;
    e->commits_between = !caps.local; /* where both tiers may share a full disk: by upload_due */
    e->slot_count = threads == 0 ? 1 : 2 * threads;
    if (e->slot_count > UPLOAD_WINDOW_BYTES / e->block_bytes)
        e->slot_count = (unsigned)(UPLOAD_WINDOW_BYTES / e->block_bytes);
    if (e->slot_count > UPLOAD_SLOTS_MAX)
        e->slot_count = UPLOAD_SLOTS_MAX;
    if (e->slot_count < 2 && threads > 0)
        e->slot_count = 2;
    if (e->slot_count == 0)
        e->slot_count = 1;
    engine_shape(e, &caps, threads);
    e->journal = caps.private_uploads ? NULL : t->journal;
    e->what = (struct tiering_journal_what){
        .epoch = t->epoch,
        .part_bytes = (uint32_t)e->part_bytes,
        .block_bytes = (uint32_t)e->block_bytes,
        .index_interval_bytes = (uint32_t)e->policy.index_interval_bytes,
        .compression_level = e->policy.compression_level,
        .compressor_version = cold_compressor_version(),
    };
    for (unsigned i = 0; i < UPLOAD_SLOTS_MAX; i++)
        base_buffer_init(&e->slots[i].out);
    rc = engine_allocate(e) ? 0 : base_fail(err, VARVE_E_NO_MEMORY, "upload: out of memory");
    if (rc == 0)
        rc = base_pool_new(threads == 0 ? 0 : e->sender_count, "varve-send", &e->send_pool, err);
    if (rc < 0) {
        engine_free(e);
        return rc;
    }
    *ret = e;
    return 0;
}

/* The table, and going on with an upload. */

static void table_add(struct tiering_log *t, struct tiering_upload *u)
{
    base_mutex_lock(&t->lock);
    struct tiering_upload **at = &t->uploads;
    while (*at && (*at)->entry.base_offset < u->entry.base_offset)
        at = &(*at)->next;
    u->next = *at;
    *at = u;
    base_mutex_unlock(&t->lock);
}

static void table_remove(struct tiering_log *t, struct tiering_upload *u)
{
    base_mutex_lock(&t->lock);
    struct tiering_upload **at = &t->uploads;
    while (*at != u)
        at = &(*at)->next;
    *at = u->next;
    base_mutex_unlock(&t->lock);
    tiering_upload_free(u);
}

/* `left`: what the journal has left over of just this segment, or NULL. */
static int upload_new(struct engine *e, const struct hot_segment_info *info,
                      struct tiering_journal_entry *left, struct tiering_upload **ret,
                      struct varve_error *err)
{
    struct tiering_log *t = e->t;
    struct tiering_upload *u = calloc(1, sizeof(*u));
    int rc;

    if (!u)
        return base_fail(err, VARVE_E_NO_MEMORY, "upload: out of memory");
    u->attempt = left ? left->attempt : base_id_new(t->env->random);
    u->entry = (struct index_entry){
        .base_offset = info->base_offset,
        .end_offset = info->end_offset,
        .append_time = info->append_time,
        .segment_size = info->size,
        .epoch = t->epoch,
        .attempt = u->attempt,
    };
    rc = index_key_object(t->log_name, &t->log_id, &u->entry, &u->key, err);
    if (rc < 0) {
        tiering_upload_free(u);
        return rc;
    }
    *ret = u;
    return 0;
}

/* Which of the parts that the journal names the store has; u->kept. VARVE_E_NOT_FOUND: the upload
 * is over. The entry belongs to this thread until a part is sent. */
static int parts_confirm(struct engine *e, struct tiering_upload *u,
                         const struct tiering_journal_entry *left, struct varve_error *err)
{
    struct cold_part *parts = calloc(left->part_count + 1, sizeof(*parts));
    bool *held = calloc(left->part_count + 1, sizeof(*held));
    unsigned count = 0;
    int rc = 0;

    u->kept = calloc(left->part_count + 1, sizeof(*u->kept));
    if (!parts || !held || !u->kept)
        rc = base_fail(err, VARVE_E_NO_MEMORY, "upload %s: out of memory", u->key);
    for (unsigned i = 0; i < left->part_count && rc == 0; i++)
        if (left->parts[i].part.number > 0)
            parts[count++] = left->parts[i].part;
    if (rc == 0)
        rc = cold_store_upload_check(e->t->o.segments, left->key, &left->upload, parts, count, held,
                                     err);
    for (unsigned i = 0; i < count && rc == 0; i++)
        if (held[i])
            u->kept[parts[i].number - 1] = left->parts[parts[i].number - 1];
    if (rc == 0)
        u->kept_count = left->part_count;
    free(parts);
    free(held);
    return rc;
}

/* Not this request alone: it makes no sense to send it others now. */
static bool store_is_away(int rc, const struct varve_error *why)
{
    return rc == VARVE_E_STORE && why->retriable;
}

/* Whether an entry can never be gone on with, the segment at hand being the next to be uploaded. */
struct sweep {
    struct tiering_journal_what what;
    char *prefix; /* of the log's keys */
};

static bool is_unwanted(void *ctx, const struct tiering_journal_entry *entry)
{
    const struct sweep *w = ctx;
    struct tiering_journal_what of = entry->what;

    if (entry->upload.id[0] == '\0' || of.base_offset < w->what.end_offset ||
        strncmp(entry->key, w->prefix, strlen(w->prefix)) != 0)
        return true; /* what matches was taken before */
    of.base_offset = w->what.base_offset;
    of.end_offset = w->what.end_offset;
    of.segment_size = w->what.segment_size;
    return !tiering_journal_same(&of, &w->what);
}

/* The upload of one segment, in the table. One that an interrupted attempt began is gone on with
 * where the store still has it. */
static int upload_enter(struct engine *e, const struct hot_segment_info *info,
                        struct tiering_upload **ret, struct varve_error *err)
{
    struct tiering_journal_entry *left = NULL;
    struct tiering_upload *u;
    struct sweep w = {.what = e->what};
    int rc;

    w.what.base_offset = info->base_offset;
    w.what.end_offset = info->end_offset;
    w.what.segment_size = info->size;
    if (e->journal && tiering_journal_left(e->journal) > 0) {
        rc = index_key_prefix(e->t->log_name, &e->t->log_id, &w.prefix, err);
        if (rc < 0)
            return rc;
        left = tiering_journal_take(e->journal, &w.what, w.prefix);
        rc = tiering_upload_abort_left(e->t, is_unwanted, &w, NULL, err);
        free(w.prefix);
        if (rc < 0 && store_is_away(rc, err)) {
            /* Not another one that may be left over, each time the store is tried. */
            if (left)
                tiering_journal_leave(e->journal, left);
            return rc;
        } /* else later */
    }
    rc = upload_new(e, info, left, &u, err);
    if (rc < 0) {
        if (left)
            tiering_journal_leave(e->journal, left);
        return rc;
    }
    table_add(e->t, u); /* I10: before the first request */
    *ret = u;
    if (!left)
        return 0;
    rc = parts_confirm(e, u, left, err);
    if (rc < 0 && rc != VARVE_E_NOT_FOUND && rc != VARVE_E_UNSUPPORTED) {
        tiering_journal_leave(e->journal, left);
        u->failed = true;
        return rc;
    }
    u->journal = left;
    u->parted = true;
    u->multipart = left->upload;
    if (rc == 0) {
        base_log(&e->t->env->logger, BASE_LOG_INFO,
                 "log %s: the upload of offsets %lld to %lld goes on where it was interrupted",
                 e->t->log_name, (long long)info->base_offset, (long long)info->end_offset);
        return 0;
    }
    /* Over, or not to be gone on with: a new attempt. Ending it, or leaving it to a sweep. */
    tiering_send_abandon(e, u, &(struct varve_error){.code = rc});
    table_remove(e->t, u);
    rc = upload_new(e, info, NULL, &u, err);
    if (rc < 0) {
        *ret = NULL;
        return rc;
    }
    table_add(e->t, u);
    *ret = u;
    return 0;
}

static bool is_any(void *ctx, const struct tiering_journal_entry *entry)
{
    (void)ctx;
    (void)entry;
    return true;
}

/* Ends what is left over of an entry. Where no id is known, all that the store tells of under the
 * key, which is of one attempt of ours; a store that tells nothing is its own judge. */
static int entry_abort(struct cold_store *segments, const struct tiering_journal_entry *entry,
                       struct varve_error *err)
{
    int rc = entry->upload.id[0] != '\0'
                 ? cold_store_upload_abort(segments, entry->key, &entry->upload, err)
                 : cold_store_upload_abort_all(segments, entry->key, err);

    if (rc == VARVE_E_NOT_FOUND || (rc == VARVE_E_UNSUPPORTED && entry->upload.id[0] == '\0'))
        return 0;
    return rc;
}

static int journal_abort(struct tiering_journal *j, struct cold_store *segments,
                         bool (*unwanted)(void *ctx, const struct tiering_journal_entry *entry),
                         void *ctx, unsigned *ret_count, struct varve_error *err)
{
    struct tiering_journal_entry **taken, *entry;
    unsigned left = tiering_journal_left(j), count = 0, aborted = 0;
    bool away = false;
    int rc = 0;

    if (ret_count)
        *ret_count = 0;
    if (left == 0)
        return 0;
    taken = calloc(left, sizeof(struct tiering_journal_entry *));
    if (!taken)
        return base_fail(err, VARVE_E_NO_MEMORY, "abort unfinished uploads: out of memory");
    while (count < left && (entry = tiering_journal_take_if(j, unwanted ? unwanted : is_any, ctx)))
        taken[count++] = entry;
    for (unsigned i = 0; i < count; i++) {
        struct varve_error why = {0};
        int one = VARVE_E_STORE;

        if (!away)
            one = entry_abort(segments, taken[i], &why);
        away = away || store_is_away(one, &why);
        if (one == 0) {
            tiering_journal_end(j, taken[i]);
            aborted++;
            continue;
        }
        tiering_journal_leave(j, taken[i]);
        if (rc == 0) {
            rc = one;
            if (err)
                *err = why;
        }
    }
    free(taken);
    if (ret_count)
        *ret_count = aborted;
    return rc;
}

int tiering_upload_abort_left(struct tiering_log *t,
                              bool (*unwanted)(void *ctx,
                                               const struct tiering_journal_entry *entry),
                              void *ctx, unsigned *ret_count, struct varve_error *err)
{
    if (t->journal)
        return journal_abort(t->journal, t->o.segments, unwanted, ctx, ret_count, err);
    if (ret_count)
        *ret_count = 0;
    return 0;
}

int tiering_upload_abort_journal(const struct base_env *env, const char *path,
                                 struct cold_store *segments, struct varve_error *err)
{
    struct tiering_journal *j;
    int rc = tiering_journal_open(env, path, &j, err);

    if (rc < 0)
        return rc;
    rc = journal_abort(j, segments, NULL, NULL, NULL, err);
    tiering_journal_close(j);
    return rc;
}

/* The batch. */

/* Where uploading goes on: behind what the table holds without a hole from n, and the chain hash
 * there. *ret_waiting: uploads that wait for a commit. */
static int upload_next(struct tiering_log *t, int64_t *ret_offset,
                       uint8_t ret_chain[BASE_SHA256_SIZE], unsigned *ret_waiting,
                       struct varve_error *err)
{
    struct index_root root;
    unsigned waiting = 0;
    int64_t offset;
    int rc = tiering_root_get(t, &root, err);

    if (rc < 0)
        return rc;
    offset = root.end_offset;
    memcpy(ret_chain, root.chain_hash, BASE_SHA256_SIZE);
    base_mutex_lock(&t->lock);
    for (const struct tiering_upload *u = t->uploads; u; u = u->next) {
        if (u->entry.end_offset <= offset)
            continue;
        if (!tiering_upload_follows(u, offset, ret_chain))
            break; /* none is here yet, or it is of before a trim: uploaded anew */
        offset = u->entry.end_offset;
        memcpy(ret_chain, u->entry.chain_hash, BASE_SHA256_SIZE);
        waiting++;
    }
    base_mutex_unlock(&t->lock);
    *ret_offset = offset;
    *ret_waiting = waiting;
    return 0;
}

/* Takes failed uploads out of the table; the error of the first. Nothing is being sent. */
static int table_clean(struct tiering_log *t, struct varve_error *err)
{
    struct tiering_upload **at = &t->uploads;
    int rc = 0;

    base_mutex_lock(&t->lock);
    while (*at) {
        struct tiering_upload *u = *at;

        if (u->err.code < 0)
            u->failed = true;
        if (!u->failed) {
            at = &u->next;
            continue;
        }
        if (rc == 0 && u->err.code < 0) {
            rc = u->err.code;
            if (err)
                *err = u->err;
        }
        *at = u->next;
        tiering_upload_free(u);
    }
    base_mutex_unlock(&t->lock);
    return rc;
}

static bool table_failed(struct engine *e)
{
    bool failed = false;

    base_mutex_lock(&e->lock);
    for (const struct tiering_upload *u = e->t->uploads; u; u = u->next)
        failed = failed || u->err.code < 0;
    base_mutex_unlock(&e->lock);
    return failed;
}

/* The sealed segment that holds `offset`, pinned. VARVE_E_END: there is none yet. */
static int sealed_find(struct tiering_log *t, int64_t offset, struct hot_segment **ret,
                       struct hot_segment_info *ret_info, struct varve_error *err)
{
    struct hot_segment *segment;
    struct hot_range range;
    int rc;

    hot_set_range(t->hot, &range);
    if (offset >= range.end)
        return VARVE_E_END;
    rc = hot_segment_find(t->hot, offset, true, &segment, err);
    if (rc == VARVE_E_OUT_OF_RANGE) {
        hot_set_range(t->hot, &range);
        return base_fail(err, VARVE_E_CORRUPT,
                         "log %s: offsets %lld to %lld are in neither tier (I1)", t->log_name,
                         (long long)offset, (long long)range.floor);
    }
    if (rc < 0)
        return rc;
    rc = hot_segment_info(segment, ret_info, err);
    if (rc == 0 && !ret_info->sealed)
        rc = VARVE_E_END;
    if (rc < 0) {
        hot_segment_unref(segment);
        return rc;
    }
    *ret = segment;
    return 0;
}

static int upload_one_of_batch(struct engine **e, struct tiering_log *t, int64_t offset,
                               const uint8_t previous[BASE_SHA256_SIZE], struct varve_error *err)
{
    struct hot_segment *segment = NULL;
    struct hot_segment_info info;
    struct tiering_upload *u = NULL;
    int rc = sealed_find(t, offset, &segment, &info, err);

    if (rc < 0)
        return rc;
    if (!*e)
        rc = engine_new(t, e, err);
    if (rc == 0)
        rc = upload_enter(*e, &info, &u, err);
    if (rc == 0) {
        rc = upload_segment(*e, segment, &info, u, previous, err);
        if (rc == 0)
            t->run_done += info.size;
    }
    if (rc < 0 && u) {
        u->failed = true;
        rc = base_error_context(err, rc, "upload %s", u->key);
    }
    hot_segment_unref(segment);
    return rc;
}

/*
 * A wire stays full while senders have something to send, so what is stored of a batch to a store
 * that is not local is committed in between, by this thread, while they go on. The batch ends all
 * the same from time to time, for eviction, retention and collection to have their turns.
 */
int tiering_upload_batch(struct tiering_log *t, struct varve_error *err)
{
    const struct base_clock *clock = t->env->clock;
    int64_t began = clock->mono_ns(clock->ctx), committed = began, now = began, offset;
    uint8_t chain[BASE_SHA256_SIZE];
    struct engine *e = NULL;
    unsigned waiting, count;
    bool between = false, full;
    int rc, rc_sent;

    do {
        rc = upload_next(t, &offset, chain, &waiting, err);
        full = waiting >= TIERING_COMMIT_SEGMENTS_MAX;
        if (rc == 0 && between && (full || now - committed >= TIERING_COMMIT_NS)) {
            rc = tiering_commit_uploads(t, &count, err);
            committed = clock->mono_ns(clock->ctx);
            full = full && count == 0;
        }
        if (rc == 0 && full)
            break;
        if (rc == 0)
            rc = upload_one_of_batch(&e, t, offset, chain, err);
        now = clock->mono_ns(clock->ctx);
        between = e && e->commits_between && !t->one_by_one;
    } while (rc == 0 && !t->one_by_one && !table_failed(e) &&
             now - began < (between ? TIERING_BATCH_NS : TIERING_COMMIT_NS));
    engine_free(e); /* waits for what is being sent */
    rc_sent = table_clean(t, rc == 0 || rc == VARVE_E_END ? err : NULL);
    return rc_sent < 0 && (rc == 0 || rc == VARVE_E_END) ? rc_sent : rc;
}

int tiering_upload_one(struct tiering_log *t, struct hot_segment *segment,
                       const uint8_t previous_chain_hash[BASE_SHA256_SIZE],
                       struct index_entry *ret_entry, struct varve_error *err)
{
    struct hot_segment_info info;
    struct tiering_upload *u;
    struct engine *e;
    int rc = hot_segment_info(segment, &info, err);

    if (rc < 0)
        return rc;
    rc = engine_new(t, &e, err);
    if (rc < 0)
        return rc;
    rc = upload_new(e, &info, NULL, &u, err);
    if (rc == 0) {
        rc = tiering_attempt_hold(t, &u->attempt, err); /* I10 */
        if (rc == 0)
            rc = upload_segment(e, segment, &info, u, previous_chain_hash, err);
        if (rc == 0)
            rc = tiering_send_wait(e, u, err);
        if (rc == 0)
            *ret_entry = u->entry;
        tiering_upload_free(u);
    }
    engine_free(e);
    return rc;
}
