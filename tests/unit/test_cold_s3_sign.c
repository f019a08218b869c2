/* Signing, on the vectors that AWS publishes and on what they leave out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/thread.h"
#include "cold/s3/sign.h"

/* "Examples: Signature Calculations in AWS Signature Version 4", Amazon S3 API reference. */
#define EXAMPLE_DATE "20130524T000000Z"
#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SCOPE_OF_EXAMPLE "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"

static char example_access_key[] = "AKIAIOSFODNN7EXAMPLE";
static char example_secret_key[] = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
static const struct s3_credentials example = {
    .access_key = example_access_key, .secret_key = example_secret_key, .expires_ms = INT64_MAX};

#define HEADERS(...)                                                                               \
    .headers = (const struct s3_header[]){__VA_ARGS__},                                            \
    .header_count = sizeof((const struct s3_header[]){__VA_ARGS__}) / sizeof(struct s3_header)
#define EXAMPLE                                                                                    \
    .region = "us-east-1", .service = "s3", .date = EXAMPLE_DATE, .payload_sha256 = EMPTY_SHA256
#define EXAMPLE_HEADERS                                                                            \
    {"host", "examplebucket.s3.amazonaws.com"}, {"x-amz-content-sha256", EMPTY_SHA256},            \
    {                                                                                              \
        "x-amz-date", EXAMPLE_DATE                                                                 \
    }

static struct s3_signer *signer;

static int setup(void **state)
{
    (void)state;
    return s3_signer_new(&signer, NULL);
}

static int teardown(void **state)
{
    (void)state;
    signer = s3_signer_free(signer);
    return 0;
}

static char *authorize(const struct s3_sign_request *r, const struct s3_credentials *credentials)
{
    struct varve_error err = {0};
    char *value = NULL;
    int rc = s3_signer_authorize(signer, credentials, r, &value, &err);

    if (rc < 0)
        fail_msg("%s", err.msg);
    return value;
}

static void assert_authorized(const struct s3_sign_request *r, const char *expected)
{
    char *value = authorize(r, &example);

    assert_string_equal(value, expected);
    free(value);
}

static void a_get_with_a_range_is_signed_as_aws_says(void **state)
{
    const struct s3_sign_request r = {.method = "GET",
                                      .path = "/test.txt",
                                      .query = "",
                                      HEADERS({"x-amz-date", EXAMPLE_DATE}, {"range", "bytes=0-9"},
                                              {"x-amz-content-sha256", EMPTY_SHA256},
                                              {"host", "examplebucket.s3.amazonaws.com"}),
                                      EXAMPLE};

    (void)state;
    assert_authorized(&r,
                      "AWS4-HMAC-SHA256 " SCOPE_OF_EXAMPLE
                      ", SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
                      "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void a_put_is_signed_as_aws_says(void **state)
{
    static const char body[] = "Welcome to Amazon S3.";
    char digest[S3_SIGN_DIGEST_SIZE];
    struct s3_sign_request r = {
        .method = "PUT",
        .path = "/test%24file.text",
        .query = "",
        HEADERS({"host", "examplebucket.s3.amazonaws.com"},
                {"date", "Fri, 24 May 2013 00:00:00 GMT"}, {"x-amz-content-sha256", digest},
                {"x-amz-date", EXAMPLE_DATE}, {"x-amz-storage-class", "REDUCED_REDUNDANCY"}),
        EXAMPLE};

    (void)state;
    assert_int_equal(s3_sign_digest(body, sizeof(body) - 1, digest, NULL), 0);
    assert_string_equal(digest, "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072");
    r.payload_sha256 = digest;
    assert_authorized(
        &r, "AWS4-HMAC-SHA256 " SCOPE_OF_EXAMPLE
            ", SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class, "
            "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void a_subresource_without_a_value_is_signed_as_aws_says(void **state)
{
    const struct s3_sign_request r = {
        .method = "GET", .path = "/", .query = "lifecycle=", HEADERS(EXAMPLE_HEADERS), EXAMPLE};

    (void)state;
    assert_authorized(&r,
                      "AWS4-HMAC-SHA256 " SCOPE_OF_EXAMPLE
                      ", SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
                      "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

static void a_listing_is_signed_as_aws_says(void **state)
{
    const struct s3_sign_request r = {.method = "GET",
                                      .path = "/",
                                      .query = "max-keys=2&prefix=J",
                                      HEADERS(EXAMPLE_HEADERS),
                                      EXAMPLE};

    (void)state;
    assert_authorized(&r,
                      "AWS4-HMAC-SHA256 " SCOPE_OF_EXAMPLE
                      ", SignedHeaders=host;x-amz-content-sha256;x-amz-date, "
                      "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

/* The expected value comes from a second implementation, twenty lines of Python's hmac and hashlib
 * written from the specification. */
static void keys_and_tokens_of_every_kind_are_signed(void **state)
{
    const struct s3_sign_request r = {
        .method = "GET",
        .path = "/bucket/a%3Db%2Bc/d%25e%20f/%E5%B1%A4%2F~-._",
        .query = "partNumber=3&prefix=a%2Fb%20c&uploads=",
        HEADERS({"x-amz-security-token", "FwoGZXIvYXdzEBY/+a=="}, {"host", "[::1]:9000"},
                {"x-amz-meta-varve-write-id", "  two   words  "},
                {"x-amz-server-side-encryption", "aws:kms"},
                {"x-amz-server-side-encryption-aws-kms-key-id", "k"},
                {"x-amz-content-sha256", "UNSIGNED-PAYLOAD"}, {"x-amz-date", "20260102T030405Z"}),
        .payload_sha256 = "UNSIGNED-PAYLOAD",
        .region = "eu-central-1",
        .service = "s3",
        .date = "20260102T030405Z",
    };

    (void)state;
    assert_authorized(&r,
                      "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260102/eu-central-1/s3/"
                      "aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;"
                      "x-amz-meta-varve-write-id;x-amz-security-token;x-amz-server-side-encryption;"
                      "x-amz-server-side-encryption-aws-kms-key-id, "
                      "Signature=d1552d28890ad182afccf97072aa67adac32cc5c11075bb582b9bc21d45b36b5");
}

/* Each changes one of what the kept key depends on; the first then comes out as before. */
static void the_kept_key_is_only_used_for_what_it_was_made_for(void **state)
{
    static char other_secret[] = "another";
    const struct s3_credentials other = {.access_key = example_access_key,
                                         .secret_key = other_secret};
    const struct s3_sign_request r = {
        .method = "GET", .path = "/", .query = "", HEADERS(EXAMPLE_HEADERS), EXAMPLE};
    struct s3_sign_request day = r, region = r, service = r;
    char *first = authorize(&r, &example);
    char *others[4];

    (void)state;
    day.date = "20130525T000000Z";
    region.region = "us-east-2";
    service.service = "sts";
    others[0] = authorize(&day, &example);
    others[1] = authorize(&region, &example);
    others[2] = authorize(&service, &example);
    others[3] = authorize(&r, &other);
    for (size_t i = 0; i < 4; i++) {
        struct s3_signer *fresh;
        const struct s3_sign_request *const requests[] = {&day, &region, &service, &r};
        char *again = NULL;

        assert_string_not_equal(strstr(others[i], "Signature="), strstr(first, "Signature="));
        assert_int_equal(s3_signer_new(&fresh, NULL), 0);
        assert_int_equal(
            s3_signer_authorize(fresh, i == 3 ? &other : &example, requests[i], &again, NULL), 0);
        assert_string_equal(others[i], again);
        free(again);
        free(others[i]);
        s3_signer_free(fresh);
    }
    assert_authorized(&r, first);
    free(first);
}

struct racer {
    const struct s3_sign_request *request;
    const char *expected;
    unsigned wrong;
};

static void race(void *arg)
{
    struct racer *racer = arg;

    for (int i = 0; i < 2000; i++) {
        char *value = NULL;

        if (s3_signer_authorize(signer, &example, racer->request, &value, NULL) < 0 ||
            strcmp(value, racer->expected) != 0)
            racer->wrong++;
        free(value);
    }
}

static void threads_that_sign_for_two_regions_do_not_mix_their_keys(void **state)
{
    const struct s3_sign_request east = {
        .method = "GET", .path = "/", .query = "", HEADERS(EXAMPLE_HEADERS), EXAMPLE};
    struct s3_sign_request west = east;
    struct racer racers[4];
    struct base_thread *threads[4];
    char *expected[2];

    (void)state;
    west.region = "us-west-2";
    expected[0] = authorize(&east, &example);
    expected[1] = authorize(&west, &example);
    for (int i = 0; i < 4; i++) {
        racers[i] = (struct racer){.request = i % 2 ? &west : &east, .expected = expected[i % 2]};
        assert_int_equal(base_thread_start(&threads[i], "signer", race, &racers[i], NULL), 0);
    }
    for (int i = 0; i < 4; i++) {
        base_thread_join(threads[i]);
        assert_int_equal(racers[i].wrong, 0);
    }
    free(expected[0]);
    free(expected[1]);
}

static void assert_refused(const struct s3_sign_request *r, const char *part)
{
    struct varve_error err = {0};
    char *value = (char *)&err;

    assert_int_equal(s3_signer_authorize(signer, &example, r, &value, &err), VARVE_E_INVALID);
    assert_int_equal(err.code, VARVE_E_INVALID);
    assert_non_null(strstr(err.msg, part));
    assert_ptr_equal(value, &err);
}

static void requests_that_cannot_be_signed_are_refused(void **state)
{
    const struct s3_sign_request r = {
        .method = "GET", .path = "/", .query = "", HEADERS(EXAMPLE_HEADERS), EXAMPLE};
    const struct s3_sign_request upper = {
        .method = "GET", .path = "/", .query = "", HEADERS({"Host", "h"}), EXAMPLE};
    const struct s3_sign_request twice = {
        .method = "GET",
        .path = "/",
        .query = "",
        HEADERS({"host", "a"}, {"x-amz-date", "d"}, {"host", "b"}),
        EXAMPLE};
    const struct s3_sign_request split = {
        .method = "GET", .path = "/", .query = "", HEADERS({"host", "a\r\nx-evil: 1"}), EXAMPLE};
    static const char *const dates[] = {"",
                                        "20130524",
                                        "20130524T000000",
                                        "20130524 000000Z",
                                        "2013-05-24T00:00:00Z",
                                        "20130524T0000000Z"};
    static char evil_key[] = "AKIA\nx";
    const struct s3_credentials evil = {.access_key = evil_key, .secret_key = example_secret_key};
    struct s3_sign_request bad = r;

    (void)state;
    assert_refused(&upper, "header name 'Host'");
    assert_refused(&twice, "header host twice");
    assert_refused(&split, "control character in the header host");
    for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
        bad.date = dates[i];
        assert_refused(&bad, "date");
    }
    assert_int_equal(s3_signer_authorize(signer, &evil, &r, &(char *){NULL}, NULL),
                     VARVE_E_INVALID);
}

static void dates_are_written_as_the_header_wants_them(void **state)
{
    char date[S3_SIGN_DATE_SIZE];

    (void)state;
    s3_sign_date(INT64_C(1369353600000), date);
    assert_string_equal(date, EXAMPLE_DATE);
    s3_sign_date(INT64_C(1767323045999), date);
    assert_string_equal(date, "20260102T030405Z");
    s3_sign_date(-5, date);
    assert_string_equal(date, "19700101T000000Z");
}

static void a_digest_of_nothing_is_that_of_the_empty_string(void **state)
{
    char digest[S3_SIGN_DIGEST_SIZE];

    (void)state;
    assert_int_equal(s3_sign_digest(NULL, 0, digest, NULL), 0);
    assert_string_equal(digest, EMPTY_SHA256);
}

static void credentials_are_copied_whole_and_cleared(void **state)
{
    static char token[] = "t";
    struct s3_credentials c = example, copy;

    (void)state;
    assert_int_equal(s3_credentials_copy(&c, &copy, NULL), 0);
    assert_null(copy.session_token);
    s3_credentials_clear(&copy);
    c.session_token = token;
    assert_int_equal(s3_credentials_copy(&c, &copy, NULL), 0);
    assert_string_equal(copy.access_key, example_access_key);
    assert_string_equal(copy.secret_key, example_secret_key);
    assert_string_equal(copy.session_token, "t");
    assert_true(copy.access_key != c.access_key && copy.session_token != token);
    assert_true(copy.expires_ms == INT64_MAX);
    s3_credentials_clear(&copy);
    assert_null(copy.access_key);
    assert_null(copy.secret_key);
    assert_null(copy.session_token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_get_with_a_range_is_signed_as_aws_says),
        cmocka_unit_test(a_put_is_signed_as_aws_says),
        cmocka_unit_test(a_subresource_without_a_value_is_signed_as_aws_says),
        cmocka_unit_test(a_listing_is_signed_as_aws_says),
        cmocka_unit_test(keys_and_tokens_of_every_kind_are_signed),
        cmocka_unit_test(the_kept_key_is_only_used_for_what_it_was_made_for),
        cmocka_unit_test(threads_that_sign_for_two_regions_do_not_mix_their_keys),
        cmocka_unit_test(requests_that_cannot_be_signed_are_refused),
        cmocka_unit_test(dates_are_written_as_the_header_wants_them),
        cmocka_unit_test(a_digest_of_nothing_is_that_of_the_empty_string),
        cmocka_unit_test(credentials_are_copied_whole_and_cleared),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
