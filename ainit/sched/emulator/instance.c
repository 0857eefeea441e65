/* GPU instances: profiles, placements, creation and destruction.
 *
 * All feasibility is one mask of memory slices per GPU: on every board, memory slices that do not
 * overlap imply enough compute slices.
 */
#include <stdio.h>
#include <string.h>

#include "emulator.h"

static unsigned mask_of(const struct profile *profile, unsigned start)
{
    return ((1u << profile->memory) - 1) << start;
}

static unsigned occupied(const struct target *gpu)
{
    unsigned mask = 0;
    for (unsigned slot = 0; slot < MAX_GPU_INSTANCES; slot++) {
        const struct gpu_instance *instance = &gpu->gpu->instances[slot];
        if (instance->serial)
            mask |= mask_of(&gpu->board->profiles[instance->profile], instance->start);
    }
    return mask;
}

static unsigned live_count(const struct target *gpu, unsigned profile)
{
    unsigned count = 0;
    for (unsigned slot = 0; slot < MAX_GPU_INSTANCES; slot++)
        count += gpu->gpu->instances[slot].serial && gpu->gpu->instances[slot].profile == profile;
    return count;
}

static nvmlReturn_t profile_by_id(const struct target *gpu, unsigned id, unsigned *index)
{
    for (*index = 0; *index < gpu->board->profile_count; ++*index)
        if (gpu->board->profiles[*index].id == id)
            return NVML_SUCCESS;
    return NVML_ERROR_INVALID_ARGUMENT;
}

/* Clients walk the enumerators from 0: NOT_SUPPORTED is a gap, INVALID_ARGUMENT the end. */
static nvmlReturn_t profile_by_enumerator(const struct target *gpu, unsigned enumerator,
                                          unsigned *index)
{
    REQUIRE(enumerator < NVML_GPU_INSTANCE_PROFILE_COUNT, NVML_ERROR_INVALID_ARGUMENT);
    for (*index = 0; *index < gpu->board->profile_count; ++*index)
        if (gpu->board->profiles[*index].enumerator == enumerator)
            return NVML_SUCCESS;
    return NVML_ERROR_NOT_SUPPORTED;
}

/* ---- profiles ---- */

NVML_API nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfo(nvmlDevice_t device, unsigned enumerator,
                                                          nvmlGpuInstanceProfileInfo_t *info)
{
    OPEN_SESSION(false);
    struct target target;
    unsigned index;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(info, NVML_ERROR_INVALID_ARGUMENT);
    TRY(profile_by_enumerator(&target, enumerator, &index));
    const struct profile *p = &target.board->profiles[index];
    *info = (nvmlGpuInstanceProfileInfo_t){
        .id = p->id, .sliceCount = p->compute, .instanceCount = p->limit,
        .multiprocessorCount = p->sms, .copyEngineCount = p->copy, .decoderCount = p->decoder,
        .encoderCount = p->encoder, .jpegCount = p->jpeg, .ofaCount = p->ofa,
        .memorySizeMB = p->memory_mib,
    };
    return NVML_SUCCESS;
}

/* The client says which layout it wants in the first word. */
static nvmlReturn_t describe_profile(const struct profile *p, void *out)
{
    unsigned version;
    REQUIRE(out, NVML_ERROR_INVALID_ARGUMENT);
    memcpy(&version, out, sizeof version);
    if (version == NVML_STRUCT_VERSION(nvmlGpuInstanceProfileInfo_v2_t, 2)) {
        nvmlGpuInstanceProfileInfo_v2_t *info = out;
        *info = (nvmlGpuInstanceProfileInfo_v2_t){
            .version = version, .id = p->id, .sliceCount = p->compute, .instanceCount = p->limit,
            .multiprocessorCount = p->sms, .copyEngineCount = p->copy, .decoderCount = p->decoder,
            .encoderCount = p->encoder, .jpegCount = p->jpeg, .ofaCount = p->ofa,
            .memorySizeMB = p->memory_mib,
        };
        snprintf(info->name, sizeof info->name, "MIG %s", p->name);
        return NVML_SUCCESS;
    }
    REQUIRE(version == NVML_STRUCT_VERSION(nvmlGpuInstanceProfileInfo_v3_t, 3),
            NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
    nvmlGpuInstanceProfileInfo_v3_t *info = out;
    *info = (nvmlGpuInstanceProfileInfo_v3_t){
        .version = version, .id = p->id, .sliceCount = p->compute, .instanceCount = p->limit,
        .multiprocessorCount = p->sms, .copyEngineCount = p->copy, .decoderCount = p->decoder,
        .encoderCount = p->encoder, .jpegCount = p->jpeg, .ofaCount = p->ofa,
        .memorySizeMB = p->memory_mib,
    };
    snprintf(info->name, sizeof info->name, "MIG %s", p->name);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfoV(nvmlDevice_t device, unsigned enumerator,
                                                           void *info)
{
    OPEN_SESSION(false);
    struct target target;
    unsigned index;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    TRY(profile_by_enumerator(&target, enumerator, &index));
    return describe_profile(&target.board->profiles[index], info);
}

NVML_API nvmlReturn_t nvmlDeviceGetGpuInstanceProfileInfoByIdV(nvmlDevice_t device, unsigned id,
                                                               void *info)
{
    OPEN_SESSION(false);
    struct target target;
    unsigned index;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    TRY(profile_by_id(&target, id, &index));
    return describe_profile(&target.board->profiles[index], info);
}

/* ---- placements ---- */

/* The static list: what is occupied, and whether MIG is on, does not matter here. */
NVML_API nvmlReturn_t nvmlDeviceGetGpuInstancePossiblePlacements_v2(nvmlDevice_t device,
                                                                    unsigned id,
                                                                    nvmlPlacement_t *placements,
                                                                    unsigned *count)
{
    OPEN_SESSION(false);
    struct target target;
    unsigned index;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(count, NVML_ERROR_INVALID_ARGUMENT);
    TRY(profile_by_id(&target, id, &index));
    const struct profile *profile = &target.board->profiles[index];
    *count = profile->start_count;
    for (unsigned i = 0; placements && i < *count; i++)
        placements[i] = (nvmlPlacement_t){profile->starts[i], profile->memory};
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetGpuInstanceRemainingCapacity(nvmlDevice_t device, unsigned id,
                                                                unsigned *count)
{
    OPEN_SESSION(false);
    struct target target;
    unsigned index;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(count, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(target.gpu->mig_current, NVML_ERROR_NOT_SUPPORTED);
    TRY(profile_by_id(&target, id, &index));
    const struct profile *profile = &target.board->profiles[index];
    unsigned mask = occupied(&target), left = profile->limit - live_count(&target, index);
    *count = 0;
    /* Placements of one profile have one size, so taking each that fits, in order, is best. */
    for (unsigned i = 0; i < profile->start_count && *count < left; i++)
        if (!(mask & mask_of(profile, profile->starts[i]))) {
            mask |= mask_of(profile, profile->starts[i]);
            ++*count;
        }
    return NVML_SUCCESS;
}

/* ---- creation and destruction ---- */

static nvmlReturn_t create(struct session *session, struct target *target, unsigned profile,
                           unsigned start, nvmlGpuInstance_t *out)
{
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
        return NVML_SUCCESS;
    }
    return NVML_ERROR_INSUFFICIENT_RESOURCES;
}

static nvmlReturn_t begin_creation(struct session *session, nvmlDevice_t device, unsigned id,
                                   const void *out, struct target *target, unsigned *index)
{
    TRY(resolve(session, device, HANDLE_GPU, target));
    REQUIRE(out, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(target->gpu->mig_current, NVML_ERROR_NOT_SUPPORTED);
    TRY(profile_by_id(target, id, index));
    REQUIRE(live_count(target, *index) < target->board->profiles[*index].limit,
            NVML_ERROR_INSUFFICIENT_RESOURCES);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceCreateGpuInstanceWithPlacement(nvmlDevice_t device, unsigned id,
                                                               const nvmlPlacement_t *placement,
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
    REQUIRE(!(occupied(&target) & mask_of(profile, placement->start)),
            NVML_ERROR_INSUFFICIENT_RESOURCES);
    return create(&s, &target, index, placement->start, instance);
}

/* The driver takes the highest free placement, whatever that spoils: 1g, 1g, 2g, 3g in this order
 * fails where 3g, 1g, 2g, 1g works, as the vendor's guide shows.
 */
NVML_API nvmlReturn_t nvmlDeviceCreateGpuInstance(nvmlDevice_t device, unsigned id,
                                                  nvmlGpuInstance_t *instance)
{
    OPEN_SESSION(true);
    struct target target;
    unsigned index;
    TRY(begin_creation(&s, device, id, instance, &target, &index));
    const struct profile *profile = &target.board->profiles[index];
    unsigned mask = occupied(&target);
    for (unsigned i = profile->start_count; i > 0; i--)
        if (!(mask & mask_of(profile, profile->starts[i - 1])))
            return create(&s, &target, index, profile->starts[i - 1], instance);
    return NVML_ERROR_INSUFFICIENT_RESOURCES;
}

NVML_API nvmlReturn_t nvmlGpuInstanceDestroy(nvmlGpuInstance_t instance)
{
    OPEN_SESSION(true);
    struct target target;
    struct process found[MAX_PROCESSES];
    TRY(resolve(&s, instance, HANDLE_GPU_INSTANCE, &target));
    for (unsigned slot = 0; slot < MAX_COMPUTE_INSTANCES; slot++)
        REQUIRE(!target.instance->compute[slot].serial, NVML_ERROR_IN_USE);
    REQUIRE(processes_of(&target, found) == 0, NVML_ERROR_IN_USE);
    *target.instance = (struct gpu_instance){0};
    session_commit(&s);
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
    TRY(profile_by_id(&target, id, &index));
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
