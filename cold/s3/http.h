/*
 * HTTP for object stores: a few I/O threads, each with one curl_multi on epoll, many connections
 * each. Knows nothing of S3.
 *
 * A request names its URL, headers and body, and where the body of the answer goes; it is started,
 * and `done` is called once on an I/O thread, which must not block. Deadlines are on connecting, on
 * the first byte and on progress, never on a whole body. Redirects are never followed. Replies are
 * bounded: headers by S3_HTTP_HEADERS_MAX, bodies by the room that the request gives.
 *
 * Threads: any may start and cancel. Only loopback and the URLs asked for are connected to; proxies
 * come from the environment as libcurl takes them.
 */
#ifndef COLD_S3_HTTP_H
#define COLD_S3_HTTP_H

#include <stdbool.h>
#include <sys/uio.h>

#include "base/env.h"
#include "cold/s3/sign.h"

#define S3_HTTP_HEADERS_MAX (64 * 1024)
#define S3_HTTP_ERROR_BODY_MAX (64 * 1024) /* of an error's body this much is kept */

struct s3_http_options {
    unsigned threads;              /* I/O threads; 0: 2 */
    unsigned connections_max;      /* of each thread; 0: 64 */
    const char *ca_file;           /* PEM; NULL: the system's */
    int64_t connect_timeout_ms;    /* 0: 5 s */
    int64_t first_byte_timeout_ms; /* after the body was sent; 0: 20 s */
    int64_t stall_timeout_ms;      /* no byte moved in either direction; 0: 20 s */
};

enum s3_http_outcome {
    S3_HTTP_REPLY,     /* a whole reply was received; `status` says what it is */
    S3_HTTP_NOT_SENT,  /* could not connect, TLS refused: the store has seen nothing */
    S3_HTTP_UNKNOWN,   /* broke or timed out after something was sent: it may have taken effect */
    S3_HTTP_TRUNCATED, /* the body ended before its length, or is longer than the room given */
    S3_HTTP_CANCELLED,
};

/* Of a transport failure: what is in the way. */
enum s3_http_trouble {
    S3_HTTP_TROUBLE_OTHER,        /* it broke, stalled, said nothing */
    S3_HTTP_TROUBLE_NAME,         /* the host's name cannot be resolved */
    S3_HTTP_TROUBLE_CONNECT,      /* nobody listens there */
    S3_HTTP_TROUBLE_TLS,          /* no TLS came about: most often the server speaks none */
    S3_HTTP_TROUBLE_CA_FILE,      /* the given CAs cannot be read */
    S3_HTTP_TROUBLE_UNTRUSTED,    /* nobody we trust has signed the certificate */
    S3_HTTP_TROUBLE_EXPIRED,      /* the certificate is not valid yet, or no more, by our clock */
    S3_HTTP_TROUBLE_ANOTHER_HOST, /* the certificate is another host's */
    S3_HTTP_TROUBLE_MEMORY,       /* out of memory, here */
};

struct s3_http_reply {
    enum s3_http_outcome outcome;
    enum s3_http_trouble trouble;
    int status;
    bool retriable;    /* a transport failure that may pass; false e.g. for a refused certificate */
    char message[160]; /* of a transport failure, in words; no URL query, no credentials */
    size_t size;       /* bytes of the body, those beyond the room included */
    int64_t content_length; /* -1: not said */
    /* Those asked for by `want_headers`, NULL where absent; they live until `done` returns, or,
     * with s3_http_call, until s3_http_reply_deinit. */
    char *headers[12];
    void *error_body; /* of a status outside 2xx, at most S3_HTTP_ERROR_BODY_MAX */
    size_t error_size;
    int64_t first_byte_ns; /* from start to the first byte of the answer's body or head */
    int64_t total_ns;
};

struct s3_http_request {
    const char *method;
    const char *url; /* whole, encoded */
    const struct s3_header *headers;
    size_t header_count;
    const struct iovec *body; /* stays the caller's until done; NULL: none */
    int body_count;
    /* Where a 2xx body goes: into `room` (exactly as much as is there; more is S3_HTTP_TRUNCATED),
     * or, with room NULL, into fresh memory of at most size_max bytes that the reply hands over. */
    void *room;
    size_t room_size;
    size_t size_max;
    void *body_memory; /* set at the end when room is NULL; the receiver frees it */
    size_t body_memory_size;
    const char *const *want_headers; /* lower case, NULL-terminated, at most 12 */
    int priority;                    /* lower is started first when connections are scarce */
    int64_t connect_timeout_ms;      /* 0: as the options say; so the next */
    int64_t first_byte_timeout_ms;
    bool direct; /* never by a proxy: for addresses that only this machine has */
    void (*done)(struct s3_http_request *request, struct s3_http_reply *reply);
    void *ctx;
    void *internal; /* the engine's */
};

struct s3_http;
int s3_http_new(const struct base_env *env, const struct s3_http_options *options,
                struct s3_http **ret, struct varve_error *err);
/* Cancels what is under way (each `done` is called) and joins the threads. */
struct s3_http *s3_http_free(struct s3_http *http);

/* The request and all it points to stay in place until `done` has been called. VARVE_E_NO_MEMORY:
 * not started, `done` is not called. */
int s3_http_start(struct s3_http *http, struct s3_http_request *request, struct varve_error *err);
/* Asks for an early end; `done` is still called, soon, maybe with a whole reply. */
void s3_http_cancel(struct s3_http *http, struct s3_http_request *request);

/* Starts and waits. The reply's memory is released by s3_http_reply_deinit. */
int s3_http_call(struct s3_http *http, struct s3_http_request *request, struct s3_http_reply *ret,
                 struct varve_error *err);
void s3_http_reply_deinit(struct s3_http_reply *reply);

#endif
