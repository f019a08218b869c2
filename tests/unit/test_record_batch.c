/* Reading batches: those of Kafka's own clients, and every way in which one can be wrong. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "record/batch.h"
#include "record/builder.h"
#include "record/codec.h"
#include "record/iterator.h"
#include "record/varint.h"
#include "tests/support/data.h"

#define DECOMPRESSED_MAX (1 << 20)
#define LONG_SIZE 240

/* ---- The records that each golden file holds. ---- */

struct expected_record {
    int64_t timestamp;
    const char *key, *value; /* NULL: null; "*": the long value */
};

static const struct expected_record expected[] = {
    {1700000000000, "k", "v"},  {1700000000500, NULL, "no key"}, {1699999999000, "earlier", NULL},
    {1700000000001, "", ""},    {1700000000002, NULL, "*"},      {1700000000003, "headers", "x"},
    {1700000000004, NULL, "*"},
};
#define EXPECTED_COUNT 7

static void assert_text(const void *data, size_t size, const char *text)
{
    if (text == NULL) {
        assert_null(data);
        assert_int_equal(size, 0);
        return;
    }
    assert_non_null(data);
    assert_int_equal(size, strlen(text));
    assert_memory_equal(data, text, size);
}

static void assert_long(const void *data, size_t size)
{
    assert_int_equal(size, LONG_SIZE);
    for (size_t i = 0; i < LONG_SIZE; i += 6) {
        assert_memory_equal((const char *)data + i, "varve ", 6);
    }
}

static void assert_expected_record(const struct varve_record *r, size_t i, bool librdkafka)
{
    assert_text(r->key, r->key_size, expected[i].key);
    if (expected[i].value != NULL && strcmp(expected[i].value, "*") == 0) {
        assert_long(r->value, r->value_size);
    } else {
        assert_text(r->value, r->value_size, expected[i].value);
    }
    if (i != 5) {
        assert_int_equal(r->header_count, 0);
        return;
    }
    assert_int_equal(r->header_count, 3);
    assert_text(r->headers[0].name, r->headers[0].name_size, "trace");
    assert_text(r->headers[0].value, r->headers[0].value_size, "abc");
    assert_text(r->headers[1].name, r->headers[1].name_size, librdkafka ? "h2" : "");
    assert_text(r->headers[1].value, r->headers[1].value_size, "");
    assert_text(r->headers[2].name, r->headers[2].name_size, "null");
    assert_text(r->headers[2].value, r->headers[2].value_size, NULL);
}

/* Validates and iterates one golden file; timestamps are `append_time` unless that is -1. */
static struct record_batch assert_golden(const char *name, int64_t append_time)
{
    struct record_batch batch;
    struct record_iterator *it;
    struct varve_record record;
    struct varve_error err = {0};
    char path[128];
    size_t size;

    snprintf(path, sizeof(path), "record/batch-%s.bin", name);
    uint8_t *data = support_data_read(path, &size);
    if (record_batch_validate(data, size, DECOMPRESSED_MAX, &batch, &err) < 0) {
        fail_msg("%s: %s", name, err.msg);
    }
    assert_int_equal(batch.size, size);
    assert_int_equal(batch.record_count, EXPECTED_COUNT);
    assert_int_equal(batch.last_offset, batch.base_offset + EXPECTED_COUNT - 1);
    assert_int_equal(batch.max_timestamp, append_time >= 0 ? append_time : 1700000000500);

    assert_int_equal(record_iterator_new(&it, NULL), 0);
    assert_int_equal(record_iterator_start(it, data, &batch, DECOMPRESSED_MAX, NULL), 0);
    for (size_t i = 0; i < EXPECTED_COUNT; i++) {
        assert_int_equal(record_iterator_next(it, &record, NULL), 0);
        assert_int_equal(record.offset, batch.base_offset + (int64_t)i);
        assert_int_equal(record.timestamp, append_time >= 0 ? append_time : expected[i].timestamp);
        assert_expected_record(&record, i, strstr(name, "librdkafka") != NULL);
    }
    assert_int_equal(record_iterator_next(it, &record, NULL), VARVE_E_END);
    record_iterator_free(it);
    free(data);
    return batch;
}

static void batches_of_every_client_and_codec_are_read(void **state)
{
    static const char *const makers[] = {"java", "librdkafka", "kafka-python", "varve"};
    char name[64];

    (void)state;
    for (size_t m = 0; m < sizeof(makers) / sizeof(makers[0]); m++) {
        for (int c = VARVE_CODEC_NONE; c <= VARVE_CODEC_ZSTD; c++) {
            snprintf(name, sizeof(name), "%s-%s", makers[m],
                     record_codec_name((enum varve_codec)c));
            struct record_batch batch = assert_golden(name, -1);
            assert_int_equal(batch.codec, c);
            assert_int_equal(batch.producer_id, -1);
        }
    }
}

static void attributes_of_kafkas_batches_are_read(void **state)
{
    (void)state;
    struct record_batch batch = assert_golden("java-transactional", -1);
    assert_true(batch.transactional);
    assert_false(batch.control);
    assert_int_equal(batch.producer_id, 4711);
    assert_int_equal(batch.producer_epoch, 5);
    assert_int_equal(batch.base_sequence, 99);
    assert_int_equal(batch.leader_epoch, 3);
    assert_int_equal(batch.base_offset, 42);

    batch = assert_golden("java-append-time", 1700000009999);
    assert_true(batch.log_append_time);
}

static void a_control_batch_of_kafka_is_valid_and_keeps_its_key(void **state)
{
    (void)state;
    struct record_batch batch;
    struct record_iterator *it;
    struct varve_record record;
    size_t size;
    uint8_t *data = support_data_read("record/batch-java-control.bin", &size);

    assert_int_equal(record_batch_validate(data, size, 4096, &batch, NULL), 0);
    assert_true(batch.control);
    assert_true(batch.transactional);
    assert_int_equal(record_iterator_new(&it, NULL), 0);
    assert_int_equal(record_iterator_start(it, data, &batch, 4096, NULL), 0);
    assert_int_equal(record_iterator_next(it, &record, NULL), 0);
    assert_int_equal(record.key_size, 4);
    assert_memory_equal(record.key, "\0\0\0\1", 4); /* version 0, type 1: commit */
    record_iterator_free(it);
    free(data);
}

/* The golden file of each codec was made by this; later versions of a codec may compress better. */
static struct varve_batch *expected_batch(enum varve_codec codec)
{
    static const struct varve_header headers[] = {
        {.name = "trace", .name_size = 5, .value = "abc", .value_size = 3},
        {.name = "", .name_size = 0, .value = "", .value_size = 0},
        {.name = "null", .name_size = 4},
    };
    struct varve_batch *batch;
    char long_value[LONG_SIZE];

    for (size_t i = 0; i < LONG_SIZE; i++) {
        long_value[i] = "varve "[i % 6];
    }
    assert_int_equal(varve_batch_new(codec, 0, 65536, &batch, NULL), 0);
    for (size_t i = 0; i < EXPECTED_COUNT; i++) {
        const struct expected_record *e = &expected[i];
        bool is_long = e->value != NULL && strcmp(e->value, "*") == 0;
        struct varve_record r = {
            .timestamp = e->timestamp,
            .key = e->key,
            .key_size = e->key == NULL ? 0 : strlen(e->key),
            .value = is_long ? long_value : e->value,
            .value_size = is_long            ? LONG_SIZE
                          : e->value == NULL ? 0
                                             : strlen(e->value),
            .headers = i == 5 ? headers : NULL,
            .header_count = i == 5 ? 3 : 0,
        };
        assert_int_equal(varve_batch_add(batch, &r, NULL), 0);
    }
    return batch;
}

static void an_encoded_batch_is_byte_for_byte_that_of_the_golden_file_and_of_kafka(void **state)
{
    static const char *const names[] = {"record/batch-varve-none.bin", "record/batch-java-none.bin",
                                        "record/batch-kafka-python-none.bin"};
    (void)state;
    struct varve_batch *batch = expected_batch(VARVE_CODEC_NONE);
    const void *encoded;
    size_t size, golden_size;

    assert_int_equal(record_builder_encode(batch, &encoded, &size, NULL), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        uint8_t *golden = support_data_read(names[i], &golden_size);
        record_batch_assign(golden, 0, -1); /* what the CRC leaves out */
        assert_int_equal(size, golden_size);
        assert_memory_equal(encoded, golden, size);
        free(golden);
    }
    varve_batch_free(batch);
}

static void the_example_of_the_documentation_is_built_byte_for_byte(void **state)
{
    /* docs/format-segment.md, at its end. */
    static const uint8_t example[] = {
        0,    0,    0,    0,    0,    0,    0x03, 0xe8, 0,    0,    0,    0x3d, 0, 0,    0,
        0,    0x02, 0xa9, 0xdf, 0x87, 0xd3, 0,    0,    0,    0,    0,    0,    0, 0,    0x01,
        0x8b, 0xcf, 0xe5, 0x68, 0,    0,    0,    0x01, 0x8b, 0xcf, 0xe5, 0x68, 0, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0,    0,
        0x01, 0x16, 0,    0,    0,    0x01, 0x0a, 'v',  'a',  'r',  'v',  'e',  0};
    struct varve_record record = {.timestamp = 1700000000000, .value = "varve", .value_size = 5};
    struct varve_batch *batch;
    uint8_t copy[sizeof(example)];
    const void *data;
    size_t size;

    (void)state;
    assert_int_equal(varve_batch_new(VARVE_CODEC_NONE, 0, 1024, &batch, NULL), 0);
    assert_int_equal(varve_batch_add(batch, &record, NULL), 0);
    assert_int_equal(record_builder_encode(batch, &data, &size, NULL), 0);
    assert_int_equal(size, sizeof(example));
    memcpy(copy, data, size);
    record_batch_assign(copy, 1000, 0);
    assert_memory_equal(copy, example, size);
    varve_batch_free(batch);
}

/* ---- Wrong batches. ---- */

/* A batch to break: the golden one without compression. */
static uint8_t *sound_batch(size_t *ret_size)
{
    return support_data_read("record/batch-java-none.bin", ret_size);
}

static void seal(uint8_t *data, size_t size)
{
    base_put_be32(data + 17, base_crc32c(0, data + 21, size - 21));
}

/* Refused by record_batch_validate, with these words; the output is untouched. */
static void assert_refused(const uint8_t *data, size_t size, int code, const char *words)
{
    struct record_batch batch, before;
    struct varve_error err = {0};

    memset(&batch, 0x5a, sizeof(batch));
    before = batch;
    assert_int_equal(record_batch_validate(data, size, DECOMPRESSED_MAX, &batch, &err), code);
    if (strstr(err.msg, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.msg, words);
    }
    assert_int_equal(err.code, code);
    assert_memory_equal(&batch, &before, sizeof(batch));
}

static void each_header_field_that_is_wrong_is_refused_by_its_name(void **state)
{
    static const struct {
        size_t pos, size;
        uint64_t value;
        const char *words;
    } cases[] = {
        {0, 8, UINT64_MAX, "base offset -1"},
        {0, 8, INT64_MAX, "base offset 9223372036854775807"},
        {8, 4, 48, "batch length 48"},
        {8, 4, 0, "batch length 0"},
        {8, 4, UINT32_MAX, "batch length -1"},
        {8, 4, 0x7ffffff4, "batch length 2147483636"},
        {8, 4, 626, "batch length 626"}, /* one more than is there */
        {12, 4, UINT32_MAX - 1, "leader epoch -2"},
        {16, 1, 1, "magic 1"},
        {16, 1, 0, "magic 0"},
        {16, 1, 3, "magic 3"},
        {17, 4, 0xdeadbeef, "CRC32C deadbeef"},
        {21, 2, 0x0080, "attributes 0x0080"},
        {21, 2, 0x8000, "attributes 0x8000"},
        {21, 2, 0x0005, "unknown codec 5"},
        {21, 2, 0x0007, "unknown codec 7"},
        {21, 2, 0x0010, "producer id -1 in a transactional"},
        {21, 2, 0x0020, "key size 1 in a control batch"},
        {23, 4, UINT32_MAX, "last offset delta -1"},
        {23, 4, 5, "last offset delta 5"},
        {23, 4, 7, "last offset delta 7"},
        {27, 8, UINT64_MAX - 1, "base timestamp -2"},
        {27, 8, 100, "from base timestamp 100"},
        {35, 8, UINT64_MAX - 1, "max timestamp -2"},
        {35, 8, 1700000000499, "max timestamp 1700000000499"},
        {43, 8, UINT64_MAX - 1, "producer id -2"},
        {43, 8, 12, "producer epoch -1 with producer id 12"},
        {51, 2, 0xfffe, "producer epoch -2"},
        {53, 4, UINT32_MAX - 1, "base sequence -2"},
        {57, 4, UINT32_MAX, "record count -1"},
        {57, 4, 0, "record count 0"},
        {57, 4, 6, "record count 6"},
        {57, 4, 8, "record count 8"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t size;
        uint8_t *data = sound_batch(&size);
        assert_int_equal(size, 637);
        for (size_t b = 0; b < cases[i].size; b++) {
            data[cases[i].pos + b] = (uint8_t)(cases[i].value >> (8 * (cases[i].size - 1 - b)));
        }
        if (cases[i].pos > 17) {
            seal(data, size); /* a wrong field, not a wrong CRC */
        }
        assert_refused(data, size, VARVE_E_CORRUPT, cases[i].words);
        free(data);
    }
}

static void producer_fields_go_together(void **state)
{
    (void)state;
    size_t size;
    uint8_t *data = sound_batch(&size);
    struct record_batch batch;

    /* Without a producer id some clients leave 0 in the other two. */
    base_put_be16(data + 51, 0);
    base_put_be32(data + 53, 0);
    seal(data, size);
    assert_int_equal(record_batch_validate(data, size, DECOMPRESSED_MAX, &batch, NULL), 0);

    base_put_be64(data + 43, 12);
    base_put_be32(data + 53, UINT32_MAX);
    seal(data, size);
    assert_refused(data, size, VARVE_E_CORRUPT, "base sequence -1 with producer id 12");
    free(data);
}

static void each_flipped_byte_is_found(void **state)
{
    (void)state;
    for (int c = VARVE_CODEC_NONE; c <= VARVE_CODEC_ZSTD; c++) {
        char path[64];
        size_t size;
        struct record_batch batch;

        snprintf(path, sizeof(path), "record/batch-java-%s.bin",
                 record_codec_name((enum varve_codec)c));
        uint8_t *data = support_data_read(path, &size);
        for (size_t i = 0; i < size; i++) {
            /* B1: the base offset and the leader epoch are the engine's, the CRC leaves them out.
             */
            bool assigned = i < 8 || (i >= 12 && i < 16);
            for (int bit = 0; bit < 8 && !assigned; bit++) {
                data[i] ^= (uint8_t)(1 << bit);
                assert_int_equal(record_batch_check(data, size, &batch, NULL), VARVE_E_CORRUPT);
                data[i] ^= (uint8_t)(1 << bit);
            }
        }
        assert_int_equal(record_batch_check(data, size, &batch, NULL), 0);
        free(data);
    }
}

static void a_batch_cut_off_anywhere_is_refused(void **state)
{
    (void)state;
    size_t size;
    uint8_t *data = sound_batch(&size);

    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *copy = malloc(cut > 0 ? cut : 1); /* exactly as much, for the sanitizer */
        assert_non_null(copy);
        memcpy(copy, data, cut);
        assert_refused(copy, cut, VARVE_E_CORRUPT, cut < 61 ? "of 61 are there" : "are there");
        free(copy);
    }
    /* Cut off, and the length field says so: the CRC no longer fits. */
    base_put_be32(data + 8, (uint32_t)size - 12 - 1);
    assert_refused(data, size, VARVE_E_CORRUPT, "CRC32C");
    free(data);
}

static void records_cut_off_anywhere_are_refused_though_the_crc_is_right(void **state)
{
    (void)state;
    size_t size;
    uint8_t *data = sound_batch(&size);

    for (size_t cut = 61; cut < size; cut++) {
        uint8_t *copy = malloc(cut);
        assert_non_null(copy);
        memcpy(copy, data, cut);
        base_put_be32(copy + 8, (uint32_t)cut - 12);
        seal(copy, cut);
        assert_refused(copy, cut, VARVE_E_CORRUPT, "");
        free(copy);
    }
    free(data);
}

static void what_follows_a_batch_is_not_looked_at(void **state)
{
    (void)state;
    struct record_batch batch;
    size_t size;
    uint8_t *data = sound_batch(&size);
    uint8_t *longer = malloc(size + 10);

    assert_non_null(longer);
    memcpy(longer, data, size);
    memset(longer + size, 0xff, 10);
    assert_int_equal(record_batch_validate(longer, size + 10, DECOMPRESSED_MAX, &batch, NULL), 0);
    assert_int_equal(batch.size, size);
    free(longer);
    free(data);
}

static void bytes_left_over_inside_a_batch_are_refused(void **state)
{
    (void)state;
    struct record_batch batch;
    struct record_iterator *it;
    struct varve_record record;
    struct varve_error err;
    size_t size;
    uint8_t *data = sound_batch(&size);
    uint8_t *longer = malloc(size + 3);

    assert_non_null(longer);
    memcpy(longer, data, size);
    memset(longer + size, 0, 3);
    base_put_be32(longer + 8, (uint32_t)size + 3 - 12);
    seal(longer, size + 3);
    assert_refused(longer, size + 3, VARVE_E_CORRUPT, "3 bytes left over after its 7 records");

    /* The iterator, which starts on batches that were only checked, says so too. */
    assert_int_equal(record_batch_check(longer, size + 3, &batch, NULL), 0);
    assert_int_equal(record_iterator_new(&it, NULL), 0);
    assert_int_equal(record_iterator_start(it, longer, &batch, DECOMPRESSED_MAX, NULL), 0);
    for (int i = 0; i < EXPECTED_COUNT; i++) {
        assert_int_equal(record_iterator_next(it, &record, NULL), 0);
    }
    assert_int_equal(record_iterator_next(it, &record, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "batch at offset 42: 3 bytes left over"));
    record_iterator_free(it);
    free(longer);
    free(data);
}

/* ---- Wrong records: one batch of one record, written byte by byte. ---- */

static size_t one_record_batch(uint8_t *data, const void *record, size_t record_size)
{
    struct record_batch header = {.size = (uint32_t)(61 + record_size),
                                  .leader_epoch = -1,
                                  .base_timestamp = 1000,
                                  .max_timestamp = 1000,
                                  .producer_id = -1,
                                  .producer_epoch = -1,
                                  .base_sequence = -1,
                                  .record_count = 1};

    memcpy(data + 61, record, record_size);
    record_batch_encode(data, &header);
    return header.size;
}

static void each_record_field_that_is_wrong_is_refused_by_its_name(void **state)
{
    /* Zigzag: 0 is 00, -1 is 01, 1 is 02, 6 is 0c. */
    static const struct {
        const char *bytes;
        size_t size;
        const char *words; /* NULL: valid */
    } cases[] = {
        {"\x0c\0\0\0\1\1\0", 7, NULL},
        {"\x0a\0\0\0\1\1\0", 7, "size 5"},
        {"\x0e\0\0\0\1\1\0", 7, "size 7 with 6 bytes"},
        {"\x01\0\0\0\1\1\0", 7, "size -1"},
        {"\xff\xff\xff\xff\xff\xff\xff", 7, "size is malformed"},
        {"\xff", 1, "size is malformed"},
        {"\xfe\xff\xff\xff\x0f\1\0", 7, "size 2147483647"},
        {"\xfe\xff\xff\xff\x1f\1\0", 7, "size is malformed"}, /* 33 bits */
        {"\x8c\0\0\0\0\1\1\0", 8, NULL},                      /* longer than need be */
        {"\x0c\1\0\0\1\1\0", 7, "attributes 0x01"},
        {"\x0c\0\xff\xff\xff\xff\xff", 7, "timestamp delta is malformed"},
        {"\x0c\0\0\2\1\1\0", 7, "offset delta 1, not 0"},
        {"\x0c\0\0\1\1\1\0", 7, "offset delta -1, not 0"},
        {"\x0c\0\0\xff\xff\xff\xff", 7, "offset delta is malformed"},
        {"\x0c\0\0\0\3\1\0", 7, "key size"},     /* -2 */
        {"\x0c\0\0\0\6\1\0", 7, "key size"},     /* 3 of 2 */
        {"\x0c\0\0\0\4\1\0", 7, "value size"},   /* the key takes the rest */
        {"\x0c\0\0\0\1\3\0", 7, "value size"},   /* -2 */
        {"\x0c\0\0\0\1\x04\0", 7, "value size"}, /* 2 of 1 */
        {"\x0c\0\0\0\1\2\0", 7, "header count is malformed"},
        {"\x0c\0\0\0\1\1\1", 7, "header count -1"},
        {"\x0c\0\0\0\1\1\2", 7, "header count 1 in 0 bytes"},
        {"\x0e\0\0\0\1\1\0\0", 8, "1 bytes left over after its headers"},
        {"\x10\0\0\0\1\1\2\1\1", 9, "header 0 is malformed"}, /* a null name */
        {"\x10\0\0\0\1\1\2\2n", 9, "header 0 is malformed"},  /* no value */
        {"\x12\0\0\0\1\1\2\2n\1", 10, NULL},
        {"\x12\0\0\0\1\1\2\2n\3", 10, "header 0 is malformed"}, /* value -2 */
        {"\x12\0\0\0\1\1\2\2n\2", 10, "header 0 is malformed"}, /* value runs out */
        {"\x0c\0\2\0\1\1\0", 7, "timestamp 1001 is above the batch's max timestamp 1000"},
        {"\x0e\0\xd1\x0f\0\1\1\0", 8, NULL}, /* 1000 - 1001 = -1 */
        {"\x0e\0\xd3\x0f\0\1\1\0", 8, "timestamp delta -1002"},
        {"\x1e\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff\1\0\1\1\0", 16,
         "timestamp delta 92233720368547"},
        {"\x1e\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff\2\0\1\1\0", 16,
         "timestamp delta is malformed"},
    };
    uint8_t data[128];
    struct record_batch batch;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t size = one_record_batch(data, cases[i].bytes, cases[i].size);
        if (cases[i].words != NULL) {
            assert_refused(data, size, VARVE_E_CORRUPT, cases[i].words);
        } else if (record_batch_validate(data, size, 1024, &batch, NULL) < 0) {
            fail_msg("case %zu is valid", i);
        }
    }
}

/* Snappy as Java frames it: the frame's header, and no chunk. */
static void a_batch_that_unpacks_to_nothing_is_refused_without_arithmetic_on_null(void **state)
{
    static const uint8_t nothing[] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0,
                                      0,    0,   0,   1,   0,   0,   0,   1};
    size_t size;
    uint8_t *data = sound_batch(&size);

    (void)state;
    assert_true(size > 61 + sizeof(nothing));
    memcpy(data + 61, nothing, sizeof(nothing));
    size = 61 + sizeof(nothing);
    base_put_be32(data + 8, (uint32_t)size - 12);
    data[22] = (uint8_t)((data[22] & ~7) | VARVE_CODEC_SNAPPY);
    seal(data, size);
    assert_refused(data, size, VARVE_E_CORRUPT, "0 are there");
    free(data);
}

static void a_record_of_too_many_headers_is_too_large(void **state)
{
    (void)state;
    static uint8_t data[1 << 18], record[1 << 18];
    size_t count = 65537, pos = 0, body;

    body = 5 + record_varlong_size((int64_t)count) + 2 * count;
    pos += record_varlong_put(record, (int64_t)body);
    memcpy(record + pos, "\0\0\0\1\1", 5);
    pos += 5;
    pos += record_varlong_put(record + pos, (int64_t)count);
    memset(record + pos, 0, 2 * count); /* empty names, empty values */
    pos += 2 * count;
    size_t size = one_record_batch(data, record, pos);
    assert_refused(data, size, VARVE_E_TOO_LARGE, "65537 headers, the limit is 65536");
}

static void the_limit_of_decompression_holds_for_every_codec(void **state)
{
    (void)state;
    struct record_batch batch;
    struct varve_error err;

    for (int c = VARVE_CODEC_NONE; c <= VARVE_CODEC_ZSTD; c++) {
        struct varve_batch *builder = expected_batch((enum varve_codec)c);
        const void *data;
        size_t size, records_size = varve_batch_size(builder) - 61;

        assert_int_equal(record_builder_encode(builder, &data, &size, NULL), 0);
        assert_int_equal(record_batch_validate(data, size, records_size, &batch, NULL), 0);
        assert_int_equal(record_batch_validate(data, size, records_size - 1, &batch, &err),
                         VARVE_E_TOO_LARGE);
        assert_non_null(strstr(err.msg, "575"));
        varve_batch_free(builder);
    }
}

static void a_failed_start_leaves_an_iterator_that_is_at_its_end(void **state)
{
    (void)state;
    struct record_iterator *it;
    struct record_batch batch;
    struct varve_record record;
    size_t size;
    uint8_t *data = support_data_read("record/batch-java-zstd.bin", &size);

    assert_int_equal(record_iterator_new(&it, NULL), 0);
    assert_int_equal(record_iterator_next(it, &record, NULL), VARVE_E_END);
    assert_int_equal(record_batch_check(data, size, &batch, NULL), 0);
    assert_int_equal(record_iterator_start(it, data, &batch, 100, NULL), VARVE_E_TOO_LARGE);
    assert_int_equal(record_iterator_next(it, &record, NULL), VARVE_E_END);
    assert_int_equal(record_iterator_start(it, data, &batch, DECOMPRESSED_MAX, NULL), 0);
    assert_int_equal(record_iterator_next(it, &record, NULL), 0);
    record_iterator_free(it);
    free(data);
}

static void a_compacted_batch_is_checked_and_iterated_but_not_valid(void **state)
{
    /* Offset deltas 1 and 3 of 0..4. */
    static const uint8_t records[] = {0x0c, 0, 0, 2, 1, 1, 0, 0x0c, 0, 0, 6, 1, 1, 0};
    struct record_batch header = {.base_offset = 10,
                                  .last_offset = 14,
                                  .size = 61 + sizeof(records),
                                  .leader_epoch = -1,
                                  .base_timestamp = 5,
                                  .max_timestamp = 5,
                                  .producer_id = -1,
                                  .producer_epoch = -1,
                                  .base_sequence = -1,
                                  .record_count = 2};
    struct record_iterator *it;
    struct record_batch batch;
    struct varve_record record;
    uint8_t data[128];

    (void)state;
    memcpy(data + 61, records, sizeof(records));
    record_batch_encode(data, &header);
    assert_refused(data, header.size, VARVE_E_CORRUPT, "not a dense batch");
    assert_int_equal(record_batch_check(data, header.size, &batch, NULL), 0);
    assert_int_equal(record_iterator_new(&it, NULL), 0);
    assert_int_equal(record_iterator_start(it, data, &batch, 1024, NULL), 0);
    assert_int_equal(record_iterator_next(it, &record, NULL), 0);
    assert_int_equal(record.offset, 11);
    assert_int_equal(record_iterator_next(it, &record, NULL), 0);
    assert_int_equal(record.offset, 13);
    assert_int_equal(record_iterator_next(it, &record, NULL), VARVE_E_END);

    /* Offsets that go back, or beyond the batch. */
    data[61 + 10] = 2;
    assert_int_equal(record_iterator_start(it, data, &batch, 1024, NULL), 0);
    assert_int_equal(record_iterator_next(it, &record, NULL), 0);
    assert_int_equal(record_iterator_next(it, &record, NULL), VARVE_E_CORRUPT);
    assert_int_equal(record_iterator_next(it, &record, NULL), VARVE_E_CORRUPT);
    data[61 + 10] = 10;
    assert_int_equal(record_iterator_start(it, data, &batch, 1024, NULL), 0);
    assert_int_equal(record_iterator_next(it, &record, NULL), 0);
    assert_int_equal(record_iterator_next(it, &record, NULL), VARVE_E_CORRUPT);
    record_iterator_free(it);
}

static void varints_of_every_length_are_read_and_written(void **state)
{
    uint8_t bytes[10];
    int64_t wide;
    int32_t narrow;

    (void)state;
    for (int shift = 0; shift < 64; shift++) {
        for (int64_t near = -1; near <= 1; near++) {
            int64_t v = (int64_t)((UINT64_C(1) << shift) + (uint64_t)near);
            size_t size = record_varlong_put(bytes, v);
            assert_int_equal(size, record_varlong_size(v));
            assert_int_equal(size, base_varlong_size(v));
            assert_ptr_equal(record_varlong_get(bytes, bytes + size, &wide), bytes + size);
            assert_int_equal(wide, v);
            assert_null(record_varlong_get(bytes, bytes + size - 1, &wide));
            const uint8_t *end = record_varint_get(bytes, bytes + size, &narrow);
            if (v >= INT32_MIN && v <= INT32_MAX) {
                assert_ptr_equal(end, bytes + size);
                assert_int_equal(narrow, v);
            } else {
                assert_null(end);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_of_every_client_and_codec_are_read),
        cmocka_unit_test(attributes_of_kafkas_batches_are_read),
        cmocka_unit_test(a_control_batch_of_kafka_is_valid_and_keeps_its_key),
        cmocka_unit_test(an_encoded_batch_is_byte_for_byte_that_of_the_golden_file_and_of_kafka),
        cmocka_unit_test(the_example_of_the_documentation_is_built_byte_for_byte),
        cmocka_unit_test(each_header_field_that_is_wrong_is_refused_by_its_name),
        cmocka_unit_test(producer_fields_go_together),
        cmocka_unit_test(each_flipped_byte_is_found),
        cmocka_unit_test(a_batch_cut_off_anywhere_is_refused),
        cmocka_unit_test(records_cut_off_anywhere_are_refused_though_the_crc_is_right),
        cmocka_unit_test(what_follows_a_batch_is_not_looked_at),
        cmocka_unit_test(bytes_left_over_inside_a_batch_are_refused),
        cmocka_unit_test(each_record_field_that_is_wrong_is_refused_by_its_name),
        cmocka_unit_test(a_batch_that_unpacks_to_nothing_is_refused_without_arithmetic_on_null),
        cmocka_unit_test(a_record_of_too_many_headers_is_too_large),
        cmocka_unit_test(the_limit_of_decompression_holds_for_every_codec),
        cmocka_unit_test(a_failed_start_leaves_an_iterator_that_is_at_its_end),
        cmocka_unit_test(a_compacted_batch_is_checked_and_iterated_but_not_valid),
        cmocka_unit_test(varints_of_every_length_are_read_and_written),
    };
    return cmocka_run_group_tests_name("record batch", tests, NULL, NULL);
}
