/*
 * Whole objects and ranges. What libs3 does not do is done here: a body's MD5 goes along and is
 * compared with the ETag of what was stored (I9), and bytes received are counted against what was
 * promised, because libs3 calls a transfer well that broke off in the middle.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "cold/libs3/driver.h"

#define MD5_SIZE 16

uint32_t libs3_crc32c(const struct iovec *body, int count, uint64_t *ret_size)
{
    uint32_t crc = 0;

    *ret_size = 0;
    for (int i = 0; i < count; i++) {
        crc = base_crc32c(crc, body[i].iov_base, body[i].iov_len);
        *ret_size += body[i].iov_len;
    }
    return crc;
}

/* ---- put ---- */

struct put {
    struct libs3_request request; /* first: libs3 hands us the one as the other */
    const struct iovec *body;
    int count;
    uint64_t size;
    char md5[25]; /* base64 */
    char md5_hex[2 * MD5_SIZE + 1];
    /* where the next piece comes from */
    int at;
    size_t pos;
};

static bool put_md5(struct put *p)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char md5[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    bool good = ctx && EVP_DigestInit_ex(ctx, EVP_md5(), NULL);

    for (int i = 0; good && i < p->count; i++)
        good = EVP_DigestUpdate(ctx, p->body[i].iov_base, p->body[i].iov_len);
    good = good && EVP_DigestFinal_ex(ctx, md5, &size) && size == MD5_SIZE;
    EVP_MD_CTX_free(ctx);
    if (!good)
        return false;
    EVP_EncodeBlock((unsigned char *)p->md5, md5, MD5_SIZE);
    for (unsigned i = 0; i < MD5_SIZE; i++)
        snprintf(p->md5_hex + 2 * (size_t)i, 3, "%02x", md5[i]);
    return true;
}

static int put_data(int size, char *buffer, void *data)
{
    struct put *p = data;
    size_t n;

    while (p->at < p->count && p->pos == p->body[p->at].iov_len) {
        p->at++;
        p->pos = 0;
    }
    if (p->at == p->count)
        return 0;
    n = p->body[p->at].iov_len - p->pos;
    if (n > (size_t)size)
        n = (size_t)size;
    memcpy(buffer, (const char *)p->body[p->at].iov_base + p->pos, n);
    p->pos += n;
    return (int)n;
}

static void put_issue(struct libs3_request *r)
{
    struct put *p = (struct put *)r;
    const S3PutProperties properties = {
        .contentType = "application/octet-stream", .md5 = p->md5, .expires = -1};
    const S3PutObjectHandler handler = {{libs3_properties, libs3_complete}, put_data};

    p->at = 0;
    p->pos = 0;
    S3_put_object(&r->store->context, r->full_key, p->size, &properties, LIBS3_BLOCKING, &handler,
                  p);
}

/* Does the store hold what was sent? An ETag that is no MD5 (an encrypting gateway's) proves
 * nothing; the Content-MD5 that was sent along did. */
static int put_compare(const struct put *p, uint64_t size, const struct cold_etag *etag,
                       struct varve_error *err)
{
    if (size != p->size || (strlen(etag->text) == strlen(p->md5_hex) && !strchr(etag->text, '-') &&
                            strcmp(etag->text, p->md5_hex) != 0))
        return libs3_fail(&p->request, VARVE_E_CORRUPT, true,
                          "the store holds other bytes than were sent", err);
    return 0;
}

/* libs3 2.0 takes the head of "100 Continue", which it asks for, for the head of the reply, and so
 * tells of no ETag: the object is asked for it. */
static int put_confirm(struct put *p, struct cold_etag *ret_etag, struct varve_error *err)
{
    struct cold_meta meta = {.size = p->size, .etag = p->request.reply.etag};
    int rc = meta.etag.text[0] ? 0 : libs3_head(p->request.store, p->request.key, &meta, err);

    if (rc == 0)
        rc = put_compare(p, meta.size, &meta.etag, err);
    if (rc == 0)
        *ret_etag = meta.etag;
    return rc;
}

int libs3_put(void *self, const char *key, const struct iovec *body, int count,
              const struct cold_put *how, struct cold_etag *ret_etag, struct varve_error *err)
{
    struct put p = {.request = {.issue = put_issue}, .body = body, .count = count};
    uint32_t crc = libs3_crc32c(body, count, &p.size);
    int rc = libs3_request_init(&p.request, self, "put", key, err);

    if (rc < 0)
        return rc;
    if (how->condition != COLD_ALWAYS)
        rc = libs3_fail(&p.request, VARVE_E_UNSUPPORTED, false, "libs3 has no conditional writes",
                        err);
    else if (how->has_crc32c && crc != how->crc32c)
        rc = libs3_fail(&p.request, VARVE_E_CORRUPT, false, "the body is not what its CRC32C says",
                        err);
    else if (!put_md5(&p))
        rc = libs3_fail(&p.request, VARVE_E_NO_MEMORY, false, "MD5", err);
    else
        rc = libs3_request_run(&p.request, err);
    if (rc == 0)
        rc = put_confirm(&p, ret_etag, err);
    free(p.request.full_key);
    return rc;
}

/* ---- get ---- */

struct get {
    struct libs3_request request;
    uint64_t pos;
    size_t size; /* asked for; 0: all */
    char *buf;
    size_t room;
    bool owned;        /* buf grows to the object's length, at most room */
    uint64_t received; /* what came, whether there was room or not */
    bool no_memory;
};

/* The head of the reply to a get of a whole object says how much memory it takes. */
static S3Status get_properties(const S3ResponseProperties *properties, void *data)
{
    struct get *g = data;

    libs3_properties(properties, data);
    if (!g->owned)
        return S3StatusOK;
    if (properties->contentLength > g->room)
        return S3StatusAbortedByCallback;
    free(g->buf);
    g->buf = malloc((size_t)properties->contentLength + 1);
    g->no_memory = !g->buf;
    return g->buf ? S3StatusOK : S3StatusAbortedByCallback;
}

static S3Status get_data(int size, const char *bytes, void *data)
{
    struct get *g = data;
    uint64_t room = g->owned ? g->request.reply.content_length : g->room;

    g->received += (uint64_t)size;
    if (g->received > room || !g->buf)
        return S3StatusAbortedByCallback;
    memcpy(g->buf + g->received - (uint64_t)size, bytes, (size_t)size);
    return S3StatusOK;
}

static void get_issue(struct libs3_request *r)
{
    struct get *g = (struct get *)r;
    const S3GetObjectHandler handler = {{get_properties, libs3_complete}, get_data};
    const S3GetConditions none = {.ifModifiedSince = -1, .ifNotModifiedSince = -1};

    g->received = 0;
    S3_get_object(&r->store->context, r->full_key, &none, g->pos, g->size, LIBS3_BLOCKING, &handler,
                  g);
}

/* Nothing that libs3 says of a body is believed before the bytes are counted. */
static int get_judge(struct libs3_request *r, struct varve_error *err)
{
    const struct get *g = (const struct get *)r;
    const uint64_t promised = r->reply.content_length;
    char what[120];

    if (g->no_memory)
        return libs3_fail(r, VARVE_E_NO_MEMORY, false, "out of memory", err);
    if (r->reply.properties && g->owned && promised > g->room) {
        snprintf(what, sizeof(what), "%llu bytes, at most %zu are wanted",
                 (unsigned long long)promised, g->room);
        return libs3_fail(r, VARVE_E_TOO_LARGE, false, what, err);
    }
    if (!g->owned && g->received > g->size)
        return libs3_fail(r, VARVE_E_STORE, false, "the store gives more than the range", err);
    if (r->reply.status != S3StatusOK)
        return 0;
    if (g->received != promised) {
        snprintf(what, sizeof(what), "%llu of %llu bytes arrived", (unsigned long long)g->received,
                 (unsigned long long)promised);
        return libs3_fail(r, VARVE_E_STORE, true, what, err);
    }
    if (!g->owned && promised != g->size) {
        snprintf(what, sizeof(what), "the object ends after %llu of %zu bytes at %llu",
                 (unsigned long long)promised, g->size, (unsigned long long)g->pos);
        return libs3_fail(r, VARVE_E_CORRUPT, false, what, err);
    }
    return 0;
}

int libs3_get(void *self, const char *key, uint64_t pos, size_t size, void *buf,
              struct varve_error *err)
{
    struct get g = {.request = {.issue = get_issue, .judge = get_judge},
                    .pos = pos,
                    .size = size,
                    .buf = buf,
                    .room = size};
    struct cold_meta meta;
    int rc;

    if (size == 0) { /* which libs3 takes for everything */
        rc = libs3_head(self, key, &meta, err);
        if (rc < 0 || pos <= meta.size)
            return rc;
    }
    rc = libs3_request_init(&g.request, self, "get", key, err);
    if (rc < 0)
        return rc;
    if (size == 0 || pos > INT64_MAX || size > INT64_MAX - pos)
        rc = libs3_fail(&g.request, VARVE_E_CORRUPT, false, "the object ends before the range does",
                        err);
    else
        rc = libs3_request_run(&g.request, err);
    free(g.request.full_key);
    return rc;
}

int libs3_read(void *self, const char *key, size_t size_max, int64_t patience_ms, void **ret,
               size_t *ret_size, struct cold_etag *ret_etag, struct varve_error *err)
{
    struct get g = {
        .request = {.issue = get_issue, .judge = get_judge}, .room = size_max, .owned = true};
    int rc = libs3_request_init(&g.request, self, "get", key, err);

    (void)patience_ms; /* libs3 has its own: see compat.h */
    if (rc == 0)
        rc = libs3_request_run(&g.request, err);
    free(g.request.full_key);
    if (rc < 0) {
        free(g.buf);
        return rc;
    }
    *ret = g.buf;
    *ret_size = (size_t)g.received;
    *ret_etag = g.request.reply.etag;
    return 0;
}

/* ---- head ---- */

static const S3ResponseHandler plain_handler = {libs3_properties, libs3_complete};

static void head_issue(struct libs3_request *r)
{
    S3_head_object(&r->store->context, r->full_key, LIBS3_BLOCKING, &plain_handler, r);
}

/* A HEAD's 404 has no body to say what is missing: the key, or the bucket. */
static int head_missing(struct libs3_request *r, struct varve_error *err)
{
    bool more;
    int rc = libs3_list(r->store, "", NULL, 1, NULL, NULL, &more, err);

    return rc < 0 ? rc : libs3_fail(r, VARVE_E_NOT_FOUND, false, "no such object", err);
}

static int head_judge(struct libs3_request *r, struct varve_error *err)
{
    if (r->reply.status == S3StatusHttpErrorNotFound)
        return libs3_fail(r, VARVE_E_NOT_FOUND, false, "no such object", err);
    if (r->reply.status == S3StatusOK && !r->reply.etag.text[0])
        return libs3_fail(r, VARVE_E_STORE, true, "the store named no ETag", err);
    return 0;
}

int libs3_head(void *self, const char *key, struct cold_meta *ret, struct varve_error *err)
{
    struct libs3_request r = {.issue = head_issue, .judge = head_judge};
    int rc = libs3_request_init(&r, self, "head", key, err);

    if (rc == 0)
        rc = libs3_request_run(&r, err);
    if (rc == VARVE_E_NOT_FOUND)
        rc = head_missing(&r, err);
    free(r.full_key);
    if (rc < 0)
        return rc;
    *ret = (struct cold_meta){
        .size = r.reply.content_length, .modified = r.reply.modified, .etag = r.reply.etag};
    return 0;
}

/* ---- delete ---- */

static void delete_issue(struct libs3_request *r)
{
    S3_delete_object(&r->store->context, r->full_key, LIBS3_BLOCKING, &plain_handler, r);
}

/* libs3 deletes one key a request. */
int libs3_remove(void *self, const char *const *keys, size_t count, struct varve_error *err)
{
    for (size_t i = 0; i < count; i++) {
        struct libs3_request r = {.issue = delete_issue};
        int rc = libs3_request_init(&r, self, "delete", keys[i], err);

        if (rc == 0)
            rc = libs3_request_run(&r, err);
        free(r.full_key);
        if (rc < 0 && rc != VARVE_E_NOT_FOUND)
            return rc;
    }
    return 0;
}
