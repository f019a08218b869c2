#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/logger.h"

static void every_code_has_its_name(void **state)
{
    (void)state;
    assert_string_equal(varve_error_name(0), "VARVE_OK");
    assert_string_equal(varve_error_name(VARVE_E_FENCED), "VARVE_E_FENCED");
    assert_string_equal(varve_error_name(VARVE_E_FAILED), "VARVE_E_FAILED");
    for (int code = VARVE_E_CANCELLED; code <= VARVE_OK; code++)
        assert_string_not_equal(varve_error_name(code), "VARVE_E_?");
    for (int code = VARVE_E_VERSION; code <= VARVE_E_INVALID; code++)
        assert_string_not_equal(varve_error_name(code), "VARVE_E_?");
    for (int code = VARVE_E_FAILED; code <= VARVE_E_IO; code++)
        assert_string_not_equal(varve_error_name(code), "VARVE_E_?");
    assert_string_equal(varve_error_name(-11), "VARVE_E_?");
    assert_string_equal(varve_error_name(1), "VARVE_E_?");
    assert_string_equal(varve_error_name(-1000), "VARVE_E_?");
}

static void raising_fills_every_field(void **state)
{
    struct varve_error err;

    (void)state;
    memset(&err, 0xff, sizeof(err));
    assert_int_equal(base_fail(&err, VARVE_E_FULL, "log %s", "a"), VARVE_E_FULL);
    assert_int_equal(err.code, VARVE_E_FULL);
    assert_int_equal(err.sys_errno, 0);
    assert_false(err.retriable);
    assert_string_equal(err.msg, "log a");
    assert_int_equal(base_fail_retriable(&err, VARVE_E_STORE, "put"), VARVE_E_STORE);
    assert_true(err.retriable);
}

static void raising_without_a_struct_returns_the_code(void **state)
{
    (void)state;
    assert_int_equal(base_fail(NULL, VARVE_E_END, "x"), VARVE_E_END);
    assert_int_equal(base_fail_retriable(NULL, VARVE_E_END, "x"), VARVE_E_END);
    assert_int_equal(base_fail_errno(NULL, ENOSPC, "x"), VARVE_E_NO_SPACE);
    assert_int_equal(base_error_context(NULL, VARVE_E_IO, "x"), VARVE_E_IO);
}

static void an_errno_becomes_its_code_with_either_sign(void **state)
{
    static const struct {
        int sys_errno;
        int code;
        bool retriable;
    } cases[] = {
        {ENOMEM, VARVE_E_NO_MEMORY, false}, {ENOSPC, VARVE_E_NO_SPACE, true},
        {EDQUOT, VARVE_E_NO_SPACE, true},   {EACCES, VARVE_E_DENIED, false},
        {EPERM, VARVE_E_DENIED, false},     {EROFS, VARVE_E_DENIED, false},
        {ENOENT, VARVE_E_NOT_FOUND, false}, {EEXIST, VARVE_E_EXISTS, false},
        {EAGAIN, VARVE_E_IO, true},         {EINTR, VARVE_E_IO, true},
        {EMFILE, VARVE_E_IO, true},         {ENFILE, VARVE_E_IO, true},
        {EIO, VARVE_E_IO, false},           {ENOTDIR, VARVE_E_IO, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (int sign = -1; sign <= 1; sign += 2) {
            struct varve_error err = {0};

            assert_int_equal(base_fail_errno(&err, sign * cases[i].sys_errno, "x"), cases[i].code);
            assert_int_equal(err.code, cases[i].code);
            assert_int_equal(err.sys_errno, cases[i].sys_errno);
            assert_int_equal(err.retriable, cases[i].retriable);
        }
    }
}

static void the_reason_follows_the_message(void **state)
{
    struct varve_error err;

    (void)state;
    base_fail_errno(&err, EIO, "fdatasync %s", "f");
    assert_string_equal(err.msg, "fdatasync f: Input/output error");
}

static void context_goes_in_front(void **state)
{
    struct varve_error err;

    (void)state;
    base_fail_errno(&err, EIO, "read f");
    assert_int_equal(base_error_context(&err, -1, "open log %s", "a"), VARVE_E_IO);
    assert_int_equal(base_error_context(&err, -1, "open store"), VARVE_E_IO);
    assert_string_equal(err.msg, "open store: open log a: read f: Input/output error");
    assert_int_equal(err.sys_errno, EIO);
}

static void a_message_may_be_its_own_argument(void **state)
{
    struct varve_error err;

    (void)state;
    base_fail(&err, VARVE_E_IO, "inner");
    base_fail(&err, VARVE_E_STORE, "outer (%s)", err.msg);
    assert_string_equal(err.msg, "outer (inner)");
    base_error_context(&err, 0, "about %s", err.msg);
    assert_string_equal(err.msg, "about outer (inner): outer (inner)");
}

static void what_does_not_fit_is_cut_and_says_so(void **state)
{
    struct varve_error err;
    char exact[sizeof(err.msg)];
    char longer[600];

    (void)state;
    memset(exact, 'x', sizeof(exact));
    exact[sizeof(exact) - 1] = '\0';
    base_fail(&err, VARVE_E_IO, "%s", exact);
    assert_string_equal(err.msg, exact);
    memset(longer, 'y', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    longer[0] = '<';
    longer[sizeof(longer) - 2] = '>';
    base_fail(&err, VARVE_E_IO, "%s", longer);
    assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
    assert_int_equal(err.msg[0], '<'); /* both ends are there, and a mark between them */
    assert_int_equal(err.msg[sizeof(err.msg) - 2], '>');
    assert_non_null(strstr(err.msg, "y...y"));
    base_fail_errno(&err, EIO, "%s", longer);
    assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
    assert_non_null(strstr(err.msg, "y>: Input/output error"));
    base_fail(&err, VARVE_E_IO, "inner");
    base_error_context(&err, 0, "%s", longer);
    assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
    assert_non_null(strstr(err.msg, "y>: inner"));
}

struct last_message {
    int level;
    char text[2048];
};

static void keep(void *ctx, int level, const char *text)
{
    struct last_message *last = ctx;

    last->level = level;
    snprintf(last->text, sizeof(last->text), "%s", text);
}

static void a_logger_gets_level_and_text_and_may_be_silent(void **state)
{
    struct last_message last = {0};
    struct base_logger logger = {.message = keep, .ctx = &last};
    struct base_logger silent = {0};
    char longer[3000];

    (void)state;
    base_log(&logger, BASE_LOG_WARNING, "lag %d ms", 7);
    assert_int_equal(last.level, BASE_LOG_WARNING);
    assert_string_equal(last.text, "lag 7 ms");
    memset(longer, 'z', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    base_log(&logger, BASE_LOG_INFO, "%s", longer);
    assert_int_equal(strlen(last.text), 1023);
    base_log(&silent, BASE_LOG_ERROR, "nobody hears it");
    base_log(NULL, BASE_LOG_ERROR, "nor this");
}

/* Keys of 1,000 bytes once pushed the cause off the end of the message. */
static void a_long_key_does_not_push_the_cause_out(void **state)
{
    struct varve_error err;
    char key[1001];

    (void)state;
    for (size_t i = 0; i < sizeof(key) - 1; i++)
        key[i] = (char)('a' + i % 26);
    memcpy(key + 990, "-last.zst", 10);
    base_fail(&err, VARVE_E_STORE, "after 4 requests: the connection stalled");
    base_error_context(&err, 0, "put %s in s3://bucket", key);
    base_error_context(&err, 0, "upload orders/0");
    assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
    assert_int_equal(strncmp(err.msg, "upload orders/0: put abc", 24), 0);
    assert_non_null(
        strstr(err.msg, "-last.zst in s3://bucket: after 4 requests: the connection stalled"));
    for (int i = 0; i < 20; i++) /* contexts without end */
        base_error_context(&err, 0, "and then %d", i);
    assert_int_equal(strncmp(err.msg, "and then 19: and then 18: ", 26), 0);
    assert_non_null(strstr(err.msg, "after 4 requests: the connection stalled"));
}

static void a_character_is_not_cut_in_two(void **state)
{
    struct varve_error err;
    char text[600];

    (void)state;
    for (size_t shift = 0; shift < 3; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 3 < sizeof(text); i += 3)
            memcpy(text + i, "\xe2\x82\xac", 4); /* a euro sign */
        base_fail(&err, VARVE_E_IO, "%s", text);
        for (const char *at = err.msg + shift; *at; at += 3) {
            if (memcmp(at, "...", 3) != 0)
                assert_memory_equal(at, "\xe2\x82\xac", 3);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_name),
        cmocka_unit_test(raising_fills_every_field),
        cmocka_unit_test(raising_without_a_struct_returns_the_code),
        cmocka_unit_test(an_errno_becomes_its_code_with_either_sign),
        cmocka_unit_test(the_reason_follows_the_message),
        cmocka_unit_test(context_goes_in_front),
        cmocka_unit_test(a_message_may_be_its_own_argument),
        cmocka_unit_test(what_does_not_fit_is_cut_and_says_so),
        cmocka_unit_test(a_logger_gets_level_and_text_and_may_be_silent),
        cmocka_unit_test(a_long_key_does_not_push_the_cause_out),
        cmocka_unit_test(a_character_is_not_cut_in_two),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
