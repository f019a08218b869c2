/* Byte positions of the object's tail, shared by its encoder and its decoder. The table is in
 * object_encode.c. */
#ifndef COLD_OBJECT_FORMAT_H
#define COLD_OBJECT_FORMAT_H

#define INDEX_FRAME_MAGIC 0x184D2A5Du /* one of zstd's sixteen skippable magics */
#define INDEX_MAGIC "varveobj" /* 8 bytes, so that nobody else's 0x184D2A5D is taken for it */
#define INDEX_VERSION 1
#define INDEX_HEADER_SIZE 256
#define INDEX_FEATURES_MUST 0u /* must-understand bits this version knows */
#define INDEX_CRC_SIZE 4

enum index_header_pos {
    POS_FRAME_MAGIC = 0,
    POS_FRAME_SIZE = 4,
    POS_MAGIC = 8,
    POS_VERSION = 16,
    POS_HEADER_SIZE = 20,
    POS_FEATURES_MAY = 24,
    POS_FEATURES_MUST = 28,
    POS_TABLE_SIZE = 32,
    POS_INDEX_SIZE = 36,
    POS_BLOCK_COUNT = 40,
    POS_BLOCK_ENTRY_SIZE = 44,
    POS_LOG_NAME_SIZE = 46,
    POS_LOG_ID = 48,
    POS_ATTEMPT = 64,
    POS_EPOCH = 80,
    POS_SECTION_COUNT = 84,
    POS_BASE_OFFSET = 88,
    POS_END_OFFSET = 96,
    POS_FIRST_TIMESTAMP = 104,
    POS_MAX_TIMESTAMP = 112,
    POS_APPEND_TIME = 120,
    POS_SEGMENT_SIZE = 128,
    POS_SEGMENT_SHA256 = 136,
    POS_PREVIOUS_CHAIN_HASH = 168,
    POS_CHAIN_HASH = 200,
    POS_INDEX_POS = 232,
    POS_SEEK_TABLE_SIZE = 240,
    POS_SEEK_TABLE_CRC32C = 244,
    POS_RESERVED = 248,
};

#define BLOCK_ENTRY_SIZE 48
enum block_entry_pos {
    POS_BLOCK_FIRST_OFFSET = 0,
    POS_BLOCK_MAX_TIMESTAMP = 8,
    POS_BLOCK_POS = 16,
    POS_BLOCK_STORED_SIZE = 24,
    POS_BLOCK_RAW_POS = 28,
    POS_BLOCK_RAW_SIZE = 32,
    POS_BLOCK_CRC32C = 36,
    POS_BLOCK_CONTENT_CHECKSUM = 40,
    POS_BLOCK_RESERVED = 44,
};

#define SECTION_HEADER_SIZE 16
#define SECTION_FLAG_MUST 1u /* a decoder that does not know the type refuses the index */
enum section_type {
    SECTION_SPARSE = 1,
    SECTION_PRODUCERS = 2,
    SECTION_ABORTED = 3,
};
#define PRODUCER_SIZE 32
#define ABORTED_SIZE 24

/* The zstd seekable format, version 0.1.0 (zstd's contrib/seekable_format). */
#define SEEK_FRAME_MAGIC 0x184D2A5Eu
#define SEEK_FOOTER_MAGIC 0x8F92EAB1u
#define SEEK_HEADER_SIZE 8
#define SEEK_ENTRY_SIZE 12
#define SEEK_FOOTER_SIZE 9
#define SEEK_DESCRIPTOR 0x80u           /* entries carry checksums */
#define SEEK_EMPTY_CHECKSUM 0x51d8e999u /* low half of the XXH64 of nothing */
#define SEEK_FRAMES_MAX 0x8000000u

#endif
