/*
 * The script of a faulty store. Rules are parsed once; a table counts calls by what they are about,
 * so that what happens depends on no thread's pace.
 */
#include "cold/faulty_script.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "base/thread.h"

#define PATTERN_MAX 256
/* So many things are counted apart; then all counts begin anew, so that the table stays bounded. */
#define COUNTS_MAX (1u << 20)
#define COUNTS_FIRST 64
/* A year: as many of them as there can be rules still fit into nanoseconds. */
#define TIME_MAX_MS (INT64_C(366) * 24 * 3600 * 1000)
#define NS_PER_MS 1000000

static const char *const op_names[FAULTY_OPS] = {"put",   "get",  "head",     "list",  "delete",
                                                 "begin", "part", "complete", "abort", "uploads"};

#define OP(o) (1u << FAULTY_##o)
#define OPS_ALL ((1u << FAULTY_OPS) - 1)

static const struct {
    const char *name;
    unsigned ops; /* that it can happen to */
    enum { VALUE_NONE, VALUE_TIME, VALUE_TIMES, VALUE_CODE } value;
} kinds[FAULTY_KINDS] = {
    [FAULTY_DELAY] = {"delay", OPS_ALL, VALUE_TIMES},
    [FAULTY_ERROR] = {"error", OPS_ALL, VALUE_CODE},
    [FAULTY_CONFLICT] = {"conflict", OP(PUT) | OP(COMPLETE), VALUE_NONE},
    [FAULTY_LOST] = {"lost", OPS_ALL, VALUE_NONE},
    [FAULTY_TWICE] = {"twice", OP(PUT) | OP(COMPLETE), VALUE_NONE},
    [FAULTY_LATE] = {"late", OP(PUT) | OP(DELETE), VALUE_TIME},
    [FAULTY_CUT] = {"cut", OP(GET), VALUE_NONE},
    [FAULTY_SHORT] = {"short", OP(GET), VALUE_NONE},
    [FAULTY_FLIP] = {"flip", OP(GET) | OP(PUT) | OP(PART), VALUE_NONE},
    [FAULTY_STALE] = {"stale", OP(LIST), VALUE_TIME},
};

static const struct {
    const char *name;
    int code;
    bool retriable;
} codes[] = {
    {"store", VARVE_E_STORE, true},
    {"broken", VARVE_E_STORE, false},
    {"denied", VARVE_E_DENIED, false},
    {"corrupt", VARVE_E_CORRUPT, false},
    {"no_space", VARVE_E_NO_SPACE, true},
    {"no_memory", VARVE_E_NO_MEMORY, false},
    {"unsupported", VARVE_E_UNSUPPORTED, false},
    {"not_found", VARVE_E_NOT_FOUND, false},
};

struct rule {
    unsigned ops;
    char pattern[PATTERN_MAX]; /* "": any key */
    enum cold_faulty_kind kind;
    unsigned code;           /* index in `codes` */
    int64_t time_ms, max_ms; /* delay: from, to */
    uint64_t first, last;    /* calls, from 1 */
    uint64_t one_in;         /* 0: all of them */
};

struct count {
    uint64_t what; /* a hash; 0: free */
    uint64_t calls;
};

struct cold_faulty_script {
    uint64_t seed;
    struct rule rules[COLD_FAULTY_RULES_MAX];
    unsigned rule_count;
    struct base_mutex lock; /* protects the counts; a leaf */
    struct count *counts;   /* open addressing, `size` is a power of two, at most half full */
    size_t size;
    size_t used;
};

const char *cold_faulty_op_name(enum cold_faulty_op op)
{
    return op_names[op];
}

/* ---- parsing ---- */

/* One rule's text while it is taken apart. */
struct text {
    const char *at;
    size_t size;
};

/* Cuts off what stands behind the last `c` outside of parentheses; false: there is none. */
static bool cut_last(struct text *t, char c, struct text *ret)
{
    for (size_t i = t->size; i-- > 0 && t->at[i] != ')';)
        if (t->at[i] == c) {
            *ret = (struct text){t->at + i + 1, t->size - i - 1};
            t->size = i;
            return true;
        }
    return false;
}

static bool equals(const struct text *t, const char *word)
{
    return strlen(word) == t->size && memcmp(t->at, word, t->size) == 0;
}

static bool copy(const struct text *t, char *ret, size_t size)
{
    if (t->size >= size)
        return false;
    memcpy(ret, t->at, t->size);
    ret[t->size] = '\0';
    return true;
}

static bool parse_number(const struct text *t, uint64_t *ret)
{
    char word[24];
    int64_t n;

    if (!copy(t, word, sizeof(word)) || !base_parse_i64(word, &n) || n < 1)
        return false;
    *ret = (uint64_t)n;
    return true;
}

/* N, N-, N-M, 1/K */
static bool parse_when(const struct text *when, struct rule *r)
{
    struct text t = *when, rest;

    if (cut_last(&t, '/', &rest))
        return equals(&t, "1") && parse_number(&rest, &r->one_in);
    if (!cut_last(&t, '-', &rest)) {
        if (!parse_number(&t, &r->first))
            return false;
        r->last = r->first;
        return true;
    }
    return parse_number(&t, &r->first) &&
           (rest.size == 0 || (parse_number(&rest, &r->last) && r->last >= r->first));
}

static bool parse_time(const struct text *t, int64_t *ret)
{
    char word[24];

    return copy(t, word, sizeof(word)) && base_parse_duration_ms(word, ret) && *ret >= 0 &&
           *ret <= TIME_MAX_MS;
}

static bool parse_value(const struct text *value, struct rule *r)
{
    struct text t = *value, to;

    switch (kinds[r->kind].value) {
    case VALUE_TIME:
        return parse_time(&t, &r->time_ms);
    case VALUE_TIMES:
        if (!cut_last(&t, '-', &to))
            to = t;
        return parse_time(&t, &r->time_ms) && parse_time(&to, &r->max_ms) &&
               r->max_ms >= r->time_ms;
    case VALUE_CODE:
        for (r->code = 0; r->code < sizeof(codes) / sizeof(codes[0]); r->code++)
            if (equals(&t, codes[r->code].name))
                return true;
        return false;
    default:
        return false;
    }
}

static bool parse_fault(const struct text *fault, struct rule *r)
{
    struct text t = *fault, when = {NULL, 0}, value = {NULL, 0};
    bool has_when = cut_last(&t, '@', &when);
    bool has_value = cut_last(&t, '=', &value);
    int kind;

    for (kind = FAULTY_DELAY; kind < FAULTY_KINDS && !equals(&t, kinds[kind].name); kind++)
        ;
    if (kind == FAULTY_KINDS)
        return false;
    r->kind = (enum cold_faulty_kind)kind;
    if (has_value ? !parse_value(&value, r)
                  : kinds[kind].value == VALUE_TIME || kinds[kind].value == VALUE_TIMES)
        return false;
    return !has_when || parse_when(&when, r);
}

static bool parse_ops(const struct text *ops, struct rule *r)
{
    struct text t = *ops;

    for (bool more = true; more;) {
        struct text word;
        unsigned op = 0;

        more = cut_last(&t, '+', &word);
        if (!more)
            word = t;
        if (equals(&word, "all"))
            r->ops |= OPS_ALL;
        else {
            while (op < FAULTY_OPS && !equals(&word, op_names[op]))
                op++;
            if (op == FAULTY_OPS)
                return false;
            r->ops |= 1u << op;
        }
    }
    return true;
}

static bool parse_rule(const char *text, size_t size, struct rule *r)
{
    struct text ops = {text, size}, fault, pattern;
    const char *open;

    *r = (struct rule){.first = 1, .last = UINT64_MAX};
    if (!cut_last(&ops, ':', &fault) || !parse_fault(&fault, r))
        return false;
    open = memchr(ops.at, '(', ops.size);
    if (open) {
        pattern.at = open + 1;
        pattern.size = ops.size - (size_t)(pattern.at - ops.at);
        if (pattern.size < 2 || pattern.at[--pattern.size] != ')' ||
            !copy(&pattern, r->pattern, sizeof(r->pattern)))
            return false;
        ops.size = (size_t)(open - ops.at);
    }
    if (!parse_ops(&ops, r))
        return false;
    if (r->ops == OPS_ALL) /* all that it can happen to */
        r->ops = kinds[r->kind].ops;
    return (r->ops & ~kinds[r->kind].ops) == 0;
}

/* The size of the rule that `text` begins with: up to a comma outside of parentheses. */
static size_t rule_size(const char *text)
{
    size_t i = 0;

    for (bool inside = false; text[i] && (inside || text[i] != ','); i++)
        inside = text[i] == '(' || (inside && text[i] != ')');
    return i;
}

int cold_faulty_script_parse(const char *text, uint64_t seed, struct cold_faulty_script **ret,
                             struct varve_error *err)
{
    struct cold_faulty_script *s = calloc(1, sizeof(*s));
    int rc = 0;

    if (!s)
        return base_fail(err, VARVE_E_NO_MEMORY, "faults: out of memory");
    s->seed = seed;
    base_mutex_init(&s->lock);
    while (rc == 0 && *text) {
        size_t size = rule_size(text);

        if (s->rule_count == COLD_FAULTY_RULES_MAX)
            rc = base_fail(err, VARVE_E_INVALID, "faults: more than %d rules",
                           COLD_FAULTY_RULES_MAX);
        else if (!parse_rule(text, size, &s->rules[s->rule_count++]))
            rc = base_fail(err, VARVE_E_INVALID,
                           "faults: '%.*s' is no rule; one is OP:FAULT, as in put:lost@1/10 or "
                           "get:delay=5ms-20ms",
                           (int)size, text);
        text += size + (text[size] == ',');
    }
    if (rc < 0) {
        cold_faulty_script_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

struct cold_faulty_script *cold_faulty_script_free(struct cold_faulty_script *script)
{
    if (!script)
        return NULL;
    base_mutex_deinit(&script->lock);
    free(script->counts);
    free(script);
    return NULL;
}

int64_t cold_faulty_script_time_ms(const struct cold_faulty_script *script,
                                   enum cold_faulty_kind kind)
{
    int64_t longest = -1;

    for (unsigned i = 0; i < script->rule_count; i++)
        if (script->rules[i].kind == kind && script->rules[i].time_ms > longest)
            longest = script->rules[i].time_ms;
    return longest;
}

bool cold_faulty_script_delays(const struct cold_faulty_script *script, enum cold_faulty_op op)
{
    for (unsigned i = 0; i < script->rule_count; i++)
        if (script->rules[i].kind == FAULTY_DELAY && (script->rules[i].ops & 1u << op))
            return true;
    return false;
}

/* ---- deciding ---- */

/* The finalizer of splitmix64: every bit of the result depends on every bit of x. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Never 0. */
static uint64_t hash_call(enum cold_faulty_op op, const char *key, uint64_t place)
{
    uint64_t h = mix((uint64_t)op + 1) ^ mix(place + UINT64_C(0x9e3779b97f4a7c15));

    for (; *key; key++)
        h = (h ^ (unsigned char)*key) * UINT64_C(0x100000001b3);
    h = mix(h);
    return h ? h : 1;
}

static struct count *count_find(struct count *counts, size_t size, uint64_t what)
{
    size_t i = what & (size - 1);

    while (counts[i].what && counts[i].what != what)
        i = (i + 1) & (size - 1);
    return &counts[i];
}

/* Makes room for one more. */
static bool counts_grow_locked(struct cold_faulty_script *s)
{
    size_t size = s->size ? 2 * s->size : COUNTS_FIRST;
    struct count *counts;

    if (2 * (s->used + 1) <= s->size)
        return true;
    if (size > 2 * COUNTS_MAX) {
        memset(s->counts, 0, s->size * sizeof(*s->counts));
        s->used = 0;
        return true;
    }
    counts = calloc(size, sizeof(*counts));
    if (!counts)
        return false;
    for (size_t i = 0; i < s->size; i++)
        if (s->counts[i].what)
            *count_find(counts, size, s->counts[i].what) = s->counts[i];
    free(s->counts);
    s->counts = counts;
    s->size = size;
    return true;
}

/* The how-manieth call of this kind it is, from 1; 0: out of memory. */
static uint64_t count_call(struct cold_faulty_script *s, uint64_t what)
{
    uint64_t n = 0;

    base_mutex_lock(&s->lock);
    if (counts_grow_locked(s)) {
        struct count *c = count_find(s->counts, s->size, what);

        s->used += c->what == 0;
        c->what = what;
        n = ++c->calls;
    }
    base_mutex_unlock(&s->lock);
    return n;
}

static bool rule_matches(const struct rule *r, enum cold_faulty_op op, const char *key, uint64_t n,
                         uint64_t chance)
{
    return (r->ops & 1u << op) && n >= r->first && n <= r->last &&
           (r->one_in == 0 || chance % r->one_in == 0) &&
           (r->pattern[0] == '\0' || fnmatch(r->pattern, key, 0) == 0);
}

int cold_faulty_script_plan(struct cold_faulty_script *script, enum cold_faulty_op op,
                            const char *key, uint64_t place, bool conditional,
                            struct cold_faulty_plan *ret, struct varve_error *err)
{
    struct cold_faulty_plan plan = {0};
    uint64_t what = hash_call(op, key, place), n;

    if (script->rule_count == 0) {
        *ret = plan;
        return 0;
    }
    n = count_call(script, what);
    if (n == 0)
        return base_fail(err, VARVE_E_NO_MEMORY, "%s %s: out of memory", op_names[op], key);
    for (unsigned i = 0; i < script->rule_count; i++) {
        const struct rule *r = &script->rules[i];
        uint64_t chance = mix(script->seed ^ mix(what ^ mix(n ^ (uint64_t)(i + 1) << 48)));

        if (!rule_matches(r, op, key, n, chance))
            continue;
        chance = mix(chance); /* the one that decides is not random any more */
        if (r->kind == FAULTY_DELAY) {
            plan.delay_ns += r->time_ms * NS_PER_MS;
            if (r->max_ms > r->time_ms)
                plan.delay_ns +=
                    (int64_t)(chance % (uint64_t)((r->max_ms - r->time_ms) * NS_PER_MS));
        } else if (plan.kind == FAULTY_NONE && (r->kind != FAULTY_CONFLICT || conditional)) {
            plan.kind = r->kind;
            plan.time_ms = r->time_ms;
            plan.code = codes[r->code].code;
            plan.retriable = codes[r->code].retriable;
            plan.chance = chance;
            plan.rule = i + 1;
        }
    }
    *ret = plan;
    return 0;
}
