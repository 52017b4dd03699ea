// Profiles made by hand: see profiles.h.
#include "support/profiles.h"
#include "../../shaders/args.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

HandProfile *hand_open(void)
{
    HandProfile *hand = calloc(1, sizeof *hand);
    assert_non_null(hand);
    snprintf(hand->device.name, sizeof hand->device.name, "device");
    snprintf(hand->device.driver, sizeof hand->device.driver, "driver");
    hand->record = (ProfileRecord){.title = "title",
                                   .device = &hand->device,
                                   .steps = hand->steps,
                                   .data = {.events = hand->events,
                                            .submissions = hand->submissions,
                                            .runs = hand->runs,
                                            .transfers = hand->transfers,
                                            .timestamps = true,
                                            .calibrated = true}};
    return hand;
}

static Command *add_command(HandProfile *hand, CommandKind kind, const char *tape, uint32_t rows,
                            uint32_t cols)
{
    assert_true(hand->command_count < HAND_COMMANDS);
    Command *command = &hand->commands[hand->command_count++];
    command->kind = kind;
    snprintf(command->tape, sizeof command->tape, "%s", tape);
    command->dispatch.args = command->args;
    command->dispatch.tensors[0] = (Tensor){.rows = rows, .cols = cols};
    return command;
}

const Command *hand_dispatch(HandProfile *hand, Kernel kernel, const char *tape, uint32_t rows,
                             uint32_t cols)
{
    Command *command = add_command(hand, COMMAND_DISPATCH, tape, rows, cols);
    RmsnormArgs norm = {.rows = {.max = rows}, .cols = cols, .parts = 1};
    ElementArgs elements = {.rows = {.max = rows}, .cols = cols};
    bool is_norm = kernel == K_rmsnorm;
    assert_true(is_norm || kernel == K_add);
    command->dispatch.args_bytes = is_norm ? sizeof norm : sizeof elements;
    memcpy(command->args, is_norm ? (const void *)&norm : &elements, command->dispatch.args_bytes);
    command->dispatch.kernel = kernel;
    return command;
}

const Command *hand_move(HandProfile *hand, CommandKind kind, const char *tape, uint32_t rows,
                         uint32_t cols)
{
    Command *command = add_command(hand, kind, tape, rows, cols);
    command->dispatch.tensors[1] = command->dispatch.tensors[0];
    return command;
}

void hand_step(HandProfile *hand, double begin, double end)
{
    assert_true(hand->record.step_count < HAND_STEPS);
    hand->steps[hand->record.step_count++] = (ProfileStep){begin, end, NAN, 0};
}

void hand_run(HandProfile *hand, double begin, double end)
{
    Profile *p = &hand->record.data;
    assert_true(p->run_count < HAND_RUNS);
    hand->runs[p->run_count] = (ProfileRun){.begin = begin, .end = end};
    hand->submissions[p->submission_count++] = (ProfileSubmission){
        .sent = begin, .done = end, .run = (uint32_t)p->run_count, .first = p->event_count};
    p->run_count++;
}

ProfileEvent *hand_event(HandProfile *hand, const Command *command, double begin, double end,
                         double bytes, double operations)
{
    Profile *p = &hand->record.data;
    assert_true(p->event_count < HAND_EVENTS);
    ProfileEvent *event = &hand->events[p->event_count++];
    *event = (ProfileEvent){.command = command,
                            .phase = "",
                            .submission = (uint32_t)p->submission_count - 1,
                            .begin = begin,
                            .end = end,
                            .cost = {bytes, operations}};
    if (p->submission_count) hand->submissions[p->submission_count - 1].count++;
    return event;
}

void hand_transfer(HandProfile *hand, bool upload, double begin, double end, uint64_t bytes)
{
    Profile *p = &hand->record.data;
    assert_true(p->transfer_count < HAND_TRANSFERS);
    hand->transfers[p->transfer_count++] = (ProfileTransfer){upload, begin, end, bytes};
}

HandProfile *hand_sums(void)
{
    HandProfile *hand = hand_open();
    const Command *norm0 = hand_dispatch(hand, K_rmsnorm, "forward 0", 4, 8);
    const Command *norm1 = hand_dispatch(hand, K_rmsnorm, "forward 1", 3, 8);
    const Command *add0 = hand_dispatch(hand, K_add, "forward 0", 4, 8);
    const Command *exit4 = hand_dispatch(hand, K_add, "exit 4", 4, 8);
    const Command *fill = hand_move(hand, COMMAND_FILL, "backward 1", 4, 8);
    const Command *copy = hand_move(hand, COMMAND_COPY, "update", 4, 8);
    hand_step(hand, 0, 100);
    hand_step(hand, 100, 150);
    hand_run(hand, 10, 60);
    hand_event(hand, norm0, 15, 25, 100, 40);
    hand_event(hand, add0, 25, 45, 1000, 50);
    hand_event(hand, fill, 45, 50, 128, 0);
    hand_transfer(hand, true, 70, 75, 4096);
    hand_run(hand, 110, 140);
    hand_event(hand, norm1, 112, 120, 80, 140);
    hand_event(hand, copy, 120, 121, 256, 0);
    hand_run(hand, 155, 158);
    hand_event(hand, exit4, 156, 157, 10, 5)->phase = "draft";
    hand->record.end = 160;
    return hand;
}

ProfileSummary hand_summary(const HandProfile *hand, const Ceilings *ceilings)
{
    Error err;
    ProfileSummary s;
    if (!summary_make(&s, &hand->record, ceilings, &err)) fail_msg("%s", err.text);
    return s;
}
