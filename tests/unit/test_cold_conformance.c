/*
 * What every driver of cold/store.h must do. A driver joins by one line in `drivers`: how to open
 * a store in a fresh place (as often as asked, in other processes too). What a driver's caps deny
 * is skipped for it.
 */
#include <pthread.h>
#include <setjmp.h>
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
#include "cold/store.h"
#include "tests/support/tmpdir.h"

#define RACERS 16
#define RACERS_FORKED 4

static struct base_env env;

struct driver {
    const char *name;
    /* Opens the store that lies at `place`, a fresh directory of the test's. */
    struct cold_store *(*open)(const char *place, bool read_only);
};

static struct cold_store *open_dir(const char *place, bool read_only)
{
    const struct cold_store_options options = {.create = true, .read_only = read_only};
    struct varve_error err;
    struct cold_store *store;
    char url[512];

    snprintf(url, sizeof(url), "file://%s/store", place);
    if (cold_store_open(&env, url, &options, &store, &err) < 0)
        fail_msg("%s", err.msg);
    return store;
}

static const struct driver drivers[] = {
    {"dir", open_dir},
};
static const struct driver *driver;

struct fixture {
    struct support_tmpdir *tmp;
    struct cold_store *store;
    struct cold_caps caps;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->tmp = support_tmpdir_new(driver->name);
    f->store = driver->open(support_tmpdir_root(f->tmp), false);
    cold_store_caps(f->store, &f->caps);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    cold_store_close(f->store);
    support_tmpdir_free(f->tmp);
    free(f);
    return 0;
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

    return cold_store_put(s, key, &body, 1, &how, ret_etag, err);
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

    if (cold_store_read(s, key, 1 << 20, &data, &size, NULL, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(data, text, size);
    free(data);
}

static void must_be_absent(struct cold_store *s, const char *key)
{
    struct cold_meta meta;
    struct varve_error err;

    assert_int_equal(cold_store_head(s, key, &meta, &err), VARVE_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, key));
}

struct keys {
    char text[4096][64];
    unsigned count;
};

static int keys_visit(void *arg, const char *key, const struct cold_meta *meta)
{
    struct keys *k = arg;

    assert_true(k->count < 4096);
    assert_true(meta->etag.text[0] != '\0');
    if (k->count > 0)
        assert_true(strcmp(k->text[k->count - 1], key) < 0);
    snprintf(k->text[k->count++], sizeof(k->text[0]), "%s", key);
    return 0;
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

        body[2] = (struct iovec){data + sizes[i] / 3, sizes[i] - sizes[i] / 3};
        if (cold_store_put(f->store, "a/body", body, 3, &how, &etag, &err) < 0)
            fail_msg("%s", err.msg);
        assert_int_equal(
            cold_store_read(f->store, "a/body", sizes[i], &back, &size, &read_etag, &err), 0);
        assert_int_equal(size, sizes[i]);
        assert_memory_equal(back, data, size);
        assert_string_equal(etag.text, read_etag.text);
        assert_int_equal(cold_store_head(f->store, "a/body", &meta, &err), 0);
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

    assert_int_equal(cold_store_put(f->store, "k", &body, 1, &how, &etag, &err), VARVE_E_CORRUPT);
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
    assert_int_equal(cold_store_get(f->store, "r", 0, 10, buf, &err), 0);
    assert_memory_equal(buf, "0123456789", 10);
    assert_int_equal(cold_store_get(f->store, "r", 3, 4, buf, &err), 0);
    assert_memory_equal(buf, "3456", 4);
    assert_int_equal(cold_store_get(f->store, "r", 9, 1, buf, &err), 0);
    assert_int_equal(buf[0], '9');
    assert_int_equal(cold_store_get(f->store, "r", 9, 2, buf, &err), VARVE_E_CORRUPT);
    assert_false(err.retriable);
    assert_int_equal(cold_store_get(f->store, "r", 11, 1, buf, &err), VARVE_E_CORRUPT);
    assert_int_equal(cold_store_get(f->store, "r", UINT64_MAX, 1, buf, &err), VARVE_E_CORRUPT);
    assert_int_equal(cold_store_get(f->store, "nope", 0, 1, buf, &err), VARVE_E_NOT_FOUND);
}

static void a_read_above_its_limit_is_refused(void **state)
{
    struct fixture *f = *state;
    void *data = f;
    size_t size = 77;
    struct varve_error err;

    must_put(f->store, "r", "0123456789");
    assert_int_equal(cold_store_read(f->store, "r", 9, &data, &size, NULL, &err),
                     VARVE_E_TOO_LARGE);
    assert_ptr_equal(data, f);
    assert_int_equal(size, 77);
    assert_int_equal(cold_store_read(f->store, "x", 9, &data, &size, NULL, &err),
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
    struct keys *k = calloc(1, sizeof(*k));
    struct varve_error err;
    size_t n = sizeof(odd) / sizeof(odd[0]);

    for (size_t i = 0; i < n; i++)
        must_put(f->store, odd[i], odd[i]);
    for (size_t i = 0; i < n; i++)
        must_hold(f->store, odd[i], odd[i]);
    assert_int_equal(cold_store_list_all(f->store, "", keys_visit, k, &err), 0);
    assert_int_equal(k->count, n);
    free(k);
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
        assert_int_equal(cold_store_get(f->store, wrong[i], 0, 1, buf, &err), VARVE_E_INVALID);
        assert_int_equal(cold_store_delete(f->store, keys, 1, &err), VARVE_E_INVALID);
    }
    memset(large, 'a', sizeof(large));
    for (size_t i = 100; i < sizeof(large); i += 100)
        large[i] = '/';
    large[sizeof(large) - 1] = '\0';
    assert_int_equal(put_text(f->store, large, "x", COLD_ALWAYS, NULL, NULL, &err),
                     VARVE_E_INVALID);
    large[COLD_KEY_MAX] = '\0';
    must_put(f->store, large, "the longest key");
    must_hold(f->store, large, "the longest key");
}

/* ---- conditions ---- */

static void if_absent_and_if_match_decide(void **state)
{
    struct fixture *f = *state;
    struct cold_etag first, second, old = {"no-such-etag"};
    struct varve_error err;

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
            assert_int_equal(cold_store_delete(f->store, key, 1, &err), 0);
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

    snprintf(text, sizeof(text), "racer %d", r->id);
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
    snprintf(text, sizeof(text), "racer %d", winner);
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
        assert_int_equal(cold_store_head(f->store, key, &meta, &err), 0);
        race_threads(f->store, key, &meta.etag);
    }
}

/* A child counts up a number by read and if-match, so many times. 0: well. */
static int count_up(const char *place, int times)
{
    struct cold_store *s = driver->open(place, false);
    struct varve_error err;

    for (int done = 0; done < times;) {
        struct cold_etag etag;
        void *data;
        size_t size;
        char text[32];
        int rc;

        if (cold_store_read(s, "counter", 31, &data, &size, &etag, &err) < 0)
            return 1;
        memcpy(text, data, size);
        text[size] = '\0';
        free(data);
        snprintf(text, sizeof(text), "%d", atoi(text) + 1);
        rc = put_text(s, "counter", text, COLD_IF_MATCH, &etag, NULL, &err);
        if (rc == 0)
            done++;
        else if (rc != VARVE_E_PRECONDITION)
            return 2;
    }
    cold_store_close(s);
    return 0;
}

static int claim_all(const char *place, int claims)
{
    struct cold_store *s = driver->open(place, false);
    int won = 0;

    for (int i = 0; i < claims; i++) {
        char key[32];
        struct varve_error err;
        int rc;

        snprintf(key, sizeof(key), "claim/%d", i);
        rc = put_text(s, key, "mine", COLD_IF_ABSENT, NULL, NULL, &err);
        if (rc != 0 && rc != VARVE_E_PRECONDITION)
            return 255;
        won += rc == 0;
    }
    cold_store_close(s);
    return won;
}

/* Runs `work` in forked processes; returns the sum of what they returned. */
static int run_forked(int (*work)(const char *place, int n), const char *place, int n)
{
    pid_t pids[RACERS_FORKED];
    int sum = 0;

    for (int i = 0; i < RACERS_FORKED; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            _exit(work(place, n));
    }
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

    if (!f->caps.conditional_put)
        skip();
    must_put(f->store, "counter", "0");
    assert_int_equal(run_forked(count_up, support_tmpdir_root(f->tmp), 25), 0);
    must_hold(f->store, "counter", "100");
    assert_int_equal(run_forked(claim_all, support_tmpdir_root(f->tmp), 50), 50);
}

/* ---- list and delete ---- */

static void a_listing_is_in_key_order_and_whole(void **state)
{
    static const char *const keys[] = {"a-b", "a.b", "a/b", "a/b.c", "a/c/d", "a/c/e", "a0", "b"};
    struct fixture *f = *state;
    struct keys *k = calloc(1, sizeof(*k));
    struct varve_error err;

    for (size_t i = 8; i-- > 0;)
        must_put(f->store, keys[i], "x");
    assert_int_equal(cold_store_list_all(f->store, "", keys_visit, k, &err), 0);
    assert_int_equal(k->count, 8);
    for (unsigned i = 0; i < 8; i++)
        assert_string_equal(k->text[i], keys[i]);
    k->count = 0;
    assert_int_equal(cold_store_list_all(f->store, "a/", keys_visit, k, &err), 0);
    assert_int_equal(k->count, 4);
    k->count = 0;
    assert_int_equal(cold_store_list_all(f->store, "a/c", keys_visit, k, &err), 0);
    assert_int_equal(k->count, 2);
    k->count = 0;
    assert_int_equal(cold_store_list_all(f->store, "a/b", keys_visit, k, &err), 0);
    assert_int_equal(k->count, 2);
    k->count = 0;
    assert_int_equal(cold_store_list_all(f->store, "zz/top", keys_visit, k, &err), 0);
    assert_int_equal(k->count, 0);
    assert_int_equal(cold_store_list_all(f->store, "../", keys_visit, k, &err), VARVE_E_INVALID);
    assert_int_equal(cold_store_list_all(f->store, "/", keys_visit, k, &err), VARVE_E_INVALID);
    free(k);
}

static void pages_of_any_size_make_the_same_listing(void **state)
{
    struct fixture *f = *state;
    struct keys *k = calloc(1, sizeof(*k));
    struct varve_error err;

    for (int i = 0; i < 120; i++) {
        char key[64];

        snprintf(key, sizeof(key), "p/%d/%s%d", i % 7, i % 3 ? "d/" : "", i);
        must_put(f->store, key, "x");
    }
    for (unsigned max = 1; max < 130; max = max < 8 ? max + 1 : max * 2) {
        bool more = true;

        k->count = 0;
        for (unsigned pages = 0; more; pages++) {
            char after[64] = "";
            unsigned before = k->count;

            assert_true(pages < 200);
            if (k->count > 0)
                snprintf(after, sizeof(after), "%s", k->text[k->count - 1]);
            assert_int_equal(cold_store_list(f->store, "p/", after[0] ? after : NULL, max,
                                             keys_visit, k, &more, &err),
                             0);
            assert_true(k->count - before <= max);
            if (more)
                assert_int_equal(k->count - before, max);
        }
        assert_int_equal(k->count, 120);
    }
    free(k);
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
    int n = 0;

    for (int i = 0; i < 5; i++) {
        char key[16];

        snprintf(key, sizeof(key), "v/%d", i);
        must_put(f->store, key, "");
    }
    assert_int_equal(cold_store_list_all(f->store, "v/", stop_at_third, &n, &err), 42);
    assert_int_equal(n, 3);
}

static void many_are_deleted_and_missing_ones_are_no_error(void **state)
{
    struct fixture *f = *state;
    struct keys *k = calloc(1, sizeof(*k));
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
    assert_int_equal(cold_store_delete(f->store, doomed, 300, &err), 0);
    assert_int_equal(cold_store_delete(f->store, doomed, 300, &err), 0);
    assert_int_equal(cold_store_delete(f->store, doomed, 0, &err), 0);
    assert_int_equal(cold_store_list_all(f->store, "", keys_visit, k, &err), 0);
    assert_int_equal(k->count, 1);
    must_hold(f->store, "del/0/stays", "y");
    free(k);
}

struct churner {
    struct cold_store *store;
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
        if (put_text(c->store, key, "x", COLD_IF_ABSENT, NULL, NULL, &err) < 0 ||
            cold_store_delete(c->store, keys, 1, &err) < 0)
            c->failures++;
    }
    return NULL;
}

static void puts_and_deletes_beside_each_other_do_not_fail(void **state)
{
    struct fixture *f = *state;
    struct churner churners[4];
    pthread_t threads[4];

    for (int i = 0; i < 4; i++) {
        churners[i] = (struct churner){f->store, i, 0};
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

    return cold_store_upload_part(s, key, u, n, pos, &body, 1, base_crc32c(0, data, size), ret,
                                  &err);
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

    assert_int_equal(cold_store_upload_begin(f->store, "m/obj", &upload, &err), 0);
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
    if (cold_store_upload_complete(f->store, "m/obj", &upload, parts, 8, &how, &etag, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(cold_store_read(f->store, "m/obj", size, &back, &back_size, NULL, &err), 0);
    assert_int_equal(back_size, size);
    assert_memory_equal(back, data, size);
    free(back);
    free(data);
    assert_int_equal(cold_store_upload_abort(f->store, "m/obj", &upload, &err), VARVE_E_NOT_FOUND);
}

struct found_uploads {
    unsigned count;
    struct cold_upload last;
    char key[64];
};

static int uploads_visit(void *arg, const char *key, const struct cold_upload *upload,
                         int64_t started)
{
    struct found_uploads *u = arg;

    assert_true(started > INT64_C(1600000000000));
    u->count++;
    u->last = *upload;
    snprintf(u->key, sizeof(u->key), "%s", key);
    return 0;
}

static void an_upload_is_found_resumed_and_completed_by_another_handle(void **state)
{
    struct fixture *f = *state;
    size_t part = f->caps.part_size_min > 1 ? f->caps.part_size_min : 70000;
    uint8_t *data = pattern(part * 2, 3);
    struct cold_put how = {.condition = COLD_IF_ABSENT};
    struct cold_store *other;
    struct cold_upload upload;
    struct cold_part parts[2];
    struct found_uploads found = {0};
    struct varve_error err;

    assert_int_equal(cold_store_upload_begin(f->store, "m/obj", &upload, &err), 0);
    assert_int_equal(send_part(f->store, "m/obj", &upload, 1, 0, data + part, part, &parts[0]), 0);
    assert_int_equal(send_part(f->store, "m/obj", &upload, 1, 0, data, part, &parts[0]), 0);
    other = driver->open(support_tmpdir_root(f->tmp), false);
    assert_int_equal(cold_store_upload_list(other, "zzz", uploads_visit, &found, &err), 0);
    assert_int_equal(found.count, 0);
    assert_int_equal(cold_store_upload_list(other, "m/", uploads_visit, &found, &err), 0);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.key, "m/obj");
    assert_int_equal(send_part(other, "m/obj", &found.last, 2, part, data + part, part, &parts[1]),
                     0);
    if (cold_store_upload_complete(other, "m/obj", &found.last, parts, 2, &how, NULL, &err) < 0)
        fail_msg("%s", err.msg);
    found.count = 0;
    assert_int_equal(cold_store_upload_list(other, "", uploads_visit, &found, &err), 0);
    assert_int_equal(found.count, 0);
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

    assert_int_equal(cold_store_upload_begin(f->store, "m/obj", &upload, &err), 0);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(send_part(f->store, "m/obj", &upload, i + 1, i * part, data + i * part,
                                   part, &parts[i]),
                         0);
    assert_int_equal(
        cold_store_upload_part(f->store, "m/obj", &upload, 1, 0, &body, 1, 7, &ret, &err),
        VARVE_E_CORRUPT);
    assert_int_equal(ret.number, 99);
    swapped[0] = parts[1];
    swapped[1] = parts[0];
    assert_int_not_equal(
        cold_store_upload_complete(f->store, "m/obj", &upload, swapped, 2, &how, NULL, &err), 0);
    if (f->caps.local) { /* S3 takes the parts that it is told */
        assert_int_equal(
            cold_store_upload_complete(f->store, "m/obj", &upload, parts, 2, &how, NULL, &err),
            VARVE_E_CORRUPT);
        assert_int_equal(
            cold_store_upload_complete(f->store, "m/obj", &upload, parts + 1, 2, &how, NULL, &err),
            VARVE_E_CORRUPT);
    }
    how.has_crc32c = true;
    how.crc32c = base_crc32c(0, data, part * 3) ^ 1;
    assert_int_equal(
        cold_store_upload_complete(f->store, "m/obj", &upload, parts, 3, &how, NULL, &err),
        VARVE_E_CORRUPT);
    must_be_absent(f->store, "m/obj");
    how.crc32c ^= 1;
    assert_int_equal(
        cold_store_upload_complete(f->store, "m/obj", &upload, parts, 3, &how, NULL, &err), 0);
    free(data);
}

static void an_aborted_upload_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct cold_upload upload, wrong = {"../../x"};
    struct cold_part part;
    struct found_uploads found = {0};
    struct cold_put how = {0};
    struct varve_error err;

    assert_int_equal(cold_store_upload_begin(f->store, "m/obj", &upload, &err), 0);
    assert_int_equal(send_part(f->store, "m/obj", &upload, 1, 0, (const uint8_t *)"abc", 3, &part),
                     0);
    assert_int_equal(cold_store_upload_abort(f->store, "m/other", &upload, &err),
                     VARVE_E_NOT_FOUND);
    assert_int_equal(cold_store_upload_abort(f->store, "m/obj", &upload, &err), 0);
    assert_int_equal(cold_store_upload_list(f->store, "", uploads_visit, &found, &err), 0);
    assert_int_equal(found.count, 0);
    assert_int_equal(send_part(f->store, "m/obj", &upload, 1, 0, (const uint8_t *)"abc", 3, &part),
                     VARVE_E_NOT_FOUND);
    assert_int_equal(
        cold_store_upload_complete(f->store, "m/obj", &upload, &part, 1, &how, NULL, &err),
        VARVE_E_NOT_FOUND);
    assert_int_equal(cold_store_upload_abort(f->store, "m/obj", &wrong, &err), VARVE_E_NOT_FOUND);
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
    assert_int_equal(cold_store_upload_begin(f->store, "m/obj", &upload, &err), 0);
    assert_int_equal(send_part(f->store, "m/obj", &upload, 1, 0, (const uint8_t *)"abc", 3, &part),
                     0);
    must_put(f->store, "m/obj", "there first");
    assert_int_equal(
        cold_store_upload_complete(f->store, "m/obj", &upload, &part, 1, &how, NULL, &err),
        VARVE_E_PRECONDITION);
    must_hold(f->store, "m/obj", "there first");
    how.condition = COLD_ALWAYS;
    assert_int_equal(
        cold_store_upload_complete(f->store, "m/obj", &upload, &part, 1, &how, NULL, &err), 0);
    must_hold(f->store, "m/obj", "abc");
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
    s = driver->open(support_tmpdir_root(f->tmp), true);
    assert_int_equal(put_text(s, "k", "x", COLD_ALWAYS, NULL, NULL, &err), VARVE_E_READ_ONLY);
    assert_int_equal(cold_store_delete(s, keys, 1, &err), VARVE_E_READ_ONLY);
    assert_int_equal(cold_store_upload_begin(s, "k", &upload, &err), VARVE_E_READ_ONLY);
    assert_int_equal(cold_store_upload_part(s, "k", &upload, 1, 0, &body, 1, 0, &part, &err),
                     VARVE_E_READ_ONLY);
    assert_int_equal(cold_store_upload_complete(s, "k", &upload, &part, 1, &how, NULL, &err),
                     VARVE_E_READ_ONLY);
    assert_int_equal(cold_store_upload_abort(s, "k", &upload, &err), VARVE_E_READ_ONLY);
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

    must_put(f->store, "k", "12345");
    assert_int_equal(put_text(f->store, "k", "x", COLD_IF_ABSENT, NULL, NULL, &err),
                     VARVE_E_PRECONDITION);
    assert_int_equal(cold_store_get(f->store, "k", 1, 4, buf, &err), 0);
    assert_int_equal(cold_store_get(f->store, "k", 3, 4, buf, &err), VARVE_E_CORRUPT);
    assert_int_equal(cold_store_head(f->store, "k", &meta, &err), 0);
    assert_int_equal(cold_store_get(f->store, "/bad", 1, 4, buf, &err), VARVE_E_INVALID);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_body_is_read_back_as_it_was_put),
        CASE(a_body_that_is_not_what_was_promised_is_not_stored),
        CASE(a_range_is_exact_and_a_short_object_is_corrupt),
        CASE(a_read_above_its_limit_is_refused),
        CASE(a_reader_sees_one_body_or_the_other),
        CASE(odd_keys_are_kept_as_they_are),
        CASE(wrong_keys_are_refused),
        CASE(if_absent_and_if_match_decide),
        CASE(an_etag_does_not_come_back_for_other_bytes),
        CASE(of_racing_threads_exactly_one_wins),
        CASE(racing_processes_lose_no_update_and_win_once),
        CASE(a_listing_is_in_key_order_and_whole),
        CASE(pages_of_any_size_make_the_same_listing),
        CASE(a_visit_can_end_a_listing),
        CASE(many_are_deleted_and_missing_ones_are_no_error),
        CASE(puts_and_deletes_beside_each_other_do_not_fail),
        CASE(parts_sent_in_parallel_make_one_object),
        CASE(an_upload_is_found_resumed_and_completed_by_another_handle),
        CASE(an_upload_that_is_not_whole_is_not_completed),
        CASE(an_aborted_upload_leaves_nothing),
        CASE(a_conditional_complete_loses_to_an_object),
        CASE(a_read_only_store_refuses_every_change),
        CASE(requests_and_bytes_are_counted),
    };
    int failed = 0;

    base_env_init(&env);
    for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
        driver = &drivers[i];
        failed += cmocka_run_group_tests_name(driver->name, tests, NULL, NULL);
    }
    return failed;
}
