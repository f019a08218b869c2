/* Shared by the files of verify; internal to them. */
#ifndef TIERING_VERIFY_PRIVATE_H
#define TIERING_VERIFY_PRIVATE_H

#include "cold/object.h"
#include "tiering/verify.h"

#define VERIFY_TEXT_MAX 200 /* of what a finding says, when it is put together here */

struct tiering_verify_state {
    const struct base_env *env;
    struct tiering_verify *v;
    struct base_id log_id;
    int64_t start_offset, end_offset, deleted_to; /* of the newest root seen */
    uint32_t epoch;
    uint64_t done, total; /* for the progress */
    int64_t hot_floor;    /* before anything else was looked at; INT64_MAX: nothing is hot */
    /* the walk over the entries */
    bool any_entry;
    int64_t next_offset;
    bool chain_known;
    uint8_t chain[BASE_SHA256_SIZE];
    /* The lowest base offset of an object that is damaged and was not replaced; INT64_MAX: none.
     * No hot segment from there on is given up. */
    int64_t cold_bad;
    /* scratch of the deep check, kept between objects */
    struct cold_decompressor *decompressor;
    struct base_sha256 *sha;
    struct base_buffer stored, raw;
};

/* verify.c */
void tiering_verify_found(struct tiering_verify_state *x, enum tiering_finding_kind kind,
                          const char *where, int64_t offset, bool repaired, const char *text);
void tiering_verify_progress(struct tiering_verify_state *x, uint64_t bytes);
bool tiering_verify_can_repair(const struct tiering_verify_state *x);
/* A failure that says nothing of the thing checked: the store cannot be asked, memory is out. It
 * ends the run. */
bool tiering_verify_is_outage(int rc);
int tiering_verify_room(struct base_buffer *b, size_t size, struct varve_error *err);
/* Takes note of the newest root: of this process's when it is the writer, else of the bucket's. */
int tiering_verify_refresh(struct tiering_verify_state *x, struct varve_error *err);

/* verify_objects.c: every entry with its object, the chain, contiguity (I1). */
int tiering_verify_objects(struct tiering_verify_state *x, struct varve_error *err);
/* Are the objects that hold [from, to) all good, every byte of them? */
bool tiering_verify_objects_hold(struct tiering_verify_state *x, int64_t from, int64_t to);

/* verify_hot.c: the hot segments, their indexes, `published` and `checkpoint`. */
int tiering_verify_hot(struct tiering_verify_state *x, struct varve_error *err);

/* verify_bucket.c: what else lies in the bucket, and whose it is. */
int tiering_verify_bucket(struct tiering_verify_state *x, struct varve_error *err);

#endif
