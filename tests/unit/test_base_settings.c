#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/text.h"
#include "tests/support/data.h"

#define MAGIC "varve-store"
#define GOLDEN "settings-v1.txt"

static struct base_settings *golden_settings(void)
{
    struct base_settings *s = base_settings_new();

    assert_non_null(s);
    assert_int_equal(base_settings_set(s, "id", "000102030405060708090a0b0c0d0e0f", NULL), 0);
    assert_int_equal(base_settings_set(s, "cold", "file:///var/lib/archive", NULL), 0);
    assert_int_equal(base_settings_set(s, "lease.ms", "0", NULL), 0);
    assert_int_equal(base_settings_set(s, "empty", "", NULL), 0);
    return s;
}

static void the_golden_file_is_written_and_read(void **state)
{
    struct base_settings *s = golden_settings(), *back;
    char *text;
    size_t size;

    (void)state;
    assert_int_equal(base_settings_encode(s, MAGIC, 1, &text, &size, NULL), 0);
    assert_true(support_data_equal(GOLDEN, text, size));
    assert_int_equal(base_settings_decode(text, size, MAGIC, 1, &back, NULL), 0);
    assert_string_equal(base_settings_get(back, "cold"), "file:///var/lib/archive");
    assert_string_equal(base_settings_get(back, "empty"), "");
    assert_null(base_settings_get(back, "gone"));
    assert_null(base_settings_get(back, "crc32c"));
    free(text);
    assert_null(base_settings_free(back));
    base_settings_free(s);
    assert_null(base_settings_free(NULL));
}

/* T2 */
static void every_flipped_bit_and_every_cut_is_corrupt(void **state)
{
    struct base_settings *s = (struct base_settings *)&s;
    void *const untouched = s;
    size_t size;
    char *text = support_data_read(GOLDEN, &size);

    (void)state;
    for (size_t i = 0; i < size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            struct varve_error err = {0};

            text[i] ^= (char)(1 << bit);
            assert_int_equal(base_settings_decode(text, size, MAGIC, 1, &s, &err), VARVE_E_CORRUPT);
            assert_int_equal(err.code, VARVE_E_CORRUPT);
            assert_non_null(strstr(err.msg, MAGIC));
            text[i] ^= (char)(1 << bit);
        }
        assert_int_equal(base_settings_decode(text, i, MAGIC, 1, &s, NULL), VARVE_E_CORRUPT);
    }
    assert_ptr_equal(s, untouched);
    free(text);
}

/* Decodes `lines` with a right checksum line behind them. */
static int decode_lines(const char *lines, struct base_settings **ret, struct varve_error *err)
{
    char text[4096];
    int size = snprintf(text, sizeof(text), "%scrc32c = %08x\n", lines,
                        base_crc32c(0, lines, strlen(lines)));

    return base_settings_decode(text, (size_t)size, MAGIC, 2, ret, err);
}

static void what_is_not_valid_is_named(void **state)
{
    static const struct {
        const char *lines;
        int code;
        const char *message;
    } cases[] = {
        {"varve-log 1\n", VARVE_E_CORRUPT, "bad magic"},
        {"varve-store\n", VARVE_E_CORRUPT, "bad magic"},
        {"varve-store2 1\n", VARVE_E_CORRUPT, "bad magic"},
        {"varve-store 1", VARVE_E_CORRUPT, "the first line does not end"},
        {"varve-store 0\n", VARVE_E_CORRUPT, "bad version"},
        {"varve-store -1\n", VARVE_E_CORRUPT, "bad version"},
        {"varve-store 01\n", VARVE_E_CORRUPT, "bad version"},
        {"varve-store 1 \n", VARVE_E_CORRUPT, "bad version"},
        {"varve-store 11111111111111111111111111\n", VARVE_E_CORRUPT, "bad version"},
        {"varve-store \n", VARVE_E_CORRUPT, "bad version"},
        {"varve-store 3\n", VARVE_E_VERSION, "version 3, this library reads up to 2"},
        {"varve-store 3\n???\n", VARVE_E_VERSION, "version 3"},
        {"varve-store 1\nname\n", VARVE_E_CORRUPT, "not \"name = value\""},
        {"varve-store 1\nname=value\n", VARVE_E_CORRUPT, "not \"name = value\""},
        {"varve-store 1\n = value\n", VARVE_E_CORRUPT, "bad name"},
        {"varve-store 1\na b = value\n", VARVE_E_CORRUPT, "bad name"},
        {"varve-store 1\ncrc32c = 00000000\n", VARVE_E_CORRUPT, "bad name"},
        {"varve-store 1\nname = a\tb\n", VARVE_E_CORRUPT, "bad value of setting name"},
        {"varve-store 1\nname = a\r\n", VARVE_E_CORRUPT, "bad value of setting name"},
        {"varve-store 1\nname = 1\nname = 1\n", VARVE_E_CORRUPT, "name is there twice"},
        {"varve-store 1\nname = 1", VARVE_E_CORRUPT, "before the checksum does not end"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct varve_error err = {0};
        struct base_settings *s = NULL;

        assert_int_equal(decode_lines(cases[i].lines, &s, &err), cases[i].code);
        assert_null(s);
        if (!strstr(err.msg, cases[i].message))
            fail_msg("\"%s\" does not hold \"%s\"", err.msg, cases[i].message);
    }
}

static void comments_empty_lines_and_unknown_names_are_no_matter(void **state)
{
    struct base_settings *s;

    (void)state;
    assert_int_equal(
        decode_lines("varve-store 2\n# crc32c = 0\n\nA.b_c-9 =  = x = \xc3\xa9 \n", &s, NULL), 0);
    assert_string_equal(base_settings_get(s, "A.b_c-9"), " = x = \xc3\xa9 ");
    base_settings_free(s);
}

static void nothing_may_follow_the_checksum(void **state)
{
    struct varve_error err = {0};
    struct base_settings *s = NULL;
    size_t size;
    char *text = support_data_read(GOLDEN, &size);
    char *longer = malloc(size + 1);

    (void)state;
    assert_non_null(longer);
    memcpy(longer, text, size);
    longer[size] = '\n';
    assert_int_equal(base_settings_decode(longer, size + 1, MAGIC, 1, &s, &err), VARVE_E_CORRUPT);
    assert_non_null(strstr(err.msg, "no checksum line"));
    free(longer);
    free(text);
}

/* T3 */
static void what_no_file_can_hold_is_refused(void **state)
{
    struct base_settings *s = base_settings_new();
    char name[BASE_SETTINGS_NAME_SIZE_MAX + 2];
    char *value = malloc(BASE_SETTINGS_VALUE_SIZE_MAX + 2);
    struct varve_error err;

    (void)state;
    assert_non_null(value);
    assert_int_equal(base_settings_set(s, "", "x", &err), VARVE_E_INVALID);
    assert_int_equal(base_settings_set(s, "a b", "x", &err), VARVE_E_INVALID);
    assert_non_null(strstr(err.msg, "\"a b\""));
    assert_int_equal(base_settings_set(s, "crc32c", "x", &err), VARVE_E_INVALID);
    assert_int_equal(base_settings_set(s, "a", "x\ny", &err), VARVE_E_INVALID);
    assert_int_equal(base_settings_set(s, "a", "\x7f", &err), VARVE_E_INVALID);
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(base_settings_set(s, name, "x", &err), VARVE_E_INVALID);
    assert_int_equal(base_settings_set(s, name + 1, "x", &err), 0);
    memset(value, 'v', BASE_SETTINGS_VALUE_SIZE_MAX + 1);
    value[BASE_SETTINGS_VALUE_SIZE_MAX + 1] = '\0';
    assert_int_equal(base_settings_set(s, "a", value, &err), VARVE_E_INVALID);
    assert_int_equal(base_settings_set(s, "a", value + 1, &err), 0);
    assert_string_equal(base_settings_get(s, "a"), value + 1);
    free(value);
    base_settings_free(s);
}

static void the_count_has_a_limit(void **state)
{
    struct base_settings *s = base_settings_new();
    struct varve_error err;
    char name[16];

    (void)state;
    for (int i = 0; i < BASE_SETTINGS_COUNT_MAX; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        assert_int_equal(base_settings_set(s, name, "v", &err), 0);
    }
    assert_int_equal(base_settings_set(s, "more", "v", &err), VARVE_E_TOO_LARGE);
    assert_int_equal(base_settings_set(s, "n7", "w", &err), 0);
    assert_string_equal(base_settings_get(s, "n7"), "w");
    base_settings_free(s);
}

static void collect(void *arg, const char *name, const char *value)
{
    char *text = arg;

    snprintf(text + strlen(text), 128 - strlen(text), "%s=%s;", name, value);
}

/* T1 */
static void a_replaced_value_keeps_its_place(void **state)
{
    struct base_settings *s = base_settings_new(), *back;
    char order[128] = "";
    char *text;
    size_t size;

    (void)state;
    base_settings_set(s, "b", "1", NULL);
    base_settings_set(s, "a", "2", NULL);
    base_settings_set(s, "b", "3", NULL);
    assert_int_equal(base_settings_encode(s, MAGIC, 1, &text, &size, NULL), 0);
    assert_int_equal(base_settings_decode(text, size, MAGIC, 1, &back, NULL), 0);
    base_settings_each(back, collect, order);
    assert_string_equal(order, "b=3;a=2;");
    free(text);
    base_settings_free(back);
    base_settings_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_golden_file_is_written_and_read),
        cmocka_unit_test(every_flipped_bit_and_every_cut_is_corrupt),
        cmocka_unit_test(what_is_not_valid_is_named),
        cmocka_unit_test(comments_empty_lines_and_unknown_names_are_no_matter),
        cmocka_unit_test(nothing_may_follow_the_checksum),
        cmocka_unit_test(what_no_file_can_hold_is_refused),
        cmocka_unit_test(the_count_has_a_limit),
        cmocka_unit_test(a_replaced_value_keeps_its_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
