/* Processes: opening and closing what each of them holds. */
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

static void on_message(void *ctx, int level, const char *text)
{
    struct sim_process *p = ctx;

    if (p->world->trace.echo)
        fprintf(p->world->trace.echo, "      %s says (%d): %s\n", p->name, level, text);
}

static struct varve_store_options store_options(struct sim_process *p)
{
    return (struct varve_store_options){
        .size = sizeof(struct varve_store_options),
        .read_only = !p->writes,
        .cold_url = SIM_URL,
        .adopt = true,
        .message = on_message,
        .callback_ctx = p,
        .no_background = true,
        .cache_bytes = 256 * 1024,
        .readahead_bytes = 64 * 1024,
        .reserve_bytes = -1,
    };
}

static const char *store_path(const struct sim_process *p)
{
    return !p->machine ? SIM_URL : p->machine->index ? SIM_DISK_TOP "/m1" : SIM_DISK_TOP "/m0";
}

static int create_store(struct sim_process *p, struct varve_error *err)
{
    struct varve_store_options o = store_options(p);
    char lease[24];
    const struct varve_option settings[] = {{"lease.ms", lease}};

    o.read_only = false;
    if (p->world->setup.lease_ms > 0) {
        (void)snprintf(lease, sizeof(lease), "%lld", (long long)p->world->setup.lease_ms);
        o.settings = settings;
        o.setting_count = 1;
    }
    return log_store_create_env(&p->env, store_path(p), &o, err);
}

static int create_log(struct sim_process *p, struct varve_error *err)
{
    const struct sim_setup *s = &p->world->setup;
    const int64_t values[] = {s->segment_bytes,
                              4096,
                              512,
                              s->segment_ms,
                              s->flush_ms,
                              s->retention_ms,
                              s->retention_bytes,
                              s->local_retention_ms,
                              s->local_retention_bytes,
                              s->delete_delay_ms,
                              1};
    static const char *const names[] = {"segment.bytes",
                                        "cold.block.bytes",
                                        "index.interval.bytes",
                                        "segment.ms",
                                        "flush.ms",
                                        "retention.ms",
                                        "retention.bytes",
                                        "local.retention.ms",
                                        "local.retention.bytes",
                                        "file.delete.delay.ms",
                                        "cold.compression.level"};
    char texts[11][24];
    struct varve_option options[11];

    for (size_t i = 0; i < 11; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "%lld", (long long)values[i]);
        options[i] = (struct varve_option){names[i], texts[i]};
    }
    return varve_log_create(p->store, SIM_LOG, options, 11, err);
}

static int open_writing(struct sim_process *p, struct varve_error *err)
{
    struct sim_world *w = p->world;
    struct sim_machine *m = p->machine;
    struct varve_store_options o = store_options(p);
    struct varve_log_options log = {.size = sizeof(log),
                                    .durability = w->setup.fsync ? VARVE_DURABILITY_FSYNC
                                                                 : VARVE_DURABILITY_OS,
                                    .take_over = p->wants};
    int rc = log_store_open_env(&p->env, store_path(p), &o, &p->store, err);

    if (rc == VARVE_E_NOT_FOUND || rc == VARVE_E_INVALID) {
        rc = create_store(p, err);
        if (rc == 0)
            rc = log_store_open_env(&p->env, store_path(p), &o, &p->store, err);
    }
    if (rc < 0)
        return rc;
    m->store_id = p->store->id;
    m->has_id = true;
    rc = varve_log_open(p->store, SIM_LOG, &log, &p->log, err);
    if (rc == VARVE_E_NOT_FOUND && !w->has_root) {
        rc = create_log(p, err);
        if (rc == 0)
            rc = varve_log_open(p->store, SIM_LOG, &log, &p->log, err);
    }
    return rc;
}

int sim_process_open(struct sim_process *p, struct varve_error *err)
{
    struct varve_store_options o = store_options(p);
    int rc;

    p->call = SIM_CALL_OPEN;
    p->renew_ns = p->opened_ns = p->world->now_ns;
    if (p->writes) {
        rc = open_writing(p, err);
    } else {
        rc = log_store_open_env(&p->env, store_path(p), &o, &p->store, err);
        if (rc == 0)
            rc = varve_log_open(p->store, SIM_LOG, NULL, &p->log, err);
    }
    if (rc == 0 && !p->caller.dead && p->writes)
        sim_model_opened(p);
    p->call = SIM_CALL_NONE;
    p->fenced = rc == VARVE_E_FENCED;
    if (rc == 0 && !p->caller.dead) {
        p->wants = false;
        p->step_ms = p->renew_ns = p->look_ns = 0;
    } else {
        sim_process_close(p);
    }
    return rc;
}

void sim_process_close(struct sim_process *p)
{
    p->call = SIM_CALL_CLOSE;
    p->reader = varve_reader_close(p->reader);
    p->follower = varve_reader_close(p->follower);
    p->log = varve_log_close(p->log);
    p->store = varve_store_close(p->store);
    p->call = SIM_CALL_NONE;
}
