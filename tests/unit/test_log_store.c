/* Stores: made over all sorts of things, opened by one writer and many readers, attached, adopted.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/text.h"
#include "tests/support/file.h"
#include "tests/support/support_log.h"

#define NOT_TOUCHED ((struct varve_store *)(uintptr_t)1)

static int create(struct support_env *e, const char *path,
                  const struct varve_store_options *options, struct varve_error *err)
{
    return log_store_create_env(&e->env, path, options, err);
}

static void open_fails(struct support_env *e, const char *path, bool read_only, int code,
                       const char *part)
{
    struct varve_store_options options = support_store_options(e);
    struct varve_store *store = NOT_TOUCHED;
    struct varve_error err = {0};

    options.read_only = read_only;
    support_fails(log_store_open_env(&e->env, path, &options, &store, &err), &err, code, part);
    assert_ptr_equal(store, NOT_TOUCHED);
    assert_int_equal(log_store_open_env(&e->env, path, &options, &store, NULL), code);
}

/* ---- making ---- */

static void a_store_is_not_made_over_something_else(void **state)
{
    struct support_env *e = *state;
    const char *path = support_store_path(e, NULL);
    struct varve_error err;

    support_file_write(support_tmpdir_path(e->dir, "file"), "x", 1);
    support_fails(create(e, support_tmpdir_path(e->dir, "file"), NULL, &err), &err, VARVE_E_EXISTS,
                  "is a file");
    support_fails(create(e, support_tmpdir_root(e->dir), NULL, &err), &err, VARVE_E_EXISTS,
                  "is not empty and not a varve store");
    support_fails(create(e, "", NULL, &err), &err, VARVE_E_INVALID, "directory");
    support_fails(create(e, NULL, NULL, &err), &err, VARVE_E_INVALID, "directory");
    support_fails(create(e, "file:///tmp/x", NULL, &err), &err, VARVE_E_INVALID, "cold");
    assert_int_equal(base_io_posix.mkdir(NULL, path, 0777), 0);
    support_succeeds(create(e, path, NULL, &err), &err); /* an empty directory is all right */
    support_fails(create(e, path, NULL, &err), &err, VARVE_E_EXISTS, "is a varve store already");
    support_succeeds(create(e, support_tmpdir_path(e->dir, "deep/er/store"), NULL, &err), &err);
    assert_true(support_file_exists(support_tmpdir_path(e->dir, "deep/er/store/varve-store")));
    assert_false(
        support_file_exists(support_tmpdir_path(e->dir, "deep/er/store/varve-store.draft")));
}

static void a_url_that_nothing_serves_is_refused(void **state)
{
    struct support_env *e = *state;
    static const char *const bad[] = {"ftp://host/x", "file://relative/x", "s4://b", "file://",
                                      "s3://key:secret@bucket/x"};
    struct varve_error err;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct varve_store_options options = support_store_options(e);
        options.cold_url = bad[i];
        const char *path = support_tmpdir_path(e->dir, "store-%zu", i);
        int rc = create(e, path, &options, &err);
        if (rc != VARVE_E_INVALID && rc != VARVE_E_UNSUPPORTED)
            fail_msg("%s: %s", bad[i], rc ? err.msg : "taken");
        /* Nothing is made: the URL may hold keys. */
        assert_false(support_file_exists(path));
        open_fails(e, path, false, VARVE_E_NOT_FOUND, NULL);
    }
}

/* Each I/O call fails in turn; afterwards the same create succeeds, also with a cold tier of its
 * own, which the first attempt may have claimed already. */
static void a_create_that_was_cut_short_can_be_run_again(void **state)
{
    struct support_env *e = *state;
    struct varve_error err;

    for (uint64_t nth = 1;; nth++) {
        struct support_io_fault fault = {.call = SUPPORT_IO_ANY, .nth = nth, .sys_errno = EIO};
        struct varve_store_options options = support_store_options(e);
        const char *path = support_tmpdir_path(e->dir, "s%llu", (unsigned long long)nth);
        struct varve_store *store = NULL;
        options.cold_url = support_tmpdir_path(e->dir, "cold%llu", (unsigned long long)nth);
        fault.keep = nth % 2;
        support_io_fail(e->io, &fault);
        int rc = create(e, path, &options, &err);
        bool hit = support_io_failed(e->io) > 0;
        support_io_fail(e->io, NULL);
        assert_true(rc == 0 || hit);
        if (rc < 0) {
            assert_true(err.msg[0] != '\0');
            rc = create(e, path, &options, &err);
            if (rc == VARVE_E_EXISTS) /* only the last sync of the directory had failed */
                assert_non_null(strstr(err.msg, "is a varve store already"));
            else
                support_succeeds(rc, &err);
        }
        support_succeeds(log_store_open_env(&e->env, path, &options, &store, &err), &err);
        varve_log_close(support_log_open(store, "a", NULL));
        varve_store_close(store);
        if (!hit)
            break;
        assert_true(nth < 300);
    }
}

/* ---- opening ---- */

static void what_is_not_a_store_is_not_opened(void **state)
{
    struct support_env *e = *state;
    const char *path = support_store_path(e, NULL);
    const char *file = support_tmpdir_path(e->dir, "file");

    open_fails(e, path, false, VARVE_E_NOT_FOUND, path);
    open_fails(e, path, true, VARVE_E_NOT_FOUND, path);
    open_fails(e, "", true, VARVE_E_INVALID, NULL);
    open_fails(e, support_tmpdir_root(e->dir), false, VARVE_E_INVALID, "is not a varve store");
    open_fails(e, support_tmpdir_root(e->dir), true, VARVE_E_INVALID, "varve init");
    support_file_write(file, "x", 1);
    open_fails(e, file, false, VARVE_E_INVALID, "is not a varve store");
    assert_false(support_file_exists(support_tmpdir_path(e->dir, "lock")));
}

static void settings_write(struct support_env *e, int version, const char *id, const char *cold)
{
    struct base_settings *s = base_settings_new();
    char *text = NULL;
    size_t size;

    if (id)
        assert_int_equal(base_settings_set(s, "id", id, NULL), 0);
    if (cold)
        assert_int_equal(base_settings_set(s, "cold", cold, NULL), 0);
    assert_int_equal(base_settings_encode(s, LOG_STORE_MAGIC, version, &text, &size, NULL), 0);
    support_file_write(support_store_path(e, "varve-store"), text, size);
    free(text);
    base_settings_free(s);
}

static void a_store_of_a_newer_version_is_refused(void **state)
{
    struct support_env *e = *state;

    varve_store_close(support_store_open(e, NULL));
    settings_write(e, LOG_STORE_VERSION + 1, "00112233445566778899aabbccddeeff", "cold");
    open_fails(e, support_store_path(e, NULL), false, VARVE_E_VERSION, "varve-store");
    open_fails(e, support_store_path(e, NULL), true, VARVE_E_VERSION, NULL);
}

static void damaged_settings_are_named(void **state)
{
    struct support_env *e = *state;
    const char *file = support_store_path(e, "varve-store");

    varve_store_close(support_store_open(e, NULL));
    for (int64_t pos = 0, size = support_file_size(file); pos < size; pos++) {
        struct varve_store *store = NULL;
        struct varve_error err = {0};
        support_file_flip(file, pos, 0x20);
        int rc = log_store_open_env(&e->env, support_store_path(e, NULL), NULL, &store, &err);
        /* a flipped version digit may be that of a newer store */
        if (rc != VARVE_E_CORRUPT && rc != VARVE_E_VERSION)
            fail_msg("byte %lld: %s", (long long)pos, rc ? err.msg : "opened");
        assert_non_null(strstr(err.msg, file));
        support_file_flip(file, pos, 0x20);
    }
    settings_write(e, LOG_STORE_VERSION, NULL, "cold");
    open_fails(e, support_store_path(e, NULL), false, VARVE_E_CORRUPT, "lacks id");
    settings_write(e, LOG_STORE_VERSION, "00112233445566778899aabbccddeeff", NULL);
    open_fails(e, support_store_path(e, NULL), false, VARVE_E_CORRUPT, "cold");
    settings_write(e, LOG_STORE_VERSION, "not hex", "cold");
    open_fails(e, support_store_path(e, NULL), false, VARVE_E_CORRUPT, NULL);
}

static void a_second_writer_is_told_who_holds_the_store(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    struct varve_store *store = support_store_open(e, NULL), *beside = NULL;
    struct varve_log *log = support_log_open(store, "a", SUPPORT_LOG_UNTIERED), *reading;
    struct varve_error err;
    char who[32];

    support_log_append(log, 10, 5);
    snprintf(who, sizeof(who), "process %ld ", (long)getpid());
    open_fails(e, support_store_path(e, NULL), false, VARVE_E_BUSY, who);

    options.read_only = true; /* readers are welcome */
    support_succeeds(
        log_store_open_env(&e->env, support_store_path(e, NULL), &options, &beside, &err), &err);
    reading = support_log_open(beside, "a", NULL);
    assert_int_equal(support_log_read(reading, 0), 50);
    support_log_append(log, 10, 5);
    support_log_tier(log, true, true);
    support_log_append(log, 10, 5);
    assert_int_equal(support_log_read(reading, 0), 150);
    assert_int_equal(support_log_info(reading).cold_end, 100);
    varve_log_close(reading);
    varve_store_close(beside);
    varve_log_close(log);
    varve_store_close(store);
    varve_store_close(support_store_open(e, NULL)); /* free again */
}

static void a_store_is_free_again_when_its_writer_died(void **state)
{
    struct support_env *e = *state;
    int status;
    pid_t pid;

    varve_store_close(support_store_open(e, NULL));
    pid = fork();
    if (pid == 0) {
        support_store_open(e, NULL);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    varve_store_close(support_store_open(e, NULL));
}

static int never(void *ctx, const char *name, const char *value, bool is_default)
{
    (void)ctx;
    (void)name;
    (void)value;
    (void)is_default;
    return 0;
}

static void changing_calls_on_a_read_only_store_are_refused(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", NULL);
    struct varve_tier_options tier = {.size = sizeof(tier)};
    struct varve_verify_options verify = {.size = sizeof(verify), .repair = true};
    struct varve_option option = {"flush.ms", "5"};
    struct varve_record record = {.value = "x", .value_size = 1};
    struct varve_batch *batch = NULL;
    struct varve_error err;
    int64_t offset = -7;

    support_log_append(log, 3, 5);
    varve_log_close(log);
    varve_store_close(store);
    options.read_only = true;
    store = support_store_open(e, &options);
    log = support_log_open(store, "a", NULL);
    support_succeeds(varve_batch_new(VARVE_CODEC_NONE, 0, 4096, &batch, &err), &err);
    support_succeeds(varve_batch_add(batch, &record, &err), &err);
    support_io_reset(e->io);
    support_fails(varve_log_append(log, batch, &offset, &err), &err, VARVE_E_READ_ONLY, NULL);
    support_fails(varve_log_append_record(log, &record, &offset, &err), &err, VARVE_E_READ_ONLY,
                  NULL);
    support_fails(varve_log_append_encoded(log, "x", 1, &offset, &err), &err, VARVE_E_READ_ONLY,
                  NULL);
    support_fails(varve_log_sync(log, &err), &err, VARVE_E_READ_ONLY, NULL);
    support_fails(varve_log_seal(log, &err), &err, VARVE_E_READ_ONLY, NULL);
    support_fails(varve_log_tier(log, &tier, &err), &err, VARVE_E_READ_ONLY, NULL);
    support_fails(varve_log_trim(log, 1, &err), &err, VARVE_E_READ_ONLY, NULL);
    support_fails(varve_log_configure(log, &option, 1, &err), &err, VARVE_E_READ_ONLY, NULL);
    support_fails(varve_log_verify(log, &verify, &err), &err, VARVE_E_READ_ONLY, NULL);
    support_fails(varve_log_create(store, "b", NULL, 0, &err), &err, VARVE_E_READ_ONLY, NULL);
    support_fails(varve_log_delete(store, "b", &err), &err, VARVE_E_READ_ONLY, NULL);
    assert_int_equal(offset, -7);
    assert_int_equal(varve_log_each_option(log, never, NULL, &err), 0);
    assert_int_equal(support_io_trace_size(e->io), 0); /* nothing was so much as touched */
    varve_batch_free(batch);
    varve_log_close(log);
    varve_store_close(store);
}

static void an_option_struct_of_an_older_program_is_taken(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_error err;

    varve_store_close(store);
    options.size = offsetof(struct varve_store_options, take_over);
    options.read_only = true; /* within the size */
    options.cache_bytes = INT64_MIN;
    support_succeeds(
        log_store_open_env(&e->env, support_store_path(e, NULL), &options, &store, &err), &err);
    support_fails(varve_log_create(store, "b", NULL, 0, &err), &err, VARVE_E_READ_ONLY, NULL);
    struct varve_store_stats stats;
    memset(&stats, 0xee, sizeof(stats));
    stats.size = offsetof(struct varve_store_stats, cold_get_requests);
    varve_store_stats(store, &stats);
    assert_int_equal(stats.size, offsetof(struct varve_store_stats, cold_get_requests));
    assert_int_equal(stats.cold_put_requests, 0);
    assert_int_equal(stats.cold_get_requests, UINT64_C(0xeeeeeeeeeeeeeeee));
    varve_store_close(store);
}

/* ---- the bucket alone, and shared ---- */

static int list_visit(void *ctx, const char *name)
{
    strcat(ctx, name);
    strcat(ctx, ";");
    return 0;
}

static void expect_logs(struct varve_store *store, const char *want)
{
    struct varve_error err;
    char names[256] = "";

    support_succeeds(varve_store_each_log(store, list_visit, names, &err), &err);
    assert_string_equal(names, want);
}

static void a_bucket_is_read_by_its_url_from_anywhere(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    struct varve_store *store = support_store_open(e, NULL), *attached = NULL;
    struct varve_log *log = support_log_open(store, "x/y", NULL), *reading, *none = NULL;
    struct varve_reader *reader = NULL;
    struct varve_record record;
    struct varve_error err;
    const char *url = support_tmpdir_path(e->dir, "store/cold");
    char *with_scheme = NULL;
    assert_int_equal(base_format(&with_scheme, NULL, "file://%s", url), 0);
    support_log_append(log, 100, 5);
    support_log_tier(log, true, false);
    support_log_append(log, 1, 5); /* only local: not to be seen from afar */
    support_succeeds(varve_log_create(store, "z", NULL, 0, &err), &err);

    open_fails(e, with_scheme, false, VARVE_E_READ_ONLY, "cold tier");
    options.read_only = true;
    support_succeeds(log_store_open_env(&e->env, with_scheme, &options, &attached, &err), &err);
    expect_logs(attached, "x/y;z;");
    reading = support_log_open(attached, "x/y", NULL);
    assert_int_equal(support_log_read(reading, 0), 500);
    assert_int_equal(support_log_info(reading).end_offset, 500);
    assert_int_equal(support_log_info(reading).hot_segments, 0);
    support_fails(varve_log_open(attached, "nope", NULL, &none, &err), &err, VARVE_E_NOT_FOUND,
                  "nope");

    /* It follows what is uploaded meanwhile. */
    struct varve_reader_options from_end = {.size = sizeof(from_end), .from = VARVE_FROM_END};
    support_succeeds(varve_reader_open(reading, &from_end, &reader, &err), &err);
    support_fails(varve_reader_next(reader, 0, &record, &err), &err, VARVE_E_END, NULL);
    support_log_tier(log, true, true);
    support_clock_advance_ms(&e->clock, 5000);
    support_succeeds(varve_reader_next(reader, 10000, &record, &err), &err);
    assert_true(support_log_record_is(&record, 500));
    varve_reader_close(reader);
    varve_log_close(reading);
    varve_store_close(attached);

    varve_log_close(log);
    support_succeeds(varve_log_delete(store, "z", &err), &err);
    support_succeeds(log_store_open_env(&e->env, with_scheme, &options, &attached, &err), &err);
    expect_logs(attached, "x/y;"); /* a tombstone is no log */
    varve_store_close(attached);
    varve_store_close(store);
    free(with_scheme);
    open_fails(e, "file:///no/such/place", true, VARVE_E_STORE, "/no/such/place");
}

static void a_bucket_of_another_store_is_adopted_only_when_told(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    const char *second = support_tmpdir_path(e->dir, "second");
    struct varve_store *store = support_store_open(e, NULL), *other = NULL;
    struct varve_log *log = support_log_open(store, "x/y", NULL), *theirs = NULL;
    struct varve_error err;

    support_log_append(log, 100, 5);
    support_log_tier(log, true, true);
    options.cold_url = support_store_path(e, "cold");
    support_fails(create(e, second, &options, &err), &err, VARVE_E_EXISTS, "--adopt");
    options.adopt = true;
    support_succeeds(create(e, second, &options, &err), &err);
    support_succeeds(log_store_open_env(&e->env, second, &options, &other, &err), &err);
    expect_logs(other, "x/y;");
    support_fails(varve_log_create(other, "x/y", NULL, 0, &err), &err, VARVE_E_EXISTS, NULL);
    expect_logs(other, "x/y;");
    support_fails(varve_log_open(other, "x/y", NULL, &theirs, &err), &err, VARVE_E_FENCED,
                  "owned by another store");
    assert_null(theirs);
    varve_store_close(other);

    options.take_over = true;
    support_succeeds(log_store_open_env(&e->env, second, &options, &other, &err), &err);
    theirs = support_log_open(other, "x/y", NULL);
    assert_int_equal(support_log_info(theirs).epoch, support_log_info(log).epoch + 1);
    assert_int_equal(support_log_append(theirs, 1, 5), 505);
    support_log_tier(theirs, true, false);
    assert_int_equal(support_log_read(theirs, 0), 505);

    /* I6: the old owner meets the new epoch and stops. */
    struct varve_tier_options tier = {.size = sizeof(tier), .seal = true};
    struct varve_record record = {.value = "x", .value_size = 1};
    support_logger_expect(e->logger, "taken it over");
    support_log_append(log, 1, 5);
    support_fails(varve_log_tier(log, &tier, &err), &err, VARVE_E_FENCED, "log x/y");
    support_fails(varve_log_append_record(log, &record, NULL, &err), &err, VARVE_E_FENCED, "x/y");
    varve_log_close(theirs);
    varve_store_close(other);
    varve_log_close(log);
    varve_store_close(store);
}

static void roots_may_lie_in_a_place_of_their_own(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    struct varve_store *store;
    struct varve_log *log;
    struct varve_error err;

    options.cold_url = support_tmpdir_path(e->dir, "segments");
    options.cold_meta_url = support_tmpdir_path(e->dir, "roots");
    support_succeeds(create(e, support_store_path(e, NULL), &options, &err), &err);
    store = support_store_open(e, NULL);
    log = support_log_open(store, "a", NULL);
    support_log_append(log, 100, 5);
    support_log_tier(log, true, true);
    assert_int_equal(support_log_read(log, 0), 500);
    assert_true(support_file_exists(support_tmpdir_path(e->dir, "roots/logs/a/@/root")));
    assert_false(support_file_exists(support_tmpdir_path(e->dir, "segments/logs/a/@/root")));
    varve_log_close(log);
    varve_store_close(store);
}

/* ---- what it tells ---- */

struct events {
    unsigned count[VARVE_EVENT_STALLED + 1];
    int64_t trimmed_to;
};

static void on_event(void *ctx, const struct varve_event *event)
{
    struct events *events = ctx;

    assert_string_equal(event->log_name, "a");
    events->count[event->kind]++;
    if (event->kind == VARVE_EVENT_TRIMMED)
        events->trimmed_to = event->end_offset;
}

static void events_tell_the_life_of_a_segment(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    struct events events = {0};
    struct varve_store *store;
    struct varve_log *log;
    struct varve_error err;

    options.message = NULL;
    options.event = on_event;
    options.callback_ctx = &events;
    store = support_store_open(e, &options);
    log = support_log_open(store, "a", "segment.bytes=4096 file.delete.delay.ms=10 flush.ms=-1");
    support_log_append(log, 100, 5);
    support_log_tier(log, true, true);
    uint64_t segments = support_log_info(log).cold_segments;
    assert_true(segments > 5);
    assert_int_equal(events.count[VARVE_EVENT_SEALED], segments);
    assert_int_equal(events.count[VARVE_EVENT_UPLOADED], segments);
    assert_int_equal(events.count[VARVE_EVENT_EVICTED], segments);
    support_succeeds(varve_log_trim(log, 400, &err), &err);
    assert_int_equal(events.count[VARVE_EVENT_TRIMMED], 1);
    assert_int_equal(events.trimmed_to, 400);
    support_clock_advance_ms(&e->clock, 20);
    support_log_tier(log, false, false);
    assert_true(events.count[VARVE_EVENT_DELETED] > 0);
    assert_int_equal(events.count[VARVE_EVENT_STALLED], 0);
    varve_log_close(log);
    varve_store_close(store);
}

static void statistics_count_requests_and_bytes_by_tier(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", SUPPORT_LOG_UNTIERED);
    struct varve_store_stats s;

    support_log_append(log, 100, 5);
    s = support_store_stats(store);
    uint64_t requests = s.cold_get_requests + s.cold_head_requests;
    assert_int_equal(s.batches_appended, 100);
    assert_int_equal(s.bytes_appended, support_log_info(log).hot_bytes);
    support_log_read(log, 0);
    s = support_store_stats(store);
    assert_int_equal(s.hot_batches_read, 100);
    assert_int_equal(s.hot_bytes_read, s.bytes_appended);
    assert_int_equal(s.cold_batches_read, 0);
    assert_int_equal(s.cold_get_requests + s.cold_head_requests, requests);
    support_log_tier(log, true, true);
    s = support_store_stats(store);
    assert_true(s.cold_put_requests >= 2 && s.cold_bytes_sent > 0);
    support_log_read(log, 0);
    s = support_store_stats(store);
    assert_int_equal(s.cold_batches_read, 100);
    assert_int_equal(s.cold_bytes_read, s.bytes_appended);
    assert_int_equal(s.hot_batches_read, 100);
    assert_true(s.block_cache_misses > 0 && s.table_hits > 0);
    assert_int_equal(s.table_misses, 0);
    assert_int_equal(s.cold_failures, 0);
    varve_log_close(log);
    varve_store_close(store);
}

static void names_and_versions(void **state)
{
    (void)state;
    assert_string_equal(varve_version(), VARVE_TEST_VERSION);
    assert_string_equal(varve_error_name(VARVE_E_FENCED), "VARVE_E_FENCED");
    assert_string_equal(varve_error_name(-9999), "VARVE_E_?");
}

/* varve_store_create and varve_store_open are the same with the system's seams. */
static void the_system_s_seams_serve_as_well(void **state)
{
    struct support_env *e = *state;
    const char *path = support_store_path(e, NULL);
    struct varve_store *store = NULL;
    struct varve_log *log;
    struct varve_error err;

    support_fails(varve_store_open(path, NULL, &store, &err), &err, VARVE_E_NOT_FOUND, NULL);
    support_succeeds(varve_store_create(path, NULL, &err), &err);
    support_fails(varve_store_create(path, NULL, &err), &err, VARVE_E_EXISTS, NULL);
    support_succeeds(varve_store_open(path, NULL, &store, &err), &err);
    log = support_log_open(store, "a", NULL);
    support_log_append(log, 10, 5);
    support_log_tier(log, true, true);
    assert_int_equal(support_log_read(log, 0), 50);
    varve_log_close(log);
    varve_store_close(store);
    assert_true(support_file_exists(support_store_path(e, "cache")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(a_store_is_not_made_over_something_else),
        support_env_test(a_url_that_nothing_serves_is_refused),
        support_env_test(a_create_that_was_cut_short_can_be_run_again),
        support_env_test(what_is_not_a_store_is_not_opened),
        support_env_test(a_store_of_a_newer_version_is_refused),
        support_env_test(damaged_settings_are_named),
        support_env_test(a_second_writer_is_told_who_holds_the_store),
        support_env_test(a_store_is_free_again_when_its_writer_died),
        support_env_test(changing_calls_on_a_read_only_store_are_refused),
        support_env_test(an_option_struct_of_an_older_program_is_taken),
        support_env_test(a_bucket_is_read_by_its_url_from_anywhere),
        support_env_test(a_bucket_of_another_store_is_adopted_only_when_told),
        support_env_test(roots_may_lie_in_a_place_of_their_own),
        support_env_test(events_tell_the_life_of_a_segment),
        support_env_test(statistics_count_requests_and_bytes_by_tier),
        support_env_test(names_and_versions),
        support_env_test(the_system_s_seams_serve_as_well),
    };

    return cmocka_run_group_tests_name("log_store", tests, NULL, NULL);
}
