/*
 * Text as HTTP and S3 write it: percent-encoding, base64, hex, globs, times; and memory for it.
 *
 * Memory: bodies are bounded by --memory and their allocation is checked where they are made
 * (blob.c). Everything else is small; when there is none left for it, this program ends with a
 * message. It is a server for tests: nothing is lost by that.
 */
#ifndef FAKES3_TEXT_H
#define FAKES3_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <event2/buffer.h>

/* Zeroed memory; ends the program when there is none. Free with free(). */
void *fakes3_text_alloc(size_t size);
void *fakes3_text_grow(void *memory, size_t size);
char *fakes3_text_copy(const char *text); /* NULL stays NULL */
char *fakes3_text_slice(const char *text, size_t size);
/* As asprintf. */
char *fakes3_text_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Percent-decodes; NULL for a broken escape or a NUL byte. `plus`: '+' is a space, as in queries.
 */
char *fakes3_text_decode(const char *text, size_t size, bool plus);
/* AWS's UriEncode: everything but A-Z a-z 0-9 - . _ ~ (and '/' when kept). */
void fakes3_text_encode(struct evbuffer *out, const char *text, bool keep_slash);
/* Escapes for XML text; control characters become references. */
void fakes3_text_xml(struct evbuffer *out, const char *text);
/* A JSON string with its quotes. */
void fakes3_text_json(struct evbuffer *out, const char *text);
/* Takes what the buffer holds as a string of fresh memory, and frees the buffer. */
char *fakes3_text_of_buffer(struct evbuffer *buffer);
void fakes3_text_hex(const void *data, size_t size, char *ret); /* 2 * size + 1 bytes */
#define FAKES3_BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)
void fakes3_text_base64(const void *data, size_t size, char *ret);
/* True when `text` is base64 of exactly `size` bytes. */
bool fakes3_text_unbase64(const char *text, void *ret, size_t size);
/* '*' any run, '?' any byte, the rest itself. */
bool fakes3_text_glob(const char *pattern, const char *text);

#define FAKES3_DATE_SIZE 32
void fakes3_text_http_date(int64_t ms, char ret[FAKES3_DATE_SIZE]); /* RFC 9110 */
void fakes3_text_iso_date(int64_t ms, char ret[FAKES3_DATE_SIZE]);  /* 2015-05-18T00:00:00.000Z */
/* 20150518T000000Z, or an HTTP date. */
bool fakes3_text_parse_date(const char *text, int64_t *ret_ms);

/* "30ms", "1.5s", "-2h", "250us"; a plain number is ms. Less than a hundred years either way. */
bool fakes3_text_parse_us(const char *text, int64_t *ret_us);

#endif
