/* The prober over stores that do well, and over some that do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "cold/faulty.h"
#include "cold/probe.h"
#include "tests/support/tmpdir.h"

/* A store that passes calls on, but ignores conditions, or refuses ETags that do not suit it. */
struct liar {
    struct cold_store *under;
    bool ignores_absent, ignores_match, unquoted;
    bool away;
    struct cold_caps caps;
};

static void liar_close(void *self)
{
    (void)self;
}

static void liar_caps(void *self, struct cold_caps *ret)
{
    *ret = ((struct liar *)self)->caps;
}

static void liar_set_caps(void *self, const struct cold_caps *caps)
{
    ((struct liar *)self)->caps = *caps;
}

static int liar_put(void *self, const char *key, const struct iovec *body, int count,
                    const struct cold_put *how, struct cold_etag *ret_etag, struct varve_error *err)
{
    struct liar *l = self;
    struct cold_put as = *how;

    if (l->away)
        return base_fail_retriable(err, VARVE_E_STORE, "put %s: away", key);
    if ((how->condition == COLD_IF_ABSENT && l->ignores_absent) ||
        (how->condition == COLD_IF_MATCH && l->ignores_match))
        as.condition = COLD_ALWAYS;
    if (how->condition == COLD_IF_MATCH && l->unquoted && !l->caps.etag_unquoted)
        return base_fail(err, VARVE_E_PRECONDITION, "put %s: quoted", key);
    return cold_store_put(l->under, key, body, count, &as, ret_etag, err);
}

static int liar_get(void *self, const char *key, uint64_t pos, size_t size, void *buf,
                    struct varve_error *err)
{
    return cold_store_get(((struct liar *)self)->under, key, pos, size, buf, err);
}

static int liar_read(void *self, const char *key, size_t size_max, int64_t patience_ms, void **ret,
                     size_t *ret_size, struct cold_etag *ret_etag, struct varve_error *err)
{
    return cold_store_read_within(((struct liar *)self)->under, key, size_max, patience_ms, ret,
                                  ret_size, ret_etag, err);
}

static int liar_head(void *self, const char *key, struct cold_meta *ret, struct varve_error *err)
{
    return cold_store_head(((struct liar *)self)->under, key, ret, err);
}

static int liar_list(void *self, const char *prefix, const char *start_after, unsigned max,
                     int (*visit)(void *arg, const char *key, const struct cold_meta *meta),
                     void *arg, bool *ret_more, struct varve_error *err)
{
    return cold_store_list(((struct liar *)self)->under, prefix, start_after, max, visit, arg,
                           ret_more, err);
}

static int liar_remove(void *self, const char *const *keys, size_t count, struct varve_error *err)
{
    return cold_store_delete(((struct liar *)self)->under, keys, count, err);
}

static int liar_begin(void *self, const char *key, struct cold_upload *ret, struct varve_error *err)
{
    (void)self;
    (void)ret;
    return base_fail(err, VARVE_E_UNSUPPORTED, "begin upload of %s: no", key);
}

static int liar_trial(void *self, const char *key, enum cold_trial trial, bool *ret_refused,
                      struct varve_error *err)
{
    (void)self;
    (void)key;
    (void)err;
    *ret_refused = trial == COLD_TRIAL_WRONG_SHA256;
    return 0;
}

static const struct cold_store_ops liar_ops = {
    .name = "liar",
    .close = liar_close,
    .caps = liar_caps,
    .set_caps = liar_set_caps,
    .put = liar_put,
    .get = liar_get,
    .read = liar_read,
    .head = liar_head,
    .list = liar_list,
    .remove = liar_remove,
    .upload_begin = liar_begin,
    .trial = liar_trial,
};

static struct base_env env;

struct fixture {
    struct support_tmpdir *tmp;
    struct cold_store *dir;
    struct liar liar;
    struct cold_store *store;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const struct cold_store_options options = {.create = true};

    base_env_init(&env);
    f->tmp = support_tmpdir_new("probe");
    assert_int_equal(
        cold_store_open(&env, support_tmpdir_path(f->tmp, "cold"), &options, &f->dir, NULL), 0);
    f->liar.under = f->dir;
    assert_int_equal(cold_store_new(&env, "liar:", &liar_ops, &f->liar, false, &f->store, NULL), 0);
    *state = f;
    return 0;
}

static int nothing_left(void *arg, const char *key, const struct cold_meta *meta)
{
    (void)meta;
    print_error("left behind: %s\n", key);
    ++*(int *)arg;
    return 0;
}

static int upload_left(void *arg, const char *key, const struct cold_upload *upload,
                       int64_t started)
{
    (void)upload;
    (void)started;
    return nothing_left(arg, key, NULL);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    int left = 0;

    assert_int_equal(cold_store_list_all(f->dir, "", nothing_left, &left, NULL), 0);
    assert_int_equal(left, 0);
    cold_store_close(f->store);
    cold_store_close(f->dir);
    support_tmpdir_free(f->tmp);
    free(f);
    return 0;
}

static void must_say(const struct cold_probe *p, const char *name, enum cold_probe_verdict verdict)
{
    const struct cold_probe_check *c = cold_probe_find(p, name);

    assert_non_null(c);
    if (c->verdict != verdict)
        fail_msg("%s: %d %s", name, c->verdict, c->detail);
    assert_true((c->verdict == COLD_PROBE_YES) || c->detail[0]);
}

static void a_directory_does_all_that_it_promises(void **state)
{
    static const char *const names[] = {
        "write",  "if-absent", "if-match",     "race",
        "ranges", "multipart", "list-uploads", "conditional-complete",
        "list",   "delete"};
    struct fixture *f = *state;
    struct cold_probe p;
    struct varve_error err;

    if (cold_probe_run(&env, f->dir, &p, &err) < 0)
        fail_msg("%s", err.msg);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        must_say(&p, names[i], COLD_PROBE_YES);
    must_say(&p, "sha256", COLD_PROBE_UNKNOWN);
    assert_true(p.caps.conditional_put && p.caps.conditional_complete && p.caps.ordered_list);
}

static void ignored_conditions_are_found_out(void **state)
{
    struct fixture *f = *state;
    struct cold_probe p;
    struct varve_error err;

    f->liar.ignores_absent = true;
    assert_int_equal(cold_probe_run(&env, f->store, &p, &err), 0);
    must_say(&p, "if-absent", COLD_PROBE_NO);
    must_say(&p, "if-match", COLD_PROBE_YES);
    assert_null(cold_probe_find(&p, "race"));
    assert_false(p.caps.conditional_put);
    f->liar.ignores_absent = false;
    f->liar.ignores_match = true;
    assert_int_equal(cold_probe_run(&env, f->store, &p, &err), 0);
    must_say(&p, "if-match", COLD_PROBE_NO);
    assert_false(p.caps.conditional_put);
    assert_false(p.caps.etag_unquoted);
    assert_false(f->liar.caps.conditional_put); /* the store goes by it from now on */
    must_say(&p, "multipart", COLD_PROBE_NO);
    must_say(&p, "sha256", COLD_PROBE_YES);
    must_say(&p, "crc32c", COLD_PROBE_NO);
}

static void a_store_that_wants_bare_etags_gets_them(void **state)
{
    struct fixture *f = *state;
    struct cold_probe p;
    struct varve_error err;

    f->liar.unquoted = true;
    assert_int_equal(cold_probe_run(&env, f->store, &p, &err), 0);
    must_say(&p, "if-match", COLD_PROBE_YES);
    must_say(&p, "race", COLD_PROBE_YES);
    assert_true(p.caps.etag_unquoted);
    assert_true(p.caps.conditional_put);
}

static void a_store_that_cannot_be_reached_is_an_error_and_no_verdict(void **state)
{
    struct fixture *f = *state;
    struct cold_probe p;
    struct varve_error err;

    f->liar.away = true;
    assert_int_equal(cold_probe_run(&env, f->store, &p, &err), VARVE_E_STORE);
    assert_true(err.retriable);
    assert_int_equal(p.count, 0);
}

/* The Nth of the requests is done, and its reply is lost, or there is no memory to read it. */
struct lost {
    _Atomic unsigned seen; /* several racers ask at once */
    unsigned nth;
    int code;
};

static int lose(void *ctx, enum cold_op op, const char *key, bool after)
{
    struct lost *l = ctx;

    (void)op;
    (void)key;
    return after && ++l->seen == l->nth ? l->code : 0;
}

static void nothing_is_concluded(void **state, int code)
{
    const struct cold_store_options options = {.create = true};
    struct fixture *f = *state;
    char clean[COLD_CAPS_TEXT_SIZE], text[COLD_CAPS_TEXT_SIZE];
    unsigned failed = 0;
    int left;
    struct lost lost = {.code = code};

    for (;; lost.nth++) {
        struct cold_faulty_hook hook = {.fault = lose, .ctx = &lost};
        struct cold_store *under, *store;
        struct cold_probe p;
        struct varve_error err = {0};
        int rc;

        lost.seen = 0;
        assert_int_equal(
            cold_store_open(&env, support_tmpdir_path(f->tmp, "cold"), &options, &under, NULL), 0);
        assert_int_equal(
            cold_faulty_new(&env, "faulty+dir", under, NULL, 1, &hook, false, &store, NULL), 0);
        rc = cold_probe_run(&env, store, &p, &err);
        cold_store_close(store);
        left = 0;
        assert_int_equal(cold_store_list_all(f->dir, "", nothing_left, &left, NULL), 0);
        assert_int_equal(cold_store_upload_list(f->dir, "", upload_left, &left, NULL), 0);
        assert_int_equal(left, 0);
        if (rc < 0 && (rc != code || err.retriable != (code == VARVE_E_STORE)))
            fail_msg("request %u: %s: %s", lost.nth, varve_error_name(rc), err.msg);
        failed += rc < 0;
        if (rc == 0)
            cold_caps_encode(&p.caps, text);
        if (lost.nth == 0)
            strcpy(clean, text);
        else if (rc == 0)
            assert_string_equal(text, clean);
        if (lost.nth > 0 && lost.seen < lost.nth)
            break; /* there are no more */
    }
    assert_true(failed > 20);
}

/* A read whose reply was lost made a store "without conditional writes", for good. */
static void nothing_is_concluded_from_a_lost_reply(void **state)
{
    nothing_is_concluded(state, VARVE_E_STORE);
}

/* So did one for whose reply there was no memory. */
static void nothing_is_concluded_from_lack_of_memory(void **state)
{
    nothing_is_concluded(state, VARVE_E_NO_MEMORY);
}

static void caps_come_back_from_their_text(void **state)
{
    struct cold_caps caps = {.conditional_put = true, .etag_unquoted = true}, back = {0};
    char text[COLD_CAPS_TEXT_SIZE];

    (void)state;
    cold_caps_encode(&caps, text);
    back.verifies_crc32c = back.conditional_complete = true;
    back.parallel = 7;
    cold_caps_decode(text, &back);
    assert_true(back.conditional_put && back.etag_unquoted);
    assert_false(back.verifies_crc32c || back.conditional_complete);
    assert_int_equal(back.parallel, 7); /* not the probe's */
    cold_caps_decode("of-the-future=1 conditional-put=0  etag-unquoted", &back);
    assert_false(back.conditional_put);
    assert_true(back.etag_unquoted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_directory_does_all_that_it_promises, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_concluded_from_a_lost_reply, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_concluded_from_lack_of_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(ignored_conditions_are_found_out, setup, teardown),
        cmocka_unit_test_setup_teardown(a_store_that_wants_bare_etags_gets_them, setup, teardown),
        cmocka_unit_test_setup_teardown(a_store_that_cannot_be_reached_is_an_error_and_no_verdict,
                                        setup, teardown),
        cmocka_unit_test(caps_come_back_from_their_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
