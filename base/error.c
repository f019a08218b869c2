/* Errors: the names of the codes, and the one place where a struct varve_error is filled. */
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What does not fit into a message ends in this, so that nobody takes a cut name for a whole one.
 */
#define ELLIPSIS "..."

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

/* Marks a text that snprintf cut: `wanted` is what snprintf returned. */
static void mark_cut(char *text, size_t size, int wanted)
{
    if (wanted >= 0 && (size_t)wanted >= size)
        memcpy(text + size - sizeof(ELLIPSIS), ELLIPSIS, sizeof(ELLIPSIS));
}

/* Formats into a local first: an argument may be err->msg itself. */
VARVE_PRINTF(5, 0)
static int fill(struct varve_error *err, int code, int sys_errno, bool retriable,
                const char *format, va_list ap)
{
    char text[sizeof(err->msg)];
    int wanted;

    if (!err)
        return code;
    wanted = vsnprintf(text, sizeof(text), format, ap);
    if (wanted < 0)
        text[0] = '\0';
    mark_cut(text, sizeof(text), wanted);
    err->code = code;
    err->sys_errno = sys_errno;
    err->retriable = retriable;
    memcpy(err->msg, text, strlen(text) + 1);
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
    bool retriable;
    int code = code_of_errno(number, &retriable);
    char reason[96];
    size_t used;
    va_list ap;

    va_start(ap, format);
    fill(err, code, number, retriable, format, ap);
    va_end(ap);
    if (!err)
        return code;
    used = strlen(err->msg);
    mark_cut(err->msg, sizeof(err->msg),
             (int)used + snprintf(err->msg + used, sizeof(err->msg) - used, ": %s",
                                  strerror_r(number, reason, sizeof(reason))));
    return code;
}

int base_error_context(struct varve_error *err, int rc, const char *format, ...)
{
    char context[sizeof(err->msg)];
    char text[sizeof(err->msg)];
    va_list ap;
    int wanted;

    if (!err)
        return rc;
    va_start(ap, format);
    wanted = vsnprintf(context, sizeof(context), format, ap);
    va_end(ap);
    if (wanted < 0)
        return err->code;
    mark_cut(context, sizeof(context), wanted);
    wanted = snprintf(text, sizeof(text), "%s: %s", context, err->msg);
    mark_cut(text, sizeof(text), wanted);
    memcpy(err->msg, text, strlen(text) + 1);
    return err->code;
}
