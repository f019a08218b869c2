/*
 * Roles, assumed at the Security Token Service: by keys, or by a token of somebody's identity.
 *
 * Source: "AssumeRole" and "AssumeRoleWithWebIdentity", AWS STS API reference. MinIO and Ceph
 * answer the same calls at their own endpoint.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "cold/s3/credentials_private.h"
#include "cold/s3/endpoint.h"
#include "cold/s3/reply.h"

#define API_VERSION "2011-06-15"
#define FORM "application/x-www-form-urlencoded; charset=utf-8"

/* Where STS is: "https://host[:port]" and the Host header. */
struct place {
    char *base;
    char *host;
};

static void place_deinit(struct place *p)
{
    free(p->base);
    free(p->host);
}

static int place_init(const struct s3_chain *chain, struct place *ret, struct varve_error *err)
{
    struct place p = {0};
    int rc;

    if (chain->sts_endpoint)
        return s3_endpoint_split(chain->sts_endpoint, &ret->base, &ret->host, err);
    rc = s3_endpoint_aws_host("sts", chain->sts_region, &p.host, err);
    if (rc == 0)
        rc = base_format(&p.base, err, "https://%s", p.host);
    if (rc < 0) {
        place_deinit(&p);
        return rc;
    }
    *ret = p;
    return 0;
}

/* A name for the session, which shows in AWS's audit log. */
static int session_name(const struct s3_chain *chain, const struct s3_role *role, char **ret,
                        struct varve_error *err)
{
    if (role->session_name)
        return base_format(ret, err, "%s", role->session_name);
    return base_format(ret, err, "varve-%016" PRIx64, base_random_u64(chain->env->random));
}

/* Sends the form, signed by `keys` (NULL: unsigned). */
static int post(const struct s3_chain *chain, const struct place *place, const char *what,
                const char *form, const struct s3_credentials *keys, struct s3_provider_reply *ret,
                struct varve_error *err)
{
    char date[S3_SIGN_DATE_SIZE], digest[S3_SIGN_DIGEST_SIZE];
    struct s3_header headers[6] = {
        {"host", place->host},
        {"content-type", FORM},
        {"x-amz-date", date},
        {"x-amz-content-sha256", digest}, /* AWS's does without, Ceph's wants it */
    };
    struct s3_sign_request sign = {.method = "POST",
                                   .path = "/",
                                   .query = "",
                                   .headers = headers,
                                   .header_count = 4,
                                   .payload_sha256 = digest,
                                   .region = chain->sts_region,
                                   .service = "sts",
                                   .date = date};
    struct s3_provider_request request = {
        .what = what, .method = "POST", .headers = headers, .body = form};
    char *authorization = NULL, *url = NULL;
    int rc = s3_sign_digest(form, strlen(form), digest, err);

    s3_sign_date(chain->env->clock->wall_ms(chain->env->clock->ctx), date);
    if (rc == 0 && keys) {
        if (keys->session_token)
            headers[sign.header_count++] =
                (struct s3_header){"x-amz-security-token", keys->session_token};
        rc = s3_signer_authorize(chain->signer, keys, &sign, &authorization, err);
    }
    if (rc == 0)
        rc = base_format(&url, err, "%s/", place->base);
    if (rc == 0) {
        request.url = url;
        request.header_count = sign.header_count;
        if (authorization)
            headers[request.header_count++] = (struct s3_header){"authorization", authorization};
        rc = s3_provider_call(chain, &request, ret, err);
    }
    free(authorization);
    free(url);
    return rc;
}

/* Sends the form and reads the credentials that come back. */
static int ask(const struct s3_chain *chain, const char *what, const char *form,
               const struct s3_credentials *keys, struct s3_credentials *ret,
               struct varve_error *err)
{
    struct s3_provider_reply reply = {0};
    struct place place = {0};
    int rc = place_init(chain, &place, err);

    if (rc < 0)
        return base_error_context(err, rc, "%s", what);
    rc = post(chain, &place, what, form, keys, &reply, err);
    place_deinit(&place);
    if (rc < 0)
        return rc;
    if (reply.status != 200) {
        rc = s3_provider_refused(what, &reply, err);
    } else {
        rc = s3_reply_credentials(reply.body, reply.size, ret, err);
        if (rc < 0)
            rc = base_error_context(err, rc, "%s", what);
    }
    s3_provider_reply_deinit(&reply);
    return rc;
}

int s3_provider_assume_role(const struct s3_chain *chain, const struct s3_role *role,
                            const struct s3_credentials *by, struct s3_credentials *ret,
                            struct varve_error *err)
{
    char *session, *form;
    int rc = session_name(chain, role, &session, err);

    if (rc < 0)
        return rc;
    rc = s3_query_encode((const struct s3_query[]){{"Action", "AssumeRole"},
                                                   {"Version", API_VERSION},
                                                   {"RoleArn", role->arn},
                                                   {"RoleSessionName", session},
                                                   {"DurationSeconds", role->duration_s},
                                                   {"ExternalId", role->external_id}},
                         6, &form, err);
    free(session);
    if (rc < 0)
        return rc;
    rc = ask(chain, "AssumeRole", form, by, ret, err);
    s3_provider_wipe(form); /* an external id is known to few */
    return rc;
}

int s3_provider_web_identity(const struct s3_chain *chain, const struct s3_role *role,
                             const char *token_path, struct s3_credentials *ret,
                             struct varve_error *err)
{
    char *token = NULL, *session = NULL, *form = NULL;
    int rc = s3_provider_read_line(chain, token_path, &token, err);

    if (rc < 0)
        return base_error_context(err, rc, "web identity");
    rc = session_name(chain, role, &session, err);
    if (rc == 0)
        rc = s3_query_encode((const struct s3_query[]){{"Action", "AssumeRoleWithWebIdentity"},
                                                       {"Version", API_VERSION},
                                                       {"RoleArn", role->arn},
                                                       {"RoleSessionName", session},
                                                       {"DurationSeconds", role->duration_s},
                                                       {"WebIdentityToken", token}},
                             6, &form, err);
    if (rc == 0)
        rc = ask(chain, "AssumeRoleWithWebIdentity", form, NULL, ret, err);
    s3_provider_wipe(token);
    free(session);
    s3_provider_wipe(form);
    return rc;
}
