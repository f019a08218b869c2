/*
 * The s3 driver: a bucket, or a prefix in it, as an object store. This header is shared by its
 * files and by cold/open.c, which opens it; nothing else includes it.
 *
 *   s3://bucket/prefix?endpoint=URL&region=NAME&path_style=1&ca=FILE&profile=NAME&fencing=none
 *
 *   endpoint    "http[s]://host[:port]"; without it AWS's own
 *   path_style  1: http://endpoint/bucket/key; 0: http://bucket.endpoint/key; without it as fits
 *   ca          PEM file of the CAs to trust instead of the system's
 *   profile     of the shared config and credentials files
 *   fencing     "none": see cold_store_check_fencing
 */
#ifndef COLD_S3_H
#define COLD_S3_H

#include "cold/s3/client.h"
#include "cold/store.h"
#include "cold/url.h"

#define COLD_S3_KEY_SIZE 2048 /* a key with the store's prefix, and NUL */

struct cold_s3 {
    const struct base_env *env;
    char *name;   /* "s3://bucket/prefix at http://host:9000", for messages */
    char *prefix; /* "" or "some/prefix/" */
    char *region; /* as it was given or found in the profile; NULL: none */
    bool at_aws;  /* no endpoint was given, here or elsewhere */
    struct s3_http *http;
    struct s3_credentials_source *source;
    struct s3_client *client;
    /* What the store can do, set before the store is shared. */
    struct cold_caps caps;
};

extern const struct cold_store_ops cold_s3_ops;

int cold_s3_open(const struct base_env *env, const struct cold_url *url,
                 const struct cold_store_options *options, struct cold_s3 **ret,
                 struct varve_error *err);
void cold_s3_close(void *self);

/* For the driver's own files. */

/* prefix + key. VARVE_E_INVALID: too long for S3, which takes 1,024 bytes of both. */
int cold_s3_key(const struct cold_s3 *s, const char *op, const char *key,
                char ret[COLD_S3_KEY_SIZE], struct varve_error *err);
/* Runs a call and puts operation, key and store before the cause of a failure. */
int cold_s3_call(struct cold_s3 *s, const char *op, const char *key, struct s3_call *call,
                 struct varve_error *err);
/* The same, with a query of these pairs. */
int cold_s3_call_query(struct cold_s3 *s, const char *op, const char *key, struct s3_call *call,
                       const struct s3_query *pairs, size_t count, struct varve_error *err);
int cold_s3_context(const struct cold_s3 *s, int rc, const char *op, const char *key,
                    struct varve_error *err);
void cold_s3_write_id(const struct cold_s3 *s, char ret[S3_WRITE_ID_SIZE]);
/* The x-amz-checksum-crc32c value: base64 of the big-endian CRC. */
#define COLD_S3_CRC32C_SIZE 9
void cold_s3_crc32c_text(uint32_t crc, char ret[COLD_S3_CRC32C_SIZE]);
/* An ETag as If-Match wants it. */
#define COLD_S3_IF_MATCH_SIZE (COLD_ETAG_MAX + 3)
void cold_s3_if_match(const struct cold_s3 *s, const struct cold_etag *etag,
                      char ret[COLD_S3_IF_MATCH_SIZE]);
/* I7: is what lies under the key our own write? 0: yes, with its ETag. Else the code of why not,
 * VARVE_E_PRECONDITION where it is another's. */
int cold_s3_is_ours(struct cold_s3 *s, const char *op, const char *key, const char *write_id,
                    uint64_t size, struct cold_etag *ret_etag, struct varve_error *err);
/* For a complete without working conditions: looks at what is there. */
int cold_s3_check_condition(struct cold_s3 *s, const char *op, const char *key,
                            const struct cold_put *how, struct varve_error *err);
/* CRC32C and size of a body, against what was promised. VARVE_E_CORRUPT. */
int cold_s3_check_body(const struct cold_s3 *s, const char *op, const char *key,
                       const struct iovec *body, int count, bool has_crc32c, uint32_t promised,
                       uint32_t *ret_crc, uint64_t *ret_size, struct varve_error *err);

/* s3_object.c */
int cold_s3_put(void *self, const char *key, const struct iovec *body, int count,
                const struct cold_put *how, struct cold_etag *ret_etag, struct varve_error *err);
int cold_s3_get(void *self, const char *key, uint64_t pos, size_t size, void *buf,
                struct varve_error *err);
int cold_s3_get_start(void *self, struct cold_get *get, struct varve_error *err);
void cold_s3_get_cancel(void *self, struct cold_get *get);
int cold_s3_read(void *self, const char *key, size_t size_max, int64_t patience_ms, void **ret,
                 size_t *ret_size, struct cold_etag *ret_etag, struct varve_error *err);
int cold_s3_head(void *self, const char *key, struct cold_meta *ret, struct varve_error *err);
/* Stores a body whose header promises another checksum (doctor and init): *ret says whether the
 * store refused it. */
int cold_s3_trial(void *self, const char *key, enum cold_trial trial, bool *ret,
                  struct varve_error *err);

/* s3_inspect.c */
int cold_s3_inspect(void *self, struct cold_inspection *ret, struct varve_error *err);

/* s3_list.c */
int cold_s3_list(void *self, const char *prefix, const char *start_after, unsigned max,
                 int (*visit)(void *arg, const char *key, const struct cold_meta *meta), void *arg,
                 bool *ret_more, struct varve_error *err);
int cold_s3_remove(void *self, const char *const *keys, size_t count, struct varve_error *err);

/* s3_upload.c */
int cold_s3_upload_begin(void *self, const char *key, struct cold_upload *ret,
                         struct varve_error *err);
int cold_s3_upload_part(void *self, const char *key, const struct cold_upload *upload,
                        unsigned number, uint64_t pos, const struct iovec *body, int count,
                        uint32_t crc32c, struct cold_part *ret, struct varve_error *err);
int cold_s3_upload_complete(void *self, const char *key, const struct cold_upload *upload,
                            const struct cold_part *parts, unsigned count,
                            const struct cold_put *how, struct cold_etag *ret_etag,
                            struct varve_error *err);
int cold_s3_upload_abort(void *self, const char *key, const struct cold_upload *upload,
                         struct varve_error *err);
int cold_s3_upload_check(void *self, const char *key, const struct cold_upload *upload,
                         const struct cold_part *parts, unsigned count, bool *ret_held,
                         struct varve_error *err);
int cold_s3_upload_list(void *self, const char *prefix,
                        int (*visit)(void *arg, const char *key, const struct cold_upload *upload,
                                     int64_t started),
                        void *arg, struct varve_error *err);

#endif
