// The device and the folder that tests share: see device.h.
#include "support/device.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

Gpu *device;

int device_open(void **state)
{
    (void)state;
    Error err;
    device = gpu_open(NULL, &err);
    if (!device) print_error("%s\n", err.text);
    return device ? 0 : -1;
}

int device_close(void **state)
{
    (void)state;
    gpu_close(device);
    return 0;
}

void no_validation_messages(void **state)
{
    (void)state;
    assert_int_equal(gpu_validation_messages(), 0);
}

Llama load_model(const char *folder)
{
    Llama model;
    Error err;
    if (!llama_load(&model, device, folder, &err)) fail_msg("%s", err.text);
    return model;
}

float *download(Tensor tensor)
{
    Error err;
    float *values = malloc(tensor_bytes(tensor));
    assert_non_null(values);
    if (!tensor_download(device, tensor, values, &err)) fail_msg("%s", err.text);
    return values;
}
