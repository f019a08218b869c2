/* The faulty driver: what each fault does, over the dir driver, and that the seed decides. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "cold/faulty.h"
#include "tests/support/env.h"
#include "tests/support/retry.h"

/* A faulty store and, beside it, another handle of the store under it. */
struct pair {
    struct cold_store *faulty;
    struct cold_store *plain;
};

static struct cold_store *open_url(struct support_env *e, const char *format, const char *script,
                                   struct varve_error *err)
{
    const struct cold_store_options options = {.create = true};
    struct cold_store *store = NULL;
    char url[2048];

    snprintf(url, sizeof(url), format, support_tmpdir_path(e->dir, "store"), script);
    if (cold_store_open(&e->env, url, &options, &store, err) < 0)
        return NULL;
    return store;
}

static struct pair pair_open(struct support_env *e, const char *script)
{
    struct varve_error err = {0};
    struct pair p = {.faulty = open_url(e, "faulty+file://%s?faults=%s&seed=5", script, &err)};

    if (!p.faulty)
        fail_msg("%s", err.msg);
    p.plain = open_url(e, "file://%s", "", &err);
    if (!p.plain)
        fail_msg("%s", err.msg);
    return p;
}

static void pair_close(struct pair *p)
{
    cold_store_close(p->faulty);
    cold_store_close(p->plain);
}

static int put(struct cold_store *s, const char *key, const char *text,
               enum cold_condition condition, struct varve_error *err)
{
    struct iovec body = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    struct cold_put how = {
        .condition = condition, .has_crc32c = true, .crc32c = base_crc32c(0, text, strlen(text))};

    return cold_store_put(s, key, &body, 1, &how, NULL, err);
}

static void must_hold(struct cold_store *s, const char *key, const char *text)
{
    struct varve_error err = {0};
    void *data;
    size_t size;

    if (cold_store_read(s, key, 4096, &data, &size, NULL, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(data, text, size);
    free(data);
}

static void must_lack(struct cold_store *s, const char *key)
{
    struct cold_meta meta;

    assert_int_equal(cold_store_head(s, key, &meta, NULL), VARVE_E_NOT_FOUND);
}

/* ---- which calls ---- */

struct run {
    struct cold_store *store;
    unsigned from, step;
    char *outcomes; /* a letter a call: keys x tries */
};

#define RUN_KEYS 64
#define RUN_TRIES 6

static void *run_thread(void *arg)
{
    struct run *r = arg;

    for (unsigned k = r->from; k < RUN_KEYS; k += r->step)
        for (unsigned i = 0; i < RUN_TRIES; i++) {
            struct cold_meta meta;
            struct varve_error err = {0};
            char key[32];
            int rc;

            snprintf(key, sizeof(key), "none/%u", k);
            rc = cold_store_head(r->store, key, &meta, &err);
            r->outcomes[k * RUN_TRIES + i] = rc == VARVE_E_STORE ? 'x' : '.';
        }
    return NULL;
}

static void run_heads(struct support_env *e, const char *script, unsigned threads,
                      char outcomes[RUN_KEYS * RUN_TRIES + 1])
{
    struct varve_error err = {0};
    struct cold_store *s = open_url(e, "faulty+file://%s?%s", script, &err);
    struct run runs[4];
    pthread_t ids[4];

    assert_non_null(s);
    memset(outcomes, 0, RUN_KEYS * RUN_TRIES + 1);
    for (unsigned i = 0; i < threads; i++) {
        runs[i] = (struct run){s, i, threads, outcomes};
        assert_int_equal(pthread_create(&ids[i], NULL, run_thread, &runs[i]), 0);
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    cold_store_close(s);
}

static void the_seed_decides_and_not_the_threads(void **state)
{
    struct support_env *e = *state;
    char one[RUN_KEYS * RUN_TRIES + 1], four[sizeof(one)], other[sizeof(one)];
    unsigned failed = 0;

    run_heads(e, "seed=1&faults=head:error@1/4", 1, one);
    run_heads(e, "faults=head:error@1/4&seed=1", 4, four);
    run_heads(e, "seed=2&faults=head:error@1/4", 1, other);
    assert_string_equal(one, four);
    assert_string_not_equal(one, other);
    for (const char *c = one; *c; c++)
        failed += *c == 'x';
    /* 384 calls: one in four is 96, and five deviations are 42. */
    assert_in_range(failed, 54, 138);
}

static void calls_are_counted_by_key_range_and_part(void **state)
{
    struct support_env *e = *state;
    struct pair p = pair_open(e, "get:error@1,head(a*):error@2-3,head(b):error@3-");
    struct cold_meta meta;
    struct varve_error err = {0};
    char buf[4];

    assert_int_equal(put(p.plain, "a", "0123", COLD_ALWAYS, &err), 0);
    assert_int_equal(put(p.plain, "b", "0123", COLD_ALWAYS, &err), 0);
    assert_int_equal(cold_store_get(p.faulty, "a", 0, 2, buf, &err), VARVE_E_STORE);
    assert_true(err.retriable);
    assert_non_null(strstr(err.msg, "get a in faulty+file://"));
    assert_int_equal(cold_store_get(p.faulty, "a", 2, 2, buf, &err), VARVE_E_STORE);
    assert_int_equal(cold_store_get(p.faulty, "a", 0, 2, buf, &err), 0);
    assert_int_equal(cold_store_get(p.faulty, "a", 2, 2, buf, &err), 0);
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(cold_store_head(p.faulty, "a", &meta, &err),
                         i == 2 || i == 3 ? VARVE_E_STORE : 0);
        assert_int_equal(cold_store_head(p.faulty, "b", &meta, &err), i >= 3 ? VARVE_E_STORE : 0);
    }
    pair_close(&p);
}

static void a_rule_that_is_none_is_named(void **state)
{
    static const char *const wrong[] = {
        "put",
        "put:",
        "put:err",
        ":lost",
        "get:twice",
        "put:cut",
        "list:flip",
        "put:lost@",
        "put:lost@0",
        "put:lost@2/3",
        "put:lost@1/0",
        "put:lost@5-4",
        "put:late",
        "get:delay",
        "get:delay=x",
        "put(:lost",
        "put():lost",
        "pot:lost",
        "put+:lost",
        "get:delay=9-3",
        "put:error=no",
        "put:lost=store",
        "all:error@1/2,x",
        "put:late=-1",
        "get:delay=5ms-",
        "put(a)b:lost",
        "get:stale=1s",
        "put:lost@1/2/3",
        "put:lost@-3",
        "delete:conflict",
        /* in nanoseconds these turned round */
        "list:delay=1111111111111111111",
        "get:delay=1-9223372036854775807",
    };
    struct support_env *e = *state;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct varve_error err = {0};
        const char *comma = strrchr(wrong[i], ',');

        if (open_url(e, "faulty+file://%s?faults=%s", wrong[i], &err))
            fail_msg("'%s' was taken for a rule", wrong[i]);
        assert_int_equal(err.code, VARVE_E_INVALID);
        assert_non_null(strstr(err.msg, comma ? comma + 1 : wrong[i]));
    }
}

static void a_pattern_may_hold_what_rules_are_made_of(void **state)
{
    struct support_env *e = *state;
    struct pair p = pair_open(e, "head(a,b:c@1*):error,head([x-z]/?):error=denied");
    struct cold_meta meta;
    struct varve_error err = {0};

    assert_int_equal(cold_store_head(p.faulty, "a,b:c@12", &meta, &err), VARVE_E_STORE);
    assert_int_equal(cold_store_head(p.faulty, "y/1", &meta, &err), VARVE_E_DENIED);
    assert_false(err.retriable);
    assert_int_equal(cold_store_head(p.faulty, "y/12", &meta, &err), VARVE_E_NOT_FOUND);
    pair_close(&p);
}

static void names_of_the_other_driver_are_its_own(void **state)
{
    struct support_env *e = *state;
    struct varve_error err = {0};
    struct cold_store *s;

    assert_null(open_url(e, "faulty+file://%s?seed=x%s", "", &err));
    assert_non_null(strstr(err.msg, "seed=x"));
    assert_null(open_url(e, "faulty+file://%s?seed=1&region=x%s", "", &err));
    assert_non_null(strstr(err.msg, "'region'"));
    assert_null(open_url(e, "faulty+nothing://%s?seed=1%s", "", &err));
    assert_int_equal(err.code, VARVE_E_INVALID);
    s = open_url(e, "FAULTY+file://%s%s", "", &err); /* no faults, no query */
    assert_non_null(s);
    assert_int_equal(put(s, "k", "v", COLD_ALWAYS, &err), 0);
    must_hold(s, "k", "v");
    cold_store_close(s);
}

/* ---- what happens ---- */

static void a_lost_reply_hides_what_was_done(void **state)
{
    struct support_env *e = *state;
    struct pair p = pair_open(e, "put+delete+begin+complete:lost@1");
    const char *const key[] = {"k"};
    struct support_uploads uploads;
    struct cold_upload upload = {"untouched"};
    struct varve_error err = {0};

    assert_int_equal(put(p.faulty, "k", "v", COLD_IF_ABSENT, &err), VARVE_E_STORE);
    assert_true(err.retriable);
    must_hold(p.plain, "k", "v");
    assert_int_equal(put(p.faulty, "k", "v", COLD_IF_ABSENT, &err), VARVE_E_PRECONDITION);
    assert_int_equal(cold_store_delete(p.faulty, key, 1, &err), VARVE_E_STORE);
    must_lack(p.plain, "k");
    assert_int_equal(cold_store_upload_begin(p.faulty, "k", &upload, &err), VARVE_E_STORE);
    assert_string_equal(upload.id, "untouched");
    assert_int_equal(support_retry_uploads(p.plain, "", &uploads, &err), 0);
    assert_int_equal(uploads.count, 1);
    pair_close(&p);
}

static void a_write_repeated_by_the_driver_loses_to_itself(void **state)
{
    struct support_env *e = *state;
    struct pair p = pair_open(e, "put:twice@1");
    struct varve_error err = {0};

    assert_int_equal(put(p.faulty, "k", "v", COLD_IF_ABSENT, &err), VARVE_E_PRECONDITION);
    must_hold(p.plain, "k", "v");
    assert_int_equal(put(p.faulty, "l", "v", COLD_ALWAYS, &err), 0);
    pair_close(&p);
}

static void a_conflict_is_of_conditional_writes(void **state)
{
    struct support_env *e = *state;
    struct pair p = pair_open(e, "all:conflict");
    struct varve_error err = {0};

    assert_int_equal(put(p.faulty, "k", "v", COLD_IF_ABSENT, &err), VARVE_E_STORE);
    assert_true(err.retriable);
    assert_non_null(strstr(err.msg, "409"));
    must_lack(p.plain, "k");
    assert_int_equal(put(p.faulty, "k", "v", COLD_ALWAYS, &err), 0);
    pair_close(&p);
}

static void a_late_write_comes_when_nobody_expects_it(void **state)
{
    struct support_env *e = *state;
    struct pair p = pair_open(e, "put(k):late=2s@1,delete:late=1s@1,put(z):late=1h");
    const char *const key[] = {"k"};
    struct cold_meta meta;
    struct varve_error err = {0};

    assert_int_equal(put(p.faulty, "k", "first", COLD_ALWAYS, &err), VARVE_E_STORE);
    assert_true(err.retriable);
    must_lack(p.plain, "k");
    assert_int_equal(put(p.faulty, "k", "second", COLD_ALWAYS, &err), 0);
    support_clock_advance_ms(&e->clock, 1999);
    assert_int_equal(cold_store_head(p.faulty, "k", &meta, &err), 0);
    must_hold(p.plain, "k", "second");
    support_clock_advance_ms(&e->clock, 1);
    assert_int_equal(cold_store_head(p.faulty, "k", &meta, &err), 0);
    assert_int_equal(meta.size, 5);
    must_hold(p.plain, "k", "first");
    assert_int_equal(cold_store_delete(p.faulty, key, 1, &err), VARVE_E_STORE);
    must_hold(p.faulty, "k", "first");
    support_clock_advance_ms(&e->clock, 1000);
    must_lack(p.faulty, "k");
    assert_int_equal(put(p.faulty, "z", "at the end", COLD_IF_ABSENT, &err), VARVE_E_STORE);
    must_lack(p.plain, "z");
    p.faulty = cold_store_close(p.faulty);
    must_hold(p.plain, "z", "at the end");
    pair_close(&p);
}

static void bodies_are_cut_shortened_and_flipped(void **state)
{
    struct support_env *e = *state;
    struct pair p = pair_open(e, "get:cut@1,get:short@2,get:flip@3");
    struct varve_error err = {0};
    void *data = NULL;
    size_t size;
    char buf[10];
    unsigned bits = 0;

    assert_int_equal(put(p.plain, "k", "0123456789", COLD_ALWAYS, &err), 0);
    assert_int_equal(cold_store_get(p.faulty, "k", 0, 10, buf, &err), VARVE_E_STORE);
    assert_true(err.retriable);
    assert_memory_equal(buf, "01234", 5);
    assert_memory_not_equal(buf + 5, "56789", 5);
    assert_int_equal(cold_store_get(p.faulty, "k", 0, 10, buf, &err), VARVE_E_CORRUPT);
    assert_false(err.retriable);
    assert_int_equal(cold_store_get(p.faulty, "k", 0, 10, buf, &err), 0);
    for (int i = 0; i < 10; i++)
        bits += (unsigned)__builtin_popcount((unsigned char)(buf[i] ^ "0123456789"[i]));
    assert_int_equal(bits, 1);
    assert_int_equal(cold_store_get(p.faulty, "k", 0, 10, buf, &err), 0);
    assert_memory_equal(buf, "0123456789", 10);

    assert_int_equal(put(p.plain, "l", "0123456789", COLD_ALWAYS, &err), 0);
    assert_int_equal(cold_store_read(p.faulty, "l", 10, &data, &size, NULL, &err), VARVE_E_STORE);
    assert_null(data);
    assert_int_equal(cold_store_read(p.faulty, "l", 10, &data, &size, NULL, &err), 0);
    assert_int_equal(size, 5);
    free(data);
    pair_close(&p);
}

static void what_the_store_keeps_is_not_what_was_put(void **state)
{
    struct support_env *e = *state;
    struct pair p = pair_open(e, "put:flip@1");
    struct varve_error err = {0};
    char buf[10];
    unsigned bits = 0;

    assert_int_equal(put(p.faulty, "k", "0123456789", COLD_ALWAYS, &err), 0);
    assert_int_equal(cold_store_get(p.plain, "k", 0, 10, buf, &err), 0);
    for (int i = 0; i < 10; i++)
        bits += (unsigned)__builtin_popcount((unsigned char)(buf[i] ^ "0123456789"[i]));
    assert_int_equal(bits, 1);
    pair_close(&p);
}

static void delays_pass_on_the_clock_and_add_up(void **state)
{
    struct support_env *e = *state;
    struct pair p = pair_open(e, "head:delay=30ms,all:delay=2s@2,get:delay=10-20");
    struct cold_meta meta;
    struct cold_caps caps;
    struct varve_error err = {0};
    int64_t before = atomic_load(&e->clock.mono_ns);
    char buf[1];

    assert_int_equal(cold_store_head(p.faulty, "k", &meta, &err), VARVE_E_NOT_FOUND);
    assert_int_equal(atomic_load(&e->clock.mono_ns) - before, 30 * 1000000);
    assert_int_equal(cold_store_head(p.faulty, "k", &meta, &err), VARVE_E_NOT_FOUND);
    assert_int_equal(atomic_load(&e->clock.mono_ns) - before, 2060 * INT64_C(1000000));
    before = atomic_load(&e->clock.mono_ns);
    assert_int_equal(cold_store_get(p.faulty, "k", 0, 1, buf, &err), VARVE_E_NOT_FOUND);
    assert_in_range(atomic_load(&e->clock.mono_ns) - before, 10 * 1000000, 20 * 1000000);
    cold_store_caps(p.faulty, &caps);
    assert_false(caps.local); /* what is slow is worth caching */
    pair_close(&p);
}

static void must_list(struct cold_store *s, unsigned max, const char *const *keys, unsigned count)
{
    struct support_keys k = {0};
    struct varve_error err = {0};
    bool more = true;

    while (more) {
        unsigned before = k.count;

        assert_int_equal(
            support_retry_list(s, "d/", before ? k.text[before - 1] : NULL, max, &k, &more, &err),
            0);
        assert_true(k.count - before <= max);
        assert_true(!more || k.count > before);
    }
    assert_int_equal(k.count, count);
    for (unsigned i = 0; i < count; i++)
        assert_string_equal(k.text[i], keys[i]);
    support_keys_deinit(&k);
}

static int size_visit(void *arg, const char *key, const struct cold_meta *meta)
{
    if (strcmp(key, "d/c") == 0)
        *(uint64_t *)arg = meta->size;
    return 0;
}

static void a_stale_listing_shows_the_past(void **state)
{
    static const char *const past[] = {"d/a", "d/c", "d/e", "d/f"};
    static const char *const now[] = {"d/b", "d/c", "d/d", "d/g", "d/h"};
    static const char *const gone[] = {"d/a", "d/e", "d/f"};
    struct support_env *e = *state;
    struct pair p = pair_open(e, "list:stale=5s");
    struct varve_error err = {0};
    uint64_t size = 0;

    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(put(p.plain, past[i], "old", COLD_ALWAYS, &err), 0);
    must_list(p.faulty, 100, past, 4);
    assert_int_equal(cold_store_delete(p.faulty, gone, 3, &err), 0);
    support_clock_advance_ms(&e->clock, 3000);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(put(p.faulty, now[i], "newer", COLD_ALWAYS, &err), 0);
    assert_int_equal(put(p.faulty, "e", "of another prefix", COLD_ALWAYS, &err), 0);
    for (unsigned max = 1; max < 10; max++) {
        must_list(p.faulty, max, past, 4);
        must_list(p.plain, max, now, 5);
    }
    assert_int_equal(cold_store_list_all(p.faulty, "d/", size_visit, &size, &err), 0);
    assert_int_equal(size, 3);
    support_clock_advance_ms(&e->clock, 2000); /* the deletion is old enough, the puts are not */
    must_list(p.faulty, 1, &past[1], 1);
    support_clock_advance_ms(&e->clock, 3000);
    must_list(p.faulty, 2, now, 5);
    assert_int_equal(cold_store_list_all(p.faulty, "d/", size_visit, &size, &err), 0);
    assert_int_equal(size, 5);
    pair_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(the_seed_decides_and_not_the_threads),
        support_env_test(calls_are_counted_by_key_range_and_part),
        support_env_test(a_rule_that_is_none_is_named),
        support_env_test(a_pattern_may_hold_what_rules_are_made_of),
        support_env_test(names_of_the_other_driver_are_its_own),
        support_env_test(a_lost_reply_hides_what_was_done),
        support_env_test(a_write_repeated_by_the_driver_loses_to_itself),
        support_env_test(a_conflict_is_of_conditional_writes),
        support_env_test(a_late_write_comes_when_nobody_expects_it),
        support_env_test(bodies_are_cut_shortened_and_flipped),
        support_env_test(what_the_store_keeps_is_not_what_was_put),
        support_env_test(delays_pass_on_the_clock_and_add_up),
        support_env_test(a_stale_listing_shows_the_past),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
