/*
 * A log that is deleted and made again under the same name, again and again, beside the other log:
 * by the process "a", where there is a rival by "b" as well, which takes it over from each other,
 * and by whoever owns the other log at the end.
 *
 *   D1  What a handle reads was appended to the log of just the id that it was opened with.
 *   D2  A log whose deletion has returned 0, or one after which another was opened, is opened by no
 *       writer any more.
 *   D3  A log that is new holds nothing: it begins at 0.
 *   D4  At the end nothing is left of those before: no object, page or unfinished upload in the
 * bucket, no file of the store that deletes it or makes it again.
 *   D5  A store that has files of lives before opens the last one all the same.
 *
 * What is appended must survive only as far as this says: model.c judges that of the other log.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "tests/sim/world.h"

#define MS INT64_C(1000000)
#define GONE "gone"
#define ID_SIZE 32

static bool life_find(struct sim_world *w, const char *id, struct sim_life **ret)
{
    for (unsigned i = 0; i < w->life_count; i++)
        if (strcmp(w->lives[i].id, id) == 0) {
            *ret = &w->lives[i];
            return true;
        }
    return false;
}

/* ---- calls ---- */

static void tell(struct sim_process *p, const char *what, int rc, const struct varve_error *err)
{
    struct sim_world *w = p->world;

    sim_trace_mix(&w->trace, 78, (uint64_t)rc, (uint64_t)w->now_ns);
    if (rc < 0 && !p->caller.dead)
        sim_trace_line(&w->trace, "  %s %s: %.130s", p->name, what, err->msg);
    if (rc == VARVE_E_CORRUPT && !p->caller.dead && w->flips == 0 && p->writes)
        sim_fail(w, "%s %s: nothing is damaged: %s", p->name, what, err->msg);
}

static int gone_create(struct sim_process *p, struct varve_error *err)
{
    struct sim_world *w = p->world;
    char delay[24];
    const struct varve_option options[] = {{"segment.bytes", "8192"},
                                           {"cold.block.bytes", "4096"},
                                           {"index.interval.bytes", "512"},
                                           {"file.delete.delay.ms", delay}};
    int rc;

    (void)snprintf(delay, sizeof(delay), "%" PRId64, w->setup.delete_delay_ms);
    sim_trace_line(&w->trace, "%s makes " GONE, p->name);
    rc = varve_log_create(p->store, GONE, options, 4, err);
    tell(p, "create", rc, err);
    return rc;
}

/* Opens it and says which life it is; D2, D3. */
static int gone_open(struct sim_process *p, struct varve_log **ret, struct sim_life *ret_life,
                     struct varve_error *err)
{
    struct sim_world *w = p->world;
    struct varve_log_options o = {.size = sizeof(o), .take_over = p->writes};
    struct varve_log_info info = {.size = sizeof(info)};
    struct sim_life *life;
    struct varve_log *log;
    int rc = varve_log_open(p->store, GONE, p->writes ? &o : NULL, &log, err);

    if (rc == 0) {
        rc = varve_log_info(log, &info, err);
        if (rc < 0)
            varve_log_close(log);
    }
    tell(p, "open " GONE, rc, err);
    if (rc < 0)
        return rc;
    if (p->caller.dead || w->failed) {
        varve_log_close(log);
        return base_fail(err, VARVE_E_IO, "it is dead");
    }
    if (!life_find(w, info.id, &life)) {
        /* A reader may be the first to see a life, and that can be an old one. */
        if (w->life_count == SIM_LIVES || !p->writes) {
            varve_log_close(log);
            return base_fail(err, VARVE_E_IO, "of this life nobody has told");
        }
        life = &w->lives[w->life_count++];
        (void)snprintf(life->id, sizeof(life->id), "%s", info.id);
        for (unsigned i = 0; i + 1 < w->life_count; i++)
            w->lives[i].over = true;
        sim_trace_line(&w->trace, "  " GONE " is %s now", life->id);
    }
    if (life->over && p->writes)
        sim_fail(w, "D2: %s opens " GONE " as %s, which was deleted", p->name, life->id);
    if (info.end_offset > life->end)
        sim_fail(w, "D3: " GONE " as %s ends at %" PRId64 ", and %" PRId64 " were appended",
                 life->id, info.end_offset, life->end);
    *ret = log;
    *ret_life = *life;
    return 0;
}

/* D1 */
static void gone_read(struct sim_process *p, struct varve_log *log, const struct sim_life *life)
{
    struct sim_world *w = p->world;
    struct varve_reader *reader = NULL;
    struct varve_record record;
    struct varve_error err = {0};
    char want[ID_SIZE + 32];
    int rc = varve_reader_open(log, NULL, &reader, &err);

    while (rc == 0 && !w->failed) {
        rc = varve_reader_next(reader, 0, &record, &err);
        if (rc < 0)
            break;
        (void)snprintf(want, sizeof(want), "%s:%" PRId64, life->id, record.offset);
        if (record.value_size != strlen(want) || memcmp(record.value, want, record.value_size) != 0)
            sim_fail(w, "D1: %s reads %.*s at offset %" PRId64 " of " GONE ", which is %s", p->name,
                     (int)record.value_size, (const char *)record.value, record.offset, life->id);
    }
    if (rc != VARVE_E_END)
        tell(p, "read " GONE, rc, &err);
    varve_reader_close(reader);
}

static void gone_append(struct sim_process *p, struct varve_log *log, const char *id,
                        unsigned count)
{
    struct sim_world *w = p->world;
    struct varve_log_info info = {.size = sizeof(info)};
    struct varve_error err = {0};
    struct sim_life *life;

    for (int rc = 0; rc == 0 && count > 0 && !p->caller.dead && !w->failed; count--) {
        struct varve_batch *batch = NULL;
        int64_t base = -1;

        if (varve_log_info(log, &info, &err) < 0 ||
            varve_batch_new(VARVE_CODEC_NONE, 0, 16384, &batch, NULL) < 0)
            return;
        for (int i = 0; i < 8; i++) {
            char value[ID_SIZE + 32];
            struct varve_record record = {.timestamp = sim_world_ms(w), .value = value};

            record.value_size =
                (size_t)snprintf(value, sizeof(value), "%s:%" PRId64, id, info.end_offset + i);
            (void)varve_batch_add(batch, &record, NULL);
        }
        /* Others have no say here while it is appended to, so it goes where the log ends. */
        if (life_find(w, id, &life) && life->end < info.end_offset + 8)
            life->end = info.end_offset + 8;
        rc = varve_log_append(log, batch, &base, &err);
        varve_batch_free(batch);
        tell(p, "append to " GONE, rc, &err);
        if (rc == 0 && !p->caller.dead && base != info.end_offset)
            sim_fail(w, "%s appends to " GONE " at %" PRId64 ", not at %" PRId64, p->name, base,
                     info.end_offset);
    }
}

static int gone_delete(struct sim_process *p, struct varve_error *err)
{
    struct sim_world *w = p->world;
    struct sim_life *last = w->life_count > 0 ? &w->lives[w->life_count - 1] : NULL;
    int rc;

    sim_trace_line(&w->trace, "%s deletes " GONE, p->name);
    rc = varve_log_delete(p->store, GONE, err);
    tell(p, "delete", rc, err);
    if (rc == 0 && !p->caller.dead && last)
        last->over = true;
    return rc;
}

/* ---- events ---- */

/* `tier` NULL: not uploaded. */
static void act_live(struct sim_process *p, struct varve_tier_options *tier, unsigned before,
                     unsigned after)
{
    struct sim_world *w = p->world;
    struct varve_error err = {0};
    struct varve_log *log;
    struct sim_life life;
    int rc = gone_open(p, &log, &life, &err);

    if (rc == VARVE_E_NOT_FOUND && !p->caller.dead && gone_create(p, &err) == 0 && !p->caller.dead)
        rc = gone_open(p, &log, &life, &err);
    if (rc < 0)
        return;
    gone_read(p, log, &life);
    gone_append(p, log, life.id, before);
    if (tier && !p->caller.dead && !w->failed)
        tell(p, "tier " GONE, varve_log_tier(log, tier, &err), &err);
    gone_append(p, log, life.id, after);
    if (!p->caller.dead && !w->failed)
        gone_read(p, log, &life);
    varve_log_close(log);
}

static void act_look(struct sim_process *p)
{
    struct varve_error err = {0};
    struct varve_log *log;
    struct sim_life life;

    if (gone_open(p, &log, &life, &err) < 0)
        return;
    gone_read(p, log, &life);
    varve_log_close(log);
}

static void act_live_somehow(struct sim_process *p)
{
    struct sim_random *r = &p->world->again;
    struct varve_tier_options tier = {
        .size = sizeof(tier), .seal = sim_chance(r, 2, 3), .evict = sim_chance(r, 1, 3)};
    bool tiers = sim_chance(r, 2, 3);
    unsigned before = (unsigned)sim_below(r, 12);

    act_live(p, tiers ? &tier : NULL, before, (unsigned)sim_below(r, 4));
}

void sim_again_do(struct sim_process *p, enum sim_again_act act)
{
    struct varve_tier_options tier = {.size = sizeof(tier), .seal = true};
    struct varve_error err = {0};

    p->call = SIM_CALL_WORK;
    if (act == SIM_AGAIN_LIVE)
        act_live(p, &tier, 3, 3);
    else
        (void)gone_delete(p, &err);
    p->call = SIM_CALL_NONE;
}

void sim_again_event(struct sim_world *w)
{
    struct sim_process *p = &w->processes[0];
    struct varve_error err = {0};
    uint64_t what;

    if (!w->setup.again || w->failed || !sim_chance(&w->again, 1, 12))
        return;
    what = sim_below(&w->again, 10);
    if (w->setup.rival && sim_chance(&w->again, 1, 3))
        p = &w->processes[1];
    if (what >= 8)
        p = &w->processes[2 + sim_below(&w->again, 2)];
    if (!p->store || p->call != SIM_CALL_NONE || p->caller.dead || p->renewing)
        return;
    p->call = SIM_CALL_WORK;
    if (what >= 8)
        act_look(p);
    else if (what < 4)
        act_live_somehow(p);
    else if (what < 7)
        (void)gone_delete(p, &err);
    else
        (void)gone_create(p, &err);
    p->call = SIM_CALL_NONE;
    if (p->caller.dead)
        sim_bury(w);
}

/* ---- the end ---- */

struct leftovers {
    struct sim_world *w;
    const char *id; /* what may be there; NULL: nothing */
    bool root;      /* it, too */
};

static void key_visit(void *arg, const char *key, const void *data, size_t size)
{
    const struct leftovers *l = arg;

    (void)data;
    (void)size;
    if (strncmp(key, "logs/" GONE "/", strlen("logs/" GONE "/")) != 0 ||
        strcmp(key, "logs/" GONE "/@/root") == 0 || (l->id && strstr(key, l->id)))
        return;
    /* What arrives when the log is another by then, nobody knows of. */
    if (l->w->points.made[SIM_OBJECT][SIM_PUT][SIM_LATE] == 0 &&
        l->w->points.made[SIM_PAGE][SIM_PUT][SIM_LATE] == 0)
        sim_fail(l->w, "D4: the end: %s is left", key);
}

static void file_visit(void *arg, const char *path, uint8_t *data, int64_t size)
{
    const struct leftovers *l = arg;

    (void)data;
    (void)size;
    if (strstr(path, "/logs/" GONE "/") && !(l->root && strstr(path, "/@/root")))
        sim_fail(l->w, "D4: the end: %s is left", path);
}

static void last_check(struct sim_process *p, struct varve_log *log, const struct sim_life *life)
{
    struct varve_log_info info = {.size = sizeof(info)};
    struct varve_error err = {0};

    if (varve_log_info(log, &info, &err) < 0)
        sim_fail(p->world, "the end: " GONE ": %s", err.msg);
    if (info.start_offset != 0 || info.end_offset != 96 || info.cold_end != 96)
        sim_fail(p->world, "D3: the end: " GONE " goes from %" PRId64 " to %" PRId64 " by %s",
                 info.start_offset, info.end_offset, p->name);
    gone_read(p, log, life);
}

void sim_again_check(struct sim_process *p)
{
    struct sim_world *w = p->world;
    struct leftovers l = {.w = w};
    struct varve_tier_options tier = {.size = sizeof(tier), .seal = true};
    struct varve_error err = {0};
    struct varve_log *log;
    struct sim_life life;
    int rc = gone_open(p, &log, &life, &err); /* takes it over, if need be */

    if (rc == 0) {
        gone_read(p, log, &life);
        varve_log_close(log);
    }
    rc = w->failed ? 0 : gone_delete(p, &err);
    if (rc < 0 && rc != VARVE_E_NOT_FOUND)
        sim_fail(w, "D4: the end: " GONE " can not be deleted: %s", err.msg);
    sim_pass(w, NULL, (w->setup.delete_delay_ms + 1000) * MS);
    rc = w->failed ? 0 : gone_delete(p, &err);
    if (rc != VARVE_E_NOT_FOUND)
        sim_fail(w, "D4: the end: " GONE " is deleted twice: %s", rc < 0 ? err.msg : "0");
    sim_bucket_each(w->bucket, key_visit, &l);
    sim_disk_each(p->machine->disk, SIM_DISK_TOP, file_visit, &l);
    if (!w->failed && gone_create(p, &err) < 0)
        sim_fail(w, "D3: the end: " GONE " can not be made again: %s", err.msg);
    l.root = true;
    sim_disk_each(p->machine->disk, SIM_DISK_TOP, file_visit, &l);
    if (!w->failed && gone_open(p, &log, &life, &err) < 0)
        sim_fail(w, "D3: the end: " GONE " can not be opened: %s", err.msg);
    if (w->failed)
        return;
    gone_append(p, log, life.id, 12);
    if (varve_log_tier(log, &tier, &err) < 0)
        sim_fail(w, "the end: " GONE ": %s", err.msg);
    last_check(p, log, &life);
    l.id = life.id;
    sim_bucket_each(w->bucket, key_visit, &l);
    varve_log_close(log);
}

void sim_again_return(struct sim_process *p)
{
    struct sim_world *w = p->world;
    struct varve_error err = {0};
    struct varve_log *log;
    struct sim_life life;

    if (gone_open(p, &log, &life, &err) < 0) {
        sim_fail(w, "D5: the end: %s can not open " GONE ": %s", p->name, err.msg);
        return;
    }
    last_check(p, log, &life);
    varve_log_close(log);
}
