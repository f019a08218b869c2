/* verify: checks logs across both tiers, and says what it found. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "tools/commands.h"
#include "tools/output.h"
#include "tools/session.h"

struct verify {
    struct tools_output out;
    struct tools_progress progress;
    const char *log_name;
    bool json;
    bool verbose;
    bool some;
    uint32_t problems;
    uint32_t orphans; /* of the log at hand */
    uint32_t divergent;
};

static void print_json(struct verify *v, const struct varve_finding *f)
{
    tools_output_text(&v->out, v->some ? ",\n  {\"log\":" : "\n  {\"log\":");
    tools_output_json(&v->out, v->log_name, strlen(v->log_name));
    tools_output_printf(&v->out, ",\"kind\":\"%s\",", f->kind);
    tools_output_json_bytes(&v->out, "where", f->where, f->where ? strlen(f->where) : 0);
    tools_output_printf(&v->out, ",\"offset\":%" PRId64 ",\"problem\":%s,\"repaired\":%s,",
                        f->offset, f->problem ? "true" : "false", f->repaired ? "true" : "false");
    tools_output_json_bytes(&v->out, "text", f->text, f->text ? strlen(f->text) : 0);
    tools_output_text(&v->out, "}");
    v->some = true;
}

static void on_found(void *ctx, const struct varve_finding *f)
{
    struct verify *v = ctx;

    if (!f->repaired && strcmp(f->kind, "orphan") == 0)
        v->orphans++;
    if (strcmp(f->kind, "divergent") == 0)
        v->divergent++;
    if (v->json) {
        print_json(v, f);
        return;
    }
    if (!f->problem && !f->repaired && !v->verbose)
        return;
    tools_progress_end(&v->progress);
    tools_output_text(&v->out, v->log_name);
    tools_output_text(&v->out, ": ");
    tools_output_text(&v->out, f->kind);
    if (f->repaired)
        tools_output_text(&v->out, " (repaired)");
    /* Many texts begin with the name of the file. */
    if (f->where && (!f->text || strncmp(f->text, f->where, strlen(f->where)) != 0)) {
        tools_output_text(&v->out, ": ");
        tools_output_text(&v->out, f->where);
    }
    tools_output_text(&v->out, ": ");
    tools_output_text(&v->out, f->text ? f->text : "");
    if (f->offset >= 0)
        tools_output_printf(&v->out, " (offset %" PRId64 ")", f->offset);
    tools_output_text(&v->out, "\n");
    tools_output_flush(&v->out);
}

static void on_progress(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    struct verify *v = ctx;

    tools_progress_set(&v->progress, done_bytes, total_bytes);
}

static void print_summary(struct verify *v, const struct varve_verify_options *o)
{
    char read[16];

    base_format_size(o->bytes_read, read);
    tools_output_text(&v->out, v->log_name);
    tools_output_printf(&v->out, ": %" PRIu64 " hot and %" PRIu64 " cold segments, %s read: ",
                        o->hot_segments, o->cold_segments, read);
    if (o->problems == 0)
        tools_output_text(&v->out, "clean");
    else
        tools_output_printf(&v->out, "%" PRIu32 " problem%s", o->problems,
                            o->problems == 1 ? "" : "s");
    if (o->repaired > 0)
        tools_output_printf(&v->out, ", %" PRIu32 " repaired", o->repaired);
    if (v->orphans > 0)
        tools_output_printf(&v->out, ", %" PRIu32 " orphan%s (-v lists them)", v->orphans,
                            v->orphans == 1 ? "" : "s");
    if (v->divergent > 0)
        tools_output_printf(&v->out, ", %" PRIu32 " divergent segment%s set aside (-v lists them)",
                            v->divergent, v->divergent == 1 ? "" : "s");
    tools_output_text(&v->out, "\n");
}

static int verify_one(struct tools_session *s, const char *name, void *ctx)
{
    struct varve_verify_options o = {.size = sizeof(o)};
    struct verify *v = ctx;
    struct varve_error err;
    int rc;

    v->log_name = name;
    v->orphans = v->divergent = 0;
    tools_progress_init(&v->progress, s->args, name);
    o.deep = tools_flag(s->args, "deep");
    o.repair = tools_flag(s->args, "repair");
    o.all_orphans = tools_flag(s->args, "all-orphans");
    o.found = on_found;
    o.progress = on_progress;
    o.ctx = v;
    rc = varve_log_verify(s->log, &o, &err);
    tools_progress_end(&v->progress);
    if (rc < 0) {
        tools_output_flush(&v->out);
        return tools_fail(s->args, &err);
    }
    v->problems += o.problems;
    if (!v->json)
        print_summary(v, &o);
    return TOOLS_OK;
}

int tools_verify(struct tools_args *args)
{
    struct varve_store_options o = {.no_background = true};
    struct verify v = {.json = tools_flag(args, "json"), .verbose = tools_flag(args, "verbose")};
    struct tools_session s;
    struct varve_error err;
    int rc;

    o.read_only = !tools_flag(args, "repair");
    o.take_over = tools_flag(args, "take-over");
    if (o.read_only && o.take_over)
        return tools_usage(args, "--take-over goes with --repair: without it nothing is changed");
    if (o.read_only && tools_flag(args, "all-orphans"))
        return tools_usage(args, "--all-orphans goes with --repair: without it nothing is changed");
    rc = tools_session_open(&s, args, &o);
    if (rc == TOOLS_OK && tools_output_init(&v.out, STDOUT_FILENO, &err) < 0)
        rc = tools_fail(args, &err);
    if (rc == TOOLS_OK) {
        if (v.json)
            tools_output_text(&v.out, "{\"findings\":[");
        rc = tools_session_each(&s, verify_one, &v);
        if (v.json)
            tools_output_printf(&v.out, "%s],\"problems\":%" PRIu32 "}\n", v.some ? "\n" : "",
                                v.problems);
        tools_output_flush(&v.out);
        if (rc == TOOLS_OK && tools_output_error(&v.out, &err) < 0)
            rc = tools_fail(args, &err);
    }
    tools_output_deinit(&v.out);
    tools_session_stats(&s);
    tools_session_close(&s);
    if (rc == TOOLS_OK && v.problems > 0)
        rc = TOOLS_CORRUPT;
    return rc;
}
