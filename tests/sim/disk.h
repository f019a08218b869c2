/*
 * A disk in memory behind struct base_io, with what is durable and what is only in the page cache.
 *
 * Data: writes since the last sync are remembered by sector. Names: changes since the last sync of
 * their directory are remembered one by one. When power is lost each of these survives or not,
 * independently of the others, but for two things that every file system gives: changes of one name
 * keep their order, and a rename does not lose both names.
 *
 * A failed sync drops what it should have written, as Linux does: the bytes are still read from the
 * page cache, but no later sync writes them; they are gone when the cache lets go of them (fadvise
 * DONTNEED) or with the power.
 *
 * Mappings are the file's memory itself. One disk may have several processes.
 */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include "base/io.h"
#include "tests/sim/points.h"

#define SIM_SECTOR 512
#define SIM_DISK_TOP "/disk" /* the one directory that is always there */

struct sim_disk;

/* Whoever makes calls: one process of the engine. The seams' contexts. */
struct sim_caller {
    void *owner;
    struct sim_disk *disk; /* NULL: none */
    bool dead;             /* killed: nothing it calls has an effect any more */
};

/* What the world says to a step before it is taken. */
struct sim_verdict {
    bool faulty;
    enum sim_fault fault;
    uint64_t chance; /* for details: how much is written, which bit */
};

struct sim_disk_hooks {
    void *ctx;
    struct sim_trace *trace;
    struct sim_random *random;
    /* Before the step. Crashes before it are carried out in there: the caller is dead then. */
    struct sim_verdict (*before)(void *ctx, struct sim_caller *c, enum sim_kind kind,
                                 enum sim_step step, const char *path);
    /* After it, when `v` says that something happens there. */
    void (*after)(void *ctx, struct sim_caller *c, enum sim_kind kind, enum sim_step step,
                  const struct sim_verdict *v);
    /* A segment file is about to lose its only durable name. */
    void (*unlink)(void *ctx, struct sim_caller *c, const char *path, const void *data,
                   int64_t size);
    /* Small files of the kernel: returns the text, or NULL. */
    const char *(*proc)(void *ctx, struct sim_caller *c, const char *path);
};

struct sim_disk *sim_disk_new(const struct sim_disk_hooks *hooks, uint64_t bytes);
struct sim_disk *sim_disk_free(struct sim_disk *d);
/* The seam of one caller; `ret->ctx` is the caller. */
void sim_disk_io(struct sim_caller *c, struct base_io *ret);

/* What the writable mappings hold is what they hold at this moment, whatever a dead process writes
 * from now on. */
void sim_disk_freeze(struct sim_disk *d);
/* The processes of the disk are gone. */
void sim_disk_thaw(struct sim_disk *d);
/* What a loss of power leaves; `strict`: only what was synced. No process may have anything open.
 */
void sim_disk_cut_power(struct sim_disk *d, bool strict);
void sim_disk_wipe(struct sim_disk *d);

void sim_disk_set_room(struct sim_disk *d, uint64_t free_bytes); /* UINT64_MAX: all there is */
unsigned sim_disk_open_count(const struct sim_disk *d);

/* Looking from outside: calls visit for each file whose path begins with `prefix`. */
void sim_disk_each(struct sim_disk *d, const char *prefix,
                   void (*visit)(void *arg, const char *path, uint8_t *data, int64_t size),
                   void *arg);
enum sim_kind sim_disk_kind(const char *path);

/* Bits of one byte of a file that have changed by themselves. */
#define SIM_ROT_AROUND 16
struct sim_rot {
    uint64_t inode;
    int64_t pos;
    uint8_t mask;
    /* What is around it, as it was: the place may be given to something else. */
    int64_t from;
    uint8_t around_size, around[2 * SIM_ROT_AROUND + 1];
};

/* False: it is not at rest: not synced, mapped, or not there. The first two do not matter for a
 * mere `copy`. */
bool sim_disk_rot(struct sim_disk *d, const char *path, bool copy, int64_t pos, uint8_t mask,
                  struct sim_rot *ret);
/* Is the byte wrong in the file of this path? `there` false: or in that file by any other name. */
bool sim_disk_rotten(struct sim_disk *d, const struct sim_rot *rot, const char *path, bool there);
/* Makes it right in all of them, or wrong. */
void sim_disk_turn(struct sim_disk *d, const struct sim_rot *rot, const char *path, bool wrong);

#endif
