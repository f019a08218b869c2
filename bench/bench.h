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

#define BENCH_THREADS_MAX 64
#define BENCH_PARALLEL_MAX 64
#define BENCH_BYTES_MIN (1024 * 1024)
#define BENCH_RECORD_BYTES 1024
#define BENCH_BATCH_BYTES (64 * 1024)
#define BENCH_RING_BATCHES 64 /* distinct batches that are appended again and again */
#define BENCH_ROUNDS_MAX 25
#define BENCH_FSYNC_THREADS 64

/* Seconds: of the monotonic clock, and of the processors that this process has used. */
struct bench_time {
    double wall;
    double cpu;
};
struct bench_time bench_time_now(void);
struct bench_time bench_time_since(struct bench_time start);

/* The run: what was asked for, and how it went. */
struct bench {
    const char *dir;  /* scratch */
    const char *data; /* lines, random or both */
    const char *only; /* a figure's name; NULL: all */
    int64_t bytes;    /* a round */
    unsigned rounds;
    unsigned threads;
    bool json;
    bool programs;        /* cp, cat and zstd, too */
    int64_t memory;       /* not 0: instead of all else, private memory over so many bytes */
    const char *cold_url; /* of a store across a wire; NULL: figures of this machine */
    const char *input;    /* a file whose lines are the records; NULL: made up */
    int64_t segment;
    unsigned parallel; /* requests of the limits at a time */
    int64_t rate;      /* bytes per second; 0: not limited */
    bool below;        /* a bound did not hold */
    bool failed;
};

void bench_init(struct bench *b); /* to the defaults */
/* What is wrong with what was asked for; NULL: nothing. */
const char *bench_check(const struct bench *b);
/* Measures and prints. False: something failed, or did not hold its bound. */
bool bench_run(struct bench *b);

/* One line of the table: the engine and its limit, round by round. */
struct bench_line {
    const char *what;
    const char *data;
    const char *limit;
    double bound; /* of the ratio; 0: none */
    unsigned count;
    double engine[BENCH_ROUNDS_MAX]; /* bytes per second */
    double limits[BENCH_ROUNDS_MAX];
    double cpu[BENCH_ROUNDS_MAX]; /* processor seconds of the engine per one of the limit */
    const char *program_name;
    double program_rate; /* 0: not measured */
};

/* What is appended: ready-made batches. */
struct bench_data {
    const char *name; /* "lines", "random" or "input" */
    uint8_t *batches[BENCH_RING_BATCHES];
    size_t sizes[BENCH_RING_BATCHES];
};
int bench_data_make(struct bench_data *d, bool random, struct varve_error *err);
/* Its lines are the records, from the first again where the file ends. */
int bench_data_read(struct bench_data *d, const char *path, struct varve_error *err);
void bench_data_free(struct bench_data *d);

/* ---- the table (table.c) ---- */

void bench_line_add(struct bench_line *l, double bytes, const struct bench_time *engine,
                    const struct bench_time *limit);
void bench_print_heading(const struct bench *b);
void bench_print_line(struct bench *b, const struct bench_line *l);
/* A figure that is no rate; it must not be above `bound` (0: no bound), which `limit` explains. */
void bench_print_value(struct bench *b, const char *what, const char *data, double value,
                       const char *unit, const char *limit, double bound);
/* Says it, and that the run has failed; returns the code. */
int bench_fail(struct bench *b, const char *what, const struct varve_error *err);
/* Whether a figure is asked for: "append os" by "append", "append os" or nothing. */
bool bench_wanted(const struct bench *b, const char *what);
double bench_median(double *values, unsigned count); /* sorts them */

/* A fresh directory below the scratch directory; removed by bench_scratch_remove. */
int bench_scratch_make(const char *parent, const char *name, char *ret, size_t size,
                       struct varve_error *err);
void bench_scratch_remove(const char *path);

/* ---- the engine (engine.c): each returns the seconds it took ---- */

struct bench_engine {
    struct varve_store *store;
    struct varve_log *log;
};

struct bench_engine_options {
    const char *dir;
    enum varve_durability durability;
    unsigned threads;
    const char *cold_url; /* NULL: a directory in the store */
    int64_t segment;      /* bytes; 0: the default */
    int64_t rate;         /* of uploads, bytes per second; 0: not limited */
};
int bench_engine_open(const struct bench_engine_options *options, struct bench_engine *ret,
                      struct varve_error *err);
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
/*
 * Hash, compress in blocks and write the same files to `out`, each of `threads` taking whole files;
 * then sync each, or, with `sink`, hand it on: it returns false after a failure, with errno set.
 */
int bench_limit_tier(const char *dir, const char *out, unsigned threads,
                     bool (*sink)(void *ctx, unsigned thread, const char *path, size_t i),
                     void *sink_ctx, struct bench_time *ret_time, struct varve_error *err);
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

/* ---- S3 with libcurl and nothing else (bare.c) ---- */

struct bench_range {
    size_t object; /* of bench_bare_read's keys */
    uint64_t pos;
    size_t size;
};

/* `threads` connections, kept open. The URL is an s3 URL as varve takes it. */
struct bench_bare;
int bench_bare_new(const char *url, unsigned threads, struct bench_bare **ret,
                   struct varve_error *err);
struct bench_bare *bench_bare_free(struct bench_bare *bare);
/* Stores each file, in objects of at most BENCH_BARE_PUT_BYTES below `prefix`, in parallel. */
#define BENCH_BARE_PUT_BYTES (16 * 1024 * 1024)
int bench_bare_put(struct bench_bare *bare, const char *prefix, const struct bench_files *files,
                   struct bench_time *ret_time, uint64_t *ret_bytes, struct varve_error *err);
/* One file, on the connection of a thread: a sink of bench_limit_tier (ctx: the bare). */
bool bench_bare_sink(void *ctx, unsigned thread, const char *path, size_t i);
/* Gets the ranges, whole zstd frames each, and decompresses them, in parallel. */
int bench_bare_read(struct bench_bare *bare, char *const *keys, const struct bench_range *ranges,
                    size_t count, struct bench_time *ret_time, uint64_t *ret_bytes,
                    struct varve_error *err);
/* One range, and no more. */
int bench_bare_get(struct bench_bare *bare, const char *key, uint64_t pos, size_t size,
                   double *ret_seconds, struct varve_error *err);

/* The figures of b->cold_url (remote.c). */
void bench_remote(struct bench *b, bool random);

/* ---- memory (memory.c) ---- */

/* Samples this process's private resident memory (RssAnon) until stopped; returns the peak in
 * bytes. */
struct bench_memory;
struct bench_memory *bench_memory_start(void);
uint64_t bench_memory_stop(struct bench_memory *m);

#endif
