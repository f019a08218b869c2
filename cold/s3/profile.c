/*
 * The INI-like files of AWS.
 *
 * FORMAT (text, UTF-8 with or without its mark; lines end in LF or CRLF)
 *
 *   line                      what
 *   ------------------------  --------------------------------------------------------------------
 *   # ...   ; ...             a comment, also behind blanks
 *   (blanks)                  nothing
 *   [kind name]   [name]      a section begins; a comment may follow
 *   name = value              a property; " #" and " ;" begin a comment
 *   (blanks) name = value     of the property before it, when that one's value is empty: nested
 *   (blanks) text             of the property before it: goes on with its value, behind a line end
 *
 * Properties of sections whose names make no sense are passed over with them, as all tools do.
 */
#include "cold/s3/profile.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define VALUE_SIZE_MAX 8192 /* of one that goes on over several lines */

/* A property, or with property NULL the fact that a section is there. */
struct entry {
    char *section; /* "kind name" */
    char *property;
    char *value;
};

struct s3_profile_file {
    struct entry *entries;
    size_t count;
    size_t capacity;
};

/* A stretch of a line. */
struct span {
    const char *data;
    size_t size;
};

/* Where the parser stands. */
struct parsing {
    struct s3_profile_file *file;
    enum s3_profile_kind kind;
    unsigned line;
    bool has_section; /* seen any */
    char *section;    /* fresh memory; NULL: one that is passed over */
    size_t property;  /* the entry that indented lines belong to, + 1; 0: none */
    bool nested;      /* its value was empty: they are properties of their own */
    struct varve_error *err;
};

static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

struct s3_profile_file *s3_profile_file_free(struct s3_profile_file *file)
{
    if (!file)
        return NULL;
    for (size_t i = 0; i < file->count; i++) {
        free(file->entries[i].section);
        free(file->entries[i].property);
        wipe(file->entries[i].value);
    }
    free(file->entries);
    free(file);
    return NULL;
}

static int no_memory(struct varve_error *err)
{
    return base_fail(err, VARVE_E_NO_MEMORY, "read a profile: out of memory");
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct span trim(struct span s)
{
    while (s.size > 0 && is_blank(s.data[0])) {
        s.data++;
        s.size--;
    }
    while (s.size > 0 && is_blank(s.data[s.size - 1]))
        s.size--;
    return s;
}

/* What follows the first `size` bytes. */
static struct span rest_of(struct span s, size_t size)
{
    return (struct span){s.data + size, s.size - size};
}

/* Without a comment: a '#' or ';' behind a blank. */
static struct span cut_comment(struct span s)
{
    for (size_t i = 1; i < s.size; i++) {
        if ((s.data[i] == '#' || s.data[i] == ';') && is_blank(s.data[i - 1])) {
            s.size = i;
            break;
        }
    }
    return trim(s);
}

/* Takes property and value over when it succeeds. */
static int entry_add(struct parsing *p, char *property, char *value)
{
    struct s3_profile_file *f = p->file;
    char *section;

    if (f->count == S3_PROFILE_ENTRIES_MAX)
        return base_fail(p->err, VARVE_E_TOO_LARGE, "more than %d entries", S3_PROFILE_ENTRIES_MAX);
    if (f->count == f->capacity) {
        size_t capacity = f->capacity > 0 ? 2 * f->capacity : 16;
        struct entry *entries = realloc(f->entries, capacity * sizeof(*entries));

        if (!entries)
            return no_memory(p->err);
        f->entries = entries;
        f->capacity = capacity;
    }
    section = strdup(p->section);
    if (!section)
        return no_memory(p->err);
    f->entries[f->count++] =
        (struct entry){.section = section, .property = property, .value = value};
    return 0;
}

static int bad_line(const struct parsing *p, const char *why)
{
    return base_fail(p->err, VARVE_E_INVALID, "line %u: %s", p->line, why);
}

/* "kind name" in fresh memory. */
static int section_join(struct span kind, struct span name, char **ret, struct varve_error *err)
{
    char *out = malloc(kind.size + 1 + name.size + 1);

    if (!out)
        return no_memory(err);
    memcpy(out, kind.data, kind.size);
    out[kind.size] = ' ';
    memcpy(out + kind.size + 1, name.data, name.size);
    out[kind.size + 1 + name.size] = '\0';
    *ret = out;
    return 0;
}

/* The section's full name for what stands in the brackets; NULL: to be passed over. */
static int section_name(const struct parsing *p, struct span inside, char **ret)
{
    static const struct span profile = {"profile", 7};
    struct span kind = {.data = inside.data}, name;

    if (p->kind == S3_PROFILE_CREDENTIALS)
        return section_join(profile, inside, ret, p->err);
    while (kind.size < inside.size && !is_blank(inside.data[kind.size]))
        kind.size++;
    name = trim(rest_of(inside, kind.size));
    if (name.size >= 2 && (name.data[0] == '"' || name.data[0] == '\'') &&
        name.data[name.size - 1] == name.data[0])
        name = (struct span){name.data + 1, name.size - 2};
    if (name.size == 0 && kind.size == 7 && memcmp(kind.data, "default", 7) == 0)
        return section_join(profile, kind, ret, p->err);
    *ret = NULL;
    return name.size > 0 ? section_join(kind, name, ret, p->err) : 0;
}

static int take_section(struct parsing *p, struct span line)
{
    const char *end = memchr(line.data, ']', line.size);
    struct span inside, rest;
    size_t size;
    int rc;

    if (!end)
        return bad_line(p, "a section without its ']'");
    size = (size_t)(end - line.data);
    inside = trim((struct span){line.data + 1, size - 1});
    rest = trim(rest_of(line, size + 1));
    if (inside.size == 0)
        return bad_line(p, "a section without a name");
    if (rest.size > 0 && rest.data[0] != '#' && rest.data[0] != ';')
        return bad_line(p, "something behind a section's ']'");
    free(p->section);
    p->section = NULL;
    p->has_section = true;
    p->property = 0;
    rc = section_name(p, inside, &p->section);
    return rc < 0 || !p->section ? rc : entry_add(p, NULL, NULL);
}

static void to_lower(char *text)
{
    for (; *text; text++) {
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text - 'A' + 'a');
    }
}

/* Adds "name = value"; `parent` (NULL: none) and a point come before the name. */
static int property_add(struct parsing *p, const char *parent, struct span name, struct span value)
{
    size_t before = parent ? strlen(parent) + 1 : 0;
    char *property = malloc(before + name.size + 1);
    char *text = strndup(value.data, value.size);
    int rc;

    if (property) {
        if (parent) {
            memcpy(property, parent, before - 1);
            property[before - 1] = '.';
        }
        memcpy(property + before, name.data, name.size);
        property[before + name.size] = '\0';
        to_lower(property);
    }
    rc = property && text ? entry_add(p, property, text) : no_memory(p->err);
    if (rc < 0) {
        free(property);
        wipe(text);
    }
    return rc;
}

/* False: there is no '=' with a name before it. */
static bool split(struct span line, struct span *ret_name, struct span *ret_value)
{
    const char *equals = memchr(line.data, '=', line.size);
    size_t size;

    if (!equals)
        return false;
    size = (size_t)(equals - line.data);
    *ret_name = trim((struct span){line.data, size});
    *ret_value = cut_comment(rest_of(line, size + 1));
    return ret_name->size > 0;
}

static int take_property(struct parsing *p, struct span line)
{
    struct span name, value;
    int rc;

    if (!p->has_section)
        return bad_line(p, "a property before any section");
    if (!split(line, &name, &value))
        return bad_line(p, "neither a section nor a property");
    if (!p->section)
        return 0;
    rc = property_add(p, NULL, name, value);
    if (rc < 0)
        return rc;
    p->property = p->file->count;
    p->nested = value.size == 0;
    return 0;
}

/* Puts a line behind the value of an entry. */
static int value_extend(const struct parsing *p, struct entry *e, struct span text)
{
    size_t before = strlen(e->value);
    char *value;

    if (before + 1 + text.size > VALUE_SIZE_MAX)
        return base_fail(p->err, VARVE_E_TOO_LARGE, "line %u: a value of more than %d bytes",
                         p->line, VALUE_SIZE_MAX);
    value = malloc(before + 1 + text.size + 1);
    if (!value)
        return no_memory(p->err);
    memcpy(value, e->value, before);
    value[before] = '\n';
    memcpy(value + before + 1, text.data, text.size);
    value[before + 1 + text.size] = '\0';
    wipe(e->value);
    e->value = value;
    return 0;
}

static int take_indented(struct parsing *p, struct span line)
{
    struct span name, value;
    struct entry *e;

    /* Nothing it could belong to: a property that somebody has indented. */
    if (!p->section || p->property == 0)
        return take_property(p, line);
    e = &p->file->entries[p->property - 1];
    if (!p->nested)
        return value_extend(p, e, line);
    if (!split(line, &name, &value))
        return bad_line(p, "neither a section nor a property");
    return property_add(p, e->property, name, value);
}

static int take_line(struct parsing *p, struct span line)
{
    struct span bare;

    if (line.size > 0 && line.data[line.size - 1] == '\r')
        line.size--;
    bare = trim(line);
    if (bare.size == 0 || bare.data[0] == '#' || bare.data[0] == ';')
        return 0;
    if (is_blank(line.data[0]))
        return take_indented(p, bare);
    return bare.data[0] == '[' ? take_section(p, bare) : take_property(p, bare);
}

int s3_profile_file_parse(const char *text, size_t size, enum s3_profile_kind kind,
                          struct s3_profile_file **ret, struct varve_error *err)
{
    struct parsing p = {.kind = kind, .err = err};
    int rc = 0;

    if (size > S3_PROFILE_FILE_MAX)
        return base_fail(err, VARVE_E_TOO_LARGE, "%zu bytes, the limit is %d", size,
                         S3_PROFILE_FILE_MAX);
    if (size > 0 && memchr(text, '\0', size))
        return base_fail(err, VARVE_E_INVALID, "a NUL: this is no text");
    p.file = calloc(1, sizeof(*p.file));
    if (!p.file)
        return no_memory(err);
    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        size -= 3;
    }
    while (rc == 0 && size > 0) {
        const char *end = memchr(text, '\n', size);
        size_t line = end ? (size_t)(end - text) : size;
        size_t step = line + (end ? 1 : 0);

        p.line++;
        rc = take_line(&p, (struct span){text, line});
        text += step;
        size -= step;
    }
    free(p.section);
    if (rc < 0) {
        s3_profile_file_free(p.file);
        return rc;
    }
    *ret = p.file;
    return 0;
}

int s3_profile_file_read(const struct base_io *io, const char *path, enum s3_profile_kind kind,
                         struct s3_profile_file **ret, struct varve_error *err)
{
    size_t size;
    void *data;
    int rc = base_file_read(io, path, S3_PROFILE_FILE_MAX, &data, &size, err);

    if (rc < 0)
        return rc;
    rc = s3_profile_file_parse(data, size, kind, ret, err);
    explicit_bzero(data, size);
    free(data);
    return rc < 0 ? base_error_context(err, rc, "%s", path) : 0;
}

static bool is_section(const struct entry *e, const char *kind, const char *name)
{
    size_t size = strlen(kind);

    return strncmp(e->section, kind, size) == 0 && e->section[size] == ' ' &&
           strcmp(e->section + size + 1, name) == 0;
}

bool s3_profile_file_has(const struct s3_profile_file *file, const char *kind, const char *name)
{
    for (size_t i = 0; i < file->count; i++) {
        if (!file->entries[i].property && is_section(&file->entries[i], kind, name))
            return true;
    }
    return false;
}

const char *s3_profile_file_get(const struct s3_profile_file *file, const char *kind,
                                const char *name, const char *property)
{
    for (size_t i = file->count; i-- > 0;) {
        const struct entry *e = &file->entries[i];

        if (e->property && strcmp(e->property, property) == 0 && is_section(e, kind, name))
            return e->value[0] ? e->value : NULL;
    }
    return NULL;
}
