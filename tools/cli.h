/*
 * The command line: one table says which commands there are and which options each takes. Parsing,
 * `--help`, completion and the checks of values all follow from it.
 */
#ifndef TOOLS_CLI_H
#define TOOLS_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <varve/varve.h>

/* What the command exits with. Documented in varve(1). */
enum tools_exit {
    TOOLS_OK = 0,
    TOOLS_FAILURE = 1,
    TOOLS_USAGE = 2,
    TOOLS_NOT_FOUND = 3,
    TOOLS_BUSY = 4,    /* held by another process, or owned by another store */
    TOOLS_CORRUPT = 5, /* damaged bytes, or problems that verify found */
    TOOLS_RETRIABLE =
        6, /* the object store cannot be reached: the same command may succeed later */
    TOOLS_NO_SPACE = 7,
};

/* What an option's value must be; checked before the command runs. */
enum tools_kind {
    TOOLS_FLAG,     /* takes no value */
    TOOLS_TEXT,     /* anything but an empty text */
    TOOLS_CHOICE,   /* one of `choices`, separated by '|' */
    TOOLS_COUNT,    /* a whole number from 0 */
    TOOLS_SIZE,     /* bytes from 1, with k M G T, KiB ... */
    TOOLS_DURATION, /* ms from 0, with ms s m h d */
    TOOLS_PLACE,    /* an offset, start, end, or @TIME */
    TOOLS_PAIR,     /* name=value; may be given many times */
    TOOLS_ANY,      /* any text, the empty one too */
};

struct tools_option {
    const char *name; /* without the dashes; NULL ends a list */
    char letter;      /* of the short form, 0: none */
    enum tools_kind kind;
    const char *value; /* what --help calls the value */
    const char *choices;
    const char *help;
};

struct tools_args;

struct tools_command {
    const char *name;
    const char *operands; /* "STORE LOG [FILE...]" */
    int operand_min;
    int operand_max;     /* -1: any number */
    const char *summary; /* one line, lower case, no full stop */
    const char *details; /* paragraphs for --help, ready wrapped; may be NULL */
    const struct tools_option *options;
    int (*run)(struct tools_args *args); /* returns an enum tools_exit */
};

/* The table; the entry with a NULL name ends it. */
extern const struct tools_command tools_commands[];

/* NULL: there is no such command. */
const struct tools_command *tools_command_find(const char *name);

/*
 * Options and operands of one call, each value checked. NULL on wrong use, which was then reported
 * on stderr; *ret_exit is what to exit with (TOOLS_OK after --help).
 */
struct tools_args *tools_args_parse(const struct tools_command *command, int argc, char **argv,
                                    int *ret_exit);
struct tools_args *tools_args_free(struct tools_args *args);

/* Operand `i`, NULL: not given. */
const char *tools_operand(const struct tools_args *args, int i);
int tools_operand_count(const struct tools_args *args);

/* Values by the option's long name, which must be in the command's table. The last one given
 * counts. */
bool tools_flag(const struct tools_args *args, const char *name);
const char *tools_text(const struct tools_args *args, const char *name); /* NULL: not given */
int64_t tools_number(const struct tools_args *args, const char *name, int64_t fallback);

/* Every name=value given by -o, split. The array and its texts belong to `args`. */
const struct varve_option *tools_pairs(const struct tools_args *args, size_t *ret_count);

/* Splits `text` at its first '=' and adds it to the pairs. Reports wrong use and returns false. */
bool tools_args_add_pair(struct tools_args *args, const char *text);

/* A place in a log as --from, --to and --before take it. */
struct tools_place {
    enum varve_from from;
    int64_t offset;
    int64_t timestamp;
};
/* False: `text` is none. */
bool tools_place_parse(const char *text, struct tools_place *ret);
/* The offset it means in `log` now; @TIME with no record at or after it is the end. */
int tools_place_resolve(struct varve_log *log, const struct tools_place *place, int64_t *ret,
                        struct varve_error *err);

/* "varve: append s web: <text>" on stderr. Wrong use returns TOOLS_USAGE and points to --help. */
int tools_usage(const struct tools_args *args, const char *format, ...) VARVE_PRINTF(2, 3);
/* Reports an error of the library, with a line on what to do next where there is one. Returns what
 * to exit with. */
int tools_fail(const struct tools_args *args, const struct varve_error *err);
/* A line on stderr that is not an error. */
void tools_note(const struct tools_args *args, const char *format, ...) VARVE_PRINTF(2, 3);

/* What to exit with for an error of the library. */
int tools_exit_code(const struct varve_error *err);

/* Help texts, to `out`. */
void tools_help_all(FILE *out);
void tools_help_command(FILE *out, const struct tools_command *command);

#endif
