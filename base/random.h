/* The random seam, and the 128-bit ids made from it. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct base_random {
    void *ctx;
    void (*fill)(void *ctx, void *buf, size_t size); /* never fails */
};

extern const struct base_random base_random_system; /* getrandom(2) */

uint64_t base_random_u64(const struct base_random *random);

#define BASE_ID_SIZE 16
#define BASE_ID_TEXT_SIZE 33 /* 32 lower-case hex digits and NUL */

struct base_id {
    uint8_t bytes[BASE_ID_SIZE];
};

struct base_id base_id_new(const struct base_random *random);
bool base_id_equal(const struct base_id *a, const struct base_id *b);
bool base_id_is_zero(const struct base_id *id);
void base_id_format(const struct base_id *id, char text[BASE_ID_TEXT_SIZE]);
bool base_id_parse(const char *text, size_t size, struct base_id *ret); /* exactly 32 hex digits */

#endif
