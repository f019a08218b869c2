/*
 * Credentials that the machine or the container has.
 *
 * Sources: "Container credential provider" and "IMDS credential provider", AWS SDKs and Tools
 * reference guide; "Use IMDSv2", Amazon EC2 user guide. Only the second version of the instance
 * metadata service is spoken: the first hands out keys to whoever can make this machine GET a URL.
 */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/text.h"
#include "cold/s3/credentials_private.h"
#include "cold/s3/endpoint.h"

#define CONTAINER_BASE "http://169.254.170.2"
#define CONTAINER_TIMEOUT_MS 5000

#define INSTANCE_IPV4 "http://169.254.169.254"
#define INSTANCE_IPV6 "http://[fd00:ec2::254]"
/* Most machines have no such service, and nobody there answers: the wait must be short. */
#define INSTANCE_TIMEOUT_MS 1500
#define INSTANCE_TOKEN_TTL_S "21600"
#define INSTANCE_TOKEN_PATH "/latest/api/token"
#define INSTANCE_ROLE_PATH "/latest/meta-data/iam/security-credentials/"
#define ROLE_SIZE_MAX 128
#define INSTANCE "instance metadata"
#define CONTAINER "container credentials"

/* --- The container's endpoint --- */

/* In clear text a token goes to this machine and to the addresses of ECS and EKS only. */
static bool may_be_clear(const char *host)
{
    static const char *const known[] = {"localhost", "169.254.170.2", "169.254.170.23",
                                        "[fd00:ec2::23]", "[::1]"};
    struct in_addr address;

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(host, known[i]) == 0)
            return true;
    }
    return inet_pton(AF_INET, host, &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

/* "http[s]://host[:port]/path": what comes before the path must be an endpoint, and a safe one. */
static int full_uri_check(const char *uri, struct varve_error *err)
{
    const char *authority = strstr(uri, "://");
    size_t size = authority ? (size_t)(authority + 3 - uri) : 0;
    char *front, *base, *host;
    bool safe;
    int rc;

    size += strcspn(uri + size, "/?#");
    rc = base_format(&front, err, "%.*s", (int)size, uri);
    if (rc < 0)
        return rc;
    rc = s3_endpoint_split(front, &base, &host, err);
    free(front);
    if (rc < 0)
        return base_error_context(err, rc, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    /* Without the port; the brackets of an IPv6 address stay. */
    host[host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":")] = '\0';
    safe = strncmp(base, "https://", 8) == 0 || may_be_clear(host);
    free(base);
    free(host);
    if (!safe)
        return base_fail(err, VARVE_E_INVALID,
                         "AWS_CONTAINER_CREDENTIALS_FULL_URI: http is for loopback and the "
                         "addresses of ECS and EKS; others need https");
    return 0;
}

/* The value of the authorization header; *ret is NULL when there is none. */
static int container_token(const struct s3_chain *chain, char **ret, struct varve_error *err)
{
    const char *path = s3_chain_getenv(chain, "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE");
    const char *value = s3_chain_getenv(chain, "AWS_CONTAINER_AUTHORIZATION_TOKEN");

    if (path)
        return s3_provider_read_line(chain, path, ret, err);
    if (value && !s3_provider_is_header(value))
        return base_fail(err, VARVE_E_INVALID,
                         "AWS_CONTAINER_AUTHORIZATION_TOKEN is not one line of text");
    *ret = NULL;
    return value ? base_format(ret, err, "%s", value) : 0;
}

static int container_ask(const struct s3_chain *chain, const char *url, const char *token,
                         struct s3_credentials *ret, struct varve_error *err)
{
    const struct s3_header headers[] = {{"accept", "application/json"}, {"authorization", token}};
    const struct s3_provider_request request = {.what = CONTAINER,
                                                .method = "GET",
                                                .url = url,
                                                .headers = headers,
                                                .header_count = token ? 2 : 1,
                                                .direct = true,
                                                .timeout_ms = CONTAINER_TIMEOUT_MS};
    struct s3_provider_reply reply;
    int rc = s3_provider_call(chain, &request, &reply, err);

    if (rc < 0)
        return rc;
    if (reply.status != 200) {
        rc = s3_provider_refused(CONTAINER, &reply, err);
    } else {
        rc = s3_provider_json(reply.body, reply.size, "Token", ret, err);
        if (rc < 0)
            rc = base_error_context(err, rc, CONTAINER);
    }
    s3_provider_reply_deinit(&reply);
    return rc;
}

int s3_provider_container(const struct s3_chain *chain, struct s3_credentials *ret,
                          struct varve_error *err)
{
    const char *relative = s3_chain_getenv(chain, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
    const char *full = s3_chain_getenv(chain, "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    char *url, *token = NULL;
    int rc;

    if (!relative && !full)
        return base_fail(err, VARVE_E_NOT_FOUND, "no container endpoint is set");
    if (!s3_provider_is_header(relative ? relative : full))
        return base_fail(err, VARVE_E_INVALID, "the container endpoint is no URL");
    if (relative && relative[0] != '/') /* else it could go on with the host's name */
        return base_fail(err, VARVE_E_INVALID,
                         "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI does not begin with '/'");
    rc = relative ? 0 : full_uri_check(full, err);
    if (rc < 0)
        return rc;
    rc = container_token(chain, &token, err);
    if (rc < 0)
        return base_error_context(err, rc, CONTAINER);
    rc = base_format(&url, err, "%s%s", relative ? CONTAINER_BASE : "", relative ? relative : full);
    if (rc == 0) {
        rc = container_ask(chain, url, token, ret, err);
        free(url);
    }
    s3_provider_wipe(token);
    return rc;
}

/* --- Instance metadata --- */

/* Where it is: the caller's word, the environment's, or AWS's address. */
static const char *instance_base(const struct s3_chain *chain)
{
    const char *endpoint = s3_chain_getenv(chain, "AWS_EC2_METADATA_SERVICE_ENDPOINT");
    const char *mode = s3_chain_getenv(chain, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");

    if (chain->imds_endpoint)
        return chain->imds_endpoint;
    if (endpoint)
        return endpoint;
    return mode && strcasecmp(mode, "IPv6") == 0 ? INSTANCE_IPV6 : INSTANCE_IPV4;
}

static int instance_call(const struct s3_chain *chain, const char *base, const char *method,
                         const char *path, const struct s3_header *header,
                         struct s3_provider_reply *ret, struct varve_error *err)
{
    struct s3_provider_request request = {.what = INSTANCE,
                                          .method = method,
                                          .headers = header,
                                          .header_count = 1,
                                          .direct = true,
                                          .timeout_ms = INSTANCE_TIMEOUT_MS};
    char *url;
    int rc = base_format(&url, err, "%s%s", base, path);

    *ret = (struct s3_provider_reply){0};
    if (rc < 0)
        return rc;
    request.url = url;
    rc = s3_provider_call(chain, &request, ret, err);
    free(url);
    return rc;
}

/* The session token. Who answers otherwise than by one is another cloud's service, or is meant not
 * to be used: not set up. */
static int instance_token(const struct s3_chain *chain, const char *base, const char **why,
                          char **ret, struct varve_error *err)
{
    const struct s3_header ttl = {"x-aws-ec2-metadata-token-ttl-seconds", INSTANCE_TOKEN_TTL_S};
    struct s3_provider_reply reply;
    int rc = instance_call(chain, base, "PUT", INSTANCE_TOKEN_PATH, &ttl, &reply, err);

    if (rc == VARVE_E_STORE && !reply.reached) {
        *why = "nobody answers";
        return base_fail(err, VARVE_E_NOT_FOUND, INSTANCE ": nobody answers");
    }
    if (rc < 0)
        return rc;
    if (reply.status == 200 && s3_provider_is_header(reply.body)) {
        *ret = reply.body;
        return 0;
    }
    if (reply.status >= 500 || reply.status == 429) {
        rc = s3_provider_refused(INSTANCE, &reply, err);
    } else {
        *why = "it gives no token of IMDSv2";
        rc = base_fail(err, VARVE_E_NOT_FOUND, INSTANCE ": no token");
    }
    s3_provider_reply_deinit(&reply);
    return rc;
}

/* The name of the instance's role, the first line, encoded for a path. */
static int instance_role(const struct s3_chain *chain, const char *base,
                         const struct s3_header *token, const char **why, char **ret,
                         struct varve_error *err)
{
    struct s3_provider_reply reply;
    int rc = instance_call(chain, base, "GET", INSTANCE_ROLE_PATH, token, &reply, err);
    size_t size;

    if (rc < 0)
        return rc;
    size = strcspn(reply.body, "\r\n");
    if (reply.status == 404 || (reply.status == 200 && size == 0)) {
        *why = "the instance has no role";
        rc = base_fail(err, VARVE_E_NOT_FOUND, INSTANCE ": no role");
    } else if (reply.status != 200) {
        rc = s3_provider_refused(INSTANCE, &reply, err);
    } else if (size > ROLE_SIZE_MAX) {
        rc = base_fail(err, VARVE_E_CORRUPT, INSTANCE ": the role has no valid name");
    } else {
        reply.body[size] = '\0';
        rc = s3_uri_encode(reply.body, false, ret, err);
    }
    s3_provider_reply_deinit(&reply);
    return rc;
}

/* The document with the role's keys. */
static int instance_decode(const struct s3_provider_reply *reply, struct s3_credentials *ret,
                           struct varve_error *err)
{
    char *code;
    int rc = s3_provider_json_member(reply->body, reply->size, "Code", &code, err);

    if (rc == 0 && code && strcmp(code, "Success") != 0)
        rc = base_fail_retriable(err, VARVE_E_STORE, "the role's credentials are not ready");
    else if (rc == 0)
        rc = s3_provider_json(reply->body, reply->size, "Token", ret, err);
    free(code);
    return rc < 0 ? base_error_context(err, rc, INSTANCE) : 0;
}

static int instance_keys(const struct s3_chain *chain, const char *base,
                         const struct s3_header *token, const char *role,
                         struct s3_credentials *ret, struct varve_error *err)
{
    struct s3_provider_reply reply;
    char *path;
    int rc = base_format(&path, err, INSTANCE_ROLE_PATH "%s", role);

    if (rc < 0)
        return rc;
    rc = instance_call(chain, base, "GET", path, token, &reply, err);
    free(path);
    if (rc < 0)
        return rc;
    rc = reply.status == 200 ? instance_decode(&reply, ret, err)
                             : s3_provider_refused(INSTANCE, &reply, err);
    s3_provider_reply_deinit(&reply);
    return rc;
}

/* Token, role, keys. */
static int instance_ask(const struct s3_chain *chain, const char *base, const char **why,
                        struct s3_credentials *ret, struct varve_error *err)
{
    struct s3_header token = {"x-aws-ec2-metadata-token", NULL};
    char *value = NULL, *role = NULL;
    int rc = instance_token(chain, base, why, &value, err);

    if (rc < 0)
        return rc;
    token.value = value;
    rc = instance_role(chain, base, &token, why, &role, err);
    if (rc == 0)
        rc = instance_keys(chain, base, &token, role, ret, err);
    free(role);
    s3_provider_wipe(value);
    return rc;
}

int s3_provider_instance(const struct s3_chain *chain, const char **why, struct s3_credentials *ret,
                         struct varve_error *err)
{
    const char *disabled = s3_chain_getenv(chain, "AWS_EC2_METADATA_DISABLED");
    char *base, *host;
    int rc;

    if (disabled && strcasecmp(disabled, "true") == 0) {
        *why = "disabled";
        return base_fail(err, VARVE_E_NOT_FOUND, INSTANCE ": disabled");
    }
    rc = s3_endpoint_split(instance_base(chain), &base, &host, err);
    if (rc < 0)
        return base_error_context(err, rc, INSTANCE);
    rc = instance_ask(chain, base, why, ret, err);
    free(base);
    free(host);
    return rc;
}
