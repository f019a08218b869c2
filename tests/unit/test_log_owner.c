/* Ownership as an embedding program sees it: refusals, tails set aside, settings of a store. */
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "tests/support/file.h"
#include "tests/support/support_log.h"

/* A second store beside the first, on its cold tier. */
static const char *second_path(struct support_env *e)
{
    return support_tmpdir_path(e->dir, "second");
}

static struct varve_store *second_open(struct support_env *e, bool take_over)
{
    struct varve_store_options options = support_store_options(e);
    struct varve_store *store = NULL;
    struct varve_error err;

    options.cold_url = support_store_path(e, "cold");
    options.adopt = true;
    options.take_over = take_over;
    if (!support_file_exists(second_path(e)))
        support_succeeds(log_store_create_env(&e->env, second_path(e), &options, &err), &err);
    support_succeeds(log_store_open_env(&e->env, second_path(e), &options, &store, &err), &err);
    return store;
}

struct divergent {
    unsigned files;
    int64_t first, end;
    uint32_t epoch;
};

static int visit_divergent(void *ctx, const struct varve_divergent_info *file)
{
    struct divergent *d = ctx;

    assert_true(support_file_exists(file->path));
    assert_true(file->size > 0);
    d->files++;
    d->first = d->files == 1 ? file->first_offset : d->first;
    d->end = file->end_offset;
    d->epoch = file->epoch;
    return 0;
}

static int stop_at_once(void *ctx, const struct varve_divergent_info *file)
{
    (void)file;
    ++*(int *)ctx;
    return 17;
}

/* 0..50 uploaded, 50..75 local; then the second store takes over and goes on from 50 to 60. */
static void diverge(struct support_env *e)
{
    struct varve_store *a = support_store_open(e, NULL), *b = second_open(e, true);
    struct varve_log *log = support_log_open(a, "x/y", NULL), *theirs;

    support_log_append(log, 10, 5);
    support_log_tier(log, true, false);
    support_log_append(log, 5, 5);
    theirs = support_log_open(b, "x/y", NULL);
    assert_int_equal(support_log_append(theirs, 2, 5), 60);
    support_log_tier(theirs, true, false);
    varve_log_close(theirs);
    varve_store_close(b);
    varve_log_close(log);
    varve_store_close(a);
}

static void a_refused_opening_sets_the_tail_aside_and_readers_see_the_owners_log(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    struct divergent d = {0};
    struct varve_store *a;
    struct varve_log *log = NULL;
    struct varve_log_info info;
    struct varve_error err;
    int calls = 0;

    diverge(e);
    a = support_store_open(e, NULL);
    support_fails(varve_log_open(a, "x/y", NULL, &log, &err), &err, VARVE_E_FENCED,
                  "owned by another store");
    assert_null(log);
    assert_int_equal(support_logger_count(e->logger, BASE_LOG_WARNING, "offsets 50 to 75"), 1);
    varve_store_close(a);

    options.read_only = true;
    a = support_store_open(e, &options);
    log = support_log_open(a, "x/y", NULL);
    assert_int_equal(support_log_read(log, 0), 60);
    info = support_log_info(log);
    assert_false(info.owned);
    assert_int_equal(strlen(info.owner), 32);
    assert_int_equal(info.epoch, 1);
    assert_int_equal(info.hot_segments, 0);
    assert_true(info.divergent_segments > 0 && info.divergent_bytes > 0);
    support_succeeds(varve_log_each_divergent(log, visit_divergent, &d, &err), &err);
    assert_int_equal(d.files, info.divergent_segments);
    assert_int_equal(d.first, 50);
    assert_int_equal(d.end, 75);
    assert_int_equal(d.epoch, 0);
    assert_int_equal(varve_log_each_divergent(log, stop_at_once, &calls, &err), 17);
    assert_int_equal(calls, 1);
    varve_log_close(log);
    varve_store_close(a);
}

static void one_log_alone_is_taken_over(void **state)
{
    struct support_env *e = *state;
    struct varve_log_options options = {.size = sizeof(options), .take_over = true};
    struct varve_store *a = support_store_open(e, NULL), *b;
    struct varve_log *log = support_log_open(a, "x", NULL), *other = support_log_open(a, "y", NULL);
    struct varve_log *theirs = NULL;
    struct varve_error err;

    b = second_open(e, false);
    support_succeeds(varve_log_open(b, "x", &options, &theirs, &err), &err);
    assert_true(support_log_info(theirs).owned);
    varve_log_close(theirs);
    support_fails(varve_log_open(b, "y", NULL, &theirs, &err), &err, VARVE_E_FENCED, NULL);
    /* An option struct of an older program does not have it. */
    options.size = offsetof(struct varve_log_options, take_over);
    support_fails(varve_log_open(b, "y", &options, &theirs, &err), &err, VARVE_E_FENCED, NULL);
    varve_store_close(b);
    varve_log_close(other);
    varve_log_close(log);
    varve_store_close(a);
}

static void what_is_synced_after_a_take_over_is_not_acknowledged(void **state)
{
    struct support_env *e = *state;
    struct varve_store *a = support_store_open(e, NULL), *b = second_open(e, true);
    struct varve_log *log = support_log_open(a, "x", NULL), *theirs;
    struct varve_record record = {.value = "x", .value_size = 1};
    struct varve_tier_options tier = {.size = sizeof(tier), .seal = true};
    struct varve_error err;
    int64_t offset = -7;

    support_log_append(log, 1, 5);
    theirs = support_log_open(b, "x", NULL);
    support_logger_expect(e->logger, "taken it over");
    support_fails(varve_log_tier(log, &tier, &err), &err, VARVE_E_FENCED, NULL);
    support_fails(varve_log_sync(log, &err), &err, VARVE_E_FENCED, "epoch 1; ours was 0");
    support_fails(varve_log_append_record(log, &record, &offset, &err), &err, VARVE_E_FENCED,
                  "has taken it over");
    assert_int_equal(offset, -7);
    varve_log_close(theirs);
    varve_store_close(b);
    varve_log_close(log);
    varve_store_close(a);
}

static int find_option(void *ctx, const char *name, const char *value, bool is_default)
{
    if (strcmp(name, "owner.check.ms") == 0) {
        strcpy(ctx, value);
        strcat(ctx, is_default ? " default" : " set");
    }
    return 0;
}

static void settings_of_a_store_can_be_changed(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    const struct varve_option given = {"owner.check.ms", "2s"}, wrong = {"owner.check.ms", "1"};
    const struct varve_option unknown = {"cold", "elsewhere"}, other = {"cache.bytes", "1MiB"};
    struct varve_store *store;
    struct varve_error err;
    char value[64] = "";

    store = support_store_open(e, &options);
    support_succeeds(varve_store_each_option(store, find_option, value, &err), &err);
    assert_string_equal(value, "60000 default");
    support_fails(varve_store_configure(store, &wrong, 1, &err), &err, VARVE_E_INVALID,
                  "from 100 to");
    support_fails(varve_store_configure(store, &unknown, 1, &err), &err, VARVE_E_INVALID,
                  "no setting cold");
    support_succeeds(varve_store_configure(store, &given, 1, &err), &err);
    support_succeeds(varve_store_configure(store, &other, 1, &err), &err);
    support_succeeds(varve_store_each_option(store, find_option, value, &err), &err);
    assert_string_equal(value, "2000 set");
    varve_store_close(store);
    options.read_only = true;
    store = support_store_open(e, &options);
    support_succeeds(varve_store_each_option(store, find_option, value, &err), &err);
    assert_string_equal(value, "2000 set");
    support_fails(varve_store_configure(store, &given, 1, &err), &err, VARVE_E_READ_ONLY, NULL);
    varve_store_close(store);
}

static void wrong_settings_make_no_store(void **state)
{
    struct support_env *e = *state;
    const struct varve_option wrong = {"owner.check.ms", "never"};
    struct varve_store_options options = support_store_options(e);
    struct varve_error err;

    options.settings = &wrong;
    options.setting_count = 1;
    support_fails(log_store_create_env(&e->env, support_store_path(e, NULL), &options, &err), &err,
                  VARVE_E_INVALID, "owner.check.ms=never");
    assert_false(support_file_exists(support_store_path(e, NULL)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(a_refused_opening_sets_the_tail_aside_and_readers_see_the_owners_log),
        support_env_test(one_log_alone_is_taken_over),
        support_env_test(what_is_synced_after_a_take_over_is_not_acknowledged),
        support_env_test(settings_of_a_store_can_be_changed),
        support_env_test(wrong_settings_make_no_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
