/* What is left of a log that was deleted: its directories, and a deletion that was interrupted. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "cold/manifest.h"
#include "log/log.h"
#include "log/names.h"

void log_delete_empty_dirs(struct varve_store *s, const char *name)
{
    const struct base_io *io = s->env.io;
    char *dir = NULL;
    int r;

    if (log_store_log_dir(s, name, &dir, NULL) < 0)
        return;
    while (strlen(dir) > strlen(s->path) + strlen("/logs") &&
           ((r = io->rmdir(io->ctx, dir)) == 0 || r == -ENOENT))
        *strrchr(dir, '/') = '\0';
    free(dir);
}

static int visit_name(void *arg, const char *name, bool is_dir)
{
    (void)is_dir;
    log_names_add(arg, name, strlen(name));
    return 0;
}

/* Everything but the root, durably: without it nobody could say that the rest is of no log. */
static int delete_below_root(const struct base_io *io, const char *dir, struct varve_error *err)
{
    struct log_names list = {0};
    int r = io->list(io->ctx, dir, visit_name, &list);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        r = base_fail_errno(err, r, "list %s", dir);
    else if (list.failed)
        r = base_fail(err, VARVE_E_NO_MEMORY, "list %s: out of memory", dir);
    for (size_t i = 0; r == 0 && i < list.count; i++) {
        char *path;

        if (strcmp(list.names[i], "root") == 0)
            continue;
        r = base_format(&path, err, "%s/%s", dir, list.names[i]);
        if (r < 0)
            break;
        r = base_tree_remove(io, path, err);
        free(path);
    }
    log_names_deinit(&list);
    return r == 0 ? base_dir_sync(io, dir, err) : r;
}

int log_delete_local(struct varve_store *s, const char *name, struct varve_error *err)
{
    char *dir = NULL;
    int r = log_store_log_dir(s, name, &dir, err);

    if (r == 0) /* I13 */
        r = delete_below_root(s->env.io, dir, err);
    if (r == 0)
        r = base_tree_remove(s->env.io, dir, err);
    log_delete_empty_dirs(s, name);
    free(dir);
    return r;
}

struct tombstone {
    struct base_id id;
    int64_t delay_ms; /* the grace of what it deletes */
    void *data;       /* the root as it lies in the bucket */
    size_t size;
};

/* The bucket's tombstone, whoever has deleted the log: the store that did may be gone for good, and
 * what is deleted behind a tombstone is so for everybody. VARVE_E_NOT_FOUND: there is none. The
 * caller frees ret->data, whatever is returned. */
static int tombstone_read(struct varve_store *s, const char *name, struct tombstone *ret,
                          struct varve_error *err)
{
    struct tiering_policy policy = {0};
    struct log_config config;
    struct index_root root;
    struct cold_etag etag;

    *ret = (struct tombstone){0};
    int r = cold_manifest_read_root(s->meta, name, &ret->data, &ret->size, &etag, err);
    if (r == 0)
        r = index_root_decode(ret->data, ret->size, &root, err);
    if (r == 0 && !root.tombstone)
        r = VARVE_E_NOT_FOUND;
    if (r == 0)
        r = log_config_decode(&config, root.config, root.config_size, err);
    if (r == 0) {
        log_config_policy(&config, &policy);
        ret->id = root.log_id;
        ret->delay_ms = policy.delete_delay_ms;
    }
    return r;
}

/* Here too it says that the log is deleted before the first of its files goes: while the store is
 * away nothing else would, and a log that lacks files is a damaged one. No room is no reason to
 * keep them. */
static int tombstone_keep(const struct base_io *io, const char *dir, const struct tombstone *t,
                          struct varve_error *err)
{
    char *path;
    int r = base_format(&path, err, "%s/root", dir);

    if (r < 0)
        return r;
    r = base_file_replace(io, path, t->data, t->size, true, err);
    free(path);
    return r == VARVE_E_NO_SPACE ? 0 : r;
}

/* What is in the bucket behind a tombstone, and in the journal among the local files. *ret_any:
 * there was an object. */
static int delete_rest_stored(struct varve_store *s, const char *name, const struct base_id *id,
                              int64_t delay_ms, const char *dir, bool *ret_any,
                              struct varve_error *err)
{
    struct tiering_log_options options = {.log_name = name,
                                          .segments = s->segments,
                                          .meta = s->meta,
                                          .policy.delete_delay_ms = delay_ms};
    char *journal = NULL;
    int r = base_format(&journal, err, "%s/uploads", dir);

    options.journal_path = journal;
    if (r == 0)
        r = tiering_log_delete_rest(&s->env, &options, id, ret_any, err);
    free(journal);
    return r;
}

/* The local files know the log only by their place: beside a new root they would be its records. */
int log_delete_leftovers(struct varve_store *s, const char *name, struct varve_error *err)
{
    struct tombstone t = {0};
    char *dir = NULL;
    bool any = false, objects;
    int r = log_store_log_dir(s, name, &dir, err);

    if (r == 0)
        (void)s->env.io->list(s->env.io->ctx, dir, log_names_visit_any, &any);
    if (any) {
        r = tombstone_read(s, name, &t, err);
        if (r == 0)
            r = tombstone_keep(s->env.io, dir, &t, err);
        if (r == 0)
            r = delete_rest_stored(s, name, &t.id, 0, dir, &objects, err);
        if (r == 0)
            r = log_delete_local(s, name, err);
        if (r == 0)
            r = base_dir_create(s->env.io, dir, true, err);
        if (r == 0) /* their names must not come back beside the new root */
            r = base_dir_sync(s->env.io, dir, err);
        if (r == VARVE_E_NOT_FOUND)
            r = 0;
    }
    free(t.data);
    free(dir);
    return r;
}

/* What is local of a log that was deleted, unless it was made anew since. */
static int delete_rest_local(struct varve_store *s, const char *name, const struct base_id *id,
                             const char *dir, bool *any, struct varve_error *err)
{
    struct tombstone now;
    bool here = false;
    int r;

    base_mutex_lock(&s->mutex);
    r = tombstone_read(s, name, &now, err);
    if (r == 0 && base_id_equal(&now.id, id)) {
        (void)s->env.io->list(s->env.io->ctx, dir, log_names_visit_any, &here);
        if (here)
            r = tombstone_keep(s->env.io, dir, &now, err);
        if (r == 0)
            r = log_delete_local(s, name, err);
        *any = *any || here;
    }
    base_mutex_unlock(&s->mutex);
    free(now.data);
    return r;
}

int log_delete_rest(struct varve_store *s, const char *name, struct varve_error *err)
{
    char *dir = NULL;
    struct tombstone t;
    bool any = false;
    int r = tombstone_read(s, name, &t, err);

    if (r == 0)
        r = log_store_log_dir(s, name, &dir, err);
    if (r == 0)
        r = delete_rest_stored(s, name, &t.id, t.delay_ms, dir, &any, err);
    if (r == 0)
        r = delete_rest_local(s, name, &t.id, dir, &any, err);
    free(t.data);
    free(dir);
    return r == 0 && !any ? VARVE_E_NOT_FOUND : r;
}
