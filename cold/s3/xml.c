/*
 * XML by expat, with limits.
 *
 * LIMITS (each VARVE_E_CORRUPT): the document S3_REPLY_XML_MAX bytes, the depth S3_REPLY_DEPTH_MAX,
 * the text between two tags S3_REPLY_TEXT_MAX, the path S3_XML_PATH_SIZE, no document type.
 *
 * Expat itself holds a buffer as large as the document and the names of open elements; with no
 * document type there is nothing that could grow beyond that.
 */
#include "cold/s3/xml.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <expat.h>

#include "base/error.h"
#include "cold/s3/reply.h"

#define NAMESPACE_SEPARATOR '|' /* no name can hold it */

struct walk {
    XML_Parser parser;
    const struct s3_xml_handler *handler;
    char path[S3_XML_PATH_SIZE];
    size_t path_size;
    unsigned depth;
    char text[S3_REPLY_TEXT_MAX + 1]; /* since the last tag */
    size_t text_size;
    bool has_children;  /* the element that ends next */
    int stopped;        /* what the handler returned */
    const char *reason; /* of our own refusal; NULL: none */
};

static void stop(struct walk *w, const char *reason, int rc)
{
    w->reason = reason;
    w->stopped = rc;
    XML_StopParser(w->parser, XML_FALSE);
}

/* After a stop expat may still deliver what it has begun, the end of an empty element for one. */
static bool is_stopped(const struct walk *w)
{
    return w->reason || w->stopped != 0;
}

static const char *local_name(const char *name)
{
    const char *separator = strrchr(name, NAMESPACE_SEPARATOR);

    return separator ? separator + 1 : name;
}

static void XMLCALL on_start(void *ctx, const XML_Char *name, const XML_Char **attributes)
{
    struct walk *w = ctx;
    const char *local = local_name(name);
    size_t size = strlen(local), separator = w->depth > 0;
    int rc;

    (void)attributes;
    if (is_stopped(w))
        return;
    if (w->depth == S3_REPLY_DEPTH_MAX) {
        stop(w, "nested too deeply", 0);
        return;
    }
    if (w->path_size + separator + size >= sizeof(w->path)) {
        stop(w, "names too long", 0);
        return;
    }
    if (separator)
        w->path[w->path_size++] = '/';
    memcpy(w->path + w->path_size, local, size + 1);
    w->path_size += size;
    w->depth++;
    w->text_size = 0;
    w->has_children = false;
    rc = w->handler->start ? w->handler->start(w->handler->ctx, w->path) : 0;
    if (rc != 0)
        stop(w, NULL, rc);
}

static void XMLCALL on_end(void *ctx, const XML_Char *name)
{
    struct walk *w = ctx;
    char *slash;
    int rc;

    (void)name;
    if (is_stopped(w))
        return;
    w->text[w->has_children ? 0 : w->text_size] = '\0';
    rc = w->handler->end ? w->handler->end(w->handler->ctx, w->path, w->text) : 0;
    slash = strrchr(w->path, '/');
    w->path_size = slash ? (size_t)(slash - w->path) : 0;
    w->path[w->path_size] = '\0';
    assert(w->depth > 0); /* expat matches the tags */
    w->depth--;
    w->text_size = 0;
    w->has_children = true;
    if (rc != 0)
        stop(w, NULL, rc);
}

static void XMLCALL on_text(void *ctx, const XML_Char *text, int size)
{
    struct walk *w = ctx;

    if (is_stopped(w))
        return;
    if ((size_t)size > S3_REPLY_TEXT_MAX - w->text_size) {
        stop(w, "a text is too long", 0);
        return;
    }
    memcpy(w->text + w->text_size, text, (size_t)size);
    w->text_size += (size_t)size;
}

static void XMLCALL on_doctype(void *ctx, const XML_Char *name, const XML_Char *system_id,
                               const XML_Char *public_id, int has_internal_subset)
{
    struct walk *w = ctx;

    (void)name;
    (void)system_id;
    (void)public_id;
    (void)has_internal_subset;
    if (!is_stopped(w))
        stop(w, "it has a document type", 0);
}

/* What the parser's end means. */
static int result(const struct walk *w, enum XML_Status status, struct varve_error *err)
{
    enum XML_Error code = status == XML_STATUS_OK ? XML_ERROR_NONE : XML_GetErrorCode(w->parser);

    if (w->stopped != 0)
        return w->stopped;
    if (code == XML_ERROR_NO_MEMORY)
        return base_fail(err, VARVE_E_NO_MEMORY, "read XML: out of memory");
    if (w->reason)
        return base_fail(err, VARVE_E_CORRUPT, "the XML is refused: %s", w->reason);
    if (code != XML_ERROR_NONE)
        return base_fail(err, VARVE_E_CORRUPT, "not well-formed XML: %s, line %lu",
                         XML_ErrorString(code), (unsigned long)XML_GetCurrentLineNumber(w->parser));
    return 0;
}

static size_t white_space(const char *text, size_t size)
{
    size_t n = 0;

    while (n < size && memchr(" \t\r\n", text[n], 4))
        n++;
    return n;
}

int s3_xml_walk(const void *body, size_t size, const struct s3_xml_handler *handler,
                struct varve_error *err)
{
    size_t blank;
    struct walk *w;
    int rc;

    if (size == 0)
        return base_fail(err, VARVE_E_CORRUPT, "not well-formed XML: nothing at all");
    if (size > S3_REPLY_XML_MAX)
        return base_fail(err, VARVE_E_CORRUPT, "the XML is refused: %zu bytes, the limit is %d",
                         size, S3_REPLY_XML_MAX);
    w = calloc(1, sizeof(*w));
    if (!w)
        return base_fail(err, VARVE_E_NO_MEMORY, "read XML: out of memory");
    w->handler = handler;
    w->parser = XML_ParserCreateNS(NULL, NAMESPACE_SEPARATOR);
    if (!w->parser) {
        free(w);
        return base_fail(err, VARVE_E_NO_MEMORY, "read XML: out of memory");
    }
    XML_SetUserData(w->parser, w);
    XML_SetElementHandler(w->parser, on_start, on_end);
    XML_SetCharacterDataHandler(w->parser, on_text);
    XML_SetStartDoctypeDeclHandler(w->parser, on_doctype);
    blank = white_space(body, size);
    rc = result(w, XML_Parse(w->parser, (const char *)body + blank, (int)(size - blank), XML_TRUE),
                err);
    XML_ParserFree(w->parser);
    explicit_bzero(w, sizeof(*w)); /* a text may have been a secret key */
    free(w);
    return rc;
}
