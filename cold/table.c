/*
 * Block tables of objects, decoded and kept: in memory those used last, else in the tables cache,
 * else by one GET of the table's part of the index frame.
 *
 * A table is listed while it is wanted again: in a hash slot and in a list by use. One that is
 * being loaded is listed too, so that whoever wants it waits instead of asking the store again.
 * It lives until it is neither listed nor referenced.
 */
#include <stdlib.h>

#include "base/error.h"
#include "cold/fetch_private.h"

static size_t table_bytes(const struct cold_table *t)
{
    return sizeof(*t) + t->entry.table_size;
}

static void table_free(struct cold_table *t)
{
    free(t->key);
    free(t->data);
    free(t);
}

static struct cold_table *table_find_locked(struct cold_fetch *f, const struct base_id *attempt)
{
    struct cold_table *t = f->tables[cold_fetch_slot(attempt, 0)];

    while (t && !base_id_equal(&t->entry.attempt, attempt))
        t = t->next;
    return t;
}

static void used_remove_locked(struct cold_fetch *f, struct cold_table *t)
{
    *(t->newer ? &t->newer->older : &f->newest) = t->older;
    *(t->older ? &t->older->newer : &f->oldest) = t->newer;
}

static void used_push_locked(struct cold_fetch *f, struct cold_table *t)
{
    t->newer = NULL;
    t->older = f->newest;
    *(t->older ? &t->older->newer : &f->oldest) = t;
    f->newest = t;
}

static void table_unlist_locked(struct cold_table *t)
{
    struct cold_fetch *f = t->fetch;
    struct cold_table **at = &f->tables[cold_fetch_slot(&t->entry.attempt, 0)];

    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    used_remove_locked(f, t);
    f->table_count--;
    f->table_bytes -= table_bytes(t);
    t->listed = false;
    if (t->refs == 0)
        table_free(t);
}

static void table_list_locked(struct cold_table *t)
{
    struct cold_fetch *f = t->fetch;
    struct cold_table **slot = &f->tables[cold_fetch_slot(&t->entry.attempt, 0)];

    t->next = *slot;
    *slot = t;
    used_push_locked(f, t);
    f->table_count++;
    f->table_bytes += table_bytes(t);
    t->listed = true;
    while (f->oldest != t &&
           (f->table_count > TABLES_COUNT_MAX || f->table_bytes > TABLES_BYTES_MAX) &&
           f->oldest->state == LOAD_READY)
        table_unlist_locked(f->oldest);
}

void cold_table_unref_locked(struct cold_table *t)
{
    if (--t->refs == 0 && !t->listed)
        table_free(t);
}

struct cold_table *cold_table_unref(struct cold_table *table)
{
    struct cold_fetch *f;

    if (!table)
        return NULL;
    f = table->fetch;
    base_mutex_lock(&f->lock);
    cold_table_unref_locked(table);
    base_mutex_unlock(&f->lock);
    return NULL;
}

struct cold_table *cold_table_ref(struct cold_table *table)
{
    base_mutex_lock(&table->fetch->lock);
    table->refs++;
    base_mutex_unlock(&table->fetch->lock);
    return table;
}

const struct cold_table_view *cold_table_view(const struct cold_table *table)
{
    return &table->view;
}

void cold_table_forget_all(struct cold_fetch *fetch)
{
    base_mutex_lock(&fetch->lock);
    while (fetch->oldest)
        table_unlist_locked(fetch->oldest);
    base_mutex_unlock(&fetch->lock);
}

/* A table that is to be loaded: with one reference, not listed yet. */
static int table_new(struct cold_fetch *f, const struct cold_source *source,
                     const struct index_entry *entry, struct cold_table **ret,
                     struct varve_error *err)
{
    struct cold_table *t;
    int rc;

    if (entry->flags & INDEX_ENTRY_ENCRYPTED)
        return base_fail(err, VARVE_E_UNSUPPORTED,
                         "segment %lld of %s is encrypted: this build cannot read it",
                         (long long)entry->base_offset, source->log_name);
    if (entry->table_size > TABLE_BYTES_MAX)
        return base_fail(err, VARVE_E_CORRUPT, "segment %lld of %s: a block table of %u bytes",
                         (long long)entry->base_offset, source->log_name, entry->table_size);
    t = calloc(1, sizeof(*t));
    if (!t)
        return base_fail(err, VARVE_E_NO_MEMORY, "read a block table: out of memory");
    rc = index_key_object(source->log_name, &source->log_id, entry, &t->key, err);
    if (rc < 0) {
        free(t);
        return rc;
    }
    t->fetch = f;
    t->entry = *entry;
    t->refs = 1;
    t->state = LOAD_WAITING;
    *ret = t;
    return 0;
}

/* Decodes t->data and compares it with what the manifest says. */
static int table_decode(struct cold_table *t, struct varve_error *err)
{
    const struct index_entry *e = &t->entry;
    int rc = cold_table_decode(t->data, e->table_size, &t->view, err);
    struct cold_block_info last;

    if (rc < 0)
        return base_error_context(err, rc, "object %s", t->key);
    cold_table_block(&t->view, t->view.block_count - 1, &last);
    if (t->view.info.base_offset != e->base_offset || t->view.info.end_offset != e->end_offset ||
        t->view.info.segment_size != e->segment_size ||
        !base_id_equal(&t->view.info.attempt, &e->attempt) ||
        last.pos + last.stored_size != e->index_pos)
        return base_fail(err, VARVE_E_CORRUPT, "object %s is not the one the manifest describes",
                         t->key);
    return 0;
}

static bool table_from_cache(struct cold_table *t)
{
    struct cold_fetch *f = t->fetch;
    struct cold_cache_key key = {.id = t->entry.attempt, .index = 0};
    size_t size = 0;

    if (!f->options.tables || !cold_cache_has(f->options.tables, &key))
        return false;
    if (cold_cache_get(f->options.tables, &key, t->data, t->entry.table_size, &size, NULL) == 0 &&
        size == t->entry.table_size && table_decode(t, NULL) == 0)
        return true;
    cold_cache_drop(f->options.tables, &key);
    base_mutex_lock(&f->lock);
    f->stats.repaired++;
    base_mutex_unlock(&f->lock);
    return false;
}

static int table_from_store(struct cold_table *t, struct varve_error *err)
{
    struct cold_fetch *f = t->fetch;
    struct cold_cache_key key = {.id = t->entry.attempt, .index = 0};
    int rc = cold_fetch_range(f, t->key, t->entry.index_pos, t->entry.table_size, t->data, err);

    if (rc < 0)
        return rc;
    rc = table_decode(t, err);
    if (rc < 0)
        return rc;
    if (f->options.tables)
        cold_cache_put(f->options.tables, &key, t->data, t->entry.table_size);
    return 0;
}

/* Loads a listed table and tells who waits for it. */
static int table_load(struct cold_table *t, struct varve_error *err)
{
    struct cold_fetch *f = t->fetch;
    struct varve_error local = {0};
    bool cached = false;
    int rc = 0;

    t->data = malloc(t->entry.table_size > 0 ? t->entry.table_size : 1);
    if (!t->data)
        rc = base_fail(&local, VARVE_E_NO_MEMORY, "object %s: block table: out of memory", t->key);
    else if (!(cached = table_from_cache(t)))
        rc = table_from_store(t, &local);
    base_mutex_lock(&f->lock);
    f->stats.table_hits += cached;
    f->stats.table_fetches += rc == 0 && !cached;
    t->state = rc == 0 ? LOAD_READY : LOAD_FAILED;
    t->error = local;
    if (rc < 0 && t->listed)
        table_unlist_locked(t);
    base_cond_broadcast(&f->changed);
    base_mutex_unlock(&f->lock);
    if (rc < 0 && err)
        *err = local;
    return rc;
}

/* A table in memory or on its way, with a reference; NULL: neither. */
static struct cold_table *table_listed_locked(struct cold_fetch *f, const struct base_id *attempt)
{
    struct cold_table *t = table_find_locked(f, attempt);

    if (!t)
        return NULL;
    t->refs++;
    used_remove_locked(f, t);
    used_push_locked(f, t);
    return t;
}

/* Waits for a table that another thread loads. False: that failed. */
static bool table_wait_locked(struct cold_table *t)
{
    while (t->state == LOAD_WAITING)
        base_cond_wait(&t->fetch->changed, &t->fetch->lock);
    return t->state == LOAD_READY;
}

int cold_fetch_table(struct cold_fetch *fetch, const struct cold_source *source,
                     const struct index_entry *entry, struct cold_table **ret,
                     struct varve_error *err)
{
    struct cold_table *fresh = NULL, *t;
    int rc;

    base_mutex_lock(&fetch->lock);
    while ((t = table_listed_locked(fetch, &entry->attempt))) {
        if (table_wait_locked(t)) {
            fetch->stats.table_hits++;
            break;
        }
        cold_table_unref_locked(t); /* somebody else's failure: try it ourselves */
    }
    if (!t && (rc = table_new(fetch, source, entry, &fresh, err)) < 0) {
        base_mutex_unlock(&fetch->lock);
        return rc;
    }
    if (fresh)
        table_list_locked(fresh);
    base_mutex_unlock(&fetch->lock);
    if (fresh) {
        rc = table_load(fresh, err);
        if (rc < 0) {
            cold_table_unref(fresh);
            return rc;
        }
        t = fresh;
    }
    *ret = t;
    return 0;
}

static void table_job_run(struct base_job *job)
{
    struct cold_table *t =
        (struct cold_table *)(void *)((char *)job - offsetof(struct cold_table, job));
    struct cold_fetch *f = t->fetch;

    (void)table_load(t, NULL); /* whoever needs it will ask again and hear why */
    base_mutex_lock(&f->lock);
    cold_table_unref_locked(t);
    f->jobs--;
    base_cond_broadcast(&f->changed);
    base_mutex_unlock(&f->lock);
}

struct cold_table *cold_table_ahead(struct cold_fetch *fetch, const struct cold_source *source,
                                    const struct index_entry *entry)
{
    struct cold_table *t;

    base_mutex_lock(&fetch->lock);
    t = table_listed_locked(fetch, &entry->attempt);
    if (t && t->state != LOAD_READY) {
        cold_table_unref_locked(t);
        base_mutex_unlock(&fetch->lock);
        return NULL;
    }
    if (t || !fetch->options.pool || table_new(fetch, source, entry, &t, NULL) < 0) {
        base_mutex_unlock(&fetch->lock);
        return t;
    }
    t->job = (struct base_job){.run = table_job_run, .priority = PRIORITY_TABLE};
    table_list_locked(t);
    fetch->jobs++;
    base_mutex_unlock(&fetch->lock);
    base_pool_submit(fetch->options.pool, &t->job);
    return NULL;
}

void cold_fetch_keep_table(struct cold_fetch *fetch, const struct base_id *attempt,
                           const void *table, size_t size)
{
    struct cold_cache_key key = {.id = *attempt, .index = 0};

    if (fetch->options.tables)
        cold_cache_put(fetch->options.tables, &key, table, size);
}
