/* What of cold/s3 needs no network, with each of its allocations failing in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cold/s3/credentials_private.h"
#include "cold/s3/endpoint.h"
#include "cold/s3/reply.h"
#include "cold/s3/sign.h"
#include "tests/support/alloc.h"

static char access_key[] = "AKIAIOSFODNN7EXAMPLE";
static char secret_key[] = "secret";
static char session_token[] = "token";
static const struct s3_credentials credentials = {
    .access_key = access_key, .secret_key = secret_key, .session_token = session_token};

/* Each does its work once and gives everything back; 0 or VARVE_E_NO_MEMORY. */

static int use_signer(struct varve_error *err)
{
    const struct s3_header headers[] = {{"host", "h"}, {"x-amz-date", "20260102T030405Z"}};
    const struct s3_sign_request r = {.method = "GET",
                                      .path = "/",
                                      .query = "",
                                      .headers = headers,
                                      .header_count = 2,
                                      .payload_sha256 = "UNSIGNED-PAYLOAD",
                                      .region = "us-east-1",
                                      .service = "s3",
                                      .date = "20260102T030405Z"};
    struct s3_credentials copy;
    struct s3_signer *signer;
    char *value = NULL;
    int rc = s3_credentials_copy(&credentials, &copy, err);

    if (rc < 0)
        return rc;
    rc = s3_signer_new(&signer, err);
    if (rc == 0) {
        rc = s3_signer_authorize(signer, &copy, &r, &value, err);
        free(value);
        s3_signer_free(signer);
    }
    s3_credentials_clear(&copy);
    return rc;
}

static int use_endpoint(struct varve_error *err)
{
    const struct s3_query pairs[] = {{"prefix", "a/b"}, {"list-type", "2"}};
    struct s3_endpoint e;
    char *path = NULL, *query = NULL;
    int rc = s3_endpoint_init(&(struct s3_endpoint_options){.bucket = "bkt"}, &e, err);

    if (rc < 0)
        return rc;
    rc = s3_endpoint_path(&e, "a b", &path, err);
    if (rc == 0)
        rc = s3_query_encode(pairs, 2, &query, err);
    free(path);
    free(query);
    s3_endpoint_deinit(&e);
    return rc;
}

static int see_object(void *arg, const struct s3_list_object *object)
{
    (void)arg;
    (void)object;
    return 0;
}

static int see_upload(void *arg, const struct s3_list_upload *upload)
{
    (void)arg;
    (void)upload;
    return 0;
}

static int use_listings(struct varve_error *err)
{
    static const char list[] =
        "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t"
        "</NextContinuationToken><Contents><Key>k</Key><Size>1</Size><ETag>e</ETag><StorageClass>s"
        "</StorageClass></Contents><Contents><Key>l</Key><Size>1</Size></Contents>"
        "</ListBucketResult>";
    static const char uploads[] =
        "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated><NextKeyMarker>k"
        "</NextKeyMarker><NextUploadIdMarker>i</NextUploadIdMarker><Upload><Key>k</Key><UploadId>i"
        "</UploadId></Upload></ListMultipartUploadsResult>";
    struct s3_uploads_result more;
    struct s3_list_result result;
    int rc = s3_reply_list(list, strlen(list), see_object, NULL, &result, err);

    if (rc < 0)
        return rc;
    free(result.next_token);
    rc = s3_reply_uploads(uploads, strlen(uploads), see_upload, NULL, &more, err);
    if (rc < 0)
        return rc;
    free(more.next_key_marker);
    free(more.next_upload_id_marker);
    return 0;
}

static int use_other_replies(struct varve_error *err)
{
    static const char location[] = "<LocationConstraint>r</LocationConstraint>";
    static const char deleted[] = "<DeleteResult><Error><Key>k</Key><Code>c</Code><Message>m</"
                                  "Message></Error></DeleteResult>";
    static const char grant[] =
        "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>A</AccessKeyId>"
        "<SecretAccessKey>S</SecretAccessKey><SessionToken>T</SessionToken><Expiration>"
        "2026-01-02T04:04:05Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";
    struct s3_credentials c;
    char *text;
    int rc = s3_reply_location(location, strlen(location), &text, err);

    if (rc < 0)
        return rc;
    free(text);
    rc = s3_reply_delete(deleted, strlen(deleted), NULL, NULL, err);
    if (rc < 0)
        return rc;
    rc = s3_reply_credentials(grant, strlen(grant), &c, err);
    if (rc < 0)
        return rc;
    s3_credentials_clear(&c);
    return 0;
}

static int use_json_grant(struct varve_error *err)
{
    static const char grant[] = "{\"AccessKeyId\": \"A\", \"SecretAccessKey\": \"S\", \"Token\": "
                                "\"T\", \"Expiration\": \"2026-01-02T04:04:05Z\"}";
    struct s3_credentials c = {0};
    int rc = s3_provider_json(grant, strlen(grant), "Token", &c, err);

    if (rc < 0)
        assert_null(c.access_key);
    s3_credentials_clear(&c);
    return rc;
}

static void fail_each(int (*use)(struct varve_error *err))
{
    uint64_t nth = 0, count;

    do {
        struct varve_error err = {0};
        int rc;

        nth++;
        support_alloc_fail(nth, false);
        rc = use(&err);
        count = support_alloc_stop();
        assert_int_equal(rc, count >= nth ? VARVE_E_NO_MEMORY : 0);
        assert_int_equal(err.code, rc);
    } while (count >= nth);
    assert_true(nth > 1);
}

static void signing_survives_lack_of_memory(void **state)
{
    (void)state;
    fail_each(use_signer);
}

static void endpoints_survive_lack_of_memory(void **state)
{
    (void)state;
    fail_each(use_endpoint);
}

static void listings_survive_lack_of_memory(void **state)
{
    (void)state;
    fail_each(use_listings);
}

static void other_replies_survive_lack_of_memory(void **state)
{
    (void)state;
    fail_each(use_other_replies);
}

static void grants_in_json_survive_lack_of_memory(void **state)
{
    (void)state;
    fail_each(use_json_grant);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signing_survives_lack_of_memory),
        cmocka_unit_test(endpoints_survive_lack_of_memory),
        cmocka_unit_test(listings_survive_lack_of_memory),
        cmocka_unit_test(other_replies_survive_lack_of_memory),
        cmocka_unit_test(grants_in_json_survive_lack_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
