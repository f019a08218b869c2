/* Walks the batches of a segment file through one buffer, checking each. */
#include "hot/internal.h"
#include "hot/reader.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

#define SEARCH_BYTES (64 * 1024) /* of which the CRC is taken at once */

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

/* The CRC32C of a batch of the file, piece by piece: one that damage has made up may be as large as
 * a segment. VARVE_E_CORRUPT: the file ends before. */
static int search_crc(const struct hot_scan *scan, uint64_t pos, uint64_t end, uint8_t *piece,
                      uint32_t *ret, struct varve_error *err)
{
    uint32_t crc = 0;
    while (pos < end) {
        size_t size = end - pos < SEARCH_BYTES ? (size_t)(end - pos) : SEARCH_BYTES;
        int rc = base_io_pread_full(scan->io, scan->fd, piece, size, (int64_t)pos, scan->path, err);
        if (rc < 0)
            return rc;
        crc = base_crc32c(crc, piece, size);
        pos += size;
    }
    *ret = crc;
    return 0;
}

/* Does a whole batch of scan->offset or above begin at `pos` with these bytes? 1 or 0. */
static int search_try(const struct hot_scan *scan, const uint8_t *header, uint64_t pos,
                      uint8_t *piece, struct record_batch *ret, struct varve_error *err)
{
    struct record_batch batch;
    struct varve_error why;
    uint32_t crc;
    if ((int64_t)base_get_be64(header) < scan->offset ||
        record_batch_decode(header, (size_t)(scan->limit - pos), &batch, NULL) < 0)
        return 0;
    int rc = search_crc(scan, pos + RECORD_BATCH_CRC_FROM, pos + batch.size, piece, &crc, &why);
    if (rc < 0 && rc != VARVE_E_CORRUPT) { /* it cannot be said, so it must not be */
        if (err)
            *err = why;
        return rc;
    }
    if (rc < 0 || crc != batch.crc)
        return 0;
    *ret = batch;
    return 1;
}

int hot_scan_search(struct hot_scan *scan, struct record_batch *ret, struct varve_error *err)
{
    uint8_t *piece = malloc(SEARCH_BYTES);
    if (!piece)
        return base_fail(err, VARVE_E_NO_MEMORY, "search of %s", scan->path);
    int found = 0;
    while (found == 0 && scan->pos + RECORD_BATCH_HEADER_SIZE <= scan->limit) {
        uint64_t left = scan->limit - scan->pos;
        size_t got, want = left < scan->capacity ? (size_t)left : scan->capacity;
        found = base_io_pread_some(scan->io, scan->fd, scan->buf, want, (int64_t)scan->pos, &got,
                                   scan->path, err);
        if (found < 0 || got < RECORD_BATCH_HEADER_SIZE)
            break;
        size_t last = got - RECORD_BATCH_HEADER_SIZE;
        for (size_t i = 0; i <= last && found == 0; i++)
            found = search_try(scan, scan->buf + i, scan->pos + i, piece, ret, err);
        scan->pos += last + 1;
    }
    free(piece);
    if (found == 0)
        return base_fail(err, VARVE_E_NOT_FOUND, "%s: no whole batch", scan->path);
    return found < 0 ? found : 0;
}
