/* Entries for manifests, and a bucket of pages in a directory. */
#ifndef SUPPORT_MANIFEST_H
#define SUPPORT_MANIFEST_H

#include "index/edit.h"
#include "tests/support/random.h"

/* An entry whose chain hash continues `chain`, which moves on. Everything else is drawn. */
struct index_entry support_entry_new(struct support_random *random, uint8_t chain[32],
                                     int64_t base_offset, int64_t end_offset,
                                     int64_t max_timestamp);

/* A loader that reads pages from files of `dir`, named as in a local copy. */
struct support_page_bucket {
    struct index_loader loader;
    const char *dir;
    size_t fetched;   /* pages given */
    bool unreachable; /* every fetch fails, retriable */
    bool damaged;     /* what is given has a flipped bit */
};
void support_page_bucket_init(struct support_page_bucket *b, const char *dir);
void support_page_bucket_store(const struct support_page_bucket *b,
                               const struct index_edit_page *pages, size_t count);

/* "<dir>/<page file name>" */
void support_page_path(const char *dir, const struct index_ref *ref, char *ret, size_t size);

#endif
