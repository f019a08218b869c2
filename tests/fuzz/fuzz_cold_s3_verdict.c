/*
 * The headers of a reply: Content-Range, Content-Length, ETag, Last-Modified, Date, region, write
 * id, over every status. The first line of the input says status, size and what was asked; the next
 * six are the headers, the rest is the body.
 */
#include <stdio.h>

#include "cold/s3/request.h"
#include "cold/s3/verdict.h"
#include "tests/fuzz/fuzz.h"

#define ROOM 1000

/* Cuts the first line off; NULL: there is none. */
static char *line_take(char **rest)
{
    char *line = *rest, *end = line ? strchr(line, '\n') : NULL;

    if (end)
        *end = '\0';
    *rest = end ? end + 1 : NULL;
    return line;
}

static void judge(struct s3_http_reply *reply, const char *method, bool ranged, bool wants_etag)
{
    static char room[ROOM];
    struct s3_call call = {.method = method,
                           .key = "key",
                           .ranged = ranged,
                           .pos = 1000,
                           .room = ranged ? room : NULL,
                           .room_size = ranged ? ROOM : 0,
                           .size_max = 65536,
                           .wants_etag = wants_etag};
    struct s3_http_request request = {.method = method, .want_headers = NULL};
    enum s3_verdict verdict = s3_verdict_reach(&call, &request, reply, "bucket");

    if (verdict != S3_VERDICT_DONE || call.rc < 0)
        must(call.rc < 0 && call.err.code == call.rc && call.err.msg[0]);
    else
        must(reply->outcome == S3_HTTP_REPLY && reply->status >= 200 && reply->status <= 299);
    if (call.rc == 0 && wants_etag)
        must(call.etag[0] && strlen(call.etag) < sizeof(call.etag));
    /* Only the range that was asked for, whole. */
    if (call.rc == 0 && ranged)
        must(reply->size == ROOM && (reply->status == 206 || call.pos == 0));
    must(strlen(call.write_id) < sizeof(call.write_id));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), *rest = text, *first = line_take(&rest);
    struct s3_http_reply reply = {.outcome = S3_HTTP_REPLY, .content_length = -1};
    int status = 0;
    long length = -1;
    unsigned long came = 0;

    if (sscanf(first, "%3d %18ld %18lu", &status, &length, &came) < 1)
        status = 206;
    reply.status = status;
    reply.content_length = length;
    reply.size = came;
    for (int i = 0; i <= S3_REPLY_REGION; i++) {
        reply.headers[i] = line_take(&rest);
        if (reply.headers[i] && !reply.headers[i][0])
            reply.headers[i] = NULL;
    }
    if (rest && (status < 200 || status > 299)) {
        reply.error_body = rest;
        reply.error_size = strlen(rest);
    }
    must(s3_verdict_date(reply.headers[S3_REPLY_DATE]) >= -1);
    judge(&reply, "GET", true, false);
    judge(&reply, "GET", false, true);
    judge(&reply, "HEAD", false, true);
    judge(&reply, "PUT", false, true);
    judge(&reply, "DELETE", false, false);
    free(text);
    return 0;
}
