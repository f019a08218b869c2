/*
 * What credentials.c, chain.c and the providers share.
 *
 * A provider returns 0, the condition VARVE_E_NOT_FOUND when it is not set up (the chain goes on),
 * or a failure when it is set up and does not work (the chain ends). *ret is written only on
 * success.
 */
#ifndef COLD_S3_CREDENTIALS_PRIVATE_H
#define COLD_S3_CREDENTIALS_PRIVATE_H

#include <stdbool.h>

#include "base/env.h"
#include "cold/s3/http.h"
#include "cold/s3/sign.h"

#define S3_PROVIDER_REPLY_MAX (64 * 1024) /* of any provider: a few KiB are usual */

/* What all providers work with; immutable once made. Strings are its own. */
struct s3_chain {
    const struct base_env *env;
    struct s3_http *http;
    const char *(*getenv)(void *ctx, const char *name);
    void *getenv_ctx;
    char *profile;          /* "default" when nobody said which */
    bool profile_by_caller; /* it goes before the environment */
    bool profile_named;     /* by the caller or AWS_PROFILE: it must exist */
    char *config_path;      /* NULL: there is no home directory to look in */
    char *credentials_path;
    char *region;        /* of the environment or the profile; NULL: none */
    char *sts_region;    /* the caller's, or `region`, or us-east-1 */
    char *endpoint_url;  /* of S3, as environment or profile say; NULL: AWS's own */
    char *sts_endpoint;  /* likewise of STS */
    char *imds_endpoint; /* NULL: as the environment says */
    struct s3_signer *signer;
};

/* chain.c. NULL for what is not set and for what is empty. */
const char *s3_chain_getenv(const struct s3_chain *chain, const char *name);
/* Fills what comes from the environment and the files: profile, paths, region, endpoints. What is
 * filled when it fails is released by s3_chain_deinit, as ever. */
int s3_chain_init(struct s3_chain *chain, const char *profile, const char *region,
                  struct varve_error *err);
void s3_chain_deinit(struct s3_chain *chain);
/* Asks all providers in their order. VARVE_E_DENIED: there are none. */
int s3_chain_resolve(const struct s3_chain *chain, struct s3_credentials *ret,
                     struct varve_error *err);

struct s3_role {
    const char *arn;
    const char *session_name; /* NULL: one is made */
    const char *external_id;  /* NULL: none */
    const char *duration_s;   /* NULL: the role's */
};

/* provider_sts.c */
int s3_provider_assume_role(const struct s3_chain *chain, const struct s3_role *role,
                            const struct s3_credentials *by, struct s3_credentials *ret,
                            struct varve_error *err);
/* The token is read from its file each time: it is rotated there. */
int s3_provider_web_identity(const struct s3_chain *chain, const struct s3_role *role,
                             const char *token_path, struct s3_credentials *ret,
                             struct varve_error *err);

/* provider_metadata.c. *why is set to what the chain says when there was nothing. */
int s3_provider_container(const struct s3_chain *chain, struct s3_credentials *ret,
                          struct varve_error *err);
int s3_provider_instance(const struct s3_chain *chain, const char **why, struct s3_credentials *ret,
                         struct varve_error *err);

/* provider_process.c */
int s3_provider_process(const char *command, struct s3_credentials *ret, struct varve_error *err);

/* provider_json.c: an object with AccessKeyId, SecretAccessKey, the token under `token_name`, and
 * Expiration where there is one. VARVE_E_CORRUPT names the member that is missing or bad. */
int s3_provider_json(const char *text, size_t size, const char *token_name,
                     struct s3_credentials *ret, struct varve_error *err);
/* The text of a member, in fresh memory; *ret is NULL when it is not there or no string. */
int s3_provider_json_member(const char *text, size_t size, const char *name, char **ret,
                            struct varve_error *err);

/* provider_http.c */
struct s3_provider_request {
    const char *what; /* for messages: "instance metadata" */
    const char *method;
    const char *url;
    const struct s3_header *headers;
    size_t header_count;
    const char *body;   /* NULL: none */
    bool direct;        /* never by a proxy */
    int64_t timeout_ms; /* for connecting and for the first byte; 0: as usual */
};

struct s3_provider_reply {
    bool reached; /* false: nobody answers there */
    int status;
    char *body; /* fresh memory with a NUL behind; never NULL once the call has succeeded */
    size_t size;
};

/* A whole reply, whatever its status. VARVE_E_STORE (ret->reached says which), VARVE_E_NO_MEMORY.
 */
int s3_provider_call(const struct s3_chain *chain, const struct s3_provider_request *request,
                     struct s3_provider_reply *ret, struct varve_error *err);
void s3_provider_reply_deinit(struct s3_provider_reply *reply); /* wipes */
/* Raises what a status other than 200 means: VARVE_E_DENIED, or VARVE_E_STORE, retriable. */
int s3_provider_refused(const char *what, const struct s3_provider_reply *reply,
                        struct varve_error *err);
/* What goes into a header must be one line of printable characters, and not empty. */
bool s3_provider_is_header(const char *text);
void s3_provider_wipe(char *text); /* and frees */
/* A file with one secret line, without the line end. VARVE_E_DENIED: there is none, or it is empty;
 * VARVE_E_INVALID: it is not one line of text. */
int s3_provider_read_line(const struct s3_chain *chain, const char *path, char **ret,
                          struct varve_error *err);

#endif
