/* Locks, conditions and named threads. */
#include "base/thread.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/error.h"
#include "base/logger.h"

#define NS_PER_S INT64_C(1000000000)
#define NAME_SIZE 16 /* the kernel's limit, NUL included */

/* A lock that cannot be taken or given back means that memory or logic is broken: going on would
 * turn our bug into somebody's data. */
static void must(int rc, const char *call)
{
    if (rc == 0)
        return;
    fprintf(stderr, "varve: %s: error %d\n", call, rc);
    abort();
}

void base_mutex_init(struct base_mutex *m)
{
    pthread_mutexattr_t attr;

    must(pthread_mutexattr_init(&attr), "pthread_mutexattr_init");
    must(pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK), "pthread_mutexattr_settype");
    must(pthread_mutex_init(&m->m, &attr), "pthread_mutex_init");
    must(pthread_mutexattr_destroy(&attr), "pthread_mutexattr_destroy");
}

void base_mutex_deinit(struct base_mutex *m)
{
    must(pthread_mutex_destroy(&m->m), "pthread_mutex_destroy");
}

/* A condition's wait does not change it: the lock is held again when that returns. */
static _Thread_local unsigned mutexes_held;

void base_mutex_lock(struct base_mutex *m)
{
    must(pthread_mutex_lock(&m->m), "pthread_mutex_lock");
    mutexes_held++;
}

void base_mutex_unlock(struct base_mutex *m)
{
    must(pthread_mutex_unlock(&m->m), "pthread_mutex_unlock");
    if (--mutexes_held == 0)
        base_log_deliver();
}

unsigned base_mutex_held(void)
{
    return mutexes_held;
}

void base_cond_init(struct base_cond *c)
{
    pthread_condattr_t attr;

    must(pthread_condattr_init(&attr), "pthread_condattr_init");
    must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), "pthread_condattr_setclock");
    must(pthread_cond_init(&c->c, &attr), "pthread_cond_init");
    must(pthread_condattr_destroy(&attr), "pthread_condattr_destroy");
}

void base_cond_deinit(struct base_cond *c)
{
    must(pthread_cond_destroy(&c->c), "pthread_cond_destroy");
}

void base_cond_signal(struct base_cond *c)
{
    must(pthread_cond_signal(&c->c), "pthread_cond_signal");
}

void base_cond_broadcast(struct base_cond *c)
{
    must(pthread_cond_broadcast(&c->c), "pthread_cond_broadcast");
}

void base_cond_wait(struct base_cond *c, struct base_mutex *m)
{
    must(pthread_cond_wait(&c->c, &m->m), "pthread_cond_wait");
}

bool base_cond_wait_for(struct base_cond *c, struct base_mutex *m, int64_t timeout_ns)
{
    struct timespec until;
    int64_t ns;
    int rc;

    if (timeout_ns < 0)
        timeout_ns = 0;
    if (clock_gettime(CLOCK_MONOTONIC, &until) != 0)
        must(errno, "clock_gettime");
    /* Seconds and the rest apart, so that INT64_MAX ("for ever") does not overflow. */
    ns = until.tv_nsec + timeout_ns % NS_PER_S;
    until.tv_sec += (time_t)(timeout_ns / NS_PER_S + ns / NS_PER_S);
    until.tv_nsec = (long)(ns % NS_PER_S);
    rc = pthread_cond_timedwait(&c->c, &m->m, &until);
    if (rc == ETIMEDOUT)
        return false;
    must(rc, "pthread_cond_timedwait");
    return true;
}

struct base_thread {
    pthread_t thread;
    char name[NAME_SIZE];
    void (*run)(void *arg);
    void *arg;
};

static void *thread_main(void *arg)
{
    struct base_thread *t = arg;

    (void)pthread_setname_np(pthread_self(), t->name); /* serves people who look, nothing else */
    t->run(t->arg);
    return NULL;
}

/* All but those a thread raises by its own fault, whose blocking is undefined. */
static void signals_to_block(sigset_t *set)
{
    static const int kept[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};

    sigfillset(set);
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
        sigdelset(set, kept[i]);
}

int base_thread_start(struct base_thread **ret, const char *name, void (*run)(void *arg), void *arg,
                      struct varve_error *err)
{
    struct base_thread *t = malloc(sizeof(*t));
    sigset_t blocked, before;
    int rc;

    if (!t)
        return base_fail(err, VARVE_E_NO_MEMORY, "start thread %s: out of memory", name);
    *t = (struct base_thread){.run = run, .arg = arg};
    snprintf(t->name, sizeof(t->name), "%.15s", name);
    /* A new thread inherits the mask, so that no signal can reach it first. */
    signals_to_block(&blocked);
    must(pthread_sigmask(SIG_BLOCK, &blocked, &before), "pthread_sigmask");
    rc = pthread_create(&t->thread, NULL, thread_main, t);
    must(pthread_sigmask(SIG_SETMASK, &before, NULL), "pthread_sigmask");
    if (rc != 0) {
        free(t);
        return base_fail_errno(err, rc, "start thread %s", name);
    }
    *ret = t;
    return 0;
}

struct base_thread *base_thread_join(struct base_thread *t)
{
    if (t)
        must(pthread_join(t->thread, NULL), "pthread_join");
    free(t);
    return NULL;
}
