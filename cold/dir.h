/*
 * The dir driver: a local directory behaving as an object store. This header is shared by its three
 * files and by cold/open.c, which opens it; nothing else includes it.
 *
 *   <root>/<key>                 an object; its bytes and nothing else
 *   <root>/.varve/               the marker: without it the store is away (not mounted, moved)
 *   <root>/.varve/tmp/<id>       a body being written, flock'ed by its writer
 *   <root>/.varve/locks/<0..63>  one lock file per hash of a key; 8 bytes: see cold_dir_publish
 *   <root>/.varve/uploads/<id>   a multipart upload's bytes; <id>.key beside it holds its key
 */
#ifndef COLD_DIR_H
#define COLD_DIR_H

#include <stdatomic.h>

#include <stdlib.h>

#include "cold/store.h"

#define COLD_DIR_MARKER ".varve"
#define COLD_DIR_LOCKS 64
#define COLD_DIR_SYNCED 256

struct cold_dir {
    const struct base_env *env;
    char *root; /* no '/' at the end, but for "/" itself, which is "" */
    char *url;
    uint64_t session; /* random; marks the upload parts written through this object */
    /* Directories whose own name is known to be durable (a hash of path and inode): sync once. */
    _Atomic uint64_t synced[COLD_DIR_SYNCED];
};

extern const struct cold_store_ops cold_dir_ops;

/*
 * With `create` makes the directory and the marker. Without, a directory that is away is no error:
 * each call says so (VARVE_E_STORE, retriable) until it is back.
 */
int cold_dir_open(const struct base_env *env, const char *path, const char *url,
                  const struct cold_store_options *options, struct cold_dir **ret,
                  struct varve_error *err);
void cold_dir_close(void *self);

/* For the driver's own files. `op` and `key` serve the message. */

/* Raises a failed system call as one of the store's codes. */
int cold_dir_fail(const struct cold_dir *d, int sys_errno, const char *op, const char *key,
                  struct varve_error *err);
/* Passes an error of a base helper upward as one of the store's codes. */
int cold_dir_adopt(const struct cold_dir *d, int rc, const char *op, const char *key,
                   struct varve_error *err);
/* 0, or VARVE_E_STORE (retriable) when the store's directory is not there. */
int cold_dir_check_present(const struct cold_dir *d, const char *op, const char *key,
                           struct varve_error *err);
/* Missing file or missing store? Always an error. */
int cold_dir_missing(const struct cold_dir *d, const char *op, const char *key,
                     struct varve_error *err);

int cold_dir_check_key(const struct cold_dir *d, const char *op, const char *key,
                       struct varve_error *err);
void cold_dir_etag(const struct stat *st, struct cold_etag *ret);
void cold_dir_meta(const struct stat *st, struct cold_meta *ret);

/* A file under way: written, then published under a key. */
struct cold_dir_temp {
    char *path;
    int fd;
};
int cold_dir_temp_create(struct cold_dir *d, const char *op, const char *key,
                         struct cold_dir_temp *ret, struct varve_error *err);
/* Closes it and removes its name, if it still has one. */
void cold_dir_temp_end(struct cold_dir *d, struct cold_dir_temp *t);

/*
 * Makes the synced bytes of `t` visible as `key` under the condition, durably. The name t->path may
 * or may not exist afterwards. VARVE_E_PRECONDITION.
 */
int cold_dir_publish(struct cold_dir *d, const char *op, const char *key, struct cold_dir_temp *t,
                     const struct cold_put *how, struct cold_etag *ret_etag,
                     struct varve_error *err);

uint32_t cold_dir_crc32c(const struct iovec *body, int count, uint64_t *ret_size);

/* dir_list.c */
int cold_dir_list(void *self, const char *prefix, const char *start_after, unsigned max,
                  int (*visit)(void *arg, const char *key, const struct cold_meta *meta), void *arg,
                  bool *ret_more, struct varve_error *err);

/* dir_upload.c */
int cold_dir_upload_begin(void *self, const char *key, struct cold_upload *ret,
                          struct varve_error *err);
int cold_dir_upload_part(void *self, const char *key, const struct cold_upload *upload,
                         unsigned number, uint64_t pos, const struct iovec *body, int count,
                         uint32_t crc32c, struct cold_part *ret, struct varve_error *err);
int cold_dir_upload_complete(void *self, const char *key, const struct cold_upload *upload,
                             const struct cold_part *parts, unsigned count,
                             const struct cold_put *how, struct cold_etag *ret_etag,
                             struct varve_error *err);
int cold_dir_upload_abort(void *self, const char *key, const struct cold_upload *upload,
                          struct varve_error *err);
int cold_dir_upload_check(void *self, const char *key, const struct cold_upload *upload,
                          const struct cold_part *parts, unsigned count, bool *ret_held,
                          struct varve_error *err);
int cold_dir_upload_list(void *self, const char *prefix,
                         int (*visit)(void *arg, const char *key, const struct cold_upload *upload,
                                      int64_t started),
                         void *arg, struct varve_error *err);
/* Removes bytes of uploads that have no key file any more. */
void cold_dir_upload_collect(struct cold_dir *d);

static inline void cold_dir_text_free(char **text)
{
    free(*text);
}
/* A string of its own that goes with its scope. */
#define COLD_DIR_TEXT __attribute__((cleanup(cold_dir_text_free))) char *

/* Between dir.c and dir_publish.c. Locks are of a key, across processes; `removed` remembers the
 * newest mtime that a deleted object of the key had, so that its ETag never comes again. */
int cold_dir_cannot_hold(const struct cold_dir *d, const char *op, const char *key,
                         struct varve_error *err);
uint64_t cold_dir_hash(const char *text, size_t size);
int cold_dir_make_inner(struct cold_dir *d, const char *name, const char *op, const char *key,
                        struct varve_error *err);
int64_t cold_dir_mtime_ns(const struct stat *st);
int cold_dir_object_path(const struct cold_dir *d, const char *op, const char *key, char **ret,
                         struct varve_error *err);
int cold_dir_lock(struct cold_dir *d, const char *op, const char *key, int *ret_fd,
                  struct varve_error *err);
void cold_dir_unlock(struct cold_dir *d, int fd);
void cold_dir_removed_write(struct cold_dir *d, int lock, int64_t ns);
int cold_dir_sync_one(struct cold_dir *d, const char *path, uint64_t *ret_tag);

#endif
