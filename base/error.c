/* Errors: the names of the codes, and the one place where a struct varve_error is filled. */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * What does not fit into a message is cut out of its middle, and this marks the place: the
 * outermost context is at the beginning and says where, the cause is at the end and says why; what
 * is between them is long because of names (keys have up to 1,024 bytes), whose ends differ.
 */
#define ELLIPSIS "..."
#define ELLIPSIS_SIZE (sizeof(ELLIPSIS) - 1)
#define CONTEXT_ROOM_MIN 80 /* of a context before a cause that would fill the message alone */
#define FORMAT_SIZE 2048    /* a message before it is shortened: a key and a URL fit */

const char *varve_error_name(int code)
{
    switch (code) {
    case VARVE_OK:
        return "VARVE_OK";
    case VARVE_E_NOT_FOUND:
        return "VARVE_E_NOT_FOUND";
    case VARVE_E_EXISTS:
        return "VARVE_E_EXISTS";
    case VARVE_E_OUT_OF_RANGE:
        return "VARVE_E_OUT_OF_RANGE";
    case VARVE_E_END:
        return "VARVE_E_END";
    case VARVE_E_TIMEOUT:
        return "VARVE_E_TIMEOUT";
    case VARVE_E_BUSY:
        return "VARVE_E_BUSY";
    case VARVE_E_FENCED:
        return "VARVE_E_FENCED";
    case VARVE_E_FULL:
        return "VARVE_E_FULL";
    case VARVE_E_PRECONDITION:
        return "VARVE_E_PRECONDITION";
    case VARVE_E_CANCELLED:
        return "VARVE_E_CANCELLED";
    case VARVE_E_INVALID:
        return "VARVE_E_INVALID";
    case VARVE_E_TOO_LARGE:
        return "VARVE_E_TOO_LARGE";
    case VARVE_E_UNSUPPORTED:
        return "VARVE_E_UNSUPPORTED";
    case VARVE_E_READ_ONLY:
        return "VARVE_E_READ_ONLY";
    case VARVE_E_VERSION:
        return "VARVE_E_VERSION";
    case VARVE_E_IO:
        return "VARVE_E_IO";
    case VARVE_E_CORRUPT:
        return "VARVE_E_CORRUPT";
    case VARVE_E_NO_MEMORY:
        return "VARVE_E_NO_MEMORY";
    case VARVE_E_NO_SPACE:
        return "VARVE_E_NO_SPACE";
    case VARVE_E_STORE:
        return "VARVE_E_STORE";
    case VARVE_E_DENIED:
        return "VARVE_E_DENIED";
    case VARVE_E_FAILED:
        return "VARVE_E_FAILED";
    default:
        return "VARVE_E_?";
    }
}

/* True: `at` is inside a UTF-8 character. */
static bool is_inside(const char *at)
{
    return ((unsigned char)*at & 0xc0) == 0x80;
}

/* Copies what fits into `room` bytes and NUL: a third of it from the beginning, the rest from the
 * end. */
static void shorten(const char *text, size_t size, char *ret, size_t room)
{
    size_t head, tail;

    if (size <= room) {
        memcpy(ret, text, size);
        ret[size] = '\0';
        return;
    }
    head = (room - ELLIPSIS_SIZE) / 3;
    tail = room - ELLIPSIS_SIZE - head;
    while (head > 0 && is_inside(text + head))
        head--;
    while (tail > 0 && is_inside(text + size - tail))
        tail--;
    memcpy(ret, text, head);
    memcpy(ret + head, ELLIPSIS, ELLIPSIS_SIZE);
    memcpy(ret + head + ELLIPSIS_SIZE, text + size - tail, tail);
    ret[head + ELLIPSIS_SIZE + tail] = '\0';
}

/* "<context>: <cause>" in err->msg: each gets the room that the other leaves. Neither may be part
 * of it. */
static void join(struct varve_error *err, const char *context, const char *cause)
{
    size_t room = sizeof(err->msg) - 1 - 2; /* ": " */
    size_t context_size = strlen(context), cause_size = strlen(cause);
    size_t least = context_size < CONTEXT_ROOM_MIN ? context_size : CONTEXT_ROOM_MIN;
    size_t cause_room = cause_size < room - least ? cause_size : room - least;

    shorten(context, context_size, err->msg, room - cause_room);
    memcpy(err->msg + strlen(err->msg), ": ", 3);
    shorten(cause, cause_size, err->msg + strlen(err->msg), cause_room);
}

VARVE_PRINTF(2, 0)
static void format_text(char text[FORMAT_SIZE], const char *format, va_list ap)
{
    if (vsnprintf(text, FORMAT_SIZE, format, ap) < 0)
        text[0] = '\0';
}

/* Formats into a local first: an argument may be err->msg itself. */
VARVE_PRINTF(5, 0)
static int fill(struct varve_error *err, int code, int sys_errno, bool retriable,
                const char *format, va_list ap)
{
    char text[FORMAT_SIZE];

    if (!err)
        return code;
    format_text(text, format, ap);
    err->code = code;
    err->sys_errno = sys_errno;
    err->retriable = retriable;
    shorten(text, strlen(text), err->msg, sizeof(err->msg) - 1);
    return code;
}

int base_fail(struct varve_error *err, int code, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    fill(err, code, 0, false, format, ap);
    va_end(ap);
    return code;
}

int base_fail_retriable(struct varve_error *err, int code, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    fill(err, code, 0, true, format, ap);
    va_end(ap);
    return code;
}

static int code_of_errno(int sys_errno, bool *ret_retriable)
{
    *ret_retriable = false;
    switch (sys_errno) {
    case ENOMEM:
        return VARVE_E_NO_MEMORY;
    case ENOSPC:
    case EDQUOT:
        *ret_retriable = true;
        return VARVE_E_NO_SPACE;
    case EACCES:
    case EPERM:
    case EROFS:
        return VARVE_E_DENIED;
    case ENOENT:
        return VARVE_E_NOT_FOUND;
    case EEXIST:
        return VARVE_E_EXISTS;
    case EAGAIN:
    case EINTR:
    case EMFILE:
    case ENFILE:
        *ret_retriable = true;
        return VARVE_E_IO;
    default:
        return VARVE_E_IO;
    }
}

int base_fail_errno(struct varve_error *err, int sys_errno, const char *format, ...)
{
    int number = abs(sys_errno);
    char text[FORMAT_SIZE], reason[96];
    bool retriable;
    int code = code_of_errno(number, &retriable);
    va_list ap;

    if (!err)
        return code;
    va_start(ap, format);
    format_text(text, format, ap);
    va_end(ap);
    *err = (struct varve_error){.code = code, .sys_errno = number, .retriable = retriable};
    join(err, text, strerror_r(number, reason, sizeof(reason)));
    return code;
}

int base_error_context(struct varve_error *err, int rc, const char *format, ...)
{
    char text[FORMAT_SIZE], cause[sizeof(err->msg)];
    va_list ap;

    if (!err)
        return rc;
    va_start(ap, format);
    format_text(text, format, ap);
    va_end(ap);
    memcpy(cause, err->msg, sizeof(cause));
    cause[sizeof(cause) - 1] = '\0';
    if (text[0])
        join(err, text, cause);
    return err->code;
}
