/*
 * Makes a new root from an old one. The only way roots change.
 *
 * Use: index_edit_new from the current root (or for a new log), calls that change it,
 * index_edit_finish for the bytes of the new root and of the pages that it newly refers to. Pages
 * must be stored before the root that names them. One thread at a time. An edit borrows the
 * manifest's current root for its life (a pin). After a call that failed for want of memory or of a
 * page the edit can only be freed; a refusal (VARVE_E_INVALID and the like) leaves it as it was.
 */
#ifndef INDEX_EDIT_H
#define INDEX_EDIT_H

#include "index/manifest.h"

struct index_edit;

/* Starts from a manifest's current root. The manifest must have one loaded. */
int index_edit_new(struct index_manifest *manifest, struct index_edit **ret,
                   struct varve_error *err);

/* Starts a log that has no root yet (or only a tombstone): start, end and deleted_to are
 * `start_offset`. */
int index_edit_new_log(const char *log_name, const struct base_id *log_id,
                       const struct base_id *owner, int64_t start_offset, int64_t created,
                       struct index_edit **ret, struct varve_error *err);
struct index_edit *index_edit_free(struct index_edit *edit);

/*
 * Adds the next segment: its base_offset must be the edit's end (I1), and its chain hash
 * index_chain_hash of the root's. Two exceptions: a log without any entry takes one from above, and
 * start moves with it; and where a trim went beyond the uploaded end into a segment (start ==
 * end), that segment is taken whole, from below the start. VARVE_E_INVALID; VARVE_E_NOT_FOUND: the
 * log was deleted.
 */
int index_edit_add(struct index_edit *edit, const struct index_entry *entry,
                   struct varve_error *err);

/*
 * Replaces the entry with the same base and end offset (a re-upload that repairs): rewrites the
 * pages on its path. VARVE_E_NOT_FOUND; VARVE_E_INVALID: another SHA-256 or chain hash.
 */
int index_edit_replace(struct index_edit *edit, const struct index_entry *entry,
                       struct varve_error *err);

/*
 * Moves the log start offset up and remembers the cut for later deletion. Beyond the end offset,
 * the end moves along (I1): the chain restarts there (chain hash kept). Never moves down: then it
 * does nothing.
 */
int index_edit_trim(struct index_edit *edit, int64_t start_offset, int64_t now_ms,
                    struct varve_error *err);

/* All objects that end at or below `offset` are deleted: drops cuts up to it, entries and pages
 * that lie wholly below. Pages that lie partly below are rewritten. VARVE_E_INVALID: above start.
 */
int index_edit_deleted_to(struct index_edit *edit, int64_t offset, struct varve_error *err);

/* Replaces the configuration text. VARVE_E_TOO_LARGE. */
int index_edit_config(struct index_edit *edit, const char *text, size_t size,
                      struct varve_error *err);

/* Takes ownership: epoch + 1 (its start is the end offset), a new owner. */
int index_edit_take_over(struct index_edit *edit, const struct base_id *owner,
                         struct varve_error *err);

/* The root that the new one replaces cannot be read, and may be one write newer than the
 * manifest's: the new one's generation is higher than that, too (M3). */
void index_edit_overtake(struct index_edit *edit);

/* Marks the log as deleted. */
int index_edit_tombstone(struct index_edit *edit, struct varve_error *err);

/* A page that must be stored before the root. */
struct index_edit_page {
    struct index_ref ref; /* names it */
    const void *data;
    size_t size;
};

/*
 * Folds what is full, and encodes. `random` gives the new root's write id and the pages' attempt
 * ids. Everything returned belongs to the edit and is valid until it is freed. The root is at most
 * INDEX_ROOT_SIZE_MAX bytes.
 */
int index_edit_finish(struct index_edit *edit, const struct base_random *random,
                      const void **ret_root, size_t *ret_root_size,
                      const struct index_edit_page **ret_pages, size_t *ret_page_count,
                      struct varve_error *err);

#endif
