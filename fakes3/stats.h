/* What went over the wire, counted; and the last requests, one JSON line each. */
#ifndef FAKES3_STATS_H
#define FAKES3_STATS_H

#include <stdint.h>

#include <event2/buffer.h>

#include "fakes3/operation.h"

/* Bounds on what is remembered. */
#define FAKES3_STATS_LINES_COUNT_MAX 10000
#define FAKES3_STATS_KEYS_COUNT_MAX 100000
#define FAKES3_STATS_RANGES_COUNT_MAX 64

struct fakes3_stats_operation {
    uint64_t requests, errors;    /* errors: answers of 400 and more, and requests without answer */
    uint64_t bytes_in, bytes_out; /* of bodies */
    uint64_t in_flight, in_flight_max;
};

struct fakes3_stats {
    struct fakes3_stats_operation operations[FAKES3_OPERATIONS_COUNT];
    uint64_t requests;
    uint64_t connections, connections_open, connections_open_max;
    uint64_t bytes_in, bytes_out; /* with heads; without TLS's share */
    uint64_t in_flight, in_flight_max;
    void *keys; /* a tree of per-key counts */
    uint64_t keys_count;
    char *lines[FAKES3_STATS_LINES_COUNT_MAX]; /* a ring */
    uint64_t lines_count;                      /* ever */
};

void fakes3_stats_begin(struct fakes3_stats *stats, enum fakes3_operation op);
void fakes3_stats_end(struct fakes3_stats *stats, enum fakes3_operation op, int status,
                      uint64_t bytes_in, uint64_t bytes_out);
/* A GET of an object; `range` is the header as it came, or NULL. */
void fakes3_stats_get(struct fakes3_stats *stats, const char *bucket, const char *key,
                      const char *range);
/* Takes over a line of fresh memory, without its newline. */
void fakes3_stats_log(struct fakes3_stats *stats, char *line);
/* Counts start again; what is in flight stays. */
void fakes3_stats_reset(struct fakes3_stats *stats);
void fakes3_stats_deinit(struct fakes3_stats *stats);
/* Members of a JSON object, without its braces. */
void fakes3_stats_json(const struct fakes3_stats *stats, struct evbuffer *out);
void fakes3_stats_lines(const struct fakes3_stats *stats, uint64_t count, struct evbuffer *out);

#endif
