/*
 * Any bytes as a sparse index, once as they are and once with every checksum set right: what is
 * found lies in an entry that was read, and what passes the whole check answers every offset.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "index/sparse.h"
#include "tests/fuzz/sums.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void use(const uint8_t *data, size_t size)
{
    int64_t base_offset = (int64_t)base_get_le64(data + 16), end;
    struct index_sparse s;
    struct index_sparse_entry e;
    uint32_t pos;
    size_t i;

    if (index_sparse_init(&s, data, size, base_offset, NULL) < 0)
        return;
    bool good = index_sparse_check(&s, NULL) == 0;
    int rc = index_sparse_end_pos(&s, &pos, &end, NULL);
    if (good)
        require(rc == 0);
    for (int64_t k = 0; k < 16; k++) {
        uint64_t step = rc == 0 ? ((uint64_t)end - (uint64_t)base_offset) / 16 : 1;
        int64_t offset = (int64_t)((uint64_t)base_offset + step * (uint64_t)k); /* may wrap */
        int found = offset < base_offset ? VARVE_E_OUT_OF_RANGE
                                         : index_sparse_find_offset(&s, offset, &i, &e, NULL);
        if (found == 0)
            require(i < s.count && e.first_offset <= offset && offset < e.end_offset);
        else if (good)
            require(found == VARVE_E_NOT_FOUND && offset >= end);
        found = index_sparse_find_time(&s, 0, k * 1000, offset, &i, &e, NULL);
        if (found == 0)
            require(i < s.count && e.max_timestamp >= k * 1000 && e.end_offset > offset);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < INDEX_SPARSE_HEADER_SIZE)
        return 0;
    use(data, size);

    uint8_t *copy = malloc(size);
    require(copy != NULL);
    memcpy(copy, data, size);
    fuzz_sum_sparse(copy, size);
    use(copy, size);
    free(copy);
    return 0;
}
