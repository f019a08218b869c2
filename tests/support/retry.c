#include "tests/support/retry.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* Another try? Counts it. */
static bool again(int rc, const struct varve_error *err, unsigned *tries)
{
    return rc < 0 && err->retriable && ++*tries < SUPPORT_RETRY_MAX;
}

/* Does the key hold just these bytes? */
static bool holds(struct cold_store *s, const char *key, const struct iovec *body, int count,
                  struct cold_etag *ret_etag)
{
    struct varve_error err = {0};
    size_t size = 0, pos = 0, got;
    void *data;
    bool same;

    for (int i = 0; i < count; i++)
        size += body[i].iov_len;
    if (support_retry_read(s, key, size, &data, &got, ret_etag, &err) < 0)
        return false;
    same = got == size;
    for (int i = 0; same && i < count; pos += body[i++].iov_len)
        same = body[i].iov_len == 0 ||
               memcmp((uint8_t *)data + pos, body[i].iov_base, body[i].iov_len) == 0;
    free(data);
    return same;
}

int support_retry_put(struct cold_store *s, const char *key, const struct iovec *body, int count,
                      const struct cold_put *how, struct cold_etag *ret_etag,
                      struct varve_error *err)
{
    unsigned tries = 0;
    struct cold_etag etag;
    int rc;

    do
        rc = cold_store_put(s, key, body, count, how, ret_etag, err);
    while (again(rc, err, &tries));
    if (rc == VARVE_E_PRECONDITION && tries > 0 && holds(s, key, body, count, &etag)) {
        if (ret_etag)
            *ret_etag = etag;
        return 0;
    }
    return rc;
}

int support_retry_get(struct cold_store *s, const char *key, uint64_t pos, size_t size, void *buf,
                      struct varve_error *err)
{
    unsigned tries = 0;
    int rc;

    do
        rc = cold_store_get(s, key, pos, size, buf, err);
    while (again(rc, err, &tries));
    return rc;
}

int support_retry_read(struct cold_store *s, const char *key, size_t size_max, void **ret,
                       size_t *ret_size, struct cold_etag *ret_etag, struct varve_error *err)
{
    unsigned tries = 0;
    int rc;

    do
        rc = cold_store_read(s, key, size_max, ret, ret_size, ret_etag, err);
    while (again(rc, err, &tries));
    return rc;
}

int support_retry_head(struct cold_store *s, const char *key, struct cold_meta *ret,
                       struct varve_error *err)
{
    unsigned tries = 0;
    int rc;

    do
        rc = cold_store_head(s, key, ret, err);
    while (again(rc, err, &tries));
    return rc;
}

int support_retry_delete(struct cold_store *s, const char *const *keys, size_t count,
                         struct varve_error *err)
{
    unsigned tries = 0;
    int rc;

    do
        rc = cold_store_delete(s, keys, count, err);
    while (again(rc, err, &tries));
    return rc;
}

/* ---- listings ---- */

void support_keys_deinit(struct support_keys *keys)
{
    free(keys->text);
    *keys = (struct support_keys){0};
}

static int keys_visit(void *arg, const char *key, const struct cold_meta *meta)
{
    struct support_keys *k = arg;

    if (k->count == k->max) {
        k->max = k->max ? 2 * k->max : 64;
        k->text = realloc(k->text, k->max * sizeof(*k->text));
        if (!k->text)
            abort();
    }
    if (strlen(key) > COLD_KEY_MAX)
        abort();
    strcpy(k->text[k->count++], key);
    k->without_etag += meta->etag.text[0] == '\0';
    return 0;
}

int support_retry_list(struct cold_store *s, const char *prefix, const char *start_after,
                       unsigned max, struct support_keys *keys, bool *ret_more,
                       struct varve_error *err)
{
    const unsigned before = keys->count;
    unsigned tries = 0;
    int rc;

    do {
        keys->count = before;
        rc = cold_store_list(s, prefix, start_after, max, keys_visit, keys, ret_more, err);
    } while (again(rc, err, &tries));
    return rc;
}

int support_retry_list_all(struct cold_store *s, const char *prefix, struct support_keys *keys,
                           struct varve_error *err)
{
    const unsigned before = keys->count;
    unsigned tries = 0;
    int rc;

    do {
        keys->count = before;
        rc = cold_store_list_all(s, prefix, keys_visit, keys, err);
    } while (again(rc, err, &tries));
    return rc;
}

static int uploads_visit(void *arg, const char *key, const struct cold_upload *upload,
                         int64_t started)
{
    struct support_uploads *u = arg;

    if (strlen(key) > COLD_KEY_MAX)
        abort();
    u->count++;
    u->last = *upload;
    u->started = started;
    strcpy(u->key, key);
    return 0;
}

int support_retry_uploads(struct cold_store *s, const char *prefix, struct support_uploads *ret,
                          struct varve_error *err)
{
    unsigned tries = 0;
    int rc;

    do {
        *ret = (struct support_uploads){0};
        rc = cold_store_upload_list(s, prefix, uploads_visit, ret, err);
    } while (again(rc, err, &tries));
    return rc;
}

/* ---- multipart ---- */

/* Aborts all uploads of just this key. */
static int abort_all(struct cold_store *s, const char *key, struct varve_error *err)
{
    unsigned tries = 0;
    int rc;

    do
        rc = cold_store_upload_abort_all(s, key, err);
    while (again(rc, err, &tries));
    return rc;
}

int support_retry_begin(struct cold_store *s, const char *key, struct cold_upload *ret,
                        struct varve_error *err)
{
    unsigned tries = 0;
    int rc = cold_store_upload_begin(s, key, ret, err);

    while (again(rc, err, &tries)) {
        rc = abort_all(s, key, err);
        if (rc == 0)
            rc = cold_store_upload_begin(s, key, ret, err);
    }
    return rc;
}

int support_retry_part(struct cold_store *s, const char *key, const struct cold_upload *upload,
                       unsigned number, uint64_t pos, const struct iovec *body, int count,
                       uint32_t crc32c, struct cold_part *ret, struct varve_error *err)
{
    unsigned tries = 0;
    int rc;

    do
        rc = cold_store_upload_part(s, key, upload, number, pos, body, count, crc32c, ret, err);
    while (again(rc, err, &tries));
    return rc;
}

int support_retry_complete(struct cold_store *s, const char *key, const struct cold_upload *upload,
                           const struct cold_part *parts, unsigned count,
                           const struct cold_put *how, struct cold_etag *ret_etag,
                           struct varve_error *err)
{
    unsigned tries = 0;
    struct cold_meta meta;
    struct varve_error head_err = {0};
    uint64_t size = 0;
    int rc;

    do
        rc = cold_store_upload_complete(s, key, upload, parts, count, how, ret_etag, err);
    while (again(rc, err, &tries));
    if (tries == 0 || (rc != VARVE_E_NOT_FOUND && rc != VARVE_E_PRECONDITION))
        return rc;
    for (unsigned i = 0; i < count; i++)
        size += parts[i].size;
    if (support_retry_head(s, key, &meta, &head_err) < 0 || meta.size != size)
        return rc;
    if (ret_etag)
        *ret_etag = meta.etag;
    return 0;
}

int support_retry_abort(struct cold_store *s, const char *key, const struct cold_upload *upload,
                        struct varve_error *err)
{
    unsigned tries = 0;
    int rc;

    do
        rc = cold_store_upload_abort(s, key, upload, err);
    while (again(rc, err, &tries));
    return rc == VARVE_E_NOT_FOUND && tries > 0 ? 0 : rc;
}
