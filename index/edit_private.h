/* An edit's inside, shared by edit.c and fold.c. */
#ifndef INDEX_EDIT_PRIVATE_H
#define INDEX_EDIT_PRIVATE_H

#include "index/fold.h"
#include "index/manifest_private.h"

struct index_edit {
    struct index_manifest *manifest; /* NULL: a new log */
    struct index_root_pin *pin;
    struct index_root root; /* scalars; name and configuration are views */
    char *log_name;         /* of a new log */
    char *config;           /* once changed */
    struct index_epoch epochs[INDEX_ROOT_EPOCHS_MAX];
    size_t epoch_count;
    struct index_cut cuts[INDEX_ROOT_CUTS_MAX];
    size_t cut_count;
    struct base_buffer refs;    /* encoded */
    struct base_buffer entries; /* encoded */
    struct index_fold fold;
    const struct base_random *random; /* the last one given; the manifest's before */
    struct index_edit_page *pages;    /* new ones */
    size_t page_count;
    size_t page_capacity;
    void *encoded;
};

size_t index_edit_entry_count(const struct index_edit *e);
size_t index_edit_ref_count(const struct index_edit *e);

/* Removes the first `size` bytes. */
void index_edit_buffer_drop(struct base_buffer *b, size_t size);

/* Makes a page and its encoded reference; the edit keeps the page until it is freed. */
int index_edit_page_add(struct index_edit *e, const struct base_random *random, uint32_t level,
                        const uint8_t *items, size_t count, uint8_t ret_ref[INDEX_REF_SIZE],
                        struct varve_error *err);

#endif
