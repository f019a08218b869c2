/*
 * Listing a dir store in key order, a page at a time.
 *
 * Each directory is read whole, but only the smallest names that can still matter are kept, so that
 * memory is bounded by the page asked for and not by the directory. A directory sorts as its name
 * with a '/', which makes a walk in name order a walk in key order.
 */
#include "cold/dir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

#define NAMES_MIN 64

struct listing {
    struct cold_dir *d;
    const char *prefix;
    const char *start_after; /* "": from the first */
    unsigned max;
    int (*visit)(void *arg, const char *key, const struct cold_meta *meta);
    void *arg;
    unsigned count;
    bool more;
    struct varve_error *err;
};

/* The wanted entries of one directory. Directories' names end in '/'. */
struct names {
    const struct listing *l;
    const char *dir_key; /* "" or "a/b/" */
    const char *after;   /* names up to this one have been walked already; NULL: none */
    size_t limit;
    char **items;
    size_t count;
    size_t capacity;
    bool truncated; /* greater names were left out */
};

static void names_cut(struct names *n, size_t count)
{
    while (n->count > count)
        free(n->items[--n->count]);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_sort(struct names *n)
{
    if (n->count > 1)
        qsort(n->items, n->count, sizeof(n->items[0]), compare_names);
    if (n->count > n->limit) {
        n->truncated = true;
        names_cut(n, n->limit);
    }
}

/* Could anything under this name be asked for? */
static bool is_wanted(const struct listing *l, const char *key, bool is_dir)
{
    size_t key_size = strlen(key), prefix_size = strlen(l->prefix);
    size_t common = key_size < prefix_size ? key_size : prefix_size;

    if (memcmp(key, l->prefix, common) != 0 || (!is_dir && key_size < prefix_size))
        return false;
    if (strcmp(key, l->start_after) > 0)
        return true;
    return is_dir && strncmp(l->start_after, key, key_size) == 0;
}

static int names_add(struct names *n, char *name)
{
    if (n->count == n->capacity) {
        size_t capacity = n->capacity ? n->capacity * 2 : NAMES_MIN;
        char **items = realloc(n->items, capacity * sizeof(*items));

        if (!items)
            return VARVE_E_NO_MEMORY;
        n->items = items;
        n->capacity = capacity;
    }
    n->items[n->count++] = name;
    if (n->count / 2 >= n->limit)
        names_sort(n);
    return 0;
}

static int names_visit(void *arg, const char *entry, bool is_dir)
{
    struct names *n = arg;
    char *name = NULL, *key = NULL;
    bool wanted;

    if (n->dir_key[0] == '\0' && strcmp(entry, COLD_DIR_MARKER) == 0)
        return 0;
    if (base_format(&name, NULL, "%s%s", entry, is_dir ? "/" : "") < 0)
        return VARVE_E_NO_MEMORY;
    if (base_format(&key, NULL, "%s%s", n->dir_key, name) < 0) {
        free(name);
        return VARVE_E_NO_MEMORY;
    }
    wanted = is_wanted(n->l, key, is_dir) && strlen(key) <= COLD_KEY_MAX &&
             (!n->after || strcmp(name, n->after) > 0);
    free(key);
    if (wanted && names_add(n, name) == 0)
        return 0;
    free(name);
    return wanted ? VARVE_E_NO_MEMORY : 0;
}

static int walk(struct listing *l, const char *dir_key);

/* One key: a page that is full only learns that there is more. */
static int emit(struct listing *l, const char *key, const char *path)
{
    const struct base_io *io = l->d->env->io;
    struct cold_meta meta;
    struct stat st;
    int rc = io->stat(io->ctx, path, &st);

    if (rc == -ENOENT || rc == -ENOTDIR || rc == -ELOOP)
        return 0; /* removed while we looked */
    if (rc < 0)
        return cold_dir_fail(l->d, rc, "list", key, l->err);
    if (!S_ISREG(st.st_mode))
        return 0;
    if (l->count == l->max) {
        l->more = true;
        return 0;
    }
    l->count++;
    cold_dir_meta(&st, &meta);
    return l->visit(l->arg, key, &meta);
}

static int walk_name(struct listing *l, const char *dir_key, const char *name)
{
    char *key, *path;
    int rc = base_format(&key, l->err, "%s%s", dir_key, name);

    if (rc < 0)
        return rc;
    if (name[strlen(name) - 1] == '/') {
        rc = walk(l, key);
    } else {
        rc = base_format(&path, l->err, "%s/%s", l->d->root, key);
        if (rc == 0) {
            rc = emit(l, key, path);
            free(path);
        }
    }
    free(key);
    return rc;
}

/* Reads the names of one directory into `n`, sorted. A directory that is gone has none. */
static int names_read(struct names *n)
{
    const struct listing *l = n->l;
    const struct base_io *io = l->d->env->io;
    char *path;
    int rc = base_format(&path, l->err, "%s/%s", l->d->root, n->dir_key);

    if (rc < 0)
        return rc;
    rc = io->list(io->ctx, path, names_visit, n);
    free(path);
    if (rc == -ENOENT || rc == -ENOTDIR)
        return 0;
    if (rc == VARVE_E_NO_MEMORY)
        return base_fail(l->err, rc, "list %s in %s: out of memory", l->prefix, l->d->url);
    if (rc < 0)
        return cold_dir_fail(l->d, rc, "list", l->prefix, l->err);
    names_sort(n);
    return 0;
}

/* Walks the directory `dir_key` ("" or "a/b/") until the page is full or a visit ends it. */
static int walk(struct listing *l, const char *dir_key)
{
    char *after = NULL;
    bool again = true;
    int rc = 0;

    while (rc == 0 && again && !l->more) {
        struct names n = {.l = l, .dir_key = dir_key, .after = after};

        n.limit = (size_t)(l->max - l->count) + 1;
        rc = names_read(&n);
        for (size_t i = 0; rc == 0 && i < n.count && !l->more; i++)
            rc = walk_name(l, dir_key, n.items[i]);
        /* Empty directories count for no key: the names left out may be needed yet. */
        again = n.truncated;
        free(after);
        after = NULL;
        if (again && n.count > 0)
            after = n.items[--n.count];
        names_cut(&n, 0);
        free(n.items);
    }
    free(after);
    return rc;
}

int cold_dir_list(void *self, const char *prefix, const char *start_after, unsigned max,
                  int (*visit)(void *arg, const char *key, const struct cold_meta *meta), void *arg,
                  bool *ret_more, struct varve_error *err)
{
    struct listing l = {.d = self,
                        .prefix = prefix,
                        .start_after = start_after ? start_after : "",
                        .max = max,
                        .visit = visit,
                        .arg = arg,
                        .err = err};
    const char *slash = strrchr(prefix, '/');
    char *dir_key;
    int rc = cold_dir_check_present(l.d, "list", prefix, err);

    if (rc < 0)
        return rc;
    if (strncmp(prefix, COLD_DIR_MARKER "/", strlen(COLD_DIR_MARKER) + 1) == 0) {
        *ret_more = false; /* the store's own: no keys */
        return 0;
    }
    rc = base_format(&dir_key, err, "%.*s", slash ? (int)(slash - prefix + 1) : 0, prefix);
    if (rc < 0)
        return rc;
    rc = walk(&l, dir_key);
    free(dir_key);
    if (rc == 0) /* an empty answer of a store that went away meanwhile would be a lie (I8) */
        rc = cold_dir_check_present(l.d, "list", prefix, err);
    if (rc == 0)
        *ret_more = l.more;
    return rc;
}
