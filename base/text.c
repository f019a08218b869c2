/* Formatted strings, numbers with units, and times. */
#include "base/text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

int base_format(char **ret, struct varve_error *err, const char *format, ...)
{
    char *text;
    va_list ap;
    int size;

    va_start(ap, format);
    size = vasprintf(&text, format, ap);
    va_end(ap);
    if (size < 0)
        return base_fail(err, VARVE_E_NO_MEMORY, "format a text: out of memory");
    *ret = text;
    return 0;
}

/* Reads the digits at *pos; false when there are none or they overflow. A minus comes first where
 * there is one, so that INT64_MIN can be read. */
static bool scan_i64(const char **pos, int64_t *ret)
{
    const char *p = *pos;
    bool negative = *p == '-';
    int64_t v = 0;

    if (negative)
        p++;
    if (*p < '0' || *p > '9')
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(v, 10, &v))
            return false;
        if (negative ? __builtin_sub_overflow(v, *p - '0', &v)
                     : __builtin_add_overflow(v, *p - '0', &v))
            return false;
    }
    *pos = p;
    *ret = v;
    return true;
}

struct unit {
    const char *name;
    int64_t factor;
};

/* A number and one of the units (or none); nothing before, between or after. */
static bool parse_with_unit(const char *text, const struct unit *units, size_t count, int64_t *ret)
{
    int64_t v;

    if (!scan_i64(&text, &v))
        return false;
    if (*text == '\0') {
        *ret = v;
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, units[i].name) == 0) {
            if (__builtin_mul_overflow(v, units[i].factor, &v))
                return false;
            *ret = v;
            return true;
        }
    }
    return false;
}

int base_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool base_parse_i64(const char *text, int64_t *ret)
{
    return parse_with_unit(text, NULL, 0, ret);
}

bool base_parse_size(const char *text, int64_t *ret)
{
    static const struct unit units[] = {
        {"k", INT64_C(1) << 10},   {"K", INT64_C(1) << 10},   {"M", INT64_C(1) << 20},
        {"G", INT64_C(1) << 30},   {"T", INT64_C(1) << 40},   {"KiB", INT64_C(1) << 10},
        {"MiB", INT64_C(1) << 20}, {"GiB", INT64_C(1) << 30}, {"TiB", INT64_C(1) << 40},
    };

    return parse_with_unit(text, units, sizeof(units) / sizeof(units[0]), ret);
}

bool base_parse_duration_ms(const char *text, int64_t *ret)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000},
    };

    return parse_with_unit(text, units, sizeof(units) / sizeof(units[0]), ret);
}

/*
 * Days since 1970-01-01 of a date of the Gregorian calendar, and back. Years are counted from
 * March, so that the leap day is the last of its year; 719468 days lie between 0000-03-01 and
 * 1970-01-01, 146097 in 400 years.
 */
#define DAYS_TO_1970 719468
#define DAYS_IN_ERA 146097
#define MS_PER_DAY (INT64_C(24) * 3600 * 1000)

struct date {
    int64_t year;
    int month; /* 1..12 */
    int day;   /* 1..31 */
};

static int64_t days_of_date(struct date d)
{
    int64_t year = d.month <= 2 ? d.year - 1 : d.year;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (d.month + (d.month > 2 ? -3 : 9)) + 2) / 5 + d.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;

    return era * DAYS_IN_ERA + day_of_era - DAYS_TO_1970;
}

static struct date date_of_days(int64_t days)
{
    int64_t shifted = days + DAYS_TO_1970;
    int64_t era = (shifted >= 0 ? shifted : shifted - (DAYS_IN_ERA - 1)) / DAYS_IN_ERA;
    int64_t day_of_era = shifted - era * DAYS_IN_ERA;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int month_from_march = (int)((5 * day_of_year + 2) / 153);
    struct date d;

    d.day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    d.month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    d.year = year_of_era + era * 400 + (d.month <= 2 ? 1 : 0);
    return d;
}

static int days_in_month(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && leap ? 29 : days[month - 1];
}

/* A text being read from left to right. */
struct scan {
    const char *pos;
    const char *end;
};

static bool scan_char(struct scan *s, char c)
{
    if (s->pos == s->end || *s->pos != c)
        return false;
    s->pos++;
    return true;
}

/* Exactly `count` digits, with a value from `min` to `max`. */
static bool scan_digits(struct scan *s, int count, int min, int max, int *ret)
{
    int v = 0;

    if (s->end - s->pos < count)
        return false;
    for (int i = 0; i < count; i++) {
        if (s->pos[i] < '0' || s->pos[i] > '9')
            return false;
        v = v * 10 + (s->pos[i] - '0');
    }
    if (v < min || v > max)
        return false;
    s->pos += count;
    *ret = v;
    return true;
}

static bool scan_date(struct scan *s, int64_t *ret_ms)
{
    int year, month, day;

    if (!scan_digits(s, 4, 0, 9999, &year) || !scan_char(s, '-') ||
        !scan_digits(s, 2, 1, 12, &month) || !scan_char(s, '-') ||
        !scan_digits(s, 2, 1, days_in_month(year, month), &day))
        return false;
    *ret_ms = days_of_date((struct date){.year = year, .month = month, .day = day}) * MS_PER_DAY;
    return true;
}

/* The digits behind the point; those after the third are read and dropped. */
static bool scan_fraction(struct scan *s, int64_t *ret_ms)
{
    int unit = 100, digit;
    int64_t ms = 0;

    if (!scan_digits(s, 1, 0, 9, &digit))
        return false;
    do {
        ms += (int64_t)digit * unit;
        unit /= 10;
    } while (scan_digits(s, 1, 0, 9, &digit));
    *ret_ms = ms;
    return true;
}

/* hh:mm, then :ss and a fraction where they are. 60 is a leap second, which counts as the next. */
static bool scan_time(struct scan *s, int64_t *ret_ms)
{
    int hour, minute, second = 0;
    int64_t ms = 0;

    if (!scan_digits(s, 2, 0, 23, &hour) || !scan_char(s, ':') ||
        !scan_digits(s, 2, 0, 59, &minute))
        return false;
    if (scan_char(s, ':')) {
        if (!scan_digits(s, 2, 0, 60, &second))
            return false;
        if ((scan_char(s, '.') || scan_char(s, ',')) && !scan_fraction(s, &ms))
            return false;
    }
    *ret_ms = ((hour * INT64_C(60) + minute) * 60 + second) * 1000 + ms;
    return true;
}

/* Z, +hh, +hhmm, +hh:mm; what is to be subtracted. */
static bool scan_zone(struct scan *s, int64_t *ret_ms)
{
    int hour, minute = 0, sign;

    if (scan_char(s, 'Z') || scan_char(s, 'z')) {
        *ret_ms = 0;
        return true;
    }
    if (scan_char(s, '+'))
        sign = 1;
    else if (scan_char(s, '-'))
        sign = -1;
    else
        return false;
    if (!scan_digits(s, 2, 0, 23, &hour))
        return false;
    if ((scan_char(s, ':') || s->pos < s->end) && !scan_digits(s, 2, 0, 59, &minute))
        return false;
    *ret_ms = sign * (hour * INT64_C(60) + minute) * 60000;
    return true;
}

bool base_parse_iso8601(const char *text, size_t size, int64_t *ret_ms)
{
    struct scan s = {.pos = text, .end = text + size};
    int64_t date, time = 0, zone = 0;

    if (!scan_date(&s, &date))
        return false;
    if (scan_char(&s, 'T') || scan_char(&s, 't') || scan_char(&s, ' ')) {
        if (!scan_time(&s, &time))
            return false;
        if (s.pos < s.end && !scan_zone(&s, &zone))
            return false;
    }
    if (s.pos != s.end)
        return false;
    *ret_ms = date + time - zone;
    return true;
}

void base_format_time(int64_t ms, char text[BASE_TIME_TEXT_SIZE])
{
    char room[64]; /* more than any date needs, which the compiler cannot know */
    struct date d;
    int rest;

    if (ms < 0) {
        memcpy(text, "-", 2);
        return;
    }
    d = date_of_days(ms / MS_PER_DAY);
    rest = (int)(ms % MS_PER_DAY);
    snprintf(room, sizeof(room), "%04lld-%02d-%02dT%02d:%02d:%02d.%03dZ", (long long)d.year,
             d.month, d.day, rest / 3600000, rest / 60000 % 60, rest / 1000 % 60, rest % 1000);
    assert(strlen(room) < BASE_TIME_TEXT_SIZE);
    memcpy(text, room, strlen(room) + 1);
}

void base_format_size(uint64_t size, char text[16])
{
    static const char units[][4] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    unsigned unit = 0;
    uint64_t tenths;

    if (size < 1024) {
        snprintf(text, 16, "%u B", (unsigned)size);
        return;
    }
    /* `size` is brought down to units of 1/1024, so that ten times it cannot overflow. */
    while (size >= 1024 * 1024) {
        size >>= 10;
        unit++;
    }
    tenths = (size * 10 + 512) / 1024;
    if (tenths >= 10240 && unit + 1 < sizeof(units) / sizeof(units[0])) { /* 1023.96 rounds up */
        tenths = 10;
        unit++;
    }
    snprintf(text, 16, "%u.%u %s", (unsigned)(tenths / 10), (unsigned)(tenths % 10), units[unit]);
}
