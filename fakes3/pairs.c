#include <stdlib.h>
#include <string.h>

#include "fakes3/pairs.h"
#include "fakes3/text.h"

void fakes3_pairs_add(struct fakes3_pairs *pairs, char *name, char *value)
{
    pairs->items = fakes3_text_grow(pairs->items, (pairs->count + 1) * sizeof(*pairs->items));
    pairs->items[pairs->count].name = name;
    pairs->items[pairs->count++].value = value;
}

void fakes3_pairs_deinit(struct fakes3_pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        free(pairs->items[i].name);
        free(pairs->items[i].value);
    }
    free(pairs->items);
    *pairs = (struct fakes3_pairs){0};
}

const char *fakes3_pairs_get(const struct fakes3_pairs *pairs, const char *name)
{
    for (size_t i = 0; i < pairs->count; i++)
        if (strcmp(pairs->items[i].name, name) == 0)
            return pairs->items[i].value;
    return NULL;
}

bool fakes3_pairs_parse(const char *text, size_t size, struct fakes3_pairs *ret)
{
    const char *end = text + size;

    while (text < end) {
        const char *stop = memchr(text, '&', (size_t)(end - text));
        const char *equals;
        char *name, *value;

        if (!stop)
            stop = end;
        equals = memchr(text, '=', (size_t)(stop - text));
        if (stop > text) {
            name = fakes3_text_decode(text, (size_t)((equals ? equals : stop) - text), true);
            value = equals ? fakes3_text_decode(equals + 1, (size_t)(stop - equals - 1), true)
                           : fakes3_text_copy("");
            if (!name || !value) {
                free(name);
                free(value);
                return false;
            }
            fakes3_pairs_add(ret, name, value);
        }
        text = stop + 1;
    }
    return true;
}
