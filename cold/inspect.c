/* Questions to a store that change nothing in it, and a stopwatch. */
#include "cold/inspect.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "cold/manifest.h"

#define ROUNDS 9
#define BODY_SIZE 4096
#define SLOW_NS INT64_C(250000000)

void cold_inspect_add(struct cold_inspection *inspection, const char *name, const char *what,
                      const char *kind, enum cold_probe_verdict verdict, const char *format, ...)
{
    struct cold_finding *f = &inspection->findings[inspection->count];
    va_list ap;

    if (inspection->count == COLD_FINDINGS_MAX)
        return;
    *f = (struct cold_finding){.name = name, .what = what, .kind = kind, .verdict = verdict};
    va_start(ap, format);
    vsnprintf(f->value, sizeof(f->value), format, ap);
    va_end(ap);
    inspection->count++;
}

const struct cold_finding *cold_inspect_find(const struct cold_inspection *inspection,
                                             const char *name)
{
    for (size_t i = 0; i < inspection->count; i++)
        if (strcmp(inspection->findings[i].name, name) == 0)
            return &inspection->findings[i];
    return NULL;
}

/* ---- what lies there ---- */

static int any_visit(void *arg, const char *key, const struct cold_meta *meta)
{
    (void)key;
    (void)meta;
    *(bool *)arg = true;
    return 0;
}

/* The one question that every driver can be asked. */
static int look(struct cold_store *store, bool *ret_any, struct varve_error *err)
{
    bool more;

    *ret_any = false;
    return cold_store_list(store, "", NULL, 1, any_visit, ret_any, &more, err);
}

static void inspect_content(struct cold_store *store, bool any, struct cold_inspection *ret)
{
    static const char what[] = "what lies below the URL";
    char text[BASE_ID_TEXT_SIZE];
    struct varve_error err;
    struct base_id id;
    int rc = cold_identity_read(store, &id, &err);

    if (rc == 0) {
        base_id_format(&id, text);
        cold_inspect_add(ret, "content", what, "store", COLD_PROBE_YES, "the cold tier of store %s",
                         text);
    } else if (rc != VARVE_E_NOT_FOUND) {
        cold_inspect_add(ret, "content", what, "unknown", COLD_PROBE_UNKNOWN, "%s", err.msg);
    } else {
        cold_inspect_add(ret, "content", what, any ? "others" : "free", COLD_PROBE_YES, "%s",
                         any ? "objects that belong to no store" : "nothing");
    }
}

struct uploads {
    uint64_t count;
    int64_t oldest_ms; /* INT64_MAX: not said */
};

static int uploads_visit(void *arg, const char *key, const struct cold_upload *upload,
                         int64_t started)
{
    struct uploads *u = arg;

    (void)key;
    (void)upload;
    u->count++;
    if (started > 0 && started < u->oldest_ms)
        u->oldest_ms = started;
    return 0;
}

static void inspect_uploads(struct cold_store *store, struct cold_inspection *ret)
{
    static const char what[] = "multipart uploads that were begun and not finished";
    struct uploads u = {.oldest_ms = INT64_MAX};
    char since[BASE_TIME_TEXT_SIZE] = "";
    struct varve_error err;
    int rc = cold_store_upload_list(store, "", uploads_visit, &u, &err);

    if (rc < 0) {
        cold_inspect_add(ret, "uploads", what, "unknown", COLD_PROBE_UNKNOWN, "%s", err.msg);
        return;
    }
    if (u.count > 0 && u.oldest_ms != INT64_MAX)
        base_format_time(u.oldest_ms, since);
    cold_inspect_add(ret, "uploads", what, u.count > 0 ? "some" : "none", COLD_PROBE_YES,
                     "%" PRIu64 "%s%s", u.count, since[0] ? ", the oldest begun " : "", since);
}

static const char *kind_of_failure(int rc, const struct varve_error *err)
{
    if (rc == VARVE_E_DENIED)
        return "denied";
    return err->retriable ? "dead" : "other";
}

int cold_inspect_driver(struct cold_store *store, struct cold_inspection *ret,
                        struct varve_error *err)
{
    const char *name = cold_store_driver(store);

    cold_inspect_add(ret, "driver", "what speaks to the store", name, COLD_PROBE_YES, "%s", name);
    return cold_store_inspect(store, ret, err);
}

int cold_inspect_run(const struct base_env *env, struct cold_store *store,
                     struct cold_inspection *ret, struct varve_error *err)
{
    struct varve_error own;
    bool any = false;
    int rc;

    (void)env;
    err = err ? err : &own;
    memset(ret, 0, sizeof(*ret));
    rc = cold_inspect_driver(store, ret, err);
    if (rc < 0 && cold_inspect_find(ret, "reach"))
        return rc;
    rc = look(store, &any, err);
    if (!cold_inspect_find(ret, "reach"))
        cold_inspect_add(ret, "reach", "a listing of the store",
                         rc == 0 ? "yes" : kind_of_failure(rc, err),
                         rc == 0 ? COLD_PROBE_YES : COLD_PROBE_NO, "%s", rc == 0 ? "" : err->msg);
    if (rc < 0)
        return rc;
    inspect_content(store, any, ret);
    inspect_uploads(store, ret);
    return 0;
}

/* ---- how long it takes ---- */

static int by_size(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int64_t median(int64_t *took)
{
    qsort(took, ROUNDS, sizeof(took[0]), by_size);
    return took[ROUNDS / 2];
}

static int64_t now_ns(const struct base_env *env)
{
    return env->clock->mono_ns(env->clock->ctx);
}

int cold_inspect_latency(const struct base_env *env, struct cold_store *store,
                         struct cold_inspection *ret, struct varve_error *err)
{
    static const char what[] = "a put and a get of 4 KiB, the median of nine";
    struct base_id id = base_id_new(env->random);
    char text[BASE_ID_TEXT_SIZE], key[sizeof(COLD_PROBE_PREFIX) + BASE_ID_TEXT_SIZE + 8];
    const char *const keys[] = {key};
    char body[BODY_SIZE], back[BODY_SIZE];
    const struct iovec vec = {.iov_base = body, .iov_len = sizeof(body)};
    const struct cold_put how = {.condition = COLD_ALWAYS};
    int64_t puts[ROUNDS], gets[ROUNDS], put_ns, get_ns;
    int rc = 0;

    memset(body, 'v', sizeof(body));
    base_id_format(&id, text);
    snprintf(key, sizeof(key), COLD_PROBE_PREFIX "/%s/time", text);
    for (int i = 0; i < ROUNDS && rc == 0; i++) {
        int64_t began = now_ns(env), stored;

        rc = cold_store_put(store, key, &vec, 1, &how, NULL, err);
        stored = now_ns(env);
        if (rc == 0)
            rc = cold_store_get(store, key, 0, sizeof(back), back, err);
        puts[i] = stored - began;
        gets[i] = now_ns(env) - stored;
    }
    (void)cold_store_delete(store, keys, 1, NULL); /* what can be done about it has been tried */
    if (rc < 0)
        return rc;
    put_ns = median(puts);
    get_ns = median(gets);
    cold_inspect_add(ret, "latency", what, get_ns > SLOW_NS ? "slow" : "measured", COLD_PROBE_YES,
                     "put %.1f ms, get %.1f ms", (double)put_ns / 1e6, (double)get_ns / 1e6);
    return 0;
}
