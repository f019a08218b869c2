/* Formats a message for the callback given at open. */
#include "base/logger.h"

#include <stdarg.h>
#include <stdio.h>

#define MESSAGE_SIZE_MAX 1024 /* longer ones are cut */

void base_log(const struct base_logger *logger, int level, const char *format, ...)
{
    char text[MESSAGE_SIZE_MAX];
    va_list ap;

    if (!logger || !logger->message)
        return;
    va_start(ap, format);
    if (vsnprintf(text, sizeof(text), format, ap) >= 0)
        logger->message(logger->ctx, level, text);
    va_end(ap);
}
