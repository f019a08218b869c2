/* The text form of rules. Each effect is one line of the table `effects`: its name, its form, its
 * place. */
#include "fakes3/rule.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "fakes3/text.h"

/* A form reads a value to its place. `words` are the names of an enum's values from 0 on. */
struct effect;
typedef bool read_value(const struct effect *effect, const char *text, void *place);

struct effect {
    const char *name;
    read_value *read;
    size_t at, size; /* in struct fakes3_effects */
    const char *help;
    const char *const *words;
    const char *fallback; /* the value when only the name stands there; NULL: a value must */
};

static bool read_number(const struct effect *effect, const char *text, void *place)
{
    (void)effect;
    return base_parse_i64(text, place);
}

static bool read_size(const struct effect *effect, const char *text, void *place)
{
    (void)effect;
    return base_parse_size(text, place);
}

static bool read_time(const struct effect *effect, const char *text, void *place)
{
    (void)effect;
    return fakes3_text_parse_us(text, place);
}

static bool read_flag(const struct effect *effect, const char *text, void *place)
{
    bool yes = true;

    (void)effect;
    if (*text)
        return false;
    memcpy(place, &yes, sizeof(yes));
    return true;
}

static bool read_text(const struct effect *effect, const char *text, void *place)
{
    if (strlen(text) >= effect->size)
        return false;
    strcpy(place, text);
    return true;
}

static int find_word(const struct effect *effect, const char *text, size_t size)
{
    for (int i = 0; effect->words[i]; i++)
        if (strlen(effect->words[i]) == size && memcmp(effect->words[i], text, size) == 0)
            return i;
    return -1;
}

static bool read_word(const struct effect *effect, const char *text, void *place)
{
    int value = find_word(effect, text, strlen(text));

    memcpy(place, &value, sizeof(value));
    return value >= 0;
}

static bool read_bits(const struct effect *effect, const char *text, void *place)
{
    unsigned bits = 0;

    for (; *text; text += strcspn(text, ","), text += *text == ',') {
        int word = find_word(effect, text, strcspn(text, ","));
        if (word < 0)
            return false;
        bits |= 1u << word;
    }
    memcpy(place, &bits, sizeof(bits));
    return bits != 0;
}

static bool read_us(const char *text, size_t size, double *ret)
{
    char *copy = fakes3_text_slice(text, size);
    int64_t us;
    bool good = fakes3_text_parse_us(copy, &us) && us >= 0;

    free(copy);
    if (good)
        *ret = (double)us;
    return good;
}

/* "30ms", "10ms..50ms", "exp:30ms", "lognormal:30ms:0.5" */
static bool read_distribution(const struct effect *effect, const char *text, void *place)
{
    struct fakes3_distribution d = {.kind = FAKES3_FIXED};
    const char *dots = strstr(text, ".."), *colon;
    bool good;

    (void)effect;
    if (strncmp(text, "exp:", 4) == 0) {
        d.kind = FAKES3_EXPONENTIAL;
        good = read_us(text + 4, strlen(text + 4), &d.a);
    } else if (strncmp(text, "lognormal:", 10) == 0) {
        d.kind = FAKES3_LOGNORMAL;
        text += 10;
        colon = strchr(text, ':');
        good = colon && read_us(text, (size_t)(colon - text), &d.a) &&
               sscanf(colon + 1, "%lf", &d.b) == 1 && d.b >= 0 && d.b < 10;
    } else if (dots) {
        d.kind = FAKES3_UNIFORM;
        good = read_us(text, (size_t)(dots - text), &d.a) &&
               read_us(dots + 2, strlen(dots + 2), &d.b) && d.a <= d.b;
    } else {
        good = read_us(text, strlen(text), &d.a);
    }
    memcpy(place, &d, sizeof(d));
    return good;
}

/* "none", or by how much the header differs: "+10", "-1" */
static bool read_length(const struct effect *effect, const char *text, void *place)
{
    struct fakes3_length_fault length = {.missing = strcmp(text, "none") == 0};
    bool good = length.missing || base_parse_i64(text + (*text == '+'), &length.difference);

    (void)effect;
    memcpy(place, &length, sizeof(length));
    return good;
}

/* "500ms" or "3": a time, or a number of requests */
static bool read_stale(const struct effect *effect, const char *text, void *place)
{
    struct fakes3_stale stale = {0};
    int64_t value;

    (void)effect;
    if (base_parse_i64(text, &value)) {
        stale.requests = (uint64_t)value;
    } else {
        if (!fakes3_text_parse_us(text, &value))
            return false;
        stale.ms = value / 1000;
    }
    memcpy(place, &stale, sizeof(stale));
    return value > 0;
}

static const char *const end_words[] = {"none", "fin", "rst", "hang", NULL};
static const char *const range_words[] = {"good",  "ignore", "wrong", "none",
                                          "short", "shift",  NULL};
static const char *const endless_words[] = {"no", "body", "chunked", "headers", NULL};
static const char *const xml_words[] = {"good",  "bomb", "deep", "truncated", "garbage",
                                        "empty", "huge", "html", NULL};
static const char *const etag_words[] = {"good", "wrong", "unquoted", "weak", "none", NULL};
static const char *const ignore_words[] = {"conditions", "checksums", "signature", NULL};

#define AT(member)                                                                                 \
    .at = offsetof(struct fakes3_effects, member),                                                 \
    .size = sizeof(((struct fakes3_effects *)0)->member)

static const struct effect effects[] = {
    {"status", read_number, AT(status), "N  answer this status and do nothing"},
    {"code", read_text, AT(code), "CODE  answer this S3 error and do nothing"},
    {"message", read_text, AT(message), "WORD  the message of that error"},
    {"retry-after", read_number, AT(retry_after), "S  with a Retry-After"},
    {"late", read_flag, AT(late), "  do what was asked, then answer that error", .fallback = ""},
    {"error-body", read_text, AT(error_body), "[=CODE]  200, and this <Error> as the body",
     .fallback = "InternalError"},
    {"redirect", read_number, AT(redirect), "301|307  redirect, see location= and region="},
    {"location", read_text, AT(location), "HOST:PORT  where the redirect points to"},
    {"before", read_word, AT(before), "fin|rst|hang  end once the head is read", end_words},
    {"drop", read_word, AT(drop), "fin|rst|hang  end once all is read, do nothing", end_words},
    {"lose", read_word, AT(lose), "fin|rst|hang  do it, and never answer", end_words},
    {"latency", read_distribution, AT(latency),
     "TIME | TIME..TIME | exp:MEAN | lognormal:MEDIAN:SIGMA  before the first byte"},
    {"bandwidth", read_size, AT(bandwidth), "SIZE  bytes a second towards the client"},
    {"upload-bandwidth", read_size, AT(upload_bandwidth), "SIZE  bytes a second from the client"},
    {"cut", read_size, AT(cut),
     "N  send N bytes of the body (-N: all but N), then end=, fin unless told"},
    {"end", read_word, AT(end), "fin|rst|hang  after cut=, or after the whole answer", end_words},
    {"range", read_word, AT(range), "ignore|wrong|none|short|shift  what goes wrong with ranges",
     range_words},
    {"length", read_length, AT(length), "none|+N|-N  a wrong Content-Length, or none"},
    {"flip", read_number, AT(flip), "N  flip N bits of the body"},
    {"endless", read_word, AT(endless), "body|chunked|headers  never stop sending", endless_words},
    {"headers", read_size, AT(headers), "SIZE  so many bytes of headers more"},
    {"xml", read_word, AT(xml), "bomb|deep|truncated|garbage|empty|huge|html  200 and such a body",
     xml_words},
    {"etag", read_word, AT(etag), "wrong|unquoted|weak|none  a bad ETag header", etag_words},
    {"stale", read_stale, AT(stale), "TIME|N  listings are as old as this, or as N requests"},
    {"ignore", read_bits, AT(ignore), "conditions,checksums,signature  a server that lies",
     ignore_words},
    {"region", read_text, AT(region), "NAME  signatures must name this region"},
    {"skew", read_time, AT(skew_us), "TIME  the server's clock is off by this"},
    {"expires", read_time, AT(expires_us), "TIME  credentials handed out live so long"},
    {"restore-delay", read_time, AT(restore_us), "TIME  how long a restore takes"},
    {"archived", read_flag, AT(archived), "  the object counts as archived", .fallback = ""},
    {"chunked", read_flag, AT(chunked), "  a good answer in chunks", .fallback = ""},
    {"close", read_flag, AT(close), "  Connection: close after the answer", .fallback = ""},
};

#define EFFECTS_COUNT (sizeof(effects) / sizeof(effects[0]))
static_assert(EFFECTS_COUNT <= 64, "a bit for each in fakes3_effects.set");

void fakes3_faults_describe(struct evbuffer *out)
{
    for (size_t i = 0; i < EFFECTS_COUNT; i++) {
        const char *help = effects[i].help;
        evbuffer_add_printf(out, "  %s%s%s\n", effects[i].name,
                            *help == ' ' || *help == '[' ? "" : "=", help);
    }
}

void fakes3_faults_names(const struct fakes3_effects *set, struct evbuffer *out)
{
    const char *separator = "";

    for (size_t i = 0; i < EFFECTS_COUNT; i++) {
        if (!(set->set >> i & 1))
            continue;
        evbuffer_add_printf(out, "%s%s", separator, effects[i].name);
        separator = " ";
    }
}

void fakes3_rule_merge(struct fakes3_effects *to, const struct fakes3_effects *more)
{
    for (size_t i = 0; i < EFFECTS_COUNT; i++) {
        if (!(more->set >> i & 1) || to->set >> i & 1)
            continue;
        memcpy((char *)to + effects[i].at, (const char *)more + effects[i].at, effects[i].size);
        to->set |= UINT64_C(1) << i;
    }
}

void fakes3_rule_free(struct fakes3_rule *rule)
{
    if (!rule)
        return;
    free(rule->text);
    free(rule->ops);
    free(rule->bucket);
    free(rule->key);
    free(rule->method);
    free(rule->access_key);
    free(rule->with);
    free(rule);
}

/* "N", "N-M", "N-" */
static bool read_nth(const char *text, int64_t *ret_first, int64_t *ret_last)
{
    const char *dash = strchr(text, '-');
    char *first = fakes3_text_slice(text, dash ? (size_t)(dash - text) : strlen(text));
    bool good = base_parse_i64(first, ret_first) && *ret_first > 0;

    free(first);
    *ret_last = dash ? INT64_MAX : *ret_first;
    if (good && dash && dash[1])
        good = base_parse_i64(dash + 1, ret_last) && *ret_last >= *ret_first;
    return good;
}

/* 1: read, 0: no selector of that name, -1: a bad value. */
static int read_selector(struct fakes3_rule *rule, const char *name, const char *value)
{
    const struct {
        const char *name;
        char **place;
    } texts[] = {{"op", &rule->ops},    {"bucket", &rule->bucket},
                 {"key", &rule->key},   {"method", &rule->method},
                 {"with", &rule->with}, {"access-key", &rule->access_key}};
    char extra;
    bool good;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (strcmp(name, texts[i].name) != 0)
            continue;
        free(*texts[i].place);
        *texts[i].place = fakes3_text_copy(value);
        return *value ? 1 : -1;
    }
    if (strcmp(name, "nth") == 0)
        good = read_nth(value, &rule->nth_first, &rule->nth_last);
    else if (strcmp(name, "every") == 0)
        good = base_parse_i64(value, &rule->every) && rule->every > 0;
    else if (strcmp(name, "times") == 0)
        good = base_parse_i64(value, &rule->times) && rule->times > 0;
    else if (strcmp(name, "p") == 0)
        good = sscanf(value, "%lf%c", &rule->probability, &extra) == 1 && rule->probability >= 0 &&
               rule->probability <= 1;
    else if (strcmp(name, "from") == 0)
        good = fakes3_text_parse_us(value, &rule->from_us) && rule->from_us >= 0;
    else if (strcmp(name, "to") == 0)
        good = fakes3_text_parse_us(value, &rule->to_us) && rule->to_us > 0;
    else
        return 0;
    return good ? 1 : -1;
}

/* An operation that exists, so that a slip of the pen does not make a rule that never fires. */
static bool ops_known(const char *ops)
{
    for (; ops && *ops; ops += strcspn(ops, ","), ops += *ops == ',') {
        char *pattern = fakes3_text_slice(ops, strcspn(ops, ","));
        bool found = false;

        for (int op = 0; op < FAKES3_OPERATIONS_COUNT && !found; op++)
            found = fakes3_operation_matches((enum fakes3_operation)op, pattern);
        free(pattern);
        if (!found)
            return false;
    }
    return true;
}

static int read_effect(struct fakes3_effects *to, const char *name, const char *value)
{
    for (size_t i = 0; i < EFFECTS_COUNT; i++) {
        if (strcmp(name, effects[i].name) != 0)
            continue;
        if (!value)
            value = effects[i].fallback;
        if (!value || !effects[i].read(&effects[i], value, (char *)to + effects[i].at))
            return -1;
        to->set |= UINT64_C(1) << i;
        return 1;
    }
    return 0;
}

static char *read_word_of_rule(struct fakes3_rule *rule, char *word)
{
    char *value = strchr(word, '=');
    int read = 0;

    if (value)
        *value++ = 0;
    if (value)
        read = read_selector(rule, word, value);
    if (read == 0)
        read = read_effect(&rule->effects, word, value);
    if (read > 0)
        return NULL;
    return fakes3_text_format(read < 0 ? "bad value in \"%s%s%s\" of the rule \"%s\""
                                       : "no selector or effect is named \"%s%s%s\" in \"%s\"",
                              word, value ? "=" : "", value ? value : "", rule->text);
}

struct fakes3_rule *fakes3_rule_parse(const char *line, char **ret_error)
{
    struct fakes3_rule *rule = fakes3_text_alloc(sizeof(*rule));
    char *copy = fakes3_text_copy(line);
    char *rest = copy, *word;

    rule->text = fakes3_text_copy(line);
    rule->probability = -1;
    rule->effects.cut = FAKES3_CUT_NOT;
    *ret_error = NULL;
    while (!*ret_error && (word = strsep(&rest, " \t")))
        if (*word)
            *ret_error = read_word_of_rule(rule, word);
    if (!*ret_error && !ops_known(rule->ops))
        *ret_error = fakes3_text_format("no operation is named so in \"%s\"", rule->text);
    if (!*ret_error && !rule->effects.set)
        *ret_error = fakes3_text_format("the rule \"%s\" has no effect", rule->text);
    free(copy);
    if (!*ret_error)
        return rule;
    fakes3_rule_free(rule);
    return NULL;
}
