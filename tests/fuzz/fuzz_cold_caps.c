/* What a probe found, as the settings keep it: what was read is written and read the same. */
#include "cold/probe.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), written[COLD_CAPS_TEXT_SIZE], again[COLD_CAPS_TEXT_SIZE];
    struct cold_caps a = {0}, b = {0};

    cold_caps_decode(text, &a);
    cold_caps_encode(&a, written);
    cold_caps_decode(written, &b);
    cold_caps_encode(&b, again);
    must(strcmp(written, again) == 0);
    free(text);
    return 0;
}
