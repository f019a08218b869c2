/*
 * Formats a message for the callback given at open.
 *
 * The callback is the embedder's: it may be slow, and it may take locks of its own, which the
 * embedder may hold while it calls us. So it never runs under a lock of ours. Code that finds
 * something out under a lock says so there; the message waits in a list of the thread's own until
 * the thread lets go of its last lock.
 */
#include "base/logger.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"

#define MESSAGE_SIZE_MAX 1024 /* longer ones are cut */

struct waiting {
    struct waiting *next;
    struct base_logger logger;
    int level;
    char text[];
};

/* Of the thread, like the locks that it holds. Empty whenever it holds none. */
static _Thread_local struct {
    struct waiting *first, *last;
    unsigned lost; /* for want of memory */
} kept;

static void keep(const struct base_logger *logger, int level, const char *text)
{
    size_t size = strlen(text) + 1;
    struct waiting *w = malloc(sizeof(*w) + size);

    if (!w) {
        kept.lost++;
        return;
    }
    *w = (struct waiting){.logger = *logger, .level = level};
    memcpy(w->text, text, size);
    *(kept.first ? &kept.last->next : &kept.first) = w;
    kept.last = w;
}

void base_log(const struct base_logger *logger, int level, const char *format, ...)
{
    char text[MESSAGE_SIZE_MAX];
    va_list ap;

    if (!logger || !logger->message)
        return;
    va_start(ap, format);
    if (vsnprintf(text, sizeof(text), format, ap) < 0)
        text[0] = '\0';
    va_end(ap);
    if (base_mutex_held() > 0) {
        keep(logger, level, text);
        return;
    }
    if (kept.lost > 0) {
        char note[64];

        snprintf(note, sizeof(note), "%u messages were lost: out of memory", kept.lost);
        kept.lost = 0;
        logger->message(logger->ctx, BASE_LOG_WARNING, note);
    }
    logger->message(logger->ctx, level, text);
}

void base_log_deliver(void)
{
    while (kept.first) {
        struct waiting *w = kept.first;

        kept.first = w->next; /* before the call: a callback may log, on its own account */
        base_log(&w->logger, w->level, "%s", w->text);
        free(w);
    }
}
