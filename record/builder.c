/*
 * The life of a batch: records are encoded one by one behind room for the header; encoding then
 * compresses them where that makes the batch smaller, and writes the header. What was encoded stays
 * until the next add or clear.
 *
 * INVARIANTS
 *   R1  An add that fails leaves the batch as it was.
 *   R2  `plain` never exceeds size_max.
 *   R3  What is encoded passes record_batch_validate.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/error.h"
#include "record/builder.h"
#include "record/codec.h"
#include "record/entry.h"
#include "record/varint.h"

#define SIZE_MAX_MIN 128
#define FIELD_SIZE_MAX (RECORD_BATCH_SIZE_MAX - RECORD_BATCH_HEADER_SIZE)

struct varve_batch {
    enum varve_codec codec;
    int level;
    size_t size_max;
    int32_t count;
    int64_t base_timestamp; /* of the first record */
    int64_t max_timestamp;
    struct base_buffer plain;    /* room for the header, then the records */
    struct base_buffer packed;   /* the compressed batch, or the wrapped one */
    struct base_buffer scratch;  /* of validating a wrapped one */
    struct record_codec *codecs; /* made when first used */
    const uint8_t *encoded;      /* in plain or packed; NULL: not encoded since the last change */
    size_t encoded_size;
    bool wrapped;
};

int varve_batch_new(enum varve_codec codec, int level, size_t size_max, struct varve_batch **ret,
                    struct varve_error *err)
{
    if (record_codec_name(codec) == NULL) {
        return base_fail(err, VARVE_E_INVALID, "batch: unknown codec %d", (int)codec);
    }
    if (!record_codec_level_valid(codec, level)) {
        return base_fail(err, VARVE_E_INVALID, "batch: codec %s has no level %d",
                         record_codec_name(codec), level);
    }
    if (size_max < SIZE_MAX_MIN || size_max > RECORD_BATCH_SIZE_MAX) {
        return base_fail(err, VARVE_E_INVALID, "batch: size_max %zu is not within %d and %d",
                         size_max, SIZE_MAX_MIN, RECORD_BATCH_SIZE_MAX);
    }
    struct varve_batch *batch = calloc(1, sizeof(*batch));
    if (batch == NULL) {
        return base_fail(err, VARVE_E_NO_MEMORY, "batch: out of memory");
    }
    batch->codec = codec;
    batch->level = level;
    batch->size_max = size_max;
    base_buffer_init(&batch->plain);
    base_buffer_init(&batch->packed);
    base_buffer_init(&batch->scratch);
    if (base_buffer_extend(&batch->plain, RECORD_BATCH_HEADER_SIZE) == NULL) {
        varve_batch_free(batch);
        return base_fail(err, VARVE_E_NO_MEMORY, "batch: out of memory");
    }
    *ret = batch;
    return 0;
}

struct varve_batch *varve_batch_free(struct varve_batch *batch)
{
    if (batch != NULL) {
        base_buffer_deinit(&batch->plain);
        base_buffer_deinit(&batch->packed);
        base_buffer_deinit(&batch->scratch);
        record_codec_free(batch->codecs);
        free(batch);
    }
    return NULL;
}

void varve_batch_clear(struct varve_batch *batch)
{
    batch->plain.size = RECORD_BATCH_HEADER_SIZE;
    batch->plain.failed = false;
    base_buffer_clear(&batch->packed);
    batch->count = 0;
    batch->encoded = NULL;
    batch->encoded_size = 0;
    batch->wrapped = false;
}

size_t varve_batch_count(const struct varve_batch *batch)
{
    return (size_t)batch->count;
}

size_t varve_batch_size(const struct varve_batch *batch)
{
    return batch->wrapped ? batch->encoded_size : batch->plain.size;
}

static int record_check(const struct varve_record *r, struct varve_error *err)
{
    if (r->timestamp < -1) {
        return base_fail(err, VARVE_E_INVALID, "record: timestamp %" PRId64 " is negative",
                         r->timestamp);
    }
    if (r->key == NULL && r->key_size != 0) {
        return base_fail(err, VARVE_E_INVALID, "record: a null key of %zu bytes", r->key_size);
    }
    if (r->value == NULL && r->value_size != 0) {
        return base_fail(err, VARVE_E_INVALID, "record: a null value of %zu bytes", r->value_size);
    }
    if (r->headers == NULL && r->header_count != 0) {
        return base_fail(err, VARVE_E_INVALID, "record: %zu headers at NULL", r->header_count);
    }
    if (r->header_count > RECORD_ENTRY_HEADER_COUNT_MAX) {
        return base_fail(err, VARVE_E_TOO_LARGE, "record: %zu headers, the limit is %d",
                         r->header_count, RECORD_ENTRY_HEADER_COUNT_MAX);
    }
    for (size_t i = 0; i < r->header_count; i++) {
        const struct varve_header *h = &r->headers[i];
        if (h->name == NULL) {
            return base_fail(err, VARVE_E_INVALID, "record: header %zu has a NULL name", i);
        }
        if (h->value == NULL && h->value_size != 0) {
            return base_fail(err, VARVE_E_INVALID,
                             "record: header %zu has a null value of %zu bytes", i, h->value_size);
        }
    }
    return 0;
}

/* Bytes of a size field and what follows it; above any batch's size when `size` is. */
static uint64_t field_size(const void *data, size_t size)
{
    if (size > FIELD_SIZE_MAX) {
        return FIELD_SIZE_MAX; /* with the fields around it over the limit in any case */
    }
    return data == NULL ? 1 : record_varlong_size((int64_t)size) + size;
}

/* Bytes of a record after its size field. Sums of at most 2 * 65536 + 2 fields: no overflow. */
static uint64_t body_size(const struct varve_record *r, int64_t timestamp_delta,
                          int32_t offset_delta)
{
    uint64_t size = 1 + record_varlong_size(timestamp_delta) + record_varlong_size(offset_delta) +
                    field_size(r->key, r->key_size) + field_size(r->value, r->value_size) +
                    record_varlong_size((int64_t)r->header_count);

    for (size_t i = 0; i < r->header_count; i++) {
        const struct varve_header *h = &r->headers[i];
        size += field_size(h->name, h->name_size) + field_size(h->value, h->value_size);
    }
    return size;
}

static uint8_t *field_put(uint8_t *p, const void *data, size_t size)
{
    if (data == NULL) {
        return p + record_varlong_put(p, -1);
    }
    p += record_varlong_put(p, (int64_t)size);
    if (size > 0) {
        memcpy(p, data, size);
    }
    return p + size;
}

/* The byte table is in entry.c. Returns the end. */
static uint8_t *record_put(uint8_t *p, const struct varve_record *r, uint64_t size,
                           int64_t timestamp_delta, int32_t offset_delta)
{
    p += record_varlong_put(p, (int64_t)size);
    *p++ = 0; /* attributes */
    p += record_varlong_put(p, timestamp_delta);
    p += record_varlong_put(p, offset_delta);
    p = field_put(p, r->key, r->key_size);
    p = field_put(p, r->value, r->value_size);
    p += record_varlong_put(p, (int64_t)r->header_count);
    for (size_t i = 0; i < r->header_count; i++) {
        p = field_put(p, r->headers[i].name, r->headers[i].name_size);
        p = field_put(p, r->headers[i].value, r->headers[i].value_size);
    }
    return p;
}

/* Why this record cannot be added: full, unless it would not fit an empty batch either. */
static int record_refuse(const struct varve_batch *batch, const struct varve_record *record,
                         struct varve_error *err)
{
    uint64_t alone = body_size(record, 0, 0);

    alone += record_varlong_size((int64_t)alone) + RECORD_BATCH_HEADER_SIZE;
    if (alone > batch->size_max) {
        return base_fail(err, VARVE_E_TOO_LARGE,
                         "record: a batch of it alone takes %" PRIu64 " bytes, the limit is %zu",
                         alone, batch->size_max);
    }
    return base_fail(err, VARVE_E_FULL, "batch: full at %zu of %zu bytes", varve_batch_size(batch),
                     batch->size_max);
}

int varve_batch_add(struct varve_batch *batch, const struct varve_record *record,
                    struct varve_error *err)
{
    int64_t timestamp_delta = 0;
    int rc = record_check(record, err);

    if (rc < 0) {
        return rc;
    }
    if (batch->wrapped) {
        return record_refuse(batch, record, err);
    }
    /* -1 first, then the year 292 million: the delta does not fit, another batch takes it. */
    if (batch->count > 0 &&
        __builtin_sub_overflow(record->timestamp, batch->base_timestamp, &timestamp_delta)) {
        return record_refuse(batch, record, err);
    }
    uint64_t body = body_size(record, timestamp_delta, batch->count);
    uint64_t total = record_varlong_size((int64_t)body) + body;
    if (total > batch->size_max - batch->plain.size) { /* R2 */
        return record_refuse(batch, record, err);
    }
    uint8_t *p = base_buffer_extend(&batch->plain, total);
    if (p == NULL) {
        batch->plain.failed = false; /* R1: its bytes are as before */
        return base_fail(err, VARVE_E_NO_MEMORY,
                         "batch: no memory for a record of %" PRIu64 " bytes", total);
    }
    uint8_t *end = record_put(p, record, body, timestamp_delta, batch->count);
    assert(end == p + total);
    (void)end;
    if (batch->count == 0) {
        batch->base_timestamp = record->timestamp;
        batch->max_timestamp = record->timestamp;
    } else if (record->timestamp > batch->max_timestamp) {
        batch->max_timestamp = record->timestamp;
    }
    batch->count++;
    batch->encoded = NULL;
    return 0;
}

static int codecs_reserve(struct varve_batch *batch, struct varve_error *err)
{
    if (batch->codecs == NULL) {
        batch->codecs = record_codec_new();
        if (batch->codecs == NULL) {
            return base_fail(err, VARVE_E_NO_MEMORY, "batch: out of memory");
        }
    }
    return 0;
}

/* Compresses into `packed`, behind room for the header. */
static int pack(struct varve_batch *batch, struct varve_error *err)
{
    int rc = codecs_reserve(batch, err);

    if (rc < 0) {
        return rc;
    }
    base_buffer_clear(&batch->packed);
    if (base_buffer_extend(&batch->packed, RECORD_BATCH_HEADER_SIZE) == NULL) {
        return base_fail(err, VARVE_E_NO_MEMORY, "batch: out of memory");
    }
    rc = record_codec_compress(batch->codecs, batch->codec, batch->level,
                               batch->plain.data + RECORD_BATCH_HEADER_SIZE,
                               batch->plain.size - RECORD_BATCH_HEADER_SIZE, &batch->packed, err);
    return rc < 0 ? base_error_context(err, rc, "batch") : 0;
}

int record_builder_encode(struct varve_batch *batch, const void **ret_data, size_t *ret_size,
                          struct varve_error *err)
{
    if (batch->count == 0) {
        return base_fail(err, VARVE_E_INVALID, "batch: no records");
    }
    if (batch->encoded == NULL) {
        struct base_buffer *chosen = &batch->plain;
        enum varve_codec codec = VARVE_CODEC_NONE;
        if (batch->codec != VARVE_CODEC_NONE) {
            int rc = pack(batch, err);
            if (rc < 0) {
                return rc;
            }
            if (batch->packed.size < batch->plain.size) {
                chosen = &batch->packed;
                codec = batch->codec;
            }
        }
        struct record_batch header = {
            .base_offset = 0,
            .last_offset = batch->count - 1,
            .size = (uint32_t)chosen->size,
            .leader_epoch = -1,
            .attributes = (int16_t)codec,
            .base_timestamp = batch->base_timestamp,
            .max_timestamp = batch->max_timestamp,
            .producer_id = -1,
            .producer_epoch = -1,
            .base_sequence = -1,
            .record_count = batch->count,
        };
        record_batch_encode(chosen->data, &header);
        batch->encoded = chosen->data;
        batch->encoded_size = chosen->size;
    }
    *ret_data = batch->encoded;
    *ret_size = batch->encoded_size;
    return 0;
}

int record_builder_wrap(struct varve_batch *batch, const void *data, size_t size,
                        struct varve_error *err)
{
    struct record_batch header;
    int rc;

    if (batch->count > 0) {
        return base_fail(err, VARVE_E_FULL, "batch: wrapping into one that holds records");
    }
    if (size > batch->size_max) {
        return base_fail(err, VARVE_E_TOO_LARGE, "batch: %zu bytes, the limit is %zu", size,
                         batch->size_max);
    }
    if ((rc = codecs_reserve(batch, err)) < 0 ||
        (rc = record_batch_validate_with(data, size, batch->size_max - RECORD_BATCH_HEADER_SIZE,
                                         batch->codecs, &batch->scratch, &header, err)) < 0) {
        return rc;
    }
    if (header.size != size) {
        return base_fail(err, VARVE_E_CORRUPT, "batch: %zu bytes left over after its %u",
                         size - header.size, header.size);
    }
    base_buffer_clear(&batch->packed);
    uint8_t *copy = base_buffer_extend(&batch->packed, size);
    if (copy == NULL) {
        return base_fail(err, VARVE_E_NO_MEMORY, "batch: no memory for %zu bytes", size);
    }
    memcpy(copy, data, size);
    record_batch_assign(copy, 0, -1);
    batch->encoded = copy;
    batch->encoded_size = size;
    batch->count = header.record_count;
    batch->wrapped = true;
    return 0;
}
