/* The settings of a store, as its file names them: lines "name=value". (The file's frame is
 * base_settings's.) What can be set is in the file in a form that is read. */
#include "log/settings.h"
#include "tests/fuzz/fuzz.h"

static void check(const struct base_settings *file)
{
    struct log_settings s;
    struct varve_error err = {0};

    if (took(log_settings_read(file, &s, &err), &err))
        must(s.cache_bytes >= -1 && s.owner_check_ms >= 0 && s.lease_ms >= 0 &&
             s.upload_bytes_per_second >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct base_settings *file = base_settings_new(), *set = base_settings_new();
    char *text = fuzz_text(data, size), *line = text, *next;
    struct log_settings s;
    struct varve_error err = {0};

    must(file && set);
    for (; line; line = next) {
        char *value = strchr(line, '=');

        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        if (!value || (next && value >= next))
            continue;
        *value++ = '\0';
        (void)took(base_settings_set(file, line, value, &err), &err);
        (void)took(
            log_settings_set(set, &(struct varve_option){.name = line, .value = value}, &err),
            &err);
    }
    check(file);
    must(log_settings_read(set, &s, &err) == 0);
    base_settings_free(file);
    base_settings_free(set);
    free(text);
    return 0;
}
