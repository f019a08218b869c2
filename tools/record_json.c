#include "tools/record_json.h"

#include <stdlib.h>
#include <string.h>

#include "tools/text.h"

static const char out_of_memory[] = "out of memory";

void tools_record_json_deinit(struct tools_record_json *r)
{
    base_buffer_deinit(&r->key);
    base_buffer_deinit(&r->value);
    base_buffer_deinit(&r->headers);
    base_buffer_deinit(&r->scratch);
    free(r->list);
    r->list = NULL;
}

static bool is_name(const struct base_json *key, const char *name)
{
    return base_json_equals(key, name, strlen(name));
}

/* Bytes given as "name" (text or null) or as "name_base64". */
static bool take_bytes(const struct base_json *value, bool base64, struct base_buffer *out,
                       bool *ret_null, const char **ret_why)
{
    *ret_null = value->kind == BASE_JSON_NULL;
    if (*ret_null)
        return true;
    if (value->kind != BASE_JSON_STRING || !base_json_string(value, out)) {
        *ret_why = out->failed ? out_of_memory : "key and value must be strings or null";
        return false;
    }
    if (base64 && !tools_base64_decode((char *)out->data, out->size, &out->size)) {
        *ret_why = "bad base64";
        return false;
    }
    return true;
}

static bool take_timestamp(const struct base_json *value, int64_t *ret)
{
    char digits[24], *end;

    if (value->kind != BASE_JSON_NUMBER || value->size >= sizeof(digits))
        return false;
    memcpy(digits, value->data, value->size);
    digits[value->size] = '\0';
    *ret = strtoll(digits, &end, 10);
    return *end == '\0' && *ret >= -1;
}

/* Where a header's bytes lie in r->headers; pointers are set once it stops growing. */
struct place {
    size_t pos;
    size_t size;
};

static bool keep(struct tools_record_json *r, struct place *ret, const char **ret_why)
{
    ret->pos = r->headers.size;
    ret->size = r->scratch.size;
    base_buffer_add(&r->headers, r->scratch.data, r->scratch.size);
    if (r->headers.failed)
        *ret_why = out_of_memory;
    return !r->headers.failed;
}

static bool take_header(struct tools_record_json *r, const struct base_json *object,
                        struct varve_header *ret, const char **ret_why)
{
    struct base_json key, value;
    struct place name = {0}, content = {0};
    bool named = false, null = true, is_null;
    const char *pos = NULL;

    *ret_why = "a header must be an object with a name";
    if (object->kind != BASE_JSON_OBJECT)
        return false;
    while (base_json_next(object, &pos, &key, &value)) {
        bool base64 = is_name(&key, "name_base64") || is_name(&key, "value_base64");

        if (is_name(&key, "name") || is_name(&key, "name_base64")) {
            if (!take_bytes(&value, base64, &r->scratch, &is_null, ret_why) || is_null ||
                !keep(r, &name, ret_why))
                return false;
            named = true;
        } else if (is_name(&key, "value") || is_name(&key, "value_base64")) {
            if (!take_bytes(&value, base64, &r->scratch, &null, ret_why))
                return false;
            if (!null && !keep(r, &content, ret_why))
                return false;
        }
    }
    if (!named) {
        *ret_why = "a header must be an object with a name";
        return false;
    }
    /* Positions for now; headers_place makes pointers of them. A null value has none. */
    *ret = (struct varve_header){.name = (const char *)(uintptr_t)name.pos,
                                 .name_size = name.size,
                                 .value = null ? NULL : (const void *)(uintptr_t)(content.pos + 1),
                                 .value_size = content.size};
    return true;
}

static bool list_grow(struct tools_record_json *r)
{
    size_t capacity = r->list_capacity > 0 ? r->list_capacity * 2 : 16;
    struct varve_header *list = realloc(r->list, capacity * sizeof(*list));

    if (!list)
        return false;
    r->list = list;
    r->list_capacity = capacity;
    return true;
}

static bool take_headers(struct tools_record_json *r, const struct base_json *array,
                         struct varve_record *ret, const char **ret_why)
{
    struct base_json value;
    const char *pos = NULL;
    size_t count = 0;

    if (array->kind != BASE_JSON_ARRAY) {
        *ret_why = "headers must be an array";
        return false;
    }
    base_buffer_clear(&r->headers);
    while (base_json_next(array, &pos, NULL, &value)) {
        if (count == TOOLS_RECORD_HEADERS_MAX) {
            *ret_why = "too many headers";
            return false;
        }
        if (count == r->list_capacity && !list_grow(r)) {
            *ret_why = out_of_memory;
            return false;
        }
        if (!take_header(r, &value, &r->list[count], ret_why))
            return false;
        count++;
    }
    for (size_t i = 0; i < count; i++) {
        struct varve_header *h = &r->list[i];
        /* An empty name in an empty buffer must not be NULL. */
        const char *data = r->headers.data ? (const char *)r->headers.data : "";

        h->name = data + (uintptr_t)h->name;
        if (h->value)
            h->value = data + (uintptr_t)h->value - 1;
    }
    ret->headers = r->list;
    ret->header_count = count;
    return true;
}

static const void *data_of(const struct base_buffer *b, bool null)
{
    return null ? NULL : b->data ? (const void *)b->data : "";
}

bool tools_record_json_parse(struct tools_record_json *r, const char *text, size_t size,
                             struct varve_record *ret, const char **ret_why)
{
    struct varve_record record = {.timestamp = -1};
    bool key_null = true, value_null = true, has_value = false;
    struct base_json object, key, value;
    const char *pos = NULL;

    if (!base_json_parse(text, size, &object) || object.kind != BASE_JSON_OBJECT) {
        *ret_why = "not a JSON object";
        return false;
    }
    while (base_json_next(&object, &pos, &key, &value)) {
        bool ok = true;

        if (is_name(&key, "key") || is_name(&key, "key_base64")) {
            ok = take_bytes(&value, is_name(&key, "key_base64"), &r->key, &key_null, ret_why);
        } else if (is_name(&key, "value") || is_name(&key, "value_base64")) {
            ok = take_bytes(&value, is_name(&key, "value_base64"), &r->value, &value_null, ret_why);
            has_value = true;
        } else if (is_name(&key, "timestamp")) {
            ok = take_timestamp(&value, &record.timestamp);
            *ret_why = "timestamp must be a whole number of ms";
        } else if (is_name(&key, "headers")) {
            ok = take_headers(r, &value, &record, ret_why);
        }
        if (!ok)
            return false;
    }
    if (!has_value) {
        *ret_why = "it has no value";
        return false;
    }
    record.key = data_of(&r->key, key_null);
    record.key_size = key_null ? 0 : r->key.size;
    record.value = data_of(&r->value, value_null);
    record.value_size = value_null ? 0 : r->value.size;
    *ret = record;
    return true;
}
