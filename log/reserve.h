/*
 * Space that an open store holds back on its disk, so that a full disk can be worked off: moving a
 * segment to a cold tier on the same disk needs room for its object and for the root that names it
 * before the segment may go (I3).
 *
 * It is held in a file of its own, `reserve`, whose blocks are allocated and mean nothing. The
 * writer makes it when the store is opened, within limits (below); on file systems that cannot
 * allocate without writing there is none. What is given comes from the caches first: their content
 * is a copy.
 *
 * Threads: any.
 */
#ifndef LOG_RESERVE_H
#define LOG_RESERVE_H

#include "base/env.h"
#include "base/thread.h"
#include "cold/cache.h"
#include "cold/store.h"

/* For one object: of the default segment.bytes, not compressible, with its index. Only where the
 * cold tier lies on the same disk. */
#define LOG_RESERVE_OBJECT_BYTES (66 * INT64_C(1024) * 1024)
/* For a root (1 MiB at most) and a page, in the cold tier and here, beside those they replace. */
#define LOG_RESERVE_ROOT_BYTES (4 * INT64_C(1024) * 1024)
#define LOG_RESERVE_DISK_SHARE 16 /* at most one in so many bytes of the disk */
#define LOG_RESERVE_FREE_SHARE 4  /* and of what is free when it is made */
#define LOG_RESERVE_SLACK_BYTES                                                                    \
    (64 * 1024) /* left free when it is filled up again, for a checkpoint and the like */

struct log_reserve {
    const struct base_io *io;
    char *dir;
    char *path;
    int fd;         /* -1: nothing is held back */
    bool cold_here; /* objects go to this disk too */
    uint64_t wanted;
    struct cold_cache *caches[2]; /* the store's */
    struct base_mutex lock;       /* protects the rest, and the file */
    uint64_t held;
    uint64_t lent; /* given, and not taken back yet */
};

/* Holds nothing; for a store that does not write. */
void log_reserve_init(struct log_reserve *r, const struct base_env *env);

/*
 * Takes up the file in `dir`, or makes it, of `bytes` (0: as above) at most. What cannot be had is
 * done without. The caches are given before the file; they stay the caller's and must outlive it.
 */
void log_reserve_open(struct log_reserve *r, const char *dir, const struct cold_store *segments,
                      int64_t bytes, struct cold_cache *blocks, struct cold_cache *tables);
void log_reserve_deinit(struct log_reserve *r);

/*
 * Gives what the caches hold, or else what the file holds above `keep` bytes; false: there is
 * nothing left that helps. `keep` is for a root: an object whose root has no room is one that
 * nobody names. 0: for a root.
 */
bool log_reserve_give(struct log_reserve *r, uint64_t keep);

/* How much the file holds; UINT64_MAX where `bytes` more find room on the disk anyway, or go to
 * another. */
uint64_t log_reserve_held(struct log_reserve *r, uint64_t bytes);

/* Takes back what was given of the file, as far as there is room again. */
void log_reserve_refill(struct log_reserve *r);

#endif
