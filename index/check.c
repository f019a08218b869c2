/*
 * Checks the files of a local copy against each other, and removes what is damaged.
 *
 * Looks at files only: nothing is fetched. Below a page of references that is missing or damaged
 * nothing can be compared, so then unknown files stay where they are; otherwise a repair removes
 * pages that nothing names, and temporary files.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/text.h"
#include "index/manifest_private.h"

struct check {
    struct index_manifest *m;
    const struct base_id *log_id;
    bool repair;
    bool incomplete; /* part of the tree could not be walked */
    void (*report)(void *arg, const char *file, const struct varve_error *what);
    void *arg;
    struct base_buffer reached; /* attempt ids of the pages named */
};

static void file_remove(struct check *c, const char *path)
{
    const struct base_io *io = c->m->env->io;
    int rc = io->unlink(io->ctx, path);

    if (rc < 0 && rc != -ENOENT)
        base_log(&c->m->env->logger, BASE_LOG_WARNING, "cannot remove %s (errno %d)", path, -rc);
}

static bool is_damage(int rc)
{
    return rc == VARVE_E_CORRUPT || rc == VARVE_E_VERSION || rc == VARVE_E_IO;
}

static int check_items(struct check *c, const struct index_items *items, struct varve_error *err);

/* One page file and all below it. A failure is that of the walk, not of the file. */
static int check_page(struct check *c, const uint8_t *raw, struct varve_error *err)
{
    const struct base_io *io = c->m->env->io;
    struct varve_error what = {0};
    struct index_mapping mapping;
    struct index_page page;
    struct index_ref ref;
    char name[INDEX_PAGE_NAME_SIZE];
    char *path;

    index_ref_decode(raw, &ref);
    index_page_name(&ref, name);
    base_buffer_add(&c->reached, ref.attempt.bytes, BASE_ID_SIZE);
    int rc = base_format(&path, err, "%s/%s", c->m->dir, name);
    if (rc < 0)
        return rc;
    rc = index_mapping_open(io, path, INDEX_PAGE_SIZE_MAX, &mapping, NULL, &what);
    if (rc == 0) {
        rc = index_page_decode(mapping.data, mapping.size, &ref, c->log_id, &page, &what);
        if (rc == 0 && page.level > 0) {
            struct index_items items = index_items_of_page(&page);
            rc = check_items(c, &items, &what);
        }
        index_mapping_close(io, &mapping);
    } else if (rc == VARVE_E_NOT_FOUND) {
        c->incomplete = c->incomplete || ref.level > 0;
        rc = 0;
    }
    if (is_damage(rc)) {
        c->incomplete = c->incomplete || ref.level > 0;
        c->report(c->arg, name, &what);
        if (c->repair) {
            file_remove(c, path);
            index_pagemap_forget(&c->m->pages, raw);
        }
        rc = 0;
    }
    free(path);
    if (rc < 0 && err != NULL)
        *err = what;
    return rc;
}

static int check_items(struct check *c, const struct index_items *items, struct varve_error *err)
{
    for (size_t i = 0; i < items->count; i++) {
        int rc = check_page(c, index_items_at(items, i), err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/*
 * The root file. A damaged one that is removed is no longer served from its mapping either: no root
 * is loaded then, and the caller fetches it. *ret_damaged tells that there is nothing to compare
 * pages with.
 */
static int check_root(struct check *c, bool *ret_damaged, struct varve_error *err)
{
    struct index_manifest *m = c->m;
    struct varve_error what = {0};
    struct index_mapping mapping;
    struct index_root root;

    int rc =
        index_mapping_open(m->env->io, m->root_path, INDEX_ROOT_SIZE_MAX, &mapping, NULL, &what);
    if (rc == 0) {
        rc = index_root_decode(mapping.data, mapping.size, &root, &what);
        index_mapping_close(m->env->io, &mapping);
    }
    *ret_damaged = is_damage(rc);
    if (*ret_damaged) {
        c->report(c->arg, "root", &what);
        if (c->repair) {
            file_remove(c, m->root_path);
            index_manifest_swap(m, NULL);
        }
        return 0;
    }
    if (rc == VARVE_E_NOT_FOUND)
        return 0;
    if (rc < 0 && err != NULL)
        *err = what;
    return rc;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, BASE_ID_SIZE);
}

static int visit_file(void *arg, const char *name, bool is_dir)
{
    struct check *c = arg;
    struct index_key_parts parts;
    size_t size = strlen(name);
    bool tmp = size > 4 && strcmp(name + size - 4, ".tmp") == 0;
    char *path;

    if (is_dir || (!tmp && (!index_key_parse(name, &parts) || !parts.page)))
        return 0;
    if (!tmp && c->reached.size > 0 &&
        bsearch(parts.attempt.bytes, c->reached.data, c->reached.size / BASE_ID_SIZE, BASE_ID_SIZE,
                compare_ids) != NULL)
        return 0;
    if (base_format(&path, NULL, "%s/%s", c->m->dir, name) < 0)
        return 0;
    file_remove(c, path);
    free(path);
    return 0;
}

static int check_locked(struct check *c, struct varve_error *err)
{
    struct index_root_pin *pin;
    const struct index_root *root;

    bool damaged;
    int rc = check_root(c, &damaged, err);
    if (rc < 0 || damaged)
        return rc;
    if (index_manifest_pin(c->m, &pin, &root, NULL) < 0)
        return 0;
    struct index_items refs = index_items_root_refs(root);
    c->log_id = &root->log_id;
    rc = check_items(c, &refs, err);
    index_manifest_unpin(pin);
    if (rc < 0 || !c->repair || c->incomplete || c->reached.failed)
        return rc;
    if (c->reached.size > 0)
        qsort(c->reached.data, c->reached.size / BASE_ID_SIZE, BASE_ID_SIZE, compare_ids);
    rc = c->m->env->io->list(c->m->env->io->ctx, c->m->dir, visit_file, c);
    if (rc < 0)
        return base_fail_errno(err, rc, "list %s", c->m->dir);
    return 0;
}

int index_manifest_check(struct index_manifest *m, bool repair,
                         void (*report)(void *arg, const char *file,
                                        const struct varve_error *what),
                         void *arg, struct varve_error *err)
{
    struct check c = {.m = m, .repair = repair && !m->read_only, .report = report, .arg = arg};

    base_buffer_init(&c.reached);
    base_mutex_lock(&m->change);
    int rc = check_locked(&c, err);
    base_mutex_unlock(&m->change);
    base_buffer_deinit(&c.reached);
    if (rc < 0)
        return base_error_context(err, rc, "manifest of %s: check", m->log_name);
    return 0;
}
