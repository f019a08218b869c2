/*
 * Threads. Locks abort on misuse (our own bug); conditions wait on the monotonic clock. A pool of
 * workers runs jobs that embed a struct base_job; a pool of 0 threads runs each job inside
 * base_pool_submit, so that a single-threaded test or simulation drives the same code.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <varve/error.h>

struct base_mutex {
    pthread_mutex_t m;
};
struct base_cond {
    pthread_cond_t c;
};

void base_mutex_init(struct base_mutex *m);
void base_mutex_deinit(struct base_mutex *m);
void base_mutex_lock(struct base_mutex *m);
/* With the thread's last lock also come the messages that base_log has kept back (logger.h). */
void base_mutex_unlock(struct base_mutex *m);
/* How many locks the calling thread holds. What calls the embedder's code asserts that it is 0. */
unsigned base_mutex_held(void);

void base_cond_init(struct base_cond *c);
void base_cond_deinit(struct base_cond *c);
void base_cond_signal(struct base_cond *c);
void base_cond_broadcast(struct base_cond *c);
void base_cond_wait(struct base_cond *c, struct base_mutex *m);
/* False when `timeout_ns` from now passed first. */
bool base_cond_wait_for(struct base_cond *c, struct base_mutex *m, int64_t timeout_ns);

/* A thread with a name (15 characters) and all signals blocked. */
struct base_thread;
int base_thread_start(struct base_thread **ret, const char *name, void (*run)(void *arg), void *arg,
                      struct varve_error *err);
struct base_thread *base_thread_join(struct base_thread *t);

struct base_job {
    void (*run)(struct base_job *job);
    struct base_job *next; /* the pool's */
    int priority;          /* lower runs first: demand before prefetch before upload */
};

struct base_pool;
int base_pool_new(unsigned threads, const char *name, struct base_pool **ret,
                  struct varve_error *err);
struct base_pool *base_pool_free(struct base_pool *pool); /* runs what is queued, then joins */
void base_pool_submit(struct base_pool *pool, struct base_job *job);
unsigned base_pool_threads(const struct base_pool *pool);

#endif
