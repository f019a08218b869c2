/*
 * Entries and references: encodings, the chain hash, keys, log names.
 *
 * FORMAT (little-endian)
 *
 *   entry, 192 bytes                        reference, 96 bytes
 *   pos size                                pos size
 *     0    8  base offset                     0    8  base offset
 *     8    8  end offset, exclusive           8    8  end offset, exclusive
 *    16    8  maximum timestamp, its own     16    8  maximum timestamp over the page
 *    24    8  first timestamp                24    8  segment bytes
 *    32    8  append time                    32    8  object bytes
 *    40    8  segment size                   40    8  segments
 *    48    8  object size                    48    4  level
 *    56    8  index frame's position         52    4  items in the page
 *    64    4  block table's size             56    4  page size
 *    68    4  index frame's size             60    4  page checksum (the page's last 4 bytes)
 *    72    4  object's CRC32C                64    4  epoch
 *    76    4  epoch                          68    4  zero
 *    80    4  flags                          72   16  attempt id
 *    84    4  zero                           88    8  zero
 *    88   16  attempt id
 *   104   32  SHA-256 of the segment
 *   136   32  chain hash
 *   168   24  zero
 *
 * VALID entry: 0 <= base < end; the index frame lies inside the object, the block table inside the
 * index frame. Unknown flags and the bytes that are zero today are ignored by readers. A
 * reference's validity is that of its page (page.c).
 *
 * INVARIANTS
 *   E1 Both begin with base offset, end offset, maximum timestamp: look-ups treat them alike
 *      (items.h).
 *   E2 A key names what it holds and never collides: the attempt id is random, and no key is
 *      written twice.
 */
#include "index/entry.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/text.h"

void index_entry_encode(const struct index_entry *e, uint8_t buf[INDEX_ENTRY_SIZE])
{
    memset(buf, 0, INDEX_ENTRY_SIZE);
    base_put_le64(buf, (uint64_t)e->base_offset);
    base_put_le64(buf + 8, (uint64_t)e->end_offset);
    base_put_le64(buf + 16, (uint64_t)e->max_timestamp);
    base_put_le64(buf + 24, (uint64_t)e->first_timestamp);
    base_put_le64(buf + 32, (uint64_t)e->append_time);
    base_put_le64(buf + 40, e->segment_size);
    base_put_le64(buf + 48, e->object_size);
    base_put_le64(buf + 56, e->index_pos);
    base_put_le32(buf + 64, e->table_size);
    base_put_le32(buf + 68, e->index_size);
    base_put_le32(buf + 72, e->object_crc32c);
    base_put_le32(buf + 76, e->epoch);
    base_put_le32(buf + 80, e->flags);
    memcpy(buf + 88, e->attempt.bytes, BASE_ID_SIZE);
    memcpy(buf + 104, e->segment_sha256, BASE_SHA256_SIZE);
    memcpy(buf + 136, e->chain_hash, BASE_SHA256_SIZE);
}

void index_entry_decode(const uint8_t buf[INDEX_ENTRY_SIZE], struct index_entry *ret)
{
    ret->base_offset = (int64_t)base_get_le64(buf);
    ret->end_offset = (int64_t)base_get_le64(buf + 8);
    ret->max_timestamp = (int64_t)base_get_le64(buf + 16);
    ret->first_timestamp = (int64_t)base_get_le64(buf + 24);
    ret->append_time = (int64_t)base_get_le64(buf + 32);
    ret->segment_size = base_get_le64(buf + 40);
    ret->object_size = base_get_le64(buf + 48);
    ret->index_pos = base_get_le64(buf + 56);
    ret->table_size = base_get_le32(buf + 64);
    ret->index_size = base_get_le32(buf + 68);
    ret->object_crc32c = base_get_le32(buf + 72);
    ret->epoch = base_get_le32(buf + 76);
    ret->flags = base_get_le32(buf + 80);
    memcpy(ret->attempt.bytes, buf + 88, BASE_ID_SIZE);
    memcpy(ret->segment_sha256, buf + 104, BASE_SHA256_SIZE);
    memcpy(ret->chain_hash, buf + 136, BASE_SHA256_SIZE);
}

void index_ref_encode(const struct index_ref *r, uint8_t buf[INDEX_REF_SIZE])
{
    memset(buf, 0, INDEX_REF_SIZE);
    base_put_le64(buf, (uint64_t)r->base_offset);
    base_put_le64(buf + 8, (uint64_t)r->end_offset);
    base_put_le64(buf + 16, (uint64_t)r->max_timestamp);
    base_put_le64(buf + 24, r->segment_bytes);
    base_put_le64(buf + 32, r->object_bytes);
    base_put_le64(buf + 40, r->segment_count);
    base_put_le32(buf + 48, r->level);
    base_put_le32(buf + 52, r->count);
    base_put_le32(buf + 56, r->page_size);
    base_put_le32(buf + 60, r->page_crc32c);
    base_put_le32(buf + 64, r->epoch);
    memcpy(buf + 72, r->attempt.bytes, BASE_ID_SIZE);
}

void index_ref_decode(const uint8_t buf[INDEX_REF_SIZE], struct index_ref *ret)
{
    ret->base_offset = (int64_t)base_get_le64(buf);
    ret->end_offset = (int64_t)base_get_le64(buf + 8);
    ret->max_timestamp = (int64_t)base_get_le64(buf + 16);
    ret->segment_bytes = base_get_le64(buf + 24);
    ret->object_bytes = base_get_le64(buf + 32);
    ret->segment_count = base_get_le64(buf + 40);
    ret->level = base_get_le32(buf + 48);
    ret->count = base_get_le32(buf + 52);
    ret->page_size = base_get_le32(buf + 56);
    ret->page_crc32c = base_get_le32(buf + 60);
    ret->epoch = base_get_le32(buf + 64);
    memcpy(ret->attempt.bytes, buf + 72, BASE_ID_SIZE);
}

int index_chain_hash(const uint8_t previous[BASE_SHA256_SIZE],
                     const uint8_t segment_sha256[BASE_SHA256_SIZE], int64_t base_offset,
                     int64_t end_offset, uint8_t ret[BASE_SHA256_SIZE])
{
    uint8_t buf[2 * BASE_SHA256_SIZE + 16];
    struct base_sha256 *h = base_sha256_new();

    if (h == NULL)
        return VARVE_E_NO_MEMORY;
    memcpy(buf, previous, BASE_SHA256_SIZE);
    memcpy(buf + BASE_SHA256_SIZE, segment_sha256, BASE_SHA256_SIZE);
    base_put_le64(buf + 2 * BASE_SHA256_SIZE, (uint64_t)base_offset);
    base_put_le64(buf + 2 * BASE_SHA256_SIZE + 8, (uint64_t)end_offset);
    base_sha256_update(h, buf, sizeof(buf));
    base_sha256_final(h, ret);
    base_sha256_free(h);
    return 0;
}

int index_key_prefix(const char *log_name, const struct base_id *log_id, char **ret,
                     struct varve_error *err)
{
    char id[BASE_ID_TEXT_SIZE];

    base_id_format(log_id, id);
    return base_format(ret, err, "logs/%s/@/%s/", log_name, id);
}

int index_key_object(const char *log_name, const struct base_id *log_id,
                     const struct index_entry *e, char **ret, struct varve_error *err)
{
    char id[BASE_ID_TEXT_SIZE], attempt[BASE_ID_TEXT_SIZE];

    base_id_format(log_id, id);
    base_id_format(&e->attempt, attempt);
    return base_format(ret, err, "logs/%s/@/%s/%020" PRId64 "-%020" PRId64 "-%" PRIu32 "-%s.zst%s",
                       log_name, id, e->base_offset, e->end_offset, e->epoch, attempt,
                       (e->flags & INDEX_ENTRY_ENCRYPTED) != 0 ? ".enc" : "");
}

int index_key_page(const char *log_name, const struct base_id *log_id, const struct index_ref *r,
                   char **ret, struct varve_error *err)
{
    char id[BASE_ID_TEXT_SIZE], attempt[BASE_ID_TEXT_SIZE];

    base_id_format(log_id, id);
    base_id_format(&r->attempt, attempt);
    return base_format(ret, err,
                       "logs/%s/@/%s/page-%" PRIu32 "-%020" PRId64 "-%020" PRId64 "-%" PRIu32 "-%s",
                       log_name, id, r->level, r->base_offset, r->end_offset, r->epoch, attempt);
}

int index_key_root(const char *log_name, char **ret, struct varve_error *err)
{
    return base_format(ret, err, "logs/%s/@/root", log_name);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Takes exactly 20 digits and the '-' behind them. */
static bool parse_offset(const char **p, int64_t *ret)
{
    uint64_t v = 0;

    for (int i = 0; i < 20; i++) {
        if (!is_digit((*p)[i]))
            return false;
        unsigned digit = (unsigned)((*p)[i] - '0');
        if (v > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    if ((*p)[20] != '-')
        return false;
    *p += 21;
    *ret = (int64_t)v;
    return true;
}

/* Takes a decimal number without leading zeros and the '-' behind it. */
static bool parse_number(const char **p, uint32_t *ret)
{
    const char *q = *p;
    uint64_t v = 0;

    if (!is_digit(*q) || (q[0] == '0' && q[1] != '-'))
        return false;
    for (; is_digit(*q); q++) {
        v = v * 10 + (uint64_t)(*q - '0');
        if (v > UINT32_MAX)
            return false;
    }
    if (*q != '-')
        return false;
    *p = q + 1;
    *ret = (uint32_t)v;
    return true;
}

/* base_id_parse takes capital digits too; a key has one spelling. */
static bool parse_id(const char *p, struct base_id *ret)
{
    size_t size = strnlen(p, BASE_ID_TEXT_SIZE - 1);

    for (size_t i = 0; i < size; i++)
        if (!is_digit(p[i]) && (p[i] < 'a' || p[i] > 'f'))
            return false;
    return size == BASE_ID_TEXT_SIZE - 1 && base_id_parse(p, size, ret);
}

bool index_key_parse(const char *key, struct index_key_parts *ret)
{
    const char *slash = strrchr(key, '/');
    const char *p = slash != NULL ? slash + 1 : key;
    struct index_key_parts parts = {0};

    if (strncmp(p, "page-", 5) == 0) {
        parts.page = true;
        p += 5;
        if (!parse_number(&p, &parts.level))
            return false;
    }
    if (!parse_offset(&p, &parts.base_offset) || !parse_offset(&p, &parts.end_offset) ||
        !parse_number(&p, &parts.epoch) || !parse_id(p, &parts.attempt) ||
        parts.base_offset >= parts.end_offset)
        return false;
    p += BASE_ID_TEXT_SIZE - 1;
    if (parts.page) {
        if (*p != '\0')
            return false;
    } else if (strcmp(p, ".zst.enc") == 0) {
        parts.encrypted = true;
    } else if (strcmp(p, ".zst") != 0) {
        return false;
    }
    *ret = parts;
    return true;
}

/* Size of the UTF-8 character at `p` (0: none), refusing overlong forms and surrogates. */
static size_t utf8_size(const uint8_t *p, size_t left, uint32_t *ret)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    size_t size = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

    if (size == 0 || size > left || p[0] > 0xf4)
        return 0;
    uint32_t c = size == 1 ? p[0] : p[0] & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    if (c < least[size] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *ret = c;
    return size;
}

static int name_characters_check(const char *name, size_t size, struct varve_error *err)
{
    for (size_t i = 0; i < size;) {
        uint32_t c = 0;
        size_t n = utf8_size((const uint8_t *)name + i, size - i, &c);
        if (n == 0)
            return base_fail(err, VARVE_E_INVALID, "log name: byte %zu is not UTF-8", i + 1);
        if (c == 0)
            return base_fail(err, VARVE_E_INVALID, "log name: byte %zu is NUL", i + 1);
        if (c < 0x20 || (c >= 0x7f && c < 0xa0))
            return base_fail(err, VARVE_E_INVALID,
                             "log name: byte %zu is a control character (0x%02x)", i + 1,
                             (unsigned)c);
        if (c == '@' || c == '\\')
            return base_fail(err, VARVE_E_INVALID, "log name '%.*s': '%c' is not allowed",
                             (int)size, name, (int)c);
        i += n;
    }
    return 0;
}

int index_log_name_check(const char *name, size_t size, struct varve_error *err)
{
    if (size == 0)
        return base_fail(err, VARVE_E_INVALID, "log name is empty");
    if (size > INDEX_LOG_NAME_MAX)
        return base_fail(err, VARVE_E_TOO_LARGE, "log name of %zu bytes is too long: at most %d",
                         size, INDEX_LOG_NAME_MAX);
    int rc = name_characters_check(name, size, err);
    if (rc < 0)
        return rc;
    if (memmem(name, size, "..", 2))
        return base_fail(err, VARVE_E_INVALID, "log name '%.*s' holds '..'", (int)size, name);
    for (size_t i = 0; i <= size;) {
        const char *slash = i < size ? memchr(name + i, '/', size - i) : NULL;
        size_t part = (slash != NULL ? (size_t)(slash - name) : size) - i;
        if (part == 0)
            return base_fail(err, VARVE_E_INVALID, "log name '%.*s': a part is empty", (int)size,
                             name);
        if (name[i] == '.' && part == 1)
            return base_fail(err, VARVE_E_INVALID, "log name '%.*s': a part is '.'", (int)size,
                             name);
        i += part + 1;
    }
    return 0;
}
