/*
 * One call of libs3: made, repeated while that helps, and its status put into the store's words.
 *
 * libs3's S3StatusOK says only that a reply began well. Each caller counts what arrived (judge).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "cold/libs3/driver.h"

#define TRIES 4
#define BACKOFF_FIRST_NS INT64_C(100000000)

S3Status libs3_properties(const S3ResponseProperties *properties, void *data)
{
    struct libs3_request *r = data;

    r->reply.properties = true;
    r->reply.content_length = properties->contentLength;
    r->reply.modified = properties->lastModified * 1000;
    libs3_etag(properties->eTag ? properties->eTag : "", &r->reply.etag);
    return S3StatusOK;
}

void libs3_complete(S3Status status, const S3ErrorDetails *details, void *data)
{
    struct libs3_request *r = data;
    const char *words = details && details->message ? details->message : "";

    r->reply.status = status;
    snprintf(r->reply.message, sizeof(r->reply.message), "%s", words);
    for (char *c = r->reply.message; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c > 0x7e)
            *c = '?';
}

void libs3_etag(const char *text, struct cold_etag *ret)
{
    size_t size;

    text += text[0] == '"';
    size = strlen(text);
    if (size > 0 && text[size - 1] == '"')
        size--;
    if (size > COLD_ETAG_MAX)
        size = COLD_ETAG_MAX;
    memcpy(ret->text, text, size);
    ret->text[size] = '\0';
}

int libs3_request_init(struct libs3_request *r, struct libs3 *s, const char *op, const char *key,
                       struct varve_error *err)
{
    r->store = s;
    r->op = op;
    r->key = key;
    if (strchr(key, ' ')) /* libs3 sends it as '+', and the store takes that for another key */
        return libs3_fail(r, VARVE_E_UNSUPPORTED, false, "libs3 cannot name a key with a space",
                          err);
    return base_format(&r->full_key, err, "%s%s", s->prefix, key);
}

int libs3_fail(const struct libs3_request *r, int code, bool retriable, const char *what,
               struct varve_error *err)
{
    return (retriable ? base_fail_retriable : base_fail)(err, code, "%s %s in %s: %s", r->op,
                                                         r->key, r->store->url, what);
}

/* What a status means. Those of a 404 are the store's word only where it named the key (I8). */
static int status_code(S3Status status, bool *ret_retriable)
{
    *ret_retriable = false;
    switch (status) {
    case S3StatusErrorNoSuchKey:
        return VARVE_E_NOT_FOUND;
    case S3StatusErrorInvalidRange:
        return VARVE_E_CORRUPT;
    case S3StatusOutOfMemory:
        return VARVE_E_NO_MEMORY;
    case S3StatusErrorNotImplemented:
    case S3StatusErrorMethodNotAllowed:
        return VARVE_E_UNSUPPORTED;
    case S3StatusErrorAccessDenied:
    case S3StatusErrorAccountProblem:
    case S3StatusErrorInvalidAccessKeyId:
    case S3StatusErrorInvalidSecurity:
    case S3StatusErrorNotSignedUp:
    case S3StatusErrorSignatureDoesNotMatch:
    case S3StatusErrorExpiredToken:
    case S3StatusErrorInvalidToken:
    case S3StatusHttpErrorForbidden:
        return VARVE_E_DENIED;
    case S3StatusErrorRequestTimeTooSkewed: /* libs3 makes its dates with gmtime(), and another
                                               thread may have been at it */
        *ret_retriable = true;
        return VARVE_E_DENIED;
    case S3StatusErrorSlowDown:
    case S3StatusErrorBadDigest: /* changed on its way */
    case S3StatusErrorIncompleteBody:
    case S3StatusErrorUnknown:
    case S3StatusXmlParseFailure: /* cut off */
    case S3StatusHttpErrorConflict:
    case S3StatusHttpErrorNotFound:
    case S3StatusHttpErrorUnknown:
        *ret_retriable = true;
        return VARVE_E_STORE;
    default:
        *ret_retriable = S3_status_is_retryable(status);
        return VARVE_E_STORE;
    }
}

static int request_status(const struct libs3_request *r, struct varve_error *err)
{
    char what[224];
    bool retriable;
    int code;

    if (r->reply.status == S3StatusOK)
        return 0;
    code = status_code(r->reply.status, &retriable);
    snprintf(what, sizeof(what), "%s%s%s", S3_get_status_name(r->reply.status),
             r->reply.message[0] ? ": " : "", r->reply.message);
    return libs3_fail(r, code, retriable, what, err);
}

int libs3_request_run(struct libs3_request *r, struct varve_error *err)
{
    const struct base_clock *clock = r->store->env->clock;
    struct varve_error local;

    if (!err)
        err = &local;
    for (unsigned i = 1;; i++) {
        int rc;
        int64_t pause = BACKOFF_FIRST_NS << i;

        r->reply = (struct libs3_reply){.status = S3StatusInternalError};
        r->issue(r);
        rc = r->judge ? r->judge(r, err) : 0;
        if (rc == 0)
            rc = request_status(r, err);
        if (rc == 0 || !err->retriable || i == TRIES)
            return rc;
        /* From half of it to all of it, so that those who failed together do not come together. */
        pause =
            pause / 2 + (int64_t)(base_random_u64(r->store->env->random) % (uint64_t)(pause / 2));
        clock->sleep_ns(clock->ctx, pause);
    }
}
