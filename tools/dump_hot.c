/* What lies in a log's local directory, in the cache and in a store's settings. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "index/sparse.h"
#include "record/codec.h"
#include "record/iterator.h"
#include "tiering/journal.h"
#include "tools/dump.h"

#define DECOMPRESSED_MAX ((size_t)1 << 30) /* of one batch */
#define SETTINGS_VERSION_MAX 1000          /* the names are shown whatever they mean */

static int print_records(struct record_iterator *it, const void *data,
                         const struct record_batch *batch, struct varve_error *err)
{
    struct varve_record r;
    int rc = record_iterator_start(it, data, batch, DECOMPRESSED_MAX, err);

    while (rc == 0 && !ferror(stdout) && (rc = record_iterator_next(it, &r, err)) == 0) {
        printf("    %" PRId64 " %s", r.offset, tools_dump_time(r.timestamp));
        tools_dump_text("key", r.key, r.key_size);
        tools_dump_text("value", r.value, r.value_size);
        for (size_t i = 0; i < r.header_count; i++) {
            printf(" header %.*s", (int)r.headers[i].name_size, r.headers[i].name);
            tools_dump_text("", r.headers[i].value, r.headers[i].value_size);
        }
        putchar('\n');
    }
    return rc == VARVE_E_END ? 0 : rc;
}

static void print_batch(size_t pos, const struct record_batch *b)
{
    printf("  pos %zu: offsets %" PRId64 " to %" PRId64 ", %" PRId32 " records, %" PRIu32
           " bytes, %s, %s to %s, epoch %" PRId32 ", crc32c %08" PRIx32,
           pos, b->base_offset, b->last_offset, b->record_count, b->size,
           record_codec_name(b->codec), tools_dump_time(b->base_timestamp),
           tools_dump_time(b->max_timestamp), b->leader_epoch, b->crc);
    if (b->producer_id >= 0)
        printf(", producer %" PRId64 " epoch %d sequence %" PRId32, b->producer_id,
               b->producer_epoch, b->base_sequence);
    if (b->transactional)
        fputs(", transactional", stdout);
    if (b->control)
        fputs(", control", stdout);
    putchar('\n');
}

int tools_dump_segment(const struct tools_dump *d, struct varve_error *err)
{
    struct record_iterator *it = NULL;
    uint64_t batches = 0, records = 0;
    struct record_batch b;
    size_t pos = 0;
    int rc = 0;

    puts("segment: record batches v2");
    if (d->records)
        rc = record_iterator_new(&it, err);
    while (rc == 0 && pos < d->size && !ferror(stdout)) {
        rc = record_batch_check(d->data + pos, d->size - pos, &b, err);
        if (rc < 0) {
            base_error_context(err, rc, "pos %zu", pos);
            break;
        }
        print_batch(pos, &b);
        if (d->records)
            rc = print_records(it, d->data + pos, &b, err);
        batches++;
        records += (uint64_t)b.record_count;
        pos += b.size;
    }
    printf("  %" PRIu64 " batches, %" PRIu64 " records, %zu of %zu bytes\n", batches, records, pos,
           d->size);
    record_iterator_free(it);
    return rc;
}

int tools_dump_sparse(const struct tools_dump *d, struct varve_error *err)
{
    int64_t base_offset = d->size >= 24 ? (int64_t)base_get_le64(d->data + 16) : 0;
    struct index_sparse s;
    int rc;

    puts("sparse index");
    rc = index_sparse_init(&s, d->data, d->size, base_offset, err);
    if (rc < 0)
        return rc;
    printf("  base offset %" PRId64 ", %zu entries\n", base_offset, s.count);
    for (size_t i = 0; i < s.count && !ferror(stdout); i++) {
        struct index_sparse_entry e;

        rc = index_sparse_get(&s, i, &e, err);
        if (rc < 0)
            return base_error_context(err, rc, "entry %zu", i);
        printf("  pos %" PRIu32 ", %" PRIu32 " bytes: offsets %" PRId64 " to %" PRId64
               ", newest %s\n",
               e.pos, e.size, e.first_offset, e.end_offset - 1, tools_dump_time(e.max_timestamp));
    }
    return index_sparse_check(&s, err);
}

/* Fields whose places are in the byte table of hot/checkpoint.c. */
int tools_dump_checkpoint(const struct tools_dump *d, struct varve_error *err)
{
    const uint8_t *p = d->data;

    puts("checkpoint of a log's hot segments");
    if (d->size < 64)
        return base_fail(err, VARVE_E_CORRUPT, "a checkpoint of %zu bytes", d->size);
    if (base_get_le32(p + 60) != base_crc32c(0, p, 60))
        return base_fail(err, VARVE_E_CORRUPT, "wrong checksum");
    printf("  version %" PRIu32 "\n", base_get_le32(p + 8));
    printf("  segment %020" PRIu64 ".log is good and synced to pos %" PRIu64
           ", where offset %" PRIu64 " follows\n",
           base_get_le64(p + 24), base_get_le64(p + 32), base_get_le64(p + 40));
    printf("  its first append %s\n", tools_dump_time((int64_t)base_get_le64(p + 48)));
    printf("  the writer %s\n", base_get_le32(p + 56) & 1 ? "closed the log" : "went on");
    return 0;
}

/* Likewise, hot/publish.c. */
int tools_dump_published(const struct tools_dump *d, struct varve_error *err)
{
    static const char *const states[] = {"none", "recovering", "live", "closed", "failed"};
    const uint8_t *p = d->data;
    uint64_t state;

    puts("published: what a log's writer shows to readers");
    if (d->size < 232)
        return base_fail(err, VARVE_E_CORRUPT, "a published file of %zu bytes", d->size);
    if (base_get_le32(p + 24) != base_crc32c(0, p, 24))
        return base_fail(err, VARVE_E_CORRUPT, "wrong header checksum");
    printf("  version %" PRIu32 ", root generation %" PRIu64 ", sequence %" PRIu64 "\n",
           base_get_le32(p + 8), base_get_le64(p + 64), base_get_le64(p + 128));
    state = base_get_le64(p + 136);
    printf("  writer %s\n", state < 5 ? states[state] : "?");
    printf("  floor %" PRIu64 "\n", base_get_le64(p + 152));
    printf("  visible to offset %" PRIu64 ", pos %" PRIu64 " of segment %020" PRIu64 ".log\n",
           base_get_le64(p + 176), base_get_le64(p + 168), base_get_le64(p + 160));
    printf("  synced to offset %" PRIu64 ", pos %" PRIu64 " of segment %020" PRIu64 ".log\n",
           base_get_le64(p + 200), base_get_le64(p + 192), base_get_le64(p + 184));
    if (base_get_le64(p + 224) != base_crc32c(0, p + 136, 88))
        return base_fail(err, VARVE_E_CORRUPT,
                         "the publication's checksum is wrong, or a writer was changing it");
    return 0;
}

/* Likewise, cold/cache.c. */
#define CACHE_ENTRY_SIZE 48

int tools_dump_cache(const struct tools_dump *d, struct varve_error *err)
{
    const uint8_t *p = d->data;
    uint64_t table, used = 0, values = 0, damaged = 0, bytes = 0;
    uint32_t slots;

    puts("cache of blocks or of block tables");
    if (d->size < 64 || base_get_le32(p + 60) != base_crc32c(0, p, 60))
        return base_fail(err, VARVE_E_CORRUPT, "wrong header checksum");
    slots = base_get_le32(p + 28);
    table = base_get_le64(p + 32);
    printf("  version %" PRIu32 ", %" PRIu32 " slots of %" PRIu32 " bytes from pos %" PRIu64 "\n",
           base_get_le32(p + 8), slots, base_get_le32(p + 24), base_get_le64(p + 40));
    if (table > d->size || (uint64_t)slots * CACHE_ENTRY_SIZE > d->size - table)
        return base_fail(err, VARVE_E_CORRUPT, "the file is shorter than its table");
    for (uint32_t i = 0; i < slots; i++) {
        const uint8_t *e = p + table + (uint64_t)i * CACHE_ENTRY_SIZE;
        static const uint8_t zeros[CACHE_ENTRY_SIZE];
        uint8_t number[4];

        if (memcmp(e, zeros, sizeof(zeros)) == 0)
            continue;
        base_put_le32(number, i);
        if (base_get_le32(e + 44) != base_crc32c(base_crc32c(0, number, 4), e, 44)) {
            damaged++;
            continue;
        }
        used++;
        if (base_get_le32(e + 32) != 0)
            continue;
        values++;
        bytes += base_get_le32(e + 20);
        if (d->records)
            printf("  slot %" PRIu32 ": object %s, number %" PRIu32 ", %" PRIu32 " bytes\n", i,
                   tools_dump_hex(e, 16), base_get_le32(e + 16), base_get_le32(e + 20));
    }
    printf("  %" PRIu64 " values of %" PRIu64 " bytes in %" PRIu64 " slots\n", values, bytes, used);
    if (damaged > 0)
        return base_fail(err, VARVE_E_CORRUPT, "%" PRIu64 " damaged entries (they count as free)",
                         damaged);
    return 0;
}

static void print_setting(void *arg, const char *name, const char *value)
{
    (void)arg;
    printf("  %s = %s\n", name, value);
}

int tools_dump_settings(const struct tools_dump *d, struct varve_error *err)
{
    struct base_settings *s;
    char magic[64];
    size_t size = 0;
    int rc;

    while (size < d->size && size < sizeof(magic) - 1 && d->data[size] > ' ')
        size++;
    memcpy(magic, d->data, size);
    magic[size] = '\0';
    printf("settings of a %s\n", magic);
    rc = base_settings_decode(d->data, d->size, magic, SETTINGS_VERSION_MAX, &s, err);
    if (rc < 0)
        return rc;
    base_settings_each(s, print_setting, NULL);
    base_settings_free(s);
    return 0;
}

static int print_line(void *arg, const struct tiering_journal_line *line)
{
    (void)arg;
    switch (line->kind) {
    case TIERING_JOURNAL_BEGIN:
        printf(
            "  upload %u: offsets %" PRId64 " to %" PRId64 ", segment of %" PRIu64
            " bytes, epoch %u, attempt %s\n    key %.*s\n    upload id %s\n    parts of %u bytes, "
            "blocks of %u, index every %u, zstd %u level %d\n",
            line->sequence, line->what.base_offset, line->what.end_offset, line->what.segment_size,
            line->what.epoch, tools_dump_hex(line->attempt.bytes, sizeof(line->attempt.bytes)),
            (int)line->key_size, line->key,
            line->upload.id[0] != '\0' ? line->upload.id : "not known: the store was asked",
            line->what.part_bytes, line->what.block_bytes, line->what.index_interval_bytes,
            line->what.compressor_version, line->what.compression_level);
        break;
    case TIERING_JOURNAL_PART:
        printf("  upload %u: part %u stored, %" PRIu64 " bytes, crc %08" PRIx32 ", ETag %s\n",
               line->sequence, line->part.number, line->part.size, line->crc32c,
               line->part.etag.text);
        break;
    case TIERING_JOURNAL_END:
        printf("  upload %u: over\n", line->sequence);
        break;
    }
    return 0;
}

int tools_dump_uploads(const struct tools_dump *d, struct varve_error *err)
{
    size_t valid;

    printf("journal of unfinished multipart uploads, %zu bytes\n", d->size);
    return tiering_journal_decode(d->data, d->size, print_line, NULL, &valid, err);
}
