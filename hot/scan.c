/* Walks the batches of a segment file through one buffer, checking each. */
#include "hot/internal.h"
#include "hot/reader.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

int hot_scan_init(struct hot_scan *scan, const struct base_io *io, struct varve_error *err)
{
    *scan = (struct hot_scan){.io = io, .fd = -1, .capacity = HOT_READER_BUFFER_BYTES};
    scan->buf = malloc(scan->capacity);
    if (!scan->buf)
        return base_fail(err, VARVE_E_NO_MEMORY, "buffer of %zu bytes", scan->capacity);
    return 0;
}

void hot_scan_deinit(struct hot_scan *scan)
{
    free(scan->buf);
    scan->buf = NULL;
}

void hot_scan_start(struct hot_scan *scan, int fd, const char *path, uint64_t pos, int64_t offset,
                    uint64_t limit)
{
    scan->fd = fd;
    scan->path = path;
    scan->pos = pos;
    scan->offset = offset;
    scan->limit = limit;
    scan->buf_pos = pos;
    scan->buf_size = 0;
}

/* Makes `need` bytes from `pos` on lie in the buffer; the caller made sure that `limit` allows it.
 */
static int scan_fill(struct hot_scan *scan, size_t need, struct varve_error *err)
{
    size_t skip = (size_t)(scan->pos - scan->buf_pos);
    size_t have = scan->buf_size - skip;
    if (have >= need)
        return 0;

    if (have > 0 && skip > 0)
        memmove(scan->buf, scan->buf + skip, have);
    scan->buf_pos = scan->pos;
    scan->buf_size = have;

    if (need > scan->capacity) {
        uint8_t *grown = realloc(scan->buf, need);
        if (!grown)
            return base_fail(err, VARVE_E_NO_MEMORY, "batch of %zu bytes", need);
        scan->buf = grown;
        scan->capacity = need;
    }

    uint64_t left = scan->limit - scan->pos - have;
    size_t end = scan->capacity;
    /* A producer's batches tend to be of one size: a read that ends where one of them ends leaves
     * no piece of the next to be moved to the front. */
    if (scan->batch_size > 0 && scan->batch_size <= scan->capacity)
        end = scan->capacity / scan->batch_size * scan->batch_size;
    if (end < need)
        end = scan->capacity;
    size_t want = end - have;
    if (want > left)
        want = (size_t)left;
    size_t got;
    int rc = base_io_pread_some(scan->io, scan->fd, scan->buf + have, want,
                                (int64_t)(scan->pos + have), &got, scan->path, err);
    if (rc < 0)
        return rc;
    scan->buf_size += got;
    if (scan->buf_size < need)
        return base_fail(err, VARVE_E_CORRUPT, "%s: position %llu: the file ends inside a batch",
                         scan->path, (unsigned long long)scan->pos);
    return 0;
}

int hot_scan_next(struct hot_scan *scan, const void **ret_data, struct record_batch *ret,
                  struct varve_error *err)
{
    uint64_t left = scan->limit - scan->pos;
    if (left == 0)
        return base_fail(err, VARVE_E_END, "%s: no more batches", scan->path);
    if (left < RECORD_BATCH_PREFIX_SIZE)
        return base_fail(err, VARVE_E_CORRUPT, "%s: position %llu: %llu bytes are no batch",
                         scan->path, (unsigned long long)scan->pos, (unsigned long long)left);
    int rc = scan_fill(scan, RECORD_BATCH_PREFIX_SIZE, err);
    if (rc < 0)
        return rc;

    size_t size = record_batch_size(scan->buf + (scan->pos - scan->buf_pos));
    if (size < RECORD_BATCH_HEADER_SIZE || size > left)
        return base_fail(err, VARVE_E_CORRUPT,
                         "%s: position %llu: a batch of %zu bytes where %llu are left", scan->path,
                         (unsigned long long)scan->pos, size, (unsigned long long)left);
    rc = scan_fill(scan, size, err);
    if (rc < 0)
        return rc;

    const uint8_t *data = scan->buf + (scan->pos - scan->buf_pos);
    struct record_batch batch;
    rc = record_batch_check(data, size, &batch, err); /* I9 */
    if (rc < 0)
        return base_error_context(err, rc, "%s: position %llu", scan->path,
                                  (unsigned long long)scan->pos);
    if (batch.base_offset != scan->offset || batch.last_offset < batch.base_offset)
        return base_fail(err, VARVE_E_CORRUPT,
                         "%s: position %llu: offsets %lld to %lld where %lld was expected",
                         scan->path, (unsigned long long)scan->pos, (long long)batch.base_offset,
                         (long long)batch.last_offset, (long long)scan->offset);
    scan->pos += size;
    scan->batch_size = size;
    scan->offset = batch.last_offset + 1;
    *ret_data = data;
    *ret = batch;
    return 0;
}
