/* The s3 driver: whole objects and ranges of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cold/s3.h"

static void etag_take(const struct s3_call *call, struct cold_etag *ret)
{
    snprintf(ret->text, sizeof(ret->text), "%s", call->etag);
}

/* ---- put ---- */

/* What a put's headers point to; in place until the call is over. */
struct put_text {
    char key[COLD_S3_KEY_SIZE];
    char write_id[S3_WRITE_ID_SIZE];
    char if_match[COLD_S3_IF_MATCH_SIZE];
    char crc32c[COLD_S3_CRC32C_SIZE];
};

static void put_headers(struct cold_s3 *s, struct s3_call *call, const struct cold_put *how,
                        uint32_t crc, struct put_text *text)
{
    cold_s3_write_id(s, text->write_id);
    s3_call_header(call, S3_WRITE_ID_HEADER, text->write_id);
    if (s->caps.verifies_crc32c) {
        cold_s3_crc32c_text(crc, text->crc32c);
        s3_call_header(call, "x-amz-checksum-crc32c", text->crc32c);
    }
    if (!s->caps.conditional_put)
        return;
    if (how->condition == COLD_IF_ABSENT)
        s3_call_header(call, "if-none-match", "*");
    if (how->condition == COLD_IF_MATCH) {
        cold_s3_if_match(s, how->etag, text->if_match);
        s3_call_header(call, "if-match", text->if_match);
    }
}

static int put_send(struct cold_s3 *s, const char *key, struct s3_call *call,
                    const struct cold_put *how, const struct put_text *text, uint64_t size,
                    struct cold_etag *ret_etag, struct varve_error *err)
{
    struct varve_error back;
    int found, rc = cold_s3_call(s, "put", key, call, err);

    free(call->body_memory);
    if (rc == VARVE_E_NOT_FOUND && how->condition == COLD_IF_MATCH) /* what some answer for 412 */
        rc = cold_s3_context(
            s, base_fail(err, VARVE_E_PRECONDITION, "the object to be replaced is gone"), "put",
            key, err);
    if (rc == VARVE_E_PRECONDITION && call->uncertain) { /* W1 */
        found = cold_s3_is_ours(s, "put", key, text->write_id, size, ret_etag, &back);
        if (found == VARVE_E_NOT_FOUND || found == VARVE_E_PRECONDITION)
            return rc; /* *err says it */
        if (found < 0 && err)
            *err = back;
        return found;
    }
    if (rc == 0)
        etag_take(call, ret_etag);
    return rc;
}

int cold_s3_put(void *self, const char *key, const struct iovec *body, int count,
                const struct cold_put *how, struct cold_etag *ret_etag, struct varve_error *err)
{
    struct cold_s3 *s = self;
    struct s3_call call = {
        .method = "PUT", .body = body, .body_count = count, .size_max = 65536, .wants_etag = true};
    struct put_text text;
    uint32_t crc;
    uint64_t size;
    int rc = cold_s3_key(s, "put", key, text.key, err);

    call.key = text.key;
    if (rc == 0)
        rc = cold_s3_check_body(s, "put", key, body, count, how->has_crc32c, how->crc32c, &crc,
                                &size, err);
    if (rc == 0 && !s->caps.conditional_put && how->condition != COLD_ALWAYS)
        rc = cold_s3_context(
            s, base_fail(err, VARVE_E_UNSUPPORTED, "the store was found not to keep conditions"),
            "put", key, err);
    if (rc == 0)
        rc = s3_call_digest(&call, err); /* W2 */
    if (rc < 0)
        return rc;
    put_headers(s, &call, how, crc, &text);
    return put_send(s, key, &call, how, &text, size, ret_etag, err);
}

/* ---- get ---- */

static int range_check(const struct cold_s3 *s, const char *key, uint64_t pos, size_t size,
                       struct varve_error *err)
{
    if (pos <= INT64_MAX && size <= INT64_MAX - pos)
        return 0;
    base_fail(err, VARVE_E_CORRUPT, "no object reaches byte %llu", (unsigned long long)pos);
    return cold_s3_context(s, VARVE_E_CORRUPT, "get", key, err);
}

static struct s3_call range_call(const char *full_key, uint64_t pos, size_t size, void *buf)
{
    return (struct s3_call){.method = "GET",
                            .key = full_key,
                            .ranged = true,
                            .pos = pos,
                            .room = buf,
                            .room_size = size,
                            .may_hedge = true};
}

int cold_s3_get(void *self, const char *key, uint64_t pos, size_t size, void *buf,
                struct varve_error *err)
{
    struct cold_s3 *s = self;
    char full[COLD_S3_KEY_SIZE];
    struct s3_call call;
    struct cold_meta meta;
    int rc = range_check(s, key, pos, size, err);

    if (rc == 0)
        rc = cold_s3_key(s, "get", key, full, err);
    if (rc < 0)
        return rc;
    if (size == 0) /* a range of nothing cannot be said */
        return cold_s3_head(s, key, &meta, err);
    call = range_call(full, pos, size, buf);
    return cold_s3_call(s, "get", key, &call, err);
}

/* A get that holds no thread. */
struct started_get {
    struct s3_call call;
    struct cold_s3 *s;
    struct cold_get *get;
    char key[COLD_S3_KEY_SIZE];
};

static void started_done(struct s3_call *call)
{
    struct started_get *g = call->ctx;

    if (call->rc < 0)
        cold_s3_context(g->s, call->rc, "get", g->get->key, &call->err);
    cold_store_get_done(g->get, call->rc, call->rc < 0 ? &call->err : NULL);
    free(g); /* after done has returned: until then it may be cancelled */
}

int cold_s3_get_start(void *self, struct cold_get *get, struct varve_error *err)
{
    struct cold_s3 *s = self;
    struct started_get *g;
    int rc = range_check(s, get->key, get->pos, get->size, err);

    if (rc < 0)
        return rc;
    if (get->size == 0)
        return base_fail(err, VARVE_E_INVALID, "get %s: a range of nothing", get->key);
    g = malloc(sizeof(*g));
    if (!g)
        return base_fail(err, VARVE_E_NO_MEMORY, "get %s: out of memory", get->key);
    rc = cold_s3_key(s, "get", get->key, g->key, err);
    if (rc == 0) {
        g->s = s;
        g->get = get;
        g->call = range_call(g->key, get->pos, get->size, get->buf);
        g->call.priority = get->priority;
        g->call.done = started_done;
        g->call.ctx = g;
        get->internal = g;
        rc = s3_client_start(s->client, &g->call, err);
        if (rc < 0)
            cold_s3_context(s, rc, "get", get->key, err);
    }
    if (rc < 0)
        free(g);
    return rc;
}

void cold_s3_get_cancel(void *self, struct cold_get *get)
{
    struct cold_s3 *s = self;
    struct started_get *g = get->internal;

    s3_client_cancel(s->client, &g->call);
}

int cold_s3_read(void *self, const char *key, size_t size_max, int64_t patience_ms, void **ret,
                 size_t *ret_size, struct cold_etag *ret_etag, struct varve_error *err)
{
    struct cold_s3 *s = self;
    char full[COLD_S3_KEY_SIZE];
    struct s3_call call = {.method = "GET",
                           .key = full,
                           .size_max = size_max,
                           .is_object = true,
                           .wants_etag = true,
                           .patience_ms = patience_ms};
    int rc = cold_s3_key(s, "get", key, full, err);

    if (rc == 0)
        rc = cold_s3_call(s, "get", key, &call, err);
    if (rc < 0)
        return rc;
    if (!call.body_memory) { /* an object of no bytes is memory all the same */
        call.body_memory = malloc(1);
        if (!call.body_memory)
            return base_fail(err, VARVE_E_NO_MEMORY, "get %s: out of memory", key);
    }
    *ret = call.body_memory;
    *ret_size = call.body_memory_size;
    etag_take(&call, ret_etag);
    return 0;
}

int cold_s3_head(void *self, const char *key, struct cold_meta *ret, struct varve_error *err)
{
    struct cold_s3 *s = self;
    char full[COLD_S3_KEY_SIZE];
    struct s3_call call = {.method = "HEAD", .key = full, .wants_etag = true};
    int rc = cold_s3_key(s, "head", key, full, err);

    if (rc == 0)
        rc = cold_s3_call(s, "head", key, &call, err);
    if (rc < 0)
        return rc;
    ret->size = call.object_size;
    ret->modified = call.modified_ms;
    etag_take(&call, &ret->etag);
    return 0;
}

/* ---- trials ---- */

int cold_s3_trial(void *self, const char *key, enum cold_trial trial, bool *ret,
                  struct varve_error *err)
{
    static char text[] = "varve tries what this store verifies";
    struct cold_s3 *s = self;
    struct iovec body = {.iov_base = text, .iov_len = sizeof(text) - 1};
    char full[COLD_S3_KEY_SIZE];
    struct s3_call call = {.method = "PUT",
                           .key = full,
                           .body = &body,
                           .body_count = 1,
                           .size_max = 65536,
                           .is_damaged = true};
    int rc = cold_s3_key(s, "put", key, full, err);

    if (rc == 0)
        rc = s3_call_digest(&call, err);
    if (rc < 0)
        return rc;
    if (trial == COLD_TRIAL_WRONG_CRC32C)
        s3_call_header(&call, "x-amz-checksum-crc32c", "AAAAAA==");
    else
        call.body_sha256[0] = call.body_sha256[0] == '0' ? '1' : '0';
    rc = s3_client_call(s->client, &call, err);
    free(call.body_memory);
    /* Refusals have many codes: any answer that the request is wrong is one. */
    *ret = rc < 0 && call.answered &&
           (call.error.class == S3_CHECKSUM || call.error.class == S3_INVALID ||
            call.error.class == S3_DENIED);
    return rc < 0 && !*ret ? cold_s3_context(s, rc, "put", key, err) : 0;
}
