/* The checksums of formats set right, for targets whose input is to get behind them. */
#ifndef TESTS_FUZZ_SUMS_H
#define TESTS_FUZZ_SUMS_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "hot/internal.h"

/* A whole record batch. */
static inline void fuzz_sum_batch(uint8_t *batch, size_t size)
{
    base_put_be32(batch + RECORD_BATCH_CRC_FROM - 4,
                  base_crc32c(0, batch + RECORD_BATCH_CRC_FROM, size - RECORD_BATCH_CRC_FROM));
}

/* A sparse index, of at least a header. */
static inline void fuzz_sum_sparse(uint8_t *data, size_t size)
{
    base_put_le32(data + 28, base_crc32c(0, data, 28));
    uint32_t seed = base_crc32c(0, data + 16, 8);
    for (size_t at = INDEX_SPARSE_HEADER_SIZE; at + INDEX_SPARSE_ENTRY_SIZE <= size;
         at += INDEX_SPARSE_ENTRY_SIZE)
        base_put_le32(data + at + 28, base_crc32c(seed, data + at, 28));
}

/* HOT_CHECKPOINT_SIZE bytes. */
static inline void fuzz_sum_checkpoint(uint8_t *data)
{
    base_put_le32(data + 60, base_crc32c(0, data, 60));
}

/* HOT_PUBLISHED_SIZE bytes. */
static inline void fuzz_sum_published(uint8_t *data)
{
    base_put_le32(data + 24, base_crc32c(0, data, 24));
    base_put_le64(data + 224, base_crc32c(0, data + 136, 88));
}

#endif
