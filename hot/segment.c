/*
 * Segments as their users see them: references, reading, what is known of them, checking.
 *
 * The set's list holds one reference to each segment. An evicted segment leaves the list and lives
 * on, open, until its last user is done. Sealed segments nobody uses are closed when too many are
 * open.
 */
#include "hot/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/text.h"
#include "hot/internal.h"

int hot_segment_new(struct hot_set *set, int64_t base_offset, struct hot_segment **ret,
                    struct varve_error *err)
{
    struct hot_segment *segment = calloc(1, sizeof(*segment));
    if (!segment)
        return base_fail(err, VARVE_E_NO_MEMORY, "segment");
    segment->set = set;
    segment->base_offset = base_offset;
    segment->refs = 1;
    segment->fd = -1;
    segment->index_fd = -1;
    segment->first_append_ms = -1;
    segment->visible = (struct hot_extent){
        .end_offset = base_offset, .first_timestamp = -1, .max_timestamp = -1, .append_time = -1};
    segment->written = segment->visible;
    base_buffer_init(&segment->index);
    base_mutex_init(&segment->lock);
    int rc = base_format(&segment->path, err, "%s/%020lld.log", set->dir, (long long)base_offset);
    if (rc == 0)
        rc = base_format(&segment->index_path, err, "%s/%020lld.index", set->dir,
                         (long long)base_offset);
    if (rc < 0) {
        free(segment->path);
        base_mutex_deinit(&segment->lock);
        free(segment);
        return rc;
    }
    *ret = segment;
    return 0;
}

static void segment_close_file(struct hot_segment *segment)
{
    struct hot_set *set = segment->set;
    if (segment->fd >= 0) {
        set->io->close(set->io->ctx, segment->fd);
        set->open_count--;
    }
    segment->fd = -1;
}

/* Nobody else knows the segment any more. */
static void segment_free(struct hot_segment *segment)
{
    const struct base_io *io = segment->set->io;
    hot_sparse_release_locked(segment);
    if (segment->fd >= 0)
        io->close(io->ctx, segment->fd);
    base_buffer_deinit(&segment->index);
    base_mutex_deinit(&segment->lock);
    free(segment->path);
    free(segment->index_path);
    free(segment);
}

void hot_set_unlock(struct hot_set *set)
{
    struct hot_segment *dead = set->dead;
    set->dead = NULL;
    base_mutex_unlock(&set->lock);
    while (dead) {
        struct hot_segment *next = dead->next_dead;
        segment_free(dead);
        dead = next;
    }
}

void hot_segment_unref_locked(struct hot_segment *segment)
{
    struct hot_set *set = segment->set;
    segment->refs--;
    /* A reference does not say whether it pins; pins never outlive the users. */
    unsigned users = segment->refs - (segment->listed ? 1 : 0);
    if (segment->pins > users)
        segment->pins = users;
    if (segment->refs == 0) {
        if (segment->fd >= 0)
            set->open_count--;
        segment->next_dead = set->dead;
        set->dead = segment;
        return;
    }
    /* With the list's reference alone nobody is inside, and who comes now waits for set->lock. What
     * is not synced yet keeps its descriptor: it is the one that a write error is reported on. */
    if (segment->refs == 1 && segment->listed && segment->sealed &&
        (segment->synced || set->options.read_only) && set->open_count > HOT_IDLE_SEGMENTS_MAX) {
        segment_close_file(segment);
        if (segment->index.size == 0)
            hot_sparse_release_locked(segment);
    }
}

struct hot_segment *hot_segment_unref(struct hot_segment *segment)
{
    if (segment) {
        struct hot_set *set = segment->set;
        base_mutex_lock(&set->lock);
        hot_segment_unref_locked(segment);
        hot_set_unlock(set);
    }
    return NULL;
}

int hot_segment_open(struct hot_segment *segment, struct varve_error *err)
{
    struct hot_set *set = segment->set;
    base_mutex_lock(&segment->lock);
    int rc = 0;
    if (segment->fd < 0) {
        int fd = set->io->open(set->io->ctx, segment->path,
                               set->options.read_only ? O_RDONLY : O_RDWR, 0);
        if (fd < 0) {
            rc = base_fail_errno(err, fd, "open %s", segment->path);
        } else {
            segment->fd = fd;
            base_mutex_lock(&set->lock);
            set->open_count++;
            base_mutex_unlock(&set->lock);
        }
    }
    base_mutex_unlock(&segment->lock);
    return rc;
}

/* The last segment whose base is <= `offset`. */
struct hot_segment *hot_segment_lookup_locked(struct hot_set *set, int64_t offset)
{
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (set->segments[mid]->base_offset <= offset)
            low = mid + 1;
        else
            high = mid;
    }
    return low == 0 ? NULL : set->segments[low - 1];
}

static int segment_take_locked(struct hot_set *set, int64_t offset, struct hot_segment **ret,
                               struct varve_error *err)
{
    struct hot_segment *segment = hot_segment_lookup_locked(set, offset);
    if (!segment)
        return base_fail(err, VARVE_E_OUT_OF_RANGE, "offset %lld lies below the hot floor %lld",
                         (long long)offset,
                         set->count ? (long long)set->segments[0]->base_offset : -1LL);
    int64_t end = segment->visible.end_offset;
    if (offset > end || (offset == end && segment->sealed))
        return base_fail(err, VARVE_E_OUT_OF_RANGE, "offset %lld lies above the end %lld",
                         (long long)offset, (long long)end);
    segment->refs++;
    *ret = segment;
    return 0;
}

int hot_segment_find(struct hot_set *set, int64_t offset, bool pin, struct hot_segment **ret,
                     struct varve_error *err)
{
    struct hot_segment *segment = NULL;
    base_mutex_lock(&set->lock);
    int rc = segment_take_locked(set, offset, &segment, err);
    if (rc == 0 && pin)
        segment->pins++;
    base_mutex_unlock(&set->lock);
    if (rc < 0)
        return rc;

    rc = hot_segment_open(segment, err);
    if (rc < 0) {
        base_mutex_lock(&set->lock);
        if (pin)
            segment->pins--;
        hot_segment_unref_locked(segment);
        hot_set_unlock(set);
        if (rc == VARVE_E_NOT_FOUND) /* evicted meanwhile, perhaps by another process */
            return base_fail(err, VARVE_E_OUT_OF_RANGE, "offset %lld was evicted",
                             (long long)offset);
        return rc;
    }
    *ret = segment;
    return 0;
}

const char *hot_segment_path(const struct hot_segment *segment)
{
    return segment->path;
}

const char *hot_segment_index_path(const struct hot_segment *segment)
{
    return segment->index_path;
}

void hot_segment_extent(struct hot_segment *segment, struct hot_segment_info *ret)
{
    struct hot_set *set = segment->set;
    base_mutex_lock(&set->lock);
    *ret = (struct hot_segment_info){
        .base_offset = segment->base_offset,
        .end_offset = segment->visible.end_offset,
        .first_timestamp = -1,
        .max_timestamp = -1,
        .append_time = segment->visible.append_time,
        .size = segment->visible.size,
        .sealed = segment->sealed,
    };
    base_mutex_unlock(&set->lock);
}

/* Reads what the list does not know of a segment that another life or process has written. */
static int segment_stamps(struct hot_segment *segment, uint64_t size, int64_t *ret_first,
                          int64_t *ret_max, struct varve_error *err)
{
    const struct base_io *io = segment->set->io;
    struct record_batch batch;
    const void *data;
    int64_t first = -1, max = -1, offset;
    uint64_t pos;
    struct hot_scan scan;

    int rc = hot_sparse_max_timestamp(segment, &max, err);
    if (rc == 0)
        rc = hot_sparse_end(segment, &pos, &offset, err);
    if (rc < 0)
        return rc;
    rc = hot_scan_init(&scan, io, err);
    if (rc < 0)
        return rc;
    hot_scan_start(&scan, segment->fd, segment->path, 0, segment->base_offset, size);
    rc = hot_scan_next(&scan, &data, &batch, err);
    if (rc == 0) {
        first = batch.base_timestamp;
        if (pos > size) { /* entries of a tail that is not visible */
            pos = 0;
            offset = segment->base_offset;
            max = -1;
        }
        hot_scan_start(&scan, segment->fd, segment->path, pos, offset, size);
        while ((rc = hot_scan_next(&scan, &data, &batch, err)) == 0) {
            if (batch.max_timestamp > max)
                max = batch.max_timestamp;
        }
    }
    hot_scan_deinit(&scan);
    if (rc != VARVE_E_END)
        return rc;
    *ret_first = first;
    *ret_max = max;
    return 0;
}

int hot_segment_info(struct hot_segment *segment, struct hot_segment_info *ret,
                     struct varve_error *err)
{
    struct hot_set *set = segment->set;
    base_mutex_lock(&set->lock);
    struct hot_extent visible = segment->visible;
    bool sealed = segment->sealed;
    bool known = segment->stamps_known;
    base_mutex_unlock(&set->lock);

    if (!known && visible.size > 0) {
        int rc = segment_stamps(segment, visible.size, &visible.first_timestamp,
                                &visible.max_timestamp, err);
        if (rc < 0)
            return rc;
        if (sealed) {
            base_mutex_lock(&set->lock);
            segment->visible.first_timestamp = visible.first_timestamp;
            segment->visible.max_timestamp = visible.max_timestamp;
            segment->stamps_known = true;
            base_mutex_unlock(&set->lock);
        }
    }
    *ret = (struct hot_segment_info){
        .base_offset = segment->base_offset,
        .end_offset = visible.end_offset,
        .first_timestamp = visible.size ? visible.first_timestamp : -1,
        .max_timestamp = visible.size ? visible.max_timestamp : -1,
        .append_time = visible.append_time,
        .size = visible.size,
        .sealed = sealed,
    };
    return 0;
}

int hot_segment_read(struct hot_segment *segment, void *buf, size_t size, uint64_t pos,
                     size_t *ret_size, struct varve_error *err)
{
    struct hot_set *set = segment->set;
    base_mutex_lock(&set->lock);
    uint64_t visible = segment->visible.size;
    base_mutex_unlock(&set->lock);
    if (pos >= visible) {
        *ret_size = 0;
        return 0;
    }
    if (size > visible - pos)
        size = (size_t)(visible - pos);
    size_t got;
    int rc =
        base_io_pread_some(set->io, segment->fd, buf, size, (int64_t)pos, &got, segment->path, err);
    if (rc < 0)
        return rc;
    if (got < size)
        return base_fail(err, VARVE_E_CORRUPT, "%s: the file ends at %llu, inside its batches",
                         segment->path, (unsigned long long)(pos + got));
    *ret_size = got;
    return 0;
}

void hot_segment_forget(struct hot_segment *segment, uint64_t pos, uint64_t size)
{
    const struct base_io *io = segment->set->io;
    io->fadvise(io->ctx, segment->fd, (int64_t)pos, (int64_t)size, POSIX_FADV_DONTNEED);
}

/* Holds the index's entries against the batches that it describes, as they come. */
struct verify {
    size_t next; /* entry */
    bool have;
    struct index_sparse_entry entry;
    int64_t max_timestamp;
};

static int verify_batch(struct hot_segment *segment, struct verify *v, uint64_t pos,
                        const struct record_batch *batch, struct varve_error *err)
{
    if (!v->have) {
        int rc = hot_sparse_get(segment, v->next, &v->entry, err);
        if (rc == VARVE_E_NOT_FOUND)
            return 0; /* behind the last entry */
        if (rc < 0)
            return rc;
        v->next++;
        v->have = true;
        v->max_timestamp = -1;
        if (v->entry.pos != pos || v->entry.first_offset != batch->base_offset)
            return base_fail(err, VARVE_E_CORRUPT,
                             "%s: entry %zu says offset %lld at position %u, but %lld lies at %llu",
                             segment->index_path, v->next - 1, (long long)v->entry.first_offset,
                             v->entry.pos, (long long)batch->base_offset, (unsigned long long)pos);
    }
    if (batch->max_timestamp > v->max_timestamp)
        v->max_timestamp = batch->max_timestamp;
    uint64_t end = (uint64_t)v->entry.pos + v->entry.size;
    if (pos + batch->size < end)
        return 0;
    v->have = false;
    if (pos + batch->size != end || v->entry.end_offset != batch->last_offset + 1 ||
        v->entry.max_timestamp != v->max_timestamp)
        return base_fail(err, VARVE_E_CORRUPT,
                         "%s: entry %zu does not describe the batches up to position %llu",
                         segment->index_path, v->next - 1, (unsigned long long)(pos + batch->size));
    return 0;
}

int hot_segment_verify(struct hot_segment *segment, struct varve_error *err)
{
    struct hot_set *set = segment->set;
    struct verify v = {0};
    struct record_batch batch;
    const void *data;
    struct hot_scan scan;

    base_mutex_lock(&set->lock);
    struct hot_extent visible = segment->visible;
    bool sealed = segment->sealed;
    base_mutex_unlock(&set->lock);
    int rc = hot_scan_init(&scan, set->io, err);
    if (rc < 0)
        return rc;
    hot_scan_start(&scan, segment->fd, segment->path, 0, segment->base_offset, visible.size);
    for (;;) {
        uint64_t pos = scan.pos;
        rc = hot_scan_next(&scan, &data, &batch, err);
        if (rc < 0)
            break;
        rc = verify_batch(segment, &v, pos, &batch, err);
        if (rc < 0)
            break;
    }
    int64_t end = scan.offset;
    hot_scan_deinit(&scan);
    if (rc != VARVE_E_END)
        return rc;
    if (sealed && end != visible.end_offset)
        return base_fail(err, VARVE_E_CORRUPT, "%s ends at offset %lld where %lld comes next",
                         segment->path, (long long)end, (long long)visible.end_offset);
    return 0;
}

int hot_segment_search(struct hot_segment *segment, uint64_t pos, uint64_t size, int64_t offset,
                       struct record_batch *ret, struct varve_error *err)
{
    struct hot_scan scan;
    int rc = hot_scan_init(&scan, segment->set->io, err);
    if (rc < 0)
        return rc;
    hot_scan_start(&scan, segment->fd, segment->path, pos, offset, size);
    rc = hot_scan_search(&scan, ret, err);
    hot_scan_deinit(&scan);
    return rc;
}

int hot_segment_epoch(struct hot_segment *segment, int64_t *ret, struct varve_error *err)
{
    struct hot_set *set = segment->set;
    struct record_batch batch;
    base_mutex_lock(&set->lock);
    uint64_t size = segment->visible.size;
    base_mutex_unlock(&set->lock);
    int rc = hot_segment_open(segment, err);
    if (rc == 0)
        rc = hot_segment_search(segment, 0, size, segment->base_offset, &batch, err);
    if (rc == 0)
        *ret = batch.leader_epoch;
    return rc;
}

/* The index as its file holds it, also while the truth is still in memory. */
static int check_index_file(struct hot_segment *segment, struct varve_error *err)
{
    struct index_sparse view;
    void *data = NULL;
    size_t size = 0;
    int rc = base_file_read(segment->set->io, segment->index_path, HOT_INDEX_FILE_MAX, &data, &size,
                            err);
    if (rc == VARVE_E_NOT_FOUND) /* a cache: without it there is nothing wrong to read */
        return 0;
    if (rc == 0)
        rc = hot_sparse_parse(segment, data, size, &view, err);
    if (rc == 0)
        rc = index_sparse_check(&view, err);
    free(data);
    return rc < 0 ? base_error_context(err, rc, "%s", segment->index_path) : 0;
}

int hot_segment_check_index(struct hot_segment *segment, struct varve_error *err)
{
    int rc = check_index_file(segment, err);
    if (rc != VARVE_E_CORRUPT || segment->set->options.read_only)
        return rc;
    base_mutex_lock(&segment->lock);
    bool live = segment->index_live;
    if (live)
        hot_sparse_rewrite_locked(segment, false, NULL);
    base_mutex_unlock(&segment->lock);
    if (!live)
        hot_sparse_rebuild(segment, NULL);
    return rc;
}
