/* The inside of struct varve_store, for the files of this folder. */
#ifndef LOG_STORE_H
#define LOG_STORE_H

#include <stdatomic.h>

#include <varve/varve.h>

#include "base/env.h"
#include "base/thread.h"
#include "cold/fetch.h"
#include "cold/store.h"
#include "log/reserve.h"
#include "log/settings.h"
#include "tiering/lease.h"
#include "tiering/tiering.h"

#define LOG_STORE_MAGIC "varve-store"
#define LOG_STORE_VERSION 1
#define LOG_STORE_SETTINGS_MAX (1024 * 1024) /* bytes of the settings file */
#define LOG_STORE_FILE "varve-store"
#define LOG_STORE_DRAFT LOG_STORE_FILE ".draft" /* while the store is being made */
#define LOG_STORE_CAPS "cold.caps" /* what the probe of create found the cold tier to do */
#define LOG_STORE_META_CAPS "cold.meta.caps"
#define LOG_CACHE_BYTES_DEFAULT (256 * INT64_C(1024) * 1024)
#define LOG_CACHE_SLOT_BYTES (64 * 1024)
#define LOG_TABLES_BYTES (16 * INT64_C(1024) * 1024) /* file of block tables */
#define LOG_TABLES_SLOT_BYTES 4096
#define LOG_READAHEAD_BYTES_LOCAL (48 * INT64_C(1024) * 1024)
/* Of a store across a wire: eight ranges of 12 MiB on their way, and what is decoded of them. */
#define LOG_READAHEAD_BYTES_REMOTE (128 * INT64_C(1024) * 1024)
#define LOG_THREADS_MAX 64
#define LOG_TIERER_THREADS 2 /* logs that may upload at the same time */

struct varve_store {
    struct base_env env;
    char *path; /* of the directory; the URL when attached */
    bool read_only;
    bool attached; /* a bucket read without a local directory */
    bool take_over;
    struct base_id id;
    int lock_fd; /* flock'ed while open for writing; -1 otherwise */
    struct cold_store *segments;
    struct cold_store *meta; /* the same as segments unless cold.meta differs */
    struct cold_cache *blocks;
    struct cold_cache *tables;
    struct log_reserve reserve;
    struct base_pool *pool;
    struct cold_fetch *fetch;
    struct tiering_rate *rate;
    struct tiering_scheduler *scheduler; /* NULL without background work */
    struct tiering_guard *guard;         /* likewise */
    struct tiering_lease *lease;         /* NULL but in lease mode, when open for writing */
    struct log_settings settings;        /* as of opening */

    void (*message)(void *ctx, int level, const char *text);
    void (*event)(void *ctx, const struct varve_event *event);
    void *callback_ctx;

    struct base_mutex mutex; /* protects `logs` and every log's `refs`; held while one is opened */
    struct varve_log *logs;  /* open ones, linked by `next` */

    /* counters; relaxed: they order nothing */
    _Atomic uint64_t hot_batches, hot_bytes, cold_batches, cold_bytes, appended_batches,
        appended_bytes;
};

/*
 * Opens with given seams, for tests and simulations; varve_store_open is this with the system's.
 */
int log_store_open_env(const struct base_env *env, const char *path,
                       const struct varve_store_options *options, struct varve_store **ret,
                       struct varve_error *err);
int log_store_create_env(const struct base_env *env, const char *path,
                         const struct varve_store_options *options, struct varve_error *err);

/* VARVE_E_READ_ONLY for a changing call on a store open read-only. */
int log_store_check_writable(const struct varve_store *store, struct varve_error *err);

/* "<store>/logs/<name>/@": where a log's files lie. *ret is fresh memory. */
int log_store_log_dir(const struct varve_store *store, const char *name, char **ret,
                      struct varve_error *err);

/* A URL in the settings that is no URL and not absolute lies inside the store's directory. *ret is
 * fresh memory. */
int log_store_resolve_url(const char *path, const char *url, char **ret, struct varve_error *err);

/* Copies what the caller's struct (of `size` bytes) and ours share; the rest stays zero. */
void log_options_copy(void *to, size_t to_size, const void *from);

#endif
