/* The linker sends `malloc` to `__wrap_malloc`, and `__real_malloc` to malloc. */
#include "tests/support/alloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

static atomic_bool armed;
static atomic_bool keeping;
static atomic_uint_fast64_t countdown_from;
static atomic_uint_fast64_t counted;

void support_alloc_fail(uint64_t nth, bool keep)
{
    atomic_store(&keeping, keep);
    atomic_store(&countdown_from, nth);
    atomic_store(&counted, 0);
    atomic_store(&armed, true);
}

uint64_t support_alloc_stop(void)
{
    atomic_store(&armed, false);
    return atomic_load(&counted);
}

static bool fails(void)
{
    uint64_t nth, this_one;

    if (!atomic_load(&armed))
        return false;
    nth = atomic_load(&countdown_from);
    this_one = atomic_fetch_add(&counted, 1) + 1;
    if (nth == 0 || this_one < nth || (this_one > nth && !atomic_load(&keeping)))
        return false;
    errno = ENOMEM;
    return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t count, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **ret, size_t alignment, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t size);
int __real_vasprintf(char **ret, const char *format, va_list ap);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t count, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **ret, size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
int __wrap_vasprintf(char **ret, const char *format, va_list ap);
int __wrap_asprintf(char **ret, const char *format, ...);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_realloc(p, size);
}

void *__wrap_reallocarray(void *p, size_t count, size_t size)
{
    return fails() ? NULL : __real_reallocarray(p, count, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

int __wrap_posix_memalign(void **ret, size_t alignment, size_t size)
{
    return fails() ? ENOMEM : __real_posix_memalign(ret, alignment, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t size)
{
    return fails() ? NULL : __real_strndup(text, size);
}

/* What *ret is after a failure is undefined: a value that nobody may free shows who relies on it.
 */
int __wrap_vasprintf(char **ret, const char *format, va_list ap)
{
    if (!fails())
        return __real_vasprintf(ret, format, ap);
    *ret = (char *)1;
    return -1;
}

int __wrap_asprintf(char **ret, const char *format, ...)
{
    va_list ap;
    int size;

    va_start(ap, format);
    size = __wrap_vasprintf(ret, format, ap);
    va_end(ap);
    return size;
}
