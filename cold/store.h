/*
 * The object store interface. Drivers: dir (dir.c), s3, libs3 and, around any of them, faulty.
 * Names are S3's.
 *
 * Calls block; any number of threads may call at once. Keys are relative to the store's
 * prefix: 1..1024 bytes, '/'-separated, no empty, "." or ".." parts. Every error a driver raises is
 * one of: conditions VARVE_E_NOT_FOUND (no such key), VARVE_E_PRECONDITION (a conditional write was
 * lost: 412), VARVE_E_UNSUPPORTED; failures   VARVE_E_STORE (with `retriable` telling whether
 * trying again makes sense), VARVE_E_DENIED, VARVE_E_CORRUPT (a length or checksum that is not what
 * was promised, I9; a body whose transfer broke off is VARVE_E_STORE and retriable),
 * VARVE_E_NO_SPACE, VARVE_E_NO_MEMORY. Messages name the operation, the key and
 * the store's URL without credentials.
 */
#ifndef COLD_STORE_H
#define COLD_STORE_H

#include "base/env.h"

#define COLD_KEY_MAX 1024
#define COLD_ETAG_MAX 127

struct cold_etag {
    char text[COLD_ETAG_MAX + 1]; /* opaque; as the store gave it */
};

enum cold_condition {
    COLD_ALWAYS,
    COLD_IF_ABSENT, /* If-None-Match: * */
    COLD_IF_MATCH,  /* If-Match: etag */
};

struct cold_put {
    enum cold_condition condition;
    const struct cold_etag *etag; /* for COLD_IF_MATCH */
    bool has_crc32c; /* crc32c of the whole body: the driver proves that it stored these bytes (I9)
                      */
    uint32_t crc32c;
};

struct cold_meta {
    uint64_t size;
    int64_t modified; /* ms since 1970 by the store's clock */
    struct cold_etag etag;
};

struct cold_caps {
    bool conditional_put;      /* if-absent and if-match hold under concurrency */
    bool conditional_complete; /* if-absent on complete-multipart */
    bool local;                /* a GET costs no more than a local read: no need to cache */
    bool ordered_list;         /* list in key order */
    uint64_t put_size_max;     /* a body above this must go by multipart */
    uint64_t part_size_min;    /* all parts but the last */
    uint64_t part_size;        /* what the driver likes best */
    unsigned parts_max;
    unsigned parallel;    /* requests worth having in flight at once */
    bool private_uploads; /* a multipart upload is known to its own handle only, and ends with it */
    bool unfenced; /* fencing=none: conditions are looked at first, which keeps nobody apart */
    bool async;    /* cold_store_get_start works: gets that hold no thread */
    /* Found by cold/probe.c at init and kept by the store's settings (cold_caps_encode). */
    bool verifies_crc32c; /* a body whose CRC32C header is wrong is refused */
    bool etag_unquoted;   /* if-match works only without the quotes of the ETag */
    bool probed;          /* the driver goes by what a probe found: init has to run one */
    bool lists_uploads;   /* by prefix; else unfinished uploads are the store's to clean up */
};

/* A body that contradicts its own checksum: does the store see it? */
enum cold_trial { COLD_TRIAL_WRONG_CRC32C, COLD_TRIAL_WRONG_SHA256 };

struct cold_part {
    unsigned number; /* from 1 */
    uint64_t size;
    struct cold_etag etag;
};

#define COLD_UPLOAD_ID_MAX 255
struct cold_upload {
    char id[COLD_UPLOAD_ID_MAX + 1];
};

struct cold_store;
struct cold_stats;
struct cold_inspection; /* cold/inspect.h */

/*
 * A ranged GET under way without a thread (cold_store_get_start). The caller fills the first part
 * and keeps the struct, the key and `buf` in place until `done` begins.
 */
struct cold_get {
    const char *key;
    uint64_t pos;
    size_t size;
    void *buf;    /* bytes of it are undefined until done says rc 0 */
    int priority; /* lower goes first where requests have to wait: demand before prefetch */
    /* rc and err are those of cold_store_get, or VARVE_E_CANCELLED. */
    void (*done)(struct cold_get *get, int rc, const struct varve_error *err);
    void *ctx;

    struct cold_store *store; /* the face's */
    void *internal;           /* the driver's */
};

/* One driver. `self` is the driver's own object. */
struct cold_store_ops {
    const char *name;
    void (*close)(void *self);
    void (*caps)(void *self, struct cold_caps *ret);
    int (*put)(void *self, const char *key, const struct iovec *body, int count,
               const struct cold_put *how, struct cold_etag *ret_etag, struct varve_error *err);
    int (*get)(void *self, const char *key, uint64_t pos, size_t size, void *buf,
               struct varve_error *err);
    /* patience_ms: see cold_store_read_within; 0: as long as any other request. */
    int (*read)(void *self, const char *key, size_t size_max, int64_t patience_ms, void **ret,
                size_t *ret_size, struct cold_etag *ret_etag, struct varve_error *err);
    int (*head)(void *self, const char *key, struct cold_meta *ret, struct varve_error *err);
    int (*list)(void *self, const char *prefix, const char *start_after, unsigned max,
                int (*visit)(void *arg, const char *key, const struct cold_meta *meta), void *arg,
                bool *ret_more, struct varve_error *err);
    int (*remove)(void *self, const char *const *keys, size_t count, struct varve_error *err);
    int (*upload_begin)(void *self, const char *key, struct cold_upload *ret,
                        struct varve_error *err);
    int (*upload_part)(void *self, const char *key, const struct cold_upload *upload,
                       unsigned number, uint64_t pos, const struct iovec *body, int count,
                       uint32_t crc32c, struct cold_part *ret, struct varve_error *err);
    int (*upload_complete)(void *self, const char *key, const struct cold_upload *upload,
                           const struct cold_part *parts, unsigned count,
                           const struct cold_put *how, struct cold_etag *ret_etag,
                           struct varve_error *err);
    int (*upload_abort)(void *self, const char *key, const struct cold_upload *upload,
                        struct varve_error *err);
    int (*upload_list)(void *self, const char *prefix,
                       int (*visit)(void *arg, const char *key, const struct cold_upload *upload,
                                    int64_t started),
                       void *arg, struct varve_error *err);
    /* Optional: see cold_store_upload_check. */
    int (*upload_check)(void *self, const char *key, const struct cold_upload *upload,
                        const struct cold_part *parts, unsigned count, bool *ret_held,
                        struct varve_error *err);
    /* Optional, both or neither (caps.async): see cold_store_get_start. The driver ends a started
     * get by one call of cold_store_get_done. */
    int (*get_start)(void *self, struct cold_get *get, struct varve_error *err);
    void (*get_cancel)(void *self, struct cold_get *get);
    /* Optional. What a probe found, or wants to try; before the store is shared. */
    void (*set_caps)(void *self, const struct cold_caps *caps);
    void (*stats)(void *self, struct cold_stats *ret); /* optional: retries and hedges */
    /* Optional: puts a body that should be refused; *ret_refused says whether it was. */
    int (*trial)(void *self, const char *key, enum cold_trial trial, bool *ret_refused,
                 struct varve_error *err);
    /* Optional: see cold_store_inspect. */
    int (*inspect)(void *self, struct cold_inspection *ret, struct varve_error *err);
};

struct cold_store_options {
    bool create;        /* make what the URL names if it is missing (dir: the directory) */
    bool read_only;     /* changing calls are VARVE_E_READ_ONLY */
    bool create_bucket; /* s3: make the bucket if there is none */
    const char *caps;   /* what a probe found (cold_caps_encode); NULL: not probed */
};

/* Opens every store in the place of the drivers here: env->cold, for simulations. */
struct cold_opener {
    void *ctx;
    int (*open)(void *ctx, const struct base_env *env, const char *url,
                const struct cold_store_options *options, struct cold_store **ret,
                struct varve_error *err);
};

/*
 * Opens the store a URL names: "file:///absolute/dir" (a bare absolute or relative path is the
 * same), "s3://bucket/prefix?endpoint=..." (s3.h lists the names). VARVE_E_INVALID (unknown scheme
 * or query name, said in words), VARVE_E_STORE. Opening without `create` asks nothing of the store:
 * one that cannot be reached (a directory moved away) is opened, and each call on it is
 * VARVE_E_STORE, retriable, until it is back.
 */
int cold_store_open(const struct base_env *env, const char *url,
                    const struct cold_store_options *options, struct cold_store **ret,
                    struct varve_error *err);
/* Wraps a driver's object; cold_store_close closes it. How drivers and tests make a store. */
int cold_store_new(const struct base_env *env, const char *url, const struct cold_store_ops *ops,
                   void *self, bool read_only, struct cold_store **ret, struct varve_error *err);
/* Only cold/open.c: the URL says fencing=none. */
void cold_store_set_unfenced(struct cold_store *store);
struct cold_store *cold_store_close(struct cold_store *store);

const char *cold_store_url(const struct cold_store *store); /* without credentials */
void cold_store_caps(struct cold_store *store, struct cold_caps *ret);
/* Only cold/probe.c: what the store is from now on taken to do. Before other threads use it. */
void cold_store_set_caps(struct cold_store *store, const struct cold_caps *caps);
/* VARVE_E_UNSUPPORTED: the driver has no such checksum, or checks it itself. */
int cold_store_trial(struct cold_store *store, const char *key, enum cold_trial trial,
                     bool *ret_refused, struct varve_error *err);

/* The driver's name: "file", "s3", "libs3", "faulty"; static. */
const char *cold_store_driver(const struct cold_store *store);

/* Only cold/inspect.c: the driver adds what it knows of itself and is told of the store's set-up.
 * An error: the store does not answer, which is among the findings. */
int cold_store_inspect(struct cold_store *store, struct cold_inspection *ret,
                       struct varve_error *err);

/*
 * Roots are kept by conditional writes (I6). VARVE_E_UNSUPPORTED: this store has none, and its URL
 * does not say fencing=none. With that the face does them by a HEAD in front of the write: right
 * for one writer, and no help against two.
 */
int cold_store_check_fencing(struct cold_store *store, struct varve_error *err);

/* Stores a whole body; it is durable and visible as a whole, or not at all. `ret_etag` may be NULL.
 * If-match on a key that is gone is VARVE_E_PRECONDITION. */
int cold_store_put(struct cold_store *store, const char *key, const struct iovec *body, int count,
                   const struct cold_put *how, struct cold_etag *ret_etag, struct varve_error *err);
/* Reads exactly [pos, pos + size) into buf; a shorter object is VARVE_E_CORRUPT. Exactly one
 * request. */
int cold_store_get(struct cold_store *store, const char *key, uint64_t pos, size_t size, void *buf,
                   struct varve_error *err);
/*
 * cold_store_get without waiting: returns once the request is on its way or queued, and `done` is
 * called exactly once, later, on a thread of the driver: never inside this call or inside
 * cold_store_get_cancel, so that both may be called with a lock held which `done` takes. `done`
 * must not block (a short lock, a job submitted; no request, no decompression); it may free or
 * start `get` again. Retries happen inside, as in cold_store_get.
 *
 * When this call fails, `done` is not called. VARVE_E_UNSUPPORTED: caps.async is false; a blocking
 * get on a pool does it then. Closing the store cancels what is under way and waits for each
 * `done`; so does nothing else.
 */
int cold_store_get_start(struct cold_store *store, struct cold_get *get, struct varve_error *err);
/* Asks for an early end. `done` still comes, soon, with VARVE_E_CANCELLED or with what was reached
 * before. Only between a start and the return of `done`: the caller's lock sees to that. */
void cold_store_get_cancel(struct cold_store *store, struct cold_get *get);
/* For drivers: counts and calls get->done. No lock of the driver may be held. */
void cold_store_get_done(struct cold_get *get, int rc, const struct varve_error *err);
/* Reads a whole object of at most size_max bytes into fresh memory. Exactly one request. */
int cold_store_read(struct cold_store *store, const char *key, size_t size_max, void **ret,
                    size_t *ret_size, struct cold_etag *ret_etag, struct varve_error *err);
/* The same for who can do without: a driver that waits for a server gives up, VARVE_E_STORE or
 * VARVE_E_TIMEOUT, retriable, when nothing has begun to come within that time. */
int cold_store_read_within(struct cold_store *store, const char *key, size_t size_max,
                           int64_t patience_ms, void **ret, size_t *ret_size,
                           struct cold_etag *ret_etag, struct varve_error *err);
int cold_store_head(struct cold_store *store, const char *key, struct cold_meta *ret,
                    struct varve_error *err);
/* One page of at most `max` keys that begin with prefix and sort after start_after (NULL: from the
 * first). */
int cold_store_list(struct cold_store *store, const char *prefix, const char *start_after,
                    unsigned max,
                    int (*visit)(void *arg, const char *key, const struct cold_meta *meta),
                    void *arg, bool *ret_more, struct varve_error *err);
/* All pages, one after the other. */
int cold_store_list_all(struct cold_store *store, const char *prefix,
                        int (*visit)(void *arg, const char *key, const struct cold_meta *meta),
                        void *arg, struct varve_error *err);
/* Deletes; keys that are not there are no error. */
int cold_store_delete(struct cold_store *store, const char *const *keys, size_t count,
                      struct varve_error *err);
/* Multipart. Nothing is visible before upload_complete. Parts may be sent in parallel and again.
 * `pos` is the part's place. A key has one uploader at a time: an upload whose id was lost with a
 * reply is found by its key, and aborted, also by upload_begin itself. */
int cold_store_upload_begin(struct cold_store *store, const char *key, struct cold_upload *ret,
                            struct varve_error *err);
int cold_store_upload_part(struct cold_store *store, const char *key,
                           const struct cold_upload *upload, unsigned number, uint64_t pos,
                           const struct iovec *body, int count, uint32_t crc32c,
                           struct cold_part *ret, struct varve_error *err);
int cold_store_upload_complete(struct cold_store *store, const char *key,
                               const struct cold_upload *upload, const struct cold_part *parts,
                               unsigned count, const struct cold_put *how,
                               struct cold_etag *ret_etag, struct varve_error *err);
int cold_store_upload_abort(struct cold_store *store, const char *key,
                            const struct cold_upload *upload, struct varve_error *err);
/* Aborts every unfinished upload of just this key that the store tells of. */
int cold_store_upload_abort_all(struct cold_store *store, const char *key, struct varve_error *err);
/*
 * Which of these parts, as cold_store_upload_part returned them to this process or an earlier one,
 * the store still holds: ret_held[i] is said of parts[i]. Where a part was sent again since, it is
 * completing that finds out. One request for every thousand parts.
 * VARVE_E_NOT_FOUND: there is no such upload; it was completed or aborted. VARVE_E_UNSUPPORTED: an
 * upload of this store can not be gone on with.
 */
int cold_store_upload_check(struct cold_store *store, const char *key,
                            const struct cold_upload *upload, const struct cold_part *parts,
                            unsigned count, bool *ret_held, struct varve_error *err);
/* Some stores (MinIO) tell of no upload unless the prefix is its whole key. */
int cold_store_upload_list(struct cold_store *store, const char *prefix,
                           int (*visit)(void *arg, const char *key,
                                        const struct cold_upload *upload, int64_t started),
                           void *arg, struct varve_error *err);

enum cold_op {
    COLD_OP_PUT,
    COLD_OP_GET,
    COLD_OP_HEAD,
    COLD_OP_LIST,
    COLD_OP_DELETE,
    COLD_OP_PART,
    COLD_OP_UPLOAD, /* begin, check, complete, abort, list of multipart */
    COLD_OP_COUNT
};
struct cold_stats {
    uint64_t requests[COLD_OP_COUNT];
    uint64_t failures[COLD_OP_COUNT]; /* conditions are none */
    uint64_t bytes_sent;
    uint64_t bytes_received;
    uint64_t retries; /* requests sent again inside calls; `requests` counts calls */
    uint64_t hedges;  /* second requests beside slow reads */
};
void cold_store_stats(struct cold_store *store, struct cold_stats *ret);

#endif
