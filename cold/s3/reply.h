/*
 * What a store answers, taken apart (reply.c), and the class of every error (error.c).
 *
 * Nothing here trusts the bytes: documents above S3_REPLY_XML_MAX, deeper than S3_REPLY_DEPTH_MAX,
 * with a DTD or any entity declaration, with texts above S3_REPLY_TEXT_MAX are VARVE_E_CORRUPT.
 * Unknown elements are passed over. Visits begin only once the whole document has been found
 * well-formed and complete, so a body that was cut off never looks like a short listing.
 *
 * Every s3_reply_ call: an <Error> document, which a 200 may turn out to be, is VARVE_E_STORE (ask
 * s3_error_decode what it means); another document is VARVE_E_CORRUPT; VARVE_E_NO_MEMORY.
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
    /* 404 NoSuchKey, NoSuchUpload, 404 without a body (of a HEAD). A 404 with any other body, a
     * proxy's page for one, is S3_INVALID: nothing is not there because a stranger says so (I8). */
    S3_NOT_FOUND,
    S3_NO_BUCKET,    /* 404 NoSuchBucket */
    S3_PRECONDITION, /* 412, 304 */
    S3_CONFLICT,     /* 409, but for BucketAlreadyExists and its like; ConditionalRequestConflict,
                      * OperationAborted: try again */
    S3_SLOW_DOWN,    /* 503 SlowDown, 429, TooManyRequests, RequestLimitExceeded: try again, less */
    S3_RETRY,       /* other 5xx, 408, InternalError, ServiceUnavailable, RequestTimeout; an <Error>
                     * in a 200 that says nothing else */
    S3_CLOCK,       /* RequestTimeTooSkewed: take the Date header, once */
    S3_EXPIRED,     /* ExpiredToken, TokenRefreshRequired, RequestExpired: refresh, once */
    S3_REGION,      /* 301, 307, AuthorizationHeaderMalformed with a region, 400 of a HEAD with one
                     * in the header: sign again, once */
    S3_ARCHIVED,    /* 403 InvalidObjectState */
    S3_UNSUPPORTED, /* 501 NotImplemented, 405 MethodNotAllowed */
    S3_DENIED,      /* 401, other 403: InvalidAccessKeyId, SignatureDoesNotMatch, AccessDenied */
    S3_RANGE,       /* 416 */
    S3_CHECKSUM,    /* BadDigest, XAmzContentSHA256Mismatch, InvalidDigest: the wire or the store
                       changed the body; try again */
    S3_INVALID,     /* any other 4xx */
    S3_UNREAD,      /* out of memory here: what the store said is not known */
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
 * CompleteMultipartUpload and CopyObject may answer. What cannot be parsed has no code; what could
 * not be read for lack of memory is S3_UNREAD, whatever its status.
 */
void s3_error_decode(int status, const char *region, const void *body, size_t size,
                     struct s3_error *ret);
/* 1: the body's root element is <Error>; 0: it is not; VARVE_E_NO_MEMORY. */
int s3_error_is_document(const void *body, size_t size);

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
 * that value is returned, in *err whatever the visit left there. VARVE_E_CORRUPT: not such a
 * document, e.g. one that is truncated without a token to go on with. */
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
/* CompleteMultipartUploadResult: the ETag, fresh memory. */
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
/* AssumeRole and AssumeRoleWithWebIdentity of STS: <Credentials>. s3_credentials_clear releases
 * them. */
struct s3_credentials;
int s3_reply_credentials(const void *body, size_t size, struct s3_credentials *ret,
                         struct varve_error *err);

#endif
