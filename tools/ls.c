/*
 * ls: the logs of a store, or the segments of a log.
 *
 * Segments are printed as they are visited (there may be a million), so the widths of their columns
 * follow from the log's end offset. A narrow terminal gets less: first narrower gaps, then times
 * without seconds.
 */
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/text.h"
#include "tools/commands.h"
#include "tools/output.h"
#include "tools/session.h"
#include "tools/text.h"

#define COLUMNS_DEFAULT 80
#define BAR_CELLS 40
#define NAME_COLUMNS_MAX 40

enum tier { TIER_NONE, TIER_HOT, TIER_COLD, TIER_BOTH };

static const char *const tier_names[] = {"-", "hot", "cold", "both"};
static const char *const tier_colours[] = {"", "\033[33m", "\033[36m", "\033[32m"};

struct listing {
    struct tools_output out;
    struct tools_session *session;
    const char *log_name;
    bool json;
    bool colour;
    bool utf8;
    bool some_active; /* a segment that is still written was printed */
    size_t columns;
    /* of the segment table */
    int offset_width;
    int gap;
    int time_size; /* characters of a time that are shown */
    /* of the log table */
    size_t name_width;
    /* sums */
    uint64_t count;
    uint64_t records, hot_bytes, cold_bytes, stored_bytes;
};

static void paint(struct listing *l, const char *code, const char *text)
{
    if (l->colour && code[0] != '\0')
        tools_output_text(&l->out, code);
    tools_output_text(&l->out, text);
    if (l->colour && code[0] != '\0')
        tools_output_text(&l->out, "\033[0m");
}

static void pad(struct listing *l, size_t count)
{
    tools_output_printf(&l->out, "%*s", (int)count, "");
}

/* A tier's name in its colour, in a column of four. */
static void print_tier(struct listing *l, enum tier tier)
{
    paint(l, tier_colours[tier], tier_names[tier]);
    pad(l, 4 - strlen(tier_names[tier]));
}

static void listing_init(struct listing *l, struct tools_session *s)
{
    const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
    struct winsize size;

    l->session = s;
    l->json = tools_flag(s->args, "json");
    l->columns = COLUMNS_DEFAULT;
    if (isatty(STDOUT_FILENO)) {
        l->colour = (!no_colour || no_colour[0] == '\0') && (!term || strcmp(term, "dumb") != 0);
        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
            l->columns = size.ws_col;
    }
    setlocale(LC_CTYPE, "");
    l->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

static enum tier tier_of(bool hot, bool cold)
{
    return hot ? (cold ? TIER_BOTH : TIER_HOT) : cold ? TIER_COLD : TIER_NONE;
}

/* --- the segments of a log ---------------------------------------------------------------- */

/* "2015-05-17 10:05:03", or less of it. */
static void print_time(struct listing *l, int64_t ms)
{
    char text[BASE_TIME_TEXT_SIZE];

    base_format_time(ms, text);
    if (strlen(text) > 10)
        text[10] = ' ';
    tools_output_printf(&l->out, "%-*.*s", l->time_size, l->time_size, text);
}

/* Characters of a row; the fixed part is tier 4, then size 5, stored 6, ratio 5 one space apart. */
static size_t row_width(const struct listing *l)
{
    return (size_t)(2 * l->offset_width + 4 + 2 * l->time_size + 5 + 1 + 6 + 1 + 5 + 5 * l->gap);
}

static void segments_layout(struct listing *l, const struct varve_log_info *info)
{
    static const struct {
        int gap;
        int time_size;
    } steps[] = {{2, 19}, {1, 19}, {1, 16}, {1, 10}};
    char text[32];

    snprintf(text, sizeof(text), "%" PRId64, info->end_offset);
    l->offset_width = (int)strlen(text) > 5 ? (int)strlen(text) : 5;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        l->gap = steps[i].gap;
        l->time_size = steps[i].time_size;
        if (row_width(l) <= l->columns)
            break;
    }
}

static void print_heading(struct listing *l)
{
    char line[256];
    int g = l->gap, w = l->offset_width, t = l->time_size;

    snprintf(line, sizeof(line), "%*s%*s%*s%*s%-4s%*s%-*s%*s%-*s%*s%5s %6s %5s", w, "FIRST", g, "",
             w, "END", g, "", "TIER", g, "", t, "FROM", g, "", t, "NEWEST", g, "", "SIZE", "STORED",
             "RATIO");
    paint(l, "\033[1m", line);
    tools_output_char(&l->out, '\n');
}

static int print_segment(void *ctx, const struct varve_segment_info *s)
{
    char size[TOOLS_SHORT_SIZE], stored[TOOLS_SHORT_SIZE], ratio[TOOLS_SHORT_SIZE];
    struct listing *l = ctx;

    tools_size_short(s->size, size);
    tools_size_short(s->stored_size, stored);
    tools_ratio_short(s->size, s->cold ? s->stored_size : 0, ratio);
    tools_output_printf(&l->out, "%*" PRId64 "%*s%*" PRId64 "%*s", l->offset_width, s->base_offset,
                        l->gap, "", l->offset_width, s->end_offset, l->gap, "");
    if (s->sealed)
        print_tier(l, tier_of(s->hot, s->cold));
    else
        paint(l, tier_colours[TIER_HOT], "hot*");
    l->some_active = l->some_active || !s->sealed;
    pad(l, (size_t)l->gap);
    print_time(l, s->first_timestamp);
    pad(l, (size_t)l->gap);
    print_time(l, s->max_timestamp);
    tools_output_printf(&l->out, "%*s%5s %6s %5s\n", l->gap, "", size, s->cold ? stored : "-",
                        ratio);
    l->count++;
    return tools_output_ended(&l->out) ? 1 : 0;
}

/* Where the records lie, from the log start to the end: cold only, both, hot only. */
static void print_bar(struct listing *l, const struct varve_log_info *info)
{
    static const char *const cells[2][3] = {{"c", "=", "h"}, {"░", "▒", "█"}};
    double span = (double)(info->end_offset - info->start_offset);
    static const enum tier tiers[] = {TIER_COLD, TIER_BOTH, TIER_HOT};
    int64_t ends[3];
    int at = 0;

    if (span <= 0)
        return;
    ends[0] = info->hot_start < info->start_offset ? info->start_offset : info->hot_start;
    ends[1] = info->cold_end > ends[0] ? info->cold_end : ends[0];
    ends[2] = info->end_offset;
    tools_output_text(&l->out, "cold ");
    for (int i = 0; i < 3; i++) {
        int to = (int)((double)(ends[i] - info->start_offset) / span * BAR_CELLS + 0.5);

        if (l->colour)
            tools_output_text(&l->out, tier_colours[tiers[i]]);
        for (; at < to && at < BAR_CELLS; at++)
            tools_output_text(&l->out, cells[l->utf8][i]);
        if (l->colour)
            tools_output_text(&l->out, "\033[0m");
    }
    tools_output_text(&l->out, " hot\n");
}

static void print_log_head(struct listing *l, const struct varve_log_info *info)
{
    char records[TOOLS_COUNT_SIZE];

    tools_count_text((uint64_t)(info->end_offset - info->start_offset), records);
    paint(l, "\033[1m", l->log_name);
    tools_output_printf(&l->out, "  %s records, offsets %" PRId64 " to %" PRId64, records,
                        info->start_offset, info->end_offset);
    tools_output_printf(&l->out, "\nid %s, epoch %" PRIu32 "\n", info->id, info->epoch);
    print_bar(l, info);
    tools_output_char(&l->out, '\n');
}

/* What a disaster on this machine would cost. */
static void print_recovery_point(struct listing *l, const struct varve_log_info *info)
{
    int64_t from = info->cold_end > info->start_offset ? info->cold_end : info->start_offset;
    char records[TOOLS_COUNT_SIZE], age[TOOLS_SHORT_SIZE], waiting[TOOLS_SHORT_SIZE];

    if (info->end_offset <= from) {
        tools_output_text(&l->out, "recovery point: the end; nothing is local only\n");
        return;
    }
    tools_count_text((uint64_t)(info->end_offset - from), records);
    tools_age_short(info->pending_age_ms, age);
    tools_output_printf(&l->out, "recovery point: offset %" PRId64 "; %s records are local only",
                        from, records);
    if (info->pending_age_ms > 0)
        tools_output_printf(&l->out, ", for %s", age);
    tools_size_short(info->pending_bytes, waiting);
    if (info->pending_bytes > 0)
        tools_output_printf(&l->out, "; %s wait to be uploaded", waiting);
    tools_output_char(&l->out, '\n');
}

static void print_log_foot(struct listing *l, const struct varve_log_info *info)
{
    char hot[TOOLS_SHORT_SIZE], cold[TOOLS_SHORT_SIZE], stored[TOOLS_SHORT_SIZE];
    char ratio[TOOLS_SHORT_SIZE];

    tools_size_short(info->hot_bytes, hot);
    tools_size_short(info->cold_bytes, cold);
    tools_size_short(info->cold_stored_bytes, stored);
    tools_ratio_short(info->cold_bytes, info->cold_stored_bytes, ratio);
    tools_output_printf(
        &l->out, "\nhot %s in %" PRIu64 " segment%s; cold %s in %" PRIu64 ", stored as %s (%s)\n",
        hot, info->hot_bytes > 0 ? info->hot_segments : 0,
        info->hot_bytes > 0 && info->hot_segments == 1 ? "" : "s", cold, info->cold_segments,
        stored, ratio);
    if (l->some_active)
        tools_output_text(&l->out, "* still written; --seal lets it be uploaded\n");
    print_recovery_point(l, info);
    if (!info->owned)
        tools_output_printf(&l->out, "owned by another store, %s: shown is what it has uploaded\n",
                            info->owner);
    if (info->upload_failures > 0) {
        paint(l, "\033[31m", "uploads fail");
        tools_output_printf(&l->out, ": %" PRIu32 " in a row; they are retried\n",
                            info->upload_failures);
    }
}

static int print_segment_json(void *ctx, const struct varve_segment_info *s)
{
    struct listing *l = ctx;

    tools_output_printf(&l->out,
                        "%s\n  {\"base_offset\":%" PRId64 ",\"end_offset\":%" PRId64
                        ",\"tier\":\"%s\",\"sealed\":%s,\"first_timestamp\":%" PRId64
                        ",\"max_timestamp\":%" PRId64 ",\"size\":%" PRIu64
                        ",\"stored_size\":%" PRIu64 ",",
                        l->count > 0 ? "," : "", s->base_offset, s->end_offset,
                        tier_names[tier_of(s->hot, s->cold)], s->sealed ? "true" : "false",
                        s->first_timestamp, s->max_timestamp, s->size, s->stored_size);
    tools_output_json_bytes(&l->out, "object_key", s->object_key,
                            s->object_key ? strlen(s->object_key) : 0);
    tools_output_char(&l->out, '}');
    l->count++;
    return tools_output_ended(&l->out) ? 1 : 0;
}

/* The members of a log, without braces. */
static void print_info_json(struct listing *l, const char *name, const struct varve_log_info *info)
{
    tools_output_text(&l->out, "\"log\":");
    tools_output_json(&l->out, name, strlen(name));
    tools_output_printf(
        &l->out,
        ",\"id\":\"%s\",\"epoch\":%" PRIu32
        ",\"owner\":\"%s\",\"owned\":%s,\"start_offset\":%" PRId64 ",\"end_offset\":%" PRId64
        ",\"cold_end\":%" PRId64 ",\"hot_start\":%" PRId64 ",\"hot_segments\":%" PRIu64
        ",\"hot_bytes\":%" PRIu64,
        info->id, info->epoch, info->owner, info->owned ? "true" : "false", info->start_offset,
        info->end_offset, info->cold_end, info->hot_start, info->hot_segments, info->hot_bytes);
    tools_output_printf(&l->out,
                        ",\"cold_segments\":%" PRIu64 ",\"cold_bytes\":%" PRIu64
                        ",\"cold_stored_bytes\":%" PRIu64 ",\"pending_age_ms\":%" PRId64
                        ",\"pending_bytes\":%" PRIu64 ",\"upload_failures\":%" PRIu32
                        ",\"divergent_segments\":%" PRIu64 ",\"divergent_bytes\":%" PRIu64,
                        info->cold_segments, info->cold_bytes, info->cold_stored_bytes,
                        info->pending_age_ms, info->pending_bytes, info->upload_failures,
                        info->divergent_segments, info->divergent_bytes);
}

static int print_divergent(void *ctx, const struct varve_divergent_info *f)
{
    struct listing *l = ctx;
    char size[TOOLS_SHORT_SIZE];

    tools_size_short(f->size, size);
    paint(l, "\033[31m", "divergent");
    tools_output_printf(&l->out,
                        ": offsets %" PRId64 " to %" PRId64 " (epoch %" PRIu32
                        ", %s) were written here, but are not part of the log: %s\n",
                        f->first_offset, f->end_offset, f->epoch, size, f->path);
    return tools_output_ended(&l->out) ? 1 : 0;
}

static int print_divergent_json(void *ctx, const struct varve_divergent_info *f)
{
    struct listing *l = ctx;

    tools_output_printf(&l->out,
                        "%s\n  {\"first_offset\":%" PRId64 ",\"end_offset\":%" PRId64
                        ",\"epoch\":%" PRIu32 ",\"size\":%" PRIu64 ",",
                        l->count > 0 ? "," : "", f->first_offset, f->end_offset, f->epoch, f->size);
    tools_output_json_bytes(&l->out, "path", f->path, strlen(f->path));
    tools_output_char(&l->out, '}');
    l->count++;
    return tools_output_ended(&l->out) ? 1 : 0;
}

static int list_segments(struct tools_session *s, const char *name, void *ctx)
{
    struct varve_log_info info = {.size = sizeof(info)};
    struct listing *l = ctx;
    struct varve_error err;
    int rc;

    l->log_name = name;
    if (varve_log_info(s->log, &info, &err) < 0)
        return tools_fail(s->args, &err);
    if (l->json) {
        tools_output_text(&l->out, "{");
        print_info_json(l, name, &info);
        tools_output_text(&l->out, ",\"segments\":[");
    } else {
        segments_layout(l, &info);
        print_log_head(l, &info);
        print_heading(l);
    }
    rc = varve_log_each_segment(s->log, l->json ? print_segment_json : print_segment, l, &err);
    if (rc < 0) {
        tools_output_flush(&l->out);
        return tools_fail(s->args, &err);
    }
    if (l->json) {
        tools_output_text(&l->out, l->count > 0 ? "\n],\"divergent\":[" : "],\"divergent\":[");
        l->count = 0;
    } else {
        print_log_foot(l, &info);
    }
    rc =
        varve_log_each_divergent(s->log, l->json ? print_divergent_json : print_divergent, l, &err);
    if (rc < 0) {
        tools_output_flush(&l->out);
        return tools_fail(s->args, &err);
    }
    if (l->json)
        tools_output_text(&l->out, l->count > 0 ? "\n]}\n" : "]}\n");
    return TOOLS_OK;
}

/* --- the logs of a store ------------------------------------------------------------------- */

static int measure_name(void *ctx, const char *name)
{
    struct listing *l = ctx;
    size_t width = tools_utf8_count(name);

    if (width > l->name_width)
        l->name_width = width;
    return 0;
}

static void print_cell(struct listing *l, const char *text, int width)
{
    tools_output_printf(&l->out, "  %*s", width, text);
}

static void print_name(struct listing *l, const char *name)
{
    size_t width = tools_utf8_count(name);

    tools_output_text(&l->out, name);
    /* A name that is longer than its column gets a line of its own, uncut. */
    if (width > l->name_width) {
        tools_output_char(&l->out, '\n');
        width = 0;
    }
    pad(l, l->name_width - width);
}

static void print_log_row(struct listing *l, const char *name, const struct varve_log_info *info)
{
    bool hot = info->end_offset > info->hot_start && info->end_offset > info->start_offset;
    bool cold = info->cold_end > info->start_offset;
    char count[TOOLS_COUNT_SIZE], text[TOOLS_SHORT_SIZE];

    print_name(l, name);
    tools_output_text(&l->out, "  ");
    print_tier(l, tier_of(hot, cold));
    tools_count_text((uint64_t)(info->end_offset - info->start_offset), count);
    print_cell(l, count, 13);
    tools_size_short(info->hot_bytes, text);
    print_cell(l, text, 6);
    tools_size_short(info->cold_bytes, text);
    print_cell(l, text, 6);
    tools_size_short(info->cold_stored_bytes, text);
    print_cell(l, text, 6);
    tools_ratio_short(info->cold_bytes, info->cold_stored_bytes, text);
    print_cell(l, text, 6);
    tools_age_short(info->pending_age_ms, text);
    print_cell(l, text, 8);
    tools_output_char(&l->out, '\n');
}

static int list_log(struct tools_session *s, const char *name, void *ctx)
{
    struct varve_log_info info = {.size = sizeof(info)};
    struct listing *l = ctx;
    struct varve_error err;

    if (varve_log_info(s->log, &info, &err) < 0)
        return tools_fail(s->args, &err);
    if (l->json) {
        tools_output_text(&l->out, l->count > 0 ? ",\n  {" : "\n  {");
        print_info_json(l, name, &info);
        tools_output_char(&l->out, '}');
    } else {
        print_log_row(l, name, &info);
    }
    l->count++;
    l->records += (uint64_t)(info.end_offset - info.start_offset);
    l->hot_bytes += info.hot_bytes;
    l->cold_bytes += info.cold_bytes;
    l->stored_bytes += info.cold_stored_bytes;
    return TOOLS_OK;
}

static void print_logs_heading(struct listing *l)
{
    char line[256];

    snprintf(line, sizeof(line), "%-*s  TIER  %13s  %6s  %6s  %6s  %6s  %8s", (int)l->name_width,
             "LOG", "RECORDS", "HOT", "COLD", "STORED", "RATIO", "LOCAL");
    paint(l, "\033[1m", line);
    tools_output_char(&l->out, '\n');
}

static void print_logs_foot(struct listing *l)
{
    char records[TOOLS_COUNT_SIZE], hot[TOOLS_SHORT_SIZE], cold[TOOLS_SHORT_SIZE];
    char stored[TOOLS_SHORT_SIZE], ratio[TOOLS_SHORT_SIZE];

    tools_count_text(l->records, records);
    tools_size_short(l->hot_bytes, hot);
    tools_size_short(l->cold_bytes, cold);
    tools_size_short(l->stored_bytes, stored);
    tools_ratio_short(l->cold_bytes, l->stored_bytes, ratio);
    tools_output_printf(&l->out,
                        "\n%" PRIu64 " log%s, %s records: %s hot, %s cold stored as %s (%s)\n",
                        l->count, l->count == 1 ? "" : "s", records, hot, cold, stored, ratio);
}

static int list_logs(struct listing *l)
{
    struct tools_session *s = l->session;
    struct varve_error err;
    size_t fixed = 2 + 4 + 2 + 13 + 4 * 8 + 10, room;
    int rc;

    l->name_width = 3;
    if (varve_store_each_log(s->store, measure_name, l, &err) < 0)
        return tools_fail(s->args, &err);
    room = l->columns > fixed + 16 ? l->columns - fixed : 16;
    if (room > NAME_COLUMNS_MAX)
        room = NAME_COLUMNS_MAX;
    if (l->name_width > room)
        l->name_width = room;
    if (l->json)
        tools_output_text(&l->out, "{\"logs\":[");
    else
        print_logs_heading(l);
    rc = tools_session_each(s, list_log, l);
    if (l->json)
        tools_output_text(&l->out, l->count > 0 ? "\n]}\n" : "]}\n");
    else
        print_logs_foot(l);
    return rc;
}

int tools_ls(struct tools_args *args)
{
    struct varve_store_options o = {.read_only = true, .no_background = true};
    struct tools_session s;
    struct listing l = {0};
    struct varve_error err;
    int rc = tools_session_open(&s, args, &o);

    if (rc == TOOLS_OK && tools_output_init(&l.out, STDOUT_FILENO, &err) < 0)
        rc = tools_fail(args, &err);
    if (rc == TOOLS_OK) {
        listing_init(&l, &s);
        if (tools_operand(args, 1))
            rc = tools_session_each(&s, list_segments, &l);
        else
            rc = list_logs(&l);
        tools_output_flush(&l.out);
        if (rc == TOOLS_OK && tools_output_error(&l.out, &err) < 0)
            rc = tools_fail(args, &err);
    }
    tools_output_deinit(&l.out);
    tools_session_stats(&s);
    tools_session_close(&s);
    return rc;
}
