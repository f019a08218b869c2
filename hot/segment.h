/*
 * One segment file of a hot set, as its users see it: reference-counted, readable while referenced
 * even when evicted.
 */
#ifndef HOT_SEGMENT_H
#define HOT_SEGMENT_H

#include "hot/set.h"
#include "index/sparse.h"

struct hot_segment;

struct hot_segment_info {
    int64_t base_offset;
    int64_t end_offset; /* visible end for the active one */
    int64_t first_timestamp;
    int64_t max_timestamp; /* -1 when empty */
    int64_t append_time;   /* wall clock ms of the last append (the file's mtime after a restart) */
    uint64_t size;         /* visible bytes */
    bool sealed;
};

/*
 * A reference to the segment that holds `offset`, or (for offset == end) to the active one.
 * VARVE_E_OUT_OF_RANGE below the floor or above the end. The reference does not pin against
 * eviction unless `pin`; a pin ends with its reference, or with the last one beside it.
 */
int hot_segment_find(struct hot_set *set, int64_t offset, bool pin, struct hot_segment **ret,
                     struct varve_error *err);
struct hot_segment *hot_segment_unref(struct hot_segment *segment);

/* VARVE_E_CORRUPT / VARVE_E_IO when the index has to be rebuilt and cannot. */
int hot_segment_info(struct hot_segment *segment, struct hot_segment_info *ret,
                     struct varve_error *err);
/* What the list knows without looking into the file: as above, but for timestamps (-1). */
void hot_segment_extent(struct hot_segment *segment, struct hot_segment_info *ret);
const char *hot_segment_path(const struct hot_segment *segment);
const char *hot_segment_index_path(const struct hot_segment *segment);

/* Reads up to `size` visible bytes at `pos`. Short only at the visible end. */
int hot_segment_read(struct hot_segment *segment, void *buf, size_t size, uint64_t pos,
                     size_t *ret_size, struct varve_error *err);

/* Tells the kernel that these bytes will not be read again soon (an upload of old data has passed).
 */
void hot_segment_forget(struct hot_segment *segment, uint64_t pos, uint64_t size);

/*
 * A place at or before the batch that holds `offset`, by the sparse index; scan from there. A
 * damaged index is rebuilt (in memory when read-only) and reported as a warning.
 */
int hot_segment_locate(struct hot_segment *segment, int64_t offset, uint64_t *ret_pos,
                       int64_t *ret_offset, struct varve_error *err);

/* The leader epoch of the first batch that is whole, behind damage if need be. VARVE_E_NOT_FOUND:
 * there is none. */
int hot_segment_epoch(struct hot_segment *segment, int64_t *ret, struct varve_error *err);

/* Checks every byte: batch CRCs, dense offsets, the index against the batches. VARVE_E_CORRUPT
 * names file and position. */
int hot_segment_verify(struct hot_segment *segment, struct varve_error *err);

/*
 * Checks the sparse index as it lies on disk (header, every entry, that it fits the segment),
 * without reading the batches. VARVE_E_CORRUPT names the .index file. In a set open for writing it
 * has then been rebuilt already: the error is only to be reported.
 */
int hot_segment_check_index(struct hot_segment *segment, struct varve_error *err);

/* Removes a damaged local copy that the cold tier also holds (the caller made sure, I3), and all
 * segments before it, pinned or not, so that the hot tier has no hole (I1). Sealed segments only:
 * VARVE_E_NOT_FOUND. */
int hot_segment_discard(struct hot_set *set, int64_t base_offset, struct varve_error *err);

#endif
