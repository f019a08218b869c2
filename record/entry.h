/* One record inside a batch's records: its fields, checked, as views. The byte table is in entry.c.
 */
#ifndef RECORD_ENTRY_H
#define RECORD_ENTRY_H

#include <stddef.h>
#include <stdint.h>

#include <varve/record.h>

#define RECORD_ENTRY_SIZE_MIN 7             /* bytes: seven fields of one byte each */
#define RECORD_ENTRY_HEADER_COUNT_MAX 65536 /* headers of one record; Kafka states no limit */

struct record_entry {
    const uint8_t *end; /* where the next record begins */
    int64_t timestamp_delta;
    int32_t offset_delta;
    int32_t key_size; /* -1: null, and `key` is NULL */
    const uint8_t *key;
    int32_t value_size; /* -1: null, and `value` is NULL */
    const uint8_t *value;
    int32_t header_count;
    const uint8_t *headers; /* up to `end` */
};

/*
 * Decodes the record at `pos`, which may reach up to `end`, and checks each field, its headers too.
 * `number` (from 0) serves the message. VARVE_E_CORRUPT; VARVE_E_TOO_LARGE (header count).
 */
int record_entry_decode(const uint8_t *pos, const uint8_t *end, int32_t number,
                        struct record_entry *ret, struct varve_error *err);

/* Fills `ret` with the entry's header_count headers; the entry was decoded without error. */
void record_entry_headers(const struct record_entry *entry, struct varve_header *ret);

#endif
