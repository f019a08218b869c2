/*
 * Root and pages of a log's manifest in the bucket.
 *
 * M1 Pages are stored before the root that names them: whoever reads a root finds its pages.
 * M2 A conditional write of the root whose outcome is not known, or that a 412 answered, is decided
 *    by what lies in the store: our write id there means that the write was ours (I7).
 * M3 Only the store's own "not there" is VARVE_E_NOT_FOUND; a store that cannot be asked is a
 *    retriable failure, and nothing is concluded from it (I8).
 */
#include "cold/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"

#define IDENTITY_MAGIC "varve-cold"
#define IDENTITY_VERSION 1
#define IDENTITY_SIZE_MAX 4096

static struct iovec iov_of(const void *data, size_t size)
{
    return (struct iovec){.iov_base = (void *)(uintptr_t)data, .iov_len = size};
}

/* ---- the root ---- */

int cold_manifest_read_root(struct cold_store *meta, const char *log_name, void **ret,
                            size_t *ret_size, struct cold_etag *ret_etag, struct varve_error *err)
{
    return cold_manifest_read_root_within(meta, log_name, 0, ret, ret_size, ret_etag, err);
}

int cold_manifest_read_root_within(struct cold_store *meta, const char *log_name,
                                   int64_t patience_ms, void **ret, size_t *ret_size,
                                   struct cold_etag *ret_etag, struct varve_error *err)
{
    char *key;
    int rc = index_key_root(log_name, &key, err);

    if (rc < 0)
        return rc;
    rc = cold_store_read_within(meta, key, INDEX_ROOT_SIZE_MAX, patience_ms, ret, ret_size,
                                ret_etag, err);
    free(key);
    if (rc == VARVE_E_TOO_LARGE) /* no root of ours is that large */
        rc = base_fail(err, VARVE_E_CORRUPT, "the root in %s is above %d bytes",
                       cold_store_url(meta), INDEX_ROOT_SIZE_MAX);
    return rc < 0 ? base_error_context(err, rc, "root of %s", log_name) : 0;
}

bool cold_manifest_outcome_unknown(int rc)
{
    return rc == VARVE_E_PRECONDITION || rc == VARVE_E_STORE || rc == VARVE_E_TIMEOUT ||
           rc == VARVE_E_CORRUPT || rc == VARVE_E_IO || rc == VARVE_E_NO_MEMORY;
}

/* M2: whose root is there? 1: ours, with its ETag; 0: none, or the one that the condition names
 * (`before`; NULL: if-absent), so that the write may still arrive; VARVE_E_PRECONDITION: another
 * one, so that it never will. */
static int root_is_ours(struct cold_store *meta, const char *log_name, const struct base_id *write,
                        const struct cold_etag *before, struct cold_etag *ret_etag,
                        struct varve_error *err)
{
    struct index_root there;
    struct cold_etag etag;
    void *data;
    size_t size;
    int ours, rc = cold_manifest_read_root(meta, log_name, &data, &size, &etag, err);

    if (rc == VARVE_E_NOT_FOUND)
        return 0;
    if (rc < 0)
        return rc;
    rc = index_root_decode(data, size, &there, err);
    ours = rc == 0 && base_id_equal(&there.write_id, write);
    free(data);
    if (rc < 0)
        return base_error_context(err, rc, "root of %s in %s", log_name, cold_store_url(meta));
    if (ours)
        *ret_etag = etag;
    else if (!before || strcmp(before->text, etag.text) != 0)
        return base_fail(err, VARVE_E_PRECONDITION, "another root of %s is in %s", log_name,
                         cold_store_url(meta));
    return ours;
}

/* Writes the root and finds out what became of it. */
static int write_root(struct cold_store *meta, const char *log_name, const void *root, size_t size,
                      const struct cold_etag *etag, struct cold_etag *ret_etag,
                      struct varve_error *err)
{
    const struct iovec body = iov_of(root, size);
    const struct cold_put how = {.condition = etag ? COLD_IF_MATCH : COLD_IF_ABSENT,
                                 .etag = etag,
                                 .has_crc32c = true,
                                 .crc32c = base_crc32c(0, root, size)};
    struct index_root ours;
    struct varve_error back;
    char *key;
    int found, rc = index_root_view(root, size, &ours, err);

    if (rc == 0)
        rc = index_key_root(log_name, &key, err);
    if (rc < 0)
        return rc;
    rc = cold_store_put(meta, key, &body, 1, &how, ret_etag, err);
    free(key);
    if (!cold_manifest_outcome_unknown(rc))
        return rc;
    found = root_is_ours(meta, log_name, &ours.write_id, etag, ret_etag, &back);
    if (found > 0)
        return 0;
    if (found == VARVE_E_PRECONDITION) {
        if (err)
            *err = back;
        return found;
    }
    if (found < 0 && rc == VARVE_E_PRECONDITION) { /* lost or won: not known until it is read */
        if (err)
            *err = back;
        return base_error_context(err, found, "whose root won");
    }
    return rc;
}

/* ---- pages ---- */

/* A page that is there already must have the same bytes: pages never change. */
static int page_compare(struct cold_store *meta, const char *key,
                        const struct index_edit_page *page, struct varve_error *err)
{
    void *data;
    size_t size;
    bool same;
    int rc = cold_store_read(meta, key, page->size, &data, &size, NULL, err);

    if (rc == VARVE_E_TOO_LARGE)
        return base_fail(err, VARVE_E_CORRUPT, "page %s in %s is there with other bytes", key,
                         cold_store_url(meta));
    if (rc < 0)
        return rc;
    same = size == page->size && memcmp(data, page->data, size) == 0;
    free(data);
    return same ? 0
                : base_fail(err, VARVE_E_CORRUPT, "page %s in %s is there with other bytes", key,
                            cold_store_url(meta));
}

static int write_page(struct cold_store *meta, const char *log_name, const struct base_id *log_id,
                      const struct index_edit_page *page, struct varve_error *err)
{
    const struct iovec body = iov_of(page->data, page->size);
    const struct cold_put how = {.condition = COLD_IF_ABSENT,
                                 .has_crc32c = true,
                                 .crc32c = base_crc32c(0, page->data, page->size)};
    char *key;
    int rc = index_key_page(log_name, log_id, &page->ref, &key, err);

    if (rc < 0)
        return rc;
    rc = cold_store_put(meta, key, &body, 1, &how, NULL, err);
    if (rc == VARVE_E_PRECONDITION) /* ours, from an attempt whose reply was lost */
        rc = page_compare(meta, key, page, err);
    free(key);
    return rc;
}

int cold_manifest_write(struct cold_store *meta, const char *log_name, const struct base_id *log_id,
                        const void *root, size_t root_size, const struct index_edit_page *pages,
                        size_t page_count, const struct cold_etag *etag, struct cold_etag *ret_etag,
                        struct varve_error *err)
{
    struct cold_etag stored;
    int rc;

    if (root_size > INDEX_ROOT_SIZE_MAX)
        return base_fail(err, VARVE_E_TOO_LARGE, "root of %s: %zu bytes, the limit is %d", log_name,
                         root_size, INDEX_ROOT_SIZE_MAX);
    for (size_t i = 0; i < page_count; i++) { /* M1 */
        rc = write_page(meta, log_name, log_id, &pages[i], err);
        if (rc < 0)
            return base_error_context(err, rc, "manifest of %s", log_name);
    }
    rc = write_root(meta, log_name, root, root_size, etag, &stored, err);
    if (rc < 0)
        return base_error_context(err, rc, "manifest of %s", log_name);
    if (ret_etag)
        *ret_etag = stored;
    return 0;
}

/* ---- the loader ---- */

static int load_page(void *ctx, const struct index_ref *ref, void **ret, size_t *ret_size,
                     struct varve_error *err)
{
    struct cold_manifest_loader *l = ctx;
    const char *url = cold_store_url(l->meta);
    void *data;
    size_t size;
    char *key;
    int rc = index_key_page(l->log_name, &l->log_id, ref, &key, err);

    if (rc < 0)
        return rc;
    rc = cold_store_read(l->meta, key, ref->page_size, &data, &size, NULL, err);
    if (rc == VARVE_E_NOT_FOUND) /* the root names it: it must be there (I8) */
        rc = base_fail(err, VARVE_E_CORRUPT, "page %s is missing in %s", key, url);
    else if (rc == VARVE_E_TOO_LARGE)
        rc = base_fail(err, VARVE_E_CORRUPT, "page %s in %s is above its %u bytes", key, url,
                       ref->page_size);
    else if (rc == 0 && size != ref->page_size) { /* I9 */
        free(data);
        rc = base_fail(err, VARVE_E_CORRUPT, "page %s in %s has %zu of its %u bytes", key, url,
                       size, ref->page_size);
    }
    free(key);
    if (rc < 0)
        return rc;
    *ret = data;
    *ret_size = size;
    return 0;
}

void cold_manifest_loader_init(struct cold_manifest_loader *l, struct cold_store *meta,
                               const char *log_name, const struct base_id *log_id)
{
    *l = (struct cold_manifest_loader){
        .loader = {.ctx = l, .load_page = load_page},
        .meta = meta,
        .log_name = log_name,
        .log_id = *log_id,
    };
}

/* ---- the store's identity ---- */

static int identity_decode(const void *data, size_t size, struct base_id *ret_id,
                           struct varve_error *err)
{
    struct base_settings *s;
    const char *id;
    int rc = base_settings_decode(data, size, IDENTITY_MAGIC, IDENTITY_VERSION, &s, err);

    if (rc < 0)
        return rc;
    id = base_settings_get(s, "id");
    if (!id || !base_id_parse(id, strlen(id), ret_id))
        rc = base_fail(err, VARVE_E_CORRUPT, "no id in it");
    base_settings_free(s);
    return rc;
}

int cold_identity_read(struct cold_store *meta, struct base_id *ret_id, struct varve_error *err)
{
    struct base_id id;
    void *data;
    size_t size;
    int rc = cold_store_read(meta, COLD_IDENTITY_KEY, IDENTITY_SIZE_MAX, &data, &size, NULL, err);

    if (rc < 0)
        return rc;
    rc = identity_decode(data, size, &id, err);
    free(data);
    if (rc < 0)
        return base_error_context(err, rc, "%s in %s", COLD_IDENTITY_KEY, cold_store_url(meta));
    *ret_id = id;
    return 0;
}

static int identity_encode(const struct base_id *id, int64_t created, char **ret, size_t *ret_size,
                           struct varve_error *err)
{
    struct base_settings *s = base_settings_new();
    char text[BASE_ID_TEXT_SIZE], time[BASE_TIME_TEXT_SIZE];
    int rc;

    if (!s)
        return base_fail(err, VARVE_E_NO_MEMORY, "identity of a store: out of memory");
    base_id_format(id, text);
    base_format_time(created, time);
    rc = base_settings_set(s, "id", text, err);
    if (rc == 0)
        rc = base_settings_set(s, "created", time, err);
    if (rc == 0)
        rc = base_settings_encode(s, IDENTITY_MAGIC, IDENTITY_VERSION, ret, ret_size, err);
    base_settings_free(s);
    return rc;
}

int cold_identity_create(struct cold_store *meta, const struct base_id *id, int64_t created,
                         struct varve_error *err)
{
    struct cold_put how = {.condition = COLD_IF_ABSENT, .has_crc32c = true};
    struct base_id there;
    struct varve_error back;
    struct iovec body;
    char *text;
    size_t size;
    int read, rc = identity_encode(id, created, &text, &size, err);

    if (rc < 0)
        return rc;
    how.crc32c = base_crc32c(0, text, size);
    body = iov_of(text, size);
    rc = cold_store_put(meta, COLD_IDENTITY_KEY, &body, 1, &how, NULL, err);
    free(text);
    if (!cold_manifest_outcome_unknown(rc))
        return rc;
    read = cold_identity_read(meta, &there, &back);
    if (read == 0 && base_id_equal(&there, id))
        return 0;  /* ours, though the reply was lost (I7) */
    if (read == 0) /* and never will be, if-absent as it was */
        rc = VARVE_E_PRECONDITION;
    if (rc == VARVE_E_PRECONDITION && read < 0 && read != VARVE_E_CORRUPT) {
        if (err) /* lost or won: not known until it is read */
            *err = back;
        return base_error_context(err, read, "whose cold tier it is");
    }
    if (rc == VARVE_E_PRECONDITION)
        return base_fail(err, VARVE_E_EXISTS, "%s holds a varve store already",
                         cold_store_url(meta));
    return rc;
}
