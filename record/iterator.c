/*
 * The life of an iterator: new, then start and next for one batch after another, free. It keeps the
 * codec's contexts, the decompressed records and the header array from batch to batch.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/error.h"
#include "record/codec.h"
#include "record/entry.h"
#include "record/iterator.h"

struct record_iterator {
    struct record_batch batch;
    const uint8_t *pos; /* the next record; at `end` after the last */
    const uint8_t *end;
    int32_t number;             /* of the next record, from 0 */
    int64_t last_offset_delta;  /* of the record before; -1 at first */
    struct record_codec *codec; /* made for the first compressed batch */
    struct base_buffer unpacked;
    struct varve_header *headers;
    size_t header_capacity;
};

int record_iterator_new(struct record_iterator **ret, struct varve_error *err)
{
    struct record_iterator *it = calloc(1, sizeof(*it));

    if (it == NULL) {
        return base_fail(err, VARVE_E_NO_MEMORY, "record iterator: out of memory");
    }
    base_buffer_init(&it->unpacked);
    *ret = it;
    return 0;
}

struct record_iterator *record_iterator_free(struct record_iterator *it)
{
    if (it != NULL) {
        record_codec_free(it->codec);
        base_buffer_deinit(&it->unpacked);
        free(it->headers);
        free(it);
    }
    return NULL;
}

/* Leaves the decompressed records in it->unpacked. */
static int unpack(struct record_iterator *it, const struct record_batch *batch,
                  const uint8_t *records, size_t size, size_t decompressed_max,
                  struct varve_error *err)
{
    if (it->codec == NULL) {
        it->codec = record_codec_new();
        if (it->codec == NULL) {
            return base_fail(err, VARVE_E_NO_MEMORY, "record iterator: out of memory");
        }
    }
    int rc = record_codec_decompress(it->codec, batch->codec, records, size, decompressed_max,
                                     &it->unpacked, err);
    if (rc < 0) {
        return base_error_context(err, rc, "batch at offset %" PRId64, batch->base_offset);
    }
    return 0;
}

int record_iterator_start(struct record_iterator *it, const void *data,
                          const struct record_batch *batch, size_t decompressed_max,
                          struct varve_error *err)
{
    const uint8_t *records = (const uint8_t *)data + RECORD_BATCH_HEADER_SIZE;
    size_t size = batch->size - RECORD_BATCH_HEADER_SIZE;

    /* Until this start succeeds the iterator holds an empty batch. */
    it->pos = it->end = NULL;
    it->number = 0;
    it->last_offset_delta = -1;
    it->batch = (struct record_batch){.record_count = 0};
    if (batch->codec != VARVE_CODEC_NONE) {
        int rc = unpack(it, batch, records, size, decompressed_max, err);
        if (rc < 0) {
            return rc;
        }
        records = it->unpacked.data;
        size = it->unpacked.size;
    }
    it->batch = *batch;
    it->pos = records;
    it->end = size == 0 ? records : records + size;
    return 0;
}

/* Room for the headers of one record; entry.c bounds their count. */
static int headers_reserve(struct record_iterator *it, size_t count, struct varve_error *err)
{
    if (count <= it->header_capacity) {
        return 0;
    }
    size_t capacity = count < 16 ? 16 : count;
    struct varve_header *headers = realloc(it->headers, capacity * sizeof(*headers));
    if (headers == NULL) {
        return base_fail(err, VARVE_E_NO_MEMORY, "record iterator: no memory for %zu headers",
                         count);
    }
    it->headers = headers;
    it->header_capacity = capacity;
    return 0;
}

/* Offset deltas grow and stay within the batch; compaction may leave gaps between them. */
static int entry_timestamp(const struct record_iterator *it, const struct record_entry *e,
                           int64_t *ret, struct varve_error *err)
{
    int64_t timestamp;

    if (e->offset_delta <= it->last_offset_delta ||
        e->offset_delta > it->batch.last_offset - it->batch.base_offset) {
        return base_fail(err, VARVE_E_CORRUPT,
                         "batch at offset %" PRId64 ": record %d: offset delta %d",
                         it->batch.base_offset, it->number, e->offset_delta);
    }
    if (__builtin_add_overflow(it->batch.base_timestamp, e->timestamp_delta, &timestamp)) {
        return base_fail(err, VARVE_E_CORRUPT,
                         "batch at offset %" PRId64 ": record %d: timestamp delta %" PRId64,
                         it->batch.base_offset, it->number, e->timestamp_delta);
    }
    *ret = it->batch.log_append_time ? it->batch.max_timestamp : timestamp;
    return 0;
}

int record_iterator_next(struct record_iterator *it, struct varve_record *ret,
                         struct varve_error *err)
{
    struct record_entry e;
    int64_t timestamp = 0;
    int rc;

    if (it->number == it->batch.record_count) {
        if (it->pos != it->end) {
            return base_fail(err, VARVE_E_CORRUPT,
                             "batch at offset %" PRId64
                             ": %td bytes left over after its %d records",
                             it->batch.base_offset, it->end - it->pos, it->batch.record_count);
        }
        return base_fail(err, VARVE_E_END, "no more records in the batch");
    }
    if (it->pos == it->end) {
        return base_fail(err, VARVE_E_CORRUPT,
                         "batch at offset %" PRId64 ": record count %d, but %d are there",
                         it->batch.base_offset, it->batch.record_count, it->number);
    }
    rc = record_entry_decode(it->pos, it->end, it->number, &e, err);
    if (rc < 0) {
        return base_error_context(err, rc, "batch at offset %" PRId64, it->batch.base_offset);
    }
    if ((rc = entry_timestamp(it, &e, &timestamp, err)) < 0 ||
        (rc = headers_reserve(it, (size_t)e.header_count, err)) < 0) {
        return rc;
    }
    record_entry_headers(&e, it->headers);
    *ret = (struct varve_record){
        .offset = it->batch.base_offset + e.offset_delta,
        .timestamp = timestamp,
        .key = e.key,
        .key_size = e.key == NULL ? 0 : (size_t)e.key_size,
        .value = e.value,
        .value_size = e.value == NULL ? 0 : (size_t)e.value_size,
        .headers = e.header_count == 0 ? NULL : it->headers,
        .header_count = (size_t)e.header_count,
    };
    it->pos = e.end;
    it->last_offset_delta = e.offset_delta;
    it->number++;
    return 0;
}
