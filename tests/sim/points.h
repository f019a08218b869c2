/*
 * The names of the durable steps, and what was made to happen at each.
 *
 * A step is a call on a seam that changes a disk or a bucket: "segment.write", "root.put". Its name
 * follows from the kind of file or object and from the operation, so that the product names
 * nothing. Around each step the seam asks what is to go wrong there; the table counts what did.
 */
#ifndef SIM_POINTS_H
#define SIM_POINTS_H

#include "tests/sim/base.h"

enum sim_kind { /* of a file or an object */
                /* on a disk */
                SIM_SEGMENT,
                SIM_INDEX,
                SIM_PUBLISHED,
                SIM_CHECKPOINT,
                SIM_LOCAL_ROOT,
                SIM_LOCAL_PAGE,
                SIM_JOURNAL,
                SIM_DIVERGENT,
                SIM_SETTINGS,
                SIM_LOCK,
                SIM_CACHE,
                SIM_DIRECTORY,
                SIM_OTHER,
                /* in the bucket */
                SIM_OBJECT,
                SIM_ROOT,
                SIM_PAGE,
                SIM_LEASE,
                SIM_IDENTITY,
                SIM_LISTING,
                SIM_KINDS
};

enum sim_step {
    /* of files */
    SIM_CREATE,
    SIM_WRITE,
    SIM_SYNC,
    SIM_TRUNCATE,
    SIM_ALLOCATE,
    SIM_RENAME,
    SIM_LINK,
    SIM_UNLINK,
    SIM_MKDIR,
    SIM_RMDIR,
    SIM_READ,
    /* of objects */
    SIM_PUT,
    SIM_GET,
    SIM_HEAD,
    SIM_LIST,
    SIM_DELETE,
    SIM_BEGIN,
    SIM_PART,
    SIM_COMPLETE,
    SIM_ABORT,
    SIM_CHECK,
    /* nobody's: what lies there changes by itself */
    SIM_REST,
    SIM_STEPS
};

enum sim_fault {
    SIM_KILL_BEFORE, /* the process ends with the step not begun */
    SIM_KILL_AFTER,
    SIM_POWER_BEFORE, /* the machine loses power */
    SIM_POWER_AFTER,
    SIM_TORN,  /* power is lost within the step: a part of it was carried out */
    SIM_ERROR, /* EIO, a failed fsync; an error that passes of the store */
    SIM_FULL,  /* ENOSPC */
    SIM_LOST,  /* carried out, and the reply is lost */
    SIM_LATE,  /* carried out some time after the caller was told of an error */
    SIM_TWICE, /* carried out, and answered as a repetition is: 412 */
    SIM_CUT,   /* the body breaks off */
    SIM_FLIP,  /* a bit of the body is not what was stored */
    SIM_STALE, /* a listing of some time ago */
    SIM_DENIED,
    SIM_FAULTS
};

struct sim_points {
    uint64_t reached[SIM_KINDS][SIM_STEPS];
    uint64_t made[SIM_KINDS][SIM_STEPS][SIM_FAULTS];
};

const char *sim_kind_name(enum sim_kind kind);
const char *sim_step_name(enum sim_step step);
const char *sim_fault_name(enum sim_fault fault);

/* Does the engine have this step? And can this go wrong there? */
bool sim_point_exists(enum sim_kind kind, enum sim_step step);
bool sim_point_can(enum sim_kind kind, enum sim_step step, enum sim_fault fault);

/* What is to go wrong where. */
struct sim_target {
    enum sim_kind kind;
    enum sim_step step;
    enum sim_fault fault;
};

/* The process, or the machine, does not survive it. */
bool sim_fault_crashes(enum sim_fault fault);
/* All that can be made to happen. */
unsigned sim_points_count(void);
struct sim_target sim_points_at(unsigned index);
/* What has to happen first, where the engine takes a step only after a mishap. False: nothing. */
bool sim_points_prelude(const struct sim_target *t, struct sim_target *ret);

void sim_points_add(struct sim_points *to, const struct sim_points *from);
/* Steps that the engine has taken and that the table does not know. */
unsigned sim_points_unknown(const struct sim_points *p);
/* Prints the table; returns how many cells of it are zero that should not be. */
unsigned sim_points_print(const struct sim_points *p, FILE *out);

#endif
