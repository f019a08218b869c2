/*
 * Bits that change at rest, on a disk or in the bucket, and what must hold then.
 *
 *   R1  No wrong byte is served or uploaded: as ever (model.c, check.c).
 *   R2  Whatever is only a copy (indexes, checkpoints, roots, pages, caches, the upload journal) is
 * made again: no call fails because of it. R3  A call may say VARVE_E_CORRUPT if it names a segment
 * file or an object that is damaged now, is asked for a record of the damaged batch (or of its
 * interval of the sparse index), and the other tier does not hold it, as far as the process can
 * know. R4  `verify` names every damaged segment and object, and with `repair` mends what the other
 * tier holds. R5  Damage takes nothing along: what is judged in model.c is judged with the damage
 * undone, and when the operator, or the end, mends what no tier holds, all is there.
 *
 * Only what is synced, not mapped and not written any more rots: of segments those before the last.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "index/sparse.h"
#include "record/batch.h"
#include "tests/sim/world.h"

#define INDEX_INTERVAL 512 /* as create_log() says */

/* ---- the damage ---- */

static bool is_wrong(struct sim_world *w, const struct sim_damage *d)
{
    size_t size;
    const uint8_t *data;

    if (d->kind != SIM_OBJECT)
        return sim_disk_rotten(w->machines[d->machine].disk, &d->rot, d->path, false);
    data = sim_bucket_look(w->bucket, d->path, &size);
    return data && data[d->rot.pos] != d->rot.around[0];
}

static void there_visit(void *arg, const char *path, uint8_t *data, int64_t size)
{
    (void)path, (void)data, (void)size;
    *(bool *)arg = true;
}

static bool is_there(const struct sim_world *w, unsigned machine, const char *path)
{
    bool there = false;

    sim_disk_each(w->machines[machine].disk, path, there_visit, &there);
    return there;
}

/* Deleted since, perhaps while a call was under way that had read it. */
static bool is_gone(struct sim_world *w, const struct sim_damage *d)
{
    size_t size;

    return d->kind == SIM_OBJECT ? !sim_bucket_look(w->bucket, d->path, &size)
                                 : !is_there(w, d->machine, d->path);
}

static void turn(struct sim_world *w, const struct sim_damage *d, bool wrong)
{
    if (d->kind != SIM_OBJECT)
        sim_disk_turn(w->machines[d->machine].disk, &d->rot, d->path, wrong);
    else if (is_wrong(w, d) != wrong)
        (void)sim_bucket_flip(w->bucket, d->path, (size_t)d->rot.pos, d->rot.mask);
}

/* In its place, and not set aside or evicted. */
static bool is_wrong_there(struct sim_world *w, const struct sim_damage *d)
{
    return is_wrong(w, d) && (d->kind == SIM_OBJECT || sim_disk_rotten(w->machines[d->machine].disk,
                                                                       &d->rot, d->path, true));
}

/* Segments and objects: what holds records. */
static bool holds_records(const struct sim_damage *d)
{
    return d->kind == SIM_SEGMENT || d->kind == SIM_OBJECT;
}

static bool names(const struct sim_damage *d, const char *text)
{
    char range[64];

    if (d->kind == SIM_OBJECT)
        (void)snprintf(range, sizeof(range), "%020" PRId64 "-%020" PRId64, d->base, d->end);
    else
        (void)snprintf(range, sizeof(range), "%020" PRId64 ".log", d->base);
    return strstr(text, range) != NULL;
}

void sim_rot_lift(struct sim_world *w, const struct sim_machine *m, bool lifted)
{
    for (unsigned i = 0; i < w->damage_count; i++) {
        struct sim_damage *d = &w->damages[i];

        if (!holds_records(d) || (d->kind == SIM_SEGMENT && d->machine != m->index))
            continue;
        if (lifted)
            d->lifted = is_wrong(w, d);
        if (d->lifted)
            turn(w, d, !lifted);
        d->lifted = d->lifted && lifted;
    }
}

void sim_rot_power(struct sim_world *w, struct sim_machine *m)
{
    bool vouched = w->setup.fsync;

    for (unsigned s = 0; s < SIM_STEPS; s++)
        for (unsigned f = 0; f < SIM_FAULTS; f++)
            vouched = vouched && w->points.made[SIM_CHECKPOINT][s][f] == 0;
    for (unsigned i = 0; i < w->damage_count; i++) {
        const struct sim_damage *d = &w->damages[i];

        if (!vouched && d->kind == SIM_SEGMENT && d->machine == m->index && d->first < m->synced &&
            is_wrong_there(w, d))
            m->synced = d->first;
    }
}

void sim_rot_mend(struct sim_world *w, const struct sim_machine *m)
{
    for (unsigned i = 0; i < w->damage_count; i++) {
        struct sim_damage *d = &w->damages[i];

        if ((d->kind != SIM_SEGMENT && d->kind != SIM_CHECKPOINT) || d->machine != m->index ||
            !is_wrong(w, d))
            continue;
        sim_trace_line(&w->trace, "  the operator mends %s", d->path);
        turn(w, d, false);
    }
}

/* ---- what it explains ---- */

static int64_t cold_end(const struct sim_process *p)
{
    const struct index_root *root;
    struct index_root_pin *pin;
    int64_t end = 0;

    if (p->log && index_manifest_pin(p->log->manifest, &pin, &root, NULL) == 0) {
        end = root->end_offset;
        index_manifest_unpin(pin);
    }
    return end;
}

/* The sparse index of that segment may be missing as well: all of it is scanned then. */
static bool index_is_bad(const struct sim_world *w, const struct sim_damage *d)
{
    bool bad = w->machines[d->machine].boots > 0;
    char path[sizeof(d->path) + 8];

    /* There was no room for it, perhaps. */
    (void)snprintf(path, sizeof(path), "%.*s.index", (int)(strlen(d->path) - strlen(".log")),
                   d->path);
    bad = bad || !is_there(w, d->machine, path);
    for (unsigned s = 0; s < SIM_STEPS; s++)
        for (unsigned f = 0; f < SIM_FAULTS; f++)
            bad = bad || w->points.made[SIM_INDEX][s][f] > 0;
    return bad;
}

static bool object_is_wrong(struct sim_world *w)
{
    bool wrong = false;

    for (unsigned i = 0; i < w->damage_count; i++)
        wrong = wrong || (w->damages[i].kind == SIM_OBJECT && is_wrong(w, &w->damages[i]));
    return wrong;
}

/* Its offset, or the start, if that has moved beyond it, lies there. */
static bool reads(const struct sim_process *p, int64_t from, int64_t to)
{
    return p->at < to && (p->at > p->world->start ? p->at : p->world->start) >= from;
}

static bool segment_explains(struct sim_world *w, const struct sim_process *p,
                             const struct sim_damage *d)
{
    bool whole = p->at < 0 || index_is_bad(w, d);

    if (!p->machine || p->machine->index != d->machine)
        return false;
    if (!p->log) /* the next opening is told of the damage until it is mended */
        return true;
    /* It may have grown since, where what came behind it was lost. */
    if (p->at >= 0 && !reads(p, whole ? d->base : d->first, whole ? INT64_MAX : d->until))
        return false;
    if (p->at >= 0)
        return (p->at > w->start ? p->at : w->start) >= cold_end(p);
    /* As it knew when the step began: a root may have come that names it already. Or retention has
     * taken it. */
    return d->end > p->cold_begin || d->end <= w->start || object_is_wrong(w);
}

void sim_rot_begin(struct sim_process *p)
{
    p->cold_begin = p->world->damage_count > 0 ? cold_end(p) : 0;
}

bool sim_rot_explains(struct sim_process *p, const struct varve_error *err)
{
    struct sim_world *w = p->world;

    for (unsigned i = 0; i < w->damage_count; i++) {
        struct sim_damage *d = &w->damages[i];

        /* After a loss of power only the checkpoint tells what is torn from what is damaged. */
        if (d->kind == SIM_CHECKPOINT && !p->log && p->machine && p->machine->index == d->machine &&
            p->machine->boots > 0 && strstr(err->msg, ".log") && is_wrong(w, d))
            return true;
        if (!holds_records(d) || !names(d, err->msg) || (!is_wrong(w, d) && !is_gone(w, d)))
            continue;
        if (d->kind == SIM_SEGMENT ? segment_explains(w, p, d)
                                   : p->at < 0 || reads(p, d->base, d->end))
            return true;
    }
    return false;
}

bool sim_rot_found(struct sim_world *w, const char *where)
{
    bool found = false;

    for (unsigned i = 0; i < w->damage_count; i++) {
        struct sim_damage *d = &w->damages[i];

        if (strcmp(where, d->path) == 0 || (d->kind == SIM_OBJECT && names(d, where)))
            found = d->found = true;
    }
    return found;
}

int64_t sim_rot_end(struct sim_world *w, const struct sim_machine *m, const char *path, int64_t end)
{
    for (unsigned i = 0; i < w->damage_count; i++) {
        const struct sim_damage *d = &w->damages[i];

        if (d->kind == SIM_SEGMENT && d->machine == m->index && strcmp(d->path, path) == 0 &&
            is_wrong_there(w, d))
            end = d->end;
    }
    return end;
}

/* ---- making it ---- */

struct choice {
    struct sim_world *w;
    unsigned machine;
    enum sim_kind kind;
    char path[160];
    const uint8_t *data;
    int64_t size, last; /* the last segment's base */
    unsigned seen;
};

static bool is_damaged(struct sim_world *w, const char *path)
{
    for (unsigned i = 0; i < w->damage_count; i++)
        if (strcmp(w->damages[i].path, path) == 0 && is_wrong(w, &w->damages[i]))
            return true;
    return false;
}

static void last_visit(void *arg, const char *path, uint8_t *data, int64_t size)
{
    struct choice *c = arg;
    int64_t base = strtoll(strrchr(path, '/') + 1, NULL, 10);

    (void)data;
    (void)size;
    if (sim_disk_kind(path) == SIM_SEGMENT && base > c->last)
        c->last = base;
}

static void choose(struct choice *c, const char *path, const void *data, int64_t size)
{
    if (strlen(path) >= sizeof(c->path) || is_damaged(c->w, path) ||
        sim_below(&c->w->rots, ++c->seen) > 0)
        return;
    strcpy(c->path, path);
    c->data = data;
    c->size = size;
}

static void file_visit(void *arg, const char *path, uint8_t *data, int64_t size)
{
    struct choice *c = arg;
    int64_t base = strtoll(strrchr(path, '/') + 1, NULL, 10);
    size_t n = strlen(path);

    if (sim_disk_kind(path) != c->kind || size == 0 || strcmp(path + n - 4, ".tmp") == 0)
        return;
    if ((c->kind == SIM_SEGMENT || c->kind == SIM_INDEX) && base >= c->last)
        return;
    choose(c, path, data, size);
}

static void object_visit(void *arg, const char *key, const void *data, size_t size)
{
    struct choice *c = arg;
    const char *name = strrchr(key, '/');
    struct index_key_parts parts;
    struct index_root root;
    int64_t end;
    size_t root_size;
    const void *bytes = sim_bucket_look(c->w->bucket, "logs/" SIM_LOG "/@/root", &root_size);

    if (name && index_key_parse(name + 1, &parts) && !parts.page && bytes &&
        index_root_view(bytes, root_size, &root, NULL) == 0 &&
        sim_root_names(c->w, &root, &parts.attempt, &end))
        choose(c, key, data, (int64_t)size);
}

/* Which records the byte belongs to. False: it is not to be touched. */
static bool segment_place(const struct choice *c, int64_t pos, struct sim_damage *d)
{
    struct index_sparse_builder builder;
    struct index_sparse_entry entry;
    struct record_batch b;
    bool hit = false;

    d->base = strtoll(strrchr(c->path, '/') + 1, NULL, 10);
    index_sparse_builder_init(&builder, d->base, INDEX_INTERVAL);
    for (int64_t at = 0; at < c->size; at += b.size) {
        if (record_batch_check(c->data + at, (size_t)(c->size - at), &b, NULL) < 0)
            return false;
        if (pos >= at && pos < at + b.size) {
            hit = true;
            d->first = b.base_offset;
        }
        if (index_sparse_builder_add(&builder, b.base_offset, b.last_offset + 1, (uint32_t)at,
                                     b.size, b.max_timestamp, &entry) &&
            hit && d->until == 0)
            d->until = entry.end_offset;
        d->end = b.last_offset + 1;
    }
    if (d->until == 0)
        d->until = d->end;
    return hit;
}

static enum sim_kind kind_pick(struct sim_random *r, bool closed)
{
    static const enum sim_kind kinds[] = {SIM_SEGMENT,    SIM_SEGMENT,    SIM_SEGMENT, SIM_SEGMENT,
                                          SIM_OBJECT,     SIM_OBJECT,     SIM_INDEX,   SIM_INDEX,
                                          SIM_CHECKPOINT, SIM_LOCAL_ROOT, SIM_JOURNAL, SIM_CACHE,
                                          SIM_LOCAL_PAGE};

    if (closed && sim_chance(r, 1, 2)) /* those are mapped else */
        return sim_chance(r, 1, 2) ? SIM_LOCAL_ROOT : SIM_LOCAL_PAGE;
    return kinds[sim_below(r, sizeof(kinds) / sizeof(*kinds))];
}

/* What is never synced for its own sake, and checked wherever it is read. */
static bool is_copy(enum sim_kind kind)
{
    return kind == SIM_INDEX || kind == SIM_CACHE || kind == SIM_JOURNAL;
}

static void rot(struct sim_world *w)
{
    unsigned machine = (unsigned)sim_below(&w->rots, 2);
    struct choice c = {.w = w, .machine = machine, .last = -1};
    uint8_t mask = (uint8_t)(1u << sim_below(&w->rots, 8));
    struct sim_damage d = {.machine = machine};
    struct index_key_parts parts;
    int64_t pos;

    c.kind = d.kind = kind_pick(&w->rots, !w->processes[machine].log);
    if (sim_chance(&w->rots, 1, 3))
        mask |= (uint8_t)sim_below(&w->rots, 256);
    if (w->damage_count == SIM_DAMAGES || w->machines[machine].dark)
        return;
    /* Until it is opened again nobody knows what of it was vouched for. */
    if (c.kind == SIM_SEGMENT && w->machines[machine].shaken)
        return;
    if (c.kind == SIM_OBJECT) {
        sim_bucket_each(w->bucket, object_visit, &c);
    } else {
        sim_disk_each(w->machines[machine].disk, SIM_DISK_TOP, last_visit, &c);
        sim_disk_each(w->machines[machine].disk, SIM_DISK_TOP, file_visit, &c);
    }
    if (c.seen == 0)
        return;
    pos = (int64_t)sim_below(&w->rots, (uint64_t)c.size);
    if (c.kind == SIM_SEGMENT && !segment_place(&c, pos, &d))
        return;
    strcpy(d.path, c.path);
    if (c.kind == SIM_OBJECT) {
        (void)index_key_parse(strrchr(c.path, '/') + 1, &parts);
        d.base = d.first = parts.base_offset;
        d.end = d.until = parts.end_offset;
        d.rot = (struct sim_rot){.pos = pos, .mask = mask, .around = {c.data[pos]}};
        (void)sim_bucket_flip(w->bucket, c.path, (size_t)pos, mask);
    } else if (!sim_disk_rot(w->machines[machine].disk, c.path, is_copy(c.kind), pos, mask,
                             &d.rot)) {
        return;
    }
    sim_trace_line(&w->trace,
                   "bits %02x of byte %" PRId64 " of %s change (%" PRId64 " to %" PRId64 ")",
                   (unsigned)mask, pos, c.path, d.first, d.until);
    w->points.reached[c.kind][SIM_REST]++;
    w->points.made[c.kind][SIM_REST][SIM_FLIP]++;
    w->damages[w->damage_count++] = d;
    if (d.kind == SIM_CHECKPOINT && w->machines[machine].shaken) /* it vouches no more */
        sim_rot_power(w, &w->machines[machine]);
}

/* ---- repairs ---- */

/* Does the local log hold those offsets in a file of its own that is good? */
struct copies {
    struct sim_world *w;
    const struct sim_damage *d;
    int64_t
        next; /* where the next file begins, -1: there is none; in front of a hole none is whole */
    bool good;
};

static void copy_visit(void *arg, const char *path, uint8_t *data, int64_t size)
{
    struct copies *c = arg;
    int64_t at = 0, end = -1, base;
    struct record_batch b;

    if (sim_disk_kind(path) != SIM_SEGMENT)
        return;
    base = strtoll(strrchr(path, '/') + 1, NULL, 10);
    if (base > c->d->base && (c->next < 0 || base < c->next))
        c->next = base;
    if (base != c->d->base)
        return;
    for (; at < size && record_batch_check(data + at, (size_t)(size - at), &b, NULL) == 0;
         at += b.size)
        end = b.last_offset + 1;
    c->good = end == c->d->end && at == size;
    for (unsigned i = 0; i < c->w->damage_count;
         i++) { /* a leader epoch no batch's CRC32C covers */
        const struct sim_damage *d = &c->w->damages[i];

        if (d->kind == SIM_SEGMENT && strcmp(d->path, path) == 0 && is_wrong_there(c->w, d))
            c->good = false;
    }
}

struct before {
    int64_t base;
    bool found;
};

static void before_visit(void *arg, const struct index_entry *e, const struct index_ref *page)
{
    struct before *b = arg;

    (void)page;
    b->found = b->found || (e && e->end_offset == b->base);
}

/* The chain hash in front of the first object stands in that alone. */
static bool has_before(struct sim_world *w, const struct sim_damage *d)
{
    struct before b = {.base = d->base, .found = d->base == 0};
    struct index_root root;
    size_t size;
    const void *data = sim_bucket_look(w->bucket, "logs/" SIM_LOG "/@/root", &size);

    if (data && index_root_view(data, size, &root, NULL) == 0)
        sim_root_each(w, &root, before_visit, &b);
    return b.found;
}

/* What verify must be able to mend on this machine. */
static bool mendable(struct sim_world *w, const struct sim_machine *m, const struct sim_damage *d)
{
    struct copies c = {.w = w, .d = d, .next = -1};

    if (!holds_records(d) || !is_wrong_there(w, d) || d->end > w->committed.end ||
        d->end <= w->start)
        return false;
    if (d->kind == SIM_OBJECT) {
        sim_disk_each(m->disk, SIM_DISK_TOP, copy_visit, &c);
        return c.good && (c.next < 0 || c.next == d->end) && has_before(w, d);
    }
    if (d->machine != m->index)
        return false;
    return !object_is_wrong(w); /* it goes with all before it */
}

static bool named_by_root(struct sim_world *w, const struct sim_damage *d)
{
    struct index_key_parts parts;
    struct index_root root;
    size_t size;
    int64_t end;
    const void *data = sim_bucket_look(w->bucket, "logs/" SIM_LOG "/@/root", &size);

    return data && index_root_view(data, size, &root, NULL) == 0 &&
           index_key_parse(strrchr(d->path, '/') + 1, &parts) &&
           sim_root_names(w, &root, &parts.attempt, &end);
}

int sim_rot_repair(struct sim_process *p, bool demands, struct varve_error *err)
{
    struct sim_world *w = p->world;
    struct varve_verify_options o = {.size = sizeof(o), .deep = true, .repair = true};
    bool must[SIM_DAMAGES] = {false};
    int rc;

    sim_trace_line(&w->trace, "%s verifies and repairs", p->name);
    p->follower = varve_reader_close(p->follower); /* what is read stays */
    for (unsigned i = 0; i < w->damage_count; i++)
        must[i] = mendable(w, p->machine, &w->damages[i]);
    rc = varve_log_verify(p->log, &o, err);
    for (unsigned i = 0; rc == 0 && demands && !p->caller.dead && i < w->damage_count; i++) {
        struct sim_damage *d = &w->damages[i];

        if (must[i] && is_wrong_there(w, d) && (d->kind != SIM_OBJECT || named_by_root(w, d)))
            sim_fail(w, "R4: verify --repair leaves %s damaged, and the other tier is whole",
                     d->path);
    }
    return rc;
}

bool sim_rot_event(struct sim_world *w)
{
    if (!w->setup.rots || w->failed || w->over)
        return false;
    if (sim_chance(&w->rots, 1, 80))
        rot(w);
    return w->damage_count > 0 && sim_chance(&w->rots, 1, 150);
}

/* ---- the end ---- */

void sim_rot_settle(struct sim_world *w)
{
    for (unsigned i = 0; i < w->damage_count; i++) {
        struct sim_damage *d = &w->damages[i];
        const struct sim_machine *m = &w->machines[d->machine];
        bool owner = m->has_id && base_id_equal(&m->store_id, &w->owner);

        /* A take-over that has not been opened since leaves a tail that only this machine has, and
         * nobody knows where a damaged last file ends. */
        bool only =
            !owner || d->end > w->committed.end || (m->displaced && d->end >= m->displaced_at);

        d->found = false;
        if (d->kind == SIM_CHECKPOINT || (d->kind == SIM_SEGMENT && only))
            turn(w, d, false);
    }
}

void sim_rot_check(struct sim_process *p)
{
    struct sim_world *w = p->world;
    struct varve_error err = {0};
    struct varve_verify_options look = {
        .size = sizeof(look), .deep = true, .found = sim_check_finding, .ctx = w};
    struct tiering_collect collect = {.share_max = 1, .force = true};
    bool must[SIM_DAMAGES] = {false};
    struct hot_range range;

    hot_set_range(p->log->hot, &range);
    for (unsigned i = 0; i < w->damage_count; i++) {
        const struct sim_damage *d = &w->damages[i];

        must[i] = d->end > w->start && is_wrong_there(w, d) &&
                  (d->kind == SIM_OBJECT ? named_by_root(w, d)
                                         : d->kind == SIM_SEGMENT && d->base >= range.floor &&
                                               d->machine == p->machine->index);
    }
    if (varve_log_verify(p->log, &look, &err) < 0)
        sim_fail(w, "the end: verify: %s", err.msg);
    for (unsigned i = 0; i < w->damage_count; i++)
        if (must[i] && !w->damages[i].found)
            sim_fail(w, "R4: the end: verify does not find that %s is damaged", w->damages[i].path);
    if (!w->failed && sim_rot_repair(p, true, &err) < 0)
        sim_fail(w, "the end: repair: %s", err.msg);
    for (unsigned i = 0; i < w->damage_count; i++)
        if (holds_records(&w->damages[i]))
            turn(w, &w->damages[i], false); /* what no tier holds */
    if (!w->failed && sim_rot_repair(p, true, &err) < 0)
        sim_fail(w, "the end: repair: %s", err.msg);
    if (!w->failed && tiering_log_collect(p->log->tiering, &collect, &err) < 0) /* the replaced */
        sim_fail(w, "the end: collecting: %s", err.msg);
}
