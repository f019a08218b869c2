#include "tests/support/logger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/thread.h"

struct line {
    struct line *next;
    int level;
    char text[];
};

struct support_logger {
    struct base_mutex lock; /* protects both lists */
    struct line *lines;     /* newest first */
    struct line *expected;
};

static void push(struct line **list, int level, const char *text)
{
    struct line *line = malloc(sizeof(*line) + strlen(text) + 1);

    if (!line)
        abort();
    line->level = level;
    memcpy(line->text, text, strlen(text) + 1);
    line->next = *list;
    *list = line;
}

static void clear(struct line **list)
{
    while (*list) {
        struct line *next = (*list)->next;

        free(*list);
        *list = next;
    }
}

static void message(void *ctx, int level, const char *text)
{
    struct support_logger *l = ctx;

    base_mutex_lock(&l->lock);
    push(&l->lines, level, text);
    base_mutex_unlock(&l->lock);
}

struct support_logger *support_logger_new(void)
{
    struct support_logger *l = calloc(1, sizeof(*l));

    if (!l)
        abort();
    base_mutex_init(&l->lock);
    return l;
}

struct support_logger *support_logger_free(struct support_logger *l)
{
    if (!l)
        return NULL;
    clear(&l->lines);
    clear(&l->expected);
    base_mutex_deinit(&l->lock);
    free(l);
    return NULL;
}

struct base_logger support_logger_seam(struct support_logger *l)
{
    return (struct base_logger){.message = message, .ctx = l};
}

void support_logger_expect(struct support_logger *l, const char *part)
{
    base_mutex_lock(&l->lock);
    push(&l->expected, BASE_LOG_ERROR, part);
    base_mutex_unlock(&l->lock);
}

size_t support_logger_count(struct support_logger *l, int level, const char *part)
{
    size_t count = 0;

    base_mutex_lock(&l->lock);
    for (const struct line *line = l->lines; line; line = line->next) {
        if ((level < 0 || line->level == level) && strstr(line->text, part))
            count++;
    }
    base_mutex_unlock(&l->lock);
    return count;
}

void support_logger_clear(struct support_logger *l)
{
    base_mutex_lock(&l->lock);
    clear(&l->lines);
    base_mutex_unlock(&l->lock);
}

static bool is_expected_locked(const struct support_logger *l, const char *text)
{
    for (const struct line *line = l->expected; line; line = line->next) {
        if (strstr(text, line->text))
            return true;
    }
    return false;
}

const char *support_logger_unexpected(struct support_logger *l)
{
    const char *found = NULL;

    base_mutex_lock(&l->lock);
    for (const struct line *line = l->lines; line; line = line->next) {
        if (line->level <= BASE_LOG_ERROR && !is_expected_locked(l, line->text))
            found = line->text;
    }
    base_mutex_unlock(&l->lock);
    return found;
}

void support_logger_check(struct support_logger *l)
{
    const char *text = support_logger_unexpected(l);

    if (text)
        fail_msg("unexpected error in the log: %s", text);
}
