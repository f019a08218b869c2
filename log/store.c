/*
 * A store: its directory, its lock, and what all its logs share.
 *
 *   <store>/varve-store       settings (base/text.h): id, cold, cold.meta, cache.bytes; written
 *                             once, by create, under the name varve-store.draft, and renamed last
 *   <store>/lock              flock'ed by the writing process, whose pid and name it holds
 *   <store>/logs/<name>/@/    a log's segments and the local copy of its manifest
 *   <store>/cold/             the cold tier when no URL was given
 *   <store>/cache/            block cache and block tables; may be removed at any time
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

#define SETTINGS_SIZE_MAX (1024 * 1024)

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

/* A URL in the settings that is no URL and not absolute lies inside the store's directory. */
static int store_resolve_url(const char *path, const char *url, char **ret, struct varve_error *err)
{
    if (strstr(url, "://") || url[0] == '/')
        return base_format(ret, err, "%s", url);
    return base_format(ret, err, "%s/%s", path, url);
}

/* ---- names of logs ---- */

struct name_list {
    char **names;
    size_t count;
    size_t capacity;
    bool failed;
};

static void name_list_add(struct name_list *l, const char *name, size_t size)
{
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 64;
        char **names = realloc(l->names, capacity * sizeof(*names));
        if (!names) {
            l->failed = true;
            return;
        }
        l->names = names;
        l->capacity = capacity;
    }
    l->names[l->count] = strndup(name, size);
    if (l->names[l->count])
        l->count++;
    else
        l->failed = true;
}

static void name_list_deinit(struct name_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->names[i]);
    free(l->names);
}

/* The roots of a listing name the logs. */
static int each_in_bucket(void *arg, const char *key, const struct cold_meta *meta)
{
    static const char head[] = "logs/", tail[] = "/@/root";
    size_t n = strlen(key);

    (void)meta;
    if (n > sizeof(head) - 1 + sizeof(tail) - 1 && !strcmp(key + n - (sizeof(tail) - 1), tail))
        name_list_add(arg, key + sizeof(head) - 1, n - (sizeof(head) - 1) - (sizeof(tail) - 1));
    return 0;
}

/* ---- create ---- */

static int visit_any(void *arg, const char *name, bool is_dir)
{
    (void)name;
    (void)is_dir;
    *(bool *)arg = true;
    return 1;
}

/*
 * Nothing may be there, but for what a create that was cut short has left: its draft names the id
 * it had claimed the cold tier with, and this one goes on with that.
 */
static int create_check_empty(const struct base_env *env, const char *path, const char *file,
                              const char *draft, struct base_id *id, struct varve_error *err)
{
    struct base_settings *settings = NULL;
    const char *text;
    void *data = NULL;
    size_t size;
    struct stat st;
    bool any = false;
    int r = env->io->stat(env->io->ctx, file, &st);

    if (r == 0)
        return base_fail(err, VARVE_E_EXISTS, "%s is a varve store already", path);
    if (r != -ENOENT && r != -ENOTDIR)
        return base_fail_errno(err, r, "look for %s", file);
    r = base_file_read(env->io, draft, SETTINGS_SIZE_MAX, &data, &size, NULL);
    if (r == 0) {
        r = base_settings_decode(data, size, LOG_STORE_MAGIC, LOG_STORE_VERSION, &settings, NULL);
        text = r == 0 ? base_settings_get(settings, "id") : NULL;
        any = !text || !base_id_parse(text, strlen(text), id);
        base_settings_free(settings);
        free(data);
        if (!any)
            return 0;
    }
    r = env->io->list(env->io->ctx, path, visit_any, &any);
    if (r == -ENOTDIR)
        return base_fail(err, VARVE_E_EXISTS, "%s is a file", path);
    if (r < 0 && r != -ENOENT)
        return base_fail_errno(err, r, "look into %s", path);
    if (any)
        return base_fail(err, VARVE_E_EXISTS, "%s is not empty and not a varve store", path);
    return 0;
}

/* The logs of an adopted cold tier get their (empty) directories, so that they are listed. */
static int create_adopt(const struct base_env *env, const char *path, struct cold_store *meta,
                        struct varve_error *err)
{
    struct name_list list = {0};
    int r = cold_store_list_all(meta, "logs/", each_in_bucket, &list, err);

    if (r == 0 && list.failed)
        r = base_fail(err, VARVE_E_NO_MEMORY, "list the logs of %s: out of memory",
                      cold_store_url(meta));
    for (size_t i = 0; r == 0 && i < list.count; i++) {
        char *dir = NULL;
        if (index_log_name_check(list.names[i], strlen(list.names[i]), NULL) < 0)
            continue;
        r = base_format(&dir, err, "%s/logs/%s/@", path, list.names[i]);
        if (r == 0)
            r = base_dir_create(env->io, dir, true, err);
        free(dir);
    }
    name_list_deinit(&list);
    return r;
}

/* The cold tier says whose it is: a prefix in use is refused unless it is adopted. */
static int create_claim_cold(const struct base_env *env, const char *path, const char *url,
                             bool adopt, const struct base_id *id, struct varve_error *err)
{
    struct cold_store *meta = NULL;
    struct base_id other;
    const struct cold_store_options options = {.create = true};
    int r = cold_store_open(env, url, &options, &meta, err);

    if (r < 0)
        return r;
    r = cold_identity_create(meta, id, env->clock->wall_ms(env->clock->ctx), err);
    if (r == VARVE_E_EXISTS) {
        r = cold_identity_read(meta, &other, err);
        if (r == 0 && !base_id_equal(&other, id))
            r = adopt ? create_adopt(env, path, meta, err)
                      : base_fail(err, VARVE_E_EXISTS,
                                  "cold tier %s belongs to another store; give --adopt to use it "
                                  "with this one",
                                  cold_store_url(meta));
    }
    cold_store_close(meta);
    return r;
}

static int create_settings(const struct base_env *env, const struct varve_store_options *o,
                           const struct base_id *id, char **ret, size_t *ret_size,
                           struct varve_error *err)
{
    char text[BASE_ID_TEXT_SIZE];
    char number[24];
    struct base_settings *s = base_settings_new();
    int r;

    if (!s)
        return base_fail(err, VARVE_E_NO_MEMORY, "out of memory");
    base_id_format(id, text);
    r = base_settings_set(s, "id", text, err);
    if (r == 0) {
        snprintf(number, sizeof(number), "%" PRId64, env->clock->wall_ms(env->clock->ctx));
        r = base_settings_set(s, "created", number, err);
    }
    if (r == 0)
        r = base_settings_set(s, "cold", o->cold_url ? o->cold_url : "cold", err);
    if (r == 0 && o->cold_meta_url)
        r = base_settings_set(s, "cold.meta", o->cold_meta_url, err);
    if (r == 0) {
        snprintf(number, sizeof(number), "%" PRId64,
                 o->cache_bytes ? o->cache_bytes : LOG_CACHE_BYTES_DEFAULT);
        r = base_settings_set(s, "cache.bytes", number, err);
    }
    if (r == 0)
        r = base_settings_encode(s, LOG_STORE_MAGIC, LOG_STORE_VERSION, ret, ret_size, err);
    base_settings_free(s);
    return r;
}

/* Relative directories given by a user are meant from where he stands, not from inside the store.
 */
static int create_absolute_url(const char *url, char **ret, struct varve_error *err)
{
    char cwd[4096];

    if (strstr(url, "://") || url[0] == '/')
        return base_format(ret, err, "%s", url);
    if (!getcwd(cwd, sizeof(cwd)))
        return base_fail_errno(err, errno, "find the current directory");
    return base_format(ret, err, "%s/%s", cwd, url);
}

/*
 * In this order: the draft of the settings, which makes the id durable; the cold tier, claimed with
 * that id; the settings' name, last: a directory without it is no store. Whatever cuts this short,
 * create can be run again.
 */
static int create_write(const struct base_env *env, const char *path, const char *file,
                        const char *draft, const struct varve_store_options *o,
                        const struct base_id *id, struct varve_error *err)
{
    char *url = NULL, *meta = NULL, *logs = NULL, *text = NULL;
    size_t text_size = 0;
    int r = base_dir_create(env->io, path, true, err);

    if (r == 0)
        r = create_settings(env, o, id, &text, &text_size, err);
    if (r == 0)
        r = base_file_replace(env->io, draft, text, text_size, true, err);
    if (r == 0)
        r = base_format(&logs, err, "%s/logs", path);
    if (r == 0)
        r = base_dir_create(env->io, logs, true, err);
    if (r == 0)
        r = store_resolve_url(path, o->cold_url ? o->cold_url : "cold", &url, err);
    if (r == 0 && o->cold_meta_url)
        r = store_resolve_url(path, o->cold_meta_url, &meta, err);
    if (r == 0)
        r = create_claim_cold(env, path, meta ? meta : url, o->adopt, id, err);
    if (r == 0 && meta) { /* roots lie elsewhere: the segments' place is only made */
        struct cold_store *segments = NULL;
        r = cold_store_open(env, url, &(struct cold_store_options){.create = true}, &segments, err);
        cold_store_close(segments);
    }
    if (r == 0) {
        r = env->io->rename(env->io->ctx, draft, file);
        if (r < 0)
            r = base_fail_errno(err, r, "rename %s to %s", draft, file);
    }
    if (r == 0)
        r = base_dir_sync(env->io, path, err);
    free(url);
    free(meta);
    free(logs);
    free(text);
    return r;
}

int log_store_create_env(const struct base_env *env, const char *path,
                         const struct varve_store_options *options, struct varve_error *err)
{
    struct varve_store_options o;
    struct base_id id = base_id_new(env->random);
    char *cold = NULL, *meta = NULL, *file = NULL, *draft = NULL;
    int r;

    log_options_copy(&o, sizeof(o), options);
    if (!path || !path[0])
        return base_fail(err, VARVE_E_INVALID, "a store needs a directory");
    if (strstr(path, "://"))
        return base_fail(err, VARVE_E_INVALID,
                         "create store %s: a store is a directory of this machine; the URL is its "
                         "cold tier's (--cold)",
                         path);
    r = base_format(&file, err, "%s/%s", path, LOG_STORE_FILE);
    if (r == 0)
        r = base_format(&draft, err, "%s.draft", file);
    if (r == 0)
        r = create_check_empty(env, path, file, draft, &id, err);
    if (r == 0 && o.cold_url) {
        r = create_absolute_url(o.cold_url, &cold, err);
        o.cold_url = cold;
    }
    if (r == 0 && o.cold_meta_url) {
        r = create_absolute_url(o.cold_meta_url, &meta, err);
        o.cold_meta_url = meta;
    }
    if (r == 0)
        r = create_write(env, path, file, draft, &o, &id, err);
    free(cold);
    free(meta);
    free(file);
    free(draft);
    return r == 0 ? 0 : base_error_context(err, r, "create store %s", path);
}

int varve_store_create(const char *path, const struct varve_store_options *options,
                       struct varve_error *err)
{
    struct base_env env;

    base_env_init(&env);
    return log_store_create_env(&env, path, options, err);
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
    r = base_file_read(s->env.io, file, SETTINGS_SIZE_MAX, &data, &size, err);
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

/* The process as its user knows it, for the one who is refused. Best effort. */
static void lock_describe(const struct base_io *io, char *buf, size_t size)
{
    char name[32] = "";
    size_t n = 0;
    int fd = io->open(io->ctx, "/proc/self/comm", O_RDONLY, 0);

    if (fd >= 0) {
        base_io_pread_some(io, fd, name, sizeof(name) - 1, 0, &n, "/proc/self/comm", NULL);
        name[n] = '\0';
        name[strcspn(name, "\n")] = '\0';
        io->close(io->ctx, fd);
    }
    snprintf(buf, size, "process %ld (%s)\n", (long)getpid(), name);
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
    lock_describe(io, who, sizeof(who));
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

static int open_cold(struct varve_store *s, const char *cold, const char *cold_meta,
                     struct varve_error *err)
{
    const struct cold_store_options options = {.read_only = s->read_only};
    char *url = NULL;
    int r = store_resolve_url(s->path, cold, &url, err);

    if (r == 0)
        r = cold_store_open(&s->env, url, &options, &s->segments, err);
    free(url);
    if (r < 0)
        return r;
    s->meta = s->segments;
    if (cold_meta) {
        url = NULL;
        s->meta = NULL;
        r = store_resolve_url(s->path, cold_meta, &url, err);
        if (r == 0)
            r = cold_store_open(&s->env, url, &options, &s->meta, err);
        free(url);
    }
    return r;
}

static unsigned open_threads(const struct varve_store_options *o)
{
    long n = o->threads ? (long)o->threads : sysconf(_SC_NPROCESSORS_ONLN);

    if (!o->threads && n > 8)
        n = 8;
    return n < 1 ? 1 : n > LOG_THREADS_MAX ? LOG_THREADS_MAX : (unsigned)n;
}

/* Everything between the settings and a usable store; what is made is undone by varve_store_close.
 */
static int open_engine(struct varve_store *s, const struct varve_store_options *o,
                       int64_t cache_bytes, struct varve_error *err)
{
    struct cold_fetch_options fetch = {0};
    char *dir = NULL;
    int r = base_pool_new(open_threads(o), "varve-work", &s->pool, err);

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
                                                             : LOG_READAHEAD_BYTES_DEFAULT;
        r = cold_fetch_new(&s->env, s->segments, &fetch, &s->fetch, err);
    }
    if (r == 0 && o->upload_bytes_per_second > 0)
        r = tiering_rate_new(&s->env, (uint64_t)o->upload_bytes_per_second, &s->rate, err);
    if (r == 0 && !s->read_only && !o->no_background)
        r = tiering_scheduler_new(&s->env, LOG_TIERER_THREADS, &s->scheduler, err);
    free(dir);
    return r;
}

static int open_directory(struct varve_store *s, const struct varve_store_options *o,
                          struct varve_error *err)
{
    struct base_settings *settings = NULL;
    const char *text;
    int64_t cache_bytes = LOG_CACHE_BYTES_DEFAULT;
    int r = open_settings(s, &settings, err);

    if (r < 0)
        return r;
    text = base_settings_get(settings, "id");
    if (!text || !base_id_parse(text, strlen(text), &s->id) || !base_settings_get(settings, "cold"))
        r = base_fail(err, VARVE_E_CORRUPT, "%s/%s lacks id or cold", s->path, LOG_STORE_FILE);
    if (r == 0 && !s->read_only)
        r = open_lock(s, err);
    if (r == 0)
        r = open_cold(s, base_settings_get(settings, "cold"),
                      base_settings_get(settings, "cold.meta"), err);
    if (r == 0) {
        text = base_settings_get(settings, "cache.bytes");
        if (text)
            base_parse_i64(text, &cache_bytes);
        if (o->cache_bytes)
            cache_bytes = o->cache_bytes;
        r = open_engine(s, o, cache_bytes, err);
    }
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
    r = open_cold(s, s->path, NULL, err);
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
    tiering_scheduler_free(s->scheduler);
    cold_fetch_free(s->fetch);
    base_pool_free(s->pool);
    cold_cache_close(s->blocks);
    cold_cache_close(s->tables);
    tiering_rate_free(s->rate);
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

/* ---- the logs of a store ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct walk {
    struct varve_store *store;
    struct name_list *list;
    const char *name; /* of the directory being walked, "" at the top */
};

/*
 * A log's directory that is empty is what an adopted bucket's log has here before it is first
 * opened, or what a crash while creating one left: the bucket says. When it cannot be asked the log
 * is named.
 */
static bool walk_is_log(const struct walk *w, const char *dir)
{
    const struct base_io *io = w->store->env.io;
    struct cold_etag etag;
    void *data = NULL;
    size_t size;
    bool any = false;

    if (io->list(io->ctx, dir, visit_any, &any) < 0 || any)
        return true;
    any = cold_manifest_read_root(w->store->meta, w->name, &data, &size, &etag, NULL) !=
          VARVE_E_NOT_FOUND;
    free(data);
    return any;
}

static int walk_entry(void *arg, const char *entry, bool is_dir)
{
    struct walk *w = arg;
    struct walk inner = {.store = w->store, .list = w->list};
    const struct base_io *io = w->store->env.io;
    bool log = !strcmp(entry, "@");
    char *name = NULL, *dir = NULL;
    int r = 0;

    if (!is_dir || (log && !w->name[0]))
        return 0;
    if (base_format(&name, NULL, "%s%s%s", w->name, w->name[0] ? "/" : "", entry) < 0 ||
        base_format(&dir, NULL, "%s/logs/%s", w->store->path, name) < 0) {
        w->list->failed = true;
    } else if (log) {
        if (walk_is_log(w, dir))
            name_list_add(w->list, w->name, strlen(w->name));
    } else if (strlen(name) <= INDEX_LOG_NAME_MAX) {
        inner.name = name;
        r = io->list(io->ctx, dir, walk_entry, &inner);
    }
    free(name);
    free(dir);
    return r == -ENOENT ? 0 : r;
}

int varve_store_each_log(struct varve_store *s, int (*visit)(void *ctx, const char *log_name),
                         void *ctx, struct varve_error *err)
{
    struct name_list list = {0};
    struct walk w = {.store = s, .list = &list, .name = ""};
    char *dir = NULL;
    int r;

    if (s->attached) {
        r = cold_store_list_all(s->meta, "logs/", each_in_bucket, &list, err);
    } else {
        r = base_format(&dir, err, "%s/logs", s->path);
        if (r == 0) {
            r = s->env.io->list(s->env.io->ctx, dir, walk_entry, &w);
            if (r < 0)
                r = base_fail_errno(err, r, "list %s", dir);
        }
    }
    if (r == 0 && list.failed)
        r = base_fail(err, VARVE_E_NO_MEMORY, "list the logs of %s: out of memory", s->path);
    if (r == 0 && list.count)
        qsort(list.names, list.count, sizeof(*list.names), compare_names);
    for (size_t i = 0; r == 0 && i < list.count; i++)
        r = visit(ctx, list.names[i]);
    name_list_deinit(&list);
    free(dir);
    return r;
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
