/* The kinds of files that `varve dump` knows. Each prints what it found, and returns 0 or an error
 * that says what is wrong with the file; what was good before it is printed all the same. */
#ifndef TOOLS_DUMP_H
#define TOOLS_DUMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <varve/error.h>

/* A file in memory. */
struct tools_dump {
    const char *path;
    const uint8_t *data;
    size_t size;
    bool records; /* of batches too */
};

int tools_dump_segment(const struct tools_dump *d, struct varve_error *err);
int tools_dump_sparse(const struct tools_dump *d, struct varve_error *err);
int tools_dump_checkpoint(const struct tools_dump *d, struct varve_error *err);
int tools_dump_published(const struct tools_dump *d, struct varve_error *err);
int tools_dump_cache(const struct tools_dump *d, struct varve_error *err);
int tools_dump_settings(const struct tools_dump *d, struct varve_error *err);
int tools_dump_uploads(const struct tools_dump *d, struct varve_error *err);
int tools_dump_root(const struct tools_dump *d, struct varve_error *err);
int tools_dump_page(const struct tools_dump *d, struct varve_error *err);
int tools_dump_object(const struct tools_dump *d, struct varve_error *err);

/* "2015-05-17T10:05:03.000Z" in one of a few static buffers, for one printf. */
const char *tools_dump_time(int64_t ms);
/* Bytes as hex digits, likewise; at most 32 bytes. */
const char *tools_dump_hex(const void *data, size_t size);
/* Up to 60 bytes of text in quotes, others as \xNN. */
void tools_dump_text(const char *what, const void *data, size_t size);

#endif
