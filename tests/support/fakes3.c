#include "tests/support/fakes3.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 32

extern char **environ;

struct support_fakes3 {
    pid_t pid;
    int input; /* the server ends when it is closed */
    unsigned port;
};

static void give_up(const char *what)
{
    perror(what);
    abort();
}

/* The server's process, with pipes at its standard input and output. */
static void spawn(struct support_fakes3 *s, const char *program, const char *const *args,
                  int *ret_output)
{
    const char *argv[ARGS_MAX + 3] = {program, "--exit-with-parent"};
    posix_spawn_file_actions_t actions;
    int in[2], out[2];

    for (int i = 0; args[i]; i++) {
        if (i == ARGS_MAX)
            abort();
        argv[2 + i] = args[i];
    }
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        give_up("pipe");
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    errno = posix_spawn(&s->pid, program, &actions, NULL, (char **)(uintptr_t)argv, environ);
    if (errno != 0)
        give_up(program);
    posix_spawn_file_actions_destroy(&actions);
    close(in[0]);
    close(out[1]);
    s->input = in[1];
    *ret_output = out[0];
}

struct support_fakes3 *support_fakes3_start(const char *program, const char *const *args)
{
    struct support_fakes3 *s = calloc(1, sizeof(*s));
    int output;
    FILE *lines;

    if (!s)
        abort();
    spawn(s, program, args, &output);
    lines = fdopen(output, "r");
    if (!lines || fscanf(lines, "listening on http://127.0.0.1:%u", &s->port) != 1)
        give_up("varve-fakes3 does not listen");
    fclose(lines);
    return s;
}

struct support_fakes3 *support_fakes3_stop(struct support_fakes3 *s)
{
    int status;

    if (!s)
        return NULL;
    close(s->input);
    while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (status != 0) {
        fprintf(stderr, "varve-fakes3 ended with status %d\n", status);
        abort();
    }
    free(s);
    return NULL;
}

unsigned support_fakes3_port(const struct support_fakes3 *s)
{
    return s->port;
}

static int dial(const struct support_fakes3 *s)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
                                  .sin_port = htons((uint16_t)s->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        give_up("connect to varve-fakes3");
    return fd;
}

void support_fakes3_rules(struct support_fakes3 *s, const char *rules)
{
    char text[4096], reply[16] = "";
    int fd = dial(s);
    int size = snprintf(text, sizeof(text),
                        "PUT /-/faults HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                        "Content-Length: %zu\r\n\r\n%s",
                        strlen(rules), rules);
    size_t got = 0;
    ssize_t n = 1;

    if (size < 0 || (size_t)size >= sizeof(text) || write(fd, text, (size_t)size) != size)
        give_up("send rules to varve-fakes3");
    while (got < sizeof(reply) - 1 && n > 0) {
        n = read(fd, reply + got, sizeof(reply) - 1 - got);
        got += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    if (strncmp(reply, "HTTP/1.1 20", 11) != 0) {
        fprintf(stderr, "varve-fakes3 does not take these rules: %s\n", rules);
        abort();
    }
}
