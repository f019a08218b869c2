/* Formatted strings, numbers with units, and times. */
#include "base/text.h"

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
