/*
 * The client of one bucket: requests signed, sent, judged, and sent again where that can help.
 *
 * A call says what is wanted in S3's terms; it may take several requests. The client keeps a window
 * of requests in flight that shrinks when the store says SlowDown, a budget of retries, the
 * correction of the clock and of the region, and the credentials in use. How a call ends: with an
 * answer that means something (`class`), or with a failure that names its cause in words.
 *
 * Threads: any. `done` comes on a thread of the HTTP engine or of the client and must not block.
 */
#ifndef COLD_S3_CLIENT_H
#define COLD_S3_CLIENT_H

#include "cold/s3/credentials.h"
#include "cold/s3/endpoint.h"
#include "cold/s3/http.h"
#include "cold/s3/reply.h"

#define S3_CLIENT_WINDOW_DEFAULT 64
#define S3_CALL_HEADERS_MAX 8
#define S3_ETAG_SIZE 128
#define S3_WRITE_ID_HEADER "x-amz-meta-varve-write-id"
#define S3_WRITE_ID_SIZE 33 /* 32 hex digits and NUL */

/* How requests travel: s3_http, or a test's script. */
struct s3_transport {
    void *ctx;
    int (*start)(void *ctx, struct s3_http_request *request, struct varve_error *err);
    void (*cancel)(void *ctx, struct s3_http_request *request);
};
struct s3_transport s3_transport_http(struct s3_http *http);

/* Where credentials come from: a source of credentials.h, or a test's. */
struct s3_keys {
    void *ctx;
    int (*get)(void *ctx, struct s3_credentials *ret, struct varve_error *err);
    void (*expire)(void *ctx, const char *access_key);
};
struct s3_keys s3_keys_source(struct s3_credentials_source *source);

struct s3_client_options {
    struct s3_transport transport;
    struct s3_keys keys;
    struct s3_endpoint_options endpoint;
    unsigned window;        /* requests in flight at most; 0: S3_CLIENT_WINDOW_DEFAULT */
    unsigned delay_divisor; /* tests wait less: all delays are divided by it; 0: 1 */
};

struct s3_client;
struct s3_call;

struct s3_call {
    /* What is wanted; all of it stays in place until done. */
    const char *method;
    const char *key;   /* "": the bucket */
    const char *query; /* encoded by s3_query_encode; NULL: none */
    struct s3_header headers[S3_CALL_HEADERS_MAX];
    size_t header_count;
    const struct iovec *body;
    int body_count;
    char body_sha256[S3_SIGN_DIGEST_SIZE]; /* of s3_call_digest; "" with a body of no bytes */
    bool ranged;                           /* GET [pos, pos + room_size) into room */
    uint64_t pos;
    void *room;
    size_t room_size;
    size_t size_max; /* without room: the reply's body comes in fresh memory of at most so much */
    bool is_object;  /* that body is an object: above size_max it is VARVE_E_TOO_LARGE */
    bool wants_etag; /* an answer without a whole ETag is none */
    bool may_hedge;  /* a second request may be sent beside a slow one */
    bool is_damaged; /* sent to be refused: that its body is not what was promised is the answer */
    int priority;
    int64_t
        patience_ms; /* until an answer begins; 0: each request as long as usual, and so often */
    void (*done)(struct s3_call *call);
    void *ctx;

    /* What came of it. rc 0: a 2xx answer. */
    int rc;
    struct varve_error err; /* the cause alone: callers put operation, key and store before it */
    struct s3_error error;  /* of an answer that was none of 2xx */
    bool uncertain;         /* an earlier request of this call may have taken effect */
    bool answered;          /* the last request got an answer */
    enum s3_http_trouble trouble; /* of the last request without one */
    int64_t date_ms; /* the answer's Date, the store's clock to a second; -1: not said */
    unsigned requests;
    char etag[S3_ETAG_SIZE];
    char write_id[S3_WRITE_ID_SIZE];
    uint64_t object_size; /* HEAD, and GET of a whole object */
    int64_t modified_ms;
    void *body_memory; /* the receiver frees it */
    size_t body_memory_size;

    struct {
        struct s3_call *prev, *next; /* of all */
        struct s3_call *queue;       /* of those that are ready */
        int state;
        int64_t started_ns, due_ns, hedge_ns, last_delay_ms;
        struct s3_attempt *attempts[2]; /* in flight; [1]: the hedge */
        struct s3_attempt *winner;      /* a hedge that waits for the first to let go of the room */
        bool cancelled, clock_tried, region_tried, keys_tried;
    } internal;
};

/* SHA-256 of the call's body, once, by the thread that has it. */
int s3_call_digest(struct s3_call *call, struct varve_error *err);
/* Adds a header; name and value stay in place until done. */
void s3_call_header(struct s3_call *call, const char *name, const char *value);

int s3_client_new(const struct base_env *env, const struct s3_client_options *options,
                  struct s3_client **ret, struct varve_error *err);
/* Cancels what is under way and waits for each `done`. */
struct s3_client *s3_client_free(struct s3_client *client);

/* Begins; on failure `done` is not called. Never calls `done` itself. */
int s3_client_start(struct s3_client *client, struct s3_call *call, struct varve_error *err);
/* Begins and waits. Returns call->rc, and *err is a copy of call->err. */
int s3_client_call(struct s3_client *client, struct s3_call *call, struct varve_error *err);
/* `done` still comes. Only between the start and the return of `done`. */
void s3_client_cancel(struct s3_client *client, struct s3_call *call);

/* Where requests go now, corrections by the store included. */
struct s3_client_place {
    char base[320]; /* "https://host[:port]"; in virtual style with the bucket in front */
    char region[64];
    bool tls;
    bool virtual_style;
};
void s3_client_place(struct s3_client *client, struct s3_client_place *ret);

struct s3_client_stats {
    uint64_t requests; /* sent, retries and hedges included */
    uint64_t retries;
    uint64_t hedges;
    uint64_t slow_downs;
    unsigned window; /* now */
};
void s3_client_stats(struct s3_client *client, struct s3_client_stats *ret);

#endif
