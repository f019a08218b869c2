/*
 * Each operation of the s3 driver, over a varve-fakes3 that does what it is told, with its Nth
 * allocation failing, for every N; then again with the Nth and all behind it. What fails are the
 * allocations of varve's own code, in whatever thread: libcurl, OpenSSL and expat have theirs
 * always (tests/support/alloc.h).
 *
 * Whatever fails, the call ends; as it would have without, or with VARVE_E_NO_MEMORY and words. A
 * success is one: the bytes are there. Then, with the same store open, what lies in the bucket is
 * the old or the new as a whole, and the same operation does what it should.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "cold/inspect.h"
#include "cold/probe.h"
#include "cold/s3.h"
#include "cold/s3/retry.h"
#include "tests/support/alloc.h"
#include "tests/support/fakes3.h"
#include "tests/support/file.h"
#include "tests/support/tmpdir.h"

#define NTH_MAX 5000     /* more than there are allocations */
#define DELAY_DIVISOR 40 /* of the delays between two requests of a call */
#define PARTS 3
#define PIECES 3
#define BODY_SIZE 3000
#define LARGE_SIZE (100 * 1000) /* sent piece by piece */
#define KEYS 5
/* Fewer than one read in a hundred is late, or that is how long reads take. */
#define READS_BETWEEN 200

static struct support_fakes3 *server;
static struct support_tmpdir *dir;
static struct base_env env;
static struct cold_store *clean_store;
static struct cold_caps usual_caps; /* of a store that was not probed */
static uint8_t old_body[BODY_SIZE / 2], new_body[BODY_SIZE], large_body[LARGE_SIZE];
static const char *const keys[KEYS] = {"many/a&b", "many/b<c>", "many/c", "many/d", "many/e"};

struct trial {
    const char *name;
    uint64_t nth;
    bool keep;
    bool hit;           /* an allocation has failed */
    struct cold_s3 *s3; /* the store's */
    struct cold_store *store;
    struct cold_etag etag; /* of the old body */
    struct cold_upload upload;
    struct cold_part parts[PARTS];
    /* What a run has brought. */
    struct cold_meta meta;
    uint8_t room[LARGE_SIZE];
    void *data;
    size_t size;
    unsigned listed;
    bool in_order, more, refused, held[PARTS];
    struct cold_etag ret_etag;
    struct cold_inspection inspection;
};

struct operation {
    const char *name;
    const char *rules; /* what the server does to the run; NULL: nothing */
    int expected;      /* without a failing allocation */
    void (*prepare)(struct trial *t);
    int (*run)(struct trial *t, struct varve_error *err);
    void (*check)(struct trial *t, int rc); /* rc: `expected`, or VARVE_E_NO_MEMORY */
};

/* ---- a store ---- */

/* What cold_s3_open makes, but for a client that waits less and an engine of one thread. */
static int open_store(struct trial *t, struct varve_error *err)
{
    struct s3_client_options options = {.delay_divisor = DELAY_DIVISOR};
    struct s3_credentials_options credentials = {.region = "us-east-1"};
    char endpoint[64];
    int rc;

    snprintf(endpoint, sizeof(endpoint), "http://127.0.0.1:%u", support_fakes3_port(server));
    t->s3 = calloc(1, sizeof(*t->s3));
    t->s3->env = &env;
    t->s3->name = strdup("s3://nth/pre/fix");
    t->s3->prefix = strdup("pre/fix/");
    t->s3->caps = usual_caps;
    rc = s3_http_new(&env, &(struct s3_http_options){.threads = 1}, &t->s3->http, err);
    credentials.http = t->s3->http;
    if (rc == 0)
        rc = s3_credentials_source_new(&env, &credentials, &t->s3->source, err);
    options.endpoint.endpoint = endpoint;
    options.endpoint.bucket = "nth";
    options.transport = s3_transport_http(t->s3->http);
    options.keys = s3_keys_source(t->s3->source);
    if (rc == 0)
        rc = s3_client_new(&env, &options, &t->s3->client, err);
    return rc < 0 ? rc
                  : cold_store_new(&env, "s3://nth/pre/fix", &cold_s3_ops, t->s3, false, &t->store,
                                   err);
}

static void fail_here(const struct trial *t, const char *what, const struct varve_error *err)
{
    fail_msg("%s, allocation %llu%s: %s%s%s", t->name, (unsigned long long)t->nth,
             t->keep ? " and all behind it" : "", what, err ? ": " : "", err ? err->msg : "");
}

static void must(const struct trial *t, int rc, const struct varve_error *err, const char *what)
{
    if (rc < 0)
        fail_here(t, what, err);
}

static void must_be(const struct trial *t, bool good, const char *what)
{
    if (!good)
        fail_here(t, what, NULL);
}

/* ---- bodies ---- */

static int put_body(struct trial *t, const char *key, const void *body, size_t size,
                    enum cold_condition condition, struct varve_error *err)
{
    uint8_t *at = (uint8_t *)(uintptr_t)body;
    const struct iovec pieces[PIECES] = {
        {at, size / 3}, {at + size / 3, size / 3}, {at + size / 3 * 2, size - size / 3 * 2}};
    const struct cold_put how = {.condition = condition,
                                 .etag = condition == COLD_IF_MATCH ? &t->etag : NULL,
                                 .has_crc32c = true,
                                 .crc32c = base_crc32c(0, body, size)};

    return cold_store_put(t->store, key, pieces, PIECES, &how, &t->ret_etag, err);
}

static bool is_body(const void *data, size_t size, const void *body, size_t body_size)
{
    return size == body_size && memcmp(data, body, size) == 0;
}

enum there { NOTHING, OLD, NEW };

/* What lies under the key: nothing, or one of the bodies as a whole. */
static enum there look(const struct trial *t, const char *key)
{
    struct varve_error err;
    enum there there = NOTHING;
    void *data;
    size_t size;
    int rc = cold_store_read(t->store, key, LARGE_SIZE, &data, &size, NULL, &err);

    if (rc == VARVE_E_NOT_FOUND)
        return NOTHING;
    must(t, rc, &err, "reading back");
    if (is_body(data, size, old_body, sizeof(old_body)))
        there = OLD;
    else if (is_body(data, size, new_body, sizeof(new_body)) ||
             is_body(data, size, large_body, sizeof(large_body)))
        there = NEW;
    free(data);
    must_be(t, there != NOTHING, "an object that is neither the old one nor the new one");
    return there;
}

static void remove_key(struct trial *t, const char *key)
{
    const char *const one[] = {key};
    struct varve_error err;

    must(t, cold_store_delete(t->store, one, 1, &err), &err, "removing an object");
}

static void with_nothing(struct trial *t)
{
    remove_key(t, "one");
}

static void with_the_old_body(struct trial *t)
{
    struct varve_error err;

    must(t, put_body(t, "one", old_body, sizeof(old_body), COLD_ALWAYS, &err), &err,
         "putting the old body");
    t->etag = t->ret_etag;
}

/* ---- put ---- */

static int put_always(struct trial *t, struct varve_error *err)
{
    return put_body(t, "one", new_body, sizeof(new_body), COLD_ALWAYS, err);
}

static int put_large(struct trial *t, struct varve_error *err)
{
    return put_body(t, "one", large_body, sizeof(large_body), COLD_ALWAYS, err);
}

static int put_if_absent(struct trial *t, struct varve_error *err)
{
    return put_body(t, "one", new_body, sizeof(new_body), COLD_IF_ABSENT, err);
}

static int put_if_match(struct trial *t, struct varve_error *err)
{
    return put_body(t, "one", new_body, sizeof(new_body), COLD_IF_MATCH, err);
}

static void is_put(struct trial *t, int rc)
{
    enum there there = look(t, "one");
    struct cold_meta meta;
    struct varve_error err;

    if (rc < 0)
        return;
    must_be(t, there == NEW, "the put succeeded, and the object is not there");
    must(t, cold_store_head(t->store, "one", &meta, &err), &err, "asking for the ETag");
    must_be(t, strcmp(meta.etag.text, t->ret_etag.text) == 0, "the put has another ETag");
}

static void is_still_old(struct trial *t, int rc)
{
    (void)rc;
    must_be(t, look(t, "one") == OLD, "a put that had lost its condition took place");
}

static void is_still_nothing(struct trial *t, int rc)
{
    (void)rc;
    must_be(t, look(t, "one") == NOTHING, "a put that had lost its condition took place");
}

/* An ETag of what is gone. */
static void with_the_old_body_gone(struct trial *t)
{
    with_the_old_body(t);
    with_nothing(t);
}

/* ---- get ---- */

static int get_range(struct trial *t, struct varve_error *err)
{
    return cold_store_get(t->store, "one", 100, 500, t->room, err);
}

static int get_beyond(struct trial *t, struct varve_error *err)
{
    return cold_store_get(t->store, "one", sizeof(old_body) - 10, 500, t->room, err);
}

static void has_range(struct trial *t, int rc)
{
    must_be(t, rc < 0 || memcmp(t->room, old_body + 100, 500) == 0, "a get of other bytes");
}

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool done;
    int rc;
    struct varve_error err;
};

static void get_done(struct cold_get *get, int rc, const struct varve_error *err)
{
    struct waiting *w = get->ctx;

    pthread_mutex_lock(&w->lock);
    w->done = true;
    w->rc = rc;
    if (rc < 0)
        w->err = *err;
    pthread_cond_signal(&w->ended);
    pthread_mutex_unlock(&w->lock);
}

static int get_without_thread(struct trial *t, struct varve_error *err)
{
    struct waiting w = {.lock = PTHREAD_MUTEX_INITIALIZER, .ended = PTHREAD_COND_INITIALIZER};
    struct cold_get get = {
        .key = "one", .pos = 100, .size = 500, .buf = t->room, .done = get_done, .ctx = &w};
    int rc = cold_store_get_start(t->store, &get, err);

    if (rc < 0)
        return rc;
    pthread_mutex_lock(&w.lock);
    while (!w.done)
        pthread_cond_wait(&w.ended, &w.lock);
    pthread_mutex_unlock(&w.lock);
    if (w.rc < 0)
        *err = w.err;
    return w.rc;
}

static int read_whole(struct trial *t, struct varve_error *err)
{
    return cold_store_read(t->store, "one", LARGE_SIZE, &t->data, &t->size, &t->ret_etag, err);
}

static int read_too_large(struct trial *t, struct varve_error *err)
{
    return cold_store_read(t->store, "one", sizeof(old_body) - 1, &t->data, &t->size, &t->ret_etag,
                           err);
}

static void has_whole(struct trial *t, int rc)
{
    if (rc == 0)
        must_be(t,
                is_body(t->data, t->size, old_body, sizeof(old_body)) &&
                    strcmp(t->ret_etag.text, t->etag.text) == 0,
                "read other bytes");
    free(t->data);
    t->data = NULL;
}

static void with_an_empty_body(struct trial *t)
{
    struct varve_error err;

    must(t, put_body(t, "one", "", 0, COLD_ALWAYS, &err), &err, "putting an empty body");
}

static void has_nothing_in_it(struct trial *t, int rc)
{
    must_be(t, rc < 0 || (t->data && t->size == 0), "an empty object has bytes");
    free(t->data);
    t->data = NULL;
}

static int head(struct trial *t, struct varve_error *err)
{
    return cold_store_head(t->store, "one", &t->meta, err);
}

static void has_meta(struct trial *t, int rc)
{
    must_be(t,
            rc < 0 ||
                (t->meta.size == sizeof(old_body) && strcmp(t->meta.etag.text, t->etag.text) == 0),
            "a head of another object");
}

static void nothing_to_check(struct trial *t, int rc)
{
    (void)t;
    (void)rc;
}

/* ---- many ---- */

/* Five keys, and two of those that consoles call folders, which count in the store's pages. */
static void with_many(struct trial *t)
{
    static const char *const folders[] = {"many/c/", "many/d/"};
    const struct cold_put how = {.condition = COLD_ALWAYS};
    struct cold_etag etag;
    struct varve_error err;

    for (size_t i = 0; i < KEYS; i++)
        must(t, put_body(t, keys[i], old_body, sizeof(old_body), COLD_ALWAYS, &err), &err,
             "putting one of many");
    for (size_t i = 0; i < 2; i++)
        must(t, cold_s3_put(t->s3, folders[i], NULL, 0, &how, &etag, &err), &err,
             "putting a folder");
}

static int see_key(void *arg, const char *key, const struct cold_meta *meta)
{
    struct trial *t = arg;

    t->in_order = t->in_order && t->listed < KEYS && strcmp(key, keys[t->listed]) == 0 &&
                  meta->size == sizeof(old_body) && meta->etag.text[0];
    t->listed++;
    return 0;
}

static int list_pages(struct trial *t, struct varve_error *err)
{
    t->listed = 0;
    t->in_order = true;
    /* Four of these five keys are in the first page of the store, or in two with the folders. */
    return cold_store_list(t->store, "many/", NULL, 4, see_key, t, &t->more, err);
}

static int list_all(struct trial *t, struct varve_error *err)
{
    t->listed = 0;
    t->in_order = true;
    return cold_store_list_all(t->store, "many/", see_key, t, err);
}

static void has_pages(struct trial *t, int rc)
{
    must_be(t, t->in_order && (rc < 0 || (t->listed == 4 && t->more)), "a page of other keys");
}

static void has_all(struct trial *t, int rc)
{
    must_be(t, t->in_order && (rc < 0 || t->listed == KEYS), "a listing of other keys");
}

static int delete_one(struct trial *t, struct varve_error *err)
{
    const char *const one[] = {"one"};

    return cold_store_delete(t->store, one, 1, err);
}

static void is_deleted(struct trial *t, int rc)
{
    enum there there = look(t, "one");

    must_be(t, there == NOTHING || (rc < 0 && there == OLD), "the deleted object is there");
}

static int delete_many(struct trial *t, struct varve_error *err)
{
    return cold_store_delete(t->store, keys, KEYS, err);
}

static void are_deleted(struct trial *t, int rc)
{
    for (size_t i = 0; i < KEYS; i++)
        must_be(t, look(t, keys[i]) == NOTHING || rc < 0, "a deleted object is there");
}

/* ---- multipart ---- */

static int see_upload(void *arg, const char *key, const struct cold_upload *upload, int64_t started)
{
    struct trial *t = arg;

    (void)started;
    t->listed++;
    t->in_order = t->in_order && strcmp(key, "one") == 0 && upload->id[0];
    return 0;
}

static int list_uploads(struct trial *t, struct varve_error *err)
{
    t->listed = 0;
    t->in_order = true;
    return cold_store_upload_list(t->store, "", see_upload, t, err);
}

/* A key has one uploader: it begins by ending what an earlier one has left. */
static void without_uploads(struct trial *t)
{
    struct varve_error err;

    must(t, cold_store_upload_abort_all(t->store, "one", &err), &err, "aborting all uploads");
    must(t, list_uploads(t, &err), &err, "listing uploads");
    must_be(t, t->listed == 0, "an upload is left after all were aborted");
    with_nothing(t);
}

static int begin(struct trial *t, struct varve_error *err)
{
    return cold_store_upload_begin(t->store, "one", &t->upload, err);
}

static int part(struct trial *t, unsigned i, struct varve_error *err)
{
    const size_t size = BODY_SIZE / PARTS;
    const struct iovec body = {new_body + i * size, size};

    return cold_store_upload_part(t->store, "one", &t->upload, i + 1, i * size, &body, 1,
                                  base_crc32c(0, body.iov_base, size), &t->parts[i], err);
}

static int second_part(struct trial *t, struct varve_error *err)
{
    return part(t, 1, err);
}

static int complete(struct trial *t, struct varve_error *err)
{
    const struct cold_put how = {.condition = COLD_IF_ABSENT,
                                 .has_crc32c = true,
                                 .crc32c = base_crc32c(0, new_body, BODY_SIZE)};

    return cold_store_upload_complete(t->store, "one", &t->upload, t->parts, PARTS, &how,
                                      &t->ret_etag, err);
}

static int abort_upload(struct trial *t, struct varve_error *err)
{
    return cold_store_upload_abort(t->store, "one", &t->upload, err);
}

static int abort_all(struct trial *t, struct varve_error *err)
{
    return cold_store_upload_abort_all(t->store, "one", err);
}

static int check_parts(struct trial *t, struct varve_error *err)
{
    memset(t->held, 0, sizeof(t->held));
    return cold_store_upload_check(t->store, "one", &t->upload, t->parts, PARTS, t->held, err);
}

static void with_an_upload(struct trial *t)
{
    struct varve_error err;

    without_uploads(t);
    must(t, begin(t, &err), &err, "beginning an upload");
}

static void with_parts(struct trial *t)
{
    struct varve_error err;

    with_an_upload(t);
    for (unsigned i = 0; i < PARTS; i++)
        must(t, part(t, i, &err), &err, "uploading a part");
}

static void with_parts_and_the_old_body(struct trial *t)
{
    with_parts(t);
    with_the_old_body(t);
}

/* Beside the one that is known no other is left, unless it could not be aborted just then. */
static void is_begun(struct trial *t, int rc)
{
    struct varve_error err;

    if (rc < 0)
        return; /* perhaps begun, and its id lost: without_uploads finds it */
    must(t, list_uploads(t, &err), &err, "listing uploads");
    must_be(t, t->in_order && (t->listed == 1 || t->hit), "another upload was left behind");
    must(t, abort_upload(t, &err), &err, "aborting what was begun");
}

static void is_a_part(struct trial *t, int rc)
{
    struct varve_error err;

    must(t, part(t, 0, &err), &err, "uploading the first part");
    if (rc < 0)
        must(t, part(t, 1, &err), &err, "uploading the second part again");
    must(t, part(t, 2, &err), &err, "uploading the third part");
    must(t, complete(t, &err), &err, "completing");
    must_be(t, look(t, "one") == NEW, "parts that were acknowledged are not there");
}

static void is_complete(struct trial *t, int rc)
{
    struct varve_error err;

    is_put(t, rc);
    if (rc == 0)
        return;
    rc = complete(t, &err);
    if (rc != VARVE_E_PRECONDITION) /* it had been made, and is there */
        must(t, rc, &err, "completing again");
    must_be(t, look(t, "one") == NEW, "a complete that succeeded left nothing");
}

static void is_aborted(struct trial *t, int rc)
{
    struct varve_error err;

    must(t, list_uploads(t, &err), &err, "listing uploads");
    must_be(t, t->listed == 0 || rc < 0, "an aborted upload is there");
}

static void are_listed(struct trial *t, int rc)
{
    must_be(t, t->in_order && (rc < 0 || t->listed == 1), "other uploads are listed");
}

static void are_held(struct trial *t, int rc)
{
    for (unsigned i = 0; i < PARTS; i++)
        must_be(t, rc < 0 || t->held[i], "a part that is there is not held");
}

/* ---- init and doctor ---- */

static int trial_of_checksum(struct trial *t, struct varve_error *err)
{
    return cold_store_trial(t->store, "trial", COLD_TRIAL_WRONG_SHA256, &t->refused, err);
}

static void is_refused(struct trial *t, int rc)
{
    must_be(t, rc < 0 || t->refused, "a store that verifies is said not to");
}

static int inspect(struct trial *t, struct varve_error *err)
{
    memset(&t->inspection, 0, sizeof(t->inspection));
    return cold_inspect_run(&env, t->store, &t->inspection, err);
}

/* ---- the table ---- */

#define LOST(op) "op=" op " lose=rst times=1"
#define ERROR_BODY(op) "op=" op " error-body times=1"
#define BUSY(op) "op=" op " status=503 code=SlowDown times=1"

static const struct operation operations[] = {
    {"put", NULL, 0, with_the_old_body, put_always, is_put},
    {"large put", NULL, 0, with_the_old_body, put_large, is_put},
    {"put, busy", BUSY("PutObject"), 0, with_the_old_body, put_always, is_put},
    {"put if-absent", NULL, 0, with_nothing, put_if_absent, is_put},
    {"put if-absent, reply lost", LOST("PutObject"), 0, with_nothing, put_if_absent, is_put},
    {"put if-absent, there", NULL, VARVE_E_PRECONDITION, with_the_old_body, put_if_absent,
     is_still_old},
    {"put if-match", NULL, 0, with_the_old_body, put_if_match, is_put},
    {"put if-match, reply lost", LOST("PutObject"), 0, with_the_old_body, put_if_match, is_put},
    {"put if-match, gone", NULL, VARVE_E_PRECONDITION, with_the_old_body_gone, put_if_match,
     is_still_nothing},
    {"put if-match, gone, in doubt", "op=PutObject drop=rst times=1", VARVE_E_PRECONDITION,
     with_the_old_body_gone, put_if_match, is_still_nothing},
    {"put, no bucket", "op=PutObject status=404 code=NoSuchBucket", VARVE_E_STORE,
     with_the_old_body, put_always, is_still_old},
    {"get", NULL, 0, with_the_old_body, get_range, has_range},
    {"get, cut", "op=GetObject cut=100 times=1", 0, with_the_old_body, get_range, has_range},
    {"get, wrong range", "op=GetObject range=wrong times=1", 0, with_the_old_body, get_range,
     has_range},
    {"get beyond the end", NULL, VARVE_E_CORRUPT, with_the_old_body, get_beyond, nothing_to_check},
    {"get, gone", NULL, VARVE_E_NOT_FOUND, with_nothing, get_range, nothing_to_check},
    {"get, no bucket", "op=GetObject status=404 code=NoSuchBucket", VARVE_E_STORE,
     with_the_old_body, get_range, nothing_to_check},
    {"get, denied", "op=GetObject status=403 code=AccessDenied", VARVE_E_DENIED, with_the_old_body,
     get_range, nothing_to_check},
    {"get, keys expired", "op=GetObject status=400 code=ExpiredToken times=1", 0, with_the_old_body,
     get_range, has_range},
    {"get, another region", "op=GetObject region=eu-west-1", 0, with_the_old_body, get_range,
     has_range},
    {"get, another clock", "op=GetObject skew=1h", 0, with_the_old_body, get_range, has_range},
    {"get without a thread", NULL, 0, with_the_old_body, get_without_thread, has_range},
    {"read", NULL, 0, with_the_old_body, read_whole, has_whole},
    {"read, chunked", "op=GetObject chunked", 0, with_the_old_body, read_whole, has_whole},
    {"read, empty", NULL, 0, with_an_empty_body, read_whole, has_nothing_in_it},
    {"read, gone", NULL, VARVE_E_NOT_FOUND, with_nothing, read_whole, has_whole},
    {"read, too large", NULL, VARVE_E_TOO_LARGE, with_the_old_body, read_too_large, has_whole},
    {"head", NULL, 0, with_the_old_body, head, has_meta},
    {"head, gone", NULL, VARVE_E_NOT_FOUND, with_nothing, head, nothing_to_check},
    {"list in pages", NULL, 0, with_many, list_pages, has_pages},
    {"list all", NULL, 0, with_many, list_all, has_all},
    {"delete", NULL, 0, with_the_old_body, delete_one, is_deleted},
    {"delete, an error in a 200", ERROR_BODY("DeleteObject"), 0, with_the_old_body, delete_one,
     is_deleted},
    {"delete many", NULL, 0, with_many, delete_many, are_deleted},
    {"delete many, two again", "op=DeleteKey nth=2-3 code=InternalError", 0, with_many, delete_many,
     are_deleted},
    {"delete many, an error in a 200", ERROR_BODY("DeleteObjects"), 0, with_many, delete_many,
     are_deleted},
    {"begin", NULL, 0, without_uploads, begin, is_begun},
    {"begin, reply lost", LOST("CreateMultipartUpload"), 0, without_uploads, begin, is_begun},
    {"part", NULL, 0, with_an_upload, second_part, is_a_part},
    {"part, busy", BUSY("UploadPart"), 0, with_an_upload, second_part, is_a_part},
    {"complete", NULL, 0, with_parts, complete, is_complete},
    {"complete, reply lost", LOST("CompleteMultipartUpload"), 0, with_parts, complete, is_complete},
    {"complete, an error in a 200", ERROR_BODY("CompleteMultipartUpload"), 0, with_parts, complete,
     is_complete},
    {"complete if-absent, there", NULL, VARVE_E_PRECONDITION, with_parts_and_the_old_body, complete,
     is_still_old},
    {"abort", NULL, 0, with_parts, abort_upload, is_aborted},
    {"abort, reply lost", LOST("AbortMultipartUpload"), 0, with_parts, abort_upload, is_aborted},
    {"abort, an error in a 200", ERROR_BODY("AbortMultipartUpload"), 0, with_parts, abort_upload,
     is_aborted},
    {"abort all", NULL, 0, with_parts, abort_all, is_aborted},
    {"list uploads", NULL, 0, with_parts, list_uploads, are_listed},
    {"check parts", NULL, 0, with_parts, check_parts, are_held},
    {"trial", NULL, 0, with_nothing, trial_of_checksum, is_refused},
    {"inspect", NULL, 0, with_the_old_body, inspect, nothing_to_check},
};

#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

/* ---- the loop ---- */

static int run(struct trial *t, const struct operation *op, uint64_t nth, struct varve_error *err)
{
    if (op->rules)
        support_fakes3_rules(server, op->rules);
    if (nth > 0)
        support_alloc_fail(nth, t->keep);
    return op->run(t, err);
}

static void judge(const struct trial *t, const struct operation *op, int rc, bool hit,
                  const struct varve_error *err)
{
    if (rc == op->expected && (rc == 0 || err->code == rc))
        return;
    if (rc != VARVE_E_NO_MEMORY || !hit)
        fail_here(t, "it is an error that nobody expected", err);
    must_be(t, err->code == rc && strstr(err->msg, "memory"), "a failure without its words");
}

/* On a store opened for it, with no keys and connections at hand; what comes before is done on
 * another. False: there were fewer allocations than nth. */
static bool operation_without_memory(const struct operation *op, uint64_t nth, bool keep)
{
    static struct trial clean, t;
    struct varve_error err = {0};
    int rc;

    if (!clean_store)
        must(&clean, open_store(&clean, &err), &err, "opening");
    clean_store = clean.store;
    t = clean;
    t.name = op->name;
    t.nth = nth;
    t.keep = keep;
    op->prepare(&t);
    must(&t, open_store(&t, &err), &err, "opening");
    rc = run(&t, op, nth, &err);
    t.hit = support_alloc_stop() >= nth;
    if (op->rules)
        support_fakes3_rules(server, "");
    judge(&t, op, rc, t.hit, &err);
    op->check(&t, rc);
    if (rc != op->expected) {
        op->prepare(&t);
        rc = run(&t, op, 0, &err);
        if (op->rules)
            support_fakes3_rules(server, "");
        judge(&t, op, rc, false, &err);
        op->check(&t, rc);
    }
    cold_store_close(t.store);
    return t.hit;
}

static void any_allocation_of_any_operation_may_fail_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < OPERATIONS; i++) {
        uint64_t nth = 1;

        while (operation_without_memory(&operations[i], nth, false))
            assert_true(++nth < NTH_MAX);
        assert_true(nth > 20);
    }
}

static void memory_may_be_out_from_any_allocation_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < OPERATIONS; i++) {
        uint64_t nth = 1;

        while (operation_without_memory(&operations[i], nth, true))
            assert_true((nth += 5) < NTH_MAX);
    }
}

/* ---- hedging ---- */

static uint64_t hedges(const struct trial *t)
{
    struct cold_stats stats;

    cold_store_stats(t->store, &stats);
    return stats.hedges;
}

static void read_often(struct trial *t, int times)
{
    struct varve_error err;

    for (int i = 0; i < times; i++)
        must(t, get_range(t, &err), &err, "reading");
}

/* The first of two requests takes so long that the second, if it can be made, is the one. */
static bool hedged_read_without_memory(struct trial *t, uint64_t nth, bool keep, bool *ret_hedged)
{
    const uint64_t before = hedges(t);
    struct varve_error err = {0};
    bool hit;
    int rc;

    t->nth = nth;
    t->keep = keep;
    read_often(t, READS_BETWEEN);
    memset(t->room, 0, sizeof(t->room));
    support_fakes3_rules(server, "op=GetObject latency=150ms times=1");
    support_alloc_fail(nth, keep);
    rc = get_range(t, &err);
    hit = support_alloc_stop() >= nth;
    support_fakes3_rules(server, "");
    if (rc < 0 && (!hit || rc != VARVE_E_NO_MEMORY || err.code != rc || !strstr(err.msg, "memory")))
        fail_here(t, "it is an error that nobody expected", &err);
    has_range(t, rc);
    *ret_hedged = hedges(t) > before;
    return hit;
}

static void any_allocation_of_a_hedged_read_may_fail(void **state)
{
    static struct trial t;
    struct varve_error err = {0};
    bool hedged, alone = false;

    (void)state;
    t = (struct trial){.name = "hedged read"};
    must(&t, open_store(&t, &err), &err, "opening");
    with_the_old_body(&t);
    read_often(&t, S3_HEDGE_SAMPLES); /* from so many on it is known when one is late */
    for (int keep = 0; keep <= 1; keep++) {
        uint64_t nth = 1;

        while (hedged_read_without_memory(&t, nth, keep, &hedged)) {
            alone = alone || !hedged;
            assert_true(++nth < NTH_MAX);
        }
        must_be(&t, hedged, "with memory it was not hedged");
    }
    must_be(&t, alone, "nothing of the second request was allocated");
    cold_store_close(t.store);
}

/* ---- opening ---- */

static int open_by_url(const char *bucket, bool create, struct cold_store **ret,
                       struct varve_error *err)
{
    const struct cold_store_options options = {.create_bucket = create};
    char url[256];

    snprintf(url, sizeof(url),
             "s3://%s/pre/fix?endpoint=http://127.0.0.1:%u&region=us-east-1&path_style=1&"
             "ca=/nowhere.pem&profile=default&fencing=none",
             bucket, support_fakes3_port(server));
    return cold_store_open(&env, url, &options, ret, err);
}

/* With `create` in a bucket of its own, which is not there before. */
static bool opening_without_memory(uint64_t nth, bool keep, bool create)
{
    struct trial t = {
        .name = create ? "open, creating a bucket" : "open", .nth = nth, .keep = keep};
    char bucket[32] = "nth";
    struct varve_error err = {0};
    struct cold_meta meta;
    bool hit;
    int rc;

    if (create)
        snprintf(bucket, sizeof(bucket), "nth-%s-%llu", keep ? "all" : "one",
                 (unsigned long long)nth);
    support_alloc_fail(nth, keep);
    rc = open_by_url(bucket, create, &t.store, &err);
    hit = support_alloc_stop() >= nth;
    if (rc == 0) /* requests are made again */
        must_be(&t, !hit || create, "it opened without memory");
    else if (!hit || rc != VARVE_E_NO_MEMORY || err.code != rc || !strstr(err.msg, "memory"))
        fail_here(&t, "it is an error that nobody expected", &err);
    if (rc < 0)
        must(&t, open_by_url(bucket, create, &t.store, &err), &err, "opening again");
    rc = cold_store_head(t.store, "nothing there", &meta, &err);
    if (rc != VARVE_E_NOT_FOUND)
        fail_here(&t, "asking the store", &err);
    if (create)
        must(&t, put_always(&t, &err), &err, "putting into the bucket that was created");
    cold_store_close(t.store);
    return hit;
}

static void any_allocation_of_opening_may_fail(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        uint64_t nth = 1;

        while (opening_without_memory(nth, how % 2 > 0, how / 2 > 0))
            assert_true(++nth < NTH_MAX);
        assert_true(nth > 20);
    }
}

/* ---- the whole ---- */

static void bodies_fill(void)
{
    for (size_t i = 0; i < sizeof(large_body); i++)
        large_body[i] = (uint8_t)(i * 31 + i / 256);
    for (size_t i = 0; i < sizeof(new_body); i++)
        new_body[i] = (uint8_t)(i * 7 + i / 256 + 1);
    for (size_t i = 0; i < sizeof(old_body); i++)
        old_body[i] = (uint8_t)(i * 13 + i / 256 + 2);
}

static int group_setup(void **state)
{
    static const char *const args[] = {"--bucket", "nth", "--part-size-min", "1", NULL};
    static const char profile[] = "[default]\naws_access_key_id = varve\n"
                                  "aws_secret_access_key = varve-secret\nregion = us-east-1\n";
    const char *path;
    struct cold_store *store;
    struct varve_error err;

    (void)state;
    bodies_fill();
    dir = support_tmpdir_new("nth");
    path = support_tmpdir_path(dir, "credentials");
    support_file_write(path, profile, strlen(profile));
    setenv("AWS_CONFIG_FILE", "/nowhere/config", 1);
    setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SECRET_ACCESS_KEY");
    base_env_init(&env);
    server = support_fakes3_start(FAKES3_PROGRAM, args);
    if (open_by_url("nth", false, &store, &err) < 0)
        fail_msg("%s", err.msg);
    cold_store_caps(store, &usual_caps);
    cold_store_close(store);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    clean_store = cold_store_close(clean_store);
    server = support_fakes3_stop(server);
    dir = support_tmpdir_free(dir);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_allocation_of_any_operation_may_fail_once),
        cmocka_unit_test(memory_may_be_out_from_any_allocation_on),
        cmocka_unit_test(any_allocation_of_a_hedged_read_may_fail),
        cmocka_unit_test(any_allocation_of_opening_may_fail),
    };

    return cmocka_run_group_tests_name("cold_s3_nth", tests, group_setup, group_teardown);
}
