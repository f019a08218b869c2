/* The control path /-/: faults, counts, log, clock, credentials and archives, changed while the
 * server runs. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "fakes3/call.h"
#include "fakes3/persist.h"
#include "fakes3/text.h"

static void say(struct fakes3_call *call, int status, const char *text)
{
    call->reply.status = status;
    fakes3_reply_header_set(&call->reply, "Content-Type", "text/plain");
    evbuffer_add_printf(call->reply.body, "%s\n", text);
}

static bool is_method(const struct fakes3_call *call, const char *method)
{
    return strcmp(call->request->method, method) == 0;
}

static void add_faults(struct fakes3_call *call)
{
    const struct fakes3_faults *faults = &call->server->faults;
    struct evbuffer *out = call->reply.body;

    evbuffer_add_printf(out, "[");
    for (size_t i = 0; i < faults->count; i++) {
        evbuffer_add_printf(out, "%s{\"rule\":", i ? "," : "");
        fakes3_text_json(out, faults->rules[i]->text);
        evbuffer_add_printf(out, ",\"matched\":%" PRId64 ",\"fired\":%" PRId64 "}",
                            faults->rules[i]->matched, faults->rules[i]->fired);
    }
    evbuffer_add_printf(out, "]");
}

/* PUT replaces the rules, POST adds to them, DELETE takes them away. */
static void run_faults(struct fakes3_call *call)
{
    struct fakes3_faults *faults = &call->server->faults;
    struct fakes3_faults fresh = {.seed = faults->seed};
    char *text, *error;

    if (is_method(call, "DELETE")) {
        fakes3_faults_clear(faults);
    } else if (is_method(call, "PUT") || is_method(call, "POST")) {
        bool replaces = is_method(call, "PUT");
        text = fakes3_request_text(call->request);
        if (!fakes3_faults_add(replaces ? &fresh : faults, text, fakes3_server_mono_ms(), &error)) {
            say(call, 400, error);
            fakes3_faults_clear(&fresh);
            free(error);
            free(text);
            return;
        }
        free(text);
        if (replaces) {
            fakes3_faults_clear(faults);
            *faults = fresh;
        }
    }
    fakes3_reply_header(&call->reply, "Content-Type", "application/json");
    add_faults(call);
    evbuffer_add_printf(call->reply.body, "\n");
}

static void run_stats(struct fakes3_call *call)
{
    const struct fakes3_store *store = &call->server->store;
    struct evbuffer *out = call->reply.body;
    size_t objects = 0, uploads = 0;

    for (size_t i = 0; i < store->buckets_count; i++) {
        objects += store->buckets[i]->objects_count;
        uploads += store->buckets[i]->uploads_count;
    }
    fakes3_reply_header(&call->reply, "Content-Type", "application/json");
    evbuffer_add_printf(out, "{");
    fakes3_stats_json(&call->server->stats, out);
    evbuffer_add_printf(out,
                        ",\"buckets\":%zu,\"objects\":%zu,\"uploads\":%zu,\"stored_bytes\":%" PRIu64
                        ",\"faults\":",
                        store->buckets_count, objects, uploads, store->blobs.bytes);
    add_faults(call);
    evbuffer_add_printf(out, "}\n");
}

static void run_log(struct fakes3_call *call)
{
    int64_t count = fakes3_call_number(call, "n", 100, FAKES3_STATS_LINES_COUNT_MAX);

    if (count < 0)
        return;
    fakes3_reply_header(&call->reply, "Content-Type", "application/x-ndjson");
    fakes3_stats_lines(&call->server->stats, (uint64_t)count, call->reply.body);
}

static void remove_objects(struct fakes3_server *server)
{
    for (size_t i = 0; i < server->store.buckets_count; i++) {
        struct fakes3_bucket *bucket = server->store.buckets[i];
        while (bucket->objects_count) {
            const char *key = bucket->objects[bucket->objects_count - 1]->key;
            fakes3_persist_remove(server, bucket, key);
            fakes3_bucket_delete(bucket, key, fakes3_server_instant(server));
        }
        while (bucket->uploads_count)
            fakes3_bucket_remove_upload(bucket, bucket->uploads[bucket->uploads_count - 1]);
    }
}

/* ?what=stats,objects,faults; the counts alone without it. */
static void run_reset(struct fakes3_call *call)
{
    const char *what = fakes3_call_param(call, "what");

    if (!is_method(call, "POST")) {
        say(call, 405, "POST resets");
        return;
    }
    what = what ? what : "stats";
    if (strstr(what, "objects"))
        remove_objects(call->server);
    if (strstr(what, "faults"))
        fakes3_faults_clear(&call->server->faults);
    if (strstr(what, "stats"))
        fakes3_stats_reset(&call->server->stats);
    say(call, 200, "reset");
}

static void run_clock(struct fakes3_call *call)
{
    const char *skew = fakes3_call_param(call, "skew");
    int64_t us;

    if (skew && !fakes3_text_parse_us(skew, &us)) {
        say(call, 400, "skew is a time, as 1h or -20m");
        return;
    }
    if (skew)
        call->server->skew_ms = us / 1000;
    fakes3_reply_header(&call->reply, "Content-Type", "application/json");
    evbuffer_add_printf(call->reply.body, "{\"skew_ms\":%" PRId64 ",\"now_ms\":%" PRId64 "}\n",
                        call->server->skew_ms, fakes3_server_wall_ms(call->server));
}

/* Temporary credentials end now. ?access-key=GLOB, all without it. */
static void run_expire(struct fakes3_call *call)
{
    const char *pattern = fakes3_call_param(call, "access-key");
    struct fakes3_keys *keys = &call->server->keys;
    size_t count = 0;

    for (size_t i = 0; i < keys->count; i++) {
        if (!keys->items[i]->token ||
            !fakes3_text_glob(pattern ? pattern : "*", keys->items[i]->access_key))
            continue;
        keys->items[i]->expires_ms = call->now_ms;
        count++;
    }
    evbuffer_add_printf(call->reply.body, "{\"expired\":%zu}\n", count);
}

/* What a lifecycle rule does over night. ?bucket=NAME&key=GLOB&class=GLACIER */
static void run_archive(struct fakes3_call *call)
{
    const char *name = fakes3_call_param(call, "bucket");
    const char *key = fakes3_call_param(call, "key");
    const char *class = fakes3_call_param(call, "class");
    struct fakes3_bucket *bucket = name ? fakes3_store_find(&call->server->store, name) : NULL;
    size_t count = 0;

    if (!bucket || (class && strlen(class) >= sizeof(bucket->objects[0]->storage_class))) {
        say(call, 400, "?bucket=NAME&key=GLOB&class=GLACIER");
        return;
    }
    for (size_t i = 0; i < bucket->objects_count; i++) {
        struct fakes3_object *object = bucket->objects[i];
        if (!fakes3_text_glob(key ? key : "*", object->key))
            continue;
        strcpy(object->storage_class, class ? class : "GLACIER");
        object->restored_ms = object->restore_expiry_ms = 0;
        fakes3_persist_save(call->server, bucket, object);
        count++;
    }
    evbuffer_add_printf(call->reply.body, "{\"archived\":%zu}\n", count);
}

void fakes3_control_run(struct fakes3_call *call)
{
    static const struct {
        const char *path;
        fakes3_call_handler *run;
    } paths[] = {{"/-/faults", run_faults},  {"/-/stats", run_stats}, {"/-/log", run_log},
                 {"/-/reset", run_reset},    {"/-/clock", run_clock}, {"/-/expire", run_expire},
                 {"/-/archive", run_archive}};

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (strcmp(call->request->path, paths[i].path) != 0)
            continue;
        paths[i].run(call);
        return;
    }
    say(call, 404, "/-/faults /-/stats /-/log /-/reset /-/clock /-/expire /-/archive");
}
