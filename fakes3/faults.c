/* The rules at work: which fire, and what that makes of a request. The text form is in rule.c. */
#include "fakes3/faults.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fakes3/request.h"
#include "fakes3/rule.h"
#include "fakes3/text.h"

/* No request waits longer than this, however the dice fall. */
#define LATENCY_US_MAX (600 * 1e6)

void fakes3_faults_clear(struct fakes3_faults *faults)
{
    for (size_t i = 0; i < faults->count; i++)
        fakes3_rule_free(faults->rules[i]);
    free(faults->rules);
    faults->rules = NULL;
    faults->count = 0;
}

/* The rule of one line; NULL without *ret_error for an empty one. */
static struct fakes3_rule *parse_line(char *line, char **ret_error)
{
    line[strcspn(line, "#")] = 0;
    line += strspn(line, " \t\r");
    line[strcspn(line, "\r")] = 0;
    return *line ? fakes3_rule_parse(line, ret_error) : NULL;
}

bool fakes3_faults_add(struct fakes3_faults *faults, const char *text, int64_t mono_ms,
                       char **ret_error)
{
    char *copy = fakes3_text_copy(text);
    char *rest = copy, *line;
    size_t before = faults->count;

    *ret_error = NULL;
    while ((line = strsep(&rest, "\n"))) {
        struct fakes3_rule *rule = parse_line(line, ret_error);
        if (*ret_error)
            break;
        if (!rule)
            continue;
        rule->set_ms = mono_ms;
        fakes3_random_init(&rule->random, faults->seed, ++faults->last_stream);
        faults->rules =
            fakes3_text_grow(faults->rules, (faults->count + 1) * sizeof(*faults->rules));
        faults->rules[faults->count++] = rule;
    }
    free(copy);
    while (*ret_error && faults->count > before)
        fakes3_rule_free(faults->rules[--faults->count]);
    return !*ret_error;
}

static bool selects_op(const char *ops, enum fakes3_operation op)
{
    char pattern[64];

    /* Without op=: any request, but no moment that is none. */
    if (!ops)
        return fakes3_operation_matches(op, "*");
    for (; *ops; ops += strcspn(ops, ","), ops += *ops == ',') {
        size_t size = strcspn(ops, ",");
        if (size >= sizeof(pattern))
            continue;
        memcpy(pattern, ops, size);
        pattern[size] = 0;
        if (fakes3_operation_matches(op, pattern))
            return true;
    }
    return false;
}

static bool selects_text(const char *pattern, const char *text)
{
    return !pattern || (text && fakes3_text_glob(pattern, text));
}

/* "Credential=AK/date/..." against a glob for AK. */
static bool selects_access_key(const char *pattern, const struct fakes3_request *request)
{
    const char *header = request ? fakes3_request_header(request, "authorization") : NULL;
    const char *credential = header ? strstr(header, "Credential=") : NULL;
    char *access_key;
    bool good;

    if (!pattern || !credential)
        return !pattern;
    credential += strlen("Credential=");
    access_key = fakes3_text_slice(credential, strcspn(credential, "/"));
    good = fakes3_text_glob(pattern, access_key);
    free(access_key);
    return good;
}

static bool rule_selects(const struct fakes3_rule *rule, const struct fakes3_moment *moment)
{
    const struct fakes3_request *request = moment->request;
    int64_t age_us = (moment->mono_ms - rule->set_ms) * 1000;

    return selects_op(rule->ops, moment->op) && selects_text(rule->bucket, moment->bucket) &&
           selects_text(rule->key, moment->key) &&
           selects_text(rule->method, request ? request->method : NULL) &&
           selects_access_key(rule->access_key, request) &&
           (!rule->with || (request && fakes3_request_header(request, rule->with))) &&
           age_us >= rule->from_us && (!rule->to_us || age_us < rule->to_us);
}

static bool rule_fires(struct fakes3_rule *rule)
{
    rule->matched++;
    if (rule->nth_first && (rule->matched < rule->nth_first || rule->matched > rule->nth_last))
        return false;
    if (rule->every && rule->matched % rule->every != 0)
        return false;
    if (rule->probability >= 0 && fakes3_random_unit(&rule->random) >= rule->probability)
        return false;
    if (rule->times && rule->fired >= rule->times)
        return false;
    rule->fired++;
    return true;
}

struct fakes3_effects fakes3_faults_choose(struct fakes3_faults *faults,
                                           const struct fakes3_moment *moment)
{
    struct fakes3_effects effects = {.cut = FAKES3_CUT_NOT};

    for (size_t i = 0; i < faults->count; i++) {
        struct fakes3_rule *rule = faults->rules[i];
        if (rule_selects(rule, moment) && rule_fires(rule))
            fakes3_rule_merge(&effects, &rule->effects);
    }
    return effects;
}

int64_t fakes3_distribution_draw(const struct fakes3_distribution *distribution,
                                 struct fakes3_random *random)
{
    double us = distribution->a;

    if (distribution->kind == FAKES3_UNIFORM)
        us += (distribution->b - us) * fakes3_random_unit(random);
    else if (distribution->kind == FAKES3_EXPONENTIAL)
        us *= -log(1 - fakes3_random_unit(random));
    else if (distribution->kind == FAKES3_LOGNORMAL)
        us *= exp(distribution->b * fakes3_random_normal(random));
    return (int64_t)(us < LATENCY_US_MAX ? us : LATENCY_US_MAX);
}
