/*
 * One log across both tiers for tests: store, manifest, hot set and tiering_log over the seams of a
 * support_env, a model of all that was appended, and a checker of both tiers against it.
 */
#ifndef SUPPORT_TIERING_H
#define SUPPORT_TIERING_H

#include <stdatomic.h>

#include "base/bytes.h"
#include "cold/faulty.h"
#include "tests/support/env.h"
#include "tiering/tiering.h"
#include "tiering/verify.h"

/* A faulty store around the dir driver. */
struct support_faulty {
    struct cold_store *under; /* the faulty store's own */
    struct cold_faulty_hook hook;
    /* Called before (and, with `after`, after) each request; non-zero fails it with that code,
     * retriable. After: the request was carried out and its reply is lost. May be NULL. */
    int (*fault)(void *ctx, enum cold_op op, const char *key, bool after);
    void *ctx;
    atomic_int root_puts;
};

#define SUPPORT_TIERING_PART_BYTES 4096

struct support_tiering_batch {
    int64_t base_offset;
    int64_t end_offset;
    int64_t max_timestamp;
    size_t pos; /* in `bytes` of the model */
    size_t size;
};

struct support_tiering {
    struct support_env *e;
    /* settings; change before support_tiering_open */
    unsigned threads;
    bool take_over;
    bool set_aside;
    struct base_id store_id;
    struct hot_set_options hot_options;
    struct tiering_policy policy;
    struct tiering_rate *rate;
    /* The store is one that requests travel to, with parts of SUPPORT_TIERING_PART_BYTES. */
    bool remote;
    const char *faults; /* a script of the faulty driver, and its seed */
    uint64_t seed;
    const char *log_name;
    const char *cold_path;
    const char *local_path;
    /* open */
    struct support_faulty faulty;
    struct cold_store *store;
    struct base_pool *pool;
    struct cold_cache *blocks, *tables;
    struct cold_fetch *fetch;
    struct cold_manifest_loader loader;
    struct index_manifest *manifest;
    struct hot_set *hot;
    struct tiering_log *t;
    /* model; offsets are dense */
    struct base_buffer bytes;
    struct support_tiering_batch *batches;
    size_t batch_count;
    int64_t end;
    /* events, by kind */
    atomic_uint events[TIERING_STALLED + 1];
    int64_t last_event_end[TIERING_STALLED + 1];
};

/* Fills in the settings and makes the log in the bucket. Segments of 16 KiB, blocks of 4 KiB, no
 * limits. Aborts when it cannot. */
void support_tiering_init(struct support_tiering *r, struct support_env *e);
/* A second machine on the same bucket, with its own store id and local directory. */
void support_tiering_init_other(struct support_tiering *r, const struct support_tiering *first,
                                const char *local_name);
void support_tiering_deinit(struct support_tiering *r);
/* And removes both tiers, so that a test can begin anew in the same directory. */
void support_tiering_remove(struct support_tiering *r);

/* Opens everything afresh, as a process that starts. */
int support_tiering_open(struct support_tiering *r, struct varve_error *err);
/* They must succeed; what they say otherwise fails the test. */
void support_tiering_open_ok(struct support_tiering *r);
void support_tiering_run_ok(struct support_tiering *r, bool seal, bool evict);
void support_tiering_close(struct support_tiering *r);
/* Closes without writing anything, as a crash would leave it. */
void support_tiering_crash(struct support_tiering *r);

/* Appends one batch of records of about `size` bytes altogether at `timestamp`. */
int support_tiering_append(struct support_tiering *r, size_t size, int64_t timestamp, bool noise,
                           struct varve_error *err);
/* Appends, each batch at the clock's time, until `count` more segments are sealed. */
void support_tiering_fill(struct support_tiering *r, unsigned count);

void support_tiering_root(struct support_tiering *r, struct index_root *ret);
int support_tiering_entry(struct support_tiering *r, int64_t offset, struct index_entry *ret);
/* One step; returns its code. *ret_next may be NULL. */
int support_tiering_step(struct support_tiering *r);

/*
 * Aborts with a message unless: cold covers [start, n) and hot [h, end), h <= n (I1); every object
 * that the root names decompresses to just the bytes appended, with its chain and sums (I2);
 * every hot segment holds just the bytes appended.
 */
void support_tiering_check(struct support_tiering *r);
/* What a verification looks at; how deep, and whom it tells, is the caller's. */
void support_tiering_verify(struct support_tiering *r, struct tiering_verify *ret);
/* Unfinished multipart uploads in the bucket. */
unsigned support_tiering_unfinished(struct support_tiering *r);
/* Objects and pages in the bucket; those of them no root names. */
unsigned support_tiering_objects(struct support_tiering *r, unsigned *ret_orphans);

#endif
