/*
 * The faulty driver: passes calls on to the store under it, and does to each what the script says
 * (faulty_script.c) or a hook of a test. What it reports is what cold/store.h allows a driver to
 * report, so that whoever is right over every driver is right over this one.
 *
 * Its gets hold a thread, also where those of the store under it do not (caps.async).
 */
#include "cold/faulty.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "base/thread.h"
#include "cold/faulty_script.h"
#include "cold/faulty_stale.h"
#include "cold/inspect.h"
#include "cold/url.h"

#define SCHEME "faulty+"
/* Changes on their way at once; above it they happen in time. Each holds its body in memory. */
#define LATE_MAX 64

/* A change of which the caller believes that it failed, and which happens later. */
struct late {
    int64_t due_ms;
    bool is_put; /* else a delete */
    struct cold_put how;
    struct cold_etag etag; /* of how */
    void *body;
    size_t size;
    char **keys;
    size_t key_count;
};

struct faulty {
    const struct base_env *env;
    char *url;
    uint64_t seed;
    struct cold_store *under;
    struct cold_faulty_script *script;
    const struct cold_faulty_hook *hook;
    struct cold_faulty_stale *stale; /* NULL: no listing is */
    struct base_mutex lock;          /* protects `late`; a leaf */
    struct late *late[LATE_MAX];     /* in the order they were called */
    unsigned late_count;
};

static const enum cold_op hook_ops[FAULTY_OPS] = {
    [FAULTY_PUT] = COLD_OP_PUT,       [FAULTY_GET] = COLD_OP_GET,
    [FAULTY_HEAD] = COLD_OP_HEAD,     [FAULTY_LIST] = COLD_OP_LIST,
    [FAULTY_DELETE] = COLD_OP_DELETE, [FAULTY_BEGIN] = COLD_OP_UPLOAD,
    [FAULTY_PART] = COLD_OP_PART,     [FAULTY_COMPLETE] = COLD_OP_UPLOAD,
    [FAULTY_ABORT] = COLD_OP_UPLOAD,  [FAULTY_UPLOADS] = COLD_OP_UPLOAD,
};

/* ---- changes that happen later ---- */

static struct late *late_free(struct late *l)
{
    if (!l)
        return NULL;
    for (size_t i = 0; l->keys && i < l->key_count; i++)
        free(l->keys[i]);
    free(l->keys);
    free(l->body);
    free(l);
    return NULL;
}

static struct late *late_new(const char *const *keys, size_t count, const struct iovec *body,
                             int body_count, const struct cold_put *how)
{
    struct late *l = calloc(1, sizeof(*l));
    size_t pos = 0;

    if (!l)
        return NULL;
    l->keys = calloc(count, sizeof(*l->keys));
    for (l->key_count = 0; l->keys && l->key_count < count; l->key_count++) {
        l->keys[l->key_count] = strdup(keys[l->key_count]);
        if (!l->keys[l->key_count])
            return late_free(l);
    }
    for (int i = 0; i < body_count; i++)
        l->size += body[i].iov_len;
    l->body = malloc(l->size + 1);
    if (!l->keys || !l->body)
        return late_free(l);
    for (int i = 0; i < body_count; pos += body[i++].iov_len)
        if (body[i].iov_len > 0)
            memcpy((uint8_t *)l->body + pos, body[i].iov_base, body[i].iov_len);
    if (how) {
        l->is_put = true;
        l->how = *how;
        if (how->etag)
            l->etag = *how->etag;
        l->how.etag = &l->etag;
    }
    return l;
}

static int64_t now_ms(const struct faulty *f)
{
    return f->env->clock->mono_ns(f->env->clock->ctx) / 1000000;
}

/* The first that is due, taken out; NULL: none. */
static struct late *late_take(struct faulty *f, bool all)
{
    struct late *l = NULL;

    base_mutex_lock(&f->lock);
    for (unsigned i = 0; !l && i < f->late_count; i++) {
        if (!all && f->late[i]->due_ms > now_ms(f))
            continue;
        l = f->late[i];
        memmove(&f->late[i], &f->late[i + 1], (--f->late_count - i) * sizeof(f->late[0]));
    }
    base_mutex_unlock(&f->lock);
    return l;
}

/* Does what is due. Nobody waits for the outcome, so there is none. */
static void late_run(struct faulty *f, bool all)
{
    struct late *l;

    while ((l = late_take(f, all)) != NULL) {
        const struct iovec body = {.iov_base = l->body, .iov_len = l->size};

        if (l->is_put)
            (void)cold_store_put(f->under, l->keys[0], &body, 1, &l->how, NULL, NULL);
        else
            (void)cold_store_delete(f->under, (const char *const *)l->keys, l->key_count, NULL);
        late_free(l);
    }
}

/* Puts the change off. False: there is no room, it should happen now. */
static bool late_add(struct faulty *f, struct late *l, int64_t time_ms)
{
    bool added = false;

    base_mutex_lock(&f->lock);
    if (l && f->late_count < LATE_MAX) {
        l->due_ms = now_ms(f) + time_ms;
        f->late[f->late_count++] = l;
        added = true;
    }
    base_mutex_unlock(&f->lock);
    if (!added)
        late_free(l);
    return added;
}

/* ---- around each call ---- */

struct call {
    struct faulty *f;
    enum cold_faulty_op op;
    const char *key;
    struct cold_faulty_plan plan;
};

static int refuse(const struct call *c, int code, bool retriable, const char *what,
                  struct varve_error *err)
{
    return (retriable ? base_fail_retriable : base_fail)(
        err, code, "%s %s in %s: %s (fault %u of seed %" PRIu64 ")", cold_faulty_op_name(c->op),
        c->key, c->f->url, what, c->plan.rule, c->f->seed);
}

static int hook_fail(const struct call *c, int code, const char *what, struct varve_error *err)
{
    return (code == VARVE_E_NO_MEMORY ? base_fail : base_fail_retriable)(
        err, code, "%s %s in %s: %s", cold_faulty_op_name(c->op), c->key, c->f->url, what);
}

/* In front of the request: what was put off, the delay, and whether the store is asked at all. */
static int call_begin(struct call *c, struct faulty *f, enum cold_faulty_op op, const char *key,
                      uint64_t place, bool conditional, struct varve_error *err)
{
    int rc;

    *c = (struct call){.f = f, .op = op, .key = key};
    late_run(f, false);
    rc = cold_faulty_script_plan(f->script, op, key, place, conditional, &c->plan, err);
    if (rc < 0)
        return rc;
    if (c->plan.delay_ns > 0)
        f->env->clock->sleep_ns(f->env->clock->ctx, c->plan.delay_ns);
    rc = f->hook && f->hook->fault ? f->hook->fault(f->hook->ctx, hook_ops[op], key, false) : 0;
    if (rc < 0)
        return hook_fail(c, rc, "made to fail", err);
    if (c->plan.kind == FAULTY_ERROR)
        return refuse(c, c->plan.code, c->plan.retriable, "made to fail", err);
    if (c->plan.kind == FAULTY_CONFLICT)
        return refuse(c, VARVE_E_STORE, true, "409, a conflicting operation is under way", err);
    return 0;
}

/* Behind a request that was answered with rc: whether the caller hears of it. */
static int call_end(const struct call *c, int rc, struct varve_error *err)
{
    const struct cold_faulty_hook *hook = c->f->hook;
    int fault =
        rc == 0 && hook && hook->fault ? hook->fault(hook->ctx, hook_ops[c->op], c->key, true) : 0;

    if (fault < 0)
        return hook_fail(c, fault, "the reply was lost", err);
    if (c->plan.kind == FAULTY_LOST && rc <= 0)
        return refuse(c, VARVE_E_STORE, true, "the reply was lost", err);
    return rc;
}

static int note_change(struct faulty *f, const char *key, struct varve_error *err)
{
    return f->stale ? cold_faulty_stale_note(f->stale, f->under, key, err) : 0;
}

/* A copy of the body with one bit flipped. */
static int flipped_copy(const struct call *c, const struct iovec *body, int count,
                        struct iovec *ret, uint32_t *ret_crc32c, struct varve_error *err)
{
    struct late *l = late_new(&c->key, 1, body, count, NULL);

    if (!l)
        return base_fail(err, VARVE_E_NO_MEMORY, "%s %s: out of memory", cold_faulty_op_name(c->op),
                         c->key);
    if (l->size > 0)
        ((uint8_t *)l->body)[c->plan.chance / 8 % l->size] ^= (uint8_t)(1u << c->plan.chance % 8);
    *ret = (struct iovec){.iov_base = l->body, .iov_len = l->size};
    *ret_crc32c = base_crc32c(0, l->body, l->size);
    l->body = NULL;
    late_free(l);
    return 0;
}

/* ---- the driver ---- */

static void faulty_close(void *self)
{
    struct faulty *f = self;

    if (f->under)
        late_run(f, true);
    cold_store_close(f->under);
    cold_faulty_script_free(f->script);
    cold_faulty_stale_free(f->stale);
    base_mutex_deinit(&f->lock);
    free(f->url);
    free(f);
}

static void faulty_caps(void *self, struct cold_caps *ret)
{
    struct faulty *f = self;

    cold_store_caps(f->under, ret);
    ret->async = false;
    if (cold_faulty_script_delays(f->script, FAULTY_GET))
        ret->local = false;
}

static void faulty_set_caps(void *self, const struct cold_caps *caps)
{
    struct faulty *f = self;

    cold_store_set_caps(f->under, caps);
}

static int put_once(struct faulty *f, const struct call *c, const struct iovec *body, int count,
                    const struct cold_put *how, struct cold_etag *ret_etag, struct varve_error *err)
{
    struct cold_put false_how = *how;
    struct iovec flipped;
    int rc;

    if (c->plan.kind != FAULTY_FLIP)
        return cold_store_put(f->under, c->key, body, count, how, ret_etag, err);
    rc = flipped_copy(c, body, count, &flipped, &false_how.crc32c, err);
    if (rc < 0)
        return rc;
    rc = cold_store_put(f->under, c->key, &flipped, 1, &false_how, ret_etag, err);
    free(flipped.iov_base);
    return rc;
}

static int faulty_put(void *self, const char *key, const struct iovec *body, int count,
                      const struct cold_put *how, struct cold_etag *ret_etag,
                      struct varve_error *err)
{
    struct faulty *f = self;
    struct call c;
    int rc = call_begin(&c, f, FAULTY_PUT, key, 0, how->condition != COLD_ALWAYS, err);

    if (rc == 0)
        rc = note_change(f, key, err);
    if (rc < 0)
        return rc;
    if (c.plan.kind == FAULTY_LATE &&
        late_add(f, late_new(&key, 1, body, count, how), c.plan.time_ms))
        return refuse(&c, VARVE_E_STORE, true, "timed out", err);
    rc = put_once(f, &c, body, count, how, ret_etag, err);
    if (rc == 0 && c.plan.kind == FAULTY_TWICE)
        rc = put_once(f, &c, body, count, how, ret_etag, err);
    return call_end(&c, rc, err);
}

/* What a damaged get leaves behind: half of the bytes, and the rest is not theirs. */
static int get_damage(const struct call *c, void *buf, size_t size, struct varve_error *err)
{
    if (c->plan.kind == FAULTY_FLIP && size > 0)
        ((uint8_t *)buf)[c->plan.chance / 8 % size] ^= (uint8_t)(1u << c->plan.chance % 8);
    if (c->plan.kind != FAULTY_CUT && c->plan.kind != FAULTY_SHORT)
        return 0;
    memset((uint8_t *)buf + size / 2, 0xdb, size - size / 2);
    return c->plan.kind == FAULTY_CUT
               ? refuse(c, VARVE_E_STORE, true, "the connection broke in the middle of the body",
                        err)
               : refuse(c, VARVE_E_CORRUPT, false, "the object ends before the range does", err);
}

static int faulty_get(void *self, const char *key, uint64_t pos, size_t size, void *buf,
                      struct varve_error *err)
{
    struct faulty *f = self;
    struct call c;
    int rc = call_begin(&c, f, FAULTY_GET, key, pos, false, err);

    if (rc < 0)
        return rc;
    rc = cold_store_get(f->under, key, pos, size, buf, err);
    if (rc == 0)
        rc = get_damage(&c, buf, size, err);
    return call_end(&c, rc, err);
}

/* Of a whole object nobody knows the length beforehand: a short one is no error here. */
static int faulty_read(void *self, const char *key, size_t size_max, int64_t patience_ms,
                       void **ret, size_t *ret_size, struct cold_etag *ret_etag,
                       struct varve_error *err)
{
    struct faulty *f = self;
    struct call c;
    void *data = NULL;
    size_t size;
    int rc = call_begin(&c, f, FAULTY_GET, key, 0, false, err);

    if (rc < 0)
        return rc;
    rc = cold_store_read_within(f->under, key, size_max, patience_ms, &data, &size, ret_etag, err);
    if (rc == 0 && c.plan.kind == FAULTY_SHORT)
        size /= 2;
    else if (rc == 0)
        rc = get_damage(&c, data, size, err);
    rc = call_end(&c, rc, err);
    if (rc < 0) {
        free(data);
        return rc;
    }
    *ret = data;
    *ret_size = size;
    return 0;
}

static int faulty_head(void *self, const char *key, struct cold_meta *ret, struct varve_error *err)
{
    struct faulty *f = self;
    struct call c;
    struct cold_meta meta;
    int rc = call_begin(&c, f, FAULTY_HEAD, key, 0, false, err);

    if (rc == 0)
        rc = call_end(&c, cold_store_head(f->under, key, &meta, err), err);
    if (rc == 0)
        *ret = meta;
    return rc;
}

static int faulty_list(void *self, const char *prefix, const char *start_after, unsigned max,
                       int (*visit)(void *arg, const char *key, const struct cold_meta *meta),
                       void *arg, bool *ret_more, struct varve_error *err)
{
    struct faulty *f = self;
    struct call c;
    int rc = call_begin(&c, f, FAULTY_LIST, prefix, 0, false, err);

    if (rc < 0)
        return rc;
    if (c.plan.kind == FAULTY_STALE)
        rc = cold_faulty_stale_list(f->stale, f->under, c.plan.time_ms, prefix, start_after, max,
                                    visit, arg, ret_more, err);
    else
        rc = cold_store_list(f->under, prefix, start_after, max, visit, arg, ret_more, err);
    return call_end(&c, rc, err);
}

static int faulty_remove(void *self, const char *const *keys, size_t count, struct varve_error *err)
{
    struct faulty *f = self;
    struct call c;
    int rc = call_begin(&c, f, FAULTY_DELETE, keys[0], 0, false, err);

    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = note_change(f, keys[i], err);
    if (rc < 0)
        return rc;
    if (c.plan.kind == FAULTY_LATE &&
        late_add(f, late_new(keys, count, NULL, 0, NULL), c.plan.time_ms))
        return refuse(&c, VARVE_E_STORE, true, "timed out", err);
    return call_end(&c, cold_store_delete(f->under, keys, count, err), err);
}

static int faulty_begin(void *self, const char *key, struct cold_upload *ret,
                        struct varve_error *err)
{
    struct faulty *f = self;
    struct call c;
    struct cold_upload upload;
    int rc = call_begin(&c, f, FAULTY_BEGIN, key, 0, false, err);

    if (rc == 0)
        rc = call_end(&c, cold_store_upload_begin(f->under, key, &upload, err), err);
    if (rc == 0)
        *ret = upload;
    return rc;
}

static int faulty_part(void *self, const char *key, const struct cold_upload *upload,
                       unsigned number, uint64_t pos, const struct iovec *body, int count,
                       uint32_t crc32c, struct cold_part *ret, struct varve_error *err)
{
    struct faulty *f = self;
    struct call c;
    struct iovec flipped = {0};
    struct cold_part part;
    int rc = call_begin(&c, f, FAULTY_PART, key, number, false, err);

    if (rc == 0 && c.plan.kind == FAULTY_FLIP) {
        rc = flipped_copy(&c, body, count, &flipped, &crc32c, err);
        body = &flipped;
        count = 1;
    }
    if (rc == 0)
        rc = call_end(&c,
                      cold_store_upload_part(f->under, key, upload, number, pos, body, count,
                                             crc32c, &part, err),
                      err);
    if (rc == 0)
        *ret = part;
    free(flipped.iov_base);
    return rc;
}

static int faulty_complete(void *self, const char *key, const struct cold_upload *upload,
                           const struct cold_part *parts, unsigned count,
                           const struct cold_put *how, struct cold_etag *ret_etag,
                           struct varve_error *err)
{
    struct faulty *f = self;
    struct call c;
    int rc = call_begin(&c, f, FAULTY_COMPLETE, key, 0, how->condition != COLD_ALWAYS, err);

    if (rc == 0)
        rc = note_change(f, key, err);
    if (rc < 0)
        return rc;
    rc = cold_store_upload_complete(f->under, key, upload, parts, count, how, ret_etag, err);
    if (rc == 0 && c.plan.kind == FAULTY_TWICE)
        rc = cold_store_upload_complete(f->under, key, upload, parts, count, how, ret_etag, err);
    return call_end(&c, rc, err);
}

static int faulty_abort(void *self, const char *key, const struct cold_upload *upload,
                        struct varve_error *err)
{
    struct faulty *f = self;
    struct call c;
    int rc = call_begin(&c, f, FAULTY_ABORT, key, 0, false, err);

    return rc < 0 ? rc : call_end(&c, cold_store_upload_abort(f->under, key, upload, err), err);
}

static int faulty_upload_list(void *self, const char *prefix,
                              int (*visit)(void *arg, const char *key,
                                           const struct cold_upload *upload, int64_t started),
                              void *arg, struct varve_error *err)
{
    struct faulty *f = self;
    struct call c;
    int rc = call_begin(&c, f, FAULTY_UPLOADS, prefix, 0, false, err);

    return rc < 0 ? rc
                  : call_end(&c, cold_store_upload_list(f->under, prefix, visit, arg, err), err);
}

/* Counted with the listings of uploads, on the key. */
static int faulty_upload_check(void *self, const char *key, const struct cold_upload *upload,
                               const struct cold_part *parts, unsigned count, bool *ret_held,
                               struct varve_error *err)
{
    struct faulty *f = self;
    struct call c;
    int rc = call_begin(&c, f, FAULTY_UPLOADS, key, 0, false, err);

    return rc < 0 ? rc
                  : call_end(
                        &c,
                        cold_store_upload_check(f->under, key, upload, parts, count, ret_held, err),
                        err);
}

/* Of the store under it, through no fault: what is made to fail is the reading and writing. */
static int faulty_inspect(void *self, struct cold_inspection *ret, struct varve_error *err)
{
    struct faulty *f = self;

    return cold_inspect_driver(f->under, ret, err);
}

static const struct cold_store_ops faulty_ops = {
    .name = "faulty",
    .close = faulty_close,
    .caps = faulty_caps,
    .set_caps = faulty_set_caps,
    .put = faulty_put,
    .get = faulty_get,
    .read = faulty_read,
    .head = faulty_head,
    .list = faulty_list,
    .remove = faulty_remove,
    .upload_begin = faulty_begin,
    .upload_part = faulty_part,
    .upload_complete = faulty_complete,
    .upload_abort = faulty_abort,
    .upload_list = faulty_upload_list,
    .upload_check = faulty_upload_check,
    .inspect = faulty_inspect,
};

/* ---- opening ---- */

int cold_faulty_new(const struct base_env *env, const char *url, struct cold_store *under,
                    const char *script, uint64_t seed, const struct cold_faulty_hook *hook,
                    bool read_only, struct cold_store **ret, struct varve_error *err)
{
    struct faulty *f = calloc(1, sizeof(*f));
    int64_t stale_ms;
    int rc;

    if (!f)
        return base_fail(err, VARVE_E_NO_MEMORY, "open store %s: out of memory", url);
    f->env = env;
    f->seed = seed;
    f->hook = hook;
    base_mutex_init(&f->lock);
    rc = base_format(&f->url, err, "%s", url);
    if (rc == 0)
        rc = cold_faulty_script_parse(script ? script : "", seed, &f->script, err);
    stale_ms = rc == 0 ? cold_faulty_script_time_ms(f->script, FAULTY_STALE) : -1;
    if (stale_ms >= 0)
        rc = cold_faulty_stale_new(env, stale_ms, &f->stale, err);
    if (rc == 0)
        rc = cold_store_new(env, url, &faulty_ops, f, read_only, ret, err);
    if (rc < 0) {
        faulty_close(f);
        return rc;
    }
    f->under = under;
    return 0;
}

bool cold_faulty_is_url(const char *url)
{
    return strncasecmp(url, SCHEME, strlen(SCHEME)) == 0;
}

/* Is the pair that begins at `pair` ours? */
static bool is_own(const char *pair)
{
    return strncmp(pair, "faults=", 7) == 0 || strncmp(pair, "seed=", 5) == 0;
}

/* The URL of the store under it: without the scheme's prefix and our names. */
static int under_url(const char *url, char **ret, struct varve_error *err)
{
    char *out;
    size_t n;
    char before = '?';
    int rc = base_format(&out, err, "%s", url + strlen(SCHEME));

    if (rc < 0)
        return rc;
    n = strcspn(out, "?");
    for (const char *pair = strchr(url, '?'); pair;) {
        size_t size = strcspn(++pair, "&");

        if (size > 0 && !is_own(pair)) {
            out[n++] = before;
            before = '&';
            memcpy(out + n, pair, size);
            n += size;
        }
        pair = pair[size] ? pair + size : NULL;
    }
    out[n] = '\0';
    *ret = out;
    return 0;
}

/* Names that are not ours are the other driver's to judge. */
int cold_faulty_url_parse(const struct base_env *env, const char *url, struct cold_faulty_url *ret,
                          struct varve_error *err)
{
    int64_t seed = (int64_t)(base_random_u64(env->random) >> 32);
    const char *script, *text;
    struct cold_url *u;
    int rc = cold_url_parse(url, &u, err);

    *ret = (struct cold_faulty_url){0};
    if (rc < 0)
        return rc;
    script = cold_url_query(u, "faults");
    text = cold_url_query(u, "seed");
    if (text && (!base_parse_i64(text, &seed) || seed < 0))
        rc = base_fail(err, VARVE_E_INVALID, "store URL: seed=%s is no number", text);
    ret->seed = (uint64_t)seed;
    if (rc == 0)
        rc = base_format(&ret->script, err, "%s", script ? script : "");
    if (rc == 0)
        rc = under_url(url, &ret->under, err);
    cold_url_free(u);
    if (rc < 0)
        cold_faulty_url_free(ret);
    return rc;
}

void cold_faulty_url_free(struct cold_faulty_url *url)
{
    free(url->script);
    free(url->under);
    *url = (struct cold_faulty_url){0};
}
