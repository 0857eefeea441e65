/* What a GPU offers: profiles, placements, and how many more instances fit.
 *
 * All feasibility is one mask of memory slices per GPU: on every board, memory slices that do not
 * overlap imply enough compute slices.
 */
#include <stdio.h>
#include <string.h>

#include "emulator.h"

unsigned mask_of(const struct profile *profile, unsigned start)
{
    return ((1u << profile->memory) - 1) << start;
}

unsigned occupied_slices(const struct target *gpu)
{
    unsigned mask = 0;
    for (unsigned slot = 0; slot < MAX_GPU_INSTANCES; slot++) {
        const struct gpu_instance *instance = &gpu->gpu->instances[slot];
        if (instance->serial)
            mask |= mask_of(&gpu->board->profiles[instance->profile], instance->start);
    }
    return mask | (is_injected("no-ghosts") ? 0 : gpu->gpu->ghosts);
}

unsigned live_count(const struct target *gpu, unsigned profile)
{
    unsigned count = 0;
    for (unsigned slot = 0; slot < MAX_GPU_INSTANCES; slot++)
        count += gpu->gpu->instances[slot].serial && gpu->gpu->instances[slot].profile == profile;
    return count;
}

nvmlReturn_t gpu_profile_by_id(const struct target *gpu, unsigned id, unsigned *index)
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

/* What every layout of a profile's description has, for an initializer. */
#define PROFILE_FIELDS(p)                                                                          \
    .id = (p)->id, .sliceCount = (p)->compute, .instanceCount = (p)->limit,                        \
    .multiprocessorCount = (p)->sms, .copyEngineCount = (p)->copy,                                 \
    .decoderCount = (p)->decoder, .encoderCount = (p)->encoder, .jpegCount = (p)->jpeg,            \
    .ofaCount = (p)->ofa, .memorySizeMB = (p)->memory_mib

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
        PROFILE_FIELDS(p),
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
            .version = version, PROFILE_FIELDS(p),
        };
        snprintf(info->name, sizeof info->name, "MIG %s", p->name);
        return NVML_SUCCESS;
    }
    REQUIRE(version == NVML_STRUCT_VERSION(nvmlGpuInstanceProfileInfo_v3_t, 3),
            NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
    nvmlGpuInstanceProfileInfo_v3_t *info = out;
    *info = (nvmlGpuInstanceProfileInfo_v3_t){
        .version = version, PROFILE_FIELDS(p),
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
    TRY(gpu_profile_by_id(&target, id, &index));
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
    TRY(gpu_profile_by_id(&target, id, &index));
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
    TRY(gpu_profile_by_id(&target, id, &index));
    const struct profile *profile = &target.board->profiles[index];
    unsigned mask = occupied_slices(&target), left = profile->limit - live_count(&target, index);
    *count = 0;
    /* Placements of one profile have one size, so taking each that fits, in order, is best. */
    for (unsigned i = 0; i < profile->start_count && *count < left; i++)
        if (!(mask & mask_of(profile, profile->starts[i]))) {
            mask |= mask_of(profile, profile->starts[i]);
            ++*count;
        }
    return NVML_SUCCESS;
}
