/*
 * Records and batches. The format is Kafka's record batch v2 everywhere: in memory, on disk, in the
 * bucket. Source: Apache Kafka documentation, "Record Batch" and "Record"; KIP-98.
 */
#ifndef VARVE_RECORD_H
#define VARVE_RECORD_H

#include <varve/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Compression of the records inside one batch; the numbers are those of the batch's attributes. */
enum varve_codec {
    VARVE_CODEC_NONE = 0,
    VARVE_CODEC_GZIP = 1,
    VARVE_CODEC_SNAPPY = 2,
    VARVE_CODEC_LZ4 = 3,
    VARVE_CODEC_ZSTD = 4,
};

struct varve_header {
    const char *name; /* UTF-8, not terminated */
    size_t name_size;
    const void *value; /* NULL: a null value */
    size_t value_size;
};

/*
 * One record. For appending, `offset` is ignored. As a reader returns it, all pointers are views
 * into memory of the reader, valid until the reader's next call. A null key or value has a NULL
 * pointer; an empty one does not.
 */
struct varve_record {
    int64_t offset;    /* record number in the log */
    int64_t timestamp; /* ms since 1970-01-01 UTC */
    const void *key;
    size_t key_size;
    const void *value;
    size_t value_size;
    const struct varve_header *headers;
    size_t header_count;
};

/* A batch under construction. Opaque; one thread at a time. */
struct varve_batch;

/*
 * Makes an empty batch that will be compressed by `codec` (level 0: the codec's default).
 * `size_max` bounds the bytes of the encoded batch before compression, header included.
 *
 * Failures: VARVE_E_INVALID (codec, a level it does not have, size_max below 128 or above 2^31-1),
 * VARVE_E_NO_MEMORY.
 */
VARVE_API int varve_batch_new(enum varve_codec codec, int level, size_t size_max,
                              struct varve_batch **ret, struct varve_error *err);

/* Frees a batch; NULL is accepted. Returns NULL. */
VARVE_API struct varve_batch *varve_batch_free(struct varve_batch *batch);

/*
 * Copies one record to the end of the batch.
 *
 * Conditions: VARVE_E_FULL when the batch holds records and this one would exceed size_max: append
 * the batch, clear it, add again. Failures: VARVE_E_TOO_LARGE when it exceeds size_max even alone,
 * VARVE_E_INVALID (a negative timestamp other than -1, a NULL header name, NULL bytes with a size),
 * VARVE_E_NO_MEMORY. Whatever fails leaves the batch as it was.
 */
VARVE_API int varve_batch_add(struct varve_batch *batch, const struct varve_record *record,
                              struct varve_error *err);

/* Records in the batch. */
VARVE_API size_t varve_batch_count(const struct varve_batch *batch);

/* Bytes the batch takes before compression, header included. */
VARVE_API size_t varve_batch_size(const struct varve_batch *batch);

/* Empties the batch and keeps its memory. */
VARVE_API void varve_batch_clear(struct varve_batch *batch);

/*
 * One batch as it lies in the log: a view of its encoded bytes, and what its header says.
 * Views belong to the reader that returned them and are valid until its next call.
 */
struct varve_batch_view {
    const void *data; /* the whole encoded batch, header included */
    size_t size;      /* bytes */
    int64_t base_offset;
    int64_t last_offset;
    int64_t max_timestamp;
    size_t record_count;
};

#ifdef __cplusplus
}
#endif

#endif
