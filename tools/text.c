#include "tools/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Length of the sequence that begins at p, 0 when it is not valid. */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;

    if (n == 1)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return n;
}

bool tools_utf8_is_valid(const void *data, size_t size)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < size;) {
        size_t n = utf8_sequence(p + i, size - i);

        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

size_t tools_utf8_count(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++)
        if (((unsigned char)*text & 0xc0) != 0x80)
            count++;
    return count;
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void tools_base64_encode(const unsigned char *data, size_t size, char ret[4])
{
    uint32_t v = (uint32_t)data[0] << 16 | (size > 1 ? (uint32_t)data[1] << 8 : 0) |
                 (size > 2 ? data[2] : 0u);

    ret[0] = base64_digits[v >> 18];
    ret[1] = base64_digits[v >> 12 & 63];
    ret[2] = size > 1 ? base64_digits[v >> 6 & 63] : '=';
    ret[3] = size > 2 ? base64_digits[v & 63] : '=';
}

static int base64_value(char c)
{
    const char *p = c != '\0' ? strchr(base64_digits, c) : NULL;

    return p ? (int)(p - base64_digits) : -1;
}

bool tools_base64_decode(char *data, size_t size, size_t *ret_size)
{
    size_t padding = 0, out = 0;

    if (size % 4 != 0)
        return false;
    while (padding < 2 && padding < size && data[size - 1 - padding] == '=')
        padding++;
    for (size_t i = 0; i < size; i += 4) {
        size_t digits = i + 4 == size ? 4 - padding : 4;
        uint32_t v = 0;

        for (size_t k = 0; k < 4; k++) {
            int d = k < digits ? base64_value(data[i + k]) : 0;

            if (d < 0)
                return false;
            v = v << 6 | (uint32_t)d;
        }
        /* Writing never overtakes reading: 3 bytes for 4. */
        for (size_t k = 0; k + 1 < digits; k++)
            data[out++] = (char)(v >> (16 - 8 * k));
    }
    *ret_size = out;
    return true;
}

void tools_size_short(uint64_t bytes, char ret[TOOLS_SHORT_SIZE])
{
    static const char units[] = "BKMGTPE";
    unsigned unit = 0;
    double v = (double)bytes;

    while (v >= 999.5 && units[unit + 1] != '\0') {
        v /= 1024;
        unit++;
    }
    if (unit == 0 || v >= 99.95)
        snprintf(ret, TOOLS_SHORT_SIZE, "%.0f%c", v, units[unit]);
    else
        snprintf(ret, TOOLS_SHORT_SIZE, "%.1f%c", v, units[unit]);
}

void tools_age_short(int64_t ms, char ret[TOOLS_SHORT_SIZE])
{
    int64_t s = ms / 1000;

    if (ms <= 0)
        snprintf(ret, TOOLS_SHORT_SIZE, "-");
    else if (s < 1)
        snprintf(ret, TOOLS_SHORT_SIZE, "%" PRId64 "ms", ms % 1000);
    else if (s < 60)
        snprintf(ret, TOOLS_SHORT_SIZE, "%" PRId64 "s", s % 60);
    else if (s < 3600)
        snprintf(ret, TOOLS_SHORT_SIZE, "%dm %ds", (int)(s / 60), (int)(s % 60));
    else if (s < 86400)
        snprintf(ret, TOOLS_SHORT_SIZE, "%dh %dm", (int)(s / 3600), (int)(s / 60 % 60));
    else
        snprintf(ret, TOOLS_SHORT_SIZE, "%dd %dh", (int)(s / 86400 % 1000000),
                 (int)(s / 3600 % 24));
}

void tools_ratio_short(uint64_t raw, uint64_t stored, char ret[TOOLS_SHORT_SIZE])
{
    double ratio = stored > 0 ? (double)raw / (double)stored : 0;

    if (stored == 0)
        snprintf(ret, TOOLS_SHORT_SIZE, "-");
    else if (ratio >= 99.95)
        snprintf(ret, TOOLS_SHORT_SIZE, "%.0fx", ratio < 999999 ? ratio : 999999);
    else
        snprintf(ret, TOOLS_SHORT_SIZE, "%.1fx", ratio);
}

void tools_count_text(uint64_t count, char ret[TOOLS_COUNT_SIZE])
{
    char digits[24];
    int size = snprintf(digits, sizeof(digits), "%" PRIu64, count);
    size_t out = 0;

    for (int i = 0; i < size; i++) {
        if (i > 0 && (size - i) % 3 == 0)
            ret[out++] = ',';
        ret[out++] = digits[i];
    }
    ret[out] = '\0';
}

/* ---- secrets ---- */

/* The size of ':' + "//" at `text`, plain or percent-encoded; 0: it is not there. */
static size_t slashes_size(const char *text)
{
    static const char encoded[] = "%3a%2f%2f";

    if (strncmp(text, "://", 3) == 0)
        return 3;
    return strncasecmp(text, encoded, sizeof(encoded) - 1) == 0 ? sizeof(encoded) - 1 : 0;
}

/* The last '@' of [text, text + size), plain or percent-encoded; NULL: none. */
static char *last_at(char *text, size_t size)
{
    char *found = NULL;

    for (size_t i = 0; i < size; i++)
        if (text[i] == '@' || (size - i >= 3 && strncmp(text + i, "%40", 3) == 0))
            found = text + i;
    return found;
}

/* What stands in front of a host. AWS's secrets hold slashes: where there is a ':' before the first
 * of them, the '@' may come behind it. A file's URL has no host. */
static void redact_user(char *host)
{
    size_t authority = strcspn(host, "/?&#");
    size_t rest = strcspn(host, "?&#");
    char *at;

    if (authority == 0)
        return;
    at = last_at(host, memchr(host, ':', authority) ? rest : authority);
    if (at)
        memset(host, '*', (size_t)(at - host));
}

static bool name_is_secret(const char *name, size_t size)
{
    static const char *const words[] = {"secret", "token",     "passw",
                                        "key",    "signature", "credential"};

    for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++)
        for (size_t i = 0; i + strlen(words[w]) <= size; i++)
            if (strncasecmp(name + i, words[w], strlen(words[w])) == 0)
                return true;
    return false;
}

void tools_text_redact(char *text)
{
    char *query = strchr(text, '?');

    for (char *p = text; *p; p++) {
        size_t size = slashes_size(p);

        if (size > 0)
            redact_user(p + size);
    }
    while (query) {
        char *name = query + 1, *value = name + strcspn(name, "=&");

        query = strchr(name, '&');
        if (*value == '=' && name_is_secret(name, (size_t)(value - name)))
            memset(value + 1, '*', strcspn(value + 1, "&"));
    }
}
