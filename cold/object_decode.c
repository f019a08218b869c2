/* Takes the tail of a segment object apart. The FORMAT and its invariants O1..O4 are in
 * object_encode.c. Nothing here trusts a byte before its checksum or its bounds were looked at. */
#include "base/error.h"
#include "base/hash.h"
#include "cold/object.h"
#include "cold/object_format.h"

struct table_layout {
    size_t header_size;
    size_t table_size;
    size_t index_size;
    size_t block_count;
    size_t block_entry_size;
    size_t log_name_size;
};

/* What must be looked at before the checksum can be: magic, version, sizes. */
static int layout_decode(const uint8_t *h, size_t size, struct table_layout *ret,
                         struct varve_error *err)
{
    struct table_layout l;
    uint32_t version, features;

    if (size < INDEX_HEADER_SIZE + INDEX_CRC_SIZE)
        return base_fail(err, VARVE_E_CORRUPT, "object index: %zu bytes are too few", size);
    if (base_get_le32(h + POS_FRAME_MAGIC) != INDEX_FRAME_MAGIC ||
        memcmp(h + POS_MAGIC, INDEX_MAGIC, POS_VERSION - POS_MAGIC) != 0)
        return base_fail(err, VARVE_E_CORRUPT, "object index: bad magic");
    l.header_size = base_get_le32(h + POS_HEADER_SIZE);
    l.table_size = base_get_le32(h + POS_TABLE_SIZE);
    l.index_size = base_get_le32(h + POS_INDEX_SIZE);
    l.block_count = base_get_le32(h + POS_BLOCK_COUNT);
    l.block_entry_size = base_get_le16(h + POS_BLOCK_ENTRY_SIZE);
    l.log_name_size = base_get_le16(h + POS_LOG_NAME_SIZE);
    if (l.table_size < INDEX_HEADER_SIZE + INDEX_CRC_SIZE || l.table_size > size)
        return base_fail(err, VARVE_E_CORRUPT, "object index: table of %zu bytes in %zu",
                         l.table_size, size);
    if (base_get_le32(h + l.table_size - INDEX_CRC_SIZE) !=
        base_crc32c(0, h, l.table_size - INDEX_CRC_SIZE))
        return base_fail(err, VARVE_E_CORRUPT, "object index: table checksum does not match");
    version = base_get_le32(h + POS_VERSION);
    features = base_get_le32(h + POS_FEATURES_MUST) & ~INDEX_FEATURES_MUST;
    if (version != INDEX_VERSION || features != 0)
        return base_fail(err, VARVE_E_VERSION,
                         "object index: version %u with features %#x is not known here", version,
                         features);
    *ret = l;
    return 0;
}

static int layout_check(const uint8_t *h, const struct table_layout *l, struct varve_error *err)
{
    uint64_t expected = (uint64_t)l->header_size + l->log_name_size +
                        (uint64_t)l->block_count * l->block_entry_size + INDEX_CRC_SIZE;

    if (l->header_size < INDEX_HEADER_SIZE || l->block_entry_size < BLOCK_ENTRY_SIZE ||
        l->block_count == 0 || l->log_name_size == 0 || l->log_name_size > INDEX_LOG_NAME_MAX ||
        expected != l->table_size || l->index_size < l->table_size ||
        base_get_le32(h + POS_FRAME_SIZE) != l->index_size - 8)
        return base_fail(err, VARVE_E_CORRUPT, "object index: its sizes contradict each other");
    /* Entries are found by cold_table_block, which knows one size: larger ones would come with a
     * feature bit. */
    if (l->block_entry_size != BLOCK_ENTRY_SIZE)
        return base_fail(err, VARVE_E_VERSION, "object index: block entries of %zu bytes",
                         l->block_entry_size);
    return 0;
}

static void info_decode(const uint8_t *h, const struct table_layout *l,
                        struct cold_object_info *ret)
{
    *ret = (struct cold_object_info){
        .log_name = (const char *)h + l->header_size,
        .log_name_size = l->log_name_size,
        .epoch = base_get_le32(h + POS_EPOCH),
        .base_offset = (int64_t)base_get_le64(h + POS_BASE_OFFSET),
        .end_offset = (int64_t)base_get_le64(h + POS_END_OFFSET),
        .first_timestamp = (int64_t)base_get_le64(h + POS_FIRST_TIMESTAMP),
        .max_timestamp = (int64_t)base_get_le64(h + POS_MAX_TIMESTAMP),
        .append_time = (int64_t)base_get_le64(h + POS_APPEND_TIME),
        .segment_size = base_get_le64(h + POS_SEGMENT_SIZE),
    };
    memcpy(ret->log_id.bytes, h + POS_LOG_ID, BASE_ID_SIZE);
    memcpy(ret->attempt.bytes, h + POS_ATTEMPT, BASE_ID_SIZE);
    memcpy(ret->segment_sha256, h + POS_SEGMENT_SHA256, BASE_SHA256_SIZE);
    memcpy(ret->previous_chain_hash, h + POS_PREVIOUS_CHAIN_HASH, BASE_SHA256_SIZE);
    memcpy(ret->chain_hash, h + POS_CHAIN_HASH, BASE_SHA256_SIZE);
}

/* O1 and O2. The sums cannot overflow: each step is compared before it is added to. */
static int blocks_check(const struct cold_table_view *t, uint64_t index_pos,
                        struct varve_error *err)
{
    uint64_t pos = 0, raw_pos = 0;
    int64_t previous = 0;

    if (t->info.base_offset < 0 || t->info.end_offset <= t->info.base_offset)
        return base_fail(err, VARVE_E_CORRUPT, "object index: offsets %lld..%lld",
                         (long long)t->info.base_offset, (long long)t->info.end_offset);
    for (size_t i = 0; i < t->block_count; i++) {
        struct cold_block_info b;

        cold_table_block(t, i, &b);
        if (b.pos != pos || b.raw_pos != raw_pos || b.stored_size == 0 || b.raw_size == 0 ||
            (i == 0 ? b.first_offset != t->info.base_offset : b.first_offset <= previous) ||
            b.first_offset >= t->info.end_offset)
            return base_fail(err, VARVE_E_CORRUPT,
                             "object index: block %zu does not follow the one before it", i);
        pos += b.stored_size;
        raw_pos += b.raw_size;
        previous = b.first_offset;
    }
    if (raw_pos != t->info.segment_size || pos != index_pos)
        return base_fail(err, VARVE_E_CORRUPT,
                         "object index: blocks do not cover the segment or the object");
    return 0;
}

int cold_table_decode(const void *data, size_t size, struct cold_table_view *ret,
                      struct varve_error *err)
{
    const uint8_t *h = data;
    struct table_layout l = {0};
    struct cold_table_view t;
    int rc = layout_decode(h, size, &l, err);

    if (rc < 0 || (rc = layout_check(h, &l, err)) < 0)
        return rc;
    info_decode(h, &l, &t.info);
    t.blocks = h + l.header_size + l.log_name_size;
    t.block_count = l.block_count;
    rc = blocks_check(&t, base_get_le64(h + POS_INDEX_POS), err);
    if (rc < 0)
        return rc;
    *ret = t;
    return 0;
}

void cold_table_block(const struct cold_table_view *t, size_t i, struct cold_block_info *ret)
{
    const uint8_t *entry = t->blocks + i * BLOCK_ENTRY_SIZE;

    ret->first_offset = (int64_t)base_get_le64(entry + POS_BLOCK_FIRST_OFFSET);
    ret->max_timestamp = (int64_t)base_get_le64(entry + POS_BLOCK_MAX_TIMESTAMP);
    ret->pos = base_get_le64(entry + POS_BLOCK_POS);
    ret->stored_size = base_get_le32(entry + POS_BLOCK_STORED_SIZE);
    ret->raw_pos = base_get_le32(entry + POS_BLOCK_RAW_POS);
    ret->raw_size = base_get_le32(entry + POS_BLOCK_RAW_SIZE);
    ret->crc32c = base_get_le32(entry + POS_BLOCK_CRC32C);
    ret->content_checksum = base_get_le32(entry + POS_BLOCK_CONTENT_CHECKSUM);
}

static int64_t block_first_offset(const struct cold_table_view *t, size_t i)
{
    return (int64_t)base_get_le64(t->blocks + i * BLOCK_ENTRY_SIZE + POS_BLOCK_FIRST_OFFSET);
}

size_t cold_table_find_offset(const struct cold_table_view *t, int64_t offset)
{
    size_t low = 0, high = t->block_count;

    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;

        if (block_first_offset(t, mid) <= offset)
            low = mid;
        else
            high = mid;
    }
    return low;
}

bool cold_table_find_time(const struct cold_table_view *t, size_t from, int64_t timestamp,
                          int64_t min_offset, size_t *ret_i)
{
    if (min_offset > t->info.base_offset) {
        size_t first;

        if (min_offset >= t->info.end_offset)
            return false;
        first = cold_table_find_offset(t, min_offset); /* all before it end at or below */
        if (from < first)
            from = first;
    }
    for (size_t i = from; i < t->block_count; i++) {
        const uint8_t *entry = t->blocks + i * BLOCK_ENTRY_SIZE;

        if ((int64_t)base_get_le64(entry + POS_BLOCK_MAX_TIMESTAMP) >= timestamp) {
            *ret_i = i;
            return true;
        }
    }
    return false;
}

static int section_items(const char *name, size_t size, size_t item_size, size_t *ret_count,
                         struct varve_error *err)
{
    if (size % item_size != 0)
        return base_fail(err, VARVE_E_CORRUPT, "object index: %zu bytes of %s", size, name);
    *ret_count = size / item_size;
    return 0;
}

/* One section's content, already checked, into the view. */
static int section_take(uint32_t type, uint32_t flags, const uint8_t *content, size_t size,
                        struct cold_index_view *v, struct varve_error *err)
{
    switch (type) {
    case SECTION_SPARSE:
        v->sparse = content;
        v->sparse_size = size;
        return 0;
    case SECTION_PRODUCERS:
        v->producers = content;
        return section_items("producers", size, PRODUCER_SIZE, &v->producer_count, err);
    case SECTION_ABORTED:
        v->aborted = content;
        return section_items("aborted ranges", size, ABORTED_SIZE, &v->aborted_count, err);
    default:
        if (flags & SECTION_FLAG_MUST)
            return base_fail(err, VARVE_E_VERSION, "object index: section of unknown type %u",
                             type);
        return 0;
    }
}

static int sections_decode(struct base_cursor *c, uint32_t count, struct cold_index_view *v,
                           struct varve_error *err)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *header = base_cursor_bytes(c, SECTION_HEADER_SIZE);
        size_t size = header ? base_get_le32(header + 8) : 0;
        const uint8_t *content = base_cursor_bytes(c, size);
        int rc;

        if (!content)
            return base_fail(err, VARVE_E_CORRUPT, "object index: section %u is cut off", i);
        if (base_get_le32(header + 12) != base_crc32c(base_crc32c(0, header, 12), content, size))
            return base_fail(err, VARVE_E_CORRUPT,
                             "object index: checksum of section %u does not match", i);
        rc = section_take(base_get_le32(header), base_get_le32(header + 4), content, size, v, err);
        if (rc < 0)
            return rc;
    }
    if (base_cursor_left(c) > 0)
        return base_fail(err, VARVE_E_CORRUPT, "object index: %zu bytes behind the last section",
                         base_cursor_left(c));
    return 0;
}

int cold_index_decode(const void *data, size_t size, struct cold_index_view *ret,
                      struct varve_error *err)
{
    const uint8_t *h = data;
    struct cold_index_view v = {0};
    struct base_cursor c;
    size_t table_size, index_size;
    int rc = cold_table_decode(data, size, &v.table, err);

    if (rc < 0)
        return rc;
    table_size = base_get_le32(h + POS_TABLE_SIZE);
    index_size = base_get_le32(h + POS_INDEX_SIZE);
    if (index_size > size)
        return base_fail(err, VARVE_E_CORRUPT, "object index: %zu bytes of %zu are there", size,
                         index_size);
    base_cursor_init(&c, h + table_size, index_size - table_size);
    rc = sections_decode(&c, base_get_le32(h + POS_SECTION_COUNT), &v, err);
    if (rc < 0)
        return rc;
    *ret = v;
    return 0;
}

void cold_index_producer(const struct cold_index_view *v, size_t i, struct cold_producer *ret)
{
    const uint8_t *p = v->producers + i * PRODUCER_SIZE;

    *ret = (struct cold_producer){
        .producer_id = (int64_t)base_get_le64(p),
        .producer_epoch = (int16_t)base_get_le16(p + 8),
        .last_sequence = (int32_t)base_get_le32(p + 12),
        .last_offset = (int64_t)base_get_le64(p + 16),
        .last_timestamp = (int64_t)base_get_le64(p + 24),
    };
}

void cold_index_aborted(const struct cold_index_view *v, size_t i, int64_t *ret_producer_id,
                        int64_t *ret_first_offset, int64_t *ret_last_offset)
{
    const uint8_t *p = v->aborted + i * ABORTED_SIZE;

    *ret_producer_id = (int64_t)base_get_le64(p);
    *ret_first_offset = (int64_t)base_get_le64(p + 8);
    *ret_last_offset = (int64_t)base_get_le64(p + 16);
}

/* The seek table entry by entry beside the block table. */
static int seek_table_check(const struct cold_table_view *t, size_t index_size, const uint8_t *seek,
                            size_t size, struct varve_error *err)
{
    uint64_t expected =
        SEEK_HEADER_SIZE + ((uint64_t)t->block_count + 1) * SEEK_ENTRY_SIZE + SEEK_FOOTER_SIZE;
    const uint8_t *entry = seek + SEEK_HEADER_SIZE;
    bool good = size == expected;

    for (size_t i = 0; good && i < t->block_count; i++, entry += SEEK_ENTRY_SIZE) {
        struct cold_block_info b;

        cold_table_block(t, i, &b);
        good = base_get_le32(entry) == b.stored_size && base_get_le32(entry + 4) == b.raw_size &&
               base_get_le32(entry + 8) == b.content_checksum;
    }
    if (!good || base_get_le32(entry) != index_size || base_get_le32(entry + 4) != 0)
        return base_fail(err, VARVE_E_CORRUPT, "seek table does not say what the index says");
    return 0;
}

int cold_tail_decode(const void *data, size_t size, struct cold_index_view *ret,
                     struct varve_error *err)
{
    const uint8_t *h = data;
    struct cold_index_view v;
    size_t index_size, seek_size;
    int rc = cold_index_decode(data, size, &v, err);

    if (rc < 0)
        return rc;
    index_size = base_get_le32(h + POS_INDEX_SIZE);
    seek_size = base_get_le32(h + POS_SEEK_TABLE_SIZE);
    if (seek_size != size - index_size) /* O4 */
        return base_fail(err, VARVE_E_CORRUPT, "seek table of %zu bytes, not %zu",
                         size - index_size, seek_size);
    if (base_get_le32(h + POS_SEEK_TABLE_CRC32C) != base_crc32c(0, h + index_size, seek_size))
        return base_fail(err, VARVE_E_CORRUPT, "seek table checksum does not match");
    rc = seek_table_check(&v.table, index_size, h + index_size, seek_size, err);
    if (rc < 0)
        return rc;
    *ret = v;
    return 0;
}

int cold_object_find_index(const void *tail, size_t tail_size, uint64_t object_size,
                           uint64_t *ret_pos, uint32_t *ret_size, struct varve_error *err)
{
    const uint8_t *end = (const uint8_t *)tail + tail_size;
    uint64_t seek_size;
    uint32_t count, index_size;

    if (tail_size < SEEK_ENTRY_SIZE + SEEK_FOOTER_SIZE || tail_size > object_size ||
        base_get_le32(end - 4) != SEEK_FOOTER_MAGIC)
        return base_fail(err, VARVE_E_CORRUPT, "not a segment object: no seek table at its end");
    count = base_get_le32(end - SEEK_FOOTER_SIZE);
    if (end[-5] != SEEK_DESCRIPTOR || count < 2 || count > SEEK_FRAMES_MAX)
        return base_fail(err, VARVE_E_CORRUPT, "not a segment object: a foreign seek table");
    seek_size = SEEK_HEADER_SIZE + (uint64_t)count * SEEK_ENTRY_SIZE + SEEK_FOOTER_SIZE;
    /* The last entry is the index frame's (O4). */
    index_size = base_get_le32(end - SEEK_FOOTER_SIZE - SEEK_ENTRY_SIZE);
    if (base_get_le32(end - SEEK_FOOTER_SIZE - SEEK_ENTRY_SIZE + 4) != 0 ||
        index_size < INDEX_HEADER_SIZE || seek_size + index_size >= object_size)
        return base_fail(err, VARVE_E_CORRUPT,
                         "not a segment object: no index before the seek table");
    *ret_pos = object_size - seek_size - index_size;
    *ret_size = index_size;
    return 0;
}
