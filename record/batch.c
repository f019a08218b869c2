/*
 * FORMAT: Kafka's record batch v2. Numbers are big-endian two's complement.
 *
 *     pos  size  field
 *       0     8  base offset           0 or more
 *       8     4  batch length          bytes after this field: the batch's size less 12; 49 or more
 *      12     4  leader epoch          -1: none
 *      16     1  magic                 2
 *      17     4  CRC32C                of byte 21 to the end of the batch
 *      21     2  attributes            see below
 *      23     4  last offset delta     from the base offset; record count - 1 in a dense batch
 *      27     8  base timestamp        ms since 1970 UTC, -1: none; with the delete horizon bit set
 *                                      it is that horizon, and the deltas still count from it
 *      35     8  max timestamp         ms; the largest of the records', or the time of the append
 *      43     8  producer id           -1: none
 *      51     2  producer epoch        -1: none
 *      53     4  base sequence         -1: none
 *      57     4  record count
 *      61        records               entry.c; compressed as one piece when a codec is set
 *
 *     attributes: bits 0-2 codec (0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd), bit 3 timestamps are
 *     those of the append (every record's is then the max timestamp), bit 4 transactional, bit 5
 *     control, bit 6 delete horizon, bits 7-15 zero.
 *
 * VALID
 *   - for record_batch_decode: every field as above, producer fields that go together, base offset
 *     plus last offset delta below 2^63, and record count at most last offset delta + 1 (Kafka's
 *     compaction leaves fewer).
 *   - for record_batch_check: also the CRC32C.
 *   - for record_batch_validate: also a dense batch of one record or more whose every record is
 *     valid, with offset deltas 0, 1, 2 .., timestamps of -1 or more and at most the max timestamp,
 *     keys of a control batch of 4 bytes or more, and no byte left over.
 *
 * INVARIANTS
 *   B1  The CRC leaves out bytes 0 to 20, so that assigning the base offset and the leader epoch
 *       changes no other byte.
 *   B2  No byte outside data[0..size) is read, whatever the bytes say.
 *   B3  Decompression stops at the caller's bound, whatever the bytes say.
 */
#include <assert.h>
#include <inttypes.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "record/batch.h"
#include "record/codec.h"
#include "record/entry.h"

enum {
    POS_BASE_OFFSET = 0,
    POS_LENGTH = 8,
    POS_LEADER_EPOCH = 12,
    POS_MAGIC = 16,
    POS_CRC = 17,
    POS_ATTRIBUTES = 21,
    POS_LAST_OFFSET_DELTA = 23,
    POS_BASE_TIMESTAMP = 27,
    POS_MAX_TIMESTAMP = 35,
    POS_PRODUCER_ID = 43,
    POS_PRODUCER_EPOCH = 51,
    POS_BASE_SEQUENCE = 53,
    POS_RECORD_COUNT = 57,
    POS_END = 61,
};
static_assert(POS_END == RECORD_BATCH_HEADER_SIZE, "the header is 61 bytes");
static_assert(POS_ATTRIBUTES == RECORD_BATCH_CRC_FROM, "the CRC covers all behind itself");
static_assert(POS_LENGTH + 4 == RECORD_BATCH_PREFIX_SIZE, "the prefix ends after the length");

#define ATTRIBUTE_CODEC 0x07
#define ATTRIBUTE_LOG_APPEND_TIME 0x08
#define ATTRIBUTE_TRANSACTIONAL 0x10
#define ATTRIBUTE_CONTROL 0x20
#define ATTRIBUTE_DELETE_HORIZON 0x40
#define ATTRIBUTES_KNOWN 0x7f

#define CONTROL_KEY_SIZE_MIN 4 /* int16 version, int16 type */

static int64_t get_i64(const uint8_t *data, size_t pos)
{
    return (int64_t)base_get_be64(data + pos);
}

static int32_t get_i32(const uint8_t *data, size_t pos)
{
    return (int32_t)base_get_be32(data + pos);
}

static int16_t get_i16(const uint8_t *data, size_t pos)
{
    return (int16_t)base_get_be16(data + pos);
}

size_t record_batch_size(const void *data)
{
    uint32_t length = base_get_be32((const uint8_t *)data + POS_LENGTH);

    if (length < RECORD_BATCH_HEADER_SIZE - RECORD_BATCH_PREFIX_SIZE ||
        length > RECORD_BATCH_SIZE_MAX - RECORD_BATCH_PREFIX_SIZE) {
        return 0;
    }
    return (size_t)length + RECORD_BATCH_PREFIX_SIZE;
}

static int at_least(int64_t value, int64_t min, const char *field, struct varve_error *err)
{
    if (value < min) {
        return base_fail(err, VARVE_E_CORRUPT, "batch header: %s %" PRId64 " is below %" PRId64,
                         field, value, min);
    }
    return 0;
}

/* Fields that go together: a producer has an id, an epoch and, unless it is the coordinator writing
 * a marker, a sequence. Without an id the other two mean nothing, and some clients leave 0 there.
 */
static int producer_check(const struct record_batch *b, struct varve_error *err)
{
    int rc;

    if ((rc = at_least(b->producer_id, -1, "producer id", err)) < 0 ||
        (rc = at_least(b->producer_epoch, -1, "producer epoch", err)) < 0 ||
        (rc = at_least(b->base_sequence, -1, "base sequence", err)) < 0) {
        return rc;
    }
    if (b->producer_id < 0) {
        if (b->transactional) {
            return base_fail(err, VARVE_E_CORRUPT,
                             "batch header: producer id -1 in a transactional batch");
        }
        return 0;
    }
    if (b->producer_epoch < 0) {
        return base_fail(err, VARVE_E_CORRUPT,
                         "batch header: producer epoch -1 with producer id %" PRId64,
                         b->producer_id);
    }
    if (b->base_sequence < 0 && !b->control) {
        return base_fail(err, VARVE_E_CORRUPT,
                         "batch header: base sequence -1 with producer id %" PRId64,
                         b->producer_id);
    }
    return 0;
}

static int attributes_decode(struct record_batch *b, struct varve_error *err)
{
    unsigned bits = (uint16_t)b->attributes;

    if ((bits & ~(unsigned)ATTRIBUTES_KNOWN) != 0) {
        return base_fail(err, VARVE_E_CORRUPT, "batch header: attributes 0x%04x have unknown bits",
                         bits);
    }
    if ((bits & ATTRIBUTE_CODEC) > VARVE_CODEC_ZSTD) {
        return base_fail(err, VARVE_E_CORRUPT,
                         "batch header: attributes 0x%04x name the unknown codec %u", bits,
                         bits & ATTRIBUTE_CODEC);
    }
    b->codec = (enum varve_codec)(bits & ATTRIBUTE_CODEC);
    b->log_append_time = (bits & ATTRIBUTE_LOG_APPEND_TIME) != 0;
    b->transactional = (bits & ATTRIBUTE_TRANSACTIONAL) != 0;
    b->control = (bits & ATTRIBUTE_CONTROL) != 0;
    b->has_delete_horizon = (bits & ATTRIBUTE_DELETE_HORIZON) != 0;
    return 0;
}

/* Offsets and count; last_offset is set. */
static int counts_check(struct record_batch *b, int32_t last_offset_delta, struct varve_error *err)
{
    int rc;

    if ((rc = at_least(b->base_offset, 0, "base offset", err)) < 0 ||
        (rc = at_least(b->leader_epoch, -1, "leader epoch", err)) < 0 ||
        (rc = at_least(last_offset_delta, 0, "last offset delta", err)) < 0 ||
        (rc = at_least(b->record_count, 0, "record count", err)) < 0) {
        return rc;
    }
    if (b->base_offset > INT64_MAX - last_offset_delta) {
        return base_fail(err, VARVE_E_CORRUPT,
                         "batch header: base offset %" PRId64 " with last offset delta %d is too "
                         "large",
                         b->base_offset, last_offset_delta);
    }
    if (b->record_count > (int64_t)last_offset_delta + 1) {
        return base_fail(err, VARVE_E_CORRUPT,
                         "batch header: record count %d with last offset delta %d", b->record_count,
                         last_offset_delta);
    }
    b->last_offset = b->base_offset + last_offset_delta;
    return 0;
}

int record_batch_decode(const void *data, size_t size, struct record_batch *ret,
                        struct varve_error *err)
{
    const uint8_t *p = data;
    int rc;

    if (size < RECORD_BATCH_HEADER_SIZE) {
        return base_fail(err, VARVE_E_CORRUPT, "batch header: %zu bytes of %d are there", size,
                         RECORD_BATCH_HEADER_SIZE);
    }
    /* The magic first: it says whether the rest has these meanings. */
    if (p[POS_MAGIC] != 2) {
        return base_fail(err, VARVE_E_CORRUPT, "batch header: magic %u, not 2", p[POS_MAGIC]);
    }
    size_t batch_size = record_batch_size(data);
    if (batch_size == 0) {
        return base_fail(err, VARVE_E_CORRUPT, "batch header: batch length %d is impossible",
                         get_i32(p, POS_LENGTH));
    }
    if (batch_size > size) {
        return base_fail(
            err, VARVE_E_CORRUPT,
            "batch header: batch length %d, but %zu of the batch's %zu bytes are there",
            get_i32(p, POS_LENGTH), size, batch_size);
    }
    struct record_batch b = {
        .base_offset = get_i64(p, POS_BASE_OFFSET),
        .size = (uint32_t)batch_size,
        .leader_epoch = get_i32(p, POS_LEADER_EPOCH),
        .crc = base_get_be32(p + POS_CRC),
        .attributes = get_i16(p, POS_ATTRIBUTES),
        .base_timestamp = get_i64(p, POS_BASE_TIMESTAMP),
        .max_timestamp = get_i64(p, POS_MAX_TIMESTAMP),
        .producer_id = get_i64(p, POS_PRODUCER_ID),
        .producer_epoch = get_i16(p, POS_PRODUCER_EPOCH),
        .base_sequence = get_i32(p, POS_BASE_SEQUENCE),
        .record_count = get_i32(p, POS_RECORD_COUNT),
    };
    if ((rc = attributes_decode(&b, err)) < 0 ||
        (rc = counts_check(&b, get_i32(p, POS_LAST_OFFSET_DELTA), err)) < 0 ||
        (rc = at_least(b.base_timestamp, -1, "base timestamp", err)) < 0 ||
        (rc = at_least(b.max_timestamp, -1, "max timestamp", err)) < 0 ||
        (rc = producer_check(&b, err)) < 0) {
        return rc;
    }
    *ret = b;
    return 0;
}

int record_batch_check(const void *data, size_t size, struct record_batch *ret,
                       struct varve_error *err)
{
    struct record_batch b;
    int rc = record_batch_decode(data, size, &b, err);

    if (rc < 0) {
        return rc;
    }
    uint32_t crc = base_crc32c(0, (const uint8_t *)data + POS_ATTRIBUTES, b.size - POS_ATTRIBUTES);
    if (crc != b.crc) {
        return base_fail(err, VARVE_E_CORRUPT,
                         "batch header: CRC32C %08x, but that of its bytes is %08x", b.crc, crc);
    }
    *ret = b;
    return 0;
}

/* What a record must be beyond its own format. */
static int entry_check(const struct record_batch *b, const struct record_entry *e, int32_t number,
                       struct varve_error *err)
{
    int64_t timestamp;

    if (e->offset_delta != number) {
        return base_fail(err, VARVE_E_CORRUPT, "record %d: offset delta %d, not %d", number,
                         e->offset_delta, number);
    }
    if (__builtin_add_overflow(b->base_timestamp, e->timestamp_delta, &timestamp) ||
        timestamp < -1) {
        return base_fail(err, VARVE_E_CORRUPT,
                         "record %d: timestamp delta %" PRId64 " from base timestamp %" PRId64,
                         number, e->timestamp_delta, b->base_timestamp);
    }
    if (timestamp > b->max_timestamp && !b->log_append_time) {
        return base_fail(err, VARVE_E_CORRUPT,
                         "record %d: timestamp %" PRId64 " is above the batch's max timestamp "
                         "%" PRId64,
                         number, timestamp, b->max_timestamp);
    }
    if (b->control && e->key_size < CONTROL_KEY_SIZE_MIN) {
        return base_fail(err, VARVE_E_CORRUPT, "record %d: key size %d in a control batch", number,
                         e->key_size);
    }
    return 0;
}

static int records_validate(const struct record_batch *b, const uint8_t *p, size_t size,
                            struct varve_error *err)
{
    const uint8_t *end = size == 0 ? p : p + size; /* what unpacks to nothing is NULL */
    struct record_entry e;
    int rc;

    for (int32_t i = 0; i < b->record_count; i++) {
        if (p == end) {
            return base_fail(err, VARVE_E_CORRUPT, "batch: record count %d, but %d are there",
                             b->record_count, i);
        }
        if ((rc = record_entry_decode(p, end, i, &e, err)) < 0 ||
            (rc = entry_check(b, &e, i, err)) < 0) {
            return rc;
        }
        p = e.end;
    }
    if (p != end) {
        return base_fail(err, VARVE_E_CORRUPT, "batch: %td bytes left over after its %d records",
                         end - p, b->record_count);
    }
    return 0;
}

/* Decompresses and validates the records of a compressed batch. */
static int packed_validate(const struct record_batch *b, const uint8_t *p, size_t size,
                           size_t decompressed_max, struct record_codec *codec,
                           struct base_buffer *scratch, struct varve_error *err)
{
    int rc = record_codec_decompress(codec, b->codec, p, size, decompressed_max, scratch, err);

    if (rc < 0) {
        return base_error_context(err, rc, "batch");
    }
    return records_validate(b, scratch->data, scratch->size, err);
}

int record_batch_validate_with(const void *data, size_t size, size_t decompressed_max,
                               struct record_codec *codec, struct base_buffer *scratch,
                               struct record_batch *ret, struct varve_error *err)
{
    struct record_batch b;
    int rc = record_batch_check(data, size, &b, err);

    if (rc < 0) {
        return rc;
    }
    if (b.record_count < 1 || b.record_count != b.last_offset - b.base_offset + 1) {
        return base_fail(err, VARVE_E_CORRUPT,
                         "batch: record count %d with last offset delta %" PRId64
                         " is not a dense batch",
                         b.record_count, b.last_offset - b.base_offset);
    }
    const uint8_t *records = (const uint8_t *)data + RECORD_BATCH_HEADER_SIZE;
    size_t records_size = b.size - RECORD_BATCH_HEADER_SIZE;
    if (b.codec != VARVE_CODEC_NONE) {
        rc = packed_validate(&b, records, records_size, decompressed_max, codec, scratch, err);
    } else if (records_size > decompressed_max) {
        rc = base_fail(err, VARVE_E_TOO_LARGE, "batch: %zu bytes of records, the limit is %zu",
                       records_size, decompressed_max);
    } else {
        rc = records_validate(&b, records, records_size, err);
    }
    if (rc < 0) {
        return rc;
    }
    *ret = b;
    return 0;
}

int record_batch_validate(const void *data, size_t size, size_t decompressed_max,
                          struct record_batch *ret, struct varve_error *err)
{
    struct record_codec *codec = NULL;
    struct base_buffer scratch;

    /* An uncompressed batch, the append path, needs neither. */
    if (size >= RECORD_BATCH_HEADER_SIZE &&
        (base_get_be16((const uint8_t *)data + POS_ATTRIBUTES) & ATTRIBUTE_CODEC) != 0) {
        codec = record_codec_new();
        if (codec == NULL) {
            return base_fail(err, VARVE_E_NO_MEMORY, "batch: no memory to decompress");
        }
    }
    base_buffer_init(&scratch);
    int rc = record_batch_validate_with(data, size, decompressed_max, codec, &scratch, ret, err);
    base_buffer_deinit(&scratch);
    record_codec_free(codec);
    return rc;
}

void record_batch_assign(void *header, int64_t base_offset, int32_t leader_epoch)
{
    uint8_t *p = header;

    base_put_be64(p + POS_BASE_OFFSET, (uint64_t)base_offset); /* B1 */
    base_put_be32(p + POS_LEADER_EPOCH, (uint32_t)leader_epoch);
}

void record_batch_encode(void *data, const struct record_batch *batch)
{
    uint8_t *p = data;

    base_put_be64(p + POS_BASE_OFFSET, (uint64_t)batch->base_offset);
    base_put_be32(p + POS_LENGTH, batch->size - RECORD_BATCH_PREFIX_SIZE);
    base_put_be32(p + POS_LEADER_EPOCH, (uint32_t)batch->leader_epoch);
    p[POS_MAGIC] = 2;
    base_put_be16(p + POS_ATTRIBUTES, (uint16_t)batch->attributes);
    base_put_be32(p + POS_LAST_OFFSET_DELTA, (uint32_t)(batch->last_offset - batch->base_offset));
    base_put_be64(p + POS_BASE_TIMESTAMP, (uint64_t)batch->base_timestamp);
    base_put_be64(p + POS_MAX_TIMESTAMP, (uint64_t)batch->max_timestamp);
    base_put_be64(p + POS_PRODUCER_ID, (uint64_t)batch->producer_id);
    base_put_be16(p + POS_PRODUCER_EPOCH, (uint16_t)batch->producer_epoch);
    base_put_be32(p + POS_BASE_SEQUENCE, (uint32_t)batch->base_sequence);
    base_put_be32(p + POS_RECORD_COUNT, (uint32_t)batch->record_count);
    base_put_be32(p + POS_CRC, base_crc32c(0, p + POS_ATTRIBUTES, batch->size - POS_ATTRIBUTES));
}
