/*
 * Root and pages in the bucket: the conditional writes that decide who owns a log (I6, I7), and the
 * loader of pages.
 */
#ifndef COLD_MANIFEST_H
#define COLD_MANIFEST_H

#include "cold/store.h"
#include "index/edit.h"
#include "index/manifest.h"

/* Reads the root. *ret is fresh memory, not yet decoded. VARVE_E_NOT_FOUND: there is none (the
 * store answered so). `_within`: as cold_store_read_within. */
int cold_manifest_read_root(struct cold_store *meta, const char *log_name, void **ret,
                            size_t *ret_size, struct cold_etag *ret_etag, struct varve_error *err);
int cold_manifest_read_root_within(struct cold_store *meta, const char *log_name,
                                   int64_t patience_ms, void **ret, size_t *ret_size,
                                   struct cold_etag *ret_etag, struct varve_error *err);

/*
 * Stores the pages (each if-absent; one that is there already with the same bytes is fine), then
 * the root: if-match `etag`, or if-absent with etag NULL. After a lost reply or a 412 the root is
 * read back and its write id compared (I7): when it is ours the call succeeds.
 * VARVE_E_PRECONDITION: somebody else's root is there. Any other failure: it may still arrive.
 */
int cold_manifest_write(struct cold_store *meta, const char *log_name, const struct base_id *log_id,
                        const void *root, size_t root_size, const struct index_edit_page *pages,
                        size_t page_count, const struct cold_etag *etag, struct cold_etag *ret_etag,
                        struct varve_error *err);

/* A loader of pages for index_manifest_open; plain data, borrowed by the manifest for its life. */
struct cold_manifest_loader {
    struct index_loader loader;
    struct cold_store *meta;
    const char *log_name;
    struct base_id log_id;
};
void cold_manifest_loader_init(struct cold_manifest_loader *l, struct cold_store *meta,
                               const char *log_name, const struct base_id *log_id);

/* After a conditional write: could it have happened all the same? Then what is there tells (I7).
 * Not when it was never tried, or was refused. */
bool cold_manifest_outcome_unknown(int rc);

/*
 * The store's identity object, `varve-store`: settings text (base/text.h) with `id`, `created`.
 * Read (VARVE_E_NOT_FOUND: none), or made if-absent (VARVE_E_EXISTS: another store's is there).
 */
#define COLD_IDENTITY_KEY "varve-store"
int cold_identity_read(struct cold_store *meta, struct base_id *ret_id, struct varve_error *err);
int cold_identity_create(struct cold_store *meta, const struct base_id *id, int64_t created,
                         struct varve_error *err);

#endif
