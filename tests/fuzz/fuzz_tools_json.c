/* The JSON scanner and what reads records and times with it. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "tools/event_time.h"
#include "tools/record_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {NULL, "apache", "iso8601", "epoch_s", "%d/%b %H:%M:%S"};
    const char *text = (const char *)data;
    struct tools_record_json r = {0};
    struct varve_record record;
    struct base_json value;
    const char *why;
    int64_t ms;

    if (size == 0)
        return 0;
    (void)base_json_parse(text, size, &value);
    (void)base_json_find(text, size, "headers.0.name", &value);
    (void)tools_record_json_parse(&r, text, size, &record, &why);
    tools_record_json_deinit(&r);
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct tools_event_time t;

        if (tools_event_time_init(&t, formats[i], i == 0 ? "timestamp" : NULL))
            (void)tools_event_time_find(&t, text, size, &ms);
    }
    return 0;
}
