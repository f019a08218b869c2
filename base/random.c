/* The system's random bytes, and ids made of any seam's. */
#include "base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/text.h"

static void system_fill(void *ctx, void *buf, size_t size)
{
    uint8_t *pos = buf;

    (void)ctx;
    while (size > 0) {
        ssize_t n = getrandom(pos, size, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            abort(); /* no kernel that runs us lacks the call, and ids must never repeat */
        pos += n;
        size -= (size_t)n;
    }
}

const struct base_random base_random_system = {.fill = system_fill};

uint64_t base_random_u64(const struct base_random *random)
{
    uint64_t v;

    random->fill(random->ctx, &v, sizeof(v));
    return v;
}

struct base_id base_id_new(const struct base_random *random)
{
    struct base_id id;

    /* Zero means "no id" in every format, so it is never given out. */
    do {
        random->fill(random->ctx, id.bytes, sizeof(id.bytes));
    } while (base_id_is_zero(&id));
    return id;
}

bool base_id_equal(const struct base_id *a, const struct base_id *b)
{
    return memcmp(a->bytes, b->bytes, BASE_ID_SIZE) == 0;
}

bool base_id_is_zero(const struct base_id *id)
{
    static const struct base_id zero;

    return base_id_equal(id, &zero);
}

void base_id_format(const struct base_id *id, char text[BASE_ID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    char *pos = text;

    for (size_t i = 0; i < BASE_ID_SIZE; i++) {
        *pos++ = digits[id->bytes[i] >> 4];
        *pos++ = digits[id->bytes[i] & 15];
    }
    *pos = '\0';
}

bool base_id_parse(const char *text, size_t size, struct base_id *ret)
{
    struct base_id id;

    if (size != 2 * BASE_ID_SIZE)
        return false;
    for (size_t i = 0; i < BASE_ID_SIZE; i++) {
        int high = base_hex_digit(text[2 * i]);
        int low = base_hex_digit(text[2 * i + 1]);

        if (high < 0 || low < 0)
            return false;
        id.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret = id;
    return true;
}
