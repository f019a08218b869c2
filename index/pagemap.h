/*
 * The pages of one manifest that are in memory: mapped files of the local copy, fetched through the
 * loader when they are not there. Internal to index/.
 *
 * A page is found by the bytes of its reference. At most INDEX_PAGES_MAPPED_MAX pages stay, and of
 * those that had to be kept on the heap (read-only copies, a full disk) INDEX_PAGES_HEAP_MAX; pages
 * in use never leave. A page that several threads miss is loaded once.
 */
#ifndef INDEX_PAGEMAP_H
#define INDEX_PAGEMAP_H

#include "base/thread.h"
#include "index/items.h"
#include "index/manifest.h"
#include "index/mapping.h"

#define INDEX_PAGES_HEAP_MAX 48 /* about 9 MiB */

struct index_pagemap_page {
    struct index_page page; /* all that users look at */
    /* the map's own */
    uint8_t ref[INDEX_REF_SIZE];
    struct index_mapping mapping;
    struct index_pagemap_page *next;          /* in its bucket */
    struct index_pagemap_page *newer, *older; /* ring in order of arrival */
    unsigned pins;                            /* threads that look at it */
    bool used;                                /* since the clock hand passed */
    bool detached;                            /* no longer in the map */
    enum { PAGE_LOADING, PAGE_READY, PAGE_FAILED } state;
};

struct index_pagemap {
    const struct base_env *env;
    const char *dir; /* the manifest's */
    const struct index_loader *loader;
    bool read_only;
    struct base_mutex lock;  /* protects all below and the map's part of every page */
    struct base_cond loaded; /* a page left PAGE_LOADING */
    struct index_pagemap_page **buckets;
    size_t bucket_count; /* a power of two */
    size_t page_count;
    size_t heap_count;
    struct index_pagemap_page *hand; /* of the clock; NULL when empty */
};

/* `dir` and `loader` are borrowed. */
int index_pagemap_init(struct index_pagemap *m, const struct base_env *env, const char *dir,
                       const struct index_loader *loader, bool read_only, struct varve_error *err);
void index_pagemap_deinit(struct index_pagemap *m);

/*
 * The page that the encoded reference names, checked whole when it came into memory, pinned until
 * index_pagemap_put. Allocates nothing when it is there. VARVE_E_STORE (retriable),
 * VARVE_E_CORRUPT. Threads: any.
 */
int index_pagemap_get(struct index_pagemap *m, const uint8_t ref[INDEX_REF_SIZE],
                      const struct base_id *log_id, struct index_pagemap_page **ret,
                      struct varve_error *err);
void index_pagemap_put(struct index_pagemap *m, struct index_pagemap_page *page);

/* Takes a page whose file was found damaged out of the map. */
void index_pagemap_forget(struct index_pagemap *m, const uint8_t ref[INDEX_REF_SIZE]);

#endif
