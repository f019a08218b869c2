/*
 * The segment object: a valid .zst file whose decompressed bytes are exactly the hot segment. See
 * docs/format-object.md.
 *
 *   frame 0 .. frame n-1      independent zstd frames (blocks), whole batches each
 *   skippable frame           varve's index: header and block table (the "table", one GET), then
 * further sections skippable frame           the seek table of the zstd seekable format
 *
 * Encoding is split so that blocks can be compressed in parallel and streamed: compress each block
 * (any thread), put its bytes into the body, tell the builder (in order); the builder then makes
 * the tail (both skippable frames).
 */
#ifndef COLD_OBJECT_H
#define COLD_OBJECT_H

#include "base/bytes.h"
#include "index/entry.h"
#include "index/sparse.h"
#include "record/batch.h"

#define COLD_BLOCK_BYTES_DEFAULT (1024 * 1024)
#define COLD_PRODUCERS_MAX 100000 /* producer.ids.max's default */

/* A compression context; one thread at a time. NULL: out of memory. */
struct cold_compressor;
struct cold_compressor *cold_compressor_new(void);
struct cold_compressor *cold_compressor_free(struct cold_compressor *c);
/* Of the library behind it: the same version makes the same bytes of the same block and level. */
uint32_t cold_compressor_version(void);

/* One block, as the table describes it. */
struct cold_block_info {
    int64_t first_offset;
    int64_t max_timestamp;
    uint64_t pos;         /* in the object */
    uint32_t stored_size; /* bytes of the frame */
    uint32_t raw_pos;     /* in the segment */
    uint32_t raw_size;
    uint32_t crc32c;           /* of the frame's bytes */
    uint32_t content_checksum; /* low half of the content's XXH64: the frame's last four bytes */
};

/*
 * Appends one zstd frame (with content size and content checksum) to `out`. Sets what the frame
 * decides of *ret: stored_size, raw_size, crc32c, content_checksum; the other fields are the
 * caller's and stay as they are. VARVE_E_NO_MEMORY; VARVE_E_INVALID (nothing, or above 1 GiB).
 */
int cold_block_compress(struct cold_compressor *c, int level, const void *data, size_t size,
                        struct base_buffer *out, struct cold_block_info *ret,
                        struct varve_error *err);

/* What the object says of its segment. */
struct cold_object_info {
    const char *log_name; /* not terminated in decoded form */
    size_t log_name_size;
    struct base_id log_id;
    struct base_id attempt;
    uint32_t epoch;
    int64_t base_offset;
    int64_t end_offset;
    int64_t first_timestamp;
    int64_t max_timestamp;
    int64_t append_time;
    uint64_t segment_size;
    uint8_t segment_sha256[BASE_SHA256_SIZE];
    uint8_t previous_chain_hash[BASE_SHA256_SIZE];
    uint8_t chain_hash[BASE_SHA256_SIZE];
};

/* State of one producer as of the segment's end. */
struct cold_producer {
    int64_t producer_id;
    int16_t producer_epoch;
    int32_t last_sequence;
    int64_t last_offset;
    int64_t last_timestamp;
};

struct cold_object_builder;
int cold_object_builder_new(uint32_t index_interval_bytes, struct cold_object_builder **ret,
                            struct varve_error *err);
struct cold_object_builder *cold_object_builder_free(struct cold_object_builder *b);

/* One batch of the segment, in order, as the block walk meets it: feeds the sparse index,
 * producers, block maxima. */
int cold_object_builder_batch(struct cold_object_builder *b, const struct record_batch *batch,
                              uint32_t raw_pos, struct varve_error *err);
/* One block is complete: its place and sums. first_offset and max_timestamp are the caller's. In
 * order. */
int cold_object_builder_block(struct cold_object_builder *b, const struct cold_block_info *block,
                              struct varve_error *err);
/* Records that the records of `producer_id` in [first_offset, last_offset] belong to an aborted
 * transaction. */
int cold_object_builder_aborted(struct cold_object_builder *b, int64_t producer_id,
                                int64_t first_offset, int64_t last_offset, struct varve_error *err);
/*
 * The tail. *ret_tail is the builder's. table_size and index_size as index_entry wants them; the
 * index frame begins where the last block ends.
 */
int cold_object_builder_finish(struct cold_object_builder *b, const struct cold_object_info *info,
                               const void **ret_tail, size_t *ret_tail_size,
                               uint32_t *ret_table_size, uint32_t *ret_index_size,
                               struct varve_error *err);

/* The table, decoded. Plain view over `data`, which it borrows. */
struct cold_table_view {
    struct cold_object_info info;
    const uint8_t *blocks;
    size_t block_count;
};
/* VARVE_E_CORRUPT, VARVE_E_VERSION. Checks the checksum, that blocks touch in the object and in the
 * segment. */
int cold_table_decode(const void *data, size_t size, struct cold_table_view *ret,
                      struct varve_error *err);
void cold_table_block(const struct cold_table_view *t, size_t i, struct cold_block_info *ret);
/* The block that holds `offset` (which must be inside the segment). */
size_t cold_table_find_offset(const struct cold_table_view *t, int64_t offset);
/* The first block from `from` on with max_timestamp >= timestamp and an end above min_offset.
 * False: none. */
bool cold_table_find_time(const struct cold_table_view *t, size_t from, int64_t timestamp,
                          int64_t min_offset, size_t *ret_i);

/* The whole index frame, decoded: table plus sections. Views. */
struct cold_index_view {
    struct cold_table_view table;
    const void *sparse; /* encoded as a hot .index file */
    size_t sparse_size;
    const uint8_t *producers;
    size_t producer_count;
    const uint8_t *aborted; /* le64 producer id, first offset, last offset */
    size_t aborted_count;
};
int cold_index_decode(const void *data, size_t size, struct cold_index_view *ret,
                      struct varve_error *err);
void cold_index_producer(const struct cold_index_view *v, size_t i, struct cold_producer *ret);
void cold_index_aborted(const struct cold_index_view *v, size_t i, int64_t *ret_producer_id,
                        int64_t *ret_first_offset, int64_t *ret_last_offset);
/*
 * All that follows the blocks: the index frame, and the seek table, which must say the same. What
 * `verify` uses; `data` is the object from index_pos to its end.
 */
int cold_tail_decode(const void *data, size_t size, struct cold_index_view *ret,
                     struct varve_error *err);

/* Finds the index frame from an object's last bytes (at least COLD_TAIL_PROBE of them or the
 * whole): for tools and recovery. */
#define COLD_TAIL_PROBE 64
int cold_object_find_index(const void *tail, size_t tail_size, uint64_t object_size,
                           uint64_t *ret_pos, uint32_t *ret_size, struct varve_error *err);

/* Decompresses one stored block into exactly raw_size bytes; the CRC32C of the stored bytes is
 * checked first (I9). */
struct cold_decompressor;
struct cold_decompressor *cold_decompressor_new(void);
struct cold_decompressor *cold_decompressor_free(struct cold_decompressor *d);
int cold_block_decompress(struct cold_decompressor *d, const struct cold_block_info *block,
                          const void *stored, void *raw, struct varve_error *err);

#endif
