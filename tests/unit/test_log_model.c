/*
 * A tiered log against a model that knows no tiers: the same records in an array. Small segments
 * and blocks, every codec, timestamps out of order with single ones far ahead; between the reads it
 * is appended to, sealed, uploaded, evicted, trimmed, closed and opened again. Whatever lies where,
 * each read gives what the array gives.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/support_log.h"

#define RECORDS_MAX 60000
#define CONFIG "segment.bytes=16384 cold.block.bytes=4096 index.interval.bytes=512 flush.ms=-1"

struct model {
    struct support_env *e;
    struct varve_store_options options;
    struct varve_store *store;
    struct varve_log *log;
    struct varve_reader *reader; /* a long-lived one, sought about; NULL: none */
    struct support_random random;
    int64_t *timestamps; /* by offset */
    int64_t start;
    int64_t end;
    int64_t now; /* event time of the appends; wanders on */
    uint64_t reads_cold, reads_hot;
};

static uint64_t below(struct model *m, uint64_t limit)
{
    return support_random_below(&m->random, limit);
}

static void model_open(struct model *m)
{
    m->store = support_store_open(m->e, &m->options);
    m->log = support_log_open(m->store, "model", CONFIG);
}

static void model_close(struct model *m)
{
    m->reader = varve_reader_close(m->reader);
    m->log = varve_log_close(m->log);
    m->store = varve_store_close(m->store);
}

static void model_init(struct model *m, struct support_env *e, uint64_t seed)
{
    *m = (struct model){.e = e, .now = SUPPORT_LOG_TIME};
    m->options = support_store_options(e);
    support_random_init(&m->random, seed);
    m->timestamps = calloc(RECORDS_MAX, sizeof(*m->timestamps));
    assert_non_null(m->timestamps);
    model_open(m);
}

static void model_deinit(struct model *m)
{
    model_close(m);
    free(m->timestamps);
}

/* ---- what is done to it ---- */

static int64_t next_timestamp(struct model *m)
{
    uint64_t kind = below(m, 1000);

    m->now += (int64_t)below(m, 20);
    if (kind == 0) /* one record dated years ahead */
        return m->now + 100000000 + (int64_t)below(m, 1000000000);
    if (kind == 1)
        return -1; /* none */
    if (kind < 200)
        return m->now - (int64_t)below(m, 5000);
    return m->now;
}

static void append_batch(struct model *m)
{
    struct varve_batch *batch = NULL;
    struct varve_error err = {0};
    int count = 1 + (int)below(m, 12);
    int64_t base = -1;

    if (m->end + count > RECORDS_MAX)
        return;
    support_succeeds(varve_batch_new((enum varve_codec)below(m, 5), 0, 65536, &batch, &err), &err);
    for (int i = 0; i < count; i++) {
        struct support_log_record buf;
        struct varve_record record;
        support_log_record(m->end + i, &buf, &record);
        record.timestamp = m->timestamps[m->end + i] = next_timestamp(m);
        support_succeeds(varve_batch_add(batch, &record, &err), &err);
    }
    support_succeeds(varve_log_append(m->log, batch, &base, &err), &err);
    assert_int_equal(base, m->end);
    m->end += count;
    varve_batch_free(batch);
}

static void trim(struct model *m, int64_t offset)
{
    struct varve_error err = {0};

    support_succeeds(varve_log_trim(m->log, offset, &err), &err);
    if (offset > m->start)
        m->start = offset;
}

static void change(struct model *m)
{
    struct varve_error err = {0};
    uint64_t what = below(m, 100);

    if (what < 60) {
        for (uint64_t n = below(m, 60); n > 0; n--)
            append_batch(m);
    } else if (what < 70) {
        support_succeeds(varve_log_seal(m->log, &err), &err);
    } else if (what < 80) {
        support_log_tier(m->log, below(m, 2), false);
    } else if (what < 88) {
        support_log_tier(m->log, below(m, 2), true);
    } else if (what < 93) {
        uint64_t share = below(m, 6) ? 8 : 1; /* now and then also what is only local */
        trim(m, m->start + (int64_t)below(m, (uint64_t)(m->end - m->start) / share + 1));
    } else if (what < 96) {
        m->reader = varve_reader_close(m->reader);
        m->log = varve_log_close(m->log);
        m->log = support_log_open(m->store, "model", CONFIG);
    } else if (what < 98) {
        model_close(m);
        model_open(m);
    } else { /* objects of what was trimmed go */
        support_clock_advance_ms(&m->e->clock, 120000);
        support_log_tier(m->log, false, false);
    }
}

/* ---- what is read ---- */

static bool record_is(const struct model *m, struct varve_record record, int64_t offset)
{
    if (record.timestamp != m->timestamps[offset])
        return false;
    record.timestamp = SUPPORT_LOG_TIME + offset;
    return support_log_record_is(&record, offset);
}

static void expect_records(struct model *m, int64_t offset, uint64_t count)
{
    struct varve_record record;
    struct varve_error err = {0};

    for (; count > 0; count--, offset++) {
        int rc = varve_reader_next(m->reader, 0, &record, &err);
        if (offset == m->end) {
            support_fails(rc, &err, VARVE_E_END, NULL);
            return;
        }
        support_succeeds(rc, &err);
        if (!record_is(m, record, offset))
            fail_msg("offset %lld: read offset %lld, timestamp %lld", (long long)offset,
                     (long long)record.offset, (long long)record.timestamp);
    }
}

static void read_offset(struct model *m)
{
    int64_t offset = m->start + (int64_t)below(m, (uint64_t)(m->end - m->start) + 1);
    struct varve_reader_options options = {
        .size = sizeof(options), .from = VARVE_FROM_OFFSET, .offset = offset};
    struct varve_error err = {0};

    if (m->reader && below(m, 4)) {
        support_succeeds(varve_reader_seek(m->reader, offset, &err), &err);
    } else {
        m->reader = varve_reader_close(m->reader);
        support_succeeds(varve_reader_open(m->log, &options, &m->reader, &err), &err);
    }
    expect_records(m, offset, 1 + below(m, below(m, 10) ? 3 : 300));
}

static int64_t model_find_time(const struct model *m, int64_t timestamp)
{
    for (int64_t i = m->start; i < m->end; i++)
        if (m->timestamps[i] >= timestamp)
            return i;
    return -1;
}

static int64_t random_time(struct model *m)
{
    if (m->end > m->start && below(m, 3)) /* a time that occurs, or one beside it */
        return m->timestamps[m->start + (int64_t)below(m, (uint64_t)(m->end - m->start))] - 1 +
               (int64_t)below(m, 3);
    return SUPPORT_LOG_TIME + (int64_t)below(m, (uint64_t)(m->now - SUPPORT_LOG_TIME) + 1000);
}

static void find_time(struct model *m)
{
    int64_t timestamp = random_time(m), want = model_find_time(m, timestamp);
    int64_t offset = -7, found = -7;
    struct varve_error err = {0};
    int rc = varve_log_find_time(m->log, timestamp, &offset, &found, &err);

    if (want < 0) {
        support_fails(rc, &err, VARVE_E_NOT_FOUND, NULL);
        assert_int_equal(offset, -7);
        assert_int_equal(found, -7);
        return;
    }
    support_succeeds(rc, &err);
    if (offset != want)
        fail_msg("time %lld: offset %lld, not %lld", (long long)timestamp, (long long)offset,
                 (long long)want);
    assert_int_equal(found, m->timestamps[want]);
}

static void read_time(struct model *m)
{
    int64_t timestamp = random_time(m), want = model_find_time(m, timestamp);
    struct varve_reader_options options = {
        .size = sizeof(options), .from = VARVE_FROM_TIME, .timestamp = timestamp};
    struct varve_error err = {0};

    m->reader = varve_reader_close(m->reader);
    support_succeeds(varve_reader_open(m->log, &options, &m->reader, &err), &err);
    assert_int_equal(varve_reader_offset(m->reader), want < 0 ? m->end : want);
    expect_records(m, want < 0 ? m->end : want, 2);
}

static void out_of_range(struct model *m)
{
    struct varve_reader_options options = {.size = sizeof(options), .from = VARVE_FROM_OFFSET};
    struct varve_reader *reader = NULL;
    struct varve_error err = {0};

    options.offset = m->end + 1 + (int64_t)below(m, 5);
    support_fails(varve_reader_open(m->log, &options, &reader, &err), &err, VARVE_E_OUT_OF_RANGE,
                  NULL);
    options.offset = m->start - 1 - (int64_t)below(m, 5);
    support_fails(varve_reader_open(m->log, &options, &reader, &err), &err, VARVE_E_OUT_OF_RANGE,
                  NULL);
    assert_null(reader);
}

static void read_some(struct model *m, int count)
{
    for (int i = 0; i < count; i++) {
        uint64_t what = below(m, 100);
        if (what < 50)
            read_offset(m);
        else if (what < 90)
            find_time(m);
        else if (what < 98)
            read_time(m);
        else
            out_of_range(m);
    }
}

/* The segments of both tiers cover the log without a hole, and the numbers agree. */
struct cover {
    int64_t next;
    uint64_t cold;
    uint64_t hot;
    bool seen_hot;
};

static int cover_visit(void *ctx, const struct varve_segment_info *s)
{
    struct cover *c = ctx;

    assert_true(s->end_offset > s->base_offset);
    assert_true(c->next < 0 ? true : s->base_offset == c->next);
    assert_true(s->hot || s->cold);
    assert_true(s->sealed || !s->cold);
    assert_true(!c->seen_hot || s->hot); /* hot covers a suffix */
    assert_int_equal(s->cold, s->object_key != NULL);
    assert_int_equal(s->cold, s->stored_size > 0);
    c->seen_hot = s->hot;
    c->cold += s->cold;
    c->hot += s->hot;
    c->next = s->end_offset;
    return 0;
}

static void print_finding(void *ctx, const struct varve_finding *f)
{
    (void)ctx;
    if (f->problem)
        fprintf(stderr, "%s: %s: %s (offset %lld)\n", f->kind, f->where, f->text,
                (long long)f->offset);
}

static void check_whole(struct model *m)
{
    struct varve_log_info info = support_log_info(m->log);
    struct varve_verify_options verify = {
        .size = sizeof(verify), .deep = true, .found = print_finding};
    struct cover cover = {.next = -1};
    struct varve_error err = {0};

    assert_int_equal(info.start_offset, m->start);
    assert_int_equal(info.end_offset, m->end);
    assert_true(info.hot_start <= info.cold_end); /* I1 */
    support_succeeds(varve_log_each_segment(m->log, cover_visit, &cover, &err), &err);
    if (m->end > m->start)
        assert_int_equal(cover.next, m->end);
    support_succeeds(varve_log_verify(m->log, &verify, &err), &err);
    assert_int_equal(verify.problems, 0);
    m->reader = varve_reader_close(m->reader);
    support_succeeds(varve_reader_open(m->log, NULL, &m->reader, &err), &err);
    expect_records(m, m->start, (uint64_t)(m->end - m->start) + 1);
}

static void whatever_is_done_to_a_log_reads_equal_the_model(struct support_env *e, uint64_t seed)
{
    struct model m;

    model_init(&m, e, seed);
    for (int round = 0; round < 120; round++) {
        change(&m);
        read_some(&m, 25);
        if (round % 10 == 9)
            check_whole(&m);
    }
    check_whole(&m);
    assert_int_equal(support_store_stats(m.store).cold_failures, 0);
    model_deinit(&m);
}

static void reads_equal_the_model_seed_1(void **state)
{
    whatever_is_done_to_a_log_reads_equal_the_model(*state, 1);
}

static void reads_equal_the_model_seed_2(void **state)
{
    whatever_is_done_to_a_log_reads_equal_the_model(*state, 2);
}

/* Once, a hole that a trim beyond the cold tier had left was called a gap. */
static void reads_equal_the_model_seed_28(void **state)
{
    whatever_is_done_to_a_log_reads_equal_the_model(*state, 28);
}

/* Half evicted, half hot, then ten thousand random reads; then with everything trimmed up to and
 * past the records dated far ahead. */
static void ten_thousand_random_reads_of_a_half_evicted_log(void **state)
{
    struct model m;
    int64_t outlier = -1;

    model_init(&m, *state, 4);
    while (m.end < 4000)
        append_batch(&m);
    support_log_tier(m.log, true, true);
    while (m.end < 8000)
        append_batch(&m);
    struct varve_log_info info = support_log_info(m.log);
    assert_int_equal(info.hot_start, info.cold_end);
    assert_true(info.cold_end >= 4000 && info.end_offset >= 8000);
    read_some(&m, 5000);
    for (int64_t i = m.start; i < m.end; i++)
        if (m.timestamps[i] > m.now && i < 6000)
            outlier = i;
    assert_true(outlier >= 0);
    trim(&m, outlier); /* the outlier is now the first record */
    read_some(&m, 2000);
    trim(&m, outlier + 1);
    read_some(&m, 3000);
    check_whole(&m);
    model_deinit(&m);
}

/* Once per record: with nothing cached one random read is one request of no more than a block. */
static void a_cold_random_read_is_exactly_one_request(void **state)
{
    struct model m;

    model_init(&m, *state, 5);
    while (m.end < 3000)
        append_batch(&m);
    support_log_tier(m.log, true, true);
    m.options.cache_bytes = -1;
    for (int opened = 0; opened < 2; opened++) { /* once with tables from the file */
        model_close(&m);
        model_open(&m);
        for (int i = 0; i < 300; i++) {
            struct varve_store_stats before = support_store_stats(m.store), after;
            m.reader = varve_reader_close(m.reader);
            struct varve_reader_options options = {.size = sizeof(options),
                                                   .from = VARVE_FROM_OFFSET,
                                                   .offset = (int64_t)below(&m, (uint64_t)m.end)};
            struct varve_error err = {0};
            support_succeeds(varve_reader_open(m.log, &options, &m.reader, &err), &err);
            expect_records(&m, options.offset, 1);
            after = support_store_stats(m.store);
            /* none when it is the block of one of the last reads, which stays for a moment */
            assert_int_equal(after.cold_get_requests - before.cold_get_requests +
                                 after.block_cache_hits - before.block_cache_hits,
                             1);
            assert_int_equal(after.cold_head_requests - before.cold_head_requests, 0);
            assert_int_equal(after.cold_list_requests - before.cold_list_requests, 0);
            assert_true(after.cold_bytes_received - before.cold_bytes_received <= 4096 + 512);
            assert_int_equal(after.cold_batches_read - before.cold_batches_read, 1);
        }
        assert_true(support_store_stats(m.store).cold_get_requests > 250);
    }
    model_deinit(&m);
}

/* The block in which a time is found is the one that is read: one request for both. */
static void a_cold_read_by_time_is_one_request_too(void **state)
{
    struct model m;
    uint64_t requests = 0;

    model_init(&m, *state, 6);
    while (m.end < 3000)
        append_batch(&m);
    support_log_tier(m.log, true, true);
    for (int i = 0; i < 300; i++) {
        struct varve_store_stats before = support_store_stats(m.store), after;
        read_time(&m);
        m.reader = varve_reader_close(m.reader);
        after = support_store_stats(m.store);
        /* two records are read: they may lie in two blocks; a candidate by its maximum may be one
         * that the log's start has passed */
        assert_true(after.cold_get_requests - before.cold_get_requests <= 2);
        requests += after.cold_get_requests - before.cold_get_requests;
    }
    assert_true(requests <= 300);
    model_deinit(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(reads_equal_the_model_seed_1),
        support_env_test(reads_equal_the_model_seed_2),
        support_env_test(reads_equal_the_model_seed_28),
        support_env_test(ten_thousand_random_reads_of_a_half_evicted_log),
        support_env_test(a_cold_random_read_is_exactly_one_request),
        support_env_test(a_cold_read_by_time_is_one_request_too),
    };

    return cmocka_run_group_tests_name("log_model", tests, NULL, NULL);
}
