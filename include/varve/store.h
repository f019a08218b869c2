/*
 * A store: a directory that holds logs, and the object store behind it (the cold tier).
 *
 * One process may have a store open for writing; any number may have it open read-only beside it.
 */
#ifndef VARVE_STORE_H
#define VARVE_STORE_H

#include <varve/error.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Levels of messages; syslog's numbers. */
#define VARVE_LOG_ERROR 3
#define VARVE_LOG_WARNING 4
#define VARVE_LOG_INFO 6
#define VARVE_LOG_DEBUG 7

enum varve_event_kind {
    VARVE_EVENT_SEALED = 0,   /* a segment was closed */
    VARVE_EVENT_UPLOADED = 1, /* and is committed in the cold tier */
    VARVE_EVENT_EVICTED = 2,  /* its local copy is gone */
    VARVE_EVENT_TRIMMED = 3,  /* the log start offset moved to end_offset */
    VARVE_EVENT_DELETED = 4,  /* objects of cut-off segments were deleted */
    VARVE_EVENT_STALLED = 5,  /* uploads fail or lag; they are retried for ever */
};

struct varve_event {
    enum varve_event_kind kind;
    const char *log_name;
    int64_t base_offset;
    int64_t end_offset; /* exclusive */
    uint64_t bytes;     /* segment bytes; stored bytes for UPLOADED */
};

/*
 * An option by its name: of a log, as Kafka's topic-config has it ({ "retention.ms", "86400000" }),
 * or a setting of a store ({ "owner.check.ms", "10000" }). docs/configuration.md lists both.
 */
struct varve_option {
    const char *name;
    const char *value;
};

/*
 * Options of varve_store_create and varve_store_open. Set `size` to sizeof of the struct and the
 * rest to zero for the defaults.
 */
struct varve_store_options {
    size_t size;
    bool read_only;
    bool take_over; /* opening for writing: become the owner of logs that another store owns (a new
                       epoch) */
    /* create: URL of the cold tier; NULL: the directory "cold" inside the store.
     * file:///dir or s3://bucket/prefix?endpoint=...; docs/configuration.md lists the names */
    const char *cold_url;
    /* create: URL for roots and pages where it differs; NULL: cold_url */
    const char *cold_meta_url;
    /* create: use a cold tier that another store has used before */
    bool adopt;
    /* create: make the bucket of an s3 URL if there is none */
    bool create_bucket;
    /* Called from any thread, never with a lock held; must not call back into the library. NULL:
     * silent. */
    void (*message)(void *ctx, int level, const char *text);
    void (*event)(void *ctx, const struct varve_event *event);
    void *callback_ctx;
    unsigned threads;    /* workers that compress and fetch; 0: one per processor, at most 8 */
    bool no_background;  /* no tierer in this process: uploads only by varve_log_tier */
    int64_t cache_bytes; /* block cache file; 0: the store's setting (256 MiB), -1: none */
    /* memory for reading ahead in the cold tier; 0: 48 MiB where it is a local directory, else 128
     * MiB; -1: none */
    int64_t readahead_bytes;
    int64_t upload_bytes_per_second; /* 0: as the setting upload.bytes.per.second says */
    /* create: settings of the store, beside those that have a field here */
    const struct varve_option *settings;
    size_t setting_count;
    /* Writing: space held back in the file `reserve`, so that varve_log_tier with `evict` can work
     * off a full disk. 0: room for a root, and for one object where the cold tier lies on the same
     * disk (70 MiB, at most a 16th of the disk); -1: none. */
    int64_t reserve_bytes;
};

struct varve_store;

/*
 * Makes a store in the directory `path` (made if missing; must be empty or not there). The cold
 * tier is made if it is a directory. Everything is durable on return.
 *
 * Conditions: VARVE_E_EXISTS (a store or something else is there; or the cold tier belongs to
 * another store and `adopt` was not given). Failures: VARVE_E_INVALID (URL), VARVE_E_STORE,
 * VARVE_E_IO, VARVE_E_DENIED.
 */
VARVE_API int varve_store_create(const char *path, const struct varve_store_options *options,
                                 struct varve_error *err);

/*
 * Opens a store. For writing it takes the store's lock: VARVE_E_BUSY names the process that holds
 * it. `options` may be NULL: writing, all defaults. Opening reads no log and asks the cold tier
 * nothing.
 *
 * Conditions: VARVE_E_NOT_FOUND (no such directory), VARVE_E_BUSY. Failures: VARVE_E_INVALID (not a
 * store), VARVE_E_VERSION (made by a newer varve), VARVE_E_CORRUPT, VARVE_E_IO.
 */
VARVE_API int varve_store_open(const char *path, const struct varve_store_options *options,
                               struct varve_store **ret, struct varve_error *err);

/*
 * Closes a store; its logs and readers must be closed before. Background work is stopped where it
 * stands; what was not uploaded is uploaded after the next open. NULL is accepted. Returns NULL.
 */
VARVE_API struct varve_store *varve_store_close(struct varve_store *store);

/* Visits the store's settings that can be changed, with their values in force. */
VARVE_API int varve_store_each_option(struct varve_store *store,
                                      int (*visit)(void *ctx, const char *name, const char *value,
                                                   bool is_default),
                                      void *ctx, struct varve_error *err);

/*
 * Changes settings of the store; those not named stay. Durable on return; in force from the next
 * time the store is opened.
 *
 * Failures: VARVE_E_INVALID (says which and why), VARVE_E_READ_ONLY, VARVE_E_IO.
 */
VARVE_API int varve_store_configure(struct varve_store *store, const struct varve_option *options,
                                    size_t option_count, struct varve_error *err);

/* Calls visit for each log by name, in byte order; a non-zero return ends the walk and is returned.
 */
VARVE_API int varve_store_each_log(struct varve_store *store,
                                   int (*visit)(void *ctx, const char *log_name), void *ctx,
                                   struct varve_error *err);

/* Counters of one store since it was opened, by tier. */
struct varve_store_stats {
    size_t size;                /* set by the caller */
    uint64_t cold_put_requests; /* PUT of whole objects, parts, multipart calls */
    uint64_t cold_get_requests;
    uint64_t cold_head_requests;
    uint64_t cold_list_requests;
    uint64_t cold_delete_requests;
    uint64_t cold_failures;
    uint64_t cold_bytes_sent;
    uint64_t cold_bytes_received;
    uint64_t block_cache_hits; /* blocks served without a request */
    uint64_t block_cache_misses;
    uint64_t block_cache_bytes;
    uint64_t table_hits; /* block tables */
    uint64_t table_misses;
    uint64_t hot_batches_read;
    uint64_t hot_bytes_read;
    uint64_t cold_batches_read;
    uint64_t cold_bytes_read; /* decoded */
    uint64_t batches_appended;
    uint64_t bytes_appended;
};
/* Fills *stats; set stats->size before. Threads: any. */
VARVE_API void varve_store_stats(struct varve_store *store, struct varve_store_stats *stats);

/* The library's version, "0.1.0". */
VARVE_API const char *varve_version(void);

#ifdef __cplusplus
}
#endif

#endif
