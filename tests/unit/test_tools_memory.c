/* Records read from JSON, with each allocation failing in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/alloc.h"
#include "tools/record_json.h"

#define HEADER_COUNT 40 /* more than the list begins with */

static char *record_text(void)
{
    char *text = malloc(HEADER_COUNT * 40 + 100), *p = text;

    assert_non_null(text);
    p += sprintf(p, "{\"key\":\"k\",\"value\":\"a value\",\"headers\":[");
    for (int i = 0; i < HEADER_COUNT; i++)
        p += sprintf(p, "%s{\"name\":\"h%d\",\"value_base64\":\"eHl6\"}", i > 0 ? "," : "", i);
    sprintf(p, "]}");
    return text;
}

static void a_record_that_memory_is_lacking_for_is_refused_as_that(void **state)
{
    char *text = record_text();
    size_t size = strlen(text);
    uint64_t nth = 0, count;

    (void)state;
    do {
        struct tools_record_json r = {0};
        struct varve_record record = {.timestamp = 77};
        const char *why = NULL;

        nth++;
        support_alloc_fail(nth, false);
        bool ok = tools_record_json_parse(&r, text, size, &record, &why);
        count = support_alloc_stop();
        if (count >= nth) {
            assert_false(ok);
            assert_string_equal(why, "out of memory");
            assert_int_equal(record.timestamp, 77);
            /* What it was read into serves the next record. */
            /* What it was read into serves the next record. */
            ok = tools_record_json_parse(&r, text, size, &record, &why);
        }
        assert_true(ok);
        assert_int_equal(record.value_size, 7);
        assert_memory_equal(record.value, "a value", 7);
        assert_int_equal(record.header_count, HEADER_COUNT);
        assert_int_equal(record.headers[HEADER_COUNT - 1].value_size, 3);
        assert_memory_equal(record.headers[HEADER_COUNT - 1].name, "h39", 3);
        assert_memory_equal(record.headers[HEADER_COUNT - 1].value, "xyz", 3);
        tools_record_json_deinit(&r);
    } while (count >= nth);
    assert_true(nth > 4);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_that_memory_is_lacking_for_is_refused_as_that),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
