/* Roots, pages and segment objects. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "cold/object.h"
#include "index/root.h"
#include "tools/dump.h"

static const char *id_text(const struct base_id *id)
{
    return tools_dump_hex(id->bytes, BASE_ID_SIZE);
}

static void print_entry(const struct index_entry *e)
{
    printf("  segment %" PRId64 " to %" PRId64 ": %" PRIu64 " bytes stored as %" PRIu64
           ", %s to %s, appended %s\n",
           e->base_offset, e->end_offset, e->segment_size, e->object_size,
           tools_dump_time(e->first_timestamp), tools_dump_time(e->max_timestamp),
           tools_dump_time(e->append_time));
    printf("    epoch %" PRIu32 ", attempt %s, index frame %" PRIu32 " bytes at pos %" PRIu64
           ", object crc32c %08" PRIx32 "%s%s\n",
           e->epoch, id_text(&e->attempt), e->index_size, e->index_pos, e->object_crc32c,
           e->flags & INDEX_ENTRY_ABORTED ? ", aborted ranges" : "",
           e->flags & INDEX_ENTRY_ENCRYPTED ? ", encrypted" : "");
    printf("    sha256 %s\n    chain  %s\n", tools_dump_hex(e->segment_sha256, BASE_SHA256_SIZE),
           tools_dump_hex(e->chain_hash, BASE_SHA256_SIZE));
}

static void print_ref(const struct index_ref *r)
{
    printf("  page of level %" PRIu32 ": offsets %" PRId64 " to %" PRId64 ", %" PRIu64
           " segments, %" PRIu64 " bytes stored as %" PRIu64 ", newest %s, epoch %" PRIu32
           ", attempt %s\n",
           r->level, r->base_offset, r->end_offset, r->segment_count, r->segment_bytes,
           r->object_bytes, tools_dump_time(r->max_timestamp), r->epoch, id_text(&r->attempt));
}

int tools_dump_root(const struct tools_dump *d, struct varve_error *err)
{
    struct index_root r;
    int rc;

    puts("root of a log's manifest");
    rc = index_root_decode(d->data, d->size, &r, err);
    if (rc < 0)
        return rc;
    printf("  log %.*s, id %s%s\n", (int)r.log_name_size, r.log_name, id_text(&r.log_id),
           r.tombstone ? ", deleted (a tombstone)" : "");
    printf("  owner %s, epoch %" PRIu32 "\n", id_text(&r.owner), r.epoch);
    printf("  generation %" PRIu64 ", write %s, created %s\n", r.generation, id_text(&r.write_id),
           tools_dump_time(r.created));
    printf("  log start %" PRId64 ", cold end %" PRId64 ", deleted to %" PRId64 "\n",
           r.start_offset, r.end_offset, r.deleted_to);
    printf("  %" PRIu64 " segments, %" PRIu64 " bytes stored as %" PRIu64 ", newest %s\n",
           r.segment_count, r.segment_bytes, r.object_bytes, tools_dump_time(r.max_timestamp));
    printf("  chain %s\n", tools_dump_hex(r.chain_hash, BASE_SHA256_SIZE));
    if (r.config_size > 0)
        printf("  configuration:\n%.*s", (int)r.config_size, r.config);
    for (size_t i = 0; i < r.epoch_count; i++) {
        struct index_epoch e;

        index_root_epoch(&r, i, &e);
        printf("  epoch %" PRIu32 " from offset %" PRId64 "\n", e.epoch, e.start_offset);
    }
    for (size_t i = 0; i < r.cut_count; i++) {
        struct index_cut c;

        index_root_cut(&r, i, &c);
        printf("  cut at offset %" PRId64 " at %s\n", c.offset, tools_dump_time(c.time));
    }
    for (size_t i = 0; i < r.ref_count; i++) {
        struct index_ref ref;

        index_root_ref(&r, i, &ref);
        print_ref(&ref);
    }
    for (size_t i = 0; i < r.entry_count; i++) {
        struct index_entry e;

        index_root_entry(&r, i, &e);
        print_entry(&e);
    }
    return 0;
}

/* The reference that would name this page, from its header (index/page.c) and its items: a file
 * alone does not have one. */
static int ref_of_page(const struct tools_dump *d, struct index_ref *ret, struct varve_error *err)
{
    struct index_ref ref = {.max_timestamp = INT64_MIN};
    size_t item_size, items_pos;

    if (d->size < 84)
        return base_fail(err, VARVE_E_CORRUPT, "a page of %zu bytes", d->size);
    ref.level = base_get_le32(d->data + 20);
    ref.count = base_get_le32(d->data + 24);
    ref.base_offset = (int64_t)base_get_le64(d->data + 48);
    ref.end_offset = (int64_t)base_get_le64(d->data + 56);
    ref.page_size = (uint32_t)d->size;
    ref.page_crc32c = base_get_le32(d->data + d->size - 4);
    item_size = ref.level == 0 ? INDEX_ENTRY_SIZE : INDEX_REF_SIZE;
    if (ref.count > d->size / item_size)
        return base_fail(err, VARVE_E_CORRUPT, "%" PRIu32 " items do not fit into %zu bytes",
                         ref.count, d->size);
    items_pos = d->size - 4 - ref.count * item_size;
    for (uint32_t i = 0; i < ref.count; i++) {
        const uint8_t *item = d->data + items_pos + i * item_size;
        struct index_entry e;
        struct index_ref r;

        if (ref.level == 0) {
            index_entry_decode(item, &e);
            r = (struct index_ref){.segment_count = 1,
                                   .segment_bytes = e.segment_size,
                                   .object_bytes = e.object_size,
                                   .max_timestamp = e.max_timestamp};
        } else {
            index_ref_decode(item, &r);
        }
        ref.segment_count += r.segment_count;
        ref.segment_bytes += r.segment_bytes;
        ref.object_bytes += r.object_bytes;
        if (r.max_timestamp > ref.max_timestamp)
            ref.max_timestamp = r.max_timestamp;
    }
    *ret = ref;
    return 0;
}

int tools_dump_page(const struct tools_dump *d, struct varve_error *err)
{
    struct index_page page;
    struct base_id log_id;
    struct index_ref ref;
    int rc;

    puts("page of a log's manifest");
    rc = ref_of_page(d, &ref, err);
    if (rc < 0)
        return rc;
    memcpy(log_id.bytes, d->data + 32, BASE_ID_SIZE);
    rc = index_page_decode(d->data, d->size, &ref, &log_id, &page, err);
    if (rc < 0)
        return rc;
    printf("  log id %s, level %" PRIu32 ", %zu items, offsets %" PRId64 " to %" PRId64 "\n",
           id_text(&page.log_id), page.level, page.count, page.base_offset, page.end_offset);
    for (size_t i = 0; i < page.count && !ferror(stdout); i++) {
        struct index_entry e;
        struct index_ref r;

        if (page.level == 0) {
            index_entry_decode(page.items + i * INDEX_ENTRY_SIZE, &e);
            print_entry(&e);
        } else {
            index_ref_decode(page.items + i * INDEX_REF_SIZE, &r);
            print_ref(&r);
        }
    }
    return 0;
}

static void print_object_info(const struct cold_object_info *o)
{
    printf("  log %.*s, id %s, epoch %" PRIu32 ", attempt %s\n", (int)o->log_name_size, o->log_name,
           id_text(&o->log_id), o->epoch, id_text(&o->attempt));
    printf("  offsets %" PRId64 " to %" PRId64 ", %" PRIu64 " bytes of segment\n", o->base_offset,
           o->end_offset - 1, o->segment_size);
    printf("  %s to %s, appended %s\n", tools_dump_time(o->first_timestamp),
           tools_dump_time(o->max_timestamp), tools_dump_time(o->append_time));
    printf("  sha256   %s\n", tools_dump_hex(o->segment_sha256, BASE_SHA256_SIZE));
    printf("  previous %s\n", tools_dump_hex(o->previous_chain_hash, BASE_SHA256_SIZE));
    printf("  chain    %s\n", tools_dump_hex(o->chain_hash, BASE_SHA256_SIZE));
}

/* Each block as the table has it, checked against the bytes that are there. */
static int print_blocks(const struct tools_dump *d, const struct cold_table_view *t,
                        struct varve_error *err)
{
    for (size_t i = 0; i < t->block_count && !ferror(stdout); i++) {
        struct cold_block_info b;

        cold_table_block(t, i, &b);
        printf("  block %zu: pos %" PRIu64 ", %" PRIu32 " bytes stored for %" PRIu32
               ", first offset %" PRId64 ", newest %s, crc32c %08" PRIx32 "\n",
               i, b.pos, b.stored_size, b.raw_size, b.first_offset,
               tools_dump_time(b.max_timestamp), b.crc32c);
        if (b.pos > d->size || b.stored_size > d->size - b.pos)
            return base_fail(err, VARVE_E_CORRUPT, "block %zu lies beyond the end", i);
        if (base_crc32c(0, d->data + b.pos, b.stored_size) != b.crc32c)
            return base_fail(err, VARVE_E_CORRUPT, "block %zu: wrong checksum", i);
    }
    return 0;
}

int tools_dump_object(const struct tools_dump *d, struct varve_error *err)
{
    struct cold_index_view v;
    uint64_t pos;
    uint32_t size;
    int rc;

    puts("segment object");
    rc = cold_object_find_index(
        d->data + (d->size > COLD_TAIL_PROBE ? d->size - COLD_TAIL_PROBE : 0),
        d->size > COLD_TAIL_PROBE ? COLD_TAIL_PROBE : d->size, d->size, &pos, &size, err);
    if (rc == 0 && (pos > d->size || size > d->size - pos))
        rc = base_fail(err, VARVE_E_CORRUPT, "the index frame lies beyond the end");
    if (rc == 0)
        rc = cold_index_decode(d->data + pos, size, &v, err);
    if (rc < 0)
        return rc;
    print_object_info(&v.table.info);
    printf("  index frame: %" PRIu32 " bytes at pos %" PRIu64 "; sparse index %zu bytes, %zu "
           "producers, %zu aborted ranges\n",
           size, pos, v.sparse_size, v.producer_count, v.aborted_count);
    rc = print_blocks(d, &v.table, err);
    for (size_t i = 0; rc == 0 && i < v.producer_count && !ferror(stdout); i++) {
        struct cold_producer p;

        cold_index_producer(&v, i, &p);
        printf("  producer %" PRId64 ": epoch %d, sequence %" PRId32 ", offset %" PRId64 ", %s\n",
               p.producer_id, p.producer_epoch, p.last_sequence, p.last_offset,
               tools_dump_time(p.last_timestamp));
    }
    return rc;
}
