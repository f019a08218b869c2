/*
 * An object store in memory behind cold/store.h, strict about conditions, with the faults of real
 * ones: errors before and after the effect, effects that come later and in another order,
 * repetitions answered with 412, bodies that break off or change on their way, listings of some
 * time ago, outages.
 */
#ifndef SIM_BUCKET_H
#define SIM_BUCKET_H

#include "cold/store.h"
#include "tests/sim/disk.h"

struct sim_bucket;

struct sim_bucket_hooks {
    void *ctx;
    struct sim_trace *trace;
    struct sim_random *random;
    int64_t (*now_ms)(void *ctx); /* the store's own clock */
    /* As a disk's. Time passes in it, and others may act. */
    struct sim_verdict (*before)(void *ctx, struct sim_caller *c, enum sim_kind kind,
                                 enum sim_step step, const char *key);
    void (*after)(void *ctx, struct sim_caller *c, enum sim_kind kind, enum sim_step step,
                  const struct sim_verdict *v);
    /* An object has been stored, or is about to go; also when that comes late. */
    void (*stored)(void *ctx, const char *key, const void *data, size_t size);
    void (*removing)(void *ctx, const char *key);
};

struct sim_bucket *sim_bucket_new(const struct sim_bucket_hooks *hooks);
struct sim_bucket *sim_bucket_free(struct sim_bucket *b);

/* A store of one caller over the bucket. `part_bytes` 0: large parts only, like a directory's. */
int sim_bucket_open(struct sim_bucket *b, struct sim_caller *c, const struct base_env *env,
                    const char *url, size_t part_bytes, bool read_only, struct cold_store **ret,
                    struct varve_error *err);

/* Carries out what is late and due; `all`: what is late. */
void sim_bucket_pass(struct sim_bucket *b, bool all);
void sim_bucket_set_down(struct sim_bucket *b, bool down);
bool sim_bucket_is_down(const struct sim_bucket *b);

/* Looking from outside. NULL: no such object. */
const void *sim_bucket_look(struct sim_bucket *b, const char *key, size_t *ret_size);
void sim_bucket_each(struct sim_bucket *b,
                     void (*visit)(void *arg, const char *key, const void *data, size_t size),
                     void *arg);
/* Bits of one byte of an object change, or change back. False: there is none, or not so long. */
bool sim_bucket_flip(struct sim_bucket *b, const char *key, size_t pos, uint8_t mask);
unsigned sim_bucket_uploads(const struct sim_bucket *b);

#endif
