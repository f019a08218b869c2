/* Runs of entries or references with group tables: search, checks, sums. */
#include "index/items.h"

#include <inttypes.h>

#include "base/error.h"

#define CACHE_LINE 64

struct index_items index_items_of_page(const struct index_page *page)
{
    return (struct index_items){
        .data = page->items,
        .groups = page->groups,
        .count = page->count,
        .item_size = page->level == 0 ? INDEX_ENTRY_SIZE : INDEX_REF_SIZE,
    };
}

struct index_items index_items_root_refs(const struct index_root *r)
{
    return (struct index_items){r->refs, r->ref_groups, r->ref_count, INDEX_REF_SIZE};
}

struct index_items index_items_root_entries(const struct index_root *r)
{
    return (struct index_items){r->entries, r->groups, r->entry_count, INDEX_ENTRY_SIZE};
}

static int64_t group_base(const struct index_items *t, size_t g)
{
    return (int64_t)base_get_le64(t->groups + g * INDEX_GROUP_SIZE);
}

static int64_t group_max_timestamp(const struct index_items *t, size_t g)
{
    return (int64_t)base_get_le64(t->groups + g * INDEX_GROUP_SIZE + 8);
}

/*
 * A page of a large log is seldom in the processor's cache. A binary search waits for memory at
 * each step; asked for beforehand, the lines arrive side by side, which takes a third off a
 * look-up.
 */
static void prefetch(const uint8_t *p, size_t count, size_t stride)
{
    for (size_t i = 0; i < count; i++)
        __builtin_prefetch(p + i * stride);
}

size_t index_items_after(const struct index_items *t, int64_t offset)
{
    size_t lo = 0, hi = index_groups_count(t->count);

    prefetch(t->groups, (hi * INDEX_GROUP_SIZE + CACHE_LINE - 1) / CACHE_LINE, CACHE_LINE);
    /* The last group that begins at or below `offset`: an item before it ends at or below. */
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (group_base(t, mid) <= offset)
            lo = mid;
        else
            hi = mid;
    }
    lo *= INDEX_GROUP_ITEMS;
    hi = t->count < lo + INDEX_GROUP_ITEMS ? t->count : lo + INDEX_GROUP_ITEMS;
    prefetch(index_items_at(t, lo), hi - lo, t->item_size);
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (index_item_end(index_items_at(t, mid)) > offset)
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

size_t index_items_find_time(const struct index_items *t, int64_t timestamp, int64_t min_offset)
{
    size_t i = index_items_after(t, min_offset);

    while (i < t->count) {
        size_t g = i / INDEX_GROUP_ITEMS;
        size_t group_end = (g + 1) * INDEX_GROUP_ITEMS;
        if (group_end > t->count)
            group_end = t->count;
        if (group_max_timestamp(t, g) < timestamp) {
            i = group_end;
            continue;
        }
        prefetch(index_items_at(t, i), group_end - i, t->item_size);
        for (; i < group_end; i++)
            if (index_item_max_timestamp(index_items_at(t, i)) >= timestamp)
                return i;
    }
    return t->count;
}

/* Base offset and maximum timestamp of the group that begins at item `i`. */
static void group_compute(const uint8_t *items, size_t count, size_t item_size, size_t i,
                          int64_t *ret_base, int64_t *ret_max)
{
    size_t end = count - i < INDEX_GROUP_ITEMS ? count : i + INDEX_GROUP_ITEMS;
    int64_t max = index_item_max_timestamp(items + i * item_size);

    *ret_base = index_item_base(items + i * item_size);
    for (i++; i < end; i++) {
        int64_t v = index_item_max_timestamp(items + i * item_size);
        if (v > max)
            max = v;
    }
    *ret_max = max;
}

void index_groups_encode(const uint8_t *items, size_t count, size_t item_size, uint8_t *ret)
{
    for (size_t i = 0; i < count; i += INDEX_GROUP_ITEMS) {
        int64_t base, max;
        group_compute(items, count, item_size, i, &base, &max);
        base_put_le64(ret, (uint64_t)base);
        base_put_le64(ret + 8, (uint64_t)max);
        ret += INDEX_GROUP_SIZE;
    }
}

void index_totals_add(struct index_totals *t, const uint8_t *item, size_t item_size)
{
    int64_t max = index_item_max_timestamp(item);

    if (item_size == INDEX_ENTRY_SIZE) {
        t->segment_count++;
        t->segment_bytes += base_get_le64(item + 40);
        t->object_bytes += base_get_le64(item + 48);
    } else {
        t->segment_bytes += base_get_le64(item + 24);
        t->object_bytes += base_get_le64(item + 32);
        t->segment_count += base_get_le64(item + 40);
    }
    if (max > t->max_timestamp)
        t->max_timestamp = max;
}

int index_entry_check(const struct index_entry *e, struct varve_error *err)
{
    if (e->base_offset < 0 || e->end_offset <= e->base_offset)
        return base_fail(err, VARVE_E_INVALID,
                         "entry with the impossible range [%" PRId64 ", %" PRId64 ")",
                         e->base_offset, e->end_offset);
    if (e->index_size > e->object_size || e->index_pos > e->object_size - e->index_size ||
        e->table_size > e->index_size)
        return base_fail(err, VARVE_E_INVALID,
                         "entry %020" PRId64 ": the index frame (%" PRIu64 " + %" PRIu32
                         ", table %" PRIu32 ") is not inside the object of %" PRIu64 " bytes",
                         e->base_offset, e->index_pos, e->index_size, e->table_size,
                         e->object_size);
    return 0;
}

static int item_check(const struct index_items *t, size_t i, uint32_t *level_limit,
                      bool level_exact, struct varve_error *err)
{
    const uint8_t *p = index_items_at(t, i);

    if (t->item_size == INDEX_ENTRY_SIZE) {
        struct index_entry e;
        struct varve_error what;
        index_entry_decode(p, &e);
        if (index_entry_check(&e, &what) < 0)
            return base_fail(err, VARVE_E_CORRUPT, "%s", what.msg);
        return 0;
    }

    struct index_ref r;
    index_ref_decode(p, &r);
    if (r.base_offset < 0 || r.end_offset <= r.base_offset || r.count == 0 ||
        r.page_size > INDEX_PAGE_SIZE_MAX)
        return base_fail(err, VARVE_E_CORRUPT, "reference %zu is impossible", i);
    if (r.level >= *level_limit || (level_exact && r.level + 1 != *level_limit))
        return base_fail(err, VARVE_E_CORRUPT, "reference %zu is of level %" PRIu32, i, r.level);
    *level_limit = r.level + 1; /* never ascends from left to right */
    return 0;
}

int index_items_check(const struct index_items *t, uint32_t level_limit, bool level_exact,
                      int64_t hole_end, int64_t *prev_end, struct index_totals *totals,
                      struct varve_error *err)
{
    for (size_t i = 0; i < t->count; i++) {
        const uint8_t *p = index_items_at(t, i);
        int64_t base = index_item_base(p);

        int rc = item_check(t, i, &level_limit, level_exact, err);
        if (rc < 0)
            return VARVE_E_CORRUPT;
        if (base < *prev_end)
            return base_fail(err, VARVE_E_CORRUPT,
                             "item %zu at offset %" PRId64 " overlaps what ends at %" PRId64, i,
                             base, *prev_end);
        if (base > *prev_end && base > hole_end) /* I1 */
            return base_fail(err, VARVE_E_CORRUPT,
                             "hole between offset %" PRId64 " and item %zu at %" PRId64, *prev_end,
                             i, base);
        *prev_end = index_item_end(p);
        index_totals_add(totals, p, t->item_size);

        if (i % INDEX_GROUP_ITEMS == 0) {
            size_t g = i / INDEX_GROUP_ITEMS;
            int64_t max;
            group_compute(t->data, t->count, t->item_size, i, &base, &max);
            if (group_base(t, g) != base || group_max_timestamp(t, g) != max)
                return base_fail(err, VARVE_E_CORRUPT, "group %zu does not match its items", g);
        }
    }
    return 0;
}
