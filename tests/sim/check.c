/*
 * The end of a seed: troubles end, the log is opened by whoever owns it, everything is uploaded,
 * what is due is deleted, orphans are collected. Then both tiers hold all that they should, and
 * nothing else.
 */
#include <inttypes.h>
#include <string.h>

#include "tests/sim/world.h"
#include "tiering/lease.h"

#define MS INT64_C(1000000)

static void heal(struct sim_world *w)
{
    w->quiet++;
    sim_bury(w);
    for (unsigned i = 0; i < SIM_PROCESSES; i++)
        sim_process_close(&w->processes[i]);
    sim_bucket_set_down(w->bucket, false);
    w->down_until_ms = w->squeeze_until_ms = 0;
    for (unsigned i = 0; i < 2; i++) {
        sim_disk_set_room(w->machines[i].disk, UINT64_MAX);
        w->machines[i].skew_ms = 0;
    }
    /* Clocks that were ahead have dated what is due. */
    sim_pass(w, NULL, w->setup.wall_jumps ? 12 * 3600000 * MS : 120000 * MS);
    sim_bucket_pass(w->bucket, true);
}

/* The owner's machine, or the first that takes the log over. */
static struct sim_process *open_owner(struct sim_world *w)
{
    struct sim_process *p = &w->processes[0];
    struct varve_error err = {0};

    for (unsigned i = 0; i < 2; i++)
        if (w->machines[i].has_id && base_id_equal(&w->machines[i].store_id, &w->owner))
            p = &w->processes[i];
    sim_trace_line(&w->trace, "the end: %s opens", p->name);
    p->wants = false;
    if (sim_process_open(p, &err) == 0)
        return p;
    p->wants = true;
    if (err.code == VARVE_E_FENCED && sim_process_open(p, &err) == 0)
        return p;
    sim_fail(w, "the end: %s cannot open the log: %s", p->name, err.msg);
    return NULL;
}

static void finish(struct sim_process *p)
{
    struct sim_world *w = p->world;
    struct varve_tier_options tier = {.size = sizeof(tier), .seal = true};
    struct tiering_collect collect = {.share_max = 1, .force = true};
    struct varve_error err = {0};
    int64_t next;

    if (varve_log_tier(p->log, &tier, &err) < 0) {
        sim_fail(w, "the end: tiering: %s", err.msg);
        return;
    }
    for (int i = 0; i < 3 && !w->failed; i++) {
        sim_pass(w, NULL, (w->setup.delete_delay_ms + 1000) * MS);
        if (tiering_log_step(p->log->tiering, &next, &err) < 0)
            sim_fail(w, "the end: step: %s", err.msg);
    }
    if (!w->failed && varve_log_tier(p->log, &tier, &err) < 0)
        sim_fail(w, "the end: tiering: %s", err.msg);
    if (!w->failed && tiering_log_collect(p->log->tiering, &collect, &err) < 0)
        sim_fail(w, "the end: collecting: %s", err.msg);
}

static void read_all(struct sim_process *p, int64_t from, int64_t end)
{
    struct sim_world *w = p->world;
    struct varve_reader *reader = NULL;
    struct varve_record record;
    struct varve_error err = {0};
    int64_t at = from;
    int rc = varve_reader_open(p->log, NULL, &reader, &err);

    while (rc == 0 && !w->failed) {
        rc = varve_reader_next(reader, 0, &record, &err);
        if (rc < 0)
            break;
        if (record.offset != at)
            sim_fail(w, "I1: the end: %s reads %" PRId64 " where %" PRId64 " comes next", p->name,
                     record.offset, at);
        else
            (void)sim_model_record(p, &record);
        at++;
    }
    if (rc != VARVE_E_END && !w->failed)
        sim_fail(w, "the end: %s reads at %" PRId64 ": %s", p->name, at, err.msg);
    if (at != end && !w->failed)
        sim_fail(w, "the end: %s reads up to %" PRId64 ", and the log ends at %" PRId64, p->name,
                 at, end);
    varve_reader_close(reader);
}

struct bucket_walk {
    struct sim_world *w;
    const struct index_root *root;
    unsigned objects, pages, live, live_pages;
};

static void bucket_visit(void *arg, const char *key, const void *data, size_t size)
{
    struct bucket_walk *k = arg;
    const char *name = strrchr(key, '/');
    struct index_key_parts parts;
    int64_t end;

    (void)data;
    (void)size;
    if (!name || !index_key_parse(name + 1, &parts) ||
        strncmp(key, "logs/" SIM_LOG "/", strlen("logs/" SIM_LOG "/")) != 0)
        return;
    k->objects += !parts.page;
    k->pages += parts.page;
    if (!sim_root_names(k->w, k->root, &parts.attempt, &end))
        sim_fail(k->w, "I10: the end: no root names %s", key);
}

static void count_live(void *arg, const struct index_entry *e, const struct index_ref *page)
{
    struct bucket_walk *k = arg;

    if (e)
        k->live += e->end_offset > k->root->deleted_to;
    if (page)
        k->live_pages += page->end_offset > k->root->deleted_to;
}

/* Nothing that no root names, and everything that it names. */
static void check_bucket(struct sim_world *w)
{
    size_t size;
    const void *data = sim_bucket_look(w->bucket, "logs/" SIM_LOG "/@/root", &size);
    struct bucket_walk walk = {.w = w};
    struct index_root root;
    struct varve_error err = {0};

    if (!data || index_root_decode(data, size, &root, &err) < 0) {
        sim_fail(w, "the end: no root: %s", err.msg);
        return;
    }
    walk.root = &root;
    sim_bucket_each(w->bucket, bucket_visit, &walk);
    sim_root_each(w, &root, count_live, &walk);
    if (walk.objects != walk.live || walk.pages != walk.live_pages)
        sim_fail(w, "the end: %u objects and %u pages, the root names %u and %u", walk.objects,
                 walk.pages, walk.live, walk.live_pages);
    if (sim_bucket_uploads(w->bucket) > 0)
        sim_fail(w, "I10: the end: %u unfinished uploads", sim_bucket_uploads(w->bucket));
    /* Retention goes on cutting while time passes. */
    if (root.cut_count > 0 && w->setup.retention_ms < 0 && w->setup.retention_bytes < 0)
        sim_fail(w, "I5: the end: %zu cuts are not carried out", root.cut_count);
}

/* A loss of power may undo a part of an eviction: what comes back lies below n and may be torn, or
 * lack its neighbour. Reads go to the cold tier then; verify tells of it. */
static bool local_excuse(const struct sim_world *w, const char *where)
{
    return strncmp(where, SIM_DISK_TOP, strlen(SIM_DISK_TOP)) == 0 &&
           (w->machines[0].boots > 0 || w->machines[1].boots > 0);
}

/* A sparse index that could not be written is rebuilt; verify does it, and tells. */
static bool index_excuse(const struct sim_world *w, const char *where)
{
    size_t n = strlen(where);
    uint64_t faults = 0;

    for (unsigned f = 0; f < SIM_FAULTS; f++)
        faults +=
            w->points.made[SIM_INDEX][SIM_CREATE][f] + w->points.made[SIM_INDEX][SIM_WRITE][f];
    return faults > 0 && n > 6 && strcmp(where + n - 6, ".index") == 0;
}

void sim_check_finding(void *ctx, const struct varve_finding *f)
{
    struct sim_world *w = ctx;

    if (!f->problem || (w->quiet == 1 && !w->over && strcmp(f->kind, "mismatch") == 0))
        return; /* a local root may be older than the bucket's for a while */
    sim_trace_line(&w->trace, "  %s: %.100s: %.60s", f->kind, f->where, f->text);
    /* The caches are not synced, and a loss of power tears them; nothing of that is served. */
    if (!strstr(f->where, "/cache/") && !sim_rot_found(w, f->where) && !local_excuse(w, f->where) &&
        !index_excuse(w, f->where))
        sim_fail(w, "verify: %s: %s: %s", f->kind, f->where, f->text);
}

void sim_check(struct sim_world *w)
{
    struct varve_verify_options verify = {
        .size = sizeof(verify), .deep = true, .found = sim_check_finding, .ctx = w};
    struct varve_log_info info = {.size = sizeof(info)};
    struct varve_error err = {0};
    struct sim_process *p;

    heal(w);
    sim_rot_settle(w);
    w->over = true;
    if (!w->has_root)
        return; /* never got so far */
    p = open_owner(w);
    if (!p || w->failed)
        return;
    if (w->setup.again)
        sim_again_check(p);
    if (w->failed)
        return;
    finish(p);
    if (w->failed)
        return;
    if (varve_log_info(p->log, &info, &err) < 0)
        sim_fail(w, "the end: info: %s", err.msg);
    if (info.cold_end != info.end_offset || info.end_offset != p->machine->view.end)
        sim_fail(w, "the end: n %" PRId64 ", end %" PRId64 ", appended %" PRId64, info.cold_end,
                 info.end_offset, p->machine->view.end);
    if (info.hot_start > info.cold_end)
        sim_fail(w, "I1: the end: hot from %" PRId64 ", cold to %" PRId64, info.hot_start,
                 info.cold_end);
    if (!w->failed && w->damage_count > 0)
        sim_rot_check(p);
    read_all(p, info.start_offset, info.end_offset);
    if (!w->failed && varve_log_verify(p->log, &verify, &err) < 0)
        sim_fail(w, "the end: verify: %s", err.msg);
    if (!w->failed)
        check_bucket(w);
    /* From the bucket alone. */
    if (!w->failed && sim_process_open(&w->processes[3], &err) < 0)
        sim_fail(w, "the end: attaching the bucket: %s", err.msg);
    if (!w->failed)
        read_all(&w->processes[3], w->start, w->committed.end);
    sim_process_close(&w->processes[3]);
    sim_process_close(p);
    /* The other machine, when it was displaced: what it held is set aside when it comes back. */
    p = &w->processes[1 - (p - w->processes)];
    if (w->failed || !p->machine->displaced || !p->machine->has_id)
        return;
    p->wants = true;
    sim_trace_line(&w->trace, "the end: %s takes over", p->name);
    if (sim_process_open(p, &err) < 0)
        sim_fail(w, "the end: %s cannot take over: %s", p->name, err.msg);
    else
        read_all(p, w->start, p->machine->view.end);
    if (!w->failed && w->setup.again)
        sim_again_return(p);
}
