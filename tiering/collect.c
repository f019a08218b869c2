/*
 * Orphans: objects, pages and unfinished multipart uploads that nothing refers to (I10).
 *
 * Age proves nothing. What does: the log is ours; the key's epoch is ours or lower; no root names
 * the attempt; it is not in the upload table; and no root write that might still name it is under
 * way. The order makes this safe while uploads and commits go on:
 *
 *   1. a root write of this life, if there was none: a write of an earlier life of this process
 *      whose reply was lost cannot land any more, its condition is void
 *   2. list; keep those that neither the root nor the table names now: candidates
 *   3. under root_lock (no commit can come between): look the candidates up in the table, read the
 *      bucket's root again, look them up in it
 *   4. delete
 *
 * An upload that begins after 2 was not listed. One that was under way in 2 is in the table until a
 * durable root names it, and the root read in 3 is as new.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tiering/state.h"

#define COLLECT_CANDIDATES_MAX 100000 /* of one collection; what is beyond is found by the next */

struct candidate {
    char *key;
    uint64_t size;
    struct index_key_parts parts;
    bool in_meta;
};

struct collection {
    struct tiering_log *t;
    struct tiering_collect *c;
    struct candidate *candidates;
    size_t count;
    size_t capacity;
    uint64_t listed_bytes;
    bool in_meta;          /* the store being listed is `meta`, and not `segments` too */
    struct base_id *pages; /* attempts of the pages the root names, ascending */
    size_t page_count;
    size_t page_capacity;
    struct base_id *below; /* attempts of the entries below the log start */
    size_t below_count;
    size_t below_capacity;
    struct index_root root;
};

static int id_compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct base_id));
}

static bool id_add(struct base_id **ids, size_t *count, size_t *capacity, const struct base_id *id)
{
    if (*count == *capacity) {
        size_t more = *capacity ? *capacity * 2 : 64;
        struct base_id *grown = realloc(*ids, more * sizeof(*grown));

        if (!grown)
            return false;
        *ids = grown;
        *capacity = more;
    }
    (*ids)[(*count)++] = *id;
    return true;
}

static int visit_page(void *arg, const struct index_ref *r, struct varve_error *err)
{
    struct collection *k = arg;

    if (!id_add(&k->pages, &k->page_count, &k->page_capacity, &r->attempt))
        return base_fail(err, VARVE_E_NO_MEMORY, "collect: out of memory");
    return 0;
}

static int visit_below(void *arg, const struct index_entry *e, struct varve_error *err)
{
    struct collection *k = arg;

    if (e->base_offset >= k->root.start_offset)
        return 1;
    if (!id_add(&k->below, &k->below_count, &k->below_capacity, &e->attempt))
        return base_fail(err, VARVE_E_NO_MEMORY, "collect: out of memory");
    return 0;
}

/* What the local root names now; entries from the log start on are looked up one by one. */
static int references_load(struct collection *k, struct varve_error *err)
{
    int rc = tiering_root_get(k->t, &k->root, err);

    k->page_count = k->below_count = 0;
    if (rc == 0)
        rc = index_manifest_each_ref(k->t->o.manifest, visit_page, k, err);
    if (rc == 0)
        rc = index_manifest_each(k->t->o.manifest, k->root.deleted_to, visit_below, k, err);
    if (rc < 0)
        return rc;
    if (k->page_count > 0)
        qsort(k->pages, k->page_count, sizeof(*k->pages), id_compare);
    if (k->below_count > 0)
        qsort(k->below, k->below_count, sizeof(*k->below), id_compare);
    return 0;
}

static bool id_in(const struct base_id *id, const struct base_id *ids, size_t count)
{
    return count > 0 && bsearch(id, ids, count, sizeof(*ids), id_compare) != NULL;
}

/* 1: the root names it, 0: it does not; or a failure. */
static int root_names(struct collection *k, const struct index_key_parts *parts,
                      struct varve_error *err)
{
    struct index_entry e;
    int rc;

    if (parts->page)
        return id_in(&parts->attempt, k->pages, k->page_count);
    if (id_in(&parts->attempt, k->below, k->below_count))
        return 1;
    if (parts->base_offset < k->root.start_offset || parts->base_offset >= k->root.end_offset)
        return 0;
    rc = index_manifest_find_offset(k->t->o.manifest, parts->base_offset, &e, err);
    if (rc == VARVE_E_OUT_OF_RANGE)
        return 1; /* trimmed since the references were loaded: the next collection decides */
    if (rc < 0)
        return rc;
    return base_id_equal(&e.attempt, &parts->attempt);
}

static bool table_names(struct tiering_log *t, const struct base_id *attempt)
{
    /* T6. The journal first: what it names leaves it only once the table has it. */
    bool found = t->journal && tiering_journal_names(t->journal, attempt);

    base_mutex_lock(&t->lock);
    for (const struct tiering_upload *u = t->uploads; u && !found; u = u->next)
        found = base_id_equal(&u->attempt, attempt);
    for (size_t i = 0; i < t->held_count && !found; i++)
        found = base_id_equal(&t->held[i], attempt);
    base_mutex_unlock(&t->lock);
    return found;
}

/* 1: it may be garbage, 0: it is not, or is not ours to judge; or a failure. */
static int judge(struct collection *k, const struct index_key_parts *parts, struct varve_error *err)
{
    int rc;

    if (parts->epoch > k->t->epoch || table_names(k->t, &parts->attempt)) /* I6 */
        return 0;
    rc = root_names(k, parts, err);
    return rc < 0 ? rc : !rc;
}

static int visit_listed(void *arg, const char *key, const struct cold_meta *meta)
{
    struct collection *k = arg;
    struct candidate found = {.size = meta->size, .in_meta = k->in_meta};
    int rc;

    k->listed_bytes += meta->size;
    if (!index_key_parse(key, &found.parts) || k->count == COLLECT_CANDIDATES_MAX)
        return 0; /* what does not look like ours is not touched */
    rc = judge(k, &found.parts, NULL);
    if (rc <= 0)
        return rc;
    if (k->count == k->capacity) {
        size_t capacity = k->capacity ? k->capacity * 2 : 64;
        struct candidate *grown = realloc(k->candidates, capacity * sizeof(*grown));

        if (!grown)
            return VARVE_E_NO_MEMORY;
        k->candidates = grown;
        k->capacity = capacity;
    }
    found.key = strdup(key);
    if (!found.key)
        return VARVE_E_NO_MEMORY;
    k->candidates[k->count++] = found;
    return 0;
}

static int candidates_list(struct collection *k, const char *prefix, struct varve_error *err)
{
    struct tiering_log *t = k->t;
    int rc;

    if (err)
        err->code = 0;
    rc = cold_store_list_all(t->o.segments, prefix, visit_listed, k, err);
    if (rc == 0 && t->o.meta != t->o.segments) {
        k->in_meta = true;
        rc = cold_store_list_all(t->o.meta, prefix, visit_listed, k, err);
    }
    if (rc < 0 && err && err->code == 0)
        base_fail_retriable(err, rc, "collect: the list could not be judged (%s)",
                            varve_error_name(rc));
    return rc;
}

/* Judges the candidates again, by the root that is in the bucket now. */
static int candidates_confirm(struct collection *k, struct varve_error *err)
{
    size_t kept = 0;
    int rc;

    tiering_root_doubt(k->t); /* read it again: only the holder of the epoch collects (I6, I10) */
    rc = tiering_root_confirm(k->t, err);
    if (rc == 0)
        rc = references_load(k, err);
    for (size_t i = 0; i < k->count && rc >= 0; i++) {
        rc = judge(k, &k->candidates[i].parts, err);
        if (rc < 0)
            return rc;
        if (rc == 0) {
            free(k->candidates[i].key);
            k->candidates[i].key = NULL;
        }
    }
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < k->count; i++)
        if (k->candidates[i].key)
            k->candidates[kept++] = k->candidates[i];
    k->count = kept;
    return 0;
}

static int share_check(struct collection *k, struct varve_error *err)
{
    struct tiering_collect *c = k->c;

    for (size_t i = 0; i < k->count; i++) {
        c->orphans++;
        c->orphan_bytes += k->candidates[i].size;
        if (c->found)
            c->found(c->found_ctx, k->candidates[i].key, k->candidates[i].size);
    }
    if (!c->force && !c->dry_run &&
        (double)c->orphan_bytes > c->share_max * (double)k->listed_bytes)
        return base_fail(err, VARVE_E_INVALID,
                         "%u objects with %llu of the log's %llu stored bytes are not referred to; "
                         "so many are deleted only when told to",
                         c->orphans, (unsigned long long)c->orphan_bytes,
                         (unsigned long long)k->listed_bytes);
    return 0;
}

static int orphans_delete(struct collection *k, bool in_meta, struct varve_error *err)
{
    struct tiering_doomed *d = calloc(1, sizeof(*d));
    int rc = 0;

    if (!d)
        return base_fail(err, VARVE_E_NO_MEMORY, "collect: out of memory");
    d->store = in_meta ? k->t->o.meta : k->t->o.segments;
    for (size_t i = 0; i < k->count && rc == 0; i++) {
        if (k->candidates[i].in_meta != in_meta)
            continue;
        rc = tiering_doomed_add(d, k->candidates[i].key, err);
        k->candidates[i].key = NULL;
    }
    if (rc == 0)
        rc = tiering_doomed_flush(d, err);
    base_mutex_lock(&k->t->lock);
    k->t->status.orphans_deleted += d->deleted;
    base_mutex_unlock(&k->t->lock);
    tiering_doomed_deinit(d);
    free(d);
    return rc;
}

/* Unfinished multipart uploads: they are in no root, so the table alone decides. Those that the
 * journal lost, or another process began; where the store does not list them (MinIO) the bucket's
 * lifecycle rule does the rest. */
struct stale_upload {
    char *key;
    struct cold_upload upload;
};

struct stale_list {
    struct tiering_log *t;
    struct stale_upload *uploads;
    size_t count;
    size_t capacity;
};

static int visit_upload(void *arg, const char *key, const struct cold_upload *upload,
                        int64_t started)
{
    struct stale_list *l = arg;
    struct index_key_parts parts;

    (void)started;
    if (!index_key_parse(key, &parts) || parts.epoch > l->t->epoch ||
        table_names(l->t, &parts.attempt) || l->count == COLLECT_CANDIDATES_MAX)
        return 0;
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 16;
        struct stale_upload *grown = realloc(l->uploads, capacity * sizeof(*grown));

        if (!grown)
            return VARVE_E_NO_MEMORY;
        l->uploads = grown;
        l->capacity = capacity;
    }
    l->uploads[l->count].key = strdup(key);
    if (!l->uploads[l->count].key)
        return VARVE_E_NO_MEMORY;
    l->uploads[l->count++].upload = *upload;
    return 0;
}

/* T6: what the journal has left over is over with now. Before the listing, so that an object which
 * such an upload has become can be found. */
static int left_abort(struct collection *k, struct varve_error *err)
{
    struct tiering_log *t = k->t;
    unsigned count = 0;
    int rc = 0;

    if (!t->journal)
        return 0;
    if (k->c->dry_run)
        count = tiering_journal_left(t->journal);
    else
        rc = tiering_upload_abort_left(t, NULL, NULL, &count, err);
    k->c->uploads += count;
    return rc;
}

static int uploads_abort(struct collection *k, const char *prefix, struct varve_error *err)
{
    struct stale_list l = {.t = k->t};
    int rc = cold_store_upload_list(k->t->o.segments, prefix, visit_upload, &l, err);

    if (rc == VARVE_E_UNSUPPORTED)
        rc = 0;
    for (size_t i = 0; i < l.count; i++) {
        k->c->uploads++;
        if (rc == 0 && !k->c->dry_run)
            rc = cold_store_upload_abort(k->t->o.segments, l.uploads[i].key, &l.uploads[i].upload,
                                         err);
        if (rc == VARVE_E_NOT_FOUND)
            rc = 0;
        free(l.uploads[i].key);
    }
    free(l.uploads);
    return rc;
}

/* A root write without a change: makes those of earlier lives void. */
static int life_begin(struct tiering_log *t, struct varve_error *err)
{
    struct index_edit *edit = NULL;
    int rc;

    base_mutex_lock(&t->root_lock);
    rc = tiering_root_confirm(t, err);
    if (rc == 0 && !t->root_written) {
        rc = index_edit_new(t->o.manifest, &edit, err);
        if (rc == 0)
            rc = tiering_root_write(t, edit, err);
        index_edit_free(edit);
    }
    base_mutex_unlock(&t->root_lock);
    return rc;
}

static int collect_all(struct collection *k, const char *prefix, struct varve_error *err)
{
    struct tiering_log *t = k->t;
    int rc = k->c->dry_run ? 0 : life_begin(t, err);

    if (rc == 0)
        rc = left_abort(k, err);
    if (rc == 0)
        rc = references_load(k, err);
    if (rc == 0)
        rc = candidates_list(k, prefix, err);
    if (rc < 0)
        return rc;
    base_mutex_lock(&t->root_lock);
    rc = candidates_confirm(k, err);
    if (rc == 0)
        rc = share_check(k, err);
    if (rc == 0 && !k->c->dry_run) {
        rc = orphans_delete(k, false, err);
        if (rc == 0 && t->o.meta != t->o.segments)
            rc = orphans_delete(k, true, err);
    }
    base_mutex_unlock(&t->root_lock);
    if (rc == 0)
        rc = uploads_abort(k, prefix, err);
    return rc;
}

int tiering_log_collect(struct tiering_log *t, struct tiering_collect *c, struct varve_error *err)
{
    struct collection k = {.t = t, .c = c};
    char *prefix;
    int rc = tiering_check_fenced(t, err);

    c->orphans = c->uploads = 0;
    c->orphan_bytes = 0;
    if (rc == 0)
        rc = index_key_prefix(t->log_name, &t->log_id, &prefix, err);
    if (rc < 0)
        return rc;
    rc = collect_all(&k, prefix, err);
    for (size_t i = 0; i < k.count; i++)
        free(k.candidates[i].key);
    free(k.candidates);
    free(k.pages);
    free(k.below);
    free(prefix);
    if (rc < 0)
        return base_error_context(err, rc, "collect orphans of log %s", t->log_name);
    return 0;
}
