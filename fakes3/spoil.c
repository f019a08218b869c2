#include "fakes3/spoil.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fakes3/text.h"

#define DEEP_COUNT 100000
#define HUGE_SIZE (64 * 1024 * 1024)

static void answer_error(struct fakes3_call *call)
{
    const struct fakes3_effects *e = &call->effects;
    int status = *e->code ? fakes3_reply_status_of_code(e->code) : 0;

    fakes3_reply_error(&call->reply,
                       *e->code ? e->code : fakes3_reply_code_of_status((int)e->status), "%s",
                       *e->message ? e->message
                                   : "Please reduce your request rate, or whatever "
                                     "this scripted error is about.");
    if (e->status || status)
        call->reply.status = e->status ? (int)e->status : status;
    if (e->retry_after)
        fakes3_reply_header(&call->reply, "Retry-After", "%lld", (long long)e->retry_after);
    if (strcmp(fakes3_reply_code(&call->reply), "AuthorizationHeaderMalformed") == 0) {
        const char *region = *e->region ? e->region : call->server->options.region;
        fakes3_reply_detail(&call->reply, "Region", "%s", region);
        fakes3_reply_header(&call->reply, "x-amz-bucket-region", "%s", region);
    }
}

static void answer_redirect(struct fakes3_call *call)
{
    const struct fakes3_effects *e = &call->effects;

    fakes3_reply_error(&call->reply, e->redirect == 307 ? "TemporaryRedirect" : "PermanentRedirect",
                       "The bucket you are attempting to access must be addressed using the "
                       "specified endpoint.");
    call->reply.status = (int)e->redirect;
    if (*e->location) {
        fakes3_reply_detail(&call->reply, "Endpoint", "%s", e->location);
        /* A 301 of S3 has no Location: clients find the region and go there by themselves. */
        if (e->redirect == 307)
            fakes3_reply_header(&call->reply, "Location", "%s://%s%s",
                                call->server->tls ? "https" : "http", e->location,
                                call->request->target);
    }
    if (call->request->bucket)
        fakes3_reply_detail(&call->reply, "Bucket", "%s", call->request->bucket);
    if (*e->region)
        fakes3_reply_header(&call->reply, "x-amz-bucket-region", "%s", e->region);
}

static void answer_error_body(struct fakes3_call *call)
{
    fakes3_reply_error(&call->reply, call->effects.error_body,
                       "We encountered an internal error. Please try again.");
    call->reply.status = 200;
}

bool fakes3_spoil_instead(struct fakes3_call *call)
{
    const struct fakes3_effects *e = &call->effects;

    if (e->redirect)
        answer_redirect(call);
    else if (e->late)
        return false;
    else if (e->status || *e->code)
        answer_error(call);
    else if (*e->error_body)
        answer_error_body(call);
    else
        return false;
    return true;
}

void fakes3_spoil_result(struct fakes3_call *call)
{
    const struct fakes3_effects *e = &call->effects;

    if (!e->late)
        return;
    if (*e->error_body)
        answer_error_body(call);
    else
        answer_error(call);
}

static void add_many(struct evbuffer *out, const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++)
        evbuffer_add(out, text, strlen(text));
}

static void write_bomb(struct evbuffer *out)
{
    evbuffer_add_printf(out, "<?xml version=\"1.0\"?>\n<!DOCTYPE bomb [<!ENTITY e0 \"%s\">\n",
                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    for (int i = 1; i <= 10; i++) {
        evbuffer_add_printf(out, "<!ENTITY e%d \"", i);
        for (int j = 0; j < 10; j++)
            evbuffer_add_printf(out, "&e%d;", i - 1);
        evbuffer_add_printf(out, "\">\n");
    }
    evbuffer_add_printf(out, "]>\n<ListBucketResult><Name>&e10;</Name></ListBucketResult>");
}

static void write_garbage(struct fakes3_random *random, struct evbuffer *out)
{
    for (int i = 0; i < 512; i++) {
        uint64_t bytes = fakes3_random_next(random);
        evbuffer_add(out, &bytes, sizeof(bytes));
    }
}

static void spoil_xml(struct fakes3_call *call)
{
    struct evbuffer *body = call->reply.body;
    enum fakes3_xml_fault fault = call->effects.xml;
    char *truth;
    size_t size = evbuffer_get_length(body);

    if (fault == FAKES3_XML_GOOD)
        return;
    call->reply.status = 200;
    call->reply.length = -1;
    fakes3_reply_header_set(&call->reply, "Content-Type", "application/xml");
    if (fault == FAKES3_XML_TRUNCATED) {
        truth = fakes3_text_alloc(size + 1);
        evbuffer_remove(body, truth, size);
        evbuffer_add(body, truth, size / 2);
        free(truth);
        return;
    }
    evbuffer_drain(body, size);
    if (fault == FAKES3_XML_BOMB) {
        write_bomb(body);
    } else if (fault == FAKES3_XML_DEEP) {
        add_many(body, "<a>", DEEP_COUNT);
        add_many(body, "</a>", DEEP_COUNT);
    } else if (fault == FAKES3_XML_GARBAGE) {
        write_garbage(&call->server->random, body);
    } else if (fault == FAKES3_XML_HUGE) {
        evbuffer_add_printf(body, "<ListBucketResult><Name>");
        add_many(body, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                 HUGE_SIZE / 64);
        evbuffer_add_printf(body, "</Name></ListBucketResult>");
    } else if (fault == FAKES3_XML_HTML) {
        fakes3_reply_header_set(&call->reply, "Content-Type", "text/html");
        evbuffer_add_printf(body, "<html><body><h1>It works!</h1><br></body></html>");
    }
}

static void spoil_etag(struct fakes3_call *call)
{
    const char *etag = fakes3_pairs_get(&call->reply.headers, "ETag");
    char *text;

    if (!etag || call->effects.etag == FAKES3_ETAG_GOOD)
        return;
    if (call->effects.etag == FAKES3_ETAG_WRONG)
        text = fakes3_text_copy("\"00000000000000000000000000000bad\"");
    else if (call->effects.etag == FAKES3_ETAG_UNQUOTED)
        text = fakes3_text_slice(etag + 1, strlen(etag) - 2);
    else if (call->effects.etag == FAKES3_ETAG_WEAK)
        text = fakes3_text_format("W/%s", etag);
    else
        text = NULL;
    fakes3_reply_header_set(&call->reply, "ETag", text);
    free(text);
}

/* The body lies in objects: what is flipped is a copy. */
static void flip_bits(struct fakes3_call *call)
{
    struct evbuffer *body = call->reply.body;
    size_t size = evbuffer_get_length(body);
    uint8_t *copy;

    if (call->effects.flip <= 0 || size == 0)
        return;
    copy = fakes3_text_alloc(size);
    evbuffer_remove(body, copy, size);
    for (int64_t i = 0; i < call->effects.flip; i++) {
        uint64_t bit = fakes3_random_next(&call->server->random) % (8 * (uint64_t)size);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    evbuffer_add(body, copy, size);
    free(copy);
}

static void spoil_length(struct fakes3_call *call)
{
    struct fakes3_reply *reply = &call->reply;
    int64_t size = (int64_t)evbuffer_get_length(reply->body);

    if (call->effects.length.missing) {
        reply->framing = FAKES3_FRAMING_CLOSE;
    } else if (call->effects.length.difference) {
        reply->length =
            (reply->length < 0 ? size : reply->length) + call->effects.length.difference;
        if (reply->length < 0)
            reply->length = 0;
        /* What comes behind would be taken for the rest, or the rest for what comes behind. */
        reply->end = FAKES3_END_FIN;
    }
}

static void spoil_end(struct fakes3_call *call)
{
    struct fakes3_reply *reply = &call->reply;
    int64_t size = (int64_t)evbuffer_get_length(reply->body);
    int64_t cut = call->effects.cut;
    static const enum fakes3_framing framings[] = {
        [FAKES3_ENDLESS_BODY] = FAKES3_FRAMING_ENDLESS,
        [FAKES3_ENDLESS_CHUNKED] = FAKES3_FRAMING_ENDLESS_CHUNKS,
        [FAKES3_ENDLESS_HEADERS] = FAKES3_FRAMING_ENDLESS_HEAD,
    };

    if (call->effects.endless)
        reply->framing = framings[call->effects.endless];
    else if (call->effects.chunked && reply->framing == FAKES3_FRAMING_LENGTH)
        reply->framing = FAKES3_FRAMING_CHUNKED;
    if (call->effects.end)
        reply->end = call->effects.end;
    if (cut != FAKES3_CUT_NOT) {
        cut = cut < 0 ? size + cut : cut;
        reply->cut = cut < 0 ? 0 : cut;
        if (reply->cut >= size)
            reply->cut = -1;
        else if (!reply->end)
            reply->end = FAKES3_END_FIN;
    }
    reply->close |= call->effects.close;
}

void fakes3_spoil_wire(struct fakes3_call *call)
{
    spoil_xml(call);
    spoil_etag(call);
    flip_bits(call);
    spoil_length(call);
    spoil_end(call);
}
