/* Endpoints in both styles, buckets, paths and queries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cold/s3/endpoint.h"

struct expected {
    struct s3_endpoint_options options;
    const char *base, *host, *path;
    bool tls;
};

static void assert_endpoint(const struct expected *x)
{
    struct varve_error err = {0};
    struct s3_endpoint e;

    if (s3_endpoint_init(&x->options, &e, &err) < 0)
        fail_msg("%s: %s", x->options.endpoint ? x->options.endpoint : "aws", err.msg);
    assert_string_equal(e.base, x->base);
    assert_string_equal(e.host, x->host);
    assert_string_equal(e.path, x->path);
    assert_string_equal(e.bucket, x->options.bucket);
    assert_string_equal(e.region, x->options.region ? x->options.region : "us-east-1");
    assert_int_equal(e.tls, x->tls);
    s3_endpoint_deinit(&e);
    assert_null(e.base);
}

static void aws_is_reached_where_the_region_is(void **state)
{
    static const struct expected cases[] = {
        {{.bucket = "b-1"},
         "https://b-1.s3.us-east-1.amazonaws.com",
         "b-1.s3.us-east-1.amazonaws.com",
         "",
         true},
        {{.bucket = "b-1", .region = "cn-north-1"},
         "https://b-1.s3.cn-north-1.amazonaws.com.cn",
         "b-1.s3.cn-north-1.amazonaws.com.cn",
         "",
         true},
        {{.bucket = "b-1", .region = "us-isob-east-1"},
         "https://b-1.s3.us-isob-east-1.sc2s.sgov.gov",
         "b-1.s3.us-isob-east-1.sc2s.sgov.gov",
         "",
         true},
        {{.bucket = "b-1", .region = "eu-west-1", .style = S3_STYLE_PATH},
         "https://s3.eu-west-1.amazonaws.com",
         "s3.eu-west-1.amazonaws.com",
         "/b-1",
         true},
        /* No certificate covers a name with dots below s3. */
        {{.bucket = "logs.example.org", .region = "eu-west-1"},
         "https://s3.eu-west-1.amazonaws.com",
         "s3.eu-west-1.amazonaws.com",
         "/logs.example.org",
         true},
        {{.bucket = "logs.example.org", .style = S3_STYLE_VIRTUAL},
         "https://logs.example.org.s3.us-east-1.amazonaws.com",
         "logs.example.org.s3.us-east-1.amazonaws.com",
         "",
         true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_endpoint(&cases[i]);
}

static void a_given_endpoint_is_taken_as_it_is(void **state)
{
    static const struct expected cases[] = {
        {{.endpoint = "http://127.0.0.1:9000", .bucket = "bkt"},
         "http://127.0.0.1:9000",
         "127.0.0.1:9000",
         "/bkt",
         false},
        {{.endpoint = "http://[::1]:9000/", .bucket = "bkt"},
         "http://[::1]:9000",
         "[::1]:9000",
         "/bkt",
         false},
        {{.endpoint = "https://[2001:DB8::1]", .bucket = "bkt"},
         "https://[2001:db8::1]",
         "[2001:db8::1]",
         "/bkt",
         true},
        {{.endpoint = "http://localhost:80", .bucket = "bkt"},
         "http://localhost",
         "localhost",
         "/bkt",
         false},
        {{.endpoint = "http://minio:9000", .bucket = "bkt"},
         "http://minio:9000",
         "minio:9000",
         "/bkt",
         false},
        {{.endpoint = "http://localhost:9000", .bucket = "bkt", .style = S3_STYLE_VIRTUAL},
         "http://bkt.localhost:9000",
         "bkt.localhost:9000",
         "",
         false},
        {{.endpoint = "HTTPS://S3.Example.Org:443", .bucket = "bkt"},
         "https://bkt.s3.example.org",
         "bkt.s3.example.org",
         "",
         true},
        {{.endpoint = "http://s3.example.org:443", .bucket = "bkt"},
         "http://bkt.s3.example.org:443",
         "bkt.s3.example.org:443",
         "",
         false},
        /* A name that could never be a host's is reached by path. */
        {{.endpoint = "http://s3.example.org", .bucket = "Old_Bucket"},
         "http://s3.example.org",
         "s3.example.org",
         "/Old_Bucket",
         false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_endpoint(&cases[i]);
}

static void assert_refused(const struct s3_endpoint_options *o, const char *part)
{
    struct varve_error err = {0};
    struct s3_endpoint e = {.tls = true};

    if (s3_endpoint_init(o, &e, &err) != VARVE_E_INVALID)
        fail_msg("taken: '%s' '%s'", o->endpoint ? o->endpoint : "-", o->bucket);
    assert_int_equal(err.code, VARVE_E_INVALID);
    if (!strstr(err.msg, part))
        fail_msg("'%s' is not in: %s", part, err.msg);
    assert_true(e.tls && !e.base); /* untouched */
}

static void what_is_no_endpoint_is_refused_and_not_repeated(void **state)
{
    static const struct {
        const char *endpoint, *part;
    } cases[] = {
        {"", "http://"},
        {"minio:9000", "http://"},
        {"ftp://example.org", "http://"},
        {"http://", "host name"},
        {"http://:9000", "host name"},
        {"http://a..b", "host name"},
        {"http://a b", "host name"},
        {"http://.example.org", "host name"},
        {"http://[::1", "host name"},
        {"http://[nonsense]", "host name"},
        {"http://[]", "host name"},
        {"http://[::1]x", "port"},
        {"http://h:", "port"},
        {"http://h:0", "port"},
        {"http://h:65536", "port"},
        {"http://h:-1", "port"},
        {"http://h:9k", "port"},
        {"http://h/bucket", "no path"},
        {"http://h?x=1", "no path"},
        {"http://h#f", "no path"},
        {"http://me:hunter2@h", "no credentials"},
        {"http://h/?secret=hunter2", "no path"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct varve_error err = {0};
        struct s3_endpoint e;
        const struct s3_endpoint_options o = {.endpoint = cases[i].endpoint, .bucket = "bkt"};

        assert_refused(&o, cases[i].part);
        (void)s3_endpoint_init(&o, &e, &err);
        assert_null(strstr(err.msg, "hunter2"));
    }
    assert_refused(&(struct s3_endpoint_options){.endpoint = "http://10.0.0.1",
                                                 .bucket = "bkt",
                                                 .style = S3_STYLE_VIRTUAL},
                   "IP address");
    assert_refused(&(struct s3_endpoint_options){.bucket = "bkt", .region = "eu/west"}, "region");
    assert_refused(&(struct s3_endpoint_options){.bucket = "bkt", .region = ""}, "region");
}

static void a_bucket_has_a_name_by_the_rules(void **state)
{
    static const char *const never[] = {"", "ab", "..", "-abc", "a/b/c", "a b", "b\xc3\xbc", "?x="};
    static const char *const lax[] = {"UPPER", "under_score", "abc-", "a..b", "192.168.0.1"};
    char of_64[65];

    (void)state;
    for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
        assert_refused(&(struct s3_endpoint_options){.bucket = never[i]}, "S3's names");
        assert_refused(&(struct s3_endpoint_options){.bucket = never[i],
                                                     .endpoint = "http://h",
                                                     .style = S3_STYLE_PATH},
                       "S3's names");
    }
    memset(of_64, 'a', 64);
    of_64[64] = '\0';
    assert_refused(&(struct s3_endpoint_options){.bucket = of_64}, "S3's names");
    for (size_t i = 0; i < sizeof(lax) / sizeof(lax[0]); i++) {
        const struct s3_endpoint_options path = {
            .bucket = lax[i], .endpoint = "http://h", .style = S3_STYLE_PATH};
        struct s3_endpoint e;

        assert_refused(&(struct s3_endpoint_options){.bucket = lax[i]}, "S3's names");
        assert_refused(&(struct s3_endpoint_options){.bucket = lax[i],
                                                     .endpoint = "http://s3.example.org",
                                                     .style = S3_STYLE_VIRTUAL},
                       "S3's names");
        assert_int_equal(s3_endpoint_init(&path, &e, NULL), 0);
        s3_endpoint_deinit(&e);
    }
}

static void keys_are_encoded_byte_by_byte_and_come_back(void **state)
{
    static const struct {
        const char *key, *path;
    } cases[] = {
        {"", "/bkt/"},
        {"logs/a/@/root", "/bkt/logs/a/%40/root"},
        {"a=b+c%d e~-._", "/bkt/a%3Db%2Bc%25d%20e~-._"},
        {"\xe5\xb1\xa4", "/bkt/%E5%B1%A4"},
        {"//a", "/bkt///a"},
        {"!*'()&;:,$\"<>", "/bkt/%21%2A%27%28%29%26%3B%3A%2C%24%22%3C%3E"},
    };
    const struct s3_endpoint_options o = {.bucket = "bkt", .endpoint = "http://127.0.0.1"};
    struct s3_endpoint e;
    char *path, *encoded;

    (void)state;
    assert_int_equal(s3_endpoint_init(&o, &e, NULL), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(s3_endpoint_path(&e, cases[i].key, &path, NULL), 0);
        assert_string_equal(path, cases[i].path);
        assert_true(s3_uri_decode(path));
        assert_string_equal(path + strlen("/bkt/"), cases[i].key);
        free(path);
    }
    s3_endpoint_deinit(&e);
    assert_int_equal(s3_uri_encode("a/b", false, &encoded, NULL), 0);
    assert_string_equal(encoded, "a%2Fb");
    free(encoded);
}

static void every_byte_survives_encoding(void **state)
{
    char all[256], *encoded;

    (void)state;
    for (int i = 1; i < 256; i++)
        all[i - 1] = (char)i;
    all[255] = '\0';
    assert_int_equal(s3_uri_encode(all, false, &encoded, NULL), 0);
    assert_int_equal(strspn(encoded,
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                            "-._~%"),
                     strlen(encoded));
    assert_true(s3_uri_decode(encoded));
    assert_string_equal(encoded, all);
    free(encoded);
}

static void a_listing_may_write_a_blank_as_a_plus(void **state)
{
    char text[] = "a+b%2Bc%2fd";

    (void)state;
    assert_true(s3_uri_decode(text));
    assert_string_equal(text, "a b+c/d");
}

static void bad_escapes_are_seen(void **state)
{
    static const char *const bad[] = {"%", "a%2", "%zz", "%0g", "%00", "a%00b", "%%20"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *text = strdup(bad[i]); /* of exactly that size, for the sanitizer */

        assert_non_null(text);
        assert_false(s3_uri_decode(text));
        free(text);
    }
}

static void queries_are_sorted_and_every_name_has_its_sign(void **state)
{
    const struct s3_query pairs[] = {
        {"prefix", "logs/a b"}, {"list-type", "2"}, {"continuation-token", NULL},
        {"uploads", ""},        {"a-b", "1"},       {"a", "2"},
    };
    char *query;

    (void)state;
    assert_int_equal(s3_query_encode(pairs, sizeof(pairs) / sizeof(pairs[0]), &query, NULL), 0);
    assert_string_equal(query, "a=2&a-b=1&list-type=2&prefix=logs%2Fa%20b&uploads=");
    free(query);
    assert_int_equal(s3_query_encode(NULL, 0, &query, NULL), 0);
    assert_string_equal(query, "");
    free(query);
}

static void other_services_of_aws_have_their_hosts(void **state)
{
    char *host = NULL;

    (void)state;
    assert_int_equal(s3_endpoint_aws_host("sts", "eu-west-1", &host, NULL), 0);
    assert_string_equal(host, "sts.eu-west-1.amazonaws.com");
    free(host);
    assert_int_equal(s3_endpoint_aws_host("sts", "evil.example.org/", &host, NULL),
                     VARVE_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aws_is_reached_where_the_region_is),
        cmocka_unit_test(a_given_endpoint_is_taken_as_it_is),
        cmocka_unit_test(what_is_no_endpoint_is_refused_and_not_repeated),
        cmocka_unit_test(a_bucket_has_a_name_by_the_rules),
        cmocka_unit_test(keys_are_encoded_byte_by_byte_and_come_back),
        cmocka_unit_test(every_byte_survives_encoding),
        cmocka_unit_test(a_listing_may_write_a_blank_as_a_plus),
        cmocka_unit_test(bad_escapes_are_seen),
        cmocka_unit_test(queries_are_sorted_and_every_name_has_its_sign),
        cmocka_unit_test(other_services_of_aws_have_their_hosts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
