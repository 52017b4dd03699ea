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
