/* Building batches: what is built passes validation and reads back as it was added. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "record/batch.h"
#include "record/builder.h"
#include "record/codec.h"
#include "record/iterator.h"

#define DECOMPRESSED_MAX (1 << 20)

static const enum varve_codec all_codecs[] = {
    VARVE_CODEC_NONE, VARVE_CODEC_GZIP, VARVE_CODEC_SNAPPY, VARVE_CODEC_LZ4, VARVE_CODEC_ZSTD};

static void assert_bytes(const void *a, size_t a_size, const void *b, size_t b_size)
{
    assert_int_equal(a_size, b_size);
    assert_int_equal(a == NULL, b == NULL);
    if (a_size > 0) {
        assert_memory_equal(a, b, a_size);
    }
}

static void assert_records(const struct varve_record *a, const struct varve_record *b)
{
    assert_int_equal(a->timestamp, b->timestamp);
    assert_bytes(a->key, a->key_size, b->key, b->key_size);
    assert_bytes(a->value, a->value_size, b->value, b->value_size);
    assert_int_equal(a->header_count, b->header_count);
    for (size_t i = 0; i < a->header_count; i++) {
        const struct varve_header *x = &a->headers[i], *y = &b->headers[i];
        assert_bytes(x->name, x->name_size, y->name, y->name_size);
        assert_bytes(x->value, x->value_size, y->value, y->value_size);
    }
}

static struct varve_batch *batch_new(enum varve_codec codec, size_t size_max)
{
    struct varve_batch *batch = NULL;

    assert_int_equal(varve_batch_new(codec, 0, size_max, &batch, NULL), 0);
    return batch;
}

static struct varve_record text_record(int64_t timestamp, const char *value)
{
    return (struct varve_record){
        .timestamp = timestamp, .value = value, .value_size = strlen(value)};
}

static const struct varve_header some_headers[] = {
    {.name = "trace", .name_size = 5, .value = "abc", .value_size = 3},
    {.name = "", .name_size = 0, .value = "", .value_size = 0},
    {.name = "null", .name_size = 4, .value = NULL, .value_size = 0},
};

static const char long_value[] =
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123"
    "456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
    "7";

static const struct varve_record some_records[] = {
    {.timestamp = 1700000000000, .key = "k", .key_size = 1, .value = "v", .value_size = 1},
    {.timestamp = 1700000000500, .key = NULL, .value = "no key", .value_size = 6},
    {.timestamp = 1699999999000, .key = "earlier", .key_size = 7, .value = NULL},
    {.timestamp = 1700000000001, .key = "", .key_size = 0, .value = "", .value_size = 0},
    {.timestamp = -1, .value = long_value, .value_size = sizeof(long_value) - 1},
    {.timestamp = 1700000000002,
     .key = "headers",
     .key_size = 7,
     .value = "x",
     .value_size = 1,
     .headers = some_headers,
     .header_count = 3},
    {.timestamp = 1700000000003, .value = long_value, .value_size = sizeof(long_value) - 1},
};
#define SOME_COUNT (sizeof(some_records) / sizeof(some_records[0]))

static void records_read_back_as_they_were_added_with_every_codec(void **state)
{
    (void)state;
    struct record_iterator *it = NULL;
    assert_int_equal(record_iterator_new(&it, NULL), 0);

    for (size_t c = 0; c < sizeof(all_codecs) / sizeof(all_codecs[0]); c++) {
        struct varve_batch *batch = batch_new(all_codecs[c], 65536);
        for (size_t i = 0; i < SOME_COUNT; i++) {
            assert_int_equal(varve_batch_add(batch, &some_records[i], NULL), 0);
        }
        assert_int_equal(varve_batch_count(batch), SOME_COUNT);

        const void *data;
        size_t size;
        assert_int_equal(record_builder_encode(batch, &data, &size, NULL), 0);
        assert_int_equal(record_batch_size(data), size);

        struct record_batch header;
        struct varve_error err = {0};
        int rc = record_batch_validate(data, size, DECOMPRESSED_MAX, &header, &err);
        assert_string_equal(err.msg, "");
        assert_int_equal(rc, 0);
        assert_int_equal(header.codec, all_codecs[c]);
        assert_int_equal(header.base_offset, 0);
        assert_int_equal(header.last_offset, SOME_COUNT - 1);
        assert_int_equal(header.leader_epoch, -1);
        assert_int_equal(header.base_timestamp, 1700000000000);
        assert_int_equal(header.max_timestamp, 1700000000500);
        assert_int_equal(header.producer_id, -1);
        assert_int_equal(header.record_count, SOME_COUNT);

        assert_int_equal(record_iterator_start(it, data, &header, DECOMPRESSED_MAX, NULL), 0);
        struct varve_record record;
        for (size_t i = 0; i < SOME_COUNT; i++) {
            assert_int_equal(record_iterator_next(it, &record, NULL), 0);
            assert_int_equal(record.offset, i);
            assert_records(&record, &some_records[i]);
        }
        assert_int_equal(record_iterator_next(it, &record, NULL), VARVE_E_END);
        assert_int_equal(record_iterator_next(it, &record, NULL), VARVE_E_END);
        assert_null(varve_batch_free(batch));
    }
    assert_null(record_iterator_free(it));
}

static void encoding_twice_returns_the_same_bytes(void **state)
{
    (void)state;
    struct varve_batch *batch = batch_new(VARVE_CODEC_ZSTD, 65536);
    const void *first, *second;
    size_t first_size, second_size;

    for (size_t i = 0; i < SOME_COUNT; i++) {
        assert_int_equal(varve_batch_add(batch, &some_records[i], NULL), 0);
    }
    assert_int_equal(record_builder_encode(batch, &first, &first_size, NULL), 0);
    assert_int_equal(record_builder_encode(batch, &second, &second_size, NULL), 0);
    assert_ptr_equal(first, second);
    assert_int_equal(first_size, second_size);

    /* One more record is one more record, not the old bytes. */
    assert_int_equal(varve_batch_add(batch, &some_records[0], NULL), 0);
    assert_int_equal(record_builder_encode(batch, &second, &second_size, NULL), 0);
    struct record_batch header;
    assert_int_equal(record_batch_validate(second, second_size, 65536, &header, NULL), 0);
    assert_int_equal(header.record_count, SOME_COUNT + 1);
    varve_batch_free(batch);
}

static void incompressible_records_are_stored_uncompressed(void **state)
{
    (void)state;
    for (size_t c = 1; c < sizeof(all_codecs) / sizeof(all_codecs[0]); c++) {
        struct varve_batch *batch = batch_new(all_codecs[c], 65536);
        struct varve_record record = text_record(1, "q");
        assert_int_equal(varve_batch_add(batch, &record, NULL), 0);

        const void *data;
        size_t size;
        struct record_batch header;
        assert_int_equal(record_builder_encode(batch, &data, &size, NULL), 0);
        assert_int_equal(size, varve_batch_size(batch));
        assert_int_equal(record_batch_validate(data, size, 65536, &header, NULL), 0);
        assert_int_equal(header.codec, VARVE_CODEC_NONE);
        varve_batch_free(batch);
    }
}

static void a_full_batch_is_a_condition_and_leaves_it_as_it_was(void **state)
{
    (void)state;
    for (size_t size_max = 128; size_max < 700; size_max++) {
        struct varve_batch *batch = batch_new(VARVE_CODEC_NONE, size_max);
        struct varve_record record = text_record(7, "0123456789");
        struct varve_error err;
        size_t count = 0;
        int rc;

        while ((rc = varve_batch_add(batch, &record, &err)) == 0) {
            count++;
        }
        assert_int_equal(rc, VARVE_E_FULL);
        assert_non_null(strstr(err.msg, "full"));
        assert_int_equal(varve_batch_count(batch), count);
        size_t before = varve_batch_size(batch);
        assert_true(before <= size_max && before + 18 > size_max);

        const void *data;
        size_t size;
        struct record_batch header;
        assert_int_equal(record_builder_encode(batch, &data, &size, NULL), 0);
        assert_int_equal(size, before);
        assert_int_equal(record_batch_validate(data, size, 65536, &header, NULL), 0);
        assert_int_equal(header.record_count, count);

        varve_batch_clear(batch);
        assert_int_equal(varve_batch_count(batch), 0);
        assert_int_equal(varve_batch_add(batch, &record, NULL), 0);
        varve_batch_free(batch);
    }
}

static void a_record_over_the_limit_is_too_large_whether_the_batch_is_empty_or_not(void **state)
{
    (void)state;
    struct varve_batch *batch = batch_new(VARVE_CODEC_NONE, 128);
    struct varve_record small = text_record(7, "small");
    struct varve_record large = {.timestamp = 7, .value = long_value, .value_size = 128};
    struct varve_error err;

    assert_int_equal(varve_batch_add(batch, &large, &err), VARVE_E_TOO_LARGE);
    assert_non_null(strstr(err.msg, "the limit is 128"));
    assert_int_equal(varve_batch_add(batch, &small, NULL), 0);
    assert_int_equal(varve_batch_add(batch, &large, NULL), VARVE_E_TOO_LARGE);
    assert_int_equal(varve_batch_count(batch), 1);

    /* The largest that fits: 61 of the header, 8 of the record's fields. */
    varve_batch_clear(batch);
    large.value_size = 128 - 61 - 7;
    assert_int_equal(varve_batch_add(batch, &large, NULL), VARVE_E_TOO_LARGE);
    large.value_size = 128 - 61 - 8;
    while (varve_batch_add(batch, &large, NULL) == VARVE_E_TOO_LARGE) {
        large.value_size--;
    }
    assert_true(varve_batch_size(batch) >= 127);

    /* Sizes that would overflow a sum. */
    varve_batch_clear(batch);
    large.value_size = SIZE_MAX;
    large.key = "";
    large.key_size = SIZE_MAX;
    assert_int_equal(varve_batch_add(batch, &large, NULL), VARVE_E_TOO_LARGE);
    varve_batch_free(batch);
}

static void impossible_arguments_are_invalid(void **state)
{
    (void)state;
    struct varve_batch *batch = (struct varve_batch *)&state;
    struct varve_batch *const untouched = batch;
    struct varve_error err;

    assert_int_equal(varve_batch_new((enum varve_codec)5, 0, 65536, &batch, &err), VARVE_E_INVALID);
    assert_non_null(strstr(err.msg, "codec 5"));
    assert_int_equal(varve_batch_new(VARVE_CODEC_GZIP, 10, 65536, &batch, &err), VARVE_E_INVALID);
    assert_non_null(strstr(err.msg, "level 10"));
    assert_int_equal(varve_batch_new(VARVE_CODEC_NONE, 0, 127, &batch, &err), VARVE_E_INVALID);
    assert_non_null(strstr(err.msg, "size_max 127"));
    assert_int_equal(varve_batch_new(VARVE_CODEC_NONE, 0, 0x80000000u, &batch, NULL),
                     VARVE_E_INVALID);
    assert_ptr_equal(batch, untouched);

    batch = batch_new(VARVE_CODEC_NONE, 4096);
    struct varve_record record = text_record(-2, "x");
    assert_int_equal(varve_batch_add(batch, &record, &err), VARVE_E_INVALID);
    assert_non_null(strstr(err.msg, "timestamp -2"));
    struct varve_header nameless = {.name = NULL, .value = "v", .value_size = 1};
    record = (struct varve_record){.timestamp = 0, .headers = &nameless, .header_count = 1};
    assert_int_equal(varve_batch_add(batch, &record, &err), VARVE_E_INVALID);
    assert_non_null(strstr(err.msg, "header 0 has a NULL name"));
    record = (struct varve_record){.key = NULL, .key_size = 3};
    assert_int_equal(varve_batch_add(batch, &record, NULL), VARVE_E_INVALID);
    record = (struct varve_record){.value = NULL, .value_size = 3};
    assert_int_equal(varve_batch_add(batch, &record, NULL), VARVE_E_INVALID);
    record = (struct varve_record){.headers = NULL, .header_count = 3};
    assert_int_equal(varve_batch_add(batch, &record, NULL), VARVE_E_INVALID);
    assert_int_equal(varve_batch_count(batch), 0);

    const void *data = state;
    size_t size = 42;
    assert_int_equal(record_builder_encode(batch, &data, &size, &err), VARVE_E_INVALID);
    assert_non_null(strstr(err.msg, "no records"));
    assert_ptr_equal(data, state);
    assert_int_equal(size, 42);
    varve_batch_free(batch);
}

static void timestamps_too_far_apart_for_one_batch_make_it_full(void **state)
{
    (void)state;
    struct varve_batch *batch = batch_new(VARVE_CODEC_NONE, 4096);
    struct varve_record none = text_record(-1, "no time"), last = text_record(INT64_MAX, "late");
    struct record_batch header;
    const void *data;
    size_t size;

    assert_int_equal(varve_batch_add(batch, &none, NULL), 0);
    assert_int_equal(varve_batch_add(batch, &last, NULL), VARVE_E_FULL);
    last.timestamp = INT64_MAX - 1;
    assert_int_equal(varve_batch_add(batch, &last, NULL), 0);
    assert_int_equal(record_builder_encode(batch, &data, &size, NULL), 0);
    assert_int_equal(record_batch_validate(data, size, 4096, &header, NULL), 0);

    varve_batch_clear(batch);
    last.timestamp = INT64_MAX;
    assert_int_equal(varve_batch_add(batch, &last, NULL), 0);
    assert_int_equal(varve_batch_add(batch, &none, NULL), 0); /* -2^63 fits */
    assert_int_equal(record_builder_encode(batch, &data, &size, NULL), 0);
    assert_int_equal(record_batch_validate(data, size, 4096, &header, NULL), 0);
    varve_batch_free(batch);
}

static void a_wrapped_batch_keeps_all_but_the_fields_that_the_engine_sets(void **state)
{
    (void)state;
    struct varve_batch *from = batch_new(VARVE_CODEC_LZ4, 65536);
    struct varve_batch *to = batch_new(VARVE_CODEC_NONE, 65536);
    struct varve_batch *tight = batch_new(VARVE_CODEC_NONE, 400);
    struct varve_error err;
    uint8_t foreign[4096];
    const void *data;
    size_t size, wrapped_size;

    for (size_t i = 0; i < SOME_COUNT; i++) {
        assert_int_equal(varve_batch_add(from, &some_records[i], NULL), 0);
    }
    assert_int_equal(record_builder_encode(from, &data, &size, NULL), 0);
    assert_true(size < sizeof(foreign) - 1);
    memcpy(foreign, data, size);
    record_batch_assign(foreign, 1000, 7);
    foreign[size] = 0;

    assert_int_equal(record_builder_wrap(to, foreign, size, NULL), 0);
    assert_int_equal(varve_batch_count(to), SOME_COUNT);
    assert_int_equal(varve_batch_size(to), size);
    assert_int_equal(record_builder_encode(to, &data, &wrapped_size, NULL), 0);
    assert_int_equal(wrapped_size, size);
    assert_memory_equal((const uint8_t *)data + 16, foreign + 16, size - 16);
    struct record_batch header;
    assert_int_equal(record_batch_validate(data, size, 65536, &header, NULL), 0);
    assert_int_equal(header.base_offset, 0);
    assert_int_equal(header.leader_epoch, -1);

    /* It counts as filled. */
    assert_int_equal(varve_batch_add(to, &some_records[0], NULL), VARVE_E_FULL);
    assert_int_equal(record_builder_wrap(to, foreign, size, NULL), VARVE_E_FULL);
    varve_batch_clear(to);
    assert_int_equal(varve_batch_add(to, &some_records[0], NULL), 0);
    varve_batch_clear(to);

    assert_int_equal(record_builder_wrap(to, foreign, size + 1, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "1 bytes left over"));
    foreign[size - 1] ^= 1;
    assert_int_equal(record_builder_wrap(to, foreign, size, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "CRC32C"));
    foreign[size - 1] ^= 1;
    /* 400 bytes hold it compressed, but not what comes out. */
    assert_true(size <= 400);
    assert_int_equal(record_builder_wrap(tight, foreign, size, &err), VARVE_E_TOO_LARGE);
    assert_int_equal(varve_batch_count(tight), 0);
    varve_batch_free(from);
    varve_batch_free(to);
    varve_batch_free(tight);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_read_back_as_they_were_added_with_every_codec),
        cmocka_unit_test(encoding_twice_returns_the_same_bytes),
        cmocka_unit_test(incompressible_records_are_stored_uncompressed),
        cmocka_unit_test(a_full_batch_is_a_condition_and_leaves_it_as_it_was),
        cmocka_unit_test(a_record_over_the_limit_is_too_large_whether_the_batch_is_empty_or_not),
        cmocka_unit_test(impossible_arguments_are_invalid),
        cmocka_unit_test(timestamps_too_far_apart_for_one_batch_make_it_full),
        cmocka_unit_test(a_wrapped_batch_keeps_all_but_the_fields_that_the_engine_sets),
    };
    return cmocka_run_group_tests_name("record builder", tests, NULL, NULL);
}
