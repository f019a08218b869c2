/*
 * The sparse index of one segment: encoding, look-ups, checks.
 *
 * FORMAT (little-endian): a header, then entries back to back to the end of the bytes.
 *
 *   header          entry
 *   pos size        pos size
 *     0    8  magic "VARVSPRS"           0    6  first offset - segment's base offset
 *     8    2  version, 1                 6    6  end offset - segment's base offset
 *    10    2  header size, 32           12    4  pos: bytes from the segment's start
 *    12    2  may-ignore features       16    4  size: bytes of the interval's batches
 *    14    2  must-understand features  20    8  the interval's own maximum timestamp
 *    16    8  segment's base offset     28    4  CRC32C of: base offset (le64), bytes 0..27
 *    24    2  entry size, 32
 *    26    2  zero
 *    28    4  CRC32C of bytes 0..27
 *
 * VALID: the header's checksum holds, its version is 1, no unknown must-understand feature is set,
 * the header size is at least 32 (bytes beyond are skipped), the entry size is 32, the base offset
 * is the segment's. Bytes after the last whole entry are a torn entry and do not exist. An entry is
 * valid when its checksum holds, its offsets ascend and its size is not 0.
 *
 * INVARIANTS
 *   X1 Intervals touch: the first begins at pos 0 and the base offset, each next where the one
 *      before ended, in positions and in offsets.
 *   X2 A maximum timestamp is the interval's own, never a running one: a running maximum would lie
 *      once an outlier is trimmed (I5).
 *   X3 No entry is used before its checksum was computed; it covers the base offset, so an entry
 *      of another segment is not taken for one of this.
 *   X4 Entries are only ever added: what was published is never changed.
 */
#include "index/sparse.h"

#include <assert.h>
#include <inttypes.h>

#include "base/error.h"
#include "base/hash.h"

static const uint8_t sparse_magic[8] = {'V', 'A', 'R', 'V', 'S', 'P', 'R', 'S'};

#define SPARSE_VERSION 1
#define SPARSE_DELTA_MAX ((1ull << 48) - 1)

static void put_le48(uint8_t *p, uint64_t v)
{
    base_put_le32(p, (uint32_t)v);
    base_put_le16(p + 4, (uint16_t)(v >> 32));
}

static uint64_t get_le48(const uint8_t *p)
{
    return base_get_le32(p) | (uint64_t)base_get_le16(p + 4) << 32;
}

static uint32_t entry_crc_seed(int64_t base_offset)
{
    uint8_t buf[8];

    base_put_le64(buf, (uint64_t)base_offset);
    return base_crc32c(0, buf, sizeof(buf));
}

void index_sparse_header_encode(int64_t base_offset, uint8_t buf[INDEX_SPARSE_HEADER_SIZE])
{
    memset(buf, 0, INDEX_SPARSE_HEADER_SIZE);
    memcpy(buf, sparse_magic, sizeof(sparse_magic));
    base_put_le16(buf + 8, SPARSE_VERSION);
    base_put_le16(buf + 10, INDEX_SPARSE_HEADER_SIZE);
    base_put_le64(buf + 16, (uint64_t)base_offset);
    base_put_le16(buf + 24, INDEX_SPARSE_ENTRY_SIZE);
    base_put_le32(buf + 28, base_crc32c(0, buf, 28));
}

void index_sparse_entry_encode(int64_t base_offset, const struct index_sparse_entry *entry,
                               uint8_t buf[INDEX_SPARSE_ENTRY_SIZE])
{
    uint64_t first = (uint64_t)entry->first_offset - (uint64_t)base_offset;
    uint64_t end = (uint64_t)entry->end_offset - (uint64_t)base_offset;

    assert(first < end && end <= SPARSE_DELTA_MAX);
    put_le48(buf, first);
    put_le48(buf + 6, end);
    base_put_le32(buf + 12, entry->pos);
    base_put_le32(buf + 16, entry->size);
    base_put_le64(buf + 20, (uint64_t)entry->max_timestamp);
    base_put_le32(buf + 28, base_crc32c(entry_crc_seed(base_offset), buf, 28));
}

void index_sparse_builder_init(struct index_sparse_builder *b, int64_t base_offset,
                               uint32_t interval_bytes)
{
    *b =
        (struct index_sparse_builder){.base_offset = base_offset, .interval_bytes = interval_bytes};
}

bool index_sparse_builder_add(struct index_sparse_builder *b, int64_t base_offset,
                              int64_t end_offset, uint32_t pos, uint32_t size,
                              int64_t max_timestamp, struct index_sparse_entry *ret)
{
    struct index_sparse_entry *c = &b->current;

    if (!b->open) {
        *c = (struct index_sparse_entry){
            .first_offset = base_offset, .pos = pos, .max_timestamp = max_timestamp};
        b->open = true;
    }
    c->end_offset = end_offset;
    c->size = pos + size - c->pos;
    if (max_timestamp > c->max_timestamp)
        c->max_timestamp = max_timestamp;
    if (c->size < b->interval_bytes)
        return false;
    return index_sparse_builder_finish(b, ret);
}

bool index_sparse_builder_finish(struct index_sparse_builder *b, struct index_sparse_entry *ret)
{
    if (!b->open)
        return false;
    *ret = b->current;
    b->open = false;
    return true;
}

int index_sparse_init(struct index_sparse *s, const void *data, size_t size, int64_t base_offset,
                      struct varve_error *err)
{
    const uint8_t *d = data;

    if (size < INDEX_SPARSE_HEADER_SIZE || memcmp(d, sparse_magic, sizeof(sparse_magic)) != 0)
        return base_fail(err, VARVE_E_CORRUPT, "not a sparse index");
    if (base_get_le32(d + 28) != base_crc32c(0, d, 28))
        return base_fail(err, VARVE_E_CORRUPT, "sparse index: header checksum does not match");
    if (base_get_le16(d + 8) != SPARSE_VERSION)
        return base_fail(err, VARVE_E_VERSION, "sparse index: version %u, this library knows %d",
                         base_get_le16(d + 8), SPARSE_VERSION);
    if (base_get_le16(d + 14) != 0)
        return base_fail(err, VARVE_E_VERSION, "sparse index: unknown features 0x%x",
                         base_get_le16(d + 14));

    size_t header_size = base_get_le16(d + 10);
    if (header_size != INDEX_SPARSE_HEADER_SIZE || base_get_le16(d + 24) != INDEX_SPARSE_ENTRY_SIZE)
        return base_fail(err, VARVE_E_CORRUPT, "sparse index: header size %zu, entry size %u",
                         header_size, base_get_le16(d + 24));
    if ((int64_t)base_get_le64(d + 16) != base_offset || base_offset < 0)
        return base_fail(err, VARVE_E_CORRUPT,
                         "sparse index: of the segment at offset %" PRId64 ", not %" PRId64,
                         (int64_t)base_get_le64(d + 16), base_offset);

    *s = (struct index_sparse){
        .entries = d + header_size,
        .count = (size - header_size) / INDEX_SPARSE_ENTRY_SIZE,
        .base_offset = base_offset,
    };
    return 0;
}

static int entry_get(const struct index_sparse *s, uint32_t seed, size_t i,
                     struct index_sparse_entry *ret, struct varve_error *err)
{
    const uint8_t *p = s->entries + i * INDEX_SPARSE_ENTRY_SIZE;
    uint64_t first = get_le48(p), end = get_le48(p + 6);
    uint32_t pos = base_get_le32(p + 12), size = base_get_le32(p + 16);

    if (base_get_le32(p + 28) != base_crc32c(seed, p, 28)) /* X3 */
        return base_fail(err, VARVE_E_CORRUPT,
                         "sparse index of segment %020" PRId64
                         ": entry %zu: checksum does not match",
                         s->base_offset, i);
    if (first >= end || end > (uint64_t)(INT64_MAX - s->base_offset) || size == 0 ||
        size > UINT32_MAX - pos)
        return base_fail(err, VARVE_E_CORRUPT,
                         "sparse index of segment %020" PRId64 ": entry %zu: impossible range",
                         s->base_offset, i);
    *ret = (struct index_sparse_entry){
        .first_offset = s->base_offset + (int64_t)first,
        .end_offset = s->base_offset + (int64_t)end,
        .pos = pos,
        .size = size,
        .max_timestamp = (int64_t)base_get_le64(p + 20),
    };
    return 0;
}

int index_sparse_get(const struct index_sparse *s, size_t i, struct index_sparse_entry *ret,
                     struct varve_error *err)
{
    assert(i < s->count);
    return entry_get(s, entry_crc_seed(s->base_offset), i, ret, err);
}

int index_sparse_end_pos(const struct index_sparse *s, uint32_t *ret_pos, int64_t *ret_offset,
                         struct varve_error *err)
{
    struct index_sparse_entry e;

    if (s->count == 0) {
        *ret_pos = 0;
        *ret_offset = s->base_offset;
        return 0;
    }
    int rc = index_sparse_get(s, s->count - 1, &e, err);
    if (rc < 0)
        return rc;
    *ret_pos = e.pos + e.size;
    *ret_offset = e.end_offset;
    return 0;
}

/* The first entry at or after `lo` whose end is above `offset`; s->count when there is none. *ret
 * is set when there is one. */
static int entry_after(const struct index_sparse *s, uint32_t seed, size_t lo, int64_t offset,
                       size_t *ret_i, struct index_sparse_entry *ret, struct varve_error *err)
{
    size_t hi = s->count;
    struct index_sparse_entry e;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int rc = entry_get(s, seed, mid, &e, err);
        if (rc < 0)
            return rc;
        if (e.end_offset > offset) {
            hi = mid;
            *ret = e;
        } else {
            lo = mid + 1;
        }
    }
    *ret_i = lo;
    return 0;
}

int index_sparse_find_offset(const struct index_sparse *s, int64_t offset, size_t *ret_i,
                             struct index_sparse_entry *ret, struct varve_error *err)
{
    struct index_sparse_entry e = {0};
    size_t i;

    if (offset < s->base_offset)
        return base_fail(err, VARVE_E_OUT_OF_RANGE,
                         "offset %" PRId64 " is below segment %020" PRId64, offset, s->base_offset);
    int rc = entry_after(s, entry_crc_seed(s->base_offset), 0, offset, &i, &e, err);
    if (rc < 0)
        return rc;
    if (i == s->count)
        return base_fail(err, VARVE_E_NOT_FOUND,
                         "sparse index of segment %020" PRId64 ": offset %" PRId64
                         " lies behind its last entry",
                         s->base_offset, offset);
    if (e.first_offset > offset) /* X1 */
        return base_fail(err, VARVE_E_CORRUPT,
                         "sparse index of segment %020" PRId64 ": hole before entry %zu",
                         s->base_offset, i);
    *ret_i = i;
    *ret = e;
    return 0;
}

int index_sparse_find_time(const struct index_sparse *s, size_t from_i, int64_t timestamp,
                           int64_t min_offset, size_t *ret_i, struct index_sparse_entry *ret,
                           struct varve_error *err)
{
    uint32_t seed = entry_crc_seed(s->base_offset);
    struct index_sparse_entry e;
    size_t i;

    int rc = entry_after(s, seed, from_i, min_offset, &i, &e, err);
    if (rc < 0)
        return rc;
    for (; i < s->count; i++) {
        rc = entry_get(s, seed, i, &e, err);
        if (rc < 0)
            return rc;
        if (e.max_timestamp >= timestamp && e.end_offset > min_offset) {
            *ret_i = i;
            *ret = e;
            return 0;
        }
    }
    return base_fail(err, VARVE_E_NOT_FOUND,
                     "sparse index of segment %020" PRId64 ": no entry at or after time %" PRId64,
                     s->base_offset, timestamp);
}

int index_sparse_check(const struct index_sparse *s, struct varve_error *err)
{
    uint32_t seed = entry_crc_seed(s->base_offset);
    int64_t offset = s->base_offset;
    uint32_t pos = 0;

    for (size_t i = 0; i < s->count; i++) {
        struct index_sparse_entry e;
        int rc = entry_get(s, seed, i, &e, err);
        if (rc < 0)
            return rc;
        if (e.first_offset != offset || e.pos != pos) /* X1 */
            return base_fail(err, VARVE_E_CORRUPT,
                             "sparse index of segment %020" PRId64
                             ": entry %zu begins at offset %" PRId64 ", pos %" PRIu32
                             "; expected %" PRId64 ", %" PRIu32,
                             s->base_offset, i, e.first_offset, e.pos, offset, pos);
        offset = e.end_offset;
        pos += e.size;
    }
    return 0;
}
