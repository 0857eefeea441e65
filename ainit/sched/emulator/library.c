/* The library itself: initialisation, error texts, versions.
 *
 * The driver's version names the emulation, so that nothing measured here can pass for a real GPU.
 */
#include <stdatomic.h>
#include <string.h>

#include "emulator.h"

static const char DRIVER_VERSION[] = "550.163.01-emulated";
static const char NVML_VERSION[] = "12.550.163.01-emulated";
enum { CUDA_VERSION = 12040 };

static atomic_int references;
static atomic_uint reloads;

uint32_t reloads_at_start(void)
{
    return atomic_load(&reloads);
}

bool is_initialized(void)
{
    return atomic_load(&references) > 0;
}

NVML_API nvmlReturn_t nvmlInitWithFlags(unsigned flags)
{
    (void)flags; /* they say how to treat GPUs that fail to attach; these never do */
    uint32_t loaded = 0;
    TRY(state_prepare(&loaded));
    if (atomic_fetch_add(&references, 1) == 0)
        atomic_store(&reloads, loaded);
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
    case NVML_ERROR_TIMEOUT: return "Timeout";
    case NVML_ERROR_GPU_IS_LOST: return "GPU is lost";
    case NVML_ERROR_RESET_REQUIRED: return "GPU requires reset";
    case NVML_ERROR_OPERATING_SYSTEM: return "Operating System Error";
    case NVML_ERROR_LIB_RM_VERSION_MISMATCH: return "Driver/library version mismatch";
    case NVML_ERROR_IN_USE: return "In use by another client";
    case NVML_ERROR_INSUFFICIENT_RESOURCES: return "Insufficient Resources";
    case NVML_ERROR_ARGUMENT_VERSION_MISMATCH: return "Argument version mismatch";
    case NVML_ERROR_UNKNOWN: break;
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
