/* What each command does: one function a command, named by the table in commands.c. */
#ifndef TOOLS_COMMANDS_H
#define TOOLS_COMMANDS_H

#include "tools/cli.h"

int tools_init(struct tools_args *args);
int tools_create(struct tools_args *args);
int tools_config(struct tools_args *args);
int tools_delete(struct tools_args *args);
int tools_append(struct tools_args *args);
int tools_read(struct tools_args *args);
int tools_ls(struct tools_args *args);
int tools_tier(struct tools_args *args);
int tools_trim(struct tools_args *args);
int tools_verify(struct tools_args *args);
int tools_dump(struct tools_args *args);
int tools_doctor(struct tools_args *args);
int tools_bench(struct tools_args *args);

/* Shell completion from the table, to `out`. False: no such shell. */
bool tools_completion_print(FILE *out, const char *shell);

#endif
