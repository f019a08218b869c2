/*
 * doctor: what a store can and cannot do, and what that means.
 *
 * Two parts of cold/ find out: inspect.c asks, probe.c tries. Each result is a check here: its
 * name, what was tried, the verdict, and a kind, by which the words of doctor_words.c are looked
 * up. Nothing is refused, and no failure ends it before all is printed that was found until then.
 */
#include "tools/doctor.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/env.h"
#include "cold/inspect.h"
#include "cold/url.h"
#include "tools/commands.h"
#include "tools/output.h"
#include "tools/text.h"

#define CHECKS_MAX (COLD_FINDINGS_MAX + COLD_PROBE_CHECKS_MAX + 2)
#define LINE_MAX_COLUMNS 96
#define INDENT 10

struct check {
    const char *name;
    const char *tried;
    const char *kind;
    enum cold_probe_verdict verdict;
    const char *found;
    const struct doctor_words *words;
};

struct examination {
    struct cold_inspection asked;
    struct cold_probe tried;
    struct check checks[CHECKS_MAX];
    size_t count;
    int rc; /* of what ended it early; 0: it went to the end */
    struct varve_error err;
};

static void add(struct examination *e, const char *name, const char *tried, const char *kind,
                enum cold_probe_verdict verdict, const char *found)
{
    e->checks[e->count++] = (struct check){.name = name,
                                           .tried = tried,
                                           .kind = kind,
                                           .verdict = verdict,
                                           .found = found,
                                           .words = doctor_words_find(name, kind)};
}

static void add_findings(struct examination *e, size_t from)
{
    for (size_t i = from; i < e->asked.count; i++) {
        const struct cold_finding *f = &e->asked.findings[i];
        const struct cold_finding *driver = cold_inspect_find(&e->asked, "driver");
        bool is_dir = driver && strcmp(driver->kind, "dir") == 0;

        add(e, f->name, f->what, is_dir && strcmp(f->kind, "dead") == 0 ? "no-directory" : f->kind,
            f->verdict, f->value);
    }
}

/* ---- what the prober tried ---- */

static bool is_condition(const char *name)
{
    return strcmp(name, "if-absent") == 0 || strcmp(name, "if-match") == 0 ||
           strcmp(name, "race") == 0;
}

static bool probe_said(const struct cold_probe *p, const char *name, enum cold_probe_verdict v)
{
    const struct cold_probe_check *c = cold_probe_find(p, name);

    return c && c->verdict == v;
}

/* The same "no" means something else in a versioned bucket, and where nothing else helps. */
static const char *kind_of_check(const struct examination *e, const struct cold_probe_check *c)
{
    const struct cold_finding *versioning = cold_inspect_find(&e->asked, "versioning");

    if (c->verdict == COLD_PROBE_YES)
        return "yes";
    if (c->verdict == COLD_PROBE_UNKNOWN)
        return "unknown";
    if (is_condition(c->name) && versioning && strcmp(versioning->kind, "on") == 0)
        return "no-versioned";
    if (strcmp(c->name, "sha256") == 0 && probe_said(&e->tried, "crc32c", COLD_PROBE_NO))
        return "unguarded";
    return "no";
}

static const char *kind_of_failure(const struct varve_error *err)
{
    if (err->code == VARVE_E_DENIED)
        return "denied";
    return err->code == VARVE_E_NO_SPACE ? "full" : "failed";
}

static void add_probe(struct examination *e)
{
    for (size_t i = 0; i < e->tried.count; i++) {
        const struct cold_probe_check *c = &e->tried.checks[i];

        add(e, c->name, c->what, kind_of_check(e, c), c->verdict, c->detail);
    }
    if (e->rc == 0)
        return;
    if (e->tried.count == 0)
        add(e, "write", "a small object is stored", kind_of_failure(&e->err), COLD_PROBE_NO,
            e->err.msg);
    else
        add(e, "trial", "the rest of what varve does to a store", kind_of_failure(&e->err),
            COLD_PROBE_UNKNOWN, e->err.msg);
}

static void examine(struct examination *e, const struct base_env *env, struct cold_store *store)
{
    size_t asked;

    e->rc = cold_inspect_run(env, store, &e->asked, &e->err);
    add_findings(e, 0);
    if (e->rc < 0)
        return;
    e->rc = cold_probe_run(env, store, &e->tried, &e->err);
    add_probe(e);
    if (e->rc < 0)
        return;
    asked = e->asked.count;
    if (cold_inspect_latency(env, store, &e->asked, NULL) == 0)
        add_findings(e, asked);
}

/* ---- printing ---- */

static size_t count_of(const struct examination *e, enum doctor_weight weight)
{
    size_t count = 0;

    for (size_t i = 0; i < e->count; i++)
        count += e->checks[i].words->weight == weight;
    return count;
}

static const char *word_of(enum cold_probe_verdict verdict)
{
    return verdict == COLD_PROBE_YES ? "yes" : verdict == COLD_PROBE_NO ? "no" : "unknown";
}

static const char *name_of(enum doctor_weight weight)
{
    return weight == DOCTOR_PROBLEM ? "problem" : weight == DOCTOR_NOTE ? "note" : "good";
}

/* "label text", broken at blanks and indented. */
static void print_wrapped(struct tools_output *out, const char *label, const char *text)
{
    size_t column = INDENT + strlen(label);

    tools_output_printf(out, "%*s%s", INDENT, "", label);
    while (*text) {
        size_t size = strcspn(text, " ");

        if (column + 1 + size > LINE_MAX_COLUMNS && column > INDENT + strlen(label)) {
            tools_output_printf(out, "\n%*s", INDENT + (int)strlen(label), "");
            column = INDENT + strlen(label);
        }
        tools_output_char(out, ' ');
        tools_output_add(out, text, size);
        column += 1 + size;
        text += size;
        text += *text == ' ';
    }
    tools_output_char(out, '\n');
}

static void print_check(struct tools_output *out, const struct check *c)
{
    const char *mark = c->words->weight == DOCTOR_PROBLEM ? "!" : "";

    tools_output_printf(out, "%1s %-7s %s: %s\n", mark, word_of(c->verdict), c->name, c->tried);
    if (c->found[0])
        print_wrapped(out, "found:", c->found);
    if (c->words->means)
        print_wrapped(out, "means:", c->words->means);
    if (c->words->advice)
        print_wrapped(out, "do:   ", c->words->advice);
}

static void print_text(struct tools_output *out, const struct examination *e, const char *url)
{
    size_t problems = count_of(e, DOCTOR_PROBLEM);

    tools_output_text(out, url);
    tools_output_text(out, "\n\n");
    for (size_t i = 0; i < e->count; i++)
        print_check(out, &e->checks[i]);
    if (problems == 0)
        tools_output_text(out, "\ngood: it does all that varve needs of a cold tier\n");
    else
        tools_output_printf(out, "\n%zu problem%s: see the line%s marked with !%s\n", problems,
                            problems == 1 ? "" : "s", problems == 1 ? "" : "s",
                            e->rc < 0 ? "; the rest could not be tried" : "");
}

/* Texts may hold what others sent, and be cut in the middle of a character. */
static void json_text(struct tools_output *out, const char *text)
{
    char plain[COLD_URL_MAX + 1];
    size_t size = 0;

    if (tools_utf8_is_valid(text, strlen(text))) {
        tools_output_json(out, text, strlen(text));
        return;
    }
    for (; *text && size < COLD_URL_MAX; text++)
        plain[size++] = (char)(*text >= ' ' && *text <= '~' ? *text : '?');
    tools_output_json(out, plain, size);
}

static void json_member(struct tools_output *out, const char *name, const char *text)
{
    tools_output_printf(out, ",\"%s\":", name);
    if (text && text[0])
        json_text(out, text);
    else
        tools_output_text(out, "null");
}

static void print_json(struct tools_output *out, const struct examination *e, const char *url,
                       int code)
{
    tools_output_text(out, "{\"url\":");
    json_text(out, url);
    tools_output_printf(out, ",\"good\":%s,\"complete\":%s,\"exit\":%d,\"problems\":%zu,",
                        count_of(e, DOCTOR_PROBLEM) == 0 ? "true" : "false",
                        e->rc == 0 ? "true" : "false", code, count_of(e, DOCTOR_PROBLEM));
    tools_output_text(out, "\"checks\":[");
    for (size_t i = 0; i < e->count; i++) {
        const struct check *c = &e->checks[i];

        tools_output_printf(out, "%s{\"name\":\"%s\"", i > 0 ? ",\n" : "\n", c->name);
        json_member(out, "tried", c->tried);
        json_member(out, "verdict", word_of(c->verdict));
        json_member(out, "kind", c->kind);
        json_member(out, "weight", name_of(c->words->weight));
        json_member(out, "found", c->found);
        json_member(out, "means", c->words->means);
        json_member(out, "do", c->words->advice);
        tools_output_char(out, '}');
    }
    tools_output_text(out, "\n]}\n");
}

static int print(struct tools_args *args, const struct examination *e, const char *url, int code)
{
    struct tools_output out;
    struct varve_error err;
    int rc = tools_output_init(&out, STDOUT_FILENO, &err);

    if (rc == 0) {
        if (tools_flag(args, "json"))
            print_json(&out, e, url, code);
        else
            print_text(&out, e, url);
        tools_output_flush(&out);
        rc = tools_output_error(&out, &err);
    }
    tools_output_deinit(&out);
    return rc < 0 ? tools_fail(args, &err) : code;
}

int tools_doctor(struct tools_args *args)
{
    static struct examination e; /* some 20 KiB */
    const struct cold_store_options options = {.caps = NULL};
    const char *url = tools_operand(args, 0);
    struct cold_store *store;
    struct base_env env;
    struct varve_error err;
    int code;

    base_env_init(&env);
    if (cold_store_open(&env, url, &options, &store, &err) < 0)
        return tools_fail(args, &err);
    examine(&e, &env, store);
    code = count_of(&e, DOCTOR_PROBLEM) > 0 || e.rc < 0 ? TOOLS_FAILURE : TOOLS_OK;
    if (e.rc < 0 && tools_exit_code(&e.err) == TOOLS_RETRIABLE)
        code = TOOLS_RETRIABLE;
    cold_store_close(store);
    return print(args, &e, url, code);
}
