/*
 * FORMAT of `uploads` (little-endian)
 *
 *    pos  size  header
 *      0     8  magic "VARVUPLD"
 *      8     4  version, 1
 *     12     4  header size, 64
 *     16     4  features that a reader may ignore
 *     20     4  features that a reader must understand, 0
 *     24     4  CRC32C of bytes 0 to 23
 *     28    36  zero
 *
 * then lines, each a multiple of 8 bytes:
 *
 *      0     4  size of the line
 *      4     4  CRC32C of its bytes from 8 on
 *      8     4  kind: 1 begin, 2 part, 3 end
 *     12     4  sequence: number of the upload in this file, from 1
 *   begin:
 *     16    16  attempt id
 *     32     8  base offset of the segment
 *     40     8  end offset
 *     48     8  size of the segment
 *     56     4  epoch
 *     60     4  bytes of a part
 *     64     4  bytes of a block
 *     68     4  bytes between two index entries
 *     72     4  compression level, signed
 *     76     4  version of the zstd library
 *     80     2  size of the key
 *     82     2  size of the upload id, 0: the store was asked, and may have begun any number
 *     84     4  zero
 *     88        key, upload id, zeros
 *   part:
 *     16     4  part number
 *     20     4  CRC32C of the part
 *     24     8  size of the part
 *     32     2  size of the ETag
 *     34     6  zero
 *     40        ETag, zeros
 *
 * VALID: the header is right; a line is right when its checksum matches, its sizes fit, a begin has
 * the next sequence, and the others one that was begun. What follows the first line that is not
 * right does not exist.
 *
 * INVARIANTS
 *   J1  A begin without an id is written before the store is asked, one with it before the first
 *       part is sent, a part's line after the store has confirmed it: what the journal says was so,
 *       and what may be there has its key in it.
 *   J2  An upload without an end may be gone on with by one process only, the log's writer, and
 *       counts as one of its upload table (I10).
 *   J3  When the last unfinished upload ends the file is emptied: it holds one batch.
 */
#include "tiering/journal.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "base/thread.h"

#define JOURNAL_VERSION 1
#define JOURNAL_HEADER_SIZE 64
#define LINE_HEADER_SIZE 16
#define BEGIN_SIZE 88
#define PART_SIZE 40
/* Where no upload is begun any more there is room for the parts of those under way. */
#define FILE_BYTES_MAX (2 * TIERING_JOURNAL_BYTES_MAX)
#define PARTS_BYTES_MAX (FILE_BYTES_MAX - LINE_SIZE_MAX)
#define LINE_SIZE_MAX ((BEGIN_SIZE + COLD_KEY_MAX + COLD_UPLOAD_ID_MAX + 7) / 8 * 8)

static const uint8_t journal_magic[8] = "VARVUPLD";
static_assert(PART_SIZE + COLD_ETAG_MAX + 7 <= LINE_SIZE_MAX, "a begin is the longest line");

struct tiering_journal {
    const struct base_env *env;
    char *path;
    struct base_mutex lock; /* protects the rest */
    struct tiering_journal_entry *entries;
    int fd;            /* -1: not open */
    uint64_t size;     /* valid bytes of the file; 0: it has no header */
    uint32_t sequence; /* the last one given */
    bool told;         /* that it cannot be written */
};

/* Encoding. */

static void header_encode(uint8_t buf[JOURNAL_HEADER_SIZE])
{
    memset(buf, 0, JOURNAL_HEADER_SIZE);
    memcpy(buf, journal_magic, sizeof(journal_magic));
    base_put_le32(buf + 8, JOURNAL_VERSION);
    base_put_le32(buf + 12, JOURNAL_HEADER_SIZE);
    base_put_le32(buf + 24, base_crc32c(0, buf, 24));
}

/* The size of the line, padded; `buf` has its kind's fields. */
static size_t line_finish(uint8_t *buf, enum tiering_journal_kind kind, uint32_t sequence,
                          size_t size)
{
    size_t whole = (size + 7) / 8 * 8;

    base_put_le32(buf, (uint32_t)whole);
    base_put_le32(buf + 8, kind);
    base_put_le32(buf + 12, sequence);
    base_put_le32(buf + 4, base_crc32c(0, buf + 8, whole - 8));
    return whole;
}

static size_t begin_encode(const struct tiering_journal_entry *e, uint8_t buf[LINE_SIZE_MAX])
{
    size_t key_size = strlen(e->key), id_size = strlen(e->upload.id);

    memset(buf, 0, LINE_SIZE_MAX);
    memcpy(buf + 16, e->attempt.bytes, sizeof(e->attempt.bytes));
    base_put_le64(buf + 32, (uint64_t)e->what.base_offset);
    base_put_le64(buf + 40, (uint64_t)e->what.end_offset);
    base_put_le64(buf + 48, e->what.segment_size);
    base_put_le32(buf + 56, e->what.epoch);
    base_put_le32(buf + 60, e->what.part_bytes);
    base_put_le32(buf + 64, e->what.block_bytes);
    base_put_le32(buf + 68, e->what.index_interval_bytes);
    base_put_le32(buf + 72, (uint32_t)e->what.compression_level);
    base_put_le32(buf + 76, e->what.compressor_version);
    base_put_le16(buf + 80, (uint16_t)key_size);
    base_put_le16(buf + 82, (uint16_t)id_size);
    memcpy(buf + BEGIN_SIZE, e->key, key_size);
    memcpy(buf + BEGIN_SIZE + key_size, e->upload.id, id_size);
    return line_finish(buf, TIERING_JOURNAL_BEGIN, e->sequence, BEGIN_SIZE + key_size + id_size);
}

static size_t part_encode(uint32_t sequence, const struct cold_part *part, uint32_t crc32c,
                          uint8_t buf[LINE_SIZE_MAX])
{
    size_t etag_size = strlen(part->etag.text);

    memset(buf, 0, LINE_SIZE_MAX);
    base_put_le32(buf + 16, part->number);
    base_put_le32(buf + 20, crc32c);
    base_put_le64(buf + 24, part->size);
    base_put_le16(buf + 32, (uint16_t)etag_size);
    memcpy(buf + PART_SIZE, part->etag.text, etag_size);
    return line_finish(buf, TIERING_JOURNAL_PART, sequence, PART_SIZE + etag_size);
}

static size_t end_encode(uint32_t sequence, uint8_t buf[LINE_SIZE_MAX])
{
    return line_finish(buf, TIERING_JOURNAL_END, sequence, LINE_HEADER_SIZE);
}

/* Decoding. */

static int header_decode(const uint8_t *buf, size_t size, size_t *ret_size, struct varve_error *err)
{
    uint32_t header_size;

    if (size < JOURNAL_HEADER_SIZE || memcmp(buf, journal_magic, sizeof(journal_magic)) != 0)
        return base_fail(err, VARVE_E_CORRUPT, "not a journal of uploads (magic)");
    if (base_get_le32(buf + 24) != base_crc32c(0, buf, 24))
        return base_fail(err, VARVE_E_CORRUPT, "journal of uploads: wrong header checksum");
    if (base_get_le32(buf + 8) != JOURNAL_VERSION || base_get_le32(buf + 20) != 0)
        return base_fail(err, VARVE_E_VERSION, "journal of uploads: version %u, features %#x",
                         base_get_le32(buf + 8), base_get_le32(buf + 20));
    header_size = base_get_le32(buf + 12);
    if (header_size < JOURNAL_HEADER_SIZE || header_size > size || header_size % 8 != 0)
        return base_fail(err, VARVE_E_CORRUPT, "journal of uploads: header of %u bytes",
                         header_size);
    *ret_size = header_size;
    return 0;
}

static bool begin_decode(const uint8_t *buf, size_t size, struct tiering_journal_line *ret)
{
    size_t id_size;

    if (size < BEGIN_SIZE)
        return false;
    memcpy(ret->attempt.bytes, buf + 16, sizeof(ret->attempt.bytes));
    ret->what = (struct tiering_journal_what){
        .base_offset = (int64_t)base_get_le64(buf + 32),
        .end_offset = (int64_t)base_get_le64(buf + 40),
        .segment_size = base_get_le64(buf + 48),
        .epoch = base_get_le32(buf + 56),
        .part_bytes = base_get_le32(buf + 60),
        .block_bytes = base_get_le32(buf + 64),
        .index_interval_bytes = base_get_le32(buf + 68),
        .compression_level = (int32_t)base_get_le32(buf + 72),
        .compressor_version = base_get_le32(buf + 76),
    };
    ret->key = (const char *)buf + BEGIN_SIZE;
    ret->key_size = base_get_le16(buf + 80);
    id_size = base_get_le16(buf + 82);
    if (ret->key_size == 0 || ret->key_size > COLD_KEY_MAX || id_size > COLD_UPLOAD_ID_MAX ||
        BEGIN_SIZE + ret->key_size + id_size > size ||
        memchr(ret->key, '\0', ret->key_size + id_size) || ret->what.base_offset < 0 ||
        ret->what.end_offset <= ret->what.base_offset)
        return false;
    memcpy(ret->upload.id, ret->key + ret->key_size, id_size);
    ret->upload.id[id_size] = '\0';
    return true;
}

static bool part_decode(const uint8_t *buf, size_t size, struct tiering_journal_line *ret)
{
    size_t etag_size;

    if (size < PART_SIZE)
        return false;
    ret->part.number = base_get_le32(buf + 16);
    ret->crc32c = base_get_le32(buf + 20);
    ret->part.size = base_get_le64(buf + 24);
    etag_size = base_get_le16(buf + 32);
    if (ret->part.number == 0 || ret->part.number > TIERING_JOURNAL_PARTS_MAX ||
        etag_size > COLD_ETAG_MAX || PART_SIZE + etag_size > size ||
        memchr(buf + PART_SIZE, '\0', etag_size))
        return false;
    memcpy(ret->part.etag.text, buf + PART_SIZE, etag_size);
    ret->part.etag.text[etag_size] = '\0';
    return true;
}

/* The size of the line at `buf`, 0: it is not right. */
static size_t line_decode(const uint8_t *buf, size_t size, uint32_t begun,
                          struct tiering_journal_line *ret)
{
    size_t whole = size < LINE_HEADER_SIZE ? 0 : base_get_le32(buf);
    bool right;

    if (whole < LINE_HEADER_SIZE || whole > size || whole > LINE_SIZE_MAX || whole % 8 != 0 ||
        base_get_le32(buf + 4) != base_crc32c(0, buf + 8, whole - 8))
        return 0;
    ret->sequence = base_get_le32(buf + 12);
    switch (base_get_le32(buf + 8)) {
    case TIERING_JOURNAL_BEGIN:
        ret->kind = TIERING_JOURNAL_BEGIN;
        right = ret->sequence == begun + 1 && begin_decode(buf, whole, ret);
        break;
    case TIERING_JOURNAL_PART:
        ret->kind = TIERING_JOURNAL_PART;
        right = ret->sequence > 0 && ret->sequence <= begun && part_decode(buf, whole, ret);
        break;
    case TIERING_JOURNAL_END:
        ret->kind = TIERING_JOURNAL_END;
        right = ret->sequence > 0 && ret->sequence <= begun;
        break;
    default:
        right = false;
    }
    return right ? whole : 0;
}

int tiering_journal_decode(const void *data, size_t size,
                           int (*visit)(void *arg, const struct tiering_journal_line *line),
                           void *arg, size_t *ret_size, struct varve_error *err)
{
    const uint8_t *buf = data;
    uint32_t begun = 0;
    size_t pos = 0;
    int rc;

    *ret_size = 0;
    rc = header_decode(buf, size, &pos, err);
    while (rc == 0 && pos < size) {
        struct tiering_journal_line line = {0};
        size_t whole = line_decode(buf + pos, size - pos, begun, &line);

        if (whole == 0) {
            rc =
                base_fail(err, VARVE_E_CORRUPT, "journal of uploads: damaged at position %zu", pos);
            break;
        }
        if (line.kind == TIERING_JOURNAL_BEGIN)
            begun = line.sequence;
        rc = visit(arg, &line);
        if (rc == 0)
            pos += whole;
    }
    *ret_size = pos;
    return rc;
}

/* Entries. */

static void entry_free(struct tiering_journal_entry *e)
{
    if (!e)
        return;
    free(e->key);
    free(e->parts);
    free(e);
}

static bool entry_note(struct tiering_journal_entry *e, const struct cold_part *part,
                       uint32_t crc32c)
{
    if (part->number > e->part_count) {
        struct tiering_journal_part *grown = realloc(e->parts, part->number * sizeof(*grown));

        if (!grown)
            return false;
        memset(grown + e->part_count, 0, (part->number - e->part_count) * sizeof(*grown));
        e->parts = grown;
        e->part_count = part->number;
    }
    e->parts[part->number - 1] = (struct tiering_journal_part){.part = *part, .crc32c = crc32c};
    return true;
}

static void entry_unlink(struct tiering_journal *j, struct tiering_journal_entry *entry)
{
    struct tiering_journal_entry **at = &j->entries;

    while (*at && *at != entry)
        at = &(*at)->next;
    assert(*at);
    *at = entry->next;
}

static int entry_add(struct tiering_journal *j, const struct tiering_journal_line *line)
{
    struct tiering_journal_entry **at = &j->entries, *e = calloc(1, sizeof(*e));

    if (!e)
        return VARVE_E_NO_MEMORY;
    e->key = strndup(line->key, line->key_size);
    if (!e->key) {
        free(e);
        return VARVE_E_NO_MEMORY;
    }
    e->sequence = line->sequence;
    e->attempt = line->attempt;
    e->what = line->what;
    e->upload = line->upload;
    while (*at)
        at = &(*at)->next;
    *at = e;
    return 0;
}

static int load_line(void *arg, const struct tiering_journal_line *line)
{
    struct tiering_journal *j = arg;
    struct tiering_journal_entry *e = j->entries;

    if (line->kind == TIERING_JOURNAL_BEGIN) {
        j->sequence = line->sequence;
        return entry_add(j, line);
    }
    while (e && e->sequence != line->sequence)
        e = e->next;
    if (!e) /* of an upload that has ended */
        return 0;
    if (line->kind == TIERING_JOURNAL_PART)
        return entry_note(e, &line->part, line->crc32c) ? 0 : VARVE_E_NO_MEMORY;
    entry_unlink(j, e);
    entry_free(e);
    return 0;
}

/* The file. With the lock held. */

static void told_once(struct tiering_journal *j, const struct varve_error *why)
{
    if (!j->told)
        base_log(&j->env->logger, BASE_LOG_WARNING,
                 "%s; uploads go on, and one that is interrupted is begun again", why->msg);
    j->told = true;
}

static void file_close(struct tiering_journal *j)
{
    if (j->fd >= 0)
        j->env->io->close(j->env->io->ctx, j->fd);
    j->fd = -1;
}

static int file_truncate(struct tiering_journal *j, uint64_t size, struct varve_error *err)
{
    int rc = j->env->io->ftruncate(j->env->io->ctx, j->fd, (int64_t)size);

    return rc < 0 ? base_fail_errno(err, rc, "truncate %s", j->path) : 0;
}

/* Opens it, and cuts off what is not valid, so that no line is followed by old bytes. */
static int file_prepare(struct tiering_journal *j, struct varve_error *err)
{
    uint8_t header[JOURNAL_HEADER_SIZE];
    int rc = 0;

    if (j->fd < 0) {
        j->fd = j->env->io->open(j->env->io->ctx, j->path, O_RDWR | O_CREAT, 0666);
        if (j->fd < 0) {
            rc = base_fail_errno(err, j->fd, "open %s", j->path);
            j->fd = -1;
            return rc;
        }
        rc = file_truncate(j, j->size, err);
    }
    if (rc == 0 && j->size == 0) {
        header_encode(header);
        rc = base_io_pwrite_full(j->env->io, j->fd, header, sizeof(header), 0, j->path, err);
        if (rc == 0)
            j->size = sizeof(header);
    }
    if (rc < 0)
        file_close(j);
    return rc;
}

/* After a failure the file is opened and cut again, so half a line is not in the way. */
static int file_append(struct tiering_journal *j, const uint8_t *line, size_t size,
                       struct varve_error *err)
{
    int rc = file_prepare(j, err);

    if (rc == 0)
        rc = base_io_pwrite_full(j->env->io, j->fd, line, size, (int64_t)j->size, j->path, err);
    if (rc == 0)
        j->size += size;
    else
        file_close(j);
    return rc;
}

/* J3. Where that fails the next begin cuts it off; a process that reads it before is told by the
 * store that these uploads are over. */
static void file_reset(struct tiering_journal *j)
{
    struct varve_error err;
    int rc;

    j->size = 0;
    j->sequence = 0;
    rc = j->fd < 0 ? file_prepare(j, &err) : file_truncate(j, 0, &err);
    if (rc < 0) {
        told_once(j, &err);
        file_close(j);
    }
}

static void load(struct tiering_journal *j, const void *data, size_t size, struct varve_error *err)
{
    size_t valid;
    int rc = tiering_journal_decode(data, size, load_line, j, &valid, err);

    j->size = valid;
    if (rc < 0)
        base_log(&j->env->logger, BASE_LOG_WARNING,
                 "%s: %s; unfinished uploads that it named are found by collection only", j->path,
                 rc == VARVE_E_NO_MEMORY ? "out of memory" : err->msg);
}

int tiering_journal_open(const struct base_env *env, const char *path, struct tiering_journal **ret,
                         struct varve_error *err)
{
    struct tiering_journal *j = calloc(1, sizeof(*j));
    struct varve_error why = {0};
    void *data = NULL;
    size_t size = 0;
    int rc;

    if (!j)
        return base_fail(err, VARVE_E_NO_MEMORY, "open %s: out of memory", path);
    j->env = env;
    j->fd = -1;
    base_mutex_init(&j->lock);
    j->path = strdup(path);
    if (!j->path) {
        tiering_journal_close(j);
        return base_fail(err, VARVE_E_NO_MEMORY, "open %s: out of memory", path);
    }
    rc = base_file_read(env->io, path, FILE_BYTES_MAX, &data, &size, &why);
    if (rc == 0 && size > 0)
        load(j, data, size, &why);
    else if (rc < 0 && rc != VARVE_E_NOT_FOUND)
        base_log(&env->logger, BASE_LOG_WARNING,
                 "%s; unfinished uploads that it names are found by collection only", why.msg);
    free(data);
    *ret = j;
    return 0;
}

struct tiering_journal *tiering_journal_close(struct tiering_journal *j)
{
    if (!j)
        return NULL;
    while (j->entries) {
        struct tiering_journal_entry *e = j->entries;

        j->entries = e->next;
        entry_free(e);
    }
    file_close(j);
    base_mutex_deinit(&j->lock);
    free(j->path);
    free(j);
    return NULL;
}

/* Uploads. */

/* `upload` may be NULL. */
static struct tiering_journal_entry *entry_begin(struct tiering_journal *j,
                                                 const struct tiering_journal_what *what,
                                                 const struct base_id *attempt, const char *key,
                                                 const struct cold_upload *upload)
{
    struct tiering_journal_entry *e = calloc(1, sizeof(*e));
    uint8_t line[LINE_SIZE_MAX];
    struct varve_error err;

    if (e)
        e->key = strdup(key);
    if (!e || !e->key) {
        free(e);
        return NULL;
    }
    e->what = *what;
    e->attempt = *attempt;
    if (upload)
        e->upload = *upload;
    e->live = true;
    base_mutex_lock(&j->lock);
    e->sequence = j->sequence + 1;
    if (j->size > TIERING_JOURNAL_BYTES_MAX ||
        file_append(j, line, begin_encode(e, line), &err) < 0) {
        if (j->size <= TIERING_JOURNAL_BYTES_MAX)
            told_once(j, &err);
        base_mutex_unlock(&j->lock);
        entry_free(e);
        return NULL;
    }
    j->sequence++;
    e->next = j->entries;
    j->entries = e;
    base_mutex_unlock(&j->lock);
    return e;
}

struct tiering_journal_entry *tiering_journal_ask(struct tiering_journal *j,
                                                  const struct tiering_journal_what *what,
                                                  const struct base_id *attempt, const char *key)
{
    return entry_begin(j, what, attempt, key, NULL);
}

struct tiering_journal_entry *tiering_journal_begin(struct tiering_journal *j,
                                                    struct tiering_journal_entry *asked,
                                                    const struct cold_upload *upload)
{
    struct tiering_journal_entry *e;

    if (!asked)
        return NULL;
    e = entry_begin(j, &asked->what, &asked->attempt, asked->key, upload);
    if (!e)
        return asked;
    tiering_journal_end(j, asked);
    return e;
}

void tiering_journal_part(struct tiering_journal *j, struct tiering_journal_entry *entry,
                          const struct cold_part *part, uint32_t crc32c)
{
    uint8_t line[LINE_SIZE_MAX];
    struct varve_error err;

    base_mutex_lock(&j->lock);
    if (part->number <= TIERING_JOURNAL_PARTS_MAX && j->size <= PARTS_BYTES_MAX &&
        entry_note(entry, part, crc32c) &&
        file_append(j, line, part_encode(entry->sequence, part, crc32c, line), &err) < 0)
        told_once(j, &err);
    base_mutex_unlock(&j->lock);
}

void tiering_journal_end(struct tiering_journal *j, struct tiering_journal_entry *entry)
{
    uint8_t line[LINE_SIZE_MAX];
    struct varve_error err;

    if (!entry)
        return;
    base_mutex_lock(&j->lock);
    entry_unlink(j, entry);
    if (!j->entries)
        file_reset(j);
    else if (file_append(j, line, end_encode(entry->sequence, line), &err) < 0)
        told_once(j, &err);
    base_mutex_unlock(&j->lock);
    entry_free(entry);
}

void tiering_journal_leave(struct tiering_journal *j, struct tiering_journal_entry *entry)
{
    base_mutex_lock(&j->lock);
    entry->live = false;
    base_mutex_unlock(&j->lock);
}

bool tiering_journal_same(const struct tiering_journal_what *a,
                          const struct tiering_journal_what *b)
{
    return a->base_offset == b->base_offset && a->end_offset == b->end_offset &&
           a->segment_size == b->segment_size && a->epoch == b->epoch &&
           a->part_bytes == b->part_bytes && a->block_bytes == b->block_bytes &&
           a->index_interval_bytes == b->index_interval_bytes &&
           a->compression_level == b->compression_level &&
           a->compressor_version == b->compressor_version;
}

struct wanted {
    const struct tiering_journal_what *what;
    const char *prefix;
};

static bool is_of(void *ctx, const struct tiering_journal_entry *entry)
{
    const struct wanted *w = ctx;

    return entry->upload.id[0] != '\0' && tiering_journal_same(&entry->what, w->what) &&
           strncmp(entry->key, w->prefix, strlen(w->prefix)) == 0;
}

struct tiering_journal_entry *
tiering_journal_take_if(struct tiering_journal *j,
                        bool (*unwanted)(void *ctx, const struct tiering_journal_entry *entry),
                        void *ctx)
{
    struct tiering_journal_entry *e;

    base_mutex_lock(&j->lock);
    e = j->entries;
    while (e && (e->live || !unwanted(ctx, e)))
        e = e->next;
    if (e)
        e->live = true;
    base_mutex_unlock(&j->lock);
    return e;
}

struct tiering_journal_entry *tiering_journal_take(struct tiering_journal *j,
                                                   const struct tiering_journal_what *what,
                                                   const char *prefix)
{
    struct wanted w = {what, prefix};

    return tiering_journal_take_if(j, is_of, &w);
}

bool tiering_journal_names(struct tiering_journal *j, const struct base_id *attempt)
{
    const struct tiering_journal_entry *e;

    base_mutex_lock(&j->lock);
    e = j->entries;
    while (e && !base_id_equal(&e->attempt, attempt))
        e = e->next;
    base_mutex_unlock(&j->lock);
    return e != NULL;
}

unsigned tiering_journal_left(struct tiering_journal *j)
{
    unsigned left = 0;

    base_mutex_lock(&j->lock);
    for (const struct tiering_journal_entry *e = j->entries; e; e = e->next)
        left += !e->live;
    base_mutex_unlock(&j->lock);
    return left;
}
