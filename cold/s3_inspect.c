/* The s3 driver: what it knows of itself, and what the bucket says of its own set-up. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cold/inspect.h"
#include "cold/s3.h"
#include "cold/s3/bucket.h"

#define REGION_DEFAULT "us-east-1"
#define REPLY_SIZE_MAX S3_REPLY_XML_MAX
#define KEY_ID_SHOWN 4                 /* characters of an access key: enough to tell two apart */
#define KEY_ID_SHOWN_OF 12             /* of a shorter one nothing is shown */
#define CLOCK_GOOD_MS 5000             /* a Date header counts seconds */
#define CLOCK_TOLERABLE_MS (60 * 1000) /* beyond it times of records mislead */

/* ---- without asking ---- */

static bool is_loopback(const char *base)
{
    const char *host = strstr(base, "://");

    host = host ? host + 3 : base;
    return strncmp(host, "127.", 4) == 0 || strncmp(host, "[::1]", 5) == 0 ||
           strncmp(host, "localhost", 9) == 0 || strstr(host, ".localhost:") != NULL;
}

static void inspect_place(struct cold_s3 *s, struct cold_inspection *ret)
{
    struct s3_client_place place;

    s3_client_place(s->client, &place);
    cold_inspect_add(ret, "endpoint", "where requests go", s->at_aws ? "aws" : "given",
                     COLD_PROBE_YES, "%s", place.base);
    cold_inspect_add(ret, "addressing", "how the bucket is named in requests",
                     place.virtual_style ? "virtual" : "path", COLD_PROBE_YES, "%s",
                     place.virtual_style ? "by the host's name" : "by the path");
    cold_inspect_add(ret, "tls", "is the way to the store encrypted",
                     place.tls                 ? "on"
                     : is_loopback(place.base) ? "off-here"
                                               : "off",
                     place.tls ? COLD_PROBE_YES : COLD_PROBE_NO, "%s",
                     place.tls                 ? "https, certificate and host name checked"
                     : is_loopback(place.base) ? "http, on this machine"
                                               : "http");
}

/* ---- who asks ---- */

static int inspect_credentials(struct cold_s3 *s, struct cold_inspection *ret,
                               struct varve_error *err)
{
    static const char what[] = "where the keys come from";
    struct s3_credentials c = {0};
    const char *source;
    char profile[96] = "", key[64] = "";
    int rc = s3_credentials_source_get(s->source, &c, err);

    if (rc < 0) {
        cold_inspect_add(ret, "credentials", what, "none", COLD_PROBE_NO, "%s", err->msg);
        return rc;
    }
    source = c.source ? c.source : "not said";
    if (strcmp(source, "environment") != 0 && strcmp(source, "container endpoint") != 0 &&
        strcmp(source, "instance metadata") != 0)
        snprintf(profile, sizeof(profile), " (profile '%.64s')",
                 s3_credentials_source_profile(s->source));
    if (strlen(c.access_key) >= KEY_ID_SHOWN_OF)
        snprintf(key, sizeof(key), ", access key %.*s...", KEY_ID_SHOWN, c.access_key);
    cold_inspect_add(ret, "credentials", what, "some", COLD_PROBE_YES, "%s%s%s%s", source, profile,
                     key, c.session_token ? ", with a session token" : "");
    s3_credentials_clear(&c);
    return 0;
}

/* ---- does it answer ---- */

static const char *kind_of_trouble(enum s3_http_trouble trouble)
{
    switch (trouble) {
    case S3_HTTP_TROUBLE_NAME:
        return "name";
    case S3_HTTP_TROUBLE_CONNECT:
        return "dead";
    case S3_HTTP_TROUBLE_TLS:
        return "tls";
    case S3_HTTP_TROUBLE_CA_FILE:
        return "ca-file";
    case S3_HTTP_TROUBLE_UNTRUSTED:
        return "untrusted";
    case S3_HTTP_TROUBLE_EXPIRED:
        return "expired-certificate";
    case S3_HTTP_TROUBLE_ANOTHER_HOST:
        return "another-host";
    case S3_HTTP_TROUBLE_MEMORY:
    case S3_HTTP_TROUBLE_OTHER:
        break;
    }
    return "broken";
}

static const char *kind_of_denial(const char *code)
{
    if (strcmp(code, "InvalidAccessKeyId") == 0 || strcmp(code, "InvalidClientTokenId") == 0)
        return "key";
    if (strcmp(code, "SignatureDoesNotMatch") == 0)
        return "secret";
    if (strcmp(code, "InvalidToken") == 0)
        return "token";
    return "denied";
}

/* The kind of a request that failed; its answer, if there was one, had a body to tell by. */
static const char *kind_of_failure(const struct s3_call *call)
{
    if (!call->answered)
        return kind_of_trouble(call->trouble);
    if (call->error.class == S3_RETRY || call->error.class == S3_SLOW_DOWN)
        return "failing";
    /* Every error of S3 bears a code. A web server's page does not. */
    if (!call->error.code[0])
        return "not-s3";
    switch (call->error.class) {
    case S3_DENIED:
        return kind_of_denial(call->error.code);
    case S3_EXPIRED:
        return "expired";
    case S3_NO_BUCKET:
        return "bucket";
    case S3_REGION:
        return "region";
    case S3_CLOCK:
        return "clock";
    default:
        return "other";
    }
}

static int ignore(void *arg, const struct s3_list_object *object)
{
    (void)arg;
    (void)object;
    return 0;
}

/* A listing of one key: of what S3 can be asked, what says most when it is refused. */
static int inspect_reach(struct cold_s3 *s, struct cold_inspection *ret, struct varve_error *err)
{
    static const char what[] = "a listing of the bucket, signed with these keys";
    const struct s3_query pairs[] = {
        {"encoding-type", "url"}, {"list-type", "2"}, {"max-keys", "1"}, {"prefix", s->prefix}};
    struct s3_call call = {.method = "GET", .key = "", .size_max = REPLY_SIZE_MAX};
    struct s3_list_result result = {0};
    const char *kind = "yes";
    int rc = cold_s3_call_query(s, "list", "", &call, pairs, sizeof(pairs) / sizeof(pairs[0]), err);

    if (rc < 0) {
        kind = kind_of_failure(&call);
    } else {
        rc = s3_reply_list(call.body_memory, call.body_memory_size, ignore, NULL, &result, err);
        if (rc < 0) {
            kind = "not-s3";
            rc = cold_s3_context(s, rc, "list", "", err);
        }
        free(result.next_token);
    }
    free(call.body_memory);
    if (rc == VARVE_E_NO_MEMORY) /* it says nothing of the store */
        kind = "other";
    cold_inspect_add(ret, "reach", what, kind, rc == 0 ? COLD_PROBE_YES : COLD_PROBE_NO, "%s",
                     rc == 0 ? "" : err->msg);
    return rc;
}

static void inspect_region(struct cold_s3 *s, struct cold_inspection *ret)
{
    static const char what[] = "does the store take signatures for this region";
    const char *asked = s->region ? s->region : REGION_DEFAULT;
    struct s3_client_place place;

    s3_client_place(s->client, &place);
    if (strcmp(place.region, asked) == 0)
        cold_inspect_add(ret, "region", what, "taken", COLD_PROBE_YES, "%s%s", asked,
                         s->region ? "" : " (none was given)");
    else
        cold_inspect_add(ret, "region", what, "another", COLD_PROBE_NO,
                         "the bucket is in %s, requests were signed for %s", place.region, asked);
}

/* ---- clock, and reading ---- */

static int64_t wall_ms(const struct cold_s3 *s)
{
    return s->env->clock->wall_ms(s->env->clock->ctx);
}

/* "1 h 0 min", "12 s" */
static void span_format(int64_t ms, char *ret, size_t room)
{
    int64_t s = ((ms < 0 ? -ms : ms) + 500) / 1000;
    int64_t minutes = (s + 30) / 60; /* nobody wants an hour as 59 min 59 s */

    if (minutes >= 60)
        snprintf(ret, room, "%" PRId64 " h %" PRId64 " min", minutes / 60, minutes % 60);
    else if (s >= 60)
        snprintf(ret, room, "%" PRId64 " min %" PRId64 " s", s / 60, s % 60);
    else
        snprintf(ret, room, "%" PRId64 " s", s);
}

static void say_clock(struct cold_inspection *ret, int64_t skew_ms)
{
    static const char what[] = "this machine's clock beside the Date of the store's answers";
    int64_t off = skew_ms < 0 ? -skew_ms : skew_ms;
    char span[48];

    span_format(skew_ms, span, sizeof(span));
    if (off <= CLOCK_GOOD_MS)
        cold_inspect_add(ret, "clock", what, "right", COLD_PROBE_YES, "within %d s",
                         CLOCK_GOOD_MS / 1000);
    else
        cold_inspect_add(ret, "clock", what,
                         off <= CLOCK_TOLERABLE_MS ? "drifting"
                         : skew_ms > 0             ? "behind"
                                                   : "ahead",
                         off <= CLOCK_TOLERABLE_MS ? COLD_PROBE_YES : COLD_PROBE_NO,
                         "this machine's clock is %s %s the store's", span,
                         skew_ms > 0 ? "behind" : "ahead of");
}

/* Asks for an object that is not there: whoever may read and list is told so. */
static void inspect_read(struct cold_s3 *s, struct cold_inspection *ret)
{
    char id[S3_WRITE_ID_SIZE], key[COLD_S3_KEY_SIZE];
    struct s3_call call = {.method = "HEAD", .key = key};
    struct varve_error err;
    int64_t before, after;
    int rc;

    cold_s3_write_id(s, id);
    snprintf(key, sizeof(key), "%s" COLD_PROBE_PREFIX "/%s", s->prefix, id);
    before = wall_ms(s);
    rc = s3_client_call(s->client, &call, &err);
    after = wall_ms(s);
    if (call.date_ms < 0)
        cold_inspect_add(ret, "clock", "the Date of the store's answers", "unknown",
                         COLD_PROBE_UNKNOWN, "the store's answers bear none");
    else /* the Date was made somewhere between, and its second had begun */
        say_clock(ret, call.date_ms + 500 - (before + after) / 2);
    cold_inspect_add(ret, "read", "a HEAD of an object that is not there",
                     rc == VARVE_E_NOT_FOUND ? "yes"
                     : rc == VARVE_E_DENIED  ? "denied"
                                             : "unknown",
                     rc == VARVE_E_NOT_FOUND ? COLD_PROBE_YES
                     : rc == VARVE_E_DENIED  ? COLD_PROBE_NO
                                             : COLD_PROBE_UNKNOWN,
                     "%s",
                     rc == VARVE_E_NOT_FOUND ? ""
                     : rc < 0                ? err.msg
                                             : "it is there");
}

/* ---- how the bucket is set up ---- */

/* A sub-resource of the bucket. 1: there is no such set-up; an error: the store does not say. */
static int ask(struct cold_s3 *s, const char *query, struct s3_call *ret, struct varve_error *err)
{
    int rc;

    *ret = (struct s3_call){.method = "GET", .key = "", .query = query, .size_max = REPLY_SIZE_MAX};
    rc = s3_client_call(s->client, ret, err);
    if (rc == VARVE_E_NOT_FOUND)
        return 1;
    return rc;
}

static void inspect_versioning(struct cold_s3 *s, struct cold_inspection *ret)
{
    static const char what[] = "does the bucket keep what is overwritten or deleted";
    struct varve_error err;
    struct s3_call call;
    bool on = false;
    int rc = ask(s, "versioning=", &call, &err);

    if (rc == 0)
        rc = s3_reply_versioning(call.body_memory, call.body_memory_size, &on, &err);
    free(call.body_memory);
    if (rc < 0)
        cold_inspect_add(ret, "versioning", what, "unknown", COLD_PROBE_UNKNOWN, "%s", err.msg);
    else
        cold_inspect_add(ret, "versioning", what, on ? "on" : "off",
                         on ? COLD_PROBE_YES : COLD_PROBE_NO, "%s",
                         on ? "versioning was turned on" : "not versioned");
}

static void inspect_lock(struct cold_s3 *s, struct cold_inspection *ret)
{
    static const char what[] = "can objects be locked against deletion";
    struct s3_object_lock lock = {0};
    struct varve_error err;
    struct s3_call call;
    int rc = ask(s, "object-lock=", &call, &err);

    if (rc == 0)
        rc = s3_bucket_lock(call.body_memory, call.body_memory_size, &lock, &err);
    free(call.body_memory);
    if (rc < 0)
        cold_inspect_add(ret, "object-lock", what, "unknown", COLD_PROBE_UNKNOWN, "%s", err.msg);
    else if (lock.mode[0])
        cold_inspect_add(ret, "object-lock", what, "retention", COLD_PROBE_YES,
                         "every object is kept by default: %s, %" PRIu64 " %s", lock.mode,
                         lock.years ? lock.years : lock.days, lock.years ? "years" : "days");
    else
        cold_inspect_add(ret, "object-lock", what, lock.enabled ? "on" : "off",
                         lock.enabled ? COLD_PROBE_YES : COLD_PROBE_NO, "%s",
                         lock.enabled ? "enabled, without a default retention" : "not enabled");
}

struct lifecycle {
    const struct cold_s3 *s;
    struct cold_inspection *ret;
    bool said;
};

#define LIFECYCLE_WHAT "what the bucket's lifecycle does to objects here"

/* Does the rule reach objects of ours? Ours have no tags. */
static bool touches(const struct cold_s3 *s, const struct s3_lifecycle_rule *rule)
{
    size_t ours = strlen(s->prefix), theirs = strlen(rule->prefix);

    return rule->enabled && !rule->tagged &&
           strncmp(rule->prefix, s->prefix, ours < theirs ? ours : theirs) == 0;
}

static void lifecycle_say(struct lifecycle *l, const char *kind, const char *verb, uint64_t days,
                          const char *prefix)
{
    char after[48] = "at a date";

    if (days > 0)
        snprintf(after, sizeof(after), "after %" PRIu64 " day%s", days, days == 1 ? "" : "s");
    cold_inspect_add(l->ret, "lifecycle", LIFECYCLE_WHAT, kind, COLD_PROBE_YES,
                     "%s %s, below '%.80s'", verb, after, prefix);
    l->said = true;
}

static int lifecycle_visit(void *arg, const struct s3_lifecycle_rule *rule)
{
    struct lifecycle *l = arg;
    char verb[32 + S3_BUCKET_CLASS_SIZE];

    if (!touches(l->s, rule))
        return 0;
    if (rule->expires)
        lifecycle_say(l, "expires", "deletes objects", rule->expire_days, rule->prefix);
    if (rule->transits) {
        snprintf(verb, sizeof(verb), "moves objects to %s", rule->transition_class);
        lifecycle_say(l, strstr(rule->transition_class, "_IA") ? "cools" : "archives", verb,
                      rule->transition_days, rule->prefix);
    }
    if (rule->noncurrent_days > 0)
        lifecycle_say(l, "noncurrent", "deletes old versions", rule->noncurrent_days, rule->prefix);
    if (rule->abort_days > 0)
        lifecycle_say(l, "aborts", "removes unfinished uploads", rule->abort_days, rule->prefix);
    return 0;
}

static void inspect_lifecycle(struct cold_s3 *s, struct cold_inspection *ret)
{
    struct lifecycle l = {.s = s, .ret = ret};
    struct varve_error err;
    struct s3_call call;
    int rc = ask(s, "lifecycle=", &call, &err);

    if (rc == 0)
        rc =
            s3_bucket_lifecycle(call.body_memory, call.body_memory_size, lifecycle_visit, &l, &err);
    free(call.body_memory);
    if (rc < 0)
        cold_inspect_add(ret, "lifecycle", LIFECYCLE_WHAT, "unknown", COLD_PROBE_UNKNOWN, "%s",
                         err.msg);
    else if (!l.said)
        cold_inspect_add(ret, "lifecycle", LIFECYCLE_WHAT, "none", COLD_PROBE_YES, "nothing");
}

int cold_s3_inspect(void *self, struct cold_inspection *ret, struct varve_error *err)
{
    struct cold_s3 *s = self;
    int rc;

    inspect_place(s, ret);
    rc = inspect_credentials(s, ret, err);
    if (rc < 0) {
        cold_inspect_add(ret, "reach", "a listing of the bucket", "no-credentials", COLD_PROBE_NO,
                         "nothing to sign with");
        return rc;
    }
    rc = inspect_reach(s, ret, err);
    if (rc < 0)
        return rc;
    inspect_region(s, ret);
    inspect_read(s, ret);
    inspect_versioning(s, ret);
    inspect_lock(s, ret);
    inspect_lifecycle(s, ret);
    return 0;
}
