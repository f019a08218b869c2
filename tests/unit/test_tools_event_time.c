#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tools/event_time.h"
#include "tools/text.h"

#define MAY_17 INT64_C(1431857103000) /* 2015-05-17T10:05:03Z */

static void expect(const char *format, const char *field, const char *text, int64_t wanted)
{
    struct tools_event_time t;
    int64_t ms = -7;
    bool found;

    assert_true(tools_event_time_init(&t, format, field));
    found = tools_event_time_find(&t, text, strlen(text), &ms);
    if (found != (wanted >= 0) || ms != (wanted >= 0 ? wanted : -7))
        fail_msg("%s in \"%s\": %lld, wanted %lld", format ? format : "no format", text,
                 (long long)ms, (long long)wanted);
}

static void apache_times_are_found_in_a_line(void **state)
{
    (void)state;
    expect("apache", NULL, "83.149.9.216 - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200",
           MAY_17);
    expect("apache", NULL, "[x] [17/May/2015:12:05:03 +0200] y", MAY_17);
    expect("apache", NULL, "[17/May/2015:04:35:03 -0530]", MAY_17);
    expect("apache", NULL, "17/May/2015:10:05:03 +0000", MAY_17);
    expect("apache", NULL, "[17/Mai/2015:10:05:03 +0000]", -1);
    expect("apache", NULL, "[17/May/2015:25:05:03 +0000]", -1);
    expect("apache", NULL, "[17/May/2015:10:05:03 +0000", MAY_17);
    expect("apache", NULL, "[17/May/2015:10:05:03 +000", -1);
    expect("apache", NULL, "", -1);
}

static void iso8601_times_are_found_in_a_line(void **state)
{
    (void)state;
    expect("iso8601", NULL, "2015-05-17T10:05:03Z", MAY_17);
    expect("iso8601", NULL, "2015-05-17 10:05:03 startup archives unpack", MAY_17);
    expect("iso8601", NULL, "update-alternatives 2015-05-17 10:05:03: run with", MAY_17);
    expect("iso8601", NULL, "[2015-05-17T12:05:03.123+02:00] x", MAY_17 + 123);
    expect("iso8601", NULL, "2015-05-17 10:05:03,123 INFO", MAY_17 + 123);
    expect("iso8601", NULL, "2015-05-17T04:35:03-0530", MAY_17);
    expect("iso8601", NULL, "2015-05-17T10:05", MAY_17 - 3000);
    expect("iso8601", NULL, "on 2015-05-17.", MAY_17 - 36303000);
    expect("iso8601", NULL, "12015-05-17T10:05:03Z", -1);
    expect("iso8601", NULL, "2015-13-17T10:05:03Z", -1);
    expect("iso8601", NULL, "1234-5678-90 then 2015-05-17T10:05:03Z", MAY_17);
    expect("iso8601", NULL, "nothing here", -1);
    expect("iso8601", NULL, "2015-05-1", -1);
}

static void epochs_stand_at_the_beginning(void **state)
{
    (void)state;
    expect("epoch_ms", NULL, "1431857103000 GET /", MAY_17);
    expect("epoch_s", NULL, "1431857103 GET /", MAY_17);
    expect("epoch_s", NULL, " 1431857103.1239 GET /", MAY_17 + 123);
    expect("epoch_s", NULL, "1431857103. GET", MAY_17);
    expect("epoch_s", NULL, "GET 1431857103", -1);
    expect("epoch_ms", NULL, "99999999999999999999", -1);
    expect("epoch_s", NULL, "999999999999999999", -1);
}

static void patterns_are_those_of_strptime(void **state)
{
    (void)state;
    expect("%d.%m.%Y %H:%M:%S", NULL, "INFO 17.05.2015 10:05:03 x", MAY_17);
    expect("%d.%m.%Y %H:%M:%S", NULL, "17.05.2015 10:05:03.25", MAY_17 + 250);
    expect("%Y/%m/%d %H:%M:%S %z", NULL, "2015/05/17 12:05:03 +0200", MAY_17);
    expect("%Y/%m/%d", NULL, "no", -1);
    expect("[%Y", NULL, "[2015", 1420070400000);
}

static void a_field_of_json_holds_the_time(void **state)
{
    (void)state;
    expect(NULL, "timestamp", "{\"timestamp\":1431857103000}", MAY_17);
    expect(NULL, "timestamp", "{\"timestamp\":1431857103}", MAY_17);
    expect(NULL, "timestamp", "{\"timestamp\":1431857103.5}", MAY_17 + 500);
    expect(NULL, "timestamp", "{\"timestamp\":\"2015-05-17T10:05:03Z\"}", MAY_17);
    expect(NULL, "a.t", "{\"t\":1,\"a\":{\"t\":1431857103000}}", MAY_17);
    expect("epoch_ms", "t", "{\"t\":\"1431857103000\"}", MAY_17);
    expect("epoch_ms", "t", "{\"t\":5}", 5);
    expect("%d.%m.%Y %H:%M:%S", "t", "{\"t\":\"17.05.2015 10:05:03\"}", MAY_17);
    expect(NULL, "timestamp", "{\"time\":1}", -1);
    expect(NULL, "timestamp", "{\"timestamp\":null}", -1);
    expect(NULL, "timestamp", "{\"timestamp\":-5}", -1);
    expect(NULL, "timestamp", "no json", -1);
}

static void a_format_that_is_none_is_refused(void **state)
{
    struct tools_event_time t;

    (void)state;
    assert_false(tools_event_time_init(&t, "apach", NULL));
    assert_false(tools_event_time_init(&t, "", NULL));
}

static void figures_are_short(void **state)
{
    char text[TOOLS_SHORT_SIZE], count[TOOLS_COUNT_SIZE];

    (void)state;
    tools_size_short(0, text);
    assert_string_equal(text, "0B");
    tools_size_short(1023, text);
    assert_string_equal(text, "1.0K");
    tools_size_short(2370789, text);
    assert_string_equal(text, "2.3M");
    tools_size_short(UINT64_MAX, text);
    assert_string_equal(text, "16.0E");
    tools_ratio_short(100, 0, text);
    assert_string_equal(text, "-");
    tools_ratio_short(98, 10, text);
    assert_string_equal(text, "9.8x");
    tools_age_short(0, text);
    assert_string_equal(text, "-");
    tools_age_short(125000, text);
    assert_string_equal(text, "2m 5s");
    tools_count_text(0, count);
    assert_string_equal(count, "0");
    tools_count_text(1234567, count);
    assert_string_equal(count, "1,234,567");
    tools_count_text(UINT64_MAX, count);
    assert_string_equal(count, "18,446,744,073,709,551,615");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(apache_times_are_found_in_a_line),
        cmocka_unit_test(iso8601_times_are_found_in_a_line),
        cmocka_unit_test(epochs_stand_at_the_beginning),
        cmocka_unit_test(patterns_are_those_of_strptime),
        cmocka_unit_test(a_field_of_json_holds_the_time),
        cmocka_unit_test(a_format_that_is_none_is_refused),
        cmocka_unit_test(figures_are_short),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
