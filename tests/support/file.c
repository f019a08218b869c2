#include "tests/support/file.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void must(bool ok, const char *what, const char *path)
{
    if (ok)
        return;
    fprintf(stderr, "%s %s: ", what, path);
    perror(NULL);
    abort();
}

void support_file_write(const char *path, const void *data, size_t size)
{
    FILE *f = fopen(path, "wbe");

    must(f != NULL, "create", path);
    must(size == 0 || fwrite(data, 1, size, f) == size, "write", path);
    must(fclose(f) == 0, "close", path);
}

void *support_file_read(const char *path, size_t *ret_size)
{
    int64_t size = support_file_size(path);
    FILE *f = fopen(path, "rbe");
    char *data;

    must(f != NULL && size >= 0, "open", path);
    data = malloc((size_t)size + 1);
    must(data != NULL, "allocate for", path);
    must(fread(data, 1, (size_t)size, f) == (size_t)size, "read", path);
    fclose(f);
    data[size] = '\0';
    *ret_size = (size_t)size;
    return data;
}

int64_t support_file_size(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_size : -1;
}

bool support_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

void support_file_truncate(const char *path, int64_t size)
{
    must(truncate(path, size) == 0, "truncate", path);
}

void support_file_flip(const char *path, int64_t pos, uint8_t mask)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;

    must(fd >= 0, "open", path);
    must(pread(fd, &byte, 1, pos) == 1, "read", path);
    byte ^= mask;
    must(pwrite(fd, &byte, 1, pos) == 1, "write", path);
    must(close(fd) == 0, "close", path);
}

bool support_file_equal(const char *a, const char *b)
{
    size_t size_a, size_b;
    void *data_a = support_file_read(a, &size_a);
    void *data_b = support_file_read(b, &size_b);
    bool equal = size_a == size_b && memcmp(data_a, data_b, size_a) == 0;

    free(data_a);
    free(data_b);
    return equal;
}

static _Thread_local unsigned file_count;

static int count_file(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)path;
    (void)st;
    (void)at;
    file_count += kind == FTW_F;
    return 0;
}

unsigned support_file_count(const char *dir)
{
    file_count = 0;
    must(nftw(dir, count_file, 8, FTW_PHYS) == 0, "walk", dir);
    return file_count;
}
