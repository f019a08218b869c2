/* The sparse index: building, encoding, finding, and every kind of damage. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "index/sparse.h"
#include "tests/support/data.h"

#define BASE 5000
#define COUNT 40

static struct index_sparse_entry some_entry(size_t i)
{
    return (struct index_sparse_entry){
        .first_offset = BASE + (int64_t)i * 10,
        .end_offset = BASE + (int64_t)(i + 1) * 10,
        .pos = (uint32_t)i * 4096,
        .size = 4096,
        .max_timestamp = i == 7 ? 9999999 : 1000 + (int64_t)i * 100,
    };
}

static size_t build(uint8_t *buf)
{
    uint8_t *p = buf + INDEX_SPARSE_HEADER_SIZE;

    index_sparse_header_encode(BASE, buf);
    for (size_t i = 0; i < COUNT; i++, p += INDEX_SPARSE_ENTRY_SIZE) {
        struct index_sparse_entry e = some_entry(i);
        index_sparse_entry_encode(BASE, &e, p);
    }
    return (size_t)(p - buf);
}

static uint8_t bytes[INDEX_SPARSE_HEADER_SIZE + COUNT * INDEX_SPARSE_ENTRY_SIZE];
static struct index_sparse sparse;

static int setup(void **state)
{
    (void)state;
    assert_int_equal(build(bytes), sizeof(bytes));
    return index_sparse_init(&sparse, bytes, sizeof(bytes), BASE, NULL);
}

static void the_golden_file_is_what_is_encoded(void **state)
{
    (void)state;
    assert_true(support_data_equal("index/sparse-v1.bin", bytes, sizeof(bytes)));
}

static void an_interval_closes_with_the_batch_that_fills_it(void **state)
{
    struct index_sparse_builder b;
    struct index_sparse_entry e = {0};

    (void)state;
    index_sparse_builder_init(&b, 100, 1000);
    assert_false(index_sparse_builder_finish(&b, &e));
    assert_false(index_sparse_builder_add(&b, 100, 105, 0, 600, 50, &e));
    assert_true(index_sparse_builder_add(&b, 105, 107, 600, 400, 40, &e));
    assert_int_equal(e.first_offset, 100);
    assert_int_equal(e.end_offset, 107);
    assert_int_equal(e.pos, 0);
    assert_int_equal(e.size, 1000);
    assert_int_equal(e.max_timestamp, 50);

    /* X2: the next interval's maximum is its own. */
    assert_false(index_sparse_builder_add(&b, 107, 108, 1000, 999, 10, &e));
    assert_true(index_sparse_builder_finish(&b, &e));
    assert_int_equal(e.first_offset, 107);
    assert_int_equal(e.pos, 1000);
    assert_int_equal(e.size, 999);
    assert_int_equal(e.max_timestamp, 10);
    assert_false(index_sparse_builder_finish(&b, &e));
}

static void each_offset_is_found_in_its_interval(void **state)
{
    (void)state;
    for (int64_t offset = BASE; offset < BASE + COUNT * 10; offset++) {
        struct index_sparse_entry e;
        size_t i;
        assert_int_equal(index_sparse_find_offset(&sparse, offset, &i, &e, NULL), 0);
        assert_int_equal(i, (offset - BASE) / 10);
        assert_true(e.first_offset <= offset && offset < e.end_offset);
    }
}

static void offsets_outside_are_conditions(void **state)
{
    struct index_sparse_entry e = {.pos = 77};
    size_t i = 99;
    struct varve_error err;

    (void)state;
    assert_int_equal(index_sparse_find_offset(&sparse, BASE + COUNT * 10, &i, &e, &err),
                     VARVE_E_NOT_FOUND);
    assert_non_null(strstr(err.msg, "lies behind its last entry"));
    assert_int_equal(index_sparse_find_offset(&sparse, BASE - 1, &i, &e, &err),
                     VARVE_E_OUT_OF_RANGE);
    assert_int_equal(i, 99);
    assert_int_equal(e.pos, 77);
}

static void a_time_is_found_by_each_intervals_own_maximum(void **state)
{
    struct index_sparse_entry e;
    size_t i = 99;

    (void)state;
    assert_int_equal(index_sparse_find_time(&sparse, 0, 1200, BASE, &i, &e, NULL), 0);
    assert_int_equal(i, 2);
    assert_int_equal(index_sparse_find_time(&sparse, 0, 1900, BASE, &i, &e, NULL), 0);
    assert_int_equal(i, 7); /* dated far ahead */
    assert_int_equal(index_sparse_find_time(&sparse, 8, 1900, BASE, &i, &e, NULL), 0);
    assert_int_equal(i, 9);
    assert_int_equal(index_sparse_find_time(&sparse, 0, 1900, BASE + 80, &i, &e, NULL), 0);
    assert_int_equal(i, 9);
    assert_int_equal(index_sparse_find_time(&sparse, 0, 1900, BASE + 79, &i, &e, NULL), 0);
    assert_int_equal(i, 7);
    assert_int_equal(index_sparse_find_time(&sparse, 8, 9999999, BASE, &i, &e, NULL),
                     VARVE_E_NOT_FOUND);
    assert_int_equal(i, 7);
    assert_int_equal(index_sparse_find_time(&sparse, 0, 0, INT64_MAX, &i, &e, NULL),
                     VARVE_E_NOT_FOUND);
}

static void a_torn_last_entry_does_not_exist(void **state)
{
    struct index_sparse s;
    uint32_t pos;
    int64_t offset;

    (void)state;
    for (size_t cut = 1; cut < INDEX_SPARSE_ENTRY_SIZE; cut++) {
        assert_int_equal(index_sparse_init(&s, bytes, sizeof(bytes) - cut, BASE, NULL), 0);
        assert_int_equal(s.count, COUNT - 1);
    }
    assert_int_equal(index_sparse_end_pos(&s, &pos, &offset, NULL), 0);
    assert_int_equal(pos, (COUNT - 1) * 4096);
    assert_int_equal(offset, BASE + (COUNT - 1) * 10);
}

static void an_empty_index_sends_to_the_segments_start(void **state)
{
    struct index_sparse s;
    struct index_sparse_entry e;
    uint32_t pos = 9;
    int64_t offset = 9;
    size_t i;

    (void)state;
    assert_int_equal(index_sparse_init(&s, bytes, INDEX_SPARSE_HEADER_SIZE, BASE, NULL), 0);
    assert_int_equal(index_sparse_end_pos(&s, &pos, &offset, NULL), 0);
    assert_int_equal(pos, 0);
    assert_int_equal(offset, BASE);
    assert_int_equal(index_sparse_find_offset(&s, BASE, &i, &e, NULL), VARVE_E_NOT_FOUND);
    assert_int_equal(index_sparse_check(&s, NULL), 0);
}

static void every_flipped_bit_of_the_header_is_found(void **state)
{
    struct index_sparse s;

    (void)state;
    for (size_t bit = 0; bit < INDEX_SPARSE_HEADER_SIZE * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(index_sparse_init(&s, bytes, sizeof(bytes), BASE, NULL), VARVE_E_CORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void every_flipped_bit_of_an_entry_is_found_when_it_is_used(void **state)
{
    size_t pos = INDEX_SPARSE_HEADER_SIZE + 3 * INDEX_SPARSE_ENTRY_SIZE;
    struct index_sparse_entry e;
    size_t i;

    (void)state;
    for (size_t bit = pos * 8; bit < (pos + INDEX_SPARSE_ENTRY_SIZE) * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(index_sparse_get(&sparse, 3, &e, NULL), VARVE_E_CORRUPT);
        assert_int_equal(index_sparse_find_offset(&sparse, BASE + 35, &i, &e, NULL),
                         VARVE_E_CORRUPT);
        assert_int_equal(index_sparse_find_time(&sparse, 0, 1300, BASE, &i, &e, NULL),
                         VARVE_E_CORRUPT);
        assert_int_equal(index_sparse_check(&sparse, NULL), VARVE_E_CORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(index_sparse_check(&sparse, NULL), 0);
}

static void the_index_of_another_segment_is_refused(void **state)
{
    struct index_sparse s;
    struct varve_error err;

    (void)state;
    assert_int_equal(index_sparse_init(&s, bytes, sizeof(bytes), BASE + 1, &err), VARVE_E_CORRUPT);
    assert_string_equal(err.msg, "sparse index: of the segment at offset 5000, not 5001");

    /* X3: nor is an entry taken from it. */
    index_sparse_header_encode(BASE + 1, bytes);
    assert_int_equal(index_sparse_init(&s, bytes, sizeof(bytes), BASE + 1, NULL), 0);
    assert_int_equal(index_sparse_check(&s, NULL), VARVE_E_CORRUPT);
}

static void a_hole_between_intervals_is_found(void **state)
{
    struct index_sparse_entry e = some_entry(5);
    size_t i;

    (void)state;
    e.first_offset++;
    index_sparse_entry_encode(BASE, &e,
                              bytes + INDEX_SPARSE_HEADER_SIZE + 5 * INDEX_SPARSE_ENTRY_SIZE);
    assert_int_equal(index_sparse_check(&sparse, NULL), VARVE_E_CORRUPT);
    assert_int_equal(index_sparse_find_offset(&sparse, BASE + 50, &i, &e, NULL), VARVE_E_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_golden_file_is_what_is_encoded, setup),
        cmocka_unit_test_setup(an_interval_closes_with_the_batch_that_fills_it, setup),
        cmocka_unit_test_setup(each_offset_is_found_in_its_interval, setup),
        cmocka_unit_test_setup(offsets_outside_are_conditions, setup),
        cmocka_unit_test_setup(a_time_is_found_by_each_intervals_own_maximum, setup),
        cmocka_unit_test_setup(a_torn_last_entry_does_not_exist, setup),
        cmocka_unit_test_setup(an_empty_index_sends_to_the_segments_start, setup),
        cmocka_unit_test_setup(every_flipped_bit_of_the_header_is_found, setup),
        cmocka_unit_test_setup(every_flipped_bit_of_an_entry_is_found_when_it_is_used, setup),
        cmocka_unit_test_setup(the_index_of_another_segment_is_refused, setup),
        cmocka_unit_test_setup(a_hole_between_intervals_is_found, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
