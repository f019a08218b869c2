/*
 * Parsing the command line by the table of commands, and reporting.
 *
 * Options may stand before, between and after the operands; "--" ends them. Long options may be
 * written --name=value or --name value, short ones -x value or -xvalue.
 */
#include "tools/cli.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "tools/text.h"

#define OPERANDS_SHOWN_MAX 2 /* of the operands, the store and the log head each message */

struct value {
    const struct tools_option *option;
    const char *text; /* of argv */
    int64_t number;
};

struct tools_args {
    const struct tools_command *command;
    struct value *values;
    size_t value_count;
    const char **operands;
    int operand_count;
    struct varve_option *pairs;
    size_t pair_count;
};

const struct tools_command *tools_command_find(const char *name)
{
    for (const struct tools_command *c = tools_commands; c->name; c++)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

/* An operand as it may be shown: people do write keys into URLs, where they are refused. */
static void print_operand(const char *operand)
{
    char *shown = strdup(operand);

    if (!shown)
        return;
    tools_text_redact(shown);
    fprintf(stderr, " %s", shown);
    free(shown);
}

/* "varve: append s web" */
static void print_head(const struct tools_args *args)
{
    fprintf(stderr, "varve: %s", args->command->name);
    for (int i = 0; i < args->operand_count && i < OPERANDS_SHOWN_MAX; i++)
        print_operand(args->operands[i]);
    fputs(": ", stderr);
}

int tools_usage(const struct tools_args *args, const char *format, ...)
{
    va_list ap;

    print_head(args);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fprintf(stderr, "\n  varve %s --help says what it takes\n", args->command->name);
    return TOOLS_USAGE;
}

void tools_note(const struct tools_args *args, const char *format, ...)
{
    va_list ap;

    print_head(args);
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
}

int tools_exit_code(const struct varve_error *err)
{
    switch (err->code) {
    case VARVE_E_NOT_FOUND:
    case VARVE_E_OUT_OF_RANGE:
        return TOOLS_NOT_FOUND;
    case VARVE_E_BUSY:
    case VARVE_E_FENCED:
        return TOOLS_BUSY;
    case VARVE_E_INVALID:
        return TOOLS_USAGE;
    case VARVE_E_CORRUPT:
        return TOOLS_CORRUPT;
    case VARVE_E_FULL:
    case VARVE_E_NO_SPACE:
        return TOOLS_NO_SPACE;
    case VARVE_E_TIMEOUT:
        return TOOLS_RETRIABLE;
    default:
        return err->retriable ? TOOLS_RETRIABLE : TOOLS_FAILURE;
    }
}

/* What to do next; NULL where the message says all there is. */
static const char *hint(const struct varve_error *err)
{
    switch (err->code) {
    case VARVE_E_BUSY:
        return "only one process may write; wait for it or end it. Reading needs no lock.";
    case VARVE_E_FENCED:
        return strstr(err->msg, "owned by another store")
                   ? "another store owns this log; --take-over makes this store its owner."
                   : NULL;
    case VARVE_E_CORRUPT:
        return "varve verify STORE --deep lists all damage; --repair mends what another copy "
               "still holds.";
    case VARVE_E_NO_SPACE:
        return "the disk is full; nothing acknowledged is lost. Make room (varve tier STORE --seal "
               "--evict moves data to the cold tier) and run it again.";
    case VARVE_E_FULL:
        return "uploads lag behind; let varve tier STORE catch up and run it again.";
    case VARVE_E_VERSION:
        return "a newer varve made it; use that version. Nothing was changed.";
    case VARVE_E_FAILED:
        return "what was synced before is safe; open the store again and it recovers from there.";
    case VARVE_E_STORE:
        return err->retriable ? "the cold tier cannot be reached; nothing is lost, run it again "
                                "when it is back."
                              : NULL;
    default:
        return NULL;
    }
}

int tools_fail(const struct tools_args *args, const struct varve_error *err)
{
    const char *next = hint(err);

    print_head(args);
    fprintf(stderr, "%s\n", err->msg[0] != '\0' ? err->msg : varve_error_name(err->code));
    if (next)
        fprintf(stderr, "  %s\n", next);
    return tools_exit_code(err);
}

static const struct tools_option *option_by_name(const struct tools_command *command,
                                                 const char *name, size_t size)
{
    for (const struct tools_option *o = command->options; o->name; o++)
        if (strlen(o->name) == size && memcmp(o->name, name, size) == 0)
            return o;
    return NULL;
}

static const struct tools_option *option_by_letter(const struct tools_command *command, char letter)
{
    for (const struct tools_option *o = command->options; o->name; o++)
        if (o->letter == letter)
            return o;
    return NULL;
}

static bool choice_is_valid(const char *choices, const char *text)
{
    size_t size = strlen(text);

    for (const char *p = choices; *p != '\0';) {
        size_t n = strcspn(p, "|");

        if (n == size && memcmp(p, text, n) == 0)
            return true;
        p += n;
        if (*p == '|')
            p++;
    }
    return false;
}

bool tools_place_parse(const char *text, struct tools_place *ret)
{
    struct tools_place place = {.from = VARVE_FROM_START};

    if (strcmp(text, "start") == 0) {
        place.from = VARVE_FROM_START;
    } else if (strcmp(text, "end") == 0) {
        place.from = VARVE_FROM_END;
    } else if (text[0] == '@') {
        place.from = VARVE_FROM_TIME;
        if (!base_parse_iso8601(text + 1, strlen(text + 1), &place.timestamp) &&
            !base_parse_i64(text + 1, &place.timestamp))
            return false;
    } else {
        place.from = VARVE_FROM_OFFSET;
        if (!base_parse_i64(text, &place.offset) || place.offset < 0)
            return false;
    }
    *ret = place;
    return true;
}

int tools_place_resolve(struct varve_log *log, const struct tools_place *place, int64_t *ret,
                        struct varve_error *err)
{
    struct varve_log_info info = {.size = sizeof(info)};
    struct varve_error why;
    int rc;

    if (place->from == VARVE_FROM_OFFSET) {
        *ret = place->offset;
        return 0;
    }
    if (place->from == VARVE_FROM_TIME) {
        rc = varve_log_find_time(log, place->timestamp, ret, NULL, &why);
        if (rc == 0)
            return 0;
        if (rc != VARVE_E_NOT_FOUND) {
            if (err)
                *err = why;
            return rc;
        }
    }
    rc = varve_log_info(log, &info, err);
    if (rc < 0)
        return rc;
    *ret = place->from == VARVE_FROM_START ? info.start_offset : info.end_offset;
    return 0;
}

/* "--batch" or "-n", as the user would write it. */
static const char *shown(const struct tools_option *o, char room[64])
{
    snprintf(room, 64, "--%s", o->name);
    return room;
}

static bool value_check(const struct tools_args *args, struct value *v)
{
    const struct tools_option *o = v->option;
    struct tools_place place;
    char room[64];

    switch (o->kind) {
    case TOOLS_FLAG:
    case TOOLS_ANY:
        return true;
    case TOOLS_TEXT:
        if (v->text[0] != '\0')
            return true;
        tools_usage(args, "%s: the value is empty", shown(o, room));
        return false;
    case TOOLS_CHOICE:
        if (choice_is_valid(o->choices, v->text))
            return true;
        tools_usage(args, "%s: \"%s\" is none of %s", shown(o, room), v->text, o->choices);
        return false;
    case TOOLS_COUNT:
        if (base_parse_i64(v->text, &v->number) && v->number >= 0)
            return true;
        tools_usage(args, "%s: \"%s\" is not a whole number from 0", shown(o, room), v->text);
        return false;
    case TOOLS_SIZE:
        if (base_parse_size(v->text, &v->number) && v->number > 0)
            return true;
        tools_usage(args, "%s: \"%s\" is not a size such as 65536, 64k or 64KiB", shown(o, room),
                    v->text);
        return false;
    case TOOLS_DURATION:
        if (base_parse_duration_ms(v->text, &v->number) && v->number >= 0)
            return true;
        tools_usage(args, "%s: \"%s\" is not a duration such as 500ms, 5s or 1h", shown(o, room),
                    v->text);
        return false;
    case TOOLS_PLACE:
        if (tools_place_parse(v->text, &place))
            return true;
        tools_usage(args,
                    "%s: \"%s\" is not a place in a log: an offset, start, end, or a time such as "
                    "@2015-05-18T00:00:00Z",
                    shown(o, room), v->text);
        return false;
    case TOOLS_PAIR:
        return tools_args_add_pair((struct tools_args *)args, v->text);
    }
    return false;
}

bool tools_args_add_pair(struct tools_args *args, const char *text)
{
    const char *equals = strchr(text, '=');
    struct varve_option *more;
    char *name;

    if (!equals || equals == text) {
        tools_usage(args, "\"%s\" is not of the form name=value", text);
        return false;
    }
    more = realloc(args->pairs, (args->pair_count + 1) * sizeof(*more));
    if (more)
        args->pairs = more;
    name = more ? strdup(text) : NULL;
    if (!name) {
        tools_note(args, "out of memory");
        return false;
    }
    name[equals - text] = '\0';
    args->pairs[args->pair_count++] =
        (struct varve_option){.name = name, .value = name + (equals - text) + 1};
    return true;
}

struct tools_args *tools_args_free(struct tools_args *args)
{
    if (!args)
        return NULL;
    for (size_t i = 0; i < args->pair_count; i++)
        free((char *)args->pairs[i].name);
    free(args->pairs);
    free(args->values);
    free(args->operands);
    free(args);
    return NULL;
}

/* Where parsing stands in argv. */
struct parse {
    struct tools_args *args;
    int argc;
    char **argv;
    int next;
    bool help;
};

/* Takes the option's value from behind it or from the next argument. */
static bool take_value(struct parse *p, const struct tools_option *option, const char *attached)
{
    struct value *v = &p->args->values[p->args->value_count];

    v->option = option;
    if (option->kind == TOOLS_FLAG) {
        if (attached) {
            tools_usage(p->args, "--%s takes no value", option->name);
            return false;
        }
    } else if (attached) {
        v->text = attached;
    } else if (p->next < p->argc) {
        v->text = p->argv[p->next++];
    } else {
        tools_usage(p->args, "--%s needs a value: %s", option->name, option->value);
        return false;
    }
    p->args->value_count++;
    return true;
}

static bool take_long(struct parse *p, const char *text)
{
    size_t size = strcspn(text, "=");
    const char *attached = text[size] == '=' ? text + size + 1 : NULL;
    const struct tools_option *option = option_by_name(p->args->command, text, size);

    if (size == 4 && memcmp(text, "help", 4) == 0) {
        p->help = true;
        return true;
    }
    if (!option) {
        tools_usage(p->args, "unknown option --%.*s", (int)size, text);
        return false;
    }
    return take_value(p, option, attached);
}

static bool take_short(struct parse *p, const char *text)
{
    for (; *text != '\0'; text++) {
        const struct tools_option *option = option_by_letter(p->args->command, *text);

        if (!option && *text == 'h') {
            p->help = true;
            continue;
        }
        if (!option) {
            tools_usage(p->args, "unknown option -%c", *text);
            return false;
        }
        if (option->kind != TOOLS_FLAG)
            return take_value(p, option, text[1] != '\0' ? text + 1 : NULL);
        if (!take_value(p, option, NULL))
            return false;
    }
    return true;
}

/* Sorts the arguments into options and operands. */
static bool take_all(struct parse *p)
{
    bool options_end = false;

    while (p->next < p->argc) {
        const char *text = p->argv[p->next++];
        bool ok = true;

        if (!options_end && strcmp(text, "--") == 0)
            options_end = true;
        else if (!options_end && text[0] == '-' && text[1] == '-')
            ok = take_long(p, text + 2);
        else if (!options_end && text[0] == '-' && text[1] != '\0')
            ok = take_short(p, text + 1);
        else
            p->args->operands[p->args->operand_count++] = text;
        if (!ok)
            return false;
    }
    return true;
}

static bool operands_check(const struct tools_args *args)
{
    const struct tools_command *c = args->command;

    if (args->operand_count < c->operand_min) {
        tools_usage(args, "needs %s", c->operands);
        return false;
    }
    if (c->operand_max >= 0 && args->operand_count > c->operand_max) {
        tools_usage(args, "\"%s\" is one argument too many; it takes %s",
                    args->operands[c->operand_max], c->operands);
        return false;
    }
    return true;
}

/* Twice the arguments: a word such as -vvv holds more options than words, but no more than bytes.
 */
static size_t values_max(int argc, char **argv)
{
    size_t count = 1;

    for (int i = 0; i < argc; i++)
        count += strlen(argv[i]) + 1;
    return count;
}

struct tools_args *tools_args_parse(const struct tools_command *command, int argc, char **argv,
                                    int *ret_exit)
{
    struct parse p = {.argc = argc, .argv = argv};
    bool ok;

    p.args = calloc(1, sizeof(*p.args));
    if (p.args) {
        p.args->command = command;
        p.args->values = calloc(values_max(argc, argv), sizeof(*p.args->values));
        p.args->operands = calloc((size_t)argc + 1, sizeof(*p.args->operands));
    }
    if (!p.args || !p.args->values || !p.args->operands) {
        fprintf(stderr, "varve: %s: out of memory\n", command->name);
        *ret_exit = TOOLS_FAILURE;
        return tools_args_free(p.args);
    }
    ok = take_all(&p);
    if (ok && p.help) {
        tools_help_command(stdout, command);
        *ret_exit = fflush(stdout) == 0 ? TOOLS_OK : TOOLS_FAILURE;
        return tools_args_free(p.args);
    }
    for (size_t i = 0; ok && i < p.args->value_count; i++)
        ok = value_check(p.args, &p.args->values[i]);
    ok = ok && operands_check(p.args);
    if (!ok) {
        *ret_exit = TOOLS_USAGE;
        return tools_args_free(p.args);
    }
    return p.args;
}

const char *tools_operand(const struct tools_args *args, int i)
{
    return i < args->operand_count ? args->operands[i] : NULL;
}

int tools_operand_count(const struct tools_args *args)
{
    return args->operand_count;
}

static const struct value *value_find(const struct tools_args *args, const char *name)
{
    /* A name that the table lacks is our own bug. */
    assert(option_by_name(args->command, name, strlen(name)));
    for (size_t i = args->value_count; i > 0; i--)
        if (strcmp(args->values[i - 1].option->name, name) == 0)
            return &args->values[i - 1];
    return NULL;
}

bool tools_flag(const struct tools_args *args, const char *name)
{
    return value_find(args, name) != NULL;
}

const char *tools_text(const struct tools_args *args, const char *name)
{
    const struct value *v = value_find(args, name);

    return v ? v->text : NULL;
}

int64_t tools_number(const struct tools_args *args, const char *name, int64_t fallback)
{
    const struct value *v = value_find(args, name);

    return v ? v->number : fallback;
}

const struct varve_option *tools_pairs(const struct tools_args *args, size_t *ret_count)
{
    *ret_count = args->pair_count;
    return args->pairs;
}
