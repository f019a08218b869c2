/* One object: what it is called, what it is made of, and when it was there. */
#ifndef FAKES3_OBJECT_H
#define FAKES3_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fakes3/blob.h"
#include "fakes3/digest.h"
#include "fakes3/pairs.h"

#define FAKES3_ETAG_SIZE 48     /* 32 hex digits, "-10000", NUL */
#define FAKES3_CHECKSUM_SIZE 56 /* base64 of 32 bytes, "-10000", NUL */

/* A moment by both of the clocks that stale listings go by. */
struct fakes3_instant {
    int64_t mono_ms;
    uint64_t request; /* the number of the request */
};

struct fakes3_object {
    char *key;
    struct fakes3_blob **pieces; /* in order; a multipart object has one a part */
    size_t pieces_count;
    uint64_t size;
    char etag[FAKES3_ETAG_SIZE];
    char crc32c[FAKES3_CHECKSUM_SIZE]; /* base64; "" when none was given */
    char sha256[FAKES3_CHECKSUM_SIZE];
    bool full_object;            /* type of the checksums: FULL_OBJECT, else COMPOSITE */
    struct fakes3_pairs headers; /* x-amz-meta-*, Content-Type and others that are kept */
    char storage_class[32];
    int64_t modified_ms;
    int64_t restored_ms;       /* when the asked restore is done; 0: none was asked */
    int64_t restore_expiry_ms; /* when the restored copy goes */
    struct fakes3_instant born, gone;
};

struct fakes3_object *fakes3_object_new(const char *key);
struct fakes3_object *fakes3_object_free(struct fakes3_object *object); /* NULL */
/* Takes the reference over. */
void fakes3_object_add_piece(struct fakes3_object *object, struct fakes3_blob *piece);
void fakes3_object_drop_pieces(struct fakes3_object *object);
/* Appends `size` bytes from `pos` by reference. */
void fakes3_object_append(const struct fakes3_object *object, uint64_t pos, uint64_t size,
                          struct evbuffer *out);
/* Whether its storage class keeps it from being read at once. */
bool fakes3_object_is_archived(const struct fakes3_object *object);
/* Whether a restored copy is there. */
bool fakes3_object_is_restored(const struct fakes3_object *object, int64_t now_ms);

#endif
