/*
 * Bytes that do not change once they are filled, shared by counting: the body of a request becomes
 * an object's without a copy, and replies refer to them while they are sent. They lie in memory or,
 * with --dir, in a mapped file.
 */
#ifndef FAKES3_BLOB_H
#define FAKES3_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/buffer.h>

/* What all blobs together may take, and where they lie. */
struct fakes3_blobs {
    uint64_t bytes;
    uint64_t bytes_max;
    const char *dir; /* NULL: in memory */
    uint64_t last_id;
    bool keep; /* the server ends: files stay when their last reference goes */
};

struct fakes3_blob {
    struct fakes3_blobs *all;
    unsigned refs;
    uint64_t id; /* names the file */
    size_t size;
    uint8_t *data;
};

/* With one reference, to be filled by the caller; NULL when the bound or the disk is full. */
struct fakes3_blob *fakes3_blob_new(struct fakes3_blobs *all, size_t size);
/* Maps the file of a blob that an earlier server left; NULL when it is not there or not of that
 * size. */
struct fakes3_blob *fakes3_blob_open(struct fakes3_blobs *all, uint64_t id, size_t size);
struct fakes3_blob *fakes3_blob_ref(struct fakes3_blob *blob);
struct fakes3_blob *fakes3_blob_unref(struct fakes3_blob *blob); /* NULL */
/* Appends a piece of it to `out` by reference. */
void fakes3_blob_append(struct fakes3_blob *blob, size_t pos, size_t size, struct evbuffer *out);

#endif
