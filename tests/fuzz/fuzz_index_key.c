/* Any text as a key and as a log name: a key that parses is spelled the same when it is built from
 * its parts. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "index/entry.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct index_key_parts parts;
    struct base_id id = {{0}};
    char *text = malloc(size + 1), *key = NULL;
    int rc;

    require(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    if (index_log_name_check(text, size, NULL) == 0)
        require(size > 0 && size <= INDEX_LOG_NAME_MAX && strlen(text) == size);
    if (index_key_parse(text, &parts)) {
        if (parts.page) {
            struct index_ref r = {.level = parts.level,
                                  .base_offset = parts.base_offset,
                                  .end_offset = parts.end_offset,
                                  .epoch = parts.epoch,
                                  .attempt = parts.attempt};
            rc = index_key_page("log", &id, &r, &key, NULL);
        } else {
            struct index_entry e = {.base_offset = parts.base_offset,
                                    .end_offset = parts.end_offset,
                                    .epoch = parts.epoch,
                                    .flags = parts.encrypted ? INDEX_ENTRY_ENCRYPTED : 0,
                                    .attempt = parts.attempt};
            rc = index_key_object("log", &id, &e, &key, NULL);
        }
        require(rc == 0);
        const char *slash = strrchr(text, '/');
        require(strcmp(strrchr(key, '/') + 1, slash != NULL ? slash + 1 : text) == 0);
        free(key);
    }
    free(text);
    return 0;
}
