/* A GPU's place in the machine: link, NUMA node and processors, fabric, and what it is called.
 *
 * Numbers are set from outside as those of readings.c are.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "emulator.h"

enum { FABRIC_COMPLETED = 3, BITS = 64, AFFINITY_SCOPES = 2 };

static nvmlReturn_t number_of(nvmlDevice_t device, unsigned *out, const char *key,
                              unsigned fallback)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(out, NVML_ERROR_INVALID_ARGUMENT);
    *out = (unsigned)injected_reading(target.index, key, fallback);
    return NVML_SUCCESS;
}

/* ---- the bus ---- */

#define NUMBER(name, key, fallback)                                                                \
    NVML_API nvmlReturn_t name(nvmlDevice_t device, unsigned *out)                                 \
    {                                                                                              \
        return number_of(device, out, key, fallback);                                              \
    }

NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, "pcie-generation", 5)
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, "pcie-generation-max", 5)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, "pcie-width", 16)
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, "pcie-width-max", 16)
NUMBER(nvmlDeviceGetPcieReplayCounter, "pcie-replays", 0)
NUMBER(nvmlDeviceGetComputeMode, "compute-mode", 0)

/* ---- memory node and processors ---- */

/* A machine without nodes says NOT_SUPPORTED; here each GPU is on node 0 until it is set. */
NVML_API nvmlReturn_t nvmlDeviceGetNumaNodeId(nvmlDevice_t device, unsigned *node)
{
    return number_of(device, node, "numa-node", 0);
}

/* `words` of 64 bits: one bit a processor, "cpus-first" and "cpus" giving the range. */
NVML_API nvmlReturn_t nvmlDeviceGetCpuAffinity(nvmlDevice_t device, unsigned words,
                                               unsigned long *set)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(words && set, NVML_ERROR_INVALID_ARGUMENT);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned long long first = injected_reading(target.index, "cpus-first", 0);
    unsigned long long count =
        injected_reading(target.index, "cpus", online > 0 ? (unsigned long long)online : 1);
    memset(set, 0, words * sizeof *set);
    for (unsigned long long cpu = first; cpu < first + count && cpu / BITS < words; cpu++)
        set[cpu / BITS] |= 1ul << cpu % BITS;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetCpuAffinityWithinScope(nvmlDevice_t device, unsigned words,
                                                          unsigned long *set, unsigned scope)
{
    REQUIRE(scope < AFFINITY_SCOPES, NVML_ERROR_INVALID_ARGUMENT);
    return nvmlDeviceGetCpuAffinity(device, words, set);
}

NVML_API nvmlReturn_t nvmlDeviceGetMemoryAffinity(nvmlDevice_t device, unsigned words,
                                                  unsigned long *set, unsigned scope)
{
    unsigned node = 0;
    REQUIRE(words && set && scope < AFFINITY_SCOPES, NVML_ERROR_INVALID_ARGUMENT);
    TRY(nvmlDeviceGetNumaNodeId(device, &node));
    memset(set, 0, words * sizeof *set);
    if (node / BITS < words)
        set[node / BITS] = 1ul << node % BITS;
    return NVML_SUCCESS;
}

/* ---- persistence, which keeps the driver's state without a client ---- */

NVML_API nvmlReturn_t nvmlDeviceGetPersistenceMode(nvmlDevice_t device, unsigned *mode)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(mode, NVML_ERROR_INVALID_ARGUMENT);
    *mode = target.gpu->persistence;
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceSetPersistenceMode(nvmlDevice_t device, unsigned mode)
{
    OPEN_SESSION(true);
    struct target target;
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    REQUIRE(mode <= 1, NVML_ERROR_INVALID_ARGUMENT);
    target.gpu->persistence = (uint8_t)mode;
    session_commit(&s);
    return NVML_SUCCESS;
}

/* ---- the fabric between GPUs: "fabric-state" 1 not started, 2 in progress, 3 completed ---- */

static nvmlReturn_t fabric_of(nvmlDevice_t device, nvmlGpuFabricInfo_v2_t *info)
{
    unsigned state = 0, status = 0, clique = 0, health = 0;
    TRY(number_of(device, &state, "fabric-state", FABRIC_COMPLETED));
    TRY(number_of(device, &status, "fabric-status", NVML_SUCCESS));
    TRY(number_of(device, &clique, "fabric-clique", 0));
    TRY(number_of(device, &health, "fabric-health", 0));
    info->status = (nvmlReturn_t)status;
    info->state = state;
    info->cliqueId = clique;
    info->healthMask = health;
    memset(info->clusterUuid, 0, sizeof info->clusterUuid);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, void *out)
{
    nvmlGpuFabricInfo_v2_t info;
    unsigned version;
    REQUIRE(out, NVML_ERROR_INVALID_ARGUMENT);
    memcpy(&version, out, sizeof version);
    REQUIRE(version == NVML_STRUCT_VERSION(nvmlGpuFabricInfo_v2_t, 2),
            NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
    TRY(fabric_of(device, &info));
    info.version = version;
    memcpy(out, &info, sizeof info);
    return NVML_SUCCESS;
}

NVML_API nvmlReturn_t nvmlDeviceGetGpuFabricInfo(nvmlDevice_t device, nvmlGpuFabricInfo_t *out)
{
    nvmlGpuFabricInfo_v2_t info;
    REQUIRE(out, NVML_ERROR_INVALID_ARGUMENT);
    TRY(fabric_of(device, &info));
    *out = (nvmlGpuFabricInfo_t){.status = info.status, .cliqueId = info.cliqueId,
                                 .state = info.state};
    return NVML_SUCCESS;
}

/* ---- what it is called ---- */

NVML_API nvmlReturn_t nvmlDeviceGetSerial(nvmlDevice_t device, char *serial, unsigned length)
{
    OPEN_SESSION(false);
    struct target target;
    char text[32];
    TRY(resolve(&s, device, HANDLE_GPU, &target));
    snprintf(text, sizeof text, "165212345%04u", target.index);
    return copy_text(serial, length, text);
}

NVML_API nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major,
                                                         int *minor)
{
    OPEN_SESSION(false);
    struct target target;
    TRY(resolve_device(&s, device, &target));
    REQUIRE(major && minor, NVML_ERROR_INVALID_ARGUMENT);
    unsigned architecture = target.board->architecture; /* 7 Ampere, 9 Hopper, 10 Blackwell */
    *major = architecture == 7 ? 8 : (int)architecture;
    *minor = 0;
    return NVML_SUCCESS;
}
