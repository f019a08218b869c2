/*
 * How a bucket is set up: the documents that say what the store does to objects by itself.
 *
 * Source: GetBucketLifecycleConfiguration, GetObjectLockConfiguration, Amazon S3 API reference.
 * Versioning is s3_reply_versioning.
 */
#ifndef COLD_S3_BUCKET_H
#define COLD_S3_BUCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <varve/error.h>

#define S3_BUCKET_PREFIX_SIZE 1025
#define S3_BUCKET_CLASS_SIZE 40

/* One rule of a lifecycle; days of 0: it does not do that. */
struct s3_lifecycle_rule {
    bool enabled;
    bool tagged; /* for objects with certain tags only */
    char prefix[S3_BUCKET_PREFIX_SIZE];
    bool expires;             /* objects, after expire_days or at a date (0 days) */
    uint64_t expire_days;     /* of the current version */
    uint64_t noncurrent_days; /* of versions that were replaced or deleted */
    uint64_t abort_days;      /* of unfinished multipart uploads */
    bool transits;            /* objects change to another storage class */
    uint64_t transition_days;
    char transition_class[S3_BUCKET_CLASS_SIZE]; /* of the last transition */
};

/* Visits each rule; a visit that returns non-zero ends the walk and that value is returned.
 * VARVE_E_CORRUPT: no such document. */
int s3_bucket_lifecycle(const void *body, size_t size,
                        int (*visit)(void *arg, const struct s3_lifecycle_rule *rule), void *arg,
                        struct varve_error *err);

struct s3_object_lock {
    bool enabled;
    char mode[S3_BUCKET_CLASS_SIZE]; /* of the default retention: "GOVERNANCE", ...; "": none */
    uint64_t days, years;
};
int s3_bucket_lock(const void *body, size_t size, struct s3_object_lock *ret,
                   struct varve_error *err);

#endif
