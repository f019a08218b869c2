/*
 * A bounded scanner for JSON (RFC 8259): finds values in a text without building a tree and without
 * allocating. Depth is limited to BASE_JSON_DEPTH_MAX.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

#define BASE_JSON_DEPTH_MAX 128

enum base_json_kind {
    BASE_JSON_NULL,
    BASE_JSON_FALSE,
    BASE_JSON_TRUE,
    BASE_JSON_NUMBER,
    BASE_JSON_STRING, /* the span includes the quotes */
    BASE_JSON_ARRAY,
    BASE_JSON_OBJECT,
};

/* One value: its kind, and its bytes in the text. */
struct base_json {
    enum base_json_kind kind;
    const char *data;
    size_t size;
};

/* The whole text as one value; white space around it is passed over. False: not valid JSON. */
bool base_json_parse(const char *text, size_t size, struct base_json *ret);

/* Walks an array or object that was parsed. Start with *pos NULL. False: no more. `ret_key` (a
 * string) is only written for objects and may be NULL. */
bool base_json_next(const struct base_json *parent, const char **pos, struct base_json *ret_key,
                    struct base_json *ret_value);

/*
 * The value at a dotted path ("request.time", "events.0.at"). A member whose name is the whole rest
 * of the path goes before one named by its first part. Reads no further than it must: what follows
 * the value may be malformed. False: not there.
 */
bool base_json_find(const char *text, size_t size, const char *path, struct base_json *ret);

/* True when a string's content is `text`. */
bool base_json_equals(const struct base_json *string, const char *text, size_t size);

/* Replaces the content of `out` by the string's, escapes resolved. False: an unpaired surrogate, or
 * out of memory (out->failed). */
bool base_json_string(const struct base_json *string, struct base_buffer *out);

#endif
