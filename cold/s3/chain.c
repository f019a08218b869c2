/*
 * The order in which credentials are looked for, and what a profile says.
 *
 * Source: "Standardized credential providers" and "Assume role provider", AWS SDKs and Tools
 * reference guide. Within a profile a role goes before static keys, and these before
 * credential_process, as in AWS's own tools; of the two files the credentials file counts first.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/text.h"
#include "cold/s3/credentials_private.h"
#include "cold/s3/profile.h"

#define PROFILE_DEFAULT "default"
#define SOURCE_DEPTH_MAX 8 /* profiles that name each other by source_profile */
#define STS_REGION_DEFAULT "us-east-1"

const char *s3_chain_getenv(const struct s3_chain *chain, const char *name)
{
    const char *value = chain->getenv ? chain->getenv(chain->getenv_ctx, name) : getenv(name);

    return value && value[0] ? value : NULL;
}

/* --- The two files --- */

/* Read anew for each resolution, so that keys changed in them are seen. Either may be NULL. */
struct files {
    struct s3_profile_file *credentials, *config;
};

static void files_deinit(struct files *f)
{
    s3_profile_file_free(f->credentials);
    s3_profile_file_free(f->config);
    *f = (struct files){0};
}

/* A file that is not there is none; `path` may be NULL. */
static int file_read(const struct s3_chain *chain, const char *path, enum s3_profile_kind kind,
                     struct s3_profile_file **ret, struct varve_error *err)
{
    struct varve_error failure = {0};
    int rc;

    if (!path)
        return 0;
    rc = s3_profile_file_read(chain->env->io, path, kind, ret, &failure);
    /* Some services have /dev/null for a home. */
    if (rc == VARVE_E_NOT_FOUND || (rc < 0 && failure.sys_errno == ENOTDIR))
        return 0;
    if (rc < 0 && err)
        *err = failure;
    return rc;
}

static int files_init(const struct s3_chain *chain, struct files *f, struct varve_error *err)
{
    int rc;

    *f = (struct files){0};
    rc = file_read(chain, chain->credentials_path, S3_PROFILE_CREDENTIALS, &f->credentials, err);
    if (rc == 0)
        rc = file_read(chain, chain->config_path, S3_PROFILE_CONFIG, &f->config, err);
    if (rc < 0)
        files_deinit(f);
    return rc;
}

static bool has_profile(const struct files *f, const char *profile)
{
    return (f->credentials && s3_profile_file_has(f->credentials, "profile", profile)) ||
           (f->config && s3_profile_file_has(f->config, "profile", profile));
}

/* Of one file, which may not be there. */
static const char *get_of(const struct s3_profile_file *file, const char *profile, const char *name)
{
    return file ? s3_profile_file_get(file, "profile", profile, name) : NULL;
}

static const char *get(const struct files *f, const char *profile, const char *name)
{
    const char *value = get_of(f->credentials, profile, name);

    return value ? value : get_of(f->config, profile, name);
}

/* --- Static keys --- */

/* `from` is for the message. A key without its secret is a mistake. */
static int keys_make(const char *access, const char *secret, const char *token, const char *from,
                     struct s3_credentials *ret, struct varve_error *err)
{
    const struct s3_credentials c = {.access_key = (char *)(uintptr_t)access,
                                     .secret_key = (char *)(uintptr_t)secret,
                                     .session_token = (char *)(uintptr_t)token,
                                     .expires_ms = INT64_MAX};

    if (!access && !secret)
        return base_fail(err, VARVE_E_NOT_FOUND, "%s: no keys", from);
    if (!access || !secret)
        return base_fail(err, VARVE_E_DENIED, "%s: there is %s", from,
                         access ? "an access key, but no secret key"
                                : "a secret key, but no access key");
    if (!s3_provider_is_header(access) || (token && !s3_provider_is_header(token)))
        return base_fail(err, VARVE_E_DENIED, "%s: the access key or token is no plain text", from);
    return s3_credentials_copy(&c, ret, err);
}

static int environment_keys(const struct s3_chain *chain, struct s3_credentials *ret,
                            struct varve_error *err)
{
    return keys_make(s3_chain_getenv(chain, "AWS_ACCESS_KEY_ID"),
                     s3_chain_getenv(chain, "AWS_SECRET_ACCESS_KEY"),
                     s3_chain_getenv(chain, "AWS_SESSION_TOKEN"), "the environment", ret, err);
}

/* The keys of a profile, from one file: those of two would not belong together. */
static int profile_keys(const struct files *f, const char *profile, struct s3_credentials *ret,
                        struct varve_error *err)
{
    const struct s3_profile_file *const each[] = {f->credentials, f->config};
    char from[96];
    int rc = VARVE_E_NOT_FOUND;

    snprintf(from, sizeof(from), "profile '%.64s'", profile);
    for (size_t i = 0; rc == VARVE_E_NOT_FOUND && i < 2; i++)
        rc = keys_make(get_of(each[i], profile, "aws_access_key_id"),
                       get_of(each[i], profile, "aws_secret_access_key"),
                       get_of(each[i], profile, "aws_session_token"), from, ret, err);
    return rc;
}

/* --- Profiles --- */

/* A walk along source_profile. */
struct walk {
    const struct s3_chain *chain;
    const struct files *files;
    const char *visited[SOURCE_DEPTH_MAX];
    unsigned depth;
};

static int profile_resolve(struct walk *w, const char *profile, struct s3_credentials *ret,
                           struct varve_error *err);

static int source_by_profile(struct walk *w, const char *profile, const char *source,
                             struct s3_credentials *ret, struct varve_error *err)
{
    int rc;

    /* A profile may name itself: it then holds the keys that assume its role. */
    if (strcmp(source, profile) == 0)
        rc = profile_keys(w->files, profile, ret, err);
    else
        rc = profile_resolve(w, source, ret, err);
    if (rc == VARVE_E_NOT_FOUND)
        return base_fail(err, VARVE_E_DENIED,
                         "profile '%.64s': its source_profile '%.64s' has no credentials", profile,
                         source);
    return rc;
}

static int source_by_name(const struct s3_chain *chain, const char *profile, const char *name,
                          struct s3_credentials *ret, struct varve_error *err)
{
    const char *why = "";
    int rc;

    if (strcasecmp(name, "Environment") == 0)
        rc = environment_keys(chain, ret, err);
    else if (strcasecmp(name, "EcsContainer") == 0)
        rc = s3_provider_container(chain, ret, err);
    else if (strcasecmp(name, "Ec2InstanceMetadata") == 0)
        rc = s3_provider_instance(chain, &why, ret, err);
    else
        return base_fail(err, VARVE_E_INVALID, "profile '%.64s': credential_source '%.32s' is none",
                         profile, name);
    if (rc == VARVE_E_NOT_FOUND)
        return base_fail(err, VARVE_E_DENIED,
                         "profile '%.64s': its credential_source '%.32s' has no credentials",
                         profile, name);
    return rc;
}

static int role_source(struct walk *w, const char *profile, struct s3_credentials *ret,
                       struct varve_error *err)
{
    const char *source = get(w->files, profile, "source_profile");
    const char *name = get(w->files, profile, "credential_source");

    if (!source == !name)
        return base_fail(err, VARVE_E_INVALID,
                         "profile '%.64s': role_arn needs one of source_profile, "
                         "credential_source and web_identity_token_file",
                         profile);
    return source ? source_by_profile(w, profile, source, ret, err)
                  : source_by_name(w->chain, profile, name, ret, err);
}

static int role_resolve(struct walk *w, const char *profile, const char *arn,
                        struct s3_credentials *ret, struct varve_error *err)
{
    const struct s3_role role = {
        .arn = arn,
        .session_name = get(w->files, profile, "role_session_name"),
        .external_id = get(w->files, profile, "external_id"),
        .duration_s = get(w->files, profile, "duration_seconds"),
    };
    const char *token = get(w->files, profile, "web_identity_token_file");
    struct s3_credentials by;
    int rc;

    if (token) {
        rc = s3_provider_web_identity(w->chain, &role, token, ret, err);
    } else if (get(w->files, profile, "mfa_serial")) {
        return base_fail(err, VARVE_E_UNSUPPORTED,
                         "profile '%.64s': mfa_serial asks a person, and nobody is there", profile);
    } else {
        rc = role_source(w, profile, &by, err);
        if (rc < 0)
            return rc;
        rc = s3_provider_assume_role(w->chain, &role, &by, ret, err);
        s3_credentials_clear(&by);
    }
    if (rc == 0)
        ret->source = token ? "web identity" : "assumed role";
    return rc < 0 ? base_error_context(err, rc, "profile '%.64s'", profile) : 0;
}

static int profile_enter(struct walk *w, const char *profile, struct varve_error *err)
{
    for (unsigned i = 0; i < w->depth; i++) {
        if (strcmp(w->visited[i], profile) == 0)
            return base_fail(err, VARVE_E_INVALID,
                             "profile '%.64s': source_profile leads back to itself", profile);
    }
    if (w->depth == SOURCE_DEPTH_MAX)
        return base_fail(err, VARVE_E_INVALID,
                         "profile '%.64s': more than %d profiles name each other", profile,
                         SOURCE_DEPTH_MAX);
    w->visited[w->depth++] = profile;
    return 0;
}

static int profile_resolve(struct walk *w, const char *profile, struct s3_credentials *ret,
                           struct varve_error *err)
{
    const char *arn = get(w->files, profile, "role_arn");
    const char *command = get(w->files, profile, "credential_process");
    int rc = profile_enter(w, profile, err);

    if (rc < 0)
        return rc;
    if (arn)
        return role_resolve(w, profile, arn, ret, err);
    rc = profile_keys(w->files, profile, ret, err);
    if (rc != VARVE_E_NOT_FOUND)
        return rc;
    if (command) {
        rc = s3_provider_process(command, ret, err);
        if (rc == 0)
            ret->source = "credential_process";
        return rc < 0 ? base_error_context(err, rc, "profile '%.64s'", profile) : 0;
    }
    if (get(w->files, profile, "sso_session") || get(w->files, profile, "sso_start_url"))
        return base_fail(err, VARVE_E_UNSUPPORTED,
                         "profile '%.40s' signs in by SSO; give another one the line "
                         "credential_process = aws configure export-credentials --profile %.40s",
                         profile, profile);
    return base_fail(err, VARVE_E_NOT_FOUND, "profile '%.64s' has no credentials", profile);
}

static int by_profile(const struct s3_chain *chain, struct s3_credentials *ret,
                      struct varve_error *err)
{
    struct files files;
    struct walk w = {.chain = chain, .files = &files};
    int rc = files_init(chain, &files, err);

    if (rc < 0)
        return rc;
    if (has_profile(&files, chain->profile))
        rc = profile_resolve(&w, chain->profile, ret, err);
    else if (chain->profile_named)
        rc = base_fail(err, VARVE_E_DENIED, "there is no profile '%.40s' in %.60s nor %.60s",
                       chain->profile, chain->credentials_path ? chain->credentials_path : "-",
                       chain->config_path ? chain->config_path : "-");
    else
        rc = base_fail(err, VARVE_E_NOT_FOUND, "no profile");
    files_deinit(&files);
    return rc;
}

/* --- The chain --- */

static int by_web_identity(const struct s3_chain *chain, struct s3_credentials *ret,
                           struct varve_error *err)
{
    const char *path = s3_chain_getenv(chain, "AWS_WEB_IDENTITY_TOKEN_FILE");
    const struct s3_role role = {.arn = s3_chain_getenv(chain, "AWS_ROLE_ARN"),
                                 .session_name = s3_chain_getenv(chain, "AWS_ROLE_SESSION_NAME")};

    if (!path)
        return base_fail(err, VARVE_E_NOT_FOUND, "no web identity");
    if (!role.arn)
        return base_fail(err, VARVE_E_DENIED,
                         "AWS_WEB_IDENTITY_TOKEN_FILE is set, but not AWS_ROLE_ARN");
    return s3_provider_web_identity(chain, &role, path, ret, err);
}

/* Passes rc on; what was got is said to come from there, unless it says so itself. */
static int by(const char *source, int rc, struct s3_credentials *ret)
{
    if (rc == 0 && !ret->source)
        ret->source = source;
    return rc;
}

int s3_chain_resolve(const struct s3_chain *chain, struct s3_credentials *ret,
                     struct varve_error *err)
{
    const char *why = "nothing";
    int rc = VARVE_E_NOT_FOUND;

    if (!chain->profile_by_caller)
        rc = by("environment", environment_keys(chain, ret, err), ret);
    if (rc == VARVE_E_NOT_FOUND)
        rc = by("profile", by_profile(chain, ret, err), ret);
    if (rc == VARVE_E_NOT_FOUND)
        rc = by("web identity", by_web_identity(chain, ret, err), ret);
    if (rc == VARVE_E_NOT_FOUND)
        rc = by("container endpoint", s3_provider_container(chain, ret, err), ret);
    if (rc == VARVE_E_NOT_FOUND)
        rc = by("instance metadata", s3_provider_instance(chain, &why, ret, err), ret);
    if (rc == VARVE_E_NOT_FOUND)
        rc = base_fail(err, VARVE_E_DENIED,
                       "none in the environment (AWS_ACCESS_KEY_ID), in profile '%.32s', by web "
                       "identity, at a container's endpoint, nor in instance metadata (%s)",
                       chain->profile, why);
    return rc < 0 ? base_error_context(err, rc, "S3 credentials") : 0;
}

/* --- What is known without asking anybody --- */

static int set(char **place, const char *value, struct varve_error *err)
{
    return value ? base_format(place, err, "%s", value) : 0;
}

/* "~/x" is below the home directory; without one (NULL) only other names are known. */
static int path_make(const char *home, const char *named, const char *usual, char **ret,
                     struct varve_error *err)
{
    if (named && strncmp(named, "~/", 2) != 0)
        return base_format(ret, err, "%s", named);
    return home ? base_format(ret, err, "%s/%s", home, named ? named + 2 : usual) : 0;
}

/* What the profile's services section or the profile itself says; NULL: nothing. */
static const char *profile_endpoint(const struct files *f, const char *profile, const char *service)
{
    const char *services = get(f, profile, "services");
    const char *value = NULL;
    char name[32];

    snprintf(name, sizeof(name), "%s.endpoint_url", service);
    if (services && f->config)
        value = s3_profile_file_get(f->config, "services", services, name);
    if (!value) /* an older habit */
        value = get(f, profile, name);
    return value ? value : get(f, profile, "endpoint_url");
}

static int endpoint_set(const struct s3_chain *chain, const struct files *f, const char *variable,
                        const char *service, char **place, struct varve_error *err)
{
    const char *ignored = s3_chain_getenv(chain, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS");
    const char *value = s3_chain_getenv(chain, variable);

    if (ignored && strcasecmp(ignored, "true") == 0)
        return 0;
    if (!value)
        value = s3_chain_getenv(chain, "AWS_ENDPOINT_URL");
    if (!value)
        value = profile_endpoint(f, chain->profile, service);
    return set(place, value, err);
}

static int settings_init(struct s3_chain *chain, const char *region, struct varve_error *err)
{
    const char *known = s3_chain_getenv(chain, "AWS_REGION");
    struct files files;
    int rc = files_init(chain, &files, NULL);

    if (rc == VARVE_E_NO_MEMORY)
        return base_fail(err, rc, "read the profile: out of memory");
    /* Files that cannot be read are s3_chain_resolve's to complain about, where it needs them. */
    if (!known)
        known = s3_chain_getenv(chain, "AWS_DEFAULT_REGION");
    if (!known)
        known = get(&files, chain->profile, "region");
    rc = set(&chain->region, known, err);
    if (rc == 0)
        rc = set(&chain->sts_region, region ? region : known ? known : STS_REGION_DEFAULT, err);
    if (rc == 0)
        rc = endpoint_set(chain, &files, "AWS_ENDPOINT_URL_S3", "s3", &chain->endpoint_url, err);
    if (rc == 0 && !chain->sts_endpoint)
        rc = endpoint_set(chain, &files, "AWS_ENDPOINT_URL_STS", "sts", &chain->sts_endpoint, err);
    files_deinit(&files);
    return rc;
}

int s3_chain_init(struct s3_chain *chain, const char *profile, const char *region,
                  struct varve_error *err)
{
    const char *of_environment = s3_chain_getenv(chain, "AWS_PROFILE");
    const char *home = s3_chain_getenv(chain, "HOME");
    int rc;

    chain->profile_by_caller = profile != NULL;
    chain->profile_named = profile || of_environment;
    if (!profile)
        profile = of_environment ? of_environment : PROFILE_DEFAULT;
    rc = set(&chain->profile, profile, err);
    if (rc == 0)
        rc = path_make(home, s3_chain_getenv(chain, "AWS_CONFIG_FILE"), ".aws/config",
                       &chain->config_path, err);
    if (rc == 0)
        rc = path_make(home, s3_chain_getenv(chain, "AWS_SHARED_CREDENTIALS_FILE"),
                       ".aws/credentials", &chain->credentials_path, err);
    return rc == 0 ? settings_init(chain, region, err) : rc;
}

void s3_chain_deinit(struct s3_chain *chain)
{
    free(chain->profile);
    free(chain->config_path);
    free(chain->credentials_path);
    free(chain->region);
    free(chain->sts_region);
    free(chain->endpoint_url);
    free(chain->sts_endpoint);
    free(chain->imds_endpoint);
    s3_signer_free(chain->signer);
    *chain = (struct s3_chain){0};
}
