/*
 * A log's options: one table gives their names (Kafka's topic-config names where Kafka has the
 * thing), types, defaults and bounds. Stored in the root as "name=value\n" lines, only those that
 * differ from their default.
 */
#ifndef LOG_CONFIG_H
#define LOG_CONFIG_H

#include <varve/log.h>

#include "hot/set.h"
#include "tiering/tiering.h"

enum log_retention_unuploaded { LOG_UNUPLOADED_KEEP, LOG_UNUPLOADED_DELETE };

struct log_config {
    int64_t segment_bytes;
    int64_t segment_ms;
    int64_t retention_ms;
    int64_t retention_bytes;
    int64_t local_retention_ms;
    int64_t local_retention_bytes;
    int64_t file_delete_delay_ms;
    int64_t max_message_bytes; /* 0: not set; see log_config_batch_bytes_max */
    int64_t index_interval_bytes;
    int64_t flush_ms;
    int64_t cold_block_bytes;
    int64_t cold_compression_level;
    int64_t gzip_level;
    int64_t lz4_level;
    int64_t zstd_level;
    int64_t upload_age_warn_ms;
    int64_t compression_type;     /* enum varve_codec, or LOG_COMPRESSION_PRODUCER */
    int64_t retention_unuploaded; /* enum log_retention_unuploaded */
    int64_t cleanup_policy;       /* 0: delete, the only one */
    int64_t timestamp_type;       /* 0: CreateTime, the only one */
};

#define LOG_COMPRESSION_PRODUCER (-1)
#define LOG_MAX_MESSAGE_BYTES_DEFAULT 1048588 /* Kafka's */

void log_config_init(struct log_config *c);

/* Sets one option from text. VARVE_E_INVALID names the option, the value and what would be right.
 */
int log_config_set(struct log_config *c, const char *name, const char *value,
                   struct varve_error *err);

/* What single options cannot see: limits that contradict each other. VARVE_E_INVALID. */
int log_config_check(const struct log_config *c, struct varve_error *err);

/* The stored text. *ret is fresh memory. */
int log_config_encode(const struct log_config *c, char **ret, size_t *ret_size,
                      struct varve_error *err);
/* Unknown names are skipped: a newer varve wrote them. */
int log_config_decode(struct log_config *c, const char *text, size_t size, struct varve_error *err);

/* Visits all options in the table's order. */
int log_config_each(const struct log_config *c,
                    int (*visit)(void *ctx, const char *name, const char *value, bool is_default),
                    void *ctx);

/* The largest batch in bytes that an append may carry: max.message.bytes, never above
 * segment.bytes. */
size_t log_config_batch_bytes_max(const struct log_config *c);
/* Codec and level for the batches that the engine builds itself. */
enum varve_codec log_config_codec(const struct log_config *c, int *ret_level);

void log_config_policy(const struct log_config *c, struct tiering_policy *ret);
void log_config_hot(const struct log_config *c, struct hot_set_options *ret);

#endif
