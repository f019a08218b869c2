/*
 * What every driver of cold/store.h must do. A driver joins by one line in `drivers`: the URL of a
 * store in a fresh place. Or one URL is taken from the environment,
 *
 *     VARVE_TEST_COLD_URL='s3://bucket/prefix?endpoint=http://127.0.0.1:9000' test_cold_conformance
 *
 * with credentials as the driver takes them; each test then works under a prefix of its own and
 * removes what it made. What a driver's caps deny is not asked of it; that it says so is. Calls are
 * made as a careful caller makes them (tests/support/retry.h), so that a faulty store passes too.
 */
#include <pthread.h>
#include <setjmp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/hash.h"
#include "cold/probe.h"
#include "cold/store.h"
#include "tests/support/retry.h"
#include "tests/support/tmpdir.h"

#define RACERS 16
#define RACERS_FORKED 4
#define KEY_ROOM 200 /* left to the prefix, where keys of the store are longer than ours */

extern char **environ;

static struct base_env env;

/* What a caller that repeats retriable failures gets through. */
#define FAULTS                                                                                     \
    "all:delay=0-1@1/8,all:error@1/9,put+complete:conflict@1/9,all:lost@1/9,get:cut@1/5,"          \
    "put+delete+complete+part+get+head+list:lost@1/2"

struct driver {
    const char *name;
    const char *url; /* "%" stands for the place, the path of a fresh directory */
};

static const struct driver drivers[] = {
    {"dir", "file://%/store"},
    {"faulty+dir", "faulty+file://%/store?seed=7&faults=" FAULTS},
};
static const struct driver *driver;
static struct driver from_environment = {"environment", NULL};

/* The URL of the store at `place`. One from the environment gets the place's last part behind its
 * path. */
static void url_of(const char *place, char *url, size_t size)
{
    const char *name = strrchr(place, '/');
    const char *percent = strchr(driver->url, '%');
    size_t path = strcspn(driver->url, "?");

    if (driver != &from_environment)
        snprintf(url, size, "%.*s%s%s", (int)(percent - driver->url), driver->url, place,
                 percent + 1);
    else
        snprintf(url, size, "%.*s%s%s", (int)path, driver->url, name, driver->url + path);
}

/* What the store from the environment can do, probed once; its processes inherit it. */
#define CAPS_ENVIRONMENT "VARVE_TEST_COLD_CAPS"

static struct cold_store *open_store(const char *place, bool read_only)
{
    const struct cold_store_options options = {
        .create = true,
        .read_only = read_only,
        .caps = driver == &from_environment ? getenv(CAPS_ENVIRONMENT) : NULL};
    struct varve_error err;
    struct cold_store *store;
    char url[4096];

    url_of(place, url, sizeof(url));
    if (cold_store_open(&env, url, &options, &store, &err) < 0)
        fail_msg("%s", err.msg);
    return store;
}

/*
 * As init does: the bucket is made, and the store asked by doing. Of a store that is made to fail
 * the one below is asked, by its own URL: faults tell nothing of what a store can do.
 */
static void probe_environment(void)
{
    const char *url = getenv("VARVE_TEST_COLD_PROBE_URL");
    const struct cold_store_options options = {.create = true, .create_bucket = true};
    struct cold_store *store;
    struct cold_probe probe;
    struct varve_error err;
    char text[COLD_CAPS_TEXT_SIZE];

    if (cold_store_open(&env, url ? url : from_environment.url, &options, &store, &err) < 0 ||
        cold_probe_run(&env, store, &probe, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    for (size_t i = 0; i < probe.count; i++)
        printf("%-22s %s %s\n", probe.checks[i].name,
               probe.checks[i].verdict == COLD_PROBE_YES  ? "yes"
               : probe.checks[i].verdict == COLD_PROBE_NO ? "no "
                                                          : "?  ",
               probe.checks[i].detail);
    cold_caps_encode(&probe.caps, text);
    setenv(CAPS_ENVIRONMENT, text, 1);
    cold_store_close(store);
}

/* A driver that fails on purpose makes more requests than there are calls. */
static bool is_faulty(void)
{
    return strncmp(driver->url, "faulty", 6) == 0;
}

struct fixture {
    struct support_tmpdir *tmp;
    struct cold_store *store;
    struct cold_caps caps;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->tmp = support_tmpdir_new(driver->name);
    f->store = open_store(support_tmpdir_root(f->tmp), false);
    cold_store_caps(f->store, &f->caps);
    *state = f;
    return 0;
}

/* A directory goes as a whole; what lies in a bucket is removed by hand. */
static int clean(struct fixture *f)
{
    struct support_keys keys = {0};
    struct support_uploads uploads;
    struct varve_error err;
    int rc = support_retry_list_all(f->store, "", &keys, &err);

    for (unsigned i = 0; rc == 0 && i < keys.count; i++) {
        const char *const key[] = {keys.text[i]};

        rc = support_retry_delete(f->store, key, 1, &err);
    }
    support_keys_deinit(&keys);
    if (rc == 0)
        rc = support_retry_uploads(f->store, "", &uploads, &err);
    while (rc == 0 && uploads.count > 0) {
        rc = support_retry_abort(f->store, uploads.key, &uploads.last, &err);
        if (rc == 0)
            rc = support_retry_uploads(f->store, "", &uploads, &err);
    }
    if (rc < 0)
        fprintf(stderr, "cannot clean up: %s\n", err.msg);
    return rc;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    int rc;

    if (!f->store)
        f->store = open_store(support_tmpdir_root(f->tmp), false);
    rc = driver == &from_environment ? clean(f) : 0;

    cold_store_close(f->store);
    support_tmpdir_free(f->tmp);
    free(f);
    return rc;
}

/* ---- helpers ---- */

static int put_text(struct cold_store *s, const char *key, const char *text,
                    enum cold_condition condition, const struct cold_etag *etag,
                    struct cold_etag *ret_etag, struct varve_error *err)
{
    struct iovec body = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    struct cold_put how = {.condition = condition,
                           .etag = etag,
                           .has_crc32c = true,
                           .crc32c = base_crc32c(0, text, strlen(text))};

    return support_retry_put(s, key, &body, 1, &how, ret_etag, err);
}

static void must_put(struct cold_store *s, const char *key, const char *text)
{
    struct varve_error err;

    if (put_text(s, key, text, COLD_ALWAYS, NULL, NULL, &err) < 0)
        fail_msg("%s", err.msg);
}

static void must_hold(struct cold_store *s, const char *key, const char *text)
{
    struct varve_error err;
    void *data;
    size_t size;

    if (support_retry_read(s, key, 1 << 20, &data, &size, NULL, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(data, text, size);
    free(data);
}

static void must_be_absent(struct cold_store *s, const char *key)
{
    struct cold_meta meta;
    struct varve_error err;

    assert_int_equal(support_retry_head(s, key, &meta, &err), VARVE_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, key));
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Everything below the prefix. Keys are in order, or, where the driver promises none, are put in
 * order here; none is told twice. */
static void must_list(const struct fixture *f, const char *prefix, struct support_keys *ret)
{
    struct varve_error err;

    support_keys_deinit(ret);
    if (support_retry_list_all(f->store, prefix, ret, &err) != 0)
        fail_msg("%s", err.msg);
    assert_int_equal(ret->without_etag, 0);
    if (!f->caps.ordered_list && ret->count > 0)
        qsort(ret->text, ret->count, sizeof(*ret->text), compare_keys);
    for (unsigned i = 1; i < ret->count; i++)
        assert_true(strcmp(ret->text[i - 1], ret->text[i]) < 0);
}

static uint8_t *pattern(size_t size, unsigned seed)
{
    uint8_t *data = malloc(size + 1);
    uint32_t x = seed * 2654435761u + 1;

    for (size_t i = 0; i < size; i++) {
        x = x * 1664525 + 1013904223;
        data[i] = (uint8_t)(x >> 24);
    }
    return data;
}

/* ---- whole objects ---- */

static void a_body_is_read_back_as_it_was_put(void **state)
{
    static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 1 << 20, 20 << 20};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint8_t *data = pattern(sizes[i], (unsigned)i);
        struct iovec body[3] = {{data, sizes[i] / 3}, {data + sizes[i] / 3, 0}, {0}};
        struct cold_put how = {.has_crc32c = true, .crc32c = base_crc32c(0, data, sizes[i])};
        struct cold_etag etag, read_etag;
        struct cold_meta meta;
        struct varve_error err;
        void *back;
        size_t size;

        assert_true(f->caps.put_size_max >= sizes[i]);
        body[2] = (struct iovec){data + sizes[i] / 3, sizes[i] - sizes[i] / 3};
        if (support_retry_put(f->store, "a/body", body, 3, &how, &etag, &err) < 0)
            fail_msg("%s", err.msg);
        assert_int_equal(
            support_retry_read(f->store, "a/body", sizes[i], &back, &size, &read_etag, &err), 0);
        assert_int_equal(size, sizes[i]);
        assert_memory_equal(back, data, size);
        assert_string_equal(etag.text, read_etag.text);
        assert_int_equal(support_retry_head(f->store, "a/body", &meta, &err), 0);
        assert_int_equal(meta.size, sizes[i]);
        assert_string_equal(meta.etag.text, etag.text);
        assert_true(meta.modified > INT64_C(1600000000000));
        free(back);
        free(data);
    }
}

static void a_body_that_is_not_what_was_promised_is_not_stored(void **state)
{
    struct fixture *f = *state;
    struct iovec body = {.iov_base = (void *)(uintptr_t) "abc", .iov_len = 3};
    struct cold_put how = {.has_crc32c = true, .crc32c = 12345};
    struct cold_etag etag = {"untouched"};
    struct varve_error err;

    assert_int_equal(support_retry_put(f->store, "k", &body, 1, &how, &etag, &err),
                     VARVE_E_CORRUPT);
    assert_string_equal(etag.text, "untouched");
    assert_non_null(strstr(err.msg, "put k"));
    must_be_absent(f->store, "k");
}

static void a_range_is_exact_and_a_short_object_is_corrupt(void **state)
{
    struct fixture *f = *state;
    struct varve_error err;
    char buf[16] = "";

    must_put(f->store, "r", "0123456789");
    assert_int_equal(support_retry_get(f->store, "r", 0, 10, buf, &err), 0);
    assert_memory_equal(buf, "0123456789", 10);
    assert_int_equal(support_retry_get(f->store, "r", 3, 4, buf, &err), 0);
    assert_memory_equal(buf, "3456", 4);
    assert_int_equal(support_retry_get(f->store, "r", 9, 1, buf, &err), 0);
    assert_int_equal(buf[0], '9');
    assert_int_equal(support_retry_get(f->store, "r", 9, 2, buf, &err), VARVE_E_CORRUPT);
    assert_false(err.retriable);
    assert_int_equal(support_retry_get(f->store, "r", 11, 1, buf, &err), VARVE_E_CORRUPT);
    assert_int_equal(support_retry_get(f->store, "r", UINT64_MAX, 1, buf, &err), VARVE_E_CORRUPT);
    assert_int_equal(support_retry_get(f->store, "nope", 0, 1, buf, &err), VARVE_E_NOT_FOUND);
}

struct async {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned ended;
    int rc[8];
    pthread_t thread;
};

static void async_done(struct cold_get *get, int rc, const struct varve_error *err)
{
    struct async *a = get->ctx;

    pthread_mutex_lock(&a->lock);
    a->rc[get->pos % 8] = rc;
    a->thread = pthread_self();
    if (rc < 0)
        assert_int_equal(err->code, rc);
    a->ended++;
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

static void async_wait(struct async *a, unsigned count)
{
    pthread_mutex_lock(&a->lock);
    while (a->ended < count)
        pthread_cond_wait(&a->changed, &a->lock);
    pthread_mutex_unlock(&a->lock);
}

static void gets_without_a_thread_end_as_others_do(void **state)
{
    struct fixture *f = *state;
    struct async a = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct cold_get gets[8];
    struct cold_stats before, after;
    struct varve_error err;
    char buf[8][8];

    must_put(f->store, "async", "0123456789");
    for (unsigned i = 0; i < 8; i++)
        gets[i] = (struct cold_get){.key = i == 6 ? "nope" : "async",
                                    .pos = i,
                                    .size = i == 7 ? 4 : 3,
                                    .buf = buf[i],
                                    .done = async_done,
                                    .ctx = &a};
    if (!f->caps.async) {
        assert_int_equal(cold_store_get_start(f->store, &gets[0], &err), VARVE_E_UNSUPPORTED);
        return;
    }
    cold_store_stats(f->store, &before);
    pthread_mutex_lock(&a.lock); /* a start never waits for what done takes */
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(cold_store_get_start(f->store, &gets[i], &err), 0);
    pthread_mutex_unlock(&a.lock);
    async_wait(&a, 8);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(a.rc[i], 0);
        assert_memory_equal(buf[i], &"0123456789"[i], 3);
    }
    assert_int_equal(a.rc[6], VARVE_E_NOT_FOUND);
    assert_int_equal(a.rc[7], VARVE_E_CORRUPT);
    assert_false(pthread_equal(a.thread, pthread_self()));
    cold_store_stats(f->store, &after);
    assert_int_equal(after.requests[COLD_OP_GET] - before.requests[COLD_OP_GET], 8);
    assert_int_equal(after.failures[COLD_OP_GET] - before.failures[COLD_OP_GET], 1);
    assert_int_equal(after.bytes_received - before.bytes_received, 18);

    gets[0].pos = 0;
    pthread_mutex_lock(&a.lock);
    assert_int_equal(cold_store_get_start(f->store, &gets[0], &err), 0);
    cold_store_get_cancel(f->store, &gets[0]);
    pthread_mutex_unlock(&a.lock);
    async_wait(&a, 9);
    assert_true(a.rc[0] == 0 || a.rc[0] == VARVE_E_CANCELLED);

    assert_int_equal(cold_store_get_start(f->store, &gets[1], &err), 0);
    f->store = cold_store_close(f->store); /* waits for the done */
    assert_int_equal(a.ended, 10);
    assert_true(a.rc[1] == 0 || a.rc[1] == VARVE_E_CANCELLED);
}

static void a_read_above_its_limit_is_refused(void **state)
{
    struct fixture *f = *state;
    void *data = f;
    size_t size = 77;
    struct varve_error err;

    must_put(f->store, "r", "0123456789");
    assert_int_equal(support_retry_read(f->store, "r", 9, &data, &size, NULL, &err),
                     VARVE_E_TOO_LARGE);
    assert_ptr_equal(data, f);
    assert_int_equal(size, 77);
    assert_int_equal(support_retry_read(f->store, "x", 9, &data, &size, NULL, &err),
                     VARVE_E_NOT_FOUND);
}

static void a_reader_sees_one_body_or_the_other(void **state)
{
    struct fixture *f = *state;

    must_put(f->store, "k", "first");
    must_put(f->store, "k", "second, longer");
    must_hold(f->store, "k", "second, longer");
    must_put(f->store, "k", "");
    must_hold(f->store, "k", "");
}

static void odd_keys_are_kept_as_they_are(void **state)
{
    static const char *const odd[] = {
        "a b",   "a+b",     "a%2Fb", "a?b=c&d", "ü/ö",    "-", "...",           "a/.../b",
        "x.tmp", ".hidden", "a#b",   "a\\b",    "logs/@", "*", "'quote' \"q\"", "tab\there"};
    struct fixture *f = *state;
    struct support_keys k = {0};
    size_t n = sizeof(odd) / sizeof(odd[0]), count = 0;
    bool kept[sizeof(odd) / sizeof(odd[0])];

    for (size_t i = 0; i < n; i++) {
        struct varve_error err;
        int rc = put_text(f->store, odd[i], odd[i], COLD_ALWAYS, NULL, NULL, &err);

        kept[i] = rc == 0;
        count += kept[i];
        /* libs3 cannot say a space; it must not say something else instead */
        if (rc < 0 && (rc != VARVE_E_UNSUPPORTED || f->caps.local || !strchr(odd[i], ' ')))
            fail_msg("%s", err.msg);
    }
    for (size_t i = 0; i < n; i++)
        if (kept[i])
            must_hold(f->store, odd[i], odd[i]);
    must_list(f, "", &k);
    assert_int_equal(k.count, count);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(!!bsearch(odd[i], k.text, count, sizeof(*k.text), compare_keys), kept[i]);
    support_keys_deinit(&k);
}

static void wrong_keys_are_refused(void **state)
{
    static const char *const wrong[] = {"",   "/a",  "a/",      "a//b",   ".",
                                        "..", "a/.", "../../x", "a/../b", "./a"};
    struct fixture *f = *state;
    char large[COLD_KEY_MAX + 2];
    char buf[1];
    struct varve_error err;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const char *const keys[] = {wrong[i]};

        assert_int_equal(put_text(f->store, wrong[i], "x", COLD_ALWAYS, NULL, NULL, &err),
                         VARVE_E_INVALID);
        assert_int_equal(support_retry_get(f->store, wrong[i], 0, 1, buf, &err), VARVE_E_INVALID);
        assert_int_equal(support_retry_delete(f->store, keys, 1, &err), VARVE_E_INVALID);
    }
    memset(large, 'a', sizeof(large));
    for (size_t i = 100; i < sizeof(large); i += 100)
        large[i] = '/';
    large[sizeof(large) - 1] = '\0';
    assert_int_equal(put_text(f->store, large, "x", COLD_ALWAYS, NULL, NULL, &err),
                     VARVE_E_INVALID);
    large[COLD_KEY_MAX - (f->caps.local ? 0 : KEY_ROOM)] = '\0';
    must_put(f->store, large, "the longest key");
    must_hold(f->store, large, "the longest key");
}

/* ---- conditions ---- */

static void if_absent_and_if_match_decide(void **state)
{
    struct fixture *f = *state;
    struct cold_etag first, second, old = {"no-such-etag"};
    struct varve_error err;

    if (!f->caps.conditional_put && !f->caps.unfenced)
        skip();
    assert_int_equal(put_text(f->store, "c/k", "1", COLD_IF_MATCH, &old, &second, &err),
                     VARVE_E_PRECONDITION);
    assert_int_equal(put_text(f->store, "c/k", "1", COLD_IF_ABSENT, NULL, &first, &err), 0);
    assert_int_equal(put_text(f->store, "c/k", "2", COLD_IF_ABSENT, NULL, &second, &err),
                     VARVE_E_PRECONDITION);
    assert_non_null(strstr(err.msg, "c/k"));
    must_hold(f->store, "c/k", "1");
    assert_int_equal(put_text(f->store, "c/k", "2", COLD_IF_MATCH, &first, &second, &err), 0);
    assert_string_not_equal(first.text, second.text);
    assert_int_equal(put_text(f->store, "c/k", "3", COLD_IF_MATCH, &first, NULL, &err),
                     VARVE_E_PRECONDITION);
    must_hold(f->store, "c/k", "2");
}

/* Never done without the condition instead. */
static void a_condition_that_a_store_cannot_keep_is_unsupported(void **state)
{
    struct fixture *f = *state;
    struct cold_etag etag = {"untouched"};
    struct varve_error err;

    if (f->caps.conditional_put || f->caps.unfenced)
        skip();
    assert_int_equal(put_text(f->store, "c/k", "1", COLD_IF_ABSENT, NULL, &etag, &err),
                     VARVE_E_UNSUPPORTED);
    assert_string_equal(etag.text, "untouched");
    must_be_absent(f->store, "c/k");
    must_put(f->store, "c/k", "1");
    assert_int_equal(put_text(f->store, "c/k", "2", COLD_IF_MATCH, &etag, NULL, &err),
                     VARVE_E_UNSUPPORTED);
    must_hold(f->store, "c/k", "1");
}

/* S3's ETags are of the content; a driver's may be, but then only for equal bytes. */
static void an_etag_does_not_come_back_for_other_bytes(void **state)
{
    struct fixture *f = *state;
    struct cold_etag seen[64];
    const char *const key[] = {"e"};
    struct varve_error err;

    for (unsigned i = 0; i < 64; i++) {
        char text[8];

        if (i % 8 == 7)
            assert_int_equal(support_retry_delete(f->store, key, 1, &err), 0);
        snprintf(text, sizeof(text), "%04u", i);
        assert_int_equal(put_text(f->store, "e", text, COLD_ALWAYS, NULL, &seen[i], &err), 0);
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(seen[k].text, seen[i].text);
    }
}

struct racer {
    struct cold_store *store;
    const char *key;
    pthread_barrier_t *barrier;
    const struct cold_etag *etag;
    int id;
    int rc;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    char text[32];
    struct varve_error err;

    /* Where ETags are of the content, equal bodies would leave the condition true for others. */
    snprintf(text, sizeof(text), "%s %d", r->etag ? "match" : "absent", r->id);
    pthread_barrier_wait(r->barrier);
    r->rc = put_text(r->store, r->key, text, r->etag ? COLD_IF_MATCH : COLD_IF_ABSENT, r->etag,
                     NULL, &err);
    return NULL;
}

/* Exactly one of the threads wins, and what it wrote lies there. */
static void race_threads(struct cold_store *s, const char *key, const struct cold_etag *etag)
{
    struct racer racers[RACERS];
    pthread_t threads[RACERS];
    pthread_barrier_t barrier;
    int winner = -1;
    char text[32];

    pthread_barrier_init(&barrier, NULL, RACERS);
    for (int i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){s, key, &barrier, etag, i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);
    for (int i = 0; i < RACERS; i++) {
        if (racers[i].rc == 0) {
            assert_int_equal(winner, -1);
            winner = i;
        } else {
            assert_int_equal(racers[i].rc, VARVE_E_PRECONDITION);
        }
    }
    assert_int_not_equal(winner, -1);
    snprintf(text, sizeof(text), "%s %d", etag ? "match" : "absent", winner);
    must_hold(s, key, text);
}

static void of_racing_threads_exactly_one_wins(void **state)
{
    struct fixture *f = *state;

    if (!f->caps.conditional_put)
        skip();
    for (int round = 0; round < 10; round++) {
        struct cold_meta meta;
        struct varve_error err;
        char key[32];

        snprintf(key, sizeof(key), "race/%d/root", round);
        race_threads(f->store, key, NULL);
        assert_int_equal(support_retry_head(f->store, key, &meta, &err), 0);
        race_threads(f->store, key, &meta.etag);
    }
}

/* A child adds its own words to a list of words by read and if-match, so many. Words are told
 * apart, so a lost reply is resolved by looking for the word, whoever has written since. 0: well.
 */
static int add_words(const char *place, int words)
{
    struct cold_store *s = open_store(place, false);
    struct varve_error err;

    for (int done = 0; done < words;) {
        struct cold_etag etag;
        void *data;
        size_t size;
        char text[4096], word[32];

        if (support_retry_read(s, "words", sizeof(text) - sizeof(word) - 1, &data, &size, &etag,
                               &err) < 0)
            return 1;
        memcpy(text, data, size);
        text[size] = '\0';
        free(data);
        snprintf(word, sizeof(word), " %d.%d;", (int)getpid(), done);
        if (strstr(text, word)) {
            done++;
            continue;
        }
        strcpy(text + size, word);
        if (put_text(s, "words", text, COLD_IF_MATCH, &etag, NULL, &err) < 0 &&
            err.code != VARVE_E_PRECONDITION)
            return 2;
    }
    cold_store_close(s);
    return 0;
}

/* How many of the claims were won. */
static int claim_all(const char *place, int claims)
{
    struct cold_store *s = open_store(place, false);
    int won = 0;

    for (int i = 0; i < claims; i++) {
        char key[32], mine[32];
        struct varve_error err;
        int rc;

        snprintf(key, sizeof(key), "claim/%d", i);
        snprintf(mine, sizeof(mine), "of %d", (int)getpid());
        rc = put_text(s, key, mine, COLD_IF_ABSENT, NULL, NULL, &err);
        if (rc != 0 && rc != VARVE_E_PRECONDITION)
            return 255;
        won += rc == 0;
    }
    cold_store_close(s);
    return won;
}

/* Runs `work` in processes of their own (this program, started anew: see main), which the threads
 * and locks of a driver do not reach; returns the sum of what they returned. */
static int run_processes(const char *work, const char *place, int n)
{
    pid_t pids[RACERS_FORKED];
    char count[16];
    char *const arguments[] = {(char *)(uintptr_t) "test_cold_conformance",
                               (char *)(uintptr_t)work,
                               (char *)(uintptr_t)driver->name,
                               (char *)(uintptr_t)place,
                               count,
                               NULL};
    int sum = 0;

    snprintf(count, sizeof(count), "%d", n);
    for (int i = 0; i < RACERS_FORKED; i++)
        assert_int_equal(posix_spawn(&pids[i], "/proc/self/exe", NULL, NULL, arguments, environ),
                         0);
    for (int i = 0; i < RACERS_FORKED; i++) {
        int status;

        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status));
        sum += WEXITSTATUS(status);
    }
    return sum;
}

static void racing_processes_lose_no_update_and_win_once(void **state)
{
    struct fixture *f = *state;
    unsigned words = 0;
    struct varve_error err;
    void *data;
    size_t size;

    if (!f->caps.conditional_put)
        skip();
    must_put(f->store, "words", "begin;");
    assert_int_equal(run_processes("add-words", support_tmpdir_root(f->tmp), 25), 0);
    if (support_retry_read(f->store, "words", 4096, &data, &size, NULL, &err) < 0)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < size; i++)
        words += ((char *)data)[i] == ';';
    free(data);
    assert_int_equal(words, 1 + RACERS_FORKED * 25);
    assert_int_equal(run_processes("claim-all", support_tmpdir_root(f->tmp), 50), 50);
}

/* ---- list and delete ---- */

static void a_listing_is_in_key_order_and_whole(void **state)
{
    static const char *const keys[] = {"a-b", "a.b", "a/b", "a/b.c", "a/c/d", "a/c/e", "a0", "b"};
    static const struct {
        const char *prefix;
        unsigned count;
    } part[] = {{"a/", 4}, {"a/c", 2}, {"a/b", 2}, {"zz/top", 0}};
    struct fixture *f = *state;
    struct support_keys k = {0};
    struct varve_error err;

    for (size_t i = 8; i-- > 0;)
        must_put(f->store, keys[i], "x");
    must_list(f, "", &k);
    assert_int_equal(k.count, 8);
    for (unsigned i = 0; i < 8; i++)
        assert_string_equal(k.text[i], keys[i]);
    for (size_t i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
        must_list(f, part[i].prefix, &k);
        assert_int_equal(k.count, part[i].count);
    }
    assert_int_equal(support_retry_list_all(f->store, "../", &k, &err), VARVE_E_INVALID);
    assert_int_equal(support_retry_list_all(f->store, "/", &k, &err), VARVE_E_INVALID);
    support_keys_deinit(&k);
}

/* A page may hold fewer keys than asked for, but none only at the end. */
static void pages_of_any_size_make_the_same_listing(void **state)
{
    struct fixture *f = *state;
    struct support_keys all = {0}, k = {0};
    struct varve_error err;

    if (!f->caps.ordered_list)
        skip();
    for (int i = 0; i < 120; i++) {
        char key[64];

        snprintf(key, sizeof(key), "p/%d/%s%d", i % 7, i % 3 ? "d/" : "", i);
        must_put(f->store, key, "x");
    }
    must_list(f, "p/", &all);
    assert_int_equal(all.count, 120);
    for (unsigned max = 1; max < 130; max = max < 8 ? max + 1 : max * 2) {
        bool more = true;

        k.count = 0;
        while (more) {
            char after[COLD_KEY_MAX + 1] = "";
            unsigned before = k.count;

            if (k.count > 0)
                strcpy(after, k.text[k.count - 1]);
            if (support_retry_list(f->store, "p/", after[0] ? after : NULL, max, &k, &more, &err) <
                0)
                fail_msg("%s", err.msg);
            assert_true(k.count - before <= max);
            assert_true(!more || k.count > before);
        }
        assert_int_equal(k.count, 120);
        for (unsigned i = 0; i < 120; i++)
            assert_string_equal(k.text[i], all.text[i]);
    }
    support_keys_deinit(&all);
    support_keys_deinit(&k);
}

static int stop_at_third(void *arg, const char *key, const struct cold_meta *meta)
{
    (void)key;
    (void)meta;
    return ++*(int *)arg == 3 ? 42 : 0;
}

static void a_visit_can_end_a_listing(void **state)
{
    struct fixture *f = *state;
    struct varve_error err;
    int n = 0, rc;

    for (int i = 0; i < 5; i++) {
        char key[16];

        snprintf(key, sizeof(key), "v/%d", i);
        must_put(f->store, key, "");
    }
    do {
        n = 0;
        rc = cold_store_list_all(f->store, "v/", stop_at_third, &n, &err);
    } while (rc < 0 && err.retriable);
    assert_int_equal(rc, 42);
    assert_int_equal(n, 3);
}

static void many_are_deleted_and_missing_ones_are_no_error(void **state)
{
    struct fixture *f = *state;
    struct support_keys k = {0};
    const char *doomed[300];
    char text[300][32];
    struct varve_error err;

    for (int i = 0; i < 300; i++) {
        snprintf(text[i], sizeof(text[i]), "del/%d/%d", i % 5, i);
        doomed[i] = text[i];
        if (i % 2)
            must_put(f->store, text[i], "x");
    }
    must_put(f->store, "del/0/stays", "y");
    assert_int_equal(support_retry_delete(f->store, doomed, 300, &err), 0);
    assert_int_equal(support_retry_delete(f->store, doomed, 300, &err), 0);
    assert_int_equal(support_retry_delete(f->store, doomed, 0, &err), 0);
    must_list(f, "", &k);
    assert_int_equal(k.count, 1);
    must_hold(f->store, "del/0/stays", "y");
    support_keys_deinit(&k);
}

struct churner {
    struct cold_store *store;
    enum cold_condition condition;
    int id;
    int failures;
};

static void *churn(void *arg)
{
    struct churner *c = arg;
    char key[48];
    const char *const keys[] = {key};
    struct varve_error err;

    for (int i = 0; i < 150; i++) {
        snprintf(key, sizeof(key), "churn/a/b/%d", c->id);
        if (put_text(c->store, key, "x", c->condition, NULL, NULL, &err) < 0 ||
            support_retry_delete(c->store, keys, 1, &err) < 0) {
            fprintf(stderr, "%s\n", err.msg);
            c->failures++;
        }
    }
    return NULL;
}

static void puts_and_deletes_beside_each_other_do_not_fail(void **state)
{
    struct fixture *f = *state;
    struct churner churners[4];
    pthread_t threads[4];

    for (int i = 0; i < 4; i++) {
        churners[i] = (struct churner){
            f->store, f->caps.conditional_put ? COLD_IF_ABSENT : COLD_ALWAYS, i, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &churners[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(churners[i].failures, 0);
    }
}

/* ---- multipart ---- */

static int send_part(struct cold_store *s, const char *key, const struct cold_upload *u, unsigned n,
                     uint64_t pos, const uint8_t *data, size_t size, struct cold_part *ret)
{
    struct iovec body = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct varve_error err;

    return support_retry_part(s, key, u, n, pos, &body, 1, base_crc32c(0, data, size), ret, &err);
}

/* The retrying abort takes "not found" after a doubt for its own work; here it is the question. */
static int abort_plainly(struct cold_store *s, const char *key, const struct cold_upload *upload)
{
    struct varve_error err;
    int rc;

    do
        rc = cold_store_upload_abort(s, key, upload, &err);
    while (rc < 0 && err.retriable);
    return rc;
}

struct sender {
    struct cold_store *store;
    const struct cold_upload *upload;
    unsigned number;
    size_t part;
    size_t size;
    const uint8_t *data;
    struct cold_part ret;
    int rc;
};

static void *send_thread(void *arg)
{
    struct sender *s = arg;

    s->rc = send_part(s->store, "m/obj", s->upload, s->number, (s->number - 1) * s->part,
                      s->data + (s->number - 1) * s->part, s->size, &s->ret);
    return NULL;
}

/* Of an upload that is not there. S3 lets an abort of nothing be well: MinIO says so, RGW does not.
 */
static void must_not_abort(struct fixture *f, const char *key, const struct cold_upload *upload,
                           bool well_formed)
{
    int rc = abort_plainly(f->store, key, upload);

    if (rc == VARVE_E_NOT_FOUND)
        return;
    assert_false(f->caps.local);
    if (!well_formed) /* MinIO calls it an invalid request */
        assert_int_not_equal(rc, 0);
    else
        assert_int_equal(rc, 0);
}

static void parts_sent_in_parallel_make_one_object(void **state)
{
    struct fixture *f = *state;
    size_t part = f->caps.part_size_min > 1 ? f->caps.part_size_min : 1 << 20;
    size_t size = part * 7 + 12345;
    uint8_t *data = pattern(size, 1);
    struct cold_put how = {.has_crc32c = true, .crc32c = base_crc32c(0, data, size)};
    struct sender senders[8];
    pthread_t threads[8];
    struct cold_part parts[8];
    struct cold_upload upload;
    struct cold_etag etag;
    struct varve_error err;
    void *back;
    size_t back_size;

    assert_int_equal(support_retry_begin(f->store, "m/obj", &upload, &err), 0);
    for (unsigned i = 0; i < 8; i++) {
        senders[i] = (struct sender){.store = f->store,
                                     .upload = &upload,
                                     .number = i + 1,
                                     .part = part,
                                     .size = i < 7 ? part : 12345,
                                     .data = data};
        assert_int_equal(pthread_create(&threads[i], NULL, send_thread, &senders[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(senders[i].rc, 0);
        parts[i] = senders[i].ret;
        assert_int_equal(parts[i].number, i + 1);
        assert_int_equal(parts[i].size, senders[i].size);
    }
    must_be_absent(f->store, "m/obj");
    if (support_retry_complete(f->store, "m/obj", &upload, parts, 8, &how, &etag, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(support_retry_read(f->store, "m/obj", size, &back, &back_size, NULL, &err), 0);
    assert_int_equal(back_size, size);
    assert_memory_equal(back, data, size);
    free(back);
    free(data);
    must_not_abort(f, "m/obj", &upload, true);
}

/* RGW encodes the keys of a listing when it is asked to, and does not say so. */
static void an_upload_is_listed_by_its_true_key_and_aborted_by_it(void **state)
{
    static const char key[] = "m/@/50%25+1/obj \xc3\xbc&<a>.zst";
    struct fixture *f = *state;
    struct support_uploads found;
    struct cold_upload upload;
    struct varve_error err;
    int rc;

    assert_int_equal(support_retry_begin(f->store, key, &upload, &err), 0);
    if (f->caps.private_uploads) { /* nobody else knows of it */
        assert_int_equal(support_retry_abort(f->store, key, &upload, &err), 0);
        return;
    }
    /* MinIO tells of it only to who knows its whole key. */
    assert_int_equal(
        support_retry_uploads(f->store, f->caps.lists_uploads ? "m/@/" : key, &found, &err), 0);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.key, key);
    do
        rc = cold_store_upload_abort_all(f->store, key, &err);
    while (rc < 0 && err.retriable);
    assert_int_equal(rc, 0);
    assert_int_equal(support_retry_uploads(f->store, key, &found, &err), 0);
    assert_int_equal(found.count, 0);
}

static void parts_out_of_order_and_again_are_completed_by_another_handle(void **state)
{
    struct fixture *f = *state;
    size_t part = f->caps.part_size_min > 1 ? f->caps.part_size_min : 70000;
    uint8_t *data = pattern(part * 2, 3);
    void *back;
    size_t back_size;
    struct cold_put how = {.condition =
                               f->caps.conditional_complete ? COLD_IF_ABSENT : COLD_ALWAYS};
    struct cold_store *other;
    struct cold_upload upload;
    struct cold_part parts[2];
    struct support_uploads found;
    struct varve_error err;

    assert_int_equal(support_retry_begin(f->store, "m/obj", &upload, &err), 0);
    assert_int_equal(send_part(f->store, "m/obj", &upload, 2, part, data + part, 777, &parts[1]),
                     0);
    assert_int_equal(send_part(f->store, "m/obj", &upload, 1, 0, data + part, part, &parts[0]), 0);
    other = f->caps.private_uploads ? f->store : open_store(support_tmpdir_root(f->tmp), false);
    found.last = upload;
    if (f->caps.lists_uploads) {
        assert_int_equal(support_retry_uploads(other, "zzz", &found, &err), 0);
        assert_int_equal(found.count, 0);
        assert_int_equal(support_retry_uploads(other, "m/obj", &found, &err), 0);
        assert_int_equal(found.count, 1);
        assert_true(found.started > INT64_C(1600000000000));
        assert_string_equal(found.key, "m/obj");
    }
    assert_int_equal(send_part(other, "m/obj", &found.last, 1, 0, data, part, &parts[0]), 0);
    if (support_retry_complete(other, "m/obj", &found.last, parts, 2, &how, NULL, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(support_retry_uploads(other, "", &found, &err), 0);
    assert_int_equal(found.count, 0);
    assert_int_equal(support_retry_read(other, "m/obj", part * 2, &back, &back_size, NULL, &err),
                     0);
    assert_int_equal(back_size, part + 777);
    assert_memory_equal(back, data, back_size);
    free(back);
    if (other != f->store)
        cold_store_close(other);
    free(data);
}

static int upload_check(struct cold_store *s, const char *key, const struct cold_upload *upload,
                        const struct cold_part *parts, unsigned count, bool *ret_held)
{
    struct varve_error err;
    int rc;

    do {
        memset(&err, 0, sizeof(err));
        rc = cold_store_upload_check(s, key, upload, parts, count, ret_held, &err);
    } while (rc == VARVE_E_STORE && err.retriable);
    return rc;
}

static void an_upload_is_gone_on_with_by_another_handle(void **state)
{
    struct fixture *f = *state;
    size_t part = f->caps.part_size_min > 1 ? f->caps.part_size_min : 5000;
    uint8_t *data = pattern(part * 3, 8);
    struct cold_put how = {.has_crc32c = true, .crc32c = base_crc32c(0, data, part * 2 + 9)};
    struct cold_store *other;
    struct cold_upload upload, none = {"0123456789abcdef0123456789abcdef"};
    struct cold_part parts[3];
    bool held[3] = {false, false, false};
    struct varve_error err;

    assert_int_equal(support_retry_begin(f->store, "m/obj", &upload, &err), 0);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(send_part(f->store, "m/obj", &upload, i + 1, i * part, data + i * part,
                                   part, &parts[i]),
                         0);
    parts[2] = parts[1]; /* one that never came */
    parts[2].number = 3;
    strcpy(parts[2].etag.text, "\"d41d8cd98f00b204e9800998ecf8427e\"");
    if (f->caps.private_uploads) {
        assert_int_equal(upload_check(f->store, "m/obj", &upload, parts, 3, held),
                         VARVE_E_UNSUPPORTED);
        assert_int_equal(support_retry_abort(f->store, "m/obj", &upload, &err), 0);
        free(data);
        return;
    }
    other = open_store(support_tmpdir_root(f->tmp), false);
    assert_int_equal(upload_check(other, "m/obj", &upload, parts, 3, held), 0);
    assert_true(held[0]);
    assert_true(held[1]);
    assert_false(held[2]);
    assert_int_equal(upload_check(other, "m/obj", &none, parts, 3, held), VARVE_E_NOT_FOUND);
    assert_int_equal(send_part(other, "m/obj", &upload, 3, part * 2, data + part * 2, 9, &parts[2]),
                     0);
    if (support_retry_complete(other, "m/obj", &upload, parts, 3, &how, NULL, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(upload_check(other, "m/obj", &upload, parts, 3, held), VARVE_E_NOT_FOUND);
    cold_store_close(other);
    free(data);
}

static void an_upload_that_is_not_whole_is_not_completed(void **state)
{
    struct fixture *f = *state;
    size_t part = f->caps.part_size_min > 1 ? f->caps.part_size_min : 5000;
    uint8_t *data = pattern(part * 3, 4);
    struct cold_put how = {0};
    struct cold_upload upload;
    struct cold_part parts[3], swapped[2], ret = {.number = 99};
    struct iovec body = {.iov_base = data, .iov_len = part};
    struct varve_error err;

    assert_int_equal(support_retry_begin(f->store, "m/obj", &upload, &err), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(send_part(f->store, "m/obj", &upload, i + 1, i * part, data + i * part,
                                   part, &parts[i]),
                         0);
    assert_int_equal(support_retry_part(f->store, "m/obj", &upload, 1, 0, &body, 1, 7, &ret, &err),
                     VARVE_E_CORRUPT);
    assert_int_equal(ret.number, 99);
    swapped[0] = parts[1];
    swapped[1] = parts[0];
    assert_int_not_equal(
        support_retry_complete(f->store, "m/obj", &upload, swapped, 2, &how, NULL, &err), 0);
    if (f->caps.local) { /* S3 takes the parts that it is told */
        assert_int_equal(
            support_retry_complete(f->store, "m/obj", &upload, parts, 2, &how, NULL, &err),
            VARVE_E_CORRUPT);
        assert_int_equal(
            support_retry_complete(f->store, "m/obj", &upload, parts + 1, 2, &how, NULL, &err),
            VARVE_E_CORRUPT);
        how.has_crc32c = true;
        how.crc32c = base_crc32c(0, data, part * 3) ^ 1;
        assert_int_equal(
            support_retry_complete(f->store, "m/obj", &upload, parts, 3, &how, NULL, &err),
            VARVE_E_CORRUPT);
    }
    must_be_absent(f->store, "m/obj");
    how.has_crc32c = true;
    how.crc32c = base_crc32c(0, data, part * 3);
    assert_int_equal(support_retry_complete(f->store, "m/obj", &upload, parts, 3, &how, NULL, &err),
                     0);
    free(data);
}

static void an_aborted_upload_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct cold_upload upload, wrong = {"../../x"};
    struct cold_part part;
    struct support_uploads found;
    struct cold_put how = {0};
    struct varve_error err;

    assert_int_equal(support_retry_begin(f->store, "m/obj", &upload, &err), 0);
    assert_int_equal(send_part(f->store, "m/obj", &upload, 1, 0, (const uint8_t *)"abc", 3, &part),
                     0);
    must_not_abort(f, "m/other", &upload, true);
    assert_int_equal(support_retry_abort(f->store, "m/obj", &upload, &err), 0);
    assert_int_equal(support_retry_uploads(f->store, "", &found, &err), 0);
    assert_int_equal(found.count, 0);
    assert_int_equal(send_part(f->store, "m/obj", &upload, 1, 0, (const uint8_t *)"abc", 3, &part),
                     VARVE_E_NOT_FOUND);
    assert_int_equal(support_retry_complete(f->store, "m/obj", &upload, &part, 1, &how, NULL, &err),
                     VARVE_E_NOT_FOUND);
    must_not_abort(f, "m/obj", &wrong, false);
    must_be_absent(f->store, "m/obj");
}

static void a_conditional_complete_loses_to_an_object(void **state)
{
    struct fixture *f = *state;
    struct cold_put how = {.condition = COLD_IF_ABSENT};
    struct cold_upload upload;
    struct cold_part part;
    struct varve_error err;

    if (!f->caps.conditional_complete)
        skip();
    assert_int_equal(support_retry_begin(f->store, "m/obj", &upload, &err), 0);
    assert_int_equal(send_part(f->store, "m/obj", &upload, 1, 0, (const uint8_t *)"abc", 3, &part),
                     0);
    must_put(f->store, "m/obj", "there first");
    assert_int_equal(support_retry_complete(f->store, "m/obj", &upload, &part, 1, &how, NULL, &err),
                     VARVE_E_PRECONDITION);
    must_hold(f->store, "m/obj", "there first");
    how.condition = COLD_ALWAYS;
    assert_int_equal(support_retry_complete(f->store, "m/obj", &upload, &part, 1, &how, NULL, &err),
                     0);
    must_hold(f->store, "m/obj", "abc");
}

struct completer {
    struct cold_store *store;
    struct cold_upload upload;
    struct cold_part part;
    pthread_barrier_t *barrier;
    char text[32];
    int rc;
};

/* One upload of several of the same key: those of the others must not be aborted in doubt. */
static int begin_beside_others(struct cold_store *s, struct cold_upload *ret,
                               struct varve_error *err)
{
    int rc;

    do
        rc = cold_store_upload_begin(s, "m/obj", ret, err);
    while (rc < 0 && err->retriable);
    return rc;
}

static void *complete_thread(void *arg)
{
    struct completer *c = arg;
    const struct cold_put how = {.condition = COLD_IF_ABSENT};
    struct varve_error err;

    pthread_barrier_wait(c->barrier);
    c->rc = support_retry_complete(c->store, "m/obj", &c->upload, &c->part, 1, &how, NULL, &err);
    return NULL;
}

static void of_racing_completes_exactly_one_wins(void **state)
{
    struct fixture *f = *state;
    struct completer c[RACERS];
    pthread_t threads[RACERS];
    pthread_barrier_t barrier;
    struct varve_error err;
    int winner = -1;

    if (!f->caps.conditional_complete)
        skip();
    pthread_barrier_init(&barrier, NULL, RACERS);
    for (int i = 0; i < RACERS; i++) {
        c[i] = (struct completer){.store = f->store, .barrier = &barrier};
        /* Of different sizes: so a completer knows its own object after a lost reply. */
        snprintf(c[i].text, sizeof(c[i].text), "%.*s", i + 1, "abcdefghijklmnopqrstuvwxyz");
        assert_int_equal(begin_beside_others(f->store, &c[i].upload, &err), 0);
        assert_int_equal(send_part(f->store, "m/obj", &c[i].upload, 1, 0,
                                   (const uint8_t *)c[i].text, strlen(c[i].text), &c[i].part),
                         0);
    }
    for (int i = 0; i < RACERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, complete_thread, &c[i]), 0);
    for (int i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&barrier);
    for (int i = 0; i < RACERS; i++) {
        if (c[i].rc == 0) {
            assert_int_equal(winner, -1);
            winner = i;
        } else {
            assert_int_equal(c[i].rc, VARVE_E_PRECONDITION);
        }
    }
    assert_int_not_equal(winner, -1);
    must_hold(f->store, "m/obj", c[winner].text);
}

/* ---- the wrapper ---- */

static void a_read_only_store_refuses_every_change(void **state)
{
    struct fixture *f = *state;
    const char *const keys[] = {"k"};
    struct cold_upload upload = {"0"};
    struct cold_part part = {0};
    struct cold_put how = {0};
    struct iovec body = {0};
    struct varve_error err;
    struct cold_store *s;

    must_put(f->store, "k", "v");
    s = open_store(support_tmpdir_root(f->tmp), true);
    assert_int_equal(put_text(s, "k", "x", COLD_ALWAYS, NULL, NULL, &err), VARVE_E_READ_ONLY);
    assert_int_equal(support_retry_delete(s, keys, 1, &err), VARVE_E_READ_ONLY);
    assert_int_equal(support_retry_begin(s, "k", &upload, &err), VARVE_E_READ_ONLY);
    assert_int_equal(support_retry_part(s, "k", &upload, 1, 0, &body, 1, 0, &part, &err),
                     VARVE_E_READ_ONLY);
    assert_int_equal(support_retry_complete(s, "k", &upload, &part, 1, &how, NULL, &err),
                     VARVE_E_READ_ONLY);
    assert_int_equal(support_retry_abort(s, "k", &upload, &err), VARVE_E_READ_ONLY);
    must_hold(s, "k", "v");
    cold_store_close(s);
}

static void requests_and_bytes_are_counted(void **state)
{
    struct fixture *f = *state;
    struct cold_stats stats;
    struct cold_meta meta;
    struct varve_error err;
    char buf[4];

    if (is_faulty() || !f->caps.conditional_put)
        skip();
    must_put(f->store, "k", "12345");
    assert_int_equal(put_text(f->store, "k", "x", COLD_IF_ABSENT, NULL, NULL, &err),
                     VARVE_E_PRECONDITION);
    assert_int_equal(support_retry_get(f->store, "k", 1, 4, buf, &err), 0);
    assert_int_equal(support_retry_get(f->store, "k", 3, 4, buf, &err), VARVE_E_CORRUPT);
    assert_int_equal(support_retry_head(f->store, "k", &meta, &err), 0);
    assert_int_equal(support_retry_get(f->store, "/bad", 1, 4, buf, &err), VARVE_E_INVALID);
    cold_store_stats(f->store, &stats);
    assert_int_equal(stats.requests[COLD_OP_PUT], 2);
    assert_int_equal(stats.failures[COLD_OP_PUT], 0);
    assert_int_equal(stats.requests[COLD_OP_GET], 2);
    assert_int_equal(stats.failures[COLD_OP_GET], 1);
    assert_int_equal(stats.requests[COLD_OP_HEAD], 1);
    assert_int_equal(stats.bytes_sent, 5);
    assert_int_equal(stats.bytes_received, 4);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* A process of a race: WORK DRIVER PLACE N */
static int work(char *const *arguments)
{
    const char *place = arguments[3];
    int n = atoi(arguments[4]);

    driver = &from_environment;
    for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
        if (strcmp(arguments[2], drivers[i].name) == 0)
            driver = &drivers[i];
    return strcmp(arguments[1], "add-words") == 0 ? add_words(place, n) : claim_all(place, n);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(a_body_is_read_back_as_it_was_put),
        CASE(a_body_that_is_not_what_was_promised_is_not_stored),
        CASE(a_range_is_exact_and_a_short_object_is_corrupt),
        CASE(gets_without_a_thread_end_as_others_do),
        CASE(a_read_above_its_limit_is_refused),
        CASE(a_reader_sees_one_body_or_the_other),
        CASE(odd_keys_are_kept_as_they_are),
        CASE(wrong_keys_are_refused),
        CASE(if_absent_and_if_match_decide),
        CASE(a_condition_that_a_store_cannot_keep_is_unsupported),
        CASE(an_etag_does_not_come_back_for_other_bytes),
        CASE(of_racing_threads_exactly_one_wins),
        CASE(racing_processes_lose_no_update_and_win_once),
        CASE(a_listing_is_in_key_order_and_whole),
        CASE(pages_of_any_size_make_the_same_listing),
        CASE(a_visit_can_end_a_listing),
        CASE(many_are_deleted_and_missing_ones_are_no_error),
        CASE(puts_and_deletes_beside_each_other_do_not_fail),
        CASE(parts_sent_in_parallel_make_one_object),
        CASE(an_upload_is_listed_by_its_true_key_and_aborted_by_it),
        CASE(parts_out_of_order_and_again_are_completed_by_another_handle),
        CASE(an_upload_is_gone_on_with_by_another_handle),
        CASE(an_upload_that_is_not_whole_is_not_completed),
        CASE(an_aborted_upload_leaves_nothing),
        CASE(a_conditional_complete_loses_to_an_object),
        CASE(of_racing_completes_exactly_one_wins),
        CASE(a_read_only_store_refuses_every_change),
        CASE(requests_and_bytes_are_counted),
    };
    int failed = 0;

    base_env_init(&env);
    from_environment.url = getenv("VARVE_TEST_COLD_URL");
    if (argc == 5)
        return work(argv);
    if (from_environment.url) {
        driver = &from_environment;
        probe_environment();
        return cmocka_run_group_tests_name(from_environment.url, tests, NULL, NULL);
    }
    for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
        driver = &drivers[i];
        failed += cmocka_run_group_tests_name(driver->name, tests, NULL, NULL);
    }
    return failed;
}
