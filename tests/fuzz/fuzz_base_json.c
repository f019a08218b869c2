/* Every value of a document is walked, and its strings are read. What one value says of its place
 * lies inside the text, and a value that was found parses by itself. */
#include "base/json.h"
#include "tests/fuzz/fuzz.h"

static void walk(const struct base_json *value, const char *text, size_t size, int depth)
{
    const char *pos = NULL;
    struct base_json key = {0}, member, alone;
    struct base_buffer out;

    must(depth <= BASE_JSON_DEPTH_MAX + 1);
    must(value->data >= text && value->size <= size &&
         (size_t)(value->data - text) <= size - value->size);
    must(base_json_parse(value->data, value->size, &alone) && alone.kind == value->kind);
    if (value->kind == BASE_JSON_STRING) {
        base_buffer_init(&out);
        if (base_json_string(value, &out)) {
            must(out.size <= value->size);
            must(base_json_equals(value, (const char *)out.data, out.size));
        }
        base_buffer_deinit(&out);
    }
    if (value->kind != BASE_JSON_ARRAY && value->kind != BASE_JSON_OBJECT)
        return;
    while (base_json_next(value, &pos, &key, &member)) {
        if (value->kind == BASE_JSON_OBJECT)
            must(key.kind == BASE_JSON_STRING);
        walk(&member, text, size, depth + 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct base_json value;

    /* Values inside values are parsed again and again: what is long is left to others. */
    if (size > 0 && size <= 4096 && base_json_parse(text, size, &value))
        walk(&value, text, size, 0);
    (void)base_json_find(text, size, "a.b.0.c", &value);
    (void)base_json_find(text, size, "timestamp", &value);
    return 0;
}
