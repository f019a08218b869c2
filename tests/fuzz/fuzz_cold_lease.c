/* Any bytes as a lease: whatever decodes, encodes to something that decodes to the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cold/lease.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cold_lease lease = {0}, again = {0};
    char *text;
    size_t text_size;

    if (cold_lease_decode(data, size, &lease, NULL) < 0)
        return 0;
    if (cold_lease_encode(&lease, &text, &text_size, NULL) < 0 ||
        cold_lease_decode(text, text_size, &again, NULL) < 0 || again.term != lease.term ||
        again.duration_ms != lease.duration_ms || again.state != lease.state ||
        !base_id_equal(&again.write, &lease.write) || strcmp(again.place, lease.place) != 0 ||
        strcmp(again.process, lease.process) != 0)
        abort();
    free(text);
    return 0;
}
