/* A log as a whole: what it says of itself, its segments, tiering, trimming, checking. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/file.h"
#include "tests/support/support_log.h"

#define CONFIG                                                                                     \
    "segment.bytes=4096 cold.block.bytes=4096 index.interval.bytes=512 "                           \
    "local.retention.bytes=-1 flush.ms=-1"
#define SEGMENTS_MAX 200

struct segments {
    size_t count;
    struct varve_segment_info at[SEGMENTS_MAX];
    char key[SEGMENTS_MAX][256];
};

static int segments_visit(void *ctx, const struct varve_segment_info *s)
{
    struct segments *list = ctx;

    assert_true(list->count < SEGMENTS_MAX);
    if (list->count > 0)
        assert_int_equal(s->base_offset, list->at[list->count - 1].end_offset);
    if (s->object_key)
        strcpy(list->key[list->count], s->object_key);
    list->at[list->count++] = *s;
    return 0;
}

static void segments_read(struct varve_log *log, struct segments *ret)
{
    struct varve_error err;

    *ret = (struct segments){0};
    support_succeeds(varve_log_each_segment(log, segments_visit, ret, &err), &err);
}

static void a_new_log_says_that_it_is_empty(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", CONFIG);
    struct varve_log_info info = support_log_info(log);
    struct segments list;
    struct varve_error err;
    int64_t offset = -7;

    assert_int_equal(info.start_offset, 0);
    assert_int_equal(info.end_offset, 0);
    assert_int_equal(info.cold_end, 0);
    assert_int_equal(info.hot_start, 0);
    assert_int_equal(info.hot_bytes, 0);
    assert_int_equal(info.cold_segments, 0);
    assert_int_equal(info.pending_age_ms, 0);
    assert_int_equal(strlen(info.id), 32);
    segments_read(log, &list);
    assert_int_equal(list.count, 0);
    support_fails(varve_log_find_time(log, 0, &offset, NULL, &err), &err, VARVE_E_NOT_FOUND,
                  "no record at or after");
    assert_int_equal(offset, -7);
    support_log_tier(log, true, true); /* nothing to do */
    support_succeeds(varve_log_seal(log, &err), &err);
    support_succeeds(varve_log_trim(log, 0, &err), &err);
    support_fails(varve_log_trim(log, 1, &err), &err, VARVE_E_OUT_OF_RANGE, "log a");
    varve_log_close(log);
    varve_store_close(store);
}

static void segments_of_both_tiers_are_merged(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", CONFIG);
    struct segments list;
    struct varve_log_info info;
    uint64_t cold = 0, hot = 0, cold_bytes = 0, hot_bytes = 0, stored = 0;

    support_log_append(log, 60, 5); /* evicted, */
    support_log_tier(log, true, true);
    support_log_append(log, 60, 5); /* in both, */
    support_log_tier(log, true, false);
    support_log_append(log, 60, 5); /* hot */
    segments_read(log, &list);
    info = support_log_info(log);
    assert_int_equal(list.at[0].base_offset, 0);
    assert_int_equal(list.at[list.count - 1].end_offset, 900);
    assert_false(list.at[list.count - 1].sealed);
    for (size_t i = 0; i < list.count; i++) {
        const struct varve_segment_info *s = &list.at[i];
        assert_int_equal(s->cold, s->end_offset <= 600);
        assert_int_equal(s->hot, s->base_offset >= 300);
        assert_int_equal(s->first_timestamp, SUPPORT_LOG_TIME + s->base_offset);
        assert_int_equal(s->max_timestamp, SUPPORT_LOG_TIME + s->end_offset - 1);
        assert_true(s->size > 0 && s->size <= 4096);
        assert_int_equal(s->sealed, i + 1 < list.count);
        if (s->cold) {
            char part[300];
            snprintf(part, sizeof(part), "cold/%s", list.key[i]);
            assert_int_equal(support_file_size(support_store_path(e, part)), s->stored_size);
        }
        cold += s->cold;
        cold_bytes += s->cold ? s->size : 0;
        stored += s->stored_size;
        hot += s->hot;
        hot_bytes += s->hot ? s->size : 0;
    }
    assert_int_equal(info.hot_start, 300);
    assert_int_equal(info.cold_end, 600);
    assert_int_equal(info.cold_segments, cold);
    assert_int_equal(info.cold_bytes, cold_bytes);
    assert_int_equal(info.cold_stored_bytes, stored);
    assert_int_equal(info.hot_segments, hot);
    assert_int_equal(info.hot_bytes, hot_bytes);
    varve_log_close(log);
    varve_store_close(store);
}

static int stop_visit(void *ctx, const struct varve_segment_info *s)
{
    (void)s;
    return ++*(int *)ctx == 3 ? VARVE_E_END : 0; /* whatever it returns is returned */
}

static void a_walk_over_the_segments_ends_when_told(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", CONFIG);
    struct varve_error err;

    support_log_append(log, 60, 5);
    for (int i = 0; i < 2; i++) {
        int count = 0;
        assert_int_equal(varve_log_each_segment(log, stop_visit, &count, &err), VARVE_E_END);
        assert_int_equal(count, 3);
        support_log_tier(log, true, true);
    }
    varve_log_close(log);
    varve_store_close(store);
}

struct progress {
    uint64_t calls;
    uint64_t done;
    uint64_t total;
};

static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct progress *p = ctx;

    assert_true(done >= p->done && done <= total);
    p->calls++;
    p->done = done;
    p->total = total;
}

static void tiering_tells_what_it_did(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", CONFIG);
    struct progress progress = {0};
    struct varve_tier_options o = {
        .size = sizeof(o), .progress = on_progress, .progress_ctx = &progress};
    struct varve_log_info info;
    struct varve_error err;

    support_log_append(log, 60, 5);
    support_clock_advance_ms(&e->clock, 5000);
    info = support_log_info(log);
    assert_int_equal(info.pending_age_ms, 5000);
    uint64_t pending = info.pending_bytes, active = info.hot_bytes - pending;
    assert_true(pending > 0 && active > 0);
    support_succeeds(varve_log_tier(log, &o, &err), &err);
    assert_int_equal(o.uploaded_bytes, pending);
    assert_int_equal(o.evicted_segments, 0); /* local retention keeps all */
    assert_int_equal(progress.done, pending);
    assert_int_equal(progress.total, pending);
    info = support_log_info(log);
    assert_int_equal(info.pending_bytes, 0);
    assert_int_equal(info.cold_stored_bytes, o.stored_bytes);
    assert_true(info.cold_end < 300);
    uint64_t segments = o.uploaded_segments;
    o = (struct varve_tier_options){.size = sizeof(o), .seal = true, .evict = true};
    support_succeeds(varve_log_tier(log, &o, &err), &err);
    assert_int_equal(o.uploaded_segments, 1);
    assert_int_equal(o.uploaded_bytes, active);
    assert_int_equal(o.evicted_segments, segments + 1);
    assert_int_equal(o.evicted_bytes, pending + active);
    assert_int_equal(support_log_info(log).hot_bytes, 0);
    assert_int_equal(support_log_info(log).pending_age_ms, 0);
    support_succeeds(varve_log_tier(log, NULL, &err), &err); /* options are optional */
    varve_log_close(log);
    varve_store_close(store);
}

static void a_failed_upload_loses_nothing_and_shows(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", CONFIG);
    struct varve_tier_options o = {.size = sizeof(o), .seal = true, .evict = true};
    struct varve_error err;
    char *cold = strdup(support_store_path(e, "cold"));
    char *away = strdup(support_store_path(e, "away"));

    support_log_append(log, 60, 5);
    assert_int_equal(rename(cold, away), 0);
    support_logger_expect(e->logger, "");
    support_fails(varve_log_tier(log, &o, &err), &err, VARVE_E_STORE, "log a");
    assert_true(err.retriable);
    assert_int_equal(o.uploaded_segments, 0);
    assert_int_equal(o.evicted_segments, 0);
    assert_true(support_log_info(log).upload_failures > 0);
    support_log_append(log, 60, 5); /* appends do not wait for it */
    assert_int_equal(support_log_read(log, 0), 600);
    assert_int_equal(rename(away, cold), 0);
    support_succeeds(varve_log_tier(log, &o, &err), &err);
    assert_int_equal(support_log_info(log).cold_end, 600);
    assert_int_equal(support_log_info(log).upload_failures, 0);
    assert_int_equal(support_log_read(log, 0), 600);
    free(cold);
    free(away);
    varve_log_close(log);
    varve_store_close(store);
}

static void trimming_moves_the_start_at_once_and_frees_later(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", CONFIG);
    struct segments before, after;
    struct varve_error err;
    char part[300];

    support_log_append(log, 100, 5);
    support_log_tier(log, true, true);
    support_log_append(log, 100, 5);
    segments_read(log, &before);
    support_fails(varve_log_trim(log, 1001, &err), &err, VARVE_E_OUT_OF_RANGE, NULL);
    support_succeeds(varve_log_trim(log, 333, &err), &err);
    assert_int_equal(support_log_info(log).start_offset, 333);
    support_succeeds(varve_log_trim(log, 300, &err), &err); /* below the start: nothing */
    support_succeeds(varve_log_trim(log, -5, &err), &err);
    assert_int_equal(support_log_info(log).start_offset, 333);
    assert_int_equal(support_log_read(log, 333), 1000);
    segments_read(log, &after);
    assert_true(after.at[0].base_offset <= 333 && after.at[0].end_offset > 333);

    snprintf(part, sizeof(part), "cold/%s", before.key[0]);
    support_log_tier(log, false, false);
    assert_true(support_file_exists(support_store_path(e, part))); /* the grace period */
    support_clock_advance_ms(&e->clock, 61000);
    struct varve_tier_options o = {.size = sizeof(o)};
    support_succeeds(varve_log_tier(log, &o, &err), &err);
    assert_true(o.deleted_objects > 0);
    assert_false(support_file_exists(support_store_path(e, part)));
    varve_log_close(log);
    varve_store_close(store);

    store = support_store_open(e, NULL); /* durable */
    log = support_log_open(store, "a", NULL);
    assert_int_equal(support_log_info(log).start_offset, 333);
    support_succeeds(varve_log_trim(log, 1000, &err), &err);
    assert_int_equal(support_log_info(log).start_offset, 1000);
    assert_int_equal(support_log_info(log).end_offset, 1000);
    assert_int_equal(support_log_append(log, 1, 5), 1005);
    varve_log_close(log);
    varve_store_close(store);
}

static void retention_trims_and_the_reader_of_the_start_sees_it(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", CONFIG " retention.bytes=8192");
    struct varve_error err;
    struct varve_reader *reader = NULL;
    struct varve_record record;

    support_log_append(log, 100, 5);
    support_succeeds(varve_reader_open(log, NULL, &reader, &err), &err);
    support_log_tier(log, true, true);
    struct varve_log_info info = support_log_info(log);
    assert_true(info.start_offset > 0);
    support_succeeds(varve_reader_next(reader, 0, &record, &err), &err);
    assert_int_equal(record.offset, info.start_offset);
    varve_reader_close(reader);
    varve_log_close(log);
    varve_store_close(store);
}

/* ---- verify ---- */

struct findings {
    unsigned count;
    unsigned problems;
    unsigned repaired;
    char kind[32];
    char where[300];
};

static void on_found(void *ctx, const struct varve_finding *f)
{
    struct findings *v = ctx;

    v->count++;
    if (!f->problem)
        return;
    v->problems++;
    v->repaired += f->repaired;
    snprintf(v->kind, sizeof(v->kind), "%s", f->kind);
    snprintf(v->where, sizeof(v->where), "%s", f->where);
    assert_true(f->text && f->text[0]);
}

static void verify(struct varve_log *log, bool deep, bool repair, struct findings *ret,
                   struct varve_verify_options *ret_options)
{
    struct varve_error err;

    *ret = (struct findings){0};
    *ret_options = (struct varve_verify_options){.size = sizeof(*ret_options),
                                                 .deep = deep,
                                                 .repair = repair,
                                                 .found = on_found,
                                                 .ctx = ret};
    support_succeeds(varve_log_verify(log, ret_options, &err), &err);
}

static void a_sound_log_verifies(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", CONFIG);
    struct findings found;
    struct varve_verify_options o;
    struct progress progress = {0};
    struct varve_error err;

    verify(log, true, false, &found, &o);
    assert_int_equal(o.problems, 0);
    support_log_append(log, 60, 5);
    support_log_tier(log, true, true);
    support_log_append(log, 60, 5);
    struct varve_log_info info = support_log_info(log);
    for (int deep = 0; deep < 2; deep++) {
        verify(log, deep, false, &found, &o);
        assert_int_equal(o.problems, 0);
        assert_int_equal(found.problems, 0);
        assert_int_equal(o.hot_segments, info.hot_segments);
        assert_int_equal(o.cold_segments, info.cold_segments);
        if (deep)
            assert_true(o.bytes_read >= info.hot_bytes + info.cold_stored_bytes);
    }
    o = (struct varve_verify_options){
        .size = sizeof(o), .deep = true, .progress = on_progress, .ctx = &progress};
    support_succeeds(varve_log_verify(log, &o, &err), &err);
    assert_true(progress.calls > 0 && progress.done == progress.total);
    varve_log_close(log);
    varve_store_close(store);
}

static void damage_is_found_named_and_repaired_from_the_other_tier(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", CONFIG);
    struct findings found;
    struct varve_verify_options o;
    struct segments list;
    char part[300];

    support_log_append(log, 60, 5);
    support_log_tier(log, true, false); /* both tiers have all */
    segments_read(log, &list);
    snprintf(part, sizeof(part), "cold/%s", list.key[1]);
    support_file_flip(support_store_path(e, part), 200, 1);
    support_file_flip(support_store_path(e, "logs/a/@/00000000000000000000.log"), 500, 1);
    support_logger_expect(e->logger, "");
    verify(log, true, false, &found, &o);
    assert_int_equal(o.problems, 2);
    assert_int_equal(found.problems, 2);
    assert_int_equal(o.repaired, 0);
    verify(log, true, true, &found, &o);
    assert_int_equal(o.problems, 0);
    assert_int_equal(o.repaired, 2);
    verify(log, true, false, &found, &o);
    assert_int_equal(o.problems, 0);
    assert_int_equal(found.problems, 0);
    assert_int_equal(support_log_read(log, 0), 300);
    support_log_tier(log, true, true);
    assert_int_equal(support_log_read(log, 0), 300);
    varve_log_close(log);
    varve_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(a_new_log_says_that_it_is_empty),
        support_env_test(segments_of_both_tiers_are_merged),
        support_env_test(a_walk_over_the_segments_ends_when_told),
        support_env_test(tiering_tells_what_it_did),
        support_env_test(a_failed_upload_loses_nothing_and_shows),
        support_env_test(trimming_moves_the_start_at_once_and_frees_later),
        support_env_test(retention_trims_and_the_reader_of_the_start_sees_it),
        support_env_test(a_sound_log_verifies),
        support_env_test(damage_is_found_named_and_repaired_from_the_other_tier),
    };

    return cmocka_run_group_tests_name("log_segments", tests, NULL, NULL);
}
