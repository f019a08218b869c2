/*
 * Appending: assign offsets, one gathered write, make it visible; and rolling to the next segment.
 *
 * Appends are serialised by set->append: the kernel serialises writes to one file anyway, and a
 * write that fails must not have another behind it. Waiting for durability happens outside of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "hot/internal.h"

#define PREALLOCATE_BYTES_MIN (1024 * 1024)
#define SCRATCH_COUNT_MIN 64

static int64_t wall_ms(const struct hot_set *set)
{
    return set->env->clock->wall_ms(set->env->clock->ctx);
}

/* Makes the file of a segment that holds nothing yet. Not in the list, not yet durable. */
int hot_append_create_segment(struct hot_set *set, int64_t base_offset, struct hot_segment **ret,
                              struct varve_error *err)
{
    const struct base_io *io = set->io;
    struct hot_segment *segment;
    struct stat st;
    int rc = hot_segment_new(set, base_offset, &segment, err);
    if (rc < 0)
        return rc;

    int fd = io->open(io->ctx, segment->path, O_RDWR | O_CREAT, 0644);
    if (fd < 0) {
        rc = base_fail_errno(err, fd, "create %s", segment->path);
        hot_segment_unref(segment);
        return rc;
    }
    base_mutex_lock(&set->lock);
    set->open_count++;
    set->dir_dirty = true; /* I11: synced before anything in it is acknowledged */
    base_mutex_unlock(&set->lock);

    base_mutex_lock(&segment->lock);
    segment->fd = fd;
    rc = io->fstat(io->ctx, fd, &st);
    if (rc < 0)
        rc = base_fail_errno(err, rc, "stat %s", segment->path);
    else if (st.st_size != 0) /* an empty one is what a roll that failed has left */
        rc = base_fail(err, VARVE_E_CORRUPT, "%s exists already, with %lld bytes", segment->path,
                       (long long)st.st_size);
    if (rc == 0)
        rc = hot_sparse_create_locked(segment, err);
    base_mutex_unlock(&segment->lock);
    if (rc < 0) {
        hot_segment_unref(segment);
        return rc;
    }
    segment->stamps_known = true;
    segment->visible.append_time = segment->written.append_time = wall_ms(set);
    index_sparse_builder_init(&segment->builder, base_offset,
                              (uint32_t)set->options.index_interval_bytes);
    hot_append_activate(segment, -1);
    *ret = segment;
    return 0;
}

void hot_append_activate(struct hot_segment *segment, int64_t first_append_ms)
{
    segment->first_append_ms = first_append_ms;
    segment->preallocated = segment->written.size;
    segment->preallocate = true;
}

/* Asks for space ahead of the writes. The file's size does not show it; refusal is no error. */
static void append_preallocate(struct hot_set *set, struct hot_segment *active, uint64_t need)
{
    if (!active->preallocate || need <= active->preallocated)
        return;
    uint64_t step = active->preallocated;
    if (step < PREALLOCATE_BYTES_MIN)
        step = PREALLOCATE_BYTES_MIN;
    if (step > HOT_PREALLOCATE_BYTES)
        step = HOT_PREALLOCATE_BYTES;
    uint64_t want = active->preallocated + step;
    if (want > (uint64_t)set->segment_bytes)
        want = (uint64_t)set->segment_bytes;
    if (want < need)
        want = need;
    int rc =
        set->io->fallocate(set->io->ctx, active->fd, FALLOC_FL_KEEP_SIZE,
                           (int64_t)active->preallocated, (int64_t)(want - active->preallocated));
    if (rc < 0)
        active->preallocate = false;
    else
        active->preallocated = want;
}

/* Takes away what a failed write has left behind the written end: it was never shown to anyone. */
static int append_cut(struct hot_set *set, struct hot_segment *active, struct varve_error *err)
{
    int rc = set->io->ftruncate(set->io->ctx, active->fd, (int64_t)active->written.size);
    if (rc < 0)
        return base_fail_errno(err, rc, "truncate %s after a failed write", active->path);
    active->preallocated = active->written.size;
    set->cut_due = false;
    return 0;
}

static int append_reserve_list(struct hot_set *set, struct varve_error *err)
{
    int rc = 0;
    base_mutex_lock(&set->lock);
    if (set->count == set->capacity) {
        size_t capacity = set->capacity ? set->capacity * 2 : 16;
        struct hot_segment **grown = realloc(set->segments, capacity * sizeof(*grown));
        if (grown) {
            set->segments = grown;
            set->capacity = capacity;
        } else {
            rc = base_fail(err, VARVE_E_NO_MEMORY, "list of %zu segments", capacity);
        }
    }
    base_mutex_unlock(&set->lock);
    return rc;
}

/*
 * Closes the active segment and starts the next; set->append is held. In `fsync` mode all of the
 * old one is durable and visible first. On failure the old one stays the active one.
 */
static int append_roll(struct hot_set *set, struct varve_error *err)
{
    struct hot_segment *old = set->active;
    struct hot_segment *next;
    struct index_sparse_entry entry;
    bool fsync_mode = set->options.durability == HOT_DURABILITY_FSYNC;

    if (set->cut_due) {
        int rc = append_cut(set, old, err);
        if (rc < 0)
            return rc;
    }
    int rc = append_reserve_list(set, err);
    if (rc < 0)
        return rc;
    if (fsync_mode) {
        base_mutex_lock(&set->lock);
        rc = hot_commit_all_locked(set, err);
        base_mutex_unlock(&set->lock);
        if (rc < 0)
            return rc;
    }
    rc = hot_append_create_segment(set, old->written.end_offset, &next, err);
    if (rc < 0)
        return rc;

    base_mutex_lock(&old->lock);
    if (index_sparse_builder_finish(&old->builder, &entry) &&
        hot_sparse_add_locked(old, &entry, NULL) < 0)
        base_log(&set->env->logger, BASE_LOG_WARNING, "%s lacks its last entry", old->index_path);
    hot_sparse_seal_locked(old);
    base_mutex_unlock(&old->lock);
    /* Gives back what is allocated behind the end, also what a writer that was killed has left
     * there. I3: the size stays what it is. */
    set->io->ftruncate(set->io->ctx, old->fd, (int64_t)old->written.size);

    base_mutex_lock(&set->lock);
    old->sealed = true;
    old->synced = fsync_mode;
    next->listed = true;
    set->segments[set->count++] = next;
    set->active = next;
    hot_set_recount_locked(set);
    hot_publish_locked(set, HOT_WRITER_LIVE);
    base_mutex_unlock(&set->lock);
    atomic_fetch_add_explicit(&set->rolls, 1, memory_order_relaxed);
    return 0;
}

static int append_check(const struct hot_set *set, const struct hot_append *batches, size_t count,
                        uint64_t *ret_size, struct varve_error *err)
{
    if (set->options.read_only)
        return base_fail(err, VARVE_E_READ_ONLY, "%s is open for reading", set->dir);
    if (count == 0)
        return base_fail(err, VARVE_E_INVALID, "no batch to append");
    uint64_t size = 0;
    for (size_t i = 0; i < count; i++) {
        const struct hot_append *b = &batches[i];
        if (b->size < RECORD_BATCH_HEADER_SIZE || record_batch_size(b->data) != b->size ||
            b->record_count < 1)
            return base_fail(err, VARVE_E_INVALID, "batch %zu: %zu bytes are not one batch", i,
                             b->size);
        size += b->size;
        if (size > (uint64_t)set->segment_bytes)
            return base_fail(err, VARVE_E_TOO_LARGE, "%s of %llu bytes, a segment holds %lld",
                             count == 1 ? "a batch" : "batches to append at once",
                             (unsigned long long)size, (long long)set->segment_bytes);
    }
    *ret_size = size;
    return 0;
}

static int append_reserve(struct hot_set *set, struct hot_segment *active, size_t count,
                          struct varve_error *err)
{
    if (count > set->scratch_count) {
        size_t want = count < SCRATCH_COUNT_MIN ? SCRATCH_COUNT_MIN : count;
        uint8_t *headers = realloc(set->headers, want * RECORD_BATCH_HEADER_SIZE);
        if (headers)
            set->headers = headers;
        struct iovec *iov = realloc(set->iov, 2 * want * sizeof(*iov));
        if (iov)
            set->iov = iov;
        if (!headers || !iov)
            return base_fail(err, VARVE_E_NO_MEMORY, "gathering %zu batches", count);
        set->scratch_count = want;
    }
    /* Room for the entries now, so that nothing can fail once the batches are written. */
    base_mutex_lock(&active->lock);
    size_t size = active->index.size;
    bool room = base_buffer_extend(&active->index, (count + 1) * INDEX_SPARSE_ENTRY_SIZE) != NULL;
    active->index.size = size;
    active->index.failed = false;
    base_mutex_unlock(&active->lock);
    if (!room)
        return base_fail(err, VARVE_E_NO_MEMORY, "sparse index");
    return 0;
}

/* Gathers patched headers and the callers' bytes into one write at the written end. */
static int append_write(struct hot_set *set, struct hot_segment *active,
                        const struct hot_append *batches, size_t count, int32_t leader_epoch,
                        struct varve_error *err)
{
    int64_t offset = active->written.end_offset;
    for (size_t i = 0; i < count; i++) {
        uint8_t *header = set->headers + i * RECORD_BATCH_HEADER_SIZE;
        memcpy(header, batches[i].data, RECORD_BATCH_HEADER_SIZE);
        record_batch_assign(header, offset, leader_epoch);
        set->iov[2 * i] = (struct iovec){header, RECORD_BATCH_HEADER_SIZE};
        set->iov[2 * i + 1] =
            (struct iovec){(uint8_t *)(uintptr_t)batches[i].data + RECORD_BATCH_HEADER_SIZE,
                           batches[i].size - RECORD_BATCH_HEADER_SIZE};
        offset += batches[i].record_count;
    }
    return base_io_pwritev_full(set->io, active->fd, set->iov, (int)(2 * count),
                                (int64_t)active->written.size, active->path, err);
}

/* What the segment is once the batches are in it; adds their entries to the index. */
static struct hot_extent append_account(struct hot_segment *active,
                                        const struct hot_append *batches, size_t count, int64_t now)
{
    struct hot_extent e = active->written;
    struct index_sparse_entry entry;
    base_mutex_lock(&active->lock);
    for (size_t i = 0; i < count; i++) {
        const struct hot_append *b = &batches[i];
        int64_t end = e.end_offset + b->record_count;
        if (index_sparse_builder_add(&active->builder, e.end_offset, end, (uint32_t)e.size,
                                     (uint32_t)b->size, b->max_timestamp, &entry))
            hot_sparse_add_locked(active, &entry, NULL); /* the room was reserved */
        if (e.size == 0)
            e.first_timestamp = b->first_timestamp;
        if (b->max_timestamp > e.max_timestamp)
            e.max_timestamp = b->max_timestamp;
        e.size += b->size;
        e.end_offset = end;
    }
    hot_sparse_flush_locked(active, false);
    base_mutex_unlock(&active->lock);
    e.append_time = now;
    return e;
}

static bool append_roll_due(const struct hot_set *set, const struct hot_segment *active,
                            uint64_t size, int64_t now)
{
    if (active->written.size == 0)
        return false;
    if (active->written.size + size > (uint64_t)set->segment_bytes)
        return true;
    return set->segment_ms >= 0 && active->first_append_ms >= 0 &&
           now - active->first_append_ms >= set->segment_ms;
}

/* Everything up to the write, under set->append. *ret_rolled tells that a segment was sealed. */
static int append_place(struct hot_set *set, const struct hot_append *batches, size_t count,
                        uint64_t size, int32_t leader_epoch, int64_t now, bool *ret_rolled,
                        struct varve_error *err)
{
    base_mutex_lock(&set->lock);
    int rc = hot_commit_failure_locked(set, err);
    base_mutex_unlock(&set->lock);
    if (rc < 0)
        return rc;

    struct hot_segment *active = set->active;
    if (append_roll_due(set, active, size, now)) {
        rc = append_roll(set, err);
        if (rc < 0)
            return rc;
        *ret_rolled = true;
        active = set->active;
    }
    rc = append_reserve(set, active, count, err);
    if (rc == 0 && set->cut_due)
        rc = append_cut(set, active, err);
    if (rc < 0)
        return rc;
    append_preallocate(set, active, active->written.size + size);
    rc = append_write(set, active, batches, count, leader_epoch, err);
    if (rc < 0) {
        set->cut_due = true;
        append_cut(set, active, NULL); /* or before the next append */
        return rc;
    }
    return 0;
}

int hot_set_append(struct hot_set *set, const struct hot_append *batches, size_t count,
                   int32_t leader_epoch, int64_t *ret_base_offset, struct varve_error *err)
{
    uint64_t size = 0;
    bool rolled = false;
    int rc = append_check(set, batches, count, &size, err);
    if (rc < 0)
        return rc;

    base_mutex_lock(&set->append);
    int64_t now = wall_ms(set);
    rc = append_place(set, batches, count, size, leader_epoch, now, &rolled, err);
    if (rc < 0) {
        base_mutex_unlock(&set->append);
        return rc;
    }
    struct hot_segment *active = set->active;
    int64_t base_offset = active->written.end_offset;
    struct hot_extent extent = append_account(active, batches, count, now);
    if (active->first_append_ms < 0)
        active->first_append_ms = now;

    base_mutex_lock(&set->lock);
    active->written = extent;
    if (set->dirty_ms < 0)
        set->dirty_ms = now;
    uint64_t generation = set->generation;
    if (set->options.durability == HOT_DURABILITY_OS)
        hot_commit_show_locked(set, active, &extent);
    base_mutex_unlock(&set->append);
    if (set->options.durability == HOT_DURABILITY_FSYNC)
        rc = hot_commit_wait_locked(set, generation, err);
    hot_set_unlock(set);
    if (rc < 0)
        return rc;

    struct varve_error why;
    if (rolled && set->options.durability == HOT_DURABILITY_FSYNC &&
        hot_checkpoint_write(set, false, false, &why) < 0)
        base_log(&set->env->logger, BASE_LOG_WARNING, "%s", why.msg);
    *ret_base_offset = base_offset;
    return 0;
}

int hot_set_seal(struct hot_set *set, struct varve_error *err)
{
    if (set->options.read_only)
        return base_fail(err, VARVE_E_READ_ONLY, "%s is open for reading", set->dir);
    base_mutex_lock(&set->append);
    base_mutex_lock(&set->lock);
    int rc = hot_commit_failure_locked(set, err);
    base_mutex_unlock(&set->lock);
    bool sealed = false;
    if (rc == 0 && set->active->written.size > 0) {
        rc = append_roll(set, err);
        sealed = rc == 0;
    }
    base_mutex_unlock(&set->append);
    struct varve_error why;
    if (sealed && set->options.durability == HOT_DURABILITY_FSYNC &&
        hot_checkpoint_write(set, false, false, &why) < 0)
        base_log(&set->env->logger, BASE_LOG_WARNING, "%s", why.msg);
    return rc;
}
