/*
 * Errors of libvarve.
 *
 * Every function that can fail returns 0 or a negative VARVE_E_* code and, where the caller passes
 * one, fills a struct varve_error. The struct is plain data: no allocation, no ownership, and it
 * may be NULL.
 *
 * Codes down to -19 are conditions: part of a function's contract, expected, handled by the caller.
 * Codes from -20 to -39 are the caller's mistakes. Codes from -40 are failures of the machine or of
 * the store.
 */
#ifndef VARVE_ERROR_H
#define VARVE_ERROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <varve/export.h>

#ifdef __cplusplus
extern "C" {
#endif

enum varve_error_code {
    VARVE_OK = 0,

    VARVE_E_NOT_FOUND = -1,    /* no such log, segment, object or record */
    VARVE_E_EXISTS = -2,       /* the thing to be created is there already */
    VARVE_E_OUT_OF_RANGE = -3, /* an offset outside [log start offset, end offset] */
    VARVE_E_END = -4,          /* nothing more to read at present */
    VARVE_E_TIMEOUT = -5,      /* the deadline passed first */
    VARVE_E_BUSY = -6,         /* held by another process or by another call */
    VARVE_E_FENCED = -7,       /* another writer owns the log: a foreign owner or a higher epoch */
    VARVE_E_FULL = -8,         /* appends are refused until uploads or the disk have caught up */
    VARVE_E_PRECONDITION = -9, /* a conditional write was lost */
    VARVE_E_CANCELLED = -10,   /* closed or interrupted while waiting */

    VARVE_E_INVALID = -20,     /* an argument that can never be right */
    VARVE_E_TOO_LARGE = -21,   /* a record, batch or name above its limit */
    VARVE_E_UNSUPPORTED = -22, /* this build or this store cannot do it */
    VARVE_E_READ_ONLY = -23,   /* a changing call on something opened for reading */
    VARVE_E_VERSION = -24,     /* a format newer than this library */

    VARVE_E_IO = -40,        /* a system call failed */
    VARVE_E_CORRUPT = -41,   /* bytes at rest or on the wire are not what was written */
    VARVE_E_NO_MEMORY = -42, /* an allocation failed */
    VARVE_E_NO_SPACE = -43,  /* the disk or the quota is full */
    VARVE_E_STORE = -44,     /* the object store failed or cannot be reached */
    VARVE_E_DENIED = -45,    /* permission refused, here or by the store */
    VARVE_E_FAILED = -46, /* an earlier failure (an fsync) stopped this log until it is reopened */
};

struct varve_error {
    int code;       /* VARVE_E_* */
    int sys_errno;  /* errno of the call that failed, 0 when none was involved */
    bool retriable; /* the same call may succeed later with nothing else changed */
    char msg[240];  /* outermost context first: "open orders/0: read 000042.log: I/O error" */
};

/*
 * Returns the name of a code, "VARVE_E_FENCED" for VARVE_E_FENCED, and "VARVE_E_?" for what is
 * none.
 *
 * Threads: any. The string is static.
 */
VARVE_API const char *varve_error_name(int code);

#ifdef __cplusplus
}
#endif

#endif
