#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

static void whole_numbers_only(void **state)
{
    static const char *const bad[] = {"",
                                      "-",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1x",
                                      "0x1",
                                      "--1",
                                      "1.5",
                                      "9223372036854775808",
                                      "-9223372036854775809"};
    int64_t v = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(base_parse_i64(bad[i], &v));
    assert_int_equal(v, 7);
    assert_true(base_parse_i64("-1", &v) && v == -1);
    assert_true(base_parse_i64("042", &v) && v == 42);
    assert_true(base_parse_i64("9223372036854775807", &v) && v == INT64_MAX);
    assert_true(base_parse_i64("-9223372036854775808", &v) && v == INT64_MIN);
}

static void sizes_take_their_units(void **state)
{
    static const char *const bad[] = {
        "", "k", "1 k", "1kb", "1KB", "1kk", "1m", "9007199254740992M", "-9007199254740992G"};
    int64_t v = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(base_parse_size(bad[i], &v));
    assert_int_equal(v, 7);
    assert_true(base_parse_size("65536", &v) && v == 65536);
    assert_true(base_parse_size("-1", &v) && v == -1);
    assert_true(base_parse_size("3k", &v) && v == 3072);
    assert_true(base_parse_size("3KiB", &v) && v == 3072);
    assert_true(base_parse_size("2M", &v) && v == 2 << 20);
    assert_true(base_parse_size("2MiB", &v) && v == 2 << 20);
    assert_true(base_parse_size("1G", &v) && v == 1 << 30);
    assert_true(base_parse_size("1GiB", &v) && v == 1 << 30);
    assert_true(base_parse_size("1T", &v) && v == INT64_C(1) << 40);
    assert_true(base_parse_size("8TiB", &v) && v == INT64_C(8) << 40);
}

static void durations_take_their_units(void **state)
{
    int64_t v = 7;

    (void)state;
    assert_false(base_parse_duration_ms("1w", &v));
    assert_false(base_parse_duration_ms("s", &v));
    assert_false(base_parse_duration_ms("106751991168d", &v));
    assert_int_equal(v, 7);
    assert_true(base_parse_duration_ms("250", &v) && v == 250);
    assert_true(base_parse_duration_ms("250ms", &v) && v == 250);
    assert_true(base_parse_duration_ms("-1", &v) && v == -1);
    assert_true(base_parse_duration_ms("2s", &v) && v == 2000);
    assert_true(base_parse_duration_ms("2m", &v) && v == 120000);
    assert_true(base_parse_duration_ms("2h", &v) && v == 7200000);
    assert_true(base_parse_duration_ms("7d", &v) && v == 604800000);
}

static void times_of_all_forms_are_read(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"1970-01-01", 0},
        {"1970-01-01T00:00:00Z", 0},
        {"2015-05-18", INT64_C(1431907200000)},
        {"2015-05-18T01:02", INT64_C(1431910920000)},
        {"2015-05-18 01:02:03", INT64_C(1431910923000)},
        {"2015-05-18t01:02:03z", INT64_C(1431910923000)},
        {"2015-05-18T01:02:03.5Z", INT64_C(1431910923500)},
        {"2015-05-18T01:02:03,123456789Z", INT64_C(1431910923123)},
        {"2015-05-18T01:02:03+01:00", INT64_C(1431907323000)},
        {"2015-05-18T01:02:03-0130", INT64_C(1431916323000)},
        {"2015-05-18T01:02:03+01", INT64_C(1431907323000)},
        {"2016-02-29T00:00:00Z", INT64_C(1456704000000)},
        {"2016-12-31T23:59:60Z", INT64_C(1483228800000)},
        {"1969-12-31T23:59:59.999Z", -1},
        {"0000-01-01", INT64_C(-62167219200000)},
        {"9999-12-31T23:59:59.999Z", INT64_C(253402300799999)},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms = 7;

        assert_true(base_parse_iso8601(cases[i].text, strlen(cases[i].text), &ms));
        assert_int_equal(ms, cases[i].ms);
    }
}

static void what_is_no_time_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "2015",
        "2015-05",
        "2015-5-18",
        "2015-00-18",
        "2015-13-18",
        "2015-05-00",
        "2015-05-32",
        "2015-02-29",
        "1900-02-29",
        "2015-05-18T",
        "2015-05-18T01",
        "2015-05-18T24:00",
        "2015-05-18T01:60",
        "2015-05-18T01:02:61",
        "2015-05-18T01:02:03.",
        "2015-05-18T01:02:03.Z",
        "2015-05-18T01:02:03Zx",
        "2015-05-18T01:02:03+1",
        "2015-05-18T01:02:03+01:",
        "2015-05-18T01:02:03+01:60",
        "2015-05-18T01:02:03+24:00",
        "2015-05-18Z",
        " 2015-05-18",
        "2015-05-18 ",
        "-015-05-18",
        "18/May/2015",
    };
    int64_t ms = 7;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(base_parse_iso8601(bad[i], strlen(bad[i]), &ms));
    assert_int_equal(ms, 7);
    assert_true(base_parse_iso8601("2015-05-18trailing", 10, &ms)); /* the size is what counts */
}

static void times_are_written_as_they_are_read(void **state)
{
    char text[BASE_TIME_TEXT_SIZE];

    (void)state;
    base_format_time(INT64_C(1431910923123), text);
    assert_string_equal(text, "2015-05-18T01:02:03.123Z");
    base_format_time(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    base_format_time(-1, text);
    assert_string_equal(text, "-");
    base_format_time(INT64_MAX, text);
    assert_string_equal(text, "292278994-08-17T07:12:55.807Z");
    /* Every day of 400 years, at a time that moves. */
    for (int64_t day = 0; day < 146097; day++) {
        int64_t ms = day * 86400000 + day * 589 % 86400000, back;

        base_format_time(ms, text);
        assert_true(base_parse_iso8601(text, strlen(text), &back));
        assert_true(back == ms);
    }
}

static void sizes_are_written_for_people(void **state)
{
    static const struct {
        uint64_t size;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {1536, "1.5 KiB"},
        {1048575, "1.0 MiB"},
        {1048576, "1.0 MiB"},
        {UINT64_C(1610612736), "1.5 GiB"},
        {UINT64_C(1023) << 40, "1023.0 TiB"},
        {UINT64_MAX, "16.0 EiB"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[16];

        base_format_size(cases[i].size, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void format_gives_fresh_memory(void **state)
{
    char *text;

    (void)state;
    assert_int_equal(base_format(&text, NULL, "%s/%020d.log", "a", 7), 0);
    assert_string_equal(text, "a/00000000000000000007.log");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_numbers_only),
        cmocka_unit_test(sizes_take_their_units),
        cmocka_unit_test(durations_take_their_units),
        cmocka_unit_test(times_of_all_forms_are_read),
        cmocka_unit_test(what_is_no_time_is_refused),
        cmocka_unit_test(times_are_written_as_they_are_read),
        cmocka_unit_test(sizes_are_written_for_people),
        cmocka_unit_test(format_gives_fresh_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
