/*
 * Opening a cache file of any bytes, and using it. The input is a file of 16 slots of 64 bytes
 * without its gaps: header (64), table (16 * 48), slots (16 * 64). It is tried as it comes, and
 * again with its checksums made right, so that the chains behind them are reached.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "cold/cache.h"

#define SLOTS 16
#define SLOT_SIZE 64
#define HEADER_SIZE 64
#define ENTRY_SIZE 48
#define TABLE_POS 4096
#define DATA_POS 8192
#define FILE_SIZE (DATA_POS + SLOTS * SLOT_SIZE)
#define INPUT_SIZE (HEADER_SIZE + SLOTS * ENTRY_SIZE + SLOTS * SLOT_SIZE)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t file[FILE_SIZE];

/* Every file is one in memory that holds `file`. */
static int fuzz_open(void *ctx, const char *path, int flags, mode_t mode)
{
    int fd = memfd_create("cache", MFD_CLOEXEC);

    (void)ctx;
    (void)path;
    (void)flags;
    (void)mode;
    if (fd >= 0 && pwrite(fd, file, sizeof(file), 0) != (ssize_t)sizeof(file))
        abort();
    return fd;
}

static int fuzz_mkdir(void *ctx, const char *path, mode_t mode)
{
    (void)ctx;
    (void)path;
    (void)mode;
    return 0;
}

static void set_checksums(void)
{
    base_put_le32(file + 60, base_crc32c(0, file, 60));
    for (uint32_t i = 0; i < SLOTS; i++) {
        uint8_t *e = file + TABLE_POS + (size_t)i * ENTRY_SIZE, number[4];

        base_put_le32(number, i);
        base_put_le32(e + 44, base_crc32c(base_crc32c(0, number, 4), e, ENTRY_SIZE - 4));
    }
}

static void ignore(void *arg, const char *path, uint64_t slot)
{
    (void)path;
    if (slot >= SLOTS)
        abort();
    ++*(unsigned *)arg;
}

/* Whatever the table names: a hit or a miss, and no byte beyond the buffer. */
static void get_all(struct cold_cache *c)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        const uint8_t *e = file + TABLE_POS + (size_t)i * ENTRY_SIZE;
        struct cold_cache_key key;
        uint8_t buf[SLOTS * SLOT_SIZE];
        size_t size = 0;

        memcpy(key.id.bytes, e, BASE_ID_SIZE);
        key.index = base_get_le32(e + 16);
        if (cold_cache_get(c, &key, buf, sizeof(buf), &size, NULL) == 0 && size > sizeof(buf))
            abort();
    }
}

static void put_some(struct cold_cache *c)
{
    static const uint8_t value[SLOTS * SLOT_SIZE / 4] = {1, 2, 3};

    for (uint32_t i = 0; i < 2 * SLOTS; i++) {
        struct cold_cache_key key = {.index = i};
        uint8_t buf[sizeof(value)];
        size_t size, want = (size_t)i * 37 % sizeof(value);

        cold_cache_put(c, &key, value, want);
        if (cold_cache_get(c, &key, buf, sizeof(buf), &size, NULL) == 0 &&
            (size != want || memcmp(buf, value, size) != 0))
            abort();
    }
}

static void use(void)
{
    struct base_io io = base_io_posix;
    struct cold_cache_stats stats;
    struct base_env env;
    struct cold_cache *c;
    unsigned reported = 0;

    base_env_init(&env);
    io.open = fuzz_open;
    io.mkdir = fuzz_mkdir;
    env.io = &io;
    if (cold_cache_open(&env, "/", "fuzz", SLOTS * SLOT_SIZE, SLOT_SIZE, &c, NULL) < 0)
        abort();
    get_all(c);
    cold_cache_check(c, true, ignore, &reported, NULL);
    reported = 0;
    cold_cache_check(c, false, ignore, &reported, NULL);
    if (reported > 0)
        abort();
    put_some(c);
    cold_cache_stats(c, &stats);
    if (stats.bytes_used > stats.bytes_total)
        abort();
    cold_cache_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t input[INPUT_SIZE] = {0};

    memcpy(input, data, size < sizeof(input) ? size : sizeof(input));
    memset(file, 0, sizeof(file));
    memcpy(file, input, HEADER_SIZE);
    memcpy(file + TABLE_POS, input + HEADER_SIZE, SLOTS * ENTRY_SIZE);
    memcpy(file + DATA_POS, input + HEADER_SIZE + SLOTS * ENTRY_SIZE, SLOTS * SLOT_SIZE);
    use();
    set_checksums();
    use();
    return 0;
}
