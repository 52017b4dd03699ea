// The device that tests above the ops share, one Gpu for a program, and the model of a folder.
// Fails the running cmocka test itself.
#ifndef STRATA_TESTS_SUPPORT_DEVICE_H
#define STRATA_TESTS_SUPPORT_DEVICE_H

#include "model/llama.h"
#include "support/files.h"

extern Gpu *device; // between device_open and device_close

// Setup and teardown of the group.
int device_open(void **state);
int device_close(void **state);

// The last test of a program: the validation layer found nothing in all that ran before.
void no_validation_messages(void **state);

// The model of a folder.
Llama load_model(const char *folder);
// The values of a tensor, malloc'ed.
float *download(Tensor tensor);

#endif
