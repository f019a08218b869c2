#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "tools/output.h"
#include "tools/record_json.h"
#include "tools/text.h"

static bool parses(const char *text)
{
    struct base_json v;

    return base_json_parse(text, strlen(text), &v);
}

static void only_json_is_json(void **state)
{
    static const char *const good[] = {
        "{}",
        "[]",
        " 1 ",
        "-0.5e+10",
        "\"\"",
        "null",
        "[1,[2,{}]]",
        "true",
        "false",
        "0",
        "\"\\u00e9\"",
        "{\"a\":{\"b\":[]},\"c\":1}",
        "\t{ \"a\" :\n1 , \"b\" : [ ] }\r",
    };
    static const char *const bad[] = {
        "",     "{",        "}",          "[1,]", "{\"a\"}", "{\"a\":}",  "{a:1}", "01",
        "1.",   "-",        "1e",         "\"",   "\"\\x\"", "\"\\u12\"", "nul",   "[1 2]",
        "{}{}", "\"a\nb\"", "{\"a\":1,}", "+1",   ".5",      "[",         "tru",   "\"\\",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(parses(good[i]));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(parses(bad[i]));
}

static void depth_is_bounded(void **state)
{
    char text[2 * BASE_JSON_DEPTH_MAX + 3];
    size_t depth = BASE_JSON_DEPTH_MAX;

    (void)state;
    memset(text, '[', depth);
    memset(text + depth, ']', depth);
    text[2 * depth] = '\0';
    assert_true(parses(text));
    memset(text, '[', depth + 1);
    memset(text + depth + 1, ']', depth + 1);
    text[2 * depth + 2] = '\0';
    assert_false(parses(text));
}

static void expect_found(const char *text, const char *path, const char *wanted)
{
    struct base_json v;

    if (!wanted) {
        assert_false(base_json_find(text, strlen(text), path, &v));
        return;
    }
    assert_true(base_json_find(text, strlen(text), path, &v));
    assert_int_equal(v.size, strlen(wanted));
    assert_memory_equal(v.data, wanted, v.size);
}

static void a_dotted_path_is_found_where_it_lies(void **state)
{
    static const char text[] = "{\"x\":[1,{\"y\":\"t\"}],\"timestamp\":12,\"a\":{\"timestamp\":3,"
                               "\"b.c\":4},\"a.d\":5,\"\\u0061e\":6}";

    (void)state;
    expect_found(text, "timestamp", "12");
    expect_found(text, "a.timestamp", "3");
    expect_found(text, "x.1.y", "\"t\"");
    expect_found(text, "x.0", "1");
    expect_found(text, "a.b.c", "4");
    expect_found(text, "a.d", NULL); /* the object "a" comes first and lacks it */
    expect_found(text, "ae", "6");
    expect_found(text, "x.2", NULL);
    expect_found(text, "x.y", NULL);
    expect_found(text, "none", NULL);
    expect_found(text, "timestamp.more", NULL);
    expect_found("12", "a", NULL);
    expect_found("", "a", NULL);
    expect_found("{\"a\":1", "a", "1"); /* what follows is not read */
}

static void strings_are_unescaped(void **state)
{
    static const struct {
        const char *json;
        const char *text; /* NULL: refused */
    } cases[] = {
        {"\"a\\n\\t\\\"\\\\\\/\\b\\f\\r\"", "a\n\t\"\\/\b\f\r"},
        {"\"\\u00e9\\u20AC\"", "\xc3\xa9\xe2\x82\xac"},
        {"\"\\ud83d\\ude00!\"", "\xf0\x9f\x98\x80!"},
        {"\"\\ud83d\"", NULL},
        {"\"\\ud83d\\u0041\"", NULL},
        {"\"\\ude00\"", NULL},
        {"\"\"", ""},
    };
    struct base_buffer out;

    (void)state;
    base_buffer_init(&out);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct base_json v;

        assert_true(base_json_parse(cases[i].json, strlen(cases[i].json), &v));
        assert_int_equal(base_json_string(&v, &out), cases[i].text != NULL);
        if (!cases[i].text)
            continue;
        assert_int_equal(out.size, strlen(cases[i].text));
        if (out.size > 0)
            assert_memory_equal(out.data, cases[i].text, out.size);
        assert_true(base_json_equals(&v, cases[i].text, strlen(cases[i].text)));
    }
    base_buffer_deinit(&out);
}

static void base64_goes_both_ways(void **state)
{
    static const char *const bad[] = {"a", "ab", "abc", "a===", "====", "ab=c", "a\nbc"};

    (void)state;
    for (size_t size = 0; size < 40; size++) {
        unsigned char data[40];
        char text[64];
        size_t n = 0, back;

        for (size_t i = 0; i < size; i++)
            data[i] = (unsigned char)(i * 37 + size);
        for (size_t i = 0; i < size; i += 3, n += 4)
            tools_base64_encode(data + i, size - i < 3 ? size - i : 3, text + n);
        assert_true(tools_base64_decode(text, n, &back));
        assert_int_equal(back, size);
        assert_memory_equal(text, data, size);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[16];
        size_t back;

        memcpy(text, bad[i], strlen(bad[i]));
        assert_false(tools_base64_decode(text, strlen(bad[i]), &back));
    }
}

static void utf8_is_strict(void **state)
{
    static const char *const bad[] = {
        "\x80",         "\xc0\x80",         "\xc1\xbf",         "\xe0\x80\x80",
        "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf8",
        "\xc3",         "\xe2\x82"};

    (void)state;
    assert_true(tools_utf8_is_valid("plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", 17));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(tools_utf8_is_valid(bad[i], strlen(bad[i])));
}

/* Prints a record as `read --json` does and reads it back. */
static void round_trip(const struct varve_record *record)
{
    struct tools_record_json r = {0};
    struct tools_output out;
    struct varve_record back;
    const char *why = NULL;

    assert_int_equal(tools_output_init(&out, -1, NULL), 0);
    tools_output_json_record(&out, record);
    assert_true(tools_utf8_is_valid(out.data, out.size));
    assert_null(memchr(out.data, '\n', out.size));
    if (!tools_record_json_parse(&r, out.data, out.size, &back, &why))
        fail_msg("%s: %.*s", why, (int)out.size, out.data);
    assert_int_equal(back.timestamp, record->timestamp);
    assert_int_equal(back.key == NULL, record->key == NULL);
    assert_int_equal(back.value == NULL, record->value == NULL);
    assert_int_equal(back.key_size, record->key_size);
    assert_int_equal(back.value_size, record->value_size);
    if (record->key_size > 0)
        assert_memory_equal(back.key, record->key, record->key_size);
    if (record->value_size > 0)
        assert_memory_equal(back.value, record->value, record->value_size);
    assert_int_equal(back.header_count, record->header_count);
    for (size_t i = 0; i < record->header_count; i++) {
        const struct varve_header *a = &record->headers[i], *b = &back.headers[i];

        assert_int_equal(a->name_size, b->name_size);
        assert_memory_equal(a->name, b->name, a->name_size);
        assert_int_equal(a->value == NULL, b->value == NULL);
        assert_int_equal(a->value_size, b->value_size);
        if (a->value_size > 0)
            assert_memory_equal(a->value, b->value, a->value_size);
    }
    tools_output_deinit(&out);
    tools_record_json_deinit(&r);
}

static void records_come_back_from_json_as_they_were(void **state)
{
    char every_byte[256];
    struct varve_header headers[40];

    (void)state;
    for (int i = 0; i < 256; i++)
        every_byte[i] = (char)i;
    for (int i = 0; i < 40; i++)
        headers[i] = (struct varve_header){.name = every_byte + 32,
                                           .name_size = (size_t)i,
                                           .value = i % 3 == 0 ? NULL : every_byte + i,
                                           .value_size = i % 3 == 0 ? 0 : (size_t)i - 1};
    round_trip(&(struct varve_record){.timestamp = 12, .value = "x", .value_size = 1});
    round_trip(&(struct varve_record){.timestamp = -1});
    round_trip(&(struct varve_record){.key = "", .value = ""});
    round_trip(&(struct varve_record){
        .key = every_byte, .key_size = 256, .value = every_byte, .value_size = 128});
    round_trip(&(struct varve_record){
        .value = "\r\t\"\\\x7f\xc3\xa9", .value_size = 7, .headers = headers, .header_count = 40});
}

static void what_is_no_record_is_refused_with_the_reason(void **state)
{
    static const struct {
        const char *text;
        const char *why;
    } cases[] = {
        {"x", "not a JSON object"},
        {"[]", "not a JSON object"},
        {"{}", "it has no value"},
        {"{\"value\":1}", "key and value must be strings or null"},
        {"{\"value\":\"\\ud800\"}", "key and value must be strings or null"},
        {"{\"value\":\"a\",\"timestamp\":\"b\"}", "timestamp must be a whole number of ms"},
        {"{\"value\":\"a\",\"timestamp\":1.5}", "timestamp must be a whole number of ms"},
        {"{\"value\":\"a\",\"timestamp\":-2}", "timestamp must be a whole number of ms"},
        {"{\"value\":\"a\",\"timestamp\":123456789012345678901234}",
         "timestamp must be a whole number of ms"},
        {"{\"value\":\"a\",\"key\":[]}", "key and value must be strings or null"},
        {"{\"value\":\"a\",\"headers\":[{\"name\":null}]}",
         "a header must be an object with a name"},
        {"{\"value\":\"a\",\"headers\":[{\"name\":7}]}", "key and value must be strings or null"},
        {"{\"value\":\"a\",\"headers\":[{\"name\":\"b\",\"value\":7}]}",
         "key and value must be strings or null"},
        {"{\"value\":\"a\",\"headers\":[{\"name\":\"b\",\"value_base64\":\"!\"}]}", "bad base64"},
        {"{\"value_base64\":\"a\"}", "bad base64"},
        {"{\"value\":\"a\",\"headers\":1}", "headers must be an array"},
        {"{\"value\":\"a\",\"headers\":[1]}", "a header must be an object with a name"},
        {"{\"value\":\"a\",\"headers\":[{\"value\":\"b\"}]}",
         "a header must be an object with a name"},
    };
    struct tools_record_json r = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct varve_record record;
        const char *why = NULL;

        assert_false(
            tools_record_json_parse(&r, cases[i].text, strlen(cases[i].text), &record, &why));
        assert_string_equal(why, cases[i].why);
    }
    tools_record_json_deinit(&r);
}

static void headers_without_end_are_refused(void **state)
{
    static const char one[] = "{\"name\":\"n\"},";
    size_t count = TOOLS_RECORD_HEADERS_MAX + 1, size = 0;
    char *text = malloc(count * sizeof(one) + 64);
    struct tools_record_json r = {0};
    struct varve_record record;
    const char *why = NULL;

    (void)state;
    assert_non_null(text);
    size = (size_t)sprintf(text, "{\"value\":\"a\",\"headers\":[");
    for (size_t i = 0; i < count; i++, size += sizeof(one) - 1)
        memcpy(text + size, one, sizeof(one) - 1);
    memcpy(text + size - 1, "]}", 2);
    assert_false(tools_record_json_parse(&r, text, size + 1, &record, &why));
    assert_string_equal(why, "too many headers");
    /* One less will do. */
    memcpy(text + size - sizeof(one), "]}", 2);
    assert_true(tools_record_json_parse(&r, text, size - sizeof(one) + 2, &record, &why));
    assert_int_equal(record.header_count, TOOLS_RECORD_HEADERS_MAX);
    tools_record_json_deinit(&r);
    free(text);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_json_is_json),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(a_dotted_path_is_found_where_it_lies),
        cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(base64_goes_both_ways),
        cmocka_unit_test(utf8_is_strict),
        cmocka_unit_test(records_come_back_from_json_as_they_were),
        cmocka_unit_test(what_is_no_record_is_refused_with_the_reason),
        cmocka_unit_test(headers_without_end_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
