/*
 * Repairing the cold copy of a segment from its hot one: a new object under a new attempt id, then
 * a root that names it in the place of the old. The old object is an orphan from then on.
 */
#include <string.h>

#include "base/error.h"
#include "tiering/state.h"

/* The entry that begins at an offset, and the chain hash of the one in front of it. */
struct neighbours {
    int64_t base_offset;
    bool found;
    bool has_before;
    struct index_entry entry;
    uint8_t before[BASE_SHA256_SIZE];
};

static int visit_neighbours(void *arg, const struct index_entry *e, struct varve_error *err)
{
    struct neighbours *n = arg;

    (void)err;
    if (e->base_offset < n->base_offset) {
        n->has_before = true;
        memcpy(n->before, e->chain_hash, BASE_SHA256_SIZE);
        return 0;
    }
    n->found = e->base_offset == n->base_offset;
    n->entry = *e;
    return 1;
}

static bool chain_holds(const uint8_t previous[BASE_SHA256_SIZE], const struct index_entry *e)
{
    uint8_t chain[BASE_SHA256_SIZE];

    return index_chain_hash(previous, e->segment_sha256, e->base_offset, e->end_offset, chain) ==
               0 &&
           memcmp(chain, e->chain_hash, BASE_SHA256_SIZE) == 0;
}

/* The chain hash in front of an entry: from its neighbour, none for the first of all, or from the
 * object itself when its table can still be read. */
static int previous_find(struct tiering_log *t, const struct neighbours *n,
                         uint8_t ret[BASE_SHA256_SIZE], struct varve_error *err)
{
    struct cold_source source = {.log_name = t->log_name, .log_id = t->log_id};
    struct cold_table *table;
    bool holds = false;

    memset(ret, 0, BASE_SHA256_SIZE);
    if (n->has_before)
        memcpy(ret, n->before, BASE_SHA256_SIZE);
    if (chain_holds(ret, &n->entry))
        return 0;
    if (cold_fetch_table(t->o.fetch, &source, &n->entry, &table, NULL) == 0) {
        memcpy(ret, cold_table_view(table)->info.previous_chain_hash, BASE_SHA256_SIZE);
        holds = chain_holds(ret, &n->entry);
        cold_table_unref(table);
    }
    if (!holds)
        return base_fail(err, VARVE_E_CORRUPT, "the chain hash in front of it is not known");
    return 0;
}

static int entry_find(struct tiering_log *t, int64_t base_offset, struct neighbours *ret,
                      struct varve_error *err)
{
    struct index_root root;
    int rc = tiering_root_get(t, &root, err);

    if (rc < 0)
        return rc;
    *ret = (struct neighbours){.base_offset = base_offset};
    /* From the one before it, if there is one. */
    rc = index_manifest_each(t->o.manifest, base_offset > 0 ? base_offset - 1 : 0, visit_neighbours,
                             ret, err);
    if (rc < 0)
        return rc;
    if (!ret->found)
        return base_fail(err, VARVE_E_NOT_FOUND, "the root names no segment that begins there");
    return 0;
}

static int change_entry(struct index_edit *edit, const void *entry, struct varve_error *err)
{
    return index_edit_replace(edit, entry, err);
}

static int replace_locked(struct tiering_log *t, int64_t base_offset, struct varve_error *err)
{
    uint8_t previous[BASE_SHA256_SIZE];
    struct index_entry entry = {0};
    struct hot_segment *segment;
    struct hot_segment_info info;
    struct neighbours n;
    int rc = entry_find(t, base_offset, &n, err);

    if (rc == 0)
        rc = previous_find(t, &n, previous, err);
    if (rc == 0)
        rc = hot_segment_find(t->hot, base_offset, true, &segment, err);
    if (rc == VARVE_E_OUT_OF_RANGE)
        rc = base_fail(err, VARVE_E_NOT_FOUND, "it is not in the hot tier any more");
    if (rc < 0)
        return rc;
    rc = hot_segment_info(segment, &info, err);
    if (rc == 0 && (!info.sealed || info.base_offset != n.entry.base_offset ||
                    info.end_offset != n.entry.end_offset))
        rc = base_fail(err, VARVE_E_NOT_FOUND, "no sealed hot segment holds just these offsets");
    if (rc == 0)
        rc = tiering_upload_one(t, segment, previous, &entry, err);
    hot_segment_unref(segment);
    if (rc == 0)
        rc = tiering_root_change(t, change_entry, &entry, err);
    return rc;
}

int tiering_log_replace(struct tiering_log *t, int64_t base_offset, struct varve_error *err)
{
    int rc = tiering_check_fenced(t, err);

    if (rc < 0)
        return rc;
    base_mutex_lock(&t->step_lock);
    rc = replace_locked(t, base_offset, err);
    base_mutex_unlock(&t->step_lock);
    if (rc < 0)
        return base_error_context(err, rc, "replace the object of segment %lld of log %s",
                                  (long long)base_offset, t->log_name);
    return 0;
}
