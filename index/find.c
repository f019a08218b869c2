/*
 * Look-ups and walks over root and pages.
 *
 * Root and pages are the same thing here: a run of items, each an entry or the reference of a page
 * with more items. A look-up goes down one page a level and holds one page at a time; references
 * are copied out before their page is put. Levels fall by one with each step (page_check_ref), so
 * that the depth is bounded.
 */
#include <inttypes.h>

#include "base/error.h"
#include "index/manifest_private.h"

static int fail_hole(int64_t offset, struct varve_error *err)
{
    return base_fail(err, VARVE_E_CORRUPT, "manifest: no entry holds offset %" PRId64, offset);
}

/* The entry that holds `offset` below the reference `ref`, which is overwritten on the way down. */
static int find_below(struct index_manifest *m, const struct base_id *log_id,
                      uint8_t ref[INDEX_REF_SIZE], int64_t offset, struct index_entry *ret,
                      struct varve_error *err)
{
    for (;;) {
        struct index_pagemap_page *page;
        int rc = index_pagemap_get(&m->pages, ref, log_id, &page, err);
        if (rc < 0)
            return rc;

        struct index_items items = index_items_of_page(&page->page);
        size_t i = index_items_after(&items, offset);
        const uint8_t *item = index_items_at(&items, i);
        bool leaf = page->page.level == 0;
        bool found = i < items.count && index_item_base(item) <= offset;
        if (found && leaf)
            index_entry_decode(item, ret);
        else if (found)
            memcpy(ref, item, INDEX_REF_SIZE);
        index_pagemap_put(&m->pages, page);
        if (!found)
            return fail_hole(offset, err);
        if (leaf)
            return 0;
    }
}

static int find_offset(struct index_manifest *m, const struct index_root *r, int64_t offset,
                       struct index_entry *ret, struct varve_error *err)
{
    struct index_items refs = index_items_root_refs(r), entries = index_items_root_entries(r);
    uint8_t ref[INDEX_REF_SIZE];
    size_t i;

    if (offset < r->start_offset || offset >= r->end_offset)
        return base_fail(err, VARVE_E_OUT_OF_RANGE,
                         "offset %" PRId64 " is outside [%" PRId64 ", %" PRId64 ")", offset,
                         r->start_offset, r->end_offset);
    i = index_items_after(&refs, offset);
    if (i < refs.count) {
        memcpy(ref, index_items_at(&refs, i), INDEX_REF_SIZE);
        if (index_item_base(ref) > offset)
            return fail_hole(offset, err);
        return find_below(m, &r->log_id, ref, offset, ret, err);
    }
    i = index_items_after(&entries, offset);
    if (i == entries.count || index_item_base(index_items_at(&entries, i)) > offset)
        return fail_hole(offset, err);
    index_entry_decode(index_items_at(&entries, i), ret);
    return 0;
}

int index_manifest_find_offset(struct index_manifest *m, int64_t offset, struct index_entry *ret,
                               struct varve_error *err)
{
    struct index_root_pin *pin;
    struct index_entry entry;

    int rc = index_manifest_pin_loaded(m, &pin, err);
    if (rc < 0)
        return rc;
    rc = find_offset(m, &pin->root, offset, &entry, err);
    index_manifest_unpin(pin);
    if (rc < 0)
        return rc;
    *ret = entry;
    return 0;
}

/*
 * The first entry of `items`, or below them, that index_manifest_find_time looks for. NOT_FOUND is
 * returned bare. Only the first page that is visited can disappoint: its maximum may be that of
 * an entry at or below min_offset.
 */
static int find_time(struct index_manifest *m, const struct base_id *log_id,
                     const struct index_items *items, int64_t timestamp, int64_t min_offset,
                     struct index_entry *ret, struct varve_error *err)
{
    for (;;) {
        size_t i = index_items_find_time(items, timestamp, min_offset);
        if (i == items->count)
            return VARVE_E_NOT_FOUND;
        const uint8_t *item = index_items_at(items, i);
        if (items->item_size == INDEX_ENTRY_SIZE) {
            index_entry_decode(item, ret);
            return 0;
        }

        struct index_pagemap_page *page;
        int rc = index_pagemap_get(&m->pages, item, log_id, &page, err);
        if (rc < 0)
            return rc;
        struct index_items below = index_items_of_page(&page->page);
        rc = find_time(m, log_id, &below, timestamp, min_offset, ret, err);
        index_pagemap_put(&m->pages, page);
        if (rc != VARVE_E_NOT_FOUND)
            return rc;
        min_offset = index_item_end(item);
    }
}

int index_manifest_find_time(struct index_manifest *m, int64_t timestamp, int64_t min_offset,
                             struct index_entry *ret, struct varve_error *err)
{
    struct index_root_pin *pin;
    struct index_entry entry;

    int rc = index_manifest_pin_loaded(m, &pin, err);
    if (rc < 0)
        return rc;
    struct index_items refs = index_items_root_refs(&pin->root);
    rc = find_time(m, &pin->root.log_id, &refs, timestamp, min_offset, &entry, err);
    if (rc == VARVE_E_NOT_FOUND) {
        struct index_items entries = index_items_root_entries(&pin->root);
        rc = find_time(m, &pin->root.log_id, &entries, timestamp, min_offset, &entry, err);
        if (rc == VARVE_E_NOT_FOUND)
            rc = base_fail(err, rc, "no segment above offset %" PRId64 " reaches time %" PRId64,
                           min_offset, timestamp);
    }
    index_manifest_unpin(pin);
    if (rc < 0)
        return rc;
    *ret = entry;
    return 0;
}

struct walk {
    struct index_manifest *m;
    const struct base_id *log_id;
    int64_t from_offset;
    int (*visit_entry)(void *arg, const struct index_entry *e, struct varve_error *err);
    int (*visit_ref)(void *arg, const struct index_ref *r, struct varve_error *err);
    void *arg;
};

/* In offset order; a reference before what is below it. */
static int walk_items(const struct walk *w, const struct index_items *items,
                      struct varve_error *err)
{
    int rc = 0;

    for (size_t i = index_items_after(items, w->from_offset); i < items->count && rc == 0; i++) {
        const uint8_t *item = index_items_at(items, i);
        struct index_pagemap_page *page;
        struct index_entry entry;
        struct index_ref ref;
        if (items->item_size == INDEX_ENTRY_SIZE) {
            if (w->visit_entry != NULL) {
                index_entry_decode(item, &entry);
                rc = w->visit_entry(w->arg, &entry, err);
            }
            continue;
        }
        index_ref_decode(item, &ref);
        if (w->visit_ref != NULL)
            rc = w->visit_ref(w->arg, &ref, err);
        if (rc != 0 || (w->visit_entry == NULL && ref.level == 0))
            continue;
        rc = index_pagemap_get(&w->m->pages, item, w->log_id, &page, err);
        if (rc < 0)
            return rc;
        struct index_items below = index_items_of_page(&page->page);
        rc = walk_items(w, &below, err);
        index_pagemap_put(&w->m->pages, page);
    }
    return rc;
}

static int walk_root(struct walk *w, struct varve_error *err)
{
    struct index_root_pin *pin;

    int rc = index_manifest_pin_loaded(w->m, &pin, err);
    if (rc < 0)
        return rc;
    struct index_items refs = index_items_root_refs(&pin->root);
    struct index_items entries = index_items_root_entries(&pin->root);
    w->log_id = &pin->root.log_id;
    rc = walk_items(w, &refs, err);
    if (rc == 0)
        rc = walk_items(w, &entries, err);
    index_manifest_unpin(pin);
    return rc;
}

int index_manifest_each(struct index_manifest *m, int64_t from_offset,
                        int (*visit)(void *arg, const struct index_entry *e,
                                     struct varve_error *err),
                        void *arg, struct varve_error *err)
{
    struct walk w = {.m = m, .from_offset = from_offset, .visit_entry = visit, .arg = arg};

    return walk_root(&w, err);
}

int index_manifest_each_ref(struct index_manifest *m,
                            int (*visit)(void *arg, const struct index_ref *r,
                                         struct varve_error *err),
                            void *arg, struct varve_error *err)
{
    struct walk w = {.m = m, .from_offset = -1, .visit_ref = visit, .arg = arg};

    return walk_root(&w, err);
}
