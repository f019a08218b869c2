/* What of cold/s3 needs no network, with each of its allocations failing in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cold/s3/endpoint.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signing_survives_lack_of_memory),
        cmocka_unit_test(endpoints_survive_lack_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
