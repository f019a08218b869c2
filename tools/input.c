#include "tools/input.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "tools/session.h"

#define INPUT_BYTES (256 * 1024)

int tools_input_open(struct tools_input *in, const char *path, size_t line_max,
                     struct varve_error *err)
{
    bool is_stdin = strcmp(path, "-") == 0;

    *in = (struct tools_input){.name = is_stdin ? "standard input" : path, .line_max = line_max};
    in->fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (in->fd < 0)
        return base_fail_errno(err, errno, "open %s", path);
    in->capacity = INPUT_BYTES;
    in->data = malloc(in->capacity);
    if (!in->data) {
        tools_input_close(in);
        return base_fail(err, VARVE_E_NO_MEMORY, "read %s: out of memory", path);
    }
    if (!is_stdin)
        posix_fadvise(in->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return 0;
}

void tools_input_close(struct tools_input *in)
{
    if (in->fd > STDIN_FILENO)
        close(in->fd);
    in->fd = -1;
    free(in->data);
    in->data = NULL;
}

/* Makes room behind `end`: moves what is left to the front, then grows up to one byte above the
 * limit. */
static int make_room(struct tools_input *in, size_t limit, struct varve_error *err)
{
    size_t capacity;
    char *data;

    if (in->start > 0) {
        memmove(in->data, in->data + in->start, in->end - in->start);
        in->end -= in->start;
        in->scanned -= in->start;
        in->start = 0;
    }
    if (in->end < in->capacity)
        return 0;
    if (in->capacity > limit)
        return base_fail(err, VARVE_E_TOO_LARGE,
                         "%s: line %" PRIu64 " is longer than max.message.bytes allows (%zu)",
                         in->name, in->line + 1, limit);
    capacity = in->capacity * 2 < limit ? in->capacity * 2 : limit + 1;
    data = realloc(in->data, capacity);
    if (!data)
        return base_fail(err, VARVE_E_NO_MEMORY, "%s: line %" PRIu64 ": out of memory", in->name,
                         in->line + 1);
    in->data = data;
    in->capacity = capacity;
    return 0;
}

static int fill(struct tools_input *in, size_t limit, struct varve_error *err)
{
    ssize_t n;
    int rc = make_room(in, limit, err);

    if (rc < 0)
        return rc;
    for (;;) {
        if (tools_signal)
            return base_fail(err, VARVE_E_CANCELLED, "%s: interrupted", in->name);
        n = read(in->fd, in->data + in->end, in->capacity - in->end);
        if (n >= 0)
            break;
        if (errno == EAGAIN)
            tools_input_wait(in, -1);
        else if (errno != EINTR)
            return base_fail_errno(err, errno, "read %s", in->name);
    }
    in->end += (size_t)n;
    in->eof = n == 0;
    return 0;
}

/* The newline that ends the next line; NULL: not in the buffer. */
static char *find_newline(struct tools_input *in)
{
    char *p =
        in->scanned < in->end ? memchr(in->data + in->scanned, '\n', in->end - in->scanned) : NULL;

    in->scanned = p ? (size_t)(p - in->data) : in->end;
    return p;
}

bool tools_input_has_line(struct tools_input *in)
{
    return in->eof || find_newline(in) != NULL;
}

int tools_input_line(struct tools_input *in, const char **ret_data, size_t *ret_size,
                     struct varve_error *err)
{
    const char *newline;
    size_t size;

    while (!(newline = find_newline(in)) && !in->eof) {
        int rc = fill(in, in->line_max, err);

        if (rc < 0)
            return rc;
    }
    if (!newline && in->start == in->end)
        return base_fail(err, VARVE_E_END, "%s: ended", in->name);
    size = newline ? (size_t)(newline - (in->data + in->start)) : in->end - in->start;
    if (size > in->line_max)
        return base_fail(err, VARVE_E_TOO_LARGE,
                         "%s: line %" PRIu64 " has %zu bytes, max.message.bytes allows %zu",
                         in->name, in->line + 1, size, in->line_max);
    *ret_data = in->data + in->start;
    *ret_size = size;
    in->line++;
    tools_input_skip(in, size + (newline ? 1 : 0));
    return 0;
}

int tools_input_peek(struct tools_input *in, size_t size, const char **ret_data,
                     struct varve_error *err)
{
    while (in->end - in->start < size && !in->eof) {
        int rc = fill(in, size > in->line_max ? size : in->line_max, err);

        if (rc < 0)
            return rc;
    }
    if (in->start == in->end)
        return base_fail(err, VARVE_E_END, "%s: ended", in->name);
    if (in->end - in->start < size)
        return base_fail(err, VARVE_E_CORRUPT, "%s: ends inside a batch at byte %" PRIu64, in->name,
                         in->bytes);
    *ret_data = in->data + in->start;
    return 0;
}

void tools_input_skip(struct tools_input *in, size_t size)
{
    in->start += size;
    if (in->scanned < in->start)
        in->scanned = in->start;
    in->bytes += size;
}

bool tools_input_wait(struct tools_input *in, int timeout_ms)
{
    struct pollfd p = {.fd = in->fd, .events = POLLIN};

    return poll(&p, 1, timeout_ms) != 0;
}
