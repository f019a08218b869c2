/*
 * The world of one seed: two machines with a disk each, a bucket, four processes of the engine, the
 * clock, and the model that judges what they do.
 *
 *   machine 0   process "a" writes a store; process "r" reads the same directory
 *   machine 1   process "b" writes a store of its own on the same bucket: the rival
 *               process "x" has no disk: it reads the bucket by its URL
 *
 * One thread. While a call of one process waits for the bucket or sleeps, another may act: its
 * event is run inside that wait.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <varve/varve.h>

#include "index/fold.h"
#include "index/root.h"
#include "log/log.h"
#include "tests/sim/bucket.h"
#include "tests/sim/disk.h"

#define SIM_LOG "sim"
#define SIM_URL "sim:///"
#define SIM_VALUE_MAX 160

/* What one seed is like. */
struct sim_setup {
    uint64_t seed;
    unsigned events;
    bool fsync;
    int64_t lease_ms; /* 0: none */
    size_t part_bytes;
    unsigned error_rate; /* of 10,000 steps */
    bool faults;         /* crashes and errors at chosen steps */
    bool rival;
    bool split; /* trims that put n into a segment, and take-overs soon after */
    bool wall_jumps;
    int64_t retention_ms, retention_bytes, local_retention_ms, local_retention_bytes;
    int64_t delete_delay_ms, segment_ms, flush_ms, segment_bytes;
    bool rots;  /* bits change at rest */
    bool again; /* a log is deleted and made again */
    bool folds; /* small pages of the manifest */
    struct index_fold fold;
    /* What must go wrong once, whatever else does. */
    bool has_target;
    struct sim_target target;
};

/* Records by serial number: all that was ever given to an append. */
struct sim_attempt {
    int64_t timestamp;
    int64_t offset; /* where it would lie */
    unsigned machine;
};

/* Serial numbers by offset; 0: not known. */
struct sim_view {
    uint32_t *serials;
    int64_t end, capacity;
};

struct sim_machine {
    unsigned index;
    struct sim_disk *disk;
    char boot_id[40];
    unsigned boots;
    int64_t boot_ns;
    int64_t skew_ms; /* of the wall clock */
    bool dark;       /* without power until all its processes are gone */

    struct base_id store_id;
    bool has_id;
    /* The model of its local log. */
    struct sim_view view;
    /* The same of the disk that it lost last: a root that it had sent may still arrive. */
    struct base_id lost_id;
    bool has_lost;
    struct sim_view lost;
    int64_t synced;   /* below it nothing may be lost to a power cut */
    int64_t trimmed;  /* by an acknowledged trim */
    bool shaken;      /* what was not synced may be gone: power, or a failed fsync */
    bool fresh;       /* nothing local: the bucket's history is all there is */
    int64_t aside_ns; /* when a tail was last set aside */
    uint32_t epoch;   /* of its last opening as the owner */
    bool displaced;   /* another has taken the log over since */
    int64_t displaced_at;
};

/* Bits that have changed at rest (rot.c). */
#define SIM_DAMAGES 48
struct sim_damage {
    enum sim_kind kind;
    unsigned machine; /* of files */
    char path[160];   /* or the key */
    struct sim_rot rot;
    int64_t base, end;    /* of the segment or object */
    int64_t first, until; /* what can not be read because of it */
    bool found;           /* by verify */
    bool lifted;
};

/* Of the log that is deleted and made again (again.c): one of its lives. */
#define SIM_LIVES 64
struct sim_life {
    char id[40];
    int64_t end; /* as far as was ever appended */
    bool over;
};

enum sim_call { SIM_CALL_NONE, SIM_CALL_OPEN, SIM_CALL_CLOSE, SIM_CALL_WORK };

struct sim_process {
    struct sim_world *world;
    const char *name;
    struct sim_machine *machine; /* NULL: reads the bucket alone */
    bool writes;
    struct sim_caller caller;
    struct base_io io;
    struct base_clock clock;
    struct base_random random;
    struct cold_opener opener;
    struct base_env env;
    enum sim_call call; /* in a call of the engine */
    bool renewing;      /* its lease, which another thread of it would do */
    int64_t dead_ns;    /* a dead process's clock goes on for itself */

    struct varve_store *store;
    struct varve_log *log;
    struct varve_reader *follower;
    struct varve_reader *reader; /* of one event */
    int64_t follower_next;
    int64_t opened_ns;
    int64_t cold_begin; /* the end of the cold tier, as it knew when its call began */
    int64_t step_ms;    /* when the tierer wants to be called */
    int64_t renew_ns, look_ns;
    int64_t at; /* the offset that it reads; -1: it reads none */
    bool fenced;
    bool wants; /* shall take the log over when it opens it next */
};

#define SIM_PROCESSES 4

struct sim_world {
    struct sim_setup setup;
    struct sim_trace trace;
    struct sim_random actors, faults, chaos, ids, rots, again;
    struct sim_points points;
    uint64_t fault_count;
    uint64_t event_count;
    int64_t now_ns;
    struct sim_machine machines[2];
    struct sim_process processes[SIM_PROCESSES];
    struct sim_disk *nothing; /* the disk of who has none */
    struct sim_bucket *bucket;
    struct sim_walk *walk; /* no events of chance, and one crash; NULL: as the seed says */
    unsigned depth;        /* of events within waits */
    unsigned quiet;        /* > 0: nothing goes wrong */
    int64_t down_until_ms, squeeze_until_ms;

    /* the faults that are waited for: the seed's own, in turn, and others picked one by one */
    struct sim_target own[2];
    unsigned own_count;
    struct sim_target target;
    unsigned target_left;
    unsigned target_age;

    /* the model */
    struct sim_attempt *attempts;
    uint32_t attempt_count, attempt_capacity;
    struct sim_view committed; /* by roots */
    int64_t start;             /* of the newest root */
    int64_t trim_asked;
    uint32_t epoch;
    uint32_t epoch_opened; /* of the last owner whose opening has returned */
    uint64_t generation;
    uint32_t root_crc;
    struct base_id owner;
    bool has_root;
    uint64_t flips; /* bodies changed on their way: damage may be reported */
    struct {
        int64_t offset, ms, ns;
        int64_t decided_ms; /* as the root says: all that another process knows */
        struct base_id by;  /* the owner then */
    } starts[256];          /* when the log start moved */
    unsigned start_count;

    struct sim_damage damages[SIM_DAMAGES];
    unsigned damage_count;

    struct sim_life lives[SIM_LIVES];
    unsigned life_count;

    bool over; /* the events are over, and the end is checked */
    bool failed;
    char why[600];
    /* figures */
    uint64_t acked, read, crashes, takeovers, uploads, evictions;
};

void sim_world_init(struct sim_world *w, const struct sim_setup *setup);
void sim_world_deinit(struct sim_world *w);
void sim_fail(struct sim_world *w, const char *format, ...) VARVE_PRINTF(2, 3);
int64_t sim_world_ms(const struct sim_world *w); /* true time */
void sim_pass(struct sim_world *w, struct sim_process *p, int64_t ns);
/* Puts the machine's power out, or (machine NULL or `power` false) ends one process. */
void sim_crash(struct sim_world *w, struct sim_process *p, bool power);
/* After each call: closes what is dead. */
void sim_bury(struct sim_world *w);

/* processes.c */
int sim_process_open(struct sim_process *p, struct varve_error *err);
void sim_process_close(struct sim_process *p);

/* model.c */
uint32_t sim_model_attempt(struct sim_world *w, unsigned machine, int64_t offset,
                           int64_t timestamp);
size_t sim_model_value(uint32_t serial, char value[SIM_VALUE_MAX]);
/* The serial number in a record; 0: it is none of ours. */
uint32_t sim_model_serial(struct sim_world *w, const struct varve_record *record);
void sim_view_set(struct sim_view *v, int64_t offset, uint32_t serial);
void sim_view_cut(struct sim_view *v, int64_t end);
void sim_view_copy(struct sim_view *to, const struct sim_view *from, int64_t end);
/* Calls visit for each entry and each page that a root names, also by pages. */
typedef void sim_named(void *arg, const struct index_entry *e, const struct index_ref *page);
void sim_root_each(struct sim_world *w, const struct index_root *root, sim_named *visit, void *arg);
/* Is an object or page of this attempt among them? Where it ends then. */
bool sim_root_names(struct sim_world *w, const struct index_root *root,
                    const struct base_id *attempt, int64_t *ret_end);
void sim_model_stored(void *ctx, const char *key, const void *data, size_t size);
void sim_model_removing(void *ctx, const char *key);
void sim_model_unlink(void *ctx, struct sim_caller *c, const char *path, const void *data,
                      int64_t size);
/* A log was opened for writing. */
void sim_model_opened(struct sim_process *p);
/* Its disk is lost, and with it the store. */
void sim_model_wiped(struct sim_machine *m);
/* Is this record what lies at its offset, for this process? */
bool sim_model_record(struct sim_process *p, const struct varve_record *record);

/* actors.c */
enum sim_act {
    SIM_ACT_OPEN, /* taking over, when p->wants */
    SIM_ACT_CLOSE,
    SIM_ACT_APPEND,
    SIM_ACT_SYNC,
    SIM_ACT_SEAL,
    SIM_ACT_STEP,
    SIM_ACT_RUN, /* SIM_RUN_... */
    SIM_ACT_COLLECT,
    SIM_ACT_TRIM, /* to this offset */
    SIM_ACT_LOOK,
    SIM_ACT_VERIFY,
    SIM_ACT_AGAIN, /* SIM_AGAIN_..., of the log that is made again */
};
#define SIM_RUN_SEALS 1
#define SIM_RUN_EVICTS 2

/* One thing that a process is told to do; but for opening, its log is open. */
void sim_do(struct sim_process *p, enum sim_act act, int64_t arg);
void sim_event(struct sim_world *w, const struct sim_process *busy);
void sim_renew(struct sim_process *p);

/* crash.c: each step of a few fixed stories in turn, with a crash before it, in it and after it. */
struct sim_walk {
    uint64_t taken; /* durable steps so far */
    uint64_t at;    /* the one that crashes */
    enum sim_fault fault;
    struct sim_target crashed; /* what it is */
    bool strict;               /* of what was not synced a loss of power keeps nothing */
    struct sim_target *steps;  /* NULL, or what was taken is noted here, */
    size_t count, capacity;    /* so much */
};
/* Prints the table of what crashes leave behind; with `every` > 1 none, and only so many of them
 * are tried. 0: all is well. */
int sim_crash_points(unsigned processes, unsigned every, FILE *out);
/* One crash with its story: "parts:117:kill<:1". */
int sim_crash_one(const char *which, bool calls, FILE *out);

/* rot.c */
/* Perhaps changes bits. True: an operator runs `verify --repair`. */
bool sim_rot_event(struct sim_world *w);
/* Is this VARVE_E_CORRUPT what it must be? */
void sim_rot_begin(struct sim_process *p); /* of a call */
bool sim_rot_explains(struct sim_process *p, const struct varve_error *err);
/* Is what verify has found damaged? Notes it. */
bool sim_rot_found(struct sim_world *w, const char *where);
/* Where the segment ends: `end`, by its batches, if it is not damaged. */
int64_t sim_rot_end(struct sim_world *w, const struct sim_machine *m, const char *path,
                    int64_t end);
/* Undoes the damage that the machine sees for a while, and puts it back. */
void sim_rot_lift(struct sim_world *w, const struct sim_machine *m, bool lifted);
/* The machine has lost power: where nothing vouches for what was synced, damage looks like a torn
 * tail. Sealing writes a checkpoint in fsync mode only. */
void sim_rot_power(struct sim_world *w, struct sim_machine *m);
/* Undoes the damage of its segments for good. */
void sim_rot_mend(struct sim_world *w, const struct sim_machine *m);
/* verify --repair; `demands`: nothing interferes, so it must mend what it can. */
int sim_rot_repair(struct sim_process *p, bool demands, struct varve_error *err);
/* At the end: mends what is the only copy; later, finds and repairs the rest. */
void sim_rot_settle(struct sim_world *w);
void sim_rot_check(struct sim_process *p);

/* again.c */
void sim_again_event(struct sim_world *w);
enum sim_again_act {
    SIM_AGAIN_LIVE, /* made if need be, taken over, read, filled, uploaded but for its tail */
    SIM_AGAIN_DELETE,
};
void sim_again_do(struct sim_process *p, enum sim_again_act act);
/* At the end, by the owner of the other log. */
void sim_again_check(struct sim_process *p);
/* Behind that, by the other store. */
void sim_again_return(struct sim_process *p);

/* check.c: the end of a seed. */
void sim_check(struct sim_world *w);
/* For varve_log_verify; the world is its context. */
void sim_check_finding(void *ctx, const struct varve_finding *f);

#endif
