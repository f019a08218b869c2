/* The manifest's inside, shared by manifest.c, find.c, check.c and edit.c. */
#ifndef INDEX_MANIFEST_PRIVATE_H
#define INDEX_MANIFEST_PRIVATE_H

#include "index/pagemap.h"

/* One root that was current. */
struct index_root_pin {
    struct index_manifest *manifest;
    struct index_root root;
    struct index_mapping mapping;
    unsigned pins; /* the manifest's own, and one for each user */
};

struct index_manifest {
    const struct base_env *env;
    char *dir;
    char *root_path;
    char *log_name;
    bool read_only;
    bool ignore_damaged;

    /* One install, refresh or check at a time; protects root_file and the files. Taken before
     * `lock`. */
    struct base_mutex change;
    struct index_file_id root_file; /* the local root last looked at */

    struct base_mutex lock;         /* protects `current` and the pins of every root */
    struct index_root_pin *current; /* NULL: none loaded */

    struct index_pagemap pages; /* has its own lock; only `change` may be held when it is taken */
};

/* Maps and checks the local root file. VARVE_E_NOT_FOUND, VARVE_E_CORRUPT, ... */
int index_manifest_map_root(struct index_manifest *m, struct index_root_pin **ret,
                            struct index_file_id *ret_id, struct varve_error *err);

/* Makes `pin` (may be NULL) the current root; `change` is held. */
void index_manifest_swap(struct index_manifest *m, struct index_root_pin *pin);

/* The current root for a look-up: one that is missing is a retriable failure (I8), not a condition.
 */
int index_manifest_pin_loaded(struct index_manifest *m, struct index_root_pin **ret,
                              struct varve_error *err);

#endif
