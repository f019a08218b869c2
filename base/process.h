/* Programs that are run for their output. */
#ifndef BASE_PROCESS_H
#define BASE_PROCESS_H

#include <stddef.h>
#include <stdint.h>

#include <varve/error.h>

/*
 * Runs `command` by /bin/sh and waits for its end. The child has the caller's environment and
 * directory, no signal blocked or ignored, and of the caller's descriptors none: it reads from and
 * writes its errors to /dev/null. *ret is what it wrote, with a NUL behind that is not counted, in
 * fresh memory that is the caller's to free.
 *
 * When it writes more than `size_max` bytes, or has not ended (with whatever it started that still
 * has its output open) after `timeout_ms`, its process group is killed. The caller may ignore
 * SIGCHLD; the status is then not known, and an output counts.
 *
 * Threads: any; blocks. Conditions: VARVE_E_TIMEOUT. Failures: VARVE_E_TOO_LARGE, VARVE_E_FAILED
 * (it ended with a status other than 0, or by a signal), VARVE_E_IO, VARVE_E_NO_MEMORY. The
 * messages name neither the command nor its output: both may hold secrets.
 */
int base_process_run(const char *command, size_t size_max, int64_t timeout_ms, char **ret,
                     size_t *ret_size, struct varve_error *err);

#endif
