/* Logs as a whole: names, making and opening them, options, deleting. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/file.h"
#include "tests/support/support_log.h"

struct names {
    size_t count;
    char text[1024];
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
    assert_string_equal(list(store, &(struct names){0}), "");
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

static void good_names_are_listed_in_byte_order(void **state)
{
    static const char *const good[] = {
        "z",         "orders/0", "orders/10", "orders",
        "a.b",       ".a",       "a.",        "\xc3\xbcml\xc3\xa4ut/\xce\xba",
        "with space"};
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_error err;
    struct names n;
    char longest[249 + 1];

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        support_succeeds(varve_log_create(store, good[i], NULL, 0, &err), &err);
    assert_string_equal(list(store, &n), ".a;a.;a.b;orders;orders/0;orders/10;with space;z;"
                                         "\xc3\xbcml\xc3\xa4ut/\xce\xba;");
    memset(longest, 'y', sizeof(longest) - 1);
    longest[249] = '\0';
    support_succeeds(varve_log_create(store, longest, NULL, 0, &err), &err);
    assert_non_null(strstr(list(store, &n), longest));
    varve_log_close(support_log_open(store, longest, NULL));
    varve_store_close(store);
}

static int stop_at_second(void *ctx, const char *name)
{
    (void)name;
    return ++*(int *)ctx == 2 ? 77 : 0;
}

static void a_walk_over_the_logs_ends_when_told(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_error err;
    int count = 0;

    support_succeeds(varve_log_create(store, "a", NULL, 0, &err), &err);
    support_succeeds(varve_log_create(store, "b", NULL, 0, &err), &err);
    support_succeeds(varve_log_create(store, "c", NULL, 0, &err), &err);
    assert_int_equal(varve_store_each_log(store, stop_at_second, &count, &err), 77);
    assert_int_equal(count, 2);
    varve_store_close(store);
}

static void creating_a_log_that_is_there_is_a_condition(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a/b", NULL);
    struct varve_error err;

    support_log_append(log, 3, 3);
    support_fails(varve_log_create(store, "a/b", NULL, 0, &err), &err, VARVE_E_EXISTS, "a/b");
    varve_log_close(log);
    support_fails(varve_log_create(store, "a/b", NULL, 0, &err), &err, VARVE_E_EXISTS, "a/b");
    log = support_log_open(store, "a/b", NULL);
    assert_int_equal(support_log_read(log, 0), 9);
    varve_log_close(log);
    varve_store_close(store);
}

static void what_cannot_be_created_leaves_nothing(void **state)
{
    static const struct varve_option unknown[] = {{"segment.bytes", "65536"}, {"no.such", "1"}};
    static const struct varve_option clash[] = {{"segment.bytes", "65536"},
                                                {"max.message.bytes", "70000"}};
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct support_io_fault fault = {
        .call = SUPPORT_IO_ANY, .path = "/cold/", .nth = 1, .sys_errno = EIO, .keep = true};
    struct varve_error err;
    struct names n;

    support_fails(varve_log_create(store, "x/y", unknown, 2, &err), &err, VARVE_E_INVALID,
                  "create x/y: option no.such");
    support_fails(varve_log_create(store, "x/y", clash, 2, &err), &err, VARVE_E_INVALID,
                  "max.message.bytes");
    support_io_fail(e->io, &fault); /* the cold tier cannot be reached */
    assert_int_not_equal(varve_log_create(store, "x/y", NULL, 0, &err), 0);
    support_io_fail(e->io, NULL);
    assert_false(support_file_exists(support_store_path(e, "logs/x")));
    assert_string_equal(list(store, &n), "");
    support_succeeds(varve_log_create(store, "x/y", unknown, 1, &err), &err);
    assert_string_equal(list(store, &n), "x/y;");
    varve_store_close(store);
}

static void a_log_that_is_not_there_is_not_found_and_not_made(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    struct varve_log *log = (struct varve_log *)(uintptr_t)1;
    struct varve_store *store;
    struct varve_error err;

    for (int i = 0; i < 2; i++) {
        store = support_store_open(e, &options);
        support_fails(varve_log_open(store, "none", NULL, &log, &err), &err, VARVE_E_NOT_FOUND,
                      "none");
        assert_ptr_equal(log, (void *)(uintptr_t)1);
        assert_false(support_file_exists(support_store_path(e, "logs/none")));
        if (i == 0)
            support_fails(varve_log_delete(store, "none", &err), &err, VARVE_E_NOT_FOUND, "none");
        else
            support_fails(varve_log_delete(store, "none", &err), &err, VARVE_E_READ_ONLY, NULL);
        assert_null(varve_store_close(store));
        options.read_only = true;
    }
    assert_null(varve_log_close(NULL));
    assert_null(varve_store_close(NULL));
}

static void handles_share_one_log(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *a = support_log_open(store, "a", NULL),
                     *b = support_log_open(store, "a", NULL);

    assert_ptr_equal(a, b);
    support_log_append(a, 2, 2);
    assert_null(varve_log_close(a));
    assert_int_equal(support_log_read(b, 0), 4);
    support_log_append(b, 2, 2);
    varve_log_close(b);
    a = support_log_open(store, "a", NULL);
    assert_int_equal(support_log_read(a, 0), 8);
    (void)a; /* closing the store closes handles that were forgotten */
    varve_store_close(store);
}

/* As kill -9: a child that appends and goes without closing anything. */
static void abandon_after_appending(struct support_env *e, const char *config, int batches)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        /* Another process draws other ids. */
        support_random_init(&e->random, (uint64_t)getpid());
        struct varve_store *store = support_store_open(e, NULL);
        struct varve_log *log = support_log_open(store, "a", config);
        support_log_append(log, batches, 5);
        _exit(7);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
}

static void a_process_that_died_loses_nothing_it_appended(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store;
    struct varve_log *log;

    for (int i = 1; i <= 3; i++) {
        abandon_after_appending(e, NULL, 200);
        store = support_store_open(e, NULL);
        log = support_log_open(store, "a", NULL);
        assert_int_equal(support_log_read(log, 0), i * 1000);
        assert_int_equal(support_logger_count(e->logger, BASE_LOG_WARNING, "cut off"), 0);
        if (i == 2)
            support_log_tier(log, true, true);
        varve_log_close(log);
        varve_store_close(store);
    }
}

/* A process that dies in a write leaves a part of a batch that it never published. */
static void a_torn_tail_is_cut_off_and_said(void **state)
{
    struct support_env *e = *state;
    const char *path = support_store_path(e, "logs/a/@/00000000000000000000.log");
    struct varve_store_options options = support_store_options(e);
    struct varve_store *store;
    struct varve_log *log;
    size_t size;

    abandon_after_appending(e, SUPPORT_LOG_UNTIERED, 10);
    char *bytes = support_file_read(path, &size);
    char *torn = malloc(size + 300);
    assert_non_null(torn);
    memcpy(torn, bytes, size);
    memcpy(torn + size, bytes, 300); /* the head of a batch of more bytes */
    support_file_write(path, torn, size + 300);
    free(bytes);
    free(torn);
    options.read_only = true; /* stops at the torn batch and changes nothing */
    store = support_store_open(e, &options);
    log = support_log_open(store, "a", NULL);
    assert_int_equal(support_log_read(log, 0), 50);
    varve_log_close(log);
    varve_store_close(store);
    assert_int_equal(support_file_size(path), size + 300);

    store = support_store_open(e, NULL);
    log = support_log_open(store, "a", NULL);
    assert_int_equal(support_logger_count(e->logger, BASE_LOG_WARNING, "log a: cut off 300 bytes"),
                     1);
    assert_int_equal(support_logger_count(e->logger, BASE_LOG_WARNING, "ends at offset 50"), 1);
    assert_int_equal(support_log_read(log, 0), 50);
    support_log_append(log, 1, 5);
    assert_int_equal(support_log_read(log, 0), 55);
    varve_log_close(log);
    varve_store_close(store);
}

/* The machine has not stopped since: what was published cannot have been lost, it was damaged. */
static void a_file_that_lost_published_bytes_is_not_called_torn(void **state)
{
    struct support_env *e = *state;
    const char *path = support_store_path(e, "logs/a/@/00000000000000000000.log");
    struct varve_store *store;
    struct varve_log *log = NULL;
    struct varve_error err;

    abandon_after_appending(e, SUPPORT_LOG_UNTIERED, 10);
    support_file_truncate(path, support_file_size(path) - 3);
    int64_t size = support_file_size(path);
    store = support_store_open(e, NULL);
    support_fails(varve_log_open(store, "a", NULL, &log, &err), &err, VARVE_E_CORRUPT,
                  "00000000000000000000.log");
    assert_null(log);
    assert_int_equal(support_file_size(path), size);
    varve_store_close(store);
}

static void a_local_directory_that_was_thrown_away_comes_back_from_the_bucket(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", NULL);
    struct varve_error err;

    support_log_append(log, 100, 5);
    support_log_tier(log, true, true);
    varve_log_close(log);
    varve_store_close(store);
    support_succeeds(base_tree_remove(&base_io_posix, support_store_path(e, "logs/a"), &err), &err);
    options.read_only = true;
    store = support_store_open(e, &options);
    log = support_log_open(store, "a", NULL);
    assert_int_equal(support_log_read(log, 0), 500);
    varve_log_close(log);
    varve_store_close(store);
    assert_false(support_file_exists(support_store_path(e, "logs/a")));

    store = support_store_open(e, NULL);
    log = support_log_open(store, "a", NULL);
    assert_int_equal(support_log_append(log, 1, 5), 505);
    assert_int_equal(support_log_read(log, 0), 505);
    varve_log_close(log);
    varve_store_close(store);
}

/* ---- options ---- */

struct option_lookup {
    const char *name;
    char value[64];
    bool is_default;
};

static int option_visit(void *ctx, const char *name, const char *value, bool is_default)
{
    struct option_lookup *l = ctx;

    if (strcmp(name, l->name))
        return 0;
    strcpy(l->value, value);
    l->is_default = is_default;
    return 5;
}

static void expect_option(struct varve_log *log, const char *name, const char *value,
                          bool is_default)
{
    struct option_lookup l = {.name = name};
    struct varve_error err;

    assert_int_equal(varve_log_each_option(log, option_visit, &l, &err), 5);
    assert_string_equal(l.value, value);
    assert_int_equal(l.is_default, is_default);
}

static void options_are_changed_and_kept(void **state)
{
    static const struct varve_option first[] = {{"flush.ms", "-1"}};
    static const struct varve_option change[] = {{"segment.bytes", "4096"}, {"retention.ms", "7d"}};
    static const struct varve_option bad[] = {{"segment.ms", "5"}, {"retention.ms", "soon"}};
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log;
    struct varve_error err;

    /* Not by the helper: what is not named has the engine's defaults, whatever run this is. */
    support_succeeds(varve_log_create(store, "a", first, 1, &err), &err);
    log = support_log_open(store, "a", NULL);

    expect_option(log, "segment.bytes", "67108864", true);
    expect_option(log, "flush.ms", "-1", false);
    support_succeeds(varve_log_configure(log, change, 2, &err), &err);
    expect_option(log, "segment.bytes", "4096", false);
    expect_option(log, "max.message.bytes", "4096", true);
    expect_option(log, "flush.ms", "-1", false);
    support_fails(varve_log_configure(log, bad, 2, &err), &err, VARVE_E_INVALID, "retention.ms");
    expect_option(log, "segment.ms", "3600000", true); /* all or nothing */
    support_succeeds(varve_log_seal(log, &err), &err);
    support_log_append(log, 20, 5); /* new segments are small now */
    assert_true(support_log_info(log).hot_segments > 2);
    varve_log_close(log);
    varve_store_close(store);

    options.read_only = true;
    store = support_store_open(e, &options);
    log = support_log_open(store, "a", NULL);
    expect_option(log, "segment.bytes", "4096", false);
    expect_option(log, "retention.ms", "604800000", false);
    support_fails(varve_log_configure(log, change, 2, &err), &err, VARVE_E_READ_ONLY, NULL);
    varve_log_close(log);
    varve_store_close(store);
}

/* ---- deleting ---- */

static void a_deleted_log_is_gone_and_its_name_is_free(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a/b", NULL), *other;
    struct varve_error err;
    struct names n;
    char id[40];

    support_log_append(log, 300, 7);
    support_log_tier(log, true, true);
    support_log_append(log, 10, 7);
    strcpy(id, support_log_info(log).id);
    support_fails(varve_log_delete(store, "a/b", &err), &err, VARVE_E_BUSY, "a/b");
    varve_log_close(log);
    support_succeeds(varve_log_delete(store, "a/b", &err), &err);
    assert_false(support_file_exists(support_store_path(e, "logs/a")));
    assert_string_equal(list(store, &n), "");
    support_fails(varve_log_open(store, "a/b", NULL, &other, &err), &err, VARVE_E_NOT_FOUND, "a/b");
    support_fails(varve_log_delete(store, "a/b", &err), &err, VARVE_E_NOT_FOUND, "a/b");

    log = support_log_open(store, "a/b", NULL);
    assert_string_not_equal(id, support_log_info(log).id);
    assert_int_equal(support_log_info(log).end_offset, 0);
    assert_int_equal(support_log_append(log, 3, 7), 21);
    support_log_tier(log, true, true);
    assert_int_equal(support_log_read(log, 0), 21);
    varve_log_close(log);
    varve_store_close(store);
}

/* Once, a process killed between making a directory and syncing its name left that to nobody: with
 * a loss of power all that was acknowledged below it since was gone. */
static void opening_syncs_the_names_of_the_directories_above_a_log(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a/b", NULL);
    const char *const dirs[] = {"logs", "logs/a", "logs/a/b"};

    varve_log_close(log);
    support_io_reset(e->io);
    log = support_log_open(store, "a/b", NULL);
    for (size_t i = 0; i < 3; i++) {
        const char *path = support_store_path(e, dirs[i]);
        bool synced = false;

        for (size_t s = 0; s < support_io_trace_size(e->io); s++) {
            const struct support_io_step *step = support_io_trace_at(e->io, s);

            synced = synced || (step->call == SUPPORT_IO_FSYNC && strcmp(step->path, path) == 0);
        }
        if (!synced)
            fail_msg("%s is not synced", path);
    }
    varve_log_close(log);
    varve_store_close(store);
}

static unsigned cold_files(struct support_env *e)
{
    return support_file_count(support_store_path(e, "cold/logs"));
}

/* The log is gone for readers with its tombstone; its objects and files must not stay for ever. */
static void a_deletion_that_was_interrupted_is_gone_on_with(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store;
    struct varve_error err = {0};
    struct varve_log *log;
    struct names n;

    store = support_store_open_faulty(e, "delete(logs/a/*):error@1");
    log = support_log_open(store, "a/b", NULL);
    support_log_append(log, 300, 7);
    support_log_tier(log, true, false);
    varve_log_close(log);
    support_fails(varve_log_delete(store, "a/b", &err), &err, VARVE_E_STORE, "made to fail");
    assert_true(cold_files(e) > 1);
    assert_true(support_file_exists(support_store_path(e, "logs/a/b")));
    support_fails(varve_log_open(store, "a/b", NULL, &log, &err), &err, VARVE_E_NOT_FOUND, NULL);
    support_succeeds(varve_log_delete(store, "a/b", &err), &err);
    assert_int_equal(cold_files(e), 1); /* the tombstone */
    assert_false(support_file_exists(support_store_path(e, "logs/a")));
    assert_string_equal(list(store, &n), "");
    support_fails(varve_log_delete(store, "a/b", &err), &err, VARVE_E_NOT_FOUND, "a/b");
    log = support_log_open(store, "a/b", NULL); /* and its name is free */
    assert_int_equal(support_log_append(log, 3, 7), 21);
    varve_log_close(log);
    varve_store_close(store);
}

/* They were taken for records of the new log, which began where the old one had ended. */
static void a_log_made_again_holds_nothing_of_a_deletion_that_was_interrupted(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store;
    struct varve_error err = {0};
    struct varve_log *log;

    store = support_store_open_faulty(e, "delete(logs/a/*):error@1");
    log = support_log_open(store, "a/b", NULL);
    support_log_append(log, 300, 7);
    support_log_tier(log, true, false);
    support_log_append(log, 10, 7);
    varve_log_close(log);
    support_fails(varve_log_delete(store, "a/b", &err), &err, VARVE_E_STORE, "made to fail");
    assert_true(support_file_exists(support_store_path(e, "logs/a/b")));
    log = support_log_open(store, "a/b", NULL);
    assert_int_equal(support_log_read(log, 0), 0);
    assert_int_equal(support_log_append(log, 3, 7), 21);
    assert_int_equal(support_log_read(log, 0), 21);
    varve_log_close(log);
    varve_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(opening_syncs_the_names_of_the_directories_above_a_log),
        support_env_test(names_of_logs_are_checked_everywhere),
        support_env_test(good_names_are_listed_in_byte_order),
        support_env_test(a_walk_over_the_logs_ends_when_told),
        support_env_test(creating_a_log_that_is_there_is_a_condition),
        support_env_test(what_cannot_be_created_leaves_nothing),
        support_env_test(a_log_that_is_not_there_is_not_found_and_not_made),
        support_env_test(handles_share_one_log),
        support_env_test(what_is_appended_is_there_after_opening_again),
        support_env_test(other_logs_go_on_while_one_is_being_deleted),
        support_env_test(a_process_that_died_loses_nothing_it_appended),
        support_env_test(a_torn_tail_is_cut_off_and_said),
        support_env_test(a_file_that_lost_published_bytes_is_not_called_torn),
        support_env_test(a_local_directory_that_was_thrown_away_comes_back_from_the_bucket),
        support_env_test(options_are_changed_and_kept),
        support_env_test(a_deleted_log_is_gone_and_its_name_is_free),
        support_env_test(a_deletion_that_was_interrupted_is_gone_on_with),
        support_env_test(a_log_made_again_holds_nothing_of_a_deletion_that_was_interrupted),
    };

    return cmocka_run_group_tests_name("log_log", tests, NULL, NULL);
}
