/*
 * base_settings_decode, with the bytes as they come and again with a right checksum line behind
 * them. What decodes must encode, and decode to the same again (T1).
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/text.h"

#define MAGIC "varve-store"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const struct base_settings *s, char **ret, size_t *ret_size)
{
    struct varve_error err;

    if (base_settings_encode(s, MAGIC, 1, ret, ret_size, &err) < 0)
        abort();
}

static void decode(const void *data, size_t size)
{
    struct varve_error err = {0};
    struct base_settings *s, *again;
    char *text, *text_again;
    size_t text_size, text_again_size;
    int rc = base_settings_decode(data, size, MAGIC, 1, &s, &err);

    if (rc < 0) {
        if (rc != err.code || (rc != VARVE_E_CORRUPT && rc != VARVE_E_VERSION) || !err.msg[0])
            abort();
        return;
    }
    encode(s, &text, &text_size);
    if (base_settings_decode(text, text_size, MAGIC, 1, &again, &err) < 0)
        abort();
    encode(again, &text_again, &text_again_size);
    if (text_size != text_again_size || memcmp(text, text_again, text_size) != 0)
        abort();
    free(text);
    free(text_again);
    base_settings_free(s);
    base_settings_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char last[] = "crc32c = ";
    size_t cut = size;
    char *whole;

    decode(data, size);
    for (size_t i = 0; i + sizeof(last) - 1 <= size; i++) {
        if (memcmp(data + i, last, sizeof(last) - 1) == 0)
            cut = i;
    }
    whole = malloc(cut + 32);
    if (!whole)
        return 0;
    memcpy(whole, data, cut);
    cut += (size_t)snprintf(whole + cut, 32, "%s%08x\n", last, base_crc32c(0, data, cut));
    decode(whole, cut);
    free(whole);
    return 0;
}
