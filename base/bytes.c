/* The cursor, the varints and the growing buffer. */
#include "base/bytes.h"

#include <stdlib.h>

#define BUFFER_CAPACITY_MIN 64

void base_cursor_init(struct base_cursor *c, const void *data, size_t size)
{
    *c = (struct base_cursor){.pos = data};
    c->end = size > 0 ? c->pos + size : c->pos;
}

size_t base_cursor_left(const struct base_cursor *c)
{
    return c->failed ? 0 : (size_t)(c->end - c->pos);
}

const void *base_cursor_bytes(struct base_cursor *c, size_t size)
{
    const uint8_t *pos = c->pos;

    if (c->failed || size > (size_t)(c->end - c->pos)) {
        c->failed = true;
        return NULL;
    }
    if (size > 0)
        c->pos += size;
    return pos;
}

uint8_t base_cursor_u8(struct base_cursor *c)
{
    const uint8_t *p = base_cursor_bytes(c, 1);
    return p ? *p : 0;
}

uint16_t base_cursor_le16(struct base_cursor *c)
{
    const void *p = base_cursor_bytes(c, 2);
    return p ? base_get_le16(p) : 0;
}

uint32_t base_cursor_le32(struct base_cursor *c)
{
    const void *p = base_cursor_bytes(c, 4);
    return p ? base_get_le32(p) : 0;
}

uint64_t base_cursor_le64(struct base_cursor *c)
{
    const void *p = base_cursor_bytes(c, 8);
    return p ? base_get_le64(p) : 0;
}

uint16_t base_cursor_be16(struct base_cursor *c)
{
    const void *p = base_cursor_bytes(c, 2);
    return p ? base_get_be16(p) : 0;
}

uint32_t base_cursor_be32(struct base_cursor *c)
{
    const void *p = base_cursor_bytes(c, 4);
    return p ? base_get_be32(p) : 0;
}

uint64_t base_cursor_be64(struct base_cursor *c)
{
    const void *p = base_cursor_bytes(c, 8);
    return p ? base_get_be64(p) : 0;
}

/*
 * Seven bits a byte, lowest first, the high bit set on all but the last. A value that does not fit
 * into `bits` is a failure; an encoding longer than it need be is not (Kafka reads those too).
 */
static int64_t read_zigzag(struct base_cursor *c, unsigned bits)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < bits; shift += 7) {
        uint8_t byte = base_cursor_u8(c);
        uint64_t part = byte & 0x7f;

        if (c->failed)
            return 0;
        if (bits - shift < 7 && part >> (bits - shift) != 0)
            break;
        v |= part << shift;
        if (!(byte & 0x80))
            return (int64_t)(v >> 1 ^ (0 - (v & 1)));
    }
    c->failed = true;
    return 0;
}

int64_t base_cursor_varint(struct base_cursor *c)
{
    return read_zigzag(c, 32);
}

int64_t base_cursor_varlong(struct base_cursor *c)
{
    return read_zigzag(c, 64);
}

static uint64_t zigzag(int64_t v)
{
    return (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0);
}

size_t base_varlong_size(int64_t v)
{
    uint64_t z = zigzag(v);
    size_t size = 1;

    while (z >= 0x80) {
        z >>= 7;
        size++;
    }
    return size;
}

size_t base_varlong_put(uint8_t *p, int64_t v)
{
    uint64_t z = zigzag(v);
    size_t size = 0;

    while (z >= 0x80) {
        p[size++] = (uint8_t)(z | 0x80);
        z >>= 7;
    }
    p[size++] = (uint8_t)z;
    return size;
}

void base_buffer_init(struct base_buffer *b)
{
    *b = (struct base_buffer){0};
}

void base_buffer_deinit(struct base_buffer *b)
{
    free(b->data);
    base_buffer_init(b);
}

void base_buffer_clear(struct base_buffer *b)
{
    b->size = 0;
    b->failed = false;
}

/* At least doubles, so that n appends cost O(n). */
static bool buffer_grow(struct base_buffer *b, size_t size)
{
    size_t wanted, capacity = b->capacity > 0 ? b->capacity : BUFFER_CAPACITY_MIN;
    uint8_t *data;

    if (size > SIZE_MAX / 2 - b->size)
        return false;
    wanted = b->size + size;
    while (capacity < wanted)
        capacity *= 2;
    data = realloc(b->data, capacity);
    if (!data)
        return false;
    b->data = data;
    b->capacity = capacity;
    return true;
}

uint8_t *base_buffer_extend(struct base_buffer *b, size_t size)
{
    uint8_t *room;

    if (!b->failed && (size > b->capacity - b->size || !b->data))
        b->failed = !buffer_grow(b, size);
    if (b->failed)
        return NULL;
    room = b->data + b->size;
    b->size += size;
    return room;
}

void base_buffer_add(struct base_buffer *b, const void *data, size_t size)
{
    uint8_t *room = base_buffer_extend(b, size);

    if (room && size > 0)
        memcpy(room, data, size);
}

void base_buffer_u8(struct base_buffer *b, uint8_t v)
{
    uint8_t *room = base_buffer_extend(b, 1);

    if (room)
        *room = v;
}

void base_buffer_le16(struct base_buffer *b, uint16_t v)
{
    uint8_t *room = base_buffer_extend(b, 2);

    if (room)
        base_put_le16(room, v);
}

void base_buffer_le32(struct base_buffer *b, uint32_t v)
{
    uint8_t *room = base_buffer_extend(b, 4);

    if (room)
        base_put_le32(room, v);
}

void base_buffer_le64(struct base_buffer *b, uint64_t v)
{
    uint8_t *room = base_buffer_extend(b, 8);

    if (room)
        base_put_le64(room, v);
}
