#include "fakes3/auth.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "fakes3/digest.h"
#include "fakes3/reply.h"
#include "fakes3/request.h"
#include "fakes3/text.h"

#define ALGORITHM "AWS4-HMAC-SHA256"

/* What the Authorization header holds, taken apart in a copy of it. */
struct authorization {
    char *copy;
    const char *access_key, *date, *region, *service, *terminator; /* of the credential scope */
    const char *signed_headers, *signature;
};

static bool take_scope(struct authorization *a, char *scope)
{
    /* From the right: an access key may hold slashes. */
    const char **parts[] = {&a->terminator, &a->service, &a->region, &a->date};

    for (size_t i = 0; i < 4; i++) {
        char *slash = strrchr(scope, '/');
        if (!slash)
            return false;
        *slash = 0;
        *parts[i] = slash + 1;
    }
    a->access_key = scope;
    return true;
}

static bool parse_authorization(struct authorization *a, const char *header)
{
    char *rest, *field;

    a->copy = fakes3_text_copy(header + strlen(ALGORITHM));
    rest = a->copy;
    while ((field = strsep(&rest, ","))) {
        field += strspn(field, " ");
        if (strncmp(field, "Credential=", 11) == 0) {
            if (!take_scope(a, field + 11))
                return false;
        } else if (strncmp(field, "SignedHeaders=", 14) == 0) {
            a->signed_headers = field + 14;
        } else if (strncmp(field, "Signature=", 10) == 0) {
            a->signature = field + 10;
        } else {
            return false;
        }
    }
    return a->access_key && a->signed_headers && a->signature;
}

static bool is_signed(const char *signed_headers, const char *name)
{
    size_t size = strlen(name);

    for (const char *p = signed_headers; (p = strstr(p, name)); p += size)
        if ((p == signed_headers || p[-1] == ';') && (p[size] == ';' || p[size] == 0))
            return true;
    return false;
}

static int compare_pairs(const void *a, const void *b)
{
    const struct fakes3_pair *left = a, *right = b;
    int order = strcmp(left->name, right->name);

    return order ? order : strcmp(left->value, right->value);
}

static char *encoded(const char *text)
{
    struct evbuffer *buffer = evbuffer_new();

    fakes3_text_encode(buffer, text, false);
    return fakes3_text_of_buffer(buffer);
}

/* Sorted by the encoded names, then by the encoded values. */
static void add_canonical_query(struct evbuffer *out, const struct fakes3_request *request)
{
    struct fakes3_pairs pairs = {0};

    for (size_t i = 0; i < request->params.count; i++)
        fakes3_pairs_add(&pairs, encoded(request->params.items[i].name),
                         encoded(request->params.items[i].value));
    if (pairs.count)
        qsort(pairs.items, pairs.count, sizeof(*pairs.items), compare_pairs);
    for (size_t i = 0; i < pairs.count; i++)
        evbuffer_add_printf(out, "%s%s=%s", i ? "&" : "", pairs.items[i].name,
                            pairs.items[i].value);
    fakes3_pairs_deinit(&pairs);
}

/* All values of that name, joined by commas, with runs of spaces as one. */
static void add_canonical_header(struct evbuffer *out, const struct fakes3_request *request,
                                 const char *name)
{
    bool more = false;

    evbuffer_add_printf(out, "%s:", name);
    for (size_t i = 0; i < request->headers.count; i++) {
        if (strcmp(request->headers.items[i].name, name) != 0)
            continue;
        if (more)
            evbuffer_add(out, ",", 1);
        for (const char *c = request->headers.items[i].value; *c; c++)
            if (c[0] != ' ' || c[1] != ' ')
                evbuffer_add(out, c, 1);
        more = true;
    }
    evbuffer_add(out, "\n", 1);
}

static char *canonical_request(const struct fakes3_request *request, const struct authorization *a,
                               const char *payload_hash)
{
    struct evbuffer *out = evbuffer_new();
    char *names = fakes3_text_copy(a->signed_headers);
    char *rest = names, *name;

    evbuffer_add_printf(out, "%s\n", request->method);
    fakes3_text_encode(out, request->path, true);
    evbuffer_add(out, "\n", 1);
    add_canonical_query(out, request);
    evbuffer_add(out, "\n", 1);
    while ((name = strsep(&rest, ";")))
        add_canonical_header(out, request, name);
    evbuffer_add_printf(out, "\n%s\n%s", a->signed_headers, payload_hash);
    free(names);
    return fakes3_text_of_buffer(out);
}

static char *string_to_sign(const struct authorization *a, const char *amz_date,
                            const char *canonical)
{
    uint8_t hash[32];
    char hex[65];

    fakes3_digest_sha256(canonical, strlen(canonical), hash);
    fakes3_text_hex(hash, sizeof(hash), hex);
    return fakes3_text_format(ALGORITHM "\n%s\n%s/%s/%s/aws4_request\n%s", amz_date, a->date,
                              a->region, a->service, hex);
}

static void sign(const char *secret, const struct authorization *a, const char *text, char hex[65])
{
    char *first = fakes3_text_format("AWS4%s", secret);
    uint8_t key[32];

    fakes3_digest_hmac(first, strlen(first), a->date, strlen(a->date), key);
    fakes3_digest_hmac(key, 32, a->region, strlen(a->region), key);
    fakes3_digest_hmac(key, 32, a->service, strlen(a->service), key);
    fakes3_digest_hmac(key, 32, "aws4_request", 12, key);
    fakes3_digest_hmac(key, 32, text, strlen(text), key);
    fakes3_text_hex(key, 32, hex);
    free(first);
}

/* The date of the request, as the string to sign wants it. */
static bool find_date(const struct fakes3_request *request, char amz_date[17], int64_t *ret_ms)
{
    const char *text = fakes3_request_header(request, "x-amz-date");
    char iso[FAKES3_DATE_SIZE];

    if (!text)
        text = fakes3_request_header(request, "date");
    if (!text || !fakes3_text_parse_date(text, ret_ms))
        return false;
    fakes3_text_iso_date(*ret_ms, iso);
    snprintf(amz_date, 17, "%.4s%.2s%.2sT%.2s%.2s%.2sZ", iso, iso + 5, iso + 8, iso + 11, iso + 14,
             iso + 17);
    return true;
}

static bool check_scope(const struct fakes3_auth *auth, const struct authorization *a,
                        const char *amz_date, struct fakes3_reply *reply)
{
    if (strcmp(a->terminator, "aws4_request") != 0 || strcmp(a->service, auth->service) != 0) {
        fakes3_reply_error(reply, "AuthorizationHeaderMalformed",
                           "The authorization header is malformed; incorrect service \"%s\". This "
                           "endpoint belongs to \"%s\".",
                           a->service, auth->service);
        return false;
    }
    if (strncmp(a->date, amz_date, 8) != 0 || a->date[8]) {
        fakes3_reply_error(reply, "AuthorizationHeaderMalformed",
                           "The authorization header is malformed; Invalid credential date \"%s\". "
                           "This date is not the same as X-Amz-Date: \"%.8s\".",
                           a->date, amz_date);
        return false;
    }
    if (strcmp(a->region, auth->region) != 0) {
        fakes3_reply_error(reply, "AuthorizationHeaderMalformed",
                           "The authorization header is malformed; the region '%s' is wrong; "
                           "expecting '%s'",
                           a->region, auth->region);
        fakes3_reply_detail(reply, "Region", "%s", auth->region);
        fakes3_reply_header(reply, "x-amz-bucket-region", "%s", auth->region);
        return false;
    }
    return true;
}

static bool check_skew(const struct fakes3_auth *auth, const char *amz_date, int64_t date_ms,
                       struct fakes3_reply *reply)
{
    char now[FAKES3_DATE_SIZE];

    if (llabs(auth->now_ms - date_ms) <= FAKES3_AUTH_SKEW_MS_MAX)
        return true;
    fakes3_text_iso_date(auth->now_ms, now);
    fakes3_reply_error(
        reply, "RequestTimeTooSkewed",
        "The difference between the request time and the current time is too large.");
    fakes3_reply_detail(reply, "RequestTime", "%s", amz_date);
    fakes3_reply_detail(reply, "ServerTime", "%s", now);
    fakes3_reply_detail(reply, "MaxAllowedSkewMilliseconds", "%d", FAKES3_AUTH_SKEW_MS_MAX);
    return false;
}

static bool check_key(const struct fakes3_auth *auth, const struct fakes3_request *request,
                      const struct fakes3_key *key, const char *access_key,
                      struct fakes3_reply *reply)
{
    const char *token = fakes3_request_header(request, "x-amz-security-token");

    if (!key) {
        fakes3_reply_error(
            reply, strcmp(auth->service, "s3") == 0 ? "InvalidAccessKeyId" : "InvalidClientTokenId",
            "The AWS Access Key Id you provided does not exist in our records.");
        fakes3_reply_detail(reply, "AWSAccessKeyId", "%s", access_key);
        return false;
    }
    if ((key->token != NULL) != (token != NULL) || (token && strcmp(token, key->token) != 0)) {
        fakes3_reply_error(reply, "InvalidToken",
                           "The provided token is malformed or otherwise invalid.");
        return false;
    }
    if (key->expires_ms && auth->now_ms >= key->expires_ms) {
        fakes3_reply_error(reply, "ExpiredToken", "The provided token has expired.");
        return false;
    }
    return true;
}

/* Whether the name at `a` sorts before the one at `b`; each ends at ';' or NUL. */
static bool sorts_before(const char *a, const char *b)
{
    size_t a_size = strcspn(a, ";"), b_size = strcspn(b, ";");
    int order = memcmp(a, b, a_size < b_size ? a_size : b_size);

    return order < 0 || (order == 0 && a_size < b_size);
}

static bool check_signed_headers(const struct fakes3_request *request,
                                 const struct authorization *a, struct fakes3_reply *reply)
{
    const char *previous = "";

    for (size_t i = 0; i < request->headers.count; i++) {
        const char *name = request->headers.items[i].name;
        if ((strncmp(name, "x-amz-", 6) != 0 && strcmp(name, "host") != 0) ||
            is_signed(a->signed_headers, name))
            continue;
        fakes3_reply_error(reply, "AccessDenied",
                           "There were headers present in the request which were not signed");
        fakes3_reply_detail(reply, "HeadersNotSigned", "%s", name);
        return false;
    }
    for (const char *p = a->signed_headers; *p; p += strcspn(p, ";"), p += *p == ';') {
        if (!sorts_before(previous, p) || isupper((unsigned char)*p)) {
            fakes3_reply_error(reply, "AuthorizationHeaderMalformed",
                               "The authorization header is malformed; SignedHeaders must be in "
                               "lower case and sorted.");
            return false;
        }
        previous = p;
    }
    return true;
}

/* What the canonical request ends in; NULL with the error. */
static const char *find_payload_hash(const struct fakes3_auth *auth,
                                     const struct fakes3_request *request,
                                     struct fakes3_reply *reply)
{
    const char *hash = fakes3_request_header(request, "x-amz-content-sha256");

    if (auth->payload_hash)
        return auth->payload_hash;
    if (!hash) {
        fakes3_reply_error(reply, "InvalidRequest",
                           "Missing required header for this request: x-amz-content-sha256");
        return NULL;
    }
    if (strncmp(hash, "STREAMING-", 10) == 0) {
        fakes3_reply_error(reply, "NotImplemented",
                           "A header you provided implies functionality that is not implemented.");
        fakes3_reply_detail(reply, "Header", "x-amz-content-sha256");
        return NULL;
    }
    if (strcmp(hash, "UNSIGNED-PAYLOAD") != 0 &&
        (strlen(hash) != 64 || strspn(hash, "0123456789abcdef") != 64)) {
        fakes3_reply_error(
            reply, "InvalidArgument",
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, or a valid sha256 value.");
        return NULL;
    }
    return hash;
}

static bool check_signature(const struct fakes3_request *request, const struct authorization *a,
                            const struct fakes3_key *key, const char *amz_date,
                            const char *payload_hash, struct fakes3_reply *reply)
{
    char *canonical = canonical_request(request, a, payload_hash);
    char *text = string_to_sign(a, amz_date, canonical);
    char expected[65];
    bool good;

    sign(key->secret, a, text, expected);
    good = strlen(a->signature) == 64 && CRYPTO_memcmp(a->signature, expected, 64) == 0;
    if (!good) {
        fakes3_reply_error(reply, "SignatureDoesNotMatch",
                           "The request signature we calculated does not match the signature you "
                           "provided. Check your key and signing method.");
        fakes3_reply_detail(reply, "AWSAccessKeyId", "%s", key->access_key);
        fakes3_reply_detail(reply, "StringToSign", "%s", text);
        fakes3_reply_detail(reply, "SignatureProvided", "%s", a->signature);
        fakes3_reply_detail(reply, "CanonicalRequest", "%s", canonical);
    }
    free(text);
    free(canonical);
    return good;
}

static bool check_authorization(const struct fakes3_auth *auth,
                                const struct fakes3_request *request, const struct authorization *a,
                                const struct fakes3_key **ret_key, struct fakes3_reply *reply)
{
    const struct fakes3_key *key = fakes3_keys_find(auth->keys, a->access_key);
    const char *payload_hash;
    char amz_date[17];
    int64_t date_ms;

    if (!find_date(request, amz_date, &date_ms)) {
        fakes3_reply_error(reply, "AccessDenied",
                           "AWS authentication requires a valid Date or x-amz-date header");
        return false;
    }
    payload_hash = find_payload_hash(auth, request, reply);
    if (!payload_hash || !check_scope(auth, a, amz_date, reply) ||
        !check_key(auth, request, key, a->access_key, reply) ||
        !check_signed_headers(request, a, reply) ||
        !check_signature(request, a, key, amz_date, payload_hash, reply) ||
        !check_skew(auth, amz_date, date_ms, reply))
        return false;
    *ret_key = key;
    return true;
}

bool fakes3_auth_check(const struct fakes3_auth *auth, const struct fakes3_request *request,
                       const struct fakes3_key **ret_key, struct fakes3_reply *reply)
{
    const char *header = fakes3_request_header(request, "authorization");
    struct authorization a = {0};
    bool good = false;

    if (!header) {
        fakes3_reply_error(reply, "AccessDenied", "Access Denied");
    } else if (strncmp(header, ALGORITHM " ", strlen(ALGORITHM) + 1) != 0) {
        fakes3_reply_error(reply, "InvalidRequest",
                           "The authorization mechanism you have provided is not supported. "
                           "Please use " ALGORITHM ".");
    } else if (!parse_authorization(&a, header)) {
        fakes3_reply_error(reply, "AuthorizationHeaderMalformed",
                           "The authorization header is malformed; it needs a Credential of "
                           "\"KEY/YYYYMMDD/REGION/SERVICE/aws4_request\", SignedHeaders and a "
                           "Signature.");
    } else {
        good = check_authorization(auth, request, &a, ret_key, reply);
    }
    free(a.copy);
    return good;
}
