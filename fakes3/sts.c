/* AssumeRole and AssumeRoleWithWebIdentity of the STS query API, version 2011-06-15. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "fakes3/auth.h"
#include "fakes3/call.h"
#include "fakes3/credentials.h"
#include "fakes3/text.h"

static bool check_signature(struct fakes3_call *call)
{
    char payload_hash[65];
    struct fakes3_auth auth = {.keys = &call->server->keys,
                               .region = call->server->options.region,
                               .service = "sts",
                               .now_ms = call->now_ms,
                               .payload_hash = payload_hash};
    const struct fakes3_key *key;

    fakes3_text_hex(call->request->digest.sha256, 32, payload_hash);
    if (call->effects.ignore & FAKES3_IGNORE_SIGNATURE)
        return true;
    if (*call->effects.region)
        auth.region = call->effects.region;
    if (!fakes3_auth_check(&auth, call->request, &key, &call->reply))
        return false;
    call->access_key = fakes3_text_copy(key->access_key);
    call->account = fakes3_text_copy(key->account);
    call->read_only = key->read_only;
    return true;
}

static bool check_web_identity(struct fakes3_call *call, const struct fakes3_pairs *fields)
{
    const char *expected = call->server->options.web_identity_token;
    const char *token = fakes3_pairs_get(fields, "WebIdentityToken");

    if (token && *token && (!expected || strcmp(token, expected) == 0))
        return true;
    fakes3_reply_error(&call->reply, "InvalidIdentityToken",
                       "The web identity token that was passed is not valid.");
    return false;
}

/* The life that was asked for, in seconds; 0 with the error. */
static int64_t asked_seconds(struct fakes3_call *call, const struct fakes3_pairs *fields)
{
    const char *text = fakes3_pairs_get(fields, "DurationSeconds");
    int64_t seconds = call->server->options.credentials_ms / 1000;

    if (text && (!base_parse_i64(text, &seconds) || seconds < 900 || seconds > 43200))
        seconds = 0;
    if (!fakes3_pairs_get(fields, "RoleArn") || !fakes3_pairs_get(fields, "RoleSessionName"))
        seconds = 0;
    if (seconds == 0)
        fakes3_reply_error(&call->reply, "ValidationError",
                           "RoleArn and RoleSessionName are needed; DurationSeconds must be 900 to "
                           "43200");
    return seconds;
}

static void answer(struct fakes3_call *call, const struct fakes3_pairs *fields, const char *action,
                   const struct fakes3_credentials *credentials)
{
    struct fakes3_reply *reply = &call->reply;

    fakes3_reply_header(reply, "Content-Type", "text/xml");
    evbuffer_add_printf(reply->body,
                        "<%sResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">"
                        "<%sResult><AssumedRoleUser>",
                        action, action);
    fakes3_reply_element(reply, "Arn", fakes3_pairs_get(fields, "RoleArn"));
    fakes3_reply_element(reply, "AssumedRoleId", fakes3_pairs_get(fields, "RoleSessionName"));
    evbuffer_add_printf(reply->body, "</AssumedRoleUser><Credentials>");
    fakes3_reply_element(reply, "AccessKeyId", credentials->access_key);
    fakes3_reply_element(reply, "SecretAccessKey", credentials->secret);
    fakes3_reply_element(reply, "SessionToken", credentials->token);
    fakes3_reply_element(reply, "Expiration", credentials->expiration);
    evbuffer_add_printf(reply->body,
                        "</Credentials></%sResult><ResponseMetadata><RequestId>%llu</RequestId>"
                        "</ResponseMetadata></%sResponse>",
                        action, (unsigned long long)call->number, action);
}

static void assume(struct fakes3_call *call, const struct fakes3_pairs *fields)
{
    const char *action = fakes3_pairs_get(fields, "Action");
    bool web = call->request->op == FAKES3_ASSUME_ROLE_WITH_WEB_IDENTITY;
    struct fakes3_credentials credentials;
    int64_t seconds;

    if (!action ||
        (strcmp(action, "AssumeRole") != 0 && strcmp(action, "AssumeRoleWithWebIdentity") != 0)) {
        fakes3_reply_error(&call->reply, "InvalidAction", "Could not find operation %s",
                           action ? action : "");
        return;
    }
    /* Which it is was guessed by the signature, see operation.c. */
    if (strcmp(action, "AssumeRole") == 0 && web) {
        fakes3_reply_error(&call->reply, "AccessDenied", "AssumeRole must be signed");
        return;
    }
    if (web ? !check_web_identity(call, fields) : !check_signature(call))
        return;
    seconds = asked_seconds(call, fields);
    if (seconds == 0)
        return;
    fakes3_credentials_issue(call, call->account, seconds * 1000, &credentials);
    answer(call, fields, action, &credentials);
}

void fakes3_sts_assume_role(struct fakes3_call *call)
{
    struct fakes3_pairs fields = {0};
    char *text = fakes3_request_text(call->request);

    if (strcmp(call->request->method, "GET") == 0)
        assume(call, &call->request->params);
    else if (fakes3_pairs_parse(text, strlen(text), &fields))
        assume(call, &fields);
    else
        fakes3_reply_error(&call->reply, "MalformedQueryString", "The form cannot be decoded");
    fakes3_pairs_deinit(&fields);
    free(text);
}
