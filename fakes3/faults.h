/*
 * The fault script: rules that select requests and say what goes wrong with them.
 *
 * FORMAT, one rule a line, words separated by white space, '#' begins a comment:
 *
 *   selectors  op=NAME,...   operation names, globs, or the classes read, write, list, provider
 *              bucket=GLOB   key=GLOB   method=NAME   access-key=GLOB
 *              with=HEADER   requests that bear this header
 *              nth=N | N-M | N-   of the requests that the words above select, counted from 1
 *              every=N       each Nth of them
 *              p=X           each with this probability
 *              times=N       at most N times
 *              from=TIME to=TIME   only while so much time has passed since the rule was set
 *   effects    the table in faults.c; docs/man/varve-fakes3.1 explains them
 *
 * All rules that fire act together; where two say the same thing differently, the earlier one
 * counts.
 */
#ifndef FAKES3_FAULTS_H
#define FAKES3_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fakes3/operation.h"
#include "fakes3/random.h"
#include "fakes3/reply.h"

enum fakes3_distribution_kind {
    FAKES3_FIXED,
    FAKES3_UNIFORM,
    FAKES3_EXPONENTIAL,
    FAKES3_LOGNORMAL,
};

struct fakes3_distribution {
    enum fakes3_distribution_kind kind;
    double a; /* us: the value, the lower bound, the mean, the median */
    double b; /* us: the upper bound; or sigma */
};

enum fakes3_range_fault {
    FAKES3_RANGE_GOOD,
    FAKES3_RANGE_IGNORE,  /* 200 and the whole object */
    FAKES3_RANGE_WRONG,   /* Content-Range says another place */
    FAKES3_RANGE_MISSING, /* no Content-Range */
    FAKES3_RANGE_SHORT,   /* an honest 206 of less than was asked */
    FAKES3_RANGE_SHIFT,   /* Content-Range as asked, bytes from elsewhere */
};

enum fakes3_endless {
    FAKES3_ENDLESS_NO,
    FAKES3_ENDLESS_BODY,
    FAKES3_ENDLESS_CHUNKED,
    FAKES3_ENDLESS_HEADERS,
};

enum fakes3_xml_fault {
    FAKES3_XML_GOOD,
    FAKES3_XML_BOMB,      /* entities that expand to gigabytes */
    FAKES3_XML_DEEP,      /* 100,000 elements inside each other */
    FAKES3_XML_TRUNCATED, /* half of the true body, with a fitting length */
    FAKES3_XML_GARBAGE,   /* bytes */
    FAKES3_XML_EMPTY,     /* no body */
    FAKES3_XML_HUGE,      /* one text of 64 MiB */
    FAKES3_XML_HTML,      /* what a proxy in between says */
};

enum fakes3_etag_fault {
    FAKES3_ETAG_GOOD,
    FAKES3_ETAG_WRONG,
    FAKES3_ETAG_UNQUOTED,
    FAKES3_ETAG_WEAK,
    FAKES3_ETAG_MISSING,
};

enum fakes3_ignore {
    FAKES3_IGNORE_CONDITIONS = 1, /* If-Match and If-None-Match */
    FAKES3_IGNORE_CHECKSUMS = 2,  /* Content-MD5, x-amz-content-sha256, x-amz-checksum-* */
    FAKES3_IGNORE_SIGNATURE = 4,
};

/* Which length the header Content-Length tells. */
struct fakes3_length_fault {
    bool missing;
    int64_t difference;
};

/* What listings do not know yet. */
struct fakes3_stale {
    int64_t ms;
    uint64_t requests;
};

#define FAKES3_CUT_NOT INT64_MIN

/* What happens to one request. `set` has a bit for each member that a rule gave, in the order of
 * the table in faults.c; the others hold what a good server does. */
struct fakes3_effects {
    uint64_t set;
    int64_t status;
    char code[64];
    char message[128];
    int64_t retry_after;
    bool late;           /* the error comes after the effect */
    char error_body[64]; /* the code in an answer of 200 */
    int64_t redirect;
    char location[256];
    enum fakes3_end before, drop, lose;
    struct fakes3_distribution latency;
    int64_t bandwidth, upload_bandwidth;
    int64_t cut; /* negative: from the end */
    enum fakes3_end end;
    enum fakes3_range_fault range;
    struct fakes3_length_fault length;
    int64_t flip;
    enum fakes3_endless endless;
    int64_t headers;
    enum fakes3_xml_fault xml;
    enum fakes3_etag_fault etag;
    struct fakes3_stale stale;
    unsigned ignore;
    char region[64];
    int64_t skew_us, expires_us, restore_us;
    bool archived, chunked, close;
};

struct fakes3_rule {
    char *text;
    char *ops, *bucket, *key, *method, *access_key, *with; /* NULL: any */
    int64_t nth_first, nth_last;                           /* 0: no such selector */
    int64_t every, times;
    double probability;     /* negative: no such selector */
    int64_t from_us, to_us; /* to_us 0: for ever */
    struct fakes3_effects effects;
    int64_t set_ms;
    int64_t matched, fired;
    struct fakes3_random random;
};

struct fakes3_faults {
    struct fakes3_rule **rules;
    size_t count;
    uint64_t seed;
    uint64_t last_stream;
};

/* What a rule may look at; strings may be NULL. */
struct fakes3_moment {
    enum fakes3_operation op;
    const char *bucket, *key;
    const struct fakes3_request *request; /* NULL: none yet */
    int64_t mono_ms;
};

/* Adds the rules of a text; on failure none is added and *ret_error is a message of fresh memory.
 */
bool fakes3_faults_add(struct fakes3_faults *faults, const char *text, int64_t mono_ms,
                       char **ret_error);
void fakes3_faults_clear(struct fakes3_faults *faults);
/* Counts the moment at each rule that selects it, and says what happens. */
struct fakes3_effects fakes3_faults_choose(struct fakes3_faults *faults,
                                           const struct fakes3_moment *moment);
/* The names of the effects that are set, separated by spaces. */
void fakes3_faults_names(const struct fakes3_effects *effects, struct evbuffer *out);
/* The effects table, for --help: names and forms, one a line. */
void fakes3_faults_describe(struct evbuffer *out);

int64_t fakes3_distribution_draw(const struct fakes3_distribution *distribution,
                                 struct fakes3_random *random); /* us */

#endif
