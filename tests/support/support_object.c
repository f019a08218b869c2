#include "tests/support/support_object.h"

#include <assert.h>
#include <stdlib.h>

#include "record/builder.h"

#define INDEX_INTERVAL_BYTES 4096

struct base_id support_id(uint64_t number)
{
    struct base_id id;

    base_put_be64(id.bytes, number * 0x9e3779b97f4a7c15u);
    base_put_be64(id.bytes + 8, number);
    return id;
}

void support_object_init(struct support_object *o, const char *log_name,
                         const struct base_id *log_id, int64_t base_offset)
{
    *o = (struct support_object){.log_name = log_name,
                                 .log_id = *log_id,
                                 .base_offset = base_offset,
                                 .next_offset = base_offset};
    base_buffer_init(&o->segment);
    base_buffer_init(&o->object);
}

void support_object_deinit(struct support_object *o)
{
    base_buffer_deinit(&o->segment);
    base_buffer_deinit(&o->object);
}

void support_object_value(int64_t offset, bool noise, uint8_t *buf, size_t size)
{
    static const char words[] = "a thin dated layer of sediment never disturbed ";
    uint64_t x = (uint64_t)offset * 0x9e3779b97f4a7c15u + 1;

    for (size_t i = 0; i < size; i++) {
        if (noise) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            buf[i] = (uint8_t)(x >> 32);
        } else {
            buf[i] = (uint8_t)words[((size_t)offset + i) % (sizeof(words) - 1)];
        }
    }
    if (!noise && size >= 8)
        base_put_be64(buf, (uint64_t)offset);
}

void support_object_raw(struct support_object *o, const void *data, size_t size)
{
    struct record_batch batch;
    uint8_t *room;
    int rc = record_batch_decode(data, size, &batch, NULL);

    assert(rc == 0 && batch.size == size);
    room = base_buffer_extend(&o->segment, size);
    assert(room);
    memcpy(room, data, size);
    record_batch_assign(room, o->next_offset, 0);
    o->next_offset += batch.last_offset - batch.base_offset + 1;
    (void)rc;
}

void support_object_batch(struct support_object *o, unsigned count, size_t value_size,
                          int64_t timestamp, bool noise)
{
    size_t size_max = 1024 + (size_t)count * (value_size + 64);
    struct varve_batch *b = NULL;
    uint8_t *value = malloc(value_size + 1);
    const void *data = NULL;
    size_t size = 0;
    int rc = varve_batch_new(VARVE_CODEC_NONE, 0, size_max, &b, NULL);

    assert(rc == 0 && value);
    for (unsigned i = 0; i < count; i++) {
        struct varve_record r = {.timestamp = timestamp + i, .value = value};

        r.value_size = value_size;
        support_object_value(o->next_offset + i, noise, value, value_size);
        rc = varve_batch_add(b, &r, NULL);
        assert(rc == 0);
    }
    rc = record_builder_encode(b, &data, &size, NULL);
    assert(rc == 0);
    support_object_raw(o, data, size);
    varve_batch_free(b);
    free(value);
}

struct build {
    struct support_object *o;
    struct cold_compressor *compressor;
    struct cold_object_builder *builder;
    struct cold_block_info block; /* being filled: raw_pos, first_offset, max_timestamp */
    size_t raw_size;              /* of it, so far */
    int level;
    int64_t max_timestamp;
};

static void block_close(struct build *b)
{
    struct base_buffer *object = &b->o->object;
    int rc;

    if (b->raw_size == 0)
        return;
    b->block.pos = object->size;
    rc = cold_block_compress(b->compressor, b->level, b->o->segment.data + b->block.raw_pos,
                             b->raw_size, object, &b->block, NULL);
    assert(rc == 0);
    rc = cold_object_builder_block(b->builder, &b->block, NULL);
    assert(rc == 0);
    (void)rc;
    b->raw_size = 0;
}

static void blocks_build(struct build *b, size_t block_bytes)
{
    const struct base_buffer *segment = &b->o->segment;
    struct record_batch batch;

    for (size_t pos = 0; pos < segment->size; pos += batch.size) {
        int rc = record_batch_check(segment->data + pos, segment->size - pos, &batch, NULL);

        assert(rc == 0);
        rc = cold_object_builder_batch(b->builder, &batch, (uint32_t)pos, NULL);
        assert(rc == 0);
        (void)rc;
        if (b->raw_size + batch.size > block_bytes)
            block_close(b);
        if (b->raw_size == 0)
            b->block = (struct cold_block_info){.first_offset = batch.base_offset,
                                                .max_timestamp = batch.max_timestamp,
                                                .raw_pos = (uint32_t)pos};
        b->raw_size += batch.size;
        if (b->block.max_timestamp < batch.max_timestamp)
            b->block.max_timestamp = batch.max_timestamp;
        if (b->max_timestamp < batch.max_timestamp)
            b->max_timestamp = batch.max_timestamp;
    }
    block_close(b);
}

static void info_fill(const struct build *b, const struct base_id *attempt,
                      const uint8_t *previous_chain_hash, struct cold_object_info *info)
{
    struct support_object *o = b->o;
    struct base_sha256 *sha256 = base_sha256_new();
    struct record_batch first;
    int rc = record_batch_check(o->segment.data, o->segment.size, &first, NULL);

    assert(sha256 && rc == 0);
    *info = (struct cold_object_info){
        .log_name = o->log_name,
        .log_name_size = strlen(o->log_name),
        .log_id = o->log_id,
        .attempt = *attempt,
        .epoch = o->epoch,
        .base_offset = o->base_offset,
        .end_offset = o->next_offset,
        .first_timestamp = first.base_timestamp,
        .max_timestamp = b->max_timestamp,
        .append_time = b->max_timestamp,
        .segment_size = o->segment.size,
    };
    base_sha256_update(sha256, o->segment.data, o->segment.size);
    base_sha256_final(sha256, info->segment_sha256);
    base_sha256_free(sha256);
    if (previous_chain_hash)
        memcpy(info->previous_chain_hash, previous_chain_hash, BASE_SHA256_SIZE);
    rc = index_chain_hash(info->previous_chain_hash, info->segment_sha256, info->base_offset,
                          info->end_offset, info->chain_hash);
    assert(rc == 0);
    (void)rc;
}

void support_object_finish(struct support_object *o, size_t block_bytes, int level,
                           const struct base_id *attempt, const uint8_t *previous_chain_hash)
{
    struct build b = {.o = o, .level = level, .max_timestamp = INT64_MIN};
    struct cold_object_info info;
    const void *tail = NULL;
    size_t tail_size = 0;
    uint64_t index_pos;
    uint32_t table_size = 0, index_size = 0;
    int rc = cold_object_builder_new(INDEX_INTERVAL_BYTES, &b.builder, NULL);

    b.compressor = cold_compressor_new();
    assert(rc == 0 && b.compressor);
    blocks_build(&b, block_bytes);
    info_fill(&b, attempt, previous_chain_hash, &info);
    rc = cold_object_builder_finish(b.builder, &info, &tail, &tail_size, &table_size, &index_size,
                                    NULL);
    assert(rc == 0);
    (void)rc;
    index_pos = o->object.size;
    base_buffer_add(&o->object, tail, tail_size);
    assert(!o->object.failed);
    o->entry = (struct index_entry){
        .base_offset = info.base_offset,
        .end_offset = info.end_offset,
        .first_timestamp = info.first_timestamp,
        .max_timestamp = info.max_timestamp,
        .append_time = info.append_time,
        .segment_size = info.segment_size,
        .object_size = o->object.size,
        .index_pos = index_pos,
        .table_size = table_size,
        .index_size = index_size,
        .object_crc32c = base_crc32c(0, o->object.data, o->object.size),
        .epoch = info.epoch,
        .attempt = *attempt,
    };
    memcpy(o->entry.segment_sha256, info.segment_sha256, BASE_SHA256_SIZE);
    memcpy(o->entry.chain_hash, info.chain_hash, BASE_SHA256_SIZE);
    cold_compressor_free(b.compressor);
    cold_object_builder_free(b.builder);
}
