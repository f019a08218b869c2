/*
 * Times are looked for in the first SEARCH_BYTES of a line; a time further behind belongs to the
 * content. A JSON field is found wherever it lies.
 */
#include "tools/event_time.h"

#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/text.h"

#define SEARCH_BYTES 1024
#define PATTERN_TEXT_BYTES 128 /* of text that a pattern may span */
#define WORDS_MAX 32           /* places in a line where a pattern is tried */

/* Numbers from here on are ms, below they are seconds: 1973 in ms, the year 5138 in seconds. */
#define EPOCH_MS_FROM 100000000000.0
#define EPOCH_DIGITS_MAX 18

bool tools_event_time_init(struct tools_event_time *t, const char *format, const char *field)
{
    static const struct {
        const char *name;
        enum tools_time_kind kind;
    } names[] = {
        {"apache", TOOLS_TIME_APACHE},
        {"iso8601", TOOLS_TIME_ISO8601},
        {"epoch_ms", TOOLS_TIME_EPOCH_MS},
        {"epoch_s", TOOLS_TIME_EPOCH_S},
    };
    time_t now = time(NULL);
    struct tm tm;

    *t = (struct tools_event_time){
        .kind = field ? TOOLS_TIME_AUTO : TOOLS_TIME_NONE, .field = field, .pattern = format};
    t->default_year = gmtime_r(&now, &tm) ? tm.tm_year : 70;
    if (!format)
        return true;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(format, names[i].name) == 0) {
            t->kind = names[i].kind;
            return true;
        }
    }
    t->kind = TOOLS_TIME_PATTERN;
    return strchr(format, '%') != NULL;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool digits(const char *p, int count, int *ret)
{
    int v = 0;

    for (int i = 0; i < count; i++) {
        if (!is_digit(p[i]))
            return false;
        v = v * 10 + (p[i] - '0');
    }
    *ret = v;
    return true;
}

static bool month_of(const char *p, int *ret)
{
    static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

    for (int i = 0; i < 12; i++) {
        if (memcmp(p, names + (size_t)i * 3, 3) == 0) {
            *ret = i;
            return true;
        }
    }
    return false;
}

/* "17/May/2015:10:05:03 +0000" */
#define APACHE_BYTES 26

static bool parse_apache(const char *p, int64_t *ret_ms)
{
    struct tm tm = {0};
    int year, zone_hours, zone_minutes, zone;

    if (!digits(p, 2, &tm.tm_mday) || p[2] != '/' || !month_of(p + 3, &tm.tm_mon) || p[6] != '/' ||
        !digits(p + 7, 4, &year) || p[11] != ':' || !digits(p + 12, 2, &tm.tm_hour) ||
        p[14] != ':' || !digits(p + 15, 2, &tm.tm_min) || p[17] != ':' ||
        !digits(p + 18, 2, &tm.tm_sec) || p[20] != ' ' || (p[21] != '+' && p[21] != '-') ||
        !digits(p + 22, 2, &zone_hours) || !digits(p + 24, 2, &zone_minutes))
        return false;
    if (tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
        return false;
    tm.tm_year = year - 1900;
    zone = (zone_hours * 60 + zone_minutes) * 60;
    *ret_ms = ((int64_t)timegm(&tm) - (p[21] == '-' ? -zone : zone)) * 1000;
    return true;
}

static bool find_apache(const char *text, size_t size, int64_t *ret_ms)
{
    const char *p = text, *end = text + size;

    if (size >= APACHE_BYTES && parse_apache(text, ret_ms))
        return true;
    while (p < end && (p = memchr(p, '[', (size_t)(end - p))) != NULL) {
        p++;
        if (end - p >= APACHE_BYTES && parse_apache(p, ret_ms))
            return true;
    }
    return false;
}

/* Bytes of the longest ISO 8601 time that begins at p, 0 when there is none. */
static size_t iso8601_size(const char *p, size_t left)
{
    static const char date[] = "dddd-dd-dd", time[] = "dd:dd";
    size_t n, zone;

    if (left < sizeof(date) - 1)
        return 0;
    for (n = 0; n < sizeof(date) - 1; n++)
        if (date[n] == 'd' ? !is_digit(p[n]) : p[n] != date[n])
            return 0;
    if (left - n < sizeof(time) || (p[n] != 'T' && p[n] != 't' && p[n] != ' '))
        return n;
    for (size_t i = 0; i < sizeof(time) - 1; i++)
        if (time[i] == 'd' ? !is_digit(p[n + 1 + i]) : p[n + 1 + i] != time[i])
            return n;
    n += sizeof(time);
    if (left - n >= 3 && p[n] == ':' && is_digit(p[n + 1]) && is_digit(p[n + 2])) {
        n += 3;
        if (left - n >= 2 && (p[n] == '.' || p[n] == ',') && is_digit(p[n + 1]))
            for (n += 2; n < left && is_digit(p[n]); n++)
                ;
    }
    if (n < left && (p[n] == 'Z' || p[n] == 'z'))
        return n + 1;
    zone = n;
    if (left - n >= 3 && (p[n] == '+' || p[n] == '-') && is_digit(p[n + 1]) && is_digit(p[n + 2])) {
        zone = n + 3;
        if (left - zone >= 3 && p[zone] == ':' && is_digit(p[zone + 1]) && is_digit(p[zone + 2]))
            zone += 3;
        else if (left - zone >= 2 && is_digit(p[zone]) && is_digit(p[zone + 1]))
            zone += 2;
    }
    return zone;
}

/* The first one in the text that does not begin inside a longer number. */
static bool find_iso8601(const char *text, size_t size, int64_t *ret_ms)
{
    for (size_t i = 0; i + 10 <= size; i++) {
        size_t n;

        if (text[i + 4] != '-' || (i > 0 && is_digit(text[i - 1])))
            continue;
        n = iso8601_size(text + i, size - i);
        if (n > 0 && base_parse_iso8601(text + i, n, ret_ms))
            return true;
    }
    return false;
}

/* A decimal number at the beginning, in units of 1/1000; digits behind the third are dropped. */
static bool parse_decimal(const char *p, size_t size, int64_t *ret_thousandths)
{
    size_t i = 0, whole;
    int64_t v = 0;

    for (; i < size && i < EPOCH_DIGITS_MAX && is_digit(p[i]); i++)
        v = v * 10 + (p[i] - '0');
    whole = i;
    if (whole == 0 || (i < size && is_digit(p[i])) || __builtin_mul_overflow(v, 1000, &v))
        return false;
    if (i + 1 < size && p[i] == '.' && is_digit(p[i + 1])) {
        int64_t unit = 100;

        for (i++; i < size && is_digit(p[i]); i++) {
            v += (p[i] - '0') * unit;
            unit /= 10;
        }
    }
    *ret_thousandths = v;
    return true;
}

static bool find_epoch(const char *text, size_t size, enum tools_time_kind kind, int64_t *ret_ms)
{
    int64_t v;

    while (size > 0 && (*text == ' ' || *text == '\t' || *text == '[')) {
        text++;
        size--;
    }
    if (!parse_decimal(text, size, &v))
        return false;
    if (kind == TOOLS_TIME_EPOCH_MS ||
        (kind == TOOLS_TIME_AUTO && (double)v / 1000 >= EPOCH_MS_FROM))
        v /= 1000;
    *ret_ms = v;
    return true;
}

/* ".123" or ",123" behind a time whose pattern ended with the seconds. */
static int64_t fraction_ms(const char *p)
{
    int64_t ms = 0, unit = 100;

    if (p[0] != '.' && p[0] != ',')
        return 0;
    for (p++; is_digit(*p); p++) {
        ms += (*p - '0') * unit;
        unit /= 10;
    }
    return ms;
}

static bool parse_pattern(const struct tools_event_time *t, const char *p, size_t left,
                          int64_t *ret_ms)
{
    struct tm tm = {.tm_mday = 1, .tm_year = t->default_year};
    char copy[PATTERN_TEXT_BYTES];
    const char *rest;
    int64_t seconds;

    if (left > sizeof(copy) - 1)
        left = sizeof(copy) - 1;
    memcpy(copy, p, left);
    copy[left] = '\0';
    rest = strptime(copy, t->pattern, &tm);
    if (!rest)
        return false;
    /* %s and %z leave the offset in tm_gmtoff; timegm ignores it, and overwrites it. */
    seconds = -(int64_t)tm.tm_gmtoff;
    seconds += timegm(&tm);
    if (seconds < 0)
        return false;
    *ret_ms = seconds * 1000 + fraction_ms(rest);
    return true;
}

static bool is_word_border(char c)
{
    return c == ' ' || c == '\t' || c == '[' || c == '(' || c == '"' || c == '=' || c == '|' ||
           c == ',';
}

/* Tried where a word begins. */
static bool find_pattern(const struct tools_event_time *t, const char *text, size_t size,
                         int64_t *ret_ms)
{
    int words = 0;

    for (size_t i = 0; i < size && words < WORDS_MAX; i++) {
        if (i > 0 && !is_word_border(text[i - 1]))
            continue;
        words++;
        if (parse_pattern(t, text + i, size - i, ret_ms))
            return true;
    }
    return false;
}

static bool find_in_text(const struct tools_event_time *t, const char *text, size_t size,
                         int64_t *ret_ms)
{
    if (size > SEARCH_BYTES)
        size = SEARCH_BYTES;
    switch (t->kind) {
    case TOOLS_TIME_NONE:
        return false;
    case TOOLS_TIME_AUTO:
        return find_epoch(text, size, t->kind, ret_ms) || find_iso8601(text, size, ret_ms);
    case TOOLS_TIME_APACHE:
        return find_apache(text, size, ret_ms);
    case TOOLS_TIME_ISO8601:
        return find_iso8601(text, size, ret_ms);
    case TOOLS_TIME_EPOCH_MS:
    case TOOLS_TIME_EPOCH_S:
        return find_epoch(text, size, t->kind, ret_ms);
    case TOOLS_TIME_PATTERN:
        return find_pattern(t, text, size, ret_ms);
    }
    return false;
}

bool tools_event_time_find(const struct tools_event_time *t, const char *text, size_t size,
                           int64_t *ret_ms)
{
    struct base_json value;
    int64_t ms;

    if (t->field) {
        if (!base_json_find(text, size, t->field, &value))
            return false;
        if (value.kind == BASE_JSON_STRING) {
            text = value.data + 1;
            size = value.size - 2;
        } else if (value.kind == BASE_JSON_NUMBER) {
            text = value.data;
            size = value.size;
        } else {
            return false;
        }
        /* "2015-05-17" would be the epoch 2015. */
        if (t->kind == TOOLS_TIME_AUTO && value.kind == BASE_JSON_STRING)
            return find_iso8601(text, size < SEARCH_BYTES ? size : SEARCH_BYTES, ret_ms);
    }
    if (!find_in_text(t, text, size, &ms) || ms < 0)
        return false;
    *ret_ms = ms;
    return true;
}
