/* What a reply means for its call. */
#include "cold/s3/verdict.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/error.h"
#include "cold/s3/request.h"

#define QUICK_NS INT64_C(200000000) /* a dead connection is noticed sooner than this */

int64_t s3_verdict_date(const char *text)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm = {0};
    char month[4] = "";
    const char *at;

    if (!text || sscanf(text, "%*3[A-Za-z], %2d %3s %4d %2d:%2d:%2d GMT", &tm.tm_mday, month,
                        &tm.tm_year, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
        return -1;
    at = strlen(month) == 3 ? strstr(months, month) : NULL;
    if (!at || (at - months) % 3 != 0)
        return -1;
    if (tm.tm_year < 1970 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour < 0 ||
        tm.tm_hour > 23 || tm.tm_min < 0 || tm.tm_min > 59 || tm.tm_sec < 0 || tm.tm_sec > 60)
        return -1;
    tm.tm_mon = (int)(at - months) / 3;
    tm.tm_year -= 1900;
    return (int64_t)timegm(&tm) * 1000;
}

static void take_headers(struct s3_call *call, const struct s3_http_reply *reply)
{
    const char *etag = reply->headers[S3_REPLY_ETAG];
    const char *id = reply->headers[S3_REPLY_WRITE_ID];
    int64_t modified = s3_verdict_date(reply->headers[S3_REPLY_LAST_MODIFIED]);

    snprintf(call->etag, sizeof(call->etag), "%s", etag ? etag : "");
    snprintf(call->write_id, sizeof(call->write_id), "%s", id ? id : "");
    call->modified_ms = modified < 0 ? 0 : modified;
    call->object_size = reply->content_length >= 0 ? (uint64_t)reply->content_length : reply->size;
}

static enum s3_verdict fail(struct s3_call *call, enum s3_verdict verdict)
{
    call->rc = call->err.code;
    return verdict;
}

/* ---- answers ---- */

/* A number of digits alone, where sscanf would take a sign and turn what is too large round. */
static bool number_take(const char **text, uint64_t *ret)
{
    const char *at = *text;
    uint64_t n = 0;

    for (; *at >= '0' && *at <= '9'; at++) {
        if (n > (UINT64_MAX - 9) / 10)
            return false;
        n = n * 10 + (uint64_t)(*at - '0');
    }
    if (at == *text)
        return false;
    *text = at;
    *ret = n;
    return true;
}

/* "bytes FIRST-LAST/", and whatever follows. */
static bool range_parse(const char *text, uint64_t *ret_first, uint64_t *ret_last)
{
    if (!text || strncmp(text, "bytes ", 6) != 0)
        return false;
    text += 6;
    return number_take(&text, ret_first) && *text++ == '-' && number_take(&text, ret_last) &&
           *text == '/';
}

/* I9: a range is exactly what was asked for, or it is an error that says what it is. */
static enum s3_verdict judge_range(struct s3_call *call, const struct s3_http_reply *reply)
{
    const char *range = reply->headers[S3_REPLY_CONTENT_RANGE];
    uint64_t first, last, end = call->pos + call->room_size;

    if (reply->status == 200 && call->pos == 0 && reply->size == call->room_size)
        return S3_VERDICT_DONE; /* the whole was asked for */
    if (reply->status != 206) {
        base_fail(&call->err, VARVE_E_STORE,
                  "the store answered a request for a range with status %d and %zu bytes: it does "
                  "not honour ranges",
                  reply->status, reply->size);
        return fail(call, S3_VERDICT_DONE);
    }
    if (!range_parse(range, &first, &last) || first != call->pos || last < first) {
        base_fail(&call->err, VARVE_E_CORRUPT,
                  "asked for bytes %" PRIu64 "-%" PRIu64 ", the answer is of '%.40s'", call->pos,
                  end - 1, range ? range : "no range");
        return fail(call, S3_VERDICT_AGAIN);
    }
    if (last + 1 < end) {
        base_fail(&call->err, VARVE_E_CORRUPT,
                  "the object ends before byte %" PRIu64 " (answered: '%.40s')", end, range);
        return fail(call, S3_VERDICT_DONE);
    }
    if (last + 1 > end || reply->size != call->room_size) {
        base_fail(&call->err, VARVE_E_CORRUPT, "asked for %zu bytes, %zu came, called '%.40s'",
                  call->room_size, reply->size, range);
        return fail(call, S3_VERDICT_AGAIN);
    }
    return S3_VERDICT_DONE;
}

/* The successes of S3: 200, 204 of a deletion, and what judge_range looks at. */
static bool is_success(const struct s3_call *call, int status)
{
    return status == 200 || (status == 204 && strcmp(call->method, "DELETE") == 0) ||
           (call->ranged && status > 200 && status < 300);
}

/*
 * A 2xx that lacks what S3 promises comes from something in between, or of a store that did not do
 * what it was asked: a put without its ETag may not have happened. Whether it did is asked by the
 * next request.
 */
static const char *what_is_odd(const struct s3_call *call, const struct s3_http_reply *reply)
{
    const char *etag = reply->headers[S3_REPLY_ETAG];

    if (!is_success(call, reply->status))
        return "a status that is none of this request's";
    if (call->wants_etag && (!etag || !etag[0]))
        return "no ETag";
    if (call->wants_etag && strlen(etag) >= sizeof(call->etag))
        return "an ETag of too many bytes";
    if (call->wants_etag && strcmp(call->method, "HEAD") == 0 && reply->content_length < 0)
        return "no length";
    return NULL;
}

static enum s3_verdict judge_success(struct s3_call *call, const struct s3_http_reply *reply)
{
    const char *odd = what_is_odd(call, reply);

    if (odd) {
        call->uncertain = true;
        base_fail(&call->err, VARVE_E_STORE, "the store's answer (%d) has %s", reply->status, odd);
        return fail(call, S3_VERDICT_ODD);
    }
    call->rc = 0;
    memset(&call->err, 0, sizeof(call->err));
    take_headers(call, reply);
    if (call->ranged)
        return judge_range(call, reply);
    return S3_VERDICT_DONE;
}

/* The codes that a person can act on, in words. */
static const char *denied_hint(const char *code)
{
    if (strcmp(code, "InvalidAccessKeyId") == 0)
        return "the store does not know this access key";
    if (strcmp(code, "SignatureDoesNotMatch") == 0)
        return "the secret key does not belong to this access key";
    if (strcmp(code, "InvalidToken") == 0)
        return "the session token is not valid";
    return "the store refuses this to the credentials in use";
}

static void describe(struct s3_call *call, int code, bool retriable, const char *what)
{
    const struct s3_error *e = &call->error;
    char detail[S3_REPLY_CODE_SIZE + 32];

    snprintf(detail, sizeof(detail), "%d%s%s", e->status, e->code[0] ? " " : "", e->code);
    base_fail(&call->err, code, "%s (%s%s%.80s)", what, detail, e->message[0] ? ": " : "",
              e->message);
    call->err.retriable = retriable;
}

static enum s3_verdict judge_clock(struct s3_call *call, const struct s3_http_reply *reply)
{
    const char *date = reply->headers[S3_REPLY_DATE];

    base_fail(&call->err, VARVE_E_STORE,
              "the clocks of this machine and of the store are too far apart (the store's: %.40s): "
              "set this machine's",
              date ? date : "not said");
    return fail(call, s3_verdict_date(date) < 0 ? S3_VERDICT_DONE : S3_VERDICT_CLOCK);
}

static enum s3_verdict judge_region(struct s3_call *call)
{
    if (call->error.region[0])
        base_fail(&call->err, VARVE_E_STORE, "the bucket is in region %s: say region=%s",
                  call->error.region, call->error.region);
    else
        describe(call, VARVE_E_STORE, false,
                 "the bucket is in another region or at another endpoint");
    return fail(call, call->error.region[0] ? S3_VERDICT_REGION : S3_VERDICT_DONE);
}

static bool is_full(const struct s3_error *e)
{
    return e->status == 507 || strcmp(e->code, "QuotaExceeded") == 0 ||
           strcmp(e->code, "XMinioStorageFull") == 0;
}

static bool is_change(const struct s3_call *call)
{
    return strcmp(call->method, "GET") != 0 && strcmp(call->method, "HEAD") != 0;
}

static bool is_conditional(const struct s3_call *call)
{
    for (size_t i = 0; i < call->header_count; i++) {
        if (strcmp(call->headers[i].name, "if-match") == 0 ||
            strcmp(call->headers[i].name, "if-none-match") == 0)
            return true;
    }
    return false;
}

/* Memory may be there again for the next answer. */
static enum s3_verdict judge_unread(struct s3_call *call)
{
    call->uncertain = true;
    base_fail(&call->err, VARVE_E_NO_MEMORY, "read the store's answer: out of memory");
    return fail(call, S3_VERDICT_AGAIN);
}

static enum s3_verdict judge_class(struct s3_call *call, const struct s3_http_reply *reply,
                                   const char *bucket)
{
    switch (call->error.class) {
    case S3_OK:
        describe(call, VARVE_E_STORE, false, "the answer makes no sense");
        return fail(call, S3_VERDICT_DONE);
    case S3_NOT_FOUND:
        base_fail(&call->err, VARVE_E_NOT_FOUND, "%s",
                  strcmp(call->error.code, "NoSuchUpload") == 0 ? "no such upload"
                                                                : "no such object");
        return fail(call, S3_VERDICT_DONE);
    case S3_NO_BUCKET:
        base_fail(&call->err, VARVE_E_STORE,
                  "there is no bucket '%s' (init --create-bucket makes it)", bucket);
        return fail(call, S3_VERDICT_DONE);
    case S3_PRECONDITION:
        if (!is_conditional(call)) {
            describe(call, VARVE_E_STORE, false, "the answer is of a condition that was not made");
            return fail(call, S3_VERDICT_DONE);
        }
        describe(call, VARVE_E_PRECONDITION, false, "the condition does not hold");
        return fail(call, S3_VERDICT_DONE);
    case S3_RANGE:
        base_fail(&call->err, VARVE_E_CORRUPT, "the object ends before byte %" PRIu64,
                  call->pos + call->room_size);
        return fail(call, S3_VERDICT_DONE);
    case S3_ARCHIVED:
        describe(call, VARVE_E_STORE, false, "the object is archived and must be restored first");
        return fail(call, S3_VERDICT_DONE);
    case S3_UNSUPPORTED:
        describe(call, VARVE_E_UNSUPPORTED, false, "the store cannot do this");
        return fail(call, S3_VERDICT_DONE);
    case S3_DENIED:
        describe(call, VARVE_E_DENIED, false, denied_hint(call->error.code));
        return fail(call, is_change(call) && strcmp(call->error.code, "AccessDenied") == 0
                              ? S3_VERDICT_DENIED
                              : S3_VERDICT_DONE);
    case S3_INVALID:
        describe(call, is_full(&call->error) ? VARVE_E_NO_SPACE : VARVE_E_STORE,
                 is_full(&call->error), "the store refuses the request");
        return fail(call, S3_VERDICT_DONE);
    case S3_CLOCK:
        return judge_clock(call, reply);
    case S3_EXPIRED:
        describe(call, VARVE_E_DENIED, true, "the credentials have expired");
        return fail(call, S3_VERDICT_KEYS);
    case S3_REGION:
        return judge_region(call);
    case S3_CHECKSUM:
        describe(call, VARVE_E_CORRUPT, true, "the body arrived changed");
        return fail(call, call->is_damaged ? S3_VERDICT_DONE : S3_VERDICT_AGAIN);
    case S3_SLOW_DOWN:
        describe(call, VARVE_E_STORE, true, "the store asks for fewer requests");
        return fail(call, S3_VERDICT_SLOWER);
    case S3_CONFLICT:
        describe(call, VARVE_E_STORE, true, "another write was under way");
        return fail(call, S3_VERDICT_AGAIN);
    case S3_UNREAD:
        return judge_unread(call);
    case S3_RETRY:
        describe(call, is_full(&call->error) ? VARVE_E_NO_SPACE : VARVE_E_STORE, true,
                 "the store failed");
        return fail(call, S3_VERDICT_AGAIN);
    }
    return fail(call, S3_VERDICT_DONE);
}

static enum s3_verdict judge_error(struct s3_call *call, const struct s3_http_reply *reply,
                                   const void *body, size_t size, const char *bucket)
{
    enum s3_verdict verdict;

    s3_error_decode(reply->status, reply->headers[S3_REPLY_REGION], body, size, &call->error);
    verdict = judge_class(call, reply, bucket);
    /* It may have been done before the error: MinIO says SlowDown of what took it too long. */
    if (verdict == S3_VERDICT_AGAIN || verdict == S3_VERDICT_SLOWER)
        call->uncertain = true;
    return verdict;
}

/* ---- no answers ---- */

static enum s3_verdict judge_truncated(struct s3_call *call, const struct s3_http_reply *reply)
{
    size_t limit = call->room ? call->room_size : call->size_max;
    bool longer = reply->size > limit;

    call->uncertain = true;
    if (longer && call->is_object) {
        base_fail(&call->err, VARVE_E_TOO_LARGE, "the object is above %zu bytes", call->size_max);
        return fail(call, S3_VERDICT_DONE);
    }
    if (longer && call->ranged && reply->status == 200) {
        base_fail(&call->err, VARVE_E_STORE,
                  "the store answered a request for a range with the whole object");
        return fail(call, S3_VERDICT_DONE);
    }
    base_fail_retriable(&call->err, VARVE_E_STORE, "%s (%zu bytes came)", reply->message,
                        reply->size);
    return fail(call, S3_VERDICT_AGAIN);
}

enum s3_verdict s3_verdict_reach(struct s3_call *call, const struct s3_http_request *request,
                                 const struct s3_http_reply *reply, const char *bucket)
{
    int is_error;

    call->answered = reply->outcome == S3_HTTP_REPLY;
    call->trouble = reply->trouble;
    call->date_ms = call->answered ? s3_verdict_date(reply->headers[S3_REPLY_DATE]) : -1;
    switch (reply->outcome) {
    case S3_HTTP_CANCELLED:
        base_fail(&call->err, VARVE_E_CANCELLED, "cancelled");
        return fail(call, S3_VERDICT_CANCELLED);
    case S3_HTTP_TRUNCATED:
        return judge_truncated(call, reply);
    case S3_HTTP_NOT_SENT:
    case S3_HTTP_UNKNOWN:
        base_fail(&call->err,
                  reply->trouble == S3_HTTP_TROUBLE_MEMORY ? VARVE_E_NO_MEMORY : VARVE_E_STORE,
                  "%s", reply->message);
        call->err.retriable = reply->retriable;
        if (reply->outcome == S3_HTTP_NOT_SENT)
            return fail(call, reply->retriable ? S3_VERDICT_AGAIN : S3_VERDICT_DONE);
        call->uncertain = true;
        return fail(call, !reply->retriable            ? S3_VERDICT_DONE
                          : reply->total_ns < QUICK_NS ? S3_VERDICT_AT_ONCE
                                                       : S3_VERDICT_AGAIN);
    case S3_HTTP_REPLY:
        break;
    }
    if (reply->status < 200 || reply->status > 299)
        return judge_error(call, reply, reply->error_body, reply->error_size, bucket);
    /* A 200 is sent before the work is done where that takes long; what follows may be an <Error>.
     */
    is_error = call->is_object || !request->body_memory
                   ? 0
                   : s3_error_is_document(request->body_memory, request->body_memory_size);
    if (is_error < 0)
        return judge_unread(call);
    if (is_error)
        return judge_error(call, reply, request->body_memory, request->body_memory_size, bucket);
    return judge_success(call, reply);
}
