#include "tests/support/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "index/items.h"
#include "tests/support/file.h"

struct index_entry support_entry_new(struct support_random *random, uint8_t chain[32],
                                     int64_t base_offset, int64_t end_offset, int64_t max_timestamp)
{
    struct index_entry e = {
        .base_offset = base_offset,
        .end_offset = end_offset,
        .max_timestamp = max_timestamp,
        .first_timestamp = max_timestamp - 5,
        .append_time = max_timestamp + 7,
        .segment_size = 1000 + support_random_below(random, 1000),
        .object_size = 500 + support_random_below(random, 500),
        .index_pos = 300,
        .table_size = 64,
        .index_size = 128,
        .object_crc32c = (uint32_t)support_random_u64(random),
        .attempt = base_id_new(&random->seam),
    };

    random->seam.fill(random->seam.ctx, e.segment_sha256, sizeof(e.segment_sha256));
    if (index_chain_hash(chain, e.segment_sha256, base_offset, end_offset, e.chain_hash) < 0)
        abort();
    memcpy(chain, e.chain_hash, 32);
    return e;
}

void support_page_path(const char *dir, const struct index_ref *ref, char *ret, size_t size)
{
    char name[INDEX_PAGE_NAME_SIZE];

    index_page_name(ref, name);
    snprintf(ret, size, "%s/%s", dir, name);
}

static int load_page(void *ctx, const struct index_ref *ref, void **ret, size_t *ret_size,
                     struct varve_error *err)
{
    struct support_page_bucket *b = ctx;
    char path[512];

    if (b->unreachable)
        return base_fail_retriable(err, VARVE_E_STORE, "the store is away");
    support_page_path(b->dir, ref, path, sizeof(path));
    if (!support_file_exists(path))
        return base_fail(err, VARVE_E_CORRUPT, "%s is missing", path);
    *ret = support_file_read(path, ret_size);
    if (b->damaged)
        ((uint8_t *)*ret)[*ret_size / 2] ^= 1;
    b->fetched++;
    return 0;
}

void support_page_bucket_init(struct support_page_bucket *b, const char *dir)
{
    *b = (struct support_page_bucket){.loader = {.ctx = b, .load_page = load_page}, .dir = dir};
}

void support_page_bucket_store(const struct support_page_bucket *b,
                               const struct index_edit_page *pages, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char path[512];
        support_page_path(b->dir, &pages[i].ref, path, sizeof(path));
        support_file_write(path, pages[i].data, pages[i].size);
    }
}
