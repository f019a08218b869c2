/* Finds the time of an event in the text of its record. */
#ifndef TOOLS_EVENT_TIME_H
#define TOOLS_EVENT_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tools_time_kind {
    TOOLS_TIME_NONE,    /* not in the text: the time of the append */
    TOOLS_TIME_AUTO,    /* a JSON value: a number is an epoch, a string is ISO 8601 */
    TOOLS_TIME_APACHE,  /* [17/May/2015:10:05:03 +0000], anywhere in the line */
    TOOLS_TIME_ISO8601, /* 2015-05-17T10:05:03.123Z, 2015-05-17 10:05:03; UTC without a zone */
    TOOLS_TIME_EPOCH_MS,
    TOOLS_TIME_EPOCH_S, /* 1431857103 or 1431857103.123 */
    TOOLS_TIME_PATTERN, /* strptime(3); UTC without %z */
};

struct tools_event_time {
    enum tools_time_kind kind;
    const char *pattern; /* borrowed */
    const char *field;   /* dotted path into the JSON of a line; NULL: look in the whole text */
    int default_year;    /* for patterns without a year */
};

/* Reads --time-format. False: it is neither a name nor a pattern (which holds a '%'). */
bool tools_event_time_init(struct tools_event_time *t, const char *format, const char *field);

/* The time in ms since 1970; false: there is none that can be parsed. */
bool tools_event_time_find(const struct tools_event_time *t, const char *text, size_t size,
                           int64_t *ret_ms);

#endif
