/* What fuzz targets share. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <varve/error.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void must(bool ok)
{
    if (!ok)
        abort();
}

/* The bytes with a NUL behind, in memory of exactly that size, so that ASan sees the first one too
 * many. Freed by the caller. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    must(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

/* A failure says so, in code and words. */
static inline bool took(int rc, const struct varve_error *err)
{
    must(rc <= 0);
    must(rc == 0 || (err->code == rc && err->msg[0]));
    return rc == 0;
}

#endif
