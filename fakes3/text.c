#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/evp.h>

#include "fakes3/text.h"

#include "base/text.h"

#define TIME_MAX_US 3.1536e15 /* 100 years of 365 days */

static void *checked(void *memory)
{
    if (memory)
        return memory;
    fputs("varve-fakes3: out of memory\n", stderr);
    exit(1);
}

void *fakes3_text_alloc(size_t size)
{
    return checked(calloc(1, size ? size : 1));
}

void *fakes3_text_grow(void *memory, size_t size)
{
    return checked(realloc(memory, size ? size : 1));
}

char *fakes3_text_copy(const char *text)
{
    return text ? checked(strdup(text)) : NULL;
}

char *fakes3_text_slice(const char *text, size_t size)
{
    char *copy = fakes3_text_alloc(size + 1);

    memcpy(copy, text, size);
    return copy;
}

char *fakes3_text_format(const char *format, ...)
{
    va_list args;
    char *text;
    int size;

    va_start(args, format);
    size = vasprintf(&text, format, args);
    va_end(args);
    return checked(size < 0 ? NULL : text);
}

char *fakes3_text_decode(const char *text, size_t size, bool plus)
{
    char *out = fakes3_text_alloc(size + 1);
    size_t n = 0;

    for (size_t i = 0; i < size; i++) {
        int value = (unsigned char)text[i];
        if (text[i] == '+' && plus)
            value = ' ';
        if (text[i] == '%') {
            int high = size - i > 2 ? base_hex_digit(text[i + 1]) : -1;
            int low = size - i > 2 ? base_hex_digit(text[i + 2]) : -1;
            value = high < 0 || low < 0 ? 0 : high * 16 + low;
            i += 2;
        }
        if (value == 0) {
            free(out);
            return NULL;
        }
        out[n++] = (char)value;
    }
    return out;
}

static bool is_unreserved(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

void fakes3_text_encode(struct evbuffer *out, const char *text, bool keep_slash)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (is_unreserved(c) || (c == '/' && keep_slash))
            evbuffer_add(out, text, 1);
        else
            evbuffer_add_printf(out, "%%%02X", c);
    }
}

void fakes3_text_xml(struct evbuffer *out, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '&')
            evbuffer_add(out, "&amp;", 5);
        else if (c == '<')
            evbuffer_add(out, "&lt;", 4);
        else if (c == '>')
            evbuffer_add(out, "&gt;", 4);
        else if (c == '"')
            evbuffer_add(out, "&quot;", 6);
        else if (c < 0x20)
            evbuffer_add_printf(out, "&#%u;", c);
        else
            evbuffer_add(out, text, 1);
    }
}

/* How many bytes the UTF-8 character at `text` has; 0: it is none. */
static size_t utf8_size(const unsigned char *text)
{
    size_t size = *text < 0x80 ? 1 : *text < 0xc2 ? 0 : *text < 0xe0 ? 2 : *text < 0xf0 ? 3 : 4;

    if (*text > 0xf4)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

void fakes3_text_json(struct evbuffer *out, const char *text)
{
    const unsigned char *c = (const unsigned char *)text;

    evbuffer_add(out, "\"", 1);
    while (*c) {
        size_t size = utf8_size(c);
        if (*c == '"' || *c == '\\')
            evbuffer_add_printf(out, "\\%c", *c);
        else if (*c < 0x20 || size == 0) /* a byte that is no text stands for itself, as Latin-1 */
            evbuffer_add_printf(out, "\\u%04x", *c);
        else
            evbuffer_add(out, c, size);
        c += size ? size : 1;
    }
    evbuffer_add(out, "\"", 1);
}

char *fakes3_text_of_buffer(struct evbuffer *buffer)
{
    size_t size = evbuffer_get_length(buffer);
    char *text = fakes3_text_alloc(size + 1);

    evbuffer_remove(buffer, text, size);
    evbuffer_free(buffer);
    return text;
}

void fakes3_text_hex(const void *data, size_t size, char *ret)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = data;

    for (size_t i = 0; i < size; i++) {
        ret[2 * i] = digits[bytes[i] >> 4];
        ret[2 * i + 1] = digits[bytes[i] & 15];
    }
    ret[2 * size] = 0;
}

void fakes3_text_base64(const void *data, size_t size, char *ret)
{
    EVP_EncodeBlock((unsigned char *)ret, data, (int)size);
}

bool fakes3_text_unbase64(const char *text, void *ret, size_t size)
{
    unsigned char raw[96];
    char again[FAKES3_BASE64_SIZE(sizeof(raw))];

    if (size > 64 || strlen(text) + 1 != FAKES3_BASE64_SIZE(size))
        return false;
    if (EVP_DecodeBlock(raw, (const unsigned char *)text, (int)strlen(text)) < (int)size)
        return false;
    /* The decoder counts padding as data; encoding again shows whether the text was the canonical
     * one. */
    fakes3_text_base64(raw, size, again);
    if (strcmp(again, text) != 0)
        return false;
    memcpy(ret, raw, size);
    return true;
}

bool fakes3_text_glob(const char *pattern, const char *text)
{
    const char *star = NULL, *mark = NULL;

    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            mark = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++mark;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == 0;
}

static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

void fakes3_text_http_date(int64_t ms, char ret[FAKES3_DATE_SIZE])
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;

    gmtime_r(&seconds, &tm);
    snprintf(ret, FAKES3_DATE_SIZE, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[tm.tm_wday],
             (unsigned)tm.tm_mday % 100, months[tm.tm_mon], (unsigned)(tm.tm_year + 1900) % 10000,
             (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
}

void fakes3_text_iso_date(int64_t ms, char ret[FAKES3_DATE_SIZE])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    size_t size;

    gmtime_r(&seconds, &tm);
    size = strftime(ret, FAKES3_DATE_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(ret + size, FAKES3_DATE_SIZE - size, ".%03uZ", (unsigned)(ms % 1000) % 1000);
}

static bool to_ms(struct tm *tm, int64_t *ret_ms)
{
    *ret_ms = (int64_t)timegm(tm) * 1000;
    return true;
}

bool fakes3_text_parse_date(const char *text, int64_t *ret_ms)
{
    struct tm tm = {0};
    char month[4];
    int end = 0;

    if (sscanf(text, "%4d%2d%2dT%2d%2d%2dZ%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &end) == 6 &&
        end == 16 && text[16] == 0) {
        tm.tm_year -= 1900;
        tm.tm_mon -= 1;
        return to_ms(&tm, ret_ms);
    }
    tm = (struct tm){0};
    if (sscanf(text, "%*3s, %2d %3s %4d %2d:%2d:%2d GMT", &tm.tm_mday, month, &tm.tm_year,
               &tm.tm_hour, &tm.tm_min, &tm.tm_sec) != 6)
        return false;
    tm.tm_year -= 1900;
    for (tm.tm_mon = 0; tm.tm_mon < 12; tm.tm_mon++)
        if (strcmp(months[tm.tm_mon], month) == 0)
            return to_ms(&tm, ret_ms);
    return false;
}

bool fakes3_text_parse_us(const char *text, int64_t *ret_us)
{
    static const struct {
        const char *unit;
        double us;
    } units[] = {{"us", 1},  {"", 1e3},    {"ms", 1e3},   {"s", 1e6},
                 {"m", 6e7}, {"h", 3.6e9}, {"d", 8.64e10}};
    double value;
    char *end;

    value = strtod(text, &end);
    if (end == text)
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(end, units[i].unit) != 0)
            continue;
        value *= units[i].us;
        if (!(value > -TIME_MAX_US && value < TIME_MAX_US)) /* nor NaN */
            return false;
        *ret_us = (int64_t)value;
        return true;
    }
    return false;
}
