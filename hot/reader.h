/*
 * Walks whole batches of a hot set across its segments. One thread at a time. Pins the segment it
 * stands in.
 */
#ifndef HOT_READER_H
#define HOT_READER_H

#include "hot/set.h"

#define HOT_READER_BUFFER_BYTES                                                                    \
    (256 * 1024) /* grows to the largest batch met, at most max.message.bytes */

struct hot_reader;

int hot_reader_new(struct hot_set *set, struct hot_reader **ret, struct varve_error *err);
struct hot_reader *hot_reader_free(struct hot_reader *reader);

/* The next batch returned is the one that holds `offset`. VARVE_E_OUT_OF_RANGE: below the floor (go
 * cold) or above the end. */
int hot_reader_seek(struct hot_reader *reader, int64_t offset, struct varve_error *err);

/*
 * The next batch below the visible end: its bytes (valid until the next call on the reader) and its
 * decoded header; header and CRC32C are checked (I9). VARVE_E_END: at the visible end, more may
 * come. VARVE_E_OUT_OF_RANGE: the segment it needs next was evicted (the reader fell behind: go
 * cold at the same offset). VARVE_E_CORRUPT names file and position.
 */
int hot_reader_next(struct hot_reader *reader, const void **ret_data, struct record_batch *ret,
                    struct varve_error *err);

/* Offset the next call would return a batch for. */
int64_t hot_reader_offset(const struct hot_reader *reader);

/*
 * Offset and timestamp of the first record at or after `min_offset` whose timestamp is >=
 * `timestamp`, in the hot tier. VARVE_E_NOT_FOUND: none. min_offset may lie below the floor.
 */
int hot_reader_find_time(struct hot_set *set, int64_t timestamp, int64_t min_offset,
                         size_t decompressed_max, int64_t *ret_offset, int64_t *ret_timestamp,
                         struct varve_error *err);

#endif
