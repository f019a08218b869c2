/*
 * Crash points, one after the other. A few fixed stories are told once to see which durable steps
 * they take; then each of them again for every one of these steps and every way to crash there.
 * What is left behind is noted, the process opens the log again, uploads, evicts, collects, and
 * after each of these it is noted what is gone. Then the story goes on, and at its end all is
 * judged as that of a seed is (check.c, model.c).
 *
 * Nothing here is by chance but what a loss of power keeps, and that follows from the step's
 * number.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cold/lease.h"
#include "record/batch.h"
#include "tests/sim/world.h"

#define MS INT64_C(1000000)
#define SEGMENTS_MAX 256
#define POWER_TRIES 2 /* the first one strict */
#define STEPS_MAX 4096

/* ---- what is left behind ---- */

enum left {
    LEFT_DRAFT,
    LEFT_TORN,
    LEFT_HOLE,
    LEFT_NO_INDEX,
    LEFT_LONE_INDEX,
    LEFT_FOREIGN,
    LEFT_TWICE,
    LEFT_OLD_ROOT,
    LEFT_NO_ROOT,
    LEFT_ORPHAN,
    LEFT_UPLOAD,
    LEFT_CUT,
    LEFT_LEASE,
    LEFT_COUNT
};

static const struct {
    const char *name, *where, *what;
} lefts[LEFT_COUNT] = {
    [LEFT_DRAFT] = {"draft", "disk",
                    "a file `*.tmp` or `*.draft`: what was to replace another one"},
    [LEFT_TORN] = {"torn", "disk", "a segment that ends in bytes that are no batch"},
    [LEFT_HOLE] = {"hole", "disk", "a segment that ends in front of the next one's first offset"},
    [LEFT_NO_INDEX] = {"no index", "disk", "a segment without its sparse index"},
    [LEFT_LONE_INDEX] = {"lone index", "disk", "a sparse index without its segment"},
    [LEFT_FOREIGN] = {"foreign", "disk",
                      "records in the log's directory that another store's history has replaced"},
    [LEFT_TWICE] = {"twice", "disk", "a segment that has a name in `divergent/` and its old one"},
    [LEFT_OLD_ROOT] = {"old root", "disk", "the owner's copy of the root is not the newest"},
    [LEFT_NO_ROOT] = {"no root", "disk", "a log in the bucket of which its owner has no root here"},
    [LEFT_ORPHAN] = {"orphan", "bucket", "an object or a page that no root names"},
    [LEFT_UPLOAD] = {"upload", "bucket", "an unfinished multipart upload"},
    [LEFT_CUT] = {"cut", "bucket",
                  "objects, or pages, below the log start that are still to be deleted"},
    [LEFT_LEASE] = {"lease", "bucket", "a lease that is held by a process that is dead"},
};

struct hot_file {
    int64_t base, end;
    bool torn, index, log;
};

struct inventory {
    struct sim_world *w;
    const struct sim_machine *machine;
    struct hot_file files[SEGMENTS_MAX], aside[SEGMENTS_MAX];
    unsigned count, aside_count;
    bool root;
    uint64_t generation;
    unsigned left;
};

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

static struct hot_file *file_of(struct hot_file *files, unsigned *count, int64_t base)
{
    for (unsigned i = 0; i < *count; i++)
        if (files[i].base == base)
            return &files[i];
    assert(*count < SEGMENTS_MAX);
    files[*count] = (struct hot_file){.base = base, .end = base};
    return &files[(*count)++];
}

static void visit_segment(struct hot_file *f, const uint8_t *data, int64_t size)
{
    int64_t pos = 0;
    struct record_batch b;

    f->log = true;
    while (pos < size && record_batch_check(data + pos, (size_t)(size - pos), &b, NULL) == 0) {
        f->end = b.last_offset + 1;
        pos += b.size;
    }
    f->torn = pos < size;
}

static void visit_file(void *arg, const char *path, uint8_t *data, int64_t size)
{
    struct inventory *v = arg;
    const char *name = strrchr(path, '/') + 1;
    bool aside = strstr(path, "/divergent/") != NULL;
    struct index_root root;

    if (strstr(path, "/logs/") && !strstr(path, "/logs/" SIM_LOG "/"))
        return; /* of the log that is made again */
    if (ends_with(path, ".tmp") || ends_with(path, ".draft"))
        v->left |= 1u << LEFT_DRAFT;
    else if (ends_with(path, ".log") && !aside)
        visit_segment(file_of(v->files, &v->count, strtoll(name, NULL, 10)), data, size);
    else if (ends_with(path, ".log"))
        visit_segment(file_of(v->aside, &v->aside_count, strtoll(name, NULL, 10)), data, size);
    else if (ends_with(path, ".index"))
        file_of(v->files, &v->count, strtoll(name, NULL, 10))->index = true;
    else if (strcmp(name, "root") == 0 && index_root_decode(data, (size_t)size, &root, NULL) == 0) {
        v->root = true;
        v->generation = root.generation;
    }
}

static int by_base(const void *a, const void *b)
{
    const struct hot_file *x = a, *y = b;

    return x->base < y->base ? -1 : x->base > y->base;
}

static void judge_files(struct inventory *v)
{
    const struct sim_machine *m = v->machine;

    qsort(v->files, v->count, sizeof(v->files[0]), by_base);
    for (unsigned i = 0; i < v->count; i++) {
        const struct hot_file *f = &v->files[i];

        if (!f->log)
            v->left |= 1u << LEFT_LONE_INDEX;
        if (f->log && !f->index)
            v->left |= 1u << LEFT_NO_INDEX;
        if (f->torn)
            v->left |= 1u << LEFT_TORN;
        if (f->log && !f->torn && i + 1 < v->count && v->files[i + 1].log &&
            v->files[i + 1].base != f->end)
            v->left |= 1u << LEFT_HOLE;
        if (m->displaced && f->end > m->displaced_at)
            v->left |= 1u << LEFT_FOREIGN;
        for (unsigned k = 0; f->log && k < v->aside_count; k++)
            if (v->aside[k].base == f->base && v->aside[k].end == f->end)
                v->left |= 1u << LEFT_TWICE;
    }
}

static void visit_object(void *arg, const char *key, const void *data, size_t size)
{
    struct inventory *v = arg;
    struct sim_world *w = v->w;
    const char *name = strrchr(key, '/');
    struct index_key_parts parts;
    struct cold_lease lease;
    struct index_root root;
    const void *now;
    size_t now_size;
    int64_t end;

    if (strncmp(key, "leases/", 7) == 0) {
        if (cold_lease_decode(data, size, &lease, NULL) == 0 && lease.state == COLD_LEASE_HELD)
            for (unsigned i = 0; i < 2; i++)
                if (base_id_equal(&lease.store, &w->machines[i].store_id) && !w->processes[i].store)
                    v->left |= 1u << LEFT_LEASE;
        return;
    }
    if (strncmp(key, "logs/" SIM_LOG "/", strlen("logs/" SIM_LOG "/")) != 0 ||
        !index_key_parse(name + 1, &parts))
        return;
    now = sim_bucket_look(w->bucket, "logs/" SIM_LOG "/@/root", &now_size);
    if (!now || index_root_decode(now, now_size, &root, NULL) < 0)
        return;
    if (sim_root_names(w, &root, &parts.attempt, &end)) {
        if (end <= root.start_offset)
            v->left |= 1u << LEFT_CUT;
        return;
    }
    v->left |= 1u << LEFT_ORPHAN;
}

/* Of one machine's disk, and of the bucket. */
static unsigned take_inventory(struct sim_world *w, const struct sim_machine *m)
{
    struct inventory *v = calloc(1, sizeof(*v));
    unsigned left;

    assert(v);
    v->w = w;
    v->machine = m;
    sim_disk_each(m->disk, SIM_DISK_TOP "/", visit_file, v);
    judge_files(v);
    if (m->has_id && w->has_root && base_id_equal(&m->store_id, &w->owner)) {
        if (!v->root)
            v->left |= 1u << LEFT_NO_ROOT;
        else if (v->generation < w->generation)
            v->left |= 1u << LEFT_OLD_ROOT;
    }
    sim_bucket_each(w->bucket, visit_object, v);
    if (sim_bucket_uploads(w->bucket) > 0)
        v->left |= 1u << LEFT_UPLOAD;
    left = v->left;
    free(v);
    return left;
}

/* ---- the stories ---- */

struct line {
    unsigned process;
    enum sim_act act;
    int64_t arg;
    bool take_over;          /* where it opens */
    unsigned times;          /* 0: once */
    int64_t wait_ms;         /* before it */
    struct sim_target first; /* goes wrong meanwhile, */
    bool has_first;          /* if so */
};

#define A 0
#define B 1
#define DO(p, a, ...)                                                                              \
    {                                                                                              \
        .process = (p), .act = SIM_ACT_##a, __VA_ARGS__                                            \
    }
#define MISHAP(k, s, f) .has_first = true, .first = {SIM_##k, SIM_##s, SIM_##f}
#define BOTH (SIM_RUN_SEALS | SIM_RUN_EVICTS)
#define TRIM_ALL (-1) /* up to n */

#define TRIM_HALF (-2) /* into what is not uploaded */

/* A log's life with one owner. */
static const struct line life[] = {
    DO(A, OPEN, 0),
    DO(A, APPEND, .times = 4),
    DO(A, SYNC, 0),
    DO(A, APPEND, .times = 3),
    DO(A, SEAL, 0),
    DO(A, APPEND, .times = 2),
    DO(A, STEP, .wait_ms = 100),
    DO(A, RUN, .arg = SIM_RUN_SEALS),
    DO(A, APPEND, .times = 5),
    DO(A, RUN, .arg = BOTH),
    DO(A, APPEND, .times = 2),
    DO(A, TRIM, .arg = TRIM_ALL),
    DO(A, STEP, .wait_ms = 2000),
    DO(A, COLLECT, 0),
    DO(A, APPEND, .times = 2),
    DO(A, CLOSE, 0),
    DO(A, OPEN, 0),
    /* one in two leaves a part of a batch */
    DO(A, APPEND, .times = 2, MISHAP(SEGMENT, WRITE, FULL)),
    DO(A, APPEND, .times = 2, MISHAP(SEGMENT, WRITE, FULL)),
    DO(A, APPEND, .times = 2, MISHAP(SEGMENT, WRITE, FULL)),
    DO(A, APPEND, .times = 2, MISHAP(SEGMENT, WRITE, FULL)),
    DO(A, RUN, .arg = BOTH),
    /* mishaps that make drafts be taken away again, or overwritten */
    DO(A, APPEND, .times = 2),
    DO(A, RUN, .arg = SIM_RUN_SEALS, MISHAP(LOCAL_ROOT, RENAME, ERROR)),
    DO(A, SYNC, MISHAP(CHECKPOINT, RENAME, ERROR)),
    DO(A, APPEND, .times = 2),
    DO(A, RUN, .arg = SIM_RUN_SEALS, MISHAP(LOCAL_ROOT, WRITE, KILL_AFTER)),
    DO(A, OPEN, 0),
    DO(A, APPEND, .times = 2),
    DO(A, RUN, .arg = SIM_RUN_SEALS, MISHAP(CHECKPOINT, WRITE, KILL_AFTER)),
    DO(A, OPEN, 0),
    DO(A, APPEND, .times = 2),
    DO(A, CLOSE, MISHAP(CHECKPOINT, RENAME, ERROR)),
    DO(A, OPEN, 0),
    DO(A, APPEND, .times = 2),
    DO(A, CLOSE, MISHAP(CHECKPOINT, WRITE, KILL_AFTER)),
    DO(A, OPEN, 0),
    DO(A, APPEND, MISHAP(SEGMENT, WRITE, KILL_AFTER)),
    DO(A, OPEN, MISHAP(INDEX, RENAME, KILL_BEFORE)),
    DO(A, OPEN, 0),
    DO(A, APPEND, .times = 2),
    DO(A, SYNC, 0),
};

/* Making a store and a log does not succeed at once. */
static const struct line beginnings[] = {
    DO(A, OPEN, MISHAP(SETTINGS, WRITE, KILL_AFTER)),
    DO(A, OPEN, MISHAP(SETTINGS, RENAME, ERROR)),
    DO(A, OPEN, MISHAP(ROOT, PUT, DENIED)),
    DO(A, OPEN, 0),
    DO(A, APPEND, .times = 2),
    DO(A, RUN, .arg = BOTH),
    /* what the machine loses, the bucket has */
    DO(A, APPEND, .times = 2),
    DO(A, APPEND, MISHAP(SEGMENT, WRITE, POWER_AFTER)),
    DO(A, OPEN, 0),
    DO(A, APPEND, .times = 2),
};

/* Uploads in parts, interrupted ones among them. */
static const struct line parts[] = {
    DO(A, OPEN, 0),
    DO(A, APPEND, .times = 8),
    DO(A, RUN, .arg = BOTH),
    DO(A, APPEND, .times = 8),
    DO(A, RUN, .arg = BOTH, MISHAP(OBJECT, PART, KILL_AFTER)),
    DO(A, OPEN, 0),
    DO(A, RUN, .arg = BOTH), /* goes on with it */
    DO(A, APPEND, .times = 8),
    DO(A, RUN, .arg = BOTH, MISHAP(OBJECT, PART, KILL_AFTER)),
    DO(A, OPEN, 0),
    DO(A, COLLECT, 0), /* gives it up */
    DO(A, RUN, .arg = BOTH),
    DO(A, APPEND, .times = 8),
    DO(A, RUN, .arg = BOTH, MISHAP(OBJECT, COMPLETE, DENIED)),
    DO(A, RUN, .arg = BOTH),
};

/* Take-overs: the three cases of I13. */
static const struct line owners[] = {
    DO(A, OPEN, 0),
    DO(A, APPEND, .times = 4),
    DO(A, RUN, .arg = SIM_RUN_SEALS),
    DO(B, OPEN, .take_over = true),
    DO(A, LOOK, 0),
    DO(A, OPEN, .take_over = true), /* equal */
    DO(A, APPEND, .times = 3),
    DO(A, RUN, .arg = SIM_RUN_SEALS),
    DO(B, OPEN, .take_over = true),
    DO(B, APPEND, .times = 4),
    DO(B, RUN, .arg = SIM_RUN_SEALS),
    DO(A, LOOK, 0),
    DO(A, OPEN, .take_over = true), /* behind */
    DO(A, APPEND, .times = 3),
    DO(A, RUN, .arg = SIM_RUN_SEALS),
    DO(A, APPEND, .times = 3),
    DO(A, SEAL, 0),
    DO(A, APPEND, .times = 3),
    DO(A, SYNC, 0),
    DO(B, OPEN, .take_over = true),
    DO(B, APPEND, .times = 2),
    DO(B, RUN, .arg = SIM_RUN_SEALS),
    DO(A, LOOK, 0),
    DO(A, OPEN, 0), /* refused, and sets its tail aside */
    DO(B, APPEND, .times = 3),
    DO(B, CLOSE, 0),
    DO(A, OPEN, .take_over = true), /* B diverges */
    DO(A, APPEND, .times = 2),
    DO(A, RUN, .arg = SIM_RUN_SEALS),
    DO(B, OPEN, .take_over = true),
    DO(B, APPEND, .times = 2),
    DO(B, RUN, .arg = BOTH),
    DO(B, APPEND, .times = 4),
    DO(B, TRIM, .arg = TRIM_HALF), /* so that n lies within a segment */
    DO(A, OPEN, .take_over = true),
    DO(A, APPEND, .times = 2),
    DO(A, RUN, .arg = SIM_RUN_SEALS),
    DO(B, OPEN, .take_over = true), /* divergent from the middle of it on */
    DO(B, APPEND, .times = 2),
};

/* Lease mode. */
static const struct line leases[] = {
    DO(A, OPEN, 0),
    DO(A, APPEND, .times = 3),
    DO(A, RUN, .arg = SIM_RUN_SEALS),
    DO(A, APPEND, .times = 3, .wait_ms = 2000),
    DO(A, CLOSE, 0),
    DO(A, OPEN, 0),
    DO(A, APPEND, .times = 2),
    DO(A, APPEND, MISHAP(SEGMENT, WRITE, KILL_AFTER)),
    DO(B, OPEN, .take_over = true),
    DO(B, APPEND, .times = 2),
    DO(B, RUN, .arg = SIM_RUN_SEALS),
    DO(A, OPEN, .take_over = true),
    DO(A, APPEND, .times = 2, .wait_ms = 5000),
};

/* A manifest of many pages, cut off from its beginning. */
static const struct line pages[] = {
    DO(A, OPEN, 0),
    DO(A, APPEND, 0),
    DO(A, SEAL, 0),
    DO(A, APPEND, 0),
    DO(A, SEAL, 0),
    DO(A, APPEND, 0),
    DO(A, SEAL, 0),
    DO(A, APPEND, 0),
    DO(A, RUN, .arg = BOTH),
    DO(A, APPEND, 0),
    DO(A, SEAL, 0),
    DO(A, APPEND, 0),
    DO(A, SEAL, 0),
    DO(A, APPEND, 0),
    DO(A, RUN, .arg = BOTH, MISHAP(LOCAL_PAGE, RENAME, ERROR)),
    DO(A, APPEND, 0),
    DO(A, RUN, .arg = BOTH, MISHAP(LOCAL_PAGE, WRITE, KILL_AFTER)),
    DO(A, OPEN, 0),
    DO(A, VERIFY, 0),
    DO(B, OPEN, .take_over = true),
    DO(B, APPEND, 0),
    DO(B, RUN, .arg = BOTH),
    DO(A, OPEN, .take_over = true),
    DO(A, APPEND, 0),
    DO(A, TRIM, .arg = TRIM_ALL),
    DO(A, STEP, .wait_ms = 2000),
    DO(A, STEP, .wait_ms = 2000),
    DO(A, COLLECT, 0),
};

#define AGAIN(p, a) DO(p, AGAIN, .arg = SIM_AGAIN_##a, .take_over = true)

/* Beside it another log, which both stores take over, delete and make again. */
static const struct line again[] = {
    DO(A, OPEN, 0),   DO(B, OPEN, .take_over = true),
    AGAIN(A, LIVE),   AGAIN(B, LIVE),
    AGAIN(A, LIVE), /* epoch 2 */
    AGAIN(B, LIVE),   AGAIN(B, DELETE),
    AGAIN(B, LIVE), /* the second life */
    AGAIN(A, LIVE), /* has a tail of the first, of an epoch that the second never had */
    AGAIN(A, DELETE), AGAIN(B, LIVE), /* makes it with files of the second in their place */
    AGAIN(A, LIVE),                   /* with what its deletion has left */
    AGAIN(B, LIVE),
};

#define STORY(n, ...)                                                                              \
    {                                                                                              \
#n, n, sizeof(n) / sizeof(n[0]), __VA_ARGS__                                               \
    }

static const struct story {
    const char *name;
    const struct line *lines;
    size_t count;
    bool fsync;
    size_t part_bytes;
    int64_t lease_ms;
    bool folds;
    bool again;
} stories[] = {
    STORY(life, false, 0, 0),
    STORY(beginnings, true, 0, 0),
    STORY(parts, false, 2048, 0),
    STORY(owners, false, 0, 0),
    STORY(leases, true, 0, 3000),
    STORY(pages, false, 0, 0, true),
    STORY(again, false, 0, 0, false, true),
};

#define STORY_COUNT (sizeof(stories) / sizeof(stories[0]))

/* ---- telling one ---- */

enum case_of { CASE_EQUAL, CASE_BEHIND, CASE_DIVERGENT, CASES };

static const char *const case_names[CASES] = {"equal", "behind", "divergent"};

/* What is known of a step; in shared memory. */
struct noted {
    uint64_t crashes;
    unsigned after_kill, after_power;
};

enum cleaner { BY_OPENING, BY_TIERER, BY_COLLECTION, CLEANERS };

struct figures {
    uint64_t runs, failed;
    struct noted steps[SIM_KINDS][SIM_STEPS];
    unsigned cleaned[CLEANERS]; /* what each of them took away */
    uint64_t cases[CASES];
};

static struct sim_setup setup_of(const struct story *s, uint64_t seed)
{
    return (struct sim_setup){
        .seed = seed,
        .events = 1,
        .fsync = s->fsync,
        .lease_ms = s->lease_ms,
        .part_bytes = s->part_bytes,
        .faults = true,
        .retention_ms = -1,
        .retention_bytes = -1,
        .local_retention_ms = -2,
        .local_retention_bytes = -2,
        .delete_delay_ms = 1000,
        .segment_ms = -1,
        .flush_ms = -1,
        .segment_bytes = 8192,
        .folds = s->folds,
        .again = s->again,
        .fold = {.root_entries = 2, .page_entries = 2, .page_refs = 2},
    };
}

static void open_again(struct sim_process *p, bool take_over)
{
    for (int i = 0; i < 3 && !p->log && !p->world->failed; i++) {
        p->wants = take_over;
        sim_do(p, SIM_ACT_OPEN, 0);
        p->wants = false;
        if (!p->log) /* a lease has to run out, for one */
            sim_pass(p->world, NULL, 5000 * MS);
    }
}

static int64_t trim_to(const struct sim_process *p, int64_t arg)
{
    int64_t n = p->world->committed.end;

    return arg == TRIM_HALF ? (n + p->machine->view.end) / 2 : n;
}

static void do_line(struct sim_world *w, const struct line *l)
{
    struct sim_process *p = &w->processes[l->process];

    if (l->wait_ms > 0)
        sim_pass(w, NULL, l->wait_ms * MS);
    w->own_count = l->has_first;
    w->own[0] = l->first;
    if (l->act == SIM_ACT_OPEN) {
        if (p->log)
            sim_do(p, SIM_ACT_CLOSE, 0);
        p->wants = l->take_over;
        if (!p->caller.dead)
            sim_do(p, SIM_ACT_OPEN, 0);
        p->wants = false;
    } else {
        if (!p->log)
            open_again(p, l->take_over);
        for (unsigned i = 0; i < (l->times ? l->times : 1) && p->log && !w->failed; i++)
            sim_do(p, l->act, l->act == SIM_ACT_TRIM ? trim_to(p, l->arg) : l->arg);
    }
    w->own_count = 0;
    sim_bury(w);
}

/* Which of the cases of I13 the opening is going to find. */
static enum case_of case_now(const struct sim_world *w, const struct sim_machine *m)
{
    if (m->displaced && m->view.end > m->displaced_at)
        return CASE_DIVERGENT;
    return m->view.end < w->committed.end ? CASE_BEHIND : CASE_EQUAL;
}

static void note_gone(struct figures *f, unsigned *left, unsigned now, enum cleaner by)
{
    f->cleaned[by] |= *left & ~now;
    *left &= now;
}

/* Opens, tiers, collects, and looks after each of it at what is left. */
static void recover(struct sim_world *w, struct sim_process *p, bool take_over, unsigned left,
                    struct figures *f)
{
    enum case_of c = case_now(w, p->machine);

    open_again(p, take_over);
    if (w->failed)
        return;
    if (p->log)
        f->cases[c]++;
    note_gone(f, &left, take_inventory(w, p->machine), BY_OPENING);
    if (!p->log)
        return; /* another owns the log: no more is to be done here */
    sim_do(p, SIM_ACT_RUN, BOTH);
    sim_pass(w, NULL, 3000 * MS);
    for (int i = 0; i < 2 && p->log && !w->failed; i++)
        sim_do(p, SIM_ACT_STEP, 0);
    note_gone(f, &left, take_inventory(w, p->machine), BY_TIERER);
    if (p->log && !w->failed)
        sim_do(p, SIM_ACT_COLLECT, 0);
    note_gone(f, &left, take_inventory(w, p->machine), BY_COLLECTION);
    for (unsigned i = 0; i < LEFT_COUNT && p->log && !w->failed; i++)
        if (i != LEFT_DRAFT && left >> i & 1)
            sim_fail(w, "nobody takes away: %s", lefts[i].name);
}

static void note_left(const struct sim_walk *walk, unsigned left, struct figures *f)
{
    struct noted *n = &f->steps[walk->crashed.kind][walk->crashed.step];

    n->crashes++;
    if (walk->fault == SIM_KILL_BEFORE || walk->fault == SIM_KILL_AFTER)
        n->after_kill |= left;
    else if (walk->strict)
        n->after_power |= left;
}

static struct sim_world *tell(const struct story *s, struct sim_walk *walk, uint64_t seed,
                              struct figures *f, FILE *echo, bool calls)
{
    const struct sim_setup setup = setup_of(s, seed);
    struct sim_world *w = calloc(1, sizeof(*w));
    bool crashed = false;

    assert(w);
    w->trace.echo = echo;
    w->trace.calls = calls ? echo : NULL;
    sim_world_init(w, &setup);
    w->walk = walk;
    for (size_t i = 0; i < s->count && !w->failed; i++) {
        const struct line *l = &s->lines[i];
        struct sim_process *p = &w->processes[l->process];
        unsigned before = crashed ? 0 : take_inventory(w, p->machine), left;

        do_line(w, l);
        if (crashed || w->failed || walk->taken <= walk->at)
            continue;
        crashed = true;
        left = take_inventory(w, p->machine);
        note_left(walk, left & ~before, f);
        recover(w, p, l->take_over, left, f);
    }
    if (!w->failed)
        sim_check(w);
    f->runs++;
    f->failed += w->failed;
    sim_world_deinit(w);
    return w;
}

/* ---- telling all of them ---- */

/* The first time nothing crashes: which steps there are. */
static size_t steps_of(const struct story *s, struct sim_target *steps, struct figures *f,
                       FILE *out)
{
    struct sim_walk walk = {.at = UINT64_MAX, .steps = steps, .capacity = STEPS_MAX};
    struct sim_world *w = tell(s, &walk, 1, f, NULL, false);

    if (w->failed) {
        fprintf(out, "%s, without a crash: %s\n", s->name, w->why);
        sim_trace_print(&w->trace, out);
    }
    free(w);
    return walk.count;
}

static void crash_at(const struct story *s, const struct sim_target *step, uint64_t at,
                     enum sim_fault fault, uint64_t seed, struct figures *f, FILE *out)
{
    struct sim_walk walk = {.at = at, .fault = fault, .crashed = *step, .strict = seed == 1};
    struct sim_world *w = tell(s, &walk, seed, f, NULL, false);

    if (w->failed) {
        fprintf(out, "%s:%" PRIu64 ":%s:%" PRIu64 " (%s.%s): %s\n", s->name, at,
                sim_fault_name(fault), seed, sim_kind_name(step->kind), sim_step_name(step->step),
                w->why);
        fflush(out);
    }
    free(w);
}

static void walk_all(unsigned first, unsigned step, struct figures *f, FILE *out)
{
    static struct sim_target steps[STEPS_MAX];

    for (size_t i = 0; i < STORY_COUNT; i++) {
        size_t count = steps_of(&stories[i], steps, f, out);

        assert(count < STEPS_MAX);
        for (uint64_t at = first; at < count && f->failed < 10; at += step)
            for (enum sim_fault fault = SIM_KILL_BEFORE; fault <= SIM_TORN; fault++)
                for (uint64_t seed = 1; seed <= (fault > SIM_KILL_AFTER ? POWER_TRIES : 1); seed++)
                    if (sim_point_can(steps[at].kind, steps[at].step, fault))
                        crash_at(&stories[i], &steps[at], at, fault, seed, f, out);
    }
}

static void figures_add(struct figures *to, const struct figures *from)
{
    to->runs += from->runs;
    to->failed += from->failed;
    for (unsigned k = 0; k < SIM_KINDS; k++)
        for (unsigned s = 0; s < SIM_STEPS; s++) {
            to->steps[k][s].crashes += from->steps[k][s].crashes;
            to->steps[k][s].after_kill |= from->steps[k][s].after_kill;
            to->steps[k][s].after_power |= from->steps[k][s].after_power;
        }
    for (unsigned i = 0; i < CLEANERS; i++)
        to->cleaned[i] |= from->cleaned[i];
    for (unsigned i = 0; i < CASES; i++)
        to->cases[i] += from->cases[i];
}

static void print_lefts(FILE *out, unsigned left)
{
    bool any = false;

    for (unsigned i = 0; i < LEFT_COUNT; i++)
        if (left >> i & 1) {
            fprintf(out, "%s%s", any ? ", " : " ", lefts[i].name);
            any = true;
        }
    fprintf(out, "%s |", any ? "" : " -");
}

static void print_steps(const struct figures *f, FILE *out)
{
    fprintf(out, "| step | a kill leaves | a loss of power leaves |\n| --- | --- | --- |\n");
    for (unsigned k = 0; k < SIM_KINDS; k++)
        for (unsigned s = 0; s < SIM_STEPS; s++) {
            const struct noted *n = &f->steps[k][s];

            if (n->crashes == 0)
                continue;
            fprintf(out, "| %s.%s |", sim_kind_name((enum sim_kind)k),
                    sim_step_name((enum sim_step)s));
            print_lefts(out, n->after_kill);
            print_lefts(out, n->after_power);
            fprintf(out, "\n");
        }
}

static void print_meanings(const struct figures *f, FILE *out)
{
    static const char *const by[CLEANERS] = {"the next opening", "the tierer", "a collection"};

    fprintf(out, "| name | where | what it is | who has cleaned up |\n| --- | --- | --- | --- |\n");
    for (unsigned i = 0; i < LEFT_COUNT; i++) {
        bool any = false;

        fprintf(out, "| %s | %s | %s |", lefts[i].name, lefts[i].where, lefts[i].what);
        for (unsigned c = 0; c < CLEANERS; c++)
            if (f->cleaned[c] >> i & 1) {
                fprintf(out, "%s%s", any ? ", " : " ", by[c]);
                any = true;
            }
        fprintf(out, "%s |\n", any ? "" : " -");
    }
}

/* Steps with a crash in the table of the simulation that no story takes. */
static unsigned missing(const struct figures *f, FILE *out)
{
    unsigned count = 0;

    for (unsigned k = 0; k < SIM_KINDS; k++)
        for (unsigned s = 0; s < SIM_STEPS; s++)
            if (sim_point_can((enum sim_kind)k, (enum sim_step)s, SIM_KILL_BEFORE) &&
                f->steps[k][s].crashes == 0) {
                fprintf(out, "no story takes the step %s.%s\n", sim_kind_name((enum sim_kind)k),
                        sim_step_name((enum sim_step)s));
                count++;
            }
    for (unsigned i = 0; i < CASES; i++)
        if (f->cases[i] == 0) {
            fprintf(out, "no crash was followed by an opening that found the tail %s\n",
                    case_names[i]);
            count++;
        }
    return count;
}

int sim_crash_points(unsigned processes, unsigned every, FILE *out)
{
    struct figures all = {0};
    struct figures *each = mmap(NULL, processes * sizeof(*each), PROT_READ | PROT_WRITE,
                                MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool ok = each != MAP_FAILED;

    fflush(out);
    for (unsigned i = 0; ok && i < processes; i++) {
        pid_t pid = fork();

        if (pid < 0)
            ok = false;
        if (pid != 0)
            continue;
        walk_all(i * every, processes * every, &each[i], out);
        fflush(out);
        _exit(0);
    }
    for (unsigned i = 0; i < processes; i++) {
        int status = 0;

        if (wait(&status) < 0 || status != 0) {
            fprintf(out, "a process ended with status %d\n", status);
            ok = false;
        }
    }
    for (unsigned i = 0; ok && i < processes; i++)
        figures_add(&all, &each[i]);
    if (ok && all.failed == 0 && every == 1) {
        print_steps(&all, out);
        fprintf(out, "\n");
        print_meanings(&all, out);
        ok = missing(&all, out) == 0;
    }
    fprintf(stderr,
            "%" PRIu64 " crashes, %" PRIu64 " failed; found equal %" PRIu64 ", behind %" PRIu64
            ", divergent %" PRIu64 "\n",
            all.runs, all.failed, all.cases[CASE_EQUAL], all.cases[CASE_BEHIND],
            all.cases[CASE_DIVERGENT]);
    return ok && all.failed == 0 ? 0 : 1;
}

int sim_crash_one(const char *which, bool calls, FILE *out)
{
    static struct figures f;
    char name[32], fault[16];
    uint64_t at, seed;

    if (sscanf(which, "%31[^:]:%" SCNu64 ":%15[^:]:%" SCNu64, name, &at, fault, &seed) != 4)
        return 2;
    for (size_t i = 0; i < STORY_COUNT; i++)
        for (unsigned k = 0; k < SIM_FAULTS; k++) {
            struct sim_walk walk = {.at = at, .fault = (enum sim_fault)k, .strict = seed == 1};
            struct sim_world *w;
            int rc;

            if (strcmp(name, stories[i].name) != 0 ||
                strcmp(fault, sim_fault_name(walk.fault)) != 0)
                continue;
            w = tell(&stories[i], &walk, seed, &f, out, calls);
            rc = w->failed;
            free(w);
            return rc;
        }
    return 2;
}
