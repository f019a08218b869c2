/*
 * The block cache: values in one preallocated file with fixed slots.
 *
 * FORMAT (little-endian)
 *
 *   pos  size  header
 *     0     8  magic "VRVCACHE"
 *     8     4  version, 1
 *    12     4  header size, 64
 *    16     4  features that may be ignored
 *    20     4  features that must be understood
 *    24     4  slot size
 *    28     4  number of slots
 *    32     8  position of the table, 4096
 *    40     8  position of slot 0, a multiple of 4096
 *    48    12  zeros
 *    60     4  CRC32C of bytes 0..59
 *
 *   pos  size  entry i of the table, for slot i; all zeros: free
 *     0    16  key: id
 *    16     4  key: index
 *    20     4  size of the value
 *    24     4  CRC32C of the value: over key, size and bytes
 *    28     4  next slot of the value, 0x0fffffff: none
 *    32     4  part: 0 for the first slot of the value
 *    36     8  zeros
 *    44     4  CRC32C of the slot's number (le32) and bytes 0..43
 *
 * Valid: a header as this process would write it (slot size and number included), in a file long
 * enough. Any other file is emptied: it is a cache. An entry is valid when its checksum holds; a
 * value when its slots' entries are valid, alike but for part and next, and make a chain of as many
 * parts as its size needs.
 *
 * C1 A hit gives only bytes whose CRC32C, over key and size too, is the one in memory or in the
 *    entry (I9). So no order of writes matters: whatever a crash mixes is a miss.
 * C2 Evicting writes nothing. A slot's entry is overwritten with the slot; what is left of an old
 *    chain is no whole chain, or a value still intact.
 * C3 Nothing here fails but for memory at open: an error of the disk is a miss.
 *
 * A value's bytes are read and written without the lock. A reader that loses its slots meanwhile
 * reads what another value put there: the checksum makes it a miss (C1).
 */
#include "cold/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "base/thread.h"
#include "cold/slots.h"

#define CACHE_VERSION 1
#define CACHE_HEADER_SIZE 64
#define CACHE_ENTRY_SIZE 48
#define CACHE_TABLE_POS 4096
#define CACHE_FILES_MAX 64 /* processes with a cache of one name in one directory */
#define CACHE_FREE_SHARE 2 /* a new file takes at most one in so many bytes that are free */
#define CACHE_SHARE_MAX 4  /* a value may take one in so many slots */
#define LOAD_ENTRIES 1024  /* read at once when opening */
#define RUNS_MAX 32        /* runs of adjacent slots read between two looks at the chain */

static const uint8_t cache_magic[8] = {'V', 'R', 'V', 'C', 'A', 'C', 'H', 'E'};

struct cold_cache {
    const struct base_env *env;
    char *path;
    int fd; /* -1: a cache that holds nothing */
    uint32_t slot_size;
    uint32_t slot_count;
    uint64_t data_pos;
    struct base_mutex lock; /* protects slots, stats and `given`; not the file's bytes, see above */
    bool given;             /* the file is empty for good: nothing is found, nothing is kept */
    struct cold_slots slots;
    struct cold_cache_stats stats;
};

/* ---- keys and entries ---- */

#define KEY_BYTES 24

/* Key and size as the checksum covers them. */
static uint32_t value_crc_begin(const struct cold_cache_key *key, uint32_t size)
{
    uint8_t buf[KEY_BYTES];

    memcpy(buf, key->id.bytes, BASE_ID_SIZE);
    base_put_le32(buf + 16, key->index);
    base_put_le32(buf + 20, size);
    return base_crc32c(0, buf, sizeof(buf));
}

static uint64_t mix(uint64_t h)
{
    h ^= h >> 33;
    h *= UINT64_C(0xff51afd7ed558ccd);
    h ^= h >> 33;
    h *= UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ (h >> 33);
}

static uint64_t fingerprint_of(const struct cold_cache_key *key)
{
    uint64_t a = base_get_le64(key->id.bytes), b = base_get_le64(key->id.bytes + 8);

    return mix(a ^ mix(b ^ mix(key->index + UINT64_C(0x9e3779b97f4a7c15))));
}

struct entry {
    struct cold_cache_key key;
    uint32_t size;
    uint32_t crc32c;
    uint32_t next;
    uint32_t part;
};

static uint32_t entry_crc(uint32_t slot, const uint8_t *buf)
{
    uint8_t number[4];

    base_put_le32(number, slot);
    return base_crc32c(base_crc32c(0, number, sizeof(number)), buf, CACHE_ENTRY_SIZE - 4);
}

static void entry_encode(uint32_t slot, const struct entry *e, uint8_t *buf)
{
    memset(buf, 0, CACHE_ENTRY_SIZE);
    memcpy(buf, e->key.id.bytes, BASE_ID_SIZE);
    base_put_le32(buf + 16, e->key.index);
    base_put_le32(buf + 20, e->size);
    base_put_le32(buf + 24, e->crc32c);
    base_put_le32(buf + 28, e->next);
    base_put_le32(buf + 32, e->part);
    base_put_le32(buf + 44, entry_crc(slot, buf));
}

static bool entry_decode(uint32_t slot, const uint8_t *buf, struct entry *ret)
{
    if (base_get_le32(buf + 44) != entry_crc(slot, buf))
        return false;
    memcpy(ret->key.id.bytes, buf, BASE_ID_SIZE);
    ret->key.index = base_get_le32(buf + 16);
    ret->size = base_get_le32(buf + 20);
    ret->crc32c = base_get_le32(buf + 24);
    ret->next = base_get_le32(buf + 28);
    ret->part = base_get_le32(buf + 32);
    return true;
}

static bool is_zero(const uint8_t *buf, size_t size)
{
    return buf[0] == 0 && memcmp(buf, buf + 1, size - 1) == 0;
}

static int64_t entry_pos(uint32_t slot)
{
    return CACHE_TABLE_POS + (int64_t)slot * CACHE_ENTRY_SIZE;
}

static int64_t slot_pos(const struct cold_cache *c, uint32_t slot)
{
    return (int64_t)(c->data_pos + (uint64_t)slot * c->slot_size);
}

/* ---- open ---- */

static void header_encode(const struct cold_cache *c, uint8_t buf[CACHE_HEADER_SIZE])
{
    memset(buf, 0, CACHE_HEADER_SIZE);
    memcpy(buf, cache_magic, sizeof(cache_magic));
    base_put_le32(buf + 8, CACHE_VERSION);
    base_put_le32(buf + 12, CACHE_HEADER_SIZE);
    base_put_le32(buf + 24, c->slot_size);
    base_put_le32(buf + 28, c->slot_count);
    base_put_le64(buf + 32, CACHE_TABLE_POS);
    base_put_le64(buf + 40, c->data_pos);
    base_put_le32(buf + 60, base_crc32c(0, buf, CACHE_HEADER_SIZE - 4));
}

/* Is the file one that this process would have made? May-ignore features do not matter. */
static bool header_matches(const struct cold_cache *c, const uint8_t buf[CACHE_HEADER_SIZE])
{
    uint8_t want[CACHE_HEADER_SIZE];

    if (base_get_le32(buf + 60) != base_crc32c(0, buf, CACHE_HEADER_SIZE - 4))
        return false;
    header_encode(c, want);
    return memcmp(buf, want, 16) == 0 && memcmp(buf + 20, want + 20, 40) == 0;
}

static int64_t file_size(const struct cold_cache *c)
{
    return slot_pos(c, c->slot_count);
}

/* Reads the table into `slots`. False: the file cannot be read. */
static bool load_table(struct cold_cache *c)
{
    uint8_t *buf = malloc((size_t)LOAD_ENTRIES * CACHE_ENTRY_SIZE);
    bool ok = buf != NULL;

    for (uint32_t from = 0; ok && from < c->slot_count; from += LOAD_ENTRIES) {
        uint32_t n = c->slot_count - from < LOAD_ENTRIES ? c->slot_count - from : LOAD_ENTRIES;

        ok = base_io_pread_full(c->env->io, c->fd, buf, (size_t)n * CACHE_ENTRY_SIZE,
                                entry_pos(from), c->path, NULL) == 0;
        for (uint32_t i = 0; ok && i < n; i++) {
            const uint8_t *p = buf + (size_t)i * CACHE_ENTRY_SIZE;
            struct entry e;

            if (is_zero(p, CACHE_ENTRY_SIZE))
                continue; /* most of a young cache */
            if (entry_decode(from + i, p, &e))
                cold_slots_load(&c->slots, from + i, fingerprint_of(&e.key), e.size, e.crc32c,
                                e.next, e.part);
            else
                c->stats.damaged++;
        }
    }
    free(buf);
    if (ok)
        cold_slots_load_finish(&c->slots);
    return ok;
}

/* Empties and preallocates the file. */
static int make_file(struct cold_cache *c)
{
    const struct base_io *io = c->env->io;
    uint8_t header[CACHE_HEADER_SIZE];
    struct iovec iov = {.iov_base = header, .iov_len = sizeof(header)};
    uint64_t free_bytes, total;
    ssize_t n;
    int rc = io->ftruncate(io->ctx, c->fd, 0);

    /* Asked first: an allocation that fails halfway would starve an append that needs the room. */
    if (rc == 0 && io->disk_free(io->ctx, c->path, &free_bytes, &total) == 0 &&
        free_bytes / CACHE_FREE_SHARE < (uint64_t)file_size(c))
        return -ENOSPC;
    if (rc == 0)
        rc = io->fallocate(io->ctx, c->fd, 0, 0, file_size(c));
    if (rc == -EOPNOTSUPP || rc == -ENOSYS) /* then writes find out when the disk is full */
        rc = io->ftruncate(io->ctx, c->fd, file_size(c));
    if (rc < 0)
        return rc;
    header_encode(c, header);
    n = io->pwritev(io->ctx, c->fd, &iov, 1, 0);
    return n < 0 ? (int)n : n == (ssize_t)sizeof(header) ? 0 : -EIO;
}

/* Takes up what the file holds, or empties it. */
static int use_file(struct cold_cache *c)
{
    const struct base_io *io = c->env->io;
    uint8_t header[CACHE_HEADER_SIZE];
    struct stat st;
    int rc = io->fstat(io->ctx, c->fd, &st);

    if (rc < 0)
        return rc;
    if (st.st_size >= file_size(c) &&
        io->pread(io->ctx, c->fd, header, sizeof(header), 0) == (ssize_t)sizeof(header) &&
        header_matches(c, header)) {
        if (!load_table(c))
            return -EIO;
        if (c->stats.damaged > 0)
            base_log(&c->env->logger, BASE_LOG_WARNING, "cache %s: %llu damaged entries left out",
                     c->path, (unsigned long long)c->stats.damaged);
        return 0;
    }
    if (st.st_size > 0)
        base_log(&c->env->logger, BASE_LOG_WARNING,
                 "cache %s is damaged or of another size or version: emptied", c->path);
    return make_file(c);
}

/* Opens the first file of the name that nobody holds. -EWOULDBLOCK: all are held. */
static int open_unheld(struct cold_cache *c, const char *dir, const char *name,
                       struct varve_error *err)
{
    const struct base_io *io = c->env->io;

    for (unsigned i = 0; i < CACHE_FILES_MAX; i++) {
        int fd, rc;

        free(c->path);
        c->path = NULL;
        rc = base_format(&c->path, err, "%s/%s-%u", dir, name, i);
        if (rc < 0)
            return -ENOMEM;
        fd = io->open(io->ctx, c->path, O_RDWR | O_CREAT, 0666);
        if (fd < 0)
            return fd;
        rc = io->flock(io->ctx, fd, LOCK_EX | LOCK_NB);
        if (rc == 0) {
            c->fd = fd;
            return 0;
        }
        io->close(io->ctx, fd);
        if (rc != -EWOULDBLOCK)
            return rc;
    }
    return -EWOULDBLOCK;
}

/* C3: without a file the cache holds nothing. */
static void go_without(struct cold_cache *c, const char *dir, const char *name, int rc)
{
    const struct base_io *io = c->env->io;
    struct varve_error why;

    base_fail_errno(&why, rc, "cache %s/%s: going without", dir, name);
    base_log(&c->env->logger, BASE_LOG_INFO, "%s", why.msg);
    if (c->fd >= 0) {
        io->ftruncate(io->ctx, c->fd, 0); /* keep no room that is not used */
        io->close(io->ctx, c->fd);
    }
    c->fd = -1;
    cold_slots_deinit(&c->slots);
}

int cold_cache_open(const struct base_env *env, const char *dir, const char *name, uint64_t bytes,
                    uint32_t slot_size, struct cold_cache **ret, struct varve_error *err)
{
    struct cold_cache *c;
    uint64_t count, table;
    int rc;

    if (slot_size == 0)
        return base_fail(err, VARVE_E_INVALID, "cache %s/%s: slots of no bytes", dir, name);
    count = bytes / slot_size;
    if (count >= COLD_SLOT_NONE)
        return base_fail(err, VARVE_E_INVALID, "cache %s/%s: more than %u slots", dir, name,
                         COLD_SLOT_NONE - 1);
    c = calloc(1, sizeof(*c));
    if (!c)
        return base_fail(err, VARVE_E_NO_MEMORY, "cache %s/%s: out of memory", dir, name);
    c->env = env;
    c->fd = -1;
    c->slot_size = slot_size;
    c->slot_count = (uint32_t)count;
    table = CACHE_TABLE_POS + count * CACHE_ENTRY_SIZE;
    c->data_pos = (table + 4095) / 4096 * 4096;
    rc = cold_slots_init(&c->slots, c->slot_count, slot_size, err);
    if (rc < 0) {
        free(c);
        return base_error_context(err, rc, "cache %s/%s", dir, name);
    }
    base_mutex_init(&c->lock);
    if (count > 0) {
        base_dir_create(env->io, dir, false, NULL); /* opening tells when that went wrong */
        rc = open_unheld(c, dir, name, err);
        if (rc == 0)
            rc = use_file(c);
        if (rc < 0)
            go_without(c, dir, name, rc);
    }
    *ret = c;
    return 0;
}

struct cold_cache *cold_cache_close(struct cold_cache *cache)
{
    if (!cache)
        return NULL;
    if (cache->fd >= 0)
        cache->env->io->close(cache->env->io->ctx, cache->fd);
    cold_slots_deinit(&cache->slots);
    base_mutex_deinit(&cache->lock);
    free(cache->path);
    free(cache);
    return NULL;
}

/* ---- runs of adjacent slots ---- */

struct run {
    uint32_t slot;
    uint32_t count;
};

/* The next runs of a chain of which `left` slots remain. *slot becomes the next one to be had. */
static int runs_collect(const struct cold_cache *c, uint32_t *slot, uint32_t *left,
                        struct run runs[RUNS_MAX])
{
    int n = 0;

    while (*left > 0 && *slot != COLD_SLOT_NONE) {
        if (n > 0 && runs[n - 1].slot + runs[n - 1].count == *slot)
            runs[n - 1].count++;
        else if (n == RUNS_MAX)
            break;
        else
            runs[n++] = (struct run){*slot, 1};
        *slot = cold_slots_next(&c->slots, *slot);
        (*left)--;
    }
    return n;
}

/* A value as memory describes it. */
struct value {
    uint32_t first;
    uint32_t size;
    uint32_t crc32c;
    uint64_t fingerprint;
    uint64_t freed; /* of slots, when it was looked up */
};

static struct value value_of_locked(const struct cold_cache *c, uint32_t first)
{
    const struct cold_slot *s = &c->slots.slots[first];

    return (struct value){first, s->size, s->crc32c, s->fingerprint, c->slots.freed};
}

/* Still (or again) there; then its chain can be walked. */
static bool is_there_locked(const struct cold_cache *c, const struct value *v)
{
    return cold_slots_find(&c->slots, v->fingerprint) == v->first;
}

/*
 * Reads a value run by run, `take` being given the bytes of each. False: it cannot be read, or its
 * slots were given to another meanwhile.
 */
static bool value_read(struct cold_cache *c, const struct value *v,
                       bool (*take)(void *arg, struct cold_cache *c, uint64_t pos, size_t size,
                                    int64_t file_pos),
                       void *arg)
{
    struct run runs[RUNS_MAX];
    uint32_t slot = v->first, left = cold_slots_needed(&c->slots, v->size);
    uint64_t done = 0;

    while (left > 0) {
        int n = 0;

        base_mutex_lock(&c->lock);
        if (is_there_locked(c, v))
            n = runs_collect(c, &slot, &left, runs);
        base_mutex_unlock(&c->lock);
        if (n == 0)
            return false;
        for (int i = 0; i < n; i++) {
            uint64_t size = (uint64_t)runs[i].count * c->slot_size;

            if (size > v->size - done)
                size = v->size - done;
            if (!take(arg, c, done, (size_t)size, slot_pos(c, runs[i].slot)))
                return false;
            done += size;
        }
    }
    return done == v->size;
}

/* ---- get ---- */

static bool take_into_buffer(void *arg, struct cold_cache *c, uint64_t pos, size_t size,
                             int64_t file_pos)
{
    return base_io_pread_full(c->env->io, c->fd, (uint8_t *)arg + pos, size, file_pos, c->path,
                              NULL) == 0;
}

/* Writes zeros over an entry; a value whose first one is gone does not come back. */
static void erase_locked(struct cold_cache *c, uint32_t slot)
{
    static const uint8_t zeros[CACHE_ENTRY_SIZE];

    if (c->given)
        return;
    base_io_pwrite_full(c->env->io, c->fd, zeros, sizeof(zeros), entry_pos(slot), c->path, NULL);
}

static void remove_locked(struct cold_cache *c, uint32_t first)
{
    /* The first entry would do; the others may be what is damaged. */
    for (uint32_t slot = first; slot != COLD_SLOT_NONE; slot = cold_slots_next(&c->slots, slot))
        erase_locked(c, slot);
    cold_slots_remove(&c->slots, first);
}

/* A value whose bytes are wrong: forgets it. Where slots were freed meanwhile they may simply have
 * been reused: then it is not called damaged. */
static void forget_damaged(struct cold_cache *c, const struct value *v)
{
    base_mutex_lock(&c->lock);
    c->stats.misses++;
    if (c->slots.freed == v->freed)
        c->stats.damaged++;
    if (is_there_locked(c, v))
        remove_locked(c, v->first);
    base_mutex_unlock(&c->lock);
}

static int no_value(struct cold_cache *c, const struct cold_cache_key *key, struct varve_error *err)
{
    return base_fail(err, VARVE_E_NOT_FOUND, "cache %s: block %u is not there",
                     c->path ? c->path : "(none)", key->index);
}

int cold_cache_get(struct cold_cache *cache, const struct cold_cache_key *key, void *buf,
                   size_t capacity, size_t *ret_size, struct varve_error *err)
{
    uint64_t fingerprint = fingerprint_of(key);
    struct value v = {0};
    uint32_t first;

    base_mutex_lock(&cache->lock);
    first = cold_slots_find(&cache->slots, fingerprint);
    if (first == COLD_SLOT_NONE) {
        cache->stats.misses++;
    } else {
        v = value_of_locked(cache, first);
        if (v.size <= capacity)
            cold_slots_use(&cache->slots, first);
    }
    base_mutex_unlock(&cache->lock);
    if (first == COLD_SLOT_NONE)
        return no_value(cache, key, err);
    if (v.size > capacity) {
        *ret_size = v.size;
        return base_fail(err, VARVE_E_TOO_LARGE, "cache %s: block %u has %u bytes, room for %zu",
                         cache->path, key->index, v.size, capacity);
    }
    if (!value_read(cache, &v, take_into_buffer, buf) ||
        base_crc32c(value_crc_begin(key, v.size), buf, v.size) != v.crc32c) { /* C1 */
        forget_damaged(cache, &v);
        return no_value(cache, key, err);
    }
    base_mutex_lock(&cache->lock);
    cache->stats.hits++;
    base_mutex_unlock(&cache->lock);
    *ret_size = v.size;
    return 0;
}

bool cold_cache_has(struct cold_cache *cache, const struct cold_cache_key *key)
{
    bool has;

    base_mutex_lock(&cache->lock);
    has = cold_slots_find(&cache->slots, fingerprint_of(key)) != COLD_SLOT_NONE;
    base_mutex_unlock(&cache->lock);
    return has;
}

void cold_cache_drop(struct cold_cache *cache, const struct cold_cache_key *key)
{
    uint32_t first;

    base_mutex_lock(&cache->lock);
    first = cold_slots_find(&cache->slots, fingerprint_of(key));
    if (first != COLD_SLOT_NONE)
        remove_locked(cache, first);
    base_mutex_unlock(&cache->lock);
}

/* ---- put ---- */

/* Writes the bytes of a taken chain, then its entries. The chain is the caller's alone. */
static bool value_write(struct cold_cache *c, uint32_t first, const struct entry *head,
                        const uint8_t *data)
{
    uint8_t buf[16 * CACHE_ENTRY_SIZE];
    uint32_t slot = first, part = 0;
    uint64_t done = 0;
    bool ok = true;

    while (ok && slot != COLD_SLOT_NONE) { /* a run at a time, at most 16 slots long */
        uint32_t from = slot, count = 0;
        uint64_t size;

        do {
            struct entry e = *head;

            e.part = part++;
            e.next = cold_slots_next(&c->slots, slot);
            entry_encode(slot, &e, buf + (size_t)count * CACHE_ENTRY_SIZE);
            count++;
            slot = e.next;
        } while (slot == from + count && count < 16);
        size = (uint64_t)count * c->slot_size;
        if (size > head->size - done)
            size = head->size - done;
        ok = base_io_pwrite_full(c->env->io, c->fd, data + done, (size_t)size, slot_pos(c, from),
                                 c->path, NULL) == 0 &&
             base_io_pwrite_full(c->env->io, c->fd, buf, (size_t)count * CACHE_ENTRY_SIZE,
                                 entry_pos(from), c->path, NULL) == 0;
        done += size;
    }
    return ok;
}

/* Takes slots for a value; COLD_SLOT_NONE: it is there already, or there is no room. */
static uint32_t put_begin(struct cold_cache *c, uint64_t fingerprint, const struct entry *head)
{
    uint32_t first;

    base_mutex_lock(&c->lock);
    first = cold_slots_find(&c->slots, fingerprint);
    if (c->given) {
        first = COLD_SLOT_NONE;
    } else if (first != COLD_SLOT_NONE && c->slots.slots[first].size == head->size &&
               c->slots.slots[first].crc32c == head->crc32c) {
        first = COLD_SLOT_NONE;
    } else {
        if (first != COLD_SLOT_NONE)
            remove_locked(c, first);
        first = cold_slots_take(&c->slots, cold_slots_needed(&c->slots, head->size));
    }
    base_mutex_unlock(&c->lock);
    return first;
}

static void put_end(struct cold_cache *c, uint32_t first, uint64_t fingerprint,
                    const struct entry *head, bool written)
{
    base_mutex_lock(&c->lock);
    if (written && !c->given && cold_slots_find(&c->slots, fingerprint) == COLD_SLOT_NONE) {
        cold_slots_insert(&c->slots, first, fingerprint, head->size, head->crc32c);
        c->stats.puts++;
    } else { /* the disk failed, or another put of the same was faster */
        erase_locked(c, first);
        cold_slots_untake(&c->slots, first);
    }
    base_mutex_unlock(&c->lock);
}

void cold_cache_put(struct cold_cache *cache, const struct cold_cache_key *key, const void *data,
                    size_t size)
{
    uint64_t fingerprint = fingerprint_of(key);
    struct entry head = {.key = *key};
    uint32_t first;

    if (cache->fd < 0 || size > UINT32_MAX ||
        cold_slots_needed(&cache->slots, size) > cache->slot_count / CACHE_SHARE_MAX)
        return;
    head.size = (uint32_t)size;
    head.crc32c = base_crc32c(value_crc_begin(key, head.size), data, size);
    first = put_begin(cache, fingerprint, &head);
    if (first != COLD_SLOT_NONE)
        put_end(cache, first, fingerprint, &head, value_write(cache, first, &head, data));
}

/* ---- giving ---- */

uint64_t cold_cache_give(struct cold_cache *cache)
{
    const struct base_io *io = cache->env->io;
    bool was_given;

    if (cache->fd < 0)
        return 0;
    base_mutex_lock(&cache->lock);
    was_given = cache->given;
    cache->given = true;
    for (uint32_t slot = 0; slot < cache->slot_count && !was_given; slot++) {
        enum cold_slot_state state = cold_slots_state(&cache->slots, slot);

        if (state != COLD_SLOT_FREE && state != COLD_SLOT_PART)
            cold_slots_remove(&cache->slots, slot);
    }
    base_mutex_unlock(&cache->lock);
    /* A put that has its slots already may still write one value: into a file without a header,
     * which the next opening empties. */
    if (was_given || io->ftruncate(io->ctx, cache->fd, 0) < 0)
        return 0;
    return (uint64_t)file_size(cache);
}

/* ---- stats and check ---- */

void cold_cache_stats(struct cold_cache *cache, struct cold_cache_stats *ret)
{
    base_mutex_lock(&cache->lock);
    *ret = cache->stats;
    ret->evictions = cache->slots.evictions;
    ret->bytes_total = (uint64_t)cache->slots.count * cache->slot_size;
    ret->bytes_used = (uint64_t)(cache->slots.count - cache->slots.free_count) * cache->slot_size;
    base_mutex_unlock(&cache->lock);
}

/* Sums a value's bytes up through one slot's worth of memory. */
struct summing {
    uint8_t *buf;
    uint32_t crc32c;
};

static bool take_into_sum(void *arg, struct cold_cache *c, uint64_t pos, size_t size,
                          int64_t file_pos)
{
    struct summing *s = arg;

    (void)pos;
    while (size > 0) {
        size_t n = size < c->slot_size ? size : c->slot_size;

        if (base_io_pread_full(c->env->io, c->fd, s->buf, n, file_pos, c->path, NULL) < 0)
            return false;
        s->crc32c = base_crc32c(s->crc32c, s->buf, n);
        file_pos += (int64_t)n;
        size -= n;
    }
    return true;
}

static bool entry_read(struct cold_cache *c, uint32_t slot, uint8_t buf[CACHE_ENTRY_SIZE])
{
    return base_io_pread_full(c->env->io, c->fd, buf, CACHE_ENTRY_SIZE, entry_pos(slot), c->path,
                              NULL) == 0;
}

/* Are all entries of a value sound on the disk, and its own? *ret_key: whose it is. */
static bool entries_sound_locked(struct cold_cache *c, const struct value *v,
                                 struct cold_cache_key *ret_key)
{
    uint32_t part = 0;

    for (uint32_t slot = v->first; slot != COLD_SLOT_NONE;
         slot = cold_slots_next(&c->slots, slot)) {
        uint8_t buf[CACHE_ENTRY_SIZE];
        struct entry e;

        if (!entry_read(c, slot, buf) || !entry_decode(slot, buf, &e) || e.size != v->size ||
            e.crc32c != v->crc32c || e.part != part++)
            return false;
        *ret_key = e.key;
    }
    return true;
}

/* Checks one slot. False: it is damaged, and still holds what it held. */
static bool slot_sound(struct cold_cache *c, uint32_t slot, uint8_t *buf, struct value *ret)
{
    uint8_t raw[CACHE_ENTRY_SIZE];
    struct cold_cache_key key;
    struct summing sum = {.buf = buf};
    enum cold_slot_state state;
    struct entry e;
    bool ok = true;

    base_mutex_lock(&c->lock);
    state = cold_slots_state(&c->slots, slot);
    *ret = (struct value){.first = COLD_SLOT_NONE, .freed = c->slots.freed};
    if (state == COLD_SLOT_FREE) {
        ok = entry_read(c, slot, raw) && (entry_decode(slot, raw, &e) || is_zero(raw, sizeof(raw)));
    } else if (state != COLD_SLOT_PART) {
        *ret = value_of_locked(c, slot);
        ok = entries_sound_locked(c, ret, &key);
    }
    base_mutex_unlock(&c->lock);
    if (!ok || ret->first == COLD_SLOT_NONE)
        return ok;
    sum.crc32c = value_crc_begin(&key, ret->size);
    if (value_read(c, ret, take_into_sum, &sum) && sum.crc32c == ret->crc32c)
        return true;
    base_mutex_lock(&c->lock);
    ok = c->slots.freed != ret->freed; /* reused meanwhile: nothing can be said */
    base_mutex_unlock(&c->lock);
    return ok;
}

int cold_cache_check(struct cold_cache *cache, bool repair,
                     void (*report)(void *arg, const char *file, uint64_t slot), void *arg,
                     struct varve_error *err)
{
    uint8_t *buf;
    bool given;

    base_mutex_lock(&cache->lock);
    given = cache->given;
    base_mutex_unlock(&cache->lock);
    if (cache->fd < 0 || given)
        return 0;
    buf = malloc(cache->slot_size);
    if (!buf)
        return base_fail(err, VARVE_E_NO_MEMORY, "check cache %s: out of memory", cache->path);
    for (uint32_t slot = 0; slot < cache->slot_count; slot++) {
        struct value v;

        if (slot_sound(cache, slot, buf, &v))
            continue;
        report(arg, cache->path, slot);
        if (!repair)
            continue;
        base_mutex_lock(&cache->lock);
        if (v.first == COLD_SLOT_NONE && cold_slots_state(&cache->slots, slot) == COLD_SLOT_FREE)
            erase_locked(cache, slot);
        else if (v.first != COLD_SLOT_NONE && cache->slots.freed == v.freed)
            remove_locked(cache, slot);
        base_mutex_unlock(&cache->lock);
    }
    free(buf);
    return 0;
}
