/* Reading lines, or runs of bytes, from a file or a pipe, in large reads. */
#ifndef TOOLS_INPUT_H
#define TOOLS_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <varve/error.h>

struct tools_input {
    const char *name; /* for messages */
    int fd;
    char *data;
    size_t start; /* of what was not taken yet */
    size_t end;
    size_t scanned; /* no newline in [start, scanned) */
    size_t capacity;
    size_t line_max;
    bool eof;
    uint64_t line;  /* number of the line taken last, from 1 */
    uint64_t bytes; /* taken so far */
};

/* `path` "-" is standard input. A line above `line_max` bytes is refused. */
int tools_input_open(struct tools_input *in, const char *path, size_t line_max,
                     struct varve_error *err);
void tools_input_close(struct tools_input *in);

/*
 * The next line without its newline; a view, valid until the next call. VARVE_E_END: no more.
 * VARVE_E_CANCELLED: a signal came (tools_signal). VARVE_E_TOO_LARGE names file and line.
 */
int tools_input_line(struct tools_input *in, const char **ret_data, size_t *ret_size,
                     struct varve_error *err);

/*
 * Exactly `size` bytes that start where the next call begins too, until tools_input_skip.
 * VARVE_E_END when the input ended just before; VARVE_E_CORRUPT when it ends inside.
 */
int tools_input_peek(struct tools_input *in, size_t size, const char **ret_data,
                     struct varve_error *err);
void tools_input_skip(struct tools_input *in, size_t size);

/* True when the next line is there without reading. */
bool tools_input_has_line(struct tools_input *in);
/* Waits for more input; false when none came within `timeout_ms`. */
bool tools_input_wait(struct tools_input *in, int timeout_ms);

#endif
