/*
 * A wrapper over an I/O seam that counts calls, fails the one it is told to, keeps writes short,
 * and records the order of the steps that durability rests on. Threads: any.
 */
#ifndef SUPPORT_IO_H
#define SUPPORT_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/io.h"

enum support_io_call {
    SUPPORT_IO_OPEN,
    SUPPORT_IO_CLOSE,
    SUPPORT_IO_PREAD,
    SUPPORT_IO_PWRITEV,
    SUPPORT_IO_FDATASYNC,
    SUPPORT_IO_FSYNC,
    SUPPORT_IO_FALLOCATE,
    SUPPORT_IO_FTRUNCATE,
    SUPPORT_IO_FSTAT,
    SUPPORT_IO_STAT,
    SUPPORT_IO_RENAME,
    SUPPORT_IO_LINK,
    SUPPORT_IO_UNLINK,
    SUPPORT_IO_MKDIR,
    SUPPORT_IO_RMDIR,
    SUPPORT_IO_LIST,
    SUPPORT_IO_MMAP,
    SUPPORT_IO_MUNMAP,
    SUPPORT_IO_FLOCK,
    SUPPORT_IO_FADVISE,
    SUPPORT_IO_WRITEBACK,
    SUPPORT_IO_DISK_FREE,
    SUPPORT_IO_ANY /* in questions: whichever; also the number of the others */
};

struct support_io;

/* `under` NULL: the system's. */
struct support_io *support_io_new(const struct base_io *under);
struct support_io *support_io_free(struct support_io *s);
const struct base_io *support_io_seam(struct support_io *s); /* lives as long as `s` */
const char *support_io_call_name(enum support_io_call call);

/* Calls made since the start or the last reset, those that failed included. */
uint64_t support_io_count(struct support_io *s, enum support_io_call call);
/* Descriptors open now: opened through the seam and not closed. */
size_t support_io_open_count(struct support_io *s);
/* Counts and trace begin anew; faults and limits stay. */
void support_io_reset(struct support_io *s);

/*
 * The next fault. Matching calls are counted from here on; the `nth` (1 is the first) does not
 * reach the system and returns -sys_errno. Two exceptions: close and munmap are carried out
 * and then fail (as they do), and a pwritev first writes `torn_size` bytes, as much as there is.
 */
struct support_io_fault {
    enum support_io_call
        call;         /* SUPPORT_IO_ANY: all but close, munmap, fadvise, writeback, fstat */
    const char *path; /* part of the path or of a rename's or link's target; NULL: any */
    uint64_t nth;
    int sys_errno;
    bool keep; /* all matching calls after it fail too */
    size_t torn_size;
};

/* Replaces the fault there was; `fault` NULL: none any more. `path` is copied. */
void support_io_fail(struct support_io *s, const struct support_io_fault *fault);
/* Calls the present fault has failed. */
uint64_t support_io_failed(struct support_io *s);

/* No pwritev writes, and no pread reads, more than this many bytes at once. 0: no limit. */
void support_io_limit_write(struct support_io *s, size_t size);
void support_io_limit_read(struct support_io *s, size_t size);

/* Called before each call, without locks held; it may block, to hold a thread at a known place.
 * Set it while nothing else uses the seam. */
void support_io_set_hook(struct support_io *s,
                         void (*hook)(void *arg, enum support_io_call call, const char *path),
                         void *arg);

/*
 * The trace: every successful open, pwritev, fdatasync, fsync, fallocate, ftruncate, rename, link,
 * unlink, mkdir and rmdir, in the order in which they returned.
 */
struct support_io_step {
    enum support_io_call call;
    bool created;     /* open with O_CREAT */
    const char *path; /* of the file; of a descriptor, the path it was opened by */
    const char *to;   /* rename, link; else NULL */
    int64_t pos;      /* pwritev, fallocate; ftruncate: the new size */
    int64_t size;     /* pwritev: bytes written; fallocate */
    uint64_t began;   /* one counter for all calls: a ended before b began when */
    uint64_t ended;   /* a->ended < b->began */
};

size_t support_io_trace_size(struct support_io *s);
/* Valid until the next reset. */
const struct support_io_step *support_io_trace_at(struct support_io *s, size_t index);
/* The first step at or after `from` of this kind whose path or target holds `part` (NULL: any), or
 * NULL. *ret_index (may be NULL) is its place. */
const struct support_io_step *support_io_trace_find(struct support_io *s, size_t from,
                                                    enum support_io_call call, const char *part,
                                                    size_t *ret_index);
/* True when both are there and a was over before b began. */
bool support_io_before(const struct support_io_step *a, const struct support_io_step *b);
/* One line a step: "rename a/x.tmp a/x". */
void support_io_trace_print(struct support_io *s, FILE *out);
/* Long runs that need no trace do without. */
void support_io_set_tracing(struct support_io *s, bool on);

#endif
