/*
 * The local copy of a manifest: opening, installing, following.
 *
 * Its life: opened over a directory; a root is installed (made here, or fetched from the bucket) or
 * found there; look-ups pin it; another one replaces it, and the old one is unmapped with its last
 * pin. The root file is replaced by rename, so that readers, also of other processes, see the old
 * bytes or the new ones.
 *
 * INVARIANTS
 *   M1 Pages are written before the root that names them.
 *   M2 A root is used only after its checksum and every range in it were checked.
 *   M3 With the same log id the generation never goes down.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/text.h"
#include "index/edit.h"
#include "index/manifest_private.h"

static void pin_free(struct index_root_pin *pin)
{
    if (pin == NULL)
        return;
    index_mapping_close(pin->manifest->env->io, &pin->mapping);
    free(pin);
}

/* A root from bytes, which it owns from now on: on failure they are given back. */
static int pin_new(struct index_manifest *m, struct index_mapping *mapping,
                   struct index_root_pin **ret, struct varve_error *err)
{
    struct index_root_pin *pin = calloc(1, sizeof(*pin));
    int rc;

    if (pin == NULL) {
        rc = base_fail(err, VARVE_E_NO_MEMORY, "manifest root: out of memory");
    } else {
        *pin = (struct index_root_pin){.manifest = m, .mapping = *mapping, .pins = 1};
        rc = index_root_decode(mapping->data, mapping->size, &pin->root, err); /* M2 */
        if (rc == 0 && (pin->root.log_name_size != strlen(m->log_name) ||
                        memcmp(pin->root.log_name, m->log_name, pin->root.log_name_size) != 0))
            rc = base_fail(err, VARVE_E_CORRUPT, "root: of another log, '%.*s'",
                           (int)pin->root.log_name_size, pin->root.log_name);
    }
    if (rc < 0) {
        index_mapping_close(m->env->io, mapping);
        free(pin);
        return rc;
    }
    *ret = pin;
    return 0;
}

int index_manifest_map_root(struct index_manifest *m, struct index_root_pin **ret,
                            struct index_file_id *ret_id, struct varve_error *err)
{
    struct index_mapping mapping;
    struct index_file_id id;

    int rc = index_mapping_open(m->env->io, m->root_path, INDEX_ROOT_SIZE_MAX, &mapping, &id, err);
    if (rc < 0)
        return rc;
    rc = pin_new(m, &mapping, ret, err);
    if (rc < 0)
        return base_error_context(err, rc, "%s", m->root_path);
    *ret_id = id;
    return 0;
}

void index_manifest_swap(struct index_manifest *m, struct index_root_pin *pin)
{
    base_mutex_lock(&m->lock);
    struct index_root_pin *old = m->current;
    bool last = old != NULL && --old->pins == 0;
    m->current = pin;
    base_mutex_unlock(&m->lock);
    if (last)
        pin_free(old);
}

int index_manifest_open(const struct base_env *env, const char *dir, const char *log_name,
                        const struct index_manifest_options *options, struct index_manifest **ret,
                        struct varve_error *err)
{
    static const struct index_manifest_options defaults = {0};
    struct varve_error local = {0};

    if (options == NULL)
        options = &defaults;
    struct index_manifest *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return base_fail(err, VARVE_E_NO_MEMORY, "manifest of %s: out of memory", log_name);
    m->env = env;
    m->read_only = options->read_only;
    m->ignore_damaged = options->ignore_damaged;
    base_mutex_init(&m->change);
    base_mutex_init(&m->lock);

    int rc = base_format(&m->dir, err, "%s", dir);
    if (rc == 0)
        rc = base_format(&m->root_path, err, "%s/root", dir);
    if (rc == 0)
        rc = base_format(&m->log_name, err, "%s", log_name);
    if (rc == 0)
        rc = index_pagemap_init(&m->pages, env, m->dir, options->loader, m->read_only, err);
    if (rc == 0) {
        rc = index_manifest_map_root(m, &m->current, &m->root_file, &local);
        if (rc == VARVE_E_NOT_FOUND) {
            rc = 0;
        } else if (rc == VARVE_E_CORRUPT && options->ignore_damaged) {
            base_log(&env->logger, BASE_LOG_WARNING, "manifest of %s: ignored: %s", log_name,
                     local.msg);
            rc = 0;
        } else if (rc < 0) {
            if (err != NULL)
                *err = local;
            base_error_context(err, rc, "manifest of %s", log_name);
        }
    }
    if (rc < 0) {
        index_manifest_close(m);
        return rc;
    }
    *ret = m;
    return 0;
}

struct index_manifest *index_manifest_close(struct index_manifest *m)
{
    if (m == NULL)
        return NULL;
    assert(m->current == NULL || m->current->pins == 1);
    pin_free(m->current);
    index_pagemap_deinit(&m->pages);
    base_mutex_deinit(&m->lock);
    base_mutex_deinit(&m->change);
    free(m->log_name);
    free(m->root_path);
    free(m->dir);
    free(m);
    return NULL;
}

bool index_manifest_loaded(struct index_manifest *m)
{
    base_mutex_lock(&m->lock);
    bool loaded = m->current != NULL;
    base_mutex_unlock(&m->lock);
    return loaded;
}

static struct index_root_pin *pin_current(struct index_manifest *m)
{
    base_mutex_lock(&m->lock);
    struct index_root_pin *pin = m->current;
    if (pin != NULL)
        pin->pins++;
    base_mutex_unlock(&m->lock);
    return pin;
}

int index_manifest_pin(struct index_manifest *m, struct index_root_pin **ret,
                       const struct index_root **ret_root, struct varve_error *err)
{
    struct index_root_pin *pin = pin_current(m);

    if (pin == NULL)
        return base_fail(err, VARVE_E_NOT_FOUND, "manifest of %s: no root is loaded", m->log_name);
    *ret = pin;
    *ret_root = &pin->root;
    return 0;
}

int index_manifest_pin_loaded(struct index_manifest *m, struct index_root_pin **ret,
                              struct varve_error *err)
{
    struct index_root_pin *pin = pin_current(m);

    if (pin == NULL)
        return base_fail_retriable(err, VARVE_E_STORE, "manifest of %s: no root is loaded",
                                   m->log_name);
    *ret = pin;
    return 0;
}

struct index_root_pin *index_manifest_unpin(struct index_root_pin *pin)
{
    if (pin == NULL)
        return NULL;
    struct index_manifest *m = pin->manifest;
    base_mutex_lock(&m->lock);
    assert(pin->pins > 0);
    bool last = --pin->pins == 0;
    base_mutex_unlock(&m->lock);
    if (last)
        pin_free(pin);
    return NULL;
}

struct sweep {
    struct index_manifest *m;
    int64_t deleted_to; /* pages that end at or below go */
};

static int sweep_visit(void *arg, const char *name, bool is_dir)
{
    struct sweep *s = arg;
    struct index_key_parts parts;
    char *path;

    if (is_dir || !index_key_parse(name, &parts) || !parts.page || parts.end_offset > s->deleted_to)
        return 0;
    if (base_format(&path, NULL, "%s/%s", s->m->dir, name) < 0)
        return 0;
    s->m->env->io->unlink(s->m->env->io->ctx, path);
    free(path);
    return 0;
}

/* Removes local pages that no root needs any more. They are a cache: what cannot be removed stays.
 */
static void sweep_pages(struct index_manifest *m, int64_t deleted_to)
{
    struct sweep s = {m, deleted_to};

    m->env->io->list(m->env->io->ctx, m->dir, sweep_visit, &s);
}

static int install_check(const struct index_root *old, const struct index_root *root,
                         struct varve_error *err)
{
    if (base_id_equal(&old->log_id, &root->log_id) && root->generation < old->generation) /* M3 */
        return base_fail(err, VARVE_E_PRECONDITION,
                         "root of generation %" PRIu64 ", the local one is of %" PRIu64,
                         root->generation, old->generation);
    return 0;
}

/* Writes pages and root into the local copy, and maps the root. */
static int install_files(struct index_manifest *m, const void *root, size_t root_size,
                         const struct index_edit_page *pages, size_t page_count, bool durable,
                         struct index_root_pin **ret, struct varve_error *err)
{
    for (size_t i = 0; i < page_count; i++) { /* M1 */
        char name[INDEX_PAGE_NAME_SIZE];
        char *path;
        index_page_name(&pages[i].ref, name);
        int rc = base_format(&path, err, "%s/%s", m->dir, name);
        if (rc < 0)
            return rc;
        rc = base_file_replace(m->env->io, path, pages[i].data, pages[i].size, durable, err);
        free(path);
        if (rc < 0)
            return rc;
    }
    int rc = base_file_replace(m->env->io, m->root_path, root, root_size, durable, err);
    if (rc < 0)
        return rc;
    return index_manifest_map_root(m, ret, &m->root_file, err);
}

static int install_locked(struct index_manifest *m, const void *root, size_t root_size,
                          const struct index_edit_page *pages, size_t page_count, bool durable,
                          struct varve_error *err)
{
    struct index_mapping copy = {
        .data = malloc(root_size > 0 ? root_size : 1), .size = root_size, .heap = true};
    struct index_root_pin *pin = NULL, *old;
    bool other_log = false;
    int64_t deleted_to = 0;

    if (copy.data == NULL)
        return base_fail(err, VARVE_E_NO_MEMORY, "root of %zu bytes: out of memory", root_size);
    memcpy(copy.data, root, root_size);
    int rc = pin_new(m, &copy, &pin, err);
    if (rc < 0)
        return rc;
    old = pin_current(m);
    if (old != NULL) {
        rc = install_check(&old->root, &pin->root, err);
        other_log = !base_id_equal(&old->root.log_id, &pin->root.log_id);
        deleted_to = old->root.deleted_to;
        index_manifest_unpin(old);
    }
    if (rc == 0 && !m->read_only) {
        struct index_root_pin *mapped;
        if (other_log)
            sweep_pages(m, INT64_MAX);
        rc = install_files(m, root, root_size, pages, page_count, durable, &mapped, err);
        if (rc == 0) {
            pin_free(pin);
            pin = mapped;
            if (!other_log && old != NULL && pin->root.deleted_to > deleted_to)
                sweep_pages(m, pin->root.deleted_to);
        }
    }
    if (rc < 0) {
        pin_free(pin);
        return rc;
    }
    index_manifest_swap(m, pin);
    return 0;
}

int index_manifest_install(struct index_manifest *m, const void *root, size_t root_size,
                           const struct index_edit_page *pages, size_t page_count, bool durable,
                           struct varve_error *err)
{
    base_mutex_lock(&m->change);
    int rc = install_locked(m, root, root_size, pages, page_count, durable, err);
    base_mutex_unlock(&m->change);
    if (rc < 0)
        return base_error_context(err, rc, "manifest of %s: install", m->log_name);
    return 0;
}

static int refresh_locked(struct index_manifest *m, bool *ret_changed, struct varve_error *err)
{
    struct stat st;
    struct index_file_id id;
    struct index_root_pin *pin, *old;

    int rc = m->env->io->stat(m->env->io->ctx, m->root_path, &st);
    if (rc == -ENOENT)
        return 0; /* the cache was thrown away; what is mapped stays good */
    if (rc < 0)
        return base_fail_errno(err, rc, "stat %s", m->root_path);
    id = index_file_id_of(&st);
    if (index_file_id_equal(&id, &m->root_file))
        return 0;
    rc = index_manifest_map_root(m, &pin, &m->root_file, err);
    if (rc == VARVE_E_CORRUPT && m->ignore_damaged && m->current != NULL) {
        /* The root in use came from the bucket, or from the file before it was damaged; a writer
         * replaces the file with its next root. */
        m->root_file = id;
        return 0;
    }
    if (rc < 0)
        return rc;

    old = pin_current(m);
    bool newer = old == NULL || !base_id_equal(&old->root.log_id, &pin->root.log_id) ||
                 pin->root.generation > old->root.generation ||
                 (pin->root.generation == old->root.generation &&
                  !base_id_equal(&old->root.write_id, &pin->root.write_id));
    index_manifest_unpin(old);
    if (!newer) { /* M3 */
        pin_free(pin);
        return 0;
    }
    index_manifest_swap(m, pin);
    *ret_changed = true;
    return 0;
}

int index_manifest_refresh(struct index_manifest *m, bool *ret_changed, struct varve_error *err)
{
    bool changed = false;

    base_mutex_lock(&m->change);
    int rc = refresh_locked(m, &changed, err);
    base_mutex_unlock(&m->change);
    if (rc < 0)
        return base_error_context(err, rc, "manifest of %s: refresh", m->log_name);
    *ret_changed = changed;
    return 0;
}
