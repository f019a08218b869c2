/*
 * `varve bench`: each figure of the engine beside the limit it is held against, measured in the
 * same run on the same bytes.
 *
 * The engine and its limit are measured in turns, round by round, and the ratio printed is the
 * median of the rounds' ratios: these machines are shared and noisy, absolute times mean little.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <varve/varve.h>

/* The command: argv[0] is "bench". Returns the exit code: 0, 1 when something failed or a ratio is
 * below its bound, 2 usage. */
int bench_main(int argc, char **argv);

#define BENCH_RECORD_BYTES 1024
#define BENCH_BATCH_BYTES (64 * 1024)
#define BENCH_RING_BATCHES 64 /* distinct batches that are appended again and again */
#define BENCH_ROUNDS_MAX 25
#define BENCH_FSYNC_THREADS 64

/* What is appended: ready-made batches. */
struct bench_data {
    const char *name; /* "lines" or "random" */
    uint8_t *batches[BENCH_RING_BATCHES];
    size_t sizes[BENCH_RING_BATCHES];
};
int bench_data_make(struct bench_data *d, bool random, struct varve_error *err);
void bench_data_free(struct bench_data *d);

/* Seconds: of the monotonic clock, and of the processors that this process has used. */
struct bench_time {
    double wall;
    double cpu;
};
struct bench_time bench_time_now(void);
struct bench_time bench_time_since(struct bench_time start);

/* A fresh directory below the scratch directory; removed by bench_scratch_remove. */
int bench_scratch_make(const char *parent, const char *name, char *ret, size_t size,
                       struct varve_error *err);
void bench_scratch_remove(const char *path);

/* ---- the engine (engine.c): each returns the seconds it took ---- */

struct bench_engine {
    struct varve_store *store;
    struct varve_log *log;
};

int bench_engine_open(const char *dir, enum varve_durability durability, unsigned threads,
                      struct bench_engine *ret, struct varve_error *err);
void bench_engine_close(struct bench_engine *e);
int bench_engine_append(struct bench_engine *e, const struct bench_data *d, uint64_t bytes,
                        struct bench_time *ret_time, struct varve_error *err);
/* `commit_bytes`: bytes a commit covered on average. */
int bench_engine_append_threads(struct bench_engine *e, const struct bench_data *d, uint64_t bytes,
                                unsigned threads, struct bench_time *ret_time,
                                uint64_t *ret_commit_bytes, struct varve_error *err);
int bench_engine_read(struct bench_engine *e, struct bench_time *ret_time, uint64_t *ret_bytes,
                      struct varve_error *err);
int bench_engine_tier(struct bench_engine *e, struct bench_time *ret_time, struct varve_error *err);

/* ---- the limits (limits.c) ---- */

int bench_limit_write(const char *dir, const struct bench_data *d, uint64_t bytes,
                      struct bench_time *ret_time, struct varve_error *err);
int bench_limit_write_sync(const char *dir, const struct bench_data *d, uint64_t bytes,
                           uint64_t commit_bytes, struct bench_time *ret_time,
                           struct varve_error *err);
/* read(2) of the segment files in `dir`, as large as the engine's reads. */
int bench_limit_read(const char *dir, struct bench_time *ret_time, uint64_t *ret_bytes,
                     struct varve_error *err);
/* Hash, compress in blocks and write durably the same files, each of `threads` taking whole files.
 */
int bench_limit_tier(const char *dir, const char *out, unsigned threads,
                     struct bench_time *ret_time, struct varve_error *err);
/* Read and decompress the blocks of all objects below `dir`, with `threads`. */
int bench_limit_decompress(const char *dir, unsigned threads, struct bench_time *ret_time,
                           uint64_t *ret_bytes, struct varve_error *err);
/* Runs a program (no shell) with its output thrown away; VARVE_E_NOT_FOUND when it is not there. */
int bench_limit_program(const char *const *argv, struct bench_time *ret_time,
                        struct varve_error *err);

/* Paths of all files below `dir` that end in `suffix`, sorted; freed with bench_files_free. */
struct bench_files {
    char **paths;
    size_t count;
};
int bench_files_find(const char *dir, const char *suffix, struct bench_files *ret,
                     struct varve_error *err);
void bench_files_free(struct bench_files *files);

/* ---- memory (memory.c) ---- */

/* Samples this process's private resident memory (RssAnon) until stopped; returns the peak in
 * bytes. */
struct bench_memory;
struct bench_memory *bench_memory_start(void);
uint64_t bench_memory_stop(struct bench_memory *m);

#endif
