/* Checksums: CRC32C by ISA-L (hardware where there is any), SHA-256 by OpenSSL. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* CRC32C (Castagnoli) as Kafka, iSCSI and S3 define it; `crc` is 0 or the value of the bytes
 * before. */
uint32_t base_crc32c(uint32_t crc, const void *data, size_t size);

/* CRC32C of A followed by B, from that of each and the size of B. */
uint32_t base_crc32c_combine(uint32_t crc_a, uint32_t crc_b, uint64_t size_b);

#define BASE_SHA256_SIZE 32

struct base_sha256; /* a running hash */

struct base_sha256 *base_sha256_new(void); /* NULL: out of memory */
struct base_sha256 *base_sha256_free(struct base_sha256 *h);
void base_sha256_reset(struct base_sha256 *h);
void base_sha256_update(struct base_sha256 *h, const void *data, size_t size);
void base_sha256_final(struct base_sha256 *h, uint8_t ret[BASE_SHA256_SIZE]);

#endif
