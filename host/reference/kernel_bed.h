// One kernel by itself: the tensors that its op works on, their values, what they must hold behind
// a run (in double), and how the op is recorded. The table of kernels is kernel_cases.c. Says what
// is wrong with a result, but neither times nor judges.
#ifndef STRATA_REFERENCE_KERNEL_BED_H
#define STRATA_REFERENCE_KERNEL_BED_H

#include "reference/op_cases.h"

enum { BED_TENSORS = 14, CASE_SHAPES = 8 };

// A tensor of the bed. `values` or `words` are what it holds before a run; one with neither begins
// with no numbers (NaN).
typedef struct {
    const char *name;
    Dtype dtype;
    uint32_t rows, cols;
    double *values;  // (rows, cols), such as dtype holds exactly; codes of U8 as 0 to 255
    uint32_t *words; // (rows, cols) of a table, f32 or u32
    uint8_t *blocks; // of a quantised one: `values` as files hold them
    bool borrowed;   // values or words belong to the problem, or to another tensor
    double *want;    // (rows, cols) behind a run; NULL: nobody looks
    double tolerance, relative; // |got - want| <= tolerance + relative |want|
    bool has_sign;              // U8: a sign and 7 bits
    Tensor tensor;
} BedTensor;

// The numbers that a shape is written as, such as "512x768".
typedef enum {
    FORM_ROWS,   // ROWSxCOLS
    FORM_NORM,   // ROWSxCOLS, or ROWSxCOLSxPARTS
    FORM_LOOKUP, // ROWSxOTHERSxCOLS: rows of a table of OTHERS
    FORM_MATRIX, // ROWSxNxK
    FORM_HEADS,  // ROWSxHEADSxSIZE, or ROWSxHEADSxKV_HEADSxSIZE
    FORM_PAGED,  // ROWSxKEYSxHEADSxSIZE, or ROWSxKEYSxHEADSxKV_HEADSxSIZE
    FORMS
} ShapeForm;

typedef struct KernelBed KernelBed;

// How a parameter of the kernel may be stored; a bit each.
enum { TYPES_F32 = 1, TYPES_HALF = 2, TYPES_BLOCKS = 4 };
enum { OUT_D0 = 1, OUT_D1 = 2, OUT_D2 = 4, OUT_Y = 8 };
// Which tensor of an op's it is.
typedef enum { STORED_NONE, STORED_INPUT, STORED_GRADIENT } StoredRole;

// A file of shaders/.
typedef struct {
    const char *file;
    ShapeForm form;
    unsigned types;
    OpShape timed; // where no other shape is asked for
    // A row of OP_CASES whose forward or backward records it; its shapes are the table's.
    const char *op;
    bool backward;
    unsigned outputs; // OUT_: what the kernel writes, of several that the op records
    StoredRole stored;
    uint32_t stored_index;
    char sums; // how many values are summed up: 'r' rows, 'c' cols, 'o' others, 0 a constant number
    // Or, without one:
    void (*make)(KernelBed *bed);   // adds tensors; where bed->failed, it may end at once
    void (*expect)(KernelBed *bed); // fills what is wanted
    void (*record)(const KernelBed *bed, Tape *tape);
    OpShape shapes[CASE_SHAPES]; // up to the first without rows
} KernelCase;

extern const KernelCase KERNEL_CASES[];
extern const uint32_t KERNEL_CASE_COUNT;

// The case of a file of shaders/, or NULL.
const KernelCase *kernel_case(const char *file);
// The shapes at which errors show, up to the first without rows.
const OpShape *kernel_case_shapes(const KernelCase *kase);
// A shape from its text; false, and a message that says the form, where it is none.
bool kernel_shape_read(OpShape *shape, const KernelCase *kase, const char *text, Error *err);
void kernel_shape_write(char *text, size_t size, const KernelCase *kase, const OpShape *shape);
const char *kernel_shape_form(const KernelCase *kase); // "ROWSxCOLS"
// Why the op does not take the shape, with its parameter of that type; NULL where it does.
const char *kernel_shape_refused(const KernelCase *kase, const OpShape *shape, Dtype dtype);
// Whether a kernel's parameter may be of that type, and what it is unless somebody chooses.
// KERNEL_COUNT: any kernel of the file.
bool kernel_type_fits(const KernelCase *kase, Kernel kernel, Dtype dtype);
Dtype kernel_type(const KernelCase *kase, Kernel kernel);
// Multiplications or so that the reference does: some nanoseconds each.
double kernel_case_work(const KernelCase *kase, const OpShape *shape);

struct KernelBed {
    Gpu *gpu;
    const KernelCase *kase;
    Kernel kernel; // of the file; KERNEL_COUNT: whichever
    OpShape shape;
    Dtype dtype;                    // of the parameter
    BedTensor tensors[BED_TENSORS]; // (count)
    uint32_t count;
    Counts *counts;
    Rows rows;
    bool failed; // out of memory
    // Of a row of OP_CASES:
    const OpCase *op;
    OpProblem problem;
    OpRun run;
    uint32_t y, dy, d[OP_INPUTS]; // which of tensors
};

// Makes the tensors, with random values (the same each time). The op must take the shape.
// False: no memory; the bed is closed then.
bool bed_open(KernelBed *bed, Gpu *gpu, const KernelCase *kase, Kernel kernel, const OpShape *shape,
              Dtype dtype, Error *err);
void bed_close(KernelBed *bed);
// Computes what must come out.
bool bed_expect(KernelBed *bed, Error *err);
// Uploads what is there before a run. With it uploaded, the host's copy may be dropped.
bool bed_reset(KernelBed *bed, Error *err);
void bed_drop(KernelBed *bed);
// Records the op once: all of its kernels.
void bed_record(const KernelBed *bed, Tape *tape);

// Where a result is furthest from what it must be, by its tolerance.
typedef struct {
    double share;   // |got - want| / (tolerance + relative |want|): above 1 it is wrong; NaN is
                    // infinite
    double largest; // |got - want| anywhere
    const char *tensor;
    uint32_t row, col;
    double got, want, tolerance, relative;
} BedError;

// What a run left in the tensors that are looked at, (bytes) of all of them one behind the other,
// malloc'ed; NULL and a message on failure.
uint8_t *bed_fetch(const KernelBed *bed, size_t *bytes, Error *err);
// Of what bed_fetch gave, against what bed_expect found.
BedError bed_compare(const KernelBed *bed, const uint8_t *fetched);

// ---- for cases: kernel_cases.c and kernel_own.c ------------------------------------------------

typedef enum { FILL_NONE, FILL_RANDOM, FILL_WORDS } BedFill;
// A tensor; random values in (-1, 1), such as dtype holds. FILL_NONE of one whose values follow.
BedTensor *bed_add(KernelBed *bed, const char *name, Dtype dtype, uint32_t rows, uint32_t cols,
                   BedFill fill);
// (rows, cols) of the tensor, zero; NULL, and the bed has failed, where memory lacks.
double *bed_doubles(KernelBed *bed, const BedTensor *tensor);
// The nearest value that dtype holds (f32, f16, bf16).
double bed_round(Dtype dtype, double value);

#endif
