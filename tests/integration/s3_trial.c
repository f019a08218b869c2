/* What is run, judged and counted; see the header for what must hold. */
#include "tests/integration/s3_trial.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/thread.h"

#define LISTED 7
#define THREADS_MAX 16

static atomic_uint failed_count;

void s3_trial_wrong(const struct s3_trial *t, const char *what, const char *detail)
{
    atomic_fetch_add(&failed_count, 1);
    fprintf(stderr, "%s: %s%s%s\n", t->name, what, detail[0] ? ": " : "", detail);
}

static void must(const struct s3_trial *t, bool ok, const char *what)
{
    if (!ok)
        s3_trial_wrong(t, what, "");
}

static bool lied(const struct s3_trial *t, unsigned what)
{
    return atomic_load(t->lies) & what;
}

static bool not_done(const struct s3_trial *t, int rc)
{
    return rc < 0 || lied(t, S3_LIE_DONE);
}

static void object_fill(uint8_t *data, uint8_t seed)
{
    for (size_t i = 0; i < S3_TRIAL_OBJECT_SIZE; i++)
        data[i] = (uint8_t)(seed + i * 31 + i / 251);
}

static struct iovec object_body(uint8_t data[S3_TRIAL_OBJECT_SIZE], uint8_t seed)
{
    object_fill(data, seed);
    return (struct iovec){.iov_base = data, .iov_len = S3_TRIAL_OBJECT_SIZE};
}

/* What lies under the key, by the clean store: the seed of its bytes; -1: nothing; -2: neither. */
static int there(const struct s3_trial *t, const char *key, struct cold_etag *ret_etag)
{
    uint8_t expected[S3_TRIAL_OBJECT_SIZE];
    struct varve_error err;
    int found = -2;
    size_t size;
    void *data;
    int rc = cold_store_read(t->clean, key, S3_TRIAL_OBJECT_SIZE, &data, &size, ret_etag, &err);

    if (rc < 0)
        return rc == VARVE_E_NOT_FOUND ? -1 : -2;
    for (int seed = 1; seed <= 2 && found < 0; seed++) {
        object_fill(expected, (uint8_t)seed);
        if (size == S3_TRIAL_OBJECT_SIZE && memcmp(data, expected, size) == 0)
            found = seed;
    }
    free(data);
    return found;
}

/* B2, B3: after a put of seed 2 over `before` (a seed or -1). */
static void check_put(const struct s3_trial *t, const char *key, int before, int rc,
                      const struct cold_etag *etag)
{
    struct cold_etag now = {.text = ""};
    int found = there(t, key, &now);

    must(t, found == 2 || (not_done(t, rc) && found == before),
         "the object is neither old nor new");
    if (rc == 0 && !lied(t, S3_LIE_ETAG))
        must(t, strcmp(now.text, etag->text) == 0, "the ETag is not the object's");
}

static int put(const struct s3_trial *t, const char *key, enum cold_condition condition, int before,
               struct varve_error *err)
{
    uint8_t data[S3_TRIAL_OBJECT_SIZE];
    struct iovec body = object_body(data, 2);
    const struct cold_put how = {.condition = condition, .etag = &t->old_etag};
    struct cold_etag etag = {.text = ""};
    int rc = cold_store_put(t->spoilt, key, &body, 1, &how, &etag, err);

    check_put(t, key, before, rc, &etag);
    return rc;
}

static int put_always(struct s3_trial *t, struct varve_error *err)
{
    return put(t, "old", COLD_ALWAYS, 1, err);
}

static int put_if_absent(struct s3_trial *t, struct varve_error *err)
{
    return put(t, "new", COLD_IF_ABSENT, -1, err);
}

static int put_if_match(struct s3_trial *t, struct varve_error *err)
{
    return put(t, "old", COLD_IF_MATCH, 1, err);
}

static int get_range(struct s3_trial *t, struct varve_error *err)
{
    uint8_t expected[S3_TRIAL_OBJECT_SIZE], got[1000];
    int rc = cold_store_get(t->spoilt, "old", 1000, sizeof(got), got, err);

    object_fill(expected, 1);
    must(t, rc < 0 || lied(t, S3_LIE_RANGE) || memcmp(got, expected + 1000, sizeof(got)) == 0,
         "other bytes were read");
    return rc;
}

static int get_all(struct s3_trial *t, struct varve_error *err)
{
    uint8_t expected[S3_TRIAL_OBJECT_SIZE], got[S3_TRIAL_OBJECT_SIZE];
    int rc = cold_store_get(t->spoilt, "old", 0, sizeof(got), got, err);

    object_fill(expected, 1);
    must(t, rc < 0 || lied(t, S3_LIE_RANGE) || memcmp(got, expected, sizeof(got)) == 0,
         "other bytes were read");
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

static int get_started(struct s3_trial *t, struct varve_error *err)
{
    uint8_t expected[S3_TRIAL_OBJECT_SIZE], got[1000];
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
    must(t, rc < 0 || lied(t, S3_LIE_RANGE) || memcmp(got, expected + 1000, sizeof(got)) == 0,
         "other bytes were read");
    return rc;
}

static int read_whole(struct s3_trial *t, struct varve_error *err)
{
    uint8_t expected[S3_TRIAL_OBJECT_SIZE];
    struct cold_etag etag;
    size_t size;
    void *data;
    int rc = cold_store_read(t->spoilt, "old", 65536, &data, &size, &etag, err);

    if (rc < 0)
        return rc;
    object_fill(expected, 1);
    must(t,
         lied(t, S3_LIE_BODY) ||
             (size == S3_TRIAL_OBJECT_SIZE && memcmp(data, expected, size) == 0),
         "other bytes were read");
    must(t, lied(t, S3_LIE_ETAG) || strcmp(etag.text, t->old_etag.text) == 0,
         "the ETag is not the object's");
    free(data);
    return 0;
}

static int head(struct s3_trial *t, struct varve_error *err)
{
    struct cold_meta meta;
    int rc = cold_store_head(t->spoilt, "old", &meta, err);

    if (rc < 0)
        return rc;
    must(t, lied(t, S3_LIE_SIZE | S3_LIE_BODY) || meta.size == S3_TRIAL_OBJECT_SIZE,
         "the size is not the object's");
    must(t, lied(t, S3_LIE_ETAG) || strcmp(meta.etag.text, t->old_etag.text) == 0,
         "the ETag is not the object's");
    return 0;
}

static int list_visit(void *arg, const char *key, const struct cold_meta *meta)
{
    unsigned *seen = arg;
    unsigned number;
    char tail;

    if (sscanf(key, "listed/%u%c", &number, &tail) == 1 && number < LISTED &&
        meta->size == S3_TRIAL_OBJECT_SIZE)
        *seen |= 1u << number;
    else
        *seen |= 1u << 31;
    return 0;
}

static int list(struct s3_trial *t, struct varve_error *err)
{
    unsigned seen = 0;
    int rc = cold_store_list_all(t->spoilt, "listed/", list_visit, &seen, err);

    if (lied(t, S3_LIE_BODY))
        return rc;
    must(t, !(seen >> 31), "keys that nobody has put were listed");
    must(t, rc < 0 || seen == (1u << LISTED) - 1, "keys are missing from a listing");
    return rc;
}

static int delete_one(struct s3_trial *t, struct varve_error *err)
{
    static const char *const keys[] = {"old"};
    struct cold_etag etag;
    int rc = cold_store_delete(t->spoilt, keys, 1, err);
    int found = there(t, "old", &etag);

    must(t, found == -1 || (found == 1 && (not_done(t, rc) || lied(t, S3_LIE_DELETED))),
         "deleted, and there");
    return rc;
}

static int delete_many(struct s3_trial *t, struct varve_error *err)
{
    static const char *const keys[] = {"listed/1", "listed/3", "nobody"};
    struct cold_etag etag;
    int rc = cold_store_delete(t->spoilt, keys, 3, err);

    for (int i = 0; i < 2; i++) {
        int found = there(t, keys[i], &etag);

        must(t, found == -1 || (not_done(t, rc) && found == 1), "deleted, and there");
    }
    must(t, there(t, "listed/2", &etag) == 1, "another object is gone");
    return rc;
}

static int upload_begin(struct s3_trial *t, struct varve_error *err)
{
    struct cold_upload upload;
    struct varve_error other;
    int rc = cold_store_upload_begin(t->spoilt, "begun", &upload, err);

    if (rc == 0 && !lied(t, S3_LIE_BODY))
        must(t, cold_store_upload_abort(t->clean, "begun", &upload, &other) == 0,
             "an upload was begun that is not there");
    return rc;
}

static int upload_part(struct s3_trial *t, struct varve_error *err)
{
    uint8_t data[S3_TRIAL_OBJECT_SIZE];
    struct iovec body = object_body(data, 2);
    uint32_t crc = base_crc32c(0, data, sizeof(data));
    struct varve_error other;
    struct cold_part part;
    bool held = false;
    int rc = cold_store_upload_part(t->spoilt, "up", &t->upload, 2, S3_TRIAL_OBJECT_SIZE, &body, 1,
                                    crc, &part, err);

    if (rc == 0 && !lied(t, S3_LIE_ETAG | S3_LIE_DONE))
        must(t,
             cold_store_upload_check(t->clean, "up", &t->upload, &part, 1, &held, &other) == 0 &&
                 held,
             "a part was sent that is not there");
    return rc;
}

static int upload_complete(struct s3_trial *t, struct varve_error *err)
{
    const struct cold_put how = {.condition = COLD_ALWAYS};
    struct cold_etag etag = {.text = ""}, now = {.text = ""};
    int rc = cold_store_upload_complete(t->spoilt, "up", &t->upload, &t->part, 1, &how, &etag, err);
    int found = there(t, "up", &now);

    must(t, found == 1 || (not_done(t, rc) && found == -1), "completed, and not there");
    if (rc == 0 && !lied(t, S3_LIE_ETAG))
        must(t, strcmp(now.text, etag.text) == 0, "the ETag is not the object's");
    return rc;
}

static int upload_check(struct s3_trial *t, struct varve_error *err)
{
    struct cold_part parts[2] = {t->part, t->part};
    bool held[2] = {false, true};
    int rc;

    parts[1].number = 2;
    rc = cold_store_upload_check(t->spoilt, "up", &t->upload, parts, 2, held, err);
    must(t, rc < 0 || lied(t, S3_LIE_BODY) || (held[0] && !held[1]),
         "parts are not those that are there");
    return rc;
}

static int upload_abort(struct s3_trial *t, struct varve_error *err)
{
    struct varve_error other;
    bool held;
    int rc = cold_store_upload_abort(t->spoilt, "up", &t->upload, err);

    if (rc == 0 && !lied(t, S3_LIE_DELETED | S3_LIE_DONE))
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

static int upload_list(struct s3_trial *t, struct varve_error *err)
{
    unsigned seen = 0;
    int rc = cold_store_upload_list(t->spoilt, "", upload_visit, &seen, err);

    if (lied(t, S3_LIE_BODY))
        return rc;
    must(t, seen <= 1, "uploads that nobody has begun were listed");
    must(t, rc < 0 || seen == 1, "uploads are missing from a listing");
    return rc;
}

const struct s3_operation s3_operations[] = {
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
    {"resolve-absent", "HeadObject", "PutObject", put_if_absent, .may_lose = true},
    {"resolve-match", "HeadObject", "PutObject", put_if_match, .may_lose = true},
    {"resolve-complete", "HeadObject", "CompleteMultipartUpload", upload_complete,
     .may_lose = true},
};

const size_t s3_operation_count = sizeof(s3_operations) / sizeof(s3_operations[0]);

/* ---- running ---- */

static int64_t fast_ns(void *ctx)
{
    (void)ctx;
    return base_clock_system.mono_ns(base_clock_system.ctx) * S3_TRIAL_CLOCK_SPEED;
}

static struct base_clock fast_clock;
static struct base_env env;

void s3_trials_init(void)
{
    base_env_init(&env);
    fast_clock = base_clock_system;
    fast_clock.mono_ns = fast_ns;
    env.clock = &fast_clock;
}

unsigned s3_trials_failed(void)
{
    return atomic_load(&failed_count);
}

void s3_trials_work(unsigned threads, void (*worker)(void *arg))
{
    struct base_thread *started[THREADS_MAX];
    struct varve_error err;

    for (unsigned i = 0; i < threads && i < THREADS_MAX; i++) {
        if (base_thread_start(&started[i], "worker", worker, NULL, &err) < 0) {
            fprintf(stderr, "%s\n", err.msg);
            exit(1);
        }
    }
    for (unsigned i = 0; i < threads && i < THREADS_MAX; i++)
        base_thread_join(started[i]);
}

unsigned long s3_trials_rss_peak(void)
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

static struct cold_store *store_open(struct s3_trial *t, const char *profile, const char *port)
{
    const struct cold_store_options options = {.create = true,
                                               .create_bucket = strcmp(profile, "clean") == 0};
    struct cold_store *store;
    struct varve_error err;
    char url[512];

    snprintf(url, sizeof(url),
             "s3://%s/%s?endpoint=http://127.0.0.1:%s&region=us-east-1&path_style=1&profile=%s",
             t->bucket, t->prefix, port, profile);
    if (cold_store_open(&env, url, &options, &store, &err) < 0) {
        fprintf(stderr, "%s: %s\n", url, err.msg);
        exit(1);
    }
    return store;
}

static void prepare_or_die(struct s3_trial *t)
{
    uint8_t data[S3_TRIAL_OBJECT_SIZE];
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

void s3_trial_open(struct s3_trial *t)
{
    t->clean = store_open(t, "clean", t->clean_port);
    prepare_or_die(t);
    t->spoilt = store_open(t, "spoilt", t->spoilt_port);
}

void s3_trial_close(struct s3_trial *t)
{
    t->spoilt = cold_store_close(t->spoilt);
    t->clean = cold_store_close(t->clean);
}

/* B1. */
static bool is_allowed(const struct s3_trial *t, const struct s3_operation *op, int rc)
{
    switch (rc) {
    case 0:
    case VARVE_E_STORE:
    case VARVE_E_CORRUPT:
    case VARVE_E_UNSUPPORTED:
    case VARVE_E_TOO_LARGE:
        return true;
    case VARVE_E_PRECONDITION:
        return op->may_lose || lied(t, S3_LIE_CONDITION | S3_LIE_OWNER | S3_LIE_SIZE);
    case VARVE_E_NOT_FOUND:
        return op->may_lose || lied(t, S3_LIE_NOT_FOUND | S3_LIE_OWNER | S3_LIE_SIZE);
    case VARVE_E_DENIED:
        return lied(t, S3_LIE_DENIED);
    case VARVE_E_NO_SPACE:
        return lied(t, S3_LIE_FULL);
    default:
        return false;
    }
}

void s3_trial_run(struct s3_trial *t, const struct s3_operation *op, char *verdict, size_t size,
                  double *seconds)
{
    int64_t began = base_clock_system.mono_ns(base_clock_system.ctx);
    struct varve_error err = {0};
    int rc = op->run(t, &err);

    *seconds = (double)(base_clock_system.mono_ns(base_clock_system.ctx) - began) / 1e9;
    snprintf(verdict, size, "%s %.200s", varve_error_name(rc), rc < 0 ? err.msg : "");
    if (!is_allowed(t, op, rc))
        s3_trial_wrong(t, "ended in", verdict);
    must(t, rc == 0 || (err.code == rc && strstr(err.msg, t->bucket)), "the error does not tell");
    if (*seconds > S3_TRIAL_SECONDS_MAX)
        s3_trial_wrong(t, "took too long", verdict);
}
