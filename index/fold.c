/*
 * Folding: the end of an edit.
 *
 *   - While there are more than INDEX_ROOT_ENTRIES_MAX inline entries, the oldest
 *     INDEX_PAGE_ENTRIES become a page of level 0, whose reference goes behind the others.
 *   - From level 0 upward: while there are INDEX_PAGE_REFS references of a level, the oldest that
 *     many become a page one level up. References of one level stand together, higher levels to
 *     the left, so offsets keep ascending.
 *
 * INVARIANTS
 *   F1 There are fewer than INDEX_PAGE_REFS references of each level, and INDEX_LEVELS_MAX levels,
 *      so the root is bounded (R3); adding a segment costs one copy of it, whatever the log's size.
 *   F2 Every page handed out is named by the new root or by a page that is.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/error.h"
#include "index/edit_private.h"

void index_edit_set_fold(struct index_edit *edit, const struct index_fold *fold)
{
    assert(fold->page_entries >= 1 && fold->page_entries <= fold->root_entries + 1 &&
           fold->root_entries <= INDEX_ROOT_ENTRIES_MAX);
    assert(fold->page_refs >= 2 && fold->page_refs <= INDEX_PAGE_REFS);
    edit->fold = *fold;
}

int index_edit_page_add(struct index_edit *e, const struct base_random *random, uint32_t level,
                        const uint8_t *items, size_t count, uint8_t ret_ref[INDEX_REF_SIZE],
                        struct varve_error *err)
{
    struct index_edit_page page = {.ref = {.epoch = e->root.epoch, .attempt = base_id_new(random)}};
    void *data;

    if (e->page_count == e->page_capacity) {
        size_t capacity = e->page_capacity == 0 ? 8 : 2 * e->page_capacity;
        struct index_edit_page *pages = realloc(e->pages, capacity * sizeof(*pages));
        if (pages == NULL)
            return base_fail(err, VARVE_E_NO_MEMORY, "manifest edit: out of memory");
        e->pages = pages;
        e->page_capacity = capacity;
    }
    int rc =
        index_page_encode(&e->root.log_id, level, items, count, &page.ref, &data, &page.size, err);
    if (rc < 0)
        return rc;
    page.data = data;
    e->pages[e->page_count++] = page;
    index_ref_encode(&page.ref, ret_ref);
    return 0;
}

static int fold_entries(struct index_edit *e, const struct base_random *random,
                        struct varve_error *err)
{
    size_t done = 0;
    int rc = 0;

    while (rc == 0 && index_edit_entry_count(e) - done > e->fold.root_entries) {
        uint8_t raw[INDEX_REF_SIZE];
        rc = index_edit_page_add(e, random, 0, e->entries.data + done * INDEX_ENTRY_SIZE,
                                 e->fold.page_entries, raw, err);
        if (rc < 0)
            break;
        base_buffer_add(&e->refs, raw, INDEX_REF_SIZE);
        if (e->refs.failed)
            rc = base_fail(err, VARVE_E_NO_MEMORY, "manifest edit: out of memory");
        else
            done += e->fold.page_entries;
    }
    index_edit_buffer_drop(&e->entries, done * INDEX_ENTRY_SIZE);
    return rc;
}

/* The references of `level`: the first one's place, and how many. */
static size_t level_run(const struct index_edit *e, uint32_t level, size_t *ret_count)
{
    size_t first = 0, end;

    while (first < index_edit_ref_count(e) &&
           base_get_le32(e->refs.data + first * INDEX_REF_SIZE + 48) > level)
        first++;
    end = first;
    while (end < index_edit_ref_count(e) &&
           base_get_le32(e->refs.data + end * INDEX_REF_SIZE + 48) == level)
        end++;
    *ret_count = end - first;
    return first;
}

static int fold_refs(struct index_edit *e, const struct base_random *random,
                     struct varve_error *err)
{
    for (uint32_t level = 0; level + 1 < INDEX_LEVELS_MAX; level++) {
        size_t count, first = level_run(e, level, &count);
        while (count >= e->fold.page_refs) {
            uint8_t *run = e->refs.data + first * INDEX_REF_SIZE;
            uint8_t raw[INDEX_REF_SIZE];
            int rc = index_edit_page_add(e, random, level + 1, run, e->fold.page_refs, raw, err);
            if (rc < 0)
                return rc;
            memcpy(run, raw, INDEX_REF_SIZE);
            size_t gone = (e->fold.page_refs - 1) * INDEX_REF_SIZE;
            uint8_t *rest = run + INDEX_REF_SIZE;
            memmove(rest, rest + gone, (size_t)(e->refs.data + e->refs.size - rest) - gone);
            e->refs.size -= gone;
            first++;
            count -= e->fold.page_refs;
        }
    }
    return 0;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, BASE_ID_SIZE);
}

static void collect_ids(struct base_buffer *ids, const uint8_t *refs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        base_buffer_add(ids, refs + i * INDEX_REF_SIZE + 72, BASE_ID_SIZE);
}

/* F2: a new page can only be named by the root or by another new page, one level up. */
static int drop_unnamed(struct index_edit *e, struct varve_error *err)
{
    struct base_buffer ids;
    int rc = 0;

    base_buffer_init(&ids);
    collect_ids(&ids, e->refs.data, index_edit_ref_count(e));
    for (uint32_t level = INDEX_LEVELS_MAX; rc == 0 && level-- > 0;) {
        size_t id_count = ids.size / BASE_ID_SIZE, kept = 0;
        if (id_count > 0)
            qsort(ids.data, id_count, BASE_ID_SIZE, compare_ids);
        for (size_t i = 0; i < e->page_count; i++) {
            struct index_edit_page page = e->pages[i];
            struct index_page view;
            if (page.ref.level == level &&
                (id_count == 0 || bsearch(page.ref.attempt.bytes, ids.data, id_count, BASE_ID_SIZE,
                                          compare_ids) == NULL)) {
                free((void *)(uintptr_t)page.data);
                continue;
            }
            e->pages[kept++] = page;
            if (rc == 0 && page.ref.level == level && level > 0) {
                rc =
                    index_page_decode(page.data, page.size, &page.ref, &e->root.log_id, &view, err);
                if (rc == 0)
                    collect_ids(&ids, view.items, view.count);
            }
        }
        e->page_count = kept;
        if (rc == 0 && ids.failed)
            rc = base_fail(err, VARVE_E_NO_MEMORY, "manifest edit: out of memory");
    }
    base_buffer_deinit(&ids);
    return rc;
}

int index_edit_finish(struct index_edit *edit, const struct base_random *random,
                      const void **ret_root, size_t *ret_root_size,
                      const struct index_edit_page **ret_pages, size_t *ret_page_count,
                      struct varve_error *err)
{
    struct index_root root = edit->root;
    void *encoded;
    size_t size;

    int rc = fold_entries(edit, random, err);
    if (rc == 0)
        rc = fold_refs(edit, random, err);
    if (rc == 0)
        rc = drop_unnamed(edit, err);
    if (rc < 0)
        return rc;
    edit->random = random;
    root.write_id = base_id_new(random);
    root.generation++;
    const struct index_root_parts parts = {
        .root = &root,
        .epochs = edit->epochs,
        .epoch_count = edit->epoch_count,
        .cuts = edit->cuts,
        .cut_count = edit->cut_count,
        .refs = edit->refs.data,
        .ref_count = index_edit_ref_count(edit),
        .entries = edit->entries.data,
        .entry_count = index_edit_entry_count(edit),
    };
    rc = index_root_encode(&parts, &encoded, &size, err);
    if (rc < 0)
        return rc;
    free(edit->encoded);
    edit->encoded = encoded;
    *ret_root = encoded;
    *ret_root_size = size;
    *ret_pages = edit->pages;
    *ret_page_count = edit->page_count;
    return 0;
}
