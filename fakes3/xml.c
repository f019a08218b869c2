#include "fakes3/xml.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fakes3/text.h"

#define DEPTH_MAX 16
#define PATH_SIZE 512

struct reader {
    const char *pos;
    fakes3_xml_element *element;
    void *arg;
    char path[PATH_SIZE];
};

/* One character from an entity; the longest is "&#x10FFFF;", of which only ASCII is decoded. */
static bool read_entity(struct reader *r, struct evbuffer *out)
{
    static const struct {
        const char *name;
        char c;
    } entities[] = {
        {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
    unsigned code;
    int size = 0;
    char c;

    for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++) {
        size_t length = strlen(entities[i].name);
        if (strncmp(r->pos, entities[i].name, length) != 0)
            continue;
        evbuffer_add(out, &entities[i].c, 1);
        r->pos += length;
        return true;
    }
    if ((sscanf(r->pos, "&#x%3x;%n", &code, &size) < 1 &&
         sscanf(r->pos, "&#%3u;%n", &code, &size) < 1) ||
        size == 0 || code == 0 || code > 127)
        return false;
    c = (char)code;
    evbuffer_add(out, &c, 1);
    r->pos += size;
    return true;
}

/* Passes over "<?...?>", "<!--...-->" and white space. False: something unclosed, or a DTD. */
static bool skip_misc(struct reader *r)
{
    for (;;) {
        const char *end;
        while (isspace((unsigned char)*r->pos))
            r->pos++;
        if (strncmp(r->pos, "<?", 2) == 0)
            end = strstr(r->pos, "?>"), end = end ? end + 2 : NULL;
        else if (strncmp(r->pos, "<!--", 4) == 0)
            end = strstr(r->pos, "-->"), end = end ? end + 3 : NULL;
        else
            return strncmp(r->pos, "<!", 2) != 0;
        if (!end)
            return false;
        r->pos = end;
    }
}

/* Reads "<name ...>" and appends the name to the path; *ret_empty for "<name/>". */
static bool open_tag(struct reader *r, bool *ret_empty)
{
    const char *name = r->pos + 1;
    size_t size = strcspn(name, " \t\r\n/>");
    size_t path_size = strlen(r->path);
    const char *end = strchr(name, '>');

    if (*r->pos != '<' || size == 0 || !end || path_size + size + 2 > PATH_SIZE)
        return false;
    snprintf(r->path + path_size, PATH_SIZE - path_size, "%s%.*s", path_size ? "/" : "", (int)size,
             name);
    *ret_empty = end[-1] == '/';
    r->pos = end + 1;
    return true;
}

/* Reads "</name>", where name is the last of the path, and takes it off. */
static bool close_tag(struct reader *r)
{
    char *name = strrchr(r->path, '/');
    size_t size;

    name = name ? name + 1 : r->path;
    size = strlen(name);
    if (strncmp(r->pos, "</", 2) != 0 || strncmp(r->pos + 2, name, size) != 0)
        return false;
    r->pos += 2 + size;
    while (isspace((unsigned char)*r->pos))
        r->pos++;
    return *r->pos++ == '>';
}

static bool read_element(struct reader *r, int depth);

static bool read_content(struct reader *r, struct evbuffer *text, int depth)
{
    while (strncmp(r->pos, "</", 2) != 0) {
        if (*r->pos == 0)
            return false;
        if (strncmp(r->pos, "<!", 2) == 0 || strncmp(r->pos, "<?", 2) == 0) {
            if (!skip_misc(r))
                return false;
        } else if (*r->pos == '<') {
            if (!read_element(r, depth + 1))
                return false;
        } else if (*r->pos == '&') {
            if (!read_entity(r, text))
                return false;
        } else {
            evbuffer_add(text, r->pos++, 1);
        }
    }
    return close_tag(r);
}

static bool read_element(struct reader *r, int depth)
{
    size_t parent_size = strlen(r->path);
    struct evbuffer *buffer;
    bool empty, good;
    char *text;

    if (depth > DEPTH_MAX || !open_tag(r, &empty))
        return false;
    buffer = evbuffer_new();
    good = empty || read_content(r, buffer, depth);
    text = fakes3_text_of_buffer(buffer);
    if (good)
        r->element(r->arg, r->path, text);
    free(text);
    r->path[parent_size] = 0;
    return good;
}

bool fakes3_xml_read(const char *text, fakes3_xml_element *element, void *arg)
{
    struct reader r = {.pos = text, .element = element, .arg = arg};

    return skip_misc(&r) && read_element(&r, 1) && skip_misc(&r) && *r.pos == 0;
}
