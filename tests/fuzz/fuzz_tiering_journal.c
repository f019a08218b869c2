/* tiering_journal_decode, with the bytes as they come and again with right checksums. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "tiering/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int line_check(void *arg, const struct tiering_journal_line *line)
{
    uint32_t *begun = arg;

    if (line->kind == TIERING_JOURNAL_BEGIN) {
        if (line->sequence != *begun + 1 || line->key_size == 0 || line->key_size > COLD_KEY_MAX ||
            line->what.end_offset <= line->what.base_offset ||
            memchr(line->upload.id, '\0', sizeof(line->upload.id)) == NULL)
            abort();
        for (size_t i = 0; i < line->key_size; i++)
            if (line->key[i] == '\0') /* reads it all: a sanitizer sees what lies outside */
                abort();
        *begun = line->sequence;
    } else if (line->sequence == 0 || line->sequence > *begun)
        abort();
    if (line->kind == TIERING_JOURNAL_PART &&
        (line->part.number == 0 || line->part.number > TIERING_JOURNAL_PARTS_MAX ||
         memchr(line->part.etag.text, '\0', sizeof(line->part.etag.text)) == NULL))
        abort();
    return 0;
}

static void decode(const uint8_t *data, size_t size)
{
    struct varve_error err = {0};
    uint32_t begun = 0;
    size_t valid;
    int rc = tiering_journal_decode(data, size, line_check, &begun, &valid, &err);

    if (valid > size || (rc == 0 && valid != size))
        abort();
    if (rc < 0 && (err.code != rc || err.msg[0] == '\0'))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy;

    decode(data, size);
    if (size < 64)
        return 0;
    copy = malloc(size);
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    base_put_le32(copy + 24, base_crc32c(0, copy, 24));
    for (size_t pos = 64; size - pos >= 16;) {
        size_t line = base_get_le32(copy + pos);

        if (line < 16 || line > size - pos)
            break;
        base_put_le32(copy + pos + 4, base_crc32c(0, copy + pos + 8, line - 8));
        pos += line;
    }
    decode(copy, size);
    free(copy);
    return 0;
}
