/*
 * A record batch v2: its header, validation, and the two fields the engine sets.
 * Source: Apache Kafka documentation "Record Batch"; KIP-98. The byte table is in batch.c.
 */
#ifndef RECORD_BATCH_H
#define RECORD_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <varve/record.h>

#define RECORD_BATCH_HEADER_SIZE 61
#define RECORD_BATCH_PREFIX_SIZE 12      /* base offset and batch length: enough to know the size */
#define RECORD_BATCH_CRC_FROM 21         /* what the CRC covers, up to the end */
#define RECORD_BATCH_SIZE_MAX 0x7fffffff /* bytes, the format's own limit */

/* A decoded header. Plain data. */
struct record_batch {
    int64_t base_offset;
    int64_t last_offset; /* base_offset + last offset delta */
    uint32_t size;       /* bytes of the whole batch */
    int32_t leader_epoch;
    uint32_t crc;
    int16_t attributes;
    enum varve_codec codec;
    bool log_append_time;
    bool transactional;
    bool control;
    bool has_delete_horizon;
    int64_t base_timestamp;
    int64_t max_timestamp;
    int64_t producer_id;    /* -1: none */
    int16_t producer_epoch; /* -1: none */
    int32_t base_sequence;  /* -1: none */
    int32_t record_count;
};

/*
 * Size in bytes of the batch that begins at `data` (at least RECORD_BATCH_PREFIX_SIZE bytes), by
 * its length field alone. 0 when the field cannot be that of a batch.
 */
size_t record_batch_size(const void *data);

/*
 * Decodes the header of the batch at `data`; `size` bytes are there, which may be more than the
 * batch. Checks each header field, that the whole batch is there, and nothing else (see
 * record_batch_check). VARVE_E_CORRUPT, naming the field and its value. *ret is written only on
 * success.
 */
int record_batch_decode(const void *data, size_t size, struct record_batch *ret,
                        struct varve_error *err);

/* record_batch_decode, and the CRC32C. What recovery and hot reads use. */
int record_batch_check(const void *data, size_t size, struct record_batch *ret,
                       struct varve_error *err);

/*
 * record_batch_check, and every record in it: decompressed under `decompressed_max` bytes, count
 * and offset deltas dense from 0, timestamps within what the header says, lengths within the batch,
 * nothing left over. What appending foreign batches uses. VARVE_E_CORRUPT; VARVE_E_TOO_LARGE
 * (decompressed_max); VARVE_E_UNSUPPORTED.
 */
int record_batch_validate(const void *data, size_t size, size_t decompressed_max,
                          struct record_batch *ret, struct varve_error *err);

/*
 * record_batch_validate for callers that validate many: the contexts and the memory for
 * decompression are theirs. Both may be NULL for an uncompressed batch.
 */
struct record_codec;
struct base_buffer;
int record_batch_validate_with(const void *data, size_t size, size_t decompressed_max,
                               struct record_codec *codec, struct base_buffer *scratch,
                               struct record_batch *ret, struct varve_error *err);

/*
 * Writes the header of `batch` over the first RECORD_BATCH_HEADER_SIZE bytes of `data`, whose
 * records lie behind them already, and sets the CRC32C. The fields codec to has_delete_horizon and
 * crc are not looked at: attributes and the bytes say it.
 */
void record_batch_encode(void *data, const struct record_batch *batch);

/*
 * Writes into `header` (RECORD_BATCH_HEADER_SIZE bytes, a copy of a batch's header) the two fields
 * the CRC leaves out. Appending gathers this header and the caller's remaining bytes into one
 * write.
 */
void record_batch_assign(void *header, int64_t base_offset, int32_t leader_epoch);

#endif
