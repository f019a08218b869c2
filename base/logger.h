/* Messages of background work; the library itself never prints. */
#ifndef BASE_LOGGER_H
#define BASE_LOGGER_H

#include <varve/error.h>

/* Same numbers as VARVE_LOG_* of varve/store.h and as syslog's. */
enum base_log_level {
    BASE_LOG_ERROR = 3,
    BASE_LOG_WARNING = 4,
    BASE_LOG_INFO = 6,
    BASE_LOG_DEBUG = 7
};

struct base_logger {
    void (*message)(void *ctx, int level, const char *text); /* NULL: silent. Any thread. */
    void *ctx;
};

/*
 * Formats a message and hands it to the embedder: at once, or, while this thread holds a lock, when
 * it lets go of its last one. So the embedder's code never runs under a lock, however slow it is.
 */
void base_log(const struct base_logger *logger, int level, const char *format, ...)
    VARVE_PRINTF(3, 4);

/* Hands over what this thread has kept back; called by thread.c, with no lock held. */
void base_log_deliver(void);

#endif
