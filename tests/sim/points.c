#include "tests/sim/points.h"

#include <assert.h>
#include <string.h>

static const char *const kind_names[SIM_KINDS] = {
    [SIM_SEGMENT] = "segment",
    [SIM_INDEX] = "index",
    [SIM_PUBLISHED] = "published",
    [SIM_CHECKPOINT] = "checkpoint",
    [SIM_LOCAL_ROOT] = "local-root",
    [SIM_LOCAL_PAGE] = "local-page",
    [SIM_JOURNAL] = "journal",
    [SIM_DIVERGENT] = "divergent",
    [SIM_SETTINGS] = "settings",
    [SIM_LOCK] = "lock",
    [SIM_CACHE] = "cache",
    [SIM_DIRECTORY] = "directory",
    [SIM_OTHER] = "other",
    [SIM_OBJECT] = "object",
    [SIM_ROOT] = "root",
    [SIM_PAGE] = "page",
    [SIM_LEASE] = "lease",
    [SIM_IDENTITY] = "identity",
    [SIM_LISTING] = "listing",
};

static const char *const step_names[SIM_STEPS] = {
    [SIM_CREATE] = "create",     [SIM_WRITE] = "write",       [SIM_SYNC] = "sync",
    [SIM_TRUNCATE] = "truncate", [SIM_ALLOCATE] = "allocate", [SIM_RENAME] = "rename",
    [SIM_LINK] = "link",         [SIM_UNLINK] = "unlink",     [SIM_MKDIR] = "mkdir",
    [SIM_RMDIR] = "rmdir",       [SIM_READ] = "read",         [SIM_PUT] = "put",
    [SIM_GET] = "get",           [SIM_HEAD] = "head",         [SIM_LIST] = "list",
    [SIM_DELETE] = "delete",     [SIM_BEGIN] = "begin",       [SIM_PART] = "part",
    [SIM_COMPLETE] = "complete", [SIM_ABORT] = "abort",       [SIM_CHECK] = "check",
    [SIM_REST] = "rest",
};

static const char *const fault_names[SIM_FAULTS] = {
    [SIM_KILL_BEFORE] = "kill<",  [SIM_KILL_AFTER] = "kill>", [SIM_POWER_BEFORE] = "power<",
    [SIM_POWER_AFTER] = "power>", [SIM_TORN] = "torn",        [SIM_ERROR] = "error",
    [SIM_FULL] = "full",          [SIM_LOST] = "lost",        [SIM_LATE] = "late",
    [SIM_TWICE] = "twice",        [SIM_CUT] = "cut",          [SIM_FLIP] = "flip",
    [SIM_STALE] = "stale",        [SIM_DENIED] = "denied",
};

#define ALL_CRASHES                                                                                \
    (1u << SIM_KILL_BEFORE | 1u << SIM_KILL_AFTER | 1u << SIM_POWER_BEFORE | 1u << SIM_POWER_AFTER)
#define PLAIN (1u << SIM_ERROR)
#define FILLING (ALL_CRASHES | PLAIN | 1u << SIM_FULL)
#define REQUEST (ALL_CRASHES | PLAIN | 1u << SIM_LOST | 1u << SIM_DENIED)

/* By step: what can go wrong. Reading is no durable step: nothing crashes before or after it. */
static const unsigned step_faults[SIM_STEPS] = {
    [SIM_CREATE] = FILLING,
    [SIM_WRITE] = FILLING | 1u << SIM_TORN,
    [SIM_SYNC] = ALL_CRASHES | PLAIN,
    [SIM_TRUNCATE] = ALL_CRASHES | PLAIN,
    [SIM_ALLOCATE] = FILLING,
    [SIM_RENAME] = FILLING,
    [SIM_LINK] = FILLING,
    [SIM_UNLINK] = ALL_CRASHES | PLAIN,
    [SIM_MKDIR] = FILLING,
    [SIM_RMDIR] = ALL_CRASHES | PLAIN,
    [SIM_READ] = PLAIN,
    [SIM_PUT] = REQUEST | 1u << SIM_LATE | 1u << SIM_TWICE,
    [SIM_GET] = PLAIN | 1u << SIM_CUT | 1u << SIM_FLIP | 1u << SIM_DENIED,
    [SIM_HEAD] = PLAIN | 1u << SIM_DENIED,
    [SIM_LIST] = PLAIN | 1u << SIM_STALE | 1u << SIM_DENIED,
    [SIM_DELETE] = REQUEST | 1u << SIM_LATE,
    [SIM_BEGIN] = REQUEST,
    [SIM_PART] = REQUEST,
    [SIM_COMPLETE] = REQUEST | 1u << SIM_TWICE,
    [SIM_ABORT] = REQUEST,
    [SIM_CHECK] = PLAIN,
    [SIM_REST] = 1u << SIM_FLIP,
};

#define S(step) (1u << SIM_##step)

/* The steps that the engine takes, by kind. One that is taken and not here fails the run, as one
 * that is here and never taken does. */
static const unsigned kind_steps[SIM_KINDS] = {
    [SIM_SEGMENT] = S(CREATE) | S(WRITE) | S(SYNC) | S(TRUNCATE) | S(ALLOCATE) | S(RENAME) |
                    S(UNLINK) | S(READ) | S(REST),
    [SIM_INDEX] = S(CREATE) | S(WRITE) | S(SYNC) | S(RENAME) | S(UNLINK) | S(READ) | S(REST),
    [SIM_PUBLISHED] = S(CREATE) | S(WRITE) | S(SYNC) | S(READ) | S(UNLINK),
    [SIM_CHECKPOINT] = S(CREATE) | S(WRITE) | S(SYNC) | S(RENAME) | S(UNLINK) | S(READ) | S(REST),
    [SIM_LOCAL_ROOT] = S(CREATE) | S(WRITE) | S(SYNC) | S(RENAME) | S(UNLINK) | S(REST),
    [SIM_LOCAL_PAGE] = S(CREATE) | S(WRITE) | S(SYNC) | S(RENAME) | S(UNLINK) | S(REST),
    [SIM_JOURNAL] = S(CREATE) | S(WRITE) | S(TRUNCATE) | S(READ) | S(REST),
    [SIM_DIVERGENT] = S(LINK) | S(READ) | S(UNLINK),
    [SIM_SETTINGS] = S(CREATE) | S(WRITE) | S(SYNC) | S(RENAME) | S(UNLINK) | S(READ),
    [SIM_LOCK] = S(CREATE) | S(WRITE) | S(TRUNCATE),
    [SIM_CACHE] = S(CREATE) | S(WRITE) | S(TRUNCATE) | S(ALLOCATE) | S(READ) | S(REST),
    [SIM_DIRECTORY] = S(SYNC) | S(MKDIR) | S(RMDIR),
    [SIM_OBJECT] = S(PUT) | S(GET) | S(HEAD) | S(DELETE) | S(BEGIN) | S(PART) | S(COMPLETE) |
                   S(ABORT) | S(CHECK) | S(REST),
    [SIM_ROOT] = S(PUT) | S(GET) | S(HEAD),
    [SIM_PAGE] = S(PUT) | S(GET) | S(DELETE),
    [SIM_LEASE] = S(PUT) | S(GET),
    [SIM_IDENTITY] = S(PUT) | S(GET),
    [SIM_LISTING] = S(LIST),
};

const char *sim_kind_name(enum sim_kind kind)
{
    return kind_names[kind];
}

const char *sim_step_name(enum sim_step step)
{
    return step_names[step];
}

const char *sim_fault_name(enum sim_fault fault)
{
    return fault_names[fault];
}

bool sim_point_exists(enum sim_kind kind, enum sim_step step)
{
    return kind_steps[kind] >> step & 1;
}

bool sim_point_can(enum sim_kind kind, enum sim_step step, enum sim_fault fault)
{
    if (fault == SIM_FLIP && step != SIM_REST && kind != SIM_OBJECT && kind != SIM_ROOT)
        return false; /* others have no checksum of their own: the connection's must do */
    if ((kind == SIM_PUBLISHED || kind == SIM_DIVERGENT) && step == SIM_UNLINK)
        return false; /* only when a log is deleted, among others that can */
    return sim_point_exists(kind, step) && step_faults[step] >> fault & 1;
}

/* Is it made to happen at a step? What changes at rest has an actor of its own. */
static bool awaited(unsigned kind, unsigned step, unsigned fault)
{
    return step != SIM_REST &&
           sim_point_can((enum sim_kind)kind, (enum sim_step)step, (enum sim_fault)fault);
}

bool sim_fault_crashes(enum sim_fault fault)
{
    return fault <= SIM_TORN;
}

unsigned sim_points_count(void)
{
    unsigned count = 0;

    for (unsigned k = 0; k < SIM_KINDS; k++)
        for (unsigned s = 0; s < SIM_STEPS; s++)
            for (unsigned f = 0; f < SIM_FAULTS; f++)
                count += awaited(k, s, f);
    return count;
}

struct sim_target sim_points_at(unsigned index)
{
    for (unsigned k = 0; k < SIM_KINDS; k++)
        for (unsigned s = 0; s < SIM_STEPS; s++)
            for (unsigned f = 0; f < SIM_FAULTS; f++) {
                struct sim_target t = {(enum sim_kind)k, (enum sim_step)s, (enum sim_fault)f};

                if (awaited(k, s, f) && index-- == 0)
                    return t;
            }
    assert(false);
    return (struct sim_target){0};
}

bool sim_points_prelude(const struct sim_target *t, struct sim_target *ret)
{
    bool file = t->kind == SIM_CHECKPOINT || t->kind == SIM_LOCAL_ROOT || t->kind == SIM_SETTINGS ||
                t->kind == SIM_LOCAL_PAGE;

    if (t->step == SIM_UNLINK && file)
        *ret = (struct sim_target){t->kind, SIM_RENAME, SIM_ERROR};
    else if (t->step == SIM_RMDIR)
        *ret = (struct sim_target){SIM_ROOT, SIM_PUT, SIM_DENIED};
    else if (t->step == SIM_ABORT || t->step == SIM_CHECK ||
             (t->kind == SIM_JOURNAL && t->step == SIM_READ))
        *ret = (struct sim_target){SIM_OBJECT, SIM_PART, SIM_KILL_AFTER};
    else
        return false;
    return true;
}

void sim_points_add(struct sim_points *to, const struct sim_points *from)
{
    for (unsigned k = 0; k < SIM_KINDS; k++)
        for (unsigned s = 0; s < SIM_STEPS; s++) {
            to->reached[k][s] += from->reached[k][s];
            for (unsigned f = 0; f < SIM_FAULTS; f++)
                to->made[k][s][f] += from->made[k][s][f];
        }
}

unsigned sim_points_unknown(const struct sim_points *p)
{
    unsigned count = 0;

    for (unsigned k = 0; k < SIM_KINDS; k++)
        for (unsigned s = 0; s < SIM_STEPS; s++)
            count += p->reached[k][s] > 0 && !sim_point_exists((enum sim_kind)k, (enum sim_step)s);
    return count;
}

unsigned sim_points_print(const struct sim_points *p, FILE *out)
{
    unsigned zeros = 0;

    fprintf(out, "%-20s %10s", "step", "taken");
    for (unsigned f = 0; f < SIM_FAULTS; f++)
        fprintf(out, " %7s", fault_names[f]);
    fprintf(out, "\n");
    for (unsigned k = 0; k < SIM_KINDS; k++)
        for (unsigned s = 0; s < SIM_STEPS; s++) {
            char name[64];

            if (!sim_point_exists((enum sim_kind)k, (enum sim_step)s) && p->reached[k][s] == 0)
                continue;
            (void)snprintf(name, sizeof(name), "%s.%s%s", kind_names[k], step_names[s],
                           sim_point_exists((enum sim_kind)k, (enum sim_step)s) ? "" : " (?)");
            fprintf(out, "%-20s %10llu", name, (unsigned long long)p->reached[k][s]);
            zeros += p->reached[k][s] == 0;
            for (unsigned f = 0; f < SIM_FAULTS; f++) {
                bool can = sim_point_can((enum sim_kind)k, (enum sim_step)s, (enum sim_fault)f);

                if (can)
                    fprintf(out, " %7llu", (unsigned long long)p->made[k][s][f]);
                else
                    fprintf(out, " %7s", ".");
                zeros += can && p->made[k][s][f] == 0;
            }
            fprintf(out, "\n");
        }
    return zeros;
}
