/* Programs that are run for their output: what they see, what bounds them, how they may end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/process.h"
#include "tests/support/file.h"
#include "tests/support/tmpdir.h"

#define LONG_MS (30 * 1000) /* no test waits that long */

static void assert_output(const char *command, const char *expected)
{
    struct varve_error err = {0};
    char *text;
    size_t size;

    if (base_process_run(command, 4096, LONG_MS, &text, &size, &err) < 0)
        fail_msg("%s: %s", command, err.msg);
    assert_string_equal(text, expected);
    assert_int_equal(size, strlen(expected));
    free(text);
}

static void assert_fails(const char *command, size_t size_max, int64_t timeout_ms, int code,
                         const char *part)
{
    struct varve_error err = {0};
    char *text = (char *)&err;
    size_t size = 77;

    assert_int_equal(base_process_run(command, size_max, timeout_ms, &text, &size, &err), code);
    assert_int_equal(err.code, code);
    assert_non_null(strstr(err.msg, part));
    assert_null(strstr(err.msg, "hunter2"));
    assert_ptr_equal(text, &err);
    assert_int_equal(size, 77);
}

static void a_command_is_the_shells_and_its_output_comes_back(void **state)
{
    (void)state;
    assert_output("printf '%s' \"a b\"; echo c >&2", "a b");
    assert_output("true", "");
    assert_output("cat", ""); /* its input is empty */
    assert_output("printf '%4096s' x | wc -c | tr -d ' \\n'", "4096");
}

static void a_program_that_fails_says_how_and_not_what(void **state)
{
    (void)state;
    assert_fails("echo hunter2; exit 3", 4096, LONG_MS, VARVE_E_FAILED, "status 3");
    assert_fails("kill -9 $$ # hunter2", 4096, LONG_MS, VARVE_E_FAILED, "signal 9");
    assert_fails("/nonexistent/hunter2", 4096, LONG_MS, VARVE_E_FAILED, "status 127");
}

static void output_is_bounded(void **state)
{
    char *text;
    size_t size;

    (void)state;
    assert_int_equal(base_process_run("printf 12345", 5, LONG_MS, &text, &size, NULL), 0);
    assert_string_equal(text, "12345");
    free(text);
    assert_fails("printf 123456", 5, LONG_MS, VARVE_E_TOO_LARGE, "more than 5 bytes");
    assert_fails("yes hunter2", 5, LONG_MS, VARVE_E_TOO_LARGE, "more than 5 bytes");
}

static bool ends_soon(pid_t pid)
{
    for (int i = 0; i < 1000; i++) {
        if (kill(pid, 0) < 0)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 10 * 1000 * 1000}, NULL);
    }
    return false;
}

static void a_program_out_of_time_is_killed_with_what_it_started(void **state)
{
    struct support_tmpdir *dir = support_tmpdir_new("process");
    const char *path = support_tmpdir_path(dir, "pid");
    char command[512], *text;
    size_t size;

    (void)state;
    snprintf(command, sizeof(command), "sleep 600 & echo $! > %s; wait", path);
    assert_fails(command, 4096, 300, VARVE_E_TIMEOUT, "in time");
    text = support_file_read(path, &size);
    assert_true(atoi(text) > 1);
    assert_true(ends_soon((pid_t)atoi(text)));
    free(text);
    /* One that has closed its output, so that only its end is waited for. */
    assert_fails("exec >&-; sleep 600", 4096, 300, VARVE_E_TIMEOUT, "in time");
    support_tmpdir_free(dir);
}

/* Also of those that are open without close-on-exec. */
static void no_descriptor_is_inherited(void **state)
{
    int fd = open("/dev/null", O_RDONLY);
    char command[64];

    (void)state;
    assert_true(fd > 2);
    snprintf(command, sizeof(command), "[ -e /proc/$$/fd/%d ] && echo open", fd);
    assert_fails(command, 4096, LONG_MS, VARVE_E_FAILED, "status 1");
    close(fd);
}

static void signals_are_as_in_a_fresh_program(void **state)
{
    sigset_t all, before;

    (void)state;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    signal(SIGPIPE, SIG_IGN);
    /* Of those ignored the numbers up to 28: two beyond are the C library's own. */
    assert_output("sed -n 's/SigBlk:.//p; s/SigIgn:.*\\(.......\\)$/\\1/p' /proc/self/status",
                  "0000000000000000\n0000000\n");
    signal(SIGPIPE, SIG_DFL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void a_caller_that_ignores_its_children_gets_the_output(void **state)
{
    (void)state;
    signal(SIGCHLD, SIG_IGN);
    assert_output("echo x", "x\n");
    signal(SIGCHLD, SIG_DFL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_is_the_shells_and_its_output_comes_back),
        cmocka_unit_test(a_program_that_fails_says_how_and_not_what),
        cmocka_unit_test(output_is_bounded),
        cmocka_unit_test(a_program_out_of_time_is_killed_with_what_it_started),
        cmocka_unit_test(no_descriptor_is_inherited),
        cmocka_unit_test(signals_are_as_in_a_fresh_program),
        cmocka_unit_test(a_caller_that_ignores_its_children_gets_the_output),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
