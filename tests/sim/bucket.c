#include "tests/sim/bucket.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "cold/lease.h"
#include "cold/manifest.h"

#define STALE_MS 20000 /* how old a listing may be */
#define LATE_MS 90000  /* how late an effect */
#define PARTS_MAX 256

struct object {
    char *key;
    uint8_t *data;
    size_t size;
    uint64_t etag;
    int64_t since;
    bool gone;  /* kept for listings of some time ago */
    bool fresh; /* was not there before `since` */
};

struct part {
    uint8_t *data;
    size_t size;
    uint64_t etag;
};

struct upload {
    char *key;
    uint64_t id;
    int64_t started;
    struct part parts[PARTS_MAX];
};

struct late {
    int64_t due;
    bool remove;
    char *key;
    uint8_t *data;
    size_t size;
    struct cold_put how;
    struct cold_etag etag;
    bool has_etag;
};

struct sim_bucket {
    struct sim_bucket_hooks hooks;
    struct object *objects; /* by key */
    size_t count, capacity;
    struct upload *uploads;
    size_t upload_count, upload_capacity;
    struct late *late;
    size_t late_count, late_capacity;
    uint64_t next_etag;
    bool down;
};

/* One opened store. */
struct handle {
    struct sim_bucket *b;
    struct sim_caller *caller;
    size_t part_bytes;
};

/* ---- objects ---- */

static size_t object_place(const struct sim_bucket *b, const char *key, bool *ret_found)
{
    size_t low = 0, high = b->count;

    *ret_found = false;
    while (low < high) {
        size_t mid = (low + high) / 2;
        int cmp = strcmp(b->objects[mid].key, key);

        if (cmp == 0) {
            *ret_found = true;
            return mid;
        }
        if (cmp < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static struct object *object_find(const struct sim_bucket *b, const char *key)
{
    bool found;
    size_t i = object_place(b, key, &found);

    return found && !b->objects[i].gone ? &b->objects[i] : NULL;
}

static void object_store(struct sim_bucket *b, const char *key, uint8_t *data, size_t size)
{
    bool found;
    size_t i = object_place(b, key, &found);
    struct object *o;
    bool fresh = !found || b->objects[i].gone;

    if (!found) {
        if (b->count == b->capacity) {
            b->capacity = b->capacity ? 2 * b->capacity : 64;
            b->objects = realloc(b->objects, b->capacity * sizeof(*b->objects));
            assert(b->objects);
        }
        memmove(b->objects + i + 1, b->objects + i, (b->count - i) * sizeof(*b->objects));
        b->count++;
        b->objects[i] = (struct object){.key = strdup(key)};
    }
    o = &b->objects[i];
    free(o->data);
    o->data = data;
    o->size = size;
    o->etag = ++b->next_etag;
    o->since = b->hooks.now_ms(b->hooks.ctx);
    o->gone = false;
    o->fresh = fresh;
    sim_trace_bytes(b->hooks.trace, data, size);
    b->hooks.stored(b->hooks.ctx, key, data, size);
}

static void object_remove(struct sim_bucket *b, const char *key)
{
    struct object *o = object_find(b, key);

    if (!o)
        return;
    b->hooks.removing(b->hooks.ctx, key);
    o = object_find(b, key);
    o->gone = true;
    o->since = b->hooks.now_ms(b->hooks.ctx);
}

/* Those that no listing shows any more. */
static void objects_sweep(struct sim_bucket *b)
{
    int64_t now = b->hooks.now_ms(b->hooks.ctx);
    size_t kept = 0;

    for (size_t i = 0; i < b->count; i++) {
        if (b->objects[i].gone && b->objects[i].since + STALE_MS < now) {
            free(b->objects[i].key);
            free(b->objects[i].data);
        } else {
            b->objects[kept++] = b->objects[i];
        }
    }
    b->count = kept;
}

static void etag_format(uint64_t etag, struct cold_etag *ret)
{
    (void)snprintf(ret->text, sizeof(ret->text), "\"%016llx\"", (unsigned long long)etag);
}

/* Is the condition of a write met? */
static bool condition_holds(const struct sim_bucket *b, const char *key, const struct cold_put *how)
{
    const struct object *o = object_find(b, key);
    struct cold_etag now;

    if (how->condition == COLD_ALWAYS)
        return true;
    if (how->condition == COLD_IF_ABSENT)
        return !o;
    if (!o)
        return false;
    etag_format(o->etag, &now);
    return strcmp(now.text, how->etag->text) == 0;
}

/* ---- late effects ---- */

static void late_add(struct sim_bucket *b, const char *key, uint8_t *data, size_t size,
                     const struct cold_put *how, uint64_t chance)
{
    struct late *l;

    if (b->late_count == b->late_capacity) {
        b->late_capacity = b->late_capacity ? 2 * b->late_capacity : 8;
        b->late = realloc(b->late, b->late_capacity * sizeof(*b->late));
        assert(b->late);
    }
    l = &b->late[b->late_count++];
    *l = (struct late){.due = b->hooks.now_ms(b->hooks.ctx) + (int64_t)(chance % LATE_MS),
                       .remove = !data,
                       .key = strdup(key),
                       .data = data,
                       .size = size};
    if (how)
        l->how = *how;
    if (how && how->etag) {
        l->etag = *how->etag;
        l->has_etag = true;
    }
}

void sim_bucket_pass(struct sim_bucket *b, bool all)
{
    int64_t now = b->hooks.now_ms(b->hooks.ctx);

    for (size_t i = 0; i < b->late_count;) {
        struct late l = b->late[i];

        if (!all && l.due > now) {
            i++;
            continue;
        }
        b->late[i] = b->late[--b->late_count];
        l.how.etag = l.has_etag ? &l.etag : NULL;
        if (l.remove) {
            sim_trace_line(b->hooks.trace, "  late: delete %s", l.key);
            object_remove(b, l.key);
            free(l.data);
        } else if (condition_holds(b, l.key, &l.how)) {
            sim_trace_line(b->hooks.trace, "  late: put %s", l.key);
            object_store(b, l.key, l.data, l.size);
        } else {
            free(l.data);
        }
        free(l.key);
    }
    objects_sweep(b);
}

/* ---- requests ---- */

static bool has_suffix(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

static enum sim_kind kind_of(const char *key)
{
    if (has_suffix(key, "/root"))
        return SIM_ROOT;
    if (has_suffix(key, ".zst"))
        return SIM_OBJECT;
    if (strstr(key, "/page-"))
        return SIM_PAGE;
    if (strcmp(key, COLD_IDENTITY_KEY) == 0)
        return SIM_IDENTITY;
    return strstr(key, "lease") ? SIM_LEASE : SIM_OTHER;
}

static int refuse(const struct handle *h, enum sim_step step, const char *key, const char *why,
                  struct varve_error *err)
{
    (void)h;
    return base_fail_retriable(err, VARVE_E_STORE, "%s %s in sim:///: %s", sim_step_name(step), key,
                               why);
}

static int request_begin(struct handle *h, enum sim_kind kind, enum sim_step step, const char *key,
                         struct sim_verdict *v, struct varve_error *err)
{
    struct sim_bucket *b = h->b;

    *v = (struct sim_verdict){0};
    if (h->caller->dead)
        return base_fail(err, VARVE_E_STORE, "%s %s: the process is dead", sim_step_name(step),
                         key);
    *v = b->hooks.before(b->hooks.ctx, h->caller, kind, step, key);
    sim_bucket_pass(b, false);
    sim_trace_mix(b->hooks.trace, (uint64_t)kind << 8 | (uint64_t)step,
                  base_crc32c(0, key, strlen(key)), v->faulty ? (uint64_t)v->fault + 1 : 0);
    if (b->hooks.trace->calls)
        fprintf(b->hooks.trace->calls, "        %s.%s %s%s%s\n", sim_kind_name(kind),
                sim_step_name(step), key, v->faulty ? " " : "",
                v->faulty ? sim_fault_name(v->fault) : "");
    if (h->caller->dead)
        return base_fail(err, VARVE_E_STORE, "%s %s: the process is dead", sim_step_name(step),
                         key);
    if (b->down)
        return refuse(h, step, key, "the store is away", err);
    if (v->faulty && v->fault == SIM_ERROR)
        return refuse(h, step, key, v->chance % 2 ? "503 SlowDown" : "500 InternalError", err);
    if (v->faulty && v->fault == SIM_DENIED)
        return base_fail(err, VARVE_E_DENIED, "%s %s in sim:///: access denied",
                         sim_step_name(step), key);
    return 0;
}

static int request_end(struct handle *h, enum sim_kind kind, enum sim_step step, const char *key,
                       const struct sim_verdict *v, int rc, struct varve_error *err)
{
    struct sim_bucket *b = h->b;

    if (!v->faulty)
        return rc;
    b->hooks.after(b->hooks.ctx, h->caller, kind, step, v);
    if (h->caller->dead)
        return base_fail(err, VARVE_E_STORE, "%s %s: the process is dead", sim_step_name(step),
                         key);
    if (v->fault == SIM_LOST)
        return refuse(h, step, key, "the reply was lost", err);
    if (v->fault == SIM_TWICE && rc == 0)
        return base_fail(err, VARVE_E_PRECONDITION, "%s %s: 412", sim_step_name(step), key);
    return rc;
}

static uint8_t *body_copy(const struct iovec *body, int count, size_t *ret_size)
{
    size_t size = 0;
    uint8_t *copy, *to;

    for (int i = 0; i < count; i++)
        size += body[i].iov_len;
    to = copy = malloc(size + 1);
    assert(copy);
    for (int i = 0; i < count; i++) {
        if (body[i].iov_len > 0)
            memcpy(to, body[i].iov_base, body[i].iov_len);
        to += body[i].iov_len;
    }
    *ret_size = size;
    return copy;
}

static void bucket_close(void *self)
{
    free(self);
}

static void bucket_caps(void *self, struct cold_caps *ret)
{
    const struct handle *h = self;

    *ret = (struct cold_caps){
        .conditional_put = true,
        .conditional_complete = true,
        .local = h->part_bytes == 0,
        .ordered_list = true,
        .lists_uploads = true,
        .put_size_max = UINT64_C(64) << 20,
        .part_size_min = 1,
        .part_size = h->part_bytes ? h->part_bytes : 256 * 1024,
        .parallel = 4,
        .verifies_crc32c = true,
    };
}

static int bucket_put(void *self, const char *key, const struct iovec *body, int count,
                      const struct cold_put *how, struct cold_etag *ret_etag,
                      struct varve_error *err)
{
    struct handle *h = self;
    struct sim_bucket *b = h->b;
    enum sim_kind kind = kind_of(key);
    struct sim_verdict v;
    uint8_t *data;
    size_t size;
    int rc = request_begin(h, kind, SIM_PUT, key, &v, err);

    if (rc < 0)
        return rc;
    data = body_copy(body, count, &size);
    if (how->has_crc32c && base_crc32c(0, data, size) != how->crc32c) {
        free(data);
        return base_fail(err, VARVE_E_CORRUPT, "put %s: wrong checksum", key);
    }
    if (v.faulty && v.fault == SIM_LATE) {
        late_add(b, key, data, size, how, v.chance);
        b->hooks.after(b->hooks.ctx, h->caller, kind, SIM_PUT, &v);
        return refuse(h, SIM_PUT, key, "timed out", err);
    }
    if (!condition_holds(b, key, how)) {
        free(data);
        rc = base_fail(err, VARVE_E_PRECONDITION, "put %s: 412", key);
    } else {
        object_store(b, key, data, size);
        if (ret_etag)
            etag_format(object_find(b, key)->etag, ret_etag);
    }
    if (how->condition == COLD_ALWAYS && v.faulty && v.fault == SIM_TWICE)
        return rc;
    return request_end(h, kind, SIM_PUT, key, &v, rc, err);
}

/* What a damaged reply leaves in the buffer. */
static int reply_damage(struct handle *h, const char *key, const struct sim_verdict *v,
                        uint8_t *buf, size_t size, struct varve_error *err)
{
    if (!v->faulty)
        return 0;
    if (v->fault == SIM_FLIP && size > 0)
        buf[v->chance / 8 % size] ^= (uint8_t)(1u << v->chance % 8);
    if (v->fault != SIM_CUT)
        return 0;
    memset(buf + size / 2, 0xdb, size - size / 2);
    return refuse(h, SIM_GET, key, "the connection broke in the body", err);
}

static int bucket_get(void *self, const char *key, uint64_t pos, size_t size, void *buf,
                      struct varve_error *err)
{
    struct handle *h = self;
    enum sim_kind kind = kind_of(key);
    struct sim_verdict v;
    const struct object *o;
    int rc = request_begin(h, kind, SIM_GET, key, &v, err);

    if (rc < 0)
        return rc;
    o = object_find(h->b, key);
    if (!o)
        return base_fail(err, VARVE_E_NOT_FOUND, "get %s: 404", key);
    if (pos > o->size || size > o->size - pos)
        return base_fail(err, VARVE_E_CORRUPT, "get %s: the object ends before the range", key);
    memcpy(buf, o->data + pos, size);
    rc = reply_damage(h, key, &v, buf, size, err);
    return request_end(h, kind, SIM_GET, key, &v, rc, err);
}

static int bucket_read(void *self, const char *key, size_t size_max, int64_t patience_ms,
                       void **ret, size_t *ret_size, struct cold_etag *ret_etag,
                       struct varve_error *err)
{
    struct handle *h = self;
    enum sim_kind kind = kind_of(key);
    struct sim_verdict v;
    const struct object *o;
    void *copy;
    int rc = request_begin(h, kind, SIM_GET, key, &v, err);

    (void)patience_ms;
    if (rc < 0)
        return rc;
    o = object_find(h->b, key);
    if (!o)
        return base_fail(err, VARVE_E_NOT_FOUND, "read %s: 404", key);
    if (o->size > size_max)
        return base_fail(err, VARVE_E_TOO_LARGE, "read %s: too large", key);
    copy = malloc(o->size + 1);
    assert(copy);
    memcpy(copy, o->data, o->size);
    rc = reply_damage(h, key, &v, copy, o->size, err);
    rc = request_end(h, kind, SIM_GET, key, &v, rc, err);
    if (rc < 0) {
        free(copy);
        return rc;
    }
    *ret = copy;
    *ret_size = o->size;
    if (ret_etag)
        etag_format(o->etag, ret_etag);
    return 0;
}

static void meta_fill(const struct object *o, struct cold_meta *ret)
{
    *ret = (struct cold_meta){.size = o->size, .modified = o->since};
    etag_format(o->etag, &ret->etag);
}

static int bucket_head(void *self, const char *key, struct cold_meta *ret, struct varve_error *err)
{
    struct handle *h = self;
    enum sim_kind kind = kind_of(key);
    struct sim_verdict v;
    const struct object *o;
    int rc = request_begin(h, kind, SIM_HEAD, key, &v, err);

    if (rc < 0)
        return rc;
    o = object_find(h->b, key);
    if (!o)
        return base_fail(err, VARVE_E_NOT_FOUND, "head %s: 404", key);
    meta_fill(o, ret);
    return request_end(h, kind, SIM_HEAD, key, &v, 0, err);
}

/* Is it in this listing? */
static bool listed(const struct sim_bucket *b, const struct object *o, const struct sim_verdict *v)
{
    bool recent = o->since + STALE_MS > b->hooks.now_ms(b->hooks.ctx);

    if (!v->faulty || v->fault != SIM_STALE || !recent)
        return !o->gone;
    return o->gone || !o->fresh;
}

static int bucket_list(void *self, const char *prefix, const char *start_after, unsigned max,
                       int (*visit)(void *arg, const char *key, const struct cold_meta *meta),
                       void *arg, bool *ret_more, struct varve_error *err)
{
    struct handle *h = self;
    struct sim_bucket *b = h->b;
    struct sim_verdict v;
    struct {
        char *key;
        struct cold_meta meta;
    } * found;
    unsigned count = 0;
    bool more = false;
    int rc = request_begin(h, SIM_LISTING, SIM_LIST, prefix, &v, err);

    if (rc < 0)
        return rc;
    if (max > 1000)
        max = 1000;
    found = calloc(b->count + 1, sizeof(*found));
    assert(found);
    for (size_t i = 0; i < b->count; i++) { /* the visitor may change the bucket */
        const struct object *o = &b->objects[i];

        if (strncmp(o->key, prefix, strlen(prefix)) != 0 || !listed(b, o, &v) ||
            (start_after && strcmp(o->key, start_after) <= 0))
            continue;
        if (count == max) {
            more = true;
            break;
        }
        found[count].key = strdup(o->key);
        meta_fill(o, &found[count++].meta);
    }
    rc = request_end(h, SIM_LISTING, SIM_LIST, prefix, &v, 0, err);
    for (unsigned i = 0; i < count; i++) {
        if (rc == 0)
            rc = visit(arg, found[i].key, &found[i].meta);
        free(found[i].key);
    }
    free(found);
    if (rc == 0)
        *ret_more = more;
    return rc;
}

static int bucket_remove(void *self, const char *const *keys, size_t count, struct varve_error *err)
{
    struct handle *h = self;
    struct sim_bucket *b = h->b;
    enum sim_kind kind = kind_of(keys[0]);
    struct sim_verdict v;
    int rc = request_begin(h, kind, SIM_DELETE, keys[0], &v, err);

    if (rc < 0)
        return rc;
    if (v.faulty && v.fault == SIM_LATE) {
        for (size_t i = 0; i < count; i++)
            late_add(b, keys[i], NULL, 0, NULL, v.chance >> i);
        b->hooks.after(b->hooks.ctx, h->caller, kind, SIM_DELETE, &v);
        return refuse(h, SIM_DELETE, keys[0], "timed out", err);
    }
    for (size_t i = 0; i < count; i++)
        object_remove(b, keys[i]);
    return request_end(h, kind, SIM_DELETE, keys[0], &v, 0, err);
}

/* ---- multipart ---- */

static struct upload *upload_find(const struct sim_bucket *b, const char *key,
                                  const struct cold_upload *upload)
{
    uint64_t id = strtoull(upload->id, NULL, 10);

    for (size_t i = 0; i < b->upload_count; i++)
        if (b->uploads[i].id == id && strcmp(b->uploads[i].key, key) == 0)
            return &b->uploads[i];
    return NULL;
}

static void upload_drop(struct sim_bucket *b, struct upload *u)
{
    for (unsigned i = 0; i < PARTS_MAX; i++)
        free(u->parts[i].data);
    free(u->key);
    *u = b->uploads[--b->upload_count];
}

static int bucket_begin(void *self, const char *key, struct cold_upload *ret,
                        struct varve_error *err)
{
    struct handle *h = self;
    struct sim_bucket *b = h->b;
    struct sim_verdict v;
    struct upload *u;
    int rc = request_begin(h, kind_of(key), SIM_BEGIN, key, &v, err);

    if (rc < 0)
        return rc;
    if (b->upload_count == b->upload_capacity) {
        b->upload_capacity = b->upload_capacity ? 2 * b->upload_capacity : 4;
        b->uploads = realloc(b->uploads, b->upload_capacity * sizeof(*b->uploads));
        assert(b->uploads);
    }
    u = &b->uploads[b->upload_count++];
    *u = (struct upload){
        .key = strdup(key), .id = ++b->next_etag, .started = b->hooks.now_ms(b->hooks.ctx)};
    (void)snprintf(ret->id, sizeof(ret->id), "%llu", (unsigned long long)u->id);
    return request_end(h, kind_of(key), SIM_BEGIN, key, &v, 0, err);
}

static int bucket_part(void *self, const char *key, const struct cold_upload *upload,
                       unsigned number, uint64_t pos, const struct iovec *body, int count,
                       uint32_t crc32c, struct cold_part *ret, struct varve_error *err)
{
    struct handle *h = self;
    struct sim_verdict v;
    struct upload *u;
    struct part *p;
    int rc = request_begin(h, kind_of(key), SIM_PART, key, &v, err);

    (void)pos;
    if (rc < 0)
        return rc;
    u = upload_find(h->b, key, upload);
    if (!u)
        return base_fail(err, VARVE_E_NOT_FOUND, "part of %s: no such upload", key);
    assert(number >= 1 && number <= PARTS_MAX);
    p = &u->parts[number - 1];
    free(p->data);
    p->data = body_copy(body, count, &p->size);
    if (base_crc32c(0, p->data, p->size) != crc32c)
        return base_fail(err, VARVE_E_CORRUPT, "part of %s: wrong checksum", key);
    p->etag = ++h->b->next_etag;
    *ret = (struct cold_part){.number = number, .size = p->size};
    etag_format(p->etag, &ret->etag);
    return request_end(h, kind_of(key), SIM_PART, key, &v, 0, err);
}

static int bucket_complete(void *self, const char *key, const struct cold_upload *upload,
                           const struct cold_part *parts, unsigned count,
                           const struct cold_put *how, struct cold_etag *ret_etag,
                           struct varve_error *err)
{
    struct handle *h = self;
    struct sim_bucket *b = h->b;
    struct sim_verdict v;
    struct upload *u;
    size_t size = 0;
    uint8_t *data;
    int rc = request_begin(h, kind_of(key), SIM_COMPLETE, key, &v, err);

    if (rc < 0)
        return rc;
    u = upload_find(b, key, upload);
    if (!u)
        return base_fail(err, VARVE_E_NOT_FOUND, "complete %s: no such upload", key);
    for (unsigned i = 0; i < count; i++) {
        struct cold_etag etag;

        etag_format(u->parts[i].etag, &etag);
        if (!u->parts[i].data || strcmp(etag.text, parts[i].etag.text) != 0)
            return base_fail(err, VARVE_E_STORE, "complete %s: InvalidPart", key);
        size += u->parts[i].size;
    }
    data = malloc(size + 1);
    assert(data);
    size = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(data + size, u->parts[i].data, u->parts[i].size);
        size += u->parts[i].size;
    }
    if (how->has_crc32c && base_crc32c(0, data, size) != how->crc32c) {
        free(data);
        return base_fail(err, VARVE_E_CORRUPT, "complete %s: wrong checksum", key);
    }
    if (condition_holds(b, key, how)) {
        upload_drop(b, u);
        object_store(b, key, data, size);
        if (ret_etag)
            etag_format(object_find(b, key)->etag, ret_etag);
    } else {
        free(data);
        rc = base_fail(err, VARVE_E_PRECONDITION, "complete %s: 412", key);
    }
    return request_end(h, kind_of(key), SIM_COMPLETE, key, &v, rc, err);
}

static int bucket_abort(void *self, const char *key, const struct cold_upload *upload,
                        struct varve_error *err)
{
    struct handle *h = self;
    struct sim_verdict v;
    struct upload *u;
    int rc = request_begin(h, kind_of(key), SIM_ABORT, key, &v, err);

    if (rc < 0)
        return rc;
    u = upload_find(h->b, key, upload);
    if (u)
        upload_drop(h->b, u);
    return request_end(h, kind_of(key), SIM_ABORT, key, &v, 0, err);
}

static int bucket_upload_list(void *self, const char *prefix,
                              int (*visit)(void *arg, const char *key,
                                           const struct cold_upload *upload, int64_t started),
                              void *arg, struct varve_error *err)
{
    struct handle *h = self;
    struct sim_bucket *b = h->b;
    struct sim_verdict v;
    size_t count;
    struct {
        char key[COLD_KEY_MAX + 1];
        struct cold_upload upload;
        int64_t started;
    } * found;
    int rc = request_begin(h, SIM_LISTING, SIM_LIST, prefix, &v, err);

    if (rc < 0)
        return rc;
    count = b->upload_count;
    found = calloc(count + 1, sizeof(*found));
    assert(found);
    for (size_t i = 0; i < count; i++) { /* the visitor aborts them */
        strcpy(found[i].key, b->uploads[i].key);
        (void)snprintf(found[i].upload.id, sizeof(found[i].upload.id), "%llu",
                       (unsigned long long)b->uploads[i].id);
        found[i].started = b->uploads[i].started;
    }
    rc = request_end(h, SIM_LISTING, SIM_LIST, prefix, &v, 0, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (strncmp(found[i].key, prefix, strlen(prefix)) == 0)
            rc = visit(arg, found[i].key, &found[i].upload, found[i].started);
    free(found);
    return rc;
}

static int bucket_check(void *self, const char *key, const struct cold_upload *upload,
                        const struct cold_part *parts, unsigned count, bool *ret_held,
                        struct varve_error *err)
{
    struct handle *h = self;
    struct sim_verdict v;
    struct upload *u;
    int rc = request_begin(h, kind_of(key), SIM_CHECK, key, &v, err);

    if (rc < 0)
        return rc;
    u = upload_find(h->b, key, upload);
    if (!u)
        return base_fail(err, VARVE_E_NOT_FOUND, "check %s: no such upload", key);
    for (unsigned i = 0; i < count; i++) {
        const struct part *p = &u->parts[parts[i].number - 1];
        struct cold_etag etag;

        etag_format(p->etag, &etag);
        ret_held[i] =
            p->data && p->size == parts[i].size && strcmp(etag.text, parts[i].etag.text) == 0;
    }
    return request_end(h, kind_of(key), SIM_CHECK, key, &v, 0, err);
}

static const struct cold_store_ops bucket_ops = {
    .name = "sim",
    .close = bucket_close,
    .caps = bucket_caps,
    .put = bucket_put,
    .get = bucket_get,
    .read = bucket_read,
    .head = bucket_head,
    .list = bucket_list,
    .remove = bucket_remove,
    .upload_begin = bucket_begin,
    .upload_part = bucket_part,
    .upload_complete = bucket_complete,
    .upload_abort = bucket_abort,
    .upload_list = bucket_upload_list,
    .upload_check = bucket_check,
};

int sim_bucket_open(struct sim_bucket *b, struct sim_caller *c, const struct base_env *env,
                    const char *url, size_t part_bytes, bool read_only, struct cold_store **ret,
                    struct varve_error *err)
{
    struct handle *h = calloc(1, sizeof(*h));
    int rc;

    assert(h);
    *h = (struct handle){.b = b, .caller = c, .part_bytes = part_bytes};
    rc = cold_store_new(env, url, &bucket_ops, h, read_only, ret, err);
    if (rc < 0)
        free(h);
    return rc;
}

/* ---- from outside ---- */

struct sim_bucket *sim_bucket_new(const struct sim_bucket_hooks *hooks)
{
    struct sim_bucket *b = calloc(1, sizeof(*b));

    assert(b);
    b->hooks = *hooks;
    return b;
}

struct sim_bucket *sim_bucket_free(struct sim_bucket *b)
{
    if (!b)
        return NULL;
    for (size_t i = 0; i < b->count; i++) {
        free(b->objects[i].key);
        free(b->objects[i].data);
    }
    while (b->upload_count > 0)
        upload_drop(b, &b->uploads[0]);
    for (size_t i = 0; i < b->late_count; i++) {
        free(b->late[i].key);
        free(b->late[i].data);
    }
    free(b->objects);
    free(b->uploads);
    free(b->late);
    free(b);
    return NULL;
}

void sim_bucket_set_down(struct sim_bucket *b, bool down)
{
    b->down = down;
}

bool sim_bucket_is_down(const struct sim_bucket *b)
{
    return b->down;
}

const void *sim_bucket_look(struct sim_bucket *b, const char *key, size_t *ret_size)
{
    const struct object *o = object_find(b, key);

    if (!o)
        return NULL;
    *ret_size = o->size;
    return o->data;
}

void sim_bucket_each(struct sim_bucket *b,
                     void (*visit)(void *arg, const char *key, const void *data, size_t size),
                     void *arg)
{
    for (size_t i = 0; i < b->count; i++)
        if (!b->objects[i].gone)
            visit(arg, b->objects[i].key, b->objects[i].data, b->objects[i].size);
}

bool sim_bucket_flip(struct sim_bucket *b, const char *key, size_t pos, uint8_t mask)
{
    struct object *o = object_find(b, key);

    if (!o || pos >= o->size)
        return false;
    o->data[pos] ^= mask;
    return true;
}

unsigned sim_bucket_uploads(const struct sim_bucket *b)
{
    return (unsigned)b->upload_count;
}
