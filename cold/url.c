/* URLs of stores. */
#include "cold/url.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/text.h"

static int copy(const char *text, size_t size, char **ret, struct varve_error *err)
{
    char *out = malloc(size + 1);

    if (!out)
        return base_fail(err, VARVE_E_NO_MEMORY, "store URL: out of memory");
    memcpy(out, text, size);
    out[size] = '\0';
    *ret = out;
    return 0;
}

/* Percent-decodes into fresh memory. A '+' is a '+'. */
static int decode(const char *text, size_t size, char **ret, struct varve_error *err)
{
    char *out = NULL;
    size_t n = 0;
    int rc = copy(text, size, &out, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < size; i++) {
        int high, low;

        if (text[i] != '%') {
            out[n++] = text[i];
            continue;
        }
        high = i + 2 < size ? base_hex_digit(text[i + 1]) : -1;
        low = i + 2 < size ? base_hex_digit(text[i + 2]) : -1;
        if (high < 0 || low < 0 || (high == 0 && low == 0)) {
            free(out);
            return base_fail(err, VARVE_E_INVALID, "store URL: bad %% escape in '%.*s'", (int)size,
                             text);
        }
        out[n++] = (char)(high * 16 + low);
        i += 2;
    }
    out[n] = '\0';
    *ret = out;
    return 0;
}

/* The length of "scheme" in "scheme:"; 0 when the text has none and so is a path. */
static size_t scheme_size(const char *text)
{
    size_t i = 0;

    if (!isalpha((unsigned char)text[0]))
        return 0;
    while (isalnum((unsigned char)text[i]) || text[i] == '+' || text[i] == '-' || text[i] == '.')
        i++;
    return text[i] == ':' ? i : 0;
}

static int parse_pair(struct cold_url *u, const char *text, size_t size, struct varve_error *err)
{
    const char *equals = memchr(text, '=', size);
    size_t name_size = equals ? (size_t)(equals - text) : size;
    struct cold_url_pair *pair = &u->query[u->query_count];
    int rc;

    if (u->query_count == COLD_URL_QUERY_MAX)
        return base_fail(err, VARVE_E_INVALID, "store URL: more than %d query names",
                         COLD_URL_QUERY_MAX);
    if (name_size == 0)
        return base_fail(err, VARVE_E_INVALID, "store URL: a query name is empty");
    rc = decode(text, name_size, &pair->name, err);
    if (rc < 0)
        return rc;
    if (cold_url_query(u, pair->name)) {
        rc = base_fail(err, VARVE_E_INVALID, "store URL: '%s' is given twice", pair->name);
    } else {
        rc = equals ? decode(equals + 1, size - name_size - 1, &pair->value, err)
                    : copy("", 0, &pair->value, err);
    }
    if (rc < 0) {
        free(pair->name);
        pair->name = NULL;
        return rc;
    }
    u->query_count++;
    return 0;
}

static int parse_query(struct cold_url *u, const char *text, struct varve_error *err)
{
    while (*text) {
        size_t size = strcspn(text, "&");
        int rc = parse_pair(u, text, size, err);

        if (rc < 0)
            return rc;
        text += size + (text[size] == '&');
    }
    return 0;
}

/* What follows "scheme://". */
static int parse_rest(struct cold_url *u, const char *rest, struct varve_error *err)
{
    size_t host = strcspn(rest, "/?");
    size_t path = strcspn(rest + host, "?");
    int rc;

    /* AWS's secret keys may hold a slash; no bucket and no host of ours holds a colon. */
    if (memchr(rest, '@', host) || (memchr(rest, ':', host) && strchr(rest, '@')))
        return base_fail(err, VARVE_E_INVALID,
                         "store URL: credentials do not belong into a URL; they come from the "
                         "environment or from the credentials file");
    rc = copy(rest, host, &u->host, err);
    if (rc == 0)
        rc = decode(rest + host, path, &u->path, err);
    if (rc == 0 && rest[host + path] == '?')
        rc = parse_query(u, rest + host + path + 1, err);
    return rc;
}

static int parse(struct cold_url *u, const char *text, struct varve_error *err)
{
    size_t size = scheme_size(text);
    int rc;

    if (size == 0 || (strncmp(text + size, "://", 3) != 0 && strncasecmp(text, "file:", 5) != 0 &&
                      strncasecmp(text, "s3:", 3) != 0)) {
        rc = copy("file", 4, &u->scheme, err);
        if (rc == 0)
            rc = copy("", 0, &u->host, err);
        return rc < 0 ? rc : copy(text, strlen(text), &u->path, err);
    }
    rc = copy(text, size, &u->scheme, err);
    if (rc < 0)
        return rc;
    for (char *c = u->scheme; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    if (strncmp(text + size, "://", 3) != 0)
        return base_fail(err, VARVE_E_INVALID, "store URL: '%s:' must be followed by '//'",
                         u->scheme);
    if (strchr(text, '#'))
        return base_fail(err, VARVE_E_INVALID,
                         "store URL: a '#' has no meaning here; write %%23 for a literal one");
    return parse_rest(u, text + size + 3, err);
}

int cold_url_parse(const char *text, struct cold_url **ret, struct varve_error *err)
{
    struct cold_url *u;
    size_t size = strlen(text);
    int rc;

    if (size == 0)
        return base_fail(err, VARVE_E_INVALID, "store URL: empty");
    if (size > COLD_URL_MAX)
        return base_fail(err, VARVE_E_INVALID, "store URL: %zu bytes, the limit is %d", size,
                         COLD_URL_MAX);
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return base_fail(err, VARVE_E_INVALID, "store URL: a control character at byte %zu", i);
    u = calloc(1, sizeof(*u));
    if (!u)
        return base_fail(err, VARVE_E_NO_MEMORY, "store URL: out of memory");
    rc = parse(u, text, err);
    if (rc < 0) {
        cold_url_free(u);
        return rc;
    }
    *ret = u;
    return 0;
}

struct cold_url *cold_url_free(struct cold_url *url)
{
    if (!url)
        return NULL;
    for (size_t i = 0; i < url->query_count; i++) {
        free(url->query[i].name);
        free(url->query[i].value);
    }
    free(url->scheme);
    free(url->host);
    free(url->path);
    free(url);
    return NULL;
}

const char *cold_url_query(const struct cold_url *url, const char *name)
{
    for (size_t i = 0; i < url->query_count; i++)
        if (strcmp(url->query[i].name, name) == 0)
            return url->query[i].value;
    return NULL;
}

int cold_url_check_query(const struct cold_url *url, const char *const *allowed,
                         struct varve_error *err)
{
    for (size_t i = 0; i < url->query_count; i++) {
        size_t k = 0;

        while (allowed[k] && strcmp(allowed[k], url->query[i].name) != 0)
            k++;
        if (!allowed[k])
            return base_fail(err, VARVE_E_INVALID, "store URL: unknown name '%s' for a %s store",
                             url->query[i].name, url->scheme);
    }
    return 0;
}
