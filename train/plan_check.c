// What a plan says to a device and to a reader: see plan.h. The arithmetic is plan.c's.
#include "train/plan.h"
#include "train/progress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// Everything that was found not to fit, and whether fewer rows would mend it.
typedef struct {
    char text[440];
    bool fixed; // something that does not depend on the rows
} Misfits;

static void add(Misfits *m, bool fixed, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void add(Misfits *m, bool fixed, const char *format, ...)
{
    size_t length = strlen(m->text);
    if (length) length += (size_t)snprintf(m->text + length, sizeof m->text - length, "; ");
    va_list args;
    va_start(args, format);
    if (length < sizeof m->text) vsnprintf(m->text + length, sizeof m->text - length, format, args);
    va_end(args);
    m->fixed = m->fixed || fixed;
}

// To the byte where it matters (what is a little too large looks equal in larger units).
static const char *amount(char *text, size_t size, uint64_t bytes)
{
    char figure[32];
    snprintf(text, size, "%" PRIu64 " bytes (%s)", bytes,
             progress_memory(figure, sizeof figure, bytes));
    return text;
}

static void check_memory(Misfits *m, const Plan *plan, const GpuInfo *info)
{
    char needed[64], there[64], fixed[32];
    uint64_t parameters =
        plan->bytes[PLAN_WEIGHTS] + plan->bytes[PLAN_GRADIENTS] + plan->bytes[PLAN_MOMENTS];
    if (plan->peak <= info->local_bytes) return;
    add(m, parameters > info->local_bytes,
        "lacks memory: %s needed, of which weights, gradients and moments take %s, %s there",
        amount(needed, sizeof needed, plan->peak), progress_memory(fixed, sizeof fixed, parameters),
        amount(there, sizeof there, info->local_bytes));
}

static void check_tensor(Misfits *m, uint64_t found, PlanRole role, const char *what,
                         uint64_t allowed)
{
    char have[64], most[64];
    if (found <= allowed) return;
    add(m, role <= PLAN_MOMENTS, "%s: a tensor of %s, %s %s", plan_role_name(role),
        amount(have, sizeof have, found), what, amount(most, sizeof most, allowed));
}

static void check_loop(Misfits *m, const Plan *plan, const GpuInfo *info)
{
    if (info->loop_steps && plan->loop >= info->loop_steps)
        add(m, false, "%" PRIu64 " rows are summed, the driver ends loops after %" PRIu32,
            plan->loop, info->loop_steps);
}

bool plan_check(const Plan *plan, const GpuInfo *info, Error *err)
{
    Misfits m = {.text = ""};
    check_memory(&m, plan, info);
    check_tensor(&m, plan->bound, plan->bound_role, "one binding sees", info->binding_bytes);
    check_tensor(&m, plan->largest, plan->largest_role, "one allocation has",
                 info->allocation_bytes);
    check_loop(&m, plan, info);
    if (!m.text[0]) return true;
    return error_set(err, "%s: %s", m.text,
                     m.fixed ? "no batch_size or context is small enough"
                             : "lower batch_size or context");
}

const char *plan_line(char *text, size_t size, const Plan *plan, int role)
{
    char figure[32];
    bool all = role == PLAN_ROLES;
    snprintf(text, size, "%-12s%12s", all ? "peak" : plan_role_name((PlanRole)role),
             progress_memory(figure, sizeof figure, all ? plan->peak : plan->bytes[role]));
    return text;
}
