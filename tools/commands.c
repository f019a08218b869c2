/* The table of commands and their options, and the help made from it. */
#include "tools/commands.h"

#include <string.h>

#include "log/config.h"

#define END                                                                                        \
    {                                                                                              \
        .name = NULL                                                                               \
    }
#define FLAG(n, l, h)                                                                              \
    {                                                                                              \
        .name = (n), .letter = (l), .kind = TOOLS_FLAG, .help = (h)                                \
    }
#define VALUE(n, l, k, v, h)                                                                       \
    {                                                                                              \
        .name = (n), .letter = (l), .kind = (k), .value = (v), .help = (h)                         \
    }
#define CHOICE(n, c, h)                                                                            \
    {                                                                                              \
        .name = (n), .kind = TOOLS_CHOICE, .value = (c), .choices = (c), .help = (h)               \
    }

#define JSON FLAG("json", 0, "output for programs")
#define STATS FLAG("stats", 0, "requests, bytes and cache hits per tier, to stderr")
#define VERBOSE FLAG("verbose", 'v', "say what was done")
#define QUIET FLAG("quiet", 'q', "no progress bar")
#define TAKE_OVER FLAG("take-over", 0, "become the owner of a log that another store owns")
#define LOG_OPTION_VALUE "NAME=VALUE"
#define LOG_OPTION                                                                                 \
    VALUE("option", 'o', TOOLS_PAIR, LOG_OPTION_VALUE,                                             \
          "an option of the log, by Kafka's name (see varve config)")

#define STORE_SETTING                                                                              \
    VALUE("option", 'o', TOOLS_PAIR, "SETTING=VALUE",                                              \
          "a setting of the store (see varve config STORE)")

static const struct tools_option init_options[] = {
    VALUE("cold", 0, TOOLS_TEXT, "URL", "the cold tier; default: the directory STORE/cold"),
    VALUE("cold-meta", 0, TOOLS_TEXT, "URL", "where roots and pages lie, when not in --cold"),
    FLAG("adopt", 0, "use a cold tier that another store has used"),
    FLAG("create-bucket", 0, "make the bucket of an s3:// cold tier if there is none"),
    STORE_SETTING,
    VERBOSE,
    END,
};

static const struct tools_option create_options[] = {LOG_OPTION, VERBOSE, END};

static const struct tools_option append_options[] = {
    CHOICE("format", "lines|kv|jsonl|raw|envelope", "what a record is; default lines"),
    VALUE("time-format", 0, TOOLS_TEXT, "FORMAT",
          "apache, iso8601, epoch_ms, epoch_s, or a strptime pattern"),
    VALUE("time-field", 0, TOOLS_TEXT, "PATH",
          "jsonl: field that holds the time; default timestamp"),
    VALUE("key-separator", 0, TOOLS_TEXT, "TEXT", "kv: between key and value; default a tab"),
    CHOICE("durability", "os|fsync", "when a record is acknowledged; default os"),
    FLAG("print-offsets", 0, "print each offset on a line as it is acknowledged"),
    VALUE("batch", 0, TOOLS_SIZE, "SIZE",
          "bytes of a batch; default 64KiB, or what the log allows"),
    VALUE("linger", 0, TOOLS_DURATION, "TIME",
          "how long a batch waits for more input; default 0ms"),
    LOG_OPTION,
    TAKE_OVER,
    JSON,
    STATS,
    QUIET,
    VERBOSE,
    END,
};

static const struct tools_option read_options[] = {
    VALUE("from", 0, TOOLS_PLACE, "F", "first record: an offset, start, end, @TIME; default start"),
    VALUE("to", 0, TOOLS_PLACE, "T", "stop before this record; default the end as of now"),
    VALUE("count", 'n', TOOLS_COUNT, "N", "stop after N records"),
    FLAG("follow", 'f', "wait for more at the end"),
    CHOICE("format", "lines|kv|jsonl|raw|envelope", "how to print a record; default lines"),
    VALUE("key-separator", 0, TOOLS_ANY, "TEXT", "kv: between key and value; default a tab"),
    FLAG("json", 0, "one object per record; the same as --format envelope"),
    FLAG("no-cache", 0, "do not use the block cache"),
    STATS,
    VERBOSE,
    END,
};

static const struct tools_option ls_options[] = {JSON, STATS, VERBOSE, END};

static const struct tools_option tier_options[] = {
    FLAG("seal", 0, "close the active segment first, so that it is uploaded too"),
    FLAG("evict", 0, "remove all local segments that the cold tier holds"),
    VALUE("rate", 0, TOOLS_SIZE, "SIZE", "upload at most SIZE bytes a second"),
    TAKE_OVER,
    JSON,
    STATS,
    QUIET,
    VERBOSE,
    END,
};

static const struct tools_option trim_options[] = {
    VALUE("before", 0, TOOLS_PLACE, "F", "the new log start: an offset, end, or @TIME"),
    TAKE_OVER,
    JSON,
    VERBOSE,
    END,
};

static const struct tools_option verify_options[] = {
    FLAG("deep", 0, "read every byte of both tiers"),
    FLAG("repair", 0, "mend what the other tier or the bucket still holds"),
    FLAG("all-orphans", 0, "with --repair: delete orphans, were they most of a log"),
    FLAG("take-over", 0, "with --repair: become the owner of a log that another store owns"),
    JSON,
    STATS,
    QUIET,
    VERBOSE,
    END,
};

static const struct tools_option dump_options[] = {
    FLAG("records", 'r', "the records of each batch too"),
    END,
};

static const struct tools_option doctor_options[] = {JSON, END};

static const struct tools_option config_options[] = {LOG_OPTION, TAKE_OVER, JSON, VERBOSE, END};

static const struct tools_option delete_options[] = {TAKE_OVER, VERBOSE, END};

static const struct tools_option bench_options[] = {
    VALUE("dir", 0, TOOLS_TEXT, "DIR", "scratch directory; default: the current one"),
    VALUE("size", 0, TOOLS_SIZE, "SIZE", "bytes of each round; default 256MiB"),
    VALUE("rounds", 0, TOOLS_COUNT, "N", "engine and limit take turns; default 5, at most 25"),
    VALUE("threads", 0, TOOLS_COUNT, "N",
          "workers of the engine and of its limits; default: processors"),
    VALUE("only", 0, TOOLS_TEXT, "FIGURE", "those whose name begins so"),
    CHOICE("data", "lines|random|both", "default both"),
    VALUE("memory", 0, TOOLS_SIZE, "SIZE",
          "instead: append, tier and read back SIZE; prints private memory"),
    FLAG("no-programs", 0, "leave out cp, cat and zstd"),
    VALUE("cold", 0, TOOLS_TEXT, "URL", "instead: the figures of that object store"),
    VALUE("input", 0, TOOLS_TEXT, "FILE", "with --cold: its lines are the records"),
    VALUE("segment", 0, TOOLS_SIZE, "SIZE", "with --cold: of a segment; default 512MiB"),
    VALUE("parallel", 0, TOOLS_COUNT, "N", "with --cold: requests of the limits; default 8"),
    VALUE("rate", 0, TOOLS_SIZE, "SIZE",
          "with --cold: instead, how well uploads keep to SIZE a second"),
    JSON,
    END,
};

const struct tools_command tools_commands[] = {
    {.name = "init",
     .operands = "STORE",
     .operand_min = 1,
     .operand_max = 1,
     .summary = "make a store",
     .details =
         "STORE is a directory that is empty or not there yet. Without --cold the cold tier\n"
         "is the directory STORE/cold; file:///srv/archive puts it elsewhere.\n",
     .options = init_options,
     .run = tools_init},
    {.name = "create",
     .operands = "STORE LOG",
     .operand_min = 2,
     .operand_max = 2,
     .summary = "make a log",
     .details = "LOG is 1 to 249 bytes of UTF-8, in parts separated by '/': orders/0.\n"
                "Options bear Kafka's topic-config names: -o segment.bytes=64MiB\n",
     .options = create_options,
     .run = tools_create},
    {.name = "append",
     .operands = "STORE LOG [FILE...]",
     .operand_min = 2,
     .operand_max = -1,
     .summary = "append records, one a line",
     .details =
         "Reads standard input without FILE, or where FILE is -. Makes the log if need be.\n"
         "\n"
         "Formats: lines (a record is a line without its newline; all other bytes are kept),\n"
         "kv (key, separator, value; a line without the separator has no key), jsonl (a line\n"
         "as it is, its time taken from --time-field), raw (Kafka record batches v2 back to\n"
         "back, as in a segment file), envelope (what read --json wrote).\n"
         "\n"
         "The event time is that of the append unless --time-format says where to find it. A\n"
         "time that cannot be parsed is the previous record's, and is counted at the end.\n",
     .options = append_options,
     .run = tools_append},
    {.name = "read",
     .operands = "STORE LOG",
     .operand_min = 2,
     .operand_max = 2,
     .summary = "print records, from whichever tier holds them",
     .details = "F and T are an offset, start, end, or a time: @2015-05-18T00:00:00Z is the first\n"
                "record at or after it. --to is exclusive. A last line that was appended without\n"
                "a newline is printed with one.\n",
     .options = read_options,
     .run = tools_read},
    {.name = "ls",
     .operands = "STORE [LOG]",
     .operand_min = 1,
     .operand_max = 2,
     .summary = "list logs, or a log's segments",
     .details = "\"local\" is the recovery point: the age of the oldest record that is not in the\n"
                "cold tier yet.\n",
     .options = ls_options,
     .run = tools_ls},
    {.name = "tier",
     .operands = "STORE [LOG]",
     .operand_min = 1,
     .operand_max = 2,
     .summary = "upload and evict now, as policy says",
     .details = "Uploads all sealed segments, commits them, then removes local copies by\n"
                "local.retention.ms and local.retention.bytes, or with --evict all of them.\n",
     .options = tier_options,
     .run = tools_tier},
    {.name = "trim",
     .operands = "STORE LOG --before F",
     .operand_min = 2,
     .operand_max = 2,
     .summary = "move the log start: records before it are gone",
     .details =
         "Objects in the cold tier are deleted after a grace period (file.delete.delay.ms).\n",
     .options = trim_options,
     .run = tools_trim},
    {.name = "verify",
     .operands = "STORE [LOG]",
     .operand_min = 1,
     .operand_max = 2,
     .summary = "check both tiers against each other",
     .details = "Exits with 5 when problems remain.\n",
     .options = verify_options,
     .run = tools_verify},
    {.name = "dump",
     .operands = "FILE...",
     .operand_min = 1,
     .operand_max = -1,
     .summary = "say what is in a file of a store or of its cold tier",
     .details =
         "Knows segments (.log), sparse indexes, checkpoints, segment objects (.zst), roots,\n"
         "pages, cache files, journals of uploads and settings files by their first bytes.\n",
     .options = dump_options,
     .run = tools_dump},
    {.name = "doctor",
     .operands = "URL",
     .operand_min = 1,
     .operand_max = 1,
     .summary = "find out what a cold tier can and cannot do",
     .details =
         "URL is what init --cold takes. Tries everything that varve does to a store, with\n"
         "small objects of its own that it deletes, and says what each result means and what\n"
         "to do about it. Refuses nothing. Exits with 0 when all is good, 1 when something\n"
         "that varve needs or wants is missing, 6 when the store cannot be reached.\n",
     .options = doctor_options,
     .run = tools_doctor},
    {.name = "config",
     .operands = "STORE [LOG] [NAME=VALUE...]",
     .operand_min = 1,
     .operand_max = -1,
     .summary = "show or change a log's options, or a store's settings",
     .details = "Without NAME=VALUE prints all; a '*' marks those that are not at their default.\n"
                "Without LOG it is about the store: cache.bytes, lease.ms, owner.check.ms,\n"
                "upload.bytes.per.second. They are in force for whoever opens the store next.\n",
     .options = config_options,
     .run = tools_config},
    {.name = "delete",
     .operands = "STORE LOG",
     .operand_min = 2,
     .operand_max = 2,
     .summary = "delete a log with all its data in both tiers",
     .details =
         "The log is gone for new readers at once. Its objects follow after the grace period\n"
         "(file.delete.delay.ms, 60 s unless set), which this command waits for.\n",
     .options = delete_options,
     .run = tools_delete},
    {.name = "bench",
     .operands = "",
     .operand_min = 0,
     .operand_max = 0,
     .summary = "measure beside the machine's own limits",
     .details =
         "Each figure stands beside a limit measured in the same run on the same bytes: append\n"
         "os, append fsync, hot read, tier, cold read. With --cold: upload, cold read and seek\n"
         "on an object store, below a prefix of its own, beside libcurl alone. cpu: processor\n"
         "seconds of the engine for one of its limit. Exits with 1 when a bound does not hold.\n",
     .options = bench_options,
     .run = tools_bench},
    {.name = NULL},
};

#define SUMMARY_COLUMN 28

void tools_help_all(FILE *out)
{
    fprintf(out, "varve %s: logs that move from the local disk to an object store\n\n",
            varve_version());
    fputs("usage: varve COMMAND STORE [LOG] [options]\n\n", out);
    for (const struct tools_command *c = tools_commands; c->name; c++) {
        int used = fprintf(out, "  %s %s", c->name, c->operands);

        if (used >= SUMMARY_COLUMN)
            used = fprintf(out, "\n") - 1;
        fprintf(out, "%*s%s\n", SUMMARY_COLUMN - used, "", c->summary);
    }
    fputs("\nvarve COMMAND --help says what each takes.\n"
          "exit codes: 0 ok, 1 failure, 2 wrong use, 3 not found, 4 held or owned by another,\n"
          "            5 damage found, 6 cold tier unreachable (try again), 7 no space\n",
          out);
}

#define OPTION_COLUMN 30

static void option_print(FILE *out, const struct tools_option *o)
{
    int used = o->letter ? fprintf(out, "  -%c, --%s", o->letter, o->name)
                         : fprintf(out, "      --%s", o->name);

    if (o->kind != TOOLS_FLAG)
        used += fprintf(out, " %s", o->value);
    if (used >= OPTION_COLUMN)
        used = fprintf(out, "\n") - 1;
    fprintf(out, "%*s%s\n", OPTION_COLUMN - used, "", o->help);
}

static bool takes_log_options(const struct tools_command *c)
{
    for (const struct tools_option *o = c->options; o->name; o++)
        if (o->kind == TOOLS_PAIR && strcmp(o->value, LOG_OPTION_VALUE) == 0)
            return true;
    return false;
}

static int log_option_print(void *ctx, const char *name, const char *value, bool is_default)
{
    (void)is_default;
    fprintf(ctx, "  %-28s%s\n", name, value);
    return 0;
}

void tools_help_command(FILE *out, const struct tools_command *c)
{
    bool has_options = c->options[0].name != NULL;

    fprintf(out, "usage: varve %s%s%s%s\n\n%s.\n", c->name, *c->operands ? " " : "", c->operands,
            has_options ? " [options]" : "", c->summary);
    if (c->details)
        fprintf(out, "\n%s", c->details);
    fputs("\n", out);
    for (const struct tools_option *o = c->options; o->name; o++)
        option_print(out, o);
    option_print(out, &(struct tools_option){.name = "help", .letter = 'h', .help = "this text"});
    if (has_options && takes_log_options(c)) {
        struct log_config config;

        fputs("\noptions of a log, and their defaults:\n", out);
        log_config_init(&config);
        log_config_each(&config, log_option_print, out);
    }
}
