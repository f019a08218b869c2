/* Maps whole files read-only. What lies there is replaced by rename and never truncated (I3), so a
 * mapping stays whole as long as it lives. */
#include "index/mapping.h"

#include <fcntl.h>
#include <stdlib.h>

#include "base/error.h"

struct index_file_id index_file_id_of(const struct stat *st)
{
    return (struct index_file_id){st->st_dev, st->st_ino, st->st_size, st->st_mtim};
}

bool index_file_id_equal(const struct index_file_id *a, const struct index_file_id *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static int fd_map(const struct base_io *io, int fd, const char *path, size_t size,
                  struct index_mapping *ret, struct varve_error *err)
{
    struct index_mapping m = {.size = size};

    if (io->mmap(io->ctx, fd, size, false, &m.data) < 0) {
        /* Mappings are optional: too many of them, or a file system without. */
        m.heap = true;
        m.data = malloc(size);
        if (m.data == NULL)
            return base_fail(err, VARVE_E_NO_MEMORY, "read %s: out of memory", path);
        int rc = base_io_pread_full(io, fd, m.data, size, 0, path, err);
        if (rc < 0) {
            free(m.data);
            return rc;
        }
    }
    *ret = m;
    return 0;
}

int index_mapping_open(const struct base_io *io, const char *path, size_t size_max,
                       struct index_mapping *ret, struct index_file_id *ret_id,
                       struct varve_error *err)
{
    struct stat st;
    int fd = io->open(io->ctx, path, O_RDONLY, 0);

    if (fd < 0)
        return base_fail_errno(err, fd, "open %s", path);
    int rc = io->fstat(io->ctx, fd, &st);
    if (rc < 0)
        rc = base_fail_errno(err, rc, "stat %s", path);
    else if (st.st_size <= 0 || (uint64_t)st.st_size > size_max)
        rc = base_fail(err, VARVE_E_CORRUPT, "%s: impossible size of %lld bytes", path,
                       (long long)st.st_size);
    else
        rc = fd_map(io, fd, path, (size_t)st.st_size, ret, err);
    io->close(io->ctx, fd);
    if (rc == 0 && ret_id != NULL)
        *ret_id = index_file_id_of(&st);
    return rc;
}

void index_mapping_close(const struct base_io *io, struct index_mapping *m)
{
    if (m->data == NULL)
        return;
    if (m->heap)
        free(m->data);
    else
        io->munmap(io->ctx, m->data, m->size);
    m->data = NULL;
}
