#include "base/json.h"

#include <string.h>

#include "base/text.h"

struct scan {
    const char *pos;
    const char *end;
};

static void skip_space(struct scan *s)
{
    while (s->pos < s->end &&
           (*s->pos == ' ' || *s->pos == '\t' || *s->pos == '\n' || *s->pos == '\r'))
        s->pos++;
}

static bool take(struct scan *s, char c)
{
    if (s->pos == s->end || *s->pos != c)
        return false;
    s->pos++;
    return true;
}

static bool take_word(struct scan *s, const char *word)
{
    size_t size = strlen(word);

    if ((size_t)(s->end - s->pos) < size || memcmp(s->pos, word, size) != 0)
        return false;
    s->pos += size;
    return true;
}

static bool take_escape(struct scan *s)
{
    if (s->pos == s->end)
        return false;
    if (*s->pos != 'u') {
        if (*s->pos == '\0' || !strchr("\"\\/bfnrt", *s->pos))
            return false;
        s->pos++;
        return true;
    }
    if (s->end - s->pos < 5)
        return false;
    for (int i = 1; i <= 4; i++)
        if (base_hex_digit(s->pos[i]) < 0)
            return false;
    s->pos += 5;
    return true;
}

static bool take_string(struct scan *s)
{
    if (!take(s, '"'))
        return false;
    while (s->pos < s->end) {
        unsigned char c = (unsigned char)*s->pos++;

        if (c == '"')
            return true;
        if (c < 0x20)
            return false;
        if (c == '\\' && !take_escape(s))
            return false;
    }
    return false;
}

static bool take_digits(struct scan *s)
{
    const char *from = s->pos;

    while (s->pos < s->end && *s->pos >= '0' && *s->pos <= '9')
        s->pos++;
    return s->pos > from;
}

static bool take_number(struct scan *s)
{
    (void)take(s, '-');
    if (!take(s, '0') && !take_digits(s))
        return false;
    if (take(s, '.') && !take_digits(s))
        return false;
    if (take(s, 'e') || take(s, 'E')) {
        if (!take(s, '+'))
            (void)take(s, '-');
        return take_digits(s);
    }
    return true;
}

static bool take_value(struct scan *s, int depth, struct base_json *ret);

static bool take_array(struct scan *s, int depth)
{
    struct base_json value;

    s->pos++;
    skip_space(s);
    if (take(s, ']'))
        return true;
    do {
        if (!take_value(s, depth, &value))
            return false;
    } while (take(s, ','));
    return take(s, ']');
}

/* A member's name and its colon. */
static bool take_key(struct scan *s, struct base_json *ret_key)
{
    skip_space(s);
    ret_key->kind = BASE_JSON_STRING;
    ret_key->data = s->pos;
    if (!take_string(s))
        return false;
    ret_key->size = (size_t)(s->pos - ret_key->data);
    skip_space(s);
    return take(s, ':');
}

static bool take_object(struct scan *s, int depth)
{
    struct base_json key, value;

    s->pos++;
    skip_space(s);
    if (take(s, '}'))
        return true;
    do {
        if (!take_key(s, &key) || !take_value(s, depth, &value))
            return false;
    } while (take(s, ','));
    return take(s, '}');
}

/* One value with the white space on both sides. */
static bool take_value(struct scan *s, int depth, struct base_json *ret)
{
    bool ok;

    skip_space(s);
    if (s->pos == s->end || depth >= BASE_JSON_DEPTH_MAX)
        return false;
    ret->data = s->pos;
    switch (*s->pos) {
    case '{':
        ret->kind = BASE_JSON_OBJECT;
        ok = take_object(s, depth + 1);
        break;
    case '[':
        ret->kind = BASE_JSON_ARRAY;
        ok = take_array(s, depth + 1);
        break;
    case '"':
        ret->kind = BASE_JSON_STRING;
        ok = take_string(s);
        break;
    case 't':
        ret->kind = BASE_JSON_TRUE;
        ok = take_word(s, "true");
        break;
    case 'f':
        ret->kind = BASE_JSON_FALSE;
        ok = take_word(s, "false");
        break;
    case 'n':
        ret->kind = BASE_JSON_NULL;
        ok = take_word(s, "null");
        break;
    default:
        ret->kind = BASE_JSON_NUMBER;
        ok = take_number(s);
        break;
    }
    ret->size = (size_t)(s->pos - ret->data);
    if (ok)
        skip_space(s);
    return ok;
}

bool base_json_parse(const char *text, size_t size, struct base_json *ret)
{
    struct scan s = {.pos = text, .end = text + size};

    return take_value(&s, 0, ret) && s.pos == s.end;
}

bool base_json_next(const struct base_json *parent, const char **pos, struct base_json *ret_key,
                    struct base_json *ret_value)
{
    struct scan s = {.pos = *pos ? *pos : parent->data + 1, .end = parent->data + parent->size};
    struct base_json key;

    skip_space(&s);
    if (*pos && !take(&s, ','))
        return false;
    if (parent->kind == BASE_JSON_OBJECT) {
        if (!take_key(&s, &key))
            return false;
        if (ret_key)
            *ret_key = key;
    }
    if (!take_value(&s, 0, ret_value))
        return false;
    *pos = s.pos;
    return true;
}

/* Descends by one part of the path. True: *s stands on the value, *path on the rest. */
static bool descend_object(struct scan *s, const char **path)
{
    size_t part = strcspn(*path, ".");
    struct base_json key, value;

    s->pos++;
    do {
        if (!take_key(s, &key))
            return false;
        if (base_json_equals(&key, *path, strlen(*path))) {
            *path = "";
            return true;
        }
        if ((*path)[part] == '.' && base_json_equals(&key, *path, part)) {
            *path += part + 1;
            return true;
        }
        if (!take_value(s, 0, &value))
            return false;
    } while (take(s, ','));
    return false;
}

static bool descend_array(struct scan *s, const char **path)
{
    size_t part = strcspn(*path, ".");
    struct base_json value;
    size_t index = 0;

    if (part == 0 || part > 9)
        return false;
    for (size_t i = 0; i < part; i++) {
        if ((*path)[i] < '0' || (*path)[i] > '9')
            return false;
        index = index * 10 + (size_t)((*path)[i] - '0');
    }
    s->pos++;
    for (; index > 0; index--)
        if (!take_value(s, 0, &value) || !take(s, ','))
            return false;
    *path += part + ((*path)[part] == '.' ? 1 : 0);
    return true;
}

bool base_json_find(const char *text, size_t size, const char *path, struct base_json *ret)
{
    struct scan s = {.pos = text, .end = text + size};

    while (*path != '\0') {
        skip_space(&s);
        if (s.pos == s.end)
            return false;
        if (*s.pos == '{' ? !descend_object(&s, &path) : *s.pos != '[' || !descend_array(&s, &path))
            return false;
    }
    return take_value(&s, 0, ret);
}

static uint32_t hex4(const char *p)
{
    uint32_t v = 0;

    for (int i = 0; i < 4; i++)
        v = v << 4 | (uint32_t)base_hex_digit(p[i]);
    return v;
}

static bool is_surrogate(uint32_t code, uint32_t first)
{
    return code >= first && code < first + 0x400;
}

/* Writes a code point as UTF-8; returns the bytes, at most 4. */
static size_t utf8_put(uint32_t code, char *ret)
{
    if (code < 0x80) {
        ret[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        ret[0] = (char)(0xc0 | code >> 6);
        ret[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        ret[0] = (char)(0xe0 | code >> 12);
        ret[1] = (char)(0x80 | (code >> 6 & 0x3f));
        ret[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    ret[0] = (char)(0xf0 | code >> 18);
    ret[1] = (char)(0x80 | (code >> 12 & 0x3f));
    ret[2] = (char)(0x80 | (code >> 6 & 0x3f));
    ret[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

/* One character of a string that was scanned before: its bytes. 0: an unpaired surrogate. */
static size_t next_character(const char **pos, char ret[4])
{
    static const char names[] = "bfnrt\"\\/", bytes[] = "\b\f\n\r\t\"\\/";
    const char *p = *pos;
    uint32_t code;

    if (p[0] != '\\') {
        ret[0] = p[0];
        *pos = p + 1;
        return 1;
    }
    if (p[1] != 'u') {
        ret[0] = bytes[strchr(names, p[1]) - names];
        *pos = p + 2;
        return 1;
    }
    code = hex4(p + 2);
    *pos = p + 6;
    if (is_surrogate(code, 0xdc00))
        return 0;
    if (is_surrogate(code, 0xd800)) {
        /* The closing quote ends the text at the latest, so these bytes are there to compare. */
        if (p[6] != '\\' || p[7] != 'u' || !is_surrogate(hex4(p + 8), 0xdc00))
            return 0;
        code = 0x10000 + ((code - 0xd800) << 10) + (hex4(p + 8) - 0xdc00);
        *pos = p + 12;
    }
    return utf8_put(code, ret);
}

bool base_json_equals(const struct base_json *string, const char *text, size_t size)
{
    const char *pos = string->data + 1, *end = string->data + string->size - 1;
    size_t at = 0;

    while (pos < end) {
        char bytes[4];
        size_t n = next_character(&pos, bytes);

        if (n == 0 || n > size - at || memcmp(text + at, bytes, n) != 0)
            return false;
        at += n;
    }
    return at == size;
}

bool base_json_string(const struct base_json *string, struct base_buffer *out)
{
    const char *pos = string->data + 1, *end = string->data + string->size - 1;

    base_buffer_clear(out);
    while (pos < end) {
        char bytes[4];
        const char *plain = pos;
        size_t n;

        while (pos < end && *pos != '\\')
            pos++;
        base_buffer_add(out, plain, (size_t)(pos - plain));
        if (pos == end)
            break;
        n = next_character(&pos, bytes);
        if (n == 0)
            return false;
        base_buffer_add(out, bytes, n);
    }
    return !out->failed;
}
