/* One signed HTTP request of a call. */
#include "cold/s3/request.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"

static const char EMPTY_SHA256[] =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

static const char *const wanted[] = {
    [S3_REPLY_ETAG] = "etag",
    [S3_REPLY_CONTENT_RANGE] = "content-range",
    [S3_REPLY_LAST_MODIFIED] = "last-modified",
    [S3_REPLY_WRITE_ID] = S3_WRITE_ID_HEADER,
    [S3_REPLY_DATE] = "date",
    [S3_REPLY_REGION] = "x-amz-bucket-region",
    NULL,
};

int s3_call_digest(struct s3_call *call, struct varve_error *err)
{
    struct base_sha256 *h = base_sha256_new();
    uint8_t digest[BASE_SHA256_SIZE];

    if (!h)
        return base_fail(err, VARVE_E_NO_MEMORY, "out of memory");
    for (int i = 0; i < call->body_count; i++)
        base_sha256_update(h, call->body[i].iov_base, call->body[i].iov_len);
    base_sha256_final(h, digest);
    base_sha256_free(h);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(call->body_sha256 + 2 * i, 3, "%02x", digest[i]);
    return 0;
}

void s3_call_header(struct s3_call *call, const char *name, const char *value)
{
    assert(call->header_count < S3_CALL_HEADERS_MAX);
    call->headers[call->header_count++] = (struct s3_header){name, value};
}

static void add(struct s3_request *r, const char *name, const char *value)
{
    assert(r->http.header_count < S3_REQUEST_HEADERS_MAX);
    r->headers[r->http.header_count++] = (struct s3_header){name, value};
}

static int copy(const char *text, char **ret, struct varve_error *err)
{
    *ret = text ? strdup(text) : NULL;
    return text && !*ret ? base_fail(err, VARVE_E_NO_MEMORY, "out of memory") : 0;
}

static int addresses_make(struct s3_request *r, const struct s3_endpoint *endpoint,
                          const struct s3_call *call, struct varve_error *err)
{
    const char *query = call->query ? call->query : "";
    int rc = s3_endpoint_path(endpoint, call->key, &r->path, err);

    if (rc == 0)
        rc = base_format(&r->url, err, "%s%s%s%s", endpoint->base, r->path, query[0] ? "?" : "",
                         query);
    return rc < 0 ? rc : copy(endpoint->host, &r->host, err);
}

static void headers_make(struct s3_request *r, const struct s3_call *call, const char *digest)
{
    add(r, "host", r->host);
    add(r, "x-amz-content-sha256", digest);
    add(r, "x-amz-date", r->date);
    if (r->session_token)
        add(r, "x-amz-security-token", r->session_token);
    for (size_t i = 0; i < call->header_count; i++)
        add(r, call->headers[i].name, call->headers[i].value);
    if (call->ranged) {
        snprintf(r->range, sizeof(r->range), "bytes=%" PRIu64 "-%" PRIu64, call->pos,
                 call->pos + call->room_size - 1);
        add(r, "range", r->range);
    }
}

static int sign(struct s3_request *r, struct s3_signer *signer, const struct s3_endpoint *endpoint,
                const struct s3_credentials *credentials, const struct s3_call *call,
                const char *digest, struct varve_error *err)
{
    const struct s3_sign_request request = {
        .method = call->method,
        .path = r->path,
        .query = call->query ? call->query : "",
        .headers = r->headers,
        .header_count = r->http.header_count,
        .payload_sha256 = digest,
        .region = endpoint->region,
        .service = "s3",
        .date = r->date,
    };
    int rc = s3_signer_authorize(signer, credentials, &request, &r->authorization, err);

    if (rc == 0)
        add(r, "authorization", r->authorization);
    return rc;
}

int s3_request_build(struct s3_signer *signer, const struct s3_endpoint *endpoint,
                     const struct s3_credentials *credentials, int64_t wall_ms,
                     const struct s3_call *call, struct s3_request *ret, struct varve_error *err)
{
    const char *digest = call->body_sha256[0] ? call->body_sha256 : EMPTY_SHA256;
    int rc;

    memset(ret, 0, sizeof(*ret));
    s3_sign_date(wall_ms, ret->date);
    rc = addresses_make(ret, endpoint, call, err);
    if (rc == 0)
        rc = copy(credentials->session_token, &ret->session_token, err);
    if (rc == 0)
        rc = copy(credentials->access_key, &ret->access_key, err);
    if (rc == 0) {
        headers_make(ret, call, digest);
        rc = sign(ret, signer, endpoint, credentials, call, digest, err);
    }
    if (rc < 0) {
        s3_request_deinit(ret);
        return rc;
    }
    ret->http.method = call->method;
    ret->http.url = ret->url;
    ret->http.headers = ret->headers;
    ret->http.body = call->body;
    ret->http.body_count = call->body_count;
    ret->http.room = call->room;
    ret->http.room_size = call->room_size;
    ret->http.size_max = call->size_max;
    ret->http.want_headers = wanted;
    ret->http.priority = call->priority;
    return 0;
}

void s3_request_deinit(struct s3_request *request)
{
    free(request->url);
    free(request->path);
    free(request->host);
    free(request->authorization);
    free(request->session_token);
    free(request->access_key);
    free(request->http.body_memory);
    memset(request, 0, sizeof(*request));
}
