/* Numbers, sizes, durations, times and ids as people write them. A time that is read and written is
 * the same again. */
#include "base/random.h"
#include "base/text.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), written[BASE_TIME_TEXT_SIZE];
    struct base_id id;
    int64_t n = 0, again = 0;

    (void)base_parse_i64(text, &n);
    (void)base_parse_size(text, &n);
    (void)base_parse_duration_ms(text, &n);
    if (base_parse_iso8601(text, size, &n) && n >= 0) {
        base_format_time(n, written);
        must(base_parse_iso8601(written, strlen(written), &again) && again == n);
    }
    if (base_id_parse(text, size, &id)) {
        char id_text[BASE_ID_TEXT_SIZE];

        base_id_format(&id, id_text);
        must(size == strlen(id_text));
    }
    free(text);
    return 0;
}
