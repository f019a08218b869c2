/* Programs that are run for their output, over posix_spawn(3). */
#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"

#define SHELL "/bin/sh"
#define NS_PER_MS INT64_C(1000000)
#define LOOK_AGAIN_NS (2 * NS_PER_MS) /* while a child that has closed its output ends */

static int64_t now_ms(void)
{
    struct timespec ts;

    if (clock_gettime(CLOCK_MONOTONIC, &ts) != 0)
        abort(); /* it exists on every system that varve builds for */
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / NS_PER_MS;
}

/* What the child sees: /dev/null, the pipe, /dev/null, and nothing else. 0 or an errno. */
static int actions_fill(posix_spawn_file_actions_t *actions, int output)
{
    /* First, since the pipe may have got the place of a stream that the caller has closed. */
    int rc = posix_spawn_file_actions_adddup2(actions, output, STDOUT_FILENO);

    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    if (rc == 0) /* whatever the process has open, with close-on-exec or without */
        rc = posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1);
    return rc;
}

/* The library's threads block all signals, and the embedder may ignore some: neither is inherited.
 * The child leads a group of its own, so that what it starts can be killed with it. */
static int attributes_fill(posix_spawnattr_t *attributes)
{
    sigset_t none, all;
    int rc;

    sigemptyset(&none);
    sigfillset(&all);
    rc = posix_spawnattr_setsigmask(attributes, &none);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(attributes, &all);
    if (rc == 0)
        rc = posix_spawnattr_setpgroup(attributes, 0);
    if (rc == 0)
        rc = posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                      POSIX_SPAWN_SETPGROUP);
    return rc;
}

/* 0 or an errno. */
static int start(const char *command, int output, pid_t *ret)
{
    char *const arguments[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
                               (char *)(uintptr_t)command, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int rc = posix_spawn_file_actions_init(&actions);

    if (rc != 0)
        return rc;
    rc = posix_spawnattr_init(&attributes);
    if (rc == 0) {
        rc = actions_fill(&actions, output);
        if (rc == 0)
            rc = attributes_fill(&attributes);
        if (rc == 0)
            rc = posix_spawn(ret, SHELL, &actions, &attributes, arguments, environ);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

struct output {
    char *data; /* of size_max + 1 bytes */
    size_t size;
    size_t size_max;
};

/* One read. 1: there may be more; 0: the end. */
static int output_read(struct output *o, int fd, struct varve_error *err)
{
    bool full = o->size == o->size_max;
    char beyond;
    ssize_t n;

    do {
        n = full ? read(fd, &beyond, 1) : read(fd, o->data + o->size, o->size_max - o->size);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return base_fail_errno(err, errno, "read a program's output");
    if (n > 0 && full)
        return base_fail(err, VARVE_E_TOO_LARGE, "a program wrote more than %zu bytes",
                         o->size_max);
    o->size += (size_t)n;
    return n > 0;
}

/* Reads until whoever holds the other end has closed it. */
static int output_collect(struct output *o, int fd, int64_t deadline_ms, struct varve_error *err)
{
    int rc = 1;

    while (rc > 0) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = deadline_ms - now_ms();
        int ready = left > 0 ? poll(&p, 1, left > INT32_MAX ? INT32_MAX : (int)left) : 0;

        if (ready < 0 && errno == EINTR)
            continue;
        if (ready < 0)
            return base_fail_errno(err, errno, "wait for a program's output");
        if (ready == 0)
            return base_fail_retriable(err, VARVE_E_TIMEOUT, "a program did not end in time");
        rc = output_read(o, fd, err);
    }
    return rc;
}

/* Waits for the child itself; the output is at its end already. */
static int status_wait(pid_t pid, int64_t deadline_ms, struct varve_error *err)
{
    int status = 0;

    for (;;) {
        pid_t found = waitpid(pid, &status, WNOHANG);

        if (found == pid)
            break;
        if (found < 0 && errno == ECHILD)
            return 0; /* the caller ignores SIGCHLD: nobody knows the status */
        if (found < 0 && errno != EINTR)
            return base_fail_errno(err, errno, "wait for a program");
        if (now_ms() >= deadline_ms)
            return base_fail_retriable(err, VARVE_E_TIMEOUT, "a program did not end in time");
        nanosleep(&(struct timespec){.tv_nsec = LOOK_AGAIN_NS}, NULL);
    }
    if (WIFSIGNALED(status))
        return base_fail(err, VARVE_E_FAILED, "a program was killed by signal %d",
                         WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        return base_fail(err, VARVE_E_FAILED, "a program ended with status %d",
                         WEXITSTATUS(status));
    return 0;
}

/* Of a child that has not been waited for: nothing stays behind, neither running nor as a zombie.
 */
static void kill_group(pid_t pid)
{
    kill(-pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

static int run(const char *command, struct output *o, int64_t timeout_ms, struct varve_error *err)
{
    int64_t deadline_ms = now_ms() + timeout_ms;
    int ends[2];
    pid_t pid;
    int rc;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return base_fail_errno(err, errno, "make a pipe");
    rc = start(command, ends[1], &pid);
    close(ends[1]);
    if (rc != 0) {
        close(ends[0]);
        return base_fail_errno(err, rc, "start " SHELL);
    }
    rc = output_collect(o, ends[0], deadline_ms, err);
    if (rc == 0)
        rc = status_wait(pid, deadline_ms, err);
    close(ends[0]);
    if (rc < 0 && rc != VARVE_E_FAILED) /* else it has been waited for */
        kill_group(pid);
    return rc;
}

int base_process_run(const char *command, size_t size_max, int64_t timeout_ms, char **ret,
                     size_t *ret_size, struct varve_error *err)
{
    struct output o = {.size_max = size_max};
    int rc;

    o.data = malloc(size_max + 1);
    if (!o.data)
        return base_fail(err, VARVE_E_NO_MEMORY, "run a program: out of memory");
    rc = run(command, &o, timeout_ms, err);
    if (rc < 0) {
        explicit_bzero(o.data, o.size);
        free(o.data);
        return rc;
    }
    o.data[o.size] = '\0';
    *ret = o.data;
    *ret_size = o.size;
    return 0;
}
