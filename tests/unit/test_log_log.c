/* Logs as a whole: names, making and opening them, options, deleting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/file.h"
#include "tests/support/support_log.h"

struct names {
    size_t count;
    char text[512];
};

static int collect_name(void *ctx, const char *name)
{
    struct names *n = ctx;

    n->count++;
    strcat(n->text, name);
    strcat(n->text, ";");
    return 0;
}

static const char *list(struct varve_store *store, struct names *n)
{
    struct varve_error err = {0};

    *n = (struct names){0};
    support_succeeds(varve_store_each_log(store, collect_name, n, &err), &err);
    return n->text;
}

static void names_of_logs_are_checked_everywhere(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = (struct varve_log *)(uintptr_t)1;
    struct varve_error err;
    char longest[250 + 1];
    static const char *const bad[] = {
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "../a",
        "a/..",
        "a/.",
        "@",
        "a@b",
        "a/@",
        "a\nb",
        "a\tb",
        "a\x7f"
        "b",
        "\x01",
        "a\xff",
        "\xc0\xaf",
        "\xed\xa0\x80",
        "a\xc2\x80"
        "b",
    };
    static const char *const good[] = {"a",   "orders/0", "a.b",      "a-b_c",
                                       "..a", "a..",      "ümläut/κ", "with space"};

    memset(longest, 'n', sizeof(longest) - 1);
    longest[250] = '\0';
    support_fails(varve_log_create(store, longest, NULL, 0, &err), &err, VARVE_E_TOO_LARGE, NULL);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (varve_log_create(store, bad[i], NULL, 0, &err) != VARVE_E_INVALID)
            fail_msg("name %zu was taken: %s", i, bad[i]);
        assert_true(err.msg[0] != '\0');
        for (const char *p = err.msg; *p; p++) /* messages are printed: no control characters */
            assert_true((unsigned char)*p >= ' ' && *p != 0x7f);
        assert_int_equal(varve_log_open(store, bad[i], NULL, &log, &err), VARVE_E_INVALID);
        assert_int_equal(varve_log_delete(store, bad[i], &err), VARVE_E_INVALID);
        assert_ptr_equal(log, (void *)(uintptr_t)1);
    }
    (void)good;
    varve_store_close(store);
}

static void what_is_appended_is_there_after_opening_again(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", NULL);
    struct names n;

    assert_int_equal(support_log_append(log, 300, 7), 2100);
    assert_int_equal(support_log_read(log, 0), 2100);
    support_log_tier(log, true, true);
    assert_int_equal(support_log_append(log, 100, 7), 2800);
    assert_int_equal(support_log_read(log, 0), 2800);
    assert_null(varve_log_close(log));
    assert_null(varve_store_close(store));

    store = support_store_open(e, NULL);
    assert_string_equal(list(store, &n), "a;");
    log = support_log_open(store, "a", NULL);
    assert_int_equal(support_log_read(log, 0), 2800);
    assert_int_equal(support_log_append(log, 1, 1), 2801);
    varve_log_close(log);
    varve_store_close(store);
}

/* A clock whose sleep looks at the store. */
static const struct base_clock *clock_below;
static struct varve_store *clock_store;
static unsigned clock_looked;

static void sleep_and_look(void *ctx, int64_t ns)
{
    struct varve_error err = {0};
    struct varve_log *log;

    clock_below->sleep_ns(ctx, ns);
    clock_looked++;
    support_succeeds(varve_log_open(clock_store, "other", NULL, &log, &err), &err);
    varve_log_close(log);
    support_fails(varve_log_open(clock_store, "a", NULL, &log, &err), &err, VARVE_E_BUSY,
                  "it is being deleted");
    support_fails(varve_log_delete(clock_store, "a", &err), &err, VARVE_E_BUSY, NULL);
    support_fails(varve_log_create(clock_store, "a", NULL, 0, &err), &err, VARVE_E_EXISTS, NULL);
}

static void other_logs_go_on_while_one_is_being_deleted(void **state)
{
    struct support_env *e = *state;
    struct base_clock clock = *e->env.clock;
    struct varve_error err;
    struct varve_log *log;

    clock_below = e->env.clock;
    clock.sleep_ns = sleep_and_look;
    e->env.clock = &clock;
    clock_store = support_store_open(e, NULL);
    log = support_log_open(clock_store, "a", "segment.bytes=65536 file.delete.delay.ms=60000");
    support_log_append(log, 3, 10);
    support_log_tier(log, true, true);
    varve_log_close(log);
    varve_log_close(support_log_open(clock_store, "other", NULL));
    clock_looked = 0;
    support_succeeds(varve_log_delete(clock_store, "a", &err), &err);
    assert_int_equal(clock_looked, 1);
    support_fails(varve_log_open(clock_store, "a", NULL, &log, &err), &err, VARVE_E_NOT_FOUND,
                  NULL);
    varve_log_close(support_log_open(clock_store, "a", NULL)); /* it can be made anew */
    varve_store_close(clock_store);
    e->env.clock = clock_below;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(names_of_logs_are_checked_everywhere),
        support_env_test(what_is_appended_is_there_after_opening_again),
        support_env_test(other_logs_go_on_while_one_is_being_deleted),
    };

    return cmocka_run_group_tests_name("log_log", tests, NULL, NULL);
}
