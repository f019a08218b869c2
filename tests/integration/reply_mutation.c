/*
 * A reply is taken apart into a status line, headers and a body; one to three changes are made to
 * those; it is put together again, and maybe a change is made to the bytes of that.
 */
#include "tests/integration/reply_mutation.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tests/integration/s3_trial.h"

#define HEADERS_MAX 64
#define CHANGES_MAX 3
#define BODY_MAX (1 << 20)
#define FILL_MAX (UINT64_C(64) << 20) /* of what has no end: every limit lies far below */

struct draft {
    char *status; /* without CRLF */
    char *headers[HEADERS_MAX];
    size_t header_count;
    char *body;
    size_t body_size;
    bool head_only;
    uint64_t state;
    struct mutated *out;
};

uint64_t mutation_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15); /* SplitMix64 */

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static size_t below(struct draft *d, size_t limit)
{
    return limit > 0 ? (size_t)(mutation_random(&d->state) % limit) : 0;
}

#define PICK(d, list) ((list)[below(d, sizeof(list) / sizeof((list)[0]))])

static void *must_have(void *p)
{
    if (!p)
        abort();
    return p;
}

__attribute__((format(printf, 1, 2))) static char *text(const char *format, ...)
{
    va_list ap;
    char *s = NULL;
    int n;

    va_start(ap, format);
    n = vasprintf(&s, format, ap);
    va_end(ap);
    if (n < 0)
        abort();
    return s;
}

__attribute__((format(printf, 2, 3))) static void say(struct draft *d, const char *format, ...)
{
    size_t used = strlen(d->out->what);
    va_list ap;

    va_start(ap, format);
    if (used > 0 && used + 2 < sizeof(d->out->what))
        used += (size_t)snprintf(d->out->what + used, sizeof(d->out->what) - used, "; ");
    if (used < sizeof(d->out->what))
        vsnprintf(d->out->what + used, sizeof(d->out->what) - used, format, ap);
    va_end(ap);
}

/* ---- taking apart ---- */

static bool draft_take(struct draft *d, const char *reply, size_t size)
{
    const char *end, *at = reply;

    if (!reply || size < 12 || memcmp(reply, "HTTP/1.1 ", 9) != 0)
        return false;
    end = memmem(reply, size, "\r\n\r\n", 4);
    if (!end)
        return false;
    while (at < end + 2) {
        const char *eol = memmem(at, (size_t)(end + 2 - at), "\r\n", 2);
        char *line = must_have(strndup(at, (size_t)(eol - at)));

        if (!d->status)
            d->status = line;
        else if (d->header_count < HEADERS_MAX && strncasecmp(line, "connection:", 11) != 0)
            d->headers[d->header_count++] = line;
        else
            free(line);
        at = eol + 2;
    }
    d->body_size = size - (size_t)(end + 4 - reply);
    d->body = must_have(malloc(d->body_size + 1));
    memcpy(d->body, end + 4, d->body_size);
    d->body[d->body_size] = '\0';
    return true;
}

static void draft_deinit(struct draft *d)
{
    free(d->status);
    for (size_t i = 0; i < d->header_count; i++)
        free(d->headers[i]);
    free(d->body);
}

static void header_drop(struct draft *d, size_t i)
{
    free(d->headers[i]);
    memmove(&d->headers[i], &d->headers[i + 1], (--d->header_count - i) * sizeof(d->headers[0]));
}

static size_t header_find(const struct draft *d, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < d->header_count; i++)
        if (strncasecmp(d->headers[i], name, n) == 0 && d->headers[i][n] == ':')
            return i;
    return SIZE_MAX;
}

static void header_add(struct draft *d, char *line)
{
    if (d->header_count == HEADERS_MAX)
        header_drop(d, 0);
    d->headers[d->header_count++] = line;
}

static void header_set(struct draft *d, size_t i, char *line)
{
    free(d->headers[i]);
    d->headers[i] = line;
}

/* What a header that is gone, or says something else, may make one believe. */
static unsigned header_lies(const char *line)
{
    if (strncasecmp(line, "etag:", 5) == 0)
        return S3_LIE_ETAG;
    if (strncasecmp(line, "x-amz-meta-", 11) == 0)
        return S3_LIE_OWNER;
    /* Where the end of the connection is the end of the body, or an early end looks right. */
    if (strncasecmp(line, "content-length:", 15) == 0 ||
        strncasecmp(line, "transfer-encoding:", 18) == 0)
        return S3_LIE_SIZE | S3_LIE_BODY;
    return 0;
}

/* An XML document that ends early is never whole, an object may be. */
static unsigned short_lies(const struct draft *d)
{
    return d->body_size > 0 && d->body[0] == '<' ? S3_LIE_SIZE : S3_LIE_SIZE | S3_LIE_BODY;
}

/* ---- changes of the status ---- */

static void change_status(struct draft *d)
{
    static const int statuses[] = {
        100, 101, 103, 199, 200, 201, 202, 203, 204, 205, 206, 207, 226, 299, 300, 301, 302, 303,
        304, 307, 308, 399, 400, 401, 402, 403, 404, 405, 408, 409, 410, 411, 412, 413, 416, 417,
        418, 429, 431, 499, 500, 501, 502, 503, 504, 505, 507, 599, 600, 999, 0,   1,   20,  2000};
    int status = PICK(d, statuses);

    free(d->status);
    d->status = text("HTTP/1.1 %03d Whatever", status);
    say(d, "status %d", status);
    if (status == 404 || status == 410)
        d->out->lies |= S3_LIE_NOT_FOUND;
    if (status == 412 || status == 404) /* some stores say 404 of a replacement's lost condition */
        d->out->lies |= S3_LIE_CONDITION;
    if (status == 401 || status == 403)
        d->out->lies |= S3_LIE_DENIED;
    if (status == 507)
        d->out->lies |= S3_LIE_FULL;
    /* These have no body by definition: an object is empty then, of a deletion it is the truth. */
    if (status == 204 || status == 304 || status == 205)
        d->out->lies |= S3_LIE_BODY;
}

static void change_status_line(struct draft *d)
{
    static const char *const lines[] = {
        "HTTP/0.9 200 OK",   "HTTP/1.0 200 OK",   "HTTP/2 200",
        "HTTP/3 200 OK",     "HTTP/1.1 200",      "HTTP/1.1  200 OK",
        "HTTP/1.1",          "HTTP/1.1 ",         "HTTP/1.1 2x0 OK",
        "HTTP/1.1 -20 OK",   "HTTP/9.9 200 OK",   "HTTP/1.1 200OK",
        "ICY 200 OK",        "RTSP/1.0 200 OK",   "200 OK",
        "<html><body>hello", "HTTP/1.1\t200\tOK", ""};
    const char *line = PICK(d, lines);

    free(d->status);
    d->status = text("%s", line);
    say(d, "status line '%s'", line);
    /* Without a length of its own, of HTTP/1.0, a body ends where it ends. */
    d->out->lies |= short_lies(d);
}

static void add_informational(struct draft *d)
{
    static const char *const early[] = {"HTTP/1.1 100 Continue\r\n\r\n",
                                        "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
                                        ("HTTP/1.1 102 Processing\r\nContent-Length: 77\r\n"
                                         "ETag: \"early\"\r\n\r\n")};
    const char *one = PICK(d, early);
    size_t count = 1 + below(d, 4), size = strlen(one);
    char *line = must_have(calloc(1, count * size + strlen(d->status) + 1));

    for (size_t i = 0; i < count; i++)
        memcpy(line + i * size, one, size);
    memcpy(line + count * size, d->status, strlen(d->status));
    free(d->status);
    d->status = line;
    say(d, "%zu informational replies", count);
}

/* ---- changes of the headers ---- */

static void drop_header(struct draft *d)
{
    size_t i = below(d, d->header_count);

    if (d->header_count == 0)
        return;
    say(d, "without '%.40s'", d->headers[i]);
    if (header_lies(d->headers[i]) != S3_LIE_ETAG)
        d->out->lies |= header_lies(d->headers[i]);
    header_drop(d, i);
}

static void change_value(struct draft *d)
{
    static const char *const values[] = {"",
                                         " ",
                                         "0",
                                         "-1",
                                         "00000000000000000000000000000000000005000",
                                         "18446744073709551616",
                                         "18446744073709556616",
                                         "9223372036854775808",
                                         "4294972296",
                                         "+5000",
                                         "5000, 5000",
                                         "5000, 7",
                                         "0x1388",
                                         "5e3",
                                         "\"\"",
                                         "\"",
                                         "W/\"weak\"",
                                         "\"a\\\"b\"",
                                         "\x01\x7f\xff",
                                         "chunked",
                                         "gzip, chunked",
                                         "identity",
                                         "Thu, 01 Jan 1970 00:00:00 GMT",
                                         "Thu, 31 Feb 99999 25:61:61 GMT",
                                         "%n%s%n",
                                         "application/xml; charset=utf-7"};
    size_t i = below(d, d->header_count);
    const char *value = PICK(d, values), *colon;

    if (d->header_count == 0 || !(colon = strchr(d->headers[i], ':')))
        return;
    d->out->lies |= header_lies(d->headers[i]);
    if (strstr(value, "chunked"))
        d->out->lies |= S3_LIE_BODY | S3_LIE_SIZE;
    say(d, "'%.*s: %s'", (int)(colon - d->headers[i]), d->headers[i], value);
    header_set(d, i, text("%.*s: %s", (int)(colon - d->headers[i]), d->headers[i], value));
}

static void double_header(struct draft *d)
{
    size_t i = below(d, d->header_count);
    char *line;

    if (d->header_count == 0)
        return;
    line = must_have(strdup(d->headers[i]));
    if (below(d, 2) && strlen(line) > 0) {
        char *last = line + strlen(line) - 1;

        *last = isdigit((unsigned char)*last) ? (char)('0' + (*last - '0' + 1) % 10) : '0';
        d->out->lies |= header_lies(line);
    }
    say(d, "again '%.40s'", line);
    header_add(d, line);
}

static void break_header(struct draft *d)
{
    size_t i = below(d, d->header_count);
    char *line, *colon;

    if (d->header_count == 0 || !(colon = strchr(d->headers[i], ':')))
        return;
    d->out->lies |= header_lies(d->headers[i]);
    line = d->headers[i];
    switch (below(d, 6)) {
    case 0:
        line = text("%.*s %s", (int)(colon - line), line, colon); /* a space before the colon */
        break;
    case 1:
        line = text("%.*s%s", (int)(colon - line), line, colon + 1); /* none */
        break;
    case 2:
        line = text("%.*s:\r\n\t%s", (int)(colon - line), line, colon + 1); /* folded */
        break;
    case 3:
        line = text("%s", colon); /* no name */
        break;
    case 4:
        line = text(" %s", line); /* goes on from the line before */
        break;
    default:
        line = text("%.*s:\n%s", (int)(colon - line), line, colon + 1); /* a bare newline */
        break;
    }
    say(d, "broken '%.40s'", d->headers[i]);
    header_set(d, i, line);
}

static void change_length(struct draft *d)
{
    static const int64_t deltas[] = {-5000, -100, -7, -1, 1, 7, 100, 5000, INT64_C(1) << 32};
    size_t i = header_find(d, "content-length");
    int64_t delta = PICK(d, deltas), length;

    if (i == SIZE_MAX)
        return;
    length = strtoll(d->headers[i] + 15, NULL, 10) + delta;
    d->out->lies |= delta < 0 ? short_lies(d) : S3_LIE_SIZE;
    say(d, "Content-Length %+" PRId64, delta);
    header_set(d, i, text("Content-Length: %" PRId64, length));
}

static void change_range(struct draft *d)
{
    static const char *const ranges[] = {"bytes 1001-2000/5000",
                                         "bytes 999-1998/5000",
                                         "bytes 0-999/5000",
                                         "bytes 1000-1998/5000",
                                         "bytes 1000-2000/5000",
                                         "bytes 1999-1000/5000",
                                         "bytes */5000",
                                         "bytes 1000-1999",
                                         "bytes 1000-1999/1500",
                                         "bytes 18446744073709552616-18446744073709553615/5000",
                                         "bytes -1000/5000",
                                         "bytes 1000-/5000",
                                         "lines 1000-1999/5000",
                                         "bytes=1000-1999/5000",
                                         "1000-1999/5000",
                                         "",
                                         "bytes",
                                         "bytes 0x3e8-0x7cf/5000",
                                         "bytes 01001-02000/05000"};
    const char *range = PICK(d, ranges);
    size_t i = header_find(d, "content-range");

    say(d, "Content-Range '%s'", range);
    if (i != SIZE_MAX)
        header_drop(d, i);
    header_add(d, text("Content-Range: %s", range));
}

static void change_etag(struct draft *d)
{
    size_t i = header_find(d, "etag"), n = 1 + below(d, 4000);
    char *line;

    if (i == SIZE_MAX)
        return;
    d->out->lies |= S3_LIE_ETAG;
    switch (below(d, 4)) {
    case 0:
        line = text("ETag: %s", "\"00000000000000000000000000000000\"");
        break;
    case 1:
        line = text("ETag: no quotes");
        break;
    case 2:
        line = text("ETag: \"unclosed");
        break;
    default:
        line = must_have(malloc(n + 9));
        memcpy(line, "ETag: \"", 7);
        memset(line + 7, 'e', n);
        memcpy(line + 7 + n, "\"", 2);
    }
    say(d, "'%.40s'", line);
    header_set(d, i, line);
}

static void fill_headers(struct draft *d)
{
    static const char many[] = "x-filler: 0123456789abcdefghijklmnopqrstuvwxyz\r\n";

    switch (below(d, 3)) {
    case 0: /* 10 MB of headers */
        d->out->filler = many;
        d->out->filler_total = 10 << 20;
        say(d, "10 MB of headers");
        break;
    case 1:
        d->out->filler = many;
        d->out->filler_total = FILL_MAX;
        say(d, "headers without end");
        break;
    default: /* one line */
        d->out->filler = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        d->out->filler_total = 10 << 20;
        say(d, "a header of 10 MB");
    }
    d->out->filler_in_head = true;
    d->out->closes = true;
}

/* ---- changes of the body ---- */

static void body_set(struct draft *d, char *body, size_t size)
{
    size_t i = header_find(d, "content-length");

    free(d->body);
    d->body = body;
    d->body_size = size;
    /* The length is that of the new one, or the framing alone would tell. */
    if (i != SIZE_MAX && !d->head_only)
        header_set(d, i, text("Content-Length: %zu", size));
}

static void cut_body(struct draft *d)
{
    size_t keep = below(d, d->body_size + 1);

    if (d->head_only || d->body_size == 0)
        return;
    d->out->lies |= short_lies(d);
    say(d, "body of %zu cut at %zu, and its length", d->body_size, keep);
    d->body[keep] = '\0';
    body_set(d, must_have(memcpy(must_have(malloc(keep + 1)), d->body, keep + 1)), keep);
}

static void cut_sending(struct draft *d)
{
    d->out->cut = below(d, d->body_size + 400);
    d->out->closes = true;
    d->out->resets = below(d, 2);
    say(d, "sent up to byte %zu, then %s", d->out->cut, d->out->resets ? "reset" : "closed");
    /* With a length, or in chunks, that shows. */
    if (header_find(d, "content-length") == SIZE_MAX)
        d->out->lies |= short_lies(d);
}

static void stall(struct draft *d)
{
    d->out->cut = below(d, d->body_size + 400);
    d->out->stalls = true;
    say(d, "sent up to byte %zu, then nothing more", d->out->cut);
}

static void flip_body(struct draft *d)
{
    size_t at = below(d, d->body_size), count = 1 + below(d, 4);

    if (d->head_only || d->body_size == 0)
        return;
    d->out->lies |= S3_LIE_BODY | S3_LIE_RANGE | S3_LIE_ETAG;
    for (size_t i = at; i < d->body_size && i < at + count; i++)
        d->body[i] ^= (char)(1 << below(d, 8));
    say(d, "%zu bytes at %zu of the body changed", count, at);
}

static void replace_body(struct draft *d)
{
    static const char *const bodies[] = {
        "",
        "<",
        "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
        "<?xml version=\"1.0\"?><!DOCTYPE b [<!ENTITY a \"0123456789\">"
        "<!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\"><!ENTITY c "
        "\"&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;\">"
        "<!ENTITY d \"&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;\"><!ENTITY e "
        "\"&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;\">"
        "]><ListBucketResult><Name>&e;</Name></ListBucketResult>",
        "<!DOCTYPE b SYSTEM \"file:///etc/passwd\"><ListBucketResult/>",
        "<Error><Code>InternalError</Code></Error>",
        "<Error><Code>SlowDown</Code></Error>",
        "<Error/>",
        "<ListBucketResult/>",
        "<DeleteResult/>",
        "<CompleteMultipartUploadResult/>",
        "<InitiateMultipartUploadResult><UploadId></UploadId></InitiateMultipartUploadResult>",
        "<ListPartsResult><IsTruncated>true</IsTruncated></ListPartsResult>",
        "<ListMultipartUploadsResult><IsTruncated>true</IsTruncated></ListMultipartUploadsResult>",
        "<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
        "\xff\xfe<\0x\0/\0>\0",
        "{\"error\": \"not S3\"}"};
    const char *body = PICK(d, bodies);

    if (d->head_only)
        return;
    d->out->lies |= S3_LIE_BODY;
    say(d, "body '%.30s'", body);
    body_set(d, must_have(strdup(body)), strlen(body));
}

static void nest_body(struct draft *d)
{
    size_t depth = 1 + below(d, 100000);
    char *body = must_have(malloc(3 * depth + 1));

    if (d->head_only) {
        free(body);
        return;
    }
    for (size_t i = 0; i < depth; i++)
        memcpy(body + 3 * i, "<a>", 3);
    body[3 * depth] = '\0';
    d->out->lies |= S3_LIE_BODY;
    say(d, "%zu elements in each other", depth);
    body_set(d, body, 3 * depth);
}

/* Of an XML document: an element gone, doubled, emptied, filled, or renamed. */
static void change_element(struct draft *d)
{
    size_t tags = 0, wanted;
    char *open = d->body, *close, *body;

    if (d->head_only || d->body_size == 0 || d->body[0] != '<')
        return;
    for (char *p = d->body; (p = strchr(p, '<')); p++)
        tags++;
    wanted = below(d, tags);
    for (size_t i = 0; i < wanted; i++)
        open = strchr(open + 1, '<');
    close = strchr(open, '>');
    if (!close || open[1] == '/' || open[1] == '?' || strchr(close, '<') == NULL)
        return;
    close++;
    d->out->lies |= S3_LIE_BODY | S3_LIE_ETAG;
    switch (below(d, 6)) {
    case 0:
        body = text("%.*s%s", (int)(open - d->body), d->body, close); /* its beginning is gone */
        break;
    case 1:
        body =
            text("%.*s%.*s%s", (int)(close - d->body), d->body, (int)(close - open), open, close);
        break;
    case 2: /* and its text */
        body = text("%.*s%s", (int)(close - d->body), d->body, strchr(close, '<'));
        break;
    case 3:
        body = text("%.*s%s%s", (int)(close - d->body), d->body, "99999999999999999999",
                    strchr(close, '<'));
        break;
    case 4:
        body = text("%.*s%s%s", (int)(close - d->body), d->body, "&undefined;&#0;&#xFFFFFF;",
                    strchr(close, '<'));
        break;
    default: {
        size_t n = 1 + below(d, 30000);
        char *filler = must_have(malloc(n + 1));

        memset(filler, 'f', n);
        filler[n] = '\0';
        body = text("%.*s%s%s", (int)(close - d->body), d->body, filler, strchr(close, '<'));
        free(filler);
    }
    }
    say(d, "element '%.*s' changed", (int)(close - open), open);
    body_set(d, body, strlen(body));
}

static void fill_body(struct draft *d)
{
    static const char *const fillers[] = {
        "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz",
        "<Contents><Key>pre/fix/listed/1</Key><Size>5000</Size></Contents>",
        "<a>",
        "                                                                ",
        "<!-- -->",
        "</"};
    size_t i = header_find(d, "content-length");

    if (d->head_only)
        return;
    d->out->filler = PICK(d, fillers);
    d->out->filler_in_head = false;
    d->out->filler_total = below(d, 2) ? FILL_MAX : UINT64_C(1) << below(d, 21);
    d->out->closes = true;
    if (below(d, 2) && i != SIZE_MAX) /* or there is more than was promised */
        header_set(d, i, text("Content-Length: %" PRIu64, d->out->filler_total + d->body_size));
    else if (i != SIZE_MAX && below(d, 2))
        header_drop(d, i);
    d->out->lies |= S3_LIE_BODY | S3_LIE_SIZE;
    say(d, "%" PRIu64 " bytes of '%.10s' behind the body", d->out->filler_total, d->out->filler);
}

/* The body in chunks; half the time that is all, and nothing is wrong with it. */
static void chunk_body(struct draft *d)
{
    static const char *const sizes[] = {"%zx",
                                        "%zX",
                                        "000%zx",
                                        "%zx;extension=\"1\"",
                                        "-%zx",
                                        "+%zx",
                                        "ffffffffffffff%zx",
                                        "8000000000000%04zx",
                                        "0x%zx",
                                        " %zx",
                                        "%zx ",
                                        "%zxg"};
    size_t i = header_find(d, "content-length"), pos = 0, size = 0, kind = below(d, 4);
    size_t odd_at = kind == 0 ? below(d, 6) : SIZE_MAX, number = 0;
    char *body;

    if (d->head_only || d->body_size == 0)
        return;
    body = must_have(malloc(d->body_size * 40 + 256));
    while (pos < d->body_size) {
        size_t n = 1 + below(d, d->body_size < 64 ? d->body_size : d->body_size / 4);
        const char *format = "%zx";

        if (n > d->body_size - pos)
            n = d->body_size - pos;
        if (number++ == odd_at) {
            format = PICK(d, sizes);
            say(d, "a chunk's size as '%s'", format);
            d->out->lies |= S3_LIE_BODY | S3_LIE_RANGE;
        }
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        size += (size_t)sprintf(body + size, format, n);
#pragma GCC diagnostic pop
        size += (size_t)sprintf(body + size, "\r\n");
        memcpy(body + size, d->body + pos, n);
        size += n;
        size += (size_t)sprintf(body + size, "\r\n");
        pos += n;
    }
    if (kind == 1) { /* the last is missing */
        d->out->closes = true;
        say(d, "no last chunk");
    } else {
        size += (size_t)sprintf(body + size, "0\r\n%s\r\n",
                                kind == 2 ? "Content-Length: 3\r\nETag: \"trailer\"\r\n" : "");
    }
    say(d, "in chunks");
    free(d->body);
    d->body = body;
    d->body_size = size;
    if (i != SIZE_MAX && below(d, 4) > 0)
        header_drop(d, i);
    header_add(d, text("Transfer-Encoding: chunked"));
}

/* Another reply right behind: behind an informational one it is the reply itself, and on a
 * connection that is kept it may be taken for that of the next request; HTTP/1.1 has nothing that
 * tells. */
static void add_reply(struct draft *d)
{
    static const char second[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"second\"\r\n\r\n"
                                 "wrong";
    char *body = must_have(malloc(d->body_size + sizeof(second)));

    memcpy(body, d->body, d->body_size);
    memcpy(body + d->body_size, second, sizeof(second));
    free(d->body);
    d->body = body;
    d->body_size += sizeof(second) - 1;
    d->out->lies |= S3_LIE_ETAG | S3_LIE_SIZE | S3_LIE_BODY | S3_LIE_OWNER | S3_LIE_DONE;
    say(d, "a second reply behind it");
}

static void encode_body(struct draft *d)
{
    header_add(d, text("Content-Encoding: %s", below(d, 2) ? "gzip" : "br"));
    say(d, "said to be compressed");
}

static void say_nothing(struct draft *d)
{
    d->out->silent = true;
    d->out->closes = true;
    d->out->resets = below(d, 2);
    say(d, "no answer, %s", d->out->resets ? "reset" : "closed");
}

static void (*const changes[])(struct draft *d) = {
    change_status,  change_status, change_status, change_status_line, add_informational,
    drop_header,    drop_header,   change_value,  change_value,       double_header,
    break_header,   change_length, change_length, change_range,       change_range,
    change_etag,    fill_headers,  cut_body,      cut_sending,        cut_sending,
    flip_body,      replace_body,  nest_body,     change_element,     change_element,
    change_element, fill_body,     chunk_body,    chunk_body,         add_reply,
    encode_body,    say_nothing};

#define CHANGE_COUNT (sizeof(changes) / sizeof(changes[0]))

/* ---- putting together ---- */

static void draft_finish(struct draft *d)
{
    struct mutated *out = d->out;
    size_t size = strlen(d->status) + 5, at;

    for (size_t i = 0; i < d->header_count; i++)
        size += strlen(d->headers[i]) + 2;
    out->head = must_have(malloc(size));
    at = (size_t)sprintf(out->head, "%s\r\n", d->status);
    for (size_t i = 0; i < d->header_count; i++)
        at += (size_t)sprintf(out->head + at, "%s\r\n", d->headers[i]);
    /* What fills the head comes before its end. */
    if (!(out->filler && out->filler_in_head))
        at += (size_t)sprintf(out->head + at, "\r\n");
    out->head_size = at;
    out->body = d->body;
    out->body_size = d->body_size;
    d->body = NULL;
}

/* One byte of the head behind the status line is another. */
static void flip_head(struct draft *d)
{
    const char *eol = memchr(d->out->head, '\n', d->out->head_size);
    size_t first = eol ? (size_t)(eol + 1 - d->out->head) : d->out->head_size, at;

    if (first >= d->out->head_size)
        return;
    at = first + below(d, d->out->head_size - first);
    d->out->head[at] = (char)mutation_random(&d->state);
    d->out->lies |= S3_LIE_ETAG | S3_LIE_SIZE | S3_LIE_BODY;
    say(d, "byte %zu of the head changed", at);
}

bool mutate(const char *reply, size_t size, bool head_only, uint64_t seed, struct mutated *ret)
{
    struct draft d = {.state = seed, .head_only = head_only, .out = ret};
    size_t count;

    *ret = (struct mutated){.cut = SIZE_MAX};
    if (!draft_take(&d, reply, size)) {
        draft_deinit(&d);
        return false;
    }
    count = 1 + below(&d, CHANGES_MAX);
    for (size_t i = 0; i < count || !ret->what[0]; i++)
        changes[below(&d, CHANGE_COUNT)](&d);
    if (below(&d, 40) == 0)
        stall(&d);
    draft_finish(&d);
    if (below(&d, 10) == 0)
        flip_head(&d);
    if (!ret->closes)
        ret->closes = below(&d, 4) > 0;
    draft_deinit(&d);
    return true;
}

void mutated_deinit(struct mutated *m)
{
    free(m->head);
    free(m->body);
}
