/* Collects messages. An error-level one that nobody expected fails the test. Threads: any may log;
 * the rest is for the test's own. */
#ifndef SUPPORT_LOGGER_H
#define SUPPORT_LOGGER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/logger.h"

struct support_logger;

struct support_logger *support_logger_new(void);
struct support_logger *support_logger_free(struct support_logger *l); /* checks nothing */
struct base_logger support_logger_seam(struct support_logger *l);

/* Error-level messages that hold `part` are all right, before and after this call. */
void support_logger_expect(struct support_logger *l, const char *part);
/* How many messages of this level (-1: any) hold `part` ("" is in all). */
size_t support_logger_count(struct support_logger *l, int level, const char *part);
void support_logger_clear(struct support_logger *l);
/* The first error-level message that was not expected, or NULL. */
const char *support_logger_unexpected(struct support_logger *l);
/* Fails the running cmocka test when there is one. */
void support_logger_check(struct support_logger *l);

#endif
