#include "tests/support/data.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/env.h"

#define DATA_SIZE_MAX (64 << 20)

void *support_data_read(const char *name, size_t *ret_size)
{
    char path[4096];
    struct varve_error err;
    void *data;

    snprintf(path, sizeof(path), "%s/%s", TEST_DATA_DIR, name);
    if (base_file_read(&base_io_posix, path, DATA_SIZE_MAX, &data, ret_size, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        abort();
    }
    return data;
}
