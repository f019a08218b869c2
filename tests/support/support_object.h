/*
 * Builds whole segment objects in memory, for tests. Any failure aborts the test program.
 *
 * Use: init, batches, finish; then `segment` holds the hot segment's bytes, `object` the object's,
 * and `entry` what a manifest would say of it. deinit frees.
 */
#ifndef TESTS_SUPPORT_OBJECT_H
#define TESTS_SUPPORT_OBJECT_H

#include "base/bytes.h"
#include "cold/object.h"
#include "index/entry.h"

struct support_object {
    const char *log_name;
    struct base_id log_id;
    uint32_t epoch; /* 0 unless the test sets it before finish */
    int64_t base_offset;
    int64_t next_offset;
    struct base_buffer segment;
    struct base_buffer object;
    struct index_entry entry; /* set by finish */
};

/* An id whose bytes all follow from `number`. */
struct base_id support_id(uint64_t number);

/* `log_name` is borrowed. */
void support_object_init(struct support_object *o, const char *log_name,
                         const struct base_id *log_id, int64_t base_offset);
void support_object_deinit(struct support_object *o);

/*
 * Adds one batch of `count` records of `value_size` bytes each. The first has `timestamp`, each
 * next one 1 more. Values are text that compresses well, or noise; they depend on the offset alone.
 */
void support_object_batch(struct support_object *o, unsigned count, size_t value_size,
                          int64_t timestamp, bool noise);

/* Adds an encoded batch as it is, but for its base offset. */
void support_object_raw(struct support_object *o, const void *data, size_t size);

/*
 * Compresses into blocks of at most `block_bytes` of whole batches (a larger batch is a block of
 * its own) and makes the tail. `previous_chain_hash` NULL: zeros.
 */
void support_object_finish(struct support_object *o, size_t block_bytes, int level,
                           const struct base_id *attempt, const uint8_t *previous_chain_hash);

/* What support_object_batch put into the record at `offset`: fills `buf`. */
void support_object_value(int64_t offset, bool noise, uint8_t *buf, size_t size);

#endif
