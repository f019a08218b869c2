/* The libs3 driver's own object, shared by its files. */
#ifndef COLD_LIBS3_DRIVER_H
#define COLD_LIBS3_DRIVER_H

#include "base/thread.h"
#include "cold/libs3/compat.h"
#include "cold/store.h"

struct libs3_upload;

struct libs3 {
    const struct base_env *env;
    char *url;
    char *prefix; /* "" or ends in '/' */
    char *bucket;
    char *host;
    char *access_key;
    char *secret_key;
    char *token;             /* NULL: none */
    char *region;            /* NULL: not said */
    S3BucketContext context; /* points to the above */

    struct base_mutex lock; /* protects the uploads and what they hold; a leaf */
    struct libs3_upload *uploads;
    uint64_t upload_bytes; /* held by all of them */
};

/* request.c: one call of libs3, repeated while that helps. */
struct libs3_reply {
    S3Status status;
    bool properties; /* has the head of a reply been seen? */
    uint64_t content_length;
    int64_t modified; /* ms */
    struct cold_etag etag;
    char message[160]; /* the store's own words */
};

struct libs3_request {
    struct libs3 *store;
    const char *op;
    const char *key;
    struct libs3_reply reply;
    /* Issues one call of libs3, which ends with libs3_complete and this request as its data. */
    void (*issue)(struct libs3_request *request);
    /* Judges a call that libs3 calls well: 0 or an error. NULL: it is. */
    int (*judge)(struct libs3_request *request, struct varve_error *err);
    char *full_key; /* the prefix and the key; the caller frees it */
};

/* Handlers of libs3 whose data is a struct libs3_request. */
S3Status libs3_properties(const S3ResponseProperties *properties, void *data);
void libs3_complete(S3Status status, const S3ErrorDetails *details, void *data);

int libs3_request_init(struct libs3_request *r, struct libs3 *s, const char *op, const char *key,
                       struct varve_error *err);
/* Runs it, some times over where the failure may pass. */
int libs3_request_run(struct libs3_request *r, struct varve_error *err);
/* Raises an error of the request, the words formatted. */
int libs3_fail(const struct libs3_request *r, int code, bool retriable, const char *what,
               struct varve_error *err);

/* object.c */
int libs3_put(void *self, const char *key, const struct iovec *body, int count,
              const struct cold_put *how, struct cold_etag *ret_etag, struct varve_error *err);
int libs3_get(void *self, const char *key, uint64_t pos, size_t size, void *buf,
              struct varve_error *err);
int libs3_read(void *self, const char *key, size_t size_max, int64_t patience_ms, void **ret,
               size_t *ret_size, struct cold_etag *ret_etag, struct varve_error *err);
int libs3_head(void *self, const char *key, struct cold_meta *ret, struct varve_error *err);
int libs3_remove(void *self, const char *const *keys, size_t count, struct varve_error *err);

/* list.c */
int libs3_list(void *self, const char *prefix, const char *start_after, unsigned max,
               int (*visit)(void *arg, const char *key, const struct cold_meta *meta), void *arg,
               bool *ret_more, struct varve_error *err);

/* upload.c */
int libs3_upload_begin(void *self, const char *key, struct cold_upload *ret,
                       struct varve_error *err);
int libs3_upload_part(void *self, const char *key, const struct cold_upload *upload,
                      unsigned number, uint64_t pos, const struct iovec *body, int count,
                      uint32_t crc32c, struct cold_part *ret, struct varve_error *err);
int libs3_upload_complete(void *self, const char *key, const struct cold_upload *upload,
                          const struct cold_part *parts, unsigned count, const struct cold_put *how,
                          struct cold_etag *ret_etag, struct varve_error *err);
int libs3_upload_abort(void *self, const char *key, const struct cold_upload *upload,
                       struct varve_error *err);
int libs3_upload_list(void *self, const char *prefix,
                      int (*visit)(void *arg, const char *key, const struct cold_upload *upload,
                                   int64_t started),
                      void *arg, struct varve_error *err);
void libs3_uploads_free(struct libs3 *s);

/* An ETag as we keep it: without the quotes. */
void libs3_etag(const char *text, struct cold_etag *ret);
uint32_t libs3_crc32c(const struct iovec *body, int count, uint64_t *ret_size);

#endif
