/* Compute instances: the parts of a GPU instance that a process can run on.
 *
 * Their placements count compute slices from the start of the GPU instance. The number of a profile
 * and its enumerator are the same here, and engines are always shared.
 */
#include <stdio.h>
#include <string.h>

#include "emulator.h"

static unsigned compute_mask(const struct compute_profile *profile, unsigned start)
{
    return ((1u << profile->compute) - 1) << start;
}

static unsigned occupied(const struct target *target)
{
    unsigned mask = 0;
    for (unsigned slot = 0; slot < MAX_COMPUTE_INSTANCES; slot++) {
        const struct compute_instance *compute = &target->instance->compute[slot];
        if (compute->serial)
            mask |= compute_mask(&target->profile->compute_profiles[compute->profile], compute->start);
    }
    return mask;
}

static nvmlReturn_t profile_by_id(const struct target *target, unsigned id, unsigned *index)
{
    REQUIRE(id < NVML_COMPUTE_INSTANCE_PROFILE_COUNT, NVML_ERROR_INVALID_ARGUMENT);
    for (*index = 0; *index < target->profile->compute_profile_count; ++*index)
        if (target->profile->compute_profiles[*index].id == id)
            return NVML_SUCCESS;
    return NVML_ERROR_NOT_SUPPORTED;
}

/* ---- profiles ---- */

static unsigned multiprocessors(const struct target *target, const struct compute_profile *part)
{
    if (part->compute == target->profile->compute)
        return target->profile->sms;
    return part->compute * target->board->profiles[0].sms; /* profile 0 is one plain slice */
}

static nvmlReturn_t describe(struct session *session, nvmlGpuInstance_t instance, unsigned profile,
                             unsigned engine, nvmlComputeInstanceProfileInfo_v3_t *info)
{
    struct target target;
    unsigned index;
    TRY(resolve(session, instance, HANDLE_GPU_INSTANCE, &target));
    REQUIRE(engine == NVML_COMPUTE_INSTANCE_ENGINE_PROFILE_SHARED, NVML_ERROR_INVALID_ARGUMENT);
    TRY(profile_by_id(&target, profile, &index));
    const struct profile *whole = target.profile;
    const struct compute_profile *part = &whole->compute_profiles[index];
    *info = (nvmlComputeInstanceProfileInfo_v3_t){
        .id = part->id, .sliceCount = part->compute, .instanceCount = part->limit,
        .multiprocessorCount = multiprocessors(&target, part),
        .sharedCopyEngineCount = whole->copy, .sharedDecoderCount = whole->decoder,
        .sharedEncoderCount = whole->encoder, .sharedJpegCount = whole->jpeg,
        .sharedOfaCount = whole->ofa,
    };
    if (part->compute == whole->compute)
        snprintf(info->name, sizeof info->name, "MIG %s", whole->name);
    else
        snprintf(info->name, sizeof info->name, "MIG %uc.%s", part->compute, whole->name);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t
nvmlGpuInstanceGetComputeInstanceProfileInfo(nvmlGpuInstance_t instance, unsigned profile,
                                             unsigned engine, nvmlComputeInstanceProfileInfo_t *out)
{
    OPEN_SESSION(false);
    nvmlComputeInstanceProfileInfo_v3_t info;
    REQUIRE(out, NVML_ERROR_INVALID_ARGUMENT);
    TRY(describe(&s, instance, profile, engine, &info));
    memcpy(out, &info.id, sizeof *out); /* the later layouts add a word before and text after */
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlGpuInstanceGetComputeInstanceProfileInfoV(nvmlGpuInstance_t instance,
                                                                    unsigned profile,
                                                                    unsigned engine, void *out)
{
    OPEN_SESSION(false);
    nvmlComputeInstanceProfileInfo_v3_t info;
    unsigned version;
    REQUIRE(out, NVML_ERROR_INVALID_ARGUMENT);
    memcpy(&version, out, sizeof version);
    bool second = version == NVML_STRUCT_VERSION(nvmlComputeInstanceProfileInfo_v2_t, 2);
    REQUIRE(second || version == NVML_STRUCT_VERSION(nvmlComputeInstanceProfileInfo_v3_t, 3),
            NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
    TRY(describe(&s, instance, profile, engine, &info));
    info.version = version;
    memcpy(out, &info, second ? sizeof(nvmlComputeInstanceProfileInfo_v2_t) : sizeof info);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlGpuInstanceGetComputeInstancePossiblePlacements(
    nvmlGpuInstance_t instance, unsigned id, nvmlPlacement_t *placements, unsigned *count)
{
    OPEN_SESSION(false);
    struct target target;
    unsigned index;
    TRY(resolve(&s, instance, HANDLE_GPU_INSTANCE, &target));
    REQUIRE(count, NVML_ERROR_INVALID_ARGUMENT);
    TRY(profile_by_id(&target, id, &index));
    const struct compute_profile *part = &target.profile->compute_profiles[index];
    *count = part->start_count;
    for (unsigned i = 0; placements && i < *count; i++)
        placements[i] = (nvmlPlacement_t){part->starts[i], part->compute};
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlGpuInstanceGetComputeInstanceRemainingCapacity(nvmlGpuInstance_t instance,
                                                                         unsigned id,
                                                                         unsigned *count)
{
    OPEN_SESSION(false);
    struct target target;
    unsigned index;
    TRY(resolve(&s, instance, HANDLE_GPU_INSTANCE, &target));
    REQUIRE(count, NVML_ERROR_INVALID_ARGUMENT);
    TRY(profile_by_id(&target, id, &index));
    const struct compute_profile *part = &target.profile->compute_profiles[index];
    unsigned mask = occupied(&target);
    *count = 0;
    for (unsigned i = 0; i < part->start_count; i++)
        *count += !(mask & compute_mask(part, part->starts[i]));
    return NVML_SUCCESS;
}

/* ---- creation and destruction ---- */

static nvmlReturn_t create(struct session *session, struct target *target, unsigned profile,
                           unsigned start, nvmlComputeInstance_t *out)
{
    enum fault fault = take_fault(session, "create-compute-instance");
    TRY(fault_before(session, target, fault, NVML_ERROR_INSUFFICIENT_RESOURCES));
    if (fault == FAULT_NOTHING) {
        session_commit(session);
        return NVML_ERROR_UNKNOWN;
    }
    for (unsigned slot = 0; slot < MAX_COMPUTE_INSTANCES; slot++) {
        struct compute_instance *compute = &target->instance->compute[slot];
        if (compute->serial)
            continue;
        *compute = (struct compute_instance){.serial = ++session->machine->last_serial,
                                             .profile = (uint8_t)profile,
                                             .start = (uint8_t)start};
        target_enter_compute(target, slot);
        *out = handle_of(HANDLE_COMPUTE_INSTANCE, target);
        session_commit(session);
        return fault_after(fault);
    }
    return NVML_ERROR_INSUFFICIENT_RESOURCES;
}

/* Without a placement the lowest free start is taken; with one, that start or none. */
static nvmlReturn_t place(nvmlGpuInstance_t instance, unsigned id, const nvmlPlacement_t *placement,
                          nvmlComputeInstance_t *compute)
{
    OPEN_SESSION(true);
    struct target target;
    unsigned index;
    TRY(resolve(&s, instance, HANDLE_GPU_INSTANCE, &target));
    REQUIRE(compute, NVML_ERROR_INVALID_ARGUMENT);
    TRY(profile_by_id(&target, id, &index));
    const struct compute_profile *part = &target.profile->compute_profiles[index];
    bool allowed = !placement;
    for (unsigned i = 0; i < part->start_count; i++) {
        if (placement && (placement->start != part->starts[i] || placement->size != part->compute))
            continue;
        allowed = true;
        if (!(occupied(&target) & compute_mask(part, part->starts[i])))
            return create(&s, &target, index, part->starts[i], compute);
    }
    return allowed ? NVML_ERROR_INSUFFICIENT_RESOURCES : NVML_ERROR_INVALID_ARGUMENT;
}

NVML_API nvmlReturn_t nvmlGpuInstanceCreateComputeInstance(nvmlGpuInstance_t instance, unsigned id,
                                                           nvmlComputeInstance_t *compute)
{
    return place(instance, id, NULL, compute);
}

NVML_API nvmlReturn_t nvmlGpuInstanceCreateComputeInstanceWithPlacement(
    nvmlGpuInstance_t instance, unsigned id, const nvmlPlacement_t *placement,
    nvmlComputeInstance_t *compute)
{
    REQUIRE(placement, NVML_ERROR_INVALID_ARGUMENT);
    return place(instance, id, placement, compute);
}

NVML_API nvmlReturn_t nvmlComputeInstanceDestroy(nvmlComputeInstance_t compute)
{
    OPEN_SESSION(true);
    struct target target;
    struct process found[MAX_PROCESSES];
    TRY(resolve(&s, compute, HANDLE_COMPUTE_INSTANCE, &target));
    REQUIRE(processes_of(&target, found) == 0, NVML_ERROR_IN_USE);
    enum fault fault = take_fault(&s, "destroy-compute-instance");
    TRY(fault_before(&s, &target, fault, NVML_ERROR_IN_USE));
    if (fault != FAULT_NOTHING)
        *target.compute = (struct compute_instance){0};
    session_commit(&s);
    return fault_after(fault);
}

/* ---- listing ---- */

NVML_API nvmlReturn_t nvmlGpuInstanceGetComputeInstances(nvmlGpuInstance_t instance, unsigned id,
                                                         nvmlComputeInstance_t *computes,
                                                         unsigned *count)
{
    OPEN_SESSION(false);
    struct target target;
    unsigned index;
    TRY(resolve(&s, instance, HANDLE_GPU_INSTANCE, &target));
    REQUIRE(computes && count, NVML_ERROR_INVALID_ARGUMENT);
    TRY(profile_by_id(&target, id, &index));
    *count = 0;
    for (unsigned slot = 0; slot < MAX_COMPUTE_INSTANCES; slot++)
        if (target.instance->compute[slot].serial &&
            target.instance->compute[slot].profile == index) {
            target_enter_compute(&target, slot);
            computes[(*count)++] = handle_of(HANDLE_COMPUTE_INSTANCE, &target);
        }
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlGpuInstanceGetComputeInstanceById(nvmlGpuInstance_t instance, unsigned id,
                                                            nvmlComputeInstance_t *compute)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, instance, HANDLE_GPU_INSTANCE, &target));
    REQUIRE(compute, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(id < MAX_COMPUTE_INSTANCES && target.instance->compute[id].serial,
            NVML_ERROR_NOT_FOUND);
    target_enter_compute(&target, id);
    *compute = handle_of(HANDLE_COMPUTE_INSTANCE, &target);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlComputeInstanceGetInfo_v2(nvmlComputeInstance_t compute,
                                                    nvmlComputeInstanceInfo_t *info)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, compute, HANDLE_COMPUTE_INSTANCE, &target));
    REQUIRE(info, NVML_ERROR_INVALID_ARGUMENT);
    *info = (nvmlComputeInstanceInfo_t){
        .id = target.compute_id, .profileId = target.compute_profile->id,
        .placement = {target.compute->start, target.compute_profile->compute},
    };
    target.compute = NULL;
    target.compute_id = 0;
    info->gpuInstance = handle_of(HANDLE_GPU_INSTANCE, &target);
    target = target_of_gpu(&s, target.index);
    info->device = handle_of(HANDLE_GPU, &target);
    return NVML_SUCCESS;
}

/* What a MIG device has; a whole GPU has no such attributes. */
NVML_API nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t device,
                                                 nvmlDeviceAttributes_t *attributes)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve_device(&s, device, &target));
    REQUIRE(attributes, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(target.compute, NVML_ERROR_NOT_SUPPORTED);
    const struct profile *whole = target.profile;
    *attributes = (nvmlDeviceAttributes_t){
        .multiprocessorCount = multiprocessors(&target, target.compute_profile),
        .sharedCopyEngineCount = whole->copy, .sharedDecoderCount = whole->decoder,
        .sharedEncoderCount = whole->encoder, .sharedJpegCount = whole->jpeg,
        .sharedOfaCount = whole->ofa, .gpuInstanceSliceCount = whole->compute,
        .computeInstanceSliceCount = target.compute_profile->compute,
        .memorySizeMB = whole->memory_mib,
    };
    return NVML_SUCCESS;
}
