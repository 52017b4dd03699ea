// Kernels whose ops are no rows of OP_CASES: how their tensors are made, what must come out, how
// they are recorded. Private to host/reference; the table is in kernel_cases.c.
#ifndef STRATA_REFERENCE_KERNEL_OWN_H
#define STRATA_REFERENCE_KERNEL_OWN_H

#include "reference/kernel_bed.h"

#define OWN_CASE(name)                                                                             \
    void name##_make(KernelBed *bed);                                                              \
    void name##_expect(KernelBed *bed);                                                            \
    void name##_record(const KernelBed *bed, Tape *tape)

OWN_CASE(rope_cache);
OWN_CASE(attention_paged);
OWN_CASE(distill);
OWN_CASE(sum_squares);
OWN_CASE(clip);
OWN_CASE(adamw);
OWN_CASE(adamw_q8);
OWN_CASE(narrow);
OWN_CASE(widen);
OWN_CASE(keep);

#endif
