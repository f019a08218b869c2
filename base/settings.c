/*
 * A settings file: few, small, readable by people, checked by machines.
 *
 * FORMAT (text; every line ends in one LF, the last one too)
 *
 *   line    bytes                                what
 *   ------  -----------------------------------  --------------------------------------------------
 *   first   <magic> SP <version>                 version: decimal, from 1, without leading zeros
 *   then    <name> " = " <value>                 any number up to BASE_SETTINGS_COUNT_MAX
 *           # ...                                a comment; readers pass over it
 *           (nothing)                            likewise
 *   last    "crc32c = " <8 lower-case digits>    CRC32C of all bytes before this line, in hex
 *
 *   name    1..BASE_SETTINGS_NAME_SIZE_MAX of a-z A-Z 0-9 . _ -  and not "crc32c"
 *   value   0..BASE_SETTINGS_VALUE_SIZE_MAX bytes without control characters (0x00-0x1f, 0x7f)
 *
 * The first line and the last keep their form in all versions. What a reader may ignore is a name
 * it does not know; what it must understand raises the version. The "header size" of such a file is
 * its first line.
 *
 * VALID: the above, the checksum right, no name twice, nothing behind the last line.
 *
 * INVARIANTS
 *   T1  Decoding what encoding wrote gives the same names and values in the same order.
 *   T2  A flipped bit anywhere is VARVE_E_CORRUPT: the checksum is compared before the version.
 *   T3  What set refuses never gets into a file; what set takes is read back.
 */
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

#define CHECKSUM_NAME "crc32c"
#define CHECKSUM_PREFIX CHECKSUM_NAME " = "
#define CHECKSUM_LINE_SIZE (sizeof(CHECKSUM_PREFIX) - 1 + 8 + 1)
#define SEPARATOR " = "
#define SEPARATOR_SIZE (sizeof(SEPARATOR) - 1)
#define QUOTED_SIZE_MAX 64 /* of a name or line inside a message */

struct setting {
    char *name;
    char *value;
};

struct base_settings {
    struct setting *list;
    size_t count;
    size_t capacity;
};

/* Bytes that need not end in NUL. */
struct slice {
    const char *data;
    size_t size;
};

static struct slice slice_of(const char *text)
{
    return (struct slice){.data = text, .size = strlen(text)};
}

static bool slice_equal(struct slice a, const char *text)
{
    return strlen(text) == a.size && memcmp(a.data, text, a.size) == 0;
}

static int quoted_size(struct slice s)
{
    return s.size < QUOTED_SIZE_MAX ? (int)s.size : QUOTED_SIZE_MAX;
}

struct base_settings *base_settings_new(void)
{
    return calloc(1, sizeof(struct base_settings));
}

struct base_settings *base_settings_free(struct base_settings *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->count; i++) {
        free(s->list[i].name);
        free(s->list[i].value);
    }
    free(s->list);
    free(s);
    return NULL;
}

static bool name_is_valid(struct slice name)
{
    if (name.size == 0 || name.size > BASE_SETTINGS_NAME_SIZE_MAX)
        return false;
    for (size_t i = 0; i < name.size; i++) {
        char c = name.data[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '.' && c != '_' && c != '-')
            return false;
    }
    return !slice_equal(name, CHECKSUM_NAME);
}

static bool value_is_valid(struct slice value)
{
    if (value.size > BASE_SETTINGS_VALUE_SIZE_MAX)
        return false;
    for (size_t i = 0; i < value.size; i++) {
        unsigned char c = (unsigned char)value.data[i];

        if (c < 0x20 || c == 0x7f)
            return false;
    }
    return true;
}

static struct setting *find(const struct base_settings *s, struct slice name)
{
    for (size_t i = 0; i < s->count; i++) {
        if (slice_equal(name, s->list[i].name))
            return &s->list[i];
    }
    return NULL;
}

static int fail_no_memory(struct varve_error *err, struct slice name)
{
    return base_fail(err, VARVE_E_NO_MEMORY, "setting %.*s: out of memory", quoted_size(name),
                     name.data);
}

static int reserve_one(struct base_settings *s, struct slice name, struct varve_error *err)
{
    size_t capacity = s->capacity > 0 ? 2 * s->capacity : 16;
    struct setting *list;

    if (s->count >= BASE_SETTINGS_COUNT_MAX)
        return base_fail(err, VARVE_E_TOO_LARGE, "setting %.*s: more than %d settings",
                         quoted_size(name), name.data, BASE_SETTINGS_COUNT_MAX);
    if (s->count < s->capacity)
        return 0;
    list = realloc(s->list, capacity * sizeof(*list));
    if (!list)
        return fail_no_memory(err, name);
    s->list = list;
    s->capacity = capacity;
    return 0;
}

/* Adds a setting that is valid and not there yet. */
static int add(struct base_settings *s, struct slice name, struct slice value,
               struct varve_error *err)
{
    struct setting added;
    int rc = reserve_one(s, name, err);

    if (rc < 0)
        return rc;
    added.name = strndup(name.data, name.size);
    added.value = strndup(value.data, value.size);
    if (!added.name || !added.value) {
        free(added.name);
        free(added.value);
        return fail_no_memory(err, name);
    }
    s->list[s->count++] = added;
    return 0;
}

int base_settings_set(struct base_settings *s, const char *name, const char *value,
                      struct varve_error *err)
{
    struct setting *there;
    char *copy;

    if (!name_is_valid(slice_of(name)))
        return base_fail(err, VARVE_E_INVALID, "\"%.*s\" cannot be the name of a setting",
                         QUOTED_SIZE_MAX, name);
    if (!value_is_valid(slice_of(value)))
        return base_fail(err, VARVE_E_INVALID,
                         "setting %s: the value is above %d bytes or holds a control character",
                         name, BASE_SETTINGS_VALUE_SIZE_MAX);
    there = find(s, slice_of(name));
    if (!there)
        return add(s, slice_of(name), slice_of(value), err);
    copy = strdup(value);
    if (!copy)
        return fail_no_memory(err, slice_of(name));
    free(there->value);
    there->value = copy;
    return 0;
}

const char *base_settings_get(const struct base_settings *s, const char *name)
{
    const struct setting *there = find(s, slice_of(name));

    return there ? there->value : NULL;
}

void base_settings_each(const struct base_settings *s,
                        void (*visit)(void *arg, const char *name, const char *value), void *arg)
{
    for (size_t i = 0; i < s->count; i++)
        visit(arg, s->list[i].name, s->list[i].value);
}

static void put_text(struct base_buffer *b, const char *text)
{
    base_buffer_add(b, text, strlen(text));
}

int base_settings_encode(const struct base_settings *s, const char *magic, int version, char **ret,
                         size_t *ret_size, struct varve_error *err)
{
    struct base_buffer b;
    char line[64];

    base_buffer_init(&b);
    put_text(&b, magic);
    snprintf(line, sizeof(line), " %d\n", version);
    put_text(&b, line);
    for (size_t i = 0; i < s->count; i++) {
        put_text(&b, s->list[i].name);
        put_text(&b, SEPARATOR);
        put_text(&b, s->list[i].value);
        put_text(&b, "\n");
    }
    if (!b.failed) {
        snprintf(line, sizeof(line), CHECKSUM_PREFIX "%08x\n", base_crc32c(0, b.data, b.size));
        put_text(&b, line);
    }
    if (b.failed) {
        base_buffer_deinit(&b);
        return base_fail(err, VARVE_E_NO_MEMORY, "encode %s: out of memory", magic);
    }
    *ret = (char *)b.data;
    *ret_size = b.size;
    return 0;
}

/* Takes one line, without its LF, off the front; false when no whole line is left. */
static bool take_line(struct slice *text, struct slice *ret_line)
{
    const char *end = text->size > 0 ? memchr(text->data, '\n', text->size) : NULL;

    if (!end)
        return false;
    ret_line->data = text->data;
    ret_line->size = (size_t)(end - text->data);
    text->size -= ret_line->size + 1;
    text->data = end + 1;
    return true;
}

/* Cuts the last line off after comparing the checksum in it (T2). */
static int check_checksum(struct slice *text, const char *magic, struct varve_error *err)
{
    char line[CHECKSUM_LINE_SIZE + 1];
    size_t size;

    if (text->size < CHECKSUM_LINE_SIZE)
        return base_fail(err, VARVE_E_CORRUPT, "%s: no checksum line at the end", magic);
    size = text->size - CHECKSUM_LINE_SIZE;
    if (memcmp(text->data + size, CHECKSUM_PREFIX, sizeof(CHECKSUM_PREFIX) - 1) != 0)
        return base_fail(err, VARVE_E_CORRUPT, "%s: no checksum line at the end", magic);
    snprintf(line, sizeof(line), CHECKSUM_PREFIX "%08x\n", base_crc32c(0, text->data, size));
    if (memcmp(text->data + size, line, CHECKSUM_LINE_SIZE) != 0)
        return base_fail(err, VARVE_E_CORRUPT, "%s: bad checksum: the bytes give %.8s", magic,
                         line + sizeof(CHECKSUM_PREFIX) - 1);
    text->size = size;
    return 0;
}

static bool starts_with_magic(struct slice text, const char *magic)
{
    size_t size = strlen(magic);

    return text.size > size && memcmp(text.data, magic, size) == 0 && text.data[size] == ' ';
}

/* The first line, whose magic is known to be right. */
static int check_version(struct slice *text, const char *magic, int version_max,
                         struct varve_error *err)
{
    char number[24] = "";
    struct slice line;
    int64_t version;
    size_t skip = strlen(magic) + 1;

    if (!take_line(text, &line))
        return base_fail(err, VARVE_E_CORRUPT, "%s: the first line does not end", magic);
    if (line.size >= skip && line.size - skip < sizeof(number))
        memcpy(number, line.data + skip, line.size - skip);
    if (number[0] < '1' || number[0] > '9' || strlen(number) != line.size - skip ||
        !base_parse_i64(number, &version))
        return base_fail(err, VARVE_E_CORRUPT, "%s: bad version in the first line", magic);
    if (version > version_max)
        return base_fail(err, VARVE_E_VERSION, "%s: version %lld, this library reads up to %d",
                         magic, (long long)version, version_max);
    return 0;
}

static int decode_line(struct base_settings *s, struct slice line, const char *magic,
                       struct varve_error *err)
{
    const char *separator;
    struct slice name, value;

    if (line.size == 0 || line.data[0] == '#')
        return 0;
    separator = memmem(line.data, line.size, SEPARATOR, SEPARATOR_SIZE);
    if (!separator)
        return base_fail(err, VARVE_E_CORRUPT, "%s: a line that is not \"name = value\"", magic);
    name.data = line.data;
    name.size = (size_t)(separator - line.data);
    value.data = separator + SEPARATOR_SIZE;
    value.size = line.size - name.size - SEPARATOR_SIZE;
    if (!name_is_valid(name))
        return base_fail(err, VARVE_E_CORRUPT, "%s: bad name of a setting", magic);
    if (!value_is_valid(value))
        return base_fail(err, VARVE_E_CORRUPT, "%s: bad value of setting %.*s", magic,
                         quoted_size(name), name.data);
    if (find(s, name))
        return base_fail(err, VARVE_E_CORRUPT, "%s: setting %.*s is there twice", magic,
                         quoted_size(name), name.data);
    if (s->count >= BASE_SETTINGS_COUNT_MAX)
        return base_fail(err, VARVE_E_CORRUPT, "%s: more than %d settings", magic,
                         BASE_SETTINGS_COUNT_MAX);
    return add(s, name, value, err);
}

int base_settings_decode(const void *data, size_t size, const char *magic, int version_max,
                         struct base_settings **ret, struct varve_error *err)
{
    struct slice text = {.data = data, .size = size};
    struct slice line;
    struct base_settings *s;
    int rc;

    if (!starts_with_magic(text, magic))
        return base_fail(err, VARVE_E_CORRUPT, "%s: bad magic", magic);
    rc = check_checksum(&text, magic, err);
    if (rc == 0)
        rc = check_version(&text, magic, version_max, err);
    if (rc < 0)
        return rc;
    s = base_settings_new();
    if (!s)
        return base_fail(err, VARVE_E_NO_MEMORY, "decode %s: out of memory", magic);
    while (rc == 0 && take_line(&text, &line))
        rc = decode_line(s, line, magic, err);
    if (rc == 0 && text.size > 0)
        rc = base_fail(err, VARVE_E_CORRUPT, "%s: a line before the checksum does not end", magic);
    if (rc < 0) {
        base_settings_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}
