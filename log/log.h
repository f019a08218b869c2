/* The inside of struct varve_log, for the files of this folder. */
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include "log/config.h"
#include "log/store.h"

/* One open log; the handles of a process share it (`refs`). */
struct varve_log {
    struct varve_store *store;
    struct varve_log *next; /* in store->logs; store->mutex */
    unsigned refs;          /* store->mutex */
    bool deleting;          /* store->mutex; opened by varve_log_delete, for nobody else */
    char *name;
    char *dir; /* where its files lie; no such directory when nothing is local */

    struct cold_manifest_loader loader;
    struct cold_source source;
    struct index_manifest *manifest;
    struct tiering_log *tiering; /* NULL when read-only */
    struct hot_set *hot;         /* NULL when nothing local is the log's (an attached bucket,
                                a log that another store owns) */

    struct base_mutex configure_mutex; /* one varve_log_configure at a time: none loses another's */
    struct base_mutex config_mutex;    /* protects `config` and `config_generation` */
    struct log_config config;
    uint64_t config_generation; /* of the root `config` stems from: an older one changes nothing */
    _Atomic size_t batch_bytes_max; /* from config, for the append path; relaxed */

    _Atomic uint64_t rolls_seen; /* of `hot`, that the tierer was told of; relaxed */

    bool identified; /* loader.log_id and source.log_id are set; they never change afterwards */

    /* Hints that spare the readers a pinned root per batch; release/acquire with the root they stem
     * from. They only grow. */
    _Atomic int64_t start_offset;
    _Atomic uint64_t generation; /* of the newest root looked at */
    _Atomic uint64_t root_seen;  /* published generation that `start_offset` was taken at */
    _Atomic int64_t asked_ns;    /* attached: when the bucket's root was last read (monotonic) */
};

#define LOG_ATTACHED_REFRESH_NS                                                                    \
    INT64_C(1000000000) /* an attached bucket's root is read at most this often */

/* Puts what it concerns in front of an error: "log orders/0: ...". */
int log_context(const struct varve_log *log, int rc, struct varve_error *err);

/* Where tails of this log are set aside (I13); need not exist. *ret is fresh memory. */
int log_divergent_dir(const struct varve_log *log, char **ret, struct varve_error *err);

/*
 * Looks whether another process moved the log on: maps a replaced local root, reads the directory
 * again; of an attached bucket the root (seldom). `hard`: even when no hint says so.
 */
int log_refresh(struct varve_log *log, bool hard, struct varve_error *err);

/* Log start offset as of the last look; cheap. */
int64_t log_start(struct varve_log *log);

/* Generation of the newest root looked at: changed after a refresh when there was news. */
uint64_t log_generation(struct varve_log *log);

/* Asks the bucket, when something is missing, whether the log was deleted since it was opened; then
 * `err` says so (VARVE_E_NOT_FOUND). */
bool log_is_deleted(struct varve_log *log, struct varve_error *err);

/*
 * Takes start offset and configuration from the manifest's current root. VARVE_E_NOT_FOUND: the log
 * was deleted, or deleted and made anew, since it was opened.
 */
int log_take_root(struct varve_log *log, struct varve_error *err);

/* n: where the cold tier ends, by the manifest's current root. */
int log_cold_end(struct varve_log *log, int64_t *ret, struct varve_error *err);

/* End offset visible to readers, and the floor of the hot tier (the end when there is none). */
void log_range(struct varve_log *log, int64_t *ret_floor, int64_t *ret_end);

/* delete.c. The directories of a log that is not there (any more), as far as they are empty. */
void log_delete_empty_dirs(struct varve_store *s, const char *name);
/* All that is local of a log that is deleted, or is another by now. */
int log_delete_local(struct varve_store *s, const char *name, struct varve_error *err);
/* Before a log is made: what a deletion that was interrupted has left of the last one of that name.
 */
int log_delete_leftovers(struct varve_store *s, const char *name, struct varve_error *err);
/* A deletion that was interrupted behind its tombstone is gone on with. VARVE_E_NOT_FOUND, without
 * a message: there is nothing to go on with. Takes the store's mutex. */
int log_delete_rest(struct varve_store *s, const char *name, struct varve_error *err);

#endif
