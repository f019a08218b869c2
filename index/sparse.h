/*
 * The sparse index of one segment: one entry for about every index.interval.bytes of batches.
 *
 * An entry is written when its interval is closed, and describes it whole: first offset, end
 * offset, position, size, and the interval's own maximum timestamp (never a running one: see I5 and
 * format-segment.md). Batches after the last closed interval are found by scanning from
 * index_sparse_end_pos(). Each entry carries its own CRC32C, so a torn or flipped one is found when
 * it is used. The byte table is in sparse.c.
 *
 * In memory the entries are one array. The hot tier keeps it in `<base>.index` beside the segment
 * (mapped read-only when opened for reading); the cold tier carries the same bytes inside the
 * object.
 */
#ifndef INDEX_SPARSE_H
#define INDEX_SPARSE_H

#include "base/bytes.h"
#include "base/env.h"

#define INDEX_SPARSE_HEADER_SIZE 32
#define INDEX_SPARSE_ENTRY_SIZE 32

struct index_sparse_entry {
    int64_t first_offset;
    int64_t end_offset; /* exclusive */
    uint32_t pos;       /* bytes from the segment's start */
    uint32_t size;      /* bytes of the interval's whole batches */
    int64_t max_timestamp;
};

/* Encoding, shared by both tiers. `base_offset` is the segment's. */
void index_sparse_header_encode(int64_t base_offset, uint8_t buf[INDEX_SPARSE_HEADER_SIZE]);
void index_sparse_entry_encode(int64_t base_offset, const struct index_sparse_entry *entry,
                               uint8_t buf[INDEX_SPARSE_ENTRY_SIZE]);

/* Builds entries from batches as they are appended or scanned. Plain data; embed it. */
struct index_sparse_builder {
    int64_t base_offset;
    uint32_t interval_bytes;
    bool open; /* `current` describes an unfinished interval */
    struct index_sparse_entry current;
};

void index_sparse_builder_init(struct index_sparse_builder *b, int64_t base_offset,
                               uint32_t interval_bytes);
/* Adds one batch. True when it closed an interval: *ret is the finished entry. (The batch is the
 * interval's last.) */
bool index_sparse_builder_add(struct index_sparse_builder *b, int64_t base_offset,
                              int64_t end_offset, uint32_t pos, uint32_t size,
                              int64_t max_timestamp, struct index_sparse_entry *ret);
/* Closes the open interval at the segment's end; false when there is none. */
bool index_sparse_builder_finish(struct index_sparse_builder *b, struct index_sparse_entry *ret);

/* A view over encoded bytes (header and entries). Plain data; borrows the bytes. */
struct index_sparse {
    const uint8_t *entries;
    size_t count;
    int64_t base_offset;
};

/*
 * Checks the header and takes the entries, a torn last one left out. Entries are checked when used.
 * VARVE_E_CORRUPT (magic, header checksum, another segment's base offset), VARVE_E_VERSION.
 */
int index_sparse_init(struct index_sparse *s, const void *data, size_t size, int64_t base_offset,
                      struct varve_error *err);

/* Decodes and checks entry `i`. VARVE_E_CORRUPT. */
int index_sparse_get(const struct index_sparse *s, size_t i, struct index_sparse_entry *ret,
                     struct varve_error *err);

/* Position just behind the last entry: where scanning must begin for what follows. 0 when empty. */
int index_sparse_end_pos(const struct index_sparse *s, uint32_t *ret_pos, int64_t *ret_offset,
                         struct varve_error *err);

/*
 * The entry that holds `offset`. VARVE_E_NOT_FOUND: it lies behind the last entry (scan from
 * end_pos). Binary search; each entry it touches is checked. VARVE_E_CORRUPT.
 */
int index_sparse_find_offset(const struct index_sparse *s, int64_t offset, size_t *ret_i,
                             struct index_sparse_entry *ret, struct varve_error *err);

/*
 * The first entry at or after `from_i` whose own maximum timestamp is >= `timestamp` and whose end
 * is above `min_offset`. It may still hold no match (the outlier may lie below min_offset): the
 * caller then goes on at *ret_i + 1. VARVE_E_NOT_FOUND: none. VARVE_E_CORRUPT.
 */
int index_sparse_find_time(const struct index_sparse *s, size_t from_i, int64_t timestamp,
                           int64_t min_offset, size_t *ret_i, struct index_sparse_entry *ret,
                           struct varve_error *err);

/* Checks every entry: checksums, order, that intervals touch (positions and offsets) and begin at
 * 0. */
int index_sparse_check(const struct index_sparse *s, struct varve_error *err);

#endif
