/* GPUs and MIG devices: finding them, what they are, what they hold. */
#include <stdio.h>
#include <string.h>

#include "emulator.h"

static const unsigned long long MIB = 1ull << 20;

/* ---- finding ---- */

NVML_API nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count)
{
    OPEN_SESSION(false);
    REQUIRE(count, NVML_ERROR_INVALID_ARGUMENT);
    *count = s.machine->gpu_count;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device)
{
    OPEN_SESSION(false);
    REQUIRE(device && index < s.machine->gpu_count, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(!is_lost(&s, index), NVML_ERROR_GPU_IS_LOST);
    struct target target = target_of_gpu(&s, index);
    *device = handle_of(HANDLE_GPU, &target);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device)
{
    OPEN_SESSION(false);
    REQUIRE(uuid && device, NVML_ERROR_INVALID_ARGUMENT);
    char text[64];
    for (unsigned index = 0; index < s.machine->gpu_count; index++) {
        if (is_lost(&s, index))
            continue;
        struct target target = target_of_gpu(&s, index);
        format_uuid(text, &target);
        if (strcmp(uuid, text) == 0) {
            *device = handle_of(HANDLE_GPU, &target);
            return NVML_SUCCESS;
        }
        for (unsigned mig = 0; target_find_mig_device(&target, mig); mig++) {
            format_uuid(text, &target);
            if (strcmp(uuid, text) == 0) {
                *device = handle_of(HANDLE_MIG, &target);
                return NVML_SUCCESS;
            }
        }
    }
    return NVML_ERROR_NOT_FOUND;
}

/* GPU n sits in slot 0 of bus n + 1: 00000000:01:00.0 is the first. */
NVML_API nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *text, nvmlDevice_t *device)
{
    OPEN_SESSION(false);
    unsigned domain, bus, slot, function;
    REQUIRE(text && device && sscanf(text, "%x:%x:%x.%x", &domain, &bus, &slot, &function) == 4,
            NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(domain == 0 && slot == 0 && function == 0 && bus >= 1 && bus <= s.machine->gpu_count,
            NVML_ERROR_NOT_FOUND);
    REQUIRE(!is_lost(&s, bus - 1), NVML_ERROR_GPU_IS_LOST);
    struct target target = target_of_gpu(&s, bus - 1);
    *device = handle_of(HANDLE_GPU, &target);
    return NVML_SUCCESS;
}

/* ---- what it is ---- */

NVML_API nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned *index)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(index, NVML_ERROR_INVALID_ARGUMENT);
    *index = target.index;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned *minor)
{
    return nvmlDeviceGetIndex(device, minor);
}

NVML_API nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned length)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve_device(&s, device, &target));
    char text[NVML_NAME_SIZE];
    if (target.compute)
        snprintf(text, sizeof text, "%s MIG %s", target.board->product, target.profile->name);
    else
        snprintf(text, sizeof text, "%s", target.board->product);
    return copy_text(name, length, text);
}

NVML_API nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned length)
{
    OPEN_SESSION(false);
    struct target target;
    char text[64];
    TRY(resolve_device(&s, device, &target));
    format_uuid(text, &target);
    return copy_text(uuid, length, text);
}

NVML_API nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(pci, NVML_ERROR_INVALID_ARGUMENT);
    *pci = (nvmlPciInfo_t){.bus = target.index + 1, .pciDeviceId = target.board->pci_device_id};
    snprintf(pci->busIdLegacy, sizeof pci->busIdLegacy, "0000:%02X:00.0", pci->bus & 0xff);
    snprintf(pci->busId, sizeof pci->busId, "00000000:%02X:00.0", pci->bus & 0xff);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t device, unsigned *architecture)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve_device(&s, device, &target));
    REQUIRE(architecture, NVML_ERROR_INVALID_ARGUMENT);
    *architecture = target.board->architecture;
    return NVML_SUCCESS;
}

/* ---- what it holds and does ---- */

unsigned long long used_bytes(const struct target *target)
{
    struct process found[MAX_PROCESSES];
    unsigned long long used = 0;
    for (unsigned count = processes_of(target, found); count > 0; count--)
        used += found[count - 1].bytes;
    return used;
}

NVML_API nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve_device(&s, device, &target));
    REQUIRE(memory, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(memory->version == NVML_STRUCT_VERSION(nvmlMemory_v2_t, 2),
            NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
    memory->total = MIB * (target.compute ? target.profile->memory_mib : target.board->memory_mib);
    memory->used = used_bytes(&target);
    if (memory->used > memory->total)
        memory->used = memory->total;
    memory->reserved = 0;
    memory->free = memory->total - memory->used;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
    nvmlMemory_v2_t full = {.version = NVML_STRUCT_VERSION(nvmlMemory_v2_t, 2)};
    REQUIRE(memory, NVML_ERROR_INVALID_ARGUMENT);
    TRY(nvmlDeviceGetMemoryInfo_v2(device, &full));
    *memory = (nvmlMemory_t){.total = full.total, .free = full.free, .used = full.used};
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned *count,
                                                              nvmlProcessInfo_t *infos)
{
    OPEN_SESSION(false);
    struct target target;
    struct process found[MAX_PROCESSES];
    TRY(resolve_device(&s, device, &target));
    REQUIRE(count && (infos || *count == 0), NVML_ERROR_INVALID_ARGUMENT);
    unsigned room = *count;
    *count = processes_of(&target, found);
    REQUIRE(*count <= room, NVML_ERROR_INSUFFICIENT_SIZE);
    for (unsigned i = 0; i < *count; i++)
        infos[i] = (nvmlProcessInfo_t){.pid = found[i].pid,
                                       .usedGpuMemory = found[i].bytes,
                                       .gpuInstanceId = found[i].instance,
                                       .computeInstanceId = found[i].compute};
    return NVML_SUCCESS;
}
