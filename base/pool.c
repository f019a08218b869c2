/*
 * A pool of workers over one queue.
 *
 * The queue is a list in running order: by priority, and in order of submission within one. Most
 * jobs belong at its end or near it, and queues are short: what is submitted is bounded by those
 * who submit.
 */
#include "base/thread.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"

struct base_pool {
    struct base_mutex lock; /* protects all but `threads` and `workers` */
    struct base_cond work;  /* a job was queued, or `stopping` was set */
    struct base_job *head;
    struct base_job *tail;
    bool stopping;
    unsigned threads; /* how many of `workers` run */
    struct base_thread *workers[];
};

static void queue_add_locked(struct base_pool *pool, struct base_job *job)
{
    struct base_job **at = &pool->head;

    if (pool->tail && pool->tail->priority <= job->priority)
        at = &pool->tail->next;
    while (*at && (*at)->priority <= job->priority)
        at = &(*at)->next;
    job->next = *at;
    *at = job;
    if (!job->next)
        pool->tail = job;
}

static struct base_job *queue_take_locked(struct base_pool *pool)
{
    struct base_job *job = pool->head;

    if (job) {
        pool->head = job->next;
        if (!pool->head)
            pool->tail = NULL;
        job->next = NULL;
    }
    return job;
}

/* Ends only when the queue is empty: jobs that running jobs submit are run too. */
static void worker_main(void *arg)
{
    struct base_pool *pool = arg;
    struct base_job *job;

    base_mutex_lock(&pool->lock);
    for (;;) {
        while (!(job = queue_take_locked(pool)) && !pool->stopping)
            base_cond_wait(&pool->work, &pool->lock);
        if (!job)
            break;
        base_mutex_unlock(&pool->lock);
        job->run(job); /* the job may be gone when it returns */
        base_mutex_lock(&pool->lock);
    }
    base_mutex_unlock(&pool->lock);
}

int base_pool_new(unsigned threads, const char *name, struct base_pool **ret,
                  struct varve_error *err)
{
    struct base_pool *pool = calloc(1, sizeof(*pool) + threads * sizeof(pool->workers[0]));

    if (!pool)
        return base_fail(err, VARVE_E_NO_MEMORY, "start pool %s: out of memory", name);
    base_mutex_init(&pool->lock);
    base_cond_init(&pool->work);
    for (unsigned i = 0; i < threads; i++) {
        char thread_name[32];
        int rc;

        snprintf(thread_name, sizeof(thread_name), "%.11s-%u", name, i);
        rc = base_thread_start(&pool->workers[i], thread_name, worker_main, pool, err);
        if (rc < 0) {
            base_pool_free(pool);
            return rc;
        }
        pool->threads++;
    }
    *ret = pool;
    return 0;
}

struct base_pool *base_pool_free(struct base_pool *pool)
{
    if (!pool)
        return NULL;
    base_mutex_lock(&pool->lock);
    pool->stopping = true;
    base_cond_broadcast(&pool->work);
    base_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->threads; i++)
        base_thread_join(pool->workers[i]);
    base_cond_deinit(&pool->work);
    base_mutex_deinit(&pool->lock);
    free(pool);
    return NULL;
}

void base_pool_submit(struct base_pool *pool, struct base_job *job)
{
    if (pool->threads == 0) {
        job->run(job);
        return;
    }
    base_mutex_lock(&pool->lock);
    queue_add_locked(pool, job);
    base_cond_signal(&pool->work);
    base_mutex_unlock(&pool->lock);
}

unsigned base_pool_threads(const struct base_pool *pool)
{
    return pool->threads;
}
