/* Small things with text: UTF-8, base64, sizes and times for people. */
#ifndef TOOLS_TEXT_H
#define TOOLS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Strict: no overlong forms, no surrogates, at most U+10FFFF. */
bool tools_utf8_is_valid(const void *data, size_t size);
/* Characters of a UTF-8 text, each taken for one column. */
size_t tools_utf8_count(const char *text);

/* Overwrites, with '*', what may be a secret in a URL or another argument: user and password in
 * front of a host, values of names such as "secret_key". */
void tools_text_redact(char *text);

/* Encodes 1 to 3 bytes as 4 characters. */
void tools_base64_encode(const unsigned char *data, size_t size, char ret[4]);
/* Decodes in place (padding needed); false when it is not base64. */
bool tools_base64_decode(char *data, size_t size, size_t *ret_size);

/* "1.5M", at most 6 characters. */
#define TOOLS_SHORT_SIZE 16
void tools_size_short(uint64_t bytes, char ret[TOOLS_SHORT_SIZE]);
/* "3d 4h", "5m 2s", "now". */
void tools_age_short(int64_t ms, char ret[TOOLS_SHORT_SIZE]);
/* "9.8x"; "-" when there is nothing to compare. */
void tools_ratio_short(uint64_t raw, uint64_t stored, char ret[TOOLS_SHORT_SIZE]);
/* "1,234,567" */
#define TOOLS_COUNT_SIZE 32
void tools_count_text(uint64_t count, char ret[TOOLS_COUNT_SIZE]);

#endif
