#include "fakes3/send.h"

#include <inttypes.h>
#include <string.h>

#include "fakes3/text.h"

#define PADDING_LINE_SIZE 4096
#define MORE_SIZE (256 * 1024)

bool fakes3_send_keeps_alive(const struct fakes3_call *call)
{
    const struct fakes3_reply *reply = &call->reply;

    return call->request && call->request->keep_alive && !reply->close &&
           (reply->framing == FAKES3_FRAMING_LENGTH || reply->framing == FAKES3_FRAMING_CHUNKED);
}

static bool has_body(const struct fakes3_call *call)
{
    int status = call->reply.status;

    return status != 204 && status != 304 &&
           !(call->request && strcmp(call->request->method, "HEAD") == 0);
}

static void add_padding(struct evbuffer *out, int64_t size)
{
    char line[PADDING_LINE_SIZE];

    memset(line, 'p', sizeof(line));
    for (int64_t i = 0; size > 0; i++, size -= PADDING_LINE_SIZE) {
        evbuffer_add_printf(out, "x-padding-%" PRId64 ": ", i);
        evbuffer_add(out, line, sizeof(line));
        evbuffer_add(out, "\r\n", 2);
    }
}

static void add_head(struct fakes3_call *call, int64_t body_size, struct evbuffer *out)
{
    const struct fakes3_reply *reply = &call->reply;
    char date[FAKES3_DATE_SIZE];

    evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\n", reply->status,
                        fakes3_reply_reason(reply->status));
    fakes3_text_http_date(call->now_ms, date);
    evbuffer_add_printf(out,
                        "Date: %s\r\nServer: AmazonS3\r\nx-amz-request-id: %016" PRIX64
                        "\r\nx-amz-id-2: varve-fakes3\r\n",
                        date, call->number);
    for (size_t i = 0; i < reply->headers.count; i++)
        evbuffer_add_printf(out, "%s: %s\r\n", reply->headers.items[i].name,
                            reply->headers.items[i].value);
    add_padding(out, call->effects.headers);
    if (reply->framing == FAKES3_FRAMING_ENDLESS_HEAD)
        return;
    if (reply->framing == FAKES3_FRAMING_CHUNKED || reply->framing == FAKES3_FRAMING_ENDLESS_CHUNKS)
        evbuffer_add_printf(out, "Transfer-Encoding: chunked\r\n");
    else if (reply->framing == FAKES3_FRAMING_LENGTH && reply->status != 204 &&
             reply->status != 304)
        evbuffer_add_printf(out, "Content-Length: %" PRId64 "\r\n",
                            reply->length >= 0 ? reply->length : body_size);
    if (!fakes3_send_keeps_alive(call))
        evbuffer_add_printf(out, "Connection: close\r\n");
    evbuffer_add(out, "\r\n", 2);
}

/* Chunks of uneven sizes, as servers send them. */
static void add_chunks(struct evbuffer *body, struct evbuffer *out, bool whole)
{
    size_t size = 1000;

    while (evbuffer_get_length(body) > 0) {
        size_t left = evbuffer_get_length(body);
        size_t take = left < size ? left : size;
        evbuffer_add_printf(out, "%zx\r\n", take);
        evbuffer_remove_buffer(body, out, take);
        evbuffer_add(out, "\r\n", 2);
        size = size < 65536 ? size * 2 + 1 : size;
    }
    if (whole)
        evbuffer_add(out, "0\r\n\r\n", 5);
}

/* Leaves the first `size` bytes. */
static void cut_body(struct evbuffer *body, size_t size)
{
    struct evbuffer *rest = evbuffer_new();

    evbuffer_remove_buffer(body, rest, size);
    evbuffer_drain(body, evbuffer_get_length(body));
    evbuffer_add_buffer(body, rest);
    evbuffer_free(rest);
}

uint64_t fakes3_send_reply(struct fakes3_call *call, struct evbuffer *out)
{
    struct fakes3_reply *reply = &call->reply;
    struct evbuffer *body = reply->body;
    size_t size = evbuffer_get_length(body);

    add_head(call, (int64_t)size, out);
    if (!has_body(call))
        evbuffer_drain(body, size);
    else if (reply->cut >= 0)
        cut_body(body, (size_t)reply->cut);
    size = evbuffer_get_length(body);
    if (reply->framing == FAKES3_FRAMING_ENDLESS_HEAD) {
        evbuffer_drain(body, size);
        return 0;
    }
    if ((reply->framing == FAKES3_FRAMING_CHUNKED && has_body(call)) ||
        reply->framing == FAKES3_FRAMING_ENDLESS_CHUNKS)
        add_chunks(body, out, reply->framing == FAKES3_FRAMING_CHUNKED && reply->cut < 0);
    else
        evbuffer_add_buffer(out, body);
    return size;
}

bool fakes3_send_more(const struct fakes3_reply *reply, struct evbuffer *out)
{
    static char bytes[MORE_SIZE];

    switch (reply->framing) {
    case FAKES3_FRAMING_ENDLESS:
        evbuffer_add_reference(out, bytes, sizeof(bytes), NULL, NULL);
        return true;
    case FAKES3_FRAMING_ENDLESS_CHUNKS:
        evbuffer_add_printf(out, "%x\r\n", MORE_SIZE);
        evbuffer_add_reference(out, bytes, sizeof(bytes), NULL, NULL);
        evbuffer_add(out, "\r\n", 2);
        return true;
    case FAKES3_FRAMING_ENDLESS_HEAD:
        add_padding(out, MORE_SIZE);
        return true;
    case FAKES3_FRAMING_LENGTH:
    case FAKES3_FRAMING_CHUNKED:
    case FAKES3_FRAMING_CLOSE:
        break;
    }
    return false;
}
