/*
 * Raising errors. The struct and the codes are public (varve/error.h); these helpers fill them.
 * Every helper returns `code`, so that raising is one statement: `return base_fail_errno(err,
 * errno, "...")`.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdarg.h>

#include <varve/error.h>

/* Fills *err (when not NULL) with the code and the message. Returns code. Not retriable. */
int base_fail(struct varve_error *err, int code, const char *format, ...) VARVE_PRINTF(3, 4);

/* As base_fail, and marks the error retriable: the same call may succeed later. */
int base_fail_retriable(struct varve_error *err, int code, const char *format, ...)
    VARVE_PRINTF(3, 4);

/*
 * Raises the failure of a system call: ": strerror(sys_errno)" is added to the message, and the
 * code follows from it: ENOMEM VARVE_E_NO_MEMORY; ENOSPC, EDQUOT VARVE_E_NO_SPACE (retriable);
 * EACCES, EPERM, EROFS VARVE_E_DENIED; ENOENT VARVE_E_NOT_FOUND; EEXIST VARVE_E_EXISTS; EAGAIN,
 * EINTR, EMFILE, ENFILE VARVE_E_IO (retriable); everything else VARVE_E_IO. `sys_errno` may be
 * given negated (as base_io calls return it).
 */
int base_fail_errno(struct varve_error *err, int sys_errno, const char *format, ...)
    VARVE_PRINTF(3, 4);

/* Puts "context: " in front of the message of an error that travels upward. Returns err->code, or
 * `rc` without err. */
int base_error_context(struct varve_error *err, int rc, const char *format, ...) VARVE_PRINTF(3, 4);

#endif
