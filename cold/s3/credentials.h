/*
 * Where the keys come from, as every S3 user expects, in this order: the environment; the profile
 * in the shared config and credentials files (static keys, credential_process, assumed roles with
 * source_profile or credential_source); web identity; the container endpoint; instance metadata
 * (IMDSv2). The first that has something decides; one that is set up and fails is an error that
 * says so, it is not skipped. A profile that the caller names (rather than AWS_PROFILE) goes before
 * the environment, as in AWS's own tools. Instance metadata where nobody answers is not set up.
 *
 * Source: "Standardized credential providers", AWS SDKs and Tools reference guide.
 */
#ifndef COLD_S3_CREDENTIALS_H
#define COLD_S3_CREDENTIALS_H

#include "cold/s3/http.h"
#include "cold/s3/sign.h"

#define S3_CREDENTIALS_EARLY_MS (5 * 60 * 1000) /* refreshed so long before they expire */

struct s3_credentials_options {
    struct s3_http *http; /* not owned; for STS, container and instance metadata */
    const char *profile;  /* NULL: AWS_PROFILE, else "default" */
    const char *region;   /* for STS; NULL: as environment or profile say, else us-east-1 */
    /* How the environment is read, so that tests have their own; NULL: getenv. */
    const char *(*getenv)(void *ctx, const char *name);
    void *getenv_ctx;
    const char *imds_endpoint; /* NULL: as the environment says, else http://169.254.169.254 */
    const char *sts_endpoint;  /* NULL: as the environment says, else AWS's of the region */
};

struct s3_credentials_source;
/* Asks nothing of the network yet. */
int s3_credentials_source_new(const struct base_env *env,
                              const struct s3_credentials_options *options,
                              struct s3_credentials_source **ret, struct varve_error *err);
struct s3_credentials_source *s3_credentials_source_free(struct s3_credentials_source *source);

/*
 * A copy of what to sign with now. Fetches when there is nothing yet or it has expired (the caller
 * waits), and refreshes ahead of time (one caller does, the others go on with what is there). A
 * refresh that fails while the old ones are valid is a warning in the log.
 * Threads: any. Blocks on the network: never call it on an I/O thread of s3_http.
 * Failures: VARVE_E_DENIED (there are none; the message lists where it looked), VARVE_E_STORE,
 * VARVE_E_INVALID and VARVE_E_UNSUPPORTED (a profile), VARVE_E_FAILED (a credential_process), and
 * those of files.
 */
int s3_credentials_source_get(struct s3_credentials_source *source, struct s3_credentials *ret,
                              struct varve_error *err);
/* The store called the credentials with this access key and token expired: the next get fetches
 * anew. */
void s3_credentials_source_expire(struct s3_credentials_source *source, const char *access_key);
/* The region of the profile or the environment, or NULL; owned by the source. */
const char *s3_credentials_source_region(const struct s3_credentials_source *source);

/* The profile's name, "default" when nobody said which. */
const char *s3_credentials_source_profile(const struct s3_credentials_source *source);
/* Likewise the URL of S3: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, or the profile's. */
const char *s3_credentials_source_endpoint_url(const struct s3_credentials_source *source);

#endif
