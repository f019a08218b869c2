/*
 * Any bytes as a batch: decoding, checking, validating and iterating agree with each other. The CRC
 * is set right first where the header allows, or no mutation would come past it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "record/batch.h"
#include "record/iterator.h"
#include "tests/fuzz/sums.h"

#define DECOMPRESSED_MAX (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

/* Sums what every pointer of the record reaches, so that a sanitizer sees it. */
static unsigned touch(const struct varve_record *r)
{
    unsigned sum = 0;

    for (size_t i = 0; i < r->key_size; i++)
        sum += ((const uint8_t *)r->key)[i];
    for (size_t i = 0; i < r->value_size; i++)
        sum += ((const uint8_t *)r->value)[i];
    for (size_t h = 0; h < r->header_count; h++) {
        for (size_t i = 0; i < r->headers[h].name_size; i++)
            sum += (uint8_t)r->headers[h].name[i];
        for (size_t i = 0; i < r->headers[h].value_size; i++)
            sum += ((const uint8_t *)r->headers[h].value)[i];
    }
    return sum;
}

static void iterate(const uint8_t *data, const struct record_batch *batch, int valid)
{
    struct record_iterator *it;
    struct varve_record record;
    int64_t count = 0;
    int rc;

    require(record_iterator_new(&it, NULL) == 0);
    rc = record_iterator_start(it, data, batch, DECOMPRESSED_MAX, NULL);
    while (rc == 0) {
        rc = record_iterator_next(it, &record, NULL);
        if (rc == 0) {
            require(record.offset >= batch->base_offset && record.offset <= batch->last_offset);
            require(touch(&record) < UINT32_MAX); /* so that it is not optimised away */
            count++;
        }
    }
    require(count <= batch->record_count);
    if (valid)
        require(rc == VARVE_E_END && count == batch->record_count);
    record_iterator_free(it);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record_batch decoded, checked, validated;
    uint8_t *copy;
    int rc;

    if (record_batch_decode(data, size, &decoded, NULL) < 0)
        return 0;
    require(decoded.size <= size && record_batch_size(data) == decoded.size);
    copy = malloc(size);
    require(copy != NULL);
    memcpy(copy, data, size);
    fuzz_sum_batch(copy, decoded.size);
    require(record_batch_check(copy, size, &checked, NULL) == 0);
    rc = record_batch_validate(copy, size, DECOMPRESSED_MAX, &validated, NULL);
    iterate(copy, &checked, rc == 0);
    free(copy);
    return 0;
}
