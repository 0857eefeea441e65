/* The library itself: initialisation, error texts, versions, and what tests inject.
 *
 * The driver's version names the emulation, so that nothing measured here can pass for a real GPU.
 *
 * Injection: the file `<state>.inject`, when it is there, holds one directive a line:
 *   process <gpu> <gpu instance> <compute instance> <pid> <bytes>   while that process lives
 *   die-before-commit                 the next change kills its process before it takes effect
 *   no-reset                          boards cannot be reset (a guest's pass-through GPU), so that a
 *                                     MIG mode which needs a reset stays pending
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emulator.h"

static const char DRIVER_VERSION[] = "550.163.01-emulated";
static const char NVML_VERSION[] = "12.550.163.01-emulated";
enum { CUDA_VERSION = 12040 };

static atomic_int references;

bool is_initialized(void)
{
    return atomic_load(&references) > 0;
}

NVML_API nvmlReturn_t nvmlInitWithFlags(unsigned flags)
{
    (void)flags; /* they say how to treat GPUs that fail to attach; these never do */
    TRY(state_prepare());
    atomic_fetch_add(&references, 1);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlInit_v2(void)
{
    return nvmlInitWithFlags(0);
}

NVML_API nvmlReturn_t nvmlShutdown(void)
{
    int held = atomic_load(&references);
    do {
        REQUIRE(held > 0, NVML_ERROR_UNINITIALIZED);
    } while (!atomic_compare_exchange_weak(&references, &held, held - 1));
    return NVML_SUCCESS;
}

NVML_API const char *nvmlErrorString(nvmlReturn_t result)
{
    switch (result) {
    case NVML_SUCCESS: return "Success";
    case NVML_ERROR_UNINITIALIZED: return "Uninitialized";
    case NVML_ERROR_INVALID_ARGUMENT: return "Invalid Argument";
    case NVML_ERROR_NOT_SUPPORTED: return "Not Supported";
    case NVML_ERROR_NO_PERMISSION: return "Insufficient Permissions";
    case NVML_ERROR_NOT_FOUND: return "Not Found";
    case NVML_ERROR_INSUFFICIENT_SIZE: return "Insufficient Size";
    case NVML_ERROR_DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case NVML_ERROR_RESET_REQUIRED: return "GPU requires reset";
    case NVML_ERROR_OPERATING_SYSTEM: return "Operating System Error";
    case NVML_ERROR_LIB_RM_VERSION_MISMATCH: return "Driver/library version mismatch";
    case NVML_ERROR_IN_USE: return "In use by another client";
    case NVML_ERROR_INSUFFICIENT_RESOURCES: return "Insufficient Resources";
    case NVML_ERROR_ARGUMENT_VERSION_MISMATCH: return "Argument version mismatch";
    }
    return "Unknown Error";
}

NVML_API nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned length)
{
    REQUIRE(is_initialized(), NVML_ERROR_UNINITIALIZED);
    return copy_text(version, length, DRIVER_VERSION);
}

NVML_API nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned length)
{
    return copy_text(version, length, NVML_VERSION);
}

NVML_API nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version)
{
    REQUIRE(version, NVML_ERROR_INVALID_ARGUMENT);
    *version = CUDA_VERSION;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version)
{
    return nvmlSystemGetCudaDriverVersion(version);
}

/* ---- injection ---- */

static FILE *open_injection(void)
{
    const char *state = getenv("AINOS_NVML_STATE");
    char path[4096];
    int length = snprintf(path, sizeof path, "%s.inject", state ? state : "/run/nvml-emulator/state");
    return length < (int)sizeof path ? fopen(path, "re") : NULL;
}

bool is_injected(const char *word)
{
    FILE *file = open_injection();
    char line[256];
    bool found = false;
    while (file && !found && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        found = strcmp(line, word) == 0;
    }
    if (file)
        fclose(file);
    return found;
}

static bool is_on(const struct process *process, const struct target *target)
{
    return process->gpu == target->index &&
           (!target->instance || process->instance == target->instance_id) &&
           (!target->compute || process->compute == target->compute_id) &&
           (kill((int)process->pid, 0) == 0 || errno != ESRCH);
}

unsigned processes_of(const struct target *target, struct process found[MAX_PROCESSES])
{
    FILE *file = open_injection();
    char line[256];
    unsigned count = 0;
    while (file && count < MAX_PROCESSES && fgets(line, sizeof line, file)) {
        struct process *process = &found[count];
        if (sscanf(line, "process %u %u %u %u %llu", &process->gpu, &process->instance,
                   &process->compute, &process->pid, &process->bytes) == 5 &&
            is_on(process, target))
            count++;
    }
    if (file)
        fclose(file);
    return count;
}
