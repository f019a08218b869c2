/*
 * FORMAT of `published` (4096 bytes, little-endian, mapped by the writer and by readers)
 *
 *    pos  size
 *      0     8  magic "VARVEPUB"
 *      8     4  version, 1
 *     12     4  header size, 64
 *     16     4  features that a reader may ignore
 *     20     4  features that a reader must understand, 0
 *     24     4  CRC32C of bytes 0 to 23
 *     28    36  zero
 *     64     8  generation of the local root; bumped when the root file changes
 *     72    56  zero
 *    128     8  sequence: odd while the bytes from 136 to 231 are being changed
 *    136     8  state of the writer: 0 none, 1 recovering, 2 live, 3 closed, 4 failed
 *    144     8  instance: a random number per opening and per reset
 *    152     8  floor: base offset of the first segment
 *    160    24  visible: base offset of the active segment, its visible bytes, visible end offset
 *    184    24  synced: base offset of a segment, its synced bytes, the offset that follows them
 *    208    16  id of this run of the machine (the kernel's boot id); zero when unknown
 *    224     8  CRC32C of bytes 136 to 223
 *    232  3864  zero
 *
 * VALID: the header is right; the publication is right when its sequence is even and its checksum
 * matches. A publication that is not valid says nothing.
 *
 * INVARIANTS
 *   P1  The file is neither replaced nor shrunk: the writer's flock lies on it and readers map it.
 *   P2  `synced` is durable when it is written, so whatever version of it survives a power loss is
 *       true. Where files go that it vouches for, the file itself is synced first.
 *   P3  `visible` holds for as long as the page cache does: in the same run of the machine, unless
 *       an fsync has failed.
 *   P4  Before a writer takes away what may have been shown it says that it is recovering, and
 *       afterwards that it is live, with an instance that readers have not seen.
 *
 * The words are atomics. Each store of a publication's word is a release, so that it is not seen
 * before the odd sequence; each load is an acquire, so that the sequence read after them is not
 * older than any of them. Two equal even sequences around the loads thus prove one publication.
 */
#include "hot/internal.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>

#include "base/error.h"
#include "base/hash.h"

#define PUBLISHED_VERSION 1
#define PUBLISHED_HEADER_SIZE 64
#define PUBLISHED_ROOT 64
#define PUBLISHED_SEQUENCE 128
#define PUBLISHED_RECORD 136
#define PUBLISHED_WORDS 11 /* of a publication, without its checksum */
#define PUBLISHED_CRC 224
#define PUBLISHED_READ_TRIES 1000
#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"

static const uint8_t published_magic[8] = "VARVEPUB";
static_assert(PUBLISHED_RECORD + 8 * PUBLISHED_WORDS == PUBLISHED_CRC, "the table above says so");
static_assert(sizeof(_Atomic uint64_t) == 8, "the words lie in a file");

static _Atomic uint64_t *word_at(void *map, size_t pos)
{
    return (_Atomic uint64_t *)(void *)((uint8_t *)map + pos);
}

static void header_encode(uint8_t buf[PUBLISHED_HEADER_SIZE])
{
    memset(buf, 0, PUBLISHED_HEADER_SIZE);
    memcpy(buf, published_magic, sizeof(published_magic));
    base_put_le32(buf + 8, PUBLISHED_VERSION);
    base_put_le32(buf + 12, PUBLISHED_HEADER_SIZE);
    base_put_le32(buf + 24, base_crc32c(0, buf, 24));
}

static int header_decode(const void *data, struct varve_error *err)
{
    const uint8_t *buf = data;
    if (memcmp(buf, published_magic, sizeof(published_magic)) != 0)
        return base_fail(err, VARVE_E_CORRUPT, "not a published file (magic)");
    if (base_get_le32(buf + 24) != base_crc32c(0, buf, 24))
        return base_fail(err, VARVE_E_CORRUPT, "published has a wrong header checksum");
    if (base_get_le32(buf + 8) != PUBLISHED_VERSION || base_get_le32(buf + 20) != 0)
        return base_fail(err, VARVE_E_VERSION, "published of version %u, features %#x",
                         base_get_le32(buf + 8), base_get_le32(buf + 20));
    return 0;
}

static void record_encode(const struct hot_publication *p, uint8_t buf[8 * PUBLISHED_WORDS])
{
    base_put_le64(buf, p->state);
    base_put_le64(buf + 8, p->instance);
    base_put_le64(buf + 16, (uint64_t)p->floor);
    base_put_le64(buf + 24, (uint64_t)p->visible.base_offset);
    base_put_le64(buf + 32, p->visible.size);
    base_put_le64(buf + 40, (uint64_t)p->visible.end_offset);
    base_put_le64(buf + 48, (uint64_t)p->synced.base_offset);
    base_put_le64(buf + 56, p->synced.size);
    base_put_le64(buf + 64, (uint64_t)p->synced.end_offset);
    memcpy(buf + 72, p->boot, sizeof(p->boot));
}

static bool record_decode(const uint8_t buf[8 * PUBLISHED_WORDS], uint64_t crc,
                          struct hot_publication *ret)
{
    if (crc != base_crc32c(0, buf, 8 * PUBLISHED_WORDS))
        return false;
    struct hot_publication p = {
        .state = base_get_le64(buf),
        .instance = base_get_le64(buf + 8),
        .floor = (int64_t)base_get_le64(buf + 16),
        .visible = {.base_offset = (int64_t)base_get_le64(buf + 24),
                    .size = base_get_le64(buf + 32),
                    .end_offset = (int64_t)base_get_le64(buf + 40)},
        .synced = {.base_offset = (int64_t)base_get_le64(buf + 48),
                   .size = base_get_le64(buf + 56),
                   .end_offset = (int64_t)base_get_le64(buf + 64)},
    };
    memcpy(p.boot, buf + 72, sizeof(p.boot));
    if (p.floor < 0 || p.visible.base_offset < p.floor ||
        p.visible.end_offset < p.visible.base_offset || p.synced.base_offset < 0 ||
        p.synced.end_offset < p.synced.base_offset)
        return false;
    *ret = p;
    return true;
}

int hot_publish_decode(const void *data, size_t size, struct hot_publication *ret,
                       struct varve_error *err)
{
    const uint8_t *buf = data;
    if (size < HOT_PUBLISHED_SIZE)
        return base_fail(err, VARVE_E_CORRUPT, "published of %zu bytes", size);
    int rc = header_decode(buf, err);
    if (rc < 0)
        return rc;
    if (base_get_le64(buf + PUBLISHED_SEQUENCE) & 1)
        return base_fail(err, VARVE_E_CORRUPT, "published was left half written");
    if (!record_decode(buf + PUBLISHED_RECORD, base_get_le64(buf + PUBLISHED_CRC), ret))
        return base_fail(err, VARVE_E_CORRUPT, "published has a wrong checksum");
    return 0;
}

void hot_publish_boot(struct hot_set *set)
{
    char text[36];
    memset(set->boot, 0, sizeof(set->boot));
    int fd = set->io->open(set->io->ctx, BOOT_ID_PATH, O_RDONLY, 0);
    if (fd < 0)
        return; /* unknown: equal to none */
    ssize_t got = set->io->pread(set->io->ctx, fd, text, sizeof(text), 0);
    set->io->close(set->io->ctx, fd);
    size_t digits = 0;
    for (ssize_t i = 0; i < got && digits < 32; i++) {
        char c = text[i];
        int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (v < 0)
            continue;
        set->boot[digits / 2] = (uint8_t)(set->boot[digits / 2] << 4 | v);
        digits++;
    }
    if (digits != 32)
        memset(set->boot, 0, sizeof(set->boot));
}

bool hot_publish_same_run(const struct hot_set *set, const struct hot_publication *publication)
{
    static const uint8_t unknown[sizeof(set->boot)];
    return memcmp(publication->boot, set->boot, sizeof(set->boot)) == 0 &&
           memcmp(set->boot, unknown, sizeof(unknown)) != 0;
}

static int lock_writer(struct hot_set *set, int fd, struct varve_error *err)
{
    for (int i = 0;; i++) {
        int rc = set->io->flock(set->io->ctx, fd, LOCK_EX | LOCK_NB);
        if (rc >= 0)
            return 0;
        if (rc != -EWOULDBLOCK)
            return base_fail_errno(err, rc, "lock %s", set->published_path);
        /* A reader that asks whether a writer lives holds a shared lock for a moment. */
        if (i == HOT_LOCK_TRIES)
            return base_fail(err, VARVE_E_BUSY, "%s: another process writes here",
                             set->published_path);
        set->env->clock->sleep_ns(set->env->clock->ctx, HOT_LOCK_RETRY_NS);
    }
}

int hot_publish_create(struct hot_set *set, struct hot_publication *ret_old, bool *ret_known,
                       struct varve_error *err)
{
    const struct base_io *io = set->io;
    struct hot_published *pub = &set->published;
    int fd = io->open(io->ctx, set->published_path, O_RDWR | O_CREAT, 0644);
    if (fd < 0)
        return base_fail_errno(err, fd, "open %s", set->published_path);
    void *map = NULL;
    bool known = false;

    int rc = lock_writer(set, fd, err);
    if (rc < 0)
        goto undo;

    uint8_t page[HOT_PUBLISHED_SIZE];
    size_t got;
    rc = base_io_pread_some(io, fd, page, sizeof(page), 0, &got, set->published_path, err);
    if (rc < 0)
        goto undo;
    struct varve_error why;
    if (got > 0 && hot_publish_decode(page, got, ret_old, &why) == 0)
        known = true;
    else if (got > 0)
        base_log(&set->env->logger, BASE_LOG_WARNING, "%s: %s; written anew", set->published_path,
                 why.msg);

    /* Also claims the space: a store through the mapping must not find the disk full (SIGBUS). */
    if (!known) {
        memset(page, 0, sizeof(page));
        header_encode(page);
        rc = base_io_pwrite_full(io, fd, page, sizeof(page), 0, set->published_path, err);
        if (rc < 0)
            goto undo;
    }
    rc = io->mmap(io->ctx, fd, HOT_PUBLISHED_SIZE, true, &map);
    if (rc < 0) {
        rc = base_fail_errno(err, rc, "map %s", set->published_path);
        goto undo;
    }
    pub->fd = fd;
    pub->map = map;
    pub->writable = true;
    pub->sequence =
        le64toh(atomic_load_explicit(word_at(map, PUBLISHED_SEQUENCE), memory_order_relaxed)) &
        ~UINT64_C(1);
    *ret_known = known;
    return 0;

undo:
    io->close(io->ctx, fd);
    return rc;
}

int hot_publish_open(struct hot_set *set, struct varve_error *err)
{
    const struct base_io *io = set->io;
    struct hot_published *pub = &set->published;
    uint8_t header[PUBLISHED_HEADER_SIZE];
    struct stat st;

    if (pub->fd < 0) {
        int fd = io->open(io->ctx, set->published_path, O_RDONLY, 0);
        if (fd == -ENOENT)
            return 0;
        if (fd < 0)
            return base_fail_errno(err, fd, "open %s", set->published_path);
        pub->fd = fd;
    }
    if (pub->map)
        return 0;
    int rc = io->fstat(io->ctx, pub->fd, &st);
    if (rc < 0)
        return base_fail_errno(err, rc, "stat %s", set->published_path);
    if (st.st_size < HOT_PUBLISHED_SIZE)
        return 0; /* being made */
    rc = base_io_pread_full(io, pub->fd, header, sizeof(header), 0, set->published_path, err);
    if (rc < 0)
        return rc;
    rc = header_decode(header, err);
    if (rc < 0)
        return base_error_context(err, rc, "%s", set->published_path);
    void *map;
    rc = io->mmap(io->ctx, pub->fd, HOT_PUBLISHED_SIZE, false, &map);
    if (rc < 0)
        return base_fail_errno(err, rc, "map %s", set->published_path);
    pub->map = map;
    return 0;
}

void hot_publish_close(struct hot_set *set)
{
    struct hot_published *pub = &set->published;
    if (pub->map)
        set->io->munmap(set->io->ctx, pub->map, HOT_PUBLISHED_SIZE);
    if (pub->fd >= 0)
        set->io->close(set->io->ctx, pub->fd); /* and with it goes the lock */
    pub->map = NULL;
    pub->fd = -1;
}

void hot_publish_write_locked(struct hot_set *set, const struct hot_publication *publication)
{
    struct hot_published *pub = &set->published;
    uint8_t buf[8 * PUBLISHED_WORDS];
    record_encode(publication, buf);
    uint64_t crc = base_crc32c(0, buf, sizeof(buf));

    atomic_store_explicit(word_at(pub->map, PUBLISHED_SEQUENCE), htole64(pub->sequence + 1),
                          memory_order_relaxed);
    for (size_t i = 0; i < PUBLISHED_WORDS; i++) {
        uint64_t word;
        memcpy(&word, buf + 8 * i, sizeof(word));
        atomic_store_explicit(word_at(pub->map, PUBLISHED_RECORD + 8 * i), word,
                              memory_order_release);
    }
    atomic_store_explicit(word_at(pub->map, PUBLISHED_CRC), htole64(crc), memory_order_release);
    pub->sequence += 2;
    atomic_store_explicit(word_at(pub->map, PUBLISHED_SEQUENCE), htole64(pub->sequence),
                          memory_order_release);
}

int hot_publish_sync(struct hot_set *set, struct varve_error *err)
{
    int rc = set->io->fdatasync(set->io->ctx, set->published.fd);
    return rc < 0 ? base_fail_errno(err, rc, "fdatasync %s", set->published_path) : 0;
}

void hot_publish_repair_locked(struct hot_set *set)
{
    uint8_t header[PUBLISHED_HEADER_SIZE];
    header_encode(header);
    if (memcmp(set->published.map, header, sizeof(header)) != 0) {
        base_log(&set->env->logger, BASE_LOG_WARNING, "%s: header was damaged; written anew",
                 set->published_path);
        memcpy(set->published.map, header, sizeof(header));
    }
}

void hot_publish_locked(struct hot_set *set, enum hot_writer_state state)
{
    struct hot_segment *active = hot_set_active_locked(set);
    struct hot_publication p = {
        .state = set->failed ? HOT_WRITER_FAILED : state,
        .instance = set->instance,
        .floor = set->segments[0]->base_offset,
        .visible = {.base_offset = active->base_offset,
                    .size = active->visible.size,
                    .end_offset = active->visible.end_offset},
        .synced = set->synced,
    };
    memcpy(p.boot, set->boot, sizeof(p.boot));
    hot_publish_write_locked(set, &p);
}

bool hot_publish_read(struct hot_set *set, struct hot_publication *ret, uint64_t *ret_sequence)
{
    void *map = set->published.map;
    if (!map)
        return false;
    for (int i = 0; i < PUBLISHED_READ_TRIES; i++) {
        uint8_t buf[8 * PUBLISHED_WORDS];
        uint64_t before =
            atomic_load_explicit(word_at(map, PUBLISHED_SEQUENCE), memory_order_acquire);
        for (size_t k = 0; k < PUBLISHED_WORDS; k++) {
            uint64_t word =
                atomic_load_explicit(word_at(map, PUBLISHED_RECORD + 8 * k), memory_order_acquire);
            memcpy(buf + 8 * k, &word, sizeof(word));
        }
        uint64_t crc = atomic_load_explicit(word_at(map, PUBLISHED_CRC), memory_order_acquire);
        uint64_t after =
            atomic_load_explicit(word_at(map, PUBLISHED_SEQUENCE), memory_order_relaxed);
        if (before != after || (le64toh(before) & 1) || before == 0) {
            if (before == 0)
                return false;
            continue;
        }
        if (!record_decode(buf, le64toh(crc), ret))
            return false;
        *ret_sequence = le64toh(before);
        return true;
    }
    return false;
}

void hot_set_publish_root(struct hot_set *set, uint64_t root_generation)
{
    /* Release: who sees the generation sees the root file that was renamed before. */
    if (set->published.writable)
        atomic_store_explicit(word_at(set->published.map, PUBLISHED_ROOT), htole64(root_generation),
                              memory_order_release);
}

uint64_t hot_set_published_root(struct hot_set *set)
{
    void *map = set->published.map;
    if (!map)
        return 0;
    return le64toh(atomic_load_explicit(word_at(map, PUBLISHED_ROOT), memory_order_acquire));
}

bool hot_set_has_writer(struct hot_set *set)
{
    struct hot_published *pub = &set->published;
    if (pub->writable)
        return true;
    if (pub->fd < 0) {
        base_mutex_lock(&set->evict);
        hot_publish_open(set, NULL);
        base_mutex_unlock(&set->evict);
    }
    bool writer = false;
    if (pub->fd >= 0) {
        int rc = set->io->flock(set->io->ctx, pub->fd, LOCK_SH | LOCK_NB);
        if (rc == 0)
            set->io->flock(set->io->ctx, pub->fd, LOCK_UN);
        writer = rc == -EWOULDBLOCK;
    }
    return writer;
}
