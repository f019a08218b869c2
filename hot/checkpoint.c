/*
 * FORMAT of `checkpoint` (64 bytes, little-endian)
 *
 *    pos  size
 *      0     8  magic "VARVECKP"
 *      8     4  version, 1
 *     12     4  header size, 64
 *     16     4  features that a reader may ignore
 *     20     4  features that a reader must understand, 0
 *     24     8  base offset of a segment
 *     32     8  bytes of that segment that are good and synced
 *     40     8  offset that follows them
 *     48     8  wall clock ms of the segment's first append, -1 when unknown
 *     56     4  bit 0: the writer closed the set after this
 *     60     4  CRC32C of bytes 0 to 59
 *
 * VALID: magic, header size and checksum are right, the version is known, no unknown feature must
 * be understood, and 0 <= base offset <= following offset.
 *
 * INVARIANTS
 *   K1  What it vouches for is durable before the file is replaced: all segments of lower base
 *       wholly, and its own up to its position.
 *   K2  An older one is as true as a newer one, only less helpful: files never shrink below their
 *       synced end, but for hot_set_reset and hot_set_move_tail, which replace it first.
 */
#include "hot/internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"

#define CHECKPOINT_VERSION 1
#define CHECKPOINT_CLEAN 1u
#define CHECKPOINT_FILE_MAX 4096

static const uint8_t checkpoint_magic[8] = "VARVECKP";
static_assert(HOT_CHECKPOINT_SIZE == 64, "the table above says so");

void hot_checkpoint_encode(const struct hot_checkpoint *checkpoint,
                           uint8_t buf[HOT_CHECKPOINT_SIZE])
{
    memset(buf, 0, HOT_CHECKPOINT_SIZE);
    memcpy(buf, checkpoint_magic, sizeof(checkpoint_magic));
    base_put_le32(buf + 8, CHECKPOINT_VERSION);
    base_put_le32(buf + 12, HOT_CHECKPOINT_SIZE);
    base_put_le64(buf + 24, (uint64_t)checkpoint->point.base_offset);
    base_put_le64(buf + 32, checkpoint->point.size);
    base_put_le64(buf + 40, (uint64_t)checkpoint->point.end_offset);
    base_put_le64(buf + 48, (uint64_t)checkpoint->first_append_ms);
    base_put_le32(buf + 56, checkpoint->clean ? CHECKPOINT_CLEAN : 0);
    base_put_le32(buf + 60, base_crc32c(0, buf, 60));
}

int hot_checkpoint_decode(const void *data, size_t size, struct hot_checkpoint *ret,
                          struct varve_error *err)
{
    const uint8_t *buf = data;
    if (size < HOT_CHECKPOINT_SIZE)
        return base_fail(err, VARVE_E_CORRUPT, "checkpoint of %zu bytes", size);
    if (memcmp(buf, checkpoint_magic, sizeof(checkpoint_magic)) != 0)
        return base_fail(err, VARVE_E_CORRUPT, "not a checkpoint (magic)");
    if (base_get_le32(buf + 60) != base_crc32c(0, buf, 60))
        return base_fail(err, VARVE_E_CORRUPT, "checkpoint has a wrong checksum");
    if (base_get_le32(buf + 8) > CHECKPOINT_VERSION || base_get_le32(buf + 20) != 0)
        return base_fail(err, VARVE_E_VERSION, "checkpoint of version %u, features %#x",
                         base_get_le32(buf + 8), base_get_le32(buf + 20));
    if (base_get_le32(buf + 8) == 0 || base_get_le32(buf + 12) != HOT_CHECKPOINT_SIZE)
        return base_fail(err, VARVE_E_CORRUPT, "checkpoint of version %u, header size %u",
                         base_get_le32(buf + 8), base_get_le32(buf + 12));

    struct hot_checkpoint c = {
        .point = {.base_offset = (int64_t)base_get_le64(buf + 24),
                  .size = base_get_le64(buf + 32),
                  .end_offset = (int64_t)base_get_le64(buf + 40)},
        .first_append_ms = (int64_t)base_get_le64(buf + 48),
        .clean = (base_get_le32(buf + 56) & CHECKPOINT_CLEAN) != 0,
    };
    if (c.point.base_offset < 0 || c.point.end_offset < c.point.base_offset)
        return base_fail(err, VARVE_E_CORRUPT, "checkpoint of offsets %lld to %lld",
                         (long long)c.point.base_offset, (long long)c.point.end_offset);
    *ret = c;
    return 0;
}

int hot_checkpoint_read(struct hot_set *set, struct hot_checkpoint *ret, struct varve_error *err)
{
    void *data;
    size_t size;
    int rc = base_file_read(set->io, set->checkpoint_path, CHECKPOINT_FILE_MAX, &data, &size, err);
    if (rc == VARVE_E_TOO_LARGE)
        return base_fail(err, VARVE_E_CORRUPT, "%s is too large", set->checkpoint_path);
    if (rc < 0)
        return rc;
    rc = hot_checkpoint_decode(data, size, ret, err);
    free(data);
    if (rc < 0)
        return base_error_context(err, rc, "%s", set->checkpoint_path);
    return 0;
}

int hot_checkpoint_write(struct hot_set *set, bool clean, bool force, struct varve_error *err)
{
    struct hot_checkpoint c = {.clean = clean, .first_append_ms = -1};

    base_mutex_lock(&set->append); /* for first_append_ms */
    base_mutex_lock(&set->lock);
    c.point = set->synced; /* K1 */
    struct hot_segment *active = hot_set_active_locked(set);
    if (active && active->base_offset == c.point.base_offset)
        c.first_append_ms = active->first_append_ms;
    base_mutex_unlock(&set->lock);
    base_mutex_unlock(&set->append);

    base_mutex_lock(&set->checkpoint);
    /* Another thread may have written a later one meanwhile. */
    bool later = c.point.end_offset > set->checkpointed.end_offset ||
                 c.point.base_offset > set->checkpointed.base_offset;
    int rc = 0;
    if (later || clean || force) {
        uint8_t buf[HOT_CHECKPOINT_SIZE];
        hot_checkpoint_encode(&c, buf);
        rc = base_file_replace(set->io, set->checkpoint_path, buf, sizeof(buf), true, err);
        if (rc == 0) {
            set->checkpointed = c.point;
            set->checkpoint_ms = set->env->clock->wall_ms(set->env->clock->ctx);
        }
    }
    base_mutex_unlock(&set->checkpoint);
    return rc;
}
