/*
 * Makes the Nth allocation fail. Only for programs linked with support_alloc_sources and
 * support_alloc_link_args (see README.md): there malloc and its like, called from varve's code or
 * the test's, go through here; what libraries allocate inside does not. Threads: any; the count is
 * the process's.
 */
#ifndef SUPPORT_ALLOC_H
#define SUPPORT_ALLOC_H

#include <stdbool.h>
#include <stdint.h>

/* The `nth` allocation from now (1 is the next) returns NULL; with `keep` those after it too. An
 * `nth` of 0 only counts. */
void support_alloc_fail(uint64_t nth, bool keep);
/* Everything succeeds again. Returns how many allocations there were since support_alloc_fail. */
uint64_t support_alloc_stop(void);

#endif
