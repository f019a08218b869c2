/* One signed HTTP request of a call: each attempt has its own date and signature. */
#ifndef COLD_S3_REQUEST_H
#define COLD_S3_REQUEST_H

#include "cold/s3/client.h"

#define S3_REQUEST_HEADERS_MAX (S3_CALL_HEADERS_MAX + 5)

/* What is kept of every reply, by its place in s3_http_reply.headers. */
enum s3_reply_header {
    S3_REPLY_ETAG,
    S3_REPLY_CONTENT_RANGE,
    S3_REPLY_LAST_MODIFIED,
    S3_REPLY_WRITE_ID,
    S3_REPLY_DATE,
    S3_REPLY_REGION,
};

struct s3_request {
    struct s3_http_request http; /* body, room and done are set by s3_request_build, too */
    char *url;
    char *path;
    char *host;
    char *authorization;
    char *session_token;
    char *access_key; /* which one signed it */
    char range[64];
    char date[S3_SIGN_DATE_SIZE];
    struct s3_header headers[S3_REQUEST_HEADERS_MAX];
};

/* Everything the request needs of endpoint and credentials is copied. On failure nothing is left
 * in *ret. */
int s3_request_build(struct s3_signer *signer, const struct s3_endpoint *endpoint,
                     const struct s3_credentials *credentials, int64_t wall_ms,
                     const struct s3_call *call, struct s3_request *ret, struct varve_error *err);
void s3_request_deinit(struct s3_request *request);

#endif
