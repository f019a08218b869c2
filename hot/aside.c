/* Lists the tails that were set aside. */
#include "hot/aside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "hot/internal.h"
#include "record/batch.h"

#define BASE_OFFSET_DELTA_POS 23 /* of the last record, in a batch's header */
#define LEADER_EPOCH_POS 12

struct names {
    char **items;
    size_t count, capacity;
    bool failed;
};

static int names_add(void *arg, const char *name, bool is_dir)
{
    struct names *l = arg;

    (void)is_dir;
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 16;
        char **items = realloc(l->items, capacity * sizeof(*items));

        if (!items) {
            l->failed = true;
            return 1;
        }
        l->items = items;
        l->capacity = capacity;
    }
    l->items[l->count] = strdup(name);
    if (!l->items[l->count])
        l->failed = true;
    else
        l->count++;
    return l->failed;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_deinit(struct names *l)
{
    for (size_t i = 0; i < l->count; i++)
        free(l->items[i]);
    free(l->items);
}

/* Sorted; a directory that is not there is an empty one. */
static int names_read(const struct base_io *io, const char *dir, struct names *ret,
                      struct varve_error *err)
{
    int r = io->list(io->ctx, dir, names_add, ret);

    if (ret->failed)
        return base_fail(err, VARVE_E_NO_MEMORY, "list %s: out of memory", dir);
    if (r < 0 && r != -ENOENT)
        return base_fail_errno(err, r, "list %s", dir);
    if (ret->count > 0)
        qsort(ret->items, ret->count, sizeof(*ret->items), compare_names);
    return 0;
}

/* The 20 digits that the name of a file or of a tail begins with; false: it is neither. */
static bool name_offset(const char *name, int64_t *ret)
{
    char digits[HOT_NAME_DIGITS + 1];

    if (strlen(name) < HOT_NAME_DIGITS || strspn(name, "0123456789") != HOT_NAME_DIGITS)
        return false;
    memcpy(digits, name, HOT_NAME_DIGITS);
    digits[HOT_NAME_DIGITS] = '\0';
    return base_parse_i64(digits, ret);
}

/* Goes from header to header: where the last whole batch ends, and which epoch it bears. */
static int file_walk(const struct base_io *io, int fd, struct hot_aside *file,
                     struct varve_error *err)
{
    uint8_t header[RECORD_BATCH_HEADER_SIZE];
    uint64_t pos = 0;

    while (file->size - pos >= sizeof(header)) {
        size_t got = 0, size;
        int r =
            base_io_pread_some(io, fd, header, sizeof(header), (int64_t)pos, &got, file->path, err);

        if (r < 0)
            return r;
        size = got == sizeof(header) ? record_batch_size(header) : 0;
        if (size == 0 || size > file->size - pos)
            break;
        file->end_offset = (int64_t)base_get_be64(header) +
                           (int32_t)base_get_be32(header + BASE_OFFSET_DELTA_POS) + 1;
        file->epoch = base_get_be32(header + LEADER_EPOCH_POS);
        pos += size;
    }
    return 0;
}

static int file_look(const struct base_io *io, struct hot_aside *file, bool brief,
                     struct varve_error *err)
{
    struct stat st;
    int fd, r = io->stat(io->ctx, file->path, &st);

    if (r < 0)
        return base_fail_errno(err, r, "stat %s", file->path);
    file->size = (uint64_t)st.st_size;
    if (brief)
        return 0;
    fd = io->open(io->ctx, file->path, O_RDONLY, 0);
    if (fd < 0)
        return base_fail_errno(err, fd, "open %s", file->path);
    r = file_walk(io, fd, file, err);
    io->close(io->ctx, fd);
    return r;
}

static int tail_each(const struct base_io *io, const char *dir, int64_t from, bool brief,
                     int (*visit)(void *arg, const struct hot_aside *file), void *arg,
                     struct varve_error *err)
{
    struct names names = {0};
    int r = names_read(io, dir, &names, err);

    for (size_t i = 0; r == 0 && i < names.count; i++) {
        struct hot_aside file = {0};
        char *path;
        int64_t base;

        if (!name_offset(names.items[i], &base) ||
            strcmp(names.items[i] + HOT_NAME_DIGITS, ".log") != 0)
            continue;
        r = base_format(&path, err, "%s/%s", dir, names.items[i]);
        if (r < 0)
            break;
        file.path = path;
        file.first_offset = file.end_offset = base > from ? base : from;
        r = file_look(io, &file, brief, err);
        if (r == 0 && file.size > 0) /* an empty one is the active segment of a moment */
            r = visit(arg, &file);
        free(path);
    }
    names_deinit(&names);
    return r;
}

int hot_aside_each(const struct base_io *io, const char *dir, bool brief,
                   int (*visit)(void *arg, const struct hot_aside *file), void *arg,
                   struct varve_error *err)
{
    struct names tails = {0};
    int r = names_read(io, dir, &tails, err);

    for (size_t i = 0; r == 0 && i < tails.count; i++) {
        int64_t from;
        char *tail;

        if (!name_offset(tails.items[i], &from) || tails.items[i][HOT_NAME_DIGITS] != '-')
            continue;
        r = base_format(&tail, err, "%s/%s", dir, tails.items[i]);
        if (r < 0)
            break;
        r = tail_each(io, tail, from, brief, visit, arg, err);
        free(tail);
    }
    names_deinit(&tails);
    return r;
}
