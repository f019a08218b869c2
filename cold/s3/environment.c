/*
 * Credentials from the environment: the first link of the chain of credentials.h, and as long as
 * this file is what the driver is built with, the only one.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cold/s3/credentials.h"

struct s3_credentials_source {
    const char *(*getenv)(void *ctx, const char *name);
    void *getenv_ctx;
};

static const char *system_getenv(void *ctx, const char *name)
{
    (void)ctx;
    return getenv(name);
}

int s3_credentials_source_new(const struct base_env *env,
                              const struct s3_credentials_options *options,
                              struct s3_credentials_source **ret, struct varve_error *err)
{
    struct s3_credentials_source *source = calloc(1, sizeof(*source));

    (void)env;
    if (!source)
        return base_fail(err, VARVE_E_NO_MEMORY, "credentials: out of memory");
    source->getenv = options->getenv ? options->getenv : system_getenv;
    source->getenv_ctx = options->getenv_ctx;
    *ret = source;
    return 0;
}

struct s3_credentials_source *s3_credentials_source_free(struct s3_credentials_source *source)
{
    free(source);
    return NULL;
}

static const char *look(const struct s3_credentials_source *source, const char *name)
{
    const char *value = source->getenv(source->getenv_ctx, name);

    return value && value[0] ? value : NULL;
}

int s3_credentials_source_get(struct s3_credentials_source *source, struct s3_credentials *ret,
                              struct varve_error *err)
{
    struct s3_credentials found = {
        .access_key = (char *)(uintptr_t)look(source, "AWS_ACCESS_KEY_ID"),
        .secret_key = (char *)(uintptr_t)look(source, "AWS_SECRET_ACCESS_KEY"),
        .session_token = (char *)(uintptr_t)look(source, "AWS_SESSION_TOKEN"),
        .expires_ms = INT64_MAX};

    if (!found.access_key || !found.secret_key)
        return base_fail(err, VARVE_E_DENIED,
                         "no credentials: looked for AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    return s3_credentials_copy(&found, ret, err);
}

void s3_credentials_source_expire(struct s3_credentials_source *source, const char *access_key)
{
    (void)source; /* read anew each time */
    (void)access_key;
}

const char *s3_credentials_source_region(const struct s3_credentials_source *source)
{
    const char *region = look(source, "AWS_REGION");

    return region ? region : look(source, "AWS_DEFAULT_REGION");
}
