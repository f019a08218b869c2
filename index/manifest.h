/*
 * A log's manifest as this machine knows it: the local copy of root and pages, mapped, and every
 * look-up in it.
 *
 * The local copy lies in one directory: `root` and `page-<level>-<base>-<end>-<epoch>-<attempt>`,
 * byte for byte what the bucket holds. It is a cache of the bucket: anything missing or damaged is
 * fetched again through the loader. Pages are mapped when first needed and at most
 * INDEX_PAGES_MAPPED_MAX of them stay mapped. Opening costs the mapping of one file.
 *
 * Threads: any. Look-ups pin the current root; a new one may be installed at any time (also by
 * another process: index_manifest_refresh).
 */
#ifndef INDEX_MANIFEST_H
#define INDEX_MANIFEST_H

#include "base/env.h"
#include "index/root.h"

#define INDEX_PAGES_MAPPED_MAX 4096

/* Fetches from the bucket what the local copy lacks; implemented above (cold/manifest.c). */
struct index_loader {
    void *ctx;
    /* Fresh memory with the page's bytes (freed with free()). Failures upward as they are
     * (retriable ones, I8). */
    int (*load_page)(void *ctx, const struct index_ref *ref, void **ret, size_t *ret_size,
                     struct varve_error *err);
};

struct index_manifest;

/*
 * Opens the local copy in `dir` (which must exist). No root file: the manifest is empty until
 * index_manifest_install (index_manifest_loaded tells). A root that does not decode is
 * VARVE_E_CORRUPT unless `ignore_damaged`, which treats it as missing and reports at warning level:
 * the caller fetches it from the bucket. `loader` may be NULL (nothing is fetched: a missing page
 * is then VARVE_E_STORE, retriable). With `read_only` fetched pages are kept in memory, not
 * written.
 */
struct index_manifest_options {
    const struct index_loader *loader;
    bool read_only;
    bool ignore_damaged;
};
int index_manifest_open(const struct base_env *env, const char *dir, const char *log_name,
                        const struct index_manifest_options *options, struct index_manifest **ret,
                        struct varve_error *err);
struct index_manifest *index_manifest_close(struct index_manifest *m);

bool index_manifest_loaded(struct index_manifest *m);

/*
 * Makes `root` (bytes, decoded here with every check) the current root: writes the local copy
 * (durably when `durable`) unless read_only, then swaps. `pages` of an edit are written first. A
 * root of a lower generation with the same log id is refused with VARVE_E_PRECONDITION. Local pages
 * that lie wholly below deleted_to are removed. With read_only pages are not taken: they are
 * fetched when needed.
 */
struct index_edit_page;
int index_manifest_install(struct index_manifest *m, const void *root, size_t root_size,
                           const struct index_edit_page *pages, size_t page_count, bool durable,
                           struct varve_error *err);

/* Maps the local root again if another process has replaced it; *ret_changed tells. Cheap when
 * nothing changed (stat). */
int index_manifest_refresh(struct index_manifest *m, bool *ret_changed, struct varve_error *err);

/* The current root, pinned until index_manifest_unpin. VARVE_E_NOT_FOUND while none is loaded. */
struct index_root_pin;
int index_manifest_pin(struct index_manifest *m, struct index_root_pin **ret,
                       const struct index_root **ret_root, struct varve_error *err);
struct index_root_pin *index_manifest_unpin(struct index_root_pin *pin);

/*
 * The entry that holds `offset`. VARVE_E_OUT_OF_RANGE: outside [start_offset, end_offset) of the
 * root (an entry that only partly lies below the start is found by the offsets above it).
 * VARVE_E_STORE (retriable), VARVE_E_CORRUPT.
 */
int index_manifest_find_offset(struct index_manifest *m, int64_t offset, struct index_entry *ret,
                               struct varve_error *err);

/*
 * The first entry whose end is above `min_offset` and whose own maximum timestamp is >=
 * `timestamp`: a candidate. The caller looks inside, and when it holds no match at or after the log
 * start, goes on with min_offset = its end. VARVE_E_NOT_FOUND: none. Descends the references'
 * maxima: pages without a match are not fetched.
 */
int index_manifest_find_time(struct index_manifest *m, int64_t timestamp, int64_t min_offset,
                             struct index_entry *ret, struct varve_error *err);

/*
 * Visits entries in offset order whose end is above `from_offset`, those below the log start
 * included if they are still referenced; stops when visit returns non-zero and returns that.
 */
int index_manifest_each(struct index_manifest *m, int64_t from_offset,
                        int (*visit)(void *arg, const struct index_entry *e,
                                     struct varve_error *err),
                        void *arg, struct varve_error *err);

/* Visits every page reference reachable (all levels). Fetches pages above level 0. */
int index_manifest_each_ref(struct index_manifest *m,
                            int (*visit)(void *arg, const struct index_ref *r,
                                         struct varve_error *err),
                            void *arg, struct varve_error *err);

/*
 * Checks the local copy: decodes root and every page present, compares each with its reference;
 * damaged files are named through `report` and, with `repair`, removed (they are fetched again): a
 * page when it is next needed, the root by the caller, since then none is loaded any more. A repair
 * also removes pages that nothing names. `report` must not call the manifest.
 * Returns 0 or a failure of the walk itself.
 */
int index_manifest_check(struct index_manifest *m, bool repair,
                         void (*report)(void *arg, const char *file,
                                        const struct varve_error *what),
                         void *arg, struct varve_error *err);

#endif
