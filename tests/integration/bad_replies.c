/*
 * The whole s3 driver over replies that no store should give: each operation of cold/store.h
 * through each bad reply of varve-fakes3, and what came of it. What must hold:
 *
 *   B1 The call ends, within CASE_SECONDS_MAX, in success or in one of the failures that
 *      cold/store.h allows: never in a condition that the reply made up (no such object, a lost
 *      condition), which the engine would act upon.
 *   B2 Success is the truth: what was read is what lies there, what was to be changed is changed.
 *   B3 A failed change is done or not done, never half.
 *   B4 Memory stays below RSS_MAX however long a reply is, in WORKERS cases at once.
 *
 *   bad_replies rules        prints the rules for the server, a bucket for each case
 *   bad_replies run PORT     runs all cases
 *
 * The rules are for the access key of the profile "spoilt"; what is prepared and checked goes by
 * the profile "clean". test_bad_replies.py makes both.
 */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/thread.h"
#include "cold/probe.h"
#include "cold/store.h"

#define WORKERS 6
/* The client's own deadlines, 20 to 30 seconds each, are a twentieth of that here. */
#define CLOCK_SPEED 20
#define CASE_SECONDS_MAX 15
#define OBJECT_SIZE 5000
#define LISTED 7

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RSS_MAX_KIB (700 * 1024) /* sanitizers keep what was freed */
#else
#define RSS_MAX_KIB (128 * 1024)
#endif

/* ---- bad replies ---- */

struct reply {
    const char *name;
    const char *effects;
    /* A whole body of another object: only who knows what is in it can tell. Roots, pages, tables
     * and blocks have checksums for that (I9). */
    bool another_body;
    bool another_etag;
    bool is_deleted; /* what S3 says of a deletion, and there was none */
};

static const struct reply replies[] = {
    {"bomb", "xml=bomb", .another_body = true},
    {"deep", "xml=deep", .another_body = true},
    {"half", "xml=truncated", .another_body = true},
    {"garbage", "xml=garbage", .another_body = true},
    {"empty", "xml=empty", .another_body = true},
    {"huge", "xml=huge", .another_body = true},
    {"html", "xml=html", .another_body = true},
    {"headers", "headers=10M"},
    {"endless-body", "endless=body"},
    {"endless-chunks", "endless=chunked"},
    {"endless-headers", "endless=headers"},
    {"range-ignored", "range=ignore"},
    {"range-wrong", "range=wrong"},
    {"range-none", "range=none"},
    {"range-short", "range=short"},
    {"no-length", "length=none"},
    {"longer", "length=+7"},
    {"longest", "length=+9000000000000000000"},
    {"shorter", "length=-7", .another_body = true},
    {"cut", "cut=3"},
    {"cut-rst", "cut=20 end=rst"},
    {"bodiless", "cut=0"},
    {"error-200", "error-body", .another_body = true},
    {"slow-200", "error-body=SlowDown", .another_body = true},
    {"status-204", "status=204", .is_deleted = true},
    {"status-299", "status=299", .another_body = true},
    {"status-304", "status=304"},
    {"status-418", "status=418"},
    {"redirect", "redirect=307 location=127.0.0.1:1"},
    {"region", "redirect=301 region=nowhere"},
    {"etag-none", "etag=none"},
    {"etag-wrong", "etag=wrong", .another_etag = true},
    {"no-answer", "drop=rst"},
    {"lost", "lose=fin"},
    {"chunked", "chunked"}, /* nothing is wrong with that */
};

#define REPLY_COUNT (sizeof(replies) / sizeof(replies[0]))

/* ---- one case ---- */

struct trial {
    const struct reply *reply;
    struct cold_store *clean, *spoilt;
    const char *name; /* "<operation>-<reply>", for messages, and the bucket */
    struct cold_etag old_etag;
    struct cold_upload upload;
    struct cold_part part;
};

struct operation {
    const char *name;
    const char *fakes3; /* which requests are spoilt */
    const char *first;  /* a rule in front of that: what makes the client ask; may be NULL */
    int (*run)(struct trial *t, struct varve_error *err);
    /* VARVE_E_PRECONDITION and VARVE_E_NOT_FOUND are what the caller has to find out about. */
    bool may_lose;
};

static atomic_uint failed_count;

static void wrong(const struct trial *t, const char *what, const char *detail)
{
    atomic_fetch_add(&failed_count, 1);
    fprintf(stderr, "%s: %s%s%s\n", t->name, what, detail[0] ? ": " : "", detail);
}

static void must(const struct trial *t, bool ok, const char *what)
{
    if (!ok)
        wrong(t, what, "");
}

static void object_fill(uint8_t *data, uint8_t seed)
{
    for (size_t i = 0; i < OBJECT_SIZE; i++)
        data[i] = (uint8_t)(seed + i * 31 + i / 251);
}

static struct iovec object_body(uint8_t data[OBJECT_SIZE], uint8_t seed)
{
    object_fill(data, seed);
    return (struct iovec){.iov_base = data, .iov_len = OBJECT_SIZE};
}

/* What lies under the key, by the clean store: the seed of its bytes; -1: nothing; -2: neither. */
static int there(const struct trial *t, const char *key, struct cold_etag *ret_etag)
{
    uint8_t expected[OBJECT_SIZE];
    struct varve_error err;
    int found = -2;
    size_t size;
    void *data;
    int rc = cold_store_read(t->clean, key, OBJECT_SIZE, &data, &size, ret_etag, &err);

    if (rc < 0)
        return rc == VARVE_E_NOT_FOUND ? -1 : -2;
    for (int seed = 1; seed <= 2 && found < 0; seed++) {
        object_fill(expected, (uint8_t)seed);
        if (size == OBJECT_SIZE && memcmp(data, expected, size) == 0)
            found = seed;
    }
    free(data);
    return found;
}

/* B2, B3: after a put of seed 2 over `before` (a seed or -1). */
static void check_put(const struct trial *t, const char *key, int before, int rc,
                      const struct cold_etag *etag)
{
    struct cold_etag now = {.text = ""};
    int found = there(t, key, &now);

    must(t, found == 2 || (rc < 0 && found == before), "the object is neither old nor new");
    if (rc == 0 && !t->reply->another_etag)
        must(t, strcmp(now.text, etag->text) == 0, "the ETag is not the object's");
}

static int put(const struct trial *t, const char *key, enum cold_condition condition, int before,
               struct varve_error *err)
{
    uint8_t data[OBJECT_SIZE];
    struct iovec body = object_body(data, 2);
    const struct cold_put how = {.condition = condition, .etag = &t->old_etag};
    struct cold_etag etag = {.text = ""};
    int rc = cold_store_put(t->spoilt, key, &body, 1, &how, &etag, err);

    check_put(t, key, before, rc, &etag);
    return rc;
}

static int put_always(struct trial *t, struct varve_error *err)
{
    return put(t, "old", COLD_ALWAYS, 1, err);
}

static int put_if_absent(struct trial *t, struct varve_error *err)
{
    return put(t, "new", COLD_IF_ABSENT, -1, err);
}

static int put_if_match(struct trial *t, struct varve_error *err)
{
    return put(t, "old", COLD_IF_MATCH, 1, err);
}

static int get_range(struct trial *t, struct varve_error *err)
{
    uint8_t expected[OBJECT_SIZE], got[1000];
    int rc = cold_store_get(t->spoilt, "old", 1000, sizeof(got), got, err);

    object_fill(expected, 1);
    must(t, rc < 0 || memcmp(got, expected + 1000, sizeof(got)) == 0, "other bytes were read");
    return rc;
}

static int get_all(struct trial *t, struct varve_error *err)
{
    uint8_t expected[OBJECT_SIZE], got[OBJECT_SIZE];
    int rc = cold_store_get(t->spoilt, "old", 0, sizeof(got), got, err);

    object_fill(expected, 1);
    must(t, rc < 0 || memcmp(got, expected, sizeof(got)) == 0, "other bytes were read");
    return rc;
}

struct waiting {
    struct base_mutex lock;
    struct base_cond ended;
    bool done;
    int rc;
    struct varve_error err;
};

static void waiting_done(struct cold_get *get, int rc, const struct varve_error *err)
{
    struct waiting *w = get->ctx;

    base_mutex_lock(&w->lock);
    w->done = true;
    w->rc = rc;
    if (err)
        w->err = *err;
    base_cond_signal(&w->ended);
    base_mutex_unlock(&w->lock);
}

static int get_started(struct trial *t, struct varve_error *err)
{
    uint8_t expected[OBJECT_SIZE], got[1000];
    struct waiting w = {.done = false};
    struct cold_get get = {.key = "old", .pos = 1000, .size = sizeof(got), .buf = got};
    int rc;

    get.done = waiting_done;
    get.ctx = &w;
    base_mutex_init(&w.lock);
    base_cond_init(&w.ended);
    rc = cold_store_get_start(t->spoilt, &get, err);
    if (rc == 0) {
        base_mutex_lock(&w.lock);
        while (!w.done)
            base_cond_wait(&w.ended, &w.lock);
        base_mutex_unlock(&w.lock);
        rc = w.rc;
        *err = w.err;
    }
    base_cond_deinit(&w.ended);
    base_mutex_deinit(&w.lock);
    object_fill(expected, 1);
    must(t, rc < 0 || memcmp(got, expected + 1000, sizeof(got)) == 0, "other bytes were read");
    return rc;
}

static int read_whole(struct trial *t, struct varve_error *err)
{
    uint8_t expected[OBJECT_SIZE];
    struct cold_etag etag;
    size_t size;
    void *data;
    int rc = cold_store_read(t->spoilt, "old", 65536, &data, &size, &etag, err);

    if (rc < 0)
        return rc;
    object_fill(expected, 1);
    must(t, t->reply->another_body || (size == OBJECT_SIZE && memcmp(data, expected, size) == 0),
         "other bytes were read");
    must(t, t->reply->another_etag || strcmp(etag.text, t->old_etag.text) == 0,
         "the ETag is not the object's");
    free(data);
    return 0;
}

static int head(struct trial *t, struct varve_error *err)
{
    struct cold_meta meta;
    int rc = cold_store_head(t->spoilt, "old", &meta, err);

    if (rc < 0)
        return rc;
    /* A HEAD with another length is another object's: nothing else is said of it. */
    must(t,
         t->reply->another_body || meta.size == OBJECT_SIZE ||
             strncmp(t->reply->effects, "length=+", 8) == 0,
         "the size is not the object's");
    must(t, t->reply->another_etag || strcmp(meta.etag.text, t->old_etag.text) == 0,
         "the ETag is not the object's");
    return 0;
}

static int list_visit(void *arg, const char *key, const struct cold_meta *meta)
{
    unsigned *seen = arg;
    unsigned number;
    char tail;

    if (sscanf(key, "listed/%u%c", &number, &tail) == 1 && number < LISTED &&
        meta->size == OBJECT_SIZE)
        *seen |= 1u << number;
    else
        *seen |= 1u << 31;
    return 0;
}

static int list(struct trial *t, struct varve_error *err)
{
    unsigned seen = 0;
    int rc = cold_store_list_all(t->spoilt, "listed/", list_visit, &seen, err);

    must(t, !(seen >> 31), "keys that nobody has put were listed");
    must(t, rc < 0 || seen == (1u << LISTED) - 1, "keys are missing from a listing");
    return rc;
}

static int delete_one(struct trial *t, struct varve_error *err)
{
    static const char *const keys[] = {"old"};
    struct cold_etag etag;
    int rc = cold_store_delete(t->spoilt, keys, 1, err);
    int found = there(t, "old", &etag);

    must(t, found == -1 || (found == 1 && (rc < 0 || t->reply->is_deleted)), "deleted, and there");
    return rc;
}

static int delete_many(struct trial *t, struct varve_error *err)
{
    static const char *const keys[] = {"listed/1", "listed/3", "nobody"};
    struct cold_etag etag;
    int rc = cold_store_delete(t->spoilt, keys, 3, err);

    for (int i = 0; i < 2; i++) {
        int found = there(t, keys[i], &etag);

        must(t, found == -1 || (rc < 0 && found == 1), "deleted, and there");
    }
    must(t, there(t, "listed/2", &etag) == 1, "another object is gone");
    return rc;
}

static int upload_begin(struct trial *t, struct varve_error *err)
{
    struct cold_upload upload;
    struct varve_error other;
    int rc = cold_store_upload_begin(t->spoilt, "begun", &upload, err);

    if (rc == 0)
        must(t, cold_store_upload_abort(t->clean, "begun", &upload, &other) == 0,
             "an upload was begun that is not there");
    return rc;
}

static int upload_part(struct trial *t, struct varve_error *err)
{
    uint8_t data[OBJECT_SIZE];
    struct iovec body = object_body(data, 2);
    uint32_t crc = base_crc32c(0, data, sizeof(data));
    struct varve_error other;
    struct cold_part part;
    bool held = false;
    int rc = cold_store_upload_part(t->spoilt, "up", &t->upload, 2, OBJECT_SIZE, &body, 1, crc,
                                    &part, err);

    if (rc == 0 && !t->reply->another_etag)
        must(t,
             cold_store_upload_check(t->clean, "up", &t->upload, &part, 1, &held, &other) == 0 &&
                 held,
             "a part was sent that is not there");
    return rc;
}

static int upload_complete(struct trial *t, struct varve_error *err)
{
    const struct cold_put how = {.condition = COLD_ALWAYS};
    struct cold_etag etag = {.text = ""}, now = {.text = ""};
    int rc = cold_store_upload_complete(t->spoilt, "up", &t->upload, &t->part, 1, &how, &etag, err);
    int found = there(t, "up", &now);

    must(t, found == 1 || (rc < 0 && found == -1), "completed, and not there");
    if (rc == 0 && !t->reply->another_etag)
        must(t, strcmp(now.text, etag.text) == 0, "the ETag is not the object's");
    return rc;
}

static int upload_check(struct trial *t, struct varve_error *err)
{
    struct cold_part parts[2] = {t->part, t->part};
    bool held[2] = {false, true};
    int rc;

    parts[1].number = 2;
    rc = cold_store_upload_check(t->spoilt, "up", &t->upload, parts, 2, held, err);
    must(t, rc < 0 || (held[0] && !held[1]), "parts are not those that are there");
    return rc;
}

static int upload_abort(struct trial *t, struct varve_error *err)
{
    struct varve_error other;
    bool held;
    int rc = cold_store_upload_abort(t->spoilt, "up", &t->upload, err);

    if (rc == 0 && !t->reply->is_deleted)
        must(t,
             cold_store_upload_check(t->clean, "up", &t->upload, &t->part, 1, &held, &other) ==
                 VARVE_E_NOT_FOUND,
             "aborted, and there");
    return rc;
}

static int upload_visit(void *arg, const char *key, const struct cold_upload *upload,
                        int64_t started)
{
    unsigned *seen = arg;

    (void)started;
    *seen += strcmp(key, "up") == 0 && upload->id[0] ? 1 : 100;
    return 0;
}

static int upload_list(struct trial *t, struct varve_error *err)
{
    unsigned seen = 0;
    int rc = cold_store_upload_list(t->spoilt, "", upload_visit, &seen, err);

    must(t, seen <= 1, "uploads that nobody has begun were listed");
    must(t, rc < 0 || seen == 1, "uploads are missing from a listing");
    return rc;
}

#define SPOILT "access-key=spoilt"
#define LOSE_PUT "op=PutObject lose=rst times=1"
#define LOSE_COMPLETE "op=CompleteMultipartUpload lose=rst times=1"

static const struct operation operations[] = {
    {"put", "PutObject", NULL, put_always},
    {"put-if-absent", "PutObject", NULL, put_if_absent, .may_lose = true},
    {"put-if-match", "PutObject", NULL, put_if_match, .may_lose = true},
    {"get", "GetObject", NULL, get_range},
    {"get-all", "GetObject", NULL, get_all},
    {"get-started", "GetObject", NULL, get_started},
    {"read", "GetObject", NULL, read_whole},
    {"head", "HeadObject", NULL, head},
    {"list", "ListObjectsV2", NULL, list},
    {"delete", "DeleteObject", NULL, delete_one},
    {"delete-many", "DeleteObjects", NULL, delete_many},
    {"begin", "CreateMultipartUpload", NULL, upload_begin},
    {"part", "UploadPart", NULL, upload_part},
    {"complete", "CompleteMultipartUpload", NULL, upload_complete},
    {"check", "ListParts", NULL, upload_check},
    {"abort", "AbortMultipartUpload", NULL, upload_abort},
    {"list-uploads", "ListMultipartUploads", NULL, upload_list},
    /* The reply to a change is lost, and the question whose it was is answered badly (I7): that the
     * condition was lost is then the store's own word, and the caller reads the object back. */
    {"resolve-absent", "HeadObject", LOSE_PUT, put_if_absent, .may_lose = true},
    {"resolve-match", "HeadObject", LOSE_PUT, put_if_match, .may_lose = true},
    {"resolve-complete", "HeadObject", LOSE_COMPLETE, upload_complete, .may_lose = true},
};

#define OPERATION_COUNT (sizeof(operations) / sizeof(operations[0]))
#define CASE_COUNT (OPERATION_COUNT * REPLY_COUNT)

static void case_name(size_t number, char *ret, size_t size)
{
    snprintf(ret, size, "%s-%s", operations[number / REPLY_COUNT].name,
             replies[number % REPLY_COUNT].name);
}

/* ---- running ---- */

static int64_t fast_ns(void *ctx)
{
    (void)ctx;
    return base_clock_system.mono_ns(base_clock_system.ctx) * CLOCK_SPEED;
}

static struct base_clock fast_clock;
static struct base_env env;
static const char *port;
static atomic_size_t next_case;

static struct cold_store *store_open(struct trial *t, const char *profile)
{
    const struct cold_store_options options = {.create = true,
                                               .create_bucket = strcmp(profile, "clean") == 0};
    struct cold_store *store;
    struct varve_error err;
    char url[512];

    snprintf(
        url, sizeof(url),
        "s3://%s/pre/fix?endpoint=http://127.0.0.1:%s&region=us-east-1&path_style=1&profile=%s",
        t->name, port, profile);
    if (cold_store_open(&env, url, &options, &store, &err) < 0) {
        fprintf(stderr, "%s: %s\n", url, err.msg);
        exit(1);
    }
    return store;
}

static void prepare_or_die(struct trial *t)
{
    uint8_t data[OBJECT_SIZE];
    struct iovec body = object_body(data, 1);
    const struct cold_put how = {.condition = COLD_ALWAYS};
    struct varve_error err;
    char key[32];
    int rc = cold_store_put(t->clean, "old", &body, 1, &how, &t->old_etag, &err);

    for (int i = 0; rc == 0 && i < LISTED; i++) {
        snprintf(key, sizeof(key), "listed/%d", i);
        rc = cold_store_put(t->clean, key, &body, 1, &how, NULL, &err);
    }
    if (rc == 0)
        rc = cold_store_upload_begin(t->clean, "up", &t->upload, &err);
    if (rc == 0)
        rc = cold_store_upload_part(t->clean, "up", &t->upload, 1, 0, &body, 1,
                                    base_crc32c(0, data, sizeof(data)), &t->part, &err);
    if (rc < 0) {
        fprintf(stderr, "%s: cannot be prepared: %s\n", t->name, err.msg);
        exit(1);
    }
}

/* B1. */
static bool is_allowed(const struct operation *op, int rc)
{
    switch (rc) {
    case 0:
    case VARVE_E_STORE:
    case VARVE_E_CORRUPT:
    case VARVE_E_UNSUPPORTED:
    case VARVE_E_TOO_LARGE:
        return true;
    case VARVE_E_PRECONDITION:
    case VARVE_E_NOT_FOUND:
        return op->may_lose;
    default:
        return false;
    }
}

static void case_run(size_t number)
{
    const struct operation *op = &operations[number / REPLY_COUNT];
    struct trial t = {.reply = &replies[number % REPLY_COUNT]};
    struct varve_error err = {0};
    char name[64], text[300];
    int64_t began;
    double seconds;
    int rc;

    case_name(number, name, sizeof(name));
    t.name = name;
    t.clean = store_open(&t, "clean");
    prepare_or_die(&t);
    t.spoilt = store_open(&t, "spoilt");
    began = base_clock_system.mono_ns(base_clock_system.ctx);
    rc = op->run(&t, &err);
    seconds = (double)(base_clock_system.mono_ns(base_clock_system.ctx) - began) / 1e9;
    snprintf(text, sizeof(text), "%s %.200s", varve_error_name(rc), rc < 0 ? err.msg : "");
    if (!is_allowed(op, rc))
        wrong(&t, "ended in", text);
    must(&t, rc == 0 || (err.code == rc && strstr(err.msg, name)), "the error does not tell");
    if (seconds > CASE_SECONDS_MAX)
        wrong(&t, "took too long", text);
    printf("%-32s %5.2f s  %s\n", name, seconds, text);
    cold_store_close(t.spoilt);
    cold_store_close(t.clean);
}

static void worker_run(void *arg)
{
    size_t number;

    (void)arg;
    while ((number = atomic_fetch_add(&next_case, 1)) < CASE_COUNT)
        case_run(number);
}

static void workers_run(void)
{
    struct base_thread *threads[WORKERS];
    struct varve_error err;

    for (int i = 0; i < WORKERS; i++) {
        if (base_thread_start(&threads[i], "worker", worker_run, NULL, &err) < 0) {
            fprintf(stderr, "%s\n", err.msg);
            exit(1);
        }
    }
    for (int i = 0; i < WORKERS; i++)
        base_thread_join(threads[i]);
}

/* B4: the most this process has ever held, in KiB. */
static unsigned long rss_peak(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    unsigned long kib = 0;
    char line[256];

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "VmHWM: %lu kB", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib;
}

static int run(void)
{
    unsigned long kib;

    base_env_init(&env);
    fast_clock = base_clock_system;
    fast_clock.mono_ns = fast_ns;
    env.clock = &fast_clock;
    workers_run();
    kib = rss_peak();
    printf("%zu cases, %u wrong, %lu KiB at most\n", CASE_COUNT, atomic_load(&failed_count), kib);
    if (kib == 0 || kib > RSS_MAX_KIB) {
        fprintf(stderr, "memory: %lu KiB, the limit is %d\n", kib, RSS_MAX_KIB);
        return 1;
    }
    return atomic_load(&failed_count) > 0;
}

static int print_rules(void)
{
    char name[64];

    for (size_t i = 0; i < CASE_COUNT; i++) {
        const struct operation *op = &operations[i / REPLY_COUNT];

        case_name(i, name, sizeof(name));
        if (op->first)
            printf("bucket=%s " SPOILT " %s\n", name, op->first);
        printf("bucket=%s " SPOILT " op=%s %s\n", name, op->fakes3,
               replies[i % REPLY_COUNT].effects);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "rules") == 0)
        return print_rules();
    if (argc == 3 && strcmp(argv[1], "run") == 0) {
        port = argv[2];
        return run();
    }
    fprintf(stderr, "usage: bad_replies rules | run PORT\n");
    return 2;
}
