#include "tools/output.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "tools/text.h"

int tools_output_init(struct tools_output *out, int fd, struct varve_error *err)
{
    *out = (struct tools_output){.fd = fd, .data = malloc(TOOLS_OUTPUT_BYTES)};
    if (!out->data)
        return base_fail(err, VARVE_E_NO_MEMORY, "a buffer for the output: out of memory");
    return 0;
}

void tools_output_deinit(struct tools_output *out)
{
    free(out->data);
    out->data = NULL;
}

bool tools_output_ended(const struct tools_output *out)
{
    return out->closed || out->sys_errno != 0;
}

static void write_all(struct tools_output *out, const char *data, size_t size)
{
    while (size > 0 && !tools_output_ended(out)) {
        ssize_t n = write(out->fd, data, size);

        if (n >= 0) {
            data += n;
            size -= (size_t)n;
        } else if (errno == EPIPE) {
            out->closed = true;
        } else if (errno == EAGAIN) {
            struct pollfd p = {.fd = out->fd, .events = POLLOUT};

            poll(&p, 1, -1);
        } else if (errno != EINTR) {
            out->sys_errno = errno;
        }
    }
}

void tools_output_flush(struct tools_output *out)
{
    write_all(out, out->data, out->size);
    out->size = 0;
}

void tools_output_add(struct tools_output *out, const void *data, size_t size)
{
    if (size > TOOLS_OUTPUT_BYTES - out->size)
        tools_output_flush(out);
    if (size > TOOLS_OUTPUT_BYTES) {
        write_all(out, data, size);
        return;
    }
    if (size > 0)
        memcpy(out->data + out->size, data, size);
    out->size += size;
}

void tools_output_text(struct tools_output *out, const char *text)
{
    tools_output_add(out, text, strlen(text));
}

void tools_output_char(struct tools_output *out, char c)
{
    if (out->size == TOOLS_OUTPUT_BYTES)
        tools_output_flush(out);
    out->data[out->size++] = c;
}

void tools_output_printf(struct tools_output *out, const char *format, ...)
{
    char text[1024];
    va_list ap;
    int size;

    va_start(ap, format);
    size = vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    if (size > 0)
        tools_output_add(out, text, (size_t)size < sizeof(text) ? (size_t)size : sizeof(text) - 1);
}

int tools_output_error(const struct tools_output *out, struct varve_error *err)
{
    if (out->sys_errno == 0)
        return 0;
    return base_fail_errno(err, out->sys_errno, "write to standard output");
}

bool tools_output_probe(struct tools_output *out)
{
    struct pollfd p = {.fd = out->fd, .events = 0};

    if (poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLNVAL)))
        out->closed = true;
    return out->closed;
}

void tools_output_json(struct tools_output *out, const char *data, size_t size)
{
    size_t from = 0;

    tools_output_char(out, '"');
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)data[i];

        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
            continue;
        tools_output_add(out, data + from, i - from);
        from = i + 1;
        if (c == '"' || c == '\\')
            tools_output_printf(out, "\\%c", c);
        else if (c == '\n')
            tools_output_text(out, "\\n");
        else if (c == '\t')
            tools_output_text(out, "\\t");
        else if (c == '\r')
            tools_output_text(out, "\\r");
        else
            tools_output_printf(out, "\\u%04x", c);
    }
    tools_output_add(out, data + from, size - from);
    tools_output_char(out, '"');
}

void tools_output_json_bytes(struct tools_output *out, const char *name, const void *data,
                             size_t size)
{
    tools_output_char(out, '"');
    tools_output_text(out, name);
    if (!data) {
        tools_output_text(out, "\":null");
    } else if (tools_utf8_is_valid(data, size)) {
        tools_output_text(out, "\":");
        tools_output_json(out, data, size);
    } else {
        const unsigned char *p = data;

        tools_output_text(out, "_base64\":\"");
        for (size_t i = 0; i < size; i += 3) {
            char four[4];

            tools_base64_encode(p + i, size - i < 3 ? size - i : 3, four);
            tools_output_add(out, four, sizeof(four));
        }
        tools_output_char(out, '"');
    }
}

void tools_output_json_record(struct tools_output *out, const struct varve_record *record)
{
    tools_output_printf(out, "{\"offset\":%lld,\"timestamp\":%lld,", (long long)record->offset,
                        (long long)record->timestamp);
    tools_output_json_bytes(out, "key", record->key, record->key_size);
    tools_output_char(out, ',');
    tools_output_json_bytes(out, "value", record->value, record->value_size);
    if (record->header_count > 0) {
        tools_output_text(out, ",\"headers\":[");
        for (size_t i = 0; i < record->header_count; i++) {
            const struct varve_header *h = &record->headers[i];

            tools_output_text(out, i > 0 ? ",{" : "{");
            tools_output_json_bytes(out, "name", h->name, h->name_size);
            tools_output_char(out, ',');
            tools_output_json_bytes(out, "value", h->value, h->value_size);
            tools_output_char(out, '}');
        }
        tools_output_char(out, ']');
    }
    tools_output_char(out, '}');
}
