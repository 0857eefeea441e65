/* Handles and names of things.
 *
 * A handle is a number in the shape of a pointer: kind, GPU, slots, and the serial number of what it
 * names (of a GPU, how often it was reset). Serial numbers are never used twice, so a handle that outlives its instance is recognised
 * although the slot may be in use again.
 */
#include <stdio.h>
#include <string.h>

#include "emulator.h"

_Static_assert(sizeof(void *) == 8, "handles are packed into 64 bits");

/* Bits: 63-56 mark, 55-52 kind, 51-48 GPU, 47-40 GPU instance slot, 39-32 compute slot, 31-0 serial. */
enum { MARK = 0x4e };

void *handle_of(enum handle_kind kind, const struct target *target)
{
    uint64_t serial = target->compute    ? target->compute->serial
                      : target->instance ? target->instance->serial
                                         : target->gpu->generation;
    uint64_t slot = target->instance ? target->instance_id - 1 : 0;
    return (void *)(uintptr_t)((uint64_t)MARK << 56 | (uint64_t)kind << 52 |
                               (uint64_t)target->index << 48 | slot << 40 |
                               (uint64_t)target->compute_id << 32 | serial);
}

struct target target_of_gpu(struct session *session, unsigned index)
{
    struct gpu *gpu = &session->machine->gpus[index];
    return (struct target){.index = index, .gpu = gpu, .board = &BOARDS[gpu->board]};
}

void target_enter_instance(struct target *target, unsigned slot)
{
    target->instance = &target->gpu->instances[slot];
    target->instance_id = slot + 1;
    target->profile = &target->board->profiles[target->instance->profile];
    target->compute = NULL;
    target->compute_id = 0;
}

void target_enter_compute(struct target *target, unsigned slot)
{
    target->compute = &target->instance->compute[slot];
    target->compute_id = slot;
    target->compute_profile = &target->profile->compute_profiles[target->compute->profile];
}

bool target_find_mig_device(struct target *target, unsigned index)
{
    for (unsigned slot = 0; slot < MAX_GPU_INSTANCES; slot++) {
        if (!target->gpu->instances[slot].serial)
            continue;
        target_enter_instance(target, slot);
        for (unsigned compute = 0; compute < MAX_COMPUTE_INSTANCES; compute++)
            if (target->instance->compute[compute].serial && index-- == 0) {
                target_enter_compute(target, compute);
                return true;
            }
    }
    return false;
}

nvmlReturn_t resolve(struct session *session, const void *handle, enum handle_kind kind,
                     struct target *target)
{
    uint64_t bits = (uint64_t)(uintptr_t)handle;
    unsigned gpu = bits >> 48 & 0xf, slot = bits >> 40 & 0xff, compute = bits >> 32 & 0xff;
    uint32_t serial = (uint32_t)bits;
    REQUIRE(bits >> 56 == MARK && (bits >> 52 & 0xf) == (unsigned)kind &&
                gpu < session->machine->gpu_count && slot < MAX_GPU_INSTANCES &&
                compute < MAX_COMPUTE_INSTANCES,
            NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(!is_lost(session, gpu), NVML_ERROR_GPU_IS_LOST);
    *target = target_of_gpu(session, gpu);
    if (kind == HANDLE_GPU)
        return serial == target->gpu->generation ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
    REQUIRE(target->gpu->instances[slot].serial, NVML_ERROR_INVALID_ARGUMENT);
    target_enter_instance(target, slot);
    if (kind == HANDLE_GPU_INSTANCE)
        return target->instance->serial == serial ? NVML_SUCCESS : NVML_ERROR_INVALID_ARGUMENT;
    REQUIRE(serial && target->instance->compute[compute].serial == serial,
            NVML_ERROR_INVALID_ARGUMENT);
    target_enter_compute(target, compute);
    return NVML_SUCCESS;
}

nvmlReturn_t resolve_device(struct session *session, nvmlDevice_t device, struct target *target)
{
    nvmlReturn_t result = resolve(session, device, HANDLE_GPU, target);
    if (result != NVML_ERROR_INVALID_ARGUMENT)
        return result;
    return resolve(session, device, HANDLE_MIG, target);
}

static uint64_t mix(uint64_t hash, uint64_t value) /* the finaliser of splitmix64 */
{
    hash += value * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u;
    hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ hash >> 27) * 0x94d049bb133111ebu;
    return hash ^ hash >> 31;
}

/* The same thing in the same place has the same UUID, on every boot, as on a real board. */
void format_uuid(char out[64], const struct target *target)
{
    uint64_t high = mix(mix(GEOMETRY, target->gpu->board), target->index);
    if (target->compute) {
        high = mix(mix(high, target->instance_id), target->compute_id);
        high = mix(mix(high, target->profile->id), target->instance->start);
    }
    uint64_t low = mix(high, 1);
    snprintf(out, 64, "%s-%08x-%04x-8%03x-%04x-%012llx", target->compute ? "MIG" : "GPU",
             (unsigned)(high >> 32), (unsigned)(high >> 16 & 0xffff), (unsigned)(high & 0xfff),
             (unsigned)(0x8000 | (low >> 48 & 0x3fff)),
             (unsigned long long)(low & 0xffffffffffffull));
}

nvmlReturn_t copy_text(char *out, unsigned length, const char *text)
{
    REQUIRE(out, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(strlen(text) < length, NVML_ERROR_INSUFFICIENT_SIZE);
    strcpy(out, text);
    return NVML_SUCCESS;
}
