#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

static void both_byte_orders_are_what_they_say(void **state)
{
    uint8_t b[8];

    (void)state;
    base_put_be16(b, 0x0102);
    assert_memory_equal(b, "\x01\x02", 2);
    assert_int_equal(base_get_be16(b), 0x0102);
    assert_int_equal(base_get_le16(b), 0x0201);
    base_put_be32(b, 0xf1020304);
    assert_memory_equal(b, "\xf1\x02\x03\x04", 4);
    assert_true(base_get_be32(b) == 0xf1020304);
    base_put_be64(b, UINT64_C(0xf102030405060708));
    assert_memory_equal(b, "\xf1\x02\x03\x04\x05\x06\x07\x08", 8);
    assert_true(base_get_be64(b) == UINT64_C(0xf102030405060708));
    base_put_le16(b, 0x0102);
    assert_memory_equal(b, "\x02\x01", 2);
    base_put_le32(b, 0xf1020304);
    assert_memory_equal(b, "\x04\x03\x02\xf1", 4);
    assert_true(base_get_le32(b) == 0xf1020304);
    base_put_le64(b, UINT64_C(0xf102030405060708));
    assert_memory_equal(b, "\x08\x07\x06\x05\x04\x03\x02\xf1", 8);
    assert_true(base_get_le64(b) == UINT64_C(0xf102030405060708));
}

static void a_cursor_reads_in_turn(void **state)
{
    uint8_t b[1 + 2 + 4 + 8 + 2 + 4 + 8 + 3];
    struct base_cursor c;

    (void)state;
    for (size_t i = 0; i < sizeof(b); i++)
        b[i] = (uint8_t)(i + 1);
    base_cursor_init(&c, b, sizeof(b));
    assert_int_equal(base_cursor_left(&c), sizeof(b));
    assert_int_equal(base_cursor_u8(&c), 1);
    assert_int_equal(base_cursor_le16(&c), 0x0302);
    assert_int_equal(base_cursor_le32(&c), 0x07060504);
    assert_true(base_cursor_le64(&c) == UINT64_C(0x0f0e0d0c0b0a0908));
    assert_int_equal(base_cursor_be16(&c), 0x1011);
    assert_int_equal(base_cursor_be32(&c), 0x12131415);
    assert_true(base_cursor_be64(&c) == UINT64_C(0x161718191a1b1c1d));
    assert_ptr_equal(base_cursor_bytes(&c, 3), b + sizeof(b) - 3);
    assert_int_equal(base_cursor_left(&c), 0);
    assert_false(c.failed);
    assert_non_null(base_cursor_bytes(&c, 0));
    assert_false(c.failed);
}

static void a_cursor_that_overran_stays_failed(void **state)
{
    static const uint8_t b[4] = {1, 2, 3, 4};
    struct base_cursor c;

    (void)state;
    base_cursor_init(&c, b, sizeof(b));
    assert_true(base_cursor_le64(&c) == 0);
    assert_true(c.failed);
    assert_int_equal(base_cursor_u8(&c), 0);
    assert_int_equal(base_cursor_left(&c), 0);
    assert_null(base_cursor_bytes(&c, 0));
    base_cursor_init(&c, b, sizeof(b));
    assert_null(base_cursor_bytes(&c, SIZE_MAX));
    assert_true(c.failed);
    base_cursor_init(&c, NULL, 0);
    assert_int_equal(base_cursor_u8(&c), 0);
    assert_true(c.failed);
}

static void varints_come_back_as_they_were(void **state)
{
    static const int64_t values[] = {0,         -1,        1,         -64,
                                     63,        64,        -65,       8191,
                                     8192,      INT32_MAX, INT32_MIN, (int64_t)INT32_MAX + 1,
                                     INT64_MAX, INT64_MIN};

    (void)state;
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        int64_t v = values[i];
        struct base_cursor c;
        uint8_t b[10];
        size_t size = base_varlong_put(b, v);

        assert_int_equal(size, base_varlong_size(v));
        base_cursor_init(&c, b, size);
        assert_true(base_cursor_varlong(&c) == v);
        assert_false(c.failed);
        assert_int_equal(base_cursor_left(&c), 0);
        base_cursor_init(&c, b, size - 1);
        base_cursor_varlong(&c);
        assert_true(c.failed);
        base_cursor_init(&c, b, size);
        if (v >= INT32_MIN && v <= INT32_MAX) {
            assert_true(base_cursor_varint(&c) == v);
            assert_false(c.failed);
        } else {
            assert_true(base_cursor_varint(&c) == 0);
            assert_true(c.failed);
        }
    }
}

static void varints_are_those_of_the_protocol(void **state)
{
    uint8_t b[10];

    (void)state;
    assert_int_equal(base_varlong_put(b, -1), 1);
    assert_memory_equal(b, "\x01", 1);
    assert_int_equal(base_varlong_put(b, 64), 2);
    assert_memory_equal(b, "\x80\x01", 2);
    assert_int_equal(base_varlong_put(b, INT64_MIN), 10);
    assert_memory_equal(b, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10);
}

static int64_t read_varint(const char *bytes, size_t size, bool *ret_failed)
{
    struct base_cursor c;
    int64_t v;

    base_cursor_init(&c, bytes, size);
    v = base_cursor_varint(&c);
    *ret_failed = c.failed;
    return v;
}

static void a_varint_may_be_padded_but_not_too_long_or_too_large(void **state)
{
    struct base_cursor c;
    bool failed;

    (void)state;
    assert_true(read_varint("\x82\x80\x80\x80\x00", 5, &failed) == 1);
    assert_false(failed);
    read_varint("\x82\x80\x80\x80\x80\x00", 6, &failed);
    assert_true(failed);
    assert_true(read_varint("\xff\xff\xff\xff\x0f", 5, &failed) == INT32_MIN);
    assert_false(failed);
    read_varint("\xff\xff\xff\xff\x1f", 5, &failed);
    assert_true(failed);
    base_cursor_init(&c, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x03", 10);
    base_cursor_varlong(&c);
    assert_true(c.failed);
}

static void a_buffer_grows_and_keeps_what_it_has(void **state)
{
    struct base_buffer b;
    const uint8_t *memory;

    (void)state;
    base_buffer_init(&b);
    base_buffer_u8(&b, 1);
    base_buffer_le16(&b, 0x0302);
    base_buffer_le32(&b, 0x07060504);
    base_buffer_le64(&b, UINT64_C(0x0f0e0d0c0b0a0908));
    assert_int_equal(b.size, 15);
    for (unsigned i = 0; i < 15; i++)
        assert_int_equal(b.data[i], i + 1);
    base_buffer_add(&b, NULL, 0);
    for (int i = 0; i < 1000; i++)
        base_buffer_add(&b, "0123456789", 10);
    assert_int_equal(b.size, 10015);
    assert_memory_equal(b.data + 10005, "0123456789", 10);
    assert_int_equal(b.data[14], 15);
    memory = b.data;
    base_buffer_clear(&b);
    assert_int_equal(b.size, 0);
    assert_ptr_equal(base_buffer_extend(&b, 10015), memory);
    base_buffer_deinit(&b);
    assert_null(b.data);
}

static void a_buffer_that_cannot_grow_stays_failed(void **state)
{
    struct base_buffer b;

    (void)state;
    base_buffer_init(&b);
    base_buffer_u8(&b, 1);
    assert_null(base_buffer_extend(&b, SIZE_MAX));
    assert_true(b.failed);
    base_buffer_u8(&b, 2);
    assert_null(base_buffer_extend(&b, 0));
    assert_int_equal(b.size, 1);
    assert_int_equal(b.data[0], 1);
    base_buffer_deinit(&b);
}

static void extending_an_empty_buffer_by_nothing_is_no_failure(void **state)
{
    struct base_buffer b;

    (void)state;
    base_buffer_init(&b);
    assert_non_null(base_buffer_extend(&b, 0));
    assert_false(b.failed);
    base_buffer_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_byte_orders_are_what_they_say),
        cmocka_unit_test(a_cursor_reads_in_turn),
        cmocka_unit_test(a_cursor_that_overran_stays_failed),
        cmocka_unit_test(varints_come_back_as_they_were),
        cmocka_unit_test(varints_are_those_of_the_protocol),
        cmocka_unit_test(a_varint_may_be_padded_but_not_too_long_or_too_large),
        cmocka_unit_test(a_buffer_grows_and_keeps_what_it_has),
        cmocka_unit_test(a_buffer_that_cannot_grow_stays_failed),
        cmocka_unit_test(extending_an_empty_buffer_by_nothing_is_no_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
