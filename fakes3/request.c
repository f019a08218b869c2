#include "fakes3/request.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "fakes3/text.h"

const char *fakes3_request_header(const struct fakes3_request *request, const char *name)
{
    return fakes3_pairs_get(&request->headers, name);
}

const char *fakes3_request_param(const struct fakes3_request *request, const char *name)
{
    return fakes3_pairs_get(&request->params, name);
}

char *fakes3_request_text(const struct fakes3_request *request)
{
    if (!request->body)
        return fakes3_text_copy("");
    return fakes3_text_slice((const char *)request->body->data, request->body->size);
}

static bool is_token(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)text[i]) && !strchr("!#$%&'*+-.^_`|~", text[i]))
            return false;
    return size > 0;
}

static int parse_request_line(struct fakes3_request *request, const char *line, size_t size)
{
    const char *space = memchr(line, ' ', size);
    const char *version, *query;
    size_t target_size;

    if (!space || !is_token(line, (size_t)(space - line)))
        return 400;
    version = memrchr(line, ' ', size);
    if (version == space)
        return 400;
    request->method = fakes3_text_slice(line, (size_t)(space - line));
    request->target = fakes3_text_slice(space + 1, (size_t)(version - space - 1));
    version++;
    size -= (size_t)(version - line);
    if (size != 8 || memcmp(version, "HTTP/1.", 7) != 0 || (version[7] != '0' && version[7] != '1'))
        return 505;
    request->http_1_0 = version[7] == '0';
    if (request->target[0] != '/' || strpbrk(request->target, " \t#"))
        return 400;
    query = strchr(request->target, '?');
    target_size = query ? (size_t)(query - request->target) : strlen(request->target);
    request->path = fakes3_text_decode(request->target, target_size, false);
    if (!request->path)
        return 400;
    if (query && !fakes3_pairs_parse(query + 1, strlen(query + 1), &request->params))
        return 400;
    return 0;
}

static int parse_header(struct fakes3_request *request, const char *line, size_t size)
{
    const char *colon = memchr(line, ':', size);
    const char *value, *end = line + size;
    char *name;

    if (!colon || !is_token(line, (size_t)(colon - line)))
        return 400; /* also the folded lines of old */
    if (request->headers.count == FAKES3_HEADERS_COUNT_MAX)
        return 431;
    name = fakes3_text_slice(line, (size_t)(colon - line));
    for (char *c = name; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    value = colon + 1;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    fakes3_pairs_add(&request->headers, name, fakes3_text_slice(value, (size_t)(end - value)));
    return 0;
}

static int parse_lines(struct fakes3_request *request, const char *head, size_t size)
{
    const char *end = head + size;
    bool first = true;
    int status = 0;

    if (memchr(head, 0, size))
        return 400;
    while (head < end && !status) {
        const char *newline = memchr(head, '\n', (size_t)(end - head));
        size_t line_size;

        if (!newline)
            return 400;
        line_size = (size_t)(newline - head);
        if (line_size > 0 && head[line_size - 1] == '\r')
            line_size--;
        if (line_size == 0)
            break;
        status = first ? parse_request_line(request, head, line_size)
                       : parse_header(request, head, line_size);
        first = false;
        head = newline + 1;
    }
    return first ? 400 : status;
}

static int interpret_headers(struct fakes3_request *request)
{
    const char *connection = fakes3_request_header(request, "connection");
    const char *expect = fakes3_request_header(request, "expect");
    const char *length = fakes3_request_header(request, "content-length");

    request->keep_alive =
        !request->http_1_0 && !(connection && strcasecmp(connection, "close") == 0);
    request->expects_continue = expect && strcasecmp(expect, "100-continue") == 0;
    request->transfer_encoding = fakes3_request_header(request, "transfer-encoding") != NULL;
    request->content_length = -1;
    if (!length)
        return 0;
    return base_parse_i64(length, &request->content_length) && request->content_length >= 0 ? 0
                                                                                            : 400;
}

/* The bucket in a host name: "bucket.DOMAIN" or "bucket.s3...."; NULL: none. */
static char *bucket_of_host(const char *host, const char *domain)
{
    size_t size = strcspn(host, ":");
    size_t domain_size = strlen(domain);
    const char *s3;

    if (size > domain_size + 1 && host[size - domain_size - 1] == '.' &&
        strncasecmp(host + size - domain_size, domain, domain_size) == 0)
        return fakes3_text_slice(host, size - domain_size - 1);
    s3 = strstr(host, ".s3.");
    if (!s3)
        s3 = strstr(host, ".s3-");
    return s3 && s3 > host ? fakes3_text_slice(host, (size_t)(s3 - host)) : NULL;
}

static void find_bucket_and_key(struct fakes3_request *request, const char *domain)
{
    const char *host = fakes3_request_header(request, "host");
    const char *rest = request->path + 1;
    size_t size;

    request->bucket = host ? bucket_of_host(host, domain) : NULL;
    if (!request->bucket) {
        size = strcspn(rest, "/");
        if (size == 0)
            return;
        request->bucket = fakes3_text_slice(rest, size);
        rest += size + (rest[size] == '/');
    }
    if (*rest)
        request->key = fakes3_text_copy(rest);
}

struct fakes3_request *fakes3_request_parse(const char *head, size_t size, const char *domain,
                                            int *ret_status)
{
    struct fakes3_request *request = fakes3_text_alloc(sizeof(*request));
    int status = parse_lines(request, head, size);

    if (!status)
        status = interpret_headers(request);
    if (status) {
        *ret_status = status;
        return fakes3_request_free(request);
    }
    request->control = strncmp(request->path, "/-/", 3) == 0;
    if (!request->control) {
        find_bucket_and_key(request, domain);
        request->op = fakes3_operation_of(request);
    }
    return request;
}

struct fakes3_request *fakes3_request_free(struct fakes3_request *request)
{
    if (!request)
        return NULL;
    free(request->method);
    free(request->target);
    free(request->path);
    free(request->bucket);
    free(request->key);
    fakes3_pairs_deinit(&request->headers);
    fakes3_pairs_deinit(&request->params);
    fakes3_blob_unref(request->body);
    fakes3_digest_deinit(&request->digest);
    free(request);
    return NULL;
}
