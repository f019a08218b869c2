/*
 * The tiny run (`meson test --setup tiny`): the same tests once more, with the smallest segments
 * and everything tiered that can be. The helpers that make logs, sets and tiering (support_log.h,
 * support_hot.h, support_tiering.h) look at this where the test has not chosen an option itself.
 */
#ifndef SUPPORT_TINY_H
#define SUPPORT_TINY_H

#include <stdbool.h>

#define SUPPORT_TINY_SEGMENT_BYTES 4096

/* Is VARVE_TEST_TINY in the environment, and not empty? */
bool support_tiny(void);

#endif
