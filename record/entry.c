/*
 * FORMAT of one record, as Kafka's record batch v2 defines it. varint and varlong are zigzag, 7
 * bits a byte, least significant first, at most 5 and 10 bytes.
 *
 *     varint    size             bytes of this record after this field
 *     int8      attributes       0; no bit is defined
 *     varlong   timestamp delta  from the batch's base timestamp, may be negative
 *     varint    offset delta     from the batch's base offset
 *     varint    key size         -1: null
 *     bytes     key
 *     varint    value size       -1: null
 *     bytes     value
 *     varint    header count
 *     header count times:
 *       varint  name size        0 or more
 *       bytes   name             UTF-8 (not checked, as Kafka does not)
 *       varint  value size       -1: null
 *       bytes   value
 *
 * VALID: every field lies inside the size, the last one ends exactly where the size says, sizes are
 * -1 or more (0 or more where null is not allowed), attributes are 0, and there are at most
 * RECORD_ENTRY_HEADER_COUNT_MAX headers.
 */
#include "record/entry.h"
#include "base/error.h"
#include "record/varint.h"

/* A size of -1 (null) or more, and as many bytes. NULL: not valid. */
static inline const uint8_t *bytes_get(const uint8_t *p, const uint8_t *end, const uint8_t **ret,
                                       int32_t *ret_size)
{
    int32_t size;

    p = record_varint_get(p, end, &size);
    if (p == NULL || size < -1 || size > end - p) {
        return NULL;
    }
    *ret_size = size;
    if (size < 0) {
        *ret = NULL;
        return p;
    }
    *ret = p;
    return p + size;
}

static const uint8_t *header_get(const uint8_t *p, const uint8_t *end, struct varve_header *ret)
{
    const uint8_t *name, *value;
    int32_t name_size, value_size;

    p = bytes_get(p, end, &name, &name_size);
    if (p == NULL || name == NULL) {
        return NULL;
    }
    p = bytes_get(p, end, &value, &value_size);
    if (p == NULL) {
        return NULL;
    }
    *ret = (struct varve_header){.name = (const char *)name,
                                 .name_size = (size_t)name_size,
                                 .value = value,
                                 .value_size = value == NULL ? 0 : (size_t)value_size};
    return p;
}

static int headers_check(const uint8_t *p, const uint8_t *end, int32_t count, int32_t number,
                         struct varve_error *err)
{
    struct varve_header header;

    if (count < 0 || count > (end - p) / 2) { /* a header takes at least two bytes */
        return base_fail(err, VARVE_E_CORRUPT, "record %d: header count %d in %td bytes", number,
                         count, end - p);
    }
    if (count > RECORD_ENTRY_HEADER_COUNT_MAX) {
        return base_fail(err, VARVE_E_TOO_LARGE, "record %d: %d headers, the limit is %d", number,
                         count, RECORD_ENTRY_HEADER_COUNT_MAX);
    }
    for (int32_t i = 0; i < count; i++) {
        p = header_get(p, end, &header);
        if (p == NULL) {
            return base_fail(err, VARVE_E_CORRUPT,
                             "record %d: header %d is malformed or runs past the record", number,
                             i);
        }
    }
    if (p != end) {
        return base_fail(err, VARVE_E_CORRUPT, "record %d: %td bytes left over after its headers",
                         number, end - p);
    }
    return 0;
}

int record_entry_decode(const uint8_t *pos, const uint8_t *end, int32_t number,
                        struct record_entry *ret, struct varve_error *err)
{
    struct record_entry e;
    int32_t size;

    const uint8_t *p = record_varint_get(pos, end, &size);
    if (p == NULL) {
        return base_fail(err, VARVE_E_CORRUPT,
                         "record %d: size is malformed or runs past the batch", number);
    }
    if (size < RECORD_ENTRY_SIZE_MIN - 1 || size > end - p) {
        return base_fail(err, VARVE_E_CORRUPT,
                         "record %d: size %d with %td bytes of the batch left", number, size,
                         end - p);
    }
    e.end = p + size;
    if (*p != 0) {
        return base_fail(err, VARVE_E_CORRUPT, "record %d: attributes 0x%02x, not 0", number, *p);
    }
    p = record_varlong_get(p + 1, e.end, &e.timestamp_delta);
    if (p == NULL) {
        return base_fail(err, VARVE_E_CORRUPT, "record %d: timestamp delta is malformed", number);
    }
    p = record_varint_get(p, e.end, &e.offset_delta);
    if (p == NULL) {
        return base_fail(err, VARVE_E_CORRUPT, "record %d: offset delta is malformed", number);
    }
    p = bytes_get(p, e.end, &e.key, &e.key_size);
    if (p == NULL) {
        return base_fail(err, VARVE_E_CORRUPT,
                         "record %d: key size is malformed or runs past the record", number);
    }
    p = bytes_get(p, e.end, &e.value, &e.value_size);
    if (p == NULL) {
        return base_fail(err, VARVE_E_CORRUPT,
                         "record %d: value size is malformed or runs past the record", number);
    }
    p = record_varint_get(p, e.end, &e.header_count);
    if (p == NULL) {
        return base_fail(err, VARVE_E_CORRUPT, "record %d: header count is malformed", number);
    }
    e.headers = p;
    if (e.header_count != 0 || p != e.end) {
        int rc = headers_check(p, e.end, e.header_count, number, err);
        if (rc < 0) {
            return rc;
        }
    }
    *ret = e;
    return 0;
}

void record_entry_headers(const struct record_entry *entry, struct varve_header *ret)
{
    const uint8_t *p = entry->headers;

    for (int32_t i = 0; i < entry->header_count; i++) {
        p = header_get(p, entry->end, &ret[i]);
    }
}
