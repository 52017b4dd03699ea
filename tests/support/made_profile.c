// Profiles made up by hand: see made_profile.h.
#include "support/made_profile.h"
#include "base/random.h"
#include "shaders/args.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 256, WIDTH = 288, HEAD = 48, HIDDEN = 768, VOCABULARY = 512 };

// A kernel of a tape, and its tensors: (rows, a) and (b, a).
typedef struct {
    Kernel kernel;
    uint32_t a, b;
} Shape;

static const Shape FORWARD[] = {
    {K_rmsnorm, WIDTH, 0}, {K_matmul, WIDTH, WIDTH},  {K_matmul, WIDTH, WIDTH},
    {K_rope, WIDTH, 0},    {K_attention, WIDTH, 64},  {K_matmul, WIDTH, WIDTH},
    {K_add, WIDTH, 0},     {K_rmsnorm, WIDTH, 0},     {K_matmul, WIDTH, HIDDEN},
    {K_swiglu, HIDDEN, 0}, {K_matmul, HIDDEN, WIDTH}, {K_add, WIDTH, 0},
};
static const Shape BACKWARD[] = {
    {K_matmul_dx, WIDTH, HIDDEN},    {K_matmul_dw, WIDTH, HIDDEN},     {K_swiglu_back, HIDDEN, 0},
    {K_attention_back_q, WIDTH, 96}, {K_attention_back_kv, WIDTH, 96}, {K_matmul_dx, WIDTH, WIDTH},
    {K_matmul_dw, WIDTH, WIDTH},     {K_rmsnorm_back, WIDTH, 0},
};
static const Shape EXIT[] = {
    {K_gather, WIDTH, 0},
    {K_rmsnorm, WIDTH, 0},
    {K_matmul, WIDTH, VOCABULARY},
    {K_cross_entropy, VOCABULARY, 0},
};
static const Shape EMBED[] = {{K_embed, WIDTH, 0}};
static const Shape UPDATE[] = {{K_sum_squares, 40000, 0}, {K_clip, 16, 0}, {K_adamw, 40000, 0}};

#define COUNT(shapes) (sizeof(shapes) / sizeof *(shapes))

typedef struct {
    MadeProfile *made;
    const MadeOptions *options;
    Random random;
    double now; // of the GPU
    uint32_t submission;
    size_t at; // the next command of a step
} Maker;

// ---- recording ---------------------------------------------------------------------------------

// Tensors and counts of a profile are never looked into.
static void *nothing(void)
{
    static char somewhere;
    return &somewhere;
}

static Tensor tensor(uint32_t rows, uint32_t cols)
{
    return (Tensor){.span = nothing(), .rows = rows, .cols = cols};
}

static Command *record(Maker *m, CommandKind kind, const char *tape)
{
    Command *own = &m->made->commands[m->made->command_count++];
    *own = (Command){.kind = kind};
    snprintf(own->tape, sizeof own->tape, "%s", tape);
    return own;
}

// Push constants and constants as far as cost_shape looks at them, of the size that it expects.
static void give_args(Command *own, const Shape *shape)
{
    bool product = shape->b > 96, attention = shape->b && !product;
    bool norm = shape->kernel == K_rmsnorm || shape->kernel == K_rmsnorm_back;
    bool values = shape->kernel == K_sum_squares || shape->kernel == K_adamw;
    uint32_t third = product ? shape->b : attention ? WIDTH / HEAD : shape->a;
    uint32_t fourth = product ? shape->a : attention ? WIDTH / HEAD : 1;
    const uint32_t words[GPU_ARGS_BYTES / 4] = {values ? shape->a * ROWS : 0, 0, ROWS, third,
                                                fourth};
    memcpy(own->args, words, sizeof words);
    own->dispatch.args = own->args;
    own->dispatch.args_bytes = product                   ? sizeof(MatmulArgs)
                               : attention               ? sizeof(AttentionArgs)
                               : norm                    ? sizeof(RmsnormArgs)
                               : shape->kernel == K_rope ? sizeof(RopeArgs)
                                                         : sizeof(ElementArgs);
    own->dispatch.constants[2] = HEAD;
}

static void record_tape(Maker *m, const char *tape, const Shape *shapes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        Command *own = record(m, COMMAND_DISPATCH, tape);
        own->dispatch.kernel = shapes[i].kernel;
        own->dispatch.tensors[0] = tensor(ROWS, shapes[i].a);
        if (shapes[i].b) own->dispatch.tensors[1] = tensor(shapes[i].b, shapes[i].a);
        if (shapes[i].b) own->dispatch.tensors[2] = tensor(ROWS, shapes[i].b);
        give_args(own, &shapes[i]);
        own->dispatch.grid =
            (Grid){.x = shapes[i].a / 4, .rows = {.counts = nothing()}, .tile = 32, .axis = 1};
    }
}

static void record_all(Maker *m)
{
    char label[64];
    record_tape(m, "embed", EMBED, COUNT(EMBED));
    for (uint32_t b = 0; b < m->options->blocks; b++) {
        snprintf(label, sizeof label, "forward %u", b);
        record_tape(m, label, FORWARD, COUNT(FORWARD));
    }
    snprintf(label, sizeof label, "exit %u", m->options->blocks);
    record_tape(m, label, EXIT, COUNT(EXIT));
    for (uint32_t b = m->options->blocks; b-- > 0;) {
        snprintf(label, sizeof label, "backward %u", b);
        record_tape(m, label, BACKWARD, COUNT(BACKWARD));
    }
    if (m->options->extra) {
        record(m, COMMAND_FILL, m->options->extra)->dispatch.tensors[0] = tensor(ROWS, WIDTH);
        record(m, COMMAND_COPY, m->options->extra)->dispatch.tensors[0] = tensor(ROWS, WIDTH);
    }
    record_tape(m, "optimizer", UPDATE, COUNT(UPDATE));
}

// ---- running -----------------------------------------------------------------------------------

static Cost cost_of(const Maker *m, const Command *command)
{
    Tensor x = command->dispatch.tensors[0], w = command->dispatch.tensors[1];
    double values = (double)x.rows * x.cols;
    if (m->options->no_costs) return (Cost){0};
    return (Cost){4 * (2 * values + (double)w.rows * w.cols),
                  w.span ? 2 * values * w.rows : 4 * values};
}

// One event for the command: 20 GFLOP/s or 8 GB/s, whichever takes longer, within a third.
static void play(Maker *m, const Command *command)
{
    size_t number = m->made->record.data.event_count++;
    Cost cost = cost_of(m, command);
    double seconds = 8e-6 + fmax(cost.operations / 20e9, cost.bytes / 8e9);
    seconds *= 0.8 + 0.4 * random_uniform(&m->random);
    double begin = m->now;
    if (!m->options->disorder || number % 5) m->now += seconds;
    if (m->options->disorder && number % 7 == 6) begin -= 3e-6;
    m->made->events[number] = (ProfileEvent){
        .command = command,
        .phase = command->dispatch.kernel == K_adamw ? "optimizer" : "",
        .rows = command->kind == COMMAND_DISPATCH ? ROWS : 0,
        .submission = m->submission,
        .begin = begin,
        .end = m->now,
        .cost = cost,
    };
}

// A submission of the next commands, sent at `sent`; the GPU begins when it is free.
static void submit(Maker *m, double sent, size_t count, uint32_t run)
{
    MadeProfile *made = m->made;
    m->submission = (uint32_t)made->record.data.submission_count++;
    ProfileSubmission *own = &made->submissions[m->submission];
    *own = (ProfileSubmission){
        .sent = sent, .run = run, .first = made->record.data.event_count, .count = count};
    m->now = fmax(m->now, sent + 20e-6);
    if (m->options->disorder && m->submission % 3 == 2) m->now = sent - 2e-6;
    for (size_t i = 0; i < count; i++) play(m, &made->commands[m->at++]);
    own->done = m->now + 15e-6;
}

// A call of gpu_run in up to two submissions.
static double run(Maker *m, double begin, size_t count)
{
    MadeProfile *made = m->made;
    uint32_t number = (uint32_t)made->record.data.run_count++;
    if (count > 8) {
        submit(m, begin + 10e-6, count / 2, number);
        submit(m, begin + 30e-6, count - count / 2, number);
    } else {
        submit(m, begin + 10e-6, count, number);
    }
    made->runs[number] = (ProfileRun){begin, m->now + 20e-6, (3u + number % 5) << 20};
    return m->now + 20e-6;
}

static double transfer(Maker *m, bool upload, double begin)
{
    ProfileTransfer *own = &m->made->transfers[m->made->record.data.transfer_count++];
    *own = (ProfileTransfer){upload, begin, begin + 40e-6, upload ? 4096 : 1024};
    return own->end;
}

static double step(Maker *m, uint32_t number, double begin)
{
    MadeProfile *made = m->made;
    m->at = 0;
    double now = transfer(m, true, begin + 5e-6);
    now = run(m, now + 30e-6, made->command_count - COUNT(UPDATE));
    now = run(m, now + 50e-6, COUNT(UPDATE));
    now = transfer(m, false, now + 10e-6);
    made->steps[number] =
        (ProfileStep){begin, now + 5e-6, number == 1 ? NAN : 4.0 / (1 + 0.2 * number), ROWS};
    return now + 5e-6;
}

static void *array(size_t count, size_t size)
{
    void *out = calloc(count ? count : 1, size);
    if (!out) abort();
    return out;
}

MadeProfile *made_profile(const MadeOptions *options)
{
    size_t steps = options->steps;
    MadeProfile *made = array(1, sizeof *made);
    Maker m = {.made = made, .options = options, .random = random_seed(1)};
    made->commands = array(16 + 20 * (size_t)options->blocks, sizeof *made->commands);
    record_all(&m);
    made->events = array(steps * made->command_count, sizeof *made->events);
    made->submissions = array(3 * steps, sizeof *made->submissions);
    made->runs = array(2 * steps, sizeof *made->runs);
    made->transfers = array(2 * steps, sizeof *made->transfers);
    made->steps = array(steps, sizeof *made->steps);
    double begin = 1000, now = begin + 100e-6;
    for (uint32_t i = 0; i < options->steps; i++) now = step(&m, i, now) + 20e-6;
    made->device = (GpuInfo){.kind = "other", .subgroup_size = 8};
    snprintf(made->device.name, sizeof made->device.name, "%s", options->device);
    snprintf(made->device.driver, sizeof made->device.driver, "%s", options->driver);
    made->record.title = options->title;
    made->record.device = &made->device;
    made->record.steps = made->steps;
    made->record.step_count = steps;
    made->record.begin = begin;
    made->record.end = now;
    Profile *data = &made->record.data;
    data->events = made->events;
    data->submissions = made->submissions;
    data->runs = made->runs;
    data->transfers = made->transfers;
    data->began = begin;
    data->timestamps = true;
    data->clock_error = 2e-6;
    return made;
}

void made_profile_free(MadeProfile *made)
{
    free(made->commands);
    free(made->events);
    free(made->submissions);
    free(made->runs);
    free(made->transfers);
    free(made->steps);
    free(made);
}
