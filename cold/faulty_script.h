/* The script of a faulty store: which fault happens to which call. Of cold/faulty.c alone. */
#ifndef COLD_FAULTY_SCRIPT_H
#define COLD_FAULTY_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

#include <varve/error.h>

#define COLD_FAULTY_RULES_MAX 64

enum cold_faulty_op {
    FAULTY_PUT,
    FAULTY_GET,
    FAULTY_HEAD,
    FAULTY_LIST,
    FAULTY_DELETE,
    FAULTY_BEGIN,
    FAULTY_PART,
    FAULTY_COMPLETE,
    FAULTY_ABORT,
    FAULTY_UPLOADS,
    FAULTY_OPS
};

enum cold_faulty_kind {
    FAULTY_NONE,
    FAULTY_DELAY,
    FAULTY_ERROR,
    FAULTY_CONFLICT,
    FAULTY_LOST,
    FAULTY_TWICE,
    FAULTY_LATE,
    FAULTY_CUT,
    FAULTY_SHORT,
    FAULTY_FLIP,
    FAULTY_STALE,
    FAULTY_KINDS
};

struct cold_faulty_script;

/* What is to happen to one call. */
struct cold_faulty_plan {
    enum cold_faulty_kind kind;
    int64_t delay_ns; /* in front of it, whatever else happens */
    int64_t time_ms;  /* of late and stale */
    int code;         /* of an error */
    bool retriable;
    uint64_t chance; /* random bits of this call */
    unsigned rule;   /* which one, from 1, for the message */
};

/* VARVE_E_INVALID names the rule. */
int cold_faulty_script_parse(const char *text, uint64_t seed, struct cold_faulty_script **ret,
                             struct varve_error *err);
struct cold_faulty_script *cold_faulty_script_free(struct cold_faulty_script *script);
/* Is there any rule of this kind? Its longest time, in ms; -1: there is none. */
int64_t cold_faulty_script_time_ms(const struct cold_faulty_script *script,
                                   enum cold_faulty_kind kind);
bool cold_faulty_script_delays(const struct cold_faulty_script *script, enum cold_faulty_op op);

/*
 * Counts the call and looks up what is to happen to it. `place`: the position of a range, the
 * number of a part, else 0. Threads: any. VARVE_E_NO_MEMORY.
 */
int cold_faulty_script_plan(struct cold_faulty_script *script, enum cold_faulty_op op,
                            const char *key, uint64_t place, bool conditional,
                            struct cold_faulty_plan *ret, struct varve_error *err);

const char *cold_faulty_op_name(enum cold_faulty_op op);

#endif
