/* The MIG mode of a GPU, and the MIG devices that its compute instances are. */
#include "emulator.h"

NVML_API nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned *current,
                                           unsigned *pending)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(current && pending, NVML_ERROR_INVALID_ARGUMENT);
    *current = target.gpu->mig_current;
    *pending = target.gpu->mig_pending;
    return NVML_SUCCESS;
}

static bool is_busy(const struct target *target)
{
    struct process found[MAX_PROCESSES];
    for (unsigned slot = 0; slot < MAX_GPU_INSTANCES; slot++)
        if (target->gpu->instances[slot].serial)
            return true;
    return processes_of(target, found) > 0;
}

/* Before Hopper, switching resets the board: handles are dead, and the mode outlives a reboot.
 *
 * The mode always becomes pending. Whether it took effect is the second answer, *activation. */
NVML_API nvmlReturn_t nvmlDeviceSetMigMode(nvmlDevice_t device, unsigned mode,
                                           nvmlReturn_t *activation)
{
    OPEN_SESSION(true);
    struct target target;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(activation && mode <= NVML_DEVICE_MIG_ENABLE, NVML_ERROR_INVALID_ARGUMENT);
    target.gpu->mig_pending = (uint8_t)mode;
    *activation = NVML_SUCCESS;
    if (target.gpu->mig_current != mode) {
        if (is_busy(&target))
            *activation = NVML_ERROR_IN_USE;
        else if (target.board->reset_for_mig && is_injected("no-reset"))
            *activation = NVML_ERROR_RESET_REQUIRED;
        else {
            target.gpu->mig_current = (uint8_t)mode;
            if (target.board->reset_for_mig)
                reset_gpu(&s, target.index);
            remember_modes(s.machine);
        }
    }
    session_commit(&s);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned *count)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(count, NVML_ERROR_INVALID_ARGUMENT);
    *count = target.gpu->mig_current ? target.board->profiles[0].limit : 0;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned index,
                                                          nvmlDevice_t *mig)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(mig, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(target.gpu->mig_current, NVML_ERROR_NOT_SUPPORTED);
    REQUIRE(index < target.board->profiles[0].limit, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(target_find_mig_device(&target, index), NVML_ERROR_NOT_FOUND);
    *mig = handle_of(HANDLE_MIG, &target);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t device, unsigned *answer)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve_device(&s, device, &target));
    REQUIRE(answer, NVML_ERROR_INVALID_ARGUMENT);
    *answer = target.compute != NULL;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvmlDevice_t mig,
                                                                   nvmlDevice_t *device)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, mig, HANDLE_MIG, &target));
    REQUIRE(device, NVML_ERROR_INVALID_ARGUMENT);
    target = target_of_gpu(&s, target.index);
    *device = handle_of(HANDLE_GPU, &target);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t mig, unsigned *id)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, mig, HANDLE_MIG, &target));
    REQUIRE(id, NVML_ERROR_INVALID_ARGUMENT);
    *id = target.instance_id;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetComputeInstanceId(nvmlDevice_t mig, unsigned *id)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, mig, HANDLE_MIG, &target));
    REQUIRE(id, NVML_ERROR_INVALID_ARGUMENT);
    *id = target.compute_id;
    return NVML_SUCCESS;
}
