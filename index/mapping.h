/* The bytes of one immutable file, mapped; read into memory where mapping is refused. Internal to
 * index/. */
#ifndef INDEX_MAPPING_H
#define INDEX_MAPPING_H

#include "base/io.h"

struct index_mapping {
    void *data;
    size_t size;
    bool heap; /* malloc'ed, not mapped */
};

/* Which file it was, so that a replacement is seen without reading. */
struct index_file_id {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec changed;
};

struct index_file_id index_file_id_of(const struct stat *st);
bool index_file_id_equal(const struct index_file_id *a, const struct index_file_id *b);

/* VARVE_E_NOT_FOUND; VARVE_E_CORRUPT: empty, or above `size_max`. `ret_id` may be NULL. */
int index_mapping_open(const struct base_io *io, const char *path, size_t size_max,
                       struct index_mapping *ret, struct index_file_id *ret_id,
                       struct varve_error *err);
void index_mapping_close(const struct base_io *io, struct index_mapping *m);

#endif
