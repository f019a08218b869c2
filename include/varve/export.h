/* Marks what libvarve exports; everything else has hidden visibility. */
#ifndef VARVE_EXPORT_H
#define VARVE_EXPORT_H

#if defined(__GNUC__) || defined(__clang__)
#define VARVE_API __attribute__((visibility("default")))
#define VARVE_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define VARVE_API
#define VARVE_PRINTF(f, a)
#endif

#endif
