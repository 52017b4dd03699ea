// The steps of a training run on stderr: see cli_training.h.
#include "cli_training.h"
#include "train/progress.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

TrainingDisplay training_display(double between)
{
    return (TrainingDisplay){.terminal = isatty(STDERR_FILENO), .between = between};
}

// Columns of the terminal; 80 where it does not say.
static unsigned terminal_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || !size.ws_col ? 80 : size.ws_col;
}

static void show_bar(const StepReport *report)
{
    char line[PROGRESS_BYTES];
    progress_bar(line, report, terminal_width());
    // Not wrapped: the terminal may have become narrower.
    fprintf(stderr, "\r\033[K\033[?7l%s\033[?7h", line);
    if (report->step >= report->steps) fputc('\n', stderr);
}

static void show_line(TrainingDisplay *display, const StepReport *report)
{
    char line[PROGRESS_BYTES];
    bool between = report->done_here > 1 && report->step < report->steps;
    if (between && report->elapsed - display->printed < display->between) return;
    display->printed = report->elapsed;
    progress_line(line, report);
    fprintf(stderr, "%s\n", line);
}

void training_show(TrainingDisplay *display, const StepReport *report)
{
    if (display->terminal)
        show_bar(report);
    else
        show_line(display, report);
}

void training_note(void *user, const char *line)
{
    (void)user;
    fprintf(stderr, "%s\n", line);
}
