/*
 * Standard output in large writes, and JSON on it.
 *
 * Errors are kept and tested once at the end; a closed pipe is no error: it only sets `closed`, and
 * the producer may stop.
 */
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <varve/record.h>

#define TOOLS_OUTPUT_BYTES (256 * 1024)

struct tools_output {
    int fd;
    char *data;
    size_t size;
    bool closed;   /* the reader is gone; everything written since is dropped */
    int sys_errno; /* of the first write that failed otherwise */
};

int tools_output_init(struct tools_output *out, int fd, struct varve_error *err);
/* Writes nothing; flush first. */
void tools_output_deinit(struct tools_output *out);

void tools_output_flush(struct tools_output *out);
void tools_output_add(struct tools_output *out, const void *data, size_t size);
void tools_output_text(struct tools_output *out, const char *text);
void tools_output_char(struct tools_output *out, char c);
/* At most 1 KiB. */
void tools_output_printf(struct tools_output *out, const char *format, ...) VARVE_PRINTF(2, 3);

/* True when writing makes no sense any more: closed or failed. */
bool tools_output_ended(const struct tools_output *out);
/* The failure as an error; 0 when there was none. */
int tools_output_error(const struct tools_output *out, struct varve_error *err);
/* True once the other end of a pipe is gone; does not wait. Sets `closed`. */
bool tools_output_probe(struct tools_output *out);

/* A JSON string with its quotes; `data` must be UTF-8. */
void tools_output_json(struct tools_output *out, const char *data, size_t size);
/* `"name":"text"`, or `"name_base64":"..."` for bytes that are not UTF-8, or `"name":null`. */
void tools_output_json_bytes(struct tools_output *out, const char *name, const void *data,
                             size_t size);
/* One record as `read --json` prints it, without a newline. */
void tools_output_json_record(struct tools_output *out, const struct varve_record *record);

#endif
