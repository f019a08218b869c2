#include "tests/support/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/env.h"
#include "tests/support/file.h"

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

bool support_data_equal(const char *name, const void *data, size_t size)
{
    const char *writing = getenv("VARVE_GOLDEN_WRITE");
    char path[4096];
    size_t there_size;
    void *there;
    bool equal;

    snprintf(path, sizeof(path), "%s/%s", TEST_DATA_DIR, name);
    if (writing && strcmp(writing, "1") == 0)
        support_file_write(path, data, size);
    there = support_data_read(name, &there_size);
    equal = there_size == size && memcmp(there, data, size) == 0;
    free(there);
    return equal;
}
