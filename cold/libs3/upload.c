/*
 * Multipart uploads. libs3 2.0 has none, and 4.x takes a 200 with an <Error> inside for a success;
 * so the parts are kept in memory, and completing puts them as one object. An upload ends with its
 * handle: there is nothing to find later (caps.private_uploads), and nothing is left behind.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "cold/libs3/driver.h"

#define PART_NUMBER_MAX 10000
/* All uploads of a handle together. */
#define UPLOAD_BYTES_MAX (UINT64_C(4) << 30)

struct part {
    void *data; /* NULL: not sent */
    size_t size;
    uint32_t crc32c;
};

struct libs3_upload {
    struct libs3_upload *next;
    struct cold_upload id;
    char *key;
    int64_t started;
    bool completing; /* the completing thread reads the parts; nobody else finds the upload */
    struct part *parts;
    unsigned part_count;
};

static int upload_fail(const struct libs3 *s, int code, const char *op, const char *key,
                       const char *what, struct varve_error *err)
{
    return base_fail(err, code, "%s %s in %s: %s", op, key, s->url, what);
}

static void upload_free(struct libs3_upload *u)
{
    for (unsigned i = 0; i < u->part_count; i++)
        free(u->parts[i].data);
    free(u->parts);
    free(u->key);
    free(u);
}

void libs3_uploads_free(struct libs3 *s)
{
    while (s->uploads) {
        struct libs3_upload *u = s->uploads;

        s->uploads = u->next;
        upload_free(u);
    }
}

static struct libs3_upload **find_locked(struct libs3 *s, const char *key,
                                         const struct cold_upload *id)
{
    struct libs3_upload **at = &s->uploads;

    while (*at &&
           ((*at)->completing || strcmp((*at)->id.id, id->id) != 0 || strcmp((*at)->key, key) != 0))
        at = &(*at)->next;
    return at;
}

int libs3_upload_begin(void *self, const char *key, struct cold_upload *ret,
                       struct varve_error *err)
{
    struct libs3 *s = self;
    struct libs3_upload *u = calloc(1, sizeof(*u));
    struct base_id id = base_id_new(s->env->random);

    if (u)
        u->key = strdup(key);
    if (!u || !u->key) {
        free(u);
        return upload_fail(s, VARVE_E_NO_MEMORY, "begin upload of", key, "out of memory", err);
    }
    base_id_format(&id, u->id.id);
    u->started = s->env->clock->wall_ms(s->env->clock->ctx);
    *ret = u->id;
    base_mutex_lock(&s->lock);
    u->next = s->uploads;
    s->uploads = u;
    base_mutex_unlock(&s->lock);
    return 0;
}

static void part_etag(const struct part *p, struct cold_etag *ret)
{
    snprintf(ret->text, sizeof(ret->text), "%08" PRIx32 "-%zx", p->crc32c, p->size);
}

/* Gives the part to its upload. The code of a refusal, or 0. */
static int part_keep_locked(struct libs3 *s, struct libs3_upload *u, unsigned number,
                            const struct part *part)
{
    if (s->upload_bytes + part->size > UPLOAD_BYTES_MAX)
        return VARVE_E_TOO_LARGE;
    if (number > u->part_count) {
        struct part *parts = realloc(u->parts, number * sizeof(*parts));

        if (!parts)
            return VARVE_E_NO_MEMORY;
        memset(parts + u->part_count, 0, (number - u->part_count) * sizeof(*parts));
        u->parts = parts;
        u->part_count = number;
    }
    s->upload_bytes += part->size - u->parts[number - 1].size;
    free(u->parts[number - 1].data);
    u->parts[number - 1] = *part;
    return 0;
}

int libs3_upload_part(void *self, const char *key, const struct cold_upload *upload,
                      unsigned number, uint64_t pos, const struct iovec *body, int count,
                      uint32_t crc32c, struct cold_part *ret, struct varve_error *err)
{
    static const char op[] = "upload part of";
    struct libs3 *s = self;
    struct libs3_upload *u;
    struct part part;
    uint64_t size;
    size_t at = 0;
    int rc;

    (void)pos; /* parts follow each other by number */
    part.crc32c = libs3_crc32c(body, count, &size);
    part.size = (size_t)size;
    if (part.crc32c != crc32c)
        return upload_fail(s, VARVE_E_CORRUPT, op, key, "the part is not what its CRC32C says",
                           err);
    if (number > PART_NUMBER_MAX)
        return upload_fail(s, VARVE_E_INVALID, op, key, "a part number above 10000", err);
    part.data = malloc(part.size + 1);
    if (!part.data)
        return upload_fail(s, VARVE_E_NO_MEMORY, op, key, "out of memory", err);
    for (int i = 0; i < count; at += body[i++].iov_len)
        if (body[i].iov_len > 0)
            memcpy((char *)part.data + at, body[i].iov_base, body[i].iov_len);
    base_mutex_lock(&s->lock);
    u = *find_locked(s, key, upload);
    rc = u ? part_keep_locked(s, u, number, &part) : VARVE_E_NOT_FOUND;
    base_mutex_unlock(&s->lock);
    if (rc < 0) {
        free(part.data);
        return upload_fail(s, rc, op, key,
                           rc == VARVE_E_NOT_FOUND   ? "no such upload"
                           : rc == VARVE_E_TOO_LARGE ? "uploads in memory are at their limit"
                                                     : "out of memory",
                           err);
    }
    *ret = (struct cold_part){.number = number, .size = part.size};
    part_etag(&part, &ret->etag);
    return 0;
}

/* The pieces of the object, if these are the upload's parts in ascending order. */
static int collect(const struct libs3 *s, const struct libs3_upload *u,
                   const struct cold_part *parts, unsigned count, struct iovec *body,
                   struct varve_error *err)
{
    for (unsigned i = 0; i < count; i++) {
        const struct part *p;
        struct cold_etag etag;

        if (i > 0 && parts[i].number <= parts[i - 1].number)
            return upload_fail(s, VARVE_E_INVALID, "complete upload of", u->key,
                               "parts are not in ascending order", err);
        p = parts[i].number <= u->part_count ? &u->parts[parts[i].number - 1] : NULL;
        if (p && p->data)
            part_etag(p, &etag);
        if (!p || !p->data || strcmp(etag.text, parts[i].etag.text) != 0)
            return upload_fail(s, VARVE_E_CORRUPT, "complete upload of", u->key,
                               "a part is not the one that was sent last", err);
        body[i] = (struct iovec){.iov_base = p->data, .iov_len = p->size};
    }
    return 0;
}

/* Takes it out of the list for good. */
static void remove_upload(struct libs3 *s, struct libs3_upload *u)
{
    base_mutex_lock(&s->lock);
    for (struct libs3_upload **at = &s->uploads; *at; at = &(*at)->next)
        if (*at == u) {
            *at = u->next;
            break;
        }
    for (unsigned i = 0; i < u->part_count; i++)
        s->upload_bytes -= u->parts[i].size;
    base_mutex_unlock(&s->lock);
    upload_free(u);
}

int libs3_upload_complete(void *self, const char *key, const struct cold_upload *upload,
                          const struct cold_part *parts, unsigned count, const struct cold_put *how,
                          struct cold_etag *ret_etag, struct varve_error *err)
{
    struct libs3 *s = self;
    struct iovec *body = calloc(count, sizeof(*body));
    struct libs3_upload *u;
    int rc;

    if (!body)
        return upload_fail(s, VARVE_E_NO_MEMORY, "complete upload of", key, "out of memory", err);
    base_mutex_lock(&s->lock);
    u = *find_locked(s, key, upload);
    if (u)
        u->completing = true;
    base_mutex_unlock(&s->lock);
    if (!u) {
        free(body);
        return upload_fail(s, VARVE_E_NOT_FOUND, "complete upload of", key, "no such upload", err);
    }
    rc = collect(s, u, parts, count, body, err);
    if (rc == 0)
        rc = libs3_put(s, key, body, (int)count, how, ret_etag, err);
    free(body);
    if (rc == 0) {
        remove_upload(s, u);
        return 0;
    }
    base_mutex_lock(&s->lock);
    u->completing = false;
    base_mutex_unlock(&s->lock);
    return rc;
}

int libs3_upload_abort(void *self, const char *key, const struct cold_upload *upload,
                       struct varve_error *err)
{
    struct libs3 *s = self;
    struct libs3_upload *u;

    base_mutex_lock(&s->lock);
    u = *find_locked(s, key, upload);
    if (u)
        u->completing = true; /* ours: nobody else frees it */
    base_mutex_unlock(&s->lock);
    if (!u)
        return upload_fail(s, VARVE_E_NOT_FOUND, "abort upload of", key, "no such upload", err);
    remove_upload(s, u);
    return 0;
}

/* One upload that is told of, copied because a visit runs without the lock. */
struct told {
    char *key;
    struct cold_upload id;
    int64_t started;
};

int libs3_upload_list(void *self, const char *prefix,
                      int (*visit)(void *arg, const char *key, const struct cold_upload *upload,
                                   int64_t started),
                      void *arg, struct varve_error *err)
{
    struct libs3 *s = self;
    struct told *told = NULL;
    size_t count = 0, i = 0;
    int rc = 0;

    base_mutex_lock(&s->lock);
    for (struct libs3_upload *u = s->uploads; u; u = u->next)
        count++;
    told = calloc(count + 1, sizeof(*told));
    for (struct libs3_upload *u = s->uploads; told && u; u = u->next) {
        if (u->completing || strncmp(u->key, prefix, strlen(prefix)) != 0)
            continue;
        told[i] = (struct told){strdup(u->key), u->id, u->started};
        if (!told[i++].key)
            rc = VARVE_E_NO_MEMORY;
    }
    base_mutex_unlock(&s->lock);
    if (!told || rc < 0)
        rc = upload_fail(s, VARVE_E_NO_MEMORY, "list uploads of", prefix, "out of memory", err);
    for (size_t k = 0; rc == 0 && k < i; k++)
        rc = visit(arg, told[k].key, &told[k].id, told[k].started);
    for (size_t k = 0; told && k < i; k++)
        free(told[k].key);
    free(told);
    return rc;
}
