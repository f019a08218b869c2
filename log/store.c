/*
 * A store: its directory, its lock, and what all its logs share.
 *
 *   <store>/varve-store       settings (base/text.h): id, cold, cold.meta and those of
 *                             log/settings.c; written by create under the name
 *                             varve-store.draft, and renamed last; replaced as a whole by configure
 *   <store>/lock              flock'ed by the writing process, whose pid and name it holds
 *   <store>/logs/<name>/@/    a log's segments and the local copy of its manifest
 *   <store>/cold/             the cold tier when no URL was given
 *   <store>/cache/            block cache and block tables; may be removed at any time
 *   <store>/reserve           space held back for working a full disk off (log/reserve.h)
 */
#include "log/store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "cold/manifest.h"
#include "log/log.h"

void log_options_copy(void *to, size_t to_size, const void *from)
{
    size_t size;

    memset(to, 0, to_size);
    if (!from)
        return;
    memcpy(&size, from, sizeof(size)); /* every option struct begins with its size */
    memcpy(to, from, size < to_size ? size : to_size);
}

int log_store_check_writable(const struct varve_store *store, struct varve_error *err)
{
    if (store->read_only)
        return base_fail(err, VARVE_E_READ_ONLY, "store %s is open read-only", store->path);
    return 0;
}

int log_store_log_dir(const struct varve_store *store, const char *name, char **ret,
                      struct varve_error *err)
{
    return base_format(ret, err, "%s/logs/%s/@", store->path, name);
}

int log_store_resolve_url(const char *path, const char *url, char **ret, struct varve_error *err)
{
    if (strstr(url, "://") || url[0] == '/')
        return base_format(ret, err, "%s", url);
    return base_format(ret, err, "%s/%s", path, url);
}

/* ---- open ---- */

static int open_settings(struct varve_store *s, struct base_settings **ret, struct varve_error *err)
{
    char *file = NULL;
    void *data = NULL;
    size_t size = 0;
    struct varve_error local;
    struct stat st;
    int r = s->env.io->stat(s->env.io->ctx, s->path, &st);

    if (!err)
        err = &local;
    if (r < 0)
        return base_fail_errno(err, r, "open store %s", s->path);
    r = base_format(&file, err, "%s/%s", s->path, LOG_STORE_FILE);
    if (r < 0)
        return r;
    r = base_file_read(s->env.io, file, LOG_STORE_SETTINGS_MAX, &data, &size, err);
    if (r == VARVE_E_NOT_FOUND || (r < 0 && err->sys_errno == ENOTDIR))
        r = base_fail(err, VARVE_E_INVALID,
                      "%s is not a varve store (make one with `varve init %s`)", s->path, s->path);
    else if (r == 0)
        r = base_settings_decode(data, size, LOG_STORE_MAGIC, LOG_STORE_VERSION, ret, err);
    if (r < 0 && r != VARVE_E_INVALID)
        r = base_error_context(err, r, "read %s", file);
    free(data);
    free(file);
    return r;
}

/* The first line of a file of /proc; "" where it cannot be read. */
static void proc_line(const struct base_io *io, const char *path, char *buf, size_t size)
{
    size_t n = 0;
    int fd = io->open(io->ctx, path, O_RDONLY, 0);

    if (fd >= 0) {
        base_io_pread_some(io, fd, buf, size - 1, 0, &n, path, NULL);
        io->close(io->ctx, fd);
    }
    buf[n] = '\0';
    buf[strcspn(buf, "\n")] = '\0';
}

/* The process as its user knows it, for the one who is refused. Best effort. */
static void process_describe(const struct base_env *env, char *buf, size_t size)
{
    char name[32];

    proc_line(env->io, "/proc/self/comm", name, sizeof(name));
    snprintf(buf, size, "process %ld (%s)", env->pid > 0 ? env->pid : (long)getpid(), name);
}

static int open_lock(struct varve_store *s, struct varve_error *err)
{
    const struct base_io *io = s->env.io;
    char *file = NULL;
    char who[80];
    int r = base_format(&file, err, "%s/lock", s->path);

    if (r < 0)
        return r;
    s->lock_fd = io->open(io->ctx, file, O_RDWR | O_CREAT, 0666);
    if (s->lock_fd < 0) {
        r = base_fail_errno(err, s->lock_fd, "open %s", file);
        goto out;
    }
    r = io->flock(io->ctx, s->lock_fd, LOCK_EX | LOCK_NB);
    if (r == -EWOULDBLOCK) {
        size_t n = 0;
        base_io_pread_some(io, s->lock_fd, who, sizeof(who) - 1, 0, &n, file, NULL);
        who[n] = '\0';
        who[strcspn(who, "\n")] = '\0';
        r = base_fail(err, VARVE_E_BUSY, "store %s is open for writing in %s", s->path,
                      n ? who : "another process");
        goto out;
    }
    if (r < 0) {
        r = base_fail_errno(err, r, "lock %s", file);
        goto out;
    }
    process_describe(&s->env, who, sizeof(who) - 1);
    strcat(who, "\n");
    r = io->ftruncate(io->ctx, s->lock_fd, 0);
    if (r < 0)
        r = base_fail_errno(err, r, "write %s", file);
    else
        r = base_io_pwrite_full(io, s->lock_fd, who, strlen(who), 0, file, err);
    if (r == VARVE_E_NO_SPACE)
        r = 0; /* who holds it is only a courtesy; a full disk must not keep readers from trimming
                */
out:
    free(file);
    return r;
}

static int open_cold(struct varve_store *s, const struct base_settings *settings,
                     struct varve_error *err)
{
    const char *cold = base_settings_get(settings, "cold");
    const char *cold_meta = base_settings_get(settings, "cold.meta");
    struct cold_store_options options = {.read_only = s->read_only,
                                         .caps = base_settings_get(settings, LOG_STORE_CAPS)};
    char *url = NULL;
    int r = log_store_resolve_url(s->path, cold, &url, err);

    if (r == 0)
        r = cold_store_open(&s->env, url, &options, &s->segments, err);
    free(url);
    if (r < 0)
        return r;
    s->meta = s->segments;
    if (cold_meta) {
        url = NULL;
        s->meta = NULL;
        options.caps = base_settings_get(settings, LOG_STORE_META_CAPS);
        r = log_store_resolve_url(s->path, cold_meta, &url, err);
        if (r == 0)
            r = cold_store_open(&s->env, url, &options, &s->meta, err);
        free(url);
    }
    return r;
}

/*
 * The lease's holder is described by the process, and placed by what its flock proves: on one boot
 * of one machine two processes never hold the lock of one file at the same time.
 */
static int open_lease(struct varve_store *s, struct varve_error *err)
{
    const struct base_io *io = s->env.io;
    char boot[40], host[48], process[64], place[COLD_LEASE_TEXT_SIZE], who[COLD_LEASE_TEXT_SIZE];
    struct tiering_lease_options options = {.meta = s->meta,
                                            .store_id = s->id,
                                            .duration_ms = s->settings.lease_ms,
                                            .by_hand = s->env.no_threads,
                                            .place = place,
                                            .process = who};
    struct stat st;
    int r = io->fstat(io->ctx, s->lock_fd, &st);

    if (r < 0)
        return base_fail_errno(err, r, "stat %s/lock", s->path);
    proc_line(io, "/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
    proc_line(io, "/proc/sys/kernel/hostname", host, sizeof(host));
    if (!boot[0]) /* then nobody is known to be of the same place */
        snprintf(boot, sizeof(boot), "%016llx", (unsigned long long)base_random_u64(s->env.random));
    process_describe(&s->env, process, sizeof(process));
    snprintf(place, sizeof(place), "%s:%llu:%llu", boot, (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    snprintf(who, sizeof(who), "%s on %s", process, host[0] ? host : "an unknown host");
    return tiering_lease_new(&s->env, &options, &s->lease, err);
}

static unsigned open_threads(const struct varve_store *s, const struct varve_store_options *o)
{
    if (s->env.no_threads)
        return 0;
    long n = o->threads ? (long)o->threads : sysconf(_SC_NPROCESSORS_ONLN);

    if (!o->threads && n > 8)
        n = 8;
    return n < 1 ? 1 : n > LOG_THREADS_MAX ? LOG_THREADS_MAX : (unsigned)n;
}

/* Everything between the settings and a usable store; what is made is undone by varve_store_close.
 */
static uint64_t readahead_default(struct cold_store *segments)
{
    struct cold_caps caps;

    cold_store_caps(segments, &caps);
    return caps.local ? LOG_READAHEAD_BYTES_LOCAL : LOG_READAHEAD_BYTES_REMOTE;
}

static int open_engine(struct varve_store *s, const struct varve_store_options *o,
                       int64_t cache_bytes, struct varve_error *err)
{
    int64_t rate = o->upload_bytes_per_second > 0 ? o->upload_bytes_per_second
                                                  : s->settings.upload_bytes_per_second;
    struct cold_fetch_options fetch = {0};
    char *dir = NULL;
    int r = base_pool_new(open_threads(s, o), "varve-work", &s->pool, err);

    if (r == 0 && !s->attached)
        r = base_format(&dir, err, "%s/cache", s->path);
    if (r == 0)
        r = cold_cache_open(&s->env, dir, "blocks",
                            s->attached || cache_bytes < 0 ? 0 : (uint64_t)cache_bytes,
                            LOG_CACHE_SLOT_BYTES, &s->blocks, err);
    if (r == 0)
        r = cold_cache_open(&s->env, dir, "tables", s->attached ? 0 : LOG_TABLES_BYTES,
                            LOG_TABLES_SLOT_BYTES, &s->tables, err);
    if (r == 0) {
        fetch.pool = s->pool;
        fetch.blocks = s->blocks;
        fetch.tables = s->tables;
        fetch.readahead_bytes_max = o->readahead_bytes < 0   ? 0
                                    : o->readahead_bytes > 0 ? (uint64_t)o->readahead_bytes
                                                             : readahead_default(s->segments);
        r = cold_fetch_new(&s->env, s->segments, &fetch, &s->fetch, err);
    }
    if (r == 0 && rate > 0)
        r = tiering_rate_new(&s->env, (uint64_t)rate, &s->rate, err);
    if (r == 0 && !s->read_only && !o->no_background)
        r = tiering_scheduler_new(&s->env, LOG_TIERER_THREADS, &s->scheduler, err);
    if (r == 0 && !s->read_only && !o->no_background)
        r = tiering_guard_new(s->settings.owner_check_ms, &s->guard, err);
    free(dir);
    return r;
}

static int open_directory(struct varve_store *s, const struct varve_store_options *o,
                          struct varve_error *err)
{
    struct base_settings *settings = NULL;
    const char *text;
    int r = open_settings(s, &settings, err);

    if (r < 0)
        return r;
    text = base_settings_get(settings, "id");
    if (!text || !base_id_parse(text, strlen(text), &s->id) || !base_settings_get(settings, "cold"))
        r = base_fail(err, VARVE_E_CORRUPT, "%s/%s lacks id or cold", s->path, LOG_STORE_FILE);
    if (r == 0) {
        r = log_settings_read(settings, &s->settings, err);
        if (r < 0)
            base_error_context(err, r, "%s/%s", s->path, LOG_STORE_FILE);
    }
    if (r == 0 && !s->read_only)
        r = open_lock(s, err);
    if (r == 0)
        r = open_cold(s, settings, err);
    if (r == 0 && !s->read_only && s->settings.lease_ms > 0)
        r = open_lease(s, err);
    if (r == 0)
        r = open_engine(s, o, o->cache_bytes ? o->cache_bytes : s->settings.cache_bytes, err);
    if (r == 0 && !s->read_only)
        log_reserve_open(&s->reserve, s->path, s->segments, o->reserve_bytes, s->blocks, s->tables);
    base_settings_free(settings);
    return r;
}

/* A bucket attached by its URL: read-only, nothing kept on this machine. */
static int open_attached(struct varve_store *s, const struct varve_store_options *o,
                         struct varve_error *err)
{
    int r;

    if (!s->read_only)
        return base_fail(
            err, VARVE_E_READ_ONLY,
            "%s is a cold tier: it can be read from anywhere, but written only through "
            "its store's directory",
            s->path);
    s->attached = true;
    r = cold_store_open(&s->env, s->path, &(struct cold_store_options){.read_only = true},
                        &s->segments, err);
    s->meta = s->segments;
    if (r == 0)
        r = cold_identity_read(s->meta, &s->id, err);
    if (r == VARVE_E_NOT_FOUND)
        r = base_fail(err, VARVE_E_INVALID, "%s holds no varve store", cold_store_url(s->meta));
    return r == 0 ? open_engine(s, o, -1, err) : r;
}

int log_store_open_env(const struct base_env *env, const char *path,
                       const struct varve_store_options *options, struct varve_store **ret,
                       struct varve_error *err)
{
    struct varve_store_options o;
    struct varve_store *s;
    int r;

    if (!path || !path[0])
        return base_fail(err, VARVE_E_INVALID, "a store needs a directory");
    log_options_copy(&o, sizeof(o), options);
    s = calloc(1, sizeof(*s));
    if (!s)
        return base_fail(err, VARVE_E_NO_MEMORY, "open store %s: out of memory", path);
    s->env = *env;
    s->env.logger = (struct base_logger){o.message, o.callback_ctx};
    s->message = o.message;
    s->event = o.event;
    s->callback_ctx = o.callback_ctx;
    s->read_only = o.read_only;
    s->take_over = o.take_over;
    s->lock_fd = -1;
    base_mutex_init(&s->mutex);
    log_reserve_init(&s->reserve, env);
    r = base_format(&s->path, err, "%s", path);
    if (r == 0) {
        for (size_t n = strlen(s->path); n > 1 && s->path[n - 1] == '/'; n--)
            s->path[n - 1] = '\0';
        r = strstr(path, "://") ? open_attached(s, &o, err) : open_directory(s, &o, err);
    }
    if (r < 0) {
        varve_store_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

int varve_store_open(const char *path, const struct varve_store_options *options,
                     struct varve_store **ret, struct varve_error *err)
{
    struct base_env env;

    base_env_init(&env);
    return log_store_open_env(&env, path, options, ret, err);
}

struct varve_store *varve_store_close(struct varve_store *s)
{
    if (!s)
        return NULL;
    while (s->logs) { /* handles the caller forgot */
        s->logs->refs = 1;
        varve_log_close(s->logs);
    }
    tiering_guard_free(s->guard);
    tiering_scheduler_free(s->scheduler);
    cold_fetch_free(s->fetch);
    base_pool_free(s->pool);
    log_reserve_deinit(&s->reserve);
    cold_cache_close(s->blocks);
    cold_cache_close(s->tables);
    tiering_rate_free(s->rate);
    tiering_lease_free(s->lease);
    if (s->meta != s->segments)
        cold_store_close(s->meta);
    cold_store_close(s->segments);
    if (s->lock_fd >= 0)
        s->env.io->close(s->env.io->ctx, s->lock_fd);
    base_mutex_deinit(&s->mutex);
    free(s->path);
    free(s);
    return NULL;
}

/* ---- settings ---- */

int varve_store_each_option(struct varve_store *s,
                            int (*visit)(void *ctx, const char *name, const char *value,
                                         bool is_default),
                            void *ctx, struct varve_error *err)
{
    if (s->attached)
        return base_fail(err, VARVE_E_UNSUPPORTED, "%s is a cold tier: settings are a store's",
                         s->path);
    return log_settings_each(&s->settings, visit, ctx);
}

int varve_store_configure(struct varve_store *s, const struct varve_option *options, size_t count,
                          struct varve_error *err)
{
    struct base_settings *settings = NULL;
    char *file = NULL, *text = NULL;
    size_t size = 0;
    int r = log_store_check_writable(s, err);

    if (r < 0)
        return r;
    base_mutex_lock(&s->mutex); /* one at a time: none loses another's */
    r = open_settings(s, &settings, err);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = log_settings_set(settings, &options[i], err);
    if (r == 0)
        r = base_settings_encode(settings, LOG_STORE_MAGIC, LOG_STORE_VERSION, &text, &size, err);
    if (r == 0)
        r = base_format(&file, err, "%s/%s", s->path, LOG_STORE_FILE);
    if (r == 0)
        r = base_file_replace(s->env.io, file, text, size, true, err);
    if (r == 0)
        r = log_settings_read(settings, &s->settings, err);
    base_mutex_unlock(&s->mutex);
    base_settings_free(settings);
    free(text);
    free(file);
    return r < 0 ? base_error_context(err, r, "configure store %s", s->path) : 0;
}

/* ---- statistics ---- */

static void stats_cold(const struct varve_store *s, struct varve_store_stats *o)
{
    struct cold_store *const stores[] = {s->segments, s->meta};

    for (size_t i = 0; i < (s->meta != s->segments ? 2 : 1); i++) {
        struct cold_stats c;
        cold_store_stats(stores[i], &c);
        o->cold_put_requests +=
            c.requests[COLD_OP_PUT] + c.requests[COLD_OP_PART] + c.requests[COLD_OP_UPLOAD];
        o->cold_get_requests += c.requests[COLD_OP_GET];
        o->cold_head_requests += c.requests[COLD_OP_HEAD];
        o->cold_list_requests += c.requests[COLD_OP_LIST];
        o->cold_delete_requests += c.requests[COLD_OP_DELETE];
        for (unsigned op = 0; op < COLD_OP_COUNT; op++)
            o->cold_failures += c.failures[op];
        o->cold_bytes_sent += c.bytes_sent;
        o->cold_bytes_received += c.bytes_received;
    }
}

void varve_store_stats(struct varve_store *s, struct varve_store_stats *stats)
{
    struct varve_store_stats o = {0};
    struct cold_cache_stats cache;
    struct cold_fetch_stats fetch;
    size_t size = stats->size < sizeof(o) ? stats->size : sizeof(o);

    stats_cold(s, &o);
    cold_cache_stats(s->blocks, &cache);
    cold_fetch_stats(s->fetch, &fetch);
    o.block_cache_hits = fetch.block_hits;
    o.block_cache_misses = fetch.block_fetches;
    o.block_cache_bytes = cache.bytes_used;
    o.table_hits = fetch.table_hits;
    o.table_misses = fetch.table_fetches;
    o.hot_batches_read = atomic_load_explicit(&s->hot_batches, memory_order_relaxed);
    o.hot_bytes_read = atomic_load_explicit(&s->hot_bytes, memory_order_relaxed);
    o.cold_batches_read = atomic_load_explicit(&s->cold_batches, memory_order_relaxed);
    o.cold_bytes_read = atomic_load_explicit(&s->cold_bytes, memory_order_relaxed);
    o.batches_appended = atomic_load_explicit(&s->appended_batches, memory_order_relaxed);
    o.bytes_appended = atomic_load_explicit(&s->appended_bytes, memory_order_relaxed);
    o.size = size;
    memcpy(stats, &o, size);
}

const char *varve_version(void)
{
    return "0.1.0";
}
