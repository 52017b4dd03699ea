// A device's ceilings: how fast it copies, multiplies, launches and transfers, measured once by
// kernels that do nothing else, and kept per device and driver in the user's cache folder. What a
// profile divides by. Not a benchmark of strata's own kernels, and not what a data sheet says.
#ifndef STRATA_PROFILE_PEAK_H
#define STRATA_PROFILE_PEAK_H

#include "base/json.h"
#include "gpu/gpu.h"

enum { PEAK_MATRICES = 64 };

typedef struct {
    GpuMatrixShape shape;
    double operations_per_second; // a multiplication and an addition are two; 0: not measured
    double median;
} PeakMatrix;

// What is measured. Of each the best of several runs, as a ceiling is what can be reached, and
// their median, which shows the noise. 0: not measured. An operation is one multiplication or one
// addition; a byte is counted each time that it is read and each time that it is written.
typedef enum {
    PEAK_COPY,         // bytes/s, device memory, buffers far larger than any cache
    PEAK_READ,         // bytes/s, the same, only read
    PEAK_CACHE_COPY,   // bytes/s, buffers that fit caches
    PEAK_CACHE_READ,   // bytes/s
    PEAK_F32,          // operations/s of f32 multiply-adds that wait for nothing
    PEAK_F16,          // operations/s, pairs of f16
    PEAK_INT8_DOT,     // operations/s, dot products of 4 integers of 8 bits added to one of 32
    PEAK_LAUNCH,       // seconds of an empty dispatch that waits for no other
    PEAK_BARRIER,      // seconds of an empty dispatch behind a barrier, launch included
    PEAK_SUBMIT,       // seconds of an empty submission until the host knows of its end
    PEAK_UPLOAD,       // bytes/s of tensor_upload; each byte counts once, as it does below
    PEAK_DOWNLOAD,     // bytes/s of tensor_download
    PEAK_MAPPED_WRITE, // bytes/s, the host into MEMORY_HOST
    PEAK_MAPPED_READ,  // bytes/s, the host from MEMORY_HOST
    PEAK_FIGURES,
} PeakFigure;

typedef struct {
    char device[256], driver[512];
    char identity[64]; // gpu_identity
    char host[256];    // of CPU drivers: what their speed depends on besides; else empty
    double copy_bytes_per_second, read_bytes_per_second;
    double cache_copy_bytes_per_second, cache_read_bytes_per_second;
    double f32_operations_per_second, f16_operations_per_second, int8_dot_operations_per_second;
    double launch_seconds, barrier_seconds, submit_seconds;
    double upload_bytes_per_second, download_bytes_per_second;
    double mapped_write_bytes_per_second, mapped_read_bytes_per_second;
    double median[PEAK_FIGURES];
    char way[PEAK_FIGURES][24];         // by what it was reached where there are several ways
    PeakMatrix matrices[PEAK_MATRICES]; // (matrix_count) those that the device lists
    uint32_t matrix_count;
} Peak;

// A figure's name in JSON, which is the field's in Peak, what it is in words, and its unit: "B/s",
// "op/s" or "s".
typedef struct {
    const char *name, *what, *unit;
} PeakText;
const PeakText *peak_text(PeakFigure figure);
double peak_value(const Peak *peak, PeakFigure figure); // the field of that figure

// Told of the progress: step of steps.
typedef void PeakProgress(void *user, uint32_t step, uint32_t steps);

// Measures: a few seconds in which nothing else should run on the device, nor on the host. Takes up
// to an eighth of the device's memory, 2 GiB at most, which stays with the Gpu for later tensors.
// Not while a tape is being recorded. progress may be NULL.
bool peak_measure(Gpu *gpu, Peak *peak, PeakProgress *progress, void *user, Error *err);

// The file of this device, driver and host in the cache folder. False: there is none, or it is
// damaged or of another measurement; err says which.
bool peak_load(Gpu *gpu, Peak *peak, Error *err);
bool peak_save(Gpu *gpu, const Peak *peak, Error *err);
// Where that file is.
bool peak_path(Gpu *gpu, char *out, size_t size, Error *err);

// What peak_load finds, else what peak_measure does, which is then saved where there is a cache
// folder.
bool peak_get(Gpu *gpu, Peak *peak, Error *err);

// As it stands in the file and in `strata peak --json`; the caller frees. NULL: out of memory.
cJSON *peak_json(const Peak *peak);

#endif
