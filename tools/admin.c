/* init, create, config, delete, trim: the small commands. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "log/settings.h"
#include "tools/commands.h"
#include "tools/output.h"
#include "tools/session.h"

int tools_init(struct tools_args *args)
{
    struct varve_store_options o = {.size = sizeof(o)};
    const char *path = tools_operand(args, 0);
    struct varve_error err;

    o.cold_url = tools_text(args, "cold");
    o.cold_meta_url = tools_text(args, "cold-meta");
    o.adopt = tools_flag(args, "adopt");
    o.create_bucket = tools_flag(args, "create-bucket");
    o.settings = tools_pairs(args, &o.setting_count);
    tools_session_listen(args, &o);
    if (varve_store_create(path, &o, &err) < 0) {
        int rc = tools_fail(args, &err);

        if (err.code == VARVE_E_EXISTS && o.cold_url && !o.adopt)
            fputs("  --adopt uses a cold tier that another store has used\n", stderr);
        return rc;
    }
    if (tools_flag(args, "verbose"))
        tools_note(args, "made; its cold tier is %s", o.cold_url ? o.cold_url : "inside it");
    return TOOLS_OK;
}

int tools_create(struct tools_args *args)
{
    struct varve_store_options o = {.no_background = true};
    const struct varve_option *pairs;
    struct tools_session s;
    struct varve_error err;
    size_t count;
    int rc = tools_session_open(&s, args, &o);

    if (rc == TOOLS_OK) {
        pairs = tools_pairs(args, &count);
        if (varve_log_create(s.store, tools_operand(args, 1), pairs, count, &err) < 0)
            rc = tools_fail(args, &err);
        else if (tools_flag(args, "verbose"))
            tools_note(args, "made");
    }
    tools_session_close(&s);
    return rc;
}

struct option_print {
    struct tools_output out;
    bool json;
    bool some;
};

static int print_option(void *ctx, const char *name, const char *value, bool is_default)
{
    struct option_print *p = ctx;

    if (p->json) {
        tools_output_text(&p->out, p->some ? ",\n  " : "{\n  ");
        tools_output_json(&p->out, name, strlen(name));
        tools_output_text(&p->out, ": {\"value\":");
        tools_output_json(&p->out, value, strlen(value));
        tools_output_printf(&p->out, ",\"default\":%s}", is_default ? "true" : "false");
    } else {
        tools_output_printf(&p->out, "%c %s = %s\n", is_default ? ' ' : '*', name, value);
    }
    p->some = true;
    return 0;
}

/* Of the session's log, or of the store when none is open. */
static int config_show(struct tools_session *s)
{
    struct option_print p = {.json = tools_flag(s->args, "json")};
    struct varve_error err;
    int rc;

    rc = tools_output_init(&p.out, STDOUT_FILENO, &err);
    if (rc == 0)
        rc = s->log ? varve_log_each_option(s->log, print_option, &p, &err)
                    : varve_store_each_option(s->store, print_option, &p, &err);
    if (rc == 0) {
        if (p.json)
            tools_output_text(&p.out, p.some ? "\n}\n" : "{}\n");
        tools_output_flush(&p.out);
        rc = tools_output_error(&p.out, &err);
    }
    tools_output_deinit(&p.out);
    return rc < 0 ? tools_fail(s->args, &err) : TOOLS_OK;
}

/* The second operand is a log, unless it gives one of the store's settings a value. */
static bool config_is_of_store(const struct tools_args *args)
{
    const char *operand = tools_operand(args, 1);
    const char *equals = operand ? strchr(operand, '=') : NULL;
    char name[40];

    if (!operand)
        return true;
    if (!equals || (size_t)(equals - operand) >= sizeof(name))
        return false;
    memcpy(name, operand, (size_t)(equals - operand));
    name[equals - operand] = '\0';
    return log_settings_known(name);
}

int tools_config(struct tools_args *args)
{
    struct varve_store_options o = {.no_background = true};
    bool of_store = config_is_of_store(args);
    const struct varve_option *pairs;
    struct tools_session s;
    struct varve_error err;
    size_t count;
    int rc, changed;

    for (int i = of_store ? 1 : 2; i < tools_operand_count(args); i++)
        if (!tools_args_add_pair(args, tools_operand(args, i)))
            return TOOLS_USAGE;
    pairs = tools_pairs(args, &count);
    o.read_only = count == 0;
    o.take_over = tools_flag(args, "take-over");
    rc = tools_session_open(&s, args, &o);
    if (rc == TOOLS_OK && !of_store)
        rc = tools_session_log(&s, tools_operand(args, 1), VARVE_DURABILITY_OS);
    if (rc == TOOLS_OK && count > 0) {
        changed = of_store ? varve_store_configure(s.store, pairs, count, &err)
                           : varve_log_configure(s.log, pairs, count, &err);
        if (changed < 0)
            rc = tools_fail(args, &err);
    }
    if (rc == TOOLS_OK && (count == 0 || tools_flag(args, "verbose")))
        rc = config_show(&s);
    tools_session_close(&s);
    return rc;
}

int tools_delete(struct tools_args *args)
{
    struct varve_store_options o = {.no_background = true};
    struct tools_session s;
    struct varve_error err;
    int rc;

    o.take_over = tools_flag(args, "take-over");
    rc = tools_session_open(&s, args, &o);
    if (rc == TOOLS_OK) {
        if (varve_log_delete(s.store, tools_operand(args, 1), &err) < 0)
            rc = tools_fail(args, &err);
        else if (tools_flag(args, "verbose"))
            tools_note(args, "deleted");
    }
    tools_session_close(&s);
    return rc;
}

static int trim_log(struct tools_session *s, const struct tools_place *place)
{
    struct varve_log_info before = {.size = sizeof(before)}, after = {.size = sizeof(after)};
    struct varve_error err;
    int64_t offset;

    if (varve_log_info(s->log, &before, &err) < 0 ||
        tools_place_resolve(s->log, place, &offset, &err) < 0 ||
        varve_log_trim(s->log, offset, &err) < 0 || varve_log_info(s->log, &after, &err) < 0)
        return tools_fail(s->args, &err);
    if (tools_flag(s->args, "json"))
        printf("{\"start_offset\":%" PRId64 ",\"trimmed_records\":%" PRId64 "}\n",
               after.start_offset, after.start_offset - before.start_offset);
    else if (tools_flag(s->args, "verbose"))
        tools_note(s->args, "the log starts at %" PRId64 "; %" PRId64 " records are gone",
                   after.start_offset, after.start_offset - before.start_offset);
    return TOOLS_OK;
}

int tools_trim(struct tools_args *args)
{
    struct varve_store_options o = {.no_background = true};
    const char *before = tools_text(args, "before");
    struct tools_place place;
    struct tools_session s;
    int rc;

    if (!before || !tools_place_parse(before, &place))
        return tools_usage(args, "needs --before F: what becomes the log's first record");
    o.take_over = tools_flag(args, "take-over");
    rc = tools_session_open(&s, args, &o);
    if (rc == TOOLS_OK)
        rc = tools_session_log(&s, tools_operand(args, 1), VARVE_DURABILITY_OS);
    if (rc == TOOLS_OK)
        rc = trim_log(&s, &place);
    tools_session_close(&s);
    return rc;
}
