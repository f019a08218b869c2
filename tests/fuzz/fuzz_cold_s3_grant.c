/* Credentials as metadata services and credential_process hand them out, in JSON. */
#include "cold/s3/credentials_private.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const tokens[] = {"Token", "SessionToken"};
    const char *text = (const char *)data;
    struct varve_error err = {0};
    char *member = NULL;

    for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        struct s3_credentials c = {0};

        if (took(s3_provider_json(text, size, tokens[i], &c, &err), &err)) {
            must(c.access_key && c.access_key[0] && c.secret_key && c.secret_key[0]);
            s3_credentials_clear(&c);
        }
    }
    if (took(s3_provider_json_member(text, size, "Code", &member, &err), &err)) {
        (void)(member && s3_provider_is_header(member));
        free(member);
    }
    return 0;
}
