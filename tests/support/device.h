// The device and the folder that tests above the ops share: one Gpu for a program, one new folder
// for each test, the model of a folder. Fails the running cmocka test itself.
#ifndef STRATA_TESTS_SUPPORT_DEVICE_H
#define STRATA_TESTS_SUPPORT_DEVICE_H

#include "model/llama.h"
#include "support/files.h"

extern Gpu *device;         // between device_open and device_close
extern TestPath own_folder; // of the running test

// Setup and teardown of the group, and of a test.
int device_open(void **state);
int device_close(void **state);
int own_folder_make(void **state);
int own_folder_remove(void **state);

// A test with a folder of its own.
#define TEST(f) cmocka_unit_test_setup_teardown(f, own_folder_make, own_folder_remove)

// The last test of a program: the validation layer found nothing in all that ran before.
void no_validation_messages(void **state);

// The model of a folder.
Llama load_model(const char *folder);
// The values of a tensor, malloc'ed.
float *download(Tensor tensor);

#endif
