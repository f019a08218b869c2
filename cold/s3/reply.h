/*
 * What a store answers, taken apart: XML bodies with limits, and the class of every error.
 *
 * Nothing here trusts the bytes: documents above S3_REPLY_XML_MAX, deeper than S3_REPLY_DEPTH_MAX,
 * with a DTD or any entity declaration, with texts above S3_REPLY_TEXT_MAX are VARVE_E_CORRUPT.
 */
#ifndef COLD_S3_REPLY_H
#define COLD_S3_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <varve/error.h>

#define S3_REPLY_XML_MAX (8 * 1024 * 1024) /* 1,000 keys of 1,024 escaped bytes fit */
#define S3_REPLY_DEPTH_MAX 16
#define S3_REPLY_TEXT_MAX 8192
#define S3_REPLY_CODE_SIZE 64
#define S3_REPLY_MESSAGE_SIZE 160

/* What to do about an error; the client's table of actions. */
enum s3_class {
    S3_OK,
    S3_NOT_FOUND,    /* 404 NoSuchKey, NoSuchUpload, 404 of a HEAD */
    S3_NO_BUCKET,    /* 404 NoSuchBucket */
    S3_PRECONDITION, /* 412, 304 */
    S3_CONFLICT,     /* 409 ConditionalRequestConflict, OperationAborted: try again */
    S3_SLOW_DOWN,    /* 503 SlowDown, 429, TooManyRequests, RequestLimitExceeded: shrink, try again
                      */
    S3_RETRY,        /* 500 502 503 504 408, InternalError, ServiceUnavailable, RequestTimeout */
    S3_CLOCK,        /* RequestTimeTooSkewed: take the Date header, once */
    S3_EXPIRED,      /* ExpiredToken, TokenRefreshRequired, RequestExpired: refresh, once */
    S3_REGION,       /* 301, 307, AuthorizationHeaderMalformed with a region: sign again, once */
    S3_ARCHIVED,     /* 403 InvalidObjectState */
    S3_UNSUPPORTED,  /* 501 NotImplemented, 405 MethodNotAllowed */
    S3_DENIED,       /* 401, other 403: InvalidAccessKeyId, SignatureDoesNotMatch, AccessDenied */
    S3_RANGE,        /* 416 */
    S3_CHECKSUM,     /* BadDigest, XAmzContentSHA256Mismatch, InvalidDigest: the wire or the store
                        changed the body; try again */
    S3_INVALID,      /* any other 4xx */
};

struct s3_error {
    enum s3_class class;
    int status;                          /* of HTTP */
    char code[S3_REPLY_CODE_SIZE];       /* of the <Error> body; "" without one */
    char message[S3_REPLY_MESSAGE_SIZE]; /* cut, printable characters only */
    char region[64];                     /* the right one, for S3_REGION; "" when unknown */
};

/*
 * Classifies a reply: status, the `x-amz-bucket-region` header (NULL: none), the body of an error
 * (may be empty, HTML, or anything). Also for a 200 whose body is an <Error> document, as
 * CompleteMultipartUpload and CopyObject may answer. Never fails: what cannot be parsed has no
 * code.
 */
void s3_error_decode(int status, const char *region, const void *body, size_t size,
                     struct s3_error *ret);
/* "SlowDown", "NoSuchBucket" and the like: true when the body's root element is <Error>. */
bool s3_error_is_document(const void *body, size_t size);

struct s3_list_object {
    const char *key; /* decoded */
    uint64_t size;
    int64_t modified_ms;       /* from LastModified; 0 when it is missing or not a time */
    const char *etag;          /* as it came, quotes included */
    const char *storage_class; /* "" when not said */
};

struct s3_list_result {
    bool truncated;
    char *next_token; /* NextContinuationToken; NULL: none. Fresh memory */
    size_t count;
};
/* ListObjectsV2 with encoding-type=url or without. A visit that returns non-zero ends the walk and
 * that value is returned. VARVE_E_CORRUPT: not such a document. */
int s3_reply_list(const void *body, size_t size,
                  int (*visit)(void *arg, const struct s3_list_object *object), void *arg,
                  struct s3_list_result *ret, struct varve_error *err);

struct s3_list_upload {
    const char *key; /* decoded */
    const char *upload_id;
    int64_t initiated_ms;
};
struct s3_uploads_result {
    bool truncated;
    char *next_key_marker; /* fresh memory, decoded; NULL: none */
    char *next_upload_id_marker;
};
int s3_reply_uploads(const void *body, size_t size,
                     int (*visit)(void *arg, const struct s3_list_upload *upload), void *arg,
                     struct s3_uploads_result *ret, struct varve_error *err);

struct s3_list_part {
    unsigned number;
    uint64_t size;
    const char *etag;
};
struct s3_parts_result {
    bool truncated;
    unsigned next_part_number_marker;
};
int s3_reply_parts(const void *body, size_t size,
                   int (*visit)(void *arg, const struct s3_list_part *part), void *arg,
                   struct s3_parts_result *ret, struct varve_error *err);

/* InitiateMultipartUploadResult: the upload id, fresh memory. */
int s3_reply_upload_id(const void *body, size_t size, char **ret, struct varve_error *err);
/* CompleteMultipartUploadResult: the ETag, fresh memory. An <Error> document is VARVE_E_STORE; ask
 * s3_error_decode. */
int s3_reply_complete(const void *body, size_t size, char **ret_etag, struct varve_error *err);
/* DeleteResult: calls failed() for each key that could not be deleted. */
int s3_reply_delete(const void *body, size_t size,
                    void (*failed)(void *arg, const char *key, const char *code,
                                   const char *message),
                    void *arg, struct varve_error *err);
/* LocationConstraint: the region, "us-east-1" for the empty one; fresh memory. */
int s3_reply_location(const void *body, size_t size, char **ret, struct varve_error *err);
/* VersioningConfiguration: true when Status is Enabled or Suspended. */
int s3_reply_versioning(const void *body, size_t size, bool *ret, struct varve_error *err);
/* AssumeRole and AssumeRoleWithWebIdentity of STS: <Credentials>. Strings are fresh memory. */
struct s3_credentials;
int s3_reply_credentials(const void *body, size_t size, struct s3_credentials *ret,
                         struct varve_error *err);

#endif
