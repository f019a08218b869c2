/*
 * AWS Signature Version 4.
 *
 *   canonical request  method LF path LF query LF (name ":" value LF)* LF names LF payload hash
 *   string to sign     "AWS4-HMAC-SHA256" LF date LF scope LF hex(SHA-256(canonical request))
 *   scope              day "/" region "/" service "/aws4_request"
 *   signing key        HMAC(HMAC(HMAC(HMAC("AWS4" secret, day), region), service), "aws4_request")
 *   signature          hex(HMAC(signing key, string to sign))
 *
 * Neither of the two texts is ever built: they go into the hashes piece by piece, so a request
 * costs no memory but for the list of signed names and the result.
 */
#include "cold/s3/sign.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "base/thread.h"

#define ALGORITHM "AWS4-HMAC-SHA256"
#define TERMINATOR "aws4_request"
#define DAY_SIZE 8          /* "20260102" */
#define REGION_SIZE_MAX 64  /* a longer one is no region */
#define SERVICE_SIZE_MAX 16 /* "s3", "sts" */
#define HEADERS_MAX 32
#define KEY_SIZE BASE_SHA256_SIZE

/* What a signing key is made from, the secret aside. */
struct scope {
    char day[DAY_SIZE + 1];
    char region[REGION_SIZE_MAX];
    char service[SERVICE_SIZE_MAX];
};

struct s3_signer {
    struct base_mutex lock; /* protects all below; held for two to seven short hashes */
    EVP_MAC_CTX *hmac;      /* keyed anew for each use */
    char *secret;           /* of `key`; NULL: there is no key yet */
    struct scope scope;     /* of `key` */
    uint8_t key[KEY_SIZE];
};

/* Fetching walks the providers under locks, so it is done once; NULL when it could not be had. */
static EVP_MAC *hmac_algorithm;
static pthread_once_t hmac_once = PTHREAD_ONCE_INIT;

static void hmac_fetch(void)
{
    hmac_algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
}

/* A context that knows its digest, so that keying it looks nothing up. */
static EVP_MAC_CTX *hmac_new(void)
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC_CTX *ctx;

    pthread_once(&hmac_once, hmac_fetch);
    if (!hmac_algorithm)
        return NULL;
    ctx = EVP_MAC_CTX_new(hmac_algorithm);
    if (ctx && !EVP_MAC_CTX_set_params(ctx, params)) {
        EVP_MAC_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

int s3_signer_new(struct s3_signer **ret, struct varve_error *err)
{
    struct s3_signer *s = calloc(1, sizeof(*s));

    if (!s)
        return base_fail(err, VARVE_E_NO_MEMORY, "new S3 signer: out of memory");
    s->hmac = hmac_new();
    if (!s->hmac) {
        free(s);
        return base_fail(err, VARVE_E_NO_MEMORY, "new S3 signer: no HMAC from OpenSSL");
    }
    base_mutex_init(&s->lock);
    *ret = s;
    return 0;
}

/* Strings that may be long gone from their owner's mind, but not from memory. */
static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

struct s3_signer *s3_signer_free(struct s3_signer *s)
{
    if (!s)
        return NULL;
    EVP_MAC_CTX_free(s->hmac); /* wipes its key */
    wipe(s->secret);
    base_mutex_deinit(&s->lock);
    explicit_bzero(s, sizeof(*s));
    free(s);
    return NULL;
}

/* False: OpenSSL ran out of memory. */
static bool hmac_start(EVP_MAC_CTX *ctx, const void *key, size_t key_size)
{
    return EVP_MAC_init(ctx, key, key_size, NULL) == 1;
}

static bool hmac_text(EVP_MAC_CTX *ctx, const char *text)
{
    return EVP_MAC_update(ctx, (const unsigned char *)text, strlen(text)) == 1;
}

static bool hmac_end(EVP_MAC_CTX *ctx, uint8_t ret[KEY_SIZE])
{
    size_t size;

    return EVP_MAC_final(ctx, ret, &size, KEY_SIZE) == 1 && size == KEY_SIZE;
}

/* One step of the derivation: the key becomes HMAC(key, text). */
static bool hmac_chain(EVP_MAC_CTX *ctx, uint8_t key[KEY_SIZE], const char *text)
{
    return hmac_start(ctx, key, KEY_SIZE) && hmac_text(ctx, text) && hmac_end(ctx, key);
}

/* Derives the signing key of a scope and keeps it. */
static int key_derive_locked(struct s3_signer *s, const char *secret, const struct scope *scope,
                             struct varve_error *err)
{
    char *seed;
    int rc = base_format(&seed, err, "AWS4%s", secret);
    bool ok;

    if (rc < 0)
        return rc;
    wipe(s->secret);
    s->secret = NULL; /* until the new key is whole */
    ok = hmac_start(s->hmac, seed, strlen(seed)) && hmac_text(s->hmac, scope->day) &&
         hmac_end(s->hmac, s->key) && hmac_chain(s->hmac, s->key, scope->region) &&
         hmac_chain(s->hmac, s->key, scope->service) && hmac_chain(s->hmac, s->key, TERMINATOR);
    wipe(seed);
    if (ok)
        s->secret = strdup(secret);
    if (!s->secret)
        return base_fail(err, VARVE_E_NO_MEMORY, "derive an S3 signing key: out of memory");
    s->scope = *scope;
    return 0;
}

static int key_ensure_locked(struct s3_signer *s, const char *secret, const struct scope *scope,
                             struct varve_error *err)
{
    if (s->secret && strcmp(s->secret, secret) == 0 && strcmp(s->scope.day, scope->day) == 0 &&
        strcmp(s->scope.region, scope->region) == 0 &&
        strcmp(s->scope.service, scope->service) == 0)
        return 0;
    return key_derive_locked(s, secret, scope, err);
}

static void hex_format(const uint8_t digest[BASE_SHA256_SIZE], char ret[S3_SIGN_DIGEST_SIZE])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < BASE_SHA256_SIZE; i++) {
        ret[2 * i] = digits[digest[i] >> 4];
        ret[2 * i + 1] = digits[digest[i] & 15];
    }
    ret[2 * BASE_SHA256_SIZE] = '\0';
}

static bool is_digits(const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
    }
    return true;
}

static bool date_is_valid(const char *date)
{
    return strlen(date) == S3_SIGN_DATE_SIZE - 1 && is_digits(date, DAY_SIZE) &&
           date[DAY_SIZE] == 'T' && is_digits(date + DAY_SIZE + 1, 6) &&
           date[S3_SIGN_DATE_SIZE - 2] == 'Z';
}

static int scope_init(struct scope *scope, const struct s3_sign_request *r, struct varve_error *err)
{
    if (!date_is_valid(r->date))
        return base_fail(err, VARVE_E_INVALID, "sign a request: the date '%.32s' is none", r->date);
    if (strlen(r->region) >= REGION_SIZE_MAX)
        return base_fail(err, VARVE_E_INVALID, "sign a request: the region is too long");
    assert(strlen(r->service) < SERVICE_SIZE_MAX && r->path[0] == '/'); /* both are ours */
    memcpy(scope->day, r->date, DAY_SIZE);
    scope->day[DAY_SIZE] = '\0';
    strcpy(scope->region, r->region);
    strcpy(scope->service, r->service);
    return 0;
}

/* A line end in a value would be a header of its own on the wire. */
static bool has_control(const char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            return true;
    }
    return false;
}

static bool name_is_valid(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-_";

    return name[0] && name[strspn(name, allowed)] == '\0';
}

static int by_name(const void *a, const void *b)
{
    const struct s3_header *const *x = a, *const *y = b;

    return strcmp((*x)->name, (*y)->name);
}

/* The headers in the order of their names, each name once. */
static int headers_sort(const struct s3_sign_request *r, const struct s3_header **sorted,
                        struct varve_error *err)
{
    if (r->header_count == 0 || r->header_count > HEADERS_MAX)
        return base_fail(err, VARVE_E_INVALID, "sign a request: %zu headers, the limit is %d",
                         r->header_count, HEADERS_MAX);
    for (size_t i = 0; i < r->header_count; i++) {
        if (!name_is_valid(r->headers[i].name))
            return base_fail(err, VARVE_E_INVALID, "sign a request: the header name '%.64s'",
                             r->headers[i].name);
        if (has_control(r->headers[i].value))
            return base_fail(err, VARVE_E_INVALID,
                             "sign a request: a control character in the header %.64s",
                             r->headers[i].name);
        sorted[i] = &r->headers[i];
    }
    qsort(sorted, r->header_count, sizeof(*sorted), by_name);
    for (size_t i = 1; i < r->header_count; i++) {
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            return base_fail(err, VARVE_E_INVALID, "sign a request: the header %.64s twice",
                             sorted[i]->name);
    }
    return 0;
}

/* "host;x-amz-date", in fresh memory. */
static int names_join(const struct s3_header *const *sorted, size_t count, char **ret,
                      struct varve_error *err)
{
    struct base_buffer names;

    base_buffer_init(&names);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            base_buffer_u8(&names, ';');
        base_buffer_add(&names, sorted[i]->name, strlen(sorted[i]->name));
    }
    base_buffer_u8(&names, '\0');
    if (names.failed) {
        base_buffer_deinit(&names);
        return base_fail(err, VARVE_E_NO_MEMORY, "sign a request: out of memory");
    }
    *ret = (char *)names.data;
    return 0;
}

static void hash_text(struct base_sha256 *h, const char *text)
{
    base_sha256_update(h, text, strlen(text));
}

static void hash_line(struct base_sha256 *h, const char *text)
{
    hash_text(h, text);
    base_sha256_update(h, "\n", 1);
}

/* A value without blanks at its ends, and with one where several follow each other. */
static void hash_value(struct base_sha256 *h, const char *value)
{
    bool first = true;

    value += strspn(value, " ");
    while (*value) {
        size_t size = strcspn(value, " ");

        if (!first)
            base_sha256_update(h, " ", 1);
        base_sha256_update(h, value, size);
        first = false;
        value += size;
        value += strspn(value, " ");
    }
}

/* The hash of the canonical request, in hex. */
static int request_digest(const struct s3_sign_request *r, const struct s3_header *const *sorted,
                          const char *names, char ret[S3_SIGN_DIGEST_SIZE], struct varve_error *err)
{
    struct base_sha256 *h = base_sha256_new();
    uint8_t digest[BASE_SHA256_SIZE];

    if (!h)
        return base_fail(err, VARVE_E_NO_MEMORY, "sign a request: out of memory");
    hash_line(h, r->method);
    hash_line(h, r->path);
    hash_line(h, r->query);
    for (size_t i = 0; i < r->header_count; i++) {
        hash_text(h, sorted[i]->name);
        hash_text(h, ":");
        hash_value(h, sorted[i]->value);
        hash_text(h, "\n");
    }
    hash_text(h, "\n");
    hash_line(h, names);
    hash_text(h, r->payload_sha256);
    base_sha256_final(h, digest);
    base_sha256_free(h);
    hex_format(digest, ret);
    return 0;
}

/* Signs the string to sign. */
static int signature_make(struct s3_signer *s, const char *secret, const struct scope *scope,
                          const char *date, const char *digest, char ret[S3_SIGN_DIGEST_SIZE],
                          struct varve_error *err)
{
    const char *const parts[] = {ALGORITHM,  "\n",          date,  "\n",           scope->day,
                                 "/",        scope->region, "/",   scope->service, "/",
                                 TERMINATOR, "\n",          digest};
    uint8_t signature[KEY_SIZE];
    bool ok;
    int rc;

    base_mutex_lock(&s->lock);
    rc = key_ensure_locked(s, secret, scope, err);
    if (rc == 0) {
        ok = hmac_start(s->hmac, s->key, KEY_SIZE);
        for (size_t i = 0; ok && i < sizeof(parts) / sizeof(parts[0]); i++)
            ok = hmac_text(s->hmac, parts[i]);
        if (!ok || !hmac_end(s->hmac, signature))
            rc = base_fail(err, VARVE_E_NO_MEMORY, "sign a request: out of memory");
    }
    base_mutex_unlock(&s->lock);
    if (rc == 0)
        hex_format(signature, ret);
    return rc;
}

int s3_signer_authorize(struct s3_signer *s, const struct s3_credentials *credentials,
                        const struct s3_sign_request *r, char **ret, struct varve_error *err)
{
    const struct s3_header *sorted[HEADERS_MAX];
    char digest[S3_SIGN_DIGEST_SIZE], signature[S3_SIGN_DIGEST_SIZE];
    struct scope scope;
    char *names = NULL;
    int rc = scope_init(&scope, r, err);

    if (rc < 0)
        return rc;
    if (has_control(credentials->access_key))
        return base_fail(err, VARVE_E_INVALID,
                         "sign a request: a control character in the access key");
    rc = headers_sort(r, sorted, err);
    if (rc < 0)
        return rc;
    rc = names_join(sorted, r->header_count, &names, err);
    if (rc < 0)
        return rc;
    rc = request_digest(r, sorted, names, digest, err);
    if (rc == 0)
        rc = signature_make(s, credentials->secret_key, &scope, r->date, digest, signature, err);
    if (rc == 0)
        rc = base_format(
            ret, err,
            ALGORITHM " Credential=%s/%s/%s/%s/" TERMINATOR ", SignedHeaders=%s, Signature=%s",
            credentials->access_key, scope.day, scope.region, scope.service, names, signature);
    free(names);
    return rc;
}

void s3_sign_date(int64_t wall_ms, char ret[S3_SIGN_DATE_SIZE])
{
    char text[BASE_TIME_TEXT_SIZE]; /* 2026-01-02T03:04:05.000Z */
    size_t n = 0;

    base_format_time(wall_ms > 0 ? wall_ms : 0, text);
    for (const char *p = text; *p && *p != '.' && n < S3_SIGN_DATE_SIZE - 2; p++) {
        if (*p != '-' && *p != ':')
            ret[n++] = *p;
    }
    ret[n++] = 'Z';
    ret[n] = '\0';
}

int s3_sign_digest(const void *data, size_t size, char ret[S3_SIGN_DIGEST_SIZE],
                   struct varve_error *err)
{
    struct base_sha256 *h = base_sha256_new();
    uint8_t digest[BASE_SHA256_SIZE];

    if (!h)
        return base_fail(err, VARVE_E_NO_MEMORY, "hash a request's body: out of memory");
    base_sha256_update(h, data, size);
    base_sha256_final(h, digest);
    base_sha256_free(h);
    hex_format(digest, ret);
    return 0;
}

void s3_credentials_clear(struct s3_credentials *c)
{
    wipe(c->access_key);
    wipe(c->secret_key);
    wipe(c->session_token);
    *c = (struct s3_credentials){0};
}

int s3_credentials_copy(const struct s3_credentials *c, struct s3_credentials *ret,
                        struct varve_error *err)
{
    struct s3_credentials copy = {.expires_ms = c->expires_ms, .source = c->source};

    copy.access_key = strdup(c->access_key);
    copy.secret_key = strdup(c->secret_key);
    if (c->session_token)
        copy.session_token = strdup(c->session_token);
    if (!copy.access_key || !copy.secret_key || (c->session_token && !copy.session_token)) {
        s3_credentials_clear(&copy);
        return base_fail(err, VARVE_E_NO_MEMORY, "copy credentials: out of memory");
    }
    *ret = copy;
    return 0;
}
