/* Reading: hot, cold and across the border; following, waiting, seeking; what goes away under a
 * reader, and what fails. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/thread.h"
#include "index/fold.h"
#include "tests/support/data.h"
#include "tests/support/file.h"
#include "tests/support/support_log.h"

#define CONFIG                                                                                     \
    "segment.bytes=8192 cold.block.bytes=4096 index.interval.bytes=512 "                           \
    "local.retention.bytes=-1 flush.ms=-1"

static struct varve_reader *open_reader(struct varve_log *log, enum varve_from from, int64_t at)
{
    struct varve_reader_options options = {
        .size = sizeof(options), .from = from, .offset = at, .timestamp = at};
    struct varve_reader *reader = NULL;
    struct varve_error err;

    support_succeeds(varve_reader_open(log, &options, &reader, &err), &err);
    return reader;
}

static void expect(struct varve_reader *reader, int64_t offset, int count)
{
    struct varve_record record;
    struct varve_error err;

    for (int i = 0; i < count; i++, offset++) {
        support_succeeds(varve_reader_next(reader, 0, &record, &err), &err);
        if (!support_log_record_is(&record, offset))
            fail_msg("offset %lld, not %lld", (long long)record.offset, (long long)offset);
        assert_int_equal(varve_reader_offset(reader), offset + 1);
    }
}

static void expect_end(struct varve_reader *reader, int64_t offset)
{
    struct varve_record record;
    struct varve_batch_view view;
    struct varve_error err;

    support_fails(varve_reader_next(reader, 0, &record, &err), &err, VARVE_E_END, "nothing at");
    support_fails(varve_reader_next_batch(reader, 0, &view, &err), &err, VARVE_E_END, NULL);
    assert_int_equal(varve_reader_offset(reader), offset);
}

struct tiered {
    struct varve_store *store;
    struct varve_log *log;
    int64_t border;
    int64_t end;
};

/* 1000 records cold, 1000 hot. */
static void tiered_open(struct tiered *t, struct support_env *e)
{
    t->store = support_store_open(e, NULL);
    t->log = support_log_open(t->store, "a", CONFIG);
    t->border = support_log_append(t->log, 200, 5);
    support_log_tier(t->log, true, true);
    t->end = support_log_append(t->log, 200, 5);
    assert_int_equal(support_log_info(t->log).hot_start, t->border);
}

static void tiered_close(struct tiered *t)
{
    varve_log_close(t->log);
    varve_store_close(t->store);
}

static void a_reader_begins_where_it_is_told(void **state)
{
    struct tiered t;
    struct varve_error err;
    struct varve_reader *reader;

    tiered_open(&t, *state);
    reader = open_reader(t.log, VARVE_FROM_START, 0);
    assert_int_equal(varve_reader_offset(reader), 0);
    expect(reader, 0, (int)t.end);
    expect_end(reader, t.end);
    assert_null(varve_reader_close(reader));
    reader = open_reader(t.log, VARVE_FROM_END, 0);
    expect_end(reader, t.end);
    varve_reader_close(reader);
    static const int64_t offsets[] = {0, 1, 4, 5, 777, 999, 1000, 1001, 1500, 1999, 2000};
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        reader = open_reader(t.log, VARVE_FROM_OFFSET, offsets[i]);
        expect(reader, offsets[i], (int)(t.end - offsets[i]));
        expect_end(reader, t.end);
        varve_reader_close(reader);
        reader = open_reader(t.log, VARVE_FROM_TIME, SUPPORT_LOG_TIME + offsets[i]);
        assert_int_equal(varve_reader_offset(reader), offsets[i]);
        varve_reader_close(reader);
    }
    reader = open_reader(t.log, VARVE_FROM_TIME, 0);
    expect(reader, 0, 1);
    varve_reader_close(reader);
    reader = (struct varve_reader *)(uintptr_t)1;
    struct varve_reader_options bad = {.size = sizeof(bad), .from = (enum varve_from)9};
    support_fails(varve_reader_open(t.log, &bad, &reader, &err), &err, VARVE_E_INVALID,
                  "begin at 9");
    bad.from = VARVE_FROM_OFFSET;
    bad.offset = 2001;
    support_fails(varve_reader_open(t.log, &bad, &reader, &err), &err, VARVE_E_OUT_OF_RANGE,
                  "offset 2001 is outside [0, 2000]");
    bad.offset = -1;
    support_fails(varve_reader_open(t.log, &bad, &reader, &err), &err, VARVE_E_OUT_OF_RANGE, NULL);
    assert_ptr_equal(reader, (void *)(uintptr_t)1);
    assert_null(varve_reader_close(NULL));
    tiered_close(&t);
}

static void a_reader_seeks(void **state)
{
    struct tiered t;
    struct varve_error err;

    tiered_open(&t, *state);
    struct varve_reader *reader = open_reader(t.log, VARVE_FROM_START, 0);
    static const int64_t offsets[] = {1999, 0, 1000, 999, 3, 1002, 2000, 500, 500};
    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        support_succeeds(varve_reader_seek(reader, offsets[i], &err), &err);
        assert_int_equal(varve_reader_offset(reader), offsets[i]);
        expect(reader, offsets[i], offsets[i] > 1990 ? (int)(2000 - offsets[i]) : 7);
    }
    support_fails(varve_reader_seek(reader, 2001, &err), &err, VARVE_E_OUT_OF_RANGE, "2001");
    assert_int_equal(varve_reader_offset(reader), 507); /* where it stood */
    expect(reader, 507, 5);
    varve_reader_close(reader);
    tiered_close(&t);
}

static void whole_batches_are_read_across_both_tiers(void **state)
{
    struct tiered t;
    struct varve_batch_view view;
    struct varve_error err;

    tiered_open(&t, *state);
    struct varve_reader *reader = open_reader(t.log, VARVE_FROM_OFFSET, 3);
    for (int64_t base = 0; base < t.end; base += 5) {
        support_succeeds(varve_reader_next_batch(reader, 0, &view, &err), &err);
        assert_int_equal(view.base_offset, base); /* the first begins below the reader's offset */
        assert_int_equal(view.last_offset, base + 4);
        assert_int_equal(view.record_count, 5);
        assert_int_equal(view.max_timestamp, SUPPORT_LOG_TIME + base + 4);
        assert_int_equal(varve_reader_offset(reader), base + 5);
    }
    expect_end(reader, t.end);
    varve_reader_close(reader);
    tiered_close(&t);
}

static void control_batches_are_left_out_unless_asked_for(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", CONFIG);
    struct varve_reader_options options = {.size = sizeof(options), .control = true};
    struct varve_reader *all = NULL, *reader;
    struct varve_record record;
    struct varve_error err;
    int64_t base = -7;
    size_t size;
    void *marker = support_data_read("record/batch-java-control.bin", &size);

    support_log_append(log, 1, 5);
    support_succeeds(varve_log_append_encoded(log, marker, size, &base, &err), &err);
    assert_int_equal(base, 5);
    support_log_append(log, 1, 5); /* from offset 6 on */
    for (int tier = 0; tier < 2; tier++) {
        reader = open_reader(log, VARVE_FROM_START, 0);
        expect(reader, 0, 5);
        expect(reader, 6, 5);
        expect_end(reader, 11);
        varve_reader_close(reader);
        support_succeeds(varve_reader_open(log, &options, &all, &err), &err);
        expect(all, 0, 5);
        support_succeeds(varve_reader_next(all, 0, &record, &err), &err);
        assert_int_equal(record.offset, 5);
        expect(all, 6, 5);
        varve_reader_close(all);
        support_log_tier(log, true, true);
    }
    /* a marker at the very end is passed over, and the end is where it is */
    support_succeeds(varve_log_append_encoded(log, marker, size, &base, &err), &err);
    reader = open_reader(log, VARVE_FROM_OFFSET, 10);
    expect(reader, 10, 1);
    expect_end(reader, 12);
    varve_reader_close(reader);
    free(marker);
    varve_log_close(log);
    varve_store_close(store);
}

/* ---- following ---- */

static void a_reader_goes_on_where_the_end_was(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", CONFIG);
    struct varve_reader *reader = open_reader(log, VARVE_FROM_START, 0);
    int64_t end = 0;

    expect_end(reader, 0); /* an empty log */
    for (int round = 0; round < 20; round++) {
        int64_t from = end;
        end = support_log_append(log, 7, 5);
        if (round % 3 == 1)
            support_log_tier(log, true, round % 2); /* also under its feet, before it has read */
        expect(reader, from, 35);
        expect_end(reader, end);
        if (round % 4 == 2)
            support_log_tier(log, true, true);
    }
    varve_reader_close(reader);
    varve_log_close(log);
    varve_store_close(store);
}

/* A reader that fell behind goes on cold, and hot again once it has caught up. One of the same
 * process pins its segment; one of a read-only store beside it pins nothing. */
static void eviction_under_a_reader_is_not_noticed(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    struct varve_store *store = support_store_open(e, NULL), *beside = NULL;
    struct varve_log *log = support_log_open(store, "a", CONFIG), *beside_log;
    struct varve_reader *reader, *pinning;
    struct varve_error err;

    options.read_only = true;
    support_log_append(log, 400, 5);
    support_succeeds(
        log_store_open_env(&e->env, support_store_path(e, NULL), &options, &beside, &err), &err);
    beside_log = support_log_open(beside, "a", NULL);
    reader = open_reader(beside_log, VARVE_FROM_START, 0);
    expect(reader, 0, 3); /* in the middle of a batch */
    pinning = open_reader(log, VARVE_FROM_OFFSET, 1500);
    expect(pinning, 1500, 3);
    support_log_tier(log, true, true);
    int64_t floor = support_log_info(log).hot_start;
    assert_true(floor > 1400 && floor <= 1500);
    expect(reader, 3, 1300);
    assert_true(support_store_stats(beside).cold_batches_read > 200);
    expect(pinning, 1503, 497);
    varve_reader_close(pinning);
    support_log_tier(log, true, true); /* nothing pins it any more */
    assert_int_equal(support_log_info(log).hot_start, 2000);
    support_log_append(log, 100, 5);
    struct varve_store_stats stats = support_store_stats(beside);
    expect(reader, 1303, 1197);
    expect_end(reader, 2500);
    assert_int_equal(support_store_stats(beside).hot_batches_read - stats.hot_batches_read, 100);
    varve_reader_close(reader);
    varve_log_close(beside_log);
    varve_store_close(beside);
    varve_log_close(log);
    varve_store_close(store);
}

static void what_is_trimmed_under_a_reader_is_skipped(void **state)
{
    struct tiered t;
    struct varve_error err;

    tiered_open(&t, *state);
    struct varve_reader *cold = open_reader(t.log, VARVE_FROM_START, 0);
    struct varve_reader *hot = open_reader(t.log, VARVE_FROM_OFFSET, 1100);
    expect(cold, 0, 5);
    expect(hot, 1100, 5);
    support_succeeds(varve_log_trim(t.log, 502, &err), &err);
    expect(cold, 502, 3);
    support_fails(varve_reader_seek(cold, 501, &err), &err, VARVE_E_OUT_OF_RANGE, "[502, 2000]");
    support_succeeds(varve_log_trim(t.log, 1503, &err), &err); /* beyond the cold tier */
    expect(cold, 1503, 10);
    expect(hot, 1503, 497);
    support_succeeds(varve_log_trim(t.log, 2000, &err), &err);
    expect_end(cold, 2000);
    expect_end(hot, 2000);
    support_log_append(t.log, 1, 5);
    expect(cold, 2000, 5);
    expect(hot, 2000, 5);
    varve_reader_close(cold);
    varve_reader_close(hot);
    tiered_close(&t);
}

/* ---- waiting; these run on the system's clock ---- */

struct helper {
    struct varve_log *log;
    struct varve_reader *reader;
    int64_t delay_ns;
    bool append;
};

static void helper_run(void *arg)
{
    struct helper *h = arg;
    struct support_log_record buf;
    struct varve_record record;

    base_clock_system.sleep_ns(NULL, h->delay_ns);
    if (h->append) {
        support_log_record(0, &buf, &record);
        varve_log_append_record(h->log, &record, NULL, NULL);
    } else {
        varve_reader_interrupt(h->reader);
    }
}

static int64_t now_ms(void)
{
    return base_clock_system.mono_ns(NULL) / 1000000;
}

static void waiting_ends_with_the_record_the_deadline_or_an_interrupt(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store;
    struct varve_log *log;
    struct varve_record record;
    struct varve_batch_view view;
    struct base_thread *thread;
    struct varve_error err;

    e->env.clock = &base_clock_system;
    store = support_store_open(e, NULL);
    log = support_log_open(store, "a", CONFIG);
    struct varve_reader *reader = open_reader(log, VARVE_FROM_START, 0);
    int64_t began = now_ms();
    support_fails(varve_reader_next(reader, 120, &record, &err), &err, VARVE_E_END, NULL);
    assert_true(now_ms() - began >= 119);

    struct helper h = {.log = log, .reader = reader, .delay_ns = 30000000, .append = true};
    support_succeeds(base_thread_start(&thread, "helper", helper_run, &h, &err), &err);
    support_succeeds(varve_reader_next(reader, -1, &record, &err), &err);
    assert_true(support_log_record_is(&record, 0));
    base_thread_join(thread);

    h.append = false;
    support_succeeds(base_thread_start(&thread, "helper", helper_run, &h, &err), &err);
    support_fails(varve_reader_next(reader, INT64_MAX, &record, &err), &err, VARVE_E_CANCELLED,
                  "interrupted");
    base_thread_join(thread);
    assert_int_equal(varve_reader_offset(reader), 1);
    support_log_append(log, 1, 5); /* and every later call */
    support_fails(varve_reader_next(reader, 0, &record, &err), &err, VARVE_E_CANCELLED, NULL);
    support_fails(varve_reader_next_batch(reader, 0, &view, &err), &err, VARVE_E_CANCELLED, NULL);
    varve_reader_close(reader);

    reader = open_reader(log, VARVE_FROM_START, 0);
    expect(reader, 0, 3); /* inside a batch, too */
    varve_reader_interrupt(reader);
    support_fails(varve_reader_next(reader, 0, &record, &err), &err, VARVE_E_CANCELLED, NULL);
    varve_reader_close(reader);
    varve_log_close(log);
    varve_store_close(store);
}

/* ---- failures ---- */

/* The cold directory is moved away: a retriable error, and on it goes when it is back. */
static void while_the_cold_tier_is_away_reading_fails_retriably(void **state)
{
    struct support_env *e = *state;
    struct tiered t;
    struct varve_store_options options = support_store_options(e);
    struct varve_record record;
    struct varve_error err;
    int64_t offset = -7;
    char *cold = strdup(support_store_path(e, "cold"));
    char *away = strdup(support_store_path(e, "cold-away"));

    tiered_open(&t, e);
    tiered_close(&t);
    options.cache_bytes = -1; /* what the cache holds could be read */
    for (int i = 0; i < 2; i++) {
        options.read_only = i == 1;
        assert_int_equal(rename(cold, away), 0);
        t.store = support_store_open(e, &options);
        t.log = support_log_open(t.store, "a", NULL);
        struct varve_reader *reader = open_reader(t.log, VARVE_FROM_START, 0);
        for (int k = 0; k < 3; k++) {
            support_fails(varve_reader_next(reader, 0, &record, &err), &err, VARVE_E_STORE, NULL);
            assert_true(err.retriable);
            assert_non_null(strstr(err.msg, cold));
            assert_int_equal(varve_reader_offset(reader), 0); /* I8: not at the hot floor */
        }
        support_fails(varve_log_find_time(t.log, SUPPORT_LOG_TIME, &offset, NULL, &err), &err,
                      VARVE_E_STORE, NULL);
        assert_int_equal(offset, -7);
        assert_true(err.retriable);
        struct varve_reader *hot = open_reader(t.log, VARVE_FROM_OFFSET, 1000);
        expect(hot, 1000, 1000); /* what is local is read */
        varve_reader_close(hot);
        assert_int_equal(rename(away, cold), 0);
        expect(reader, 0, 2000);
        support_succeeds(varve_log_find_time(t.log, SUPPORT_LOG_TIME, &offset, NULL, &err), &err);
        assert_int_equal(offset, 0);
        offset = -7;
        varve_reader_close(reader);
        tiered_close(&t);
    }
    free(cold);
    free(away);
}

/* Removes the files of a directory whose names begin so; how many. */
static int remove_like(const char *path, const char *name)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int count = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir)))
        if (strncmp(entry->d_name, name, strlen(name)) == 0) {
            assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
            count++;
        }
    closedir(dir);
    return count;
}

static int first_key(void *ctx, const struct varve_segment_info *s)
{
    char *key = ctx;

    if (!s->object_key)
        return 0;
    strcpy(key, s->object_key);
    return 1;
}

static char *first_object(struct support_env *e, struct varve_log *log)
{
    char key[1024] = "", part[1100];
    struct varve_error err;

    assert_int_equal(varve_log_each_segment(log, first_key, key, &err), 1);
    snprintf(part, sizeof(part), "cold/%s", key);
    return strdup(support_store_path(e, part));
}

static void a_missing_object_is_corrupt_and_never_skipped(void **state)
{
    struct support_env *e = *state;
    struct tiered t;
    struct varve_record record;
    struct varve_error err;

    tiered_open(&t, e);
    char *object = first_object(e, t.log);
    char *aside = strdup(support_store_path(e, "aside"));
    struct varve_reader *reader = open_reader(t.log, VARVE_FROM_START, 0);
    assert_int_equal(rename(object, aside), 0);
    for (int k = 0; k < 2; k++) {
        support_fails(varve_reader_next(reader, 0, &record, &err), &err, VARVE_E_CORRUPT,
                      strrchr(object, '/') + 1);
        assert_false(err.retriable);
        assert_int_equal(varve_reader_offset(reader), 0);
    }
    assert_int_equal(rename(aside, object), 0);
    expect(reader, 0, 2000);
    varve_reader_close(reader);
    free(object);
    free(aside);
    tiered_close(&t);
}

/* Of the read-only store beside, which has not seen the trim nor that the objects are gone. */
static void a_reader_with_an_old_root_is_not_told_of_damage(void **state)
{
    struct support_env *e = *state;
    struct tiered t;
    struct varve_store_options options = support_store_options(e);
    struct varve_store *beside = NULL;
    struct varve_error err;

    tiered_open(&t, e);
    options.read_only = true;
    options.readahead_bytes = -1;
    options.cache_bytes = -1;
    support_succeeds(
        log_store_open_env(&e->env, support_store_path(e, NULL), &options, &beside, &err), &err);
    struct varve_log *log = support_log_open(beside, "a", NULL);
    struct varve_reader *reader = open_reader(log, VARVE_FROM_START, 0);
    expect(reader, 0, 3);
    support_succeeds(varve_log_trim(t.log, 700, &err), &err);
    support_clock_advance_ms(&e->clock, 120000);
    support_log_tier(t.log, false, false);
    int64_t next = 3;
    struct varve_record record;
    while (next < t.end) { /* what it had in hand, then what is left */
        support_succeeds(varve_reader_next(reader, 0, &record, &err), &err);
        assert_true(record.offset == next || (next < 700 && record.offset == 700));
        next = record.offset + 1;
    }
    varve_reader_close(reader);
    varve_log_close(log);
    varve_store_close(beside);
    tiered_close(&t);
}

/* Of the read-only store beside, whose local files lack what a trim, which it has not seen, has
 * taken from the cold tier together with the page that named it. */
static void a_hole_in_what_was_trimmed_is_no_damage_with_an_old_root(void **state)
{
    static const struct index_fold fold = {2, 2, 2};
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    struct varve_store *beside = NULL;
    struct varve_record record;
    struct varve_error err;

    e->env.fold = &fold;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", CONFIG);
    for (int i = 0; i < 8; i++) {
        support_log_append(log, 10, 5);
        support_log_tier(log, true, false);
    }
    int64_t end = support_log_append(log, 10, 5);
    assert_int_equal(unlink(support_store_path(e, "logs/a/@/00000000000000000050.log")), 0);
    options.read_only = true;
    options.readahead_bytes = -1;
    options.cache_bytes = -1;
    support_succeeds(
        log_store_open_env(&e->env, support_store_path(e, NULL), &options, &beside, &err), &err);
    struct varve_log *old = support_log_open(beside, "a", NULL);
    struct varve_reader *reader = open_reader(old, VARVE_FROM_START, 0);
    expect(reader, 0, 3);
    support_succeeds(varve_log_trim(log, 300, &err), &err);
    support_clock_advance_ms(&e->clock, 120000);
    support_log_tier(log, false, false);
    expect(reader, 3, 47);
    support_succeeds(varve_reader_next(reader, 0, &record, &err), &err);
    assert_int_equal(record.offset, 300);
    expect(reader, 301, (int)(end - 301));
    varve_reader_close(reader);
    varve_log_close(old);
    varve_store_close(beside);
    varve_log_close(log);
    varve_store_close(store);
}

/* It attaches the bucket, its root is old, the object is gone, and nobody can say why. */
static void a_missing_object_is_no_damage_while_the_root_cannot_be_read(void **state)
{
    struct support_env *e = *state;
    struct tiered t;
    struct varve_store_options options = support_store_options(e);
    struct varve_store *attached = NULL;
    struct varve_record record;
    struct varve_error err;
    char url[1024];

    tiered_open(&t, e);
    options.read_only = true;
    options.readahead_bytes = -1;
    snprintf(url, sizeof(url), "file://%s", support_store_path(e, "cold"));
    support_succeeds(log_store_open_env(&e->env, url, &options, &attached, &err), &err);
    struct varve_log *log = support_log_open(attached, "a", NULL);
    struct varve_reader *reader = open_reader(log, VARVE_FROM_START, 0);
    support_succeeds(varve_log_trim(t.log, 700, &err), &err);
    support_clock_advance_ms(&e->clock, 120000);
    support_log_tier(t.log, false, false);
    support_io_fail(e->io, &(struct support_io_fault){.call = SUPPORT_IO_OPEN,
                                                      .path = "cold/logs/a/@/root",
                                                      .nth = 1,
                                                      .sys_errno = EIO,
                                                      .keep = true});
    support_fails(varve_reader_next(reader, 0, &record, &err), &err, VARVE_E_STORE, "root of a");
    assert_int_equal(varve_reader_offset(reader), 0);
    support_io_fail(e->io, NULL);
    support_succeeds(varve_reader_next(reader, 0, &record, &err), &err);
    assert_int_equal(record.offset, 700);
    varve_reader_close(reader);
    varve_log_close(log);
    varve_store_close(attached);
    tiered_close(&t);
}

/* Damage in the hot copy of what is cold as well: the cold copy is read. */
static void a_damaged_local_copy_is_passed_over(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", CONFIG);
    const char *path = support_store_path(e, "logs/a/@/00000000000000000000.log");
    struct varve_record record;
    struct varve_error err;
    int64_t offset = -7;

    support_log_append(log, 200, 5);
    support_log_tier(log, true, false); /* in both tiers */
    support_log_append(log, 10, 5);
    support_file_flip(path, 3000, 0x10);
    assert_int_equal(support_log_read(log, 0), 1050);
    assert_true(support_logger_count(e->logger, BASE_LOG_WARNING, "damaged") >= 1);
    assert_int_equal(support_log_read(log, 35), 1050);
    support_succeeds(varve_log_find_time(log, SUPPORT_LOG_TIME + 33, &offset, NULL, &err), &err);
    assert_int_equal(offset, 33);
    varve_log_close(log);
    varve_store_close(store);

    /* The only copy: an error that names the file, each time. */
    store = support_store_open(e, NULL);
    log = support_log_open(store, "b", CONFIG);
    support_log_append(log, 30, 5);
    path = support_store_path(e, "logs/b/@/00000000000000000000.log");
    support_file_flip(path, 3000, 0x10);
    struct varve_reader *reader = open_reader(log, VARVE_FROM_START, 0);
    int rc;
    while ((rc = varve_reader_next(reader, 0, &record, &err)) == 0)
        ;
    offset = varve_reader_offset(reader);
    assert_true(offset > 0 && offset < 50);
    support_fails(rc, &err, VARVE_E_CORRUPT, "00000000000000000000.log");
    support_fails(varve_reader_next(reader, 0, &record, &err), &err, VARVE_E_CORRUPT,
                  "00000000000000000000.log");
    assert_int_equal(varve_reader_offset(reader), offset);
    support_file_flip(path, 3000, 0x10);
    expect(reader, offset, (int)(150 - offset));
    varve_reader_close(reader);
    varve_log_close(log);
    varve_store_close(store);
}

/* A search by time named the copy that it had passed over, and not what it then met. */
static void damage_behind_a_copy_that_is_passed_over_is_named(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", CONFIG);
    struct varve_error err;
    int64_t offset = -7;
    char path[64];

    support_log_append(log, 200, 5);
    support_log_tier(log, true, false); /* in both tiers */
    support_log_append(log, 100, 5);
    varve_log_close(log);
    support_file_flip(support_store_path(e, "logs/a/@/00000000000000000000.log"), 100, 0x10);
    assert_int_equal(unlink(support_store_path(e, "logs/a/@/00000000000000000000.index")), 0);
    log = support_log_open(store, "a", NULL);
    snprintf(path, sizeof(path), "logs/a/@/%020d.log", 1000);
    support_file_flip(support_store_path(e, path), 100, 0x10);
    support_succeeds(varve_log_find_time(log, SUPPORT_LOG_TIME + 3, &offset, NULL, &err), &err);
    assert_int_equal(offset, 3);
    support_fails(varve_log_find_time(log, SUPPORT_LOG_TIME + 1001, &offset, NULL, &err), &err,
                  VARVE_E_CORRUPT, "00000000000000001000.log");
    assert_int_equal(offset, 3);
    varve_log_close(log);
    varve_store_close(store);
}

/* Its index had to be made again, could not be, and that was where reading ended. */
static void a_damaged_local_copy_whose_index_is_gone_is_passed_over(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", CONFIG);

    support_log_append(log, 200, 5);
    support_log_tier(log, true, false); /* in both tiers */
    support_log_append(log, 10, 5);
    varve_log_close(log);
    support_file_flip(support_store_path(e, "logs/a/@/00000000000000000000.log"), 3000, 0x10);
    assert_int_equal(unlink(support_store_path(e, "logs/a/@/00000000000000000000.index")), 0);
    log = support_log_open(store, "a", NULL);
    assert_int_equal(support_log_read(log, 35), 1050);
    varve_log_close(log);
    varve_store_close(store);
}

/* It was called damage, though the cold copy was whole and only could not be fetched. */
static void a_damaged_local_copy_is_no_damage_while_the_cold_one_cannot_be_read(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    struct varve_error err;
    int64_t offset = -7;

    options.cache_bytes = -1;
    struct varve_store *store = support_store_open(e, &options);
    struct varve_log *log = support_log_open(store, "a", CONFIG);
    support_log_append(log, 200, 5);
    support_log_tier(log, true, false); /* in both tiers */
    support_log_append(log, 10, 5);
    support_file_flip(support_store_path(e, "logs/a/@/00000000000000000000.log"), 100, 0x10);
    support_io_fail(e->io, &(struct support_io_fault){.call = SUPPORT_IO_OPEN,
                                                      .path = "/00000000000000000000-",
                                                      .nth = 1,
                                                      .sys_errno = EIO,
                                                      .keep = true});
    support_fails(varve_log_find_time(log, SUPPORT_LOG_TIME + 1, &offset, NULL, &err), &err,
                  VARVE_E_STORE, NULL);
    assert_int_equal(offset, -7);
    support_io_fail(e->io, NULL);
    support_succeeds(varve_log_find_time(log, SUPPORT_LOG_TIME + 1, &offset, NULL, &err), &err);
    assert_int_equal(offset, 1);
    varve_log_close(log);
    varve_store_close(store);
}

/* The page that says where the cold copy lies was neither here nor to be had, and that passed for a
 * log without a cold copy. */
static void a_damaged_local_copy_is_no_damage_while_the_page_cannot_be_read(void **state)
{
    static const struct index_fold fold = {1, 1, 2};
    struct support_env *e = *state;
    char *cold = strdup(support_store_path(e, "cold"));
    char *away = strdup(support_store_path(e, "cold-away"));
    struct varve_record record;
    struct varve_error err;

    e->env.fold = &fold;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", CONFIG);
    for (int i = 0; i < 4; i++) {
        support_log_append(log, 200, 5);
        support_log_tier(log, true, false); /* in both tiers */
    }
    varve_log_close(log);
    assert_true(remove_like(support_store_path(e, "logs/a/@"), "page-0-00000000000000000000-") > 0);
    log = support_log_open(store, "a", NULL);
    support_file_flip(support_store_path(e, "logs/a/@/00000000000000000000.log"), 100, 0x10);
    assert_int_equal(rename(cold, away), 0);
    struct varve_reader *reader = open_reader(log, VARVE_FROM_START, 0);
    support_fails(varve_reader_next(reader, 0, &record, &err), &err, VARVE_E_STORE,
                  "00000000000000000000.log");
    assert_true(err.retriable);
    assert_int_equal(varve_reader_offset(reader), 0);
    assert_int_equal(rename(away, cold), 0);
    expect(reader, 0, 4000);
    varve_reader_close(reader);
    varve_log_close(log);
    varve_store_close(store);
    free(cold);
    free(away);
}

/* Each I/O call of reading fails once: an error, then the same call succeeds. */
static void a_failure_leaves_the_reader_where_it_stood(void **state)
{
    struct support_env *e = *state;
    struct varve_store_options options = support_store_options(e);
    struct tiered t;
    unsigned failures = 0;

    tiered_open(&t, e);
    tiered_close(&t);
    options.cache_bytes = -1;
    options.readahead_bytes = -1;
    t.store = support_store_open(e, &options);
    t.log = support_log_open(t.store, "a", NULL);
    for (uint64_t nth = 1;; nth++) {
        struct support_io_fault fault = {.call = SUPPORT_IO_PREAD, .nth = nth, .sys_errno = EIO};
        struct varve_reader *reader = open_reader(t.log, VARVE_FROM_OFFSET, 700);
        struct varve_record record;
        struct varve_error err;
        bool hit = false;
        support_io_fail(e->io, &fault);
        for (int64_t next = 700; next < 1300;) {
            int rc = varve_reader_next(reader, 0, &record, &err);
            if (rc < 0) {
                failures++;
                hit = true;
                assert_true(rc == VARVE_E_IO || rc == VARVE_E_STORE || rc == VARVE_E_CORRUPT);
                assert_int_equal(varve_reader_offset(reader), next);
                support_io_fail(e->io, NULL);
                continue;
            }
            assert_true(support_log_record_is(&record, next));
            next++;
        }
        hit = hit || support_io_failed(e->io) > 0; /* a failed look into the cache is a miss */
        support_io_fail(e->io, NULL);
        varve_reader_close(reader);
        if (!hit)
            break;
    }
    assert_true(failures > 5);
    tiered_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(a_reader_begins_where_it_is_told),
        support_env_test(a_reader_seeks),
        support_env_test(whole_batches_are_read_across_both_tiers),
        support_env_test(control_batches_are_left_out_unless_asked_for),
        support_env_test(a_reader_goes_on_where_the_end_was),
        support_env_test(eviction_under_a_reader_is_not_noticed),
        support_env_test(what_is_trimmed_under_a_reader_is_skipped),
        support_env_test(waiting_ends_with_the_record_the_deadline_or_an_interrupt),
        support_env_test(while_the_cold_tier_is_away_reading_fails_retriably),
        support_env_test(a_missing_object_is_corrupt_and_never_skipped),
        support_env_test(a_reader_with_an_old_root_is_not_told_of_damage),
        support_env_test(a_hole_in_what_was_trimmed_is_no_damage_with_an_old_root),
        support_env_test(a_missing_object_is_no_damage_while_the_root_cannot_be_read),
        support_env_test(a_damaged_local_copy_is_passed_over),
        support_env_test(a_damaged_local_copy_whose_index_is_gone_is_passed_over),
        support_env_test(damage_behind_a_copy_that_is_passed_over_is_named),
        support_env_test(a_damaged_local_copy_is_no_damage_while_the_cold_one_cannot_be_read),
        support_env_test(a_damaged_local_copy_is_no_damage_while_the_page_cannot_be_read),
        support_env_test(a_failure_leaves_the_reader_where_it_stood),
    };

    return cmocka_run_group_tests_name("log_reader", tests, NULL, NULL);
}
