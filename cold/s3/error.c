/*
 * What an error of a store means.
 *
 * The code in the body decides where there is one and it is known: the same status stands for
 * things that want different answers (400 is ExpiredToken, BadDigest, RequestTimeout, ...). Else
 * the status decides. The body is whatever somebody sent: an <Error> of S3, an <ErrorResponse> of
 * STS, the HTML of a proxy, a part of any of these.
 */
#include <stdbool.h>
#include <string.h>

#include "cold/s3/reply.h"
#include "cold/s3/xml.h"

/* Sources: "Error responses", Amazon S3 API reference; "Common errors", AWS STS API reference; the
 * tables of MinIO (cmd/api-errors.go) and of Ceph (rgw_common.cc) for what only they say. */
static const struct {
    const char *code;
    enum s3_class class;
} codes[] = {
    {"NoSuchKey", S3_NOT_FOUND},
    {"NoSuchUpload", S3_NOT_FOUND},
    {"NoSuchVersion", S3_NOT_FOUND},
    {"NoSuchBucket", S3_NO_BUCKET},
    {"PreconditionFailed", S3_PRECONDITION},
    {"NotModified", S3_PRECONDITION},
    {"ConditionalRequestConflict", S3_CONFLICT},
    {"OperationAborted", S3_CONFLICT},
    {"ConcurrentModification", S3_CONFLICT}, /* Ceph */
    {"SlowDown", S3_SLOW_DOWN},
    {"SlowDownRead", S3_SLOW_DOWN},  /* MinIO */
    {"SlowDownWrite", S3_SLOW_DOWN}, /* MinIO */
    {"TooManyRequests", S3_SLOW_DOWN},
    {"RequestLimitExceeded", S3_SLOW_DOWN},
    {"BandwidthLimitExceeded", S3_SLOW_DOWN},
    {"Throttling", S3_SLOW_DOWN}, /* this and the next: STS */
    {"ThrottlingException", S3_SLOW_DOWN},
    {"InternalError", S3_RETRY},
    {"ServiceUnavailable", S3_RETRY},
    {"RequestTimeout", S3_RETRY},        /* 400 */
    {"IncompleteBody", S3_RETRY},        /* 400: the connection broke, seen from the other end */
    {"IDPCommunicationError", S3_RETRY}, /* 400, STS: "retry the request" */
    {"RequestTimeTooSkewed", S3_CLOCK},
    {"RequestInTheFuture", S3_CLOCK},
    {"ExpiredToken", S3_EXPIRED},
    {"ExpiredTokenException", S3_EXPIRED},
    {"TokenRefreshRequired", S3_EXPIRED},
    {"RequestExpired", S3_EXPIRED},
    {"PermanentRedirect", S3_REGION},
    {"TemporaryRedirect", S3_REGION},
    {"Redirect", S3_REGION},
    {"AuthorizationHeaderMalformed", S3_REGION}, /* when it names a region */
    {"InvalidObjectState", S3_ARCHIVED},
    {"NotImplemented", S3_UNSUPPORTED},
    {"MethodNotAllowed", S3_UNSUPPORTED},
    {"InvalidToken", S3_DENIED}, /* 400 */
    {"InvalidClientTokenId", S3_DENIED},
    {"InvalidAccessKeyId", S3_DENIED},
    {"SignatureDoesNotMatch", S3_DENIED},
    {"AccessDenied", S3_DENIED},
    {"InvalidRange", S3_RANGE},
    {"BadDigest", S3_CHECKSUM},
    {"InvalidDigest", S3_CHECKSUM},
    {"XAmzContentSHA256Mismatch", S3_CHECKSUM},
    {"XAmzContentChecksumMismatch", S3_CHECKSUM}, /* MinIO */
    {"BucketAlreadyExists", S3_INVALID},          /* these three: 409 that no repetition cures */
    {"BucketAlreadyOwnedByYou", S3_INVALID},
    {"BucketNotEmpty", S3_INVALID},
};

/* S3_OK: not in the table. */
static enum s3_class class_of_code(const char *code)
{
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (strcmp(codes[i].code, code) == 0)
            return codes[i].class;
    }
    return S3_OK;
}

/* `is_error`: the body is an <Error>; `has_body`: there is any. */
static enum s3_class class_of_status(int status, bool is_error, bool has_body)
{
    switch (status) {
    case 304:
    case 412:
        return S3_PRECONDITION;
    case 301:
    case 302:
    case 307:
    case 308:
        return S3_REGION;
    case 401:
    case 403:
        return S3_DENIED;
    case 404:
        /* Nothing is not there because a proxy or a web server says so (I8). The answer to a HEAD
         * has no body. */
        return is_error || !has_body ? S3_NOT_FOUND : S3_INVALID;
    case 405:
    case 501:
        return S3_UNSUPPORTED;
    case 408:
        return S3_RETRY;
    case 409:
        return S3_CONFLICT;
    case 416:
        return S3_RANGE;
    case 429:
        return S3_SLOW_DOWN;
    default:
        break;
    }
    if (status >= 500)
        return S3_RETRY;
    if (status >= 200 && status < 300) /* an <Error> that came after the status was sent */
        return is_error ? S3_RETRY : S3_OK;
    return S3_INVALID;
}

/* Region and code are shown, compared and sent: only what such a word is made of gets in. */
static void word_copy(const char *text, char *ret, size_t room)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789-_.:";
    size_t size = strlen(text);

    if (size < room && strspn(text, allowed) == size)
        memcpy(ret, text, size + 1);
}

static void message_copy(const char *text, char *ret, size_t room)
{
    size_t n = 0;

    for (; *text && n < room - 1; text++)
        ret[n++] = *text >= ' ' && *text <= '~' ? *text : '?';
    ret[n] = '\0';
}

static const char *after(const char *path, const char *prefix)
{
    size_t size = strlen(prefix);

    return strncmp(path, prefix, size) == 0 ? path + size : NULL;
}

struct decoding {
    struct s3_error error;
    bool is_error; /* the root element says so */
};

static int take_root(void *ctx, const char *path)
{
    struct decoding *d = ctx;

    if (strcmp(path, "Error") == 0 || strcmp(path, "ErrorResponse") == 0)
        d->is_error = true;
    return 0;
}

static int take_text(void *ctx, const char *path, const char *text)
{
    struct s3_error *e = &((struct decoding *)ctx)->error;
    const char *name = after(path, "Error/");

    if (!name)
        name = after(path, "ErrorResponse/Error/");
    if (!name)
        return 0;
    if (strcmp(name, "Code") == 0)
        word_copy(text, e->code, sizeof(e->code));
    else if (strcmp(name, "Message") == 0)
        message_copy(text, e->message, sizeof(e->message));
    else if (strcmp(name, "Region") == 0 && !e->region[0])
        word_copy(text, e->region, sizeof(e->region));
    return 0;
}

/* 1: the root is an <Error>; -1: another. */
static int look_at_root(void *ctx, const char *path)
{
    (void)ctx;
    return strcmp(path, "Error") == 0 ? 1 : -1;
}

int s3_error_is_document(const void *body, size_t size)
{
    const struct s3_xml_handler handler = {.start = look_at_root};
    int rc = s3_xml_walk(body, size, &handler, NULL);

    return rc == VARVE_E_NO_MEMORY ? rc : rc == 1;
}

void s3_error_decode(int status, const char *region, const void *body, size_t size,
                     struct s3_error *ret)
{
    struct decoding d = {.error.status = status};
    const struct s3_xml_handler handler = {.start = take_root, .end = take_text, .ctx = &d};
    struct s3_error *e = &d.error;
    int rc = 0;

    if (region)
        word_copy(region, e->region, sizeof(e->region));
    /* What follows the code may be cut off (bodies are), or longer than any text should be: a
     * SignatureDoesNotMatch repeats the whole request. What came before is as good. */
    if (size > 0)
        rc = s3_xml_walk(body, size, &handler, NULL);
    e->class = class_of_code(e->code);
    if (e->class == S3_REGION && !e->region[0] &&
        strcmp(e->code, "AuthorizationHeaderMalformed") == 0)
        e->class = S3_INVALID;
    /* AWS's answer to a HEAD that was signed for another region. */
    if (!e->code[0] && status == 400 && e->region[0])
        e->class = S3_REGION;
    if (e->class == S3_OK)
        e->class = class_of_status(status, d.is_error, size > 0);
    if (rc == VARVE_E_NO_MEMORY) /* the status alone would be a guess */
        e->class = S3_UNREAD;
    if (e->class != S3_REGION)
        e->region[0] = '\0';
    *ret = *e;
}
