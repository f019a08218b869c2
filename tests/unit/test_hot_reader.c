/* Reading: seeking, views, large batches, damage on the way, and the search by time. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/thread.h"
#include "record/builder.h"
#include "tests/support/file.h"
#include "tests/support/support_hot.h"

#define RECORDS 2000

static void batches_larger_than_the_buffer_are_read(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    options.segment_bytes = 8 << 20;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    int64_t end = 0;
    int counts[] = {1, 100, 300, 1, 65, 200, 1000, 1};
    for (int i = 0; i < 16; i++) {
        assert_int_equal(support_hot_append(set, counts[i % 8], 4000, &err), 0);
        end += counts[i % 8];
    }
    assert_int_equal(support_hot_read(set, 0), end);
    assert_int_equal(support_hot_read(set, 150), end);
    support_io_limit_read(e->io, 1000);
    assert_int_equal(support_hot_read(set, 1500), end);
    support_io_limit_read(e->io, 0);
    support_io_limit_write(e->io, 777);
    assert_int_equal(support_hot_append(set, 50, 500, &err), 0);
    support_io_limit_write(e->io, 0);
    assert_int_equal(support_hot_read(set, 0), end + 50);
    hot_set_close(set);
}

static const struct base_io *real_io;
static unsigned closed, closed_under_a_lock;

static int counting_close(void *ctx, int fd)
{
    closed++;
    closed_under_a_lock += base_mutex_held() > 0;
    return real_io->close(ctx, fd);
}

/* The last close of an unlinked segment gives its blocks back, which takes long for a large one:
 * appends must not wait for it. */
static void the_last_reader_of_a_segment_that_is_gone_closes_it_without_a_lock(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_reader *reader;
    struct record_batch batch;
    const void *data;
    struct varve_error err;
    struct base_io io = *e->env.io;

    real_io = e->env.io;
    io.close = counting_close;
    e->env.io = &io;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_append(set, 10, 300, &err), 0);
    assert_int_equal(hot_set_seal(set, &err), 0);
    assert_int_equal(support_hot_append(set, 10, 300, &err), 0);
    assert_int_equal(hot_set_sync(set, &err), 0);
    assert_int_equal(hot_reader_new(set, &reader, &err), 0);
    assert_int_equal(hot_reader_next(reader, &data, &batch, &err), 0);
    assert_int_equal(hot_segment_discard(set, 0, &err), 0);
    closed = closed_under_a_lock = 0;
    hot_reader_free(reader);
    assert_int_equal(closed, 1);
    assert_int_equal(closed_under_a_lock, 0);
    hot_set_close(set);
    e->env.io = real_io;
}

static void a_reader_at_the_end_goes_on_when_more_comes(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_reader *reader;
    struct record_batch batch;
    const void *data = &batch;
    struct varve_error err;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    assert_int_equal(hot_reader_new(set, &reader, &err), 0);
    assert_int_equal(hot_reader_next(reader, &data, &batch, &err), VARVE_E_END);
    assert_ptr_equal(data, &batch);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(support_hot_append(set, 10, 300, &err), 0);
        if (i % 4 == 0)
            assert_int_equal(hot_set_seal(set, &err), 0);
        assert_int_equal(hot_reader_next(reader, &data, &batch, &err), 0);
        assert_int_equal(batch.base_offset, 10 * i);
        assert_int_equal(hot_reader_next(reader, &data, &batch, &err), VARVE_E_END);
    }
    assert_int_equal(hot_reader_seek(reader, 301, &err), VARVE_E_OUT_OF_RANGE);
    assert_int_equal(hot_reader_offset(reader), 300);
    assert_int_equal(hot_reader_seek(reader, 300, &err), 0);
    assert_int_equal(hot_reader_next(reader, &data, &batch, &err), VARVE_E_END);
    hot_reader_free(reader);
    hot_set_close(set);
}

static void a_flipped_bit_is_named_and_not_served(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_reader *reader;
    struct record_batch batch;
    const void *data;
    struct varve_error err;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
    assert_int_equal(hot_set_seal(set, &err), 0);
    int64_t size = support_file_size(support_hot_path(e, 0, "log"));
    support_file_flip(support_hot_path(e, 0, "log"), size / 2, 0x80);
    assert_int_equal(hot_reader_new(set, &reader, &err), 0);
    assert_int_equal(hot_reader_next(reader, &data, &batch, &err), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hot_reader_next(reader, &data, &batch, &err), VARVE_E_CORRUPT);
        assert_non_null(strstr(err.msg, "00000000000000000000.log: position"));
        assert_int_equal(hot_reader_offset(reader), 10);
    }
    hot_reader_free(reader);
    struct hot_segment *segment;
    assert_int_equal(hot_segment_find(set, 0, false, &segment, &err), 0);
    assert_int_equal(hot_segment_verify(segment, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, ".log: position"));
    hot_segment_unref(segment);
    hot_set_close(set);
}

/* Found by the simulation: of a batch where the index points to, the index got the blame. */
static void damage_under_the_writer_is_the_segments_and_not_its_indexs(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_reader *reader;
    struct record_batch batch;
    const void *data;
    struct varve_error err;
    options.segment_bytes = 65536;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
    const char *path = support_hot_path(e, 0, "log");
    support_file_flip(path, support_file_size(path) / 2, 0x80);
    assert_int_equal(hot_reader_new(set, &reader, &err), 0);
    for (int64_t offset = 10; offset < 20; offset += 5) {
        assert_int_equal(hot_reader_seek(reader, offset, &err), 0);
        assert_int_equal(hot_reader_next(reader, &data, &batch, &err), VARVE_E_CORRUPT);
        assert_non_null(strstr(err.msg, "00000000000000000000.log: position"));
        assert_null(strstr(err.msg, ".index"));
    }
    hot_reader_free(reader);
    hot_set_close(set);
}

static void a_failed_read_is_an_io_error_and_can_be_repeated(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_reader *reader;
    struct record_batch batch;
    const void *data;
    struct varve_error err;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_append(set, 10, 100, &err), 0);
    assert_int_equal(hot_reader_new(set, &reader, &err), 0);
    struct support_io_fault fault = {
        .call = SUPPORT_IO_PREAD, .path = ".log", .nth = 1, .sys_errno = EIO};
    support_io_fail(e->io, &fault);
    assert_int_equal(hot_reader_next(reader, &data, &batch, &err), VARVE_E_IO);
    assert_non_null(strstr(err.msg, ".log"));
    assert_int_equal(hot_reader_next(reader, &data, &batch, &err), 0);
    hot_reader_free(reader);
    hot_set_close(set);
}

/* Timestamps out of order, some far ahead; batches of 1 to 7 records. */
static int64_t times[RECORDS];

static void append_times(struct hot_set *set, struct support_env *e)
{
    struct varve_batch *batch;
    struct varve_error err;
    int64_t offset = 0;
    assert_int_equal(varve_batch_new(VARVE_CODEC_LZ4, 0, 1 << 20, &batch, &err), 0);
    while (offset < RECORDS) {
        struct hot_append append = {.max_timestamp = -1};
        int count = 1 + (int)(base_random_u64(e->env.random) % 7);
        varve_batch_clear(batch);
        for (int i = 0; i < count && offset + i < RECORDS; i++) {
            uint64_t r = base_random_u64(e->env.random);
            int64_t t = 10 * (offset + i) + (int64_t)(r % 300);
            if (r % 97 == 0)
                t += 100000;
            times[offset + i] = t;
            struct varve_record record = {.timestamp = t, .value = "v", .value_size = 1};
            assert_int_equal(varve_batch_add(batch, &record, &err), 0);
            if (t > append.max_timestamp)
                append.max_timestamp = t;
        }
        append.record_count = (int32_t)varve_batch_count(batch);
        append.first_timestamp = times[offset];
        assert_int_equal(record_builder_encode(batch, &append.data, &append.size, &err), 0);
        int64_t base;
        assert_int_equal(hot_set_append(set, &append, 1, 0, &base, &err), 0);
        assert_int_equal(base, offset);
        offset += append.record_count;
    }
    varve_batch_free(batch);
}

static void the_first_record_at_or_after_a_time_is_found(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct varve_error err;
    struct hot_range range;
    options.segment_bytes = 16384;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    append_times(set, e);
    for (int round = 0; round < 3; round++) {
        hot_set_range(set, &range);
        assert_true(range.segments >= 3);
        for (int64_t t = -10; t < 130000; t += t < 21000 ? 37 : 5003) {
            for (int64_t min = 0; min < RECORDS; min += 613) {
                int64_t want = min < range.floor ? range.floor : min;
                while (want < RECORDS && times[want] < t)
                    want++;
                int64_t offset = -7, timestamp = -7;
                int rc = hot_reader_find_time(set, t, min, 1 << 20, &offset, &timestamp, &err);
                if (want == RECORDS) {
                    assert_int_equal(rc, VARVE_E_NOT_FOUND);
                    assert_int_equal(offset, -7);
                } else {
                    assert_int_equal(rc, 0);
                    assert_int_equal(offset, want);
                    assert_int_equal(timestamp, times[want]);
                }
            }
        }
        if (round == 0) {
            assert_int_equal(hot_set_evict(set, 700, NULL, NULL, &err), 0);
        } else if (round == 1) {
            hot_set_close(set);
            set = support_hot_open(e, &options, NULL);
        }
    }
    hot_set_close(set);
}

static void an_index_that_went_with_its_evicted_segment_is_no_warning(void **state)
{
    struct support_env *e = *state;
    struct hot_set_options options = support_hot_options();
    struct hot_segment *segment;
    struct hot_segment_info info;
    struct varve_error err;
    options.segment_bytes = 65536;
    struct hot_set *set = support_hot_open(e, &options, NULL);
    assert_int_equal(support_hot_append(set, 100, 100, &err), 0);
    assert_int_equal(hot_set_seal(set, &err), 0);
    assert_int_equal(support_hot_append(set, 100, 100, &err), 0);
    options.read_only = true;
    struct hot_set *other = support_hot_open(e, &options, NULL);
    assert_int_equal(hot_segment_find(other, 0, false, &segment, &err), 0);
    assert_int_equal(hot_set_evict(set, 100, NULL, NULL, &err), 0);
    assert_int_equal(hot_segment_info(segment, &info, &err), 0);
    assert_int_equal(info.max_timestamp, SUPPORT_HOT_TIME + 99);
    assert_int_equal(support_logger_count(e->logger, BASE_LOG_WARNING, ".index"), 0);
    hot_segment_unref(segment);
    hot_set_close(other);
    hot_set_close(set);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, support_env_setup, support_env_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(batches_larger_than_the_buffer_are_read),
        TEST(a_reader_at_the_end_goes_on_when_more_comes),
        TEST(the_last_reader_of_a_segment_that_is_gone_closes_it_without_a_lock),
        TEST(a_flipped_bit_is_named_and_not_served),
        TEST(damage_under_the_writer_is_the_segments_and_not_its_indexs),
        TEST(a_failed_read_is_an_io_error_and_can_be_repeated),
        TEST(the_first_record_at_or_after_a_time_is_found),
        TEST(an_index_that_went_with_its_evicted_segment_is_no_warning),
    };
    return cmocka_run_group_tests_name("hot_reader", tests, NULL, NULL);
}
