/* Where a bucket is reached: endpoints taken apart, buckets checked, paths and queries encoded. */
#include "cold/s3/endpoint.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "base/text.h"

#define REGION_DEFAULT "us-east-1"
#define REGION_SIZE_MAX 63
#define HOST_SIZE_MAX 253
#define BUCKET_SIZE_MIN 3
#define BUCKET_SIZE_MAX 63
#define BUCKET_LAX_SIZE_MAX 255

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

/* "scheme://name:port" taken apart. */
struct authority {
    bool tls;
    char name[HOST_SIZE_MAX + 3]; /* lower case; an IPv6 address in its brackets */
    bool is_address;              /* IPv4 or IPv6 */
    int port;                     /* 0: the scheme's */
};

static bool is_made_of(const char *text, const char *allowed)
{
    return text[strspn(text, allowed)] == '\0';
}

static bool is_ipv4(const char *text)
{
    struct in_addr address;

    return inet_pton(AF_INET, text, &address) == 1;
}

/* "[::1]". */
static bool is_bracketed_ipv6(const char *text)
{
    char bare[INET6_ADDRSTRLEN];
    struct in6_addr address;
    size_t size = strlen(text);

    if (size < 4 || size - 2 >= sizeof(bare) || text[0] != '[' || text[size - 1] != ']')
        return false;
    memcpy(bare, text + 1, size - 2);
    bare[size - 2] = '\0';
    return inet_pton(AF_INET6, bare, &address) == 1;
}

static int region_check(const char *region, struct varve_error *err)
{
    size_t size = strlen(region);

    /* It becomes a part of host names and of the signature's scope. */
    if (size == 0 || size > REGION_SIZE_MAX || !is_made_of(region, LOWER UPPER DIGITS "-_."))
        return base_fail(err, VARVE_E_INVALID, "the S3 region '%.64s' is none", region);
    return 0;
}

int s3_endpoint_aws_host(const char *service, const char *region, char **ret,
                         struct varve_error *err)
{
    static const struct {
        const char *prefix, *domain;
    } partitions[] = {
        {"cn-", "amazonaws.com.cn"}, {"us-iso-", "c2s.ic.gov"},      {"us-isob-", "sc2s.sgov.gov"},
        {"eusc-", "amazonaws.eu"},   {"eu-isoe-", "cloud.adc-e.uk"}, {"us-isof-", "csp.hci.ic.gov"},
    };
    const char *domain = "amazonaws.com";
    int rc = region_check(region, err);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof(partitions) / sizeof(partitions[0]); i++) {
        if (strncmp(region, partitions[i].prefix, strlen(partitions[i].prefix)) == 0)
            domain = partitions[i].domain;
    }
    return base_format(ret, err, "%s.%s.%s", service, region, domain);
}

/* The port behind the name; "" is none. */
static bool port_parse(const char *text, int *ret)
{
    int64_t port;

    if (text[0] == '\0') {
        *ret = 0;
        return true;
    }
    if (text[0] != ':' || !is_made_of(text + 1, DIGITS) || !base_parse_i64(text + 1, &port) ||
        port < 1 || port > 65535)
        return false;
    *ret = (int)port;
    return true;
}

static bool name_parse(const char *text, size_t size, struct authority *a)
{
    if (size == 0 || size > HOST_SIZE_MAX)
        return false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];

        a->name[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    a->name[size] = '\0';
    if (a->name[0] == '[') {
        a->is_address = true;
        return is_bracketed_ipv6(a->name);
    }
    a->is_address = is_ipv4(a->name);
    return a->name[0] != '.' && !strstr(a->name, "..") && is_made_of(a->name, LOWER DIGITS ".-_");
}

/* The messages do not repeat the URL: somebody may have put a password into it. */
static int authority_parse(const char *url, struct authority *a, struct varve_error *err)
{
    size_t size, name_size;
    char text[HOST_SIZE_MAX + 16];

    *a = (struct authority){0};
    if (strncasecmp(url, "https://", 8) == 0) {
        a->tls = true;
        url += 8;
    } else if (strncasecmp(url, "http://", 7) == 0) {
        url += 7;
    } else {
        return base_fail(err, VARVE_E_INVALID, "the endpoint must begin with http:// or https://");
    }
    if (strchr(url, '@'))
        return base_fail(err, VARVE_E_INVALID, "the endpoint may hold no credentials");
    size = strcspn(url, "/?#");
    if (strcmp(url + size, "/") != 0 && url[size] != '\0')
        return base_fail(err, VARVE_E_INVALID, "the endpoint may hold no path and no query");
    if (size >= sizeof(text))
        return base_fail(err, VARVE_E_INVALID, "the endpoint is too long");
    memcpy(text, url, size);
    text[size] = '\0';
    name_size = text[0] == '[' ? strcspn(text, "]") + 1 : strcspn(text, ":");
    if (name_size > size || !name_parse(text, name_size, a))
        return base_fail(err, VARVE_E_INVALID, "the endpoint has no valid host name");
    if (!port_parse(text + name_size, &a->port))
        return base_fail(err, VARVE_E_INVALID, "the endpoint has no valid port");
    if (a->port == (a->tls ? 443 : 80))
        a->port = 0;
    return 0;
}

int s3_endpoint_split(const char *url, char **ret_base, char **ret_host, struct varve_error *err)
{
    char port[12] = ""; /* room for any int, which the compiler cannot rule out */
    struct authority a;
    char *host, *base;
    int rc = authority_parse(url, &a, err);

    if (rc < 0)
        return rc;
    if (a.port > 0)
        snprintf(port, sizeof(port), ":%d", a.port);
    rc = base_format(&host, err, "%s%s", a.name, port);
    if (rc < 0)
        return rc;
    rc = base_format(&base, err, "%s://%s", a.tls ? "https" : "http", host);
    if (rc < 0) {
        free(host);
        return rc;
    }
    *ret_base = base;
    *ret_host = host;
    return 0;
}

static int authority_of_aws(const char *region, struct authority *a, struct varve_error *err)
{
    char *host;
    int rc = s3_endpoint_aws_host("s3", region, &host, err);

    if (rc < 0)
        return rc;
    *a = (struct authority){.tls = true};
    assert(strlen(host) <= HOST_SIZE_MAX); /* the region is short */
    strcpy(a->name, host);
    free(host);
    return 0;
}

static bool is_letter_or_digit(char c)
{
    return c != '\0' && strchr(LOWER UPPER DIGITS, c);
}

/* The rules of today: such a name can be a host name. */
static bool bucket_is_strict(const char *bucket)
{
    size_t size = strlen(bucket);

    return size >= BUCKET_SIZE_MIN && size <= BUCKET_SIZE_MAX &&
           is_made_of(bucket, LOWER DIGITS ".-") && is_letter_or_digit(bucket[0]) &&
           is_letter_or_digit(bucket[size - 1]) && !strstr(bucket, "..") && !is_ipv4(bucket);
}

/* What AWS's oldest region and other stores have let through. */
static bool bucket_is_lax(const char *bucket)
{
    size_t size = strlen(bucket);

    return size >= BUCKET_SIZE_MIN && size <= BUCKET_LAX_SIZE_MAX &&
           is_made_of(bucket, LOWER UPPER DIGITS ".-_") && is_letter_or_digit(bucket[0]);
}

/* Decides AUTO, and refuses what cannot be. */
static int style_decide(const struct s3_endpoint_options *o, const struct authority *a,
                        enum s3_style *ret, struct varve_error *err)
{
    bool strict = bucket_is_strict(o->bucket);
    enum s3_style style = o->style;

    if (style == S3_STYLE_VIRTUAL && a->is_address)
        return base_fail(err, VARVE_E_INVALID,
                         "bucket '%.64s': virtual-host style needs a host name, not an IP address",
                         o->bucket);
    if (style == S3_STYLE_AUTO)
        style = a->is_address || !strchr(a->name, '.') || !strict || strchr(o->bucket, '.')
                    ? S3_STYLE_PATH
                    : S3_STYLE_VIRTUAL;
    if (!strict && !(style == S3_STYLE_PATH && o->endpoint && bucket_is_lax(o->bucket)))
        return base_fail(err, VARVE_E_INVALID,
                         "bucket '%.64s': S3's names have 3 to 63 of a-z 0-9 . - and begin and end "
                         "with a letter or digit",
                         o->bucket);
    *ret = style;
    return 0;
}

/* Fills the strings; what is there when one fails is the caller's to release. */
static int endpoint_fill(struct s3_endpoint *e, const struct authority *a, const char *region,
                         const char *bucket, enum s3_style style, struct varve_error *err)
{
    bool virtual = style == S3_STYLE_VIRTUAL;
    char port[12] = ""; /* room for any int, which the compiler cannot rule out */
    int rc;

    if (a->port > 0)
        snprintf(port, sizeof(port), ":%d", a->port);
    e->tls = a->tls;
    rc = base_format(&e->host, err, "%s%s%s%s", virtual ? bucket : "", virtual ? "." : "", a->name,
                     port);
    if (rc == 0)
        rc = base_format(&e->base, err, "%s://%s", a->tls ? "https" : "http", e->host);
    if (rc == 0) /* a bucket's name is made of characters that need no encoding */
        rc = base_format(&e->path, err, "%s%s", virtual ? "" : "/", virtual ? "" : bucket);
    if (rc == 0)
        rc = base_format(&e->region, err, "%s", region);
    if (rc == 0)
        rc = base_format(&e->bucket, err, "%s", bucket);
    return rc;
}

int s3_endpoint_init(const struct s3_endpoint_options *o, struct s3_endpoint *ret,
                     struct varve_error *err)
{
    const char *region = o->region ? o->region : REGION_DEFAULT;
    struct s3_endpoint e = {0};
    struct authority a;
    enum s3_style style = o->style;
    int rc = region_check(region, err);

    if (rc == 0)
        rc =
            o->endpoint ? authority_parse(o->endpoint, &a, err) : authority_of_aws(region, &a, err);
    if (rc == 0)
        rc = style_decide(o, &a, &style, err);
    if (rc < 0)
        return rc;
    rc = endpoint_fill(&e, &a, region, o->bucket, style, err);
    if (rc < 0) {
        s3_endpoint_deinit(&e);
        return rc;
    }
    *ret = e;
    return 0;
}

void s3_endpoint_deinit(struct s3_endpoint *e)
{
    free(e->base);
    free(e->host);
    free(e->path);
    free(e->region);
    free(e->bucket);
    *e = (struct s3_endpoint){0};
}

int s3_uri_encode(const char *text, bool keep_slash, char **ret, struct varve_error *err)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t size = strlen(text);
    char *out, *p;

    out = size <= (SIZE_MAX - 1) / 3 ? malloc(3 * size + 1) : NULL;
    if (!out)
        return base_fail(err, VARVE_E_NO_MEMORY, "encode for a URL: out of memory");
    p = out;
    for (; *text; text++) {
        if (is_letter_or_digit(*text) || strchr("-._~", *text) || (keep_slash && *text == '/')) {
            *p++ = *text;
        } else {
            *p++ = '%';
            *p++ = hex[(unsigned char)*text >> 4];
            *p++ = hex[(unsigned char)*text & 15];
        }
    }
    *p = '\0';
    *ret = out;
    return 0;
}

bool s3_uri_decode(char *text)
{
    char *out = text;

    while (*text) {
        int high, low;

        if (*text != '%') {
            *out++ = *text == '+' ? ' ' : *text;
            text++;
            continue;
        }
        high = base_hex_digit(text[1]);
        low = high < 0 ? -1 : base_hex_digit(text[2]);
        if (low < 0 || (high == 0 && low == 0))
            return false;
        *out++ = (char)(high * 16 + low);
        text += 3;
    }
    *out = '\0';
    return true;
}

int s3_endpoint_path(const struct s3_endpoint *endpoint, const char *key, char **ret,
                     struct varve_error *err)
{
    char *encoded;
    int rc = s3_uri_encode(key, true, &encoded, err);

    if (rc < 0)
        return rc;
    rc = base_format(ret, err, "%s/%s", endpoint->path, encoded);
    free(encoded);
    return rc;
}

/* A pair as it is sent. */
struct encoded {
    char *name;
    char *value;
};

/* By the encoded name, as SigV4 says; S3 has no name twice. */
static int by_name(const void *a, const void *b)
{
    const struct encoded *x = a, *y = b;

    return strcmp(x->name, y->name);
}

/* "name=value&..." of what is sorted, in fresh memory; NULL: out of memory. */
static char *query_join(const struct encoded *list, size_t count)
{
    size_t size = 1;
    char *out, *p;

    for (size_t i = 0; i < count; i++)
        size += strlen(list[i].name) + strlen(list[i].value) + 2;
    out = malloc(size);
    if (!out)
        return NULL;
    p = out;
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            *p++ = '&';
        p = stpcpy(p, list[i].name);
        *p++ = '=';
        p = stpcpy(p, list[i].value);
    }
    *p = '\0';
    return out;
}

int s3_query_encode(const struct s3_query *pairs, size_t count, char **ret, struct varve_error *err)
{
    struct encoded list[S3_QUERY_MAX] = {0};
    size_t used = 0;
    char *query;
    int rc = 0;

    assert(count <= S3_QUERY_MAX);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (!pairs[i].value)
            continue;
        rc = s3_uri_encode(pairs[i].name, false, &list[used].name, err);
        if (rc == 0)
            rc = s3_uri_encode(pairs[i].value, false, &list[used].value, err);
        used++;
    }
    if (rc == 0) {
        qsort(list, used, sizeof(list[0]), by_name);
        query = query_join(list, used);
        if (query)
            *ret = query;
        else
            rc = base_fail(err, VARVE_E_NO_MEMORY, "encode a query: out of memory");
    }
    for (size_t i = 0; i < used; i++) {
        free(list[i].name);
        free(list[i].value);
    }
    return rc;
}
