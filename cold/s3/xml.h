/*
 * Walks an XML document that nobody has vouched for, within the limits of reply.h.
 *
 * The walker knows elements by their path of local names, "ListBucketResult/Contents/Key": prefixes
 * and namespaces of stores differ and say nothing. Of each element that has no children it tells
 * the text, references resolved; attributes, comments and processing instructions are passed over.
 * A document type declaration ends the walk, so there are no entities but XML's own five.
 */
#ifndef COLD_S3_XML_H
#define COLD_S3_XML_H

#include <stdbool.h>
#include <stddef.h>

#include <varve/error.h>

#define S3_XML_PATH_SIZE 512 /* of a path, NUL included; a longer one is VARVE_E_CORRUPT */

struct s3_xml_handler {
    /* Either may be NULL. Non-zero ends the walk and is returned by it. */
    int (*start)(void *ctx, const char *path);
    /* `text` is "" for an element with children. Both are gone when it returns. */
    int (*end)(void *ctx, const char *path, const char *text);
    void *ctx;
};

/*
 * Walks the document from its start; white space in front of it is passed over (AWS sends some to
 * keep a connection alive). When it is not well-formed the handler has been told what came before
 * the fault. VARVE_E_CORRUPT, VARVE_E_NO_MEMORY, or what the handler returned; without a message of
 * the last.
 */
int s3_xml_walk(const void *body, size_t size, const struct s3_xml_handler *handler,
                struct varve_error *err);

#endif
