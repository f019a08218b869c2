/*
 * Listing the logs of a store: its directory is the list, and of an attached bucket the roots in
 * it.
 */
#include "log/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "cold/manifest.h"

void log_names_add(struct log_names *l, const char *name, size_t size)
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

void log_names_deinit(struct log_names *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->names[i]);
    free(l->names);
}

int log_names_visit_any(void *arg, const char *name, bool is_dir)
{
    (void)name;
    (void)is_dir;
    *(bool *)arg = true;
    return 1;
}

int log_names_visit_root(void *arg, const char *key, const struct cold_meta *meta)
{
    static const char head[] = "logs/", tail[] = "/@/root";
    size_t n = strlen(key);

    (void)meta;
    if (n > sizeof(head) - 1 + sizeof(tail) - 1 && !strcmp(key + n - (sizeof(tail) - 1), tail))
        log_names_add(arg, key + sizeof(head) - 1, n - (sizeof(head) - 1) - (sizeof(tail) - 1));
    return 0;
}

bool log_names_in_bucket(struct cold_store *meta, const char *name)
{
    struct index_root root;
    struct cold_etag etag;
    void *data = NULL;
    size_t size;
    int r = cold_manifest_read_root(meta, name, &data, &size, &etag, NULL);
    bool gone = r == VARVE_E_NOT_FOUND ||
                (r == 0 && index_root_decode(data, size, &root, NULL) == 0 && root.tombstone);

    free(data);
    return !gone;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct walk {
    struct varve_store *store;
    struct log_names *list;
    const char *name; /* of the directory being walked, "" at the top */
};

/*
 * A log's directory that is empty is what an adopted bucket's log has here before it is first
 * opened, or what a crash while creating one left: the bucket says.
 */
static bool walk_is_log(const struct walk *w, const char *dir)
{
    const struct base_io *io = w->store->env.io;
    bool any = false;

    if (io->list(io->ctx, dir, log_names_visit_any, &any) < 0 || any)
        return true;
    return log_names_in_bucket(w->store->meta, w->name);
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
            log_names_add(w->list, w->name, strlen(w->name));
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
    struct log_names list = {0};
    struct walk w = {.store = s, .list = &list, .name = ""};
    char *dir = NULL;
    int r;

    if (s->attached) {
        r = cold_store_list_all(s->meta, "logs/", log_names_visit_root, &list, err);
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
        if (!s->attached || log_names_in_bucket(s->meta, list.names[i]))
            r = visit(ctx, list.names[i]);
    log_names_deinit(&list);
    free(dir);
    return r;
}
