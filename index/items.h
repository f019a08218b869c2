/*
 * A run of entries or of references with its group table: what the root's arrays and every page
 * have in common, so that each look-up is written once. Internal to index/.
 *
 * Items ascend and do not overlap. Both kinds begin with base offset, end offset and maximum
 * timestamp (E1). The group table holds, for each INDEX_GROUP_ITEMS items, the first one's base
 * offset and the maximum of their timestamps: 16 bytes for 16 items, so that a search reads few
 * cache lines.
 */
#ifndef INDEX_ITEMS_H
#define INDEX_ITEMS_H

#include "base/bytes.h"
#include "index/root.h"

#define INDEX_GROUP_ITEMS 16
#define INDEX_GROUP_SIZE 16

struct index_items {
    const uint8_t *data;
    const uint8_t *groups;
    size_t count;
    size_t item_size; /* INDEX_ENTRY_SIZE or INDEX_REF_SIZE */
};

/* Sums over entries and references alike. */
struct index_totals {
    uint64_t segment_count;
    uint64_t segment_bytes;
    uint64_t object_bytes;
    int64_t max_timestamp; /* -1 when there is nothing */
};

static inline const uint8_t *index_items_at(const struct index_items *t, size_t i)
{
    return t->data + i * t->item_size;
}

static inline size_t index_groups_count(size_t item_count)
{
    return (item_count + INDEX_GROUP_ITEMS - 1) / INDEX_GROUP_ITEMS;
}

static inline int64_t index_item_base(const uint8_t *item)
{
    return (int64_t)base_get_le64(item);
}
static inline int64_t index_item_end(const uint8_t *item)
{
    return (int64_t)base_get_le64(item + 8);
}
static inline int64_t index_item_max_timestamp(const uint8_t *item)
{
    return (int64_t)base_get_le64(item + 16);
}

struct index_items index_items_of_page(const struct index_page *page);
struct index_items index_items_root_refs(const struct index_root *r);
struct index_items index_items_root_entries(const struct index_root *r);

/* The first item whose end is above `offset`; the count when there is none. */
size_t index_items_after(const struct index_items *t, int64_t offset);

/* The first item whose end is above `min_offset` and whose maximum timestamp is >= `timestamp`; the
 * count when there is none. */
size_t index_items_find_time(const struct index_items *t, int64_t timestamp, int64_t min_offset);

/* Writes the group table of `count` items; index_groups_count(count) * INDEX_GROUP_SIZE bytes. */
void index_groups_encode(const uint8_t *items, size_t count, size_t item_size, uint8_t *ret);

/*
 * Checks every item by itself, that they ascend from *prev_end without overlap, and the group
 * table. A hole is allowed when it ends at or below `hole_end`. Sums are added to *totals,
 * *prev_end moves to the last item's end. `level` is that of references: each is below
 * `level_limit` and none is above the one before. VARVE_E_CORRUPT.
 */
int index_items_check(const struct index_items *t, uint32_t level_limit, bool level_exact,
                      int64_t hole_end, int64_t *prev_end, struct index_totals *totals,
                      struct varve_error *err);

/* One entry by itself. VARVE_E_INVALID. */
int index_entry_check(const struct index_entry *e, struct varve_error *err);

/* Adds one item (an entry or a reference, by its size) to the sums. */
void index_totals_add(struct index_totals *t, const uint8_t *item, size_t item_size);

/* Pages: encoding, and the name of their local file (the last part of their key). */
#define INDEX_LEVELS_MAX 8 /* levels of pages: far more than 2^63 offsets can fill */
#define INDEX_PAGE_SIZE_MAX (1024 * 1024)

/*
 * Encodes a page of `count` (not 0) items of `level` (0: entries) into fresh memory, and sets all
 * of *ref but epoch and attempt, which the caller has set. VARVE_E_NO_MEMORY.
 */
int index_page_encode(const struct base_id *log_id, uint32_t level, const uint8_t *items,
                      size_t count, struct index_ref *ref, void **ret, size_t *ret_size,
                      struct varve_error *err);

#define INDEX_PAGE_NAME_SIZE 128
void index_page_name(const struct index_ref *ref, char ret[INDEX_PAGE_NAME_SIZE]);

/* What a root is encoded from: the header fields of `r`, and arrays. Counts and views of `r` are
 * ignored but for the log name and the configuration. `items` of entries and refs are encoded. */
struct index_root_parts {
    const struct index_root *root;
    const struct index_epoch *epochs;
    size_t epoch_count;
    const struct index_cut *cuts;
    size_t cut_count;
    const uint8_t *refs;
    size_t ref_count;
    const uint8_t *entries;
    size_t entry_count;
};

/* *ret is fresh memory. Totals are computed here. VARVE_E_TOO_LARGE, VARVE_E_NO_MEMORY. */
int index_root_encode(const struct index_root_parts *parts, void **ret, size_t *ret_size,
                      struct varve_error *err);

#endif
