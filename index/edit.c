/*
 * New roots from old ones.
 *
 * An edit copies the old root's arrays, changes the copies, and encodes. It never walks pages: only
 * `replace` and `deleted_to` load those on the path to what they change, and make new ones in their
 * place (P1). Folding, at the end, is in fold.c.
 *
 * INVARIANTS
 *   D1 Entries follow each other without a hole above the start (I1), their chain hashes as well.
 *   D2 The start and deleted_to never move down.
 */
#include "index/edit.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/text.h"
#include "index/edit_private.h"

static struct index_edit *edit_alloc(void)
{
    struct index_edit *e = calloc(1, sizeof(*e));

    if (e == NULL)
        return NULL;
    base_buffer_init(&e->refs);
    base_buffer_init(&e->entries);
    e->fold = (struct index_fold){INDEX_ROOT_ENTRIES_MAX, INDEX_PAGE_ENTRIES, INDEX_PAGE_REFS};
    return e;
}

struct index_edit *index_edit_free(struct index_edit *edit)
{
    if (edit == NULL)
        return NULL;
    for (size_t i = 0; i < edit->page_count; i++)
        free((void *)(uintptr_t)edit->pages[i].data);
    free(edit->pages);
    free(edit->encoded);
    free(edit->config);
    free(edit->log_name);
    base_buffer_deinit(&edit->refs);
    base_buffer_deinit(&edit->entries);
    index_manifest_unpin(edit->pin);
    free(edit);
    return NULL;
}

int index_edit_new(struct index_manifest *manifest, struct index_edit **ret,
                   struct varve_error *err)
{
    const struct index_root *r;
    struct index_edit *e = edit_alloc();

    if (e == NULL)
        return base_fail(err, VARVE_E_NO_MEMORY, "manifest edit: out of memory");
    int rc = index_manifest_pin(manifest, &e->pin, &r, err);
    if (rc < 0) {
        index_edit_free(e);
        return rc;
    }
    e->manifest = manifest;
    e->random = manifest->env->random;
    if (manifest->env->fold != NULL)
        index_edit_set_fold(e, manifest->env->fold);
    e->root = *r;
    e->epoch_count = r->epoch_count;
    for (size_t i = 0; i < r->epoch_count; i++)
        index_root_epoch(r, i, &e->epochs[i]);
    e->cut_count = r->cut_count;
    for (size_t i = 0; i < r->cut_count; i++)
        index_root_cut(r, i, &e->cuts[i]);
    base_buffer_add(&e->refs, r->refs, r->ref_count * INDEX_REF_SIZE);
    base_buffer_add(&e->entries, r->entries, r->entry_count * INDEX_ENTRY_SIZE);
    if (e->refs.failed || e->entries.failed) {
        index_edit_free(e);
        return base_fail(err, VARVE_E_NO_MEMORY, "manifest edit: out of memory");
    }
    *ret = e;
    return 0;
}

int index_edit_new_log(const char *log_name, const struct base_id *log_id,
                       const struct base_id *owner, int64_t start_offset, int64_t created,
                       struct index_edit **ret, struct varve_error *err)
{
    int rc = index_log_name_check(log_name, strlen(log_name), err);

    if (rc < 0)
        return rc;
    if (start_offset < 0)
        return base_fail(err, VARVE_E_INVALID, "log start offset %" PRId64 " is negative",
                         start_offset);
    struct index_edit *e = edit_alloc();
    if (e == NULL)
        return base_fail(err, VARVE_E_NO_MEMORY, "manifest edit: out of memory");
    rc = base_format(&e->log_name, err, "%s", log_name);
    if (rc < 0) {
        index_edit_free(e);
        return rc;
    }
    e->root = (struct index_root){
        .log_id = *log_id,
        .owner = *owner,
        .created = created,
        .log_name = e->log_name,
        .log_name_size = strlen(e->log_name),
        .start_offset = start_offset,
        .end_offset = start_offset,
        .deleted_to = start_offset,
    };
    e->epochs[0] = (struct index_epoch){0, start_offset};
    e->epoch_count = 1;
    *ret = e;
    return 0;
}

size_t index_edit_entry_count(const struct index_edit *e)
{
    return e->entries.size / INDEX_ENTRY_SIZE;
}

size_t index_edit_ref_count(const struct index_edit *e)
{
    return e->refs.size / INDEX_REF_SIZE;
}

/* The newest item, entry or reference; NULL when there is none. */
static const uint8_t *last_item(const struct index_edit *e)
{
    if (e->entries.size > 0)
        return e->entries.data + e->entries.size - INDEX_ENTRY_SIZE;
    if (e->refs.size > 0)
        return e->refs.data + e->refs.size - INDEX_REF_SIZE;
    return NULL;
}

/* D1: where the next entry may begin. */
static int add_check_offsets(const struct index_edit *edit, const struct index_entry *entry,
                             struct varve_error *err)
{
    const struct index_root *r = &edit->root;
    const uint8_t *last = last_item(edit);
    bool empty = r->start_offset == r->end_offset;

    if (entry->base_offset == r->end_offset)
        return 0;
    if (empty && last == NULL && entry->base_offset > r->end_offset)
        return 0; /* the start moves with it */
    if (empty && entry->base_offset < r->end_offset && entry->end_offset > r->end_offset &&
        (last == NULL || entry->base_offset >= index_item_end(last)))
        return 0; /* a trim went beyond the uploaded end, into this segment */
    return base_fail(err, VARVE_E_INVALID,
                     "segment [%" PRId64 ", %" PRId64 ") does not continue a log that ends at "
                     "offset %" PRId64,
                     entry->base_offset, entry->end_offset, r->end_offset);
}

int index_edit_add(struct index_edit *edit, const struct index_entry *entry,
                   struct varve_error *err)
{
    struct index_root *r = &edit->root;
    uint8_t chain[BASE_SHA256_SIZE];

    if (r->tombstone)
        return base_fail(err, VARVE_E_NOT_FOUND, "the log was deleted");
    int rc = index_entry_check(entry, err);
    if (rc == 0)
        rc = add_check_offsets(edit, entry, err);
    if (rc < 0)
        return rc;
    if (entry->epoch > r->epoch)
        return base_fail(err, VARVE_E_INVALID,
                         "segment %020" PRId64 " is of epoch %" PRIu32 ", the log of %" PRIu32,
                         entry->base_offset, entry->epoch, r->epoch);
    rc = index_chain_hash(r->chain_hash, entry->segment_sha256, entry->base_offset,
                          entry->end_offset, chain);
    if (rc < 0)
        return base_fail(err, rc, "chain hash: out of memory");
    if (memcmp(chain, entry->chain_hash, BASE_SHA256_SIZE) != 0)
        return base_fail(err, VARVE_E_INVALID,
                         "segment %020" PRId64 ": its chain hash does not continue the log's",
                         entry->base_offset);

    uint8_t *p = base_buffer_extend(&edit->entries, INDEX_ENTRY_SIZE);
    if (p == NULL)
        return base_fail(err, VARVE_E_NO_MEMORY, "manifest edit: out of memory");
    index_entry_encode(entry, p);
    if (entry->base_offset > r->end_offset)
        r->start_offset = r->deleted_to = entry->base_offset;
    r->end_offset = entry->end_offset;
    memcpy(r->chain_hash, entry->chain_hash, BASE_SHA256_SIZE);
    return 0;
}

/* Pages that the edit made, by attempt id. */
static size_t new_page_find(const struct index_edit *e, const struct base_id *attempt)
{
    size_t i = 0;

    while (i < e->page_count && !base_id_equal(&e->pages[i].ref.attempt, attempt))
        i++;
    return i;
}

/* Copies the items of a page, of this edit or of the manifest, into `ret`, from the first that ends
 * above `offset`. *ret_dropped are those before. */
static int page_items_copy(struct index_edit *e, const uint8_t *raw, int64_t offset,
                           struct base_buffer *ret, size_t *ret_dropped, struct varve_error *err)
{
    struct index_pagemap_page *mapped = NULL;
    struct index_page page;
    struct index_ref ref;
    int rc;

    index_ref_decode(raw, &ref);
    size_t i = new_page_find(e, &ref.attempt);
    if (i < e->page_count) {
        rc = index_page_decode(e->pages[i].data, e->pages[i].size, &ref, &e->root.log_id, &page,
                               err);
    } else {
        assert(e->manifest != NULL);
        rc = index_pagemap_get(&e->manifest->pages, raw, &e->root.log_id, &mapped, err);
        if (rc == 0)
            page = mapped->page;
    }
    if (rc < 0)
        return rc;
    struct index_items items = index_items_of_page(&page);
    *ret_dropped = index_items_after(&items, offset);
    base_buffer_add(ret, index_items_at(&items, *ret_dropped),
                    (items.count - *ret_dropped) * items.item_size);
    if (mapped != NULL)
        index_pagemap_put(&e->manifest->pages, mapped);
    if (ret->failed)
        return base_fail(err, VARVE_E_NO_MEMORY, "manifest edit: out of memory");
    return 0;
}

/* Makes a page of `items` in place of the one that `raw` names, and `raw` the new one's. */
static int page_rewrite(struct index_edit *e, const struct base_buffer *items, uint8_t *raw,
                        struct varve_error *err)
{
    struct index_ref ref;
    uint8_t made[INDEX_REF_SIZE];

    index_ref_decode(raw, &ref);
    size_t item_size = ref.level == 0 ? INDEX_ENTRY_SIZE : INDEX_REF_SIZE;
    int rc = index_edit_page_add(e, e->random, ref.level, items->data, items->size / item_size,
                                 made, err);
    if (rc < 0)
        return rc;
    memcpy(raw, made, INDEX_REF_SIZE);
    return 0;
}

static int replace_in(struct index_edit *e, uint8_t *items, size_t count, size_t item_size,
                      const struct index_entry *entry, struct varve_error *err);

static int replace_below(struct index_edit *e, uint8_t *raw, const struct index_entry *entry,
                         struct varve_error *err)
{
    struct base_buffer items;
    struct index_ref ref;
    size_t dropped;

    index_ref_decode(raw, &ref);
    base_buffer_init(&items);
    size_t item_size = ref.level == 0 ? INDEX_ENTRY_SIZE : INDEX_REF_SIZE;
    int rc = page_items_copy(e, raw, INT64_MIN, &items, &dropped, err);
    if (rc == 0)
        rc = replace_in(e, items.data, items.size / item_size, item_size, entry, err);
    if (rc == 0)
        rc = page_rewrite(e, &items, raw, err);
    base_buffer_deinit(&items);
    return rc;
}

static int replace_entry(uint8_t *raw, const struct index_entry *entry, struct varve_error *err)
{
    struct index_entry old;

    index_entry_decode(raw, &old);
    if (old.end_offset != entry->end_offset || old.base_offset != entry->base_offset)
        return base_fail(err, VARVE_E_NOT_FOUND,
                         "no segment [%" PRId64 ", %" PRId64 ") in the manifest",
                         entry->base_offset, entry->end_offset);
    if (memcmp(old.chain_hash, entry->chain_hash, BASE_SHA256_SIZE) != 0 ||
        memcmp(old.segment_sha256, entry->segment_sha256, BASE_SHA256_SIZE) != 0)
        return base_fail(err, VARVE_E_INVALID,
                         "segment %020" PRId64 ": the new object holds other bytes",
                         entry->base_offset);
    index_entry_encode(entry, raw);
    return 0;
}

/* Finds by the end offset: no two items share it. */
static int replace_in(struct index_edit *e, uint8_t *items, size_t count, size_t item_size,
                      const struct index_entry *entry, struct varve_error *err)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t *item = items + i * item_size;
        if (index_item_end(item) < entry->end_offset)
            continue;
        if (index_item_base(item) > entry->base_offset)
            break;
        if (item_size == INDEX_ENTRY_SIZE)
            return replace_entry(item, entry, err);
        return replace_below(e, item, entry, err);
    }
    return base_fail(err, VARVE_E_NOT_FOUND,
                     "no segment [%" PRId64 ", %" PRId64 ") in the manifest", entry->base_offset,
                     entry->end_offset);
}

int index_edit_replace(struct index_edit *edit, const struct index_entry *entry,
                       struct varve_error *err)
{
    const uint8_t *last_ref =
        edit->refs.size > 0 ? edit->refs.data + edit->refs.size - INDEX_REF_SIZE : NULL;

    int rc = index_entry_check(entry, err);
    if (rc < 0)
        return rc;
    if (last_ref != NULL && entry->end_offset <= index_item_end(last_ref))
        return replace_in(edit, edit->refs.data, index_edit_ref_count(edit), INDEX_REF_SIZE, entry,
                          err);
    return replace_in(edit, edit->entries.data, index_edit_entry_count(edit), INDEX_ENTRY_SIZE,
                      entry, err);
}

int index_edit_trim(struct index_edit *edit, int64_t start_offset, int64_t now_ms,
                    struct varve_error *err)
{
    struct index_root *r = &edit->root;

    (void)err;
    if (start_offset <= r->start_offset) /* D2 */
        return 0;
    r->start_offset = start_offset;
    if (r->end_offset < start_offset)
        r->end_offset = start_offset; /* I1 */
    if (last_item(edit) == NULL) {
        /* There is nothing to delete. */
        r->deleted_to = start_offset;
        edit->cut_count = 0;
        return 0;
    }
    if (edit->cut_count == INDEX_ROOT_CUTS_MAX)
        edit->cut_count--; /* the newest grows: what it covers waits the longer */
    edit->cuts[edit->cut_count++] = (struct index_cut){start_offset, now_ms};
    return 0;
}

/* Drops what ends at or below `offset` from a page; *raw is unchanged when that is nothing. */
static int cut_below(struct index_edit *e, uint8_t *raw, int64_t offset, struct varve_error *err)
{
    struct base_buffer items;
    struct index_ref ref;
    size_t dropped = 0;

    index_ref_decode(raw, &ref);
    base_buffer_init(&items);
    int rc = page_items_copy(e, raw, offset, &items, &dropped, err);
    bool changed = dropped > 0;
    if (rc == 0 && ref.level > 0 && index_item_base(items.data) < offset) {
        uint8_t before[INDEX_REF_SIZE];
        memcpy(before, items.data, INDEX_REF_SIZE);
        rc = cut_below(e, items.data, offset, err);
        changed = changed || memcmp(before, items.data, INDEX_REF_SIZE) != 0;
    }
    if (rc == 0 && changed)
        rc = page_rewrite(e, &items, raw, err);
    base_buffer_deinit(&items);
    return rc;
}

void index_edit_buffer_drop(struct base_buffer *b, size_t size)
{
    if (size == 0)
        return;
    memmove(b->data, b->data + size, b->size - size);
    b->size -= size;
}

int index_edit_deleted_to(struct index_edit *edit, int64_t offset, struct varve_error *err)
{
    struct index_root *r = &edit->root;
    size_t refs = 0, entries = 0, cuts = 0;

    if (offset > r->start_offset)
        return base_fail(err, VARVE_E_INVALID,
                         "objects up to offset %" PRId64
                         " cannot be deleted: the log starts at %" PRId64,
                         offset, r->start_offset);
    if (offset <= r->deleted_to) /* D2 */
        return 0;
    while (refs < index_edit_ref_count(edit) &&
           index_item_end(edit->refs.data + refs * INDEX_REF_SIZE) <= offset)
        refs++;
    if (refs < index_edit_ref_count(edit)) {
        uint8_t *first = edit->refs.data + refs * INDEX_REF_SIZE;
        int rc = index_item_base(first) < offset ? cut_below(edit, first, offset, err) : 0;
        if (rc < 0)
            return rc;
    }
    while (entries < index_edit_entry_count(edit) &&
           index_item_end(edit->entries.data + entries * INDEX_ENTRY_SIZE) <= offset)
        entries++;
    while (cuts < edit->cut_count && edit->cuts[cuts].offset <= offset)
        cuts++;
    index_edit_buffer_drop(&edit->refs, refs * INDEX_REF_SIZE);
    index_edit_buffer_drop(&edit->entries, entries * INDEX_ENTRY_SIZE);
    edit->cut_count -= cuts;
    memmove(edit->cuts, edit->cuts + cuts, edit->cut_count * sizeof(edit->cuts[0]));
    r->deleted_to = offset;
    return 0;
}

int index_edit_config(struct index_edit *edit, const char *text, size_t size,
                      struct varve_error *err)
{
    if (size > INDEX_ROOT_CONFIG_MAX)
        return base_fail(err, VARVE_E_TOO_LARGE, "configuration of %zu bytes: at most %d", size,
                         INDEX_ROOT_CONFIG_MAX);
    char *copy = malloc(size + 1);
    if (copy == NULL)
        return base_fail(err, VARVE_E_NO_MEMORY, "configuration: out of memory");
    if (size > 0)
        memcpy(copy, text, size);
    copy[size] = '\0';
    free(edit->config);
    edit->config = copy;
    edit->root.config = copy;
    edit->root.config_size = size;
    return 0;
}

int index_edit_take_over(struct index_edit *edit, const struct base_id *owner,
                         struct varve_error *err)
{
    struct index_root *r = &edit->root;

    if (r->epoch == UINT32_MAX)
        return base_fail(err, VARVE_E_TOO_LARGE, "epoch %" PRIu32 " is the last", r->epoch);
    if (edit->epoch_count == INDEX_ROOT_EPOCHS_MAX) {
        /* The two oldest become one, of the later epoch and from the earlier start: whoever owned
         * only the earlier finds a foreign epoch from there on, and keeps nothing it should not
         * (I13). */
        edit->epochs[1].start_offset = edit->epochs[0].start_offset;
        edit->epoch_count--;
        memmove(edit->epochs, edit->epochs + 1, edit->epoch_count * sizeof(edit->epochs[0]));
    }
    r->epoch++;
    r->owner = *owner;
    edit->epochs[edit->epoch_count++] = (struct index_epoch){r->epoch, r->end_offset};
    return 0;
}

void index_edit_overtake(struct index_edit *edit)
{
    edit->root.generation++;
}

int index_edit_tombstone(struct index_edit *edit, struct varve_error *err)
{
    (void)err;
    edit->root.tombstone = true;
    return 0;
}
