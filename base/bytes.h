/*
 * Explicit byte order. Kafka's formats are big-endian; varve's own are little-endian.
 * The cursor never reads past its end: after the first overrun it is `failed`, returns zeros, and
 * stays failed.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t base_get_be16(const void *p)
{
    const uint8_t *b = p;
    return (uint16_t)((b[0] << 8) | b[1]);
}
static inline uint32_t base_get_be32(const void *p)
{
    const uint8_t *b = p;
    return ((uint32_t)b[0] << 24) | ((uint32_t)b[1] << 16) | ((uint32_t)b[2] << 8) | b[3];
}
static inline uint64_t base_get_be64(const void *p)
{
    const uint8_t *b = p;
    return ((uint64_t)base_get_be32(b) << 32) | base_get_be32(b + 4);
}
static inline void base_put_be16(void *p, uint16_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)(v >> 8);
    b[1] = (uint8_t)v;
}
static inline void base_put_be32(void *p, uint32_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)(v >> 24);
    b[1] = (uint8_t)(v >> 16);
    b[2] = (uint8_t)(v >> 8);
    b[3] = (uint8_t)v;
}
static inline void base_put_be64(void *p, uint64_t v)
{
    base_put_be32(p, (uint32_t)(v >> 32));
    base_put_be32((uint8_t *)p + 4, (uint32_t)v);
}
static inline uint16_t base_get_le16(const void *p)
{
    const uint8_t *b = p;
    return (uint16_t)((b[1] << 8) | b[0]);
}
static inline uint32_t base_get_le32(const void *p)
{
    const uint8_t *b = p;
    return ((uint32_t)b[3] << 24) | ((uint32_t)b[2] << 16) | ((uint32_t)b[1] << 8) | b[0];
}
static inline uint64_t base_get_le64(const void *p)
{
    const uint8_t *b = p;
    return ((uint64_t)base_get_le32(b + 4) << 32) | base_get_le32(b);
}
static inline void base_put_le16(void *p, uint16_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
}
static inline void base_put_le32(void *p, uint32_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
    b[2] = (uint8_t)(v >> 16);
    b[3] = (uint8_t)(v >> 24);
}
static inline void base_put_le64(void *p, uint64_t v)
{
    base_put_le32(p, (uint32_t)v);
    base_put_le32((uint8_t *)p + 4, (uint32_t)(v >> 32));
}

/* Reads from a bounded range. Plain data; lives on the stack. */
struct base_cursor {
    const uint8_t *pos;
    const uint8_t *end;
    bool failed;
};

void base_cursor_init(struct base_cursor *c, const void *data, size_t size);
size_t base_cursor_left(const struct base_cursor *c);
uint8_t base_cursor_u8(struct base_cursor *c);
uint16_t base_cursor_le16(struct base_cursor *c);
uint32_t base_cursor_le32(struct base_cursor *c);
uint64_t base_cursor_le64(struct base_cursor *c);
uint16_t base_cursor_be16(struct base_cursor *c);
uint32_t base_cursor_be32(struct base_cursor *c);
uint64_t base_cursor_be64(struct base_cursor *c);
int64_t base_cursor_varint(struct base_cursor *c);  /* zigzag, at most 5 bytes, as Kafka's varint */
int64_t base_cursor_varlong(struct base_cursor *c); /* zigzag, at most 10 bytes */
const void *base_cursor_bytes(struct base_cursor *c,
                              size_t size); /* NULL and failed when too short */

/* Size and encoding of zigzag varints; `put` returns the bytes written (at most 10). */
size_t base_varlong_size(int64_t v);
size_t base_varlong_put(uint8_t *p, int64_t v);

/* A growing byte buffer. Appending to one that failed to grow does nothing; check `failed` once at
 * the end. */
struct base_buffer {
    uint8_t *data;
    size_t size;
    size_t capacity;
    bool failed;
};

void base_buffer_init(struct base_buffer *b);
void base_buffer_deinit(struct base_buffer *b);
void base_buffer_clear(struct base_buffer *b); /* keeps the memory */
uint8_t *base_buffer_extend(struct base_buffer *b,
                            size_t size); /* uninitialised room; NULL when it failed */
void base_buffer_add(struct base_buffer *b, const void *data, size_t size);
void base_buffer_u8(struct base_buffer *b, uint8_t v);
void base_buffer_le16(struct base_buffer *b, uint16_t v);
void base_buffer_le32(struct base_buffer *b, uint32_t v);
void base_buffer_le64(struct base_buffer *b, uint64_t v);

#endif
