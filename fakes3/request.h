/* One request: its head parsed, its body as it came. */
#ifndef FAKES3_REQUEST_H
#define FAKES3_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fakes3/blob.h"
#include "fakes3/digest.h"
#include "fakes3/operation.h"
#include "fakes3/pairs.h"

/* What a head may hold; session tokens take a few KiB of it. */
#define FAKES3_HEAD_SIZE_MAX (64 * 1024)
#define FAKES3_HEADERS_COUNT_MAX 256

struct fakes3_request {
    char *method;
    char *target;                /* as it came */
    char *path;                  /* decoded, without the query */
    struct fakes3_pairs headers; /* names in lower case */
    struct fakes3_pairs params;  /* decoded */
    bool http_1_0;
    bool keep_alive;
    bool expects_continue;
    bool transfer_encoding;
    int64_t content_length; /* -1: not given */
    char *bucket;           /* NULL: none in path or host */
    char *key;              /* NULL: none */
    enum fakes3_operation op;
    bool control;             /* of the control path /-/ */
    struct fakes3_blob *body; /* NULL: empty, or not kept */
    struct fakes3_digest digest;
};

/*
 * Parses the `size` bytes up to and including the empty line. `domain` is what virtual-host names
 * end in. Returns NULL with *ret_status 400, 431 or 505.
 */
struct fakes3_request *fakes3_request_parse(const char *head, size_t size, const char *domain,
                                            int *ret_status);
struct fakes3_request *fakes3_request_free(struct fakes3_request *request); /* NULL */
const char *fakes3_request_header(const struct fakes3_request *request, const char *name);
const char *fakes3_request_param(const struct fakes3_request *request, const char *name);
/* The body as text of fresh memory. */
char *fakes3_request_text(const struct fakes3_request *request);

#endif
