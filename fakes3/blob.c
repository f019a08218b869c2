#include "fakes3/blob.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fakes3/text.h"

static void blob_path(const struct fakes3_blobs *all, uint64_t id, char path[4096])
{
    snprintf(path, 4096, "%s/blobs/%016" PRIx64, all->dir, id);
}

/* Maps a file of exactly `size` bytes, which is made when `create`. */
static uint8_t *map_file(const struct fakes3_blobs *all, uint64_t id, size_t size, bool create)
{
    char path[4096];
    struct stat st;
    void *data = MAP_FAILED;
    int fd;

    blob_path(all, id, path);
    fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT | O_EXCL : 0), 0600);
    if (fd < 0)
        return NULL;
    /* The room is taken now: a full disk is an answer to a PUT, not a SIGBUS while filling it. */
    if ((!create || posix_fallocate(fd, 0, (off_t)size) == 0) && fstat(fd, &st) == 0 &&
        (size_t)st.st_size == size)
        data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (data == MAP_FAILED && create)
        unlink(path);
    return data == MAP_FAILED ? NULL : data;
}

static struct fakes3_blob *with_data(struct fakes3_blobs *all, uint64_t id, size_t size,
                                     bool create)
{
    struct fakes3_blob *blob;
    uint8_t *data;

    if (size > all->bytes_max - all->bytes)
        return NULL;
    data = all->dir && size ? map_file(all, id, size, create) : malloc(size ? size : 1);
    if (!data)
        return NULL;
    blob = fakes3_text_alloc(sizeof(*blob));
    *blob = (struct fakes3_blob){.all = all, .refs = 1, .id = id, .size = size, .data = data};
    all->bytes += size;
    return blob;
}

struct fakes3_blob *fakes3_blob_new(struct fakes3_blobs *all, size_t size)
{
    return with_data(all, ++all->last_id, size, true);
}

struct fakes3_blob *fakes3_blob_open(struct fakes3_blobs *all, uint64_t id, size_t size)
{
    struct fakes3_blob *blob = with_data(all, id, size, false);

    if (blob && id > all->last_id)
        all->last_id = id;
    return blob;
}

struct fakes3_blob *fakes3_blob_ref(struct fakes3_blob *blob)
{
    blob->refs++;
    return blob;
}

struct fakes3_blob *fakes3_blob_unref(struct fakes3_blob *blob)
{
    char path[4096];

    if (!blob || --blob->refs > 0)
        return NULL;
    blob->all->bytes -= blob->size;
    if (!blob->all->dir || blob->size == 0) {
        free(blob->data);
    } else {
        munmap(blob->data, blob->size);
        blob_path(blob->all, blob->id, path);
        if (!blob->all->keep)
            unlink(path);
    }
    free(blob);
    return NULL;
}

static void unref_sent(const void *data, size_t size, void *arg)
{
    (void)data;
    (void)size;
    fakes3_blob_unref(arg);
}

void fakes3_blob_append(struct fakes3_blob *blob, size_t pos, size_t size, struct evbuffer *out)
{
    if (size == 0)
        return;
    if (evbuffer_add_reference(out, blob->data + pos, size, unref_sent, fakes3_blob_ref(blob)))
        fakes3_blob_unref(blob);
}
