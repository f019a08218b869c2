/* Text: sizes, times, paths, and a settings file of `name = value` lines. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <varve/error.h>

/* asprintf that never leaves *ret undefined. VARVE_E_NO_MEMORY. */
int base_format(char **ret, struct varve_error *err, const char *format, ...) VARVE_PRINTF(3, 4);

/* The value of a hexadecimal digit of either case; -1: it is none. */
int base_hex_digit(char c);

/* Parses a whole decimal int64 ("-1", "42"); false for anything else, overflow included. */
bool base_parse_i64(const char *text, int64_t *ret);
/* As base_parse_i64, with the suffixes k M G T (1024) and KiB MiB GiB TiB. */
bool base_parse_size(const char *text, int64_t *ret);
/* Milliseconds: a plain number is ms; suffixes ms s m h d. */
bool base_parse_duration_ms(const char *text, int64_t *ret);

/* ISO 8601: date, optional time, optional fraction, optional zone (UTC without one). ms since 1970.
 */
bool base_parse_iso8601(const char *text, size_t size, int64_t *ret_ms);
/* "2015-05-18T00:00:00.123Z"; 25 bytes with NUL; "-" when ms is negative. */
#define BASE_TIME_TEXT_SIZE 32
void base_format_time(int64_t ms, char text[BASE_TIME_TEXT_SIZE]);
/* "1.5 GiB", at most 16 bytes. */
void base_format_size(uint64_t size, char text[16]);

/*
 * A settings file: "# comment" and "name = value" lines, first line the magic ("varve-store 1"),
 * last line "crc32c = 8 hex digits" over all bytes before that line. Names are of a-z A-Z 0-9 . _ -
 * and not "crc32c"; values hold no control characters.
 */
#define BASE_SETTINGS_NAME_SIZE_MAX 128
#define BASE_SETTINGS_VALUE_SIZE_MAX 8192
#define BASE_SETTINGS_COUNT_MAX 1024

struct base_settings;
struct base_settings *base_settings_new(void); /* NULL: out of memory */
struct base_settings *base_settings_free(struct base_settings *s);
/* Copies both; a name that is there keeps its place. VARVE_E_INVALID (a name or value that no file
 * can hold), VARVE_E_TOO_LARGE (the count), VARVE_E_NO_MEMORY. */
int base_settings_set(struct base_settings *s, const char *name, const char *value,
                      struct varve_error *err);
const char *base_settings_get(const struct base_settings *s,
                              const char *name); /* NULL: not there */
/* Calls visit for each in the order they were set. */
void base_settings_each(const struct base_settings *s,
                        void (*visit)(void *arg, const char *name, const char *value), void *arg);
/* *ret is fresh memory. */
int base_settings_encode(const struct base_settings *s, const char *magic, int version, char **ret,
                         size_t *ret_size, struct varve_error *err);
/* VARVE_E_CORRUPT (bad magic, bad line, bad checksum), VARVE_E_VERSION (a version above
 * `version_max`). */
int base_settings_decode(const void *data, size_t size, const char *magic, int version_max,
                         struct base_settings **ret, struct varve_error *err);

#endif
