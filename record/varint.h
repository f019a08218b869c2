/*
 * Zigzag varints as records hold them, tight enough for the append path: a record of a typical
 * batch has seven of them, nearly all of one or two bytes.
 *
 * A reader returns the position after the varint, or NULL when it runs past `end`, has more than 5
 * (varint) or 10 (varlong) bytes, or does not fit 32 or 64 bits. Longer encodings than needed are
 * accepted, as Kafka's clients do. Source: Apache Kafka, ByteUtils.
 */
#ifndef RECORD_VARINT_H
#define RECORD_VARINT_H

#include <stddef.h>
#include <stdint.h>

static inline const uint8_t *record_varlong_get_slow(const uint8_t *p, const uint8_t *end,
                                                     unsigned bits, int64_t *ret)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < bits; shift += 7) {
        if (p == end) {
            return NULL;
        }
        uint64_t b = *p++;
        if (bits - shift < 7 && (b & 0x7f) >> (bits - shift) != 0) {
            return NULL; /* bits above the last one */
        }
        v |= (b & 0x7f) << shift;
        if (b < 0x80) {
            *ret = (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
            return p;
        }
    }
    return NULL;
}

static inline const uint8_t *record_varlong_get(const uint8_t *p, const uint8_t *end, int64_t *ret)
{
    if (end - p >= 2) {
        uint32_t v = p[0];
        if (v < 0x80) {
            *ret = (int32_t)(v >> 1) ^ -(int32_t)(v & 1);
            return p + 1;
        }
        if (p[1] < 0x80) {
            v = (v & 0x7f) | (uint32_t)p[1] << 7;
            *ret = (int32_t)(v >> 1) ^ -(int32_t)(v & 1);
            return p + 2;
        }
    }
    return record_varlong_get_slow(p, end, 64, ret);
}

static inline const uint8_t *record_varint_get(const uint8_t *p, const uint8_t *end, int32_t *ret)
{
    if (end - p >= 2) {
        uint32_t v = p[0];
        if (v < 0x80) {
            *ret = (int32_t)(v >> 1) ^ -(int32_t)(v & 1);
            return p + 1;
        }
        if (p[1] < 0x80) {
            v = (v & 0x7f) | (uint32_t)p[1] << 7;
            *ret = (int32_t)(v >> 1) ^ -(int32_t)(v & 1);
            return p + 2;
        }
    }
    int64_t wide;
    p = record_varlong_get_slow(p, end, 32, &wide);
    if (p != NULL) {
        *ret = (int32_t)wide;
    }
    return p;
}

static inline uint64_t record_varlong_zigzag(int64_t v)
{
    return (uint64_t)v << 1 ^ (uint64_t)(v >> 63);
}

static inline size_t record_varlong_size(int64_t v)
{
    /* 64 less the leading zeros, in sevenths, rounded up; 0 takes a byte as 1 does. */
    return (size_t)(70 - __builtin_clzll(record_varlong_zigzag(v) | 1)) / 7;
}

/* Returns the bytes written, at most 10. A varint is encoded as the varlong of the same value. */
static inline size_t record_varlong_put(uint8_t *p, int64_t v)
{
    uint64_t z = record_varlong_zigzag(v);
    size_t size = 0;

    while (z >= 0x80) {
        p[size++] = (uint8_t)(z | 0x80);
        z >>= 7;
    }
    p[size++] = (uint8_t)z;
    return size;
}

#endif
