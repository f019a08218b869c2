#include "tests/support/tmpdir.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/io.h"

struct path {
    struct path *next;
    char text[];
};

struct support_tmpdir {
    char *root;
    struct path *paths;
};

struct support_tmpdir *support_tmpdir_new(const char *name)
{
    const char *parent = getenv("TMPDIR");
    struct support_tmpdir *t = calloc(1, sizeof(*t));

    if (!t ||
        asprintf(&t->root, "%s/varve-%s-XXXXXX", parent && *parent ? parent : "/tmp", name) < 0)
        abort();
    if (!mkdtemp(t->root)) {
        perror(t->root);
        abort();
    }
    return t;
}

struct support_tmpdir *support_tmpdir_free(struct support_tmpdir *t)
{
    struct varve_error err = {0};

    if (!t)
        return NULL;
    if (base_tree_remove(&base_io_posix, t->root, &err) < 0)
        fprintf(stderr, "%s\n", err.msg);
    while (t->paths) {
        struct path *next = t->paths->next;

        free(t->paths);
        t->paths = next;
    }
    free(t->root);
    free(t);
    return NULL;
}

const char *support_tmpdir_root(const struct support_tmpdir *t)
{
    return t->root;
}

const char *support_tmpdir_path(struct support_tmpdir *t, const char *format, ...)
{
    char name[4096];
    struct path *path;
    va_list ap;
    int size;

    va_start(ap, format);
    vsnprintf(name, sizeof(name), format, ap);
    va_end(ap);
    size = snprintf(NULL, 0, "%s/%s", t->root, name);
    path = malloc(sizeof(*path) + (size_t)size + 1);
    if (!path)
        abort();
    snprintf(path->text, (size_t)size + 1, "%s/%s", t->root, name);
    path->next = t->paths;
    t->paths = path;
    return path->text;
}
