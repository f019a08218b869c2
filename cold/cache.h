/*
 * A cache of byte strings in one preallocated file with fixed slots: stored (compressed) blocks of
 * objects, and in a second file their block tables. A value spans as many slots as it needs. Each
 * carries its key and a CRC32C, checked on every hit (I9): a damaged or torn slot is a miss.
 * Scan-resistant, O(1) eviction, no allocation per hit. The content survives a restart.
 *
 * A process opens the first file `<name>-0`, `<name>-1`, ... in the directory that no other process
 * holds (flock). Losing the directory, or not being able to make or grow the file, costs hits and
 * never an error: the cache is then empty.
 *
 * Threads: any.
 */
#ifndef COLD_CACHE_H
#define COLD_CACHE_H

#include "base/env.h"

struct cold_cache_key {
    struct base_id
        id; /* the object's attempt id: unique, so keys never collide across logs or re-uploads */
    uint32_t index; /* block number */
};

struct cold_cache;

/* `bytes` of slots of `slot_size`; bytes 0: a cache that holds nothing. */
int cold_cache_open(const struct base_env *env, const char *dir, const char *name, uint64_t bytes,
                    uint32_t slot_size, struct cold_cache **ret, struct varve_error *err);
struct cold_cache *cold_cache_close(struct cold_cache *cache);

/* Copies the value into buf. VARVE_E_NOT_FOUND (also when damaged); VARVE_E_TOO_LARGE: *ret_size is
 * what it needs. */
int cold_cache_get(struct cold_cache *cache, const struct cold_cache_key *key, void *buf,
                   size_t capacity, size_t *ret_size, struct varve_error *err);
/* True when a get would probably hit; no I/O. */
bool cold_cache_has(struct cold_cache *cache, const struct cold_cache_key *key);
/* Keeps a value, evicting others. A value above a quarter of the cache is not kept. Never fails. */
void cold_cache_put(struct cold_cache *cache, const struct cold_cache_key *key, const void *data,
                    size_t size);
void cold_cache_drop(struct cold_cache *cache, const struct cold_cache_key *key);

/* Gives the file's space back to the disk and holds nothing from now on; returns the bytes given.
 * The next opening makes the file anew. */
uint64_t cold_cache_give(struct cold_cache *cache);

struct cold_cache_stats {
    uint64_t hits, misses, puts, evictions, damaged;
    uint64_t bytes_used, bytes_total;
};
void cold_cache_stats(struct cold_cache *cache, struct cold_cache_stats *ret);

/* Checks every used slot of a cache file; damaged ones are reported by number and, with `repair`,
 * freed. */
int cold_cache_check(struct cold_cache *cache, bool repair,
                     void (*report)(void *arg, const char *file, uint64_t slot), void *arg,
                     struct varve_error *err);

#endif
