/*
 * Everything at once: sixteen threads append, others follow (one through a read-only store beside
 * it), read at random places and trim, while the background uploads and evicts segments of 4 KiB.
 * Every record is seen once, in order, by whoever follows. Meant for TSan as well.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/support_log.h"

#define APPENDERS 16
#define FOLLOWERS 3 /* the last one reads through a read-only store */
#define RANDOM_READERS 2
#define RECORDS_MAX 16384
#define CONFIG                                                                                     \
    "segment.bytes=4096 cold.block.bytes=4096 index.interval.bytes=512 local.retention.bytes=0 "   \
    "file.delete.delay.ms=0 flush.ms=20"

struct crowd {
    struct varve_log *log;
    struct varve_log *read_only;
    int per_appender;
    int64_t total;
    atomic_int failed;
    struct varve_error error; /* of the first that failed */
    char who[64];
    atomic_int_fast64_t passed[FOLLOWERS]; /* offset each follower stands at */
    atomic_bool done;                      /* the followers have seen all */
    _Atomic uint32_t owner[RECORDS_MAX];   /* thread << 16 | number + 1, by offset */
};

struct member {
    struct crowd *crowd;
    int number;
    struct base_thread *thread;
};

static void fails(struct crowd *c, const struct varve_error *err, const char *who)
{
    if (atomic_fetch_add(&c->failed, 1) == 0) {
        c->error = *err;
        snprintf(c->who, sizeof(c->who), "%s", who);
    }
}

static void fails_because(struct crowd *c, const char *why, int64_t offset)
{
    struct varve_error err = {0};

    snprintf(err.msg, sizeof(err.msg), "offset %lld", (long long)offset);
    fails(c, &err, why);
}

/* ---- appenders ---- */

static void own(struct crowd *c, int64_t offset, int thread, int number)
{
    if (offset < 0 || offset >= c->total ||
        atomic_exchange(&c->owner[offset], (uint32_t)thread << 16 | (uint32_t)(number + 1)))
        fails_because(c, "an offset was given twice", offset);
}

static struct varve_record text_record(char text[64], int thread, int number)
{
    int n = snprintf(text, 64, "thread %d record %d of many", thread, number);

    return (struct varve_record){
        .timestamp = SUPPORT_LOG_TIME + number, .value = text, .value_size = (size_t)n};
}

static int append_batch(struct crowd *c, struct varve_batch *batch, int thread, int number,
                        int count, struct varve_error *err)
{
    int64_t base = 0;
    char text[64];
    int rc = 0;

    varve_batch_clear(batch);
    for (int i = 0; rc == 0 && i < count; i++) {
        struct varve_record record = text_record(text, thread, number + i);
        rc = varve_batch_add(batch, &record, err);
    }
    if (rc == 0)
        rc = varve_log_append(c->log, batch, &base, err);
    for (int i = 0; rc == 0 && i < count; i++)
        own(c, base + i, thread, number + i);
    return rc;
}

static void appender(void *arg)
{
    struct member *m = arg;
    struct crowd *c = m->crowd;
    struct varve_batch *batch = NULL;
    struct varve_error err;
    int rc = varve_batch_new((enum varve_codec)(m->number % 5), 0, 4096, &batch, &err);

    for (int i = 0; rc == 0 && i < c->per_appender && !atomic_load(&c->failed);) {
        int count = 1 + i % 7;
        if (count > c->per_appender - i)
            count = c->per_appender - i;
        if (count == 1) {
            char text[64];
            int64_t offset = 0;
            struct varve_record record = text_record(text, m->number, i);
            rc = varve_log_append_record(c->log, &record, &offset, &err);
            if (rc == 0)
                own(c, offset, m->number, i);
        } else {
            rc = append_batch(c, batch, m->number, i, count, &err);
        }
        i += count;
    }
    if (rc < 0)
        fails(c, &err, "append");
    varve_batch_free(batch);
}

/* ---- followers ---- */

/* Each appender's records come in its order, none twice, none left out. */
static bool record_follows(const struct varve_record *record, int next[APPENDERS])
{
    char text[64];
    int thread, number;

    if (record->value_size >= sizeof(text))
        return false;
    memcpy(text, record->value, record->value_size);
    text[record->value_size] = '\0';
    return sscanf(text, "thread %d record %d", &thread, &number) == 2 && thread >= 0 &&
           thread < APPENDERS && number == next[thread]++;
}

static void follower(void *arg)
{
    struct member *m = arg;
    struct crowd *c = m->crowd;
    struct varve_reader *reader = NULL;
    struct varve_record record;
    struct varve_error err;
    int next[APPENDERS] = {0};
    int64_t offset = 0;
    int rc =
        varve_reader_open(m->number == FOLLOWERS - 1 ? c->read_only : c->log, NULL, &reader, &err);

    while (rc == 0 && offset < c->total) {
        rc = varve_reader_next(reader, 200, &record, &err);
        if (rc == VARVE_E_END && !atomic_load(&c->failed)) {
            rc = 0;
            continue;
        }
        if (rc < 0)
            break;
        if (record.offset != offset || !record_follows(&record, next)) {
            fails_because(c, "a follower read something else", offset);
            break;
        }
        atomic_store(&c->passed[m->number], ++offset);
    }
    if (rc < 0)
        fails(c, &err, m->number == FOLLOWERS - 1 ? "follow read-only" : "follow");
    varve_reader_close(reader);
}

/* ---- random readers, and the one who trims ---- */

static int read_a_little(struct crowd *c, struct varve_reader *reader,
                         struct support_random *random, struct varve_error *err)
{
    struct varve_log_info info = {.size = sizeof(info)};
    struct varve_record record;
    int64_t offset;
    int rc = varve_log_info(c->log, &info, err);

    if (rc < 0)
        return rc;
    if (info.hot_start > info.cold_end || info.start_offset > info.end_offset)
        fails_because(c, "a hole between the tiers", info.cold_end);
    offset = info.start_offset + (int64_t)support_random_below(
                                     random, (uint64_t)(info.end_offset - info.start_offset) + 1);
    rc = varve_reader_seek(reader, offset, err);
    for (int i = 0; rc == 0 && i < 30; i++) {
        rc = varve_reader_next(reader, 0, &record, err);
        if (rc == 0 && record.offset < offset)
            fails_because(c, "a reader went back", record.offset);
        offset = record.offset + 1;
    }
    /* trimmed meanwhile, or at the end: both are as they should be */
    return rc == VARVE_E_OUT_OF_RANGE || rc == VARVE_E_END ? 0 : rc;
}

static void random_reader(void *arg)
{
    struct member *m = arg;
    struct crowd *c = m->crowd;
    struct varve_reader *reader = NULL;
    struct support_random random;
    struct varve_error err;
    int rc = varve_reader_open(c->log, NULL, &reader, &err);

    support_random_init(&random, (uint64_t)m->number + 1);
    while (rc == 0 && !atomic_load(&c->done) && !atomic_load(&c->failed)) {
        int64_t offset;
        rc = read_a_little(c, reader, &random, &err);
        if (rc == 0) {
            rc = varve_log_find_time(c->log,
                                     SUPPORT_LOG_TIME + (int64_t)support_random_below(&random, 300),
                                     &offset, NULL, &err);
            if (rc == VARVE_E_NOT_FOUND)
                rc = 0;
        }
    }
    if (rc < 0)
        fails(c, &err, "random read");
    varve_reader_close(reader);
}

static int cover_visit(void *ctx, const struct varve_segment_info *s)
{
    int64_t *next = ctx;

    if (*next >= 0 && s->base_offset != *next)
        return 1;
    *next = s->end_offset;
    return 0;
}

/* Trims what all followers have passed, and looks at the segments. */
static void trimmer(void *arg)
{
    struct member *m = arg;
    struct crowd *c = m->crowd;
    struct varve_error err;
    int rc = 0;

    while (rc == 0 && !atomic_load(&c->done) && !atomic_load(&c->failed)) {
        int64_t least = INT64_MAX, next = -1;
        for (int i = 0; i < FOLLOWERS; i++) {
            int64_t passed = atomic_load(&c->passed[i]);
            least = passed < least ? passed : least;
        }
        rc = varve_log_trim(c->log, least / 2, &err);
        if (rc < 0)
            break;
        rc = varve_log_each_segment(c->log, cover_visit, &next, &err);
        if (rc == 1) {
            fails_because(c, "a hole between segments", next);
            rc = 0;
        }
        if (rc == 0)
            rc = varve_log_sync(c->log, &err);
        base_clock_system.sleep_ns(base_clock_system.ctx, 2000000);
    }
    if (rc < 0)
        fails(c, &err, "trim");
}

/* ---- the whole ---- */

static void start(struct member *m, struct crowd *c, int number, void (*run)(void *arg))
{
    struct varve_error err;

    *m = (struct member){.crowd = c, .number = number};
    support_succeeds(base_thread_start(&m->thread, "member", run, m, &err), &err);
}

static void join(struct member *members, int count)
{
    for (int i = 0; i < count; i++)
        base_thread_join(members[i].thread);
}

static void run_crowd(struct crowd *c)
{
    struct member appenders[APPENDERS], followers[FOLLOWERS], readers[RANDOM_READERS], trim;

    for (int i = 0; i < FOLLOWERS; i++)
        start(&followers[i], c, i, follower);
    for (int i = 0; i < APPENDERS; i++)
        start(&appenders[i], c, i, appender);
    for (int i = 0; i < RANDOM_READERS; i++)
        start(&readers[i], c, i, random_reader);
    start(&trim, c, 0, trimmer);
    join(appenders, APPENDERS);
    join(followers, FOLLOWERS);
    atomic_store(&c->done, true);
    join(readers, RANDOM_READERS);
    join(&trim, 1);
    if (atomic_load(&c->failed))
        fail_msg("%s: %s %s", c->who, varve_error_name(c->error.code), c->error.msg);
}

/* After all is over: what is left of the log is what the appenders were told. */
static void check_owners(struct crowd *c, struct varve_log *log)
{
    struct varve_reader *reader = NULL;
    struct varve_record record;
    struct varve_error err;
    char text[64];
    int64_t offset;

    support_succeeds(varve_reader_open(log, NULL, &reader, &err), &err);
    for (offset = varve_reader_offset(reader); offset < c->total; offset++) {
        uint32_t owner = atomic_load(&c->owner[offset]);
        struct varve_record want = text_record(text, (int)(owner >> 16), (int)(owner & 0xffff) - 1);
        support_succeeds(varve_reader_next(reader, 0, &record, &err), &err);
        assert_int_equal(record.offset, offset);
        assert_int_equal(record.value_size, want.value_size);
        assert_memory_equal(record.value, want.value, want.value_size);
    }
    support_fails(varve_reader_next(reader, 0, &record, &err), &err, VARVE_E_END, NULL);
    varve_reader_close(reader);
}

static void everybody_at_once(struct support_env *e, enum varve_durability durability,
                              int per_appender)
{
    struct varve_store_options options = support_store_options(e), reading;
    struct varve_log_options log_options = {.size = sizeof(log_options), .durability = durability};
    struct crowd *c = calloc(1, sizeof(*c));
    struct varve_store *store, *beside = NULL;
    struct varve_error err = {0};

    assert_non_null(c);
    c->per_appender = per_appender;
    c->total = (int64_t)per_appender * APPENDERS;
    assert_true(c->total <= RECORDS_MAX);
    e->env.clock = &base_clock_system;
    support_io_set_tracing(e->io, false);
    options.no_background = false;
    options.threads = 2;
    store = support_store_open(e, &options);
    varve_log_close(support_log_open(store, "crowd", CONFIG));
    support_succeeds(varve_log_open(store, "crowd", &log_options, &c->log, &err), &err);
    reading = options;
    reading.read_only = true;
    support_succeeds(
        log_store_open_env(&e->env, support_store_path(e, NULL), &reading, &beside, &err), &err);
    support_succeeds(varve_log_open(beside, "crowd", NULL, &c->read_only, &err), &err);

    run_crowd(c);
    assert_int_equal(support_log_info(c->log).end_offset, c->total);
    assert_int_equal(support_log_info(c->read_only).end_offset, c->total);
    check_owners(c, c->log);
    check_owners(c, c->read_only);
    support_log_tier(c->log, true, true);
    assert_int_equal(support_log_info(c->log).cold_end, c->total);
    varve_log_close(c->read_only);
    varve_store_close(beside);
    varve_log_close(c->log);
    varve_store_close(store);

    options.no_background = true;
    store = support_store_open(e, &options);
    c->log = support_log_open(store, "crowd", NULL);
    check_owners(c, c->log);
    struct varve_verify_options verify = {.size = sizeof(verify), .deep = true};
    support_succeeds(varve_log_verify(c->log, &verify, &err), &err);
    assert_int_equal(verify.problems, 0);
    varve_log_close(c->log);
    varve_store_close(store);
    free(c);
}

static void everybody_at_once_in_os_mode(void **state)
{
    everybody_at_once(*state, VARVE_DURABILITY_OS, 400);
}

static void everybody_at_once_in_fsync_mode(void **state)
{
    everybody_at_once(*state, VARVE_DURABILITY_FSYNC, 150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(everybody_at_once_in_os_mode),
        support_env_test(everybody_at_once_in_fsync_mode),
    };

    return cmocka_run_group_tests_name("log_threads", tests, NULL, NULL);
}
