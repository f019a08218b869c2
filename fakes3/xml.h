/* The XML of request bodies: elements, text, entities; no DTD, attributes are skipped. */
#ifndef FAKES3_XML_H
#define FAKES3_XML_H

#include <stdbool.h>

/* Called where an element ends, with the path down to it ("Delete/Object/Key") and its own text. */
typedef void fakes3_xml_element(void *arg, const char *path, const char *text);

/* False where the text is not well-formed, or nested deeper than 16: MalformedXML. */
bool fakes3_xml_read(const char *text, fakes3_xml_element *element, void *arg);

#endif
