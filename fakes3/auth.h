/*
 * AWS Signature Version 4 in the Authorization header, checked as S3 does: the path is not
 * normalised and is encoded once, every x-amz-* header must be signed, the clocks may differ by 15
 * minutes. Source: "Signature Calculations for the Authorization Header", Amazon S3 API Reference.
 */
#ifndef FAKES3_AUTH_H
#define FAKES3_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "fakes3/keys.h"

struct fakes3_reply;
struct fakes3_request;

#define FAKES3_AUTH_SKEW_MS_MAX (15 * 60 * 1000)

struct fakes3_auth {
    const struct fakes3_keys *keys;
    const char *region;  /* the only one that signatures may name */
    const char *service; /* "s3", or "sts" */
    int64_t now_ms;
    /* For sts: hex SHA-256 of the body. For s3 NULL: the header x-amz-content-sha256 says it. */
    const char *payload_hash;
};

/* True with the key that signed; false with the error in `reply`. */
bool fakes3_auth_check(const struct fakes3_auth *auth, const struct fakes3_request *request,
                       const struct fakes3_key **ret_key, struct fakes3_reply *reply);

#endif
