/*
 * A hash table of pages with a clock for eviction.
 *
 * A look-up takes the lock twice, each time for a few instructions. A page in PAGE_LOADING is in
 * the table with its loader's pin; whoever else wants it waits on `loaded`. A failed load leaves
 * the table at once, and those who waited try themselves: each gets its own error.
 */
#include "index/pagemap.h"

#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/text.h"

#define BUCKETS_MIN 64
#define BUCKETS_MAX (2 * INDEX_PAGES_MAPPED_MAX)

int index_pagemap_init(struct index_pagemap *m, const struct base_env *env, const char *dir,
                       const struct index_loader *loader, bool read_only, struct varve_error *err)
{
    *m = (struct index_pagemap){.env = env,
                                .dir = dir,
                                .loader = loader,
                                .read_only = read_only,
                                .bucket_count = BUCKETS_MIN};
    m->buckets = calloc(m->bucket_count, sizeof(struct index_pagemap_page *));
    if (m->buckets == NULL)
        return base_fail(err, VARVE_E_NO_MEMORY, "page map: out of memory");
    base_mutex_init(&m->lock);
    base_cond_init(&m->loaded);
    return 0;
}

static void page_free(struct index_pagemap *m, struct index_pagemap_page *page)
{
    index_mapping_close(m->env->io, &page->mapping);
    free(page);
}

static struct index_pagemap_page **bucket_of(const struct index_pagemap *m, const uint8_t *ref)
{
    /* The attempt id is random already. */
    return &m->buckets[base_get_le64(ref + 72) & (m->bucket_count - 1)];
}

static struct index_pagemap_page *find_locked(struct index_pagemap *m, const uint8_t *ref)
{
    struct index_pagemap_page *p = *bucket_of(m, ref);

    while (p != NULL && memcmp(p->ref, ref, INDEX_REF_SIZE) != 0)
        p = p->next;
    return p;
}

/* More buckets when there are more pages; stays as it is without memory. */
static void grow_locked(struct index_pagemap *m)
{
    size_t old_count = m->bucket_count;
    struct index_pagemap_page **old = m->buckets;

    if (m->page_count < old_count || old_count >= BUCKETS_MAX)
        return;
    struct index_pagemap_page **buckets = calloc(2 * old_count, sizeof(*buckets));
    if (buckets == NULL)
        return;
    m->buckets = buckets;
    m->bucket_count = 2 * old_count;
    for (size_t i = 0; i < old_count; i++) {
        for (struct index_pagemap_page *p = old[i], *next; p != NULL; p = next) {
            struct index_pagemap_page **b = bucket_of(m, p->ref);
            next = p->next;
            p->next = *b;
            *b = p;
        }
    }
    free(old);
}

static void attach_locked(struct index_pagemap *m, struct index_pagemap_page *p)
{
    grow_locked(m);
    struct index_pagemap_page **b = bucket_of(m, p->ref);
    p->next = *b;
    *b = p;
    if (m->hand == NULL) {
        p->newer = p->older = p;
        m->hand = p;
    } else { /* behind the hand: looked at last */
        p->newer = m->hand;
        p->older = m->hand->older;
        p->older->newer = p;
        m->hand->older = p;
    }
    m->page_count++;
}

static void detach_locked(struct index_pagemap *m, struct index_pagemap_page *p)
{
    struct index_pagemap_page **b = bucket_of(m, p->ref);

    while (*b != p)
        b = &(*b)->next;
    *b = p->next;
    if (p->newer == p) {
        m->hand = NULL;
    } else {
        p->newer->older = p->older;
        p->older->newer = p->newer;
        if (m->hand == p)
            m->hand = p->newer;
    }
    p->detached = true;
    m->page_count--;
    if (p->state == PAGE_READY && p->mapping.heap)
        m->heap_count--;
}

/* Second chance: pages in use or used since the last round stay. Two rounds find one or none. */
static void evict_locked(struct index_pagemap *m)
{
    for (size_t left = 2 * m->page_count; left > 0 && m->hand != NULL; left--) {
        bool heap_only = m->page_count <= INDEX_PAGES_MAPPED_MAX;
        struct index_pagemap_page *p = m->hand;
        if (heap_only && m->heap_count <= INDEX_PAGES_HEAP_MAX)
            return;
        m->hand = p->newer;
        if (p->pins > 0 || (heap_only && !p->mapping.heap))
            continue;
        if (p->used) {
            p->used = false;
            continue;
        }
        detach_locked(m, p);
        page_free(m, p);
    }
}

static void put_locked(struct index_pagemap *m, struct index_pagemap_page *page)
{
    assert(page->pins > 0);
    if (--page->pins == 0 && page->detached)
        page_free(m, page);
}

void index_pagemap_put(struct index_pagemap *m, struct index_pagemap_page *page)
{
    base_mutex_lock(&m->lock);
    put_locked(m, page);
    base_mutex_unlock(&m->lock);
}

void index_pagemap_deinit(struct index_pagemap *m)
{
    if (m->buckets == NULL)
        return;
    while (m->hand != NULL) {
        struct index_pagemap_page *p = m->hand;
        assert(p->pins == 0);
        detach_locked(m, p);
        page_free(m, p);
    }
    base_cond_deinit(&m->loaded);
    base_mutex_deinit(&m->lock);
    free(m->buckets);
    m->buckets = NULL;
}

void index_pagemap_forget(struct index_pagemap *m, const uint8_t ref[INDEX_REF_SIZE])
{
    base_mutex_lock(&m->lock);
    struct index_pagemap_page *p = find_locked(m, ref);
    if (p != NULL && p->state == PAGE_READY) {
        p->pins++;
        detach_locked(m, p);
        put_locked(m, p);
    }
    base_mutex_unlock(&m->lock);
}

/* The page's bytes from the local copy, checked. */
static int load_local(struct index_pagemap *m, const char *path, const struct index_ref *ref,
                      const struct base_id *log_id, struct index_pagemap_page *page,
                      struct varve_error *err)
{
    int rc = index_mapping_open(m->env->io, path, INDEX_PAGE_SIZE_MAX, &page->mapping, NULL, err);
    if (rc < 0)
        return rc;
    rc = index_page_decode(page->mapping.data, page->mapping.size, ref, log_id, &page->page, err);
    if (rc < 0)
        index_mapping_close(m->env->io, &page->mapping);
    return rc;
}

/* The page's bytes from the bucket, checked, and kept in the local copy when that can be. */
static int load_remote(struct index_pagemap *m, const char *path, const struct index_ref *ref,
                       const struct base_id *log_id, struct index_pagemap_page *page,
                       struct varve_error *err)
{
    struct index_mapping got = {.heap = true};
    struct varve_error local;

    int rc = m->loader->load_page(m->loader->ctx, ref, &got.data, &got.size, err);
    if (rc < 0)
        return rc;
    rc = index_page_decode(got.data, got.size, ref, log_id, &page->page, err);
    if (rc < 0) {
        free(got.data);
        return base_error_context(err, rc, "fetched");
    }
    if (!m->read_only) {
        rc = base_file_replace(m->env->io, path, got.data, got.size, false, &local);
        if (rc == 0)
            rc = load_local(m, path, ref, log_id, page, &local);
        if (rc == 0) {
            free(got.data);
            return 0;
        }
        base_log(&m->env->logger, BASE_LOG_WARNING, "a manifest page stays in memory: %s",
                 local.msg);
        index_page_decode(got.data, got.size, ref, log_id, &page->page, NULL);
    }
    page->mapping = got;
    return 0;
}

static int load(struct index_pagemap *m, const struct base_id *log_id,
                struct index_pagemap_page *page, struct varve_error *err)
{
    struct index_ref ref;
    char name[INDEX_PAGE_NAME_SIZE];
    char *path;
    struct varve_error local = {0};

    index_ref_decode(page->ref, &ref);
    index_page_name(&ref, name);
    int rc = base_format(&path, err, "%s/%s", m->dir, name);
    if (rc < 0)
        return rc;
    rc = load_local(m, path, &ref, log_id, page, &local);
    if (rc == VARVE_E_NOT_FOUND && m->loader == NULL) {
        rc = base_fail_retriable(err, VARVE_E_STORE, "%s is not in the local copy", name); /* I8 */
    } else if (rc < 0 && m->loader != NULL && rc != VARVE_E_NO_MEMORY && rc != VARVE_E_VERSION) {
        if (rc != VARVE_E_NOT_FOUND)
            base_log(&m->env->logger, BASE_LOG_WARNING, "manifest page is fetched again: %s",
                     local.msg);
        rc = load_remote(m, path, &ref, log_id, page, err);
    } else if (rc < 0 && err != NULL) {
        *err = local;
    }
    free(path);
    return rc;
}

/* Loads a page that is not in the table; the lock is held on entry and on return, not between. */
static int load_unlocking(struct index_pagemap *m, const uint8_t *ref, const struct base_id *log_id,
                          struct index_pagemap_page **ret, struct varve_error *err)
{
    struct index_pagemap_page *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return base_fail(err, VARVE_E_NO_MEMORY, "page map: out of memory");
    memcpy(p->ref, ref, INDEX_REF_SIZE);
    p->pins = 1;
    p->used = true;
    p->state = PAGE_LOADING;
    attach_locked(m, p);

    base_mutex_unlock(&m->lock);
    int rc = load(m, log_id, p, err);
    base_mutex_lock(&m->lock);

    if (rc < 0) {
        detach_locked(m, p);
        p->state = PAGE_FAILED;
        put_locked(m, p);
    } else {
        p->state = PAGE_READY;
        if (p->mapping.heap)
            m->heap_count++;
        evict_locked(m);
        *ret = p;
    }
    base_cond_broadcast(&m->loaded);
    return rc;
}

int index_pagemap_get(struct index_pagemap *m, const uint8_t ref[INDEX_REF_SIZE],
                      const struct base_id *log_id, struct index_pagemap_page **ret,
                      struct varve_error *err)
{
    struct index_pagemap_page *p;
    int rc = 0;

    base_mutex_lock(&m->lock);
    while ((p = find_locked(m, ref)) != NULL && p->state == PAGE_LOADING) {
        p->pins++;
        while (p->state == PAGE_LOADING)
            base_cond_wait(&m->loaded, &m->lock);
        put_locked(m, p);
    }
    if (p == NULL) {
        rc = load_unlocking(m, ref, log_id, &p, err);
    } else {
        p->pins++;
        p->used = true;
    }
    base_mutex_unlock(&m->lock);
    if (rc == 0)
        *ret = p;
    return rc;
}
