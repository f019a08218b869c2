/*
 * Buckets, their objects in the order of their keys, and their unfinished uploads.
 *
 * An object that is replaced or deleted becomes a ghost for a while, without its body: a stale
 * listing is the set of those objects that were there at an earlier instant.
 */
#ifndef FAKES3_STORE_H
#define FAKES3_STORE_H

#include "fakes3/object.h"

/* Ghosts a bucket keeps; the oldest go first. */
#define FAKES3_GHOSTS_COUNT_MAX 10000

struct fakes3_part {
    int number; /* 0: no such part */
    struct fakes3_blob *body;
    uint8_t md5[16], crc32c[4], sha256[32];
    char etag[FAKES3_ETAG_SIZE];
    int64_t modified_ms;
};

struct fakes3_upload {
    char *id;
    struct fakes3_object *object; /* what it will become: key, headers, storage class */
    bool want_crc32c, want_sha256;
    int64_t started_ms;
    struct fakes3_part *parts; /* in the order of their numbers */
    size_t parts_count;
};

struct fakes3_bucket {
    char *name;
    char *account; /* whose keys may use it */
    char *region;
    int64_t created_ms;
    struct fakes3_object **objects; /* by key */
    size_t objects_count, objects_capacity;
    struct fakes3_object *ghosts[FAKES3_GHOSTS_COUNT_MAX]; /* a ring */
    size_t ghosts_next;
    struct fakes3_upload **uploads; /* by key, then id */
    size_t uploads_count;
};

struct fakes3_store {
    struct fakes3_blobs blobs;
    struct fakes3_bucket **buckets; /* by name */
    size_t buckets_count;
};

void fakes3_store_deinit(struct fakes3_store *store);
struct fakes3_bucket *fakes3_store_find(const struct fakes3_store *store, const char *name);
/* The name must be free. */
struct fakes3_bucket *fakes3_store_add(struct fakes3_store *store, const char *name,
                                       const char *account, const char *region, int64_t now_ms);
/* The bucket goes with all that is in it. */
void fakes3_store_remove(struct fakes3_store *store, struct fakes3_bucket *bucket);
bool fakes3_store_name_is_valid(const char *name);

struct fakes3_object *fakes3_bucket_find(const struct fakes3_bucket *bucket, const char *key);
/* The index of the first object with a key >= `key`, or > when `after`. */
size_t fakes3_bucket_search(const struct fakes3_bucket *bucket, const char *key, bool after);
/* Takes the object over; one of the same key becomes a ghost. */
void fakes3_bucket_put(struct fakes3_bucket *bucket, struct fakes3_object *object,
                       struct fakes3_instant now);
/* False: there is none of that key. */
bool fakes3_bucket_delete(struct fakes3_bucket *bucket, const char *key, struct fakes3_instant now);
/*
 * The objects as they were at `then`, by key, in fresh memory; the objects stay the bucket's.
 * `then` 0 in one clock means that this clock does not matter.
 */
struct fakes3_object **fakes3_bucket_at(const struct fakes3_bucket *bucket,
                                        struct fakes3_instant then, size_t *ret_count);

struct fakes3_upload *fakes3_bucket_find_upload(const struct fakes3_bucket *bucket, const char *key,
                                                const char *id);
void fakes3_bucket_add_upload(struct fakes3_bucket *bucket, struct fakes3_upload *upload);
/* Frees it with its parts. */
void fakes3_bucket_remove_upload(struct fakes3_bucket *bucket, struct fakes3_upload *upload);
struct fakes3_part *fakes3_upload_find_part(const struct fakes3_upload *upload, int number);
/* Takes the body over; a part of the same number is replaced. */
void fakes3_upload_put_part(struct fakes3_upload *upload, const struct fakes3_part *part);

#endif
