/* The class of every error, from status, header and body. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cold/s3/reply.h"

#define XML "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"

static struct s3_error decode(int status, const char *region, const char *body)
{
    struct s3_error e;

    memset(&e, 0x5a, sizeof(e));
    s3_error_decode(status, region, body, strlen(body), &e);
    assert_int_equal(e.status, status);
    return e;
}

static void a_code_decides_before_the_status(void **state)
{
    static const struct {
        int status;
        const char *code;
        enum s3_class class;
    } cases[] = {
        {404, "NoSuchKey", S3_NOT_FOUND},
        {404, "NoSuchUpload", S3_NOT_FOUND},
        {404, "NoSuchBucket", S3_NO_BUCKET},
        {412, "PreconditionFailed", S3_PRECONDITION},
        {409, "ConditionalRequestConflict", S3_CONFLICT},
        {409, "OperationAborted", S3_CONFLICT},
        {409, "SomethingNew", S3_CONFLICT},
        {409, "BucketAlreadyOwnedByYou", S3_INVALID},
        {409, "BucketAlreadyExists", S3_INVALID},
        {503, "SlowDown", S3_SLOW_DOWN},
        {503, "SlowDownWrite", S3_SLOW_DOWN},
        {429, "TooManyRequests", S3_SLOW_DOWN},
        {503, "RequestLimitExceeded", S3_SLOW_DOWN},
        {400, "Throttling", S3_SLOW_DOWN},
        {500, "InternalError", S3_RETRY},
        {503, "ServiceUnavailable", S3_RETRY},
        {400, "RequestTimeout", S3_RETRY},
        {400, "IncompleteBody", S3_RETRY},
        {503, "XMinioServerNotInitialized", S3_RETRY},
        {507, "XMinioStorageFull", S3_RETRY},
        {200, "InternalError", S3_RETRY},
        {200, "SomethingNew", S3_RETRY},
        {200, "SlowDown", S3_SLOW_DOWN},
        {200, "AccessDenied", S3_DENIED},
        {403, "RequestTimeTooSkewed", S3_CLOCK},
        {400, "ExpiredToken", S3_EXPIRED},
        {400, "TokenRefreshRequired", S3_EXPIRED},
        {400, "RequestExpired", S3_EXPIRED},
        {403, "InvalidObjectState", S3_ARCHIVED},
        {501, "NotImplemented", S3_UNSUPPORTED},
        {405, "MethodNotAllowed", S3_UNSUPPORTED},
        {403, "InvalidAccessKeyId", S3_DENIED},
        {403, "SignatureDoesNotMatch", S3_DENIED},
        {403, "AccessDenied", S3_DENIED},
        {403, "SomethingNew", S3_DENIED},
        {400, "InvalidToken", S3_DENIED},
        {416, "InvalidRange", S3_RANGE},
        {400, "BadDigest", S3_CHECKSUM},
        {400, "XAmzContentSHA256Mismatch", S3_CHECKSUM},
        {400, "InvalidDigest", S3_CHECKSUM},
        {400, "InvalidArgument", S3_INVALID},
        {400, "AuthorizationHeaderMalformed", S3_INVALID}, /* it names no region */
        {301, "PermanentRedirect", S3_REGION},
    };
    char body[512];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct s3_error e;

        snprintf(body, sizeof(body),
                 XML "<Error><Code>%s</Code><Message>why &amp; how</Message><Key>k</Key>"
                     "<RequestId>1</RequestId><HostId>h</HostId></Error>",
                 cases[i].code);
        e = decode(cases[i].status, NULL, body);
        if (e.class != cases[i].class)
            fail_msg("%d %s: class %d", cases[i].status, cases[i].code, (int)e.class);
        assert_string_equal(e.code, cases[i].code);
        assert_string_equal(e.message, "why & how");
        assert_string_equal(e.region, "");
    }
}

static void a_status_alone_has_a_class(void **state)
{
    static const struct {
        int status;
        enum s3_class class;
    } cases[] = {
        {200, S3_OK},           {204, S3_OK},        {206, S3_OK},           {301, S3_REGION},
        {304, S3_PRECONDITION}, {307, S3_REGION},    {400, S3_INVALID},      {401, S3_DENIED},
        {403, S3_DENIED},       {404, S3_NOT_FOUND}, {405, S3_UNSUPPORTED},  {408, S3_RETRY},
        {409, S3_CONFLICT},     {411, S3_INVALID},   {412, S3_PRECONDITION}, {416, S3_RANGE},
        {429, S3_SLOW_DOWN},    {500, S3_RETRY},     {501, S3_UNSUPPORTED},  {502, S3_RETRY},
        {503, S3_RETRY},        {504, S3_RETRY},     {520, S3_RETRY},        {100, S3_INVALID},
        {418, S3_INVALID},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct s3_error e = decode(cases[i].status, NULL, "");

        if (e.class != cases[i].class)
            fail_msg("%d: class %d", cases[i].status, (int)e.class);
        assert_string_equal(e.code, "");
        assert_string_equal(e.message, "");
    }
}

static void nothing_is_missing_because_a_proxy_says_so(void **state)
{
    (void)state;
    assert_int_equal(decode(404, NULL, "<html><body>404 Not Found</body></html>").class,
                     S3_INVALID);
    assert_int_equal(decode(404, NULL, "default backend - 404").class, S3_INVALID);
    assert_int_equal(decode(404, NULL, "<Error><Code>NoSuchK").class, S3_NOT_FOUND); /* cut off */
    assert_int_equal(decode(404, NULL, "<Error><Code>NoSuchHost</Code></Error>").class,
                     S3_NOT_FOUND);
    assert_int_equal(decode(503, NULL, "<html>503</html>").class, S3_RETRY);
    assert_int_equal(decode(200, NULL, "<html>hello</html>").class, S3_OK);
}

static void the_right_region_comes_from_header_or_body(void **state)
{
    static const char malformed[] =
        XML "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is "
            "malformed; the region 'us-east-1' is wrong; expecting 'eu-central-1'</Message>"
            "<Region>eu-central-1</Region></Error>";
    struct s3_error e = decode(400, NULL, malformed);

    (void)state;
    assert_int_equal(e.class, S3_REGION);
    assert_string_equal(e.region, "eu-central-1");
    e = decode(400, "eu-west-3", malformed); /* the header knows better */
    assert_string_equal(e.region, "eu-west-3");
    e = decode(301, "eu-west-3", "");
    assert_int_equal(e.class, S3_REGION);
    assert_string_equal(e.region, "eu-west-3");
    e = decode(400, "eu-west-3", ""); /* the answer to a HEAD */
    assert_int_equal(e.class, S3_REGION);
    e = decode(403, "eu-west-3", "");
    assert_int_equal(e.class, S3_DENIED);
    assert_string_equal(e.region, "");
    e = decode(400, NULL,
               "<Error><Code>AuthorizationHeaderMalformed</Code>"
               "<Region>evil/../region\r\n</Region></Error>");
    assert_int_equal(e.class, S3_INVALID);
    assert_string_equal(e.region, "");
}

static void sts_has_its_own_envelope(void **state)
{
    struct s3_error e = decode(
        403, NULL,
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <Error>\n"
        "    <Type>Sender</Type>\n    <Code>ExpiredToken</Code>\n    <Message>The security token "
        "included in the request is expired</Message>\n  </Error>\n  <RequestId>1</RequestId>\n"
        "</ErrorResponse>\n");

    (void)state;
    assert_int_equal(e.class, S3_EXPIRED);
    assert_string_equal(e.message, "The security token included in the request is expired");
}

static void what_comes_before_a_fault_counts(void **state)
{
    static char body[64 * 1024];
    size_t n;
    struct s3_error e;

    (void)state;
    /* A canonical request of more than S3_REPLY_TEXT_MAX, cut off where bodies are. */
    n = (size_t)snprintf(body, sizeof(body),
                         "<Error><Code>SignatureDoesNotMatch</Code><Message>m</Message>"
                         "<CanonicalRequestBytes>");
    memset(body + n, '4', sizeof(body) - n - 1);
    e = decode(403, NULL, body);
    assert_int_equal(e.class, S3_DENIED);
    assert_string_equal(e.code, "SignatureDoesNotMatch");
    e = decode(503, NULL, "<Error><Code>Slow");
    assert_int_equal(e.class, S3_RETRY);
    assert_string_equal(e.code, "");
}

static void messages_are_cut_and_hold_nothing_that_could_act(void **state)
{
    char body[1024];
    struct s3_error e;

    (void)state;
    e = decode(400, NULL,
               "<Error><Code>Bad\nCode</Code><Message>a\nb\tc \xc3\xa9</Message></Error>");
    assert_string_equal(e.code, "");
    assert_string_equal(e.message, "a?b?c ??");
    snprintf(body, sizeof(body), "<Error><Code>%0100d</Code><Message>%0400d</Message></Error>", 0,
             7);
    e = decode(400, NULL, body);
    assert_string_equal(e.code, "");
    assert_int_equal(strlen(e.message), S3_REPLY_MESSAGE_SIZE - 1);
    /* A document type is refused before the bomb behind it could be. */
    e = decode(500, NULL,
               "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]>"
               "<Error><Code>NoSuchKey</Code><Message>&b;</Message></Error>");
    assert_int_equal(e.class, S3_RETRY);
    assert_string_equal(e.code, "");
}

static bool is_document(const char *body)
{
    return s3_error_is_document(body, strlen(body)) == 1;
}

static void an_error_in_a_200_is_seen(void **state)
{
    (void)state;
    assert_true(is_document("<Error/>"));
    assert_true(is_document("\n\n  " XML "<Error><Code>InternalError</Code></Error>"));
    assert_true(is_document("<s:Error xmlns:s=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Co"));
    assert_false(is_document(""));
    assert_false(is_document("Error"));
    assert_false(is_document("<Errors/>"));
    assert_false(is_document("<DeleteResult><Error/></DeleteResult>"));
    assert_int_equal(s3_error_is_document(NULL, 0), 0);
    assert_int_equal(decode(200, NULL, "<Error/>").class, S3_RETRY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_code_decides_before_the_status),
        cmocka_unit_test(a_status_alone_has_a_class),
        cmocka_unit_test(nothing_is_missing_because_a_proxy_says_so),
        cmocka_unit_test(the_right_region_comes_from_header_or_body),
        cmocka_unit_test(sts_has_its_own_envelope),
        cmocka_unit_test(what_comes_before_a_fault_counts),
        cmocka_unit_test(messages_are_cut_and_hold_nothing_that_could_act),
        cmocka_unit_test(an_error_in_a_200_is_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
