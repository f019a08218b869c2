/*
 * The root of a log's manifest, decoded header and views of its arrays. See
 * docs/format-manifest.md.
 *
 * A root is bytes: INDEX_ROOT_SIZE_MAX at most, the same in the bucket and in the local copy.
 * index_root is a view over such bytes; making a new root is index_edit's work (edit.h).
 */
#ifndef INDEX_ROOT_H
#define INDEX_ROOT_H

#include "index/entry.h"

#define INDEX_ROOT_SIZE_MAX (1024 * 1024)
#define INDEX_ROOT_ENTRIES_MAX                                                                     \
    1000                        /* inline entries; when full they are folded into a level-0 page */
#define INDEX_PAGE_ENTRIES 1000 /* entries of a level-0 page */
#define INDEX_PAGE_REFS                                                                            \
    256 /* references of a page above level 0; as many of a level fold into one */
#define INDEX_ROOT_EPOCHS_MAX 1024  /* history of (epoch, start offset); the oldest are merged */
#define INDEX_ROOT_CUTS_MAX 64      /* pending deletions; when full the newest cut grows instead */
#define INDEX_ROOT_CONFIG_MAX 16384 /* bytes of configuration text */

struct index_epoch {
    uint32_t epoch;
    int64_t start_offset;
};

/* Everything below `offset` was cut off at `time` (wall clock ms); its objects go after the grace
 * period. */
struct index_cut {
    int64_t offset;
    int64_t time;
};

struct index_root {
    /* identity */
    struct base_id log_id;
    struct base_id owner;    /* id of the store that may write */
    struct base_id write_id; /* of the write that made these bytes (I7) */
    uint64_t generation;     /* +1 with every write */
    uint32_t epoch;
    bool tombstone; /* the log was deleted */
    int64_t created;
    const char *log_name; /* view; not terminated */
    size_t log_name_size;
    /* state */
    int64_t start_offset;                 /* log start offset */
    int64_t end_offset;                   /* n: cold covers [start_offset, n) */
    int64_t deleted_to;                   /* objects that end at or below are gone */
    uint8_t chain_hash[BASE_SHA256_SIZE]; /* at n */
    uint64_t segment_count; /* entries reachable, those below start_offset and not yet deleted
                               included */
    uint64_t segment_bytes;
    uint64_t object_bytes;
    int64_t max_timestamp;
    /* arrays: views of encoded items */
    const char *config; /* "name=value\n" lines */
    size_t config_size;
    const uint8_t *epochs;
    size_t epoch_count;
    const uint8_t *cuts;
    size_t cut_count;
    const uint8_t *ref_groups; /* per 16 references: base offset, maximum timestamp */
    const uint8_t *refs;       /* ascending offsets; levels never ascend from left to right */
    size_t ref_count;
    const uint8_t *entries; /* newest, inline */
    size_t entry_count;
    const uint8_t *groups; /* per 16 inline entries: base offset, maximum timestamp */
    /* the bytes themselves */
    const void *data;
    size_t size;
};

/*
 * Decodes and checks a whole root: magic, version, header size, must-understand features, checksum,
 * that arrays lie inside, that offsets touch without a hole up to end_offset (I1); holes that a
 * trim beyond the end left lie wholly below start_offset. Sums and group tables match their items.
 * VARVE_E_CORRUPT, VARVE_E_VERSION. The view borrows `data`.
 */
int index_root_decode(const void *data, size_t size, struct index_root *ret,
                      struct varve_error *err);

/* As above without the checksum and the walk over the arrays: for a mapped local copy checked once
 * before. */
int index_root_view(const void *data, size_t size, struct index_root *ret, struct varve_error *err);

void index_root_epoch(const struct index_root *r, size_t i, struct index_epoch *ret);
/* The epoch in which an offset was written, by the root's history, and where (*ret_end, may be
 * NULL) the next one begins; -1: too long ago to say. */
int64_t index_root_epoch_at(const struct index_root *r, int64_t offset, int64_t *ret_end);
void index_root_cut(const struct index_root *r, size_t i, struct index_cut *ret);
void index_root_ref(const struct index_root *r, size_t i, struct index_ref *ret);
void index_root_entry(const struct index_root *r, size_t i, struct index_entry *ret);

/* A page: a view over its bytes. */
struct index_page {
    struct base_id log_id;
    uint32_t level;
    size_t count;
    const uint8_t *items;  /* entries (level 0) or references */
    const uint8_t *groups; /* per 16 items: base offset, maximum timestamp */
    int64_t base_offset;
    int64_t end_offset;
};

/* Whole check, checksum included; `ref` is the reference that names it. VARVE_E_CORRUPT,
 * VARVE_E_VERSION. */
int index_page_decode(const void *data, size_t size, const struct index_ref *ref,
                      const struct base_id *log_id, struct index_page *ret,
                      struct varve_error *err);

#endif
