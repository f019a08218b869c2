/*
 * The sparse index beside a segment. For the active segment of a writer the entries in memory are
 * the truth and the file is a copy, written in chunks and never synced but by recovery; for sealed
 * segments the file is mapped. It is a cache: whatever is wrong with it is answered by building it
 * again from the batches. The file is replaced by rename and never shrunk, since others map it.
 */
#include "hot/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/error.h"

static void sparse_unmap_locked(struct hot_segment *segment)
{
    const struct base_io *io = segment->set->io;
    if (segment->map)
        io->munmap(io->ctx, segment->map, segment->map_size);
    segment->map = NULL;
    segment->map_size = 0;
}

static void sparse_close_file_locked(struct hot_segment *segment)
{
    const struct base_io *io = segment->set->io;
    if (segment->index_fd >= 0)
        io->close(io->ctx, segment->index_fd);
    segment->index_fd = -1;
}

static int sparse_header(struct hot_segment *segment, struct varve_error *err)
{
    uint8_t header[INDEX_SPARSE_HEADER_SIZE];
    index_sparse_header_encode(segment->base_offset, header);
    base_buffer_clear(&segment->index);
    base_buffer_add(&segment->index, header, sizeof(header));
    if (segment->index.failed)
        return base_fail(err, VARVE_E_NO_MEMORY, "sparse index");
    return 0;
}

int hot_sparse_create_locked(struct hot_segment *segment, struct varve_error *err)
{
    const struct base_io *io = segment->set->io;
    int rc = sparse_header(segment, err);
    if (rc < 0)
        return rc;
    segment->index_live = true;
    segment->index_flushed = 0;
    sparse_close_file_locked(segment);
    io->unlink(io->ctx, segment->index_path); /* a leftover: not shrunk, replaced */
    int fd = io->open(io->ctx, segment->index_path, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0)
        base_log(&segment->set->env->logger, BASE_LOG_WARNING,
                 "%s cannot be made (errno %d); it will be rebuilt", segment->index_path, -fd);
    segment->index_fd = fd < 0 ? -1 : fd;
    hot_sparse_flush_locked(segment, true); /* the header, so that readers find an index */
    return 0;
}

/* An index of another version is of no use here: made again, as a damaged one is. */
int hot_sparse_parse(const struct hot_segment *segment, const void *data, size_t size,
                     struct index_sparse *ret, struct varve_error *err)
{
    struct varve_error why;
    int rc = index_sparse_init(ret, data, size, segment->base_offset, &why);
    if (rc == VARVE_E_VERSION)
        return base_fail(err, VARVE_E_CORRUPT, "%s", why.msg);
    if (rc < 0 && err)
        *err = why;
    return rc;
}

/*
 * Takes over the entries of the file that describe nothing above `good_size`; the position behind
 * them is where scanning goes on. VARVE_E_CORRUPT or VARVE_E_NOT_FOUND: there was no usable index,
 * and an empty one is set up; VARVE_E_NO_MEMORY and VARVE_E_IO are failures.
 */
int hot_sparse_adopt_locked(struct hot_segment *segment, uint64_t good_size, uint64_t *ret_pos,
                            int64_t *ret_offset, struct varve_error *err)
{
    struct index_sparse view;
    void *data = NULL;
    size_t size = 0;
    int rc = base_file_read(segment->set->io, segment->index_path, HOT_INDEX_FILE_MAX, &data, &size,
                            err);
    if (rc == 0)
        rc = hot_sparse_parse(segment, data, size, &view, err);
    if (rc == 0)
        rc = index_sparse_check(&view, err);
    int header = sparse_header(segment, rc == 0 ? err : NULL);
    if (header < 0) {
        free(data);
        return rc < 0 ? rc : header;
    }
    segment->index_live = true;
    segment->index_flushed = 0;
    *ret_pos = 0;
    *ret_offset = segment->base_offset;
    if (rc == 0) {
        size_t keep = 0;
        struct index_sparse_entry entry;
        while (keep < view.count && index_sparse_get(&view, keep, &entry, NULL) == 0 &&
               (uint64_t)entry.pos + entry.size <= good_size) {
            *ret_pos = (uint64_t)entry.pos + entry.size;
            *ret_offset = entry.end_offset;
            keep++;
        }
        base_buffer_add(&segment->index, view.entries, keep * INDEX_SPARSE_ENTRY_SIZE);
        if (segment->index.failed)
            rc = base_fail(err, VARVE_E_NO_MEMORY, "sparse index");
    }
    free(data);
    return rc;
}

int hot_sparse_add_locked(struct hot_segment *segment, const struct index_sparse_entry *entry,
                          struct varve_error *err)
{
    uint8_t buf[INDEX_SPARSE_ENTRY_SIZE];
    index_sparse_entry_encode(segment->base_offset, entry, buf);
    base_buffer_add(&segment->index, buf, sizeof(buf));
    if (segment->index.failed)
        return base_fail(err, VARVE_E_NO_MEMORY, "sparse index");
    return 0;
}

void hot_sparse_flush_locked(struct hot_segment *segment, bool all)
{
    size_t left = segment->index.size - segment->index_flushed;
    if (segment->index_fd < 0 || left == 0 || (!all && left < HOT_INDEX_CHUNK_BYTES))
        return;
    struct varve_error err;
    int rc = base_io_pwrite_full(segment->set->io, segment->index_fd,
                                 segment->index.data + segment->index_flushed, left,
                                 (int64_t)segment->index_flushed, segment->index_path, &err);
    if (rc < 0) {
        base_log(&segment->set->env->logger, BASE_LOG_WARNING, "%s; it will be rebuilt", err.msg);
        sparse_close_file_locked(segment);
        return;
    }
    segment->index_flushed = segment->index.size;
}

int hot_sparse_rewrite_locked(struct hot_segment *segment, bool durable, struct varve_error *err)
{
    const struct base_io *io = segment->set->io;
    sparse_close_file_locked(segment);
    int rc = base_file_replace(io, segment->index_path, segment->index.data, segment->index.size,
                               durable, err);
    if (rc < 0)
        return rc;
    segment->index_flushed = segment->index.size;
    if (segment->index_live) {
        int fd = io->open(io->ctx, segment->index_path, O_WRONLY, 0);
        segment->index_fd = fd < 0 ? -1 : fd; /* without one entries stay in memory only */
    }
    return 0;
}

void hot_sparse_seal_locked(struct hot_segment *segment)
{
    hot_sparse_flush_locked(segment, true);
    if (segment->index_flushed < segment->index.size && segment->index.size > 0 &&
        hot_sparse_rewrite_locked(segment, false, NULL) < 0)
        return; /* kept in memory; the next opening builds it again */
    sparse_close_file_locked(segment);
    segment->index_live = false;
    base_buffer_deinit(&segment->index);
    base_buffer_init(&segment->index);
    segment->index_flushed = 0;
}

void hot_sparse_release_locked(struct hot_segment *segment)
{
    sparse_unmap_locked(segment);
    sparse_close_file_locked(segment);
    base_buffer_deinit(&segment->index);
    base_buffer_init(&segment->index);
    segment->index_live = false;
    segment->index_flushed = 0;
}

/* Maps the file, again when it has grown since. */
static int sparse_map_locked(struct hot_segment *segment, struct varve_error *err)
{
    const struct base_io *io = segment->set->io;
    struct stat st;
    int fd = io->open(io->ctx, segment->index_path, O_RDONLY, 0);
    if (fd == -ENOENT)
        return base_fail(err, VARVE_E_CORRUPT, "%s is missing", segment->index_path);
    if (fd < 0)
        return base_fail_errno(err, fd, "open %s", segment->index_path);
    void *map = NULL;
    int rc = io->fstat(io->ctx, fd, &st);
    size_t size = rc < 0 ? 0 : (size_t)st.st_size;
    if (rc < 0)
        rc = base_fail_errno(err, rc, "stat %s", segment->index_path);
    else if (size < INDEX_SPARSE_HEADER_SIZE)
        rc = base_fail(err, VARVE_E_CORRUPT, "%s has %zu bytes", segment->index_path, size);
    else if (!segment->map || size > segment->map_size) {
        rc = io->mmap(io->ctx, fd, size, false, &map);
        if (rc < 0)
            rc = base_fail_errno(err, rc, "map %s", segment->index_path);
    }
    io->close(io->ctx, fd);
    if (rc < 0 || !map)
        return rc;
    sparse_unmap_locked(segment);
    segment->map = map;
    segment->map_size = size;
    return 0;
}

static int sparse_view_locked(struct hot_segment *segment, struct index_sparse *ret,
                              struct varve_error *err)
{
    const void *data = segment->index.data;
    size_t size = segment->index.size;
    if (size == 0) {
        if (!segment->map) {
            int mapped = sparse_map_locked(segment, err);
            if (mapped < 0)
                return mapped;
        }
        data = segment->map;
        size = segment->map_size;
    }
    int rc = hot_sparse_parse(segment, data, size, ret, err);
    return rc < 0 ? base_error_context(err, rc, "%s", segment->index_path) : 0;
}

static int sparse_build(struct hot_segment *segment, uint64_t size, struct base_buffer *out,
                        struct varve_error *err)
{
    struct hot_set *set = segment->set;
    struct index_sparse_builder builder;
    struct index_sparse_entry entry;
    struct record_batch batch;
    const void *data;
    uint8_t buf[INDEX_SPARSE_HEADER_SIZE > INDEX_SPARSE_ENTRY_SIZE ? INDEX_SPARSE_HEADER_SIZE
                                                                   : INDEX_SPARSE_ENTRY_SIZE];
    struct hot_scan scan;
    int rc = hot_scan_init(&scan, set->io, err);
    if (rc < 0)
        return rc;
    index_sparse_header_encode(segment->base_offset, buf);
    base_buffer_add(out, buf, INDEX_SPARSE_HEADER_SIZE);
    index_sparse_builder_init(&builder, segment->base_offset,
                              (uint32_t)set->options.index_interval_bytes);
    hot_scan_start(&scan, segment->fd, segment->path, 0, segment->base_offset, size);
    for (;;) {
        uint64_t pos = scan.pos;
        rc = hot_scan_next(&scan, &data, &batch, err);
        if (rc < 0)
            break;
        if (index_sparse_builder_add(&builder, batch.base_offset, batch.last_offset + 1,
                                     (uint32_t)pos, batch.size, batch.max_timestamp, &entry)) {
            index_sparse_entry_encode(segment->base_offset, &entry, buf);
            base_buffer_add(out, buf, INDEX_SPARSE_ENTRY_SIZE);
        }
    }
    hot_scan_deinit(&scan);
    if (rc != VARVE_E_END)
        return rc;
    if (index_sparse_builder_finish(&builder, &entry)) {
        index_sparse_entry_encode(segment->base_offset, &entry, buf);
        base_buffer_add(out, buf, INDEX_SPARSE_ENTRY_SIZE);
    }
    if (out->failed)
        return base_fail(err, VARVE_E_NO_MEMORY, "sparse index");
    return 0;
}

int hot_sparse_rebuild(struct hot_segment *segment, struct varve_error *err)
{
    struct hot_set *set = segment->set;
    struct base_buffer fresh;
    int rc = hot_segment_open(segment, err);
    if (rc < 0)
        return rc;

    base_mutex_lock(&set->lock);
    uint64_t size = segment->visible.size;
    base_mutex_unlock(&set->lock);

    base_mutex_lock(&segment->lock);
    if (segment->index_live) { /* built by ourselves, checked when it was taken over */
        base_mutex_unlock(&segment->lock);
        return base_fail(err, VARVE_E_CORRUPT, "%s is damaged in memory", segment->index_path);
    }
    base_buffer_init(&fresh);
    rc = sparse_build(segment, size, &fresh, err);
    if (rc < 0) {
        base_buffer_deinit(&fresh);
        base_mutex_unlock(&segment->lock);
        return base_error_context(err, rc, "rebuild %s", segment->index_path);
    }
    hot_sparse_release_locked(segment);
    base_buffer_deinit(&segment->index);
    segment->index = fresh;
    if (!set->options.read_only && hot_sparse_rewrite_locked(segment, false, NULL) == 0) {
        base_buffer_deinit(&segment->index);
        base_buffer_init(&segment->index); /* mapped when used */
        segment->index_flushed = 0;
    }
    base_mutex_unlock(&segment->lock);
    atomic_fetch_add_explicit(&set->indexes_rebuilt, 1, memory_order_relaxed);
    return 0;
}

/* What is asked of an index; one shape, so that repair lies in one place. */
struct sparse_query {
    int (*run)(struct sparse_query *q, const struct index_sparse *view, struct varve_error *err);
    int64_t offset;
    int64_t timestamp;
    size_t i;
    struct index_sparse_entry entry;
    uint32_t pos;
    int64_t pos_offset;
};

/* Evicted while we hold it, perhaps by another process: the segment's name goes before its index's.
 */
static bool sparse_is_evicted(struct hot_segment *segment)
{
    const struct base_io *io = segment->set->io;
    struct stat st;

    return io->stat(io->ctx, segment->path, &st) == -ENOENT;
}

static int sparse_ask(struct hot_segment *segment, struct sparse_query *q, struct varve_error *err)
{
    for (int tries = 0;; tries++) {
        struct index_sparse view;
        struct varve_error why = {0};
        base_mutex_lock(&segment->lock);
        int rc = sparse_view_locked(segment, &view, &why);
        if (rc == 0)
            rc = q->run(q, &view, &why);
        base_mutex_unlock(&segment->lock);
        if (rc != VARVE_E_CORRUPT || tries > 0) {
            if (rc < 0 && err)
                *err = why;
            return rc;
        }
        base_log(&segment->set->env->logger,
                 sparse_is_evicted(segment) ? BASE_LOG_DEBUG : BASE_LOG_WARNING,
                 "%s: %s; rebuilt from %s", segment->index_path, why.msg, segment->path);
        rc = hot_sparse_rebuild(segment, err);
        if (rc < 0)
            return rc;
    }
}

static int query_end(struct sparse_query *q, const struct index_sparse *view,
                     struct varve_error *err)
{
    return index_sparse_end_pos(view, &q->pos, &q->pos_offset, err);
}

static int query_locate(struct sparse_query *q, const struct index_sparse *view,
                        struct varve_error *err)
{
    int rc = index_sparse_find_offset(view, q->offset, &q->i, &q->entry, err);
    if (rc == VARVE_E_NOT_FOUND)
        return query_end(q, view, err);
    if (rc < 0)
        return rc;
    q->pos = q->entry.pos;
    q->pos_offset = q->entry.first_offset;
    return 0;
}

static int query_time(struct sparse_query *q, const struct index_sparse *view,
                      struct varve_error *err)
{
    return index_sparse_find_time(view, q->i, q->timestamp, q->offset, &q->i, &q->entry, err);
}

static int query_get(struct sparse_query *q, const struct index_sparse *view,
                     struct varve_error *err)
{
    if (q->i >= view->count)
        return base_fail(err, VARVE_E_NOT_FOUND, "entry %zu of %zu", q->i, view->count);
    return index_sparse_get(view, q->i, &q->entry, err);
}

static int query_max(struct sparse_query *q, const struct index_sparse *view,
                     struct varve_error *err)
{
    q->timestamp = -1;
    for (size_t i = 0; i < view->count; i++) {
        int rc = index_sparse_get(view, i, &q->entry, err);
        if (rc < 0)
            return rc;
        if (q->entry.max_timestamp > q->timestamp)
            q->timestamp = q->entry.max_timestamp;
    }
    return 0;
}

int hot_segment_locate(struct hot_segment *segment, int64_t offset, uint64_t *ret_pos,
                       int64_t *ret_offset, struct varve_error *err)
{
    struct hot_set *set = segment->set;
    base_mutex_lock(&set->lock);
    uint64_t size = segment->visible.size;
    bool growing = set->options.read_only && !segment->sealed;
    base_mutex_unlock(&set->lock);

    struct sparse_query q = {.run = query_locate, .offset = offset};
    int rc = sparse_ask(segment, &q, err);
    if (rc == 0 && growing && size - q.pos >= HOT_INDEX_CHUNK_BYTES * 2 * 128) {
        /* Far behind the last entry that we have mapped: the writer has added some meanwhile. */
        base_mutex_lock(&segment->lock);
        if (segment->index.size == 0)
            sparse_map_locked(segment, NULL);
        base_mutex_unlock(&segment->lock);
        rc = sparse_ask(segment, &q, err);
    }
    if (rc < 0)
        return rc;
    if (q.pos > size) { /* entries of a tail that is not visible (yet, or any more) */
        q.pos = 0;
        q.pos_offset = segment->base_offset;
    }
    *ret_pos = q.pos;
    *ret_offset = q.pos_offset;
    return 0;
}

int hot_sparse_end(struct hot_segment *segment, uint64_t *ret_pos, int64_t *ret_offset,
                   struct varve_error *err)
{
    struct sparse_query q = {.run = query_end};
    int rc = sparse_ask(segment, &q, err);
    if (rc < 0)
        return rc;
    *ret_pos = q.pos;
    *ret_offset = q.pos_offset;
    return 0;
}

int hot_sparse_find_time(struct hot_segment *segment, size_t from, int64_t timestamp,
                         int64_t min_offset, size_t *ret_i, struct index_sparse_entry *ret,
                         struct varve_error *err)
{
    struct sparse_query q = {
        .run = query_time, .i = from, .timestamp = timestamp, .offset = min_offset};
    int rc = sparse_ask(segment, &q, err);
    if (rc < 0)
        return rc;
    *ret_i = q.i;
    *ret = q.entry;
    return 0;
}

int hot_sparse_get(struct hot_segment *segment, size_t i, struct index_sparse_entry *ret,
                   struct varve_error *err)
{
    struct sparse_query q = {.run = query_get, .i = i};
    int rc = sparse_ask(segment, &q, err);
    if (rc == 0)
        *ret = q.entry;
    return rc;
}

int hot_sparse_max_timestamp(struct hot_segment *segment, int64_t *ret, struct varve_error *err)
{
    struct sparse_query q = {.run = query_max};
    int rc = sparse_ask(segment, &q, err);
    if (rc == 0)
        *ret = q.timestamp;
    return rc;
}
