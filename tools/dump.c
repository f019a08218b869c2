/* dump: recognises a file by its first bytes and says what is in it. */
#include "tools/dump.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/io.h"
#include "base/text.h"
#include "record/batch.h"
#include "tools/commands.h"

#define ROOMS 4 /* calls of tools_dump_time or tools_dump_hex that one printf may hold */
#define TEXT_BYTES_MAX 60

const char *tools_dump_time(int64_t ms)
{
    static char rooms[ROOMS][BASE_TIME_TEXT_SIZE];
    static unsigned next;
    char *text = rooms[next++ % ROOMS];

    base_format_time(ms, text);
    return text;
}

const char *tools_dump_hex(const void *data, size_t size)
{
    static char rooms[ROOMS][65];
    static unsigned next;
    char *text = rooms[next++ % ROOMS];
    const uint8_t *p = data;

    text[0] = '\0';
    for (size_t i = 0; i < size && i < 32; i++)
        snprintf(text + 2 * i, 3, "%02x", p[i]);
    return text;
}

void tools_dump_text(const char *what, const void *data, size_t size)
{
    const uint8_t *p = data;

    if (!data) {
        printf(" %s null", what);
        return;
    }
    printf(" %s %zu \"", what, size);
    for (size_t i = 0; i < size && i < TEXT_BYTES_MAX; i++) {
        if (p[i] == '"' || p[i] == '\\')
            printf("\\%c", p[i]);
        else if (p[i] >= 0x20 && p[i] < 0x7f)
            putchar(p[i]);
        else
            printf("\\x%02x", p[i]);
    }
    fputs(size > TEXT_BYTES_MAX ? "\"..." : "\"", stdout);
}

#define BATCH_MAGIC_POS 16 /* of the "magic" byte, which is 2 */

static bool is_segment(const struct tools_dump *d)
{
    return d->size >= RECORD_BATCH_HEADER_SIZE && d->data[BATCH_MAGIC_POS] == 2 &&
           record_batch_size(d->data) != 0;
}

#define ZSTD_MAGIC 0xfd2fb528u
#define SKIPPABLE_MAGIC 0x184d2a50u /* the lowest of sixteen */

static bool is_object(const struct tools_dump *d)
{
    return d->size >= 4 && (base_get_le32(d->data) == ZSTD_MAGIC ||
                            (base_get_le32(d->data) & ~15u) == SKIPPABLE_MAGIC);
}

/* Allocated blocks and nothing else, so the name alone tells; a segment of zeros is damage. */
static bool is_reserve(const struct tools_dump *d)
{
    const char *slash = strrchr(d->path, '/');

    return strcmp(slash ? slash + 1 : d->path, "reserve") == 0 && d->data[0] == 0 &&
           memcmp(d->data, d->data + 1, d->size - 1) == 0;
}

static int dump_data(const struct tools_dump *d, struct varve_error *err)
{
    static const struct {
        const char *magic;
        size_t size;
        int (*dump)(const struct tools_dump *d, struct varve_error *err);
    } kinds[] = {
        {"VARVSPRS", 8, tools_dump_sparse},    {"VARVECKP", 8, tools_dump_checkpoint},
        {"VARVEPUB", 8, tools_dump_published}, {"VRVCACHE", 8, tools_dump_cache},
        {"VARVROOT", 8, tools_dump_root},      {"VARVPAGE", 8, tools_dump_page},
        {"VARVUPLD", 8, tools_dump_uploads},   {"varve-", 6, tools_dump_settings},
    };

    if (d->size == 0) {
        puts("empty: a segment without batches yet, or a file that was never written");
        return 0;
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (d->size >= kinds[i].size && memcmp(d->data, kinds[i].magic, kinds[i].size) == 0)
            return kinds[i].dump(d, err);
    if (is_reserve(d)) {
        printf("reserve: %zu bytes held back for working a full disk off\n", d->size);
        return 0;
    }
    if (is_object(d))
        return tools_dump_object(d, err);
    if (is_segment(d))
        return tools_dump_segment(d, err);
    return base_fail(err, VARVE_E_CORRUPT,
                     "the first bytes are those of no file that varve writes (%s)",
                     tools_dump_hex(d->data, d->size < 8 ? d->size : 8));
}

static int dump_file(const char *path, bool records, struct varve_error *err)
{
    const struct base_io *io = &base_io_posix;
    struct tools_dump d = {.path = path, .records = records};
    void *map = NULL;
    struct stat st;
    int fd, rc;

    fd = io->open(io->ctx, path, O_RDONLY, 0);
    if (fd < 0)
        return base_fail_errno(err, fd, "open %s", path);
    rc = io->fstat(io->ctx, fd, &st);
    if (rc == 0 && !S_ISREG(st.st_mode))
        rc = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    d.size = rc < 0 ? 0 : (size_t)st.st_size;
    if (rc == 0 && d.size > 0)
        rc = io->mmap(io->ctx, fd, d.size, false, &map);
    io->close(io->ctx, fd);
    if (rc < 0)
        return base_fail_errno(err, rc, "read %s", path);
    d.data = map;
    printf("%s: ", path);
    rc = dump_data(&d, err);
    if (map)
        io->munmap(io->ctx, map, d.size);
    return rc < 0 ? base_error_context(err, rc, "%s", path) : 0;
}

int tools_dump(struct tools_args *args)
{
    struct varve_error err;
    int rc = TOOLS_OK;

    for (int i = 0; i < tools_operand_count(args); i++) {
        if (i > 0)
            putchar('\n');
        if (dump_file(tools_operand(args, i), tools_flag(args, "records"), &err) < 0) {
            fflush(stdout);
            rc = tools_fail(args, &err);
        }
    }
    if (fflush(stdout) != 0 && errno != EPIPE) {
        base_fail_errno(&err, errno, "write to standard output");
        return tools_fail(args, &err);
    }
    return rc;
}
