/* Appending: batches, single records and encoded batches, their limits, and what happens when the
 * disk is full or fails. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "record/builder.h"
#include "tests/support/data.h"
#include "tests/support/file.h"
#include "tests/support/support_log.h"

static struct varve_batch *new_batch(enum varve_codec codec, size_t size_max)
{
    struct varve_batch *batch = NULL;
    struct varve_error err;

    support_succeeds(varve_batch_new(codec, 0, size_max, &batch, &err), &err);
    return batch;
}

/* Fills the batch with records from `number` on, as the log must hold them. */
static void fill(struct varve_batch *batch, int64_t number, int count)
{
    struct support_log_record buf;
    struct varve_record record;
    struct varve_error err;

    varve_batch_clear(batch);
    for (int i = 0; i < count; i++) {
        support_log_record(number + i, &buf, &record);
        support_succeeds(varve_batch_add(batch, &record, &err), &err);
    }
    assert_int_equal(varve_batch_count(batch), count);
}

static void batches_of_every_codec_are_appended(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", "segment.bytes=65536");
    struct varve_error err;
    int64_t base = -7, next = 0;

    for (int codec = 0; codec <= VARVE_CODEC_ZSTD; codec++) {
        struct varve_batch *batch = new_batch((enum varve_codec)codec, 1 << 20);
        fill(batch, next, 500);
        size_t plain = varve_batch_size(batch);
        uint64_t before = support_store_stats(store).bytes_appended;
        support_succeeds(varve_log_append(log, batch, &base, &err), &err);
        uint64_t size = support_store_stats(store).bytes_appended - before;
        assert_true(codec ? size < plain : size == plain);
        assert_int_equal(base, next);
        next += 500;
        fill(batch, next, 1);
        support_succeeds(varve_log_append(log, batch, NULL, &err), &err); /* no result wanted */
        next++;
        assert_null(varve_batch_free(batch));
    }
    assert_int_equal(support_log_read(log, 0), next);
    support_log_tier(log, true, true);
    assert_int_equal(support_log_read(log, 0), next);
    varve_log_close(log);
    varve_store_close(store);
}

static void a_batch_can_be_appended_more_than_once(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", NULL);
    struct varve_batch *batch = new_batch(VARVE_CODEC_LZ4, 65536);
    struct varve_error err;
    int64_t base = -7;

    support_fails(varve_log_append(log, batch, &base, &err), &err, VARVE_E_INVALID, "append to a");
    assert_int_equal(base, -7);
    fill(batch, 0, 3);
    for (int i = 0; i < 3; i++) {
        support_succeeds(varve_log_append(log, batch, &base, &err), &err);
        assert_int_equal(base, 3 * i);
    }
    varve_batch_free(batch);
    varve_log_close(log);
    varve_store_close(store);
}

static void single_records_are_compressed_as_the_log_says(void **state)
{
    static const char *const types[] = {"producer", "none", "gzip", "snappy", "lz4", "zstd"};
    static const enum varve_codec codecs[] = {VARVE_CODEC_NONE, VARVE_CODEC_NONE,
                                              VARVE_CODEC_GZIP, VARVE_CODEC_SNAPPY,
                                              VARVE_CODEC_LZ4,  VARVE_CODEC_ZSTD};
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    char value[2000];
    struct varve_header headers[] = {{"h", 1, "v", 1}, {"null", 4, NULL, 0}, {"", 0, "", 0}};
    struct varve_record got, record = {.timestamp = 5,
                                       .key = "",
                                       .value = value,
                                       .value_size = sizeof(value),
                                       .headers = headers,
                                       .header_count = 3};
    struct varve_error err;

    memset(value, 'x', sizeof(value));
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        char config[64];
        int64_t offset = -7;
        struct varve_reader *reader = NULL;
        struct varve_batch_view view;
        struct record_batch b;
        snprintf(config, sizeof(config), "compression.type=%s", types[i]);
        struct varve_log *log = support_log_open(store, types[i], config);
        support_succeeds(varve_log_append_record(log, &record, &offset, &err), &err);
        assert_int_equal(offset, 0);
        support_succeeds(varve_reader_open(log, NULL, &reader, &err), &err);
        support_succeeds(varve_reader_next_batch(reader, 0, &view, &err), &err);
        support_succeeds(record_batch_check(view.data, view.size, &b, &err), &err);
        assert_int_equal(b.codec, codecs[i]);
        support_succeeds(varve_reader_seek(reader, 0, &err), &err);
        support_succeeds(varve_reader_next(reader, 0, &got, &err), &err);
        assert_int_equal(got.value_size, sizeof(value));
        assert_memory_equal(got.value, value, sizeof(value));
        assert_non_null(got.key); /* empty is not null */
        assert_int_equal(got.key_size, 0);
        assert_int_equal(got.header_count, 3);
        assert_null(got.headers[1].value);
        assert_non_null(got.headers[2].value);
        varve_reader_close(reader);
        varve_log_close(log);
    }
    varve_store_close(store);
}

static void a_batch_above_the_limit_is_refused(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log =
        support_log_open(store, "a", "segment.bytes=65536 max.message.bytes=2000");
    struct varve_batch *batch = new_batch(VARVE_CODEC_NONE, 1 << 20);
    char value[3000] = {0};
    struct varve_record record = {.value = value};
    struct varve_option larger = {"max.message.bytes", "3000"};
    const void *data;
    size_t size;
    struct varve_error err;
    int64_t base = -7;

    /* header 61, record: length 2, attributes, two deltas, key, value length 2, header count */
    record.value_size = 2000 - 61 - 9;
    support_succeeds(varve_batch_add(batch, &record, &err), &err);
    assert_int_equal(varve_batch_size(batch), 2000);
    support_succeeds(varve_log_append(log, batch, &base, &err), &err);
    assert_int_equal(base, 0);
    support_succeeds(varve_log_append_record(log, &record, &base, &err), &err);
    assert_int_equal(base, 1);
    record.value_size++;
    varve_batch_clear(batch);
    support_succeeds(varve_batch_add(batch, &record, &err), &err);
    base = -7;
    support_fails(varve_log_append(log, batch, &base, &err), &err, VARVE_E_TOO_LARGE,
                  "append to a: a batch of 2001 bytes is above max.message.bytes (2000)");
    support_fails(varve_log_append_record(log, &record, &base, &err), &err, VARVE_E_TOO_LARGE,
                  "append to a");
    support_succeeds(record_builder_encode(batch, &data, &size, &err), &err);
    support_fails(varve_log_append_encoded(log, data, size, &base, &err), &err, VARVE_E_TOO_LARGE,
                  "max.message.bytes");
    assert_int_equal(base, -7);
    assert_int_equal(support_log_info(log).end_offset, 2);
    support_succeeds(varve_log_configure(log, &larger, 1, &err), &err);
    support_succeeds(varve_log_append(log, batch, &base, &err), &err);
    assert_int_equal(base, 2);
    varve_batch_free(batch);
    varve_log_close(log);

    /* Not set, it is bounded by the segment. */
    log = support_log_open(store, "b", "segment.bytes=4096");
    batch = new_batch(VARVE_CODEC_NONE, 1 << 20);
    record.value_size = 3000;
    support_succeeds(varve_batch_add(batch, &record, &err), &err);
    support_succeeds(varve_batch_add(batch, &record, &err), &err);
    support_fails(varve_log_append(log, batch, &base, &err), &err, VARVE_E_TOO_LARGE, "(4096)");
    varve_batch_free(batch);
    varve_log_close(log);
    varve_store_close(store);
}

static void encoded_batches_of_kafka_s_clients_are_taken_as_they_are(void **state)
{
    static const char *const files[] = {"batch-java-none",      "batch-java-gzip",
                                        "batch-java-snappy",    "batch-java-lz4",
                                        "batch-java-zstd",      "batch-librdkafka-none",
                                        "batch-librdkafka-lz4", "batch-librdkafka-zstd"};
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", NULL);
    struct varve_reader *reader = NULL;
    struct varve_batch_view view;
    struct varve_error err;
    int64_t base = -7;

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char name[64];
        size_t size;
        snprintf(name, sizeof(name), "record/%s.bin", files[i]);
        uint8_t *data = support_data_read(name, &size);
        support_succeeds(varve_log_append_encoded(log, data, size, &base, &err), &err);
        assert_int_equal(base, 7 * (int64_t)i);
        base = -7;
        support_fails(varve_log_append_encoded(log, data, size - 1, &base, &err), &err,
                      VARVE_E_CORRUPT, "append to a");
        uint8_t *more = calloc(1, size + 3);
        memcpy(more, data, size);
        support_fails(varve_log_append_encoded(log, more, size + 3, &base, &err), &err,
                      VARVE_E_CORRUPT, "3 bytes follow");
        free(more);
        assert_int_equal(base, -7);
        free(data);
    }
    assert_int_equal(support_log_info(log).end_offset, 56);
    support_log_tier(log, true, true);
    support_succeeds(varve_reader_open(log, NULL, &reader, &err), &err);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char name[64];
        size_t size;
        snprintf(name, sizeof(name), "record/%s.bin", files[i]);
        uint8_t *data = support_data_read(name, &size);
        support_succeeds(varve_reader_next_batch(reader, 0, &view, &err), &err);
        assert_int_equal(view.size, size);
        assert_int_equal(view.record_count, 7);
        assert_int_equal(view.base_offset, 7 * (int64_t)i);
        assert_int_equal(view.last_offset, 7 * (int64_t)i + 6);
        /* but for base offset and leader epoch */
        assert_memory_equal((const uint8_t *)view.data + 8, data + 8, 4);
        assert_memory_equal((const uint8_t *)view.data + 16, data + 16, size - 16);
        free(data);
    }
    varve_reader_close(reader);
    varve_log_close(log);
    varve_store_close(store);
}

static void no_damaged_byte_of_an_encoded_batch_gets_in(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", NULL);
    struct varve_error err;
    int64_t base = -7;
    size_t size;
    uint8_t *data = support_data_read("record/batch-java-none.bin", &size);

    for (size_t i = 0; i < size; i++) {
        if (i < 8 || (i >= 12 && i < 16)) /* base offset and leader epoch: the engine sets them */
            continue;
        data[i] ^= 0x41;
        int rc = varve_log_append_encoded(log, data, size, &base, &err);
        data[i] ^= 0x41;
        if (rc != VARVE_E_CORRUPT)
            fail_msg("byte %zu: %s", i, rc ? err.msg : "taken");
    }
    assert_int_equal(varve_log_append_encoded(log, data, 0, &base, &err), VARVE_E_CORRUPT);
    assert_int_equal(base, -7);
    assert_int_equal(support_log_info(log).end_offset, 0);
    free(data);
    varve_log_close(log);
    varve_store_close(store);
}

/* ---- disks ---- */

static void a_full_disk_refuses_appends_until_there_is_room(void **state)
{
    static const enum support_io_call calls[] = {SUPPORT_IO_PWRITEV, SUPPORT_IO_FALLOCATE,
                                                 SUPPORT_IO_OPEN};
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", "segment.bytes=4096 flush.ms=-1");
    struct varve_batch *batch = new_batch(VARVE_CODEC_NONE, 4096);
    struct varve_error err;
    int64_t end = support_log_append(log, 20, 5);

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        struct support_io_fault fault = {.call = calls[i],
                                         .path = ".log",
                                         .nth = 1,
                                         .sys_errno = ENOSPC,
                                         .keep = true,
                                         .torn_size = 100};
        int64_t base = -7;
        int rc = 0;
        fill(batch, end, 5);
        /* fallocate and open happen when a segment is begun */
        support_io_fail(e->io, &fault);
        for (int k = 0; k < 20 && rc == 0; k++) {
            fill(batch, end, 5);
            base = -7;
            rc = varve_log_append(log, batch, &base, &err);
            end += rc == 0 ? 5 : 0;
        }
        if (calls[i] == SUPPORT_IO_PWRITEV || rc < 0) { /* without preallocation it goes on */
            support_fails(rc, &err, VARVE_E_NO_SPACE, "append to a");
            assert_true(err.retriable);
            assert_int_equal(err.sys_errno, ENOSPC);
            assert_int_equal(base, -7);
        }
        assert_int_equal(support_log_info(log).end_offset, end);
        support_io_fail(e->io, NULL);
        assert_int_equal(support_log_read(log, 0), end);
        end = support_log_append(log, 20, 5);
        assert_int_equal(support_log_read(log, 0), end);
    }
    varve_batch_free(batch);
    varve_log_close(log);
    varve_store_close(store);
    store = support_store_open(e, NULL);
    log = support_log_open(store, "a", NULL);
    assert_int_equal(support_log_read(log, 0), end);
    varve_log_close(log);
    varve_store_close(store);
}

/* Reading goes on while appends are refused: nothing on that path writes. */
static void reads_go_on_while_the_disk_is_full(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", "segment.bytes=4096 flush.ms=-1");
    struct support_io_fault fault = {
        .call = SUPPORT_IO_PWRITEV, .nth = 1, .sys_errno = ENOSPC, .keep = true};
    struct varve_record record = {.value = "x", .value_size = 1};
    struct varve_error err;

    support_log_append(log, 100, 5);
    support_log_tier(log, true, true);
    support_log_append(log, 20, 5);
    support_io_fail(e->io, &fault);
    support_fails(varve_log_append_record(log, &record, NULL, &err), &err, VARVE_E_NO_SPACE, NULL);
    assert_int_equal(support_log_read(log, 0), 600);
    assert_int_equal(support_log_read(log, 550), 600);
    support_io_fail(e->io, NULL);
    assert_int_equal(support_log_append(log, 1, 5), 605);
    varve_log_close(log);
    varve_store_close(store);
}

static struct varve_log *open_fsync(struct varve_store *store)
{
    struct varve_log_options options = {.size = sizeof(options),
                                        .durability = VARVE_DURABILITY_FSYNC};
    struct varve_log *log = NULL;
    struct varve_error err;

    varve_log_close(support_log_open(store, "a", NULL));
    support_succeeds(varve_log_open(store, "a", &options, &log, &err), &err);
    return log;
}

/* I11 */
static void nothing_is_acknowledged_before_its_sync(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = open_fsync(store);
    const struct support_io_step *write, *sync;
    size_t at = 0;

    support_log_append(log, 1, 5);
    support_io_reset(e->io);
    for (int i = 0; i < 10; i++) {
        size_t from = support_io_trace_size(e->io);
        support_log_append(log, 1, 5);
        write = support_io_trace_find(e->io, from, SUPPORT_IO_PWRITEV, ".log", &at);
        sync = support_io_trace_find(e->io, at, SUPPORT_IO_FDATASYNC, ".log", NULL);
        assert_true(support_io_before(write, sync));
    }
    varve_log_close(log);
    varve_store_close(store);
}

static void after_a_failed_sync_nothing_is_appended_until_opened_again(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = open_fsync(store);
    struct support_io_fault fault = {
        .call = SUPPORT_IO_FDATASYNC, .path = ".log", .nth = 1, .sys_errno = EIO};
    struct varve_record record = {.value = "x", .value_size = 1};
    struct varve_error err;
    int64_t offset = -7;

    support_log_append(log, 10, 5);
    support_io_fail(e->io, &fault);
    support_logger_expect(e->logger, "");
    support_fails(varve_log_append_record(log, &record, &offset, &err), &err, VARVE_E_FAILED,
                  "append to a");
    support_io_fail(e->io, NULL);
    support_fails(varve_log_append_record(log, &record, &offset, &err), &err, VARVE_E_FAILED, NULL);
    support_fails(varve_log_sync(log, &err), &err, VARVE_E_FAILED, "log a");
    assert_int_equal(offset, -7);
    assert_int_equal(support_log_read(log, 0), 50); /* what was acknowledged is read */
    varve_log_close(log);
    log = open_fsync(store);
    assert_true(support_log_info(log).end_offset >= 50);
    varve_log_close(log);
    varve_store_close(store);
}

static void sync_makes_durable_what_os_mode_has_acknowledged(void **state)
{
    struct support_env *e = *state;
    struct varve_store *store = support_store_open(e, NULL);
    struct varve_log *log = support_log_open(store, "a", SUPPORT_LOG_UNTIERED);
    struct varve_error err;

    support_log_append(log, 10, 5);
    assert_null(support_io_trace_find(e->io, 0, SUPPORT_IO_FDATASYNC, ".log", NULL));
    support_succeeds(varve_log_sync(log, &err), &err);
    assert_non_null(support_io_trace_find(e->io, 0, SUPPORT_IO_FDATASYNC, ".log", NULL));
    varve_log_close(log);
    varve_store_close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        support_env_test(batches_of_every_codec_are_appended),
        support_env_test(a_batch_can_be_appended_more_than_once),
        support_env_test(single_records_are_compressed_as_the_log_says),
        support_env_test(a_batch_above_the_limit_is_refused),
        support_env_test(encoded_batches_of_kafka_s_clients_are_taken_as_they_are),
        support_env_test(no_damaged_byte_of_an_encoded_batch_gets_in),
        support_env_test(a_full_disk_refuses_appends_until_there_is_room),
        support_env_test(reads_go_on_while_the_disk_is_full),
        support_env_test(nothing_is_acknowledged_before_its_sync),
        support_env_test(after_a_failed_sync_nothing_is_appended_until_opened_again),
        support_env_test(sync_makes_durable_what_os_mode_has_acknowledged),
    };

    return cmocka_run_group_tests_name("log_append", tests, NULL, NULL);
}
