/* The script of a faulty store, and what it plans for a few calls. */
#include "cold/faulty_script.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    struct cold_faulty_script *script;
    struct cold_faulty_plan plan;
    struct varve_error err = {0};

    if (took(cold_faulty_script_parse(text, 1, &script, &err), &err)) {
        for (int op = 0; op < FAULTY_OPS; op++) {
            (void)cold_faulty_script_delays(script, (enum cold_faulty_op)op);
            for (uint64_t place = 0; place < 3; place++) {
                must(cold_faulty_script_plan(script, (enum cold_faulty_op)op, "logs/a/root", place,
                                             place == 1, &plan, &err) == 0);
                must(plan.kind < FAULTY_KINDS && plan.delay_ns >= 0 && plan.time_ms >= 0);
                must(plan.kind != FAULTY_ERROR || plan.code < 0);
            }
        }
        for (int kind = 0; kind < FAULTY_KINDS; kind++)
            must(cold_faulty_script_time_ms(script, (enum cold_faulty_kind)kind) >= -1);
        cold_faulty_script_free(script);
    }
    free(text);
    return 0;
}
