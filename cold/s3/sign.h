/*
 * AWS Signature Version 4 for S3, in the Authorization header.
 *
 * Source: "Signature Calculations for the Authorization Header: Transferring Payload in a Single
 * Chunk", Amazon S3 API reference. S3 neither normalises paths nor encodes them twice. libcurl's
 * own signing is not used: the version in Debian 12 signs several kinds of requests wrongly.
 */
#ifndef COLD_S3_SIGN_H
#define COLD_S3_SIGN_H

#include <stddef.h>
#include <stdint.h>

#include <varve/error.h>

#define S3_SIGN_DATE_SIZE 17   /* "20260102T030405Z" and NUL: the value of x-amz-date */
#define S3_SIGN_DIGEST_SIZE 65 /* SHA-256 in lower-case hex and NUL */

struct s3_header {
    const char *name; /* lower case */
    const char *value;
};

struct s3_credentials {
    char *access_key;
    char *secret_key;
    char *session_token; /* NULL: none */
    int64_t expires_ms;  /* ms since 1970; INT64_MAX: never */
    const char *source;  /* who gave them: "environment", "profile", ...; static; NULL: not said */
};

struct s3_sign_request {
    const char *method;
    const char *path; /* as it is sent: percent-encoded, begins with '/' */
    const char
        *query; /* as it is sent: encoded, sorted by name, every name with '='; "" for none */
    /* All that are signed: host, x-amz-content-sha256, x-amz-date, x-amz-security-token and
     * whatever else is sent under x-amz-; in any order, names once each. */
    const struct s3_header *headers;
    size_t header_count;
    const char *payload_sha256; /* hex, or "UNSIGNED-PAYLOAD" */
    const char *region;
    const char *service; /* "s3"; "sts" for credentials */
    const char *date;    /* the value of x-amz-date */
};

/* Keeps the signing key of one day, region and secret, so that a signature costs four hashes less.
 * Threads: any. */
struct s3_signer;
int s3_signer_new(struct s3_signer **ret, struct varve_error *err);
struct s3_signer *s3_signer_free(struct s3_signer *signer); /* wipes the key */

/*
 * Makes the value of the Authorization header, in fresh memory. The caller has set all other
 * headers. Failures: VARVE_E_NO_MEMORY, VARVE_E_INVALID (a header name that is not lower case or
 * stands twice, a date of the wrong form).
 */
int s3_signer_authorize(struct s3_signer *signer, const struct s3_credentials *credentials,
                        const struct s3_sign_request *request, char **ret, struct varve_error *err);

/* "20260102T030405Z" of a wall clock in ms since 1970. */
void s3_sign_date(int64_t wall_ms, char ret[S3_SIGN_DATE_SIZE]);
/* SHA-256 of `size` bytes, in hex. VARVE_E_NO_MEMORY. */
int s3_sign_digest(const void *data, size_t size, char ret[S3_SIGN_DIGEST_SIZE],
                   struct varve_error *err);

void s3_credentials_clear(struct s3_credentials *c); /* wipes and frees the strings */
int s3_credentials_copy(const struct s3_credentials *c, struct s3_credentials *ret,
                        struct varve_error *err);

#endif
