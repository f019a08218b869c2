/* Completion for bash and zsh, made from the table of commands. */
#include <string.h>

#include "log/config.h"
#include "tools/commands.h"

/* The words of "a|b|c", separated by spaces. */
static void choices_print(FILE *out, const char *choices)
{
    for (const char *p = choices; *p != '\0'; p++)
        fputc(*p == '|' ? ' ' : *p, out);
}

static const char time_formats[] = "apache iso8601 epoch_ms epoch_s";

static int log_option_print(void *ctx, const char *name, const char *value, bool is_default)
{
    (void)value;
    (void)is_default;
    fprintf(ctx, "%s= ", name);
    return 0;
}

/* Names of the options that a log may have, each with its '='. */
static void log_options_print(FILE *out)
{
    struct log_config config;

    log_config_init(&config);
    log_config_each(&config, log_option_print, out);
}

/* The words that may follow an option of this kind; nothing: file names. */
static void words_print(FILE *out, const struct tools_option *o)
{
    if (o->choices)
        choices_print(out, o->choices);
    else if (strcmp(o->name, "time-format") == 0)
        fputs(time_formats, out);
    else if (o->kind == TOOLS_PLACE)
        fputs("start end @", out);
    else if (o->kind == TOOLS_PAIR)
        log_options_print(out);
}

static void bash_command(FILE *out, const struct tools_command *c)
{
    fprintf(out, "    %s)\n        case $previous in\n", c->name);
    for (const struct tools_option *o = c->options; o->name; o++) {
        if (o->kind == TOOLS_FLAG)
            continue;
        fprintf(out, "        --%s", o->name);
        if (o->letter)
            fprintf(out, "|-%c", o->letter);
        fputs(") words=\"", out);
        words_print(out, o);
        fputs("\" ;;\n", out);
    }
    fputs("        *) words=\"--help", out);
    for (const struct tools_option *o = c->options; o->name; o++)
        fprintf(out, " --%s", o->name);
    fputs("\"\n           files=yes ;;\n        esac\n        ;;\n", out);
}

static void bash_print(FILE *out)
{
    fputs("# bash completion for varve; made by `varve --completion bash`\n"
          "_varve_logs() {\n"
          "    varve ls \"$1\" --json 2>/dev/null |\n"
          "        sed -n 's/^ *{\"log\":\"\\([^\"\\\\]*\\)\".*/\\1/p'\n"
          "}\n"
          "_varve() {\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
          "    local command=${COMP_WORDS[1]} words= files=\n"
          "    COMPREPLY=()\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
          "        COMPREPLY=($(compgen -W \"",
          out);
    for (const struct tools_command *c = tools_commands; c->name; c++)
        fprintf(out, "%s ", c->name);
    fputs("--help --version\" -- \"$word\"))\n"
          "        return\n"
          "    fi\n"
          "    case $command in\n",
          out);
    for (const struct tools_command *c = tools_commands; c->name; c++)
        bash_command(out, c);
    fputs("    esac\n"
          "    if [ \"$COMP_CWORD\" -eq 3 ] && [ -d \"${COMP_WORDS[2]}\" ] && [[ $word != -* ]]; "
          "then\n"
          "        words=\"$words $(_varve_logs \"${COMP_WORDS[2]}\")\"\n"
          "        files=\n"
          "    fi\n"
          "    [ -n \"$words\" ] || files=yes\n"
          "    if [ -n \"$files\" ] && [[ $word != -* ]]; then\n"
          "        COMPREPLY=($(compgen -f -- \"$word\"))\n"
          "    else\n"
          "        COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
          "    fi\n"
          "}\n"
          "complete -o filenames -o bashdefault -F _varve varve\n",
          out);
}

/* Text inside single quotes, where _arguments gives [ ] and : a meaning. */
static void zsh_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            fputs("'\\''", out);
        else if (strchr("[]:\\", *text))
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

static void zsh_option(FILE *out, const struct tools_option *o)
{
    fprintf(out, "            '%s--%s%s[", o->kind == TOOLS_PAIR ? "*" : "", o->name,
            o->kind == TOOLS_FLAG ? "" : "=");
    zsh_text(out, o->help);
    fputs("]", out);
    if (o->kind != TOOLS_FLAG) {
        fputs(":", out);
        zsh_text(out, o->choices ? o->name : o->value);
        fputs(":", out);
        if (o->choices || o->kind == TOOLS_PLACE || o->kind == TOOLS_PAIR) {
            fputs("(", out);
            words_print(out, o);
            fputs(")", out);
        }
    }
    fputs("' \\\n", out);
}

static void zsh_print(FILE *out)
{
    fputs("#compdef varve\n"
          "# zsh completion for varve; made by `varve --completion zsh`\n"
          "local -a commands\n"
          "commands=(\n",
          out);
    for (const struct tools_command *c = tools_commands; c->name; c++) {
        fprintf(out, "    '%s:", c->name);
        zsh_text(out, c->summary);
        fputs("'\n", out);
    }
    fputs(")\n"
          "if (( CURRENT == 2 )); then\n"
          "    _describe command commands\n"
          "    return\n"
          "fi\n"
          "case $words[2] in\n",
          out);
    for (const struct tools_command *c = tools_commands; c->name; c++) {
        fprintf(out, "    %s)\n        shift words; (( CURRENT-- ))\n        _arguments \\\n",
                c->name);
        for (const struct tools_option *o = c->options; o->name; o++)
            zsh_option(out, o);
        fputs("            '--help[what the command takes]' \\\n            '*:file:_files'\n"
              "        ;;\n",
              out);
    }
    fputs("esac\n", out);
}

bool tools_completion_print(FILE *out, const char *shell)
{
    if (strcmp(shell, "bash") == 0)
        bash_print(out);
    else if (strcmp(shell, "zsh") == 0)
        zsh_print(out);
    else
        return false;
    return true;
}
