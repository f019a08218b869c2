/*
 * Any bytes as a root, with the checksum set right where there is room for one: what decodes can be
 * viewed, walked and searched within its bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "index/items.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void walk(const struct index_root *r)
{
    struct index_epoch epoch;
    struct index_cut cut;
    struct index_ref ref;
    struct index_entry entry;
    uint64_t count = r->entry_count;
    unsigned sum = 0;

    for (size_t i = 0; i < r->config_size; i++)
        sum += (unsigned char)r->config[i];
    for (size_t i = 0; i < r->epoch_count; i++)
        index_root_epoch(r, i, &epoch);
    for (size_t i = 0; i < r->cut_count; i++)
        index_root_cut(r, i, &cut);
    for (size_t i = 0; i < r->ref_count; i++) {
        index_root_ref(r, i, &ref);
        count += ref.segment_count;
    }
    for (size_t i = 0; i < r->entry_count; i++) {
        index_root_entry(r, i, &entry);
        require(entry.base_offset < entry.end_offset && entry.end_offset <= r->end_offset);
        require(entry.max_timestamp <= r->max_timestamp || entry.max_timestamp < 0);
    }
    require(count == r->segment_count && sum < UINT32_MAX);
}

static void search(const struct index_root *r)
{
    struct index_items refs = index_items_root_refs(r), entries = index_items_root_entries(r);

    for (int64_t i = -1; i <= 16; i++) {
        int64_t offset = r->start_offset + (r->end_offset - r->start_offset) / 16 * i;
        size_t a = index_items_after(&refs, offset), b = index_items_after(&entries, offset);
        require(a <= refs.count && b <= entries.count);
        require(index_items_find_time(&refs, offset, offset) >= a);
        require(index_items_find_time(&entries, r->max_timestamp, offset) >= b);
        /* R1: every offset from the start up is in one item. */
        if (offset >= r->start_offset && offset < r->end_offset)
            require((a < refs.count && index_item_base(index_items_at(&refs, a)) <= offset) ||
                    (b < entries.count && index_item_base(index_items_at(&entries, b)) <= offset));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct index_root r, view;

    index_root_decode(data, size, &r, NULL);
    if (size < 4)
        return 0;
    uint8_t *copy = malloc(size);
    require(copy != NULL);
    memcpy(copy, data, size);
    base_put_le32(copy + size - 4, base_crc32c(0, copy, size - 4));
    if (index_root_decode(copy, size, &r, NULL) == 0) {
        require(index_root_view(copy, size, &view, NULL) == 0);
        walk(&r);
        search(&r);
    }
    free(copy);
    return 0;
}
