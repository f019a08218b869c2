/*
 * credential_process: a program that prints credentials.
 *
 * Source: "Process credential provider", AWS SDKs and Tools reference guide. AWS's own tools run
 * the setting by the shell, so people quote in it as for a shell.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/process.h"
#include "cold/s3/credentials_private.h"

#define TIMEOUT_MS (60 * 1000) /* some ask a server for single sign-on */

static int decode(const char *text, size_t size, struct s3_credentials *ret,
                  struct varve_error *err)
{
    struct base_json version;

    if (!base_json_find(text, size, "Version", &version) || version.kind != BASE_JSON_NUMBER ||
        version.size != 1 || version.data[0] != '1')
        return base_fail(err, VARVE_E_CORRUPT, "its output is no JSON object of Version 1");
    return s3_provider_json(text, size, "SessionToken", ret, err);
}

int s3_provider_process(const char *command, struct s3_credentials *ret, struct varve_error *err)
{
    size_t size;
    char *text;
    int rc = base_process_run(command, S3_PROVIDER_REPLY_MAX, TIMEOUT_MS, &text, &size, err);

    if (rc == 0) {
        rc = decode(text, size, ret, err);
        explicit_bzero(text, size);
        free(text);
    }
    return rc < 0 ? base_error_context(err, rc, "credential_process") : 0;
}
