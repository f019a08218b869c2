/*
 * A bounded scanner for JSON (RFC 8259): finds values in a text without building a tree and without
 * allocating. Depth is limited to TOOLS_JSON_DEPTH_MAX.
 */
#ifndef TOOLS_JSON_H
#define TOOLS_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/bytes.h"

#define TOOLS_JSON_DEPTH_MAX 128

enum tools_json_kind {
    TOOLS_JSON_NULL,
    TOOLS_JSON_FALSE,
    TOOLS_JSON_TRUE,
    TOOLS_JSON_NUMBER,
    TOOLS_JSON_STRING, /* the span includes the quotes */
    TOOLS_JSON_ARRAY,
    TOOLS_JSON_OBJECT,
};

/* One value: its kind, and its bytes in the text. */
struct tools_json {
    enum tools_json_kind kind;
    const char *data;
    size_t size;
};

/* The whole text as one value; white space around it is passed over. False: not valid JSON. */
bool tools_json_parse(const char *text, size_t size, struct tools_json *ret);

/* Walks an array or object that was parsed. Start with *pos NULL. False: no more. `ret_key` (a
 * string) is only written for objects and may be NULL. */
bool tools_json_next(const struct tools_json *parent, const char **pos, struct tools_json *ret_key,
                     struct tools_json *ret_value);

/*
 * The value at a dotted path ("request.time", "events.0.at"). A member whose name is the whole rest
 * of the path goes before one named by its first part. Reads no further than it must: what follows
 * the value may be malformed. False: not there.
 */
bool tools_json_find(const char *text, size_t size, const char *path, struct tools_json *ret);

/* True when a string's content is `text`. */
bool tools_json_equals(const struct tools_json *string, const char *text, size_t size);

/* Replaces the content of `out` by the string's, escapes resolved. False: an unpaired surrogate, or
 * out of memory (out->failed). */
bool tools_json_string(const struct tools_json *string, struct base_buffer *out);

#endif
