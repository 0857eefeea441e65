/* GPU instances: creation, destruction and listing. What a board offers is in profile.c. */
#include <string.h>

#include "emulator.h"

/* ---- creation and destruction ---- */

/* Another free place, of this profile or of any: what a driver makes that was not asked for. */
static void mislead(const struct target *target, enum fault fault, unsigned *profile, unsigned *start)
{
    unsigned mask = occupied_slices(target), asked = *profile, place = *start;
    for (unsigned index = 0; index < target->board->profile_count; index++) {
        const struct profile *other = &target->board->profiles[index];
        if (fault == FAULT_ELSEWHERE && index != asked)
            continue;
        for (unsigned i = other->start_count; i > 0; i--)
            if (!(mask & mask_of(other, other->starts[i - 1])) &&
                (index != asked || other->starts[i - 1] != place)) {
                *profile = index;
                *start = other->starts[i - 1];
                return;
            }
    }
}

static nvmlReturn_t create(struct session *session, struct target *target, unsigned profile,
                           unsigned start, nvmlGpuInstance_t *out)
{
    enum fault fault = take_fault(session, "create-gpu-instance");
    TRY(fault_before(session, target, fault, NVML_ERROR_INSUFFICIENT_RESOURCES));
    if (fault == FAULT_NOTHING) { /* there is no instance to give a handle of */
        session_commit(session);
        return NVML_ERROR_UNKNOWN;
    }
    if (fault == FAULT_ELSEWHERE || fault == FAULT_OTHER)
        mislead(target, fault, &profile, &start);
    for (unsigned slot = 0; slot < MAX_GPU_INSTANCES; slot++) {
        struct gpu_instance *instance = &target->gpu->instances[slot];
        if (instance->serial)
            continue;
        *instance = (struct gpu_instance){.serial = ++session->machine->last_serial,
                                          .profile = (uint8_t)profile,
                                          .start = (uint8_t)start};
        target_enter_instance(target, slot);
        *out = handle_of(HANDLE_GPU_INSTANCE, target);
        session_commit(session);
        return fault_after(fault);
    }
    return NVML_ERROR_INSUFFICIENT_RESOURCES;
}

static nvmlReturn_t begin_creation(struct session *session, nvmlDevice_t device, unsigned id,
                                   const void *out, struct target *target, unsigned *index)
{
    TRY(resolve(session, device, HANDLE_GPU, target));
    REQUIRE(out, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(target->gpu->mig_current, NVML_ERROR_NOT_SUPPORTED);
    TRY(gpu_profile_by_id(target, id, index));
    REQUIRE(live_count(target, *index) < target->board->profiles[*index].limit,
            NVML_ERROR_INSUFFICIENT_RESOURCES);
    return NVML_SUCCESS;
}

static nvmlReturn_t create_there(nvmlDevice_t device, unsigned id, const nvmlPlacement_t *placement,
                                 nvmlGpuInstance_t *instance)
{
    OPEN_SESSION(true);
    struct target target;
    unsigned index;
    TRY(begin_creation(&s, device, id, instance, &target, &index));
    const struct profile *profile = &target.board->profiles[index];
    REQUIRE(placement && placement->size == profile->memory && placement->start < MAX_STARTS &&
                memchr(profile->starts, (int)placement->start, profile->start_count),
            NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(!(occupied_slices(&target) & mask_of(profile, placement->start)),
            NVML_ERROR_INSUFFICIENT_RESOURCES);
    return create(&s, &target, index, placement->start, instance);
}

/* The driver takes the highest free placement, whatever that spoils: 1g, 1g, 2g, 3g in this order
 * fails where 3g, 1g, 2g, 1g works, as the vendor's guide shows.
 */
static nvmlReturn_t create_anywhere(nvmlDevice_t device, unsigned id, nvmlGpuInstance_t *instance)
{
    OPEN_SESSION(true);
    struct target target;
    unsigned index;
    TRY(begin_creation(&s, device, id, instance, &target, &index));
    const struct profile *profile = &target.board->profiles[index];
    unsigned mask = occupied_slices(&target);
    for (unsigned i = profile->start_count; i > 0; i--)
        if (!(mask & mask_of(profile, profile->starts[i - 1])))
            return create(&s, &target, index, profile->starts[i - 1], instance);
    return NVML_ERROR_INSUFFICIENT_RESOURCES;
}

static nvmlReturn_t destroy(nvmlGpuInstance_t instance, unsigned *memory)
{
    OPEN_SESSION(true);
    struct target target;
    struct process found[MAX_PROCESSES];
    TRY(resolve(&s, instance, HANDLE_GPU_INSTANCE, &target));
    *memory = target.profile->memory;
    for (unsigned slot = 0; slot < MAX_COMPUTE_INSTANCES; slot++)
        REQUIRE(!target.instance->compute[slot].serial, NVML_ERROR_IN_USE);
    REQUIRE(processes_of(&target, found) == 0, NVML_ERROR_IN_USE);
    enum fault fault = take_fault(&s, "destroy-gpu-instance");
    TRY(fault_before(&s, &target, fault, NVML_ERROR_IN_USE));
    if (fault == FAULT_GHOST)
        target.gpu->ghosts |= (uint8_t)mask_of(target.profile, target.instance->start);
    if (fault != FAULT_NOTHING)
        *target.instance = (struct gpu_instance){0};
    session_commit(&s);
    return fault_after(fault);
}

/* ---- the same as callers see it, who wait for it ---- */

static unsigned memory_of(nvmlDevice_t device, unsigned id)
{
    __attribute__((cleanup(session_close))) struct session s = {.file = -1};
    struct target target;
    unsigned index;
    if (session_open(&s, false) != NVML_SUCCESS ||
        resolve(&s, device, HANDLE_GPU, &target) != NVML_SUCCESS ||
        gpu_profile_by_id(&target, id, &index) != NVML_SUCCESS)
        return 1;
    return target.board->profiles[index].memory;
}

NVML_API nvmlReturn_t nvmlDeviceCreateGpuInstanceWithPlacement(nvmlDevice_t device, unsigned id,
                                                               const nvmlPlacement_t *placement,
                                                               nvmlGpuInstance_t *instance)
{
    TRY(create_there(device, id, placement, instance));
    pause_for(true, memory_of(device, id));
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceCreateGpuInstance(nvmlDevice_t device, unsigned id,
                                                  nvmlGpuInstance_t *instance)
{
    TRY(create_anywhere(device, id, instance));
    pause_for(true, memory_of(device, id));
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlGpuInstanceDestroy(nvmlGpuInstance_t instance)
{
    unsigned memory = 1;
    TRY(destroy(instance, &memory));
    pause_for(false, memory);
    return NVML_SUCCESS;
}

/* ---- listing ---- */

NVML_API nvmlReturn_t nvmlDeviceGetGpuInstances(nvmlDevice_t device, unsigned id,
                                                nvmlGpuInstance_t *instances, unsigned *count)
{
    OPEN_SESSION(false);
    struct target target;
    unsigned index;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(instances && count, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(target.gpu->mig_current, NVML_ERROR_NOT_SUPPORTED);
    TRY(gpu_profile_by_id(&target, id, &index));
    *count = 0;
    for (unsigned slot = 0; slot < MAX_GPU_INSTANCES; slot++)
        if (target.gpu->instances[slot].serial && target.gpu->instances[slot].profile == index) {
            target_enter_instance(&target, slot);
            instances[(*count)++] = handle_of(HANDLE_GPU_INSTANCE, &target);
        }
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetGpuInstanceById(nvmlDevice_t device, unsigned id,
                                                   nvmlGpuInstance_t *instance)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(instance, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(target.gpu->mig_current, NVML_ERROR_NOT_SUPPORTED);
    REQUIRE(id >= 1 && id <= MAX_GPU_INSTANCES && target.gpu->instances[id - 1].serial,
            NVML_ERROR_NOT_FOUND);
    target_enter_instance(&target, id - 1);
    *instance = handle_of(HANDLE_GPU_INSTANCE, &target);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlGpuInstanceGetInfo(nvmlGpuInstance_t instance, nvmlGpuInstanceInfo_t *info)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, instance, HANDLE_GPU_INSTANCE, &target));
    REQUIRE(info, NVML_ERROR_INVALID_ARGUMENT);
    struct target gpu = target_of_gpu(&s, target.index);
    *info = (nvmlGpuInstanceInfo_t){
        .device = handle_of(HANDLE_GPU, &gpu), .id = target.instance_id,
        .profileId = target.profile->id,
        .placement = {target.instance->start, target.profile->memory},
    };
    return NVML_SUCCESS;
}
