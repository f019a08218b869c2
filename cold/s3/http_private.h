/* What http.c (threads, queues) and transfer.c (one request in libcurl's hands) share. */
#ifndef COLD_S3_HTTP_PRIVATE_H
#define COLD_S3_HTTP_PRIVATE_H

#include <curl/curl.h>

#include "base/thread.h"
#include "cold/s3/http.h"

#define S3_HTTP_WANT_MAX (sizeof(((struct s3_http_reply *)0)->headers) / sizeof(char *))
/* Bodies up to this of several pieces are copied together; larger ones are read piece by piece. */
#define S3_TRANSFER_GATHER_MAX (64 * 1024)

/* Why we ourselves made libcurl stop; it wins over libcurl's own word. */
enum s3_transfer_stop {
    S3_STOP_NONE,
    S3_STOP_CANCELLED,
    S3_STOP_FIRST_BYTE, /* deadline */
    S3_STOP_STALL,      /* deadline */
    S3_STOP_BODY,       /* longer than the room */
    S3_STOP_ERROR_BODY, /* enough of an error's body was kept */
    S3_STOP_HEADERS,    /* above S3_HTTP_HEADERS_MAX */
    S3_STOP_RESENT,     /* libcurl was about to send a changing request a second time */
    S3_STOP_NO_MEMORY,
};

struct s3_transfer {
    struct s3_transfer *next;
    struct s3_http_request *request;
    struct s3_http_thread *thread;
    CURL *easy; /* while active */
    struct curl_slist *headers;
    void *gathered;     /* a small body of several pieces, copied together; NULL: none */
    bool cancelled;     /* protected by the thread's lock */
    uint64_t body_size; /* of the request */
    int body_index;     /* what the read callback sends next */
    size_t body_pos;
    unsigned sends; /* how often libcurl began to send it */
    enum s3_transfer_stop stop;
    int64_t started_ns;
    int64_t moved_ns; /* when a sweep last saw a byte moved */
    uint64_t moved;
    bool sent; /* a sweep has seen the whole request sent */
    int64_t sent_ns;
    size_t header_bytes;
    bool head_ended; /* the empty line behind the headers has come */
    size_t capacity; /* of request->body_memory */
    struct s3_http_reply reply;
    char error[CURL_ERROR_SIZE];
};

/* Sets everything up on t->easy (a handle fresh or reset). False: out of memory. */
bool s3_transfer_prepare(struct s3_transfer *t, const struct s3_http_options *options);
/* Compares with the deadlines. False: t->stop has been set, take it out of libcurl's hands. */
bool s3_transfer_check(struct s3_transfer *t, const struct s3_http_options *options,
                       int64_t now_ns);
/* Turns libcurl's result (anything, when t->stop is set) into t->reply. */
void s3_transfer_conclude(struct s3_transfer *t, CURLcode code, int64_t now_ns);
void s3_transfer_free(struct s3_transfer *t); /* not the easy handle */

#endif
