/* The INI-like files of AWS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/io.h"
#include "cold/s3/profile.h"
#include "tests/support/file.h"
#include "tests/support/tmpdir.h"

static struct s3_profile_file *parse(const char *text, enum s3_profile_kind kind)
{
    struct s3_profile_file *file = NULL;
    struct varve_error err = {0};

    if (s3_profile_file_parse(text, strlen(text), kind, &file, &err) < 0)
        fail_msg("%s", err.msg);
    return file;
}

static void assert_value(const struct s3_profile_file *file, const char *profile, const char *name,
                         const char *expected)
{
    const char *value = s3_profile_file_get(file, "profile", profile, name);

    if (!expected)
        assert_null(value);
    else if (!value || strcmp(value, expected) != 0)
        fail_msg("%s.%s: '%s'", profile, name, value ? value : "-");
}

static void a_config_file_is_read(void **state)
{
    struct s3_profile_file *file = parse("\xef\xbb\xbf# AWS\r\n"
                                         "[default]\r\n"
                                         "region = eu-west-1\r\n"
                                         "\r\n"
                                         "[ profile \t archive ]  ; a comment\n"
                                         "Role_ARN=arn:aws:iam::1:role/a=b\n"
                                         "source_profile = default # the keys\n"
                                         "  ; indented comment\n"
                                         "credential_process = get 'a b' \\\n"
                                         "   --more\n"
                                         "s3 =\n"
                                         "  endpoint_url = http://127.0.0.1:9000\n"
                                         "  addressing_style = path\n"
                                         "empty =\n"
                                         "[profile \"with blank\"]\n"
                                         "region = x\n"
                                         "[nonsense]\n"
                                         "region = never\n"
                                         "[services local]\n"
                                         "s3 =\n"
                                         "  endpoint_url = http://h\n"
                                         "[default]\n"
                                         "region = eu-west-2",
                                         S3_PROFILE_CONFIG);

    (void)state;
    assert_true(s3_profile_file_has(file, "profile", "default"));
    assert_true(s3_profile_file_has(file, "profile", "archive"));
    assert_false(s3_profile_file_has(file, "profile", "nonsense"));
    assert_false(s3_profile_file_has(file, "profile", "local"));
    assert_value(file, "default", "region", "eu-west-2"); /* the last counts */
    assert_value(file, "archive", "role_arn", "arn:aws:iam::1:role/a=b");
    assert_value(file, "archive", "source_profile", "default");
    assert_value(file, "archive", "credential_process", "get 'a b' \\\n--more");
    assert_value(file, "archive", "s3.endpoint_url", "http://127.0.0.1:9000");
    assert_value(file, "archive", "s3.addressing_style", "path");
    assert_value(file, "archive", "endpoint_url", NULL);
    assert_value(file, "archive", "empty", NULL);
    assert_value(file, "archive", "region", NULL);
    assert_value(file, "with blank", "region", "x");
    assert_value(file, "nonsense", "region", NULL);
    assert_string_equal(s3_profile_file_get(file, "services", "local", "s3.endpoint_url"),
                        "http://h");
    s3_profile_file_free(file);
}

static void a_credentials_file_is_read(void **state)
{
    struct s3_profile_file *file = parse("[a]\n"
                                         "aws_access_key_id=AKIA\n"
                                         "aws_secret_access_key = x/y+z=#;1\n"
                                         "[profile b]\n"
                                         "aws_access_key_id = B\n",
                                         S3_PROFILE_CREDENTIALS);

    (void)state;
    assert_value(file, "a", "aws_access_key_id", "AKIA");
    assert_value(file, "a", "aws_secret_access_key", "x/y+z=#;1");
    assert_false(s3_profile_file_has(file, "profile", "b"));
    assert_true(s3_profile_file_has(file, "profile", "profile b"));
    s3_profile_file_free(file);
}

static void a_bad_line_is_named_by_its_number_alone(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"x = hunter2\n", "line 1"},     {"\n  x = hunter2\n", "line 2"},
        {"[a\nhunter2 = 1\n", "line 1"}, {"[]\n", "line 1"},
        {"[a] hunter2\n", "line 1"},     {"[a]\nhunter2\n", "line 2"},
        {"[a]\n= hunter2\n", "line 2"},  {"[a]\ns3 =\n  hunter2\n", "line 3"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct s3_profile_file *file = (void *)&i;
        struct varve_error err = {0};

        assert_int_equal(s3_profile_file_parse(cases[i].text, strlen(cases[i].text),
                                               S3_PROFILE_CREDENTIALS, &file, &err),
                         VARVE_E_INVALID);
        assert_non_null(strstr(err.msg, cases[i].part));
        assert_null(strstr(err.msg, "hunter2"));
        assert_ptr_equal(file, &i);
    }
    assert_int_equal(s3_profile_file_parse("[a]\0", 4, S3_PROFILE_CONFIG,
                                           &(struct s3_profile_file *){NULL}, NULL),
                     VARVE_E_INVALID);
}

static void what_a_file_can_hold_is_bounded(void **state)
{
    static char text[S3_PROFILE_FILE_MAX + 1];
    struct s3_profile_file *file;
    size_t n = strlen("[a]\nx=1\n");

    (void)state;
    memset(text, '\n', sizeof(text));
    assert_int_equal(s3_profile_file_parse(text, sizeof(text), S3_PROFILE_CONFIG, &file, NULL),
                     VARVE_E_TOO_LARGE);
    memcpy(text, "[a]\n", 4);
    for (size_t i = 4; i + 4 < sizeof(text); i += 4)
        memcpy(text + i, "x=1\n", 4);
    assert_int_equal(
        s3_profile_file_parse(text, sizeof(text) - 1, S3_PROFILE_CREDENTIALS, &file, NULL),
        VARVE_E_TOO_LARGE);
    memcpy(text, "[a]\nx=1\n", n);
    for (size_t i = n; i + 3 < sizeof(text); i += 3)
        memcpy(text + i, " y\n", 3);
    assert_int_equal(
        s3_profile_file_parse(text, sizeof(text) - 1, S3_PROFILE_CREDENTIALS, &file, NULL),
        VARVE_E_TOO_LARGE);
}

static void a_file_that_is_not_there_is_a_condition(void **state)
{
    struct support_tmpdir *dir = support_tmpdir_new("profile");
    const char *path = support_tmpdir_path(dir, "config");
    struct s3_profile_file *file;
    struct varve_error err = {0};

    (void)state;
    assert_int_equal(s3_profile_file_read(&base_io_posix, path, S3_PROFILE_CONFIG, &file, &err),
                     VARVE_E_NOT_FOUND);
    support_file_write(path, "junk", 4);
    assert_int_equal(s3_profile_file_read(&base_io_posix, path, S3_PROFILE_CONFIG, &file, &err),
                     VARVE_E_INVALID);
    assert_non_null(strstr(err.msg, path));
    support_file_write(path, "[default]\nregion=r\n", 19);
    assert_int_equal(s3_profile_file_read(&base_io_posix, path, S3_PROFILE_CONFIG, &file, &err), 0);
    assert_value(file, "default", "region", "r");
    s3_profile_file_free(file);
    support_tmpdir_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_config_file_is_read),
        cmocka_unit_test(a_credentials_file_is_read),
        cmocka_unit_test(a_bad_line_is_named_by_its_number_alone),
        cmocka_unit_test(what_a_file_can_hold_is_bounded),
        cmocka_unit_test(a_file_that_is_not_there_is_a_condition),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
