/*
 * Opening and closing a log.
 *
 * For writing, in this order: in lease mode the lease; the local manifest; the bucket's root is
 * compared with it and decides who owns the log (tiering_log_open, I6); the hot segments are
 * recovered, to start at n when there are none; both are reconciled (tiering_log_attach, I13); only
 * then is the log in the store's list and its background work begins. For reading nothing is
 * changed and the bucket is asked only for what the local copy lacks.
 */
#include "log/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "cold/manifest.h"

int log_divergent_dir(const struct varve_log *log, char **ret, struct varve_error *err)
{
    return base_format(ret, err, "%s/divergent", log->dir);
}

/* The journal of unfinished uploads. */
static int log_uploads_path(const struct varve_log *log, char **ret, struct varve_error *err)
{
    return base_format(ret, err, "%s/uploads", log->dir);
}

int log_context(const struct varve_log *log, int rc, struct varve_error *err)
{
    return base_error_context(err, rc, "log %s", log->name);
}

/* The log start offset never goes back; the hint does not either, whoever is late with an old root.
 */
static void raise_start(struct varve_log *log, int64_t offset)
{
    int64_t now = atomic_load_explicit(&log->start_offset, memory_order_relaxed);

    while (now < offset &&
           !atomic_compare_exchange_weak_explicit(&log->start_offset, &now, offset,
                                                  memory_order_release, memory_order_relaxed))
        ;
}

static void raise_generation(struct varve_log *log, uint64_t generation)
{
    uint64_t now = atomic_load_explicit(&log->generation, memory_order_relaxed);

    while (now < generation &&
           !atomic_compare_exchange_weak_explicit(&log->generation, &now, generation,
                                                  memory_order_release, memory_order_relaxed))
        ;
}

static void log_event(void *ctx, const struct tiering_event *e)
{
    static const enum varve_event_kind kinds[] = {
        [TIERING_SEALED] = VARVE_EVENT_SEALED,   [TIERING_UPLOADED] = VARVE_EVENT_UPLOADED,
        [TIERING_EVICTED] = VARVE_EVENT_EVICTED, [TIERING_TRIMMED] = VARVE_EVENT_TRIMMED,
        [TIERING_DELETED] = VARVE_EVENT_DELETED, [TIERING_STALLED] = VARVE_EVENT_STALLED,
    };
    struct varve_log *log = ctx;
    const struct varve_store *store = log->store;
    const struct varve_event event = {
        .kind = kinds[e->kind],
        .log_name = e->log_name,
        .base_offset = e->base_offset,
        .end_offset = e->end_offset,
        .bytes = e->bytes,
    };

    if (e->kind == TIERING_TRIMMED) /* by retention in the background: readers go on behind it */
        raise_start(log, e->end_offset);
    if (store->event)
        store->event(store->callback_ctx, &event);
}

/* ---- the current root ---- */

static int take_identity(struct varve_log *log, const struct index_root *root,
                         struct varve_error *err)
{
    if (root->tombstone)
        return base_fail(err, VARVE_E_NOT_FOUND, "it was deleted");
    if (!log->identified) { /* while it is opened: nobody else has it yet */
        log->loader.log_id = root->log_id;
        log->source.log_id = root->log_id;
        log->identified = true;
    }
    if (!base_id_equal(&log->source.log_id, &root->log_id))
        return base_fail(err, VARVE_E_NOT_FOUND, "it was deleted and made anew: open it again");
    return 0;
}

static int take_config(struct varve_log *log, const struct index_root *root,
                       struct varve_error *err)
{
    struct log_config config;
    int r = log_config_decode(&config, root->config, root->config_size, err);

    if (r < 0)
        return r;
    base_mutex_lock(&log->config_mutex);
    if (root->generation >= log->config_generation) {
        log->config = config;
        log->config_generation = root->generation;
        atomic_store_explicit(&log->batch_bytes_max, log_config_batch_bytes_max(&config),
                              memory_order_relaxed);
    }
    base_mutex_unlock(&log->config_mutex);
    return 0;
}

int log_take_root(struct varve_log *log, struct varve_error *err)
{
    struct index_root_pin *pin;
    const struct index_root *root;
    int r = index_manifest_pin(log->manifest, &pin, &root, err);

    if (r < 0)
        return log_context(log, r, err);
    r = take_identity(log, root, err);
    if (r == 0)
        r = take_config(log, root, err);
    if (r == 0) {
        raise_start(log, root->start_offset);
        raise_generation(log, root->generation);
    }
    index_manifest_unpin(pin);
    return r < 0 ? log_context(log, r, err) : 0;
}

/* Reads the bucket's root into the manifest: nothing local holds it, or the bucket is attached. */
static int log_fetch_root(struct varve_log *log, struct varve_error *err)
{
    struct cold_etag etag;
    void *data = NULL;
    size_t size;
    int r = cold_manifest_read_root(log->store->meta, log->name, &data, &size, &etag, err);

    if (r == VARVE_E_NOT_FOUND)
        return base_fail(err, VARVE_E_NOT_FOUND, "store %s has no log %s", log->store->path,
                         log->name);
    if (r == 0)
        r = index_manifest_install(log->manifest, data, size, NULL, 0, false, err);
    free(data);
    if (r == VARVE_E_PRECONDITION) /* older than what is here: ours stays */
        r = 0;
    return r < 0 ? log_context(log, r, err) : 0;
}

bool log_is_deleted(struct varve_log *log, struct varve_error *err)
{
    struct varve_error what = {0};
    struct index_root root;
    struct cold_etag etag;
    void *data = NULL;
    size_t size;
    int r = cold_manifest_read_root(log->store->meta, log->name, &data, &size, &etag, &what);

    if (r == 0)
        r = index_root_decode(data, size, &root, &what);
    if (r == 0)
        r = take_identity(log, &root, &what);
    free(data);
    if (r != VARVE_E_NOT_FOUND)
        return false; /* or nobody knows at present */
    log_context(log, r, &what);
    if (err)
        *err = what;
    return true;
}

static int refresh_attached(struct varve_log *log, bool hard, struct varve_error *err)
{
    const struct base_clock *clock = log->store->env.clock;
    int64_t now = clock->mono_ns(clock->ctx);
    int64_t last = atomic_load_explicit(&log->asked_ns, memory_order_relaxed);
    int r;

    if (!hard && now - last < LOG_ATTACHED_REFRESH_NS)
        return 0;
    atomic_store_explicit(&log->asked_ns, now, memory_order_relaxed);
    r = log_fetch_root(log, err);
    return r < 0 ? r : log_take_root(log, err);
}

int log_refresh(struct varve_log *log, bool hard, struct varve_error *err)
{
    uint64_t published;
    bool changed = false;
    int r = 0;

    if (log->tiering)
        return hard ? log_take_root(log, err) : 0; /* changes are made by this process */
    if (!log->hot)
        return refresh_attached(log, hard, err);
    published = hot_set_published_root(log->hot);
    if (hard || published != atomic_load_explicit(&log->root_seen, memory_order_acquire)) {
        r = index_manifest_refresh(log->manifest, &changed, err);
        if (r == 0 && changed)
            r = log_take_root(log, err);
        if (r == 0)
            atomic_store_explicit(&log->root_seen, published, memory_order_release);
    }
    if (r == 0)
        r = hot_set_refresh(log->hot, err);
    return r < 0 ? log_context(log, r, err) : 0;
}

uint64_t log_generation(struct varve_log *log)
{
    return atomic_load_explicit(&log->generation, memory_order_acquire);
}

int64_t log_start(struct varve_log *log)
{
    return atomic_load_explicit(&log->start_offset, memory_order_acquire);
}

void log_range(struct varve_log *log, int64_t *ret_floor, int64_t *ret_end)
{
    struct index_root_pin *pin;
    const struct index_root *root;
    struct hot_range range = {0};

    if (log->hot) {
        hot_set_range(log->hot, &range);
        if (range.end > 0 || log->tiering || range.segments) {
            *ret_floor = range.floor;
            *ret_end = range.end;
            return;
        }
    }
    *ret_floor = *ret_end = 0;
    if (index_manifest_pin(log->manifest, &pin, &root, NULL) == 0) {
        *ret_floor = *ret_end = root->end_offset;
        index_manifest_unpin(pin);
    }
}

/* ---- open ---- */

static void report_recovery(struct varve_log *log, const struct hot_recovery *rec)
{
    const struct base_logger *logger = &log->store->env.logger;

    if (rec->truncated_bytes)
        base_log(logger, BASE_LOG_WARNING,
                 "log %s: cut off %" PRId64 " bytes torn by a crash; it ends at offset %" PRId64,
                 log->name, rec->truncated_bytes, rec->truncated_at);
    else if (rec->unclean)
        base_log(logger, BASE_LOG_INFO,
                 "log %s: was not closed; %" PRId64 " bytes checked, nothing lost", log->name,
                 rec->scanned_bytes);
    if (rec->indexes_rebuilt)
        base_log(logger, BASE_LOG_INFO, "log %s: %u sparse indexes rebuilt", log->name,
                 rec->indexes_rebuilt);
}

/* The log's history, as the hot tier wants it. Free it. */
static int log_epochs(struct varve_log *log, struct index_epoch **ret, size_t *ret_count,
                      struct varve_error *err)
{
    struct index_root_pin *pin;
    const struct index_root *root;
    struct index_epoch *epochs;
    int r = index_manifest_pin(log->manifest, &pin, &root, err);

    if (r < 0)
        return r;
    epochs = calloc(root->epoch_count + 1, sizeof(*epochs));
    for (size_t i = 0; epochs && i < root->epoch_count; i++)
        index_root_epoch(root, i, &epochs[i]);
    *ret = epochs;
    *ret_count = root->epoch_count;
    index_manifest_unpin(pin);
    return epochs ? 0 : base_fail(err, VARVE_E_NO_MEMORY, "log %s: history", log->name);
}

static int log_open_hot(struct varve_log *log, enum varve_durability durability, int64_t start,
                        struct varve_error *err)
{
    struct index_epoch *epochs = NULL;
    struct hot_set_options options = {
        .read_only = log->store->read_only,
        .durability =
            durability == VARVE_DURABILITY_FSYNC ? HOT_DURABILITY_FSYNC : HOT_DURABILITY_OS,
        .start_offset = start,
    };
    struct hot_recovery recovery = {0};
    int r;

    log_config_hot(&log->config, &options);
    r = options.read_only ? 0 : log_epochs(log, &epochs, &options.epoch_count, err);
    options.epochs = epochs;
    if (r == 0)
        r = hot_set_open(&log->store->env, log->dir, &options, &log->hot, &recovery, err);
    free(epochs);
    if (r == 0)
        report_recovery(log, &recovery);
    return r;
}

int log_cold_end(struct varve_log *log, int64_t *ret, struct varve_error *err)
{
    struct index_root_pin *pin;
    const struct index_root *root;
    int r = index_manifest_pin(log->manifest, &pin, &root, err);

    if (r == 0) {
        *ret = root->end_offset;
        index_manifest_unpin(pin);
    }
    return r;
}

/*
 * A log that only the bucket knows (an adopted bucket, a directory that was thrown away) gets its
 * directory before its root is kept in it; one that the bucket does not know gets none.
 */
static int log_make_dir(struct varve_log *log, struct varve_error *err)
{
    const struct base_io *io = log->store->env.io;
    struct cold_etag etag;
    struct stat st;
    void *data = NULL;
    size_t size;
    int r = io->stat(io->ctx, log->dir, &st);

    if (r == 0)
        return 0;
    if (r != -ENOENT)
        return base_fail_errno(err, r, "look for %s", log->dir);
    r = cold_manifest_read_root(log->store->meta, log->name, &data, &size, &etag, err);
    free(data);
    if (r == VARVE_E_NOT_FOUND)
        return base_fail(err, r, "store %s has no log %s", log->store->path, log->name);
    return r < 0 ? log_context(log, r, err) : base_dir_create(io, log->dir, true, err);
}

/* Its names are synced up to the store's directory: whoever made one may have died before it was
 * durable, and all that is acknowledged from now on lies below it (I11). */
static int log_open_dir(struct varve_log *log, struct varve_error *err)
{
    char *path = NULL;
    int r = log_make_dir(log, err);

    if (r == 0)
        r = base_format(&path, err, "%s", log->dir);
    while (r == 0 && strlen(path) > strlen(log->store->path)) {
        *strrchr(path, '/') = '\0';
        r = base_dir_sync(log->store->env.io, path, err);
    }
    free(path);
    return r;
}

/* Both tiers, reconciled. With options->set_aside only that: the log does not stay open. */
static int log_open_tiers(struct varve_log *log, enum varve_durability durability, bool take_over,
                          struct tiering_log_options *options, struct varve_error *err)
{
    struct varve_store *s = log->store;
    char *divergent = NULL, *uploads = NULL;
    int64_t end = 0;
    int r = log_uploads_path(log, &uploads, err);

    if (r == 0)
        r = log_divergent_dir(log, &divergent, err);
    options->journal_path = uploads;
    options->hot_dir = log->dir;
    options->divergent_dir = divergent;
    if (r == 0)
        r = tiering_log_open(&s->env, options, take_over, &log->tiering, err);
    free(uploads);
    options->journal_path = options->hot_dir = options->divergent_dir = NULL;
    if (r == 0)
        r = log_take_root(log, err);
    if (r == 0) {
        log_config_policy(&log->config, &options->policy);
        tiering_log_set_policy(log->tiering, &options->policy);
    }
    if (r == 0)
        r = log_cold_end(log, &end, err);
    if (r == 0)
        r = log_open_hot(log, durability, end, err);
    if (r == 0)
        r = tiering_log_attach(log->tiering, log->hot, divergent, err);
    free(divergent);
    return r;
}

static int visit_segment(void *arg, const char *name, bool is_dir)
{
    size_t n = strlen(name);

    *(bool *)arg = !is_dir && n > 4 && strcmp(name + n - 4, ".log") == 0;
    return *(bool *)arg;
}

/*
 * The log belongs to another store, and this one is refused; `why` says so. What was written here
 * and the owner's history does not hold is moved aside now, so that nobody takes it for a part of
 * the log (I13). Best effort: it is tried again at every opening.
 */
static void log_set_aside(struct varve_log *log, struct tiering_log_options *options,
                          const struct varve_error *why)
{
    const struct base_io *io = log->store->env.io;
    struct varve_error err = {0};
    bool any = false;
    int r;

    if (io->list(io->ctx, log->dir, visit_segment, &any) < 0 || !any)
        return; /* nothing was ever written here */
    options->set_aside = true;
    r = log_open_tiers(log, VARVE_DURABILITY_OS, false, options, &err);
    if (r < 0)
        base_log(&log->store->env.logger, BASE_LOG_WARNING,
                 "%s; what was written here beyond the owner's history could not be moved aside: "
                 "%s",
                 why->msg, err.msg);
    log->tiering = tiering_log_close(log->tiering);
    log->hot = hot_set_close(log->hot);
}

static int log_open_writing(struct varve_log *log, const struct varve_log_options *o,
                            struct varve_error *err)
{
    struct varve_store *s = log->store;
    struct tiering_log_options options = {
        .log_name = log->name,
        .store_id = s->id,
        .manifest = log->manifest,
        .segments = s->segments,
        .meta = s->meta,
        .fetch = s->fetch,
        .pool = s->pool,
        .rate = s->rate,
        .event = log_event,
        .event_ctx = log,
        .confirmed_only = s->lease != NULL,
    };
    struct varve_error why = {0};
    int r;

    log_config_policy(&log->config, &options.policy);
    r = log_open_dir(log, err);
    if (r == 0 && s->lease) /* before the root is read: see tiering/lease.h */
        r = tiering_lease_claim(s->lease, err);
    if (r < 0)
        return r;
    r = log_open_tiers(log, o->durability, s->take_over || o->take_over, &options, &why);
    if (r == VARVE_E_FENCED)
        log_set_aside(log, &options, &why);
    else if (r == VARVE_E_NOT_FOUND && !log->tiering)
        r = base_fail(&why, r, "store %s has no log %s", s->path, log->name);
    if (r == 0)
        r = log_take_root(log, &why);
    if (r == 0 && s->scheduler)
        r = tiering_scheduler_add(s->scheduler, log->tiering, &why);
    if (r == 0 && s->guard)
        r = tiering_guard_add(s->guard, log->tiering, &why);
    if (r < 0 && err)
        *err = why;
    return r;
}

/* By the local copy of its root: another store's. Then what is local is not the log. */
static bool log_is_foreign(struct varve_log *log)
{
    struct index_root_pin *pin;
    const struct index_root *root;
    bool foreign;

    if (log->store->attached || index_manifest_pin(log->manifest, &pin, &root, NULL) < 0)
        return false;
    foreign = !base_id_equal(&root->owner, &log->store->id);
    index_manifest_unpin(pin);
    return foreign;
}

static int log_open_reading(struct varve_log *log, struct varve_error *err)
{
    const struct base_io *io = log->store->env.io;
    struct stat st;
    int64_t end;
    int r = 0;

    if (!index_manifest_loaded(log->manifest))
        r = log_fetch_root(log, err);
    if (r == 0)
        r = log_take_root(log, err);
    if (r == 0)
        r = log_cold_end(log, &end, err);
    if (r == 0 && !log->store->attached && !log_is_foreign(log) &&
        io->stat(io->ctx, log->dir, &st) == 0)
        r = log_open_hot(log, VARVE_DURABILITY_OS, end, err);
    if (r == 0 && log->hot)
        atomic_store(&log->root_seen, hot_set_published_root(log->hot));
    return r;
}

static struct varve_log *log_free(struct varve_log *log)
{
    if (log->store->guard && log->tiering)
        tiering_guard_remove(log->store->guard, log->tiering);
    if (log->store->scheduler && log->tiering)
        tiering_scheduler_remove(log->store->scheduler, log->tiering);
    log->tiering = tiering_log_close(log->tiering);
    hot_set_close(log->hot);
    index_manifest_close(log->manifest);
    base_mutex_deinit(&log->config_mutex);
    base_mutex_deinit(&log->configure_mutex);
    free(log->name);
    free(log->dir);
    free(log);
    return NULL;
}

static int log_new(struct varve_store *s, const char *name, struct varve_log **ret,
                   struct varve_error *err)
{
    struct varve_log *log = calloc(1, sizeof(*log));
    struct index_manifest_options options = {
        .read_only = s->read_only,
        .ignore_damaged = true, /* it is a copy: the bucket has the truth */
    };
    int r;

    if (!log)
        return base_fail(err, VARVE_E_NO_MEMORY, "open log %s: out of memory", name);
    log->store = s;
    base_mutex_init(&log->config_mutex);
    base_mutex_init(&log->configure_mutex);
    log_config_init(&log->config);
    r = base_format(&log->name, err, "%s", name);
    if (r == 0)
        r = log_store_log_dir(s, name, &log->dir, err);
    if (r == 0) {
        const struct base_id none = {{0}};
        cold_manifest_loader_init(&log->loader, s->meta, log->name, &none);
        log->source.log_name = log->name;
        options.loader = &log->loader.loader;
        r = index_manifest_open(&s->env, log->dir, log->name, &options, &log->manifest, err);
    }
    if (r < 0) {
        log_free(log);
        return r;
    }
    *ret = log;
    return 0;
}

static struct varve_log *find_open_locked(struct varve_store *s, const char *name)
{
    for (struct varve_log *l = s->logs; l; l = l->next)
        if (!strcmp(l->name, name))
            return l;
    return NULL;
}

int varve_log_open(struct varve_store *s, const char *name, const struct varve_log_options *options,
                   struct varve_log **ret, struct varve_error *err)
{
    struct varve_log_options o;
    struct varve_log *log = NULL;
    int r = index_log_name_check(name, strlen(name), err);

    if (r < 0)
        return r;
    log_options_copy(&o, sizeof(o), options);
    base_mutex_lock(&s->mutex);
    log = find_open_locked(s, name);
    if (log && log->deleting) {
        r = base_fail(err, VARVE_E_BUSY, "it is being deleted");
    } else if (log) {
        log->refs++;
    } else {
        r = log_new(s, name, &log, err);
        if (r == 0) {
            r = s->read_only ? log_open_reading(log, err) : log_open_writing(log, &o, err);
            if (r == 0) {
                log->refs = 1;
                log->next = s->logs;
                s->logs = log;
            } else {
                log_free(log);
            }
        }
    }
    base_mutex_unlock(&s->mutex);
    if (r < 0)
        return base_error_context(err, r, "open %s", name);
    *ret = log;
    return 0;
}

/* The last reference is gone. */
static void close_last_locked(struct varve_log *log)
{
    struct varve_log **at = &log->store->logs;

    while (*at != log)
        at = &(*at)->next;
    *at = log->next;
    log_free(log);
}

struct varve_log *varve_log_close(struct varve_log *log)
{
    struct varve_store *s;

    if (!log)
        return NULL;
    s = log->store;
    base_mutex_lock(&s->mutex);
    if (--log->refs == 0)
        close_last_locked(log);
    base_mutex_unlock(&s->mutex);
    return NULL;
}

/* ---- create, configure, delete ---- */

static int config_apply(struct log_config *c, const struct varve_option *options, size_t count,
                        struct varve_error *err)
{
    for (size_t i = 0; i < count; i++) {
        int r = log_config_set(c, options[i].name, options[i].value, err);
        if (r < 0)
            return r;
    }
    return log_config_check(c, err);
}

static int create_locked(struct varve_store *s, const char *name, const char *config, size_t size,
                         struct varve_error *err)
{
    struct varve_log *log = NULL;
    struct base_id id;
    char *dir = NULL;
    int r;

    if (find_open_locked(s, name))
        return base_fail(err, VARVE_E_EXISTS, "it exists already");
    r = log_delete_leftovers(s, name, err);
    if (r == 0)
        r = log_store_log_dir(s, name, &dir, err);
    if (r == 0)
        r = base_dir_create(s->env.io, dir, true, err);
    free(dir);
    if (r == 0)
        r = log_new(s, name, &log, err);
    if (r == 0) {
        id = base_id_new(s->env.random);
        r = tiering_log_create(&s->env, s->meta, log->manifest, name, &id, &s->id, config, size,
                               err);
        log_free(log);
    }
    if (r < 0 && r != VARVE_E_EXISTS)
        log_delete_empty_dirs(s, name);
    return r;
}

int varve_log_create(struct varve_store *s, const char *name, const struct varve_option *options,
                     size_t option_count, struct varve_error *err)
{
    struct log_config config;
    char *text = NULL;
    size_t size = 0;
    int r = index_log_name_check(name, strlen(name), err);

    if (r == 0)
        r = log_store_check_writable(s, err);
    if (r < 0)
        return r;
    log_config_init(&config);
    r = config_apply(&config, options, option_count, err);
    if (r == 0)
        r = log_config_encode(&config, &text, &size, err);
    if (r < 0)
        return base_error_context(err, r, "create %s", name);
    base_mutex_lock(&s->mutex);
    r = create_locked(s, name, text, size, err);
    base_mutex_unlock(&s->mutex);
    free(text);
    return r < 0 ? base_error_context(err, r, "create %s", name) : 0;
}

int varve_log_each_option(struct varve_log *log,
                          int (*visit)(void *ctx, const char *name, const char *value,
                                       bool is_default),
                          void *ctx, struct varve_error *err)
{
    struct log_config config;

    (void)err;
    base_mutex_lock(&log->config_mutex);
    config = log->config;
    base_mutex_unlock(&log->config_mutex);
    return log_config_each(&config, visit, ctx);
}

int varve_log_configure(struct varve_log *log, const struct varve_option *options,
                        size_t option_count, struct varve_error *err)
{
    struct log_config config;
    struct tiering_policy policy;
    struct hot_set_options hot = {0};
    char *text = NULL;
    size_t size = 0;
    int r = log_store_check_writable(log->store, err);

    if (r < 0)
        return log_context(log, r, err);
    base_mutex_lock(&log->configure_mutex);
    base_mutex_lock(&log->config_mutex);
    config = log->config;
    base_mutex_unlock(&log->config_mutex);
    r = config_apply(&config, options, option_count, err);
    if (r == 0)
        r = log_config_encode(&config, &text, &size, err);
    if (r == 0) {
        log_config_policy(&config, &policy);
        r = tiering_log_configure(log->tiering, text, size, &policy, err);
    }
    if (r == 0) {
        log_config_hot(&config, &hot);
        hot_set_configure(log->hot, &hot);
        r = log_take_root(log, err);
    }
    base_mutex_unlock(&log->configure_mutex);
    free(text);
    return r < 0 ? log_context(log, r, err) : 0;
}

/* Opens the log that is to be deleted and lists it, so that nobody else gets hold of it. */
static int delete_begin_locked(struct varve_store *s, const char *name, struct varve_log **ret,
                               struct varve_error *err)
{
    struct varve_log *log = NULL;
    int r;

    if (find_open_locked(s, name))
        return base_fail(err, VARVE_E_BUSY, "it is open");
    r = log_new(s, name, &log, err);
    if (r < 0)
        return r;
    r = log_open_writing(log, &(struct varve_log_options){0}, err);
    if (r < 0) {
        log_free(log);
        return r;
    }
    log->refs = 1;
    log->deleting = true;
    log->next = s->logs;
    s->logs = log;
    *ret = log;
    return 0;
}

static int delete_end_locked(struct varve_store *s, const char *name, bool deleted,
                             struct varve_log *log, struct varve_error *err)
{
    close_last_locked(log);
    if (!deleted)
        return 0;
    /* The tombstone is durable: what is local is only garbage now. */
    return log_delete_local(s, name, err);
}

int varve_log_delete(struct varve_store *s, const char *name, struct varve_error *err)
{
    struct varve_log *log = NULL;
    int r = log_store_check_writable(s, err), ended, rest;

    if (r < 0)
        return r;
    r = index_log_name_check(name, strlen(name), err);
    if (r < 0)
        return r;
    base_mutex_lock(&s->mutex);
    r = delete_begin_locked(s, name, &log, err);
    base_mutex_unlock(&s->mutex);
    if (r == VARVE_E_NOT_FOUND) {
        struct varve_error why = {0};

        rest = log_delete_rest(s, name, &why);
        if (rest != VARVE_E_NOT_FOUND) {
            r = rest;
            if (r < 0 && err)
                *err = why;
        }
    } else if (r == 0) {
        /* Waits out the grace period: the store's other logs go on meanwhile. */
        r = tiering_log_delete(log->tiering, err);
        base_mutex_lock(&s->mutex);
        ended = delete_end_locked(s, name, r == 0, log, r == 0 ? err : NULL);
        base_mutex_unlock(&s->mutex);
        r = r == 0 ? ended : r;
    }
    return r < 0 ? base_error_context(err, r, "delete %s", name) : 0;
}
