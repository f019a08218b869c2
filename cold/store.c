/* The face of every driver: checks keys, refuses changes to a read-only store, counts. */
#include "cold/store.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

#define LIST_ALL_PAGE 65536 /* asked for; a driver gives fewer where its store does */

struct cold_store {
    const struct base_env *env;
    const struct cold_store_ops *ops;
    void *self;
    char *url;
    bool read_only;
    bool unfenced; /* the URL says fencing=none */
    /* Counters: relaxed, nothing is published through them. */
    _Atomic uint64_t requests[COLD_OP_COUNT];
    _Atomic uint64_t failures[COLD_OP_COUNT];
    _Atomic uint64_t bytes_sent;
    _Atomic uint64_t bytes_received;
};

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* Counts one request that ended with rc, and passes rc on. */
static int counted(struct cold_store *s, enum cold_op op, int rc)
{
    add(&s->requests[op], 1);
    if (rc <= VARVE_E_IO)
        add(&s->failures[op], 1);
    return rc;
}

static uint64_t body_size(const struct iovec *body, int count)
{
    uint64_t size = 0;

    for (int i = 0; i < count; i++)
        size += body[i].iov_len;
    return size;
}

/* Checks the '/'-separated parts of the first `size` bytes of a key or prefix. */
static int check_parts(const struct cold_store *s, const char *op, const char *key, size_t size,
                       struct varve_error *err)
{
    for (size_t pos = 0, part; pos <= size; pos += part + 1) {
        const char *end = memchr(key + pos, '/', size - pos);

        part = end ? (size_t)(end - (key + pos)) : size - pos;
        if (part == 0)
            return base_fail(err, VARVE_E_INVALID, "%s in %s: key '%s' has an empty part", op,
                             s->url, key);
        if (key[pos] == '.' && (part == 1 || (part == 2 && key[pos + 1] == '.')))
            return base_fail(err, VARVE_E_INVALID, "%s in %s: key '%s' has a part '%.*s'", op,
                             s->url, key, (int)part, key + pos);
    }
    return 0;
}

static int check_key(const struct cold_store *s, const char *op, const char *key,
                     struct varve_error *err)
{
    size_t size = strlen(key);

    if (size == 0)
        return base_fail(err, VARVE_E_INVALID, "%s in %s: empty key", op, s->url);
    if (size > COLD_KEY_MAX)
        return base_fail(err, VARVE_E_INVALID, "%s in %s: a key of %zu bytes, the limit is %d", op,
                         s->url, size, COLD_KEY_MAX);
    return check_parts(s, op, key, size, err);
}

/* A prefix may end inside a part. */
static int check_prefix(const struct cold_store *s, const char *op, const char *prefix,
                        struct varve_error *err)
{
    const char *slash = strrchr(prefix, '/');

    if (strlen(prefix) > COLD_KEY_MAX)
        return base_fail(err, VARVE_E_INVALID, "%s in %s: a prefix above %d bytes", op, s->url,
                         COLD_KEY_MAX);
    return slash ? check_parts(s, op, prefix, (size_t)(slash - prefix), err) : 0;
}

static int check_change(const struct cold_store *s, const char *op, const char *key,
                        struct varve_error *err)
{
    if (s->read_only)
        return base_fail(err, VARVE_E_READ_ONLY, "%s %s: %s was opened read-only", op, key, s->url);
    return check_key(s, op, key, err);
}

int cold_store_new(const struct base_env *env, const char *url, const struct cold_store_ops *ops,
                   void *self, bool read_only, struct cold_store **ret, struct varve_error *err)
{
    struct cold_store *s = calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return base_fail(err, VARVE_E_NO_MEMORY, "open store %s: out of memory", url);
    rc = base_format(&s->url, err, "%s", url);
    if (rc < 0) {
        free(s);
        return rc;
    }
    s->env = env;
    s->ops = ops;
    s->self = self;
    s->read_only = read_only;
    *ret = s;
    return 0;
}

void cold_store_set_unfenced(struct cold_store *store)
{
    store->unfenced = true;
}

struct cold_store *cold_store_close(struct cold_store *store)
{
    if (!store)
        return NULL;
    store->ops->close(store->self);
    free(store->url);
    free(store);
    return NULL;
}

const char *cold_store_url(const struct cold_store *store)
{
    return store->url;
}

void cold_store_caps(struct cold_store *store, struct cold_caps *ret)
{
    store->ops->caps(store->self, ret);
    if (store->unfenced && !ret->conditional_put)
        ret->unfenced = true;
}

int cold_store_check_fencing(struct cold_store *store, struct varve_error *err)
{
    struct cold_caps caps;

    cold_store_caps(store, &caps);
    if (caps.conditional_put || caps.unfenced)
        return 0;
    return base_fail(err, VARVE_E_UNSUPPORTED,
                     "%s has no conditional writes, so two writers of a log would not notice each "
                     "other; say fencing=none in its URL if there will never be two",
                     store->url);
}

/* A condition of a store that has none: looked at first, by one HEAD. */
static int unfenced_check(struct cold_store *store, const char *op, const char *key,
                          const struct cold_put *how, struct varve_error *err)
{
    struct cold_meta meta;
    int rc = cold_store_head(store, key, &meta, err);

    if (rc < 0 && rc != VARVE_E_NOT_FOUND)
        return rc;
    if (how->condition == COLD_IF_ABSENT ? rc < 0
                                         : rc == 0 && !strcmp(meta.etag.text, how->etag->text))
        return 0;
    return base_fail(err, VARVE_E_PRECONDITION, "%s %s in %s: %s", op, key, store->url,
                     rc < 0 ? "it is not there" : "it is there, or is another one by now");
}

/* Makes *how what the driver can do. */
static int unfence(struct cold_store *store, const char *op, const char *key, struct cold_put *how,
                   struct varve_error *err)
{
    struct cold_caps caps;
    int rc;

    if (!store->unfenced || how->condition == COLD_ALWAYS)
        return 0;
    store->ops->caps(store->self, &caps);
    if (caps.conditional_put)
        return 0;
    rc = unfenced_check(store, op, key, how, err);
    how->condition = COLD_ALWAYS;
    return rc;
}

void cold_store_set_caps(struct cold_store *store, const struct cold_caps *caps)
{
    if (store->ops->set_caps)
        store->ops->set_caps(store->self, caps);
}

int cold_store_trial(struct cold_store *store, const char *key, enum cold_trial trial,
                     bool *ret_refused, struct varve_error *err)
{
    int rc = check_change(store, "put", key, err);

    if (rc < 0)
        return rc;
    if (!store->ops->trial)
        return base_fail(err, VARVE_E_UNSUPPORTED, "put %s: %s has no checksums of its own", key,
                         store->url);
    return counted(store, COLD_OP_PUT,
                   store->ops->trial(store->self, key, trial, ret_refused, err));
}

const char *cold_store_driver(const struct cold_store *store)
{
    return store->ops->name;
}

int cold_store_inspect(struct cold_store *store, struct cold_inspection *ret,
                       struct varve_error *err)
{
    if (!store->ops->inspect)
        return base_fail(err, VARVE_E_UNSUPPORTED, "%s tells nothing of itself", store->url);
    return store->ops->inspect(store->self, ret, err);
}

int cold_store_put(struct cold_store *store, const char *key, const struct iovec *body, int count,
                   const struct cold_put *how, struct cold_etag *ret_etag, struct varve_error *err)
{
    struct cold_put adjusted = *how;
    struct cold_etag etag;
    int rc = check_change(store, "put", key, err);

    if (rc < 0)
        return rc;
    if (how->condition == COLD_IF_MATCH && !how->etag)
        return base_fail(err, VARVE_E_INVALID, "put %s: if-match without an ETag", key);
    rc = unfence(store, "put", key, &adjusted, err);
    if (rc < 0)
        return rc;
    rc = counted(store, COLD_OP_PUT,
                 store->ops->put(store->self, key, body, count, &adjusted, &etag, err));
    if (rc < 0)
        return rc;
    add(&store->bytes_sent, body_size(body, count));
    if (ret_etag)
        *ret_etag = etag;
    return 0;
}

int cold_store_get(struct cold_store *store, const char *key, uint64_t pos, size_t size, void *buf,
                   struct varve_error *err)
{
    int rc = check_key(store, "get", key, err);

    if (rc < 0)
        return rc;
    rc = counted(store, COLD_OP_GET, store->ops->get(store->self, key, pos, size, buf, err));
    if (rc == 0)
        add(&store->bytes_received, size);
    return rc;
}

int cold_store_get_start(struct cold_store *store, struct cold_get *get, struct varve_error *err)
{
    int rc = check_key(store, "get", get->key, err);

    if (rc < 0)
        return rc;
    if (!store->ops->get_start)
        return base_fail(err, VARVE_E_UNSUPPORTED, "get %s: %s has blocking gets only", get->key,
                         store->url);
    get->store = store;
    get->internal = NULL;
    rc = store->ops->get_start(store->self, get, err);
    return rc < 0 ? counted(store, COLD_OP_GET, rc) : 0;
}

void cold_store_get_cancel(struct cold_store *store, struct cold_get *get)
{
    store->ops->get_cancel(store->self, get);
}

void cold_store_get_done(struct cold_get *get, int rc, const struct varve_error *err)
{
    counted(get->store, COLD_OP_GET, rc);
    if (rc == 0)
        add(&get->store->bytes_received, get->size);
    get->done(get, rc, err);
}

int cold_store_read(struct cold_store *store, const char *key, size_t size_max, void **ret,
                    size_t *ret_size, struct cold_etag *ret_etag, struct varve_error *err)
{
    return cold_store_read_within(store, key, size_max, 0, ret, ret_size, ret_etag, err);
}

int cold_store_read_within(struct cold_store *store, const char *key, size_t size_max,
                           int64_t patience_ms, void **ret, size_t *ret_size,
                           struct cold_etag *ret_etag, struct varve_error *err)
{
    struct cold_etag etag;
    int rc = check_key(store, "get", key, err);

    if (rc < 0)
        return rc;
    rc = counted(
        store, COLD_OP_GET,
        store->ops->read(store->self, key, size_max, patience_ms, ret, ret_size, &etag, err));
    if (rc < 0)
        return rc;
    add(&store->bytes_received, *ret_size);
    if (ret_etag)
        *ret_etag = etag;
    return 0;
}

int cold_store_head(struct cold_store *store, const char *key, struct cold_meta *ret,
                    struct varve_error *err)
{
    int rc = check_key(store, "head", key, err);

    if (rc < 0)
        return rc;
    return counted(store, COLD_OP_HEAD, store->ops->head(store->self, key, ret, err));
}

int cold_store_list(struct cold_store *store, const char *prefix, const char *start_after,
                    unsigned max,
                    int (*visit)(void *arg, const char *key, const struct cold_meta *meta),
                    void *arg, bool *ret_more, struct varve_error *err)
{
    int rc = check_prefix(store, "list", prefix, err);

    if (rc < 0)
        return rc;
    if (max == 0)
        return base_fail(err, VARVE_E_INVALID, "list %s in %s: a page of no keys", prefix,
                         store->url);
    return counted(
        store, COLD_OP_LIST,
        store->ops->list(store->self, prefix, start_after, max, visit, arg, ret_more, err));
}

/* Remembers the last key of a page while passing the keys on. */
struct list_all {
    int (*visit)(void *arg, const char *key, const struct cold_meta *meta);
    void *arg;
    char last[COLD_KEY_MAX + 1];
};

static int list_all_visit(void *arg, const char *key, const struct cold_meta *meta)
{
    struct list_all *all = arg;
    size_t size = strlen(key);

    if (size <= COLD_KEY_MAX)
        memcpy(all->last, key, size + 1);
    return all->visit(all->arg, key, meta);
}

int cold_store_list_all(struct cold_store *store, const char *prefix,
                        int (*visit)(void *arg, const char *key, const struct cold_meta *meta),
                        void *arg, struct varve_error *err)
{
    struct list_all all = {.visit = visit, .arg = arg};
    char after[COLD_KEY_MAX + 1] = "";
    bool more = true;

    while (more) {
        int rc = cold_store_list(store, prefix, after[0] ? after : NULL, LIST_ALL_PAGE,
                                 list_all_visit, &all, &more, err);

        if (rc != 0)
            return rc;
        if (more && strcmp(all.last, after) <= 0)
            return base_fail(err, VARVE_E_CORRUPT,
                             "list %s in %s: the page after '%s' ends at '%s'", prefix, store->url,
                             after, all.last);
        memcpy(after, all.last, sizeof(after));
    }
    return 0;
}

int cold_store_delete(struct cold_store *store, const char *const *keys, size_t count,
                      struct varve_error *err)
{
    if (count == 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        int rc = check_change(store, "delete", keys[i], err);

        if (rc < 0)
            return rc;
    }
    return counted(store, COLD_OP_DELETE, store->ops->remove(store->self, keys, count, err));
}

int cold_store_upload_begin(struct cold_store *store, const char *key, struct cold_upload *ret,
                            struct varve_error *err)
{
    int rc = check_change(store, "begin upload of", key, err);

    if (rc < 0)
        return rc;
    return counted(store, COLD_OP_UPLOAD, store->ops->upload_begin(store->self, key, ret, err));
}

int cold_store_upload_part(struct cold_store *store, const char *key,
                           const struct cold_upload *upload, unsigned number, uint64_t pos,
                           const struct iovec *body, int count, uint32_t crc32c,
                           struct cold_part *ret, struct varve_error *err)
{
    int rc = check_change(store, "upload part of", key, err);

    if (rc < 0)
        return rc;
    if (number == 0)
        return base_fail(err, VARVE_E_INVALID, "upload part of %s: parts count from 1", key);
    rc = counted(store, COLD_OP_PART,
                 store->ops->upload_part(store->self, key, upload, number, pos, body, count, crc32c,
                                         ret, err));
    if (rc == 0)
        add(&store->bytes_sent, body_size(body, count));
    return rc;
}

int cold_store_upload_check(struct cold_store *store, const char *key,
                            const struct cold_upload *upload, const struct cold_part *parts,
                            unsigned count, bool *ret_held, struct varve_error *err)
{
    int rc = check_change(store, "check upload of", key, err);

    if (rc < 0)
        return rc;
    if (!store->ops->upload_check)
        return base_fail(err, VARVE_E_UNSUPPORTED,
                         "check upload of %s: %s does not tell which parts it has", key,
                         store->url);
    return counted(store, COLD_OP_UPLOAD,
                   store->ops->upload_check(store->self, key, upload, parts, count, ret_held, err));
}

int cold_store_upload_complete(struct cold_store *store, const char *key,
                               const struct cold_upload *upload, const struct cold_part *parts,
                               unsigned count, const struct cold_put *how,
                               struct cold_etag *ret_etag, struct varve_error *err)
{
    struct cold_etag etag;
    int rc = check_change(store, "complete upload of", key, err);

    if (rc < 0)
        return rc;
    if (count == 0 || (how->condition == COLD_IF_MATCH && !how->etag))
        return base_fail(err, VARVE_E_INVALID, "complete upload of %s: %s", key,
                         count == 0 ? "no parts" : "if-match without an ETag");
    rc = counted(
        store, COLD_OP_UPLOAD,
        store->ops->upload_complete(store->self, key, upload, parts, count, how, &etag, err));
    if (rc == 0 && ret_etag)
        *ret_etag = etag;
    return rc;
}

int cold_store_upload_abort(struct cold_store *store, const char *key,
                            const struct cold_upload *upload, struct varve_error *err)
{
    int rc = check_change(store, "abort upload of", key, err);

    if (rc < 0)
        return rc;
    return counted(store, COLD_OP_UPLOAD, store->ops->upload_abort(store->self, key, upload, err));
}

int cold_store_upload_list(struct cold_store *store, const char *prefix,
                           int (*visit)(void *arg, const char *key,
                                        const struct cold_upload *upload, int64_t started),
                           void *arg, struct varve_error *err)
{
    int rc = check_prefix(store, "list uploads of", prefix, err);

    if (rc < 0)
        return rc;
    return counted(store, COLD_OP_UPLOAD,
                   store->ops->upload_list(store->self, prefix, visit, arg, err));
}

struct upload_ids {
    const char *key;
    struct cold_upload *items;
    size_t count, capacity;
};

static int keep_id(void *arg, const char *key, const struct cold_upload *upload, int64_t started)
{
    struct upload_ids *ids = arg;

    (void)started;
    if (strcmp(key, ids->key) != 0)
        return 0;
    if (ids->count == ids->capacity) {
        size_t capacity = ids->capacity ? ids->capacity * 2 : 4;
        struct cold_upload *grown = realloc(ids->items, capacity * sizeof(*grown));

        if (!grown)
            return VARVE_E_NO_MEMORY;
        ids->items = grown;
        ids->capacity = capacity;
    }
    ids->items[ids->count++] = *upload;
    return 0;
}

int cold_store_upload_abort_all(struct cold_store *store, const char *key, struct varve_error *err)
{
    struct upload_ids ids = {.key = key};
    int rc = check_change(store, "abort uploads of", key, err);

    if (rc == 0)
        rc = cold_store_upload_list(store, key, keep_id, &ids, err);
    if (rc == VARVE_E_NO_MEMORY)
        base_fail(err, rc, "abort uploads of %s: out of memory", key);
    for (size_t i = 0; i < ids.count && rc == 0; i++) {
        rc = cold_store_upload_abort(store, key, &ids.items[i], err);
        if (rc == VARVE_E_NOT_FOUND)
            rc = 0;
    }
    free(ids.items);
    return rc;
}

void cold_store_stats(struct cold_store *store, struct cold_stats *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (int i = 0; i < COLD_OP_COUNT; i++) {
        ret->requests[i] = atomic_load_explicit(&store->requests[i], memory_order_relaxed);
        ret->failures[i] = atomic_load_explicit(&store->failures[i], memory_order_relaxed);
    }
    ret->bytes_sent = atomic_load_explicit(&store->bytes_sent, memory_order_relaxed);
    ret->bytes_received = atomic_load_explicit(&store->bytes_received, memory_order_relaxed);
    if (store->ops->stats)
        store->ops->stats(store->self, ret);
}
