// The line that shows how a run goes: see progress.h.
#include "train/progress.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// A text with room for PROGRESS_BYTES; what does not fit is cut.
typedef struct {
    char *text;
    size_t length;
} Line;

static void put(Line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put(Line *line, const char *format, ...)
{
    va_list args;
    size_t room = PROGRESS_BYTES - line->length;
    va_start(args, format);
    int length = vsnprintf(line->text + line->length, room, format, args);
    va_end(args);
    if (length < 0) return;
    line->length += (size_t)length < room ? (size_t)length : room - 1;
}

// ---- figures -----------------------------------------------------------------------------------

static double per_second(const StepReport *r, double amount)
{
    return r->seconds > 0 ? amount / r->seconds : 0;
}

const char *progress_speed(char *text, size_t size, double speed)
{
    static const char *const units[] = {"MFLOP/s", "GFLOP/s", "TFLOP/s", "PFLOP/s"};
    size_t unit = 0;
    speed *= 1e-6;
    for (; unit < 3 && speed >= 999.5; unit++) speed *= 1e-3;
    snprintf(text, size, speed < 99.95 ? "%.1f %s" : "%.0f %s", speed, units[unit]);
    return text;
}

const char *progress_memory(char *text, size_t size, uint64_t bytes)
{
    double mib = (double)bytes / (1 << 20);
    bool many = mib >= 9999.5;
    double value = many ? mib / 1024 : mib;
    snprintf(text, size, value < 99.95 ? "%.1f %s" : "%.0f %s", value, many ? "GiB" : "MiB");
    return text;
}

static void put_time(Line *line, const StepReport *r)
{
    double seconds = r->elapsed / (double)r->done_here * (double)(r->steps - r->step);
    uint64_t s = (uint64_t)(seconds + 0.5);
    if (s >= 3600)
        put(line, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, s / 3600, s / 60 % 60, s % 60);
    else
        put(line, "%" PRIu64 ":%02" PRIu64, s / 60, s % 60);
}

// An exit that rested in this step has no loss.
static void put_loss(Line *line, double loss)
{
    if (isnan(loss))
        put(line, "-");
    else
        put(line, "%.3f", loss);
}

// ---- lines -------------------------------------------------------------------------------------

void progress_line(char *text, const StepReport *r)
{
    Line line = {.text = text};
    char speed[32], memory[32];
    put(&line, "step %" PRIu64 "/%" PRIu64 "  left ", r->step, r->steps);
    put_time(&line, r);
    put(&line, "  loss %.4f (", r->loss);
    for (uint32_t e = 0; e < r->exit_count; e++) {
        put(&line, "%s%" PRIu32 ": ", e ? "  " : "", r->exits[e]);
        put_loss(&line, r->losses[e]);
    }
    put(&line, ")  norm %.3f  rate %.2e  %.0f tokens/s  %s  %s", r->norm, r->rate,
        per_second(r, (double)r->tokens),
        progress_speed(speed, sizeof speed, per_second(r, r->operations)),
        progress_memory(memory, sizeof memory, r->memory_bytes));
    if (r->skipped_in_all)
        put(&line, "  %s%" PRIu64 " skipped", r->skipped ? "SKIPPED, " : "", r->skipped_in_all);
}

// What a bar may leave out, the least important first. Beside them it has the steps and a loss:
// that of each exit or, where those are too many, their mean.
typedef enum { BAR, MEAN, MEMORY, SPEED, RATE, NORM, TOKENS, EXITS, LEFT, PARTS } Part;

static void put_bar(Line *line, const StepReport *r)
{
    enum { WIDTH = 20 };
    uint64_t full = r->step * WIDTH / r->steps;
    put(line, "[");
    for (uint64_t i = 0; i < WIDTH; i++) put(line, i < full ? "#" : ".");
    put(line, "] ");
}

static void put_losses(Line *line, const StepReport *r, Part least)
{
    bool exits = EXITS >= least && r->exit_count > 1;
    put(line, "  loss");
    if (MEAN >= least || !exits) put(line, " %.3f", r->loss);
    if (MEAN >= least && exits) put(line, " =");
    for (uint32_t e = 0; exits && e < r->exit_count; e++) {
        put(line, " %" PRIu32 ":", r->exits[e]);
        put_loss(line, r->losses[e]);
    }
}

// The bar with the parts from `least` on; returns its columns.
static size_t compose(char *text, const StepReport *r, Part least)
{
    Line line = {.text = text};
    char figure[32];
    if (BAR >= least) put_bar(&line, r);
    put(&line, "%" PRIu64 "/%" PRIu64, r->step, r->steps);
    put_losses(&line, r, least);
    if (NORM >= least) put(&line, "  norm %.2f", r->norm);
    if (RATE >= least) put(&line, "  rate %.1e", r->rate);
    if (TOKENS >= least) put(&line, "  %.0f tok/s", per_second(r, (double)r->tokens));
    if (SPEED >= least)
        put(&line, "  %s", progress_speed(figure, sizeof figure, per_second(r, r->operations)));
    if (MEMORY >= least)
        put(&line, "  %s", progress_memory(figure, sizeof figure, r->memory_bytes));
    if (LEFT >= least) {
        put(&line, "  left ");
        put_time(&line, r);
    }
    return line.length;
}

void progress_bar(char *text, const StepReport *r, unsigned width)
{
    Part least = BAR;
    while (compose(text, r, least) > width && least < PARTS) least++;
    if (strlen(text) > width) text[width] = 0;
}
