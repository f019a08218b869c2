/* Reads back a record that tools_output_json_record wrote. */
#ifndef TOOLS_RECORD_JSON_H
#define TOOLS_RECORD_JSON_H

#include <varve/record.h>

#include "base/bytes.h"
#include "base/json.h"

#define TOOLS_RECORD_HEADERS_MAX 1024

/* Memory kept between records; zero it to begin with. */
struct tools_record_json {
    struct base_buffer key;
    struct base_buffer value;
    struct base_buffer headers; /* names and values, back to back */
    struct base_buffer scratch;
    struct varve_header *list;
    size_t list_capacity;
};

/*
 * Views in *ret are valid until the next call. Members that it does not know, the offset among
 * them, are passed over. False: *ret_why says what is wrong.
 */
bool tools_record_json_parse(struct tools_record_json *r, const char *text, size_t size,
                             struct varve_record *ret, const char **ret_why);
void tools_record_json_deinit(struct tools_record_json *r);

#endif
