/* A log's options as the root keeps them. What decodes and holds together is written and read the
 * same, and what the engine takes from it is within its bounds. */
#include "log/config.h"
#include "tests/fuzz/fuzz.h"

static void set_line(char *line)
{
    struct log_config c;
    struct varve_error err = {0};
    char *value = strchr(line, '=');

    if (!value)
        return;
    *value++ = '\0';
    log_config_init(&c);
    (void)took(log_config_set(&c, line, value, &err), &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct log_config c, again;
    struct varve_error err = {0};
    char *text = NULL, *line;
    size_t text_size;

    log_config_init(&c);
    if (took(log_config_decode(&c, (const char *)data, size, &err), &err) &&
        took(log_config_check(&c, &err), &err)) {
        must(log_config_batch_bytes_max(&c) > 0 &&
             (int64_t)log_config_batch_bytes_max(&c) <= c.segment_bytes);
        must(log_config_encode(&c, &text, &text_size, &err) == 0);
        log_config_init(&again);
        must(log_config_decode(&again, text, text_size, &err) == 0);
        must(memcmp(&c, &again, sizeof(c)) == 0);
        free(text);
    }
    line = fuzz_text(data, size);
    set_line(line);
    free(line);
    return 0;
}
