/* One answer while it is made: status, headers, body or error; and how it is to be spoilt on the
 * wire. */
#ifndef FAKES3_REPLY_H
#define FAKES3_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/buffer.h>

#include "fakes3/pairs.h"

struct fakes3_request;

/* How a connection ends. */
enum fakes3_end {
    FAKES3_END_NONE,
    FAKES3_END_FIN,  /* as a peer that closes */
    FAKES3_END_RST,  /* as a peer that crashed */
    FAKES3_END_HANG, /* not at all: it stays open and silent */
};

enum fakes3_framing {
    FAKES3_FRAMING_LENGTH,         /* Content-Length */
    FAKES3_FRAMING_CHUNKED,        /* Transfer-Encoding: chunked */
    FAKES3_FRAMING_CLOSE,          /* neither: the end of the connection is the end of the body */
    FAKES3_FRAMING_ENDLESS,        /* as CLOSE, but it never ends */
    FAKES3_FRAMING_ENDLESS_CHUNKS, /* as CHUNKED, but it never ends */
    FAKES3_FRAMING_ENDLESS_HEAD,   /* headers for ever */
};

struct fakes3_reply {
    int status;
    struct fakes3_pairs headers;
    struct evbuffer *body;
    struct fakes3_pairs error; /* Code, Message and more: becomes the body, where there is one */
    int64_t length;            /* what Content-Length says; -1: the size of the body */
    bool close;
    enum fakes3_framing framing;
    int64_t cut;         /* body bytes that are sent before `end`; -1: all */
    enum fakes3_end end; /* once all is sent; NONE: as keep-alive says */
};

void fakes3_reply_init(struct fakes3_reply *reply);
void fakes3_reply_deinit(struct fakes3_reply *reply);
/* Starts over: what an injected error does to an answer that was already there. */
void fakes3_reply_clear(struct fakes3_reply *reply);

void fakes3_reply_header(struct fakes3_reply *reply, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Replaces the first of that name, or adds it; with a NULL value removes it. */
void fakes3_reply_header_set(struct fakes3_reply *reply, const char *name, const char *value);
/* The status belongs to the code, where it is known, else 400. */
void fakes3_reply_error(struct fakes3_reply *reply, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Another element of <Error>. */
void fakes3_reply_detail(struct fakes3_reply *reply, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
const char *fakes3_reply_code(const struct fakes3_reply *reply); /* of the error; "" without one */
/* 200 with an XML body; appends declaration and <root xmlns=S3>. The caller closes the root. */
void fakes3_reply_xml(struct fakes3_reply *reply, const char *root);
/* <name>text</name>, escaped; nothing for NULL. */
void fakes3_reply_element(struct fakes3_reply *reply, const char *name, const char *text);

int fakes3_reply_status_of_code(const char *code);   /* 0: unknown */
const char *fakes3_reply_code_of_status(int status); /* what S3 answers most often with it */
const char *fakes3_reply_reason(int status);

/* Turns `error` into the body, in S3's or in STS's form. */
void fakes3_reply_finish(struct fakes3_reply *reply, const struct fakes3_request *request,
                         const char *request_id);

#endif
