/* Credentials from the container agent (ECS, EKS) and from the instance metadata service (IMDSv2).
 */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "fakes3/call.h"
#include "fakes3/credentials.h"
#include "fakes3/text.h"

#define ROLE "varve-role"
#define TOKEN_SECONDS_MAX 21600

/* IMDS keeps no list of its tokens here: each tells when it ends, and a checksum that it is ours.
 */
static char *make_token(struct fakes3_call *call, int64_t seconds)
{
    uint64_t end = (uint64_t)(call->now_ms + seconds * 1000);

    return fakes3_text_format(
        "AQ%016llx%016llx==", (unsigned long long)end,
        (unsigned long long)(end ^ call->server->faults.seed ^ UINT64_C(0x5eed5eed5eed5eed)));
}

static bool token_is_good(struct fakes3_call *call)
{
    const char *token = fakes3_call_header(call, "x-aws-ec2-metadata-token");
    unsigned long long end, check;

    if (!token || strlen(token) != 36 || strncmp(token, "AQ", 2) != 0)
        return false;
    char *first = fakes3_text_slice(token + 2, 16), *second = fakes3_text_slice(token + 18, 16);
    end = strtoull(first, NULL, 16);
    check = strtoull(second, NULL, 16);
    free(first);
    free(second);
    return check == (end ^ call->server->faults.seed ^ UINT64_C(0x5eed5eed5eed5eed)) &&
           (int64_t)end > call->now_ms;
}

static bool check_token(struct fakes3_call *call)
{
    if (token_is_good(call))
        return true;
    fakes3_reply_error(&call->reply, "Unauthorized", "Unauthorized");
    return false;
}

void fakes3_metadata_token(struct fakes3_call *call)
{
    const char *ttl = fakes3_call_header(call, "x-aws-ec2-metadata-token-ttl-seconds");
    int64_t seconds;
    char *token;

    if (strcmp(call->request->method, "PUT") != 0) {
        fakes3_reply_error(&call->reply, "MethodNotAllowed", "Method Not Allowed");
        return;
    }
    if (!ttl || !base_parse_i64(ttl, &seconds) || seconds < 1 || seconds > TOKEN_SECONDS_MAX) {
        fakes3_reply_error(&call->reply, "InvalidRequest", "Bad Request");
        return;
    }
    token = make_token(call, seconds);
    fakes3_reply_header(&call->reply, "Content-Type", "text/plain");
    fakes3_reply_header(&call->reply, "X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "%s", ttl);
    evbuffer_add_printf(call->reply.body, "%s", token);
    free(token);
}

void fakes3_metadata_role(struct fakes3_call *call)
{
    if (!check_token(call))
        return;
    fakes3_reply_header(&call->reply, "Content-Type", "text/plain");
    evbuffer_add_printf(call->reply.body, ROLE);
}

static void add_credentials(struct fakes3_call *call, const char *before)
{
    struct fakes3_credentials credentials;

    fakes3_credentials_issue(call, NULL, call->server->options.credentials_ms, &credentials);
    fakes3_reply_header(&call->reply, "Content-Type", "application/json");
    evbuffer_add_printf(call->reply.body,
                        "{%s\"AccessKeyId\":\"%s\",\"SecretAccessKey\":\"%s\",\"Token\":\"%s\","
                        "\"Expiration\":\"%s\"}",
                        before, credentials.access_key, credentials.secret, credentials.token,
                        credentials.expiration);
}

void fakes3_metadata_credentials(struct fakes3_call *call)
{
    char now[FAKES3_DATE_SIZE];
    char *before;

    if (!check_token(call))
        return;
    if (strcmp(strrchr(call->request->path, '/') + 1, ROLE) != 0) {
        fakes3_reply_error(&call->reply, "NoSuchKey", "There is no such role");
        return;
    }
    fakes3_text_iso_date(call->now_ms, now);
    before = fakes3_text_format("\"Code\":\"Success\",\"LastUpdated\":\"%.19sZ\","
                                "\"Type\":\"AWS-HMAC\",",
                                now);
    add_credentials(call, before);
    free(before);
}

void fakes3_metadata_container(struct fakes3_call *call)
{
    const char *expected = call->server->options.container_token;
    const char *given = fakes3_call_header(call, "authorization");

    if (expected && (!given || strcmp(given, expected) != 0)) {
        fakes3_reply_error(&call->reply, "Unauthorized", "The authorization token is wrong");
        return;
    }
    add_credentials(call, "\"RoleArn\":\"arn:aws:iam::000000000000:role/" ROLE "\",");
}
