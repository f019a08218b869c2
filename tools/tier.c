/* tier: uploads, commits and evicts now. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "tools/commands.h"
#include "tools/session.h"

struct tier {
    bool some; /* something was printed as JSON before */
};

static void tier_print_json(struct tier *t, const char *name, const struct varve_tier_options *o)
{
    /* Names of logs hold neither control characters nor backslashes; a quote is the one thing to
     * escape. */
    fputs(t->some ? ",\n " : "[", stdout);
    t->some = true;
    fputs("{\"log\":\"", stdout);
    for (; *name != '\0'; name++) {
        if (*name == '"')
            putchar('\\');
        putchar(*name);
    }
    printf("\",\"uploaded_segments\":%" PRIu64 ",\"uploaded_bytes\":%" PRIu64
           ",\"stored_bytes\":%" PRIu64 ",\"evicted_segments\":%" PRIu64
           ",\"evicted_bytes\":%" PRIu64 ",\"deleted_objects\":%" PRIu64 "}",
           o->uploaded_segments, o->uploaded_bytes, o->stored_bytes, o->evicted_segments,
           o->evicted_bytes, o->deleted_objects);
}

static void tier_print(const char *name, const struct varve_tier_options *o)
{
    char uploaded[16], stored[16], evicted[16];

    base_format_size(o->uploaded_bytes, uploaded);
    base_format_size(o->stored_bytes, stored);
    base_format_size(o->evicted_bytes, evicted);
    fprintf(stderr,
            "varve: tier %s: %" PRIu64 " segments uploaded (%s as %s), %" PRIu64
            " evicted (%s), %" PRIu64 " objects deleted\n",
            name, o->uploaded_segments, uploaded, stored, o->evicted_segments, evicted,
            o->deleted_objects);
}

static int tier_one(struct tools_session *s, const char *name, void *ctx)
{
    struct varve_tier_options o = {.size = sizeof(o)};
    struct tools_progress progress;
    struct varve_error err;
    int rc;

    tools_progress_init(&progress, s->args, name);
    o.seal = tools_flag(s->args, "seal");
    o.evict = tools_flag(s->args, "evict");
    o.progress = tools_progress_set;
    o.progress_ctx = &progress;
    rc = varve_log_tier(s->log, &o, &err);
    tools_progress_end(&progress);
    /* What was done before a failure is told too. */
    if (tools_flag(s->args, "json"))
        tier_print_json(ctx, name, &o);
    else if (tools_flag(s->args, "verbose"))
        tier_print(name, &o);
    return rc < 0 ? tools_fail(s->args, &err) : TOOLS_OK;
}

int tools_tier(struct tools_args *args)
{
    struct varve_store_options o = {.no_background = true};
    struct tools_session s;
    struct tier t = {0};
    int rc;

    o.take_over = tools_flag(args, "take-over");
    o.upload_bytes_per_second = tools_number(args, "rate", 0);
    rc = tools_session_open(&s, args, &o);
    if (rc == TOOLS_OK)
        rc = tools_session_each(&s, tier_one, &t);
    if (tools_flag(args, "json") && s.store)
        puts(t.some ? "]" : "[]");
    tools_session_stats(&s);
    tools_session_close(&s);
    return rc;
}
