/* varve: the command. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tools/commands.h"

static int usage(const char *format, const char *what)
{
    fputs("varve: ", stderr);
    fprintf(stderr, format, what);
    fputs("\n  varve --help lists the commands\n", stderr);
    return TOOLS_USAGE;
}

static int help(int argc, char **argv)
{
    const struct tools_command *command;

    if (argc < 3) {
        tools_help_all(stdout);
        return TOOLS_OK;
    }
    command = tools_command_find(argv[2]);
    if (!command)
        return usage("unknown command \"%s\"", argv[2]);
    tools_help_command(stdout, command);
    return TOOLS_OK;
}

/* What is not a command. */
static int other(int argc, char **argv)
{
    const char *word = argv[1];

    if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0)
        return help(argc, argv);
    if (strcmp(word, "--version") == 0 || strcmp(word, "version") == 0) {
        printf("varve %s\n", varve_version());
        return TOOLS_OK;
    }
    if (strcmp(word, "--completion") == 0) {
        if (argc == 3 && tools_completion_print(stdout, argv[2]))
            return TOOLS_OK;
        return usage("%s needs bash or zsh", word);
    }
    return usage(word[0] == '-' ? "unknown option %s" : "unknown command \"%s\"", word);
}

int main(int argc, char **argv)
{
    const struct tools_command *command;
    struct tools_args *args;
    int rc;

    /* A closed pipe is an error of write(2), which the commands handle. */
    signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        tools_help_all(stderr);
        return TOOLS_USAGE;
    }
    command = tools_command_find(argv[1]);
    if (!command)
        return other(argc, argv);
    args = tools_args_parse(command, argc - 2, argv + 2, &rc);
    if (!args)
        return rc;
    rc = command->run(args);
    tools_args_free(args);
    return rc;
}
