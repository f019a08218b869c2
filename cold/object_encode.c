/*
 * The tail of a segment object: varve's index frame and the seek table. All numbers little-endian.
 *
 * FORMAT
 *
 *   the object    block 0 .. block n-1    zstd frames, with content size and content checksum
 *                 index frame             at index_pos, where the last block ends
 *                 seek table frame        to the end
 *
 *   index frame   0    4  0x184D2A5D, a zstd skippable frame
 *                 4    4  frame size: index size - 8
 *                 8    8  "varveobj"
 *                16    4  version, 1
 *                20    4  header size, 256: where the log name begins
 *                24    4  features a reader may ignore
 *                28    4  features a reader must understand (none yet; encryption will be one)
 *                32    4  table size: bytes from 0 to the end of the table's CRC32C
 *                36    4  index size: bytes of the whole index frame
 *                40    4  block count, at least 1
 *                44    2  size of a block entry, at least 48
 *                46    2  size of the log name, 1..249
 *                48   16  log id
 *                64   16  attempt id
 *                80    4  epoch
 *                84    4  section count
 *                88    8  base offset
 *                96    8  end offset (exclusive)
 *               104    8  timestamp of the first record
 *               112    8  maximum timestamp
 *               120    8  append time, wall clock ms of the last append
 *               128    8  segment size, bytes of batches
 *               136   32  SHA-256 of the segment
 *               168   32  previous chain hash
 *               200   32  chain hash
 *               232    8  index_pos, place of this frame in the object
 *               240    4  bytes of the seek table frame
 *               244    4  CRC32C of the seek table frame
 *               248    8  zero
 *               256    .  log name, then the block entries, then le32 CRC32C of all before it
 *                         ("the table": one GET of table size bytes at index_pos)
 *                 .    .  sections
 *
 *   block entry   0    8  first offset
 *                 8    8  maximum timestamp of the block
 *                16    8  position in the object
 *                24    4  stored size, bytes of the frame
 *                28    4  position in the segment
 *                32    4  raw size
 *                36    4  CRC32C of the frame
 *                40    4  content checksum: low half of the raw bytes' XXH64
 *                44    4  zero
 *
 *   section       0    4  type: 1 sparse index, 2 producers, 3 aborted ranges
 *                 4    4  flags: bit 0 must be understood; else an unknown type is skipped
 *                 8    4  bytes of content
 *                12    4  CRC32C of the 12 bytes before and the content
 *                16    .  content: 1: as a hot .index file (format-segment.md)
 *                                  2: 32 each, ascending ids: 8 producer id, 2 producer epoch, 2
 * zero, 4 last sequence, 8 last offset, 8 last timestamp 3: 24 each: 8 producer id, 8 first offset,
 * 8 last offset
 *
 *   seek table    0    4  0x184D2A5E, a zstd skippable frame
 *                 4    4  frame size
 *                 8   12  an entry for each frame before it: 4 stored size, 4 raw size, 4 content
 *                         checksum. The index frame has one too, raw size 0, so that stored sizes
 * sum up to the place of the seek table. -9    4   number of entries -5    1   0x80: entries carry
 * checksums -4    4   0x8F92EAB1
 *
 * VALID: an index whose table and sections pass their checksums and whose numbers keep O1..O4; a
 * seek table that passes the one in the header.
 *
 * INVARIANTS
 *   O1  Blocks touch: in the object from 0 to index_pos, in the segment from 0 to segment size.
 *   O2  First offsets ascend strictly from base offset and stay below end offset.
 *   O3  The decompressed bytes of the whole file are the segment: skippable frames add nothing.
 *   O4  index_pos + index size + seek table size is the object's size.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/hash.h"
#include "cold/object.h"
#include "cold/object_format.h"

static_assert(POS_RESERVED + 8 == INDEX_HEADER_SIZE, "the header is as long as it says");
static_assert(POS_BLOCK_RESERVED + 4 == BLOCK_ENTRY_SIZE, "a block entry is as long as it says");
static_assert(sizeof(INDEX_MAGIC) - 1 == POS_VERSION - POS_MAGIC, "the magic has 8 bytes");

#define PRODUCER_TABLE_MIN 64
#define PRODUCER_NONE (-1)

struct cold_object_builder {
    bool begun; /* a batch was seen: `sparse` is initialised */
    uint32_t index_interval_bytes;
    struct index_sparse_builder sparse;
    struct base_buffer sparse_bytes;
    struct base_buffer blocks; /* encoded entries */
    struct base_buffer seek;   /* encoded entries */
    struct base_buffer aborted;
    size_t block_count;
    size_t aborted_count;
    uint64_t stored_end; /* where the next block begins in the object */
    uint64_t raw_end;    /* and in the segment */
    int64_t last_first_offset;
    /* open addressing by producer id, a power of two slots, at most half of them used */
    struct cold_producer *producers;
    size_t producer_slots;
    size_t producer_count;
    struct base_buffer tail;
};

int cold_object_builder_new(uint32_t index_interval_bytes, struct cold_object_builder **ret,
                            struct varve_error *err)
{
    struct cold_object_builder *b = calloc(1, sizeof(*b));

    if (!b)
        return base_fail(err, VARVE_E_NO_MEMORY, "build an object: out of memory");
    b->index_interval_bytes = index_interval_bytes;
    base_buffer_init(&b->sparse_bytes);
    base_buffer_init(&b->blocks);
    base_buffer_init(&b->seek);
    base_buffer_init(&b->aborted);
    base_buffer_init(&b->tail);
    *ret = b;
    return 0;
}

struct cold_object_builder *cold_object_builder_free(struct cold_object_builder *b)
{
    if (!b)
        return NULL;
    base_buffer_deinit(&b->sparse_bytes);
    base_buffer_deinit(&b->blocks);
    base_buffer_deinit(&b->seek);
    base_buffer_deinit(&b->aborted);
    base_buffer_deinit(&b->tail);
    free(b->producers);
    free(b);
    return NULL;
}

static void sparse_add(struct cold_object_builder *b, const struct index_sparse_entry *entry)
{
    uint8_t *room = base_buffer_extend(&b->sparse_bytes, INDEX_SPARSE_ENTRY_SIZE);

    if (room)
        index_sparse_entry_encode(b->sparse.base_offset, entry, room);
}

static void sparse_begin(struct cold_object_builder *b, int64_t base_offset)
{
    uint8_t *room = base_buffer_extend(&b->sparse_bytes, INDEX_SPARSE_HEADER_SIZE);

    if (room)
        index_sparse_header_encode(base_offset, room);
    index_sparse_builder_init(&b->sparse, base_offset, b->index_interval_bytes);
    b->begun = true;
}

/* The slot that holds `id`, or the free one where it belongs. */
static struct cold_producer *producer_slot(struct cold_producer *slots, size_t count, int64_t id)
{
    size_t i = (size_t)(((uint64_t)id * 0x9e3779b97f4a7c15u) >> 20) & (count - 1);

    while (slots[i].producer_id != PRODUCER_NONE && slots[i].producer_id != id)
        i = (i + 1) & (count - 1);
    return &slots[i];
}

static int by_newest(const void *a, const void *b)
{
    const struct cold_producer *x = a, *y = b;
    return x->last_offset > y->last_offset ? -1 : x->last_offset < y->last_offset;
}

static int by_id(const void *a, const void *b)
{
    const struct cold_producer *x = a, *y = b;
    return x->producer_id < y->producer_id ? -1 : x->producer_id > y->producer_id;
}

/* Moves the used slots to the front. */
static void producers_compact(struct cold_object_builder *b)
{
    size_t used = 0;

    for (size_t i = 0; i < b->producer_slots; i++)
        if (b->producers[i].producer_id != PRODUCER_NONE)
            b->producers[used++] = b->producers[i];
}

/*
 * Makes room for one more. At COLD_PRODUCERS_MAX the half that wrote longest ago is forgotten: what
 * a broker would expire first, and an upload never fails for it (I4).
 */
static bool producers_grow(struct cold_object_builder *b)
{
    size_t keep = b->producer_count, slots = b->producer_slots;
    struct cold_producer *grown;

    if (keep > 0 && keep >= COLD_PRODUCERS_MAX) {
        producers_compact(b);
        qsort(b->producers, keep, sizeof(*b->producers), by_newest);
        keep /= 2;
    } else {
        producers_compact(b);
        slots = slots > 0 ? slots * 2 : PRODUCER_TABLE_MIN;
    }
    grown = malloc(slots * sizeof(*grown));
    if (!grown)
        return false;
    for (size_t i = 0; i < slots; i++)
        grown[i].producer_id = PRODUCER_NONE;
    for (size_t i = 0; i < keep; i++)
        *producer_slot(grown, slots, b->producers[i].producer_id) = b->producers[i];
    free(b->producers);
    b->producers = grown;
    b->producer_slots = slots;
    b->producer_count = keep;
    return true;
}

static bool producer_add(struct cold_object_builder *b, const struct record_batch *batch)
{
    struct cold_producer *p;

    if (batch->producer_id < 0)
        return true;
    if ((b->producer_count + 1) * 2 > b->producer_slots || b->producer_count >= COLD_PRODUCERS_MAX)
        if (!producers_grow(b))
            return false;
    p = producer_slot(b->producers, b->producer_slots, batch->producer_id);
    if (p->producer_id == PRODUCER_NONE) {
        *p = (struct cold_producer){.producer_id = batch->producer_id, .last_sequence = -1};
        b->producer_count++;
    }
    p->producer_epoch = batch->producer_epoch;
    p->last_offset = batch->last_offset;
    p->last_timestamp = batch->max_timestamp;
    if (batch->base_sequence >= 0) /* a control batch has none; sequences wrap to 0 (KIP-98) */
        p->last_sequence = (int32_t)(((uint32_t)batch->base_sequence +
                                      (uint32_t)(batch->last_offset - batch->base_offset)) &
                                     0x7fffffffu);
    return true;
}

int cold_object_builder_batch(struct cold_object_builder *b, const struct record_batch *batch,
                              uint32_t raw_pos, struct varve_error *err)
{
    struct index_sparse_entry entry;

    if (!b->begun)
        sparse_begin(b, batch->base_offset);
    if (index_sparse_builder_add(&b->sparse, batch->base_offset, batch->last_offset + 1, raw_pos,
                                 batch->size, batch->max_timestamp, &entry))
        sparse_add(b, &entry);
    if (!producer_add(b, batch) || b->sparse_bytes.failed)
        return base_fail(err, VARVE_E_NO_MEMORY, "build an object: out of memory");
    return 0;
}

int cold_object_builder_block(struct cold_object_builder *b, const struct cold_block_info *block,
                              struct varve_error *err)
{
    uint8_t *entry;

    if (block->pos != b->stored_end || block->raw_pos != b->raw_end || block->stored_size == 0 ||
        block->raw_size == 0 ||
        (b->block_count > 0 && block->first_offset <= b->last_first_offset)) /* O1, O2 */
        return base_fail(err, VARVE_E_INVALID, "block %zu does not follow the block before it",
                         b->block_count);
    if (b->block_count + 1 >= SEEK_FRAMES_MAX)
        return base_fail(err, VARVE_E_TOO_LARGE, "an object of more than %u blocks",
                         SEEK_FRAMES_MAX);
    entry = base_buffer_extend(&b->blocks, BLOCK_ENTRY_SIZE);
    base_buffer_le32(&b->seek, block->stored_size);
    base_buffer_le32(&b->seek, block->raw_size);
    base_buffer_le32(&b->seek, block->content_checksum);
    if (!entry || b->seek.failed)
        return base_fail(err, VARVE_E_NO_MEMORY, "build an object: out of memory");
    base_put_le64(entry + POS_BLOCK_FIRST_OFFSET, (uint64_t)block->first_offset);
    base_put_le64(entry + POS_BLOCK_MAX_TIMESTAMP, (uint64_t)block->max_timestamp);
    base_put_le64(entry + POS_BLOCK_POS, block->pos);
    base_put_le32(entry + POS_BLOCK_STORED_SIZE, block->stored_size);
    base_put_le32(entry + POS_BLOCK_RAW_POS, block->raw_pos);
    base_put_le32(entry + POS_BLOCK_RAW_SIZE, block->raw_size);
    base_put_le32(entry + POS_BLOCK_CRC32C, block->crc32c);
    base_put_le32(entry + POS_BLOCK_CONTENT_CHECKSUM, block->content_checksum);
    base_put_le32(entry + POS_BLOCK_RESERVED, 0);
    b->block_count++;
    b->stored_end += block->stored_size;
    b->raw_end += block->raw_size;
    b->last_first_offset = block->first_offset;
    return 0;
}

int cold_object_builder_aborted(struct cold_object_builder *b, int64_t producer_id,
                                int64_t first_offset, int64_t last_offset, struct varve_error *err)
{
    base_buffer_le64(&b->aborted, (uint64_t)producer_id);
    base_buffer_le64(&b->aborted, (uint64_t)first_offset);
    base_buffer_le64(&b->aborted, (uint64_t)last_offset);
    if (b->aborted.failed)
        return base_fail(err, VARVE_E_NO_MEMORY, "build an object: out of memory");
    b->aborted_count++;
    return 0;
}

/* The sparse index and the producers in the form the sections want. */
static bool sections_prepare(struct cold_object_builder *b, struct base_buffer *producers)
{
    struct index_sparse_entry entry;

    if (b->begun && index_sparse_builder_finish(&b->sparse, &entry))
        sparse_add(b, &entry);
    producers_compact(b);
    if (b->producer_count > 0)
        qsort(b->producers, b->producer_count, sizeof(*b->producers), by_id);
    for (size_t i = 0; i < b->producer_count; i++) {
        const struct cold_producer *p = &b->producers[i];

        base_buffer_le64(producers, (uint64_t)p->producer_id);
        base_buffer_le16(producers, (uint16_t)p->producer_epoch);
        base_buffer_le16(producers, 0);
        base_buffer_le32(producers, (uint32_t)p->last_sequence);
        base_buffer_le64(producers, (uint64_t)p->last_offset);
        base_buffer_le64(producers, (uint64_t)p->last_timestamp);
    }
    return !b->sparse_bytes.failed && !producers->failed;
}

static size_t section_size(const struct base_buffer *content)
{
    return content->size > 0 ? SECTION_HEADER_SIZE + content->size : 0;
}

/* An empty section is left out. */
static void section_add(struct base_buffer *out, enum section_type type,
                        const struct base_buffer *content)
{
    uint8_t header[SECTION_HEADER_SIZE];
    uint32_t crc32c;

    if (content->size == 0)
        return;
    base_put_le32(header, type);
    base_put_le32(header + 4, 0);
    base_put_le32(header + 8, (uint32_t)content->size);
    crc32c = base_crc32c(0, header, 12);
    base_put_le32(header + 12, base_crc32c(crc32c, content->data, content->size));
    base_buffer_add(out, header, sizeof(header));
    base_buffer_add(out, content->data, content->size);
}

/* Completes the entries in b->seek to the whole frame. `out` receives it. */
static void seek_table_encode(const struct cold_object_builder *b, uint32_t index_size,
                              struct base_buffer *out)
{
    size_t count = b->block_count + 1;

    base_buffer_le32(out, SEEK_FRAME_MAGIC);
    base_buffer_le32(out, (uint32_t)(count * SEEK_ENTRY_SIZE + SEEK_FOOTER_SIZE));
    base_buffer_add(out, b->seek.data, b->seek.size);
    base_buffer_le32(out, index_size);
    base_buffer_le32(out, 0);
    base_buffer_le32(out, SEEK_EMPTY_CHECKSUM);
    base_buffer_le32(out, (uint32_t)count);
    base_buffer_u8(out, SEEK_DESCRIPTOR);
    base_buffer_le32(out, SEEK_FOOTER_MAGIC);
}

static void header_encode(const struct cold_object_builder *b, const struct cold_object_info *info,
                          size_t table_size, size_t index_size, unsigned section_count,
                          const struct base_buffer *seek, uint8_t h[INDEX_HEADER_SIZE])
{
    memset(h, 0, INDEX_HEADER_SIZE);
    base_put_le32(h + POS_FRAME_MAGIC, INDEX_FRAME_MAGIC);
    base_put_le32(h + POS_FRAME_SIZE, (uint32_t)(index_size - 8));
    memcpy(h + POS_MAGIC, INDEX_MAGIC, POS_VERSION - POS_MAGIC);
    base_put_le32(h + POS_VERSION, INDEX_VERSION);
    base_put_le32(h + POS_HEADER_SIZE, INDEX_HEADER_SIZE);
    base_put_le32(h + POS_TABLE_SIZE, (uint32_t)table_size);
    base_put_le32(h + POS_INDEX_SIZE, (uint32_t)index_size);
    base_put_le32(h + POS_BLOCK_COUNT, (uint32_t)b->block_count);
    base_put_le16(h + POS_BLOCK_ENTRY_SIZE, BLOCK_ENTRY_SIZE);
    base_put_le16(h + POS_LOG_NAME_SIZE, (uint16_t)info->log_name_size);
    memcpy(h + POS_LOG_ID, info->log_id.bytes, BASE_ID_SIZE);
    memcpy(h + POS_ATTEMPT, info->attempt.bytes, BASE_ID_SIZE);
    base_put_le32(h + POS_EPOCH, info->epoch);
    base_put_le32(h + POS_SECTION_COUNT, section_count);
    base_put_le64(h + POS_BASE_OFFSET, (uint64_t)info->base_offset);
    base_put_le64(h + POS_END_OFFSET, (uint64_t)info->end_offset);
    base_put_le64(h + POS_FIRST_TIMESTAMP, (uint64_t)info->first_timestamp);
    base_put_le64(h + POS_MAX_TIMESTAMP, (uint64_t)info->max_timestamp);
    base_put_le64(h + POS_APPEND_TIME, (uint64_t)info->append_time);
    base_put_le64(h + POS_SEGMENT_SIZE, info->segment_size);
    memcpy(h + POS_SEGMENT_SHA256, info->segment_sha256, BASE_SHA256_SIZE);
    memcpy(h + POS_PREVIOUS_CHAIN_HASH, info->previous_chain_hash, BASE_SHA256_SIZE);
    memcpy(h + POS_CHAIN_HASH, info->chain_hash, BASE_SHA256_SIZE);
    base_put_le64(h + POS_INDEX_POS, b->stored_end);
    base_put_le32(h + POS_SEEK_TABLE_SIZE, (uint32_t)seek->size);
    base_put_le32(h + POS_SEEK_TABLE_CRC32C, base_crc32c(0, seek->data, seek->size));
}

static int info_check(const struct cold_object_builder *b, const struct cold_object_info *info,
                      struct varve_error *err)
{
    if (b->block_count == 0)
        return base_fail(err, VARVE_E_INVALID, "an object without blocks");
    if (info->log_name_size == 0 || info->log_name_size > INDEX_LOG_NAME_MAX)
        return base_fail(err, VARVE_E_INVALID, "a log name of %zu bytes", info->log_name_size);
    if (info->segment_size != b->raw_end)
        return base_fail(err, VARVE_E_INVALID, "blocks hold %llu bytes of a segment of %llu",
                         (unsigned long long)b->raw_end, (unsigned long long)info->segment_size);
    if (base_get_le64(b->blocks.data + POS_BLOCK_FIRST_OFFSET) != (uint64_t)info->base_offset ||
        info->end_offset <= b->last_first_offset)
        return base_fail(err, VARVE_E_INVALID, "blocks do not lie within offsets %lld..%lld",
                         (long long)info->base_offset, (long long)info->end_offset);
    return 0;
}

static int tail_encode(struct cold_object_builder *b, const struct cold_object_info *info,
                       const struct base_buffer *producers, struct base_buffer *seek,
                       size_t *ret_table_size, size_t *ret_index_size, struct varve_error *err)
{
    size_t table_size = INDEX_HEADER_SIZE + info->log_name_size + b->blocks.size + INDEX_CRC_SIZE;
    size_t index_size = table_size + section_size(&b->sparse_bytes) + section_size(producers) +
                        section_size(&b->aborted);
    unsigned section_count =
        (b->sparse_bytes.size > 0) + (producers->size > 0) + (b->aborted.size > 0);
    struct base_buffer *tail = &b->tail;
    uint8_t *header;

    if (index_size > UINT32_MAX)
        return base_fail(err, VARVE_E_TOO_LARGE, "an index of %zu bytes", index_size);
    seek_table_encode(b, (uint32_t)index_size, seek);
    base_buffer_clear(tail);
    header = base_buffer_extend(tail, INDEX_HEADER_SIZE);
    if (!header || seek->failed)
        return base_fail(err, VARVE_E_NO_MEMORY, "build an object: out of memory");
    header_encode(b, info, table_size, index_size, section_count, seek, header);
    base_buffer_add(tail, info->log_name, info->log_name_size);
    base_buffer_add(tail, b->blocks.data, b->blocks.size);
    base_buffer_le32(tail, base_crc32c(0, tail->data, tail->size));
    section_add(tail, SECTION_SPARSE, &b->sparse_bytes);
    section_add(tail, SECTION_PRODUCERS, producers);
    section_add(tail, SECTION_ABORTED, &b->aborted);
    assert(tail->failed || tail->size == index_size);
    base_buffer_add(tail, seek->data, seek->size);
    if (tail->failed)
        return base_fail(err, VARVE_E_NO_MEMORY, "build an object: out of memory");
    *ret_table_size = table_size;
    *ret_index_size = index_size;
    return 0;
}

int cold_object_builder_finish(struct cold_object_builder *b, const struct cold_object_info *info,
                               const void **ret_tail, size_t *ret_tail_size,
                               uint32_t *ret_table_size, uint32_t *ret_index_size,
                               struct varve_error *err)
{
    struct base_buffer producers, seek;
    size_t table_size = 0, index_size = 0;
    int rc = info_check(b, info, err);

    if (rc < 0)
        return rc;
    base_buffer_init(&producers);
    base_buffer_init(&seek);
    if (!sections_prepare(b, &producers))
        rc = base_fail(err, VARVE_E_NO_MEMORY, "build an object: out of memory");
    else
        rc = tail_encode(b, info, &producers, &seek, &table_size, &index_size, err);
    base_buffer_deinit(&producers);
    base_buffer_deinit(&seek);
    if (rc < 0)
        return rc;
    *ret_tail = b->tail.data;
    *ret_tail_size = b->tail.size;
    *ret_table_size = (uint32_t)table_size;
    *ret_index_size = (uint32_t)index_size;
    return 0;
}
