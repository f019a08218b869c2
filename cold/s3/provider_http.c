/* What the credential providers share: small blocking requests and secret files, wiped after use.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cold/s3/credentials_private.h"
#include "cold/s3/reply.h"

#define LINE_FILE_MAX (20 * 1024) /* AWS takes web identity tokens of 20,000 bytes */

void s3_provider_wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

bool s3_provider_is_header(const char *text)
{
    if (!*text)
        return false;
    for (; *text; text++) {
        if (*text < ' ' || *text > '~')
            return false;
    }
    return true;
}

int s3_provider_read_line(const struct s3_chain *chain, const char *path, char **ret,
                          struct varve_error *err)
{
    size_t size;
    void *data;
    char *line;
    int rc = base_file_read(chain->env->io, path, LINE_FILE_MAX, &data, &size, err);

    if (rc == VARVE_E_NOT_FOUND) /* no condition here: somebody has named it */
        return base_fail(err, VARVE_E_DENIED, "there is no token in %s", path);
    if (rc < 0)
        return rc;
    line = strndup(data, size);
    explicit_bzero(data, size);
    free(data);
    if (!line)
        return base_fail(err, VARVE_E_NO_MEMORY, "read %s: out of memory", path);
    size = strlen(line);
    while (size > 0 && strchr(" \t\r\n", line[size - 1]))
        line[--size] = '\0';
    if (size == 0)
        rc = base_fail(err, VARVE_E_DENIED, "the token in %s is empty", path);
    else if (!s3_provider_is_header(line))
        rc = base_fail(err, VARVE_E_INVALID, "the token in %s is not one line of text", path);
    if (rc < 0)
        s3_provider_wipe(line);
    else
        *ret = line;
    return rc;
}

void s3_provider_reply_deinit(struct s3_provider_reply *reply)
{
    if (reply->body)
        explicit_bzero(reply->body, reply->size);
    free(reply->body);
    reply->body = NULL;
    reply->size = 0;
}

/* A copy with a NUL behind. */
static int take_body(const void *body, size_t size, struct s3_provider_reply *ret,
                     struct varve_error *err)
{
    ret->body = malloc(size + 1);
    if (!ret->body)
        return base_fail(err, VARVE_E_NO_MEMORY, "ask for credentials: out of memory");
    if (size > 0)
        memcpy(ret->body, body, size);
    ret->body[size] = '\0';
    ret->size = size;
    return 0;
}

/* What a call that ended without a whole reply means. */
static int call_failed(const char *what, const struct s3_http_reply *reply, struct varve_error *err)
{
    if (reply->trouble == S3_HTTP_TROUBLE_MEMORY)
        return base_fail(err, VARVE_E_NO_MEMORY, "%s: %s", what, reply->message);
    if (reply->outcome == S3_HTTP_TRUNCATED)
        return base_fail_retriable(err, VARVE_E_STORE, "%s: the reply is cut off or too long",
                                   what);
    if (reply->retriable)
        return base_fail_retriable(err, VARVE_E_STORE, "%s: %s", what, reply->message);
    return base_fail(err, VARVE_E_STORE, "%s: %s", what, reply->message);
}

int s3_provider_call(const struct s3_chain *chain, const struct s3_provider_request *r,
                     struct s3_provider_reply *ret, struct varve_error *err)
{
    const struct iovec body = {.iov_base = (void *)(uintptr_t)r->body,
                               .iov_len = r->body ? strlen(r->body) : 0};
    struct s3_http_request request = {
        .method = r->method,
        .url = r->url,
        .headers = r->headers,
        .header_count = r->header_count,
        .body = r->body ? &body : NULL,
        .body_count = r->body ? 1 : 0,
        .size_max = S3_PROVIDER_REPLY_MAX,
        .connect_timeout_ms = r->timeout_ms,
        .first_byte_timeout_ms = r->timeout_ms,
        .direct = r->direct,
    };
    struct s3_http_reply reply;
    int rc;

    *ret = (struct s3_provider_reply){0};
    rc = s3_http_call(chain->http, &request, &reply, err);
    if (rc < 0)
        return base_error_context(err, rc, "%s", r->what);
    ret->reached = reply.outcome == S3_HTTP_REPLY || reply.outcome == S3_HTTP_TRUNCATED;
    ret->status = reply.status;
    if (reply.outcome != S3_HTTP_REPLY)
        rc = call_failed(r->what, &reply, err);
    else if (reply.status >= 200 && reply.status < 300)
        rc = take_body(request.body_memory, request.body_memory_size, ret, err);
    else
        rc = take_body(reply.error_body, reply.error_size, ret, err);
    if (request.body_memory)
        explicit_bzero(request.body_memory, request.body_memory_size);
    free(request.body_memory);
    s3_http_reply_deinit(&reply);
    return rc;
}

int s3_provider_refused(const char *what, const struct s3_provider_reply *reply,
                        struct varve_error *err)
{
    struct s3_error e;
    const char *colon;

    s3_error_decode(reply->status, NULL, reply->body, reply->size, &e);
    colon = e.message[0] ? ": " : "";
    switch (e.class) {
    case S3_RETRY:
    case S3_SLOW_DOWN:
    case S3_CONFLICT:
        return base_fail_retriable(err, VARVE_E_STORE, "%s: status %d %s%s%s", what, reply->status,
                                   e.code, colon, e.message);
    case S3_UNREAD:
        return base_fail(err, VARVE_E_NO_MEMORY, "%s: status %d: out of memory", what,
                         reply->status);
    case S3_CLOCK:
        return base_fail(err, VARVE_E_DENIED,
                         "%s: status %d %s: the clock of this machine is wrong", what,
                         reply->status, e.code);
    default:
        return base_fail(err, VARVE_E_DENIED, "%s: status %d %s%s%s", what, reply->status, e.code,
                         colon, e.message);
    }
}
