/* Everything of libvarve. */
#ifndef VARVE_VARVE_H
#define VARVE_VARVE_H

#include <varve/error.h>
#include <varve/log.h>
#include <varve/reader.h>
#include <varve/record.h>
#include <varve/store.h>

#endif
