/*
 * Checks one log across both tiers, and repairs what the other side still holds. Works on logs open
 * for reading or writing; repairs only when `repair` and a tiering_log (the writer) is given.
 */
#ifndef TIERING_VERIFY_H
#define TIERING_VERIFY_H

#include "tiering/tiering.h"

enum tiering_finding_kind {
    TIERING_FOUND_DAMAGE, /* bytes are not what was written */
    TIERING_FOUND_MISSING,
    TIERING_FOUND_GAP, /* I1 broken */
    TIERING_FOUND_OVERLAP,
    TIERING_FOUND_MISMATCH, /* two copies that should be equal are not; a chain that does not hold
                             */
    TIERING_FOUND_ORPHAN,   /* nothing refers to it; harmless */
    TIERING_FOUND_NOTE, /* an upload in progress, a torn tail of the active segment: taken for what
                           they are */
};

struct tiering_finding {
    enum tiering_finding_kind kind;
    const char *where; /* file or object key */
    const char *text;
    int64_t offset; /* first offset concerned, -1: none */
    bool repaired;
};

struct tiering_verify {
    /* what */
    const char *log_name;
    struct hot_set *hot; /* NULL: only the cold tier (an attached bucket) */
    struct index_manifest *manifest;
    struct cold_store *segments;
    struct cold_store *meta;
    struct tiering_log *tiering;    /* NULL: no repairs */
    const struct base_id *store_id; /* whose bucket it is; NULL: not looked at */
    const char *manifest_dir;       /* of the local copy of the manifest; NULL: none */
    struct cold_cache *caches[2];   /* of this process; checked too; may be NULL */
    bool deep;                      /* read every byte: decompress, SHA-256, chain, CRCs */
    bool repair;
    bool all_orphans; /* with `repair`: a large share of the log, too */
    void (*found)(void *ctx, const struct tiering_finding *f);
    void (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes); /* may be NULL */
    void *ctx;
    /* results */
    uint64_t hot_segments, cold_segments, bytes_read;
    unsigned problems; /* findings that are neither notes nor orphans, and were not repaired */
    unsigned repaired;
};

/*
 * Always: the bucket's root and pages decode and equal the local copies; offsets touch from log
 * start to end (I1); every object is there with its size (HEAD), its table decodes and describes
 * the entry; the chain of hashes holds; hot segments' borders and indexes, `published`,
 * `checkpoint`; orphans; whose the bucket is. `deep`: everything read.
 *
 * Repairs: a damaged or missing object is uploaded again from a hot copy (new attempt, entry
 * replaced); a damaged hot segment below n is discarded, with those before it, once their cold
 * copies have been read wholly; a damaged sparse index is rebuilt; a damaged local root or page is
 * fetched again; a damaged root or page in the bucket is stored again from the local copy, a root
 * only while no newer epoch's objects lie there.
 *
 * A writer may work on the log meanwhile, in this process or in another. Without `tiering` the
 * manifest may be given a newer root of the bucket. Returns 0 when the check ran to its end,
 * whatever it found.
 */
int tiering_verify_run(const struct base_env *env, struct tiering_verify *v,
                       struct varve_error *err);

#endif
