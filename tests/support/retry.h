/*
 * The calls of a store as a careful caller makes them: a retriable failure is repeated, and what a
 * lost reply has left in doubt is found out by reading back (I7). Over a store that never fails
 * they are the plain calls.
 */
#ifndef SUPPORT_RETRY_H
#define SUPPORT_RETRY_H

#include "cold/store.h"

#define SUPPORT_RETRY_MAX 50

/* Conditional bodies must be unlike all others ever put under the key: that is how ours is known.
 * Bodies of several pieces are compared as a whole. */
int support_retry_put(struct cold_store *s, const char *key, const struct iovec *body, int count,
                      const struct cold_put *how, struct cold_etag *ret_etag,
                      struct varve_error *err);
int support_retry_get(struct cold_store *s, const char *key, uint64_t pos, size_t size, void *buf,
                      struct varve_error *err);
int support_retry_read(struct cold_store *s, const char *key, size_t size_max, void **ret,
                       size_t *ret_size, struct cold_etag *ret_etag, struct varve_error *err);
int support_retry_head(struct cold_store *s, const char *key, struct cold_meta *ret,
                       struct varve_error *err);
int support_retry_delete(struct cold_store *s, const char *const *keys, size_t count,
                         struct varve_error *err);
/* An upload whose beginning was in doubt is aborted with all others of exactly this key. */
int support_retry_begin(struct cold_store *s, const char *key, struct cold_upload *ret,
                        struct varve_error *err);
int support_retry_part(struct cold_store *s, const char *key, const struct cold_upload *upload,
                       unsigned number, uint64_t pos, const struct iovec *body, int count,
                       uint32_t crc32c, struct cold_part *ret, struct varve_error *err);
/* After a doubt an object of the parts' size that is there is taken for ours. */
int support_retry_complete(struct cold_store *s, const char *key, const struct cold_upload *upload,
                           const struct cold_part *parts, unsigned count,
                           const struct cold_put *how, struct cold_etag *ret_etag,
                           struct varve_error *err);
int support_retry_abort(struct cold_store *s, const char *key, const struct cold_upload *upload,
                        struct varve_error *err);

/* Keys in the order they were told, in fresh memory each. */
struct support_keys {
    char (*text)[COLD_KEY_MAX + 1];
    unsigned count;
    unsigned max;
    unsigned without_etag;
};
void support_keys_deinit(struct support_keys *keys);
/* Adds a page, or everything. What a failed try has told is forgotten. */
int support_retry_list(struct cold_store *s, const char *prefix, const char *start_after,
                       unsigned max, struct support_keys *keys, bool *ret_more,
                       struct varve_error *err);
int support_retry_list_all(struct cold_store *s, const char *prefix, struct support_keys *keys,
                           struct varve_error *err);

/* The unfinished uploads below a prefix; only the last one is kept. */
struct support_uploads {
    unsigned count;
    char key[COLD_KEY_MAX + 1];
    struct cold_upload last;
    int64_t started;
};
int support_retry_uploads(struct cold_store *s, const char *prefix, struct support_uploads *ret,
                          struct varve_error *err);

#endif
