/* Listings that do not know of the latest changes. Of cold/faulty.c alone. */
#ifndef COLD_FAULTY_STALE_H
#define COLD_FAULTY_STALE_H

#include "cold/store.h"

/* Changes are remembered up to so many; the oldest go first, and are then known to listings. */
#define COLD_FAULTY_CHANGES_MAX 4096

struct cold_faulty_stale;

/* `keep_ms`: no listing will be staler than that. */
int cold_faulty_stale_new(const struct base_env *env, int64_t keep_ms,
                          struct cold_faulty_stale **ret, struct varve_error *err);
struct cold_faulty_stale *cold_faulty_stale_free(struct cold_faulty_stale *stale);

/* In front of a change: what the store shows of the key now, which one HEAD finds out. Told before
 * the change is made, so that one that fails is at worst remembered as none. */
int cold_faulty_stale_note(struct cold_faulty_stale *stale, struct cold_store *under,
                           const char *key, struct varve_error *err);

/* cold_store_list as it would have been `ago_ms` ago, by what is remembered. */
int cold_faulty_stale_list(struct cold_faulty_stale *stale, struct cold_store *under,
                           int64_t ago_ms, const char *prefix, const char *start_after,
                           unsigned max,
                           int (*visit)(void *arg, const char *key, const struct cold_meta *meta),
                           void *arg, bool *ret_more, struct varve_error *err);

#endif
